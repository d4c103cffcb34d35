//! Bear Billing's objects: a subscription, an invoice and a record of usage.
//!
//! They are read into the fields that Stripe's objects are read into, so that whoever looks at the state knows
//! one shape. The customer is the organization. Only what is documented of them is relied on; whatever else
//! comes stays in the ledger.

use serde_json::{Map, Value};

use super::subscription::CANCELED;
use super::{Kind, NoSnapshot, Snapshot, Stage};
use crate::event::Event;
use crate::fields::{Extract, Fields, LEVELS_MAX, storable};
use crate::scope::Source;
use crate::time::unix_seconds;

/// The most that a row keeps of a record of usage, in bytes of JSON. Records are read all together.
const USAGE_BYTES_MAX: usize = 4 * 1024;

/// Reads the object of an event.
///
/// # Errors
///
/// [`NoSnapshot`] where there is nothing that a row could be kept for.
pub fn read(kind: Kind, event: &Event, object: &Value) -> Result<Snapshot, NoSnapshot> {
    let data = object.as_object().ok_or(NoSnapshot::NoId)?;
    let fields = Fields::new(data);
    let name = |field| fields.text(&[field]).filter(|name| !name.is_empty());
    let customer = name("organization_id");
    let id = match kind {
        // Usage is added up, so each event counts, once: whatever id a record has may stand for anything.
        Kind::Usage => Some(event.id.as_str()),
        _ => name("id"),
    };
    let id = id.ok_or(NoSnapshot::NoId)?;
    if kind.is_owned(Source::BearBilling) && customer.is_none() {
        return Err(NoSnapshot::NoCustomer);
    }
    let extract = match kind {
        Kind::Subscription => subscription(fields, &event.event_type),
        Kind::Invoice => invoice(fields, &event.event_type),
        Kind::Usage => usage(fields, object),
        // Bear Billing has none of these.
        Kind::Customer
        | Kind::Charge
        | Kind::PaymentIntent
        | Kind::Refund
        | Kind::Dispute
        | Kind::CheckoutSession
        | Kind::InvoicePayment
        | Kind::CreditNote
        | Kind::EntitlementSummary => return Err(NoSnapshot::NoId),
    };
    Ok(Snapshot {
        kind,
        id: id.to_owned(),
        customer: customer.map(str::to_owned),
        extract,
    })
}

/// The place of an event among those of its second: by the fraction of the second, and at one moment by how far along
/// its life the object is. Nothing says that a state of Bear Billing's is never left, so none is final.
#[must_use]
pub fn rank(stage: Stage, nanoseconds: u32) -> u64 {
    let place = u64::from(stage.rank) + if stage.is_final { 1 << 8 } else { 0 };
    (u64::from(nanoseconds) << 9) + place
}

/// A subscription is to one plan, which is its one item.
fn subscription(subscription: Fields<'_>, event_type: &str) -> Map<String, Value> {
    let period_end = time(subscription, "current_period_end");
    let mut item = Extract::default()
        .put("price", subscription.text(&["plan_id"]))
        .put(
            "current_period_start",
            time(subscription, "current_period_start"),
        )
        .put("current_period_end", period_end)
        .build();
    if !item.is_empty() {
        let quantity = subscription.integer(&["quantity"]).unwrap_or(1);
        item.insert("quantity".to_owned(), quantity.into());
    }
    let items: Vec<Value> = (!item.is_empty())
        .then_some(Value::Object(item))
        .into_iter()
        .collect();
    let status = status(subscription, event_type);
    // Told as cancelled while it is still something else: it ends with its period.
    let ends = event_type == "subscription.cancelled" && status != Some(CANCELED);
    let status = if ends && period_end.is_none() {
        Some(CANCELED)
    } else {
        status
    };
    Extract::default()
        .put("status", status)
        .put("cancel_at_period_end", ends.then_some(true))
        .put("items", Some(Value::from(items)))
        .put("billing_cycle", subscription.text(&["billing_cycle"]))
        .put("current_period_end", period_end)
        .put("canceled_at", time(subscription, "cancelled_at"))
        .build()
}

