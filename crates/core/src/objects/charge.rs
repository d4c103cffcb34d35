//! Charge: <https://docs.stripe.com/api/charges/object>.
//!
//! The list of refunds inside old charges is not state: refunds come from their own events, and
//! `amount_refunded` stands on every charge.

use serde_json::{Map, Value};

use super::{Stage, rank, text};
use crate::fields::{Extract, Fields};

/// The states in the order of a usual life.
const STATES: &[&str] = &["pending", "failed", "succeeded"];

/// A charge stays what it has become, and refunds come after. No state of it is final: its snapshots go on
/// changing.
pub(super) fn stage(extract: &Map<String, Value>) -> Stage {
    let refunded = extract
        .get("amount_refunded")
        .and_then(Value::as_i64)
        .unwrap_or(0)
        > 0;
    Stage {
        is_final: false,
        rank: rank(STATES, text(extract, "status")) * 2 + u8::from(refunded),
    }
}

pub(super) fn extract(charge: Fields<'_>) -> Map<String, Value> {
    // Before `disputed` the charge named its dispute.
    let disputed = charge
        .flag(&["disputed"])
        .or_else(|| charge.id(&["dispute"]).map(|_| true));
    Extract::default()
        .put("status", status(charge))
        .put("amount", charge.integer(&["amount"]))
        .put("amount_captured", charge.integer(&["amount_captured"]))
        .put("amount_refunded", charge.integer(&["amount_refunded"]))
        .put("currency", charge.text(&["currency"]))
        .put("captured", charge.flag(&["captured"]))
        .put("disputed", disputed)
        .put("payment_intent", charge.id(&["payment_intent"]))
        .put("failure_code", charge.text(&["failure_code"]))
        .put("created", charge.integer(&["created"]))
        .build()
}

/// The oldest charges say `paid` where newer ones have a status that says `succeeded`.
fn status(charge: Fields<'_>) -> Option<&str> {
    let status = charge.text(&["status"]).filter(|status| *status != "paid");
    status.or_else(|| charge.flag(&["paid"])?.then_some("succeeded"))
}
