//! The queue between the two functions when everything runs in one process: SQS's standard queue,
//! as far as the stack uses it, and the chaos tool of the tests.
//!
//! What [`LocalQueue::send`] accepted is delivered until it is deleted, at least once and roughly in order,
//! also across a crash where the queue is kept in a folder. A received message is in flight, invisible, until it is
//! deleted or its visibility timeout passes; received as often as it may be, it becomes a dead letter.
//!
//! Where it differs from SQS on purpose: nothing expires (there is no retention period), any number of messages may be
//! in flight, groups have no bearing on who is served first, `receive` may wait for longer than 20 seconds,
//! and counts are exact.
//!
//! It knows nothing of events, functions or AWS types.

mod chaos;
mod clock;
mod message;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use chaos::Chaos;
use chaos::ChaosCourse;
use clock::millis;
pub use clock::{Clock, SystemClock};
use message::Draft;
pub use message::{
    ATTRIBUTES_MAX, DELAY_MAX, DeadLetter, InvalidMessage, InvalidReceiptHandle, MESSAGE_BYTES_MAX,
    MessageId, ReceiptHandle, Received,
};
use storage::{Claim, ClaimTerms, Storage};
pub use storage::{Counts, Deletion, OpenError, StorageError};

/// The most messages that one receive returns.
pub const RECEIVE_MAX: usize = 10;
/// The longest visibility timeout.
pub const VISIBILITY_TIMEOUT_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// The highest maximum receive count.
const RECEIVES_MAX: u32 = 1000;
/// What "wait for ever" comes to.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How a queue is set up.
#[derive(Clone)]
pub struct Settings {
    /// How long a received message stays invisible: above zero, at most 12 hours. Default: 60 s.
    pub visibility_timeout: Duration,
    /// `maxReceiveCount`: how often a message is delivered before it becomes a dead letter, 1 to 1000. Default: 8.
    pub max_receive_count: u32,
    /// What time it is. Default: [`SystemClock`].
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(60),
            max_receive_count: 8,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("visibility_timeout", &self.visibility_timeout)
            .field("max_receive_count", &self.max_receive_count)
            .finish_non_exhaustive()
    }
}

/// The queue did not accept the message.
#[derive(Debug, Error)]
pub enum SendError {
    /// It never will.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
    /// It is down, because a test said so.
    #[error("reach the queue")]
    Down,
    /// It could not make it durable.
    #[error("store a message")]
    Storage(#[from] StorageError),
}

/// Nothing was received.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// A receive is for 1 to 10 messages (`ReadCountOutOfRange`).
    #[error("receive {max} messages, not 1 to {RECEIVE_MAX}")]
    MaxOutOfRange {
        /// How many were asked for.
        max: usize,
    },
    /// The storage failed.
    #[error("receive messages")]
    Storage(#[from] StorageError),
}

/// The visibility timeout was not changed.
#[derive(Debug, Error)]
pub enum ChangeVisibilityError {
    /// The message is deleted, visible again, or was received again since (`MessageNotInflight`).
    #[error("change the visibility of a message that is not in flight")]
    NotInFlight,
    /// The timeout is above 12 hours.
    #[error("hide a message for {} s, more than {} s", .timeout.as_secs(), VISIBILITY_TIMEOUT_MAX.as_secs())]
    TooLong {
        /// The timeout asked for.
        timeout: Duration,
    },
    /// The storage failed.
    #[error("change the visibility of a message")]
    Storage(#[from] StorageError),
}

/// A handle on a queue. Clones are handles on the same queue; it closes with the last.
///
/// ```
/// # use std::{collections::BTreeMap, time::Duration};
/// # use billhook_embedded::queue::{Counts, LocalQueue, Settings};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let queue = LocalQueue::in_memory(Settings::default())?;
/// let id = queue.send("{}".to_owned(), BTreeMap::new(), None).await?;
///
/// let received = queue.receive(10, Duration::from_secs(20)).await?;
/// assert_eq!(received[0].message_id, id);
/// assert_eq!(queue.counts().await?.in_flight, 1);
///
/// queue.delete(&received[0].receipt_handle).await?;
/// assert_eq!(queue.counts().await?, Counts::default());
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LocalQueue {
    shared: Arc<Shared>,
    /// Tokio's mutex, whose waiters are woken in turn and block no thread: with a folder it is held over an fsync.
    storage: Arc<tokio::sync::Mutex<Storage>>,
}

/// What every handle can reach without waiting for the storage.
struct Shared {
    settings: Settings,
    on_disk: bool,
    /// How far the queue's time is ahead of its clock.
    advance_ms: AtomicI64,
    /// Told whenever a waiting receive should look again.
    changed: Notify,
    ids: IdSource,
    down: AtomicBool,
    sends_to_fail: AtomicU32,
    chaos: Mutex<ChaosCourse>,
}

impl fmt::Debug for LocalQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalQueue")
            .field("settings", &self.shared.settings)
            .field("on_disk", &self.shared.on_disk)
            .finish_non_exhaustive()
    }
}

