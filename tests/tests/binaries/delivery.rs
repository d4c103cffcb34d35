//! What the webhook function takes: it reaches the queue whole and well labelled, and then the ledger.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use billhook_core::envelope::{BODY_BYTES_MAX, Envelope};
use billhook_core::ledger::Outcome;
use billhook_core::scope::Source;
use billhook_core::token::{hashed, token};
use billhook_tests::batches::{batch, failures, record};
use billhook_tests::requests::{Form, Request};
use billhook_tests::sqs_endpoint::{QUEUE_URL, Sent};
use serde_json::{Value, json};

use super::{
    BEARBILLING_SECRET, Database, STRIPE_SECRET, customer_event, http, now, sample, webhook,
};

fn envelope(sent: &Sent) -> Envelope {
    Envelope::decode(&sent.body, 0).expect("an envelope")
}

#[tokio::test]
async fn a_signed_event_is_enqueued_and_answered_200_whatever_brought_it() {
    let (webhook, sqs) = webhook().await;
    let body = sample("stripe/charge.succeeded.json");
    let mut tried = 0;
    for form in Form::ALL {
        let request = Request::stripe(body.as_str(), STRIPE_SECRET, now());
        let encoded = STANDARD.encode(&request.body);
        for payload in [
            request.payload(form),
            request.payload_base64(form, &encoded),
        ] {
            let answer = webhook.invoke(&payload).await;
            let expected = json!({"received": true, "id": "evt_1TRgYVGx4RvQe7HkFuymUnZS"});
            assert_eq!(http(answer), (200, expected), "{form:?}");
            tried += 1;
            let all = sqs.sent();
            assert_eq!(all.len(), tried, "{form:?}: one message per delivery");
            let sent = all.last().expect("a message");
            assert_eq!(sent.queue_url, QUEUE_URL);
            assert_eq!(sent.group.as_deref(), Some("cus_TZHbEyVsDncPGg"));
            let attributes = [
                ("event_id", "evt_1TRgYVGx4RvQe7HkFuymUnZS"),
                ("event_type", "charge.succeeded"),
                ("livemode", "false"),
            ];
            let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(sent.attributes, BTreeMap::from(attributes));
            let envelope = envelope(sent);
            assert_eq!(envelope.source, Source::Stripe);
            assert!(envelope.body == body.as_bytes(), "{form:?}: other bytes");
            assert!((now() * 1000 - envelope.received_at_ms).abs() < 60_000);
        }
    }
}

#[tokio::test]
async fn bear_billing_has_its_own_route_secret_and_group() {
    let (webhook, sqs) = webhook().await;
    let body = sample("bearbilling/subscription.created.json");
    for form in Form::ALL {
        let request = Request::bearbilling(body.as_str(), BEARBILLING_SECRET);
        let (status, answer) = http(webhook.invoke(&request.payload(form)).await);
        assert_eq!(
            (status, &answer["received"]),
            (200, &json!(true)),
            "{form:?}"
        );
        let sent = sqs.sent().pop().expect("a message");
        assert_eq!(sent.group.as_deref(), Some("org_5kd82mqx"));
        assert_eq!(envelope(&sent).source, Source::BearBilling);
        assert_eq!(sent.attributes.get("livemode"), None, "it has no modes");
    }
    let crossed = Request::bearbilling(body.as_str(), STRIPE_SECRET);
    let answer = webhook.invoke(&crossed.payload(Form::HttpApi)).await;
    assert_eq!(http(answer), (400, json!({"error": "signature_mismatch"})));
}

#[tokio::test]
async fn what_sqs_would_refuse_for_ever_becomes_a_hash_in_attributes_and_group() {
    let (webhook, sqs) = webhook().await;
    let bad = [
        "ada@example.test",
        "evt_1\nevt_2",
        "\u{1b}[31m",
        "évt",
        &"x".repeat(129),
    ];
    for text in bad {
        let mut event = customer_event(text, text, "a@example.test");
        event["type"] = text.into();
        let request = Request::stripe(event.to_string(), STRIPE_SECRET, now());
        let answer = webhook.invoke(&request.payload(Form::HttpApi)).await;
        assert_eq!(http(answer), (200, json!({"received": true, "id": text})));
        let sent = sqs.sent().pop().expect("a message");
        let hash = token(text).into_owned();
        assert!(hash.starts_with('~'), "{text:?}");
        assert_eq!(sent.attributes.get("event_id"), Some(&hash), "{text:?}");
        assert_eq!(sent.attributes.get("event_type"), Some(&hash), "{text:?}");
        assert_eq!(sent.group.as_ref(), Some(&hash), "{text:?}");
    }
}

