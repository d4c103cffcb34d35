//! What ships is a binary: the built functions, started under a small Lambda Runtime API and driven over HTTP,
//! with SQS and DynamoDB endpoints on 127.0.0.1. Real protocols, real SDK calls.

mod access;
mod consumer;
mod delivery;
mod emulator;
mod logs;
mod queue_failures;
mod refusals;
mod samples;
mod secrets;
mod start;
mod wire;

use std::path::Path;

use billhook_aws::AwsEnvironment;
use billhook_aws::process::unix_ms;
use billhook_core::access::Policy;
use billhook_core::scope::{Mode, Scope, Source};
use billhook_embedded::dynamodb::EmbeddedDynamoDb;
use billhook_embedded::stack::{BILLING_TABLE, EVENTS_TABLE, tables};
use billhook_store::{LedgerEntry, Store};
use billhook_tests::functions::{function, workspace};
use billhook_tests::runtime_api::{Answer, Function};
use billhook_tests::sqs_endpoint::{QUEUE_URL, SqsEndpoint};
use serde_json::{Value, json};

/// The signing secrets that the tests' webhook functions are given.
const STRIPE_SECRET: &str = "whsec_planted_4d1c9e";
const BEARBILLING_SECRET: &str = "bbsec_planted_77ab03";

/// Now, in Unix seconds: what a sender signs for.
fn now() -> i64 {
    unix_ms().div_euclid(1000)
}

/// The webhook function with both secrets, its queue at `sqs_url`, and more variables.
async fn webhook_at(sqs_url: &str, variables: &[(&str, &str)]) -> Function {
    let mut all = vec![
        ("QUEUE_URL", QUEUE_URL),
        ("AWS_ENDPOINT_URL_SQS", sqs_url),
        ("STRIPE_WEBHOOK_SECRETS", STRIPE_SECRET),
        ("BEARBILLING_WEBHOOK_SECRETS", BEARBILLING_SECRET),
    ];
    all.extend_from_slice(variables);
    Function::start(&function("webhook"), &all).await
}

/// The webhook function and the queue that it sends to.
async fn webhook() -> (Function, SqsEndpoint) {
    let sqs = SqsEndpoint::start().await;
    (webhook_at(sqs.url(), &[]).await, sqs)
}

/// The consumer function in test mode, with DynamoDB at `endpoint`.
async fn consumer_at(endpoint: &str) -> Function {
    let variables = [
        ("EVENTS_TABLE", EVENTS_TABLE),
        ("BILLING_TABLE", BILLING_TABLE),
        ("STRIPE_MODE", "test"),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
    ];
    Function::start(&function("consumer"), &variables).await
}

/// A DynamoDB of its own for each test, and the store in it.
struct Database {
    dynamodb: EmbeddedDynamoDb,
    store: Store,
}

impl Database {
    async fn without_tables() -> Self {
        let dynamodb = EmbeddedDynamoDb::start(None).await.expect("DynamoDB");
        let environment = AwsEnvironment::local(dynamodb.endpoint().to_owned());
        let store = Store::new(&environment, tables(), 90);
        Self { dynamodb, store }
    }

    async fn start() -> Self {
        let database = Self::without_tables().await;
        database.store.create_tables().await.expect("tables");
        database
    }

    async fn consumer(&self) -> Function {
        consumer_at(self.dynamodb.endpoint()).await
    }

    /// A customer's state, as it was in November 2026.
    async fn state(&self, customer: &str) -> Option<Value> {
        let state = self
            .store
            .customer_state(
                &scope(Source::Stripe),
                customer,
                1_794_600_000,
                Policy::default(),
            )
            .await;
        state.expect("the store answers")
    }

    /// What the ledger holds of an event of Stripe's in test mode.
    async fn entry(&self, name: &str, created: Option<i64>) -> Option<LedgerEntry> {
        let entry = self
            .store
            .find_event(&scope(Source::Stripe), name, created)
            .await;
        entry.expect("the store answers")
    }
}

fn scope(source: Source) -> Scope {
    Scope {
        source,
        mode: Mode::Test,
        account: None,
    }
}

/// The status and the body of an answer to an HTTP request.
fn http(answer: Answer) -> (u64, Value) {
    let answer = answer.response();
    let status = answer["statusCode"].as_u64();
    let body = answer["body"].as_str().unwrap_or_default();
    let body = serde_json::from_str(body);
    let status = status.unwrap_or_else(|| panic!("an answer without a status: {answer}"));
    (
        status,
        body.unwrap_or_else(|_| panic!("an answer that is not JSON: {answer}")),
    )
}

/// A signed event of a customer, small and whole.
fn customer_event(event: &str, customer: &str, email: &str) -> Value {
    json!({
        "id": event,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_794_219_385,
        "data": {"object": {"id": customer, "object": "customer", "email": email}},
        "livemode": false,
        "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": null},
        "type": "customer.created",
    })
}

/// The text of a file below `events/`.
fn sample(name: &str) -> String {
    let path = Path::new("events").join(name);
    std::fs::read_to_string(workspace().join(&path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
