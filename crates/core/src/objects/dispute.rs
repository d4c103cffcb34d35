//! Dispute: <https://docs.stripe.com/api/disputes/object>.

use serde_json::{Map, Value};

use crate::fields::{Extract, Fields};

/// The states in the order of a usual life. Since 2026-10-28.endive a lost dispute can be appealed.
pub(super) const STATES: &[&str] = &[
    "warning_needs_response",
    "warning_under_review",
    "warning_closed",
    "needs_response",
    "under_review",
    "lost",
    "appeal_needs_response",
    "appeal_under_review",
    "prevented",
    "won",
];

/// Nothing follows these; `lost` can be appealed, and an inquiry that was closed may become a dispute.
pub(super) const FINAL: &[&str] = &["prevented", "won"];

/// Whether a state can only be reached by appeal, so that what was final before it no longer is.
pub(super) fn is_appeal(status: &str) -> bool {
    status.starts_with("appeal_")
}

pub(super) fn extract(dispute: Fields<'_>) -> Map<String, Value> {
    Extract::default()
        .put("status", dispute.text(&["status"]))
        .put("amount", dispute.integer(&["amount"]))
        .put("currency", dispute.text(&["currency"]))
        .put("charge", dispute.id(&["charge"]))
        .put("payment_intent", dispute.id(&["payment_intent"]))
        .put("reason", dispute.text(&["reason"]))
        .put("created", dispute.integer(&["created"]))
        .build()
}
