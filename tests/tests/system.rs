//! The whole stack in memory, from a signed request to a customer's state: what the promises of DESIGN.md come
//! to for whoever looks from outside.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use billhook_core::ledger::{Outcome, PARKED_RETENTION_DAYS};
use billhook_core::scope::{Mode, Scope, Source};
use billhook_core::token::hashed;
use billhook_embedded::queue::Chaos;
use billhook_embedded::stack::Stack;
use billhook_store::{LedgerEntry, keys};
use billhook_tests::faults::{Call, Fault, Faults};
use billhook_tests::harness::{
    Ground, LIVES, Life, NOW, RECEIVES_MAX, RETENTION_DAYS, Random, VISIBILITY, answer, count,
    customer_event, drain, ledger, life, platform, post, post_all, post_signed, request, sample,
    say, stack, state,
};
use consumer::record::{Delivery, DeliveryOutcome};
use serde_json::{Value, json};
use webhook::secrets::Secrets;

const DAY: i64 = 86_400;

async fn email(stack: &Stack) -> Value {
    state(&stack.store, &platform(), "cus_1").await["email"].clone()
}

/// A stack whose consumer reaches the store through a client that can be made to fail.
async fn disturbed_stack() -> (Stack, Ground, Faults) {
    let ground = Ground::embedded().await;
    let faults = Faults::default();
    let mut stack = stack().await;
    stack.consumer.store = ground.store_with(faults.client(&ground.endpoint));
    stack.store = ground.store.clone();
    (stack, ground, faults)
}

/// Lets time pass and works one batch, until this was done so often.
async fn receive_often(stack: &Stack, times: u32) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for _ in 0..times {
        deliveries.extend(stack.work_once(Duration::ZERO).await);
        stack.queue.advance(VISIBILITY);
    }
    deliveries
}

fn outcomes(deliveries: &[Delivery]) -> Vec<DeliveryOutcome> {
    deliveries.iter().map(|delivery| delivery.outcome).collect()
}

async fn hash_entry(stack: &Stack, body: &[u8]) -> Option<LedgerEntry> {
    let name = hashed(body);
    let entry = stack.store.find_event(&platform(), &name, None).await;
    entry.expect("the ledger can be read")
}

#[tokio::test]
async fn a_second_delivery_of_the_same_event_changes_nothing() {
    let stack = stack().await;
    let life = life("full_refund");
    post_all(&stack, &life.events).await;
    drain(&stack).await;
    let before = life.states(&stack.store).await;
    for _ in 0..2 {
        post_all(&stack, &life.events).await;
        let again = drain(&stack).await;
        assert_eq!(
            count(&again, DeliveryOutcome::Duplicate),
            life.events.len(),
            "every second delivery is told as a duplicate: {again:?}"
        );
    }
    assert_eq!(before, life.states(&stack.store).await);
    assert_eq!(stack.queue.counts().await.expect("counts").dead, 0);
}

#[tokio::test]
async fn a_redelivery_whose_acknowledgement_was_lost_changes_nothing() {
    let stack = stack().await;
    let life = life("dispute_lost");
    post_all(&stack, &life.events).await;
    stack.queue.set_chaos(Chaos {
        seed: 1,
        lose_ack: 1.0,
        ..Chaos::default()
    });
    // Two rounds of receives, none of which is acknowledged.
    let rounds = u32::try_from(2 * life.events.len().div_ceil(10)).expect("a few");
    let mut first = Vec::new();
    for _ in 0..rounds / 2 {
        first.extend(stack.work_once(Duration::ZERO).await);
    }
    let before = life.states(&stack.store).await;
    stack.queue.advance(VISIBILITY);
    stack.queue.set_chaos(Chaos::default());
    let again = drain(&stack).await;
    assert_eq!(
        (first.len(), again.len()),
        (life.events.len(), life.events.len())
    );
    assert_eq!(count(&again, DeliveryOutcome::Duplicate), again.len());
    assert_eq!(before, life.states(&stack.store).await);
    assert_eq!(life.wrong(&stack.store).await, Vec::<String>::new());
}

/// The orders that every life is delivered in.
fn orders(life: &Life) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut reversed = life.events.clone();
    reversed.reverse();
    let mut shuffled = life.events.clone();
    let mut random = Random::new(7);
    shuffled.extend(life.events.iter().step_by(3).cloned());
    random.shuffle(&mut shuffled);
    let (later, earlier) = life.events.split_at(life.events.len() / 2);
    let halves_swapped = [earlier, later].concat();
    vec![
        ("in true order", life.events.clone()),
        ("reversed", reversed),
        ("shuffled with duplicates", shuffled),
        ("the second half first", halves_swapped),
    ]
}

