//! Whether a customer may use the product, why, and until when.
//!
//! A pure function of the state, the time and the policy. Access follows the status of the best
//! subscription: a renewal event may come minutes after a period's end, so the clock alone takes nothing
//! away from an active one. The clock counts only where the state itself names a moment: a cancellation at
//! a date or at the period's end, the grace of a payment that is overdue, and a one-off purchase.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// What a company decides about access. The defaults are the documented ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a customer whose payment is overdue keeps access, in days.
    pub grace_days: u32,
    /// How long a one-off purchase by checkout gives access, in days from the session's creation; none is for
    /// ever, 0 is not at all.
    pub purchase_days: Option<u32>,
    /// Whether a customer who won a dispute against us has no access any more.
    pub lost_dispute_denies: bool,
    /// What each plan entitles to, while a subscription to it gives access: from a price, a product or a lookup key
    /// to the features. They come on top of what Stripe's entitlements say.
    pub plan_features: BTreeMap<String, Vec<String>>,
}

/// A week: Stripe's smart retries make most of their attempts within it.
pub const DEFAULT_GRACE_DAYS: u32 = 7;

impl Default for Policy {
    fn default() -> Self {
        Self {
            grace_days: DEFAULT_GRACE_DAYS,
            purchase_days: None,
            lost_dispute_denies: false,
            plan_features: BTreeMap::new(),
        }
    }
}

/// What is known of a customer, as far as access rests on it. The maps go from id to the object's extract.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Whether the customer was deleted.
    pub deleted: bool,
    /// The subscriptions.
    pub subscriptions: &'a Map<String, Value>,
    /// The invoices.
    pub invoices: &'a Map<String, Value>,
    /// The checkout sessions.
    pub checkout_sessions: &'a Map<String, Value>,
    /// The charges.
    pub charges: &'a Map<String, Value>,
    /// The disputes.
    pub disputes: &'a Map<String, Value>,
}

/// The answer: whether, why, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether the customer may use the product.
    pub granted: bool,
    /// Why: a subscription's status, `past_due_grace`, `ended`, `purchase`,
    /// `purchase_ended`, `dispute_lost`, `customer_deleted` or `no_subscription`.
    pub reason: String,
    /// Until when this answer is expected to hold, in Unix seconds. Information, not a deadline.
    pub until: Option<i64>,
    /// The subscription that the answer rests on.
    pub subscription: Option<String>,
}

impl Access {
    /// The answer as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "granted": self.granted,
            "reason": self.reason,
            "until": self.until,
            "subscription": self.subscription,
        })
    }

    fn none(reason: &str) -> Self {
        Self {
            granted: false,
            reason: reason.to_owned(),
            until: None,
            subscription: None,
        }
    }
}

/// The statuses of a subscription from the best to the worst.
pub const STATUSES_BEST_FIRST: [&str; 8] = [
    "active",
    "trialing",
    "past_due",
    "unpaid",
    "paused",
    "incomplete",
    "canceled",
    "incomplete_expired",
];

/// Says whether a customer has access at `now` (Unix seconds).
#[must_use]
pub fn access(known: Known<'_>, now: i64, policy: &Policy) -> Access {
    if known.deleted {
        return Access::none("customer_deleted");
    }
    let lost = |dispute: &Value| dispute["status"].as_str() == Some("lost");
    if policy.lost_dispute_denies && known.disputes.values().any(lost) {
        return Access::none("dispute_lost");
    }
    let subscriptions = known.subscriptions.iter().map(|(id, subscription)| {
        let answer = subscription_access(id, subscription, known.invoices, now, policy);
        (answer, status_place(subscription))
    });
    let purchases = known.checkout_sessions.values().filter_map(|session| {
        let answer = purchase_access(session, known.charges, now, policy)?;
        Some((answer, STATUSES_BEST_FIRST.len()))
    });
    // Granted first, then the best status, then the one that lasts longest, then by id.
    let best = subscriptions
        .chain(purchases)
        .min_by_key(|(answer, place)| {
            let lasting = Reverse(answer.until.unwrap_or(i64::MAX));
            (
                !answer.granted,
                *place,
                lasting,
                answer.subscription.clone(),
            )
        });
    best.map_or_else(|| Access::none("no_subscription"), |(answer, _)| answer)
}

