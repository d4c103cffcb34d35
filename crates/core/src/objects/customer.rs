//! Customer: <https://docs.stripe.com/api/customers/object>.

use serde_json::{Map, Value};

use crate::fields::{Extract, Fields};

/// What leaves the row when the customer is deleted.
pub(super) const PERSONAL: &[&str] = &["email", "metadata"];

pub(super) fn extract(customer: Fields<'_>) -> Map<String, Value> {
    Extract::default()
        .put("email", customer.text(&["email"]))
        .put("currency", customer.text(&["currency"]))
        .put("delinquent", customer.flag(&["delinquent"]))
        .put("created", customer.integer(&["created"]))
        .put("metadata", customer.tree(&["metadata"]))
        .build()
}
