//! A queue kept in a folder.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicUsize;
use std::task::Poll;

use rusqlite::Connection;

use super::*;

/// A folder of its own for each test, removed at the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::SeqCst);
        let name = format!("billhook-queue-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // Left by a killed process that had this id.
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn open(&self) -> LocalQueue {
        LocalQueue::open(&self.0, settings()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.0.join("queue.sqlite3")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl LocalQueue {
    /// Lets a test break the storage.
    async fn execute_batch(&self, sql: &str) {
        self.storage.lock().await.execute_batch(sql).unwrap();
    }

    async fn pragma(&self, name: &str) -> String {
        self.storage.lock().await.pragma(name).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn everything_survives_a_restart() {
    let folder = Folder::new();
    let attributes = BTreeMap::from([("type".to_owned(), "invoice.paid".to_owned())]);
    let queue = folder.open();
    send(&queue, "dead").await;
    wear_out(&queue).await;
    let dead = queue.dead_letters(10).await.unwrap();
    let id = queue
        .send(
            "alive".to_owned(),
            attributes.clone(),
            Some("cus_1".to_owned()),
        )
        .await
        .unwrap();
    drop(queue);

    let queue = folder.open();
    assert_eq!(counts(&queue).await, [1, 0, 1]);
    assert_eq!(queue.dead_letters(10).await.unwrap(), dead);
    let received = receive_one(&queue).await;
    assert_eq!((received.message_id, &*received.body), (id, "alive"));
    assert_eq!(received.attributes, attributes);
    assert_eq!(received.group.as_deref(), Some("cus_1"));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_what_was_in_flight_is_visible_at_once_with_its_receive_count() {
    let folder = Folder::new();
    let queue = folder.open();
    let id = send(&queue, "a").await;
    let before = receive_one(&queue).await;
    drop(queue);

    let queue = folder.open();
    assert_eq!(counts(&queue).await, [1, 0, 0]);
    let after = receive_one(&queue).await;
    assert_eq!((after.message_id, after.receive_count), (id, 2));
    assert_eq!(after.first_received_at_ms, before.first_received_at_ms);
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_shorten_a_delay() {
    let folder = Folder::new();
    let at = |now_ms| Settings {
        clock: Arc::new(move || now_ms),
        ..settings()
    };
    let queue = LocalQueue::open(folder.path(), at(1_000_000)).unwrap();
    send_delayed(&queue, "a", Duration::from_secs(10)).await;
    drop(queue);
    for (now_ms, visible) in [(1_009_999, 0), (1_010_000, 1)] {
        let queue = LocalQueue::open(folder.path(), at(now_ms)).unwrap();
        assert_eq!(receive(&queue).await.len(), visible, "at {now_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_set_back_between_two_runs_hides_nothing() {
    let folder = Folder::new();
    let at = |now_ms| Settings {
        clock: Arc::new(move || now_ms),
        ..settings()
    };
    let queue = LocalQueue::open(folder.path(), at(9_000_000)).unwrap();
    send(&queue, "at once").await;
    send_delayed(&queue, "delayed", Duration::from_secs(10)).await;
    send(&queue, "received").await;
    let handle = receive(&queue).await.remove(1).receipt_handle;
    queue
        .change_visibility(&handle, VISIBILITY_TIMEOUT_MAX)
        .await
        .unwrap();
    drop(queue);

    let queue = LocalQueue::open(folder.path(), at(1_000_000)).unwrap();
    let received = receive(&queue).await;
    assert_eq!(bodies(&received), ["at once", "received"]);
    queue.advance(Duration::from_secs(10));
    assert_eq!(bodies(&receive(&queue).await), ["delayed"]);
}

#[tokio::test(start_paused = true)]
async fn an_id_or_a_handle_is_never_given_twice_across_restarts() {
    let folder = Folder::new();
    let mut handles = Vec::new();
    for _ in 0..3 {
        let queue = folder.open();
        send(&queue, "a").await;
        let received = receive_one(&queue).await;
        queue.delete(&received.receipt_handle).await.unwrap();
        for old in &handles {
            assert_eq!(queue.delete(old).await.unwrap(), Deletion::Absent);
        }
        handles.push(received.receipt_handle);
    }
    let seqs: Vec<i64> = handles.iter().map(|handle| handle.seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_on_a_folder_is_woken_too() {
    let folder = Folder::new();
    let queue = folder.open();
    let waiting = wait_for_one(&queue);
    settle().await;
    send(&queue, "a").await;
    assert_eq!(bodies(&waiting.await.unwrap().0), ["a"]);
    let (received, waited) = wait_for_one(&queue).await.unwrap();
    assert_eq!(received[0].receive_count, 2);
    assert!((TIMEOUT..=TIMEOUT + MOMENT).contains(&waited), "{waited:?}");
}

/// Begins a call and does not wait for its answer.
async fn begin(mut call: Pin<&mut impl Future>) {
    poll_fn(|context| {
        let _ = call.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_sent_between_looking_and_waiting_is_not_missed() {
    let folder = Folder::new();
    let queue = folder.open();
    let mut waiting = pin!(queue.receive(1, Duration::from_secs(100)));
    begin(waiting.as_mut()).await;
    // This comes after the look into the storage, and before its answer is taken up.
    send(&queue, "a").await;
    let started = Instant::now();
    assert_eq!(bodies(&waiting.await.unwrap()), ["a"]);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_is_done_or_not_done_and_loses_nothing() {
    let folder = Folder::new();
    let queue = folder.open();
    let id = send(&queue, "a").await;
    begin(pin!(receive(&queue))).await;
    let [queued, in_flight, _] = counts(&queue).await;
    assert_eq!(queued + in_flight, 1);
    queue.advance(TIMEOUT);
    let handle = receive_one(&queue).await.receipt_handle;
    assert_eq!(handle.message_id, id);

    begin(pin!(queue.delete(&handle))).await;
    let deleted_now = queue.delete(&handle).await.unwrap();
    assert!(matches!(deleted_now, Deletion::Deleted | Deletion::Absent));
    assert_eq!(counts(&queue).await, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn many_senders_at_once_lose_nothing() {
    let folder = Folder::new();
    let queue = folder.open();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let queue = queue.clone();
        senders.spawn(async move { send_numbered(&queue, 5).await });
    }
    let mut sent = senders.join_all().await.concat();
    drop(queue);
    let mut received = ids(&receive_all(&folder.open()).await);
    sent.sort();
    received.sort();
    assert_eq!(received, sent);
}

#[tokio::test(start_paused = true)]
async fn every_commit_waits_for_the_disk() {
    let folder = Folder::new();
    let queue = folder.open();
    assert_eq!(queue.pragma("journal_mode").await, "wal");
    assert_eq!(queue.pragma("synchronous").await, "2", "2 is FULL");
    assert_eq!(queue.pragma("locking_mode").await, "exclusive");
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_open_only_once_at_a_time() {
    let folder = Folder::new();
    let queue = folder.open();
    send(&queue, "a").await;
    receive_one(&queue).await;
    let refused = LocalQueue::open(folder.path(), settings()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse), "{refused:?}");
    assert_eq!(counts(&queue).await, [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_file_of_a_newer_format_is_left_alone() {
    let folder = Folder::new();
    drop(folder.open());
    let connection = Connection::open(folder.file()).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    let refused = LocalQueue::open(folder.path(), settings()).unwrap_err();
    assert!(matches!(refused, OpenError::NewerFormat { found: 2 }));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_no_queue_and_a_folder_that_cannot_be_are_errors() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    std::fs::write(
        folder.file(),
        "not a database, but long enough ".repeat(100),
    )
    .unwrap();
    let refused = LocalQueue::open(folder.path(), settings()).unwrap_err();
    assert!(matches!(refused, OpenError::Storage { .. }), "{refused:?}");

    let refused = LocalQueue::open(&folder.file(), settings()).unwrap_err();
    assert!(matches!(refused, OpenError::Folder { .. }), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_fails_the_send_and_stores_nothing_of_it() {
    let folder = Folder::new();
    let queue = folder.open();
    send(&queue, "before").await;
    queue.execute_batch("PRAGMA max_page_count = 20").await;

    let large = "x".repeat(1_000_000);
    let failed = queue.send(large.clone(), BTreeMap::new(), None).await;
    let full = matches!(
        failed,
        Err(SendError::Storage(StorageError::DiskFull { .. }))
    );
    assert!(full, "{failed:?}");
    assert_eq!(counts(&queue).await, [1, 0, 0]);

    queue.execute_batch("PRAGMA max_page_count = 1000000").await;
    send(&queue, &large).await;
    drop(queue);
    let received = receive_all(&folder.open()).await;
    assert_eq!(bodies(&received), ["before", &large]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_write_fails_its_call_and_changes_nothing() {
    let folder = Folder::new();
    let queue = folder.open();
    send(&queue, "a").await;
    let broken = "SELECT RAISE(ABORT, 'broken')";
    for event in ["INSERT", "UPDATE", "DELETE"] {
        let trigger =
            format!("CREATE TRIGGER on_{event} BEFORE {event} ON messages BEGIN {broken}; END");
        queue.execute_batch(&trigger).await;
    }
    let sent = queue.send("b".to_owned(), BTreeMap::new(), None).await;
    assert!(matches!(
        sent,
        Err(SendError::Storage(StorageError::Sqlite { .. }))
    ));
    let received = queue.receive(10, Duration::ZERO).await;
    assert!(matches!(
        received,
        Err(ReceiveError::Storage(StorageError::Sqlite { .. }))
    ));
    assert_eq!(counts(&queue).await, [1, 0, 0]);

    queue.execute_batch("DROP TRIGGER on_UPDATE").await;
    let handle = receive_one(&queue).await.receipt_handle;
    let deleted = queue.delete(&handle).await;
    assert!(matches!(deleted, Err(StorageError::Sqlite { .. })));
    assert_eq!(counts(&queue).await, [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_commit_fails_its_call_and_the_queue_goes_on() {
    let folder = Folder::new();
    let queue = folder.open();
    // A constraint that is looked at only by the commit.
    queue
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER late AFTER INSERT ON messages BEGIN INSERT INTO child VALUES (1); END;",
        )
        .await;
    let failed = queue.send("a".to_owned(), BTreeMap::new(), None).await;
    assert!(matches!(
        failed,
        Err(SendError::Storage(StorageError::Sqlite { .. }))
    ));
    assert_eq!(counts(&queue).await, [0, 0, 0]);

    queue.execute_batch("DROP TRIGGER late").await;
    send(&queue, "b").await;
    assert_eq!(bodies(&receive(&queue).await), ["b"]);
}
