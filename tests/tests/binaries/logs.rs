//! No log line of either function holds a payload, a secret, a signature or an e-mail address, whatever stands in
//! an event, and no event can write a line of its own.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use billhook_core::signature::stripe;
use billhook_tests::batches::{batch, record};
use billhook_tests::requests::{Form, Request};
use billhook_tests::runtime_api::Function;
use billhook_tests::sqs_endpoint::Behaviour;
use serde_json::{Value, json};

use super::{BEARBILLING_SECRET, Database, STRIPE_SECRET, customer_event, now, webhook};

const EMAIL: &str = "planted.person@example.test";
const NAME: &str = "Planted Person";

/// Ids and types that would like to be more than that.
const FORGED: [&str; 7] = [
    EMAIL,
    "evt_1\n{\"level\":\"ERROR\",\"message\":\"forged planted.person@example.test\"}",
    "evt_1\r\nforged",
    "\u{1b}[31mforged\u{1b}[0m",
    "{\"_aws\":{\"CloudWatchMetrics\":[{\"Namespace\":\"forged\"}]}}",
    "\",\"_aws\":{\"forged\":1},\"x\":\"",
    "\u{2028}forged\u{7}\u{0}",
];

/// Bodies that hold what must not be logged: good ones, forged ones and poison.
fn bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    let mut push = |event: &Value| bodies.push(event.to_string().into_bytes());
    let mut good = customer_event("evt_good", "cus_good", EMAIL);
    good["data"]["object"]["name"] = NAME.into();
    push(&good);
    for forged in FORGED {
        let mut event = customer_event(forged, forged, EMAIL);
        event["type"] = forged.into();
        event["account"] = forged.into();
        push(&event);
        for (field, value) in [
            ("type", json!(forged)),
            ("id", json!(forged)),
            ("api_version", json!(forged)),
            ("created", json!(forged)),
            ("livemode", json!(forged)),
            ("data", json!(forged)),
        ] {
            let mut event = good.clone();
            event[field] = value;
            push(&event);
        }
    }
    for field in ["id", "type", "created", "livemode", "data"] {
        let mut event = good.clone();
        event[field] = Value::Null;
        push(&event);
    }
    for text in [
        EMAIL,
        "{\"email\":\"planted.person@example.test\"",
        "[\"planted.person@example.test\"]",
    ] {
        bodies.push(text.as_bytes().to_vec());
    }
    bodies.push([b"\xff\xfe", EMAIL.as_bytes()].concat());
    bodies
}

/// Nothing planted is in these lines; each is one JSON object of known fields.
fn check(lines: &[String], fields: &[&str]) {
    let known: BTreeSet<&str> = fields.iter().copied().collect();
    for line in lines {
        for planted in [
            EMAIL,
            "planted",
            "Planted",
            "forged",
            "_aws",
            "@",
            STRIPE_SECRET,
            BEARBILLING_SECRET,
            "whsec",
            "v1=",
            "secretexample",
            "sessionexample",
        ] {
            assert!(!line.contains(planted), "{planted:?} is in {line}");
        }
        let readable = line.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
        assert!(readable, "{line:?}");
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let object = value
            .as_object()
            .unwrap_or_else(|| panic!("no object: {line}"));
        for name in object.keys() {
            assert!(known.contains(name.as_str()), "{name:?} is new in {line}");
        }
    }
}

async fn post(webhook: &Function, request: &Request) {
    let encoded = STANDARD.encode(&request.body);
    let answer = webhook
        .invoke(&request.payload_base64(Form::HttpApi, &encoded))
        .await;
    let _ = answer.response();
}

const WEBHOOK_FIELDS: [&str; 11] = [
    "timestamp",
    "level",
    "message",
    "event_id",
    "event_type",
    "source",
    "outcome",
    "status",
    "reason",
    "bytes",
    "duration_us",
];

const CONSUMER_FIELDS: [&str; 10] = [
    "timestamp",
    "level",
    "message",
    "event_id",
    "event_type",
    "outcome",
    "reason",
    "message_id",
    "receive_count",
    "duration_us",
];

#[tokio::test]
async fn nothing_of_a_delivery_but_ids_and_types_reaches_the_webhook_functions_log() {
    let (webhook, sqs) = webhook().await;
    let mut posted = 0;
    for body in bodies() {
        let right = Request::stripe(body.as_slice(), STRIPE_SECRET, now());
        let wrong = Request::stripe(body.as_slice(), BEARBILLING_SECRET, now());
        let aged = Request::stripe(body.as_slice(), STRIPE_SECRET, now() - 1000);
        let forged = Request::unsigned(body.as_slice()).header("stripe-signature", EMAIL);
        let bear = Request::bearbilling(body.as_slice(), BEARBILLING_SECRET);
        for request in [right, wrong, aged, forged, bear] {
            post(&webhook, &request).await;
            posted += 1;
        }
    }
    sqs.behave(Behaviour::Refuse(400, "InvalidMessageContents"));
    post(
        &webhook,
        &Request::stripe(bodies()[1].as_slice(), STRIPE_SECRET, now()),
    )
    .await;
    sqs.behave(Behaviour::Say(
        400,
        r#"{"__type":"InvalidMessageContents","message":"planted.person@example.test"}"#,
    ));
    post(
        &webhook,
        &Request::stripe(bodies()[1].as_slice(), STRIPE_SECRET, now()),
    )
    .await;
    sqs.behave(Behaviour::Say(200, "planted.person@example.test"));
    post(
        &webhook,
        &Request::stripe(bodies()[1].as_slice(), STRIPE_SECRET, now()),
    )
    .await;
    let lines = webhook.stop().await;
    let taken = 2 * bodies().len();
    assert_eq!(
        lines.len(),
        posted - taken + 3,
        "one line for each delivery that was not taken"
    );
    check(&lines, &WEBHOOK_FIELDS);
    let signature = stripe::sign(&bodies()[0], STRIPE_SECRET, now());
    let digits = signature.rsplit('=').next().expect("digits");
    assert!(!lines.iter().any(|line| line.contains(digits)));
}

#[tokio::test]
async fn nothing_of_a_message_but_ids_and_types_reaches_the_consumer_functions_log() {
    let database = Database::start().await;
    let missing = Database::without_tables().await;
    let mut messages: Vec<String> = bodies()
        .into_iter()
        .map(|body| {
            let source = billhook_core::scope::Source::Stripe;
            billhook_core::envelope::Envelope {
                source,
                received_at_ms: 1,
                body,
            }
            .encode()
        })
        .collect();
    messages.extend(FORGED.map(str::to_owned));
    messages
        .extend(FORGED.map(|forged| json!({"v": 1, "source": forged, "body": forged}).to_string()));
    messages.extend(FORGED.map(|forged| {
        json!({"source": "aws.partner/stripe.com/ed_1", "detail-type": forged, "detail": {"id": forged}}).to_string()
    }));
    for database in [&database, &missing] {
        let consumer = database.consumer().await;
        for (number, messages) in messages.chunks(10).enumerate() {
            let records = messages.iter().enumerate();
            let records = records.map(|(at, body)| record(&format!("m-{number}-{at}"), body, 8));
            let _ = consumer.invoke(&batch(records)).await.response();
        }
        let lines = consumer.stop().await;
        let handled = lines
            .iter()
            .filter(|line| line.contains("delivery handled"));
        assert_eq!(handled.count(), messages.len(), "one line per delivery");
        // Without tables the open rows cannot be asked for, which is said once a minute.
        assert!(lines.len() <= messages.len() + 2, "{lines:#?}");
        check(&lines, &CONSUMER_FIELDS);
    }
}
