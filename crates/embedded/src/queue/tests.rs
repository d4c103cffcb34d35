//! The rules of the queue. Time is tokio's paused time throughout: nothing sleeps, and 60 s pass at once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod crash;
mod faults;
mod folder;
mod model;

use super::*;

/// A minute passes before a message comes back; the third receive in vain makes a dead letter.
fn settings() -> Settings {
    Settings {
        visibility_timeout: TIMEOUT,
        max_receive_count: 3,
        ..Settings::default()
    }
}

const TIMEOUT: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

fn memory() -> LocalQueue {
    LocalQueue::in_memory(settings()).unwrap()
}

async fn send(queue: &LocalQueue, body: &str) -> MessageId {
    queue
        .send(body.to_owned(), BTreeMap::new(), None)
        .await
        .unwrap()
}

async fn send_numbered(queue: &LocalQueue, count: usize) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(send(queue, &format!("{number:04}")).await);
    }
    ids
}

async fn send_delayed(queue: &LocalQueue, body: &str, delay: Duration) {
    queue
        .send_delayed(body.to_owned(), BTreeMap::new(), None, delay)
        .await
        .unwrap();
}

/// What is visible now, at most ten.
async fn receive(queue: &LocalQueue) -> Vec<Received> {
    queue.receive(10, Duration::ZERO).await.unwrap()
}

async fn receive_one(queue: &LocalQueue) -> Received {
    let mut received = queue.receive(1, Duration::ZERO).await.unwrap();
    received.pop().expect("a message is visible")
}

/// All that is visible now.
async fn receive_all(queue: &LocalQueue) -> Vec<Received> {
    let mut all = Vec::new();
    loop {
        let received = receive(queue).await;
        if received.is_empty() {
            return all;
        }
        all.extend(received);
    }
}

fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| &*message.body).collect()
}

fn ids(received: &[Received]) -> Vec<MessageId> {
    let ids = received.iter().map(|message| message.message_id.clone());
    ids.collect()
}

async fn counts(queue: &LocalQueue) -> [u64; 3] {
    let counts = queue.counts().await.unwrap();
    [counts.queued, counts.in_flight, counts.dead]
}

/// Receives the only message until it is a dead letter.
async fn wear_out(queue: &LocalQueue) {
    for _ in 0..3 {
        receive_one(queue).await;
        tokio::time::advance(TIMEOUT).await;
    }
    assert_eq!(receive(queue).await, []);
}

/// Starts to receive with 100 s of patience; the answer comes with how long it took.
fn wait_for_one(queue: &LocalQueue) -> tokio::task::JoinHandle<(Vec<Received>, Duration)> {
    let queue = queue.clone();
    tokio::spawn(async move {
        let started = Instant::now();
        let received = queue.receive(1, Duration::from_secs(100)).await.unwrap();
        (received, started.elapsed())
    })
}

/// Lets spawned tasks run until all of them wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_received_as_it_was_sent() {
    let queue = LocalQueue::in_memory(Settings {
        clock: Arc::new(|| 1_762_592_005_123),
        ..settings()
    })
    .unwrap();
    let attributes = BTreeMap::from([
        ("event_id".to_owned(), "evt_1".to_owned()),
        ("quote".to_owned(), "\"\\\n🦀".to_owned()),
    ]);
    let group = Some("cus_1".to_owned());
    let body = "{\"é\":\"\t🦀\u{fffd}\"}".to_owned();
    let message_id = queue
        .send(body.clone(), attributes.clone(), group.clone())
        .await
        .unwrap();

    let received = receive_one(&queue).await;

    let expected = Received {
        receipt_handle: received.receipt_handle.clone(),
        message_id,
        body,
        attributes,
        group,
        receive_count: 1,
        sent_at_ms: 1_762_592_005_123,
        first_received_at_ms: 1_762_592_005_123,
    };
    assert_eq!(received, expected);
}

