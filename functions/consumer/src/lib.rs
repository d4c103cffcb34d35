//! The consumer function: takes events off the queue and keeps the billing state.
//!
//! Each record of a batch is decoded and carried out on its own: one that is bad, that panics or that is slow
//! costs no other one. What is not reported as failed is deleted from the queue, so the default is failure:
//! a record counts as done only when every write of its event is settled.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | the environment, read once |
//! | [`batch`] | a batch: concurrency, deadline, panics, the partial batch response |
//! | [`record`] | one record: decode → decide → commit → mark; retry, park or ignore |
//! | [`apply`] | carrying one change to the end: the row and its links |
//! | `refetch` | settling by a look at the object what its events leave open |

pub mod apply;
pub mod batch;
pub mod config;
pub mod record;
mod refetch;

use std::sync::atomic::{AtomicBool, AtomicI64};

use billhook_core::log::Log;
use billhook_core::metrics::Metrics;
use billhook_core::scope::Mode;
use billhook_core::time::Clock;
use billhook_store::Store;
use billhook_stripe::StripeApi;

/// The function, ready to take batches.
pub struct Consumer {
    /// Where state and ledger are kept.
    pub store: Store,
    /// Stripe's API, where a key is configured.
    pub stripe: Option<StripeApi>,
    /// Which of Stripe's two worlds this stack serves.
    pub mode: Mode,
    /// How often the queue hands a message out before it becomes a dead letter. On the last time the event is
    /// parked, where it can be seen, looked into and replayed.
    pub max_receive_count: u32,
    /// Tells the time.
    pub clock: Clock,
    /// Takes one line per delivery.
    pub log: Log,
    /// Takes what is counted.
    pub metrics: Metrics,
    /// Set where a connection is open: from the start, or once a record was carried out.
    pub warm: AtomicBool,
    /// When the rows that are open were asked for last, in Unix milliseconds; 0 if never.
    pub asked_for_open_ms: AtomicI64,
    /// Set once the log was told of an event of the other mode.
    pub told_of_other_mode: AtomicBool,
}
