//! What was taken and given back, in minor units. Sums are of 128 bits, so that no number of amounts overflows them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// An amount of an object, 0 where it names none.
pub(crate) fn of(object: &Value, field: &str) -> i128 {
    object[field].as_i64().unwrap_or(0).into()
}

/// Whether the money of a charge was taken, not only authorised. Old charges do not say; they were captured.
pub(crate) fn is_captured(charge: &Value) -> bool {
    charge["captured"].as_bool() != Some(false)
}

/// What was taken of a charge.
pub(crate) fn captured(charge: &Value) -> i128 {
    of(charge, "amount") - released(charge)
}

/// What was authorised and let go. Stripe counts it as refunded
/// (<https://docs.stripe.com/payments/place-a-hold-on-a-payment-method#cancel-authorization>).
fn released(charge: &Value) -> i128 {
    let amount = of(charge, "amount");
    match charge["amount_captured"].as_i64() {
        _ if !is_captured(charge) => amount,
        Some(captured) => (amount - i128::from(captured)).max(0),
        None => 0,
    }
}

/// What was given back of one charge; without the charge, by the refunds alone. The charge's own figure may include
/// refunds that failed later, and may be older or newer than the refunds that are known.
pub(crate) fn refunded(charge: Option<&Value>, refunds: &[&Value]) -> i128 {
    let undone =
        |refund: &Value| is(refund, "status", "failed") || is(refund, "status", "canceled");
    let sum = |kept: &dyn Fn(&Value) -> bool| -> i128 {
        let kept = refunds.iter().filter(|refund| kept(refund));
        kept.map(|refund| of(refund, "amount")).sum()
    };
    let by_charge = charge.map_or(0, |charge| of(charge, "amount_refunded") - released(charge));
    let by_charge = by_charge.max(0);
    if sum(&|_| true) >= by_charge {
        sum(&|refund| !undone(refund))
    } else {
        (by_charge - sum(&undone)).max(0)
    }
}

/// What one currency adds up to.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    paid_invoices: i128,
    refunded: i128,
    lost_disputes: i128,
}

/// What the objects of a customer add up to, by currency.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByCurrency(BTreeMap<String, Totals>);

impl ByCurrency {
    pub(crate) fn of(
        invoices: &Map<String, Value>,
        charges: &Map<String, Value>,
        refunds: &Map<String, Value>,
        disputes: &Map<String, Value>,
    ) -> Self {
        let mut totals = BTreeMap::<String, Totals>::new();
        let currency = |object: &Value| object["currency"].as_str().unwrap_or("unknown").to_owned();
        for invoice in invoices
            .values()
            .filter(|invoice| is(invoice, "status", "paid"))
        {
            totals.entry(currency(invoice)).or_default().paid_invoices +=
                of(invoice, "amount_paid");
        }
        for dispute in disputes
            .values()
            .filter(|dispute| is(dispute, "status", "lost"))
        {
            totals.entry(currency(dispute)).or_default().lost_disputes += of(dispute, "amount");
        }
        for (id, refunds) in refunds_by_charge(charges, refunds) {
            let charge = charges.get(&id);
            let shown = charge.or_else(|| refunds.first().copied());
            let currency = shown.map_or_else(|| "unknown".to_owned(), currency);
            totals.entry(currency).or_default().refunded += refunded(charge, &refunds);
        }
        Self(totals)
    }

    /// The totals of each currency, as `totals` of the state.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let shown = self
            .0
            .iter()
            .map(|(currency, totals)| (currency.clone(), Value::Object(totals.to_json())));
        shown.collect()
    }

    /// The totals of the only currency. Amounts of several are never added: with them every total is null.
    pub(crate) fn plain(&self) -> Map<String, Value> {
        let mut plain = match self.0.values().next() {
            Some(totals) => totals.to_json(),
            None => Totals::default().to_json(),
        };
        if self.0.len() > 1 {
            plain.values_mut().for_each(|total| *total = Value::Null);
        }
        plain
    }
}

impl Totals {
    /// A total that is more than 64 bits hold is null.
    fn to_json(self) -> Map<String, Value> {
        let total =
            |amount: i128| i64::try_from(amount).map_or(Value::Null, |amount| json!(amount));
        Map::from_iter([
            ("paid_invoices_total".to_owned(), total(self.paid_invoices)),
            ("refunded_total".to_owned(), total(self.refunded)),
            ("lost_disputes_total".to_owned(), total(self.lost_disputes)),
        ])
    }
}