#[tokio::test]
async fn every_order_of_delivery_ends_in_the_same_state() {
    let mut ended = 0;
    for name in LIVES {
        let life = life(name);
        for (order, events) in orders(&life) {
            let stack = stack().await;
            post_all(&stack, &events).await;
            let deliveries = drain(&stack).await;
            assert_eq!(
                life.wrong(&stack.store).await,
                Vec::<String>::new(),
                "{name} {order}"
            );
            assert_eq!(deliveries.len(), events.len(), "{name} {order}");
            assert_eq!(
                count(&deliveries, DeliveryOutcome::Parked),
                0,
                "{name} {order}"
            );
            ended += 1;
        }
    }
    say(&format!(
        "{ended} orders of {} lives end right",
        LIVES.len()
    ));
}

#[tokio::test]
async fn one_poison_record_of_three_costs_the_others_nothing() {
    let stack = stack().await;
    let good = [
        customer_event("evt_1", 10, "old@example.test"),
        customer_event("evt_2", 20, "new@example.test"),
    ];
    let poison = br#"{"id":"evt_poison","type":"customer.updated","created":15}"#;
    post_all(&stack, &[&good[0][..], poison, &good[1][..]]).await;
    let deliveries = stack.work_once(Duration::ZERO).await;
    assert_eq!(
        count(&deliveries, DeliveryOutcome::Parked),
        1,
        "{deliveries:?}"
    );
    assert_eq!(
        count(&deliveries, DeliveryOutcome::Retry),
        0,
        "{deliveries:?}"
    );
    assert_eq!(email(&stack).await, "new@example.test");
    let entry = ledger(&stack.store, poison).await.expect("it is parked");
    assert_eq!(entry.outcome, Outcome::Parked);
    assert_eq!(entry.reason.as_deref(), Some("no_livemode"));
    assert_eq!(entry.body, poison);
    let counts = stack.queue.counts().await.expect("counts");
    assert_eq!((counts.queued, counts.in_flight, counts.dead), (0, 0, 0));
}

#[tokio::test]
async fn a_secret_rolls_without_one_refused_delivery() {
    let mut stack = stack().await;
    let secrets = |list: &str| Secrets::fixed(Some(list), None);
    let steps = [
        ("whsec_old", "whsec_old"),
        ("whsec_old,whsec_new", "whsec_old"),
        ("whsec_old,whsec_new", "whsec_new"),
        ("whsec_new,whsec_old", "whsec_old"),
        ("whsec_new", "whsec_new"),
    ];
    for (i, (live, signs)) in steps.into_iter().enumerate() {
        stack.webhook.secrets = secrets(live);
        let body = customer_event(&format!("evt_{i}"), i as i64, "ada@example.test");
        let (status, answer) = post_signed(&stack, &body, signs).await;
        assert_eq!(status, 200, "{live} knows {signs}: {answer}");
    }
    let gone = post_signed(&stack, b"{}", "whsec_old").await;
    assert_eq!(gone, (400, json!({"error": "signature_mismatch"})));
    assert_eq!(
        count(&drain(&stack).await, DeliveryOutcome::Applied),
        steps.len()
    );
}

#[tokio::test]
async fn what_is_refused_is_never_enqueued() {
    let stack = stack().await;
    let body = customer_event("evt_1", 10, "ada@example.test");
    let (status, error) = post_signed(&stack, &body, "whsec_wrong").await;
    assert_eq!(
        (status, error),
        (400, json!({"error": "signature_mismatch"}))
    );
    let unsigned = request("/webhooks/stripe", &body, None);
    let (status, error) = answer(stack.webhook.handle(unsigned).await);
    assert_eq!((status, error), (400, json!({"error": "missing_header"})));
    let too_large = vec![b' '; 256 * 1024 + 1];
    let (status, error) = post(&stack, &too_large).await;
    assert_eq!((status, error), (413, json!({"error": "body_too_large"})));
    assert_eq!(stack.queue.counts().await.expect("counts").queued, 0);
    let (status, _) = post(&stack, &too_large[1..]).await;
    assert_eq!(status, 200, "256 KiB are taken");
}

