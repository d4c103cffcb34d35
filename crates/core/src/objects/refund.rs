//! Refund: <https://docs.stripe.com/api/refunds/object>.

use serde_json::{Map, Value};

use crate::fields::{Extract, Fields};

/// The states in the order of a usual life. A refund that succeeded can still fail, when the bank
/// sends the money back.
pub(super) const STATES: &[&str] = &[
    "pending",
    "requires_action",
    "succeeded",
    "canceled",
    "failed",
];

/// Nothing follows these.
pub(super) const FINAL: &[&str] = &["canceled", "failed"];

pub(super) fn extract(refund: Fields<'_>) -> Map<String, Value> {
    Extract::default()
        // The oldest refunds had no status: they were made when they had succeeded.
        .put("status", refund.text(&["status"]).or(Some("succeeded")))
        .put("amount", refund.integer(&["amount"]))
        .put("currency", refund.text(&["currency"]))
        .put("charge", refund.id(&["charge"]))
        .put("payment_intent", refund.id(&["payment_intent"]))
        .put("reason", refund.text(&["reason"]))
        .put("failure_reason", refund.text(&["failure_reason"]))
        .put("created", refund.integer(&["created"]))
        .build()
}
