//! A batch of records of one shard, and the partial batch response.
//!
//! Lambda hands out again what failed and everything after it, so of the answer's failures only the first counts.
//! First the customers of all rows are looked at, each once, a few at a time: a look is at the state as it is now, so
//! one is enough for all records of a customer. Then the notes are told in their order, up to the first record that
//! failed; what comes after it will come again and is told then.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use billhook_core::access::Access;
use billhook_core::announce::{Change, Noted, change, detail};
use billhook_core::log::{Level, Line, causes};
use billhook_core::metrics::{ACCESS_CHANGED, ACCESS_GRANTED, ACCESS_REVOKED, Measured};
use billhook_core::token::token;
use billhook_store::LinkedRow;
use billhook_store::keys::CustomerPartition;
use billhook_store::stream::{ItemChange, StreamBatch, StreamRecord};
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::AccessFunction;
use crate::bus::{ENTRIES_MAX, Event};

/// How many customers are looked at at once: each needs a connection of its own.
const CUSTOMERS_AT_ONCE: usize = 5;

/// With less time than this left nothing is started. What is not done comes again.
const START_MS_MIN: i64 = 1_500;

/// This much of the function's time is kept for the answer.
const ANSWER_MS: i64 = 500;

/// A customer whose rows have changed.
struct Concerned {
    customer: CustomerPartition,
    /// The linked rows among them.
    linked: Vec<LinkedRow>,
    /// The place of the first record.
    first: usize,
}

/// A change that is noted and has to be told.
struct Told {
    /// The place of its record.
    place: usize,
    change: Change,
    /// The customer's part of a key, which is a token.
    customer: String,
    event: Event,
}

/// The records of a batch, sorted by what is to be done.
#[derive(Default)]
struct Work {
    concerned: Vec<Concerned>,
    told: Vec<Told>,
    /// Records that cannot be read: their places, and why.
    failed: Vec<(usize, String)>,
}

impl AccessFunction {
    /// Takes a batch. `deadline_ms` is when the function is stopped, in Unix milliseconds. The answer is Lambda's
    /// partial batch response.
    pub async fn handle(&self, batch: StreamBatch, deadline_ms: i64) -> Value {
        let records = batch.records;
        let mut work = sort(&records);
        let mut failed: Vec<usize> = Vec::new();
        for (place, reason) in work.failed.drain(..) {
            self.log_failure("unknown", &reason);
            failed.push(place);
        }
        let looks = stream::iter(work.concerned)
            .map(|concerned| self.look(concerned, deadline_ms))
            .buffer_unordered(CUSTOMERS_AT_ONCE);
        failed.extend(looks.collect::<Vec<_>>().await.into_iter().flatten());
        let first_failed = failed.into_iter().min();
        let told = work.told.into_iter();
        let told: Vec<Told> = told
            .take_while(|told| first_failed.is_none_or(|first| told.place < first))
            .collect();
        let not_told = self.tell(&told, deadline_ms).await;
        response(&records, not_told.or(first_failed))
    }

    /// Notes a customer's access; the place of the first record where that failed.
    async fn look(&self, concerned: Concerned, deadline_ms: i64) -> Option<usize> {
        let Concerned {
            customer,
            linked,
            first,
        } = concerned;
        let noted = self.guard(deadline_ms, self.note(&customer, &linked)).await;
        let reason = match noted {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => causes(&error),
            Err(interrupted) => interrupted.to_owned(),
        };
        self.log_failure(&customer.customer, &reason);
        Some(first)
    }

