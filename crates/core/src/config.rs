//! Reading configuration from named variables, with every problem reported at once.
//!
//! The variables come through a lookup function, so nothing here touches the environment: `main` passes the
//! real one, tests a table.

use std::collections::BTreeMap;
use std::fmt;

use crate::access::{DEFAULT_GRACE_DAYS, Policy, Purchases};
use crate::log::Level;
use crate::scope::Mode;
use crate::signature::stripe::DEFAULT_TOLERANCE_SECS;

/// How long the ledger keeps an event, in days. Longer than a dead letter can wait (14) and Stripe can
/// resend (30) together.
pub const DEFAULT_EVENT_RETENTION_DAYS: u32 = 90;

/// Named variables, and what was found wrong with them so far.
pub struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

/// Everything that is wrong with the configuration, by variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is unusable: {}", self.0.join("; "))
    }
}

impl std::error::Error for ConfigError {}

impl<'a> Variables<'a> {
    /// Reads variables through `lookup`. A variable that is set but empty counts as not set.
    #[must_use]
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            problems: Vec::new(),
        }
    }

    /// The variable's value, if it is set.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The variable's value; a problem if it is not set.
    pub fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.problem(name, "is not set");
            String::new()
        })
    }

    /// The variable's value as a whole number of at least `min`, or `default` if it is not set.
    pub fn number(&mut self, name: &str, default: i64, min: i64, max: i64) -> i64 {
        let Some(text) = self.optional(name) else {
            return default;
        };
        match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.problem(name, &format!("is not a whole number from {min} to {max}"));
                default
            }
        }
    }

    /// Notes a problem with a variable. The value is not repeated: it may be a secret.
    pub fn problem(&mut self, name: &str, what: &str) {
        self.problems.push(format!("{name} {what}"));
    }

    /// `STRIPE_MODE`: which of Stripe's two worlds the stack serves.
    pub fn mode(&mut self) -> Mode {
        let name = "STRIPE_MODE";
        let mode = self.required(name);
        Mode::from_name(&mode).unwrap_or_else(|| {
            if !mode.is_empty() {
                self.problem(name, "is neither test nor live");
            }
            Mode::Test
        })
    }

    /// `SIGNATURE_TOLERANCE_SECS`: how old a signature may be, in seconds.
    pub fn tolerance_secs(&mut self) -> i64 {
        self.number(
            "SIGNATURE_TOLERANCE_SECS",
            DEFAULT_TOLERANCE_SECS,
            1,
            86_400,
        )
    }

    /// `EVENT_RETENTION_DAYS`: how long the ledger keeps an event, in days.
    pub fn event_retention_days(&mut self) -> u32 {
        self.days("EVENT_RETENTION_DAYS", DEFAULT_EVENT_RETENTION_DAYS, 1)
    }

    /// `LOG_LEVEL`: `debug`, `info`, `warn` or `error`.
    pub fn log_level(&mut self) -> Level {
        let name = "LOG_LEVEL";
        let Some(level) = self.optional(name) else {
            return Level::Info;
        };
        Level::from_name(&level).unwrap_or_else(|| {
            self.problem(name, "is none of debug, info, warn, error");
            Level::Info
        })
    }

    /// What the company decides about access: `GRACE_DAYS`, `PURCHASE_DAYS` (not set or 0: a one-off purchase grants
    /// nothing; `forever`; or 1 to 3650 days from its payment), `LOST_DISPUTE` (`ignore` or `deny`) and `PLAN_FEATURES` (a JSON object from a price, product or lookup key to a
    /// list of features).
    pub fn policy(&mut self) -> Policy {
        let purchases = self.purchases();
        let lost_dispute_denies = match self.optional("LOST_DISPUTE").as_deref() {
            None | Some("ignore") => false,
            Some("deny") => true,
            Some(_) => {
                self.problem("LOST_DISPUTE", "is neither ignore nor deny");
                false
            }
        };
        let grace_days = self.days("GRACE_DAYS", DEFAULT_GRACE_DAYS, 0);
        let plan_features = match self
            .optional("PLAN_FEATURES")
            .map(|text| serde_json::from_str(&text))
        {
            None => BTreeMap::new(),
            Some(Ok(features)) => features,
            Some(Err(_)) => {
                self.problem("PLAN_FEATURES", "is no JSON object of lists of features");
                BTreeMap::new()
            }
        };
        Policy {
            plan_features,
            grace_days,
            purchases,
            lost_dispute_denies,
        }
    }

    fn purchases(&mut self) -> Purchases {
        let name = "PURCHASE_DAYS";
        match self.optional(name).as_deref() {
            None | Some("0") => Purchases::GrantNothing,
            Some("forever") => Purchases::GrantForEver,
            Some(days) => match days.parse() {
                Ok(days @ 1..=3650) => Purchases::GrantDays(days),
                _ => {
                    self.problem(name, "is neither forever nor a whole number from 0 to 3650");
                    Purchases::GrantNothing
                }
            },
        }
    }

    fn days(&mut self, name: &str, default: u32, min: i64) -> u32 {
        let days = self.number(name, i64::from(default), min, 3650);
        u32::try_from(days).unwrap_or(default)
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// All problems that were noted, if there were any.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(self.problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_reported_at_once_by_name() {
        let lookup = |name: &str| match name {
            "STRIPE_MODE" => Some("prod".to_owned()),
            "GRACE_DAYS" => Some("-1".to_owned()),
            "SIGNATURE_TOLERANCE_SECS" => Some("3oo".to_owned()),
            "EVENT_RETENTION_DAYS" => Some(String::new()),
            _ => None,
        };
        let mut variables = Variables::new(&lookup);
        let _ = (
            variables.mode(),
            variables.policy(),
            variables.tolerance_secs(),
        );
        let _ = variables.required("QUEUE_URL");
        assert_eq!(
            variables.event_retention_days(),
            DEFAULT_EVENT_RETENTION_DAYS
        );
        let text = variables.finish().expect_err("problems").to_string();
        for name in [
            "STRIPE_MODE",
            "GRACE_DAYS",
            "SIGNATURE_TOLERANCE_SECS",
            "QUEUE_URL",
        ] {
            assert!(text.contains(name), "{text}");
        }
        assert!(!text.contains("3oo"), "values are not repeated: {text}");
    }
}
