//! A fault at every I/O call of every delivery of whole lives: whatever stops a delivery, wherever it stops, the
//! redelivery ends in the state of an undisturbed run (promises G1, G2, G3 and G6).
//!
//! A life is played in two ways. In one, each delivery meets a fault at the call of the same number, 0, 1, 2, …, of
//! as many runs as the longest delivery makes calls, and what was stopped comes again when all else is through. In
//! the other, an event's first delivery is stopped at its first call, its second at its second, and so on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use billhook_core::ledger::Outcome;
use billhook_core::log::{Level, Log};
use billhook_store::Store;
use billhook_tests::faults::{Fault, Faults};
use billhook_tests::harness::{Ground, Life, consumer, deliver, differences, ledger, life, say};
use consumer::Consumer;
use consumer::record::DeliveryOutcome;
use serde_json::Value;

/// A consumer function whose calls can be made to fail, on empty tables.
struct Run {
    ground: Ground,
    faults: Faults,
    consumer: Consumer,
}

impl Run {
    async fn on(endpoint: &str) -> Self {
        let ground = Ground::at(endpoint.to_owned()).await;
        let faults = Faults::default();
        let store = ground.store_with(faults.client(&ground.endpoint));
        let consumer = consumer(store, Log::new(Level::Error, |_| {}));
        Self {
            ground,
            faults,
            consumer,
        }
    }

    /// Delivers an event undisturbed.
    async fn deliver(&self, body: &[u8]) {
        self.faults.none();
        let delivery = deliver(&self.consumer, body).await;
        assert_ne!(
            delivery.outcome,
            DeliveryOutcome::Retry,
            "an undisturbed delivery is carried to its end: {delivery:?}"
        );
    }

    /// Delivers an event with a fault at one call. Returns what was called if it came so far.
    async fn stop_at(&self, body: &[u8], call: usize, fault: Fault) -> Option<String> {
        self.faults.at(call, fault);
        let delivery = deliver(&self.consumer, body).await;
        let (injected, calls) = (self.faults.injected(), self.faults.calls());
        self.faults.none();
        if injected == 0 {
            return None;
        }
        assert_eq!(
            delivery.outcome,
            DeliveryOutcome::Retry,
            "a delivery that was stopped by {fault:?} at call {call} stays on the queue: {delivery:?}"
        );
        let failed = &calls[call];
        let table = if failed.request.contains(&self.ground.tables.events) {
            "events"
        } else {
            "billing"
        };
        Some(format!("{} {table}", failed.operation))
    }

    /// An event that the ledger calls applied must need nothing more: another delivery of it changes no row.
    async fn applied_means_settled(&self, body: &[u8]) {
        let entry = ledger(&self.ground.store, body).await;
        if entry.is_none_or(|entry| entry.outcome != Outcome::Applied) {
            return;
        }
        let before = self.rows().await;
        self.deliver(body).await;
        let after = self.rows().await;
        let changed = after
            .iter()
            .filter(|(key, row)| before.get(*key) != Some(row));
        let changed: Vec<_> = changed.map(|(key, _)| key).collect();
        assert!(
            changed.is_empty(),
            "an event is marked applied only when every row and link of it is settled, but {changed:?} changed"
        );
    }

    /// Every item of the billing table by key.
    async fn rows(&self) -> BTreeMap<String, HashMap<String, AttributeValue>> {
        let scan = self.ground.client.scan();
        let items = scan.table_name(&self.ground.tables.billing).send().await;
        let items = items.expect("the table can be read").items;
        let with_key = |item: HashMap<String, AttributeValue>| {
            let key = format!("{:?} {:?}", item["pk"], item["sk"]);
            (key, item)
        };
        items
            .unwrap_or_default()
            .into_iter()
            .map(with_key)
            .collect()
    }

    /// What is known of the life's customers, and of each event.
    async fn end(&self, life: &Life) -> (BTreeMap<String, Value>, Vec<Outcome>) {
        let states = life.states(&self.ground.store).await;
        let states = states.into_iter().map(|(customer, mut state)| {
            forget_which_twin(&mut state);
            (customer, state)
        });
        (states.collect(), outcomes(&self.ground.store, life).await)
    }
}

async fn outcomes(store: &Store, life: &Life) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for body in &life.events {
        let entry = ledger(store, body).await;
        outcomes.push(entry.expect("the ledger holds every event").outcome);
    }
    outcomes
}

