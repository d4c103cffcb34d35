//! A customer's state for people.

use billhook_core::time::date_time;
use serde_json::Value;

/// The state as lines of a table: one object a line, money in minor units with its currency.
pub(crate) fn state(state: &Value) -> Vec<String> {
    let mut lines = vec![header(state), access(&state["access"])];
    let rows: Vec<[String; 4]> = SECTIONS
        .iter()
        .flat_map(|section| section.rows(state))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (kind, id, status) = (width(0), width(1), width(2));
    lines.push(String::new());
    lines.extend(rows.iter().map(|row| {
        let line = format!(
            "{:kind$}  {:id$}  {:status$}  {}",
            row[0], row[1], row[2], row[3]
        );
        line.trim_end().to_owned()
    }));
    lines.push(String::new());
    lines.extend(totals(state));
    lines
}

fn header(state: &Value) -> String {
    let text = |name: &str| state[name].as_str().unwrap_or("-").to_owned();
    let deleted = if state["deleted"] == true {
        ", deleted"
    } else {
        ""
    };
    let live = if state["livemode"] == true {
        "live"
    } else {
        "test"
    };
    format!(
        "{} ({}), {} {live}{deleted}",
        text("customer"),
        text("email"),
        text("source")
    )
}

fn access(access: &Value) -> String {
    let granted = if access["granted"] == true {
        "granted"
    } else {
        "denied"
    };
    let reason = access["reason"].as_str().unwrap_or("-");
    let until = access["until"]
        .as_i64()
        .map(|at| format!(", until {}", date_time(at)));
    format!("access {granted}: {reason}{}", until.unwrap_or_default())
}

/// The objects of one kind, and what is said of each.
struct Section {
    field: &'static str,
    kind: &'static str,
    detail: fn(&Value) -> String,
}

const SECTIONS: &[Section] = &[
    Section {
        field: "subscriptions",
        kind: "subscription",
        detail: subscription,
    },
    Section {
        field: "invoices",
        kind: "invoice",
        detail: invoice,
    },
    Section {
        field: "charges",
        kind: "charge",
        detail: charge,
    },
    Section {
        field: "refunds",
        kind: "refund",
        detail: of_charge,
    },
    Section {
        field: "disputes",
        kind: "dispute",
        detail: of_charge,
    },
    Section {
        field: "credit_notes",
        kind: "credit note",
        detail: |note| money(note, "amount"),
    },
    Section {
        field: "checkout_sessions",
        kind: "checkout",
        detail: checkout,
    },
];

impl Section {
    fn rows(&self, state: &Value) -> Vec<[String; 4]> {
        let objects = state[self.field].as_object().into_iter().flatten();
        let row = |(id, object): (&String, &Value)| {
            let status = object["status"].as_str().unwrap_or("-");
            [
                self.kind.to_owned(),
                id.clone(),
                status.to_owned(),
                (self.detail)(object),
            ]
        };
        objects.map(row).collect()
    }
}

fn subscription(subscription: &Value) -> String {
    let items = subscription["items"].as_array().into_iter().flatten();
    let item = |item: &Value| {
        let name = item["lookup_key"]
            .as_str()
            .or_else(|| item["price"].as_str())
            .unwrap_or("-");
        // A metered item has none.
        match item["quantity"].as_i64() {
            Some(quantity) => format!("{quantity} x {name}"),
            None => name.to_owned(),
        }
    };
    let mut text = items.map(item).collect::<Vec<_>>().join(" + ");
    if let Some(end) = subscription["current_period_end"].as_i64() {
        text.push_str(&format!(", period ends {}", date_time(end)));
    }
    if let Some(at) = subscription["cancel_at"].as_i64() {
        text.push_str(&format!(", cancels {}", date_time(at)));
    } else if subscription["cancel_at_period_end"] == true {
        text.push_str(", cancels at period end");
    }
    text
}

fn invoice(invoice: &Value) -> String {
    format!(
        "{} paid of {}",
        money(invoice, "amount_paid"),
        money(invoice, "amount_due")
    )
}

fn charge(charge: &Value) -> String {
    match charge["amount_refunded"].as_i64() {
        Some(refunded) if refunded > 0 => {
            format!(
                "{}, {} refunded",
                money(charge, "amount"),
                money(charge, "amount_refunded")
            )
        }
        _ => money(charge, "amount"),
    }
}

fn of_charge(object: &Value) -> String {
    let charge = object["charge"]
        .as_str()
        .or_else(|| object["payment_intent"].as_str());
    format!("{} of {}", money(object, "amount"), charge.unwrap_or("-"))
}

fn checkout(session: &Value) -> String {
    let text = |name: &str| session[name].as_str().unwrap_or("-").to_owned();
    format!(
        "{}, {}, for {}",
        text("mode"),
        text("payment_status"),
        text("client_reference_id")
    )
}

/// An amount in minor units and its currency, for instance `1500 usd`.
fn money(object: &Value, field: &str) -> String {
    let amount = object[field]
        .as_i64()
        .map_or("-".to_owned(), |amount| amount.to_string());
    match object["currency"].as_str() {
        Some(currency) => format!("{amount} {currency}"),
        None => amount,
    }
}

fn totals(state: &Value) -> Vec<String> {
    let of = |totals: &Value, name: &str| totals[name].as_i64().unwrap_or(0);
    let totals = state["totals"].as_object().into_iter().flatten();
    let mut lines: Vec<String> = totals
        .map(|(currency, totals)| {
            format!(
                "total  {} {currency} paid, {} refunded, {} lost in disputes",
                of(totals, "paid_invoices_total"),
                of(totals, "refunded_total"),
                of(totals, "lost_disputes_total"),
            )
        })
        .collect();
    let used = state["usage"].as_object().into_iter().flatten();
    lines.extend(used.map(|(metric, quantity)| format!("used   {quantity} {metric}")));
    let features: Vec<&str> = state["entitlements"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !features.is_empty() {
        lines.push(format!("entitled to {}", features.join(", ")));
    }
    lines
}
