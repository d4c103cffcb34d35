//! The payloads in `events/` do what `events/README.md` says.

use std::collections::BTreeSet;

use billhook_core::ledger::Outcome;
use billhook_core::scope::Source;
use billhook_tests::batches::failures;
use billhook_tests::functions::workspace;
use billhook_tests::sqs_endpoint::SqsEndpoint;
use serde_json::{Value, json};

use super::{Database, http, sample, scope, webhook_at};

fn payload(name: &str) -> Value {
    serde_json::from_str(&sample(name)).expect("a sample is JSON")
}

/// The files of a folder below `events/`.
fn files(folder: &str) -> BTreeSet<String> {
    let folder = std::fs::read_dir(workspace().join("events").join(folder)).expect("a folder");
    folder
        .map(|file| {
            file.expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[tokio::test]
async fn every_request_gets_the_answer_that_the_page_says() {
    let aged = (400, json!({"error": "timestamp_too_old"}));
    let unsigned = (400, json!({"error": "missing_header"}));
    let received = (200, json!({"received": true, "id": "bev_5e06030ce406d404"}));
    let answers = [
        ("alb_aged.json", aged.clone()),
        ("function_url_aged.json", aged.clone()),
        ("http_api_v2_aged.json", aged.clone()),
        ("http_api_v2_base64_aged.json", aged.clone()),
        ("http_api_v2_bearbilling.json", received),
        ("http_api_v2_unsigned.json", unsigned),
        ("rest_api_aged.json", aged),
    ];
    let sqs = SqsEndpoint::start().await;
    let secrets = [
        ("STRIPE_WEBHOOK_SECRETS", "whsec_example"),
        ("BEARBILLING_WEBHOOK_SECRETS", "bbsec_example"),
    ];
    let webhook = webhook_at(sqs.url(), &secrets).await;
    for (name, expected) in &answers {
        let answer = webhook
            .invoke(&payload(&format!("apigateway/{name}")))
            .await;
        assert_eq!(http(answer), *expected, "{name}");
    }
    let tried: BTreeSet<String> = answers.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files("apigateway"), tried, "every file is tried");
    assert_eq!(sqs.sent().len(), 1);
}

#[tokio::test]
async fn every_batch_comes_to_what_the_page_says() {
    let stripe = Source::Stripe;
    let batches: [(&str, Source, &[&str]); 5] = [
        ("one_event.json", stripe, &["evt_1TOsPpGx4RvQe7HkBzVwIDst"]),
        (
            "batch_of_three.json",
            stripe,
            &[
                "evt_1TSy8EGx4RvQe7HkBc874DnA",
                "evt_1TRgYVGx4RvQe7HkFuymUnZS",
                "evt_1TOsPpGx4RvQe7HkBzVwIDst",
            ],
        ),
        (
            "one_poison_of_three.json",
            stripe,
            &[
                "evt_1TOsPpGx4RvQe7HkBzVwIDst",
                "evt_1TSy8EGx4RvQe7HkBc874DnA",
            ],
        ),
        (
            "eventbridge.json",
            stripe,
            &["evt_1TRfWCGx4RvQe7HkYuggXWZY"],
        ),
        (
            "bearbilling.json",
            Source::BearBilling,
            &["bev_a50967562b231930"],
        ),
    ];
    for (name, source, applied) in &batches {
        let database = Database::start().await;
        let consumer = database.consumer().await;
        let answer = consumer.invoke(&payload(&format!("sqs/{name}"))).await;
        assert_eq!(failures(&answer.response()), [""; 0], "{name}");
        let lines = consumer.stop().await;
        for event in *applied {
            let line = lines.iter().find(|line| line.contains(event));
            let line = line.unwrap_or_else(|| panic!("{name}: no line of {event}: {lines:#?}"));
            assert!(line.contains("\"outcome\":\"applied\""), "{name}: {line}");
            let created = created(name, event);
            let entry = database
                .store
                .find_event(&scope(*source), event, created)
                .await;
            let entry = entry.expect("the store answers").map(|entry| entry.outcome);
            assert_eq!(entry, Some(Outcome::Applied), "{name}: {event}");
        }
        let parked = u64::from(*name == "one_poison_of_three.json");
        let mode = billhook_core::scope::Mode::Test;
        let count = database.store.count_parked(*source, mode).await;
        assert_eq!(count.expect("the store answers"), parked, "{name}");
    }
    let tried: BTreeSet<String> = batches
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    assert_eq!(files("sqs"), tried, "every file is tried");
}

/// The second an event of a batch was created in.
fn created(batch: &str, event: &str) -> Option<i64> {
    let batch = payload(&format!("sqs/{batch}"));
    let records = batch["Records"].as_array().expect("records");
    let heads = records.iter().filter_map(|record| {
        let body = record["body"].as_str()?;
        let envelope = billhook_core::envelope::Envelope::decode(body, 0).ok()?;
        Some(billhook_core::head::Head::read(
            envelope.source,
            &envelope.body,
        ))
    });
    heads
        .filter(|head| head.id.as_deref() == Some(event))
        .find_map(|head| head.created)
}
