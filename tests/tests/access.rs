//! What the product is told of its customers' access: every real change, nothing else, and in the end what is true,
//! whatever stops, comes twice, comes late or happens at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use access::AccessFunction;
use access::bus::EventBus;
use billhook_aws::AwsEnvironment;
use billhook_core::access::{Policy, Purchases};
use billhook_core::log::Log;
use billhook_core::metrics::Metrics;
use billhook_core::scope::Scope;
use billhook_store::Store;
use billhook_store::{Meter, Units};
use billhook_tests::billing_stream::BillingStream;
use billhook_tests::events_endpoint::{Behaviour, EVENT_BUS, EventsEndpoint, Put};
use billhook_tests::faults::{Fault, Faults};
use billhook_tests::harness::{
    Ground, LIVES, Life, Lines, NOW, Random, consumer, deliver, life, platform, say, state,
};
use billhook_tests::lag::Lag;
use billhook_tests::turns::Schedules;
use consumer::Consumer;
use serde_json::{Value, json};

/// Time enough.
const DEADLINE_MS: i64 = NOW * 1000 + 3_600_000;

/// Tables with a stream, a consumer that writes them, and a bus.
struct Bench {
    ground: Ground,
    stream: BillingStream,
    bus: EventsEndpoint,
    to_bus: EventBus,
    consumer: Consumer,
}

/// An instance of the function at the tests' time.
fn instance(store: Store, bus: EventBus, policy: Policy, log: Log) -> AccessFunction {
    AccessFunction {
        store,
        bus,
        policy,
        clock: Arc::new(|| NOW * 1000),
        log,
        metrics: Metrics::none(),
    }
}

impl Bench {
    async fn start() -> Self {
        let ground = Ground::embedded().await;
        let stream = BillingStream::start(&ground).await;
        let bus = EventsEndpoint::start().await;
        let environment = AwsEnvironment::local(bus.url().to_owned());
        Self {
            stream,
            to_bus: EventBus::new(&environment, EVENT_BUS.to_owned()),
            bus,
            consumer: consumer(ground.store.clone(), Lines::default().log()),
            ground,
        }
    }

    /// An instance of the function on a store of its own.
    fn instance_on(&self, store: Store) -> AccessFunction {
        self.instance(store, policy(), Lines::default().log())
    }

    fn instance(&self, store: Store, policy: Policy, log: Log) -> AccessFunction {
        instance(store, self.to_bus.clone(), policy, log)
    }

    fn function(&self) -> AccessFunction {
        self.instance_on(self.ground.store.clone())
    }

    async fn deliver(&self, event: &Value) {
        deliver(&self.consumer, event.to_string().as_bytes()).await;
    }

    /// Hands the function everything that is in the stream, until nothing comes any more; what was told.
    async fn settle(&mut self, function: &AccessFunction) -> Vec<Put> {
        loop {
            let records = self.stream.records().await;
            if records.is_empty() {
                return self.bus.take();
            }
            assert_eq!(hand_out(function, &records).await, None, "nothing fails");
        }
    }
}

/// Hands a batch out once. The place that it is to be handed out from again.
async fn hand_out(function: &AccessFunction, records: &[Value]) -> Option<usize> {
    if records.is_empty() {
        return None;
    }
    let batch = serde_json::from_value(json!({ "Records": records })).expect("a batch");
    let answer = function.handle(batch, DEADLINE_MS).await;
    failed_place(&answer, records)
}

fn failed_place(answer: &Value, records: &[Value]) -> Option<usize> {
    let failures = answer["batchItemFailures"].as_array();
    let failures = failures.expect("a partial batch response");
    assert!(failures.len() <= 1, "one is enough: {answer}");
    let failed = &failures.first()?["itemIdentifier"];
    let place = records
        .iter()
        .position(|record| record["dynamodb"]["SequenceNumber"] == *failed);
    Some(place.expect("it is one of the batch"))
}