/// The features that the plans of a customer entitle to at `now` (Unix seconds).
#[must_use]
pub fn plan_features(known: Known<'_>, now: i64, policy: &Policy) -> BTreeSet<String> {
    if policy.plan_features.is_empty() || !access(known, now, policy).granted {
        return BTreeSet::new();
    }
    let granting = known.subscriptions.iter().filter(|(id, subscription)| {
        subscription_access(id, subscription, known.invoices, now, policy).granted
    });
    let items = granting
        .filter_map(|(_, subscription)| subscription["items"].as_array())
        .flatten();
    let names = items.flat_map(|item| {
        ["price", "product", "lookup_key"]
            .into_iter()
            .filter_map(|field| item[field].as_str())
    });
    names
        .filter_map(|name| policy.plan_features.get(name))
        .flatten()
        .cloned()
        .collect()
}

/// What a one-off purchase by checkout gives: access from the session's creation, as long as the policy says, unless
/// it was refunded in whole. A session that sold a subscription, or was not paid, gives nothing by itself.
fn purchase_access(
    session: &Value,
    charges: &Map<String, Value>,
    now: i64,
    policy: &Policy,
) -> Option<Access> {
    let is = |field: &str, value: &str| session[field].as_str() == Some(value);
    let paid = is("payment_status", "paid") || is("payment_status", "no_payment_required");
    if !is("mode", "payment")
        || !is("status", "complete")
        || !paid
        || policy.purchase_days == Some(0)
    {
        return None;
    }
    let intent = session["payment_intent"].as_str();
    let refunded = |charge: &Value| {
        let amount = charge["amount"].as_i64().unwrap_or(0);
        amount > 0 && charge["amount_refunded"].as_i64().unwrap_or(0) >= amount
    };
    let mut paid_by = charges
        .values()
        .filter(|charge| intent.is_some() && charge["payment_intent"].as_str() == intent);
    if paid_by.any(refunded) {
        return None;
    }
    let until = match policy.purchase_days {
        Some(days) => Some(
            session["created"]
                .as_i64()?
                .checked_add(i64::from(days) * SECONDS_PER_DAY)?,
        ),
        None => None,
    };
    let granted = until.is_none_or(|until| until > now);
    let reason = if granted {
        "purchase"
    } else {
        "purchase_ended"
    };
    Some(Access {
        granted,
        reason: reason.to_owned(),
        until,
        subscription: None,
    })
}

const SECONDS_PER_DAY: i64 = 86_400;

/// The place of a subscription's status among all, the best first; unknown ones come last.
#[must_use]
pub fn status_place(subscription: &Value) -> usize {
    let status = subscription["status"].as_str();
    STATUSES_BEST_FIRST
        .iter()
        .position(|name| Some(*name) == status)
        .unwrap_or(STATUSES_BEST_FIRST.len())
}

fn subscription_access(
    id: &str,
    subscription: &Value,
    invoices: &Map<String, Value>,
    now: i64,
    policy: &Policy,
) -> Access {
    let status = subscription["status"].as_str().unwrap_or("unknown");
    let answer = |granted: bool, reason: &str, until: Option<i64>| Access {
        granted,
        reason: reason.to_owned(),
        until,
        subscription: Some(id.to_owned()),
    };
    let ends_at = end_of(subscription);
    if matches!(status, "active" | "trialing" | "past_due") && ends_at.is_some_and(|at| at <= now) {
        return answer(false, "ended", ends_at);
    }
    match status {
        "active" | "trialing" => {
            let period_end = subscription["current_period_end"].as_i64();
            answer(true, status, ends_at.or(period_end))
        }
        "past_due" => {
            let grace_end = grace_end(id, subscription, invoices, policy);
            match grace_end {
                Some(end) if end > now => answer(true, "past_due_grace", Some(end)),
                _ => answer(false, "past_due", grace_end),
            }
        }
        _ => answer(false, status, None),
    }
}

