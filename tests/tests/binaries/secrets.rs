//! The built functions with their secrets in Secrets Manager and their metrics on.

use std::time::{Duration, Instant};

use billhook_tests::batches::{batch, failures, record};
use billhook_tests::functions::function;
use billhook_tests::process::PATIENCE;
use billhook_tests::requests::{Form, Request};
use billhook_tests::runtime_api::Function;
use billhook_tests::secrets_endpoint::{Behaviour, SecretsEndpoint};
use billhook_tests::sqs_endpoint::{QUEUE_URL, SqsEndpoint};
use serde_json::{Value, json};

use super::consumer::message;
use super::{Database, STRIPE_SECRET, customer_event, http, now};

const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:StripeWebhookSecret-AbCdEf";

async fn webhook(sqs: &SqsEndpoint, manager: &SecretsEndpoint) -> Function {
    let variables = [
        ("QUEUE_URL", QUEUE_URL),
        ("AWS_ENDPOINT_URL_SQS", sqs.url()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", manager.url()),
        ("STRIPE_WEBHOOK_SECRET_ARN", ARN),
        ("STACK_NAME", "billhook-tests"),
    ];
    Function::start(&function("webhook"), &variables).await
}

async fn post(webhook: &Function) -> (u64, Value) {
    let event = customer_event("evt_1", "cus_1", "ada@example.test").to_string();
    let request = Request::stripe(event, STRIPE_SECRET, now());
    http(webhook.invoke(&request.payload(Form::HttpApi)).await)
}

/// The lines of metrics among all lines.
fn metrics(lines: &[String]) -> Vec<Value> {
    lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line.get("_aws").is_some())
        .collect()
}

fn sum(metrics: &[Value], name: &str) -> i64 {
    metrics.iter().filter_map(|line| line[name].as_i64()).sum()
}

#[tokio::test]
async fn secrets_are_read_at_the_start_and_once() {
    let (sqs, manager) = (SqsEndpoint::start().await, SecretsEndpoint::start().await);
    manager.put(
        ARN,
        &json!({"secrets": ["whsec_newer", STRIPE_SECRET]}).to_string(),
    );
    let webhook = webhook(&sqs, &manager).await;
    for _ in 0..3 {
        assert_eq!(post(&webhook).await.0, 200);
    }
    assert_eq!(manager.requests(), 1);
    assert_eq!(sqs.sent().len(), 3);
    let lines = webhook.stop().await;
    let metrics = metrics(&lines);
    assert_eq!(sum(&metrics, "OldSecretOnly"), 3, "{lines:#?}");
    assert!(!lines.join("\n").contains("whsec_"), "{lines:#?}");
}

#[tokio::test]
async fn a_secret_that_is_put_later_is_found_without_a_restart() {
    let (sqs, manager) = (SqsEndpoint::start().await, SecretsEndpoint::start().await);
    manager.behave(Behaviour::Hang);
    let webhook = webhook(&sqs, &manager).await;
    let refused = post(&webhook).await;
    assert_eq!(refused, (500, json!({"error": "config_error"})));
    manager.behave(Behaviour::Give);
    manager.put(ARN, STRIPE_SECRET);
    let started = Instant::now();
    while post(&webhook).await.0 != 200 {
        assert!(started.elapsed() < PATIENCE, "it is never found");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let lines = webhook.stop().await;
    assert!(
        sum(&metrics(&lines), "SecretRefreshFailures") >= 1,
        "{lines:#?}"
    );
}

#[tokio::test]
async fn a_secret_in_two_places_stops_the_start() {
    let variables = [
        ("QUEUE_URL", QUEUE_URL),
        ("STRIPE_WEBHOOK_SECRET_ARN", ARN),
        ("STRIPE_WEBHOOK_SECRETS", STRIPE_SECRET),
    ];
    let mut webhook = Function::start(&function("webhook"), &variables).await;
    assert_eq!(webhook.exit().await.code(), Some(1));
    let lines = webhook.stop().await;
    assert!(
        lines[0].contains("STRIPE_WEBHOOK_SECRET_ARN is set beside"),
        "{lines:?}"
    );
    assert!(!lines[0].contains(STRIPE_SECRET), "{lines:?}");
}

#[tokio::test]
async fn a_batch_is_counted_in_one_line() {
    let database = Database::start().await;
    let variables = [
        ("EVENTS_TABLE", billhook_embedded::stack::EVENTS_TABLE),
        ("BILLING_TABLE", billhook_embedded::stack::BILLING_TABLE),
        ("STRIPE_MODE", "test"),
        ("AWS_ENDPOINT_URL_DYNAMODB", database.dynamodb.endpoint()),
        ("STACK_NAME", "billhook-tests"),
        ("LOG_LEVEL", "error"),
    ];
    let consumer = Function::start(&function("consumer"), &variables).await;
    let good = customer_event("evt_1", "cus_1", "ada@example.test");
    let mut live = customer_event("evt_2", "cus_1", "ada@example.test");
    live["livemode"] = true.into();
    let poison = r#"{"id":"evt_3","type":"customer.updated"}"#.to_owned();
    let bodies = [good.to_string(), good.to_string(), live.to_string(), poison];
    let records = bodies.iter().enumerate();
    let records = records.map(|(i, body)| record(&format!("message-{i}"), &message(body), 1));
    let answer = consumer.invoke(&batch(records)).await.response();
    assert_eq!(failures(&answer), [""; 0]);
    let metrics = metrics(&consumer.stop().await);
    assert_eq!(metrics.len(), 1, "{metrics:#?}");
    let line = &metrics[0];
    assert_eq!(line["Stack"], "billhook-tests");
    for (name, count) in [
        ("Ignored", 1),
        ("OtherMode", 1),
        ("Parked", 1),
        ("StripeEvents", 2),
    ] {
        assert_eq!(line[name], count, "{name}: {line:#}");
    }
    // Two deliveries of one event at the same moment may both count as applied.
    let number = |name: &str| line[name].as_i64().unwrap_or(0);
    assert_eq!(number("Applied") + number("Duplicate"), 2, "{line:#}");
    let lag = &line["LagSecs"];
    let lag = lag.as_i64().or_else(|| lag[0].as_i64()).expect("a lag");
    assert!((0..now()).contains(&lag), "{line:#}");
}
