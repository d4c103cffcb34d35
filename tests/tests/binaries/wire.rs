//! What each binary is made of: the webhook function cannot write billing state, the consumer cannot enqueue, and
//! the core does neither.

use std::collections::BTreeSet;
use std::process::Command;

use billhook_tests::functions::workspace;

/// The crates that a package is built from.
fn crates_of(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges=normal",
            "--prefix=none",
            "--format={lib}",
        ])
        .args(["--package", package])
        .output()
        .expect("cargo starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {error}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

#[track_caller]
fn check(package: &str, has: &[&str], has_not: &[&str]) {
    let crates = crates_of(package);
    for name in has {
        assert!(
            crates.contains(*name),
            "{package} is made of {name}: {crates:?}"
        );
    }
    for name in has_not {
        let found = crates.iter().find(|found| found.starts_with(name));
        assert_eq!(found, None, "{package} is made without {name}");
    }
}

#[test]
fn the_webhook_function_does_not_know_dynamodb() {
    check(
        "webhook",
        &["aws_sdk_sqs"],
        &["aws_sdk_dynamodb", "billhook_store", "zstd"],
    );
}

#[test]
fn the_consumer_function_does_not_know_how_to_enqueue() {
    check(
        "consumer",
        &["aws_sdk_dynamodb"],
        &["aws_sdk_sqs", "billhook_queue", "lambda_http"],
    );
}

#[test]
fn the_access_function_is_made_of_no_more_than_it_needs() {
    check(
        "access",
        &["aws_sdk_dynamodb"],
        &[
            "aws_sdk_sqs",
            "aws_sdk_eventbridge",
            "aws_lambda_events",
            "billhook_queue",
            "billhook_stripe",
            "lambda_http",
        ],
    );
}

/// Its first random bytes cost as much CPU as all the rest of a cold start ten times.
#[test]
fn no_function_carries_aws_lc() {
    for package in ["webhook", "consumer", "access"] {
        check(
            package,
            &["ring"],
            &["aws_lc", "aws_config", "openssl_sys", "native_tls"],
        );
    }
}

#[test]
fn the_core_knows_neither_aws_nor_a_runtime() {
    check(
        "billhook-core",
        &["hmac"],
        &["aws_", "tokio", "lambda_", "hyper", "futures", "rustls"],
    );
}