/// As Lambda does: what failed and everything after it comes again.
async fn hand_out_until_done(function: &AccessFunction, records: &[Value]) {
    let mut from = 0;
    for _ in 0..20 {
        match hand_out(function, &records[from..]).await {
            Some(place) => from += place,
            None => return,
        }
    }
    panic!("it never ends");
}

/// What an event says access is.
fn answer_of(detail: &Value) -> Value {
    json!({"granted": detail["granted"], "reason": detail["reason"], "until": detail["until"],
        "subscription": detail["subscription"]})
}

/// The events of each customer, in order of their sequence: what a product makes of them.
fn by_customer(put: &[Put]) -> BTreeMap<String, BTreeMap<u64, Put>> {
    let mut all: BTreeMap<String, BTreeMap<u64, Put>> = BTreeMap::new();
    for put in put {
        let customer = put.detail["customer"].as_str().expect("a customer");
        let sequence = put.detail["sequence"].as_u64().expect("a number");
        let known = all.entry(customer.to_owned()).or_default();
        let before = known.insert(sequence, put.clone());
        assert!(
            before.is_none_or(|before| before == *put),
            "the same event again is the same event"
        );
    }
    all
}

/// The last event of each customer says what the state says; one without events has no access.
async fn assert_true_at_the_end(bench: &Bench, life: &Life, put: &[Put], what: &str) {
    let told = by_customer(put);
    for (customer, state) in life.states(&bench.ground.store).await {
        let last = told.get(&customer).and_then(|told| told.values().last());
        match last {
            Some(last) => assert_eq!(
                answer_of(&last.detail),
                state["access"],
                "{}, {what}: {put:#?}",
                life.name
            ),
            None => assert_ne!(state["access"]["granted"], true, "{}, {what}", life.name),
        }
    }
}

async fn access_of(store: &Store, customer: &str) -> Value {
    let scope = platform();
    let state = store.customer_state(&scope, customer, NOW, policy());
    let state = state.await.expect("the state can be read");
    state.map_or(Value::Null, |state| state["access"].clone())
}

/// Purchases grant, so that more can change.
fn policy() -> Policy {
    Policy {
        purchases: Purchases::GrantForEver,
        ..Policy::default()
    }
}

fn subscription(id: &str, created: i64, status: &str, period_end: i64) -> Value {
    let item = json!({"id": "si_1", "price": {"id": "price_1"}, "current_period_end": period_end});
    json!({"id": id, "object": "event", "type": "customer.subscription.updated", "created": created,
        "livemode": false, "data": {"object": {"id": "sub_1", "object": "subscription",
            "customer": "cus_1", "status": status, "items": {"data": [item]}}}})
}

fn purchase(id: &str, created: i64) -> Value {
    json!({"id": id, "object": "event", "type": "checkout.session.completed", "created": created,
        "livemode": false, "data": {"object": {"id": "cs_1", "object": "checkout.session",
            "customer": "cus_1", "mode": "payment", "status": "complete", "payment_status": "paid",
            "payment_intent": "pi_1", "created": created}}})
}

fn charge(id: &str, created: i64, refunded: i64) -> Value {
    json!({"id": id, "object": "event", "type": "charge.updated", "created": created, "livemode": false,
        "data": {"object": {"id": "ch_1", "object": "charge", "customer": "cus_1", "status": "succeeded",
            "payment_intent": "pi_1", "amount": 1000, "amount_refunded": refunded, "currency": "usd"}}})
}

