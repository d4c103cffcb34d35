//! Deliveries at once, in the orders that their I/O calls can come in: whichever it is, the state at the end is
//! the one of deliveries one after the other (promise G3), and of two that belong together at least one sees
//! the other.

use std::sync::Arc;

use billhook_core::scope::Scope;
use billhook_tests::harness::{
    Ground, Lines, consumer, deliver, differences, ledger, platform, say, state,
};
use billhook_tests::turns::Schedules;
use consumer::Consumer;
use consumer::record::DeliveryOutcome;
use serde_json::{Value, json};

/// An event without its account.
type Event = Value;

fn event(id: &str, event_type: &str, created: i64, object: Value) -> Event {
    json!({"id": id, "object": "event", "type": event_type, "created": created, "livemode": false,
        "data": {"object": object}})
}

fn intent(customer: Option<&str>) -> Event {
    let object = json!({"id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 1000,
        "currency": "usd", "customer": customer});
    event("evt_intent", "payment_intent.succeeded", 10, object)
}

fn charge(id: &str, created: i64, customer: Option<&str>, intent: Option<&str>) -> Event {
    let object = json!({"id": "ch_1", "object": "charge", "status": "succeeded", "amount": 1000,
        "amount_refunded": 0, "currency": "usd", "customer": customer, "payment_intent": intent});
    event(id, "charge.updated", created, object)
}

fn refund(id: &str, created: i64, charge: Option<&str>, intent: Option<&str>) -> Event {
    let object = json!({"id": "re_1", "object": "refund", "status": "succeeded", "amount": 400,
        "currency": "usd", "charge": charge, "payment_intent": intent});
    event(id, "refund.updated", created, object)
}

fn dispute(charge: &str) -> Event {
    let object = json!({"id": "dp_1", "object": "dispute", "status": "needs_response", "amount": 1000,
        "currency": "usd", "charge": charge});
    event("evt_dispute", "charge.dispute.created", 12, object)
}

fn subscription(id: &str, created: i64, status: &str, metadata: &str) -> Event {
    let object = json!({"id": "sub_1", "object": "subscription", "status": status, "customer": "cus_1",
        "metadata": {"note": metadata}, "items": {"data": []}});
    event(id, "customer.subscription.updated", created, object)
}

/// The event as a connected account sends it: every run has its own.
fn of_account(event: &Event, account: &str) -> Vec<u8> {
    let mut event = event.clone();
    event["account"] = json!(account);
    event.to_string().into_bytes()
}

async fn customer(ground: &Ground, account: &str) -> Value {
    let scope = Scope {
        account: Some(account.to_owned()),
        ..platform()
    };
    let mut state = state(&ground.store, &scope, "cus_1").await;
    forget_account_and_twin(&mut state);
    state
}

