//! What the webhook function is told by its environment.
//!
//! | variable | what | default |
//! |---|---|---|
//! | `QUEUE_URL` | the queue that verified deliveries go to | required |
//! | `STRIPE_WEBHOOK_SECRET_ARN` | the secret in AWS Secrets Manager that holds Stripe's signing secrets: `{"secrets":["newest","older"]}`, or one plain secret | none: its route answers 500 |
//! | `STRIPE_WEBHOOK_SECRETS` | in place of it the signing secrets themselves, newest first, separated by commas | none |
//! | `BEARBILLING_WEBHOOK_SECRET_ARN` | Bear Billing's, likewise | none: its route answers 500 |
//! | `BEARBILLING_WEBHOOK_SECRETS` | likewise | none |
//! | `SIGNATURE_TOLERANCE_SECS` | how old a signature may be, in seconds | 300 |
//! | `WEBHOOK_PATH_TOKEN` | the segment that the paths of the routes end in, 16 to 64 letters, digits, `-` or `_`; the paths without it are not found | none: the bare paths |
//! | `MORE_STRIPE_ADDRESSES` | addresses that Stripe sends from beside those that this version knows, separated by commas | none |
//! | `ADDRESS_CHECK` | what becomes of a signed delivery of Stripe's from another address: `off`, `log` or `enforce` (403) | `off` |
//! | `STACK_NAME` | the dimension of the metrics | none: no metrics are written |
//! | `LOG_LEVEL` | `debug`, `info`, `warn` or `error` | `info` |
//!
//! A variable of secrets beside the ARN of the same source stops the start: it would not be clear which holds.
//! Beside these the usual variables of AWS, see [`billhook_aws::AwsEnvironment`].

use billhook_aws::AwsEnvironment;
use billhook_core::config::{ConfigError, Variables};
use billhook_core::log::Level;
use billhook_core::scope::Source;

use crate::addresses::Addresses;
use crate::secrets::Place;

/// The function's configuration.
#[derive(Debug)]
pub struct Config {
    /// Region, credentials, endpoints, trust.
    pub aws: AwsEnvironment,
    /// The queue's URL.
    pub queue_url: String,
    /// Where Stripe's signing secrets are.
    pub stripe_secrets: Place,
    /// Where Bear Billing's signing secrets are.
    pub bearbilling_secrets: Place,
    /// How old a signature may be, in seconds.
    pub tolerance_secs: i64,
    /// The segment that the paths of the routes end in.
    pub path_token: Option<String>,
    /// Where Stripe sends from.
    pub addresses: Addresses,
    /// The stack that metrics are written for.
    pub stack: Option<String>,
    /// The lowest level that is logged.
    pub log_level: Level,
}

/// The variables that say where the secrets of a source are: the secrets themselves, or an ARN.
#[must_use]
pub fn secrets_variables(source: Source) -> (&'static str, &'static str) {
    match source {
        Source::Stripe => ("STRIPE_WEBHOOK_SECRETS", "STRIPE_WEBHOOK_SECRET_ARN"),
        Source::BearBilling => (
            "BEARBILLING_WEBHOOK_SECRETS",
            "BEARBILLING_WEBHOOK_SECRET_ARN",
        ),
    }
}

/// Where the secrets of a source are said to be.
fn place(variables: &mut Variables<'_>, source: Source) -> Place {
    let (list, arn) = secrets_variables(source);
    match (variables.optional(list), variables.optional(arn)) {
        (Some(_), Some(_)) => {
            variables.problem(arn, &format!("is set beside {list}: set one of them"));
            Place::Nowhere
        }
        (Some(list), None) => Place::Variable(list),
        (None, Some(arn)) => Place::Manager(arn),
        (None, None) => Place::Nowhere,
    }
}

fn path_token(variables: &mut Variables<'_>) -> Option<String> {
    let name = "WEBHOOK_PATH_TOKEN";
    let token = variables.optional(name)?;
    let is_token = (16..=64).contains(&token.len())
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_token {
        variables.problem(name, "is not 16 to 64 letters, digits, - or _");
    }
    Some(token)
}

impl Config {
    /// Reads the configuration through `lookup`.
    ///
    /// # Errors
    ///
    /// All variables that are missing or malformed, by name. Secrets are not among them.
    pub fn from_variables(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut variables = Variables::new(lookup);
        let config = Self {
            aws: AwsEnvironment::read(&mut variables),
            queue_url: variables.required("QUEUE_URL"),
            stripe_secrets: place(&mut variables, Source::Stripe),
            bearbilling_secrets: place(&mut variables, Source::BearBilling),
            tolerance_secs: variables.tolerance_secs(),
            path_token: path_token(&mut variables),
            addresses: Addresses::read(&mut variables),
            stack: variables.optional("STACK_NAME"),
            log_level: variables.log_level(),
        };
        variables.finish()?;
        Ok(config)
    }
}
