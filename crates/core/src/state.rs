//! A customer's whole state, put together from the rows.
//!
//! Nothing is added up while events come in, so nothing can be added twice: totals are computed here, from
//! the rows, whenever someone asks. Money is in integer minor units (cents), per currency.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::access::{
    Access, Known, Policy, STATUSES_BEST_FIRST, access, ever_had, plan_features, status_place,
};
use crate::money::ByCurrency;
use crate::objects::Kind;
use crate::row::{StoredRow, needs_refetch};
use crate::scope::Scope;

/// A row that belongs to a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerRow {
    /// What it is.
    pub kind: Kind,
    /// The object's id.
    pub id: String,
    /// The row.
    pub stored: StoredRow,
}

/// The states of a dispute that is decided. Every other one is open, an appeal and what is not known yet too.
const DECIDED_DISPUTES: [&str; 5] = [
    "won",
    "lost",
    "prevented",
    "warning_closed",
    "charge_refunded",
];

/// Puts a customer's state together; none if nothing is known of the customer. `now` is in Unix seconds.
#[must_use]
pub fn customer_state(
    scope: &Scope,
    customer: &str,
    rows: &[CustomerRow],
    now: i64,
    policy: Policy,
) -> Option<Value> {
    if rows.is_empty() {
        return None;
    }
    let about = rows
        .iter()
        .find(|row| row.kind == Kind::Customer)
        .map(|row| &row.stored);
    let deleted = about.is_some_and(StoredRow::is_deleted);
    let objects = |kind| objects_of(rows, kind);
    let subscriptions = objects(Kind::Subscription);
    let invoices = objects(Kind::Invoice);
    let charges = objects(Kind::Charge);
    let refunds = objects(Kind::Refund);
    let disputes = objects(Kind::Dispute);
    let checkout_sessions = objects(Kind::CheckoutSession);
    let known = Known {
        deleted,
        subscriptions: &subscriptions,
        invoices: &invoices,
        checkout_sessions: &checkout_sessions,
        charges: &charges,
        refunds: &refunds,
        disputes: &disputes,
    };
    let access = access(known, now, &policy);
    let entitlements = match deleted {
        true => BTreeSet::new(),
        false => entitlements(rows, plan_features(known, now, &policy)),
    };
    let usage = objects(Kind::Usage);
    let totals = ByCurrency::of(&invoices, &charges, &refunds, &disputes);
    let paid = invoices
        .values()
        .filter(|invoice| is(invoice, "status", "paid"));
    let field = |name: &str| about.and_then(|row| row.extract().get(name)).cloned();
    let is_open = |row: &StoredRow| needs_refetch(&row.row);
    let mut state = json!({
        "customer": customer,
        "customer_account": field("customer_account"),
        "source": scope.source.name(),
        "livemode": scope.mode.is_live(),
        "account": scope.account,
        "deleted": deleted,
        "email": field("email"),
        "metadata": field("metadata").unwrap_or_else(|| json!({})),
        "as_of": about.map(as_of),
        "access": access.to_json(),
        "entitlements": entitlements,
        "paid_invoices_count": paid.count(),
        "totals": totals.to_json(),
        "open_disputes": open_disputes(&disputes),
        "best_subscription_status": best_status(&subscriptions),
        "subscriptions": subscriptions,
        "invoices": invoices,
        "charges": charges,
        "refunds": refunds,
        "disputes": disputes,
        "payment_intents": objects(Kind::PaymentIntent),
        "invoice_payments": objects(Kind::InvoicePayment),
        "credit_notes": objects(Kind::CreditNote),
        "checkout_sessions": checkout_sessions,
        "usage": used(&usage),
        "usage_records": usage,
    });
    if let Some(state) = state.as_object_mut() {
        state.extend(totals.plain());
    }
    // What is undecided or was cut short is marked, and only that.
    if about.is_some_and(is_open) {
        state["needs_refetch"] = Value::Bool(true);
    }
    if summary(rows).is_some_and(is_open) {
        state["entitlements_incomplete"] = Value::Bool(true);
    }
    Some(state)
}

/// Whether a customer has access at `now` (Unix seconds), from their rows, and whether they ever had. The state says
/// the same.
#[must_use]
pub fn customer_access(rows: &[CustomerRow], now: i64, policy: &Policy) -> (Access, bool) {
    let objects = |kind| objects_of(rows, kind);
    let known = Known {
        deleted: rows
            .iter()
            .any(|row| row.kind == Kind::Customer && row.stored.is_deleted()),
        subscriptions: &objects(Kind::Subscription),
        invoices: &objects(Kind::Invoice),
        checkout_sessions: &objects(Kind::CheckoutSession),
        charges: &objects(Kind::Charge),
        refunds: &objects(Kind::Refund),
        disputes: &objects(Kind::Dispute),
    };
    (access(known, now, policy), ever_had(known))
}

/// The objects of a kind by id, without the deleted ones.
fn objects_of(rows: &[CustomerRow], kind: Kind) -> Map<String, Value> {
    let alive = rows
        .iter()
        .filter(|row| row.kind == kind && !row.stored.is_deleted());
    alive
        .map(|row| (row.id.clone(), show(kind, &row.stored)))
        .collect()
}

/// One object as it is shown: its extract, the fields that are promised even where nothing is known of
/// them, and which event it stands as of.
fn show(kind: Kind, row: &StoredRow) -> Value {
    let mut shown: Map<String, Value> = promised_fields(kind)
        .iter()
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect();
    shown.extend(row.extract().as_object().cloned().unwrap_or_default());
    for (first, second) in &row.row.firsts {
        shown.insert(first.name().to_owned(), (*second).into());
    }
    if kind == Kind::Subscription {
        show_items(&mut shown);
    }
    shown.insert("as_of".into(), as_of(row));
    if needs_refetch(&row.row) {
        shown.insert("needs_refetch".into(), Value::Bool(true));
    }
    Value::Object(shown)
}

