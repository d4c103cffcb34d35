//! Keeps `docs/events.md` equal to the code. To write it anew: `BILLHOOK_WRITE_DOCS=1 cargo test -p billhook-core`.

use std::collections::BTreeMap;
use std::path::Path;

use billhook_core::objects::{EVENT_TYPES, Kind};

const HEAD: &str = "\
# Events

Which of Stripe's event types change state, and which are kept in the ledger only. This page is made from
`crates/core/src/objects/event_types.rs` by a test. Types that are not listed are kept in the ledger too.

";

/// The page, from the table in the code.
fn page() -> String {
    let mut by_kind: BTreeMap<Option<Kind>, Vec<&str>> = BTreeMap::new();
    for (name, kind) in EVENT_TYPES {
        by_kind.entry(*kind).or_default().push(name);
    }
    let mut page = HEAD.to_owned();
    page.push_str("| object | kept | event types |\n|---|---|---|\n");
    for kind in Kind::ALL {
        let place = if kind.is_owned() {
            "with its customer"
        } else {
            "under its own key"
        };
        let names = by_kind
            .get(&Some(kind))
            .map_or(String::new(), |names| list(names));
        page.push_str(&format!("| {} | {place} | {names} |\n", kind.name()));
    }
    let ledger = by_kind
        .get(&None)
        .map_or(String::new(), |names| list(names));
    page.push_str(&format!("| none | in the ledger only | {ledger} |\n"));
    page
}

fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be told to write")]
fn the_page_of_events_is_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md");
    if std::env::var_os("BILLHOOK_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("the page is written");
    }
    let written = std::fs::read_to_string(&path).expect("docs/events.md");
    assert!(
        written == page(),
        "docs/events.md is not what the code does: write it anew"
    );
}
