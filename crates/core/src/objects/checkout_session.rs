//! Checkout session: <https://docs.stripe.com/api/checkout/sessions/object>.
//!
//! `client_reference_id` and the metadata are how a product finds its own user again.

use serde_json::{Map, Value};

use super::{Stage, rank, text};
use crate::fields::{Extract, Fields};

/// The states in the order of a usual life.
const STATES: &[&str] = &["open", "expired", "complete"];

/// A complete session may still wait for a payment that takes days.
const PAYMENT_STATES: &[&str] = &["unpaid", "no_payment_required", "paid"];

pub(super) fn extract(session: Fields<'_>) -> Map<String, Value> {
    Extract::default()
        .put("status", session.text(&["status"]))
        .put("payment_status", session.text(&["payment_status"]))
        .put("mode", session.text(&["mode"]))
        .put(
            "client_reference_id",
            session.text(&["client_reference_id"]),
        )
        .put("subscription", session.id(&["subscription"]))
        .put("invoice", session.id(&["invoice"]))
        .put("payment_intent", session.id(&["payment_intent"]))
        .put("amount_total", session.integer(&["amount_total"]))
        .put("currency", session.text(&["currency"]))
        .put("created", session.integer(&["created"]))
        .put("metadata", session.tree(&["metadata"]))
        .build()
}

/// No state of a session is final across seconds: it is told without old values, and a payment that takes days follows.
pub(super) fn stage(extract: &Map<String, Value>) -> Stage {
    let (status, payment) = (text(extract, "status"), text(extract, "payment_status"));
    Stage {
        is_final: false,
        rank: rank(STATES, status) * 4 + rank(PAYMENT_STATES, payment),
    }
}
