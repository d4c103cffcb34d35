//! Event bodies that other people recorded, of many API versions, through the whole stack (promise G8).
//!
//! They are not part of this project: `BILLHOOK_CORPUS` names a folder with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use billhook_core::ledger::Outcome;
use billhook_tests::harness::{drain, ledger, post, say, stack};
use consumer::record::DeliveryOutcome;
use serde_json::{Value, json};

const VARIABLE: &str = "BILLHOOK_CORPUS";

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if is_body(&path) {
            found.push(path);
        }
    }
}

/// Every JSON file but the one that lists the others.
fn is_body(path: &Path) -> bool {
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    is_json && path.file_name().is_some_and(|name| name != "MANIFEST.json")
}

/// The body under another event id. It is replaced in the text, so that everything else stays as it was.
fn with_id(text: &str, event: &Value, id: &str) -> String {
    match event.get("id").and_then(Value::as_str) {
        Some(old) => text.replace(&json!(old).to_string(), &json!(id).to_string()),
        None => text.to_owned(),
    }
}

/// What the parked ones of a body must lack.
fn is_an_event(event: &Value) -> bool {
    let has = |name: &str, is: fn(&Value) -> bool| event.get(name).is_some_and(is);
    has("id", Value::is_string)
        && has("type", Value::is_string)
        && has("livemode", Value::is_boolean)
        && (has("created", Value::is_i64) || has("created", Value::is_string))
        && (event["object"] == "v2.core.event" || event["data"]["object"].is_object())
}

#[tokio::test]
async fn every_recorded_event_is_understood_or_kept() {
    let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
    let Some(folder) = folder else {
        // No tool that can be installed brings them, so this alone is never required.
        return say(&format!(
            "SKIPPED: recorded events: {VARIABLE} names no folder"
        ));
    };
    let mut paths = Vec::new();
    files(Path::new(&folder), &mut paths);
    paths.sort();
    let stack = stack().await;
    let mut kinds = BTreeMap::<String, usize>::new();
    let mut parked = Vec::new();
    let mut sent = Vec::new();
    for (i, path) in paths.iter().enumerate() {
        let text = std::fs::read_to_string(path).expect("the file is text");
        let event: Value = serde_json::from_str(&text).expect("the file is JSON");
        let body = with_id(&text, &event, &format!("evt_corpus_{i}")).into_bytes();
        let (status, answer) = post(&stack, &body).await;
        assert_eq!(status, 200, "{}: {answer}", path.display());
        sent.push((path, event, body));
    }
    let deliveries = drain(&stack).await;
    let retries = deliveries
        .iter()
        .filter(|d| d.outcome == DeliveryOutcome::Retry);
    let retries: Vec<_> = retries.collect();
    assert!(retries.is_empty(), "none is too hard: {retries:?}");
    for delivery in &deliveries {
        let reason = delivery.reason.as_deref().unwrap_or("-");
        *kinds
            .entry(format!("{} {reason}", delivery.outcome.name()))
            .or_default() += 1;
    }
    assert_eq!(stack.queue.counts().await.expect("counts").dead, 0);
    for (path, event, body) in &sent {
        let entry = ledger(&stack.store, body).await;
        let entry = entry.unwrap_or_else(|| panic!("{}: it is in the ledger", path.display()));
        assert!(
            entry.body == *body,
            "{}: it is kept as it came",
            path.display()
        );
        if entry.outcome == Outcome::Parked {
            let name = path.strip_prefix(&folder).unwrap_or(path).display();
            assert!(
                !is_an_event(event),
                "{name} is an event and was parked: {:?}",
                entry.reason
            );
            parked.push(format!("{name}: {}", entry.reason.unwrap_or_default()));
        }
    }
    say(&format!(
        "{} recorded bodies: {kinds:#?}\nparked: {parked:#?}",
        sent.len()
    ));
}
