//! Whether a customer may use the product, why, and until when.
//!
//! A pure function of the state, the time and the policy. Access follows the status of the best
//! subscription: a renewal event may come minutes after a period's end, so the clock alone takes nothing
//! away from an active one. The clock counts only where the state itself names a moment: a cancellation at
//! a date or at the period's end, the grace of a payment that is overdue, and a one-off purchase. It only ever takes
//! away, and only once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::money;

/// What a company decides about access. The defaults are the documented ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a customer whose payment is overdue keeps access, in days.
    pub grace_days: u32,
    /// What a one-off purchase by checkout gives.
    pub purchases: Purchases,
    /// Whether a dispute that was lost takes away what the customer began before it.
    pub lost_dispute_denies: bool,
    /// What each plan entitles to, while a subscription to it gives access: from a price, a product or a lookup key
    /// to the features. They come on top of what Stripe's entitlements say.
    pub plan_features: BTreeMap<String, Vec<String>>,
}

/// What a one-off purchase by checkout gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purchases {
    /// Nothing: credits, say, or goods.
    #[default]
    GrantNothing,
    /// Access for ever.
    GrantForEver,
    /// Access for so many days from when it was paid.
    GrantDays(u32),
}

/// A week: Stripe's smart retries make most of their attempts within it.
pub const DEFAULT_GRACE_DAYS: u32 = 7;

impl Default for Policy {
    fn default() -> Self {
        Self {
            grace_days: DEFAULT_GRACE_DAYS,
            purchases: Purchases::default(),
            lost_dispute_denies: false,
            plan_features: BTreeMap::new(),
        }
    }
}

/// What is known of a customer, as far as access rests on it. The maps go from id to the object as the state shows it.
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
    /// The refunds.
    pub refunds: &'a Map<String, Value>,
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
    /// The moment at which the clock alone ends all access, in Unix seconds. Without one, the end of the current period of
    /// the subscription that answers, which is information and no deadline. None where access is denied.
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

/// What one subscription or purchase says about access, for all of the future.
#[derive(Clone, Debug)]
struct Claim<'a> {
    id: &'a str,
    subscription: Option<&'a Value>,
    /// Its place among all, the best first.
    place: usize,
    /// Why it grants; none if it denies now and later.
    grants: Option<&'static str>,
    /// When the clock ends that, and the reason from then on.
    end: Option<(i64, &'static str)>,
    /// Why it denies if it never grants.
    denies: &'a str,
}

impl Claim<'_> {
    fn granted(&self, now: i64) -> bool {
        self.grants.is_some() && self.end.is_none_or(|(end, _)| end > now)
    }

    fn reason(&self, now: i64) -> &str {
        match (self.grants, self.end) {
            (Some(_), Some((end, reason))) if end <= now => reason,
            (Some(reason), _) => reason,
            (None, _) => self.denies,
        }
    }

    /// The moment at which the clock ends it; none is the latest.
    fn ends_at(&self) -> Option<i64> {
        self.grants.and(self.end).map(|(end, _)| end)
    }
}

/// Says whether a customer has access at `now` (Unix seconds).
#[must_use]
pub fn access(known: Known<'_>, now: i64, policy: &Policy) -> Access {
    if known.deleted {
        return Access::none("customer_deleted");
    }
    let claims = claims(known, policy);
    let lasting = |end: Option<i64>| end.unwrap_or(i64::MAX);
    // Granting before denying, then the best status, then the one that lasts longest, then by id.
    let best = claims.iter().min_by_key(|claim| {
        let lasts = Reverse(lasting(claim.ends_at()));
        (!claim.granted(now), claim.place, lasts, claim.id)
    });
    let Some(best) = best else {
        return Access::none("no_subscription");
    };
    let granting = claims.iter().filter(|claim| claim.granted(now));
    let last_end = granting.map(|claim| lasting(claim.ends_at())).max();
    let ends_at = last_end.filter(|end| *end < i64::MAX);
    let renews_at = || best.subscription?["current_period_end"].as_i64();
    let granted = best.granted(now);
    Access {
        granted,
        reason: best.reason(now).to_owned(),
        until: ends_at.or_else(renews_at).filter(|_| granted),
        subscription: best.subscription.map(|_| best.id.to_owned()),
    }
}