fn show_items(subscription: &mut Map<String, Value>) {
    let Some(Value::Array(items)) = subscription.get_mut("items") else {
        return;
    };
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        for name in ITEM_FIELDS {
            item.entry(*name).or_insert(Value::Null);
        }
    }
}

const ITEM_FIELDS: &[&str] = &[
    "price",
    "product",
    "lookup_key",
    "quantity",
    "current_period_start",
    "current_period_end",
];

fn promised_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Subscription => &[
            "status",
            "items",
            "current_period_end",
            "cancel_at_period_end",
            "cancel_at",
            "canceled_at",
            "ended_at",
            "trial_end",
            "pause_collection",
            "latest_invoice",
        ],
        Kind::Invoice => &[
            "status",
            "amount_due",
            "amount_paid",
            "currency",
            "subscription",
        ],
        Kind::Charge => &["status", "amount", "amount_refunded", "currency"],
        Kind::Refund | Kind::Dispute => &["status", "amount", "currency", "charge"],
        Kind::CheckoutSession => &["status", "payment_status", "mode", "client_reference_id"],
        Kind::PaymentIntent | Kind::InvoicePayment | Kind::CreditNote => &["status"],
        Kind::Usage => &["metric", "quantity", "subscription"],
        Kind::Customer | Kind::EntitlementSummary => &[],
    }
}

fn as_of(row: &StoredRow) -> Value {
    let shown = row.row.shown();
    json!({ "event": shown.event, "created": shown.second })
}

fn is(object: &Value, field: &str, value: &str) -> bool {
    object[field].as_str() == Some(value)
}

fn summary(rows: &[CustomerRow]) -> Option<&StoredRow> {
    let summary = rows.iter().find(|row| row.kind == Kind::EntitlementSummary);
    summary.map(|row| &row.stored)
}

/// The features that Stripe's entitlements name, and those of the plans.
fn entitlements(rows: &[CustomerRow], mut features: BTreeSet<String>) -> BTreeSet<String> {
    let keys = summary(rows).and_then(|row| row.extract().get("lookup_keys")?.as_array());
    let keys = keys.into_iter().flatten().filter_map(Value::as_str);
    features.extend(keys.map(str::to_owned));
    features
}

fn open_disputes(disputes: &Map<String, Value>) -> Vec<&String> {
    let open = |dispute: &Value| {
        let status = dispute["status"].as_str();
        status.is_some_and(|status| !DECIDED_DISPUTES.contains(&status))
    };
    disputes
        .iter()
        .filter(|(_, dispute)| open(dispute))
        .map(|(id, _)| id)
        .collect()
}

/// The best status of all subscriptions; one that is not known ranks last.
fn best_status(subscriptions: &Map<String, Value>) -> Value {
    let best = subscriptions
        .values()
        .min_by_key(|subscription| status_place(subscription));
    match best
        .map(status_place)
        .and_then(|place| STATUSES_BEST_FIRST.get(place))
    {
        Some(status) => json!(status),
        None => best.map_or(Value::Null, |subscription| subscription["status"].clone()),
    }
}

/// What was used in all, by metric; `usage` where a record names none. Usage is no money: a fraction counts.
fn used(records: &Map<String, Value>) -> Map<String, Value> {
    let mut sums = Map::new();
    for record in records.values() {
        let quantity = &record["quantity"];
        if quantity.is_number() {
            let metric = record["metric"].as_str().unwrap_or("usage");
            let sum = sums.entry(metric).or_insert_with(|| json!(0));
            *sum = plus(sum, quantity);
        }
    }
    sums
}

/// A sum that is exact as long as both are whole numbers and it fits.
fn plus(one: &Value, other: &Value) -> Value {
    let whole = one.as_i64().zip(other.as_i64());
    match whole.and_then(|(one, other)| one.checked_add(other)) {
        Some(sum) => json!(sum),
        None => json!(one.as_f64().unwrap_or(0.0) + other.as_f64().unwrap_or(0.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_added_up_by_metric_where_there_is_a_quantity() {
        let records = json!({
            "bev_1": {"metric": "api_calls", "quantity": 18_250},
            "bev_2": {"metric": "api_calls", "quantity": -250},
            "bev_3": {"metric": "storage", "quantity": 1.5},
            "bev_4": {"metric": "storage", "quantity": 2},
            "bev_5": {"quantity": 3, "metric": null},
            "bev_6": {"metric": "seats", "quantity": null},
            "bev_7": {"metric": "much", "quantity": i64::MAX},
            "bev_8": {"metric": "much", "quantity": i64::MAX},
        });
        let sums = used(records.as_object().expect("an object"));
        let wanted = json!({"api_calls": 18_000, "storage": 3.5, "usage": 3,
            "much": 18_446_744_073_709_551_616.0});
        assert_eq!(Value::Object(sums), wanted);
    }

    #[test]
    fn the_best_status_wins_and_an_unknown_one_is_kept() {
        let subscriptions = |list: &[&str]| {
            let named = list.iter().enumerate();
            named
                .map(|(i, s)| (i.to_string(), json!({"status": s})))
                .collect::<Map<_, _>>()
        };
        assert_eq!(
            best_status(&subscriptions(&["canceled", "past_due"])),
            "past_due"
        );
        assert_eq!(best_status(&subscriptions(&["brand_new"])), "brand_new");
        assert_eq!(best_status(&subscriptions(&[])), Value::Null);
    }
}