impl LocalQueue {
    /// Makes a queue that ends with the process.
    ///
    /// # Errors
    /// Settings that SQS would refuse.
    pub fn in_memory(settings: Settings) -> Result<Self, OpenError> {
        check(&settings)?;
        Ok(Self::on(Storage::in_memory()?, settings, false))
    }

    /// Opens the queue kept in `folder`, or makes it there. It blocks for some milliseconds.
    ///
    /// Messages that were in flight are visible at once: their consumer ended with the process that had the queue
    /// open, and nobody else can have them. Their receive counts stay.
    ///
    /// # Errors
    /// Settings that SQS would refuse, a queue in use, or a file that cannot be read or written.
    pub fn open(folder: &Path, settings: Settings) -> Result<Self, OpenError> {
        check(&settings)?;
        let storage = Storage::on_disk(folder, settings.clock.now_ms())?;
        Ok(Self::on(storage, settings, true))
    }

    fn on(storage: Storage, settings: Settings, on_disk: bool) -> Self {
        let shared = Shared {
            settings,
            on_disk,
            advance_ms: AtomicI64::new(0),
            changed: Notify::new(),
            ids: IdSource::default(),
            down: AtomicBool::new(false),
            sends_to_fail: AtomicU32::new(0),
            chaos: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            storage: Arc::new(tokio::sync::Mutex::new(storage)),
        }
    }

    /// Sends a message. Once this returned `Ok`, the message outlives the process where the queue is kept in a folder.
    ///
    /// # Errors
    /// A message that SQS would refuse, a queue that is down, or a storage that could not take it. A caller
    /// that gets an error, or no answer because it stopped waiting, must not count on either outcome, as with SQS.
    pub async fn send(
        &self,
        body: String,
        attributes: BTreeMap<String, String>,
        group: Option<String>,
    ) -> Result<MessageId, SendError> {
        let delay = Duration::ZERO;
        self.send_delayed(body, attributes, group, delay).await
    }

