//! Counting the capacity units that requests consume, as the service itself reports them.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// Adds up consumed capacity. Clones share one sum.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Units>>);

/// Consumed capacity, in request units. A refused conditional write consumes units too, which the
/// service does not report; it is counted as a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Write request units.
    pub written: f64,
    /// Read request units.
    pub read: f64,
    /// Write requests.
    pub writes: u32,
    /// Read requests.
    pub reads: u32,
}

impl Meter {
    /// What was consumed since the last call.
    #[must_use]
    pub fn take(&self) -> Units {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn wrote(&self, capacity: Option<&ConsumedCapacity>) {
        self.add(|units| {
            units.writes += 1;
            units.written += total(capacity);
        });
    }

    pub(crate) fn read(&self, capacity: Option<&ConsumedCapacity>) {
        self.add(|units| {
            units.reads += 1;
            units.read += total(capacity);
        });
    }

    fn add(&self, change: impl FnOnce(&mut Units)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn total(capacity: Option<&ConsumedCapacity>) -> f64 {
    capacity
        .and_then(ConsumedCapacity::capacity_units)
        .unwrap_or_default()
}