#[tokio::test]
async fn each_life_is_told_change_by_change_and_nothing_twice() {
    for name in LIVES {
        let life = life(name);
        let mut bench = Bench::start().await;
        let function = bench.function();
        let mut all = Vec::new();
        let mut known: BTreeMap<String, Value> = BTreeMap::new();
        for event in &life.events {
            deliver(&bench.consumer, event).await;
            let put = bench.settle(&function).await;
            for (customer, state) in life.states(&bench.ground.store).await {
                let access = state["access"].clone();
                let of = |put: &&Put| put.detail["customer"] == customer;
                let told: Vec<&Put> = put.iter().filter(of).collect();
                let before = known.get(&customer);
                let never = before.is_none() && access["granted"] != true;
                if access.is_null() || before == Some(&access) || (never && told.is_empty()) {
                    assert_eq!(told.len(), 0, "{name}: nothing has changed: {told:#?}");
                    continue;
                }
                assert_eq!(told.len(), 1, "{name}: from {before:?} to {access}");
                let detail = &told[0].detail;
                assert_eq!(answer_of(detail), access, "{name}");
                assert_eq!(detail["changed_at"], NOW, "{name}");
                assert_eq!(told[0].time, NOW, "{name}");
                let previous = before.map(
                    |before| json!({"granted": before["granted"], "reason": before["reason"]}),
                );
                assert_eq!(detail["previous"], previous.unwrap_or_default(), "{name}");
                let had = before.is_some_and(|before| before["granted"] == true);
                let kind = match (had, access["granted"] == true) {
                    (false, true) => "Access Granted",
                    (true, false) => "Access Revoked",
                    (false, false) if before.is_none() => "Access Revoked",
                    (true, true) | (false, false) => "Access Changed",
                };
                assert_eq!(told[0].detail_type, kind, "{name}");
                known.insert(customer, access);
            }
            all.extend(put);
        }
        for told in by_customer(&all).values() {
            let sequences: Vec<u64> = told.keys().copied().collect();
            let wanted: Vec<u64> = (1..=told.len() as u64).collect();
            assert_eq!(sequences, wanted, "{name}: there is no gap");
        }
        assert_true_at_the_end(&bench, &life, &all, "in order").await;
        let kinds: Vec<&str> = all.iter().map(|put| put.detail_type.as_str()).collect();
        say(&format!(
            "{name}: {} events of Stripe's, told: {kinds:?}",
            life.events.len()
        ));
    }
}

#[tokio::test]
async fn whatever_order_events_and_records_come_in_the_last_is_true() {
    for (number, name) in LIVES.into_iter().enumerate() {
        let life = life(name);
        for seed in 0..3 {
            let mut random = Random::new(seed * 100 + number as u64);
            let mut bench = Bench::start().await;
            let function = bench.function();
            let mut events = life.events.clone();
            random.shuffle(&mut events);
            let mut all = Vec::new();
            for part in events.chunks(1 + random.below(6)) {
                for event in part {
                    deliver(&bench.consumer, event).await;
                }
                loop {
                    let mut records = bench.stream.records().await;
                    if records.is_empty() {
                        break;
                    }
                    let again = records[random.below(records.len())].clone();
                    records.push(again);
                    random.shuffle(&mut records);
                    for batch in records.chunks(1 + random.below(8)) {
                        hand_out_until_done(&function, batch).await;
                    }
                }
                all.extend(bench.bus.take());
            }
            assert_true_at_the_end(&bench, &life, &all, &format!("seed {seed}")).await;
        }
    }
}

#[tokio::test]
async fn whichever_call_fails_or_is_the_last_one_the_redelivery_tells_it() {
    let faults = [
        Fault::NotSent,
        Fault::AnswerLost,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ];
    let mut runs = 0;
    for fault in faults {
        for number in 0.. {
            let mut bench = Bench::start().await;
            let course = Faults::default();
            let client = course.client(&bench.ground.endpoint);
            let function = bench.instance_on(bench.ground.store_with(client));
            bench.deliver(&purchase("evt_1", 10)).await;
            bench
                .deliver(&subscription("evt_2", 11, "active", 99))
                .await;
            course.at(number, fault);
            loop {
                let records = bench.stream.records().await;
                if records.is_empty() {
                    break;
                }
                hand_out_until_done(&function, &records).await;
            }
            let told = by_customer(&bench.bus.take());
            let last = told["cus_1"].values().last().expect("told");
            let access = access_of(&bench.ground.store, "cus_1").await;
            assert_eq!(answer_of(&last.detail), access, "{fault:?} at {number}");
            if course.injected() == 0 {
                break;
            }
            runs += 1;
        }
    }
    say(&format!(
        "{runs} failures at a call of the store end in the truth"
    ));
    assert!(runs >= 4 * 4, "every call was tried: {runs}");
}

