//! A delivery is acknowledged only after the queue has it. Whatever else the queue does ends in 503, in time, and
//! the function goes on.

use std::sync::Arc;

use billhook_tests::requests::{Form, Request};
use billhook_tests::runtime_api::Function;
use billhook_tests::sqs_endpoint::{Behaviour, SqsEndpoint};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{STRIPE_SECRET, customer_event, http, now, webhook, webhook_at};

fn unavailable() -> (u64, Value) {
    (503, json!({"error": "queue_unavailable"}))
}

async fn deliver(webhook: &Function) -> (u64, Value) {
    let event = customer_event("evt_1", "cus_1", "ada@example.test");
    let request = Request::stripe(event.to_string(), STRIPE_SECRET, now());
    http(webhook.invoke(&request.payload(Form::HttpApi)).await)
}

#[tokio::test]
async fn a_queue_that_refuses_is_503_and_once_it_takes_again_200() {
    let (webhook, sqs) = webhook().await;
    for (status, code) in [
        (500, "InternalFailure"),
        (503, "ServiceUnavailable"),
        (400, "AWS.SimpleQueueService.NonExistentQueue"),
        (403, "AccessDeniedException"),
        (403, "KmsAccessDenied"),
        (400, "RequestThrottled"),
        (400, "InvalidMessageContents"),
        (403, "ExpiredToken"),
    ] {
        sqs.behave(Behaviour::Refuse(status, code));
        assert_eq!(deliver(&webhook).await, unavailable(), "{code}");
        assert_eq!(sqs.sent(), [], "{code}");
    }
    sqs.behave(Behaviour::Take);
    assert_eq!(deliver(&webhook).await.0, 200);
    assert_eq!(sqs.sent().len(), 1);
}

#[tokio::test]
async fn a_queue_that_cannot_be_reached_is_503() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let webhook = webhook_at(&format!("http://{address}"), &[]).await;
    assert_eq!(deliver(&webhook).await, unavailable());
    let webhook = webhook_at("http://no-such-host.invalid", &[]).await;
    assert_eq!(deliver(&webhook).await, unavailable());
}

/// The sender hears 503 before the function is stopped: an answer that it hears nothing of is a timeout of
/// the whole function, and the next start is a cold one.
#[tokio::test]
async fn a_queue_that_hangs_is_503_within_the_functions_time() {
    let (webhook, sqs) = webhook().await;
    sqs.behave(Behaviour::Hang);
    assert_eq!(deliver(&webhook).await, unavailable());
    sqs.behave(Behaviour::Take);
    assert_eq!(deliver(&webhook).await.0, 200, "the function goes on");
}

/// A captive portal or a broken proxy may answer 200 to anything.
#[tokio::test]
async fn an_answer_that_does_not_come_from_sqs_is_no_acknowledgement() {
    let (webhook, sqs) = webhook().await;
    for text in [
        "<html>hello</html>",
        "",
        "{}",
        "[]",
        "null",
        r#"{"MessageId":null}"#,
    ] {
        sqs.behave(Behaviour::Say(200, text));
        assert_eq!(deliver(&webhook).await, unavailable(), "{text:?}");
    }
    for status in [204, 302, 404, 502] {
        sqs.behave(Behaviour::Say(status, "hello"));
        assert_eq!(deliver(&webhook).await, unavailable(), "{status}");
    }
}

/// Between two deliveries a function may lie frozen for minutes, and the queue closes the connection meanwhile.
#[tokio::test]
async fn a_connection_that_was_closed_while_frozen_costs_no_delivery() {
    let sqs = SqsEndpoint::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listener = Arc::new(listener);
    let address = listener.local_addr().expect("bound");
    let webhook = webhook_at(&format!("http://{address}"), &[]).await;
    for number in 1..=5 {
        let connections = tokio::spawn(forward(listener.clone(), sqs.url().to_owned()));
        assert_eq!(deliver(&webhook).await.0, 200, "delivery {number}");
        webhook.process.freeze().await;
        connections.abort();
        assert!(connections.await.is_err(), "every connection is closed");
        webhook.process.thaw().await;
    }
    assert_eq!(sqs.sent().len(), 5);
}

/// Hands every connection on, and closes all of them when it is aborted.
async fn forward(listener: Arc<TcpListener>, target: String) {
    let target = target.trim_start_matches("http://").to_owned();
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.expect("a connection");
        let mut far = TcpStream::connect(&target).await.expect("a connection");
        connections.spawn(async move {
            // A connection that breaks is for the two ends to notice.
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}
