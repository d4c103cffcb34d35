//! What a snapshot's state is: a hash that says whether two snapshots show the same object in the same state,
//! and the snapshots that an event's `previous_attributes` lead back to.
//!
//! It knows Stripe's spelling (null is absent, a reference may be an id or the whole object, some members are never
//! state), and nothing of events or of order.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// The first `N` characters of a SHA-256 in URL-safe base 64, six bits each.
///
/// It is kept as text because text is what a stored row holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest<const N: usize>([u8; N]);

/// The identity of one state of one object: 72 bits, so that states that meet in one second are told apart for sure.
pub type StateHash = Digest<12>;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl<const N: usize> Digest<N> {
    /// The digest of a text, such as an event's type.
    pub fn of_text(text: &str) -> Self {
        Self::finish(Sha256::new_with_prefix(text.as_bytes()))
    }

    /// The digest as it is written.
    pub fn as_str(&self) -> &str {
        // Every way to make a digest admits the alphabet only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn finish(hasher: Sha256) -> Self {
        const { assert!(N <= 40, "a SHA-256 has 42 whole characters") };
        let bytes = hasher.finalize();
        Self(std::array::from_fn(|i| {
            let bit = 6 * i;
            let pair = u16::from_be_bytes([bytes[bit / 8], bytes[bit / 8 + 1]]);
            ALPHABET[usize::from(pair >> (10 - bit % 8)) % 64]
        }))
    }
}

impl<const N: usize> fmt::Display for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> FromStr for Digest<N> {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bytes: [u8; N] = text.as_bytes().try_into().map_err(|_| Malformed)?;
        match bytes.iter().all(|b| ALPHABET.contains(b)) {
            true => Ok(Self(bytes)),
            false => Err(Malformed),
        }
    }
}

impl<const N: usize> Serialize for Digest<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, const N: usize> Deserialize<'de> for Digest<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A stored text is not one that this module writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stored text of the order of events is malformed")
    }
}

impl std::error::Error for Malformed {}

/// Members that Stripe documents as an id that can be expanded to the object; only the id is state here.
///
/// Contents that an object truly holds (a subscription's items, an item's price, a charge's card) are not among them.
const REFERENCES: [&str; 27] = [
    "application",
    "balance_transaction",
    "charge",
    "customer",
    "default_payment_method",
    "default_source",
    "destination",
    "discounts",
    "failure_balance_transaction",
    "invoice",
    "latest_charge",
    "latest_invoice",
    "latest_revision",
    "mandate",
    "on_behalf_of",
    "payment_intent",
    "payment_link",
    "payment_method",
    "pending_setup_intent",
    "product",
    "promotion_code",
    "quote",
    "review",
    "schedule",
    "setup_intent",
    "subscription",
    "test_clock",
];

/// Members that change from one rendering to the next, or when a webhook was delivered: never state.
const VOLATILE: [&str; 4] = [
    "hosted_invoice_url",
    "invoice_pdf",
    "receipt_url",
    "webhooks_delivered_at",
];

/// Members that are volatile in one kind of object and mean something in others, or that change without an event.
///
/// A customer's `next_invoice_sequence` rises whenever an invoice is finalized, and its old lists follow other objects.
const VOLATILE_IN: [(&str, &str); 6] = [
    ("checkout.session", "url"),
    ("credit_note", "pdf"),
    ("customer", "next_invoice_sequence"),
    ("customer", "sources"),
    ("customer", "subscriptions"),
    ("customer", "tax_ids"),
];

impl StateHash {
    /// The state of a snapshot: equal for snapshots that differ only in the order of members, in null against
    /// absent, in a reference against its expanded object, or in volatile members.
    ///
    /// ```
    /// # use billhook_core::order::StateHash;
    /// # use serde_json::json;
    /// let short = json!({"id": "in_1", "customer": "cus_1"});
    /// let long = json!({"customer": {"id": "cus_1", "object": "customer"}, "id": "in_1", "charge": null});
    /// assert_eq!(StateHash::of(&short), StateHash::of(&long));
    /// ```
    pub fn of(snapshot: &Value) -> Self {
        let mut hasher = Sha256::new();
        feed(&mut hasher, snapshot, Reading::Stripe);
        Self::finish(hasher)
    }

