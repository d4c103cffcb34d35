//! Nothing that came with a request reaches a log but ids and types (promise G10).
//!
//! Secrets, an address and a signature are planted wherever a sender can write, in shapes that would break a line,
//! colour a terminal or pass for a metric, and looked for in every line of both functions, whatever becomes of
//! the delivery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use billhook_core::scope::Source;
use billhook_core::signature::stripe;
use billhook_embedded::stack::Stack;
use billhook_tests::faults::{Call, Fault, Faults};
use billhook_tests::harness::{
    Ground, Lines, NOW, RECEIVES_MAX, SECRET, STRIPES_ADDRESS, VISIBILITY, answer,
    deliver_messages, drain, from_address, message, post, record, request, stack_with,
};
use consumer::record::DeliveryOutcome;
use serde_json::{Value, json};
use webhook::secrets::Secrets;

/// What must never be seen. Each is planted in more than one place.
const PLANTED: [&str; 4] = [
    "whsec_tests",
    "sk_live_planted",
    "planted@example.test",
    "PlantedName",
];

/// Texts that carry something planted, each in another shape.
fn carriers() -> Vec<String> {
    vec![
        "planted@example.test".to_owned(),
        "a\nPlantedName\r\nb".to_owned(),
        "\u{1b}[31mPlantedName\u{1b}[0m".to_owned(),
        r#"{"_aws":{"Timestamp":1},"PlantedName":1}"#.to_owned(),
        "\",\"level\":\"PlantedName\"".to_owned(),
        "sk_live_planted ".repeat(200),
    ]
}

/// Bodies with `text` in every place that is read.
fn bodies(text: &str) -> Vec<Vec<u8>> {
    let event = |changes: Value| {
        let mut event = json!({"id": "evt_plain", "object": "event", "type": "customer.updated", "created": 10,
            "livemode": false, "api_version": text, "request": {"id": text, "idempotency_key": text},
            "data": {"object": {"id": "cus_1", "email": text, "name": text, "metadata": {text: text}},
                "previous_attributes": {"email": text}}});
        for (name, value) in changes.as_object().expect("changes") {
            event[name] = value.clone();
        }
        event.to_string().into_bytes()
    };
    let object = |object: Value| json!({"object": object});
    vec![
        event(json!({})),
        event(json!({"id": text})),
        event(json!({"type": text})),
        event(json!({"account": text})),
        event(json!({"data": object(json!({"id": text, "email": text}))})),
        event(json!({"type": "charge.updated",
            "data": object(json!({"id": text, "customer": text, "payment_intent": text}))})),
        event(
            json!({"type": "refund.updated", "data": object(json!({"id": text, "charge": text, "status": text}))}),
        ),
        event(
            json!({"type": "invoice.paid", "data": object(json!({"id": text, "customer": {"id": text}}))}),
        ),
        event(json!({"type": "invoice.paid", "data": object(json!({"id": text}))})),
        event(json!({"livemode": true, "id": text})),
        event(json!({"object": "v2.core.event", "type": text})),
        event(json!({"created": text})),
        event(json!({"livemode": text})),
        event(json!({"data": text})),
        json!({"id": text}).to_string().into_bytes(),
        json!([text]).to_string().into_bytes(),
        text.as_bytes().to_vec(),
        [text.as_bytes(), b"\xff"].concat(),
    ]
}

struct Watched {
    stack: Stack,
    ground: Ground,
    faults: Faults,
    lines: Lines,
}

impl Watched {
    async fn start() -> Self {
        let (ground, faults, lines) = (
            Ground::embedded().await,
            Faults::default(),
            Lines::default(),
        );
        let mut stack = stack_with(lines.log()).await;
        stack.consumer.store = ground.store_with(faults.client(&ground.endpoint));
        stack.store = ground.store.clone();
        Self {
            stack,
            ground,
            faults,
            lines,
        }
    }

