//! The few outer fields of a verified body: what the webhook function needs to label a message, and
//! what the ledger needs to name an event that could not be used.
//!
//! The reader takes whatever is there and never fails. It skips what it does not need without building
//! it, at any depth, because it runs in the function whose cold starts a sender waits for. Where a key
//! stands twice in an object the last one counts, here as in the full reader.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::scope::{Mode, Scope, Source};
use crate::time::unix_time;
use crate::token::{hashed, token};

/// The outer fields of an event, as far as they are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The event's id, never empty.
    pub id: Option<String>,
    /// The event's type, for instance `invoice.paid`.
    pub event_type: Option<String>,
    /// When the event was created, in Unix seconds.
    pub created: Option<i64>,
    /// The nanoseconds after that, for sources that tell fractions of a second.
    pub nanoseconds: u32,
    /// Live or test mode; sources without modes say nothing.
    pub livemode: Option<bool>,
    /// The connected account (`acct_…`); none for the platform itself.
    pub account: Option<String>,
    /// Whether something stands for an account that names none: whose the event is cannot be told.
    pub bad_account: bool,
    /// Whom the event is about: the customer where it is named, else the object.
    pub subject: Option<String>,
}

impl Head {
    /// Reads the outer fields of a body; of something that is no JSON object, nothing.
    #[must_use]
    pub fn read(source: Source, body: &[u8]) -> Self {
        let names = [
            "id",
            "type",
            "created",
            "created_at",
            "livemode",
            "account",
            "context",
            "data",
        ];
        let [
            id,
            event_type,
            created,
            created_at,
            livemode,
            account,
            context,
            data,
        ] = members(body, names);
        let created = created_time(created).or_else(|| created_time(created_at));
        let account = account_of(account, context);
        Self {
            // An empty id names nothing; two bodies without a name must not pass for one event.
            id: scalar(id).filter(|id: &String| !id.is_empty()),
            event_type: scalar(event_type),
            created: created.map(|(seconds, _)| seconds),
            nanoseconds: created.map_or(0, |(_, nanoseconds)| nanoseconds),
            livemode: scalar(livemode),
            bad_account: account.is_err(),
            account: account.unwrap_or_default(),
            subject: data.and_then(|data| subject(source, data)),
        }
    }

    /// True where the body is an event at all: it has an id and a type.
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.id.is_some() && self.event_type.is_some()
    }

    /// What starts the event's keys; `mode` is the stack's, for a body that names none.
    #[must_use]
    pub fn scope(&self, source: Source, mode: Mode) -> Scope {
        let mode = self.livemode.map_or(mode, Mode::from_livemode);
        Scope {
            source,
            mode,
            account: self.account.clone(),
        }
    }

    /// The event's name outside the body: its id as a token, or the hash of a body without one.
    #[must_use]
    pub fn name(&self, body: &[u8]) -> String {
        self.id
            .as_deref()
            .map_or_else(|| hashed(body), |id| token(id).into_owned())
    }

    /// What to group messages by, so that one busy customer does not delay the others.
    #[must_use]
    pub fn group(&self) -> String {
        let group = self.subject.as_deref().or(self.account.as_deref());
        group.map_or_else(|| "none".to_owned(), |group| token(group).into_owned())
    }
}

/// Finds whom the event is about inside its `data`.
fn subject(source: Source, data: &RawValue) -> Option<String> {
    let data = data.get().as_bytes();
    match source {
        Source::Stripe => {
            let [object] = members(data, ["object"]);
            let [customer, id] = members(object?.get().as_bytes(), ["customer", "id"]);
            let expanded = customer.and_then(|customer| {
                let [id] = members(customer.get().as_bytes(), ["id"]);
                scalar(id)
            });
            scalar(customer).or(expanded).or_else(|| scalar(id))
        }
        Source::BearBilling => {
            let names = ["organization_id", "subscription_id", "id"];
            members(data, names).into_iter().find_map(scalar)
        }
    }
}

/// The account whose event it is. To an event destination of an organization, Stripe says it in `context`
/// (<https://docs.stripe.com/changelog/basil/2025-04-30/additional-context-organization-events>); a connected account's
/// event has both.
fn account_of(
    account: Option<&RawValue>,
    context: Option<&RawValue>,
) -> Result<Option<String>, serde_json::Error> {
    let said = |raw: Option<&RawValue>| raw.map_or(Ok(None), |raw| serde_json::from_str(raw.get()));
    Ok(said(account)?.or(said(context)?))
}

