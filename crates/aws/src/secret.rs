//! A secret in AWS Secrets Manager, kept in memory and read again when it is due.
//!
//! What was read last is used as long as Secrets Manager does not answer, or what it holds now is unusable: a
//! failure there must not refuse a delivery that would have been accepted a minute ago. However often somebody
//! asks, an attempt to read is made only when the last one is old enough, so forgeries cannot drive it.

use std::fmt;
use std::time::Duration;

use billhook_core::time::Clock;
use serde_json::json;
use tokio::sync::Mutex;

use crate::json::{CallError, JsonClient};
use crate::{AwsEnvironment, CallLimits, Service};

/// Somebody waits for an answer meanwhile, and a function's start is over after ten seconds.
const LIMITS: CallLimits = CallLimits {
    attempt: Duration::from_millis(1_500),
    call: Duration::from_secs(3),
    attempts: 2,
};

/// After a failure the next attempt is due this soon, in milliseconds.
const AFTER_FAILURE_MS: i64 = 30_000;

/// With nothing in memory to go on with it is due even sooner, in milliseconds: every delivery is refused until then.
const WITHOUT_VALUE_MS: i64 = 5_000;

/// A secret whose text is read as a `T`.
pub struct Secret<T> {
    client: JsonClient,
    arn: String,
    parse: fn(&str) -> Result<T, &'static str>,
    clock: Clock,
    memory: Mutex<Memory<T>>,
}

/// What is remembered of a secret.
struct Memory<T> {
    /// What was read last and could be used.
    value: Option<T>,
    /// When it was last tried to read it, in Unix milliseconds.
    tried_at_ms: Option<i64>,
    /// Whether that failed.
    failed: bool,
}

/// What a secret is, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<T> {
    /// The value, perhaps from memory; none where none could ever be read.
    pub value: Option<T>,
    /// Why the attempt that was made just now failed.
    pub failure: Option<SecretError>,
}

/// Why a secret could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager did not give it.
    #[error("Secrets Manager: {0}")]
    Call(#[from] CallError),
    /// It holds bytes, or nothing.
    #[error("the secret holds no text")]
    NoText,
    /// It holds something else than it should. The text is not repeated.
    #[error("the secret is unusable: {0}")]
    Unusable(&'static str),
}

impl<T: Clone> Secret<T> {
    /// The secret of this ARN. `parse` says why a text is unusable without repeating it.
    #[must_use]
    pub fn new(
        environment: &AwsEnvironment,
        arn: String,
        parse: fn(&str) -> Result<T, &'static str>,
        clock: Clock,
    ) -> Self {
        Self {
            client: JsonClient::new(environment, Service::SecretsManager, LIMITS),
            arn,
            parse,
            clock,
            memory: Mutex::new(Memory {
                value: None,
                tried_at_ms: None,
                failed: false,
            }),
        }
    }

    /// The secret, read again if the last attempt is `max_age` old. One attempt is made at a time; who comes
    /// meanwhile waits for it.
    pub async fn read(&self, max_age: Duration) -> Reading<T> {
        let mut memory = self.memory.lock().await;
        let now_ms = (self.clock)();
        let mut failure = None;
        if memory.is_due(max_age, now_ms) {
            memory.tried_at_ms = Some(now_ms);
            match self.fetch().await {
                Ok(value) => {
                    memory.value = Some(value);
                    memory.failed = false;
                }
                Err(error) => {
                    memory.failed = true;
                    failure = Some(error);
                }
            }
        }
        Reading {
            value: memory.value.clone(),
            failure,
        }
    }

    async fn fetch(&self) -> Result<T, SecretError> {
        let answer = self
            .client
            .call("GetSecretValue", &json!({"SecretId": self.arn}))
            .await?;
        let text = answer["SecretString"].as_str().ok_or(SecretError::NoText)?;
        (self.parse)(text).map_err(SecretError::Unusable)
    }
}

impl<T> Memory<T> {
    fn is_due(&self, max_age: Duration, now_ms: i64) -> bool {
        let max_age_ms = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
        let max_age_ms = match (&self.value, self.failed) {
            (None, _) => max_age_ms.min(WITHOUT_VALUE_MS),
            (Some(_), true) => max_age_ms.min(AFTER_FAILURE_MS),
            (Some(_), false) => max_age_ms,
        };
        // A clock that was set back makes an age negative: then it is due as well.
        self.tried_at_ms
            .is_none_or(|tried_at_ms| !(0..max_age_ms).contains(&(now_ms - tried_at_ms)))
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("arn", &self.arn)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(value: Option<u8>, tried_at_ms: Option<i64>, failed: bool) -> Memory<u8> {
        Memory {
            value,
            tried_at_ms,
            failed,
        }
    }

    #[test]
    fn an_attempt_is_due_by_the_age_of_the_last_one() {
        const USUAL: Duration = Duration::from_secs(300);
        const MISMATCH: Duration = Duration::from_secs(30);
        let due = |memory: &Memory<u8>, max_age, now_ms| memory.is_due(max_age, now_ms);
        assert!(due(&memory(None, None, false), USUAL, 0), "never tried");
        let good = memory(Some(1), Some(1_000), false);
        assert!(!due(&good, USUAL, 300_999));
        assert!(due(&good, USUAL, 301_000));
        assert!(!due(&good, MISMATCH, 30_999));
        assert!(due(&good, MISMATCH, 31_000));
        let stale = memory(Some(1), Some(1_000), true);
        assert!(!due(&stale, USUAL, 30_999));
        assert!(due(&stale, USUAL, 31_000), "sooner after a failure");
        let none = memory(None, Some(1_000), true);
        assert!(!due(&none, MISMATCH, 5_999));
        assert!(due(&none, USUAL, 6_000), "sooner still without a value");
        assert!(due(&good, USUAL, 0), "a clock that was set back");
    }
}