#[tokio::test]
async fn a_stop_between_the_note_and_the_bus_loses_nothing() {
    let mut bench = Bench::start().await;
    bench
        .deliver(&subscription("evt_1", 10, "active", 99))
        .await;
    let first = bench.function();
    let rows = bench.stream.records().await;
    assert_eq!(hand_out(&first, &rows).await, None);
    // The first instance is gone. Its note is in the stream.
    drop(first);
    let notes = bench.stream.records().await;
    assert_eq!(notes.len(), 1);
    assert_eq!(bench.bus.take(), []);
    let second = bench.function();
    assert_eq!(hand_out(&second, &rows).await, None, "redelivered");
    assert_eq!(hand_out(&second, &notes).await, None);
    let put = bench.bus.take();
    assert_eq!(put.len(), 1);
    assert_eq!(put[0].detail["granted"], true);
    assert_eq!(bench.settle(&second).await, [], "there is nothing more");
}

#[tokio::test]
async fn what_the_bus_does_not_take_comes_again() {
    let mut bench = Bench::start().await;
    let function = bench.function();
    for n in 0..12 {
        let mut event = subscription(&format!("evt_{n}"), 10, "active", 99);
        event["data"]["object"]["id"] = json!(format!("sub_{n}"));
        event["data"]["object"]["customer"] = json!(format!("cus_{n}"));
        bench.deliver(&event).await;
    }
    let rows = bench.stream.records().await;
    assert_eq!(hand_out(&function, &rows).await, None);
    let notes = bench.stream.records().await;
    assert_eq!(notes.len(), 12);

    bench
        .bus
        .behave(Behaviour::Refuse(400, "AccessDeniedException"));
    assert_eq!(hand_out(&function, &notes).await, Some(0));
    bench
        .bus
        .behave(Behaviour::Refuse(503, "InternalException"));
    assert_eq!(hand_out(&function, &notes).await, Some(0));
    assert_eq!(bench.bus.take(), []);

    // One entry of ten: those before it are done, those after it come again.
    bench.bus.behave(Behaviour::FailEntryOnce(3));
    assert_eq!(hand_out(&function, &notes).await, Some(3));
    assert_eq!(
        bench.bus.take().len(),
        9,
        "a call takes ten, one of it failed"
    );
    assert_eq!(hand_out(&function, &notes[3..]).await, None);
    let put = bench.bus.take();
    let told: Vec<&Value> = put.iter().map(|put| &put.detail["customer"]).collect();
    let noted = notes[3..].iter();
    let noted: Vec<&Value> = noted
        .map(|record| &record["dynamodb"]["NewImage"]["customer"]["S"])
        .collect();
    assert_eq!(told, noted, "in order");

    bench.bus.behave(Behaviour::LoseAnswer);
    assert_eq!(hand_out(&function, &notes[11..]).await, Some(0));
    bench.bus.behave(Behaviour::Take);
    assert_eq!(hand_out(&function, &notes[11..]).await, None);
    let put = bench.bus.take();
    assert!(put.len() >= 2, "at least once");
    assert!(
        put.iter().all(|again| *again == put[0]),
        "and always the same"
    );
}

