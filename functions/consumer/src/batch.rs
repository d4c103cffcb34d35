//! A batch of records: handled a few at a time, each on its own, and answered by a partial batch response.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use billhook_core::decide::Ignored;
use billhook_core::log::{Level, Line};
use billhook_core::metrics::{LAG_SECS, Measured, OTHER_MODE, REFETCH_FAILED, STRIPE_EVENTS};
use billhook_core::scope::Source;
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt};
use tokio::sync::Semaphore;

use crate::Consumer;
use crate::record::{Delivery, DeliveryOutcome};

/// How many records are under way at once: each needs a connection of its own, and opening one costs about
/// 0.4 ms of CPU. With answers that take 4 ms, CPU of a cold start with its first ten records, and time of a
/// warm batch of ten: 2 at once 9.8 ms and 52 ms, 4 at once 10.5 and 34, 5 at once 10.8 and 26, 8 at once 12.3
/// and 26, 10 at once 12.9 and 18.
const RECORDS_AT_ONCE: usize = 5;

/// How much text of messages is under way at once, in KiB: one of the largest, or many usual ones. Read as JSON, the largest
/// bodies can take a hundred times their size.
const KIB_AT_ONCE: usize = 400;

/// With less time than this left no record is started. What is not done is reported, and comes again.
const START_MS_MIN: i64 = 1_500;

/// This much of the function's time is kept for parking what was interrupted, and for the answer.
const ANSWER_MS: i64 = 500;

/// This much of it is kept for the answer alone. A function that is stopped has answered nothing, and then the
/// records that were done come again too.
const ANSWER_ALONE_MS: i64 = 200;

impl Consumer {
    /// Takes a batch. `deadline_ms` is when the function is stopped, in Unix milliseconds.
    pub async fn handle(&self, event: SqsEvent, deadline_ms: i64) -> SqsBatchResponse {
        let deliveries = self.deliver_batch(event, deadline_ms).await;
        let now_ms = (self.clock)();
        self.metrics.write(&measured(&deliveries), now_ms);
        self.tell_of_other_mode(&deliveries);
        for reason in deliveries
            .iter()
            .filter_map(|delivery| delivery.refetch_failed)
        {
            let mut measured = Measured::default();
            measured.count_for(REFETCH_FAILED, reason);
            self.metrics.write(&measured, now_ms);
        }
        // With what time is left: the answer to the queue does not depend on it.
        let left_ms = deadline_ms.saturating_sub(now_ms) - ANSWER_MS;
        if let Ok(left_ms @ 1..) = u64::try_from(left_ms) {
            let look = AssertUnwindSafe(self.look_at_open_rows()).catch_unwind();
            let _ = tokio::time::timeout(Duration::from_millis(left_ms), look).await;
        }
        response(&deliveries)
    }

    /// Warns once of events of the other mode. Each of them is ignored, so a stack that Stripe's other world was pointed at
    /// would swallow everything without a word.
    fn tell_of_other_mode(&self, deliveries: &[Delivery]) {
        if deliveries.iter().any(is_of_other_mode)
            && !self.told_of_other_mode.swap(true, Ordering::Relaxed)
        {
            let line = Line::new(
                Level::Warn,
                "events of the other mode are ignored: compare the webhook endpoint with the stack's mode",
            );
            self.log.write(&line.with("mode", self.mode.name()));
        }
    }

    /// Takes a batch and tells of each record what became of it, in no particular order.
    pub async fn deliver_batch(&self, event: SqsEvent, deadline_ms: i64) -> Vec<Delivery> {
        let mut records = event.records.into_iter();
        let mut deliveries = Vec::new();
        // The first record of all opens the connection that the others use.
        if !self.warm.swap(true, Ordering::Relaxed)
            && let Some(first) = records.next()
        {
            deliveries.push(self.guard(&first, deadline_ms).await);
        }
        let kib = Semaphore::new(KIB_AT_ONCE);
        let rest = stream::iter(records)
            .map(|record| {
                let kib = &kib;
                async move {
                    let text = record.body.as_deref().unwrap_or_default();
                    let needed = (text.len() / 1024 + 1).min(KIB_AT_ONCE);
                    let needed = u32::try_from(needed).unwrap_or(u32::MAX);
                    // It is never closed.
                    let _taken = kib.acquire_many(needed).await;
                    self.guard(&record, deadline_ms).await
                }
            })
            .buffer_unordered(RECORDS_AT_ONCE);
        deliveries.extend(rest.collect::<Vec<_>>().await);
        deliveries
    }

    /// Handles one record such that nothing it does harms another: a panic ends here, and so does its
    /// share of the time.
    async fn guard(&self, record: &SqsMessage, deadline_ms: i64) -> Delivery {
        let started = Instant::now();
        let left_ms = deadline_ms.saturating_sub((self.clock)());
        let interruption = if left_ms < START_MS_MIN {
            Err("no_time_left")
        } else {
            let limit_ms = u64::try_from(left_ms - ANSWER_MS).unwrap_or(0);
            let handled = AssertUnwindSafe(Box::pin(self.deliver(record))).catch_unwind();
            match tokio::time::timeout(Duration::from_millis(limit_ms), handled).await {
                Ok(Ok(delivery)) => Ok(delivery),
                Ok(Err(_panic)) => Err("panicked"),
                Err(_elapsed) => Err("timed_out"),
            }
        };
        let delivery = match interruption {
            Ok(delivery) => delivery,
            Err(reason) => {
                let left_ms = deadline_ms.saturating_sub((self.clock)()) - ANSWER_ALONE_MS;
                let limit = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
                let ended = AssertUnwindSafe(self.interrupted(record, reason)).catch_unwind();
                match tokio::time::timeout(limit, ended).await {
                    Ok(Ok(delivery)) => delivery,
                    Ok(Err(_panic)) => Delivery::given_up(record, "panicked"),
                    Err(_elapsed) => Delivery::given_up(record, reason),
                }
            }
        };
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.log_delivery(record, &delivery, micros);
        delivery
    }
}

/// What there is to count in a batch.
fn measured(deliveries: &[Delivery]) -> Measured {
    let mut measured = Measured::default();
    for delivery in deliveries {
        measured.count(delivery.outcome.metric());
        if delivery.outcome == DeliveryOutcome::Applied
            && let Some(secs) = delivery.age_secs
        {
            measured.measure(LAG_SECS, secs);
        }
        let is_used = match delivery.outcome {
            DeliveryOutcome::Applied | DeliveryOutcome::Stale => true,
            // A second delivery of an event that was ignored or parked still has the reason.
            DeliveryOutcome::Duplicate => delivery.reason.is_none(),
            DeliveryOutcome::Ignored | DeliveryOutcome::Parked | DeliveryOutcome::Retry => false,
        };
        if is_used && delivery.source == Some(Source::Stripe) {
            measured.count(STRIPE_EVENTS);
        }
        if is_of_other_mode(delivery) {
            measured.count(OTHER_MODE);
        }
    }
    measured
}

fn is_of_other_mode(delivery: &Delivery) -> bool {
    delivery.reason.as_deref() == Some(Ignored::OtherMode.reason())
}

/// The answer to the queue: the messages that are to come again.
#[must_use]
pub fn response(deliveries: &[Delivery]) -> SqsBatchResponse {
    let failed = deliveries
        .iter()
        .filter(|delivery| delivery.outcome == DeliveryOutcome::Retry);
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed
        .map(|delivery| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier.clone_from(&delivery.message_id);
            failure
        })
        .collect();
    response
}
