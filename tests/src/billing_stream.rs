//! The billing table's stream, read from the embedded DynamoDB and filtered as the template says.

use aws_sdk_dynamodb::types::{StreamSpecification, StreamViewType};
use serde_json::{Value, json};

use crate::functions::workspace;
use crate::harness::Ground;

/// A reader of the stream. Each record is read once.
#[derive(Debug)]
pub struct BillingStream {
    endpoint: String,
    iterator: String,
    filters: Vec<Value>,
}

impl BillingStream {
    /// Turns the stream on and reads it from now on.
    ///
    /// # Panics
    ///
    /// Where there is none to be had.
    pub async fn start(ground: &Ground) -> Self {
        let specification = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewAndOldImages)
            .build();
        let update = ground
            .client
            .update_table()
            .table_name(&ground.tables.billing)
            .stream_specification(specification.expect("complete"));
        let table = update.send().await.expect("a stream").table_description;
        let arn = table.and_then(|table| table.latest_stream_arn);
        let arn = arn.expect("a stream has a name");
        let mut stream = Self {
            endpoint: ground.endpoint.clone(),
            iterator: String::new(),
            filters: template_filters(),
        };
        let request = json!({"StreamArn": arn});
        let described = stream.call("DescribeStream", request).await;
        let shards = &described["StreamDescription"]["Shards"];
        assert_eq!(shards.as_array().map(Vec::len), Some(1), "{described}");
        let request = json!({"StreamArn": arn, "ShardId": shards[0]["ShardId"],
            "ShardIteratorType": "TRIM_HORIZON"});
        let answer = stream.call("GetShardIterator", request).await;
        stream.iterator = text(&answer["ShardIterator"]);
        stream
    }

    /// The records that were written since the last call and pass the filter, in order.
    pub async fn records(&mut self) -> Vec<Value> {
        let mut records = Vec::new();
        loop {
            let request = json!({"ShardIterator": self.iterator});
            let answer = self.call("GetRecords", request).await;
            self.iterator = text(&answer["NextShardIterator"]);
            let read = answer["Records"].as_array().cloned().unwrap_or_default();
            if read.is_empty() {
                return records;
            }
            let passes = |record: &Value| self.filters.iter().any(|filter| matches(filter, record));
            records.extend(read.into_iter().filter(passes));
        }
    }

    async fn call(&self, operation: &str, request: Value) -> Value {
        let url = format!("{}/", self.endpoint);
        let target = format!("DynamoDBStreams_20120810.{operation}");
        // Its server runs on the thread that waits here.
        let answer = tokio::task::spawn_blocking(move || {
            let answer = ureq::post(&url)
                .header("x-amz-target", &target)
                .header("content-type", "application/x-amz-json-1.0")
                .header("authorization", AUTHORIZATION)
                .header("x-amz-date", "20261109T101625Z")
                .send(request.to_string());
            let mut answer = answer.unwrap_or_else(|error| panic!("{target}: {error}"));
            answer.body_mut().read_to_string().expect("a text")
        });
        let answer = answer.await.expect("an answer");
        serde_json::from_str(&answer).expect("JSON")
    }
}

/// Whatever it is: nobody checks it.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=local/20261109/us-east-1/dynamodb/aws4_request, \
    SignedHeaders=host;x-amz-date, Signature=0";

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The filters of the function's event source mapping, from the template.
fn template_filters() -> Vec<Value> {
    let path = workspace().join("infra/template.yaml");
    let template = std::fs::read_to_string(path).expect("the template");
    let filters: Vec<Value> = template
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- Pattern: '"))
        .filter(|pattern| pattern.starts_with("{\"dynamodb\""))
        .map(|pattern| serde_json::from_str(pattern.trim_end_matches('\'')).expect("a pattern"))
        .collect();
    assert!(!filters.is_empty(), "the mapping has filters");
    filters
}

/// Whether a record matches a pattern, as far as the template's patterns go
/// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>).
fn matches(pattern: &Value, value: &Value) -> bool {
    match pattern {
        Value::Object(members) => members
            .iter()
            .all(|(name, pattern)| matches(pattern, &value[name])),
        Value::Array(any) => any.iter().any(|one| match one["prefix"].as_str() {
            Some(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix)),
            None => one == value,
        }),
        other => panic!("a pattern of another form: {other}"),
    }
}
