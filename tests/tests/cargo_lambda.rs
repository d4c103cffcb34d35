//! The way a user develops a function: `cargo lambda watch` builds and runs it, `cargo lambda invoke` sends it the
//! payloads in `events/`. The embedded DynamoDB and an SQS stand behind them.

use std::path::Path;

use billhook_aws::AwsEnvironment;
use billhook_core::scope::{Mode, Scope, Source};
use billhook_embedded::dynamodb::EmbeddedDynamoDb;
use billhook_embedded::stack::{BILLING_TABLE, EVENTS_TABLE, tables};
use billhook_store::Store;
use billhook_tests::functions::workspace;
use billhook_tests::process::Process;
use billhook_tests::sqs_endpoint::{QUEUE_URL, SqsEndpoint};
use billhook_tests::tools;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

/// `cargo lambda`, with what Lambda would set for a function.
fn cargo_lambda(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("cargo");
    command
        .current_dir(workspace())
        .arg("lambda")
        .args(arguments)
        .env("PATH", format!("{}:{path}", folder.display()))
        .envs([
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ])
        .envs(variables.iter().copied());
    // What the outer cargo tells its test would make the inner one build everything anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a function answers to the payload in a file.
async fn invoke(folder: &Path, port: &str, function: &str, file: &str) -> Value {
    let arguments = [
        "invoke",
        function,
        "--invoke-address",
        "127.0.0.1",
        "--invoke-port",
        port,
        "--data-file",
        file,
    ];
    let output = cargo_lambda(folder, &arguments, &[])
        .output()
        .await
        .expect("cargo starts");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| {
        let error = String::from_utf8_lossy(&output.stderr);
        panic!("{function} answers no JSON: {text} {error}")
    })
}

#[tokio::test]
async fn both_functions_are_watched_and_invoked() {
    let Some(folder) = tools::cargo_lambda() else {
        return;
    };
    let dynamodb = EmbeddedDynamoDb::start(None).await.expect("DynamoDB");
    let environment = AwsEnvironment::local(dynamodb.endpoint().to_owned());
    let store = Store::new(&environment, tables(), 90);
    store.create_tables().await.expect("tables");
    let sqs = SqsEndpoint::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port().to_string();
    drop(listener);
    let watch = [
        "watch",
        "--ignore-changes",
        "--invoke-address",
        "127.0.0.1",
        "--invoke-port",
        &port,
    ];
    let variables = [
        ("QUEUE_URL", QUEUE_URL),
        ("AWS_ENDPOINT_URL_SQS", sqs.url()),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint()),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_example"),
        ("BEARBILLING_WEBHOOK_SECRETS", "bbsec_example"),
        ("EVENTS_TABLE", EVENTS_TABLE),
        ("BILLING_TABLE", BILLING_TABLE),
        ("STRIPE_MODE", "test"),
    ];
    let watched = Process::start(cargo_lambda(&folder, &watch, &variables)).expect("cargo starts");
    watched.line_with("starting Runtime server").await;

    let file = "events/apigateway/http_api_v2_bearbilling.json";
    let answer = invoke(&folder, &port, "webhook", file).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert_eq!(sqs.sent().len(), 1);

    let file = "events/sqs/one_event.json";
    let answer = invoke(&folder, &port, "consumer", file).await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let scope = Scope {
        source: Source::Stripe,
        mode: Mode::Test,
        account: None,
    };
    let entry = store
        .find_event(&scope, "evt_1TOsPpGx4RvQe7HkBzVwIDst", Some(1_793_610_845))
        .await
        .expect("the store answers");
    assert!(entry.is_some(), "the event is in the ledger");
    let lines = watched.stop().await.join("\n");
    assert!(lines.contains("delivery handled"), "{lines}");
}