/// An invoice has one amount, which is due until it is paid.
fn invoice(invoice: Fields<'_>, event_type: &str) -> Map<String, Value> {
    let status = status(invoice, event_type);
    let amount = invoice.integer(&["amount"]);
    let paid = match status {
        Some("paid") => amount,
        Some("open") => amount.map(|_| 0),
        _ => None,
    };
    let currency = invoice.text(&["currency"]).map(str::to_ascii_lowercase);
    Extract::default()
        .put("status", status)
        .put("amount_due", amount)
        .put("amount_paid", paid)
        .put("currency", currency)
        .put("subscription", invoice.text(&["subscription_id"]))
        .put("paid_at", time(invoice, "paid_at"))
        .build()
}

/// What a record of usage looks like is not documented: it is kept as it came, apart from what is understood of it,
/// so that no name in it can pass for one of ours.
fn usage(usage: Fields<'_>, data: &Value) -> Map<String, Value> {
    let fits = is_storable(data) && data.to_string().len() <= USAGE_BYTES_MAX;
    let quantity = usage.get(&["quantity"]).filter(|value| value.is_number());
    let quantity = quantity.filter(|value| is_storable(value));
    let metric = usage.text(&["metric"]).filter(|name| {
        // The name of a sum, not a text.
        (1..=256).contains(&name.len())
    });
    Extract::default()
        .put("metric", metric)
        .put("quantity", quantity.cloned())
        .put("subscription", usage.text(&["subscription_id"]))
        .put("data", fits.then(|| data.clone()))
        .put("data_cut", (!fits).then_some(true))
        .build()
}

/// Whether a value can stand in a row as it is, nulls aside.
fn is_storable(value: &Value) -> bool {
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(values) => values.iter().filter(|v| !v.is_null()).map(count).sum(),
            Value::Object(members) => members.values().filter(|v| !v.is_null()).map(count).sum(),
            _ => 0,
        }
    }
    storable(value, LEVELS_MAX).is_some_and(|storable| count(&storable) == count(value))
}

/// The status in Stripe's spelling, one that is not known as it is. An object without a status has the one
/// that the event's type speaks of.
fn status<'a>(object: Fields<'a>, event_type: &str) -> Option<&'a str> {
    let spoken_of = match event_type {
        "subscription.cancelled" => Some(CANCELED),
        "invoice.created" | "invoice.payment_failed" => Some("open"),
        "invoice.paid" => Some("paid"),
        _ => None,
    };
    match object.text(&["status"]) {
        Some("cancelled") => Some(CANCELED),
        said => said.or(spoken_of),
    }
}