#[tokio::test]
async fn a_customer_who_fails_is_handed_out_again_from_the_first_record_on() {
    let mut bench = Bench::start().await;
    for (n, customer) in ["cus_1", "cus_2", "cus_1"].into_iter().enumerate() {
        let mut event = subscription(&format!("evt_{n}"), 10 + n as i64, "active", 99);
        event["data"]["object"]["id"] = json!(format!("sub_{n}"));
        event["data"]["object"]["customer"] = json!(customer);
        bench.deliver(&event).await;
    }
    let rows = bench.stream.records().await;
    assert_eq!(rows.len(), 3);
    let course = Faults::default();
    let client = course.client(&bench.ground.endpoint);
    let function = bench.instance_on(bench.ground.store_with(client));
    for (failing, place) in [("cus_1", 0), ("cus_2", 1)] {
        course.when(move |call| call.request.contains(failing).then_some(Fault::NotSent));
        assert_eq!(hand_out(&function, &rows).await, Some(place), "{failing}");
    }
    // Both were noted, each by the batch in which the other one failed; nothing was told of them yet.
    course.none();
    assert_eq!(bench.bus.take(), []);
    assert_eq!(hand_out(&function, &rows).await, None);
    let put = bench.settle(&function).await;
    assert_eq!(put.len(), 2, "{put:#?}");
}

#[tokio::test]
async fn what_there_is_no_time_for_comes_again() {
    let mut bench = Bench::start().await;
    let function = bench.function();
    bench
        .deliver(&subscription("evt_1", 10, "active", 99))
        .await;
    let rows = bench.stream.records().await;
    let late = |records: &[Value]| {
        let batch = serde_json::from_value(json!({ "Records": records })).expect("a batch");
        let answer = function.handle(batch, NOW * 1000 + 1_000);
        let records = records.to_vec();
        async move { failed_place(&answer.await, &records) }
    };
    assert_eq!(late(&rows).await, Some(0));
    assert_eq!(bench.stream.records().await, Vec::<Value>::new());
    assert_eq!(hand_out(&function, &rows).await, None);
    let notes = bench.stream.records().await;
    assert_eq!(late(&notes).await, Some(0));
    assert_eq!(bench.bus.take(), []);
    assert_eq!(hand_out(&function, &notes).await, None);
    assert_eq!(bench.bus.take().len(), 1);
}

/// Looks at `before` and plays `at_once` beside each other in every schedule: each is an event that is delivered, if
/// it is one, and whose records are handed out by an instance of its own.
async fn in_every_order(name: &str, switches_max: usize, before: &[Value], later: &[Value]) {
    let mut bench = Bench::start().await;
    let quiet = bench.function();
    // The first actor hands out what is in the stream of `before`, the others deliver an event each and hand out its
    // records.
    let mut schedules = Schedules::new(1 + later.len(), switches_max);
    let endpoint = bench.ground.endpoint.clone();
    let stores: Vec<Store> = schedules
        .actors()
        .iter()
        .map(|actor| bench.ground.store_with(actor.client(&endpoint)))
        .collect();
    let (mut runs, mut twice) = (0, 0);
    loop {
        let account = format!("acct_{runs}");
        let of_account = |event: &Value| {
            let mut event = event.clone();
            event["account"] = json!(account);
            event.to_string().into_bytes()
        };
        let (last, first) = before.split_last().expect("something is before");
        for event in first {
            deliver(&bench.consumer, &of_account(event)).await;
        }
        bench.settle(&quiet).await;
        deliver(&bench.consumer, &of_account(last)).await;
        let pending = bench.stream.records().await;
        let stream = Arc::new(tokio::sync::Mutex::new(bench.stream));
        let mut tasks = Vec::new();
        for (i, actor) in schedules.actors().iter().cloned().enumerate() {
            let quiet = Lines::default().log();
            let bus = bench.to_bus.clone();
            let function = instance(stores[i].clone(), bus, policy(), quiet);
            let consumer = consumer(stores[i].clone(), Lines::default().log());
            let event = i.checked_sub(1).map(|n| of_account(&later[n]));
            let (pending, stream) = (pending.clone(), stream.clone());
            tasks.push(tokio::spawn(async move {
                let records = match event {
                    Some(event) => {
                        deliver(&consumer, &event).await;
                        stream.lock().await.records().await
                    }
                    None => pending,
                };
                let failed = hand_out(&function, &records).await;
                actor.done();
                (records, failed)
            }));
        }
        schedules.run().await;
        for task in tasks {
            let (records, failed) = task.await.expect("nobody panics");
            if let Some(place) = failed {
                hand_out_until_done(&quiet, &records[place..]).await;
            }
        }
        bench.stream = Arc::into_inner(stream).expect("nobody else").into_inner();
        let put = bench.settle(&quiet).await;
        let scope = Scope {
            account: Some(account.clone()),
            ..platform()
        };
        let access = state(&bench.ground.store, &scope, "cus_1").await["access"].clone();
        let noted = noted(
            &bench.ground,
            &format!("stripe#test#{account}#customer#cus_1"),
        )
        .await;
        assert_eq!(
            (noted["granted"].clone(), noted["reason"].clone()),
            (access["granted"].clone(), access["reason"].clone()),
            "{name}: with the turns {:?}",
            schedules.turns()
        );
        let told = by_customer(&put);
        if let Some(told) = told.get("cus_1") {
            let last = told.values().last().expect("some");
            assert_eq!(answer_of(&last.detail), access, "{name}");
            twice += usize::from(told.len() > 1);
        }
        runs += 1;
        if !schedules.advance() {
            break;
        }
    }
    say(&format!(
        "{name}: {runs} schedules end in agreement, {twice} of them told more than once"
    ));
}

