//! Active entitlement summary:
//! <https://docs.stripe.com/api/entitlements/active-entitlement>. It has no id: there is one per customer.

use serde_json::{Map, Value};

use super::CUT;
use crate::fields::{Extract, Fields};

pub(super) fn extract(summary: Fields<'_>) -> Map<String, Value> {
    let listed = summary.list(&["entitlements"]).unwrap_or_default();
    let mut keys: Vec<&str> = listed
        .iter()
        .filter_map(|item| item.text(&["lookup_key"]))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    // What a list that was cut short does not show is unknown, not denied.
    let cut = summary
        .flag(&["entitlements", "has_more"])
        .filter(|has_more| *has_more);
    Extract::default()
        .put("lookup_keys", Some(Value::from_iter(keys)))
        .put(CUT, cut)
        .build()
}