    /// Sends a message that becomes visible only after `delay`, at most 15 minutes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_delayed(
        &self,
        body: String,
        attributes: BTreeMap<String, String>,
        group: Option<String>,
        delay: Duration,
    ) -> Result<MessageId, SendError> {
        if self.shared.refuses_a_send() {
            return Err(SendError::Down);
        }
        let draft = Draft {
            body,
            attributes,
            group,
            delay,
        };
        draft.check()?;
        let message_id = self.shared.ids.fresh();
        self.run(move |storage, shared| {
            let now = shared.now_ms();
            let fate = shared.chaos().next_send();
            let due = now + millis(draft.delay);
            let copies = [Some(fate.delay_ms), fate.copy_delay_ms];
            let visible_at: Vec<i64> = copies.into_iter().flatten().map(|ms| due + ms).collect();
            storage.insert(&draft, &message_id, now, &visible_at)?;
            shared.changed.notify_waiters();
            Ok(message_id)
        })
        .await
        .map_err(SendError::Storage)
    }

    /// Receives up to `max` messages, 1 to 10, and waits up to `wait` for the first.
    ///
    /// They are in flight then: invisible until their visibility timeout has passed. A message that has been received
    /// `max_receive_count` times becomes a dead letter instead.
    ///
    /// A caller may stop waiting at any time. Where the queue is kept in a folder, messages may just have
    /// become its own; they come back after their visibility timeout, as with SQS.
    ///
    /// # Errors
    /// `max` out of range, or a failing storage.
    pub async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Received>, ReceiveError> {
        if !(1..=RECEIVE_MAX).contains(&max) {
            return Err(ReceiveError::MaxOutOfRange { max });
        }
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        loop {
            // Made before looking, so that nothing that happens from here on is missed.
            let changed = self.shared.changed.notified();
            let (claim, looked_at) = self.claim(max).await?;
            if !claim.messages.is_empty() || Instant::now() >= deadline {
                return Ok(claim.messages);
            }
            let wake_at = match claim.next_visible_at {
                Some(due) => deadline.min(Instant::now() + from_millis(due - looked_at)),
                None => deadline,
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// Looks once, and says when.
    async fn claim(&self, max: usize) -> Result<(Claim, i64), StorageError> {
        self.run(move |storage, shared| {
            let now = shared.now_ms();
            let shuffle_key = shared.chaos().shuffle_key();
            let claim = storage.claim(ClaimTerms {
                messages_max: max,
                receives_max: shared.settings.max_receive_count,
                now,
                visible_at: now + millis(shared.settings.visibility_timeout),
                shuffle_key,
            })?;
            if !claim.messages.is_empty() {
                shared.chaos().delivered();
            }
            Ok((claim, now))
        })
        .await
    }

    /// Deletes a received message.
    ///
    /// Only the handle of its newest receive does, as SQS documents; that one also after the visibility
    /// timeout. An older one changes nothing and is told so: its consumer was too slow.
    ///
    /// # Errors
    /// A failing storage.
    pub async fn delete(&self, handle: &ReceiptHandle) -> Result<Deletion, StorageError> {
        let deletions = self.delete_batch(vec![handle.clone()]).await?;
        Ok(deletions.into_iter().next().unwrap_or(Deletion::Absent))
    }

    /// Deletes received messages, any number, with one write to the disk: the answers are in the order of the handles.
    ///
    /// # Errors
    /// A failing storage; then none is deleted.
    pub async fn delete_batch(
        &self,
        handles: Vec<ReceiptHandle>,
    ) -> Result<Vec<Deletion>, StorageError> {
        self.run(move |storage, shared| {
            storage.delete(&handles, |handle| {
                let chaos = shared.chaos();
                chaos.forgets(handle.seq, handle.receive_count)
            })
        })
        .await
    }

    /// Makes a message in flight visible after `timeout` from now; zero means at once.
    ///
    /// # Errors
    /// A message that is not in flight under this handle, a timeout above 12 hours, or a failing storage.
    pub async fn change_visibility(
        &self,
        handle: &ReceiptHandle,
        timeout: Duration,
    ) -> Result<(), ChangeVisibilityError> {
        if timeout > VISIBILITY_TIMEOUT_MAX {
            return Err(ChangeVisibilityError::TooLong { timeout });
        }
        let handle = handle.clone();
        let changed = self
            .run(move |storage, shared| {
                let now = shared.now_ms();
                let changed = storage.change_visibility(&handle, now, now + millis(timeout))?;
                shared.changed.notify_waiters();
                Ok(changed)
            })
            .await?;
        if changed {
            Ok(())
        } else {
            Err(ChangeVisibilityError::NotInFlight)
        }
    }

    /// Counts the messages. A message that only waits to be moved to the dead letters counts as queued until a receive
    /// comes upon it, as in SQS.
    ///
    /// # Errors
    /// A failing storage.
    pub async fn counts(&self) -> Result<Counts, StorageError> {
        self.run(|storage, shared| storage.counts(shared.now_ms()))
            .await
    }

    /// Lists dead letters, the first to die first.
    ///
    /// # Errors
    /// A failing storage.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StorageError> {
        self.run(move |storage, _| storage.dead_letters(limit))
            .await
    }

    /// Sends every dead letter anew and says how many: under new message ids, never received, as sent now, as
    /// `StartMessageMoveTask` does.
    ///
    /// # Errors
    /// A failing storage; then none is moved.
    pub async fn redrive(&self) -> Result<u64, StorageError> {
        self.run(|storage, shared| {
            let moved = storage.redrive(shared.now_ms(), || shared.ids.fresh())?;
            shared.changed.notify_waiters();
            Ok(moved)
        })
        .await
    }

    /// Deletes every dead letter and says how many.
    ///
    /// # Errors
    /// A failing storage; then none is deleted.
    pub async fn purge_dead_letters(&self) -> Result<u64, StorageError> {
        self.run(|storage, _| storage.purge_dead_letters()).await
    }

    /// Misbehaves from now on as `chaos` says, from its beginning; `Chaos::default()` ends it. It is not kept in the folder.
    pub fn set_chaos(&self, chaos: Chaos) {
        *self.shared.chaos() = ChaosCourse::new(chaos);
    }

    /// Makes the next `sends` calls of `send` fail with [`SendError::Down`]; 0 makes none fail.
    pub fn fail_next_send(&self, sends: u32) {
        self.shared.sends_to_fail.store(sends, Ordering::SeqCst);
    }

    /// Makes every `send` fail with [`SendError::Down`], or none any more. What is in the queue is still delivered.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// Lets time pass for this queue, at once: what is due by then becomes visible, also for a waiting receive.
    pub fn advance(&self, by: Duration) {
        self.shared
            .advance_ms
            .fetch_add(millis(by), Ordering::SeqCst);
        self.shared.changed.notify_waiters();
    }

    /// Does `job` with the storage, alone: in memory at once, since that takes microseconds, and else on
    /// a thread that may block, since a commit waits for the disk. A job begun is finished, also
    /// if nobody waits for its result any more.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Storage, &Shared) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let mut storage = Arc::clone(&self.storage).lock_owned().await;
        if !self.shared.on_disk {
            return job(&mut storage, &self.shared);
        }
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || job(&mut storage, &shared))
            .await
            .map_err(|source| StorageError::Interrupted { source })?
    }
}

