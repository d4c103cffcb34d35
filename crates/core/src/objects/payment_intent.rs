//! Payment intent: <https://docs.stripe.com/api/payment_intents/object>.

use serde_json::{Map, Value};

use crate::fields::{Extract, Fields};

/// The states in the order of a usual life
/// (<https://docs.stripe.com/payments/paymentintents/lifecycle>). A failed attempt goes back to the
/// first one.
pub(super) const STATES: &[&str] = &[
    "requires_payment_method",
    "requires_confirmation",
    "requires_action",
    "processing",
    "requires_capture",
    "canceled",
    "succeeded",
];

/// Nothing follows these.
pub(super) const TERMINAL: &[&str] = &["canceled", "succeeded"];

pub(super) fn extract(intent: Fields<'_>) -> Map<String, Value> {
    Extract::default()
        .put("status", intent.text(&["status"]))
        .put("amount", intent.integer(&["amount"]))
        .put("amount_received", intent.integer(&["amount_received"]))
        .put("currency", intent.text(&["currency"]))
        .put("latest_charge", latest_charge(intent))
        .put("created", intent.integer(&["created"]))
        .build()
}

/// Before 2022-11-15 the intent listed its charges, the newest first.
fn latest_charge(intent: Fields<'_>) -> Option<&str> {
    intent
        .id(&["latest_charge"])
        .or_else(|| intent.list(&["charges"])?.first()?.text(&["id"]))
}
