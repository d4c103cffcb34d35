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
use billhook_core::metrics::Metrics;
use billhook_core::scope::Mode;
use billhook_stripe::{ApiKey, StripeApi, parse_key};
use billhook_tests::harness::{Ground, Lines, NOW, consumer, deliver, platform, state};
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
    (StripeApi::new(&url, key, Mode::Test), stripe)
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

/// The error that Stripe answers if there is no such object, or the key cannot see it.
fn missing() -> Value {
    json!({"error": {"type": "invalid_request_error", "code": "resource_missing", "param": "id"}})
}

#[tokio::test]
async fn what_stripe_calls_deleted_becomes_a_tombstone() {
    let ground = Ground::embedded().await;
    let deleted = json!({"id": "sub_1", "object": "subscription", "deleted": true});
    let (consumer, _) = with_stripe(&ground, &[(200, deleted)]).await;
    for event in circle() {
        deliver(&consumer, &event).await;
    }
    assert_eq!(shown(&ground).await.0, Value::Null);
}

/// A key of another mode or account, a proxy, a permission that is missing: none of them says that the object is gone.
#[tokio::test]
async fn a_look_that_fails_leaves_the_row_as_it_is_and_marked() {
    let table = [
        (404, missing(), "not_found"),
        (404, json!({"error": {}}), "not_found"),
        (404, json!("<html>"), "not_found"),
        (
            401,
            json!({"error": {"type": "invalid_request_error"}}),
            "unauthorized",
        ),
        (
            403,
            json!({"error": {"code": "more_permissions_required"}}),
            "forbidden",
        ),
        (
            429,
            json!({"error": {"code": "rate_limit"}}),
            "rate_limited",
        ),
        (
            500,
            json!({"error": {"type": "api_error"}}),
            "stripe_failed",
        ),
        (200, json!({"id": "sub_2"}), "unreadable"),
        (200, json!({"id": "sub_1"}), "unreadable"),
        (
            200,
            json!({"id": "sub_1", "livemode": true}),
            "key_of_other_mode",
        ),
    ];
    for (status, body, reason) in table {
        let ground = Ground::embedded().await;
        let answer = (status, body.clone());
        let (consumer, _) = with_stripe(&ground, &[answer.clone(), answer]).await;
        let [first, second] = circle();
        deliver(&consumer, &first).await;
        let delivery = deliver(&consumer, &second).await;
        assert_eq!(
            delivery.outcome,
            DeliveryOutcome::Applied,
            "{status} {body}"
        );
        assert_eq!(delivery.refetch_failed, Some(reason), "{status} {body}");
        let (shown, marked) = shown(&ground).await;
        assert!(shown != Value::Null && marked, "{status} {body}");
    }
}

#[tokio::test]
async fn a_key_of_the_other_mode_is_as_good_as_none_and_spoken_of_once() {
    let ground = Ground::embedded().await;
    let lines = Lines::default();
    let mut consumer = consumer(ground.store.clone(), lines.log());
    let (url, script) = stripe_at(&[]).await;
    let key = ApiKey::Plain("rk_live_1".to_owned());
    consumer.stripe = Some(StripeApi::new(&url, key, Mode::Test));
    for event in circle().iter().chain(&circle()) {
        let delivery = deliver(&consumer, event).await;
        assert_ne!(delivery.outcome, DeliveryOutcome::Retry);
    }
    assert!(shown(&ground).await.1);
    assert!(script.lock().unwrap().asked.is_empty(), "nobody was asked");
    let spoken_of = lines
        .all()
        .join("\n")
        .matches("is for the other mode: nothing is read")
        .count();
    assert_eq!(spoken_of, 1);
}

/// A look can show a parent that no event has named: the object waits for it like any other.
#[tokio::test]
async fn what_a_look_shows_waits_for_its_parents_too() {
    let refund = |status: &str, charge: Option<&str>| json!({"id": "re_1", "object": "refund", "status": status, "amount": 5, "currency": "usd", "charge": charge});
    let update = |id: &str, from: &str, to: &str| {
        let event = json!({"id": id, "object": "event", "type": "refund.updated", "created": THEN, "livemode": false,
            "data": {"object": refund(to, None), "previous_attributes": {"status": from}}});
        event.to_string().into_bytes()
    };
    let ground = Ground::embedded().await;
    let told = refund("pending", Some("ch_1"));
    let (consumer, _) = with_stripe(&ground, &[(200, told)]).await;
    deliver(&consumer, &update("evt_1", "pending", "requires_action")).await;
    let delivery = deliver(&consumer, &update("evt_2", "requires_action", "pending")).await;
    assert!(!delivery.needs_refetch, "{delivery:?}");
    let charge = json!({"id": "evt_3", "object": "event", "type": "charge.updated", "created": NOW, "livemode": false,
        "data": {"object": {"id": "ch_1", "object": "charge", "customer": "cus_1", "status": "succeeded"}}});
    deliver(&consumer, charge.to_string().as_bytes()).await;
    let state = state(&ground.store, &platform(), "cus_1").await;
    assert_eq!(state["refunds"]["re_1"]["status"], "pending");
}