/// The features that the plans of a customer entitle to at `now` (Unix seconds).
#[must_use]
pub fn plan_features(known: Known<'_>, now: i64, policy: &Policy) -> BTreeSet<String> {
    if policy.plan_features.is_empty() || known.deleted {
        return BTreeSet::new();
    }
    let claims = claims(known, policy);
    let granting = claims.iter().filter(|claim| claim.granted(now));
    let items = granting
        .filter_map(|claim| claim.subscription?["items"].as_array())
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

/// Whether the state shows that a customer had access at some time, so that a product may have given it.
///
/// A subscription whose first payment never came, and a customer who never bought anything, had none.
#[must_use]
pub fn ever_had(known: Known<'_>) -> bool {
    let began = |(id, subscription): (&String, &Value)| match text(subscription, "status") {
        "incomplete" | "incomplete_expired" => false,
        "canceled" => {
            let own = known.invoices.values().filter(|i| belongs_to(i, id));
            // Where that is not known, it may have: a revocation is rather told once too often than never.
            let lasted = seconds(subscription, "ended_at")
                .zip(seconds(subscription, "created"))
                .is_none_or(|(end, start)| end.saturating_sub(start) > INCOMPLETE_FOR_AT_MOST);
            lasted
                || seconds(subscription, "trial_end").is_some()
                || own.filter(|i| text(i, "status") == "paid").count() > 0
        }
        _ => true,
    };
    known.subscriptions.iter().any(began)
        || known
            .checkout_sessions
            .values()
            .any(|s| purchase(s, known).is_some())
}

/// Stripe lets a subscription whose first payment does not come expire after 23 hours
/// (<https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses>).
const INCOMPLETE_FOR_AT_MOST: i64 = 23 * 3600;

fn claims<'a>(known: Known<'a>, policy: &Policy) -> Vec<Claim<'a>> {
    let losses = match policy.lost_dispute_denies {
        true => known.disputes.values().filter_map(Loss::of).collect(),
        false => Vec::new(),
    };
    let subscriptions = known.subscriptions.iter().map(|(id, subscription)| {
        let claim = subscription_claim(id, subscription, known, policy);
        let begun = seconds(subscription, "created");
        let made_good = |loss: &Loss| {
            let own = known.invoices.values().filter(|i| belongs_to(i, id));
            let paid = own.filter(|i| amount(i) > 0 && text(i, "status") == "paid");
            paid.filter_map(|i| seconds(i, "paid_at"))
                .any(|at| at > loss.lost_at)
        };
        denied_by(claim, begun, losses.iter().filter(|loss| !made_good(loss)))
    });
    let purchases = known.checkout_sessions.iter().filter_map(|(id, session)| {
        let Purchase { paid_at, is_undone } = purchase(session, known)?;
        let end = match policy.purchases {
            Purchases::GrantNothing => return None,
            Purchases::GrantForEver => None,
            Purchases::GrantDays(days) => Some((after(paid_at?, days), "purchase_ended")),
        };
        let claim = Claim {
            id,
            subscription: None,
            place: STATUSES_BEST_FIRST.len(),
            grants: (!is_undone).then_some("purchase"),
            end,
            denies: "purchase_ended",
        };
        Some(denied_by(claim, paid_at, losses.iter()))
    });
    subscriptions.chain(purchases).collect()
}

/// A dispute that was lost.
#[derive(Clone, Copy, Debug)]
struct Loss {
    opened_at: i64,
    lost_at: i64,
}

impl Loss {
    fn of(dispute: &Value) -> Option<Self> {
        if text(dispute, "status") != "lost" {
            return None;
        }
        let opened_at = seconds(dispute, "created");
        // A snapshot alone does not say when; it was not before the dispute was opened.
        let lost_at = seconds(dispute, "first_lost_at").or(opened_at);
        Some(Self {
            opened_at: opened_at.unwrap_or(i64::MAX),
            lost_at: lost_at.unwrap_or(i64::MIN),
        })
    }
}