    /// The identity of what a row keeps of a state.
    pub(super) fn of_kept(extract: &Value, customer: Option<&str>) -> Self {
        let mut hasher = Sha256::new_with_prefix(b"kept");
        feed(&mut hasher, extract, Reading::Verbatim);
        if let Some(customer) = customer {
            feed_text(&mut hasher, b"@", customer);
        }
        Self::finish(hasher)
    }

    /// The state of a deleted object. Stripe sends the last snapshot with it, which must not pass for a live one.
    pub fn of_deleted(snapshot: &Value) -> Self {
        let mut hasher = Sha256::new_with_prefix(b"deleted");
        feed(&mut hasher, snapshot, Reading::Stripe);
        Self::finish(hasher)
    }
}

/// Whether the members of a hash are Stripe's or, as in `metadata`, the user's own.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    Stripe,
    Verbatim,
}

/// Feeds a value in a form that no other value shares: a tag for the type, and a length before every text.
fn feed(hasher: &mut Sha256, value: &Value, reading: Reading) {
    match value {
        Value::Null => hasher.update(b"0"),
        Value::Bool(true) => hasher.update(b"+"),
        Value::Bool(false) => hasher.update(b"-"),
        Value::Number(number) => feed_text(hasher, b"#", &number.to_string()),
        Value::String(text) => feed_text(hasher, b"\"", text),
        Value::Array(elements) => {
            hasher.update(b"[");
            elements
                .iter()
                .for_each(|element| feed(hasher, element, reading));
            hasher.update(b"]");
        }
        Value::Object(members) => feed_members(hasher, members, reading),
    }
}

fn feed_text(hasher: &mut Sha256, tag: &[u8], text: &str) {
    hasher.update(tag);
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text.as_bytes());
}

fn feed_members(hasher: &mut Sha256, members: &Map<String, Value>, reading: Reading) {
    let kind = members
        .get("object")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // Sorted here, since a feature of serde_json elsewhere in the build can make a map keep its order.
    let mut sorted: Vec<_> = members
        .iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    sorted.sort_unstable_by_key(|(name, _)| name.as_str());
    hasher.update(b"{");
    for (name, value) in sorted {
        if reading == Reading::Stripe && is_volatile(kind, name) {
            continue;
        }
        feed_text(hasher, b":", name);
        match reading {
            Reading::Stripe if REFERENCES.contains(&name.as_str()) => feed_reference(hasher, value),
            Reading::Stripe if name == "metadata" => feed(hasher, value, Reading::Verbatim),
            Reading::Stripe | Reading::Verbatim => feed(hasher, value, reading),
        }
    }
    hasher.update(b"}");
}

fn is_volatile(kind: &str, name: &str) -> bool {
    VOLATILE.contains(&name) || VOLATILE_IN.contains(&(kind, name))
}

fn feed_reference(hasher: &mut Sha256, value: &Value) {
    match (value, value.get("id")) {
        (_, Some(id @ Value::String(_))) => feed(hasher, id, Reading::Stripe),
        (Value::Array(elements), _) => {
            hasher.update(b"[");
            elements
                .iter()
                .for_each(|element| feed_reference(hasher, element));
            hasher.update(b"]");
        }
        _ => feed(hasher, value, Reading::Stripe),
    }
}

/// The snapshots that an object may have had before a change: the one after it with `previous_attributes` undone. An
/// undone member that was not there is null, which to Stripe is absent.
///
/// Stripe does not say whether an old hash is given whole or only in the members that changed. In recorded events it
/// is the latter, which is the first snapshot here; the other reading is the second, if it differs.
pub(super) fn snapshots_before(snapshot: &Value, previous: &Map<String, Value>) -> Vec<Value> {
    let merged = undo(snapshot, previous, merge);
    if !previous.values().any(Value::is_object) {
        return vec![merged];
    }
    let replaced = undo(snapshot, previous, |_, old| old.clone());
    match merged == replaced {
        true => vec![merged],
        false => vec![merged, replaced],
    }
}

fn undo(
    snapshot: &Value,
    previous: &Map<String, Value>,
    join: fn(&Value, &Value) -> Value,
) -> Value {
    let mut members = snapshot.as_object().cloned().unwrap_or_default();
    for (name, old) in previous {
        let before = join(members.get(name).unwrap_or(&Value::Null), old);
        members.insert(name.clone(), before);
    }
    Value::Object(members)
}