/// Stripe writes seconds; its thin events and Bear Billing write RFC 3339.
fn created_time(raw: Option<&RawValue>) -> Option<(i64, u32)> {
    let seconds = scalar::<i64>(raw).map(|seconds| (seconds, 0));
    seconds.or_else(|| scalar::<String>(raw).as_deref().and_then(unix_time))
}

/// Reads one scalar; anything else there counts as absent.
fn scalar<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Picks the named members of a JSON object, unread. Of something else, none.
fn members<'a, const N: usize>(
    json: &'a [u8],
    names: [&'static str; N],
) -> [Option<&'a RawValue>; N] {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = reader.deserialize_map(Members(names)).unwrap_or([None; N]);
    if reader.end().is_ok() {
        found
    } else {
        [None; N]
    }
}

struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(Key(key)) = map.next_key()? {
            match self.0.iter().position(|name| *name == key) {
                Some(at) => found[at] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// A key borrowed from the text where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Head {
        Head::read(Source::Stripe, body.as_bytes())
    }

    #[test]
    fn the_outer_fields_are_found_wherever_they_stand() {
        let head = read(
            r#"{"data":{"object":{"id":"in_1","customer":"cus_1"}},"livemode":false,
                "created":5,"account":"acct_1","type":"invoice.paid","id":"evt_1"}"#,
        );
        assert_eq!(head.id.as_deref(), Some("evt_1"));
        assert_eq!(head.event_type.as_deref(), Some("invoice.paid"));
        assert_eq!((head.created, head.livemode), (Some(5), Some(false)));
        assert_eq!(head.group(), "cus_1");
        assert!(head.is_event());
    }

    #[test]
    fn the_account_is_a_text_or_nothing() {
        let account = |members: &str| {
            let head = read(&format!(r#"{{"id":"evt_1"{members}}}"#));
            (head.account, head.bad_account)
        };
        let north = Some("acct_north".to_owned());
        for (members, wanted) in [
            ("", None),
            (r#","account":null"#, None),
            (r#","account":"acct_north""#, north.clone()),
            (r#","context":null"#, None),
            (r#","context":"acct_north""#, north.clone()),
            (r#","account":null,"context":"acct_north""#, north.clone()),
            (r#","account":"acct_north","context":"acct_x""#, north),
        ] {
            assert_eq!(account(members), (wanted, false), "{members}");
        }
        for odd in ["5", "{}", r#"["acct_1"]"#, "true", "0.5"] {
            for member in ["account", "context"] {
                let members = format!(r#","{member}":{odd}"#);
                assert_eq!(account(&members), (None, true), "{members}");
            }
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let head = read(r#"{"id":"evt_1","type":"a","id":"evt_2","i\u0064":"evt_3"}"#);
        assert_eq!(head.id.as_deref(), Some("evt_3"));
    }

    #[test]
    fn what_is_no_event_yields_nothing_and_never_fails() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for body in [
            "",
            "null",
            "[]",
            "{",
            r#"{"id":1,"type":{}}"#,
            "{\"id\":\"a\"} x",
            &deep,
        ] {
            assert!(!read(body).is_event(), "{body:.20}");
        }
        assert_eq!(Head::read(Source::Stripe, b"{\"id\":\"\xff\"}").id, None);
    }

    #[test]
    fn bodies_without_an_id_have_different_names() {
        let name = |body: &str| read(body).name(body.as_bytes());
        assert_ne!(name(r#"{"id":"","a":1}"#), name(r#"{"id":"","a":2}"#));
        assert_eq!(name("x"), name("x"));
    }

    #[test]
    fn a_deep_event_still_has_its_name() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let head = read(&format!(
            r#"{{"data":{{"object":{{"x":{deep},"id":"in_1"}}}},"id":"evt_1"}}"#
        ));
        assert_eq!(head.name(b""), "evt_1");
        assert_eq!(head.group(), "in_1");
    }

    #[test]
    fn an_expanded_customer_is_the_group_too() {
        let head = read(r#"{"data":{"object":{"customer":{"id":"cus_9","x":1}}}}"#);
        assert_eq!(head.group(), "cus_9");
    }

    #[test]
    fn bear_billing_is_grouped_by_organization() {
        let body = br#"{"id":"b1","type":"t","created_at":"1970-01-01T00:01:00Z","data":{"organization_id":"org_1","id":"s"}}"#;
        let head = Head::read(Source::BearBilling, body);
        assert_eq!((head.group().as_str(), head.created), ("org_1", Some(60)));
    }
}
