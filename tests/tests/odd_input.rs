//! Bodies that nobody should send, and somebody does: each ends where it can be seen, at its first delivery.

use billhook_core::ledger::Outcome;
use billhook_core::scope::{Mode, Scope, Source};
use billhook_tests::harness::{
    Ground, Lines, NOW, Random, consumer, deliver, deliver_messages, ledger, message, platform,
    state,
};
use consumer::record::DeliveryOutcome;
use serde_json::{Value, json};

const DAY: i64 = 86_400;

fn subscription(id: &str, created: i64, metadata: Value) -> Value {
    json!({"id": id, "object": "event", "type": "customer.subscription.updated", "created": created,
        "livemode": false, "data": {"object": {"id": "sub_1", "object": "subscription", "status": "active",
            "customer": "cus_1", "metadata": metadata}}})
}

fn customer(id: &str, metadata: Value) -> Value {
    json!({"id": id, "object": "event", "type": "customer.updated", "created": NOW, "livemode": false,
        "data": {"object": {"id": "cus_1", "object": "customer", "metadata": metadata}}})
}

fn bytes(event: &Value) -> Vec<u8> {
    event.to_string().into_bytes()
}

/// Such a second would outlast every later event of its object. A test clock's may be any.
#[tokio::test]
async fn an_event_of_the_future_is_parked_in_live_mode() {
    let ground = Ground::embedded().await;
    let mut consumer = consumer(ground.store.clone(), Lines::default().log());
    let ahead = |id: &str, secs: i64, live: bool| {
        let mut event = subscription(id, NOW + secs, json!({}));
        event["livemode"] = live.into();
        bytes(&event)
    };
    let delivery = deliver(&consumer, &ahead("evt_1", 400 * DAY, false)).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Applied);
    consumer.mode = Mode::Live;
    let delivery = deliver(&consumer, &ahead("evt_2", DAY + 1, true)).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Parked);
    assert_eq!(delivery.reason.as_deref(), Some("created_in_the_future"));
    let milliseconds = (NOW + DAY) * 1000 - NOW;
    let delivery = deliver(&consumer, &ahead("evt_3", milliseconds, true)).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Parked);
    let delivery = deliver(&consumer, &ahead("evt_4", DAY, true)).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Applied);
}

#[tokio::test]
async fn the_test_event_of_stripes_libraries_is_ignored() {
    let ground = Ground::embedded().await;
    let consumer = consumer(ground.store.clone(), Lines::default().log());
    let delivery = deliver(
        &consumer,
        br#"{"id": "evt_test_webhook", "object": "event"}"#,
    )
    .await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Ignored);
    assert_eq!(delivery.reason.as_deref(), Some("test_event"));
    let delivery = deliver(&consumer, br#"{"id": "evt_1", "object": "event"}"#).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Parked);
}

/// Half an emoji in a note must not cost the subscription its state.
#[tokio::test]
async fn json_that_others_read_is_read() {
    let ground = Ground::embedded().await;
    let consumer = consumer(ground.store.clone(), Lines::default().log());
    let event = customer("evt_1", json!({"note": "HALF", "far": "FAR"}));
    let text = event.to_string();
    let text = text
        .replace("HALF", "cut \\ud83d")
        .replace("\"FAR\"", "1e999");
    let delivery = deliver(&consumer, text.as_bytes()).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Applied, "{delivery:?}");
    let state = state(&ground.store, &platform(), "cus_1").await;
    assert_eq!(state["metadata"], json!({"note": "cut \u{fffd}"}));
    let entry = ledger(&ground.store, text.as_bytes()).await.expect("kept");
    assert_eq!(entry.body, text.as_bytes(), "byte for byte");
}

#[tokio::test]
async fn what_dynamodb_refuses_is_left_out_at_once() {
    let ground = Ground::embedded().await;
    let consumer = consumer(ground.store.clone(), Lines::default().log());
    let mut deep = json!("bottom");
    for _ in 0..60 {
        deep = json!({ "down": deep });
    }
    let odd = json!({"plan": "pro", "": "no name", "far": 1e200, "near": 1e-200, "deep": deep});
    let delivery = deliver(&consumer, &bytes(&customer("evt_1", odd))).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Applied, "{delivery:?}");
    let state = state(&ground.store, &platform(), "cus_1").await;
    assert_eq!(state["metadata"]["plan"], "pro");
    assert_eq!(state["metadata"]["far"], Value::Null);
}

/// The door for EventBridge has no limit of its own.
#[tokio::test]
async fn a_body_above_the_limit_is_parked_unread() {
    let ground = Ground::embedded().await;
    let consumer = consumer(ground.store.clone(), Lines::default().log());
    let mut random = Random::new(7);
    let noise: String = (0..860_000)
        .map(|_| char::from(b'!' + u8::try_from(random.below(90)).unwrap_or(0)))
        .collect();
    let noise = noise.replace(['"', '\\'], "x");
    for (id, filler) in [("evt_1", "x".repeat(860_000)), ("evt_2", noise)] {
        let event = customer(id, json!({ "filler": filler }));
        let bridged = json!({"source": "aws.partner/stripe.com/ed_1", "detail": event});
        let delivery = deliver_messages(&consumer, vec![message(bridged.to_string(), 1)]).await;
        assert_eq!(
            delivery[0].outcome,
            DeliveryOutcome::Parked,
            "{:?}",
            delivery[0]
        );
        assert_eq!(delivery[0].reason.as_deref(), Some("too_large"));
        let scope = Scope {
            source: Source::Stripe,
            ..platform()
        };
        let entry = ground.store.find_event(&scope, id, Some(NOW)).await;
        let entry = entry.expect("the ledger can be read").expect("it is there");
        assert_eq!(entry.outcome, Outcome::Parked);
    }
    assert_eq!(
        state(&ground.store, &platform(), "cus_1").await,
        Value::Null
    );
}