/// Runs differ in their account, and of two events with one state either may stand for it.
fn forget_account_and_twin(state: &mut Value) {
    match state {
        Value::Object(map) => {
            map.remove("account");
            if let Some(Value::Object(as_of)) = map.get_mut("as_of") {
                as_of.remove("event");
            }
            map.values_mut().for_each(forget_account_and_twin);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_account_and_twin),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Delivers `before` one after the other, then `at_once` in every schedule, and compares with `at_once` one
/// after the other. `holds` says what must be true of that.
async fn in_every_order(
    name: &str,
    switches_max: usize,
    before: &[Event],
    at_once: &[Event],
    holds: impl Fn(&Value) -> bool,
) {
    let ground = Ground::embedded().await;
    let quiet = || Lines::default().log();
    let alone = consumer(ground.store.clone(), quiet());
    for event in before.iter().chain(at_once) {
        deliver(&alone, &of_account(event, "acct_alone")).await;
    }
    let wanted = customer(&ground, "acct_alone").await;
    assert!(holds(&wanted), "{name}, one after the other: {wanted:#}");

    let mut schedules = Schedules::new(at_once.len(), switches_max);
    let consumers: Vec<Arc<Consumer>> = schedules
        .actors()
        .iter()
        .map(|actor| {
            Arc::new(consumer(
                ground.store_with(actor.client(&ground.endpoint)),
                quiet(),
            ))
        })
        .collect();
    let mut runs = 0;
    loop {
        let account = format!("acct_{runs}");
        for event in before {
            deliver(&alone, &of_account(event, &account)).await;
        }
        let mut deliveries = Vec::new();
        for (i, event) in at_once.iter().enumerate() {
            let (consumer, actor) = (consumers[i].clone(), schedules.actors()[i].clone());
            let body = of_account(event, &account);
            deliveries.push(tokio::spawn(async move {
                let delivery = deliver(&consumer, &body).await;
                actor.done();
                (body, delivery)
            }));
        }
        schedules.run().await;
        for delivery in deliveries {
            let (body, delivery) = delivery.await.expect("a delivery never panics");
            assert_ne!(
                delivery.outcome,
                DeliveryOutcome::Retry,
                "{name}: so few never make a row busy: {:?}",
                schedules.turns()
            );
            let entry = ledger(&ground.store, &body).await;
            assert!(entry.is_some(), "{name}: it is marked");
        }
        let got = customer(&ground, &account).await;
        let found = [differences(&wanted, &got), differences(&got, &wanted)].concat();
        assert!(
            found.is_empty(),
            "{name}: with the turns {:?} it ends otherwise: {found:#?}",
            schedules.turns()
        );
        runs += 1;
        if !schedules.advance() {
            break;
        }
    }
    say(&format!(
        "{name}: {runs} schedules of {} deliveries end alike",
        at_once.len()
    ));
}

fn refunded(state: &Value) -> bool {
    state["refunds"]["re_1"]["amount"] == 400
}

const ALL: usize = usize::MAX;

#[tokio::test]
async fn a_refund_and_its_charge_find_each_other() {
    let at_once = [
        refund("evt_r", 11, Some("ch_1"), None),
        charge("evt_c", 10, Some("cus_1"), None),
    ];
    in_every_order("refund and charge", 3, &[], &at_once, refunded).await;
}

#[tokio::test]
async fn a_refund_and_its_payment_intent_find_each_other() {
    let at_once = [
        refund("evt_r", 11, None, Some("pi_1")),
        intent(Some("cus_1")),
    ];
    in_every_order("refund and intent", 2, &[], &at_once, refunded).await;
}

#[tokio::test]
async fn a_refund_that_names_both_its_parents_finds_either() {
    let at_once = [
        refund("evt_r", 11, Some("ch_1"), Some("pi_1")),
        intent(Some("cus_1")),
    ];
    in_every_order("refund with two parents", 2, &[], &at_once, refunded).await;
}

#[tokio::test]
async fn a_grandchild_is_reached_while_its_parent_is_on_its_way() {
    let before = [refund("evt_r", 11, Some("ch_1"), None)];
    let at_once = [
        charge("evt_c", 10, None, Some("pi_1")),
        intent(Some("cus_1")),
    ];
    in_every_order(
        "charge and intent, a refund waits",
        2,
        &before,
        &at_once,
        refunded,
    )
    .await;
    let before = [charge("evt_c", 10, None, Some("pi_1"))];
    let at_once = [
        refund("evt_r", 11, Some("ch_1"), None),
        intent(Some("cus_1")),
    ];
    in_every_order(
        "refund and intent, a charge waits",
        2,
        &before,
        &at_once,
        refunded,
    )
    .await;
}

#[tokio::test]
async fn three_generations_at_once_find_each_other() {
    let at_once = [
        refund("evt_r", 11, Some("ch_1"), None),
        charge("evt_c", 10, None, Some("pi_1")),
        intent(Some("cus_1")),
    ];
    in_every_order("refund, charge and intent", 1, &[], &at_once, refunded).await;
}

#[tokio::test]
async fn two_children_find_their_parent_at_once() {
    let at_once = [
        refund("evt_r", 11, Some("ch_1"), None),
        dispute("ch_1"),
        charge("evt_c", 10, Some("cus_1"), None),
    ];
    let both = |state: &Value| refunded(state) && state["open_disputes"] == json!(["dp_1"]);
    in_every_order("refund, dispute and charge", 1, &[], &at_once, both).await;
}

/// Whoever the newest state of a charge names has its refund too, and a state that names none means none.
#[tokio::test]
async fn a_refund_goes_with_a_charge_that_changes_hands() {
    let waiting = [refund("evt_r", 12, Some("ch_1"), None)];
    let from_one_to = |new: Option<&str>| {
        [
            charge("evt_old", 10, Some("cus_1"), None),
            charge("evt_new", 11, new, None),
        ]
    };
    let [old, new] = from_one_to(None);
    let nothing = Value::is_null;
    let name = "a charge that is detached, a refund waits";
    in_every_order(name, 2, &waiting, &[old.clone(), new.clone()], nothing).await;
    let name = "an old charge and a refund";
    in_every_order(name, 2, &[new], &[old, waiting[0].clone()], nothing).await;

    let [old, new] = from_one_to(Some("cus_2"));
    let name = "a charge that goes to another customer, a refund waits";
    in_every_order(name, 2, &waiting, &[old.clone(), new.clone()], nothing).await;
    let name = "an old charge of another customer and a refund";
    in_every_order(name, 2, &[new], &[old, waiting[0].clone()], nothing).await;

    let taken = charge("evt_old", 10, Some("cus_2"), None);
    let given = charge("evt_new", 11, Some("cus_1"), None);
    let name = "a charge that comes from another customer, and its refund";
    let at_once = [given.clone(), waiting[0].clone()];
    let before = std::slice::from_ref(&taken);
    in_every_order(name, 2, before, &at_once, refunded).await;
    let name = "a charge that comes from another customer, a refund of the other waits";
    let before = [taken, waiting[0].clone()];
    let again = charge("evt_newer", 13, Some("cus_1"), None);
    in_every_order(name, 2, &before, &[given, again], refunded).await;
}

/// An intent that changes hands takes its charge and the charge's refund along.
#[tokio::test]
async fn a_grandchild_goes_with_an_intent_that_changes_hands() {
    let of = |id: &str, created: i64, customer: &str| {
        let object = json!({"id": "pi_1", "object": "payment_intent", "status": "requires_capture",
            "amount": 1000, "currency": "usd", "customer": customer});
        event(
            id,
            "payment_intent.amount_capturable_updated",
            created,
            object,
        )
    };
    let before = [
        of("evt_i", 9, "cus_2"),
        charge("evt_c", 10, None, Some("pi_1")),
    ];
    let at_once = [
        of("evt_j", 12, "cus_1"),
        refund("evt_r", 11, Some("ch_1"), None),
    ];
    let name = "an intent that comes from another customer, and its charge's refund";
    in_every_order(name, 2, &before, &at_once, refunded).await;
}

#[tokio::test]
async fn one_event_delivered_twice_at_once_is_one_event() {
    let at_once = [
        refund("evt_r", 11, Some("ch_1"), None),
        refund("evt_r", 11, Some("ch_1"), None),
        charge("evt_c", 10, Some("cus_1"), None),
    ];
    in_every_order("a refund twice and its charge", 1, &[], &at_once, refunded).await;
}

#[tokio::test]
async fn events_of_one_object_at_once_end_in_the_newest() {
    let newest = |state: &Value| state["best_subscription_status"] == "past_due";
    let at_once = [
        subscription("evt_1", 10, "incomplete", "a"),
        subscription("evt_2", 11, "active", "b"),
        subscription("evt_3", 12, "past_due", "c"),
    ];
    in_every_order(
        "three seconds of a subscription",
        ALL,
        &[],
        &at_once,
        newest,
    )
    .await;
}

#[tokio::test]
async fn events_of_one_second_at_once_end_alike_in_every_order() {
    let at_once = [
        subscription("evt_1", 10, "active", "a"),
        subscription("evt_2", 10, "active", "b"),
        subscription("evt_3", 10, "active", "c"),
    ];
    let there = |state: &Value| state["best_subscription_status"] == "active";
    in_every_order("three of one second", 2, &[], &at_once, there).await;
    let before = [subscription("evt_0", 9, "incomplete", "z")];
    in_every_order(
        "three of one second over an older row",
        2,
        &before,
        &at_once,
        there,
    )
    .await;
}