/// A claim that began before one of these disputes was opened grants nothing.
fn denied_by<'a, 'l>(
    claim: Claim<'a>,
    begun: Option<i64>,
    mut losses: impl Iterator<Item = &'l Loss>,
) -> Claim<'a> {
    let is_before = |loss: &Loss| begun.is_none_or(|begun| begun < loss.opened_at);
    if claim.grants.is_none() || !losses.any(is_before) {
        return claim;
    }
    Claim {
        grants: None,
        denies: "dispute_lost",
        ..claim
    }
}

/// A one-off purchase by checkout that was paid.
struct Purchase {
    /// When it was first paid.
    paid_at: Option<i64>,
    /// Whether the money was given back, by refunds or lost disputes.
    is_undone: bool,
}

/// What a session bought: complete, in mode payment, and paid or free; or its payment intent has been charged, as by a
/// later capture.
fn purchase(session: &Value, known: Known<'_>) -> Option<Purchase> {
    if text(session, "mode") != "payment" || text(session, "status") != "complete" {
        return None;
    }
    let intent = session["payment_intent"].as_str();
    let of_intent =
        |object: &Value| intent.is_some() && object["payment_intent"].as_str() == intent;
    let charges = known.charges.iter().filter(|(_, charge)| of_intent(charge));
    let paid_by: Vec<_> = charges
        .filter(|(_, charge)| text(charge, "status") == "succeeded" && money::is_captured(charge))
        .collect();
    let is_paid = matches!(
        text(session, "payment_status"),
        "paid" | "no_payment_required"
    );
    if !is_paid && paid_by.is_empty() {
        return None;
    }
    let charged_at = paid_by
        .iter()
        .filter_map(|(_, charge)| seconds(charge, "created"))
        .min();
    let paid_at = seconds(session, "first_paid_at")
        .or(charged_at)
        .or_else(|| seconds(session, "created"));

    let by_charge = money::refunds_by_charge(known.charges, known.refunds);
    let of_charge = |id: &str| by_charge.get(id).map(Vec::as_slice).unwrap_or_default();
    let refunded: i128 = match &paid_by[..] {
        [] => {
            let refunds = known.refunds.values().filter(|refund| of_intent(refund));
            money::refunded(None, &refunds.collect::<Vec<_>>())
        }
        charges => {
            let each = charges.iter();
            each.map(|(id, charge)| money::refunded(Some(charge), of_charge(id)))
                .sum()
        }
    };
    let is_theirs = |dispute: &&Value| {
        let charge = dispute["charge"].as_str();
        of_intent(dispute) || paid_by.iter().any(|(id, _)| Some(id.as_str()) == charge)
    };
    let is_lost = |dispute: &&Value| {
        let status = text(dispute, "status");
        status == "lost" || status.starts_with("appeal_")
    };
    let disputes = known.disputes.values().filter(is_theirs).filter(is_lost);
    let lost: i128 = disputes.map(|dispute| money::of(dispute, "amount")).sum();
    let captured: i128 = match &paid_by[..] {
        [] => money::of(session, "amount_total"),
        charges => charges
            .iter()
            .map(|(_, charge)| money::captured(charge))
            .sum(),
    };
    Some(Purchase {
        paid_at,
        is_undone: captured > 0 && refunded + lost >= captured,
    })
}

const SECONDS_PER_DAY: i64 = 86_400;

fn after(second: i64, days: u32) -> i64 {
    second.saturating_add(i64::from(days) * SECONDS_PER_DAY)
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn seconds(object: &Value, field: &str) -> Option<i64> {
    object[field].as_i64()
}

fn amount(invoice: &Value) -> i64 {
    invoice["amount_paid"].as_i64().unwrap_or(0)
}

fn belongs_to(invoice: &Value, subscription: &str) -> bool {
    text(invoice, "subscription") == subscription
}

/// The place of a subscription's status among all, the best first; unknown ones come last.
#[must_use]
pub fn status_place(subscription: &Value) -> usize {
    place_of(text(subscription, "status"))
}

fn place_of(status: &str) -> usize {
    let place = STATUSES_BEST_FIRST.iter().position(|name| *name == status);
    place.unwrap_or(STATUSES_BEST_FIRST.len())
}

fn subscription_claim<'a>(
    id: &'a str,
    subscription: &'a Value,
    known: Known<'a>,
    policy: &Policy,
) -> Claim<'a> {
    let own = Invoices::of(id, subscription, known.invoices);
    let status = match text(subscription, "status") {
        "" => "unknown",
        // Its update is late or lost: the status follows the newest invoice.
        "past_due" if own.latest_is_paid() => "active",
        status => status,
    };
    let cancellation = end_of(subscription).map(|end| (end, "ended"));
    let grace = || {
        own.grace_begins(subscription)
            .map(|at| (after(at, policy.grace_days), "past_due"))
    };
    let (grants, end) = match status {
        "active" => (Some("active"), cancellation),
        "trialing" => (Some("trialing"), cancellation),
        // Where nothing says since when it is overdue, there is no grace.
        "past_due" => match grace() {
            Some(grace) => (
                Some("past_due_grace"),
                cancellation.into_iter().chain([grace]).min(),
            ),
            None => (None, None),
        },
        _ => (None, None),
    };
    Claim {
        id,
        subscription: Some(subscription),
        place: place_of(status),
        grants,
        end,
        denies: status,
    }
}

