//! The access function: tells the product when a customer's access is granted, revoked or changed.
//!
//! It reads the billing table's stream, so it adds nothing to the way of an event, and a product need not poll. What
//! was told last is noted in the customer's partition, and there are two steps, each set off by a record of the
//! stream:
//!
//! | record of | step |
//! |---|---|
//! | a row that access rests on | [`note`]: look at the customer's rows; where access is not what is noted, note what it is |
//! | such a note | [`batch`]: put an event on the bus, made of the note as it was and as it is |
//!
//! The note and the record of it are one write of DynamoDB's (a transactional outbox), so an event goes out for each
//! change that was noted and for nothing else. A record is done only when its step is; one that failed is handed out
//! again, with all that came after it. So each event goes out at least once, and normally once.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | the environment, read once |
//! | [`batch`] | a batch of records: order, deadline, panics, the partial batch response |
//! | [`note`] | from a customer's rows to what is noted of their access |
//! | [`bus`] | EventBridge |

pub mod batch;
pub mod bus;
pub mod config;
pub mod note;

use billhook_core::access::Policy;
use billhook_core::log::Log;
use billhook_core::metrics::Metrics;
use billhook_core::time::Clock;
use billhook_store::Store;

use crate::bus::EventBus;

/// The function, ready to take batches.
pub struct AccessFunction {
    /// Where the rows are, and the notes.
    pub store: Store,
    /// Where the product listens.
    pub bus: EventBus,
    /// Who has access.
    pub policy: Policy,
    /// Tells the time.
    pub clock: Clock,
    /// Takes one line per event that goes out, and per failure.
    pub log: Log,
    /// Takes what is counted.
    pub metrics: Metrics,
}

impl AccessFunction {
    /// The time in Unix seconds.
    fn now(&self) -> i64 {
        (self.clock)().div_euclid(1000)
    }
}