    /// Tells what is noted, in order; the place of the first record that was not told.
    async fn tell(&self, told: &[Told], deadline_ms: i64) -> Option<usize> {
        let mut measured = Measured::default();
        let mut not_told = None;
        for part in told.chunks(ENTRIES_MAX) {
            let events: Vec<Event> = part.iter().map(|told| told.event.clone()).collect();
            let put = self.guard(deadline_ms, self.bus.put(&events)).await;
            let (done, reason) = match put {
                Ok(Ok(())) => (part.len(), None),
                Ok(Err(error)) => (error.first, Some(causes(&error))),
                Err(interrupted) => (0, Some(interrupted.to_owned())),
            };
            for told in part.iter().take(done) {
                self.log_told(told);
                measured.count(match told.change {
                    Change::Granted => ACCESS_GRANTED,
                    Change::Revoked => ACCESS_REVOKED,
                    Change::Changed => ACCESS_CHANGED,
                });
            }
            if let Some(reason) = reason {
                let first = part.get(done).or(part.first());
                self.log_failure(first.map_or("unknown", |told| &told.customer), &reason);
                not_told = first.map(|told| told.place);
                break;
            }
        }
        self.metrics.write(&measured, (self.clock)());
        not_told
    }

    /// Does something such that neither a panic nor its share of the time harms the rest.
    async fn guard<T>(
        &self,
        deadline_ms: i64,
        work: impl Future<Output = T>,
    ) -> Result<T, &'static str> {
        let left_ms = deadline_ms.saturating_sub((self.clock)());
        if left_ms < START_MS_MIN {
            return Err("no_time_left");
        }
        let limit_ms = u64::try_from(left_ms - ANSWER_MS).unwrap_or(0);
        let work = AssertUnwindSafe(Box::pin(work)).catch_unwind();
        match tokio::time::timeout(Duration::from_millis(limit_ms), work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_panic)) => Err("panicked"),
            Err(_elapsed) => Err("timed_out"),
        }
    }

    fn log_told(&self, told: &Told) {
        let Told {
            customer, event, ..
        } = told;
        let reason = event.detail["reason"].as_str().map(token);
        let line = Line::new(Level::Info, "access told")
            .with("detail_type", event.detail_type)
            .with("customer", customer.as_str())
            .with("reason", reason.as_deref())
            .with("sequence", event.detail["sequence"].clone());
        self.log.write(&line);
    }

    fn log_failure(&self, customer: &str, reason: &str) {
        let line = Line::new(Level::Warn, "records come again")
            .with("customer", customer)
            .with("reason", reason);
        self.log.write(&line);
    }
}

/// Sorts the records of a batch by what is to be done.
fn sort(records: &[StreamRecord]) -> Work {
    let mut work = Work::default();
    for (place, record) in records.iter().enumerate() {
        match record.change() {
            Ok(ItemChange::Row { customers, linked }) => {
                for customer in customers {
                    work.concern(place, customer, linked.clone());
                }
            }
            Ok(ItemChange::Access {
                customer,
                before,
                now,
            }) => work.told.extend(told(place, &customer, before, &now)),
            Ok(ItemChange::Nothing) => {}
            Err(error) => work.failed.push((place, causes(&error))),
        }
    }
    work
}

impl Work {
    fn concern(&mut self, place: usize, customer: CustomerPartition, linked: Option<LinkedRow>) {
        let known = self.concerned.iter_mut();
        match known.into_iter().find(|known| known.customer == customer) {
            Some(known) => known.linked.extend(linked),
            None => self.concerned.push(Concerned {
                customer,
                linked: linked.into_iter().collect(),
                first: place,
            }),
        }
    }
}

/// What a note tells, if it tells anything.
fn told(
    place: usize,
    customer: &CustomerPartition,
    before: Option<Noted>,
    now: &Noted,
) -> Option<Told> {
    let previous: Option<Access> = before.map(|before| before.access);
    let change = change(previous.as_ref(), &now.access, true)?;
    Some(Told {
        place,
        change,
        customer: customer.customer.clone(),
        event: Event {
            detail_type: change.detail_type(),
            time: now.changed_at,
            detail: detail(&customer.scope, previous.as_ref(), now),
        },
    })
}

/// Asks for everything from the record at this place on.
fn response(records: &[StreamRecord], failed: Option<usize>) -> Value {
    let failed = failed.and_then(|place| records.get(place));
    let failures: Vec<Value> = failed
        .map(|record| json!({"itemIdentifier": record.sequence_number()}))
        .into_iter()
        .collect();
    json!({ "batchItemFailures": failures })
}