/// What is noted, as plain JSON; null where nothing is.
async fn noted(ground: &Ground, pk: &str) -> Value {
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let item = ground
        .client
        .get_item()
        .table_name(&ground.tables.billing)
        .key("pk", text(pk))
        .key("sk", text("access"))
        .consistent_read(true);
    let Some(item) = item.send().await.expect("an answer").item else {
        return Value::Null;
    };
    let reason = item["reason"].as_s().expect("a text");
    let granted = item["granted"].as_bool().expect("a flag");
    let rev = item["rev"].as_n().expect("a number");
    json!({"granted": granted, "reason": reason, "rev": rev})
}

/// The one at work may have read the rows before a change that is undone when it writes: then the other finds
/// nothing to correct, and only a second look of its own does.
#[tokio::test]
async fn two_instances_at_once_end_in_agreement() {
    let before = [
        subscription("evt_1", 10, "active", 99),
        subscription("evt_2", 11, "unpaid", 99),
    ];
    let later = [subscription("evt_3", 12, "active", 99)];
    in_every_order("there and back", 3, &before, &later).await;
    let later = [subscription("evt_3", 12, "canceled", 99)];
    in_every_order("on and on", 2, &before, &later).await;
}

#[tokio::test]
async fn rows_of_two_shards_at_once_end_in_agreement() {
    let before = [
        purchase("evt_1", 10),
        subscription("evt_2", 11, "canceled", 99),
    ];
    let later = [charge("evt_3", 12, 1000)];
    in_every_order("a refund and a cancellation", 2, &before, &later).await;
}

#[tokio::test]
async fn an_index_that_is_behind_delays_nothing_but_the_end_of_the_record() {
    let mut bench = Bench::start().await;
    let lag = Lag::default();
    let client = lag.client(&bench.ground.endpoint);
    let function = bench.instance_on(bench.ground.store_with(client));
    bench.deliver(&purchase("evt_1", 10)).await;
    let rows = bench.stream.records().await;
    lag.set(3);
    assert_eq!(hand_out(&function, &rows).await, None, "it waits a little");
    assert_eq!(lag.left(), 0);
    let put = bench.settle(&function).await;
    assert_eq!(put.len(), 1);
    assert_eq!(put[0].detail["reason"], "purchase");

    // An index that stays behind: what the row says is told, and the record comes again.
    bench.deliver(&charge("evt_2", 11, 1000)).await;
    let rows = bench.stream.records().await;
    lag.set(usize::MAX);
    assert_eq!(hand_out(&function, &rows).await, Some(0));
    let notes = bench.stream.records().await;
    lag.set(0);
    assert_eq!(hand_out(&function, &notes).await, None);
    assert_eq!(hand_out(&function, &rows).await, None);
    bench.settle(&function).await;
    let access = access_of(&bench.ground.store, "cus_1").await;
    assert_eq!(
        noted(&bench.ground, "stripe#test#-#customer#cus_1").await["reason"],
        access["reason"]
    );
}