#[tokio::test]
async fn a_queue_that_is_down_is_healed_by_the_senders_retry() {
    let stack = stack().await;
    let body = customer_event("evt_1", 10, "ada@example.test");
    stack.queue.set_down(true);
    let (status, error) = post(&stack, &body).await;
    assert_eq!(
        (status, error),
        (503, json!({"error": "queue_unavailable"}))
    );
    stack.queue.set_down(false);
    let (status, answer) = post(&stack, &body).await;
    assert_eq!(
        (status, answer),
        (200, json!({"received": true, "id": "evt_1"}))
    );
    drain(&stack).await;
    assert_eq!(email(&stack).await, "ada@example.test");
}

#[tokio::test]
async fn a_store_that_is_down_leaves_the_message_on_the_queue_until_it_is_back() {
    let (stack, _ground, faults) = disturbed_stack().await;
    faults.when(|_| Some(Fault::NotSent));
    let body = customer_event("evt_1", 10, "ada@example.test");
    post_all(&stack, &[&body]).await;
    let deliveries = receive_often(&stack, RECEIVES_MAX - 1).await;
    let retries = count(&deliveries, DeliveryOutcome::Retry);
    assert_eq!(retries, deliveries.len(), "{deliveries:?}");
    assert_eq!(stack.queue.counts().await.expect("counts").queued, 1);
    faults.none();
    assert_eq!(outcomes(&drain(&stack).await), [DeliveryOutcome::Applied]);
    assert_eq!(email(&stack).await, "ada@example.test");
}

#[tokio::test]
async fn on_its_last_receive_an_event_whose_row_is_refused_is_parked_and_can_be_driven_again() {
    let (stack, _ground, faults) = disturbed_stack().await;
    faults.when(|call: &Call| (call.operation == "UpdateItem").then_some(Fault::NotSent));
    let body = customer_event("evt_1", 10, "ada@example.test");
    post_all(&stack, &[&body]).await;
    let deliveries = drain(&stack).await;
    let mut expected = vec![DeliveryOutcome::Retry; RECEIVES_MAX as usize - 1];
    expected.push(DeliveryOutcome::Parked);
    assert_eq!(outcomes(&deliveries), expected);
    assert_eq!(stack.queue.counts().await.expect("counts").dead, 0);

    let entry = ledger(&stack.store, &body).await.expect("it is parked");
    let reason = entry.reason.unwrap_or_default();
    assert!(reason.starts_with("retries_exhausted: "), "{reason}");
    assert_eq!((entry.outcome, entry.body), (Outcome::Parked, body.clone()));
    assert_eq!(entry.expires, NOW + i64::from(PARKED_RETENTION_DAYS) * DAY);
    assert_eq!(parked(&stack).await, 1);

    // A resend from Stripe, once the store is well.
    faults.none();
    post_all(&stack, &[&body]).await;
    assert_eq!(outcomes(&drain(&stack).await), [DeliveryOutcome::Applied]);
    let entry = ledger(&stack.store, &body).await.expect("it is applied");
    assert_eq!((entry.outcome, entry.reason), (Outcome::Applied, None));
    assert_eq!(entry.expires, NOW + i64::from(RETENTION_DAYS) * DAY);
    assert_eq!(
        parked(&stack).await,
        0,
        "it left the index on parked events"
    );
    assert_eq!(email(&stack).await, "ada@example.test");
}

async fn parked(stack: &Stack) -> u64 {
    let count = stack.store.count_parked(Source::Stripe, Mode::Test).await;
    count.expect("parked events are counted")
}

#[tokio::test]
async fn a_store_that_refuses_everything_makes_a_dead_letter_which_a_redrive_applies() {
    let (stack, _ground, faults) = disturbed_stack().await;
    faults.when(|_| Some(Fault::NotSent));
    let life = life("full_refund");
    post_all(&stack, &life.events).await;
    let deliveries = drain(&stack).await;
    assert_eq!(count(&deliveries, DeliveryOutcome::Retry), deliveries.len());
    assert_eq!(deliveries.len(), life.events.len() * RECEIVES_MAX as usize);
    let dead = stack.queue.counts().await.expect("counts").dead;
    assert_eq!(dead, life.events.len() as u64, "no event is lost");

    faults.none();
    assert_eq!(stack.queue.redrive().await.expect("redriven"), dead);
    let deliveries = drain(&stack).await;
    assert_eq!(
        count(&deliveries, DeliveryOutcome::Retry),
        0,
        "{deliveries:?}"
    );
    assert_eq!(life.wrong(&stack.store).await, Vec::<String>::new());
    assert_eq!(stack.queue.counts().await.expect("counts").dead, 0);
}

