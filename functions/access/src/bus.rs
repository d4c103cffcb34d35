//! EventBridge: the bus that the product listens on.

use std::time::Duration;

use billhook_aws::json::JsonClient;
use billhook_aws::{AwsEnvironment, CallLimits, Service};
use billhook_core::token::token;
use serde_json::{Value, json};

/// The `source` of every event.
pub const SOURCE: &str = "billhook";

/// EventBridge takes no more entries in a call.
pub const ENTRIES_MAX: usize = 10;

/// The function has thirty seconds for a batch.
const LIMITS: CallLimits = CallLimits {
    attempt: Duration::from_secs(2),
    call: Duration::from_secs(6),
    attempts: 3,
};

/// An event bus.
#[derive(Clone, Debug)]
pub struct EventBus {
    client: JsonClient,
    name: String,
}

/// An event to put on the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What kind it is.
    pub detail_type: &'static str,
    /// When it happened, in Unix seconds.
    pub time: i64,
    /// What it tells.
    pub detail: Value,
}

/// Why the bus did not take an event.
#[derive(Debug, thiserror::Error)]
#[error("put events: {reason}")]
pub struct PutError {
    /// The place of the first one that was not taken. Of those after it some may have been.
    pub first: usize,
    /// Why.
    pub reason: String,
}

impl EventBus {
    /// The bus of this name in the account of this environment.
    #[must_use]
    pub fn new(environment: &AwsEnvironment, name: String) -> Self {
        Self {
            client: JsonClient::new(environment, Service::EventBridge, LIMITS),
            name,
        }
    }

    /// Puts at most [`ENTRIES_MAX`] events on the bus.
    ///
    /// # Errors
    ///
    /// [`PutError`] where not all of them are known to be taken.
    pub async fn put(&self, events: &[Event]) -> Result<(), PutError> {
        let entry = |event: &Event| {
            json!({
                "EventBusName": self.name,
                "Source": SOURCE,
                "DetailType": event.detail_type,
                "Time": event.time,
                "Detail": event.detail.to_string(),
            })
        };
        let entries: Vec<Value> = events.iter().map(entry).collect();
        let request = json!({ "Entries": entries });
        match self.client.call("PutEvents", &request).await {
            Ok(answer) => taken(&answer),
            Err(error) => Err(PutError {
                first: 0,
                reason: error.to_string(),
            }),
        }
    }
}

/// Whether an answer says that every entry was taken: a call can succeed and its entries fail.
fn taken(answer: &Value) -> Result<(), PutError> {
    if answer["FailedEntryCount"] == 0 {
        return Ok(());
    }
    let code = |entry: &Value| Some(token(entry["ErrorCode"].as_str()?).into_owned());
    let entries = answer["Entries"].as_array().into_iter().flatten();
    let failed = entries
        .enumerate()
        .find_map(|(place, entry)| Some((place, code(entry)?)));
    let (first, reason) = failed.unwrap_or_else(|| (0, "no usable answer".to_owned()));
    Err(PutError { first, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_success_may_tell_of_failures() {
        let sent = json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}, {"EventId": "2"}]});
        assert!(taken(&sent).is_ok());
        let half = json!({"FailedEntryCount": 1,
            "Entries": [{"EventId": "1"}, {"ErrorCode": "ThrottlingException", "ErrorMessage": "Slow"}]});
        let error = taken(&half).expect_err("one failed");
        assert_eq!(
            (error.first, error.reason.as_str()),
            (1, "ThrottlingException")
        );
        for nonsense in [
            json!({}),
            json!({"FailedEntryCount": 2}),
            json!({"FailedEntryCount": null, "Entries": []}),
        ] {
            assert_eq!(taken(&nonsense).expect_err("not known").first, 0);
        }
    }
}
