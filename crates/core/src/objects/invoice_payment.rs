//! Invoice payment: <https://docs.stripe.com/api/invoice-payment/object>.
//!
//! Since 2025-03-31.basil it alone says which payment paid which invoice.

use serde_json::{Map, Value};

use crate::fields::{Extract, Fields};

/// The states in the order of a usual life.
pub(super) const STATES: &[&str] = &["open", "canceled", "paid"];

/// Nothing follows this. A payment that was paid can be detached from its invoice.
pub(super) const FINAL: &[&str] = &["canceled"];

pub(super) fn extract(payment: Fields<'_>) -> Map<String, Value> {
    Extract::default()
        .put("status", payment.text(&["status"]))
        .put("invoice", payment.id(&["invoice"]))
        .put("payment_intent", payment.id(&["payment", "payment_intent"]))
        .put("charge", payment.id(&["payment", "charge"]))
        .put("amount_paid", payment.integer(&["amount_paid"]))
        .put("amount_requested", payment.integer(&["amount_requested"]))
        .put("currency", payment.text(&["currency"]))
        .put("created", payment.integer(&["created"]))
        .build()
}