/// A time in Unix seconds, written as RFC 3339 or as a number.
fn time(object: Fields<'_>, name: &str) -> Option<i64> {
    let written = || object.text(&[name]).and_then(unix_seconds);
    object.integer(&[name]).or_else(written)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::access::Policy;
    use crate::decide::{Change, Decision, Plan, decide, plan};
    use crate::event::decode;
    use crate::objects::BEAR_BILLING_EVENT_TYPES;
    use crate::row::{Owner, StoredRow};
    use crate::scope::Mode;
    use crate::state::{CustomerRow, customer_state};

    const ORGANIZATION: &str = "org_5kd82mqx";
    const SUBSCRIPTION: &str = "bsub_7c1e90f4a2";
    const INVOICE: &str = "binv_3f86d0b91e";

    macro_rules! samples {
        ($($name:literal),+ $(,)?) => {
            [$(include_str!(concat!("../../../../events/bearbilling/", $name, ".json"))),+]
        };
    }

    /// One event of each type, in the order in which they happened.
    const SAMPLES: [&str; 7] = samples![
        "subscription.created",
        "invoice.created",
        "invoice.payment_failed",
        "invoice.paid",
        "usage.recorded",
        "subscription.updated",
        "subscription.cancelled",
    ];

    fn event(body: &str) -> Event {
        decode(Source::BearBilling, Mode::Test, body.as_bytes()).expect("an event")
    }

    fn keep(body: &str) -> Change {
        match plan(&event(body), Mode::Test) {
            Plan::Keep(change) => *change,
            Plan::Ignore(ignored) => panic!("{body} is ignored: {}", ignored.reason()),
        }
    }

    /// The extract of an event of this type with this data.
    fn extract(event_type: &str, data: &Value) -> Value {
        let body = json!({"id": "bev_1", "type": event_type, "created_at": 1, "data": data});
        keep(&body.to_string()).incoming.kept.extract
    }

    #[test]
    fn every_type_has_a_sample_that_changes_state() {
        let types: Vec<&str> = BEAR_BILLING_EVENT_TYPES.iter().map(|line| line.0).collect();
        let mut sampled: Vec<String> = SAMPLES.map(|body| event(body).event_type).to_vec();
        sampled.sort_unstable();
        assert_eq!(types, sampled);
        for body in SAMPLES {
            keep(body);
        }
    }

    #[test]
    fn a_subscription_is_read_into_the_fields_of_stripes() {
        let change = keep(SAMPLES[0]);
        assert_eq!(
            change.key.owner,
            Some(Owner::Customer(ORGANIZATION.to_owned()))
        );
        assert_eq!(change.key.id, SUBSCRIPTION);
        let wanted = json!({
            "status": "active",
            "items": [{"price": "plan_den_monthly", "quantity": 1,
                "current_period_start": 1_793_615_400, "current_period_end": 1_796_207_400}],
            "billing_cycle": "monthly",
            "current_period_end": 1_796_207_400,
        });
        assert_eq!(change.incoming.kept.extract, wanted);
        assert_eq!(keep(SAMPLES[6]).incoming.kept.extract["status"], "canceled");
    }

    #[test]
    fn an_invoice_names_only_its_subscription() {
        let change = keep(SAMPLES[3]);
        assert_eq!(change.key.id, INVOICE);
        assert_eq!(
            (change.key.owner, change.incoming.kept.customer),
            (None, None)
        );
        let wanted = json!({
            "status": "paid", "amount_due": 4900, "amount_paid": 4900, "currency": "usd",
            "subscription": SUBSCRIPTION, "paid_at": 1_793_693_140,
        });
        assert_eq!(change.incoming.kept.extract, wanted);
        let open = keep(SAMPLES[1]).incoming.kept.extract;
        assert_eq!(
            (&open["status"], &open["amount_paid"]),
            (&json!("open"), &json!(0))
        );
    }

    #[test]
    fn usage_is_kept_as_it_came_under_the_id_of_its_event() {
        let change = keep(SAMPLES[4]);
        assert_eq!(change.key.id, "bev_e071d9076ff56849");
        let wanted = json!({
            "metric": "api_calls", "quantity": 18250, "subscription": SUBSCRIPTION,
            "data": {"subscription_id": SUBSCRIPTION, "metric": "api_calls", "quantity": 18250,
                "recorded_at": "2026-11-05T00:00:00Z"},
        });
        assert_eq!(change.incoming.kept.extract, wanted);

        let named =
            json!({"id": "x", "organization_id": "org_1", "deleted": true, "minutes": [1.5]});
        let extract = extract("usage.recorded", &named);
        assert_eq!(
            extract,
            json!({"data": named}),
            "no name in it passes for one of ours"
        );
    }

    #[test]
    fn usage_that_no_row_can_hold_is_left_to_the_ledger() {
        let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        let table = [
            (json!({"text": "x".repeat(5_000)}), false),
            (json!({"text": "x".repeat(3_000)}), true),
            (json!({"": 1}), false),
            (json!({"much": 1e200}), false),
            (json!({"little": 1e-200}), false),
            (json!({"zero": 0.0, "big": u64::MAX, "real": -1.5}), true),
            (json!({"list": deep(20)}), false),
            (json!({"list": deep(10)}), true),
        ];
        for (mut data, fits) in table {
            data["quantity"] = json!(7);
            let extract = extract("usage.recorded", &data);
            assert_eq!(
                extract["quantity"], 7,
                "what is understood is kept: {data:.60}"
            );
            assert_eq!(extract.get("data").is_some(), fits, "{data:.60}");
            assert_eq!(extract.get("data_cut").is_none(), fits, "{data:.60}");
        }
        for odd in [json!("7"), json!(1e200), json!(null), json!([7])] {
            let extract = extract("usage.recorded", &json!({"quantity": odd}));
            assert_eq!(extract.get("quantity"), None, "{odd}");
        }
    }

    #[test]
    fn a_field_that_is_missing_or_odd_is_not_there_and_costs_nothing() {
        let odd = [json!(null), json!({}), json!([1]), json!(true), json!(1.5)];
        let fields = [
            "plan_id",
            "billing_cycle",
            "current_period_start",
            "current_period_end",
            "subscription_id",
            "amount",
            "currency",
            "paid_at",
            "status",
        ];
        for value in odd {
            let mut data = json!({"id": "b_1", "organization_id": "org_1"});
            for field in fields {
                data[field] = value.clone();
            }
            let subscription = extract("subscription.updated", &data);
            assert_eq!(subscription, json!({"items": []}), "{value}");
            let invoice = extract("invoice.paid", &data);
            assert_eq!(invoice, json!({"status": "paid"}), "{value}");
        }
        for amount in [json!("4900"), json!(49.5)] {
            let paid = extract("invoice.paid", &json!({"id": "b_1", "amount": amount}));
            assert_eq!(paid, json!({"status": "paid"}), "an amount is not guessed");
        }
    }

    #[test]
    fn an_object_without_a_name_is_ignored_and_says_why() {
        let reason = |event_type: &str, data: Value| {
            let body = json!({"id": "bev_1", "type": event_type, "created_at": 1, "data": data});
            match plan(&event(&body.to_string()), Mode::Test) {
                Plan::Ignore(ignored) => ignored.reason(),
                Plan::Keep(_) => "kept",
            }
        };
        let table = [
            ("subscription.created", json!({"id": "b_1"}), "no_customer"),
            (
                "subscription.created",
                json!({"organization_id": "o"}),
                "preview",
            ),
            ("invoice.paid", json!({"id": ""}), "preview"),
            ("invoice.paid", json!({"id": "b_1"}), "kept"),
            ("usage.recorded", json!({}), "kept"),
            ("usage.recorded", json!([]), "no_object"),
            (
                "customer.subscription.created",
                json!({"id": "b_1"}),
                "no_state",
            ),
            ("plan.created", json!({"id": "b_1"}), "no_state"),
        ];
        for (event_type, data, wanted) in table {
            assert_eq!(
                reason(event_type, data.clone()),
                wanted,
                "{event_type} {data}"
            );
        }
    }

    #[test]
    fn a_status_is_what_the_object_says_else_what_the_type_speaks_of() {
        let table = [
            ("subscription.created", json!("active"), json!("active")),
            ("subscription.created", json!(null), json!(null)),
            (
                "subscription.updated",
                json!("hibernating"),
                json!("hibernating"),
            ),
            (
                "subscription.updated",
                json!("cancelled"),
                json!("canceled"),
            ),
            ("subscription.cancelled", json!(null), json!("canceled")),
            // Without a period it ends at once.
            ("subscription.cancelled", json!("active"), json!("canceled")),
            ("invoice.created", json!(null), json!("open")),
            ("invoice.created", json!("draft"), json!("draft")),
            ("invoice.payment_failed", json!(null), json!("open")),
            ("invoice.paid", json!(null), json!("paid")),
        ];
        for (event_type, said, wanted) in table {
            let data = json!({"id": "b_1", "organization_id": "org_1", "status": said});
            assert_eq!(
                extract(event_type, &data)["status"],
                wanted,
                "{event_type} {said}"
            );
        }
    }

    #[test]
    fn what_is_cancelled_while_it_is_active_ends_with_its_period() {
        let data = json!({"id": "b_1", "organization_id": "org_1", "status": "active", "current_period_end": 60});
        let read = extract("subscription.cancelled", &data);
        assert_eq!(
            (&read["status"], &read["cancel_at_period_end"]),
            (&json!("active"), &json!(true))
        );
        let read = extract("subscription.updated", &data);
        assert_eq!(read["cancel_at_period_end"], Value::Null);
    }

    #[test]
    fn times_may_be_numbers_and_currencies_in_capitals() {
        let subscription = json!({"id": "b_1", "organization_id": "o", "current_period_end": 60,
            "current_period_start": "1970-01-01T01:00:00+01:00", "cancelled_at": "1970-01-01T00:00:59.9Z"});
        let extract_of = extract("subscription.cancelled", &subscription);
        assert_eq!(extract_of["items"][0]["current_period_start"], 0);
        assert_eq!(extract_of["current_period_end"], 60);
        assert_eq!(extract_of["canceled_at"], 59);
        let invoice = extract("invoice.paid", &json!({"id": "b_1", "currency": "EUR"}));
        assert_eq!(invoice["currency"], "eur");
    }

    /// The rows that remain when these events are applied in this order, as if the consumer had linked them all.
    fn rows_after<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<CustomerRow> {
        let mut rows = BTreeMap::<(Kind, String), StoredRow>::new();
        for change in changes {
            let key = (change.key.kind, change.key.id.clone());
            let stored = rows.get(&key);
            if let Decision::Write(write) = decide(&change.incoming, stored) {
                let rev = stored.map_or(0, |stored| stored.rev) + 1;
                let written = StoredRow {
                    row: write.row,
                    rev,
                    link: None,
                };
                rows.insert(key, written);
            }
        }
        let row = |((kind, id), stored)| CustomerRow { kind, id, stored };
        rows.into_iter().map(row).collect()
    }

    fn state(rows: &[CustomerRow]) -> Value {
        let scope = keep(SAMPLES[0]).key.scope;
        customer_state(&scope, ORGANIZATION, rows, 1_794_000_000, Policy::default())
            .expect("something is known")
    }

    /// All orders of `0..n`, by Heap's algorithm.
    fn permutations(n: usize, visit: &mut impl FnMut(&[usize])) {
        fn go(k: usize, order: &mut [usize], visit: &mut impl FnMut(&[usize])) {
            if k <= 1 {
                return visit(order);
            }
            for i in 0..k {
                go(k - 1, order, visit);
                order.swap(if k.is_multiple_of(2) { i } else { 0 }, k - 1);
            }
        }
        go(n, &mut (0..n).collect::<Vec<_>>(), visit);
    }

    #[test]
    fn the_samples_end_in_the_view_that_stripes_would() {
        let changes = SAMPLES.map(keep);
        let before_the_end = state(&rows_after(changes[..6].iter()));
        let access = json!({"granted": true, "reason": "active", "until": 1_796_207_400,
            "subscription": SUBSCRIPTION});
        assert_eq!(before_the_end["access"], access);

        let state = state(&rows_after(changes.iter()));
        assert_eq!(
            (&state["customer"], &state["source"]),
            (&json!(ORGANIZATION), &json!("bearbilling"))
        );
        assert_eq!(state["access"]["reason"], "canceled");
        assert_eq!(
            state["subscriptions"][SUBSCRIPTION]["items"][0]["price"],
            "plan_forest_monthly"
        );
        assert_eq!(state["invoices"][INVOICE]["status"], "paid");
        assert_eq!(state["paid_invoices_total"], 4900);
        assert_eq!(state["usage"], json!({"api_calls": 18250}));
        assert_eq!(
            state["usage_records"]["bev_e071d9076ff56849"]["as_of"]["event"],
            "bev_e071d9076ff56849"
        );
    }

    #[test]
    fn every_order_of_the_samples_ends_in_the_same_rows() {
        let changes = SAMPLES.map(keep);
        let wanted = rows_after(changes.iter());
        let mut orders = 0;
        permutations(SAMPLES.len(), &mut |order| {
            orders += 1;
            let got = rows_after(order.iter().map(|at| &changes[*at]));
            let shown = |rows: &[CustomerRow]| {
                let rows = rows.iter();
                rows.map(|row| (row.kind, row.id.clone(), row.stored.row.clone()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(shown(&got), shown(&wanted), "{order:?}");
        });
        assert_eq!(orders, 5040);
    }

    #[test]
    fn every_order_within_one_second_ends_in_the_same_view_and_a_terminal_state_is_last() {
        let bodies = SAMPLES.map(|body| {
            let mut body: Value = serde_json::from_str(body).expect("JSON");
            body["created_at"] = json!("2026-11-02T10:30:00Z");
            body.to_string()
        });
        let changes: Vec<Change> = bodies.iter().map(|body| keep(body)).collect();
        let wanted = state(&rows_after(changes.iter()));
        assert_eq!(wanted["subscriptions"][SUBSCRIPTION]["status"], "canceled");
        assert_eq!(wanted["invoices"][INVOICE]["status"], "paid");
        permutations(SAMPLES.len(), &mut |order| {
            // Each of them twice, the second time round the other way.
            let twice = order.iter().chain(order.iter().rev());
            let got = state(&rows_after(twice.map(|at| &changes[*at])));
            assert_eq!(got, wanted, "{order:?}");
        });
    }
}