impl Shared {
    fn now_ms(&self) -> i64 {
        let advance_ms = self.advance_ms.load(Ordering::SeqCst);
        self.settings.clock.now_ms().saturating_add(advance_ms)
    }

    /// Whether a test wants this send to fail; uses up one failure it asked for.
    fn refuses_a_send(&self) -> bool {
        let take_one = |left: u32| left.checked_sub(1);
        let failed = self
            .sends_to_fail
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one);
        failed.is_ok() || self.down.load(Ordering::SeqCst)
    }

    /// A panic elsewhere leaves the course as it was before or after a step; both are fine.
    fn chaos(&self) -> MutexGuard<'_, ChaosCourse> {
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Message ids that no other process or queue gives.
///
/// The standard library's hash keys are the random numbers at hand without another crate.
#[derive(Default)]
struct IdSource {
    high: RandomState,
    low: RandomState,
    given: AtomicU64,
}

impl IdSource {
    fn fresh(&self) -> MessageId {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        MessageId::from_random(self.high.hash_one(number), self.low.hash_one(number))
    }
}

fn check(settings: &Settings) -> Result<(), OpenError> {
    let timeout = settings.visibility_timeout;
    let valid = millis(timeout) > 0
        && timeout <= VISIBILITY_TIMEOUT_MAX
        && (1..=RECEIVES_MAX).contains(&settings.max_receive_count);
    if valid {
        Ok(())
    } else {
        Err(OpenError::Settings)
    }
}

fn from_millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).cast_unsigned())
}
