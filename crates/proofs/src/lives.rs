//! The whole lives of customers in `events/lives`: their events in true order, and the state that must result.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use billhook_core::decide::Change;
use serde_json::Value;

use crate::account::{Account, change_of};

/// One life.
#[derive(Clone, Debug)]
pub struct Life {
    /// The name of its file.
    pub name: String,
    /// The bodies of its events in true order.
    pub bodies: Vec<Vec<u8>>,
    /// What the events tell, in the same order, without those that change no state.
    pub changes: Vec<Change>,
    /// What must be true of each customer's state in the end, whatever the order.
    pub expected: BTreeMap<String, Value>,
    /// A moment after the last event, in Unix seconds.
    pub now: i64,
}

/// Every life there is.
///
/// # Panics
///
/// Where a file is missing or is not what it must be.
#[must_use]
pub fn all() -> Vec<Life> {
    let entries = fs::read_dir(folder()).expect("events/lives is there");
    let paths = entries.map(|entry| entry.expect("a file's name").path());
    let mut stories: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    stories.sort();
    stories.iter().map(|path| read(path)).collect()
}

/// The life of this name.
///
/// # Panics
///
/// Where there is none.
#[must_use]
pub fn named(name: &str) -> Life {
    read(&folder().join(name).with_extension("jsonl"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/lives")
}

fn read(story: &Path) -> Life {
    let text = |path: &Path| fs::read_to_string(path).expect("a file of events/lives is readable");
    let bodies: Vec<_> = text(story)
        .lines()
        .map(|line| line.as_bytes().to_vec())
        .collect();
    let expected: Value =
        serde_json::from_str(&text(&story.with_extension("expected.json"))).expect("JSON");
    let customers = match expected.get("customers") {
        Some(customers) => customers.as_object().expect("states by customer").clone(),
        None => {
            let customer = expected["customer"].as_str().expect("a customer's state");
            [(customer.to_owned(), expected.clone())]
                .into_iter()
                .collect()
        }
    };
    let changes: Vec<_> = bodies.iter().filter_map(|body| change_of(body)).collect();
    let last = changes.iter().map(|change| change.incoming.second).max();
    Life {
        name: story
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into(),
        bodies,
        changes,
        expected: customers.into_iter().collect(),
        now: last.expect("a life has events") + 1,
    }
}

impl Life {
    /// The states of all customers of the life.
    #[must_use]
    pub fn states(&self, account: &Account) -> BTreeMap<String, Value> {
        let customers = self.expected.keys();
        customers
            .map(|customer| (customer.clone(), account.state(customer, self.now)))
            .collect()
    }
}

/// The first place where `found` does not say what `wanted` says; more than that may be there.
#[must_use]
pub fn difference(wanted: &Value, found: &Value) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(name, value)| {
            let there = found.get(name).unwrap_or(&Value::Null);
            difference(value, there).map(|place| format!(".{name}{place}"))
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(n, (wanted, found))| {
                difference(wanted, found).map(|place| format!("[{n}]{place}"))
            }),
        _ if wanted == found => None,
        _ => Some(format!(": {wanted} is wanted, {found} was found")),
    }
}
