//! What events leave open is settled by a look at the object, and only by one that is not older than what is known.
//!
//! Stripe is a small server of the tests' own on 127.0.0.1 that answers with what it is told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use billhook_aws::AwsEnvironment;
use billhook_aws::secret::Secret;
use billhook_stripe::{ApiKey, StripeApi, parse_key};
use billhook_tests::harness::deliver_messages;
use billhook_tests::harness::{Ground, Lines, NOW, consumer, deliver, platform, record, state};
use billhook_tests::secrets_endpoint::SecretsEndpoint;
use consumer::Consumer;
use consumer::record::DeliveryOutcome;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A second that is long over at the tests' time.
const THEN: i64 = NOW - 1000;

/// What Stripe is asked, and what it answers: a status and a body each time.
#[derive(Default)]
struct Script {
    answers: VecDeque<(u16, Value)>,
    asked: Vec<String>,
    /// How often it was asked with another key than the one that it knows.
    refused: usize,
    /// An event that another consumer carries out while Stripe answers the first time.
    meanwhile: Option<(Arc<Consumer>, Vec<u8>)>,
}

type Stripe = Arc<Mutex<Script>>;

async fn answer(
    State(stripe): State<Stripe>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    let meanwhile = stripe.lock().expect("no answer panicked").meanwhile.take();
    if let Some((other, event)) = meanwhile {
        let delivery = deliver(&other, &event).await;
        assert_eq!(delivery.outcome, DeliveryOutcome::Applied, "{delivery:?}");
    }
    if headers["authorization"] != "Bearer sk_test_1" {
        stripe.lock().expect("no answer panicked").refused += 1;
        let error = json!({"error": {"type": "invalid_request_error"}});
        return (StatusCode::UNAUTHORIZED, error.to_string()).into_response();
    }
    assert_eq!(headers["stripe-version"], billhook_stripe::API_VERSION);
    let mut stripe = stripe.lock().expect("no answer panicked");
    stripe.asked.push(path);
    let (status, body) = stripe
        .answers
        .pop_front()
        .expect("no more questions than answers");
    let status = StatusCode::from_u16(status).expect("a status");
    (status, body.to_string()).into_response()
}

/// A Stripe that answers so, one after the other.
async fn stripe(answers: &[(u16, Value)]) -> (StripeApi, Stripe) {
    let (url, stripe) = stripe_at(answers).await;
    let key = ApiKey::Plain("sk_test_1".to_owned());
    (StripeApi::new(&url, key), stripe)
}

/// The same, by its URL alone.
async fn stripe_at(answers: &[(u16, Value)]) -> (String, Stripe) {
    let script = Script {
        answers: answers.iter().cloned().collect(),
        ..Script::default()
    };
    let stripe = Arc::new(Mutex::new(script));
    let router = Router::new()
        .route("/v1/{*path}", get(answer))
        .with_state(stripe.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, stripe)
}

fn subscription(status: &str) -> Value {
    json!({"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status})
}

/// An update of the subscription from one status to another.
fn update(event: &str, second: i64, from: &str, to: &str) -> Vec<u8> {
    let event = json!({"id": event, "object": "event", "type": "customer.subscription.updated",
        "api_version": "2026-10-28.endive", "created": second, "livemode": false,
        "data": {"object": subscription(to), "previous_attributes": {"status": from}}});
    event.to_string().into_bytes()
}

/// Two updates of one second that end where they began: nothing tells which of the two states that is.
fn circle() -> [Vec<u8>; 2] {
    [
        update("evt_1", THEN, "active", "past_due"),
        update("evt_2", THEN, "past_due", "active"),
    ]
}

async fn shown(ground: &Ground) -> (Value, bool) {
    let state = state(&ground.store, &platform(), "cus_1").await;
    let subscription = &state["subscriptions"]["sub_1"];
    (
        subscription["status"].clone(),
        subscription["needs_refetch"] == true,
    )
}

async fn with_stripe(ground: &Ground, answers: &[(u16, Value)]) -> (Consumer, Stripe) {
    let mut consumer = consumer(ground.store.clone(), Lines::default().log());
    let (api, script) = stripe(answers).await;
    consumer.stripe = Some(api);
    (consumer, script)
}

#[tokio::test]
async fn without_a_key_what_is_open_stays_marked() {
    let ground = Ground::embedded().await;
    let consumer = consumer(ground.store.clone(), Lines::default().log());
    for event in circle() {
        assert_eq!(deliver(&consumer, &event).await.reason, None);
    }
    assert!(
        shown(&ground).await.1,
        "the circle may have begun in either state"
    );
}

#[tokio::test]
async fn what_events_leave_open_is_what_stripe_says() {
    for says in ["past_due", "active"] {
        let ground = Ground::embedded().await;
        let (consumer, script) = with_stripe(&ground, &[(200, subscription(says))]).await;
        for event in circle() {
            let delivery = deliver(&consumer, &event).await;
            assert!(!delivery.needs_refetch, "{delivery:?}");
        }
        assert_eq!(shown(&ground).await, (json!(says), false));
        assert_eq!(script.lock().unwrap().asked, ["subscriptions/sub_1"]);
        // What is settled is not asked for again, and its events change nothing any more.
        for event in circle() {
            assert_eq!(
                deliver(&consumer, &event).await.outcome,
                DeliveryOutcome::Duplicate
            );
        }
        assert_eq!(shown(&ground).await, (json!(says), false));
    }
}

#[tokio::test]
async fn a_newer_event_wins_over_a_settled_second() {
    let ground = Ground::embedded().await;
    let (consumer, _) = with_stripe(&ground, &[(200, subscription("past_due"))]).await;
    for event in circle() {
        deliver(&consumer, &event).await;
    }
    deliver(&consumer, &update("evt_3", NOW, "past_due", "unpaid")).await;
    assert_eq!(shown(&ground).await, (json!("unpaid"), false));
}

#[tokio::test]
async fn a_look_that_was_overtaken_is_not_written() {
    let ground = Ground::embedded().await;
    // While Stripe answers with an old state, another consumer carries out a newer event.
    let (consumer, script) = with_stripe(&ground, &[(200, subscription("past_due"))]).await;
    let other = Arc::new(billhook_tests::harness::consumer(
        ground.store.clone(),
        Lines::default().log(),
    ));
    let newer = update("evt_3", THEN + 10, "active", "canceled");
    script.lock().unwrap().meanwhile = Some((other, newer));
    for event in circle() {
        deliver(&consumer, &event).await;
    }
    assert_eq!(shown(&ground).await, (json!("canceled"), false));
}

#[tokio::test]
async fn an_object_that_is_gone_becomes_a_tombstone() {
    let ground = Ground::embedded().await;
    let (consumer, _) = with_stripe(&ground, &[(404, json!({"error": {}}))]).await;
    for event in circle() {
        deliver(&consumer, &event).await;
    }
    assert_eq!(shown(&ground).await.0, Value::Null);
}

#[tokio::test]
async fn where_stripe_does_not_answer_the_message_comes_again_and_is_never_parked() {
    let ground = Ground::embedded().await;
    let down = (500, json!({"error": {"type": "api_error"}}));
    let (consumer, _) = with_stripe(&ground, &[down.clone(), down]).await;
    let [first, second] = circle();
    deliver(&consumer, &first).await;
    let delivery = deliver(&consumer, &second).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Retry);
    assert!(
        delivery
            .reason
            .as_deref()
            .is_some_and(|why| why.contains("500")),
        "{delivery:?}"
    );
    let last = record(&second, consumer.max_receive_count);
    let delivery = deliver_messages(&consumer, vec![last]).await.remove(0);
    assert_ne!(
        delivery.outcome,
        DeliveryOutcome::Parked,
        "its content is in the row"
    );
    assert!(delivery.needs_refetch && shown(&ground).await.1);
}

#[tokio::test]
async fn a_second_that_is_not_over_is_not_settled_yet() {
    let ground = Ground::embedded().await;
    let (consumer, script) = with_stripe(&ground, &[]).await;
    deliver(&consumer, &update("evt_1", NOW, "active", "past_due")).await;
    let delivery = deliver(&consumer, &update("evt_2", NOW, "past_due", "active")).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Retry);
    assert!(
        script.lock().unwrap().asked.is_empty(),
        "it would show a later state"
    );
}