#[tokio::test(start_paused = true)]
async fn every_message_has_its_own_id() {
    let queue = memory();
    let mut ids = send_numbered(&queue, 100).await;
    ids.extend(send_numbered(&memory(), 100).await);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn messages_are_received_in_the_order_they_were_sent() {
    let queue = memory();
    let sent = send_numbered(&queue, 25).await;
    assert_eq!(ids(&receive_all(&queue).await), sent);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_back_queues_up_behind_those_already_visible() {
    let queue = memory();
    send(&queue, "failed").await;
    receive_one(&queue).await;
    tokio::time::advance(TIMEOUT - MOMENT).await;
    send(&queue, "before its return").await;
    tokio::time::advance(2 * MOMENT).await;
    send(&queue, "after its return").await;

    let received = receive(&queue).await;
    let expected = ["before its return", "failed", "after its return"];
    assert_eq!(bodies(&received), expected);
}

#[tokio::test(start_paused = true)]
async fn a_receive_returns_at_most_what_was_asked_for_and_that_is_one_to_ten() {
    let queue = memory();
    send_numbered(&queue, 20).await;
    for max in [1, 3, 10] {
        let received = queue.receive(max, Duration::ZERO).await.unwrap();
        assert_eq!(received.len(), max);
    }
    for max in [0, 11] {
        let refused = queue.receive(max, Duration::ZERO).await.unwrap_err();
        assert!(matches!(refused, ReceiveError::MaxOutOfRange { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_received_message_is_invisible_until_its_visibility_timeout_has_passed() {
    let queue = memory();
    send(&queue, "a").await;
    let first = receive_one(&queue).await;
    tokio::time::advance(TIMEOUT - MOMENT).await;
    assert_eq!(receive(&queue).await, []);
    tokio::time::advance(MOMENT).await;

    let second = receive_one(&queue).await;

    assert_eq!(second.message_id, first.message_id);
    assert_eq!((first.receive_count, second.receive_count), (1, 2));
    assert_ne!(second.receipt_handle, first.receipt_handle);
    assert_eq!(second.first_received_at_ms, first.first_received_at_ms);
    assert_eq!(second.sent_at_ms, first.sent_at_ms);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_is_invisible_until_its_delay_has_passed() {
    let queue = memory();
    let delay = Duration::from_secs(10);
    send_delayed(&queue, "late", delay).await;
    send(&queue, "at once").await;
    assert_eq!(bodies(&receive(&queue).await), ["at once"]);
    tokio::time::advance(delay - MOMENT).await;
    assert_eq!(receive(&queue).await, []);
    tokio::time::advance(MOMENT).await;
    assert_eq!(bodies(&receive(&queue).await), ["late"]);
}

#[tokio::test(start_paused = true)]
async fn a_receive_of_an_empty_queue_takes_exactly_its_wait_time() {
    let queue = memory();
    for wait in [Duration::ZERO, MOMENT, Duration::from_secs(20)] {
        let started = Instant::now();
        assert_eq!(queue.receive(10, wait).await.unwrap(), []);
        // Tokio's timers may be up to a millisecond late.
        assert!((wait..=wait + MOMENT).contains(&started.elapsed()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_gets_a_message_when_it_is_sent() {
    let queue = memory();
    let waiting = wait_for_one(&queue);
    settle().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    send(&queue, "a").await;
    let (received, waited) = waiting.await.unwrap();
    assert_eq!(bodies(&received), ["a"]);
    assert_eq!(waited, Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_gets_a_message_when_its_delay_or_its_visibility_timeout_passes() {
    let queue = memory();
    send_delayed(&queue, "a", Duration::from_secs(10)).await;
    for expected in [Duration::from_secs(10), TIMEOUT, TIMEOUT] {
        let (received, waited) = wait_for_one(&queue).await.unwrap();
        assert_eq!(bodies(&received), ["a"]);
        assert!(
            (expected..=expected + MOMENT).contains(&waited),
            "{waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_gets_a_message_that_is_made_visible() {
    let queue = memory();
    send(&queue, "a").await;
    let first = receive_one(&queue).await;
    let waiting = wait_for_one(&queue);
    settle().await;
    queue
        .change_visibility(&first.receipt_handle, Duration::ZERO)
        .await
        .unwrap();
    let (received, waited) = waiting.await.unwrap();
    assert_eq!((received[0].receive_count, waited), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_gets_what_is_due_when_the_queue_is_advanced() {
    let queue = memory();
    send(&queue, "a").await;
    receive_one(&queue).await;
    let waiting = wait_for_one(&queue);
    settle().await;
    queue.advance(TIMEOUT);
    let (received, waited) = waiting.await.unwrap();
    assert_eq!((received[0].receive_count, waited), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_gets_what_is_redriven() {
    let queue = memory();
    send(&queue, "a").await;
    wear_out(&queue).await;
    let waiting = wait_for_one(&queue);
    settle().await;
    queue.redrive().await.unwrap();
    let (received, waited) = waiting.await.unwrap();
    assert_eq!((received[0].receive_count, waited), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_keeps_a_receive_waiting_but_not_for_ever() {
    let queue = LocalQueue::in_memory(Settings {
        clock: Arc::new(|| 0),
        ..settings()
    })
    .unwrap();
    send_delayed(&queue, "a", Duration::from_secs(10)).await;
    let (received, _) = wait_for_one(&queue).await.unwrap();
    assert_eq!(received, []);
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_was_given_up_takes_nothing_with_it() {
    let queue = memory();
    let [given_up, patient] = [wait_for_one(&queue), wait_for_one(&queue)];
    settle().await;
    // Woken by the send, then dropped before it could look.
    send(&queue, "a").await;
    given_up.abort();
    let (received, waited) = patient.await.unwrap();
    assert_eq!((bodies(&received), waited), (vec!["a"], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn competing_consumers_get_each_message_once() {
    let queue = memory();
    let mut consumers = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let queue = queue.clone();
        consumers.spawn(async move {
            let mut got = Vec::new();
            loop {
                let received = queue.receive(7, Duration::from_secs(20)).await.unwrap();
                if received.is_empty() {
                    return got;
                }
                got.extend(ids(&received));
                let handles = received.into_iter().map(|message| message.receipt_handle);
                queue.delete_batch(handles.collect()).await.unwrap();
            }
        });
    }
    let mut sent = send_numbered(&queue, 300).await;
    let mut got = consumers.join_all().await.concat();
    sent.sort();
    got.sort();
    assert_eq!(got, sent);
    assert_eq!(counts(&queue).await, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_message_never_comes_back_and_deleting_it_again_is_no_error() {
    let queue = memory();
    send(&queue, "a").await;
    let handle = receive_one(&queue).await.receipt_handle;
    assert_eq!(queue.delete(&handle).await.unwrap(), Deletion::Deleted);
    assert_eq!(queue.delete(&handle).await.unwrap(), Deletion::Absent);
    tokio::time::advance(TIMEOUT).await;
    assert_eq!(receive(&queue).await, []);
    assert_eq!(counts(&queue).await, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_receipt_handle_deletes() {
    let queue = memory();
    send(&queue, "a").await;
    let old = receive_one(&queue).await.receipt_handle;
    tokio::time::advance(TIMEOUT).await;
    let new = receive_one(&queue).await.receipt_handle;
    assert_eq!(queue.delete(&old).await.unwrap(), Deletion::Stale);
    assert_eq!(counts(&queue).await, [0, 1, 0]);
    assert_eq!(queue.delete(&new).await.unwrap(), Deletion::Deleted);
    assert_eq!(counts(&queue).await, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_newest_receipt_handle_deletes_also_after_the_visibility_timeout() {
    let queue = memory();
    send(&queue, "a").await;
    let handle = receive_one(&queue).await.receipt_handle;
    tokio::time::advance(2 * TIMEOUT).await;
    assert_eq!(counts(&queue).await, [1, 0, 0]);
    assert_eq!(queue.delete(&handle).await.unwrap(), Deletion::Deleted);
    assert_eq!(counts(&queue).await, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_another_queue_deletes_nothing() {
    let [ours, theirs] = [memory(), memory()];
    send(&ours, "a").await;
    send(&theirs, "a").await;
    receive_one(&ours).await;
    let foreign = receive_one(&theirs).await.receipt_handle;
    assert_eq!(ours.delete(&foreign).await.unwrap(), Deletion::Absent);
    assert_eq!(counts(&ours).await, [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_deletes_is_answered_one_by_one_in_its_order() {
    let queue = memory();
    send_numbered(&queue, 3).await;
    let old = receive(&queue).await;
    let delete = [&old[0], &old[0], &old[1]].map(|message| message.receipt_handle.clone());
    let deletions = queue.delete_batch(delete.to_vec()).await.unwrap();
    let expected = [Deletion::Deleted, Deletion::Absent, Deletion::Deleted];
    assert_eq!(deletions, expected);

    tokio::time::advance(TIMEOUT).await;
    let new = receive_one(&queue).await.receipt_handle;
    let delete = vec![old[2].receipt_handle.clone(), new];
    let deletions = queue.delete_batch(delete).await.unwrap();
    assert_eq!(deletions, [Deletion::Stale, Deletion::Deleted]);
    assert_eq!(queue.delete_batch(Vec::new()).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_changed_visibility_timeout_counts_from_the_change() {
    let queue = memory();
    send(&queue, "a").await;
    let handle = receive_one(&queue).await.receipt_handle;
    tokio::time::advance(TIMEOUT - MOMENT).await;
    queue
        .change_visibility(&handle, VISIBILITY_TIMEOUT_MAX)
        .await
        .unwrap();
    tokio::time::advance(VISIBILITY_TIMEOUT_MAX - MOMENT).await;
    assert_eq!(counts(&queue).await, [0, 1, 0]);
    tokio::time::advance(MOMENT).await;
    assert_eq!(receive_one(&queue).await.receive_count, 2);
}

#[tokio::test(start_paused = true)]
async fn the_visibility_of_a_message_changes_only_while_this_receive_of_it_is_in_flight() {
    let queue = memory();
    send_numbered(&queue, 2).await;
    let [again, deleted] = [receive_one(&queue).await, receive_one(&queue).await];
    let [again, deleted] = [again.receipt_handle, deleted.receipt_handle];

    let too_long = VISIBILITY_TIMEOUT_MAX + MOMENT;
    let refused = queue.change_visibility(&again, too_long).await.unwrap_err();
    assert!(matches!(refused, ChangeVisibilityError::TooLong { timeout } if timeout == too_long));

    queue.delete(&deleted).await.unwrap();
    let not_in_flight = async |handle, case| {
        let refused = queue.change_visibility(handle, TIMEOUT).await.unwrap_err();
        assert!(
            matches!(refused, ChangeVisibilityError::NotInFlight),
            "{case}"
        );
    };
    not_in_flight(&deleted, "deleted").await;
    tokio::time::advance(TIMEOUT).await;
    not_in_flight(&again, "visible again").await;
    receive_one(&queue).await;
    not_in_flight(&again, "received again").await;
}

#[tokio::test(start_paused = true)]
async fn a_message_received_as_often_as_it_may_be_becomes_a_dead_letter_on_the_next_receive() {
    let queue = memory();
    let attributes = BTreeMap::from([("type".to_owned(), "invoice.paid".to_owned())]);
    let message_id = queue
        .send(
            "poison".to_owned(),
            attributes.clone(),
            Some("cus_1".to_owned()),
        )
        .await
        .unwrap();
    let first = receive_one(&queue).await;
    for receive_count in [2, 3] {
        tokio::time::advance(TIMEOUT).await;
        assert_eq!(receive_one(&queue).await.receive_count, receive_count);
    }
    assert_eq!(counts(&queue).await, [0, 1, 0]);
    tokio::time::advance(TIMEOUT).await;
    assert_eq!(counts(&queue).await, [1, 0, 0]);
    assert_eq!(receive(&queue).await, []);
    assert_eq!(counts(&queue).await, [0, 0, 1]);

    let expected = DeadLetter {
        message_id,
        body: "poison".to_owned(),
        attributes,
        group: Some("cus_1".to_owned()),
        receive_count: 3,
        sent_at_ms: first.sent_at_ms,
        first_received_at_ms: first.first_received_at_ms,
        died_at_ms: first.first_received_at_ms + 3 * 60_000,
    };
    assert_eq!(queue.dead_letters(10).await.unwrap(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_buries_dead_letters_still_returns_all_it_was_asked_for() {
    let queue = memory();
    send_numbered(&queue, 15).await;
    for _ in 0..3 {
        assert_eq!(receive_all(&queue).await.len(), 15);
        tokio::time::advance(TIMEOUT).await;
    }
    let alive = send_numbered(&queue, 12).await;
    assert_eq!(ids(&receive(&queue).await), alive[..10]);
    assert_eq!(counts(&queue).await, [2, 10, 15]);
    let dead = queue.dead_letters(2).await.unwrap();
    assert_eq!([&*dead[0].body, &*dead[1].body], ["0000", "0001"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_receipt_handle_of_a_dead_letter_no_longer_deletes_it() {
    let queue = memory();
    send(&queue, "a").await;
    for _ in 0..2 {
        receive_one(&queue).await;
        tokio::time::advance(TIMEOUT).await;
    }
    let last = receive_one(&queue).await.receipt_handle;
    tokio::time::advance(TIMEOUT).await;
    receive(&queue).await;
    assert_eq!(queue.delete(&last).await.unwrap(), Deletion::Absent);
    assert_eq!(counts(&queue).await, [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_redriven_message_is_a_new_one_with_the_same_content() {
    let queue = memory();
    let attributes = BTreeMap::from([("type".to_owned(), "invoice.paid".to_owned())]);
    let group = Some("cus_1".to_owned());
    let old_id = queue
        .send("a".to_owned(), attributes.clone(), group.clone())
        .await
        .unwrap();
    wear_out(&queue).await;
    let sent_at_ms = queue.dead_letters(1).await.unwrap()[0].sent_at_ms;

    assert_eq!(queue.redrive().await.unwrap(), 1);
    assert_eq!(counts(&queue).await, [1, 0, 0]);
    let new = receive_one(&queue).await;

    assert_ne!(new.message_id, old_id);
    assert_eq!(
        (&*new.body, new.attributes, new.group),
        ("a", attributes, group)
    );
    assert_eq!(new.receive_count, 1);
    assert_eq!(new.sent_at_ms, sent_at_ms + 3 * 60_000);
    assert_eq!(queue.redrive().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_redrive_moves_all_dead_letters_in_their_order() {
    let queue = memory();
    send_numbered(&queue, 30).await;
    for _ in 0..4 {
        receive_all(&queue).await;
        tokio::time::advance(TIMEOUT).await;
    }
    assert_eq!(counts(&queue).await, [0, 0, 30]);
    assert_eq!(queue.redrive().await.unwrap(), 30);
    let received = receive_all(&queue).await;
    assert!(bodies(&received).is_sorted());
    assert_eq!(counts(&queue).await, [0, 30, 0]);
}

#[tokio::test(start_paused = true)]
async fn purged_dead_letters_are_gone_and_nothing_else() {
    let queue = memory();
    send(&queue, "dead").await;
    wear_out(&queue).await;
    send(&queue, "alive").await;
    assert_eq!(queue.purge_dead_letters().await.unwrap(), 1);
    assert_eq!(queue.dead_letters(10).await.unwrap(), []);
    assert_eq!(counts(&queue).await, [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn delayed_counts_as_queued_and_waiting_for_a_visibility_timeout_as_in_flight() {
    let queue = memory();
    send(&queue, "failed").await;
    receive_one(&queue).await;
    send(&queue, "visible").await;
    send_delayed(&queue, "delayed", 2 * TIMEOUT).await;
    assert_eq!(counts(&queue).await, [2, 1, 0]);
    tokio::time::advance(TIMEOUT - MOMENT).await;
    assert_eq!(counts(&queue).await, [2, 1, 0]);
    tokio::time::advance(MOMENT).await;
    assert_eq!(counts(&queue).await, [3, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn settings_that_sqs_would_refuse_open_no_queue() {
    let timeouts = [Duration::ZERO, VISIBILITY_TIMEOUT_MAX + MOMENT];
    let bad_timeouts = timeouts.map(|visibility_timeout| Settings {
        visibility_timeout,
        ..settings()
    });
    let bad_receives = [0, 1001].map(|max_receive_count| Settings {
        max_receive_count,
        ..settings()
    });
    for settings in bad_timeouts.into_iter().chain(bad_receives) {
        let refused = LocalQueue::in_memory(settings).unwrap_err();
        assert!(matches!(refused, OpenError::Settings));
    }
}

#[tokio::test(start_paused = true)]
async fn no_body_shows_in_debug_output() {
    let queue = memory();
    send(&queue, "whsec_secret").await;
    let received = receive_one(&queue).await;
    tokio::time::advance(3 * TIMEOUT).await;
    let mut shown = format!("{queue:?} {received:?}");
    receive_one(&queue).await;
    tokio::time::advance(TIMEOUT).await;
    receive_one(&queue).await;
    tokio::time::advance(TIMEOUT).await;
    receive(&queue).await;
    shown += &format!("{:?}", queue.dead_letters(1).await.unwrap());
    assert!(shown.contains("body_bytes: 12"), "{shown}");
    assert!(!shown.contains("whsec_secret"), "{shown}");
}