#[tokio::test]
async fn a_signed_body_that_is_no_event_is_enqueued_all_the_same() {
    let (webhook, sqs) = webhook().await;
    for body in [&b"hello"[..], b"[]", b"{}", b"null", b"\xff\xfe\x00", b" "] {
        let request = Request::stripe(body, STRIPE_SECRET, now());
        let encoded = STANDARD.encode(body);
        let payload = request.payload_base64(Form::HttpApi, &encoded);
        let answer = webhook.invoke(&payload).await;
        assert_eq!(http(answer), (200, json!({"received": true, "id": null})));
        let sent = sqs.sent().pop().expect("a message");
        assert_eq!(envelope(&sent).body, body);
        assert_eq!(sent.attributes.get("event_id"), Some(&hashed(body)));
        assert_eq!(sent.group.as_deref(), Some("none"));
    }
}

/// Printable characters that no compression makes much smaller.
fn noise(len: usize) -> String {
    let mut state = 7_u64;
    let next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
                [(state >> 58) as usize],
        )
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A signed event of exactly `len` bytes.
fn event_of(len: usize) -> String {
    let mut event = customer_event("evt_large", "cus_large", "a@example.test");
    event["data"]["object"]["metadata"] = json!({ "pad": "" });
    let missing = len - event.to_string().len();
    event["data"]["object"]["metadata"]["pad"] = noise(missing).into();
    let text = event.to_string();
    assert_eq!(text.len(), len);
    text
}

/// Every way of a body through both functions ends in the ledger with the bytes that were signed.
#[tokio::test]
async fn a_body_ends_in_the_ledger_byte_for_byte() {
    let database = Database::start().await;
    let (webhook, sqs) = webhook().await;
    let consumer = database.consumer().await;
    let created = Some(1_794_219_385);
    let mut raw = customer_event("evt_raw", "cus_raw", "a@example.test");
    raw["data"]["object"]["name"] = "\u{fffe}\u{ffff} \u{10ffff} Grüße".into();
    let raw = raw.to_string();
    assert!(raw.contains('\u{ffff}'), "serde_json writes it as it is");
    let mut other_mode = customer_event("evt_live", "cus_1", "a@example.test");
    other_mode["livemode"] = true.into();
    let mut spaced = b"\r\n\t ".to_vec();
    spaced.extend(
        customer_event("evt_spaced", "cus_2", "a@example.test")
            .to_string()
            .bytes(),
    );
    spaced.extend(b"\r\n\0".iter().take(2));
    let not_json = b"\xff\xfe\x00 raw".to_vec();
    let cases: [(Vec<u8>, String, Option<i64>, Outcome); 5] = [
        (
            event_of(BODY_BYTES_MAX).into(),
            "evt_large".into(),
            created,
            Outcome::Applied,
        ),
        (raw.into(), "evt_raw".into(), created, Outcome::Applied),
        (spaced, "evt_spaced".into(), created, Outcome::Applied),
        (
            vec![b'x'; BODY_BYTES_MAX],
            hashed(&vec![b'x'; BODY_BYTES_MAX]),
            None,
            Outcome::Parked,
        ),
        (not_json.clone(), hashed(&not_json), None, Outcome::Parked),
    ];
    for (body, name, created, outcome) in cases {
        let request = Request::stripe(body.as_slice(), STRIPE_SECRET, now());
        let payload = request.payload_base64(Form::HttpApi, &STANDARD.encode(&body));
        let (status, answer) = http(webhook.invoke(&payload).await);
        assert_eq!(status, 200, "{name}: {answer}");
        let sent = sqs.sent().pop().expect("a message");
        let answer = consumer
            .invoke(&batch([record("m-1", &sent.body, 1)]))
            .await;
        assert_eq!(failures(&answer.response()), [""; 0], "{name}");
        let entry = database.entry(&name, created).await;
        let entry = entry.unwrap_or_else(|| panic!("{name} is not in the ledger"));
        assert_eq!(entry.outcome, outcome, "{name}: {:?}", entry.reason);
        assert!(entry.body == body, "{name}: other bytes");
    }
}

#[tokio::test]
async fn one_byte_more_than_256_kib_is_413_before_anything_is_looked_at() {
    let (webhook, sqs) = webhook().await;
    let body = event_of(BODY_BYTES_MAX + 1);
    let too_large = (413, json!({"error": "body_too_large"}));
    let signed = Request::stripe(body.as_str(), STRIPE_SECRET, now());
    let unsigned = Request::unsigned(body.as_str());
    for request in [signed, unsigned] {
        let encoded = STANDARD.encode(&request.body);
        for payload in [
            request.payload(Form::HttpApi),
            request.payload_base64(Form::RestApi, &encoded),
        ] {
            assert_eq!(http(webhook.invoke(&payload).await), too_large);
        }
    }
    assert_eq!(sqs.requests(), 0);
}

#[tokio::test]
async fn a_function_takes_one_delivery_after_another() {
    let (webhook, sqs) = webhook().await;
    for number in 0..50 {
        let id = format!("evt_{number}");
        let event = customer_event(&id, "cus_1", "a@example.test");
        let request = Request::stripe(event.to_string(), STRIPE_SECRET, now());
        let answer = webhook.invoke(&request.payload(Form::HttpApi)).await;
        let expected: Value = json!({"received": true, "id": id});
        assert_eq!(http(answer), (200, expected));
    }
    assert_eq!(sqs.sent().len(), 50);
}
