//! When the product has to be told that a customer's access is not what it was, and what it is told.
//!
//! What was told last is noted beside the customer's rows ([`Noted`]). Access that differs from it is a change; the
//! same access is none, however often it is looked at. The shape of what is told is promised to products
//! (`docs/access-events.md`): members may be added, and none changes its meaning.

use serde_json::{Value, json};

use crate::access::Access;
use crate::scope::Scope;

/// What a customer's access was found to be when it changed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The customer's id.
    pub customer: String,
    /// The access.
    pub access: Access,
    /// Raised by one with every change.
    pub rev: u64,
    /// When the change was found, in Unix seconds.
    pub changed_at: i64,
}

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The customer has access now and had none.
    Granted,
    /// The customer has no access any more.
    Revoked,
    /// Whether there is access is as before; why, until when or by which subscription is not.
    Changed,
}

impl Change {
    /// The event's `detail-type`.
    #[must_use]
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Granted => "Access Granted",
            Self::Revoked => "Access Revoked",
            Self::Changed => "Access Changed",
        }
    }
}

/// The version of [`detail`]. A product can rely on every member that this version has.
const DETAIL_VERSION: u32 = 1;

/// Says whether access is other than what was noted last, none where nothing was. `ever_had` is whether the state shows that
/// the customer had access at some time, perhaps before anything was noted
/// ([`access::ever_had`](crate::access::ever_had)); of others who have none nothing is told.
///
/// ```
/// use billhook_core::access::Access;
/// use billhook_core::announce::{Change, change};
///
/// let active = |until| Access {
///     granted: true,
///     reason: "active".to_owned(),
///     until: Some(until),
///     subscription: Some("sub_1".to_owned()),
/// };
/// assert_eq!(change(None, &active(10), true), Some(Change::Granted));
/// assert_eq!(change(Some(&active(10)), &active(20), true), Some(Change::Changed));
/// assert_eq!(change(Some(&active(20)), &active(20), true), None);
/// ```
#[must_use]
pub fn change(noted: Option<&Access>, now: &Access, ever_had: bool) -> Option<Change> {
    match noted {
        Some(noted) if noted == now => None,
        None if now.granted => Some(Change::Granted),
        None => ever_had.then_some(Change::Revoked),
        Some(noted) => Some(match (noted.granted, now.granted) {
            (false, true) => Change::Granted,
            (true, false) => Change::Revoked,
            (true, true) | (false, false) => Change::Changed,
        }),
    }
}

/// The event's `detail`: what the access is now, and what it was before where that is known.
#[must_use]
pub fn detail(scope: &Scope, previous: Option<&Access>, noted: &Noted) -> Value {
    let previous =
        previous.map(|access| json!({"granted": access.granted, "reason": access.reason}));
    json!({
        "version": DETAIL_VERSION,
        "customer": noted.customer,
        "source": scope.source.name(),
        "livemode": scope.mode.is_live(),
        "account": scope.account,
        "granted": noted.access.granted,
        "reason": noted.access.reason,
        "until": noted.access.until,
        "subscription": noted.access.subscription,
        "previous": previous,
        "sequence": noted.rev,
        "changed_at": noted.changed_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::{Mode, Source};

    fn access(granted: bool, reason: &str) -> Access {
        Access {
            granted,
            reason: reason.to_owned(),
            until: None,
            subscription: None,
        }
    }

    #[test]
    fn a_change_is_what_differs_from_what_was_noted() {
        use Change::{Changed, Granted, Revoked};
        let table = [
            (None, (true, "active"), Some(Granted)),
            (None, (false, "canceled"), Some(Revoked)),
            (Some((false, "incomplete")), (true, "active"), Some(Granted)),
            (Some((true, "active")), (true, "active"), None),
            (
                Some((true, "active")),
                (true, "past_due_grace"),
                Some(Changed),
            ),
            (
                Some((true, "past_due_grace")),
                (false, "past_due"),
                Some(Revoked),
            ),
            (
                Some((false, "past_due")),
                (false, "canceled"),
                Some(Changed),
            ),
            (Some((false, "canceled")), (false, "canceled"), None),
            (
                Some((true, "purchase")),
                (false, "no_subscription"),
                Some(Revoked),
            ),
        ];
        for (noted, now, wanted) in table {
            let noted = noted.map(|(granted, reason)| access(granted, reason));
            let now = access(now.0, now.1);
            assert_eq!(
                change(noted.as_ref(), &now, true),
                wanted,
                "from {noted:?} to {now:?}"
            );
        }
        let denied = access(false, "customer_deleted");
        assert_eq!(change(None, &denied, false), None, "a lead is deleted");
    }

    #[test]
    fn every_part_of_the_answer_counts() {
        let noted = Access {
            until: Some(10),
            subscription: Some("sub_1".to_owned()),
            ..access(true, "active")
        };
        let later = Access {
            until: Some(20),
            ..noted.clone()
        };
        let other = Access {
            subscription: Some("sub_2".to_owned()),
            ..noted.clone()
        };
        for now in [later, other] {
            assert_eq!(change(Some(&noted), &now, true), Some(Change::Changed));
        }
    }

    /// Products rely on every one of these members.
    #[test]
    fn what_is_told_is_as_documented() {
        let scope = Scope {
            source: Source::Stripe,
            mode: Mode::Test,
            account: None,
        };
        let noted = Noted {
            customer: "cus_1".to_owned(),
            access: Access {
                granted: true,
                reason: "active".to_owned(),
                until: Some(1_765_184_005),
                subscription: Some("sub_1".to_owned()),
            },
            rev: 3,
            changed_at: 1_762_592_007,
        };
        let wanted = json!({
            "version": 1, "customer": "cus_1", "source": "stripe", "livemode": false, "account": null,
            "granted": true, "reason": "active", "until": 1_765_184_005, "subscription": "sub_1",
            "previous": {"granted": false, "reason": "past_due"}, "sequence": 3,
            "changed_at": 1_762_592_007,
        });
        assert_eq!(
            detail(&scope, Some(&access(false, "past_due")), &noted),
            wanted
        );
        assert_eq!(detail(&scope, None, &noted)["previous"], Value::Null);
    }
}
