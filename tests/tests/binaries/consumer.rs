//! The consumer function over DynamoDB: what it does is in the tables, what it could not do goes back.

use std::time::Duration;

use billhook_core::envelope::{BODY_BYTES_MAX, Envelope};
use billhook_core::ledger::Outcome;
use billhook_core::scope::{Mode, Source};
use billhook_core::token::hashed;
use billhook_tests::batches::{batch, failures, record};
use billhook_tests::harness::say;
use billhook_tests::runtime_api::Answer;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Database, consumer_at, customer_event, sample};

const NONE: [&str; 0] = [];

/// An event as it lies on the queue.
pub(super) fn message(event: &str) -> String {
    let envelope = Envelope {
        source: Source::Stripe,
        received_at_ms: 1_794_497_472_120,
        body: event.as_bytes().to_vec(),
    };
    envelope.encode()
}

fn ask(answer: Answer) -> Vec<String> {
    failures(&answer.response())
}

#[tokio::test]
async fn three_events_the_wrong_way_round_end_in_the_same_state_as_the_right_way_round() {
    let mut states = Vec::new();
    let names = ["refund.created", "charge.succeeded", "customer.created"];
    let messages = names.map(|name| message(&sample(&format!("stripe/{name}.json"))));
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let database = Database::start().await;
        let consumer = database.consumer().await;
        let records = order.map(|at| record(names[at], &messages[at], 1));
        assert_eq!(ask(consumer.invoke(&batch(records)).await), NONE);
        states.push(database.state("cus_TZHbEyVsDncPGg").await.expect("known"));
    }
    let state = &states[0];
    assert_eq!(state["email"], "ada@example.test");
    assert_eq!(
        state["charges"]["ch_3TRgYSGx4RvQe7HkQEu4i58w"]["amount"],
        2400
    );
    assert_eq!(
        state["refunds"]["re_3TRgYSGx4RvQe7HkCzPmNdlt"]["amount"],
        500
    );
    assert_eq!(states[0], states[1]);
    assert_eq!(states[0], states[2]);
}

#[tokio::test]
async fn a_poison_record_is_parked_and_costs_the_others_nothing() {
    let database = Database::start().await;
    let consumer = database.consumer().await;
    let good =
        |id: &str| message(&customer_event(id, &format!("cus_{id}"), "a@example.test").to_string());
    let poison = [
        (
            "not an envelope",
            "hello".to_owned(),
            "hello".to_owned(),
            "not_an_envelope",
        ),
        ("empty", String::new(), String::new(), "not_an_envelope"),
        (
            "not JSON",
            message("{\"id\":"),
            "{\"id\":".to_owned(),
            "not_json",
        ),
        ("a list", message("[]"), "[]".to_owned(), "not_an_object"),
        (
            "too deep",
            message(&"[".repeat(100_000)),
            "[".repeat(100_000),
            "too_deep",
        ),
    ];
    for (number, (what, body, signed, reason)) in poison.into_iter().enumerate() {
        let (first, last) = (format!("evt_a{number}"), format!("evt_b{number}"));
        let records = [
            record("m-1", &good(&first), 1),
            record("m-2", &body, 1),
            record("m-3", &good(&last), 1),
        ];
        assert_eq!(ask(consumer.invoke(&batch(records)).await), NONE, "{what}");
        for id in [&first, &last] {
            let entry = database.entry(id, Some(1_794_219_385)).await;
            assert_eq!(
                entry.map(|entry| entry.outcome),
                Some(Outcome::Applied),
                "{what}"
            );
            assert!(
                database.state(&format!("cus_{id}")).await.is_some(),
                "{what}"
            );
        }
        let entry = database.entry(&hashed(signed.as_bytes()), None).await;
        let entry = entry.unwrap_or_else(|| panic!("{what} is not parked"));
        assert_eq!(entry.outcome, Outcome::Parked, "{what}");
        assert_eq!(entry.reason.as_deref(), Some(reason), "{what}");
        assert!(entry.body == signed.as_bytes(), "{what}: other bytes");
    }
    let parked = database
        .store
        .count_parked(Source::Stripe, Mode::Test)
        .await;
    assert_eq!(parked.expect("the store answers"), 5);
}

#[tokio::test]
async fn without_tables_every_record_goes_back_and_the_redelivery_heals() {
    let database = Database::without_tables().await;
    let consumer = database.consumer().await;
    let records = |count: u32| {
        let event =
            |n: u32| customer_event(&format!("evt_{n}"), &format!("cus_{n}"), "a@example.test");
        let records =
            (1..=5).map(|n| record(&format!("m-{n}"), &message(&event(n).to_string()), count));
        batch(records.chain([record("m-poison", "hello", count)]))
    };
    let all = ["m-1", "m-2", "m-3", "m-4", "m-5", "m-poison"];
    // The eighth receive is the last one: parking is tried then, and cannot work either.
    for count in [1, 2, 8] {
        let answer = consumer
            .invoke_within(&records(count), THIRTY_SECONDS)
            .await;
        assert_eq!(ask(answer), all, "receive {count}");
    }
    database.store.create_tables().await.expect("tables");
    let answer = consumer.invoke_within(&records(3), THIRTY_SECONDS).await;
    assert_eq!(ask(answer), NONE);
    for n in 1..=5 {
        let entry = database
            .entry(&format!("evt_{n}"), Some(1_794_219_385))
            .await;
        assert_eq!(entry.map(|entry| entry.outcome), Some(Outcome::Applied));
        assert!(database.state(&format!("cus_{n}")).await.is_some());
    }
    assert!(database.entry(&hashed(b"hello"), None).await.is_some());
}

