//! The program as its users run it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs the program with this standard input and no variable of billhook's set.
fn billhook(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_billhook"))
        .args(args)
        .current_dir(root())
        .env_remove("STRIPE_WEBHOOK_SECRETS")
        .env_remove("BEARBILLING_WEBHOOK_SECRETS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that does not read its input may have closed it.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("the program ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_readme_shows_what_the_demo_prints() {
    let demo = billhook(&["demo"], b"");
    let printed = text(&demo.stdout);
    assert!(demo.status.success(), "{printed}\n{}", text(&demo.stderr));
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let block = readme
        .split("```console\n$ cargo run -- demo\n")
        .nth(1)
        .expect("the demo's block");
    let block = block.split("\n```").next().expect("the block's end");
    let mut lines = printed.lines();
    for shown in block.lines().filter(|line| line.trim() != "…") {
        assert!(
            lines.any(|line| line == shown),
            "the demo does not print, in this place: {shown}"
        );
    }
}

#[test]
fn the_demo_ends_right_in_other_orders_too() {
    let states: Vec<Value> = ["1", "2", "3"]
        .into_iter()
        .map(|seed| {
            let demo = billhook(&["demo", "--json", "--seed", seed], b"");
            assert!(demo.status.success(), "seed {seed}: {}", text(&demo.stderr));
            serde_json::from_slice(&demo.stdout).expect("JSON and nothing else")
        })
        .collect();
    assert!(
        states.iter().all(|state| *state == states[0]),
        "every order ends in the same state"
    );
}

#[test]
fn what_was_signed_verifies_and_anything_else_does_not() {
    let body = br#"{"id":"evt_1"}"#;
    let sign = |at: &str| {
        let signed = billhook(&["sign", "--secret", "whsec_1", "--at", at, "-"], body);
        text(&signed.stdout).trim().to_owned()
    };
    let verify = |body: &[u8], secret: &str, at: &str| {
        let header = format!("--header={}", sign("1000"));
        let secret = format!("--secret={secret}");
        let answer = billhook(&["verify", &header, &secret, "--at", at, "-"], body);
        (text(&answer.stdout).trim().to_owned(), answer.status.code())
    };
    let no = |kind: &str| (format!(r#"{{"error":"{kind}","ok":false}}"#), Some(1));
    assert_eq!(
        verify(body, "whsec_1", "1300"),
        (r#"{"ok":true}"#.to_owned(), Some(0))
    );
    assert_eq!(verify(body, "whsec_1", "1301"), no("timestamp_too_old"));
    assert_eq!(verify(body, "whsec_2", "1000"), no("signature_mismatch"));
    assert_eq!(verify(b"{}", "whsec_1", "1000"), no("signature_mismatch"));
    assert_eq!(verify(body, "", "1000"), no("config_error"));
}

#[test]
fn a_signed_payload_is_a_request_of_api_gateway() {
    let file = "events/stripe/customer.created.json";
    let signed = billhook(&["sign", "--apigateway", "--secret", "whsec_1", file], b"");
    let payload: Value = serde_json::from_slice(&signed.stdout).expect("JSON");
    assert_eq!(payload["rawPath"], "/webhooks/stripe");
    assert_eq!(
        payload["body"],
        fs::read_to_string(root().join(file)).expect("the event")
    );
    assert!(
        payload["headers"]["stripe-signature"]
            .as_str()
            .expect("a header")
            .starts_with("t=")
    );
}

#[test]
fn what_cannot_be_done_is_said_and_ends_with_2() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["send", "events/stripe/customer.created.json"],
            "no signing secret",
        ),
        (
            &["send", "no/such/file.json", "--secret", "s"],
            "cannot be read",
        ),
        (
            &["show", "cus_1", "--data", "no/such/folder"],
            "holds no data",
        ),
        (
            &["send", "x", "--secret", "s", "--source", "paypal"],
            "no source paypal",
        ),
    ];
    for (args, said) in cases {
        let ended = billhook(args, b"");
        let message = text(&ended.stderr);
        assert!(message.contains(said), "{args:?}: {message}");
        assert_eq!(ended.status.code(), Some(2), "{args:?}");
    }
}

/// With a test key a live stack would read nothing, and the reverse: it is refused before anything is started.
#[test]
fn dev_refuses_a_key_of_the_other_mode_with_3() {
    for (mode, key) in [("test", "rk_live_planted"), ("live", "sk_test_planted")] {
        let ended = Command::new(env!("CARGO_BIN_EXE_billhook"))
            .args(["dev", "--port", "0"])
            .env("STRIPE_MODE", mode)
            .env("STRIPE_API_KEY", key)
            .output()
            .expect("the program runs");
        let message = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(3), "{mode}: {message}");
        assert!(message.contains("STRIPE_MODE="), "{message}");
        assert!(!message.contains("planted"), "{message}");
    }
}

#[test]
fn a_dictionary_is_trained_from_the_samples() {
    let out = std::env::temp_dir().join(format!("billhook-{}.zdict", std::process::id()));
    let path = out.to_string_lossy().into_owned();
    let trained = billhook(&["train-dictionary", "--number", "1", "--out", &path], b"");
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    let trained = fs::read(&out).expect("the dictionary");
    let _ = fs::remove_file(&out);
    // The samples may grow; what was shipped never changes, so only the form is compared.
    let shipped = fs::read(root().join("crates/store/dictionaries/1.zdict")).expect("shipped");
    assert_eq!(
        trained[..8],
        shipped[..8],
        "magic number and dictionary number"
    );
    assert!(trained.len() > 16 * 1024, "{} bytes", trained.len());
}
