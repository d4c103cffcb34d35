//! Batches as Lambda's event source mapping hands them to the consumer function.

use serde_json::{Value, json};

/// The record of a message that is received for the `receive_count`th time.
#[must_use]
pub fn record(message_id: &str, body: &str, receive_count: u32) -> Value {
    json!({
        "messageId": message_id,
        "receiptHandle": format!("receipt-{message_id}"),
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": receive_count.to_string(),
            "SentTimestamp": "1794497472129",
            "SenderId": "AROAEXAMPLEBILLHOOK1:billhook-webhook",
            "ApproximateFirstReceiveTimestamp": "1794497472166",
        },
        "messageAttributes": {},
        "md5OfBody": "not looked at",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:billhook-events",
        "awsRegion": "us-east-1",
    })
}

/// A batch of such records.
#[must_use]
pub fn batch(records: impl IntoIterator<Item = Value>) -> Value {
    json!({ "Records": records.into_iter().collect::<Vec<_>>() })
}

/// The message ids that an answer of the consumer's asks to hand out again, in order of their names.
///
/// # Panics
///
/// Where the answer is no partial batch response: Lambda would take that for a success of the whole batch, or a
/// failure.
#[must_use]
pub fn failures(answer: &Value) -> Vec<String> {
    let failures = answer["batchItemFailures"].as_array();
    let failures = failures.unwrap_or_else(|| panic!("no partial batch response: {answer}"));
    let mut ids: Vec<String> = failures
        .iter()
        .map(|failure| match failure["itemIdentifier"].as_str() {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => panic!("a failure without its message: {answer}"),
        })
        .collect();
    ids.sort();
    ids
}
