//! What the webhook function is told by its environment.
//!
//! | variable | what | default |
//! |---|---|---|
//! | `QUEUE_URL` | the queue that verified deliveries go to | required |
//! | `STRIPE_WEBHOOK_SECRETS` | Stripe's signing secrets, separated by commas | none: its route answers 500 |
//! | `BEARBILLING_WEBHOOK_SECRETS` | Bear Billing's, likewise | none: its route answers 500 |
//! | `SIGNATURE_TOLERANCE_SECS` | how old a signature may be, in seconds | 300 |
//! | `LOG_LEVEL` | `info`, `warn` or `error` | `info` |
//!
//! Beside these the usual variables of AWS, see [`billhook_aws::AwsEnvironment`].

use billhook_aws::AwsEnvironment;
use billhook_core::config::{ConfigError, Variables};
use billhook_core::log::Level;
use billhook_core::scope::Source;

use crate::secrets::Secrets;

/// The function's configuration.
#[derive(Debug)]
pub struct Config {
    /// Region, credentials, endpoints, trust.
    pub aws: AwsEnvironment,
    /// The queue's URL.
    pub queue_url: String,
    /// The signing secrets.
    pub secrets: Secrets,
    /// Sources that no secret is set for.
    pub without_secret: Vec<Source>,
    /// How old a signature may be, in seconds.
    pub tolerance_secs: i64,
    /// The lowest level that is logged.
    pub log_level: Level,
}

/// The variable that holds the secrets of a source.
#[must_use]
pub fn secrets_variable(source: Source) -> &'static str {
    match source {
        Source::Stripe => "STRIPE_WEBHOOK_SECRETS",
        Source::BearBilling => "BEARBILLING_WEBHOOK_SECRETS",
    }
}

impl Config {
    /// Reads the configuration through `lookup`.
    ///
    /// # Errors
    ///
    /// All variables that are missing or malformed, by name. Secrets are not among them.
    pub fn from_variables(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut variables = Variables::new(lookup);
        let secrets = |source| variables.optional(secrets_variable(source));
        let (stripe, bearbilling) = (secrets(Source::Stripe), secrets(Source::BearBilling));
        let without_secret = Source::ALL
            .into_iter()
            .filter(|source| secrets(*source).is_none())
            .collect();
        let config = Self {
            aws: AwsEnvironment::read(&mut variables),
            queue_url: variables.required("QUEUE_URL"),
            secrets: Secrets::fixed(stripe.as_deref(), bearbilling.as_deref()),
            without_secret,
            tolerance_secs: variables.tolerance_secs(),
            log_level: variables.log_level(),
        };
        variables.finish()?;
        Ok(config)
    }
}