#[tokio::test]
async fn what_is_deliberately_left_out_is_recorded_with_its_reason() {
    let table = [
        (
            "other_mode",
            json!({"id": "evt_live", "object": "event", "type": "customer.updated", "created": 1, "livemode": true,
                "data": {"object": {"id": "cus_1", "email": "live@example.test"}}}),
        ),
        (
            "thin_event",
            json!({"id": "evt_thin", "object": "v2.core.event", "type": "v1.invoice.paid",
                "created": "2026-11-01T00:00:00.000Z", "livemode": false,
                "related_object": {"id": "in_1", "type": "invoice"}}),
        ),
        (
            "no_state",
            json!({"id": "evt_unknown", "object": "event", "type": "brand.new", "created": 1, "livemode": false,
                "data": {"object": {"id": "x_1"}}}),
        ),
    ];
    let stack = stack().await;
    for (reason, event) in table {
        let body = event.to_string().into_bytes();
        post_all(&stack, &[&body]).await;
        let deliveries = drain(&stack).await;
        assert_eq!(
            outcomes(&deliveries),
            [DeliveryOutcome::Ignored],
            "{reason}"
        );
        assert_eq!(deliveries[0].reason.as_deref(), Some(reason));
        let entry = ledger(&stack.store, &body).await.expect("it is recorded");
        assert_eq!(
            (entry.outcome, entry.reason.as_deref()),
            (Outcome::Ignored, Some(reason))
        );
        assert_eq!(entry.body, body, "{reason}: it is kept as it came");
        assert_eq!(
            entry.expires,
            NOW + i64::from(RETENTION_DAYS) * DAY,
            "{reason}"
        );
    }
    assert_eq!(state(&stack.store, &platform(), "cus_1").await, Value::Null);
    let live = Scope {
        mode: Mode::Live,
        ..platform()
    };
    assert_eq!(state(&stack.store, &live, "cus_1").await, Value::Null);
}

