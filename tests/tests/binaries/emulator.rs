//! Both functions with an SQS in between that somebody else wrote: what was sent is received with its attributes
//! and group, and ends in the right state.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use billhook_aws::{AwsEnvironment, CallLimits, Service};
use billhook_core::envelope::BODY_BYTES_MAX;
use billhook_tests::batches::{batch, failures};
use billhook_tests::process::Process;
use billhook_tests::requests::{Form, Request};
use billhook_tests::tools;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::{Database, STRIPE_SECRET, customer_event, http, now, sample, webhook_at};

/// A running ministack.
struct Ministack {
    endpoint: String,
    process: Process,
}

impl Ministack {
    /// Starts it, or says that it is not there.
    async fn start() -> Option<Self> {
        let python = tools::ministack()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let endpoint = format!("http://{address}");
        let mut command = Command::new(python);
        command
            .args([
                "-m",
                "hypercorn",
                "ministack.app:app",
                "--bind",
                &address.to_string(),
            ])
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("GATEWAY_PORT", address.port().to_string())
            // It would listen on all addresses for it.
            .env("IOT_MTLS_ENABLED", "0");
        let process = Process::start(command).expect("python starts");
        process.line_with("Running on").await;
        Some(Self { endpoint, process })
    }
}

fn client(endpoint: &str) -> Client {
    let second = Duration::from_secs(30);
    let limits = CallLimits {
        attempt: second,
        call: second,
        attempts: 1,
    };
    let environment = AwsEnvironment::local(endpoint.to_owned());
    Client::new(&environment.sdk_config(Service::Sqs, limits))
}

/// A received message in the form that Lambda's event source mapping hands on.
fn record(message: &Message) -> Value {
    let system = message.attributes().into_iter().flatten();
    let system: Map<String, Value> = system
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect();
    let attributes = message.message_attributes().into_iter().flatten();
    let attributes: Map<String, Value> = attributes
        .map(|(name, value)| {
            let value = json!({
                "stringValue": value.string_value(),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value.data_type(),
            });
            (name.clone(), value)
        })
        .collect();
    json!({
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": system,
        "messageAttributes": attributes,
        "md5OfBody": message.md5_of_body(),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:billhook-events",
        "awsRegion": "us-east-1",
    })
}

#[tokio::test]
async fn an_event_goes_through_both_functions_and_a_real_queue() {
    let Some(ministack) = Ministack::start().await else {
        return;
    };
    let sqs = client(&ministack.endpoint);
    let queue = sqs
        .create_queue()
        .queue_name("billhook-events")
        .attributes(QueueAttributeName::VisibilityTimeout, "30")
        .send()
        .await
        .expect("a queue");
    let url = queue.queue_url().expect("its URL").to_owned();
    let webhook = webhook_at(&ministack.endpoint, &[("QUEUE_URL", &url)]).await;

    let mut large = customer_event("evt_large", "cus_large", "a@example.test");
    large["data"]["object"]["metadata"] = json!({"pad": "x".repeat(BODY_BYTES_MAX - 4096)});
    let mut raw = customer_event("evt_raw", "cus_raw", "a@example.test");
    raw["data"]["object"]["name"] = "\u{fffe}\u{ffff}\u{1}".into();
    let events = [
        sample("stripe/refund.created.json"),
        sample("stripe/charge.succeeded.json"),
        sample("stripe/customer.created.json"),
        large.to_string(),
        raw.to_string(),
        "no event, but signed".to_owned(),
    ];
    for event in &events {
        let request = Request::stripe(event.as_str(), STRIPE_SECRET, now());
        let (status, answer) = http(webhook.invoke(&request.payload(Form::RestApi)).await);
        assert_eq!(status, 200, "{answer}");
    }

    let mut received = Vec::new();
    while received.len() < events.len() {
        let answer = sqs
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(10)
            .wait_time_seconds(20)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .expect("messages");
        assert!(
            !answer.messages().is_empty(),
            "every message is there: {}",
            received.len()
        );
        received.extend(answer.messages.unwrap_or_default());
    }
    let charge = received
        .iter()
        .find(|message| attribute(message, "event_type") == Some("charge.succeeded"))
        .expect("the charge");
    assert_eq!(
        attribute(charge, "event_id"),
        Some("evt_1TRgYVGx4RvQe7HkFuymUnZS")
    );
    assert_eq!(attribute(charge, "livemode"), Some("false"));
    let group = charge
        .attributes()
        .and_then(|all| all.get(&MessageSystemAttributeName::MessageGroupId));
    assert_eq!(group.map(String::as_str), Some("cus_TZHbEyVsDncPGg"));

    let database = Database::start().await;
    let consumer = database.consumer().await;
    let answer = consumer.invoke(&batch(received.iter().map(record))).await;
    assert_eq!(failures(&answer.response()), [""; 0]);
    let state = database
        .state("cus_TZHbEyVsDncPGg")
        .await
        .expect("a customer");
    assert_eq!(state["email"], "ada@example.test");
    assert_eq!(state["refunded_total"], 500);
    for (name, event) in [("evt_large", &events[3]), ("evt_raw", &events[4])] {
        let entry = database
            .entry(name, Some(1_794_219_385))
            .await
            .expect("an entry");
        assert!(entry.body == event.as_bytes(), "{name}: other bytes");
    }
    drop(ministack.process);
}

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes()?.get(name)?.string_value()
}