#[tokio::test]
async fn the_policy_decides_what_a_change_is() {
    let opened = json!({"id": "evt_3", "object": "event", "type": "charge.dispute.closed", "created": 12,
        "livemode": false, "data": {"object": {"id": "dp_1", "object": "dispute", "status": "lost", "amount": 1000,
            "currency": "usd", "charge": "ch_1", "created": 11}}});
    let mut begun = subscription("evt_1", 9, "active", 99);
    begun["data"]["object"]["created"] = json!(9);
    let mut reasons = Vec::new();
    for lost_dispute_denies in [false, true] {
        let mut bench = Bench::start().await;
        let policy = Policy {
            lost_dispute_denies,
            ..Policy::default()
        };
        let function = bench.instance(bench.ground.store.clone(), policy, Lines::default().log());
        for event in [&begun, &charge("evt_2", 10, 0), &opened] {
            bench.deliver(event).await;
        }
        let put = bench.settle(&function).await;
        let last = put.last().expect("told");
        reasons.push((last.detail_type.clone(), last.detail["reason"].clone()));
    }
    let told = |detail: &str, reason: &str| (detail.to_owned(), json!(reason));
    let wanted = [
        told("Access Granted", "active"),
        told("Access Revoked", "dispute_lost"),
    ];
    assert_eq!(reasons, wanted);
}

#[tokio::test]
async fn the_real_id_is_told_and_only_its_hash_is_logged() {
    let mut bench = Bench::start().await;
    let lines = Lines::default();
    let function = bench.instance(bench.ground.store.clone(), Policy::default(), lines.log());
    let customer = json!({"id": "evt_1", "object": "event", "type": "customer.created", "created": 10,
        "livemode": false, "data": {"object": {"id": "ada@example.test", "object": "customer",
            "email": "ada@example.test"}}});
    let mut event = subscription("evt_2", 11, "active", 99);
    event["data"]["object"]["customer"] = json!("ada@example.test");
    bench.deliver(&customer).await;
    bench.deliver(&event).await;
    let put = bench.settle(&function).await;
    assert_eq!(put.len(), 1);
    assert_eq!(put[0].detail["customer"], "ada@example.test");
    let lines = lines.all();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("Access Granted"), "{lines:?}");
    assert!(!lines[0].contains("example.test"), "{lines:?}");
}

#[tokio::test]
async fn what_is_noted_is_no_part_of_the_state() {
    let mut bench = Bench::start().await;
    let function = bench.function();
    bench
        .deliver(&subscription("evt_1", 10, "active", 99))
        .await;
    let rows = |ground: &Ground| {
        let store = ground.store.clone();
        async move {
            store
                .customer_rows(&platform(), "cus_1")
                .await
                .expect("rows")
        }
    };
    let before = rows(&bench.ground).await;
    assert_eq!(bench.settle(&function).await.len(), 1);
    assert_ne!(
        noted(&bench.ground, "stripe#test#-#customer#cus_1").await,
        Value::Null
    );
    assert_eq!(rows(&bench.ground).await, before);
}

