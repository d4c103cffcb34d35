//! What the access function is told by its environment.
//!
//! | variable | what | default |
//! |---|---|---|
//! | `BILLING_TABLE` | the billing state | required |
//! | `EVENT_BUS_NAME` | the EventBridge bus that access events are put on | required |
//! | `GRACE_DAYS` | how long a customer whose payment is overdue keeps access, in days | 7 |
//! | `PURCHASE_DAYS` | how long a one-off purchase gives access, in days from its payment, or `forever`; 0 for not at all | 0 |
//! | `LOST_DISPUTE` | `ignore` or `deny`: whether a lost dispute denies what was begun before it | `ignore` |
//! | `STACK_NAME` | the dimension of the metrics | none: no metrics are written |
//! | `LOG_LEVEL` | `debug`, `info`, `warn` or `error` | `info` |
//!
//! Beside these the usual variables of AWS, see [`billhook_aws::AwsEnvironment`].

use billhook_aws::AwsEnvironment;
use billhook_core::access::Policy;
use billhook_core::config::{ConfigError, DEFAULT_EVENT_RETENTION_DAYS, Variables};
use billhook_core::log::Level;
use billhook_store::Tables;

/// The function's configuration.
#[derive(Debug)]
pub struct Config {
    /// Region, credentials, endpoints, trust.
    pub aws: AwsEnvironment,
    /// The tables. The ledger has no name here: this function never touches it.
    pub tables: Tables,
    /// How long the ledger keeps an event, which is of no account here.
    pub event_retention_days: u32,
    /// The bus that events are put on.
    pub event_bus: String,
    /// Who has access.
    pub policy: Policy,
    /// The stack that metrics are written for.
    pub stack: Option<String>,
    /// The lowest level that is logged.
    pub log_level: Level,
}

impl Config {
    /// Reads the configuration through `lookup`.
    ///
    /// # Errors
    ///
    /// All variables that are missing or malformed, by name.
    pub fn from_variables(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut variables = Variables::new(lookup);
        let config = Self {
            aws: AwsEnvironment::read(&mut variables),
            tables: Tables {
                events: String::new(),
                billing: variables.required("BILLING_TABLE"),
            },
            event_retention_days: DEFAULT_EVENT_RETENTION_DAYS,
            event_bus: variables.required("EVENT_BUS_NAME"),
            policy: variables.policy(),
            stack: variables.optional("STACK_NAME"),
            log_level: variables.log_level(),
        };
        variables.finish()?;
        Ok(config)
    }
}