fn invoice(status: &str) -> Value {
    json!({"id": "in_1", "object": "invoice", "customer": "cus_1", "status": status, "amount_due": 5})
}

/// Drafts can be deleted; and an event that comes after such a look counts.
#[tokio::test]
async fn a_draft_that_is_not_there_is_gone_until_an_event_says_otherwise() {
    let ground = Ground::embedded().await;
    let (consumer, _) = with_stripe(&ground, &[(404, missing())]).await;
    let update = |event: &str, due: i64, before: i64| {
        let mut draft = invoice("draft");
        draft["amount_due"] = due.into();
        let event = json!({"id": event, "object": "event", "type": "invoice.updated", "created": THEN, "livemode": false,
            "data": {"object": draft, "previous_attributes": {"amount_due": before}}});
        event.to_string().into_bytes()
    };
    deliver(&consumer, &update("evt_1", 6, 5)).await;
    let delivery = deliver(&consumer, &update("evt_2", 5, 6)).await;
    assert!(!delivery.needs_refetch, "{delivery:?}");
    let invoices = async || state(&ground.store, &platform(), "cus_1").await["invoices"].clone();
    assert_eq!(invoices().await, json!({}));
    let paid = json!({"id": "evt_3", "object": "event", "type": "invoice.paid", "created": NOW, "livemode": false,
        "data": {"object": invoice("paid")}});
    deliver(&consumer, paid.to_string().as_bytes()).await;
    assert_eq!(invoices().await["in_1"]["status"], "paid");
}

#[tokio::test]
async fn a_second_that_is_not_over_is_settled_later() {
    let ground = Ground::embedded().await;
    let (mut consumer, script) = with_stripe(&ground, &[(200, subscription("past_due"))]).await;
    deliver(&consumer, &update("evt_1", NOW, "active", "past_due")).await;
    let delivery = deliver(&consumer, &update("evt_2", NOW, "past_due", "active")).await;
    assert_eq!(
        delivery.outcome,
        DeliveryOutcome::Applied,
        "no record waits for it"
    );
    assert!(delivery.needs_refetch && delivery.refetch_failed.is_none());
    consumer.look_at_open_rows().await;
    assert!(
        script.lock().unwrap().asked.is_empty(),
        "it would show a later state"
    );
    assert!(shown(&ground).await.1);

    // A minute later nothing more has come.
    consumer.clock = Arc::new(|| (NOW + 61) * 1000);
    consumer.look_at_open_rows().await;
    assert_eq!(shown(&ground).await, (json!("past_due"), false));
    consumer.clock = Arc::new(|| (NOW + 200) * 1000);
    consumer.look_at_open_rows().await;
    assert_eq!(
        script.lock().unwrap().asked.len(),
        1,
        "it is not open any more"
    );
}

/// Without a key the open rows are counted, once a minute.
#[tokio::test]
async fn rows_that_stay_open_are_counted_once_a_minute() {
    let ground = Ground::embedded().await;
    let counted = Lines::default();
    let mut consumer = consumer(ground.store.clone(), Lines::default().log());
    consumer.metrics = Metrics::new(Some("stack".to_owned()), counted.writer());
    for event in circle() {
        deliver(&consumer, &event).await;
    }
    for second in [0, 30, 59, 60, 61, 121] {
        consumer.clock = Arc::new(move || (NOW + second) * 1000);
        consumer.look_at_open_rows().await;
    }
    let said = counted.all().join("\n");
    assert_eq!(said.matches("\"NeedsRefetch\":1").count(), 3, "{said}");
    deliver(&consumer, &update("evt_3", NOW, "active", "past_due")).await;
    consumer.clock = Arc::new(|| (NOW + 500) * 1000);
    consumer.look_at_open_rows().await;
    assert_eq!(counted.all().join("\n"), said, "none is open any more");
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
    let key = ApiKey::Managed(Arc::new(secret));
    consumer.stripe = Some(StripeApi::new(&url, key, Mode::Test));
    let [first, second] = circle();
    deliver(&consumer, &first).await;
    assert_eq!(manager.requests(), 0, "nothing was open yet");
    let delivery = deliver(&consumer, &second).await;
    assert_eq!(delivery.refetch_failed, Some("unauthorized"));
    assert_eq!(manager.requests(), 1, "read just now, so not again");

    // Rolled in Stripe and told to Secrets Manager; half a minute later the refused key is read again.
    manager.put(ARN, "sk_test_1");
    now_ms.fetch_add(30_000, Ordering::SeqCst);
    let delivery = deliver(&consumer, &second).await;
    assert!(!delivery.needs_refetch, "{delivery:?}");
    assert_eq!(shown(&ground).await, ("past_due".into(), false));
    assert_eq!(manager.requests(), 2);
    assert_eq!(script.lock().expect("no answer panicked").refused, 3);
}