/// An old value where hashes list only what changed in them; anything else is the old value itself.
fn merge(new: &Value, old: &Value) -> Value {
    match (new, old) {
        (Value::Object(_), Value::Object(previous)) => undo(new, previous, merge),
        _ => old.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn previous(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn equal_states_may_be_spelled_differently() {
        for (rule, one, other) in [
            (
                "null is absent",
                json!({"a": null, "b": {"c": null}}),
                json!({"b": {}}),
            ),
            (
                "a reference may be expanded",
                json!({"customer": "cus_1"}),
                json!({"customer": {"id": "cus_1", "name": "A"}}),
            ),
            (
                "also inside a list",
                json!({"discounts": ["di_1"]}),
                json!({"discounts": [{"id": "di_1"}]}),
            ),
            (
                "a rendering is no state",
                json!({"receipt_url": "a"}),
                json!({"receipt_url": "b"}),
            ),
            (
                "nor is a session's address",
                json!({"object": "checkout.session", "url": "a"}),
                json!({"object": "checkout.session"}),
            ),
            (
                "nor what changes without an event",
                json!({"object": "customer", "next_invoice_sequence": 1}),
                json!({"object": "customer", "next_invoice_sequence": 2}),
            ),
            (
                "nor a delivery",
                json!({"webhooks_delivered_at": 1}),
                json!({"webhooks_delivered_at": null}),
            ),
        ] {
            assert_eq!(StateHash::of(&one), StateHash::of(&other), "{rule}");
        }
    }

    #[test]
    fn different_states_have_different_hashes() {
        let items = |quantity: u32| json!({"items": {"data": [{"id": "si_1", "object": "subscription_item", "quantity": quantity}]}});
        for (rule, one, other) in [
            ("contents with an id count", items(1), items(2)),
            ("a list keeps its order", json!([1, 2]), json!([2, 1])),
            ("a number is no text", json!({"a": 1}), json!({"a": "1"})),
            (
                "a user's own members are taken verbatim",
                json!({"metadata": {"receipt_url": "a"}}),
                json!({"metadata": {"receipt_url": "b"}}),
            ),
            (
                "nesting counts",
                json!({"a": {"b": 1}}),
                json!({"a": {}, "b": 1}),
            ),
            (
                "an address of anything else is state",
                json!({"object": "product", "url": "a"}),
                json!({"object": "product"}),
            ),
        ] {
            assert_ne!(StateHash::of(&one), StateHash::of(&other), "{rule}");
        }
        let live = json!({"id": "cus_1"});
        assert_ne!(
            StateHash::of(&live),
            StateHash::of_deleted(&live),
            "a tombstone is no live state"
        );
    }

    #[test]
    fn undoing_restores_what_was_there() {
        let after = json!({"status": "paid", "times": {"open": 1, "paid": 2}, "list": [3], "metadata": {"new": "x"}});
        let before =
            json!({"status": "open", "times": {"open": 1}, "list": [1, 2], "metadata": {}});
        let previous = previous(
            json!({"status": "open", "times": {"paid": null}, "list": [1, 2], "metadata": {"new": null}}),
        );
        let undone = &snapshots_before(&after, &previous)[0];
        assert_eq!(StateHash::of(undone), StateHash::of(&before));
    }

    #[test]
    fn an_old_hash_may_also_be_given_whole() {
        let after = json!({"discount": {"coupon": "b", "end": 9}});
        let previous = previous(json!({"discount": {"coupon": "a"}}));
        let merged = json!({"discount": {"coupon": "a", "end": 9}});
        let replaced = json!({"discount": {"coupon": "a"}});
        assert_eq!(snapshots_before(&after, &previous), [merged, replaced]);
    }

    #[test]
    fn nothing_but_a_snapshot_is_needed() {
        let previous = previous(json!({"a": {"b": []}}));
        for value in [
            Value::Null,
            json!(1.5),
            json!("x"),
            json!([null, [], {}]),
            json!({"customer": [{"id": 1}, null]}),
        ] {
            assert_eq!(snapshots_before(&value, &previous).len(), 1, "{value}");
            assert_eq!(
                StateHash::of(&value).as_str().parse(),
                Ok(StateHash::of(&value))
            );
        }
    }
}
