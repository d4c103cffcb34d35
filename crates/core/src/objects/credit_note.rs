//! Credit note: <https://docs.stripe.com/api/credit_notes/object>.

use serde_json::{Map, Value};

use crate::fields::{Extract, Fields};

/// The states in the order of a usual life.
pub(super) const STATES: &[&str] = &["issued", "void"];

/// Nothing follows this.
pub(super) const FINAL: &[&str] = &["void"];

pub(super) fn extract(note: Fields<'_>) -> Map<String, Value> {
    Extract::default()
        .put("status", note.text(&["status"]))
        .put("amount", note.integer(&["amount"]))
        .put("currency", note.text(&["currency"]))
        .put("invoice", note.id(&["invoice"]))
        .put("reason", note.text(&["reason"]))
        .put("created", note.integer(&["created"]))
        .build()
}
