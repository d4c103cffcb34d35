//! Whether a customer may use the product, why, and until when.
//!
//! A pure function of the state, the time and the policy. Access follows the status of the best
//! subscription: a renewal event may come minutes after a period's end, so the clock alone takes nothing
//! away from an active one. The clock counts only where the state itself names a moment: a cancellation at
//! a date or at the period's end, and the grace of a payment that is overdue.

use serde_json::{Map, Value, json};

/// What a company decides about access. The defaults are the documented ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a customer whose payment is overdue keeps access, in days.
    pub grace_days: u32,
}

/// A week: Stripe's smart retries make most of their attempts within it.
pub const DEFAULT_GRACE_DAYS: u32 = 7;

impl Default for Policy {
    fn default() -> Self {
        Self {
            grace_days: DEFAULT_GRACE_DAYS,
        }
    }
}

/// The answer: whether, why, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether the customer may use the product.
    pub granted: bool,
    /// Why: a subscription's status, `past_due_grace`, `ended`, `customer_deleted` or `no_subscription`.
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

/// Says whether a customer with these subscriptions and invoices has access at `now` (Unix seconds).
/// Both maps go from id to the object's extract.
#[must_use]
pub fn access(
    deleted: bool,
    subscriptions: &Map<String, Value>,
    invoices: &Map<String, Value>,
    now: i64,
    policy: Policy,
) -> Access {
    if deleted {
        return Access::none("customer_deleted");
    }
    let answers = subscriptions.iter().map(|(id, subscription)| {
        let answer = subscription_access(id, subscription, invoices, now, policy);
        (answer, status_place(subscription))
    });
    // Granted first, then the best status, then the one that lasts longest, then by id.
    let best = answers.min_by_key(|(answer, place)| {
        let lasting = std::cmp::Reverse(answer.until);
        (
            !answer.granted,
            *place,
            lasting,
            answer.subscription.clone(),
        )
    });
    best.map_or_else(|| Access::none("no_subscription"), |(answer, _)| answer)
}

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
    policy: Policy,
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
    policy: Policy,
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
    start.checked_add(i64::from(policy.grace_days) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn ask(subscription: Value, invoices: Value, now: i64) -> Access {
        let subscriptions = Map::from_iter([("sub_1".to_owned(), subscription)]);
        let invoices = invoices.as_object().cloned().unwrap_or_default();
        access(false, &subscriptions, &invoices, now, Policy::default())
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
        let subscriptions = json!({
            "sub_1": {"status": "canceled"},
            "sub_2": {"status": "trialing", "current_period_end": 9},
            "sub_3": {"status": "trialing", "current_period_end": 10},
        });
        let subscriptions = subscriptions.as_object().cloned().unwrap_or_default();
        let ask = |deleted| access(deleted, &subscriptions, &Map::new(), 0, Policy::default());
        assert_eq!(ask(false).subscription.as_deref(), Some("sub_3"));
        assert_eq!(ask(true).reason, "customer_deleted");
    }
}
