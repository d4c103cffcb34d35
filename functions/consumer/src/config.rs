//! What the consumer function is told by its environment.
//!
//! | variable | what | default |
//! |---|---|---|
//! | `EVENTS_TABLE` | the ledger | required |
//! | `BILLING_TABLE` | the billing state | required |
//! | `STRIPE_MODE` | `test` or `live`: which events change state | required |
//! | `EVENT_RETENTION_DAYS` | how long the ledger keeps an event, in days | 90 |
//! | `STRIPE_API_KEY_SECRET_ARN` | the secret in AWS Secrets Manager that holds a secret or restricted key that may read; without it nothing is read from Stripe | none |
//! | `STRIPE_API_KEY` | in place of it the key itself | none |
//! | `STRIPE_API_URL` | where Stripe's API is | `https://api.stripe.com` |
//! | `MAX_RECEIVE_COUNT` | the queue's `maxReceiveCount` | 8 |
//! | `STACK_NAME` | the dimension of the metrics | none: no metrics are written |
//! | `LOG_LEVEL` | `debug`, `info`, `warn` or `error` | `info` |
//!
//! Beside these the usual variables of AWS, see [`billhook_aws::AwsEnvironment`].

use std::sync::Arc;

use billhook_aws::AwsEnvironment;
use billhook_aws::secret::Secret;
use billhook_core::config::{ConfigError, Variables};
use billhook_core::log::Level;
use billhook_core::scope::Mode;
use billhook_core::time::Clock;
use billhook_store::Tables;
use billhook_stripe::{API_URL, ApiKey, StripeApi, parse_key};

/// Where the variable is not set, and what `billhook dev` does. Throttled calls use up receives too, so a few is not
/// enough; the stack in an account has a parameter for it.
pub const DEFAULT_MAX_RECEIVE_COUNT: u32 = 8;

/// The function's configuration.
#[derive(Debug)]
pub struct Config {
    /// Region, credentials, endpoints, trust.
    pub aws: AwsEnvironment,
    /// The two tables.
    pub tables: Tables,
    /// Stripe's API, where a key is configured.
    pub stripe: Option<StripeApi>,
    /// Which events change state.
    pub mode: Mode,
    /// How long the ledger keeps an event, in days.
    pub event_retention_days: u32,
    /// How often the queue hands a message out.
    pub max_receive_count: u32,
    /// The stack that metrics are written for.
    pub stack: Option<String>,
    /// The lowest level that is logged.
    pub log_level: Level,
}

impl Config {
    /// Reads the configuration through `lookup`. `clock` tells how old a secret is.
    ///
    /// # Errors
    ///
    /// All variables that are missing or malformed, by name.
    pub fn from_variables(
        lookup: &dyn Fn(&str) -> Option<String>,
        clock: &Clock,
    ) -> Result<Self, ConfigError> {
        let mut variables = Variables::new(lookup);
        let max_receive_count = variables.number(
            "MAX_RECEIVE_COUNT",
            DEFAULT_MAX_RECEIVE_COUNT.into(),
            1,
            1000,
        );
        let aws = AwsEnvironment::read(&mut variables);
        let mode = variables.mode();
        let config = Self {
            tables: Tables {
                events: variables.required("EVENTS_TABLE"),
                billing: variables.required("BILLING_TABLE"),
            },
            stripe: stripe_api(&mut variables, Some((&aws, clock)), mode),
            aws,
            mode,
            event_retention_days: variables.event_retention_days(),
            max_receive_count: u32::try_from(max_receive_count)
                .unwrap_or(DEFAULT_MAX_RECEIVE_COUNT),
            stack: variables.optional("STACK_NAME"),
            log_level: variables.log_level(),
        };
        variables.finish()?;
        Ok(config)
    }
}

/// `STRIPE_API_KEY` or `STRIPE_API_KEY_SECRET_ARN`, and `STRIPE_API_URL`: Stripe's API, where a key is set. `manager`
/// says where Secrets Manager is, if it is anywhere; `mode` is the one that the key must be for.
#[must_use]
pub fn stripe_api(
    variables: &mut Variables<'_>,
    manager: Option<(&AwsEnvironment, &Clock)>,
    mode: Mode,
) -> Option<StripeApi> {
    const ARN: &str = "STRIPE_API_KEY_SECRET_ARN";
    let arn = manager.and_then(|manager| Some((variables.optional(ARN)?, manager)));
    let key = match (variables.optional("STRIPE_API_KEY"), arn) {
        (Some(_), Some(_)) => {
            variables.problem(ARN, "is set beside STRIPE_API_KEY: set one of them");
            return None;
        }
        (Some(key), None) => ApiKey::Plain(key),
        (None, Some((arn, (environment, clock)))) => {
            let secret = Secret::new(environment, arn, parse_key, clock.clone());
            ApiKey::Managed(Arc::new(secret))
        }
        (None, None) => return None,
    };
    let url = variables
        .optional("STRIPE_API_URL")
        .unwrap_or_else(|| API_URL.to_owned());
    Some(StripeApi::new(&url, key, mode))
}