const THIRTY_SECONDS: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_there_is_no_time_for_goes_back() {
    let database = Database::start().await;
    let consumer = database.consumer().await;
    let event = |n: u32| {
        message(&customer_event(&format!("evt_{n}"), "cus_1", "a@example.test").to_string())
    };
    let records = (1..=3).map(|n| record(&format!("m-{n}"), &event(n), 1));
    let batch = batch(records);
    let left = Duration::from_millis(200);
    let answer = consumer
        .invoke_with_deadline(&batch, left, THIRTY_SECONDS)
        .await;
    assert_eq!(ask(answer), ["m-1", "m-2", "m-3"]);
    assert_eq!(database.state("cus_1").await, None);
    assert_eq!(
        ask(consumer.invoke(&batch).await),
        NONE,
        "the next time there is"
    );
    assert!(database.state("cus_1").await.is_some());
}

/// A function that is stopped at its deadline has answered nothing: Lambda then hands out the whole batch again,
/// done or not.
#[tokio::test]
async fn a_store_that_hangs_is_answered_before_the_deadline_also_on_the_last_receive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let _hanging = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    let consumer = consumer_at(&format!("http://{address}")).await;
    for count in [1, 8] {
        let event = |n: u32| {
            message(&customer_event(&format!("evt_{n}"), "cus_1", "a@example.test").to_string())
        };
        let batch = batch((1..=3).map(|n| record(&format!("m-{n}"), &event(n), count)));
        // It is waited for longer than it is told, for a busy machine; one call that nobody limits takes longer.
        let (told, waited) = (Duration::from_secs(4), Duration::from_secs(8));
        let answer = consumer.invoke_with_deadline(&batch, told, waited).await;
        assert_ne!(answer, Answer::TimedOut, "receive {count}");
        assert_eq!(ask(answer), ["m-1", "m-2", "m-3"], "receive {count}");
    }
}

#[tokio::test]
async fn an_event_of_the_other_mode_and_one_seen_before_are_done_and_change_nothing() {
    let database = Database::start().await;
    let consumer = database.consumer().await;
    let mut live = customer_event("evt_live", "cus_1", "a@example.test");
    live["livemode"] = true.into();
    let live = record("m-1", &message(&live.to_string()), 1);
    assert_eq!(ask(consumer.invoke(&batch([live])).await), NONE);
    assert_eq!(database.state("cus_1").await, None);
    let event = record(
        "m-2",
        &message(&customer_event("evt_1", "cus_1", "a@example.test").to_string()),
        1,
    );
    let mut states: Vec<Option<Value>> = Vec::new();
    for _ in 0..3 {
        assert_eq!(
            ask(consumer
                .invoke(&batch([event.clone(), event.clone()]))
                .await),
            NONE
        );
        states.push(database.state("cus_1").await);
    }
    assert!(states[0].is_some());
    assert!(states.iter().all(|state| *state == states[0]));
}

#[tokio::test]
async fn what_a_newer_version_enqueued_waits_for_a_newer_consumer() {
    let database = Database::start().await;
    let consumer = database.consumer().await;
    let newer = json!({"v": 2, "source": "stripe", "received_at": 1, "body": "e30="}).to_string();
    let other = json!({"v": 1, "source": "other", "received_at": 1, "body": "e30="}).to_string();
    let records = |count| batch([record("m-1", &newer, count), record("m-2", &other, count)]);
    assert_eq!(ask(consumer.invoke(&records(1)).await), ["m-1", "m-2"]);
    assert_eq!(
        ask(consumer.invoke(&records(8)).await),
        NONE,
        "parked at last"
    );
    assert!(
        database
            .entry(&hashed(newer.as_bytes()), None)
            .await
            .is_some()
    );
}

/// Lambda invokes with an empty batch nowhere, but a person may.
#[tokio::test]
async fn an_empty_batch_is_done_and_something_else_fails_without_an_end_of_the_function() {
    let database = Database::start().await;
    let consumer = database.consumer().await;
    assert_eq!(ask(consumer.invoke(&json!({"Records": []})).await), NONE);
    let answer = consumer
        .invoke(&json!({"Records": [{"messageId": 7}]}))
        .await;
    assert!(matches!(answer, Answer::Error(_)), "{answer:?}");
    assert_eq!(ask(consumer.invoke(&json!({"Records": []})).await), NONE);
}

/// The smallest memory that the template allows is 128 MB, of which Lambda's own share is small. Read as JSON, such a body
/// takes a hundred times its size, so they are read one at a time.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn ten_of_the_largest_bodies_fit_the_smallest_memory() {
    const PEAK_KB_MAX: u64 = 100 * 1024;
    let database = Database::start().await;
    let consumer = database.consumer().await;
    let body = |n: usize| {
        let mut event = customer_event(&format!("evt_{n}"), "cus_1", "a@example.test");
        let room = BODY_BYTES_MAX - event.to_string().len() - 32;
        event["data"]["filler"] = vec![json!({"a": {"b": 0}}); room / 14].into();
        event.to_string()
    };
    let records = (0..10).map(|n| record(&format!("m-{n}"), &message(&body(n)), 1));
    assert_eq!(ask(consumer.invoke(&batch(records)).await), NONE);
    let peak = consumer.peak_kb();
    say(&format!(
        "ten bodies of {} bytes: a peak of {peak} KB",
        body(0).len()
    ));
    assert!(peak < PEAK_KB_MAX, "{peak} KB");
}