#[tokio::test]
async fn a_note_of_a_newer_version_is_left_alone() {
    let mut bench = Bench::start().await;
    let lines = Lines::default();
    let function = bench.instance(bench.ground.store.clone(), Policy::default(), lines.log());
    bench
        .deliver(&subscription("evt_1", 10, "active", 99))
        .await;
    bench.settle(&function).await;
    let raise = |format: &str| {
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let update = bench.ground.client.update_item();
        update
            .table_name(&bench.ground.tables.billing)
            .key("pk", text("stripe#test#-#customer#cus_1"))
            .key("sk", text("access"))
            .update_expression("SET f = :f")
            .expression_attribute_values(
                ":f",
                aws_sdk_dynamodb::types::AttributeValue::N(format.to_owned()),
            )
            .send()
    };
    raise("2").await.expect("written");
    bench
        .deliver(&subscription("evt_2", 11, "unpaid", 99))
        .await;
    let records = bench.stream.records().await;
    assert_eq!(records.len(), 2);
    assert_eq!(
        hand_out(&function, &records).await,
        Some(0),
        "the note itself"
    );
    assert_eq!(hand_out(&function, &records[1..]).await, Some(0), "the row");
    assert_eq!(bench.bus.take(), []);
    let newer = lines
        .all()
        .iter()
        .filter(|line| line.contains("newer version"))
        .count();
    assert_eq!(newer, 3, "{:#?}", lines.all());
    raise("1").await.expect("written");
    // The newer version is gone, and with it what only it could have told.
    bench.stream.records().await;
    assert_eq!(hand_out(&function, &records[1..]).await, None);
    assert_eq!(bench.settle(&function).await.len(), 1);
}

/// These figures stand in docs/access-events.md.
#[tokio::test]
async fn a_change_costs_six_reads_a_write_and_a_call() {
    let mut bench = Bench::start().await;
    let meter = Meter::default();
    let function = bench.instance_on(bench.ground.store.clone().metered(meter.clone()));
    let requests = |units: Units| (units.reads, units.writes);
    let mut costs = Vec::new();
    for event in [
        subscription("evt_1", 10, "incomplete", 99),
        subscription("evt_2", 11, "active", 99),
        // Its order is noted, and its state is what it was.
        subscription("evt_3", 12, "active", 99),
        subscription("evt_4", 13, "active", 199),
        charge("evt_5", 14, 0),
        subscription("evt_6", 15, "unpaid", 199),
    ] {
        bench.deliver(&event).await;
        let before = bench.bus.requests();
        let told = bench.settle(&function).await.len();
        costs.push((requests(meter.take()), bench.bus.requests() - before, told));
    }
    let (change, no_change) = (((6, 1), 1, 1), ((3, 0), 0, 0));
    let unchanged_row = ((0, 0), 0, 0);
    assert_eq!(
        costs,
        [no_change, change, unchanged_row, change, no_change, change]
    );
}

/// A customer whose access began before anybody was told of it.
#[tokio::test]
async fn whoever_loses_access_is_told_of_even_where_nobody_was_told_that_they_had_it() {
    let mut bench = Bench::start().await;
    bench
        .deliver(&subscription("evt_1", 10, "active", 99))
        .await;
    // The function was not there yet: these records are gone.
    bench.stream.records().await;
    bench
        .deliver(&subscription("evt_2", 11, "canceled", 99))
        .await;
    let put = bench.settle(&bench.function()).await;
    assert_eq!(put.len(), 1);
    assert_eq!(put[0].detail_type, "Access Revoked");
    assert_eq!(put[0].detail["previous"], Value::Null);
}

/// What is counted, for the dashboard.
#[tokio::test]
async fn what_was_told_is_counted() {
    let mut bench = Bench::start().await;
    let lines = Arc::new(Mutex::new(Vec::<Value>::new()));
    let mut function = bench.function();
    let sink = lines.clone();
    function.metrics = Metrics::new(Some("billhook".to_owned()), move |line: &str| {
        let line = serde_json::from_str(line).expect("JSON");
        sink.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    });
    for (second, status) in [
        (10, "active"),
        (11, "past_due"),
        (12, "trialing"),
        (13, "unpaid"),
    ] {
        let event = subscription(&format!("evt_{second}"), second, status, 99);
        bench.deliver(&event).await;
        bench.settle(&function).await;
    }
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    let sum = |name: &str| {
        lines
            .iter()
            .filter_map(|line| line[name].as_u64())
            .sum::<u64>()
    };
    assert_eq!(sum("AccessGranted"), 2);
    assert_eq!(sum("AccessRevoked"), 2);
    assert_eq!(sum("AccessChanged"), 0);
}
