//! What time it is for the queue.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A source of time: milliseconds since the Unix epoch.
///
/// A waiting `receive` sleeps on tokio's timers, so the clock should run with them, as [`SystemClock`] does.
/// To let time pass at once, use [`LocalQueue::advance`](super::LocalQueue::advance).
pub trait Clock: Send + Sync + 'static {
    /// The time now, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

impl<F: Fn() -> i64 + Send + Sync + 'static> Clock for F {
    fn now_ms(&self) -> i64 {
        self()
    }
}

/// The system's time when it was made, carried on by tokio's own instants.
///
/// So a machine whose wall clock is set back hides no message, and a test that pauses tokio's time
/// pauses the queue too.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
    origin_ms: i64,
}

impl SystemClock {
    /// Reads the system's time once; from here on only tokio's instants count.
    #[must_use]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            origin: Instant::now(),
            origin_ms: millis(since_epoch),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        self.origin_ms.saturating_add(millis(self.origin.elapsed()))
    }
}

/// A duration in whole milliseconds; what is too long for an `i64` lasts for ever.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
