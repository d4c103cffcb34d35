//! The store: billing state and the ledger in DynamoDB.
//!
//! The only crate that knows DynamoDB. It carries out what the core decided and makes no choice of its own:
//! every write has its guard, every answer says whether the guard held. [`keys`] documents where everything
//! lies.

mod access;
mod attributes;
mod error;
pub mod keys;
mod ledger;
mod meter;
pub mod payload;
mod rows;
pub mod stream;
pub mod tables;
mod update;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use aws_types::SdkConfig;
use billhook_aws::{AwsEnvironment, CallLimits, Service};

pub use access::{CustomerView, LinkedRow};
pub use error::{Disposition, StoreError, StoreErrorKind};
pub use ledger::{LedgerEntry, Marked};
pub use meter::{Meter, Units};
pub use rows::{Linked, Wrote};

/// The consumer has fifteen seconds for a batch; a call that hangs must leave time for the other records.
const LIMITS: CallLimits = CallLimits {
    attempt: Duration::from_secs(2),
    call: Duration::from_secs(6),
    attempts: 3,
};

/// The names of the two tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The ledger: what became of each event.
    pub events: String,
    /// The billing state.
    pub billing: String,
}

/// The two tables, and how to read and write them.
#[derive(Clone)]
pub struct Store {
    client: Client,
    tables: Tables,
    event_retention_days: u32,
    codec: Arc<payload::Codec>,
    meter: Option<Meter>,
}

impl Store {
    /// The tables in the account of this environment. The ledger keeps an event for so many days.
    #[must_use]
    pub fn new(environment: &AwsEnvironment, tables: Tables, event_retention_days: u32) -> Self {
        let client = Client::new(&environment.sdk_config(Service::DynamoDb, LIMITS));
        Self::with_client(client, tables, event_retention_days)
    }

    /// The tables in the account of a configuration that was made elsewhere.
    #[must_use]
    pub fn from_sdk_config(config: &SdkConfig, tables: Tables, event_retention_days: u32) -> Self {
        Self::with_client(Client::new(config), tables, event_retention_days)
    }

    /// The tables behind a client that was made elsewhere.
    #[must_use]
    pub fn with_client(client: Client, tables: Tables, event_retention_days: u32) -> Self {
        let codec = Arc::new(payload::Codec::new());
        Self {
            client,
            tables,
            event_retention_days,
            codec,
            meter: None,
        }
    }

    /// The same store, which also counts the capacity units that its requests consume.
    #[must_use]
    pub fn metered(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    fn capacity(&self) -> Option<ReturnConsumedCapacity> {
        self.meter.as_ref().map(|_| ReturnConsumedCapacity::Total)
    }
}