    /// Every line so far is one JSON object on one line, and shows nothing that was planted.
    fn shows_nothing(&self) -> Vec<Value> {
        let signature = stripe::sign(b"{}", SECRET, NOW);
        let scheme = signature.split_once("v1=").expect("a signature").0;
        let read = |line: &String| {
            let shown = line.to_lowercase();
            for planted in PLANTED {
                let found = shown.contains(&planted.to_lowercase());
                assert!(!found, "a line shows {planted}: {line}");
            }
            assert!(
                !line.contains("v1=") && !line.contains(scheme),
                "a signature: {line}"
            );
            let plain = line.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            assert!(plain, "a line breaks out of its line: {line:?}");
            assert!(line.len() < 1_000, "a line has no end: {line:.200}");
            let value: Value = serde_json::from_str(line).expect("a line is JSON");
            assert!(value.is_object(), "a line is one object: {line}");
            assert!(
                value.get("_aws").is_none(),
                "a sender makes no metrics: {line}"
            );
            value
        };
        let lines = self.lines.all();
        assert!(!lines.is_empty(), "something was logged");
        lines.iter().map(read).collect()
    }
}

fn outcomes(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for line in lines {
        if let Some(outcome) = line["outcome"].as_str() {
            *outcomes.entry(outcome.to_owned()).or_default() += 1;
        }
    }
    outcomes
}

fn all_seen(lines: &[Value], wanted: &[&str]) {
    let seen = outcomes(lines);
    for wanted in wanted {
        assert!(seen.contains_key(*wanted), "{wanted} is not among {seen:?}");
    }
}

#[tokio::test]
async fn no_line_of_either_function_shows_what_an_event_says() {
    let watched = Watched::start().await;
    for text in carriers() {
        for body in bodies(&text) {
            assert_eq!(post(&watched.stack, &body).await.0, 200);
            assert_eq!(post(&watched.stack, &body).await.0, 200);
        }
    }
    drain(&watched.stack).await;
    let lines = watched.shows_nothing();
    let wanted = [
        "enqueued",
        "applied",
        "duplicate",
        "stale",
        "ignored",
        "parked",
    ];
    all_seen(&lines, &wanted);
}

#[tokio::test]
async fn no_line_about_a_refused_delivery_shows_its_signature_or_body() {
    let mut watched = Watched::start().await;
    let handled = async |stack: &Stack, path: &str, body: &[u8], signature: Option<&str>| {
        // From Stripe, since of the others only the first ten of a minute have a line.
        let request = from_address(request(path, body, signature), STRIPES_ADDRESS);
        answer(stack.webhook.handle(request).await).0
    };
    let path = "/webhooks/stripe";
    let body = &bodies("planted@example.test")[0];
    let digits = "5ca1ab1e".repeat(8);
    let headers = [
        format!("t={NOW},v1={digits}"),
        format!("t={},v1={digits}", NOW - 9_999),
        stripe::sign(body, SECRET, NOW - 9_999),
        stripe::sign(body, SECRET, NOW + 9_999),
        format!("t=PlantedName,v1={digits}"),
        format!("t={NOW},t=1,v1={digits}"),
        format!("t={NOW},v0={digits}"),
        "whsec_tests".to_owned(),
        "planted@example.test=sk_live_planted".to_owned(),
        "t=1,".repeat(5_000),
    ];
    for header in &headers {
        let status = handled(&watched.stack, path, body, Some(header)).await;
        assert_eq!(status, 400, "{header:.60}");
    }
    assert_eq!(handled(&watched.stack, path, body, None).await, 400);
    let signature = stripe::sign(b"", SECRET, NOW);
    assert_eq!(
        handled(&watched.stack, path, b"", Some(&signature)).await,
        400
    );
    let large = "planted@example.test ".repeat(13_000).into_bytes();
    assert_eq!(post(&watched.stack, &large).await.0, 413);
    let elsewhere = "/webhooks/planted@example.test";
    assert_eq!(handled(&watched.stack, elsewhere, body, None).await, 404);
    watched.stack.queue.set_down(true);
    assert_eq!(post(&watched.stack, body).await.0, 503);
    watched.stack.webhook.secrets = Secrets::fixed(Some("whsec_tests ,sk_live_planted"), None);
    assert_eq!(post(&watched.stack, body).await.0, 500);
    assert_eq!(
        watched.stack.queue.counts().await.expect("counts").queued,
        0
    );

    let lines = watched.shows_nothing();
    for line in watched.lines.all() {
        assert!(!line.contains("5ca1ab1e"), "a signature is shown: {line}");
    }
    let wanted = [
        "signature_mismatch",
        "timestamp_too_old",
        "timestamp_in_future",
        "bad_timestamp",
        "duplicate_timestamp",
        "no_v1_signature",
        "malformed_header",
        "missing_header",
        "empty_body",
        "body_too_large",
        "queue_unavailable",
        "config_error",
    ];
    all_seen(&lines, &wanted);
}