/// The refunds of each charge, and the charges without any. A refund that names only its payment intent
/// belongs to the charge of that intent; where the charge is not known, it stands for itself.
pub(crate) fn refunds_by_charge<'a>(
    charges: &'a Map<String, Value>,
    refunds: &'a Map<String, Value>,
) -> BTreeMap<String, Vec<&'a Value>> {
    let mut by_charge: BTreeMap<String, Vec<&Value>> =
        charges.keys().map(|id| (id.clone(), Vec::new())).collect();
    for (id, refund) in refunds {
        let charge = refund["charge"].as_str().or_else(|| {
            let intent = refund["payment_intent"].as_str()?;
            let mut of_intent = charges.iter().filter(|(_, charge)| {
                is(charge, "payment_intent", intent) && !is(charge, "status", "failed")
            });
            of_intent.next().map(|(id, _)| id.as_str())
        });
        by_charge
            .entry(charge.unwrap_or(id).to_owned())
            .or_default()
            .push(refund);
    }
    by_charge
}

fn is(object: &Value, field: &str, value: &str) -> bool {
    object[field].as_str() == Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(amount_refunded: i64) -> Map<String, Value> {
        let charge = json!({"amount": 1000, "amount_refunded": amount_refunded, "currency": "usd",
            "payment_intent": "pi_1", "status": "succeeded"});
        Map::from_iter([("ch_1".to_owned(), charge)])
    }

    fn refunds(list: &[(i64, &str)]) -> Map<String, Value> {
        let refund = |(i, (amount, status)): (usize, &(i64, &str))| {
            let refund = json!({"amount": amount, "status": status, "currency": "usd",
                "payment_intent": "pi_1"});
            (format!("re_{i}"), refund)
        };
        list.iter().enumerate().map(refund).collect()
    }

    #[test]
    fn refunds_are_counted_once_whichever_side_is_known() {
        let none = Map::new();
        let total = |charges: &Map<String, Value>, refunds: &Map<String, Value>| {
            let totals = ByCurrency::of(&none, charges, refunds, &none);
            totals.plain()["refunded_total"].as_i64().expect("a sum")
        };
        type Case<'a> = (i64, &'a [(i64, &'a str)], i64);
        let table: [Case<'_>; 7] = [
            (0, &[], 0),
            (500, &[], 500),
            (500, &[(500, "succeeded")], 500),
            (0, &[(500, "pending")], 500),
            (500, &[(500, "failed")], 0),
            (700, &[(500, "failed")], 200),
            (300, &[(300, "succeeded"), (300, "canceled")], 300),
        ];
        for (amount_refunded, list, wanted) in table {
            let got = total(&charge(amount_refunded), &refunds(list));
            assert_eq!(got, wanted, "{amount_refunded} with {list:?}");
        }
        assert_eq!(
            total(&none, &refunds(&[(500, "succeeded")])),
            500,
            "the charge is not known"
        );
    }

    #[test]
    fn what_was_only_authorised_is_no_refund() {
        let refunded = |charge: Value| refunded(Some(&charge), &[]);
        let released = json!({"amount": 4900, "captured": false, "amount_refunded": 4900});
        assert_eq!(refunded(released), 0);
        let in_part = json!({"amount": 4900, "captured": true, "amount_captured": 3000, "amount_refunded": 2400});
        assert_eq!(refunded(in_part.clone()), 500);
        assert_eq!(captured(&in_part), 3000);
        assert_eq!(
            refunded(json!({"amount": 4900, "amount_refunded": 100})),
            100
        );
    }

    #[test]
    fn amounts_of_several_currencies_are_not_added() {
        let none = Map::new();
        let invoice = |amount: i64, currency: &str| json!({"status": "paid", "amount_paid": amount, "currency": currency});
        let mut invoices = Map::from_iter([("in_1".to_owned(), invoice(8000, "jpy"))]);
        let totals = |invoices: &Map<_, _>| ByCurrency::of(invoices, &none, &none, &none);
        assert_eq!(totals(&invoices).plain()["paid_invoices_total"], 8000);
        invoices.insert("in_2".to_owned(), invoice(1500, "usd"));
        let both = totals(&invoices);
        assert_eq!(both.plain()["paid_invoices_total"], Value::Null);
        assert_eq!(both.plain()["refunded_total"], Value::Null);
        assert_eq!(both.to_json()["usd"]["paid_invoices_total"], 1500);
        assert_eq!(totals(&none).plain()["paid_invoices_total"], 0);
    }

    #[test]
    fn a_sum_that_does_not_fit_is_null() {
        let none = Map::new();
        let invoice = json!({"status": "paid", "amount_paid": i64::MAX, "currency": "usd"});
        let invoices = ["in_1", "in_2"].map(|id| (id.to_owned(), invoice.clone()));
        let totals = ByCurrency::of(&Map::from_iter(invoices), &none, &none, &none);
        assert_eq!(totals.plain()["paid_invoices_total"], Value::Null);
    }
}
