//! Faults on command.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_not_stored() {
    let queue = memory();
    let refused = queue.send(String::new(), BTreeMap::new(), None).await;
    let Err(SendError::Invalid(InvalidMessage::EmptyBody)) = refused else {
        panic!("an empty body is refused, not {refused:?}");
    };
    assert_eq!(counts(&queue).await, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_down_takes_nothing_and_still_delivers() {
    let queue = memory();
    send(&queue, "before").await;
    queue.set_down(true);
    for _ in 0..3 {
        let failed = queue.send("lost".to_owned(), BTreeMap::new(), None).await;
        assert!(matches!(failed, Err(SendError::Down)));
    }
    assert_eq!(bodies(&receive(&queue).await), ["before"]);
    queue.set_down(false);
    send(&queue, "after").await;
    assert_eq!(bodies(&receive(&queue).await), ["after"]);
}

#[tokio::test(start_paused = true)]
async fn exactly_the_next_sends_fail_when_told_so() {
    let queue = memory();
    queue.fail_next_send(2);
    let mut accepted = Vec::new();
    for number in 0..4 {
        let sent = queue.send(number.to_string(), BTreeMap::new(), None).await;
        accepted.push(sent.is_ok());
    }
    assert_eq!(accepted, [false, false, true, true]);
    assert_eq!(bodies(&receive(&queue).await), ["2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_has_the_same_id_and_is_delivered_and_deleted_on_its_own() {
    let queue = memory();
    queue.set_chaos(Chaos {
        duplicate: 1.0,
        ..Chaos::default()
    });
    let id = send(&queue, "a").await;
    let received = receive(&queue).await;
    assert_eq!(ids(&received), [id.clone(), id]);
    assert_ne!(received[0].receipt_handle, received[1].receipt_handle);
    assert_eq!(received[1].receive_count, 1);
    queue.delete(&received[0].receipt_handle).await.unwrap();
    assert_eq!(counts(&queue).await, [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_adds_to_the_messages_own_and_never_exceeds_its_maximum() {
    let queue = memory();
    queue.set_chaos(Chaos {
        seed: 3,
        delay: 1.0,
        delay_ms_max: 5_000,
        ..Chaos::default()
    });
    for number in 0..50 {
        send_delayed(&queue, &number.to_string(), Duration::from_secs(10)).await;
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(receive(&queue).await, []);
    tokio::time::advance(Duration::from_millis(2_500)).await;
    let early = receive_all(&queue).await.len();
    assert!((10..40).contains(&early), "about half: {early}");
    tokio::time::advance(Duration::from_millis(2_500)).await;
    assert_eq!(early + receive_all(&queue).await.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn reordering_delivers_every_message_once_in_another_order() {
    let queue = memory();
    queue.set_chaos(Chaos {
        reorder: true,
        ..Chaos::default()
    });
    let sent = send_numbered(&queue, 250).await;
    let mut received = queue.receive(3, Duration::ZERO).await.unwrap();
    assert_eq!(received.len(), 3);
    received.extend(receive_all(&queue).await);
    let first: usize = received[0].body.parse().unwrap();
    assert!(first < 100, "drawn from the 100 longest-waiting: {first}");
    let (mut received, mut expected) = (ids(&received), sent);
    assert_ne!(received, expected);
    received.sort();
    expected.sort();
    assert_eq!(received, expected);
}

#[tokio::test(start_paused = true)]
async fn reordering_still_buries_what_was_received_too_often() {
    let queue = memory();
    queue.set_chaos(Chaos {
        reorder: true,
        ..Chaos::default()
    });
    send_numbered(&queue, 150).await;
    for _ in 0..3 {
        assert_eq!(receive_all(&queue).await.len(), 150);
        tokio::time::advance(TIMEOUT).await;
    }
    assert_eq!(receive(&queue).await, []);
    assert_eq!(counts(&queue).await, [0, 0, 150]);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_delete_is_answered_as_done_and_the_message_comes_back() {
    let queue = memory();
    queue.set_chaos(Chaos {
        lose_ack: 1.0,
        ..Chaos::default()
    });
    send(&queue, "a").await;
    let first = receive_one(&queue).await.receipt_handle;
    assert_eq!(queue.delete(&first).await.unwrap(), Deletion::Deleted);
    assert_eq!(counts(&queue).await, [0, 1, 0]);
    tokio::time::advance(TIMEOUT).await;
    let second = receive_one(&queue).await;
    assert_eq!(second.receive_count, 2);
    assert_eq!(queue.delete(&first).await.unwrap(), Deletion::Stale);

    queue.set_chaos(Chaos::default());
    let deletion = queue.delete(&second.receipt_handle).await.unwrap();
    assert_eq!(deletion, Deletion::Deleted);
    assert_eq!(counts(&queue).await, [0, 0, 0]);
}

/// What a consumer sees of 60 messages under chaos: every body and receive count, in order.
async fn deliveries(seed: u64, idle_receives: usize) -> Vec<(String, u32)> {
    let queue = LocalQueue::in_memory(Settings {
        max_receive_count: 1000,
        ..settings()
    })
    .unwrap();
    queue.set_chaos(Chaos {
        seed,
        duplicate: 0.3,
        delay: 0.3,
        delay_ms_max: 10_000,
        reorder: true,
        lose_ack: 0.3,
    });
    let mut seen = Vec::new();
    for _ in 0..idle_receives {
        assert_eq!(receive(&queue).await, []);
    }
    send_numbered(&queue, 60).await;
    while counts(&queue).await != [0, 0, 0] {
        let received = receive_all(&queue).await;
        for message in received {
            queue.delete(&message.receipt_handle).await.unwrap();
            seen.push((message.body, message.receive_count));
        }
        queue.advance(Duration::from_secs(5));
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_course_of_faults_whatever_idle_receives_come_between() {
    let course = deliveries(1, 0).await;
    assert_eq!(deliveries(1, 5).await, course);
    assert_ne!(deliveries(2, 0).await, course);
}

#[tokio::test(start_paused = true)]
async fn under_all_chaos_at_once_every_message_is_delivered() {
    for seed in 0..5 {
        let mut seen: Vec<String> = Vec::new();
        seen.extend(deliveries(seed, 0).await.into_iter().map(|(body, _)| body));
        assert!(seen.len() > 60, "some of them more than once");
        seen.sort();
        seen.dedup();
        let expected: Vec<String> = (0..60).map(|number| format!("{number:04}")).collect();
        assert_eq!(seen, expected);
    }
}
