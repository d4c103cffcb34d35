//! Payment intent: <https://docs.stripe.com/api/payment_intents/object>.

use serde_json::{Map, Value};

use super::{Stage, rank, text};
use crate::fields::{Extract, Fields};

/// The states in which nothing is paid yet (<https://docs.stripe.com/payments/paymentintents/lifecycle>). An intent goes
/// to and fro between them: a failed attempt goes back to the first one, from any other and within one second.
const UNPAID: &[&str] = &[
    "requires_payment_method",
    "requires_confirmation",
    "requires_action",
    "processing",
];

/// The states that can follow those, in the order of a usual life.
const LATER: &[&str] = &["requires_capture", "canceled", "succeeded"];

/// Nothing follows these.
const FINAL: &[&str] = &["canceled", "succeeded"];

/// Intents are told without old values, so their place alone decides within a second: the unpaid states share one.
pub(super) fn stage(extract: &Map<String, Value>) -> Stage {
    let status = text(extract, "status");
    let later = rank(LATER, status);
    Stage {
        is_final: FINAL.contains(&status),
        rank: if later > 0 {
            later + 1
        } else {
            UNPAID.contains(&status).into()
        },
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stage_of(status: &str) -> Stage {
        stage(json!({ "status": status }).as_object().unwrap())
    }

    #[test]
    fn states_between_which_an_intent_goes_to_and_fro_share_a_place() {
        for status in UNPAID {
            assert_eq!(stage_of(status), stage_of("processing"), "{status}");
        }
        let in_order = [&["no such status", "processing"], LATER].concat();
        assert!(in_order.is_sorted_by(|one, next| stage_of(one).rank < stage_of(next).rank));
        assert!(stage_of("canceled").is_final && stage_of("succeeded").is_final);
    }
}