/// Two events that show the same state in the same second are as good as each other.
fn forget_which_twin(state: &mut Value) {
    match state {
        Value::Object(map) => {
            if let Some(Value::Object(as_of)) = map.get_mut("as_of") {
                as_of.remove("event");
            }
            map.values_mut().for_each(forget_which_twin);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_which_twin),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn same_end(life: &Life, how: &str, got: &End, wanted: &End) {
    for (customer, wanted) in &wanted.0 {
        let (got, wanted) = (&got.0[customer], wanted);
        let found = [differences(wanted, got), differences(got, wanted)].concat();
        assert!(found.is_empty(), "{}: {how}: {found:#?}", life.name);
    }
    assert_eq!(got.1, wanted.1, "{}: {how}: the ledger", life.name);
}

#[derive(Default)]
struct Tally {
    runs: usize,
    stopped: usize,
    sites: BTreeSet<String>,
}

/// Stops every delivery of a life at every call in every way, redelivers, and compares.
async fn stop_everywhere(mut life: Life, reversed: bool) {
    if reversed {
        life.events.reverse();
    }
    let order = if reversed {
        "reversed"
    } else {
        "in true order"
    };
    let ground = Ground::embedded().await;
    let undisturbed = Run::on(&ground.endpoint).await;
    for body in &life.events {
        undisturbed.deliver(body).await;
    }
    let wanted = undisturbed.end(&life).await;
    assert_eq!(
        life.wrong(&undisturbed.ground.store).await,
        Vec::<String>::new(),
        "{} {order} ends right undisturbed",
        life.name
    );
    assert!(
        wanted.1.iter().all(|outcome| *outcome != Outcome::Parked),
        "no event of a life is parked"
    );

    let mut tally = Tally::default();
    // Each way with a fault that took effect and one that did not, and with a caller that lives on and one
    // that is gone.
    for fault in [Fault::NotSent, Fault::CrashAfter] {
        redelivered_at_the_end(&ground, &life, fault, &wanted, &mut tally).await;
    }
    for fault in [Fault::AnswerLost, Fault::CrashBefore] {
        redelivered_at_once(&ground, &life, fault, &wanted, &mut tally).await;
    }
    say(&format!(
        "{} {order}: {} deliveries stopped in {} runs, at {:?}",
        life.name, tally.stopped, tally.runs, tally.sites
    ));
}

type End = (BTreeMap<String, Value>, Vec<Outcome>);

/// Stops each delivery at one call, goes on with the next event, and redelivers what was stopped at the end.
async fn redelivered_at_the_end(
    ground: &Ground,
    life: &Life,
    fault: Fault,
    wanted: &End,
    tally: &mut Tally,
) {
    for call in 0.. {
        let run = Run::on(&ground.endpoint).await;
        let mut stopped = Vec::new();
        for body in &life.events {
            if let Some(site) = run.stop_at(body, call, fault).await {
                // Now, not at the end: another event that was stopped may by then have left a link for its own redelivery.
                run.applied_means_settled(body).await;
                tally.sites.insert(site);
                stopped.push(body);
            }
        }
        if stopped.is_empty() {
            return;
        }
        tally.runs += 1;
        tally.stopped += stopped.len();
        // The others were acknowledged and never come back.
        if call % 2 == 1 {
            stopped.reverse();
        }
        for body in stopped {
            run.deliver(body).await;
        }
        let how = format!("{fault:?} at call {call} of every delivery, redelivered at the end");
        same_end(life, &how, &run.end(life).await, wanted);
    }
}

/// Stops each event's first delivery at its first call, its second at its second, and so on until one gets
/// through, before the next event comes.
async fn redelivered_at_once(
    ground: &Ground,
    life: &Life,
    fault: Fault,
    wanted: &End,
    tally: &mut Tally,
) {
    let run = Run::on(&ground.endpoint).await;
    for body in &life.events {
        for call in 0.. {
            let Some(site) = run.stop_at(body, call, fault).await else {
                break;
            };
            run.applied_means_settled(body).await;
            tally.sites.insert(site);
            tally.stopped += 1;
        }
    }
    let how = format!("{fault:?} at each call in turn, redelivered at once");
    same_end(life, &how, &run.end(life).await, wanted);
    tally.runs += 1;
}

macro_rules! lives {
    ($($name:ident: $life:literal, $reversed:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                stop_everywhere(life($life), $reversed).await;
            }
        )*
    };
}

lives! {
    ada_survives_a_fault_at_every_call: "ada", false;
    ada_reversed_survives_a_fault_at_every_call: "ada", true;
    a_full_refund_survives_a_fault_at_every_call: "full_refund", false;
    a_full_refund_reversed_survives_a_fault_at_every_call: "full_refund", true;
    a_lost_dispute_survives_a_fault_at_every_call: "dispute_lost", false;
    a_lost_dispute_reversed_survives_a_fault_at_every_call: "dispute_lost", true;
    a_checkout_survives_a_fault_at_every_call: "checkout_subscription", false;
    a_checkout_reversed_survives_a_fault_at_every_call: "checkout_subscription", true;
}