#[tokio::test]
async fn no_line_about_a_failing_store_shows_what_an_event_says() {
    let watched = Watched::start().await;
    let post_carriers = async || {
        for text in carriers() {
            for body in bodies(&text) {
                assert_eq!(post(&watched.stack, &body).await.0, 200);
            }
        }
    };
    post_carriers().await;
    // Each call fails in another way.
    for fault in [
        Fault::NotSent,
        Fault::AnswerLost,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ] {
        watched.faults.when(move |_| Some(fault));
        while !watched.stack.work_once(Duration::ZERO).await.is_empty() {}
        watched.stack.queue.advance(VISIBILITY);
    }
    // The store itself refuses: there is no table any more.
    watched.faults.none();
    let drop = watched.ground.client.delete_table();
    let dropped = drop.table_name(&watched.ground.tables.billing).send().await;
    dropped.expect("the table is gone");
    while !watched.stack.work_once(Duration::ZERO).await.is_empty() {}
    watched.stack.queue.advance(VISIBILITY);
    // On the last receive what cannot be written is parked.
    for _ in 5..=RECEIVES_MAX {
        while !watched.stack.work_once(Duration::ZERO).await.is_empty() {}
        watched.stack.queue.advance(VISIBILITY);
    }
    let lines = watched.shows_nothing();
    all_seen(&lines, &["retry", "parked"]);
    let reasons = |start: &str| {
        let reason = |line: &&Value| {
            line["reason"]
                .as_str()
                .is_some_and(|r| r.starts_with(start))
        };
        lines.iter().filter(reason).count()
    };
    assert!(reasons("panicked") > 0 && reasons("retries_exhausted") > 0);
    assert!(reasons("write a row: refused (ResourceNotFoundException)") > 0);
}

#[tokio::test]
async fn no_line_about_a_strange_message_shows_it() {
    let watched = Watched::start().await;
    let mut messages = Vec::new();
    for text in carriers() {
        let envelope = |v: Value, source: &str, body: &str| {
            json!({"v": v, "source": source, "body": body}).to_string()
        };
        let eventbridge = json!({"source": "aws.partner/stripe.com/ed_1", "id": text, "detail-type": text,
            "detail": {"id": text, "type": text, "email": text}});
        for (i, message_text) in [
            text.clone(),
            envelope(json!(1), Source::Stripe.name(), &text),
            envelope(json!(2), Source::Stripe.name(), &text),
            envelope(json!(1), &text, ""),
            envelope(json!(text), &text, &text),
            eventbridge.to_string(),
        ]
        .into_iter()
        .enumerate()
        {
            let receives = if i % 2 == 0 { 1 } else { RECEIVES_MAX };
            messages.push(message(message_text, receives));
        }
    }
    let mut no_body = record(b"", 1);
    no_body.body = None;
    messages.push(no_body);
    let count = messages.len();
    let deliveries = deliver_messages(&watched.stack.consumer, messages).await;
    assert_eq!(deliveries.len(), count, "each record is told of");
    let retries = deliveries
        .iter()
        .filter(|d| d.outcome == DeliveryOutcome::Retry);
    let parked = deliveries
        .iter()
        .filter(|d| d.outcome == DeliveryOutcome::Parked);
    assert!(retries.count() > 0 && parked.count() > 0);
    all_seen(&watched.shows_nothing(), &["retry", "parked"]);
}

/// A rule for the faults that never fires keeps the calls countable.
#[tokio::test]
async fn a_delivery_is_one_line_of_each_function() {
    let watched = Watched::start().await;
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = calls.clone();
    watched.faults.when(move |_: &Call| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        None
    });
    let body = &bodies("x")[0];
    post(&watched.stack, body).await;
    drain(&watched.stack).await;
    let lines = watched.shows_nothing();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        (lines[0]["outcome"].as_str(), lines[1]["outcome"].as_str()),
        (Some("enqueued"), Some("applied"))
    );
    for line in &lines {
        assert_eq!(
            (line["event_id"].as_str(), line["event_type"].as_str()),
            (Some("evt_plain"), Some("customer.updated"))
        );
    }
    // The second says all that the first says: at the usual level a delivery is one line.
    assert_eq!(lines[0]["level"], "DEBUG");
    assert_eq!(lines[1]["level"], "INFO");
    assert_eq!(
        calls.load(std::sync::atomic::Ordering::Relaxed),
        2,
        "a row and a record"
    );
}