#[tokio::test]
async fn entitlements_past_the_first_ten_are_asked_for() {
    let entitlement =
        |i: i32| json!({"id": format!("ent_{i}"), "lookup_key": format!("feature_{i:02}")});
    let page = |range: std::ops::Range<i32>, more: bool| {
        (
            200,
            json!({"object": "list", "data": range.map(entitlement).collect::<Vec<_>>(), "has_more": more}),
        )
    };
    let ground = Ground::embedded().await;
    let (consumer, script) =
        with_stripe(&ground, &[page(0..100, true), page(100..112, false)]).await;
    let event = json!({"id": "evt_1", "object": "event", "created": THEN, "livemode": false,
        "type": "entitlements.active_entitlement_summary.updated",
        "data": {"object": {"object": "entitlements.active_entitlement_summary", "customer": "cus_1",
            "entitlements": {"object": "list", "has_more": true,
                "data": (0..10).map(entitlement).collect::<Vec<_>>()}}}});
    let delivery = deliver(&consumer, event.to_string().as_bytes()).await;
    assert!(!delivery.needs_refetch, "{delivery:?}");
    let state = state(&ground.store, &platform(), "cus_1").await;
    assert_eq!(state["entitlements"].as_array().map(Vec::len), Some(112));
    assert_eq!(script.lock().unwrap().asked.len(), 2);
}

#[tokio::test]
async fn a_key_in_secrets_manager_is_read_when_it_is_needed_and_again_once_it_is_refused() {
    const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:StripeApiKey-AbCdEf";
    let ground = Ground::embedded().await;
    let manager = SecretsEndpoint::start().await;
    manager.put(ARN, "sk_test_old");
    let now_ms = Arc::new(AtomicI64::new(NOW * 1000));
    let told = now_ms.clone();
    let environment = AwsEnvironment::local(manager.url().to_owned());
    let secret = Secret::new(
        &environment,
        ARN.to_owned(),
        parse_key,
        Arc::new(move || told.load(Ordering::SeqCst)),
    );
    let (url, script) = stripe_at(&[(200, subscription("past_due"))]).await;
    let mut consumer = consumer(ground.store.clone(), Lines::default().log());
    consumer.stripe = Some(StripeApi::new(&url, ApiKey::Managed(Arc::new(secret))));
    let [first, second] = circle();
    deliver(&consumer, &first).await;
    assert_eq!(manager.requests(), 0, "nothing was open yet");
    let delivery = deliver(&consumer, &second).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Retry);
    assert_eq!(manager.requests(), 1, "read just now, so not again");

    // Rolled in Stripe and told to Secrets Manager; half a minute later the refused key is read again.
    manager.put(ARN, "sk_test_1");
    now_ms.fetch_add(30_000, Ordering::SeqCst);
    let delivery = deliver(&consumer, &second).await;
    assert_eq!(delivery.outcome, DeliveryOutcome::Applied, "{delivery:?}");
    assert_eq!(shown(&ground).await, ("past_due".into(), false));
    assert_eq!(manager.requests(), 2);
    assert_eq!(script.lock().expect("no answer panicked").refused, 3);
}