#[tokio::test]
async fn a_signed_body_that_is_no_event_is_taken_and_parked_under_its_hash() {
    let stack = stack().await;
    let bodies: [(&[u8], &str); 5] = [
        (b"hello", "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b"[1, 2]", "not_an_object"),
        (
            br#"{"object":"event","type":"a","created":1,"livemode":false}"#,
            "no_id",
        ),
        (
            br#"{"id":"","type":"a","created":1,"livemode":false,"data":{"object":{}}}"#,
            "no_id",
        ),
    ];
    for (body, _) in bodies {
        let taken = post(&stack, body).await;
        assert_eq!(
            taken,
            (200, json!({"received": true, "id": null})),
            "{body:?}"
        );
    }
    let deliveries = drain(&stack).await;
    assert_eq!(count(&deliveries, DeliveryOutcome::Parked), bodies.len());
    assert_eq!(parked(&stack).await, bodies.len() as u64);
    for (body, reason) in bodies {
        let created = serde_json::from_slice(body)
            .ok()
            .and_then(|event: Value| event.get("created")?.as_i64());
        let name = hashed(body);
        let entry = stack.store.find_event(&platform(), &name, created).await;
        let entry = entry.expect("the ledger can be read");
        let entry = entry.unwrap_or_else(|| panic!("{reason}: it is parked under its hash"));
        assert_eq!(
            (entry.outcome, entry.reason.as_deref()),
            (Outcome::Parked, Some(reason))
        );
        assert_eq!(entry.body, body, "byte for byte");
        assert_eq!(entry.expires, NOW + i64::from(PARKED_RETENTION_DAYS) * DAY);
    }
    assert!(hash_entry(&stack, b"never sent").await.is_none());
}

#[tokio::test]
async fn bodies_without_a_usable_id_never_shadow_each_other() {
    let stack = stack().await;
    let body = |object: &str| {
        let event = json!({"id": "", "type": "customer.updated", "created": 1, "livemode": false,
            "data": {"object": {"id": object}}});
        event.to_string().into_bytes()
    };
    post_all(&stack, &[body("cus_1"), body("cus_2")]).await;
    drain(&stack).await;
    assert_eq!(
        parked(&stack).await,
        2,
        "each of two different bodies is kept"
    );
}

#[tokio::test]
async fn an_event_comes_again_after_its_ledger_record_expired_and_does_no_harm() {
    let (stack, ground, _faults) = disturbed_stack().await;
    let life = life("full_refund");
    post_all(&stack, &life.events).await;
    drain(&stack).await;
    let before = life.states(&stack.store).await;
    let scan = ground.client.scan().table_name(&ground.tables.events);
    let items = scan
        .send()
        .await
        .expect("scanned")
        .items
        .unwrap_or_default();
    for mut item in items {
        let delete = ground
            .client
            .delete_item()
            .table_name(&ground.tables.events);
        let mut key = |name: &str| item.remove(name).expect("every item has its key");
        let delete = delete
            .key(keys::PK, key(keys::PK))
            .key(keys::SK, key(keys::SK));
        delete.send().await.expect("deleted");
    }
    let mut again = life.events.clone();
    Random::new(3).shuffle(&mut again);
    post_all(&stack, &again).await;
    drain(&stack).await;
    assert_eq!(before, life.states(&stack.store).await);
    let outcome = ledger(&stack.store, &life.events[0])
        .await
        .map(|entry| entry.outcome);
    assert_eq!(outcome, Some(Outcome::Applied), "the ledger knows it again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_consumers_at_once_over_a_queue_that_misbehaves_end_right() {
    for seed in 1..=4 {
        let stack = Arc::new(stack().await);
        stack.queue.set_chaos(Chaos {
            seed,
            duplicate: 0.3,
            delay: 0.3,
            delay_ms_max: 20_000,
            reorder: true,
            lose_ack: 0.2,
        });
        let lives = ["full_refund", "dispute_lost", "checkout_subscription"].map(life);
        let mut events: Vec<Vec<u8>> = lives.iter().flat_map(|life| life.events.clone()).collect();
        Random::new(seed).shuffle(&mut events);
        post_all(&stack, &events).await;
        let (mut delivered, mut rounds) = (0, 0);
        loop {
            let workers = [0, 1].map(|_| {
                let stack = stack.clone();
                tokio::spawn(async move { stack.work_once(Duration::ZERO).await.len() })
            });
            let mut round = 0;
            for worker in workers {
                round += worker.await.expect("a worker never panics");
            }
            delivered += round;
            if round == 0 {
                let counts = stack.queue.counts().await.expect("counts");
                if counts.queued + counts.in_flight == 0 {
                    assert_eq!(counts.dead, 0, "seed {seed}: nothing dies");
                    break;
                }
                stack.queue.advance(VISIBILITY);
            }
            rounds += 1;
            assert!(rounds < 2_000, "seed {seed}: an event is stuck");
        }
        for life in &lives {
            let wrong = life.wrong(&stack.store).await;
            assert_eq!(wrong, Vec::<String>::new(), "seed {seed}, {}", life.name);
        }
        say(&format!(
            "seed {seed}: {} events in {delivered} deliveries to two consumers",
            events.len()
        ));
    }
}

/// The same event as another account or mode sends it.
fn elsewhere(body: &[u8], account: Option<&str>, livemode: bool) -> Vec<u8> {
    let mut event: Value = serde_json::from_slice(body).expect("an event");
    event["livemode"] = json!(livemode);
    if let Some(account) = account {
        event["account"] = json!(account);
    }
    event.to_string().into_bytes()
}

#[tokio::test]
async fn accounts_and_modes_never_mix_though_all_their_ids_are_the_same() {
    let stack = stack().await;
    let refund = life("full_refund");
    // The platform sees the whole life, one account its first half, another one all but the refund.
    let half = refund.events.len() / 2;
    let of = |events: &[Vec<u8>], account: Option<&str>, livemode| -> Vec<Vec<u8>> {
        let events = events.iter();
        events
            .map(|body| elsewhere(body, account, livemode))
            .collect()
    };
    let mut events = refund.events.clone();
    events.extend(of(&refund.events[..half], Some("acct_half"), false));
    events.extend(of(&refund.events[..14], Some("acct_canceled"), false));
    events.extend(of(&refund.events, None, true));
    events.extend(of(&refund.events, Some("acct_live"), true));
    Random::new(11).shuffle(&mut events);
    post_all(&stack, &events).await;
    let deliveries = drain(&stack).await;
    let ignored = count(&deliveries, DeliveryOutcome::Ignored);
    assert!(
        ignored >= 2 * refund.events.len(),
        "live mode is left out: {ignored}"
    );
    assert_eq!(
        count(&deliveries, DeliveryOutcome::Duplicate),
        0,
        "an event id of one account says nothing of another's"
    );

    assert_eq!(refund.wrong(&stack.store).await, Vec::<String>::new());
    let customer = refund.expected.keys().next().expect("a customer");
    let seen = async |mode, account: Option<&str>| {
        let scope = Scope {
            source: Source::Stripe,
            mode,
            account: account.map(str::to_owned),
        };
        state(&stack.store, &scope, customer).await
    };
    let half = seen(Mode::Test, Some("acct_half")).await;
    assert_eq!(half["account"], "acct_half");
    assert_eq!(
        (&half["best_subscription_status"], &half["refunded_total"]),
        (&json!("incomplete"), &json!(0))
    );
    let canceled = seen(Mode::Test, Some("acct_canceled")).await;
    assert_eq!(
        (
            &canceled["best_subscription_status"],
            &canceled["refunded_total"]
        ),
        (&json!("canceled"), &json!(0))
    );
    for (mode, account) in [
        (Mode::Live, None),
        (Mode::Live, Some("acct_live")),
        (Mode::Test, Some("acct_live")),
    ] {
        assert_eq!(
            seen(mode, account).await,
            Value::Null,
            "{mode:?} {account:?}"
        );
    }
}

/// The only thing that a consumer must not do with a message of a newer version is to lose it.
#[tokio::test]
async fn a_message_of_a_newer_version_waits_and_is_parked_at_last() {
    let stack = stack().await;
    let text = r#"{"v":2,"source":"stripe","sealed":"…"}"#.to_owned();
    let attributes = std::collections::BTreeMap::new();
    let sent = stack.queue.send(text.clone(), attributes, None).await;
    sent.expect("the queue takes it");
    let deliveries = drain(&stack).await;
    let mut expected = vec![DeliveryOutcome::Retry; RECEIVES_MAX as usize - 1];
    expected.push(DeliveryOutcome::Parked);
    assert_eq!(outcomes(&deliveries), expected);
    let entry = hash_entry(&stack, text.as_bytes())
        .await
        .expect("it is parked");
    assert_eq!(entry.body, text.as_bytes());
}

/// During a deployment an old consumer meets what a new one wrote.
#[tokio::test]
async fn a_row_of_a_newer_format_makes_an_event_wait() {
    let (stack, ground, _faults) = disturbed_stack().await;
    post_all(&stack, &[customer_event("evt_1", 10, "old@example.test")]).await;
    drain(&stack).await;
    let format = async |format: &str| {
        let update = ground
            .client
            .update_item()
            .table_name(&ground.tables.billing);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        update
            .key(keys::PK, text("stripe#test#-#customer#cus_1"))
            .key(keys::SK, text("customer#cus_1"))
            .update_expression("SET f = :f")
            .expression_attribute_values(":f", AttributeValue::N(format.to_owned()))
            .send()
            .await
            .expect("planted");
    };
    format("99").await;
    post_all(&stack, &[customer_event("evt_2", 20, "new@example.test")]).await;
    let deliveries = receive_often(&stack, 2).await;
    assert_eq!(outcomes(&deliveries), [DeliveryOutcome::Retry; 2]);
    // The new consumer is rolled back.
    format("1").await;
    drain(&stack).await;
    assert_eq!(email(&stack).await, "new@example.test");
}

#[tokio::test]
async fn the_sample_events_may_come_all_at_once_and_more_than_once() {
    let stack = stack().await;
    let samples = billhook_tests::harness::samples("stripe");
    let mut bodies: Vec<Vec<u8>> = samples.values().cloned().collect();
    bodies.extend(samples.into_values());
    Random::new(5).shuffle(&mut bodies);
    post_all(&stack, &bodies).await;
    let deliveries = drain(&stack).await;
    assert_eq!(
        count(&deliveries, DeliveryOutcome::Parked),
        0,
        "{deliveries:?}"
    );
    let ada: Value = serde_json::from_slice(&sample("stripe/customer.updated.json")).expect("JSON");
    let ada = ada["data"]["object"]["id"].as_str().expect("an id");
    let seen = state(&stack.store, &platform(), ada).await;
    assert_eq!(seen["refunded_total"], 500, "as events/README.md says");
    assert_eq!(seen["open_disputes"], json!([]));
}