/// When the subscription is to end, where that is settled.
fn end_of(subscription: &Value) -> Option<i64> {
    let at_period_end = subscription["cancel_at_period_end"].as_bool() == Some(true);
    let period_end = subscription["current_period_end"]
        .as_i64()
        .filter(|_| at_period_end);
    subscription["cancel_at"].as_i64().or(period_end)
}

/// The end of the grace: so many days after the oldest open invoice became due for payment. No fact is
/// kept for it, so it is the same in whatever order the events came. Where no open invoice is known,
/// the overdue payment is that of the current period.
fn grace_end(
    id: &str,
    subscription: &Value,
    invoices: &Map<String, Value>,
    policy: &Policy,
) -> Option<i64> {
    let open = invoices.values().filter(|invoice| {
        invoice["status"].as_str() == Some("open") && invoice["subscription"].as_str() == Some(id)
    });
    let finalized = open.filter_map(|invoice| {
        invoice["finalized_at"]
            .as_i64()
            .or_else(|| invoice["created"].as_i64())
    });
    let items = subscription["items"].as_array();
    let period_start = || {
        let starts = items?
            .iter()
            .filter_map(|item| item["current_period_start"].as_i64());
        starts.max()
    };
    let start = finalized.min().or_else(period_start)?;
    start.checked_add(i64::from(policy.grace_days) * SECONDS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    /// Asks about a customer who is described by JSON, in the form that the state shows.
    fn ask_about(customer: &Value, now: i64, policy: &Policy) -> Access {
        let objects = |name: &str| customer[name].as_object().cloned().unwrap_or_default();
        let known = Known {
            deleted: customer["deleted"] == true,
            subscriptions: &objects("subscriptions"),
            invoices: &objects("invoices"),
            checkout_sessions: &objects("checkout_sessions"),
            charges: &objects("charges"),
            disputes: &objects("disputes"),
        };
        access(known, now, policy)
    }

    fn ask(subscription: Value, invoices: Value, now: i64) -> Access {
        let customer = json!({"subscriptions": {"sub_1": subscription}, "invoices": invoices});
        ask_about(&customer, now, &Policy::default())
    }

    #[test]
    fn an_active_subscription_grants_even_after_its_period() {
        let answer = ask(
            json!({"status": "active", "current_period_end": 100}),
            json!({}),
            200,
        );
        assert!(answer.granted);
        assert_eq!(
            (answer.reason.as_str(), answer.until),
            ("active", Some(100))
        );
    }

    #[test]
    fn a_cancellation_at_period_end_ends_with_the_period() {
        let subscription =
            json!({"status": "active", "cancel_at_period_end": true, "current_period_end": 100});
        assert!(ask(subscription.clone(), json!({}), 99).granted);
        let answer = ask(subscription, json!({}), 100);
        assert_eq!((answer.granted, answer.reason.as_str()), (false, "ended"));
    }

    #[test]
    fn grace_runs_from_the_oldest_open_invoice() {
        let invoices = json!({
            "in_1": {"status": "open", "subscription": "sub_1", "finalized_at": 2 * DAY},
            "in_2": {"status": "open", "subscription": "sub_1", "finalized_at": DAY},
            "in_3": {"status": "paid", "subscription": "sub_1", "finalized_at": 0},
            "in_4": {"status": "open", "subscription": "sub_2", "finalized_at": 0},
        });
        let at = |now| ask(json!({"status": "past_due"}), invoices.clone(), now);
        let answer = at(8 * DAY - 1);
        assert_eq!(
            (answer.granted, answer.reason.as_str()),
            (true, "past_due_grace")
        );
        assert_eq!(answer.until, Some(8 * DAY));
        assert_eq!(at(8 * DAY).reason, "past_due");
    }

    #[test]
    fn every_other_status_denies_by_its_own_name() {
        for status in [
            "unpaid",
            "paused",
            "incomplete",
            "canceled",
            "incomplete_expired",
            "new",
        ] {
            let answer = ask(json!({"status": status}), json!({}), 0);
            assert_eq!((answer.granted, answer.reason.as_str()), (false, status));
        }
    }

    #[test]
    fn the_best_subscription_answers() {
        let mut customer = json!({"subscriptions": {
            "sub_1": {"status": "canceled"},
            "sub_2": {"status": "trialing", "current_period_end": 9},
            "sub_3": {"status": "trialing", "current_period_end": 10},
        }});
        let ask = |customer: &Value| ask_about(customer, 0, &Policy::default());
        assert_eq!(ask(&customer).subscription.as_deref(), Some("sub_3"));
        customer["deleted"] = json!(true);
        assert_eq!(ask(&customer).reason, "customer_deleted");
    }

    #[test]
    fn a_one_off_purchase_grants_as_long_as_the_policy_says() {
        let mut customer = json!({"checkout_sessions": {"cs_1": {"mode": "payment", "status": "complete",
            "payment_status": "paid", "payment_intent": "pi_1", "created": DAY}}});
        let ask = |customer: &Value, days: Option<u32>, now| {
            let policy = Policy {
                purchase_days: days,
                ..Policy::default()
            };
            let answer = ask_about(customer, now, &policy);
            (answer.granted, answer.reason)
        };
        let answer = |granted: bool, reason: &str| (granted, reason.to_owned());
        assert_eq!(ask(&customer, None, 1000 * DAY), answer(true, "purchase"));
        assert_eq!(
            ask(&customer, Some(30), 31 * DAY - 1),
            answer(true, "purchase")
        );
        assert_eq!(
            ask(&customer, Some(30), 31 * DAY),
            answer(false, "purchase_ended")
        );
        assert_eq!(ask(&customer, Some(0), 0), answer(false, "no_subscription"));
        customer["charges"] =
            json!({"ch_1": {"payment_intent": "pi_1", "amount": 5, "amount_refunded": 5}});
        assert_eq!(ask(&customer, None, 0), answer(false, "no_subscription"));
        customer["checkout_sessions"]["cs_1"]["payment_status"] = json!("unpaid");
        customer["charges"] = json!({});
        assert_eq!(ask(&customer, None, 0), answer(false, "no_subscription"));
    }

    #[test]
    fn a_lost_dispute_denies_only_where_the_policy_says_so() {
        let customer = json!({"subscriptions": {"sub_1": {"status": "active"}},
            "disputes": {"dp_1": {"status": "lost"}}});
        assert!(ask_about(&customer, 0, &Policy::default()).granted);
        let policy = Policy {
            lost_dispute_denies: true,
            ..Policy::default()
        };
        assert_eq!(ask_about(&customer, 0, &policy).reason, "dispute_lost");
    }

    #[test]
    fn a_plan_entitles_only_while_its_subscription_gives_access() {
        let features = |status: &str| {
            let item = |name: &str, value: &str| json!({ name: value });
            let items = [
                item("price", "price_1"),
                item("product", "prod_2"),
                item("lookup_key", "x"),
            ];
            let subscriptions = Map::from_iter([(
                "sub_1".to_owned(),
                json!({"status": status, "items": items}),
            )]);
            let none = Map::new();
            let known = Known {
                deleted: false,
                subscriptions: &subscriptions,
                invoices: &none,
                checkout_sessions: &none,
                charges: &none,
                disputes: &none,
            };
            let plans = [("price_1", "api"), ("prod_2", "sso"), ("price_3", "other")];
            let plans = plans.map(|(plan, feature)| (plan.to_owned(), vec![feature.to_owned()]));
            let policy = Policy {
                plan_features: plans.into(),
                ..Policy::default()
            };
            plan_features(known, 0, &policy)
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(features("active"), ["api", "sso"]);
        assert_eq!(features("canceled"), [""; 0]);
    }
}
