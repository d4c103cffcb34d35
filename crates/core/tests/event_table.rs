//! Keeps `docs/events.md` equal to the code. To write it anew: `BILLHOOK_WRITE_DOCS=1 cargo test -p billhook-core`.

use std::collections::BTreeMap;
use std::path::Path;

use billhook_core::objects::{BEAR_BILLING_EVENT_TYPES, EVENT_TYPES, Kind};
use billhook_core::scope::Source;

const HEAD: &str = "\
# Events

Which event types change state, and which are kept in the ledger only. This page is made from
`crates/core/src/objects/event_types.rs` by a test. Types that are not listed are kept in the ledger too.
";

/// The page, from the tables in the code.
fn page() -> String {
    let stripe = section("Stripe", Source::Stripe, EVENT_TYPES);
    let bear_billing = section(
        "Bear Billing",
        Source::BearBilling,
        BEAR_BILLING_EVENT_TYPES,
    );
    format!("{HEAD}{stripe}{bear_billing}")
}

fn section(name: &str, source: Source, types: &[(&'static str, Option<Kind>)]) -> String {
    let mut by_kind: BTreeMap<Option<Kind>, Vec<&str>> = BTreeMap::new();
    for (name, kind) in types {
        by_kind.entry(*kind).or_default().push(name);
    }
    let mut section = format!("\n## {name}\n\n| object | kept | event types |\n|---|---|---|\n");
    for kind in Kind::ALL {
        let Some(names) = by_kind.get(&Some(kind)) else {
            continue;
        };
        let place = if kind.is_owned(source) {
            "with its customer"
        } else {
            "under its own key"
        };
        section.push_str(&format!(
            "| {} | {place} | {} |\n",
            kind.name(),
            list(names)
        ));
    }
    if let Some(names) = by_kind.get(&None) {
        section.push_str(&format!(
            "| none | in the ledger only | {} |\n",
            list(names)
        ));
    }
    section
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
