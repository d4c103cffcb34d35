//! Subscription: <https://docs.stripe.com/api/subscriptions/object>.

use serde_json::{Map, Value};

use super::{CUT, Stage, text};
use crate::fields::{Extract, Fields};

/// What ended in one of these does not come back; its fields can still be edited.
const FINAL: &[&str] = &["canceled", "incomplete_expired"];

/// What a deletion makes of a subscription.
pub(super) const CANCELED: &str = "canceled";

/// A subscription goes to and fro between its live states, but never back to `incomplete`.
pub(super) fn stage(extract: &Map<String, Value>) -> Stage {
    let status = text(extract, "status");
    let rank = if status == "incomplete" { 1 } else { 2 };
    Stage {
        is_final: FINAL.contains(&status),
        rank,
    }
}

pub(super) fn extract(subscription: Fields<'_>) -> Map<String, Value> {
    let listed = subscription.list(&["items"]);
    let items: Vec<Map<String, Value>> = match &listed {
        Some(listed) => listed
            .iter()
            .map(|item| extract_item(*item, subscription))
            .collect(),
        // Before items existed the subscription itself had one plan and a quantity.
        None => subscription
            .object(&["plan"])
            .map(|_| extract_item(subscription, subscription))
            .into_iter()
            .collect(),
    };
    let ends = items
        .iter()
        .filter_map(|item| item.get("current_period_end")?.as_i64());
    let period_end = ends
        .max()
        .or_else(|| subscription.integer(&["current_period_end"]));
    let cut = subscription
        .flag(&["items", "has_more"])
        .filter(|has_more| *has_more);
    Extract::default()
        .put("status", subscription.text(&["status"]))
        .put("items", Some(Value::from_iter(items)))
        .put(CUT, cut)
        .put("current_period_end", period_end)
        .put(
            "cancel_at_period_end",
            subscription.flag(&["cancel_at_period_end"]),
        )
        .put("cancel_at", subscription.integer(&["cancel_at"]))
        .put("canceled_at", subscription.integer(&["canceled_at"]))
        .put("ended_at", subscription.integer(&["ended_at"]))
        .put("trial_end", subscription.integer(&["trial_end"]))
        .put("pause_collection", subscription.tree(&["pause_collection"]))
        .put("latest_invoice", subscription.id(&["latest_invoice"]))
        .put("schedule", subscription.id(&["schedule"]))
        .put("pending_update", pending_update(subscription))
        .put("collection_method", collection_method(subscription))
        .put("currency", subscription.text(&["currency"]))
        .put("created", subscription.integer(&["created"]))
        .put("metadata", subscription.metadata())
        .build()
}

/// `price` was called `plan` before 2020; the period moved from the subscription to its items with
/// 2025-03-31.basil.
fn extract_item(item: Fields<'_>, subscription: Fields<'_>) -> Map<String, Value> {
    let either = |new: &[&str], old: &[&str]| item.id(new).or_else(|| item.id(old));
    let period = |name: &str| {
        item.integer(&[name])
            .or_else(|| subscription.integer(&[name]))
    };
    Extract::default()
        .put("price", either(&["price"], &["plan"]))
        .put(
            "product",
            either(&["price", "product"], &["plan", "product"]),
        )
        .put("lookup_key", item.text(&["price", "lookup_key"]))
        .put("quantity", item.integer(&["quantity"]))
        .put("current_period_start", period("current_period_start"))
        .put("current_period_end", period("current_period_end"))
        .build()
}

/// Of an update that waits for its payment, until when it waits.
fn pending_update(subscription: Fields<'_>) -> Option<Value> {
    let expires_at = subscription.integer(&["pending_update", "expires_at"])?;
    Some(serde_json::json!({ "expires_at": expires_at }))
}

/// Called `billing` before 2019-10-17.
fn collection_method(subscription: Fields<'_>) -> Option<&str> {
    subscription
        .text(&["collection_method"])
        .or_else(|| subscription.text(&["billing"]))
}
