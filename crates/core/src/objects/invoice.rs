//! Invoice: <https://docs.stripe.com/api/invoices/object>.

use serde_json::{Map, Value};

use crate::fields::{Extract, Fields};

/// The states in the order of a usual life.
pub(super) const STATES: &[&str] = &["draft", "open", "uncollectible", "void", "paid"];

/// What is void stays so, and what is paid until an event says that it was: detaching a payment opens its invoice again
/// (<https://docs.stripe.com/changelog/2026-01-28.preview>). An uncollectible invoice can still be paid or voided.
pub(super) const FINAL: &[&str] = &["paid", "void"];

pub(super) fn extract(invoice: Fields<'_>) -> Map<String, Value> {
    let transition = |new: &str, old: &str| {
        invoice
            .integer(&["status_transitions", new])
            .or_else(|| invoice.integer(&[old]))
    };
    Extract::default()
        .put("status", status(invoice))
        .put("amount_due", invoice.integer(&["amount_due"]))
        .put("amount_paid", amount_paid(invoice))
        .put("amount_remaining", invoice.integer(&["amount_remaining"]))
        .put(
            "amount_overpaid",
            invoice
                .integer(&["amount_overpaid"])
                .filter(|amount| *amount != 0),
        )
        .put("total", invoice.integer(&["total"]))
        .put("currency", invoice.text(&["currency"]))
        .put("subscription", subscription(invoice))
        .put("billing_reason", invoice.text(&["billing_reason"]))
        .put("number", invoice.text(&["number"]))
        .put(
            "created",
            invoice
                .integer(&["created"])
                .or_else(|| invoice.integer(&["date"])),
        )
        .put("due_date", invoice.integer(&["due_date"]))
        .put("finalized_at", transition("finalized_at", "finalized_at"))
        .put("paid_at", transition("paid_at", "paid_at"))
        .build()
}

/// The subscription moved under `parent` with 2025-03-31.basil.
fn subscription(invoice: Fields<'_>) -> Option<&str> {
    invoice
        .id(&["parent", "subscription_details", "subscription"])
        .or_else(|| invoice.id(&["subscription"]))
}

/// Before 2018-11-08 there was no status, only flags. A closed invoice is open: what was `closed` is `auto_advance=false`
/// since (<https://docs.stripe.com/changelog/2018-11-08/invoices-specify-auto-advance-field>).
fn status(invoice: Fields<'_>) -> Option<&str> {
    let flag = |name: &str| invoice.flag(&[name]) == Some(true);
    invoice.text(&["status"]).or_else(|| {
        invoice.flag(&["paid"])?;
        Some(match () {
            () if flag("paid") => "paid",
            () if flag("forgiven") => "uncollectible",
            () => "open",
        })
    })
}

/// Before `amount_paid` existed a paid invoice was paid in whole.
fn amount_paid(invoice: Fields<'_>) -> Option<i64> {
    invoice
        .integer(&["amount_paid"])
        .or_else(|| match invoice.flag(&["paid"])? {
            true => invoice.integer(&["amount_due"]),
            false => Some(0),
        })
}