/// When the subscription is to end, where that is settled.
fn end_of(subscription: &Value) -> Option<i64> {
    let at_period_end = subscription["cancel_at_period_end"].as_bool() == Some(true);
    let period_end = seconds(subscription, "current_period_end").filter(|_| at_period_end);
    seconds(subscription, "cancel_at").or(period_end)
}

/// The invoices of one subscription.
struct Invoices<'a> {
    own: Vec<&'a Value>,
    /// The one that the subscription calls its latest, if it is known.
    latest: Option<&'a Value>,
}

impl<'a> Invoices<'a> {
    fn of(id: &str, subscription: &Value, invoices: &'a Map<String, Value>) -> Self {
        let own = invoices.values().filter(|invoice| belongs_to(invoice, id));
        let latest = subscription["latest_invoice"].as_str();
        Self {
            own: own.collect(),
            latest: latest.and_then(|latest| invoices.get(latest)),
        }
    }

    fn latest_is_paid(&self) -> bool {
        let paid = |invoice: &Value| text(invoice, "status") == "paid" && amount(invoice) > 0;
        self.latest.is_some_and(paid)
    }

    /// When the first of the unpaid invoices was overdue. Those that are older than the newest paid one no longer count.
    /// What is not known is not denied: without such an invoice it is the latest moment at which one can have been.
    fn grace_begins(&self, subscription: &Value) -> Option<i64> {
        // Bear Billing's say neither.
        let finalized = |invoice: &&Value| {
            let times = ["finalized_at", "created", "first_payment_failed_at"];
            times.iter().find_map(|name| seconds(invoice, name))
        };
        let with_status = |statuses: &'static [&str]| {
            let matching = move |invoice: &&&Value| statuses.contains(&text(invoice, "status"));
            self.own.iter().filter(matching)
        };
        let newest_paid = with_status(&["paid"]).filter_map(finalized).max();
        let overdue_since = |invoice: &&Value| {
            let finalized = finalized(invoice)?;
            if newest_paid.is_some_and(|paid| finalized < paid) {
                return None;
            }
            let failed = seconds(invoice, "first_payment_failed_at").unwrap_or(finalized);
            Some(seconds(invoice, "due_date").unwrap_or(failed.max(finalized)))
        };
        let overdue = with_status(&["open", "uncollectible"])
            .filter_map(overdue_since)
            .min();
        overdue.or_else(|| {
            let items = subscription["items"].as_array().into_iter().flatten();
            let period_start = items
                .filter_map(|item| seconds(item, "current_period_start"))
                .max();
            let told = subscription["as_of"]["created"]
                .as_i64()
                .filter(|_| self.latest.is_none());
            [period_start, newest_paid, told]
                .into_iter()
                .flatten()
                .max()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    /// What is known of a customer who is described by JSON, in the form that the state shows.
    fn about<T>(customer: &Value, look: impl Fn(Known<'_>) -> T) -> T {
        let objects = |name: &str| customer[name].as_object().cloned().unwrap_or_default();
        look(Known {
            deleted: customer["deleted"] == true,
            subscriptions: &objects("subscriptions"),
            invoices: &objects("invoices"),
            checkout_sessions: &objects("checkout_sessions"),
            charges: &objects("charges"),
            refunds: &objects("refunds"),
            disputes: &objects("disputes"),
        })
    }

    fn ask_about(customer: &Value, now: i64, policy: &Policy) -> Access {
        about(customer, |known| access(known, now, policy))
    }

    fn ask(subscription: Value, invoices: Value, now: i64) -> Access {
        let customer = json!({"subscriptions": {"sub_1": subscription}, "invoices": invoices});
        ask_about(&customer, now, &Policy::default())
    }

    fn of_purchases(purchases: Purchases) -> Policy {
        Policy {
            purchases,
            ..Policy::default()
        }
    }

    fn deny() -> Policy {
        Policy {
            lost_dispute_denies: true,
            ..Policy::default()
        }
    }

    /// Whether, why and until when, for a table.
    fn said(answer: &Access) -> (bool, &str, Option<i64>) {
        (answer.granted, answer.reason.as_str(), answer.until)
    }

    #[test]
    fn an_active_subscription_grants_even_after_its_period() {
        let active = json!({"status": "active", "current_period_end": 100});
        let answer = ask(active, json!({}), 200);
        assert_eq!(said(&answer), (true, "active", Some(100)));
    }

    #[test]
    fn a_cancellation_at_period_end_ends_with_the_period() {
        let subscription =
            json!({"status": "active", "cancel_at_period_end": true, "current_period_end": 100});
        assert!(ask(subscription.clone(), json!({}), 99).granted);
        let answer = ask(subscription, json!({}), 100);
        assert_eq!(said(&answer), (false, "ended", None));
    }

    #[test]
    fn grace_runs_from_the_first_invoice_that_was_overdue() {
        let invoices = json!({
            "in_1": {"status": "open", "subscription": "sub_1", "finalized_at": 2 * DAY},
            "in_2": {"status": "open", "subscription": "sub_1", "finalized_at": DAY},
            "in_3": {"status": "paid", "subscription": "sub_1", "finalized_at": 0},
            "in_4": {"status": "open", "subscription": "sub_2", "finalized_at": 0},
            "in_5": {"status": "open", "finalized_at": 0},
        });
        let at = |now| ask(json!({"status": "past_due"}), invoices.clone(), now);
        assert_eq!(
            said(&at(8 * DAY - 1)),
            (true, "past_due_grace", Some(8 * DAY))
        );
        assert_eq!(said(&at(8 * DAY)), (false, "past_due", None));
    }

    /// When grace begins, by what is known of the subscription's invoices; it lasts seven days.
    #[test]
    fn grace_begins_when_a_payment_was_overdue() {
        let own = |mut invoice: Value| {
            invoice["subscription"] = json!("sub_1");
            invoice
        };
        let open = |finalized: i64| own(json!({"status": "open", "finalized_at": finalized}));
        let with = |mut invoice: Value, name: &str, second: i64| {
            invoice[name] = json!(second);
            invoice
        };
        let paid = |finalized: i64| {
            own(json!({"status": "paid", "finalized_at": finalized, "amount_paid": 0}))
        };
        let table = [
            (
                "when it was due, if it was sent",
                vec![with(open(DAY), "due_date", 31 * DAY)],
                31 * DAY,
            ),
            (
                "a card that fails after the due date moves nothing",
                vec![with(
                    with(open(DAY), "due_date", 31 * DAY),
                    "first_payment_failed_at",
                    36 * DAY,
                )],
                31 * DAY,
            ),
            (
                "when a debit came back",
                vec![with(open(DAY), "first_payment_failed_at", 11 * DAY)],
                11 * DAY,
            ),
            (
                "the oldest is not always the first that is overdue",
                vec![
                    with(open(DAY), "due_date", 61 * DAY),
                    with(open(20 * DAY), "due_date", 34 * DAY),
                ],
                34 * DAY,
            ),
            (
                "not before what was paid later",
                vec![open(DAY), paid(30 * DAY), open(60 * DAY)],
                60 * DAY,
            ),
            (
                "in the second of what was paid",
                vec![paid(30 * DAY), open(30 * DAY)],
                30 * DAY,
            ),
            (
                "written off is as unpaid as open",
                vec![own(
                    json!({"status": "uncollectible", "finalized_at": 2 * DAY}),
                )],
                2 * DAY,
            ),
            (
                "an invoice for nothing, paid within the grace",
                vec![open(DAY), paid(3 * DAY)],
                3 * DAY,
            ),
            (
                "created, where it is not known when it was finalised",
                vec![own(json!({"status": "open", "created": 5 * DAY}))],
                5 * DAY,
            ),
        ];
        for (name, invoices, begins) in table {
            let named = invoices.into_iter().enumerate();
            let invoices: Map<_, _> = named
                .map(|(n, invoice)| (format!("in_{n}"), invoice))
                .collect();
            let subscription = json!({"status": "past_due", "latest_invoice": "in_0"});
            let answer = ask(subscription, Value::Object(invoices), begins + 7 * DAY - 1);
            assert_eq!(
                said(&answer),
                (true, "past_due_grace", Some(begins + 7 * DAY)),
                "{name}"
            );
        }
    }

    /// A yearly plan gets more seats in mid-year, and its update comes before the invoice that was not paid.
    #[test]
    fn what_is_not_known_is_not_denied() {
        let subscription = json!({"status": "past_due", "latest_invoice": "in_2",
            "items": [{"current_period_start": 0}], "as_of": {"created": 200 * DAY}});
        let answer = ask(subscription.clone(), json!({}), 200 * DAY + 60);
        assert_eq!(said(&answer), (true, "past_due_grace", Some(207 * DAY)));
        let known =
            json!({"in_2": {"status": "open", "subscription": "sub_1", "finalized_at": 150 * DAY}});
        assert_eq!(
            said(&ask(subscription, known, 200 * DAY)),
            (false, "past_due", None)
        );
    }

    #[test]
    fn a_paid_latest_invoice_answers_as_active() {
        let subscription = json!({"status": "past_due", "latest_invoice": "in_1", "current_period_end": 100 * DAY});
        let invoices = |amount: i64| {
            json!({"in_1": {"status": "paid", "subscription": "sub_1", "finalized_at": 0,
            "amount_paid": amount}})
        };
        let answer = ask(subscription.clone(), invoices(1000), 50 * DAY);
        assert_eq!(said(&answer), (true, "active", Some(100 * DAY)));
        assert_eq!(ask(subscription, invoices(0), 50 * DAY).reason, "past_due");
    }

    #[test]
    fn a_cancellation_within_the_grace_comes_first() {
        let subscription = |cancel_at: i64| json!({"status": "past_due", "cancel_at": cancel_at});
        let invoices =
            json!({"in_1": {"status": "open", "subscription": "sub_1", "finalized_at": 0}});
        let at = |cancel_at, now| ask(subscription(cancel_at), invoices.clone(), now);
        assert_eq!(
            said(&at(3 * DAY, 0)),
            (true, "past_due_grace", Some(3 * DAY))
        );
        assert_eq!(at(3 * DAY, 3 * DAY).reason, "ended");
        // Once it is over, the clock changes nothing more.
        assert_eq!(at(20 * DAY, 7 * DAY).reason, "past_due");
        assert_eq!(at(20 * DAY, 20 * DAY).reason, "past_due");
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
            assert_eq!(said(&answer), (false, status, None));
        }
    }

    #[test]
    fn the_best_subscription_answers() {
        let mut customer = json!({"subscriptions": {
            "sub_1": {"status": "canceled"},
            "sub_2": {"status": "trialing", "current_period_end": 9},
            "sub_3": {"status": "trialing", "current_period_end": 10},
            "sub_4": {"status": "active", "cancel_at": 0},
        }});
        let ask = |customer: &Value| ask_about(customer, 0, &Policy::default());
        // Period ends play no part: two monthly subscriptions do not take turns.
        assert_eq!(ask(&customer).subscription.as_deref(), Some("sub_2"));
        customer["subscriptions"]["sub_2"]["cancel_at"] = json!(1000);
        assert_eq!(ask(&customer).subscription.as_deref(), Some("sub_3"));
        customer["deleted"] = json!(true);
        assert_eq!(ask(&customer).reason, "customer_deleted");
    }

    #[test]
    fn access_ends_with_the_last_that_grants() {
        let mut customer = json!({"subscriptions": {
            "sub_1": {"status": "active", "cancel_at": 5 * DAY, "current_period_end": 5 * DAY},
            "sub_2": {"status": "active", "current_period_end": 9 * DAY},
        }});
        let ask = |customer: &Value| ask_about(customer, 0, &Policy::default());
        assert_eq!(said(&ask(&customer)), (true, "active", Some(9 * DAY)));
        assert_eq!(ask(&customer).subscription.as_deref(), Some("sub_2"));
        customer["subscriptions"]["sub_2"]["cancel_at"] = json!(6 * DAY);
        assert_eq!(ask(&customer).until, Some(6 * DAY));
    }

    fn bought() -> Value {
        json!({"checkout_sessions": {"cs_1": {"mode": "payment", "status": "complete",
            "payment_status": "paid", "payment_intent": "pi_1", "amount_total": 100, "created": DAY}}})
    }

    #[test]
    fn a_one_off_purchase_grants_what_the_policy_says() {
        let mut customer = bought();
        let answer = |customer: &Value, purchases, now| {
            let answer = ask_about(customer, now, &of_purchases(purchases));
            (answer.granted, answer.reason)
        };
        let is = |granted: bool, reason: &str| (granted, reason.to_owned());
        let (nothing, for_ever) = (Purchases::GrantNothing, Purchases::GrantForEver);
        let month = Purchases::GrantDays(30);
        assert_eq!(Purchases::default(), nothing);
        assert_eq!(answer(&customer, nothing, 0), is(false, "no_subscription"));
        assert_eq!(
            answer(&customer, for_ever, 1000 * DAY),
            is(true, "purchase")
        );
        assert_eq!(answer(&customer, month, 31 * DAY - 1), is(true, "purchase"));
        assert_eq!(
            answer(&customer, month, 31 * DAY),
            is(false, "purchase_ended")
        );
        // It was paid by a debit that took a while: the days count from then.
        customer["checkout_sessions"]["cs_1"]["first_paid_at"] = json!(11 * DAY);
        assert_eq!(answer(&customer, month, 41 * DAY - 1), is(true, "purchase"));
        customer["checkout_sessions"]["cs_1"]["payment_status"] = json!("unpaid");
        assert_eq!(answer(&customer, for_ever, 0), is(false, "no_subscription"));
        // It was authorised, and is captured later.
        let charge = |captured: bool| {
            json!({"ch_1": {"status": "succeeded", "payment_intent": "pi_1", "amount": 100,
            "captured": captured, "created": 2 * DAY}})
        };
        customer["charges"] = charge(false);
        assert_eq!(answer(&customer, for_ever, 0), is(false, "no_subscription"));
        customer["charges"] = charge(true);
        assert_eq!(answer(&customer, for_ever, 0), is(true, "purchase"));
    }

    /// A purchase is over when what was given back and lost reaches what was taken.
    #[test]
    fn a_purchase_ends_with_the_money() {
        let charge = |refunded: i64| {
            json!({"ch_1": {"status": "succeeded", "payment_intent": "pi_1", "amount": 100,
            "captured": true, "amount_refunded": refunded}})
        };
        let refund = |amount: i64, status: &str| {
            json!({"re_1": {"charge": "ch_1", "payment_intent": "pi_1",
            "amount": amount, "status": status}})
        };
        let dispute = |amount: i64, status: &str| json!({"dp_1": {"charge": "ch_1", "amount": amount, "status": status}});
        let none = json!({});
        let table = [
            ("nothing", charge(0), none.clone(), none.clone(), true),
            (
                "refunded, told by the charge",
                charge(100),
                none.clone(),
                none.clone(),
                false,
            ),
            (
                "refunded, told by the refund",
                charge(0),
                refund(100, "succeeded"),
                none.clone(),
                false,
            ),
            (
                "refunded, the charge is not known",
                none.clone(),
                refund(100, "pending"),
                none.clone(),
                false,
            ),
            (
                "in part",
                charge(40),
                refund(40, "succeeded"),
                none.clone(),
                true,
            ),
            (
                "the refund failed",
                charge(100),
                refund(100, "failed"),
                none.clone(),
                true,
            ),
            (
                "disputed",
                charge(0),
                none.clone(),
                dispute(100, "needs_response"),
                true,
            ),
            ("lost", charge(0), none.clone(), dispute(100, "lost"), false),
            (
                "lost in part",
                charge(0),
                none.clone(),
                dispute(10, "lost"),
                true,
            ),
            (
                "lost and refunded in part",
                charge(60),
                none.clone(),
                dispute(40, "lost"),
                false,
            ),
            (
                "under appeal",
                charge(0),
                none.clone(),
                dispute(100, "appeal_under_review"),
                false,
            ),
            ("won", charge(0), none, dispute(100, "won"), true),
        ];
        for (name, charges, refunds, disputes, granted) in table {
            let mut customer = bought();
            customer["charges"] = charges;
            customer["refunds"] = refunds;
            customer["disputes"] = disputes;
            let answer = ask_about(&customer, 0, &of_purchases(Purchases::GrantForEver));
            let reason = if granted {
                "purchase"
            } else {
                "purchase_ended"
            };
            assert_eq!(
                (answer.granted, answer.reason.as_str()),
                (granted, reason),
                "{name}"
            );
        }
    }

    #[test]
    fn a_lost_dispute_denies_what_began_before_it_where_the_policy_says_so() {
        let mut customer = json!({"subscriptions": {"sub_1": {"status": "active", "created": DAY}},
            "disputes": {"dp_1": {"status": "lost", "created": 10 * DAY, "first_lost_at": 40 * DAY}}});
        assert!(ask_about(&customer, 0, &Policy::default()).granted);
        let reason = |customer: &Value| ask_about(customer, 50 * DAY, &deny()).reason;
        assert_eq!(reason(&customer), "dispute_lost");
        // An invoice that was paid before the dispute was lost, or for nothing, does not lift it.
        let paid = |amount: i64, at: i64| {
            json!({"in_1": {"subscription": "sub_1", "status": "paid", "amount_paid": amount,
            "paid_at": at}})
        };
        for (amount, at, wanted) in [
            (100, 30 * DAY, "dispute_lost"),
            (0, 45 * DAY, "dispute_lost"),
            (100, 45 * DAY, "active"),
        ] {
            customer["invoices"] = paid(amount, at);
            assert_eq!(reason(&customer), wanted, "{amount} paid at {at}");
        }
        customer["invoices"] = json!({});
        customer["subscriptions"]["sub_2"] = json!({"status": "active", "created": 20 * DAY});
        assert_eq!(reason(&customer), "active", "it began after the dispute");
        // An end by the clock is no other reason.
        customer["subscriptions"] =
            json!({"sub_1": {"status": "active", "created": DAY, "cancel_at": 45 * DAY}});
        assert_eq!(reason(&customer), "dispute_lost");
    }

    #[test]
    fn who_never_paid_never_had_access() {
        let canceled = |ended_at: i64| {
            json!({"subscriptions": {"sub_1": {"status": "canceled", "created": 0,
            "ended_at": ended_at}}})
        };
        let mut paid = canceled(3600);
        paid["invoices"] = json!({"in_1": {"subscription": "sub_1", "status": "paid"}});
        let table = [
            (json!({"deleted": true}), false),
            (
                json!({"subscriptions": {"sub_1": {"status": "incomplete"}}}),
                false,
            ),
            (canceled(3600), false),
            (canceled(30 * DAY), true),
            (paid, true),
            (
                json!({"subscriptions": {"sub_1": {"status": "unpaid"}}}),
                true,
            ),
            (bought(), true),
        ];
        for (customer, had) in table {
            assert_eq!(about(&customer, ever_had), had, "{customer}");
        }
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
            let customer = json!({"subscriptions": {"sub_1": {"status": status, "items": items}}});
            let plans = [("price_1", "api"), ("prod_2", "sso"), ("price_3", "other")];
            let plans = plans.map(|(plan, feature)| (plan.to_owned(), vec![feature.to_owned()]));
            let policy = Policy {
                plan_features: plans.into(),
                ..Policy::default()
            };
            let features = about(&customer, |known| plan_features(known, 0, &policy));
            features.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(features("active"), ["api", "sso"]);
        assert_eq!(features("canceled"), [""; 0]);
    }
}
