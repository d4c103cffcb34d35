//! What a row keeps of the states of one second, each distinct value once.

use super::fact::Fact;
use super::state::StateHash;
use super::ties::Facts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What is kept of one state of an object: all that a row shows of it, so two states that are kept as the same are shown
/// as the same row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The fields that are kept. A deletion is one of them.
    pub extract: Value,
    /// The customer that the object names, if objects of its kind can change theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
}

impl Kept {
    /// The identity of what is kept.
    pub fn hash(&self) -> StateHash {
        StateHash::of_kept(&self.extract, self.customer.as_deref())
    }

    /// Its values by the path of their member. Of metadata each key is a member.
    pub(super) fn values(&self) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        if let Some(customer) = &self.customer {
            values.insert(CUSTOMER.to_owned(), Value::String(customer.clone()));
        }
        for (name, value) in self.extract.as_object().into_iter().flatten() {
            match value {
                Value::Object(keys) if name == METADATA && !keys.is_empty() => {
                    let keys = keys.iter();
                    values.extend(keys.map(|(key, value)| (metadata_path(key), value.clone())));
                }
                value => _ = values.insert(name.clone(), value.clone()),
            }
        }
        values
    }

    /// What [`Kept::values`] came from.
    pub(super) fn from_values(values: BTreeMap<String, Value>) -> Self {
        let mut kept = Self {
            extract: Value::Object(Map::new()),
            customer: None,
        };
        for (path, value) in values {
            match (path.strip_prefix(METADATA), value) {
                (_, Value::String(customer)) if path == CUSTOMER => kept.customer = Some(customer),
                (Some(key), value) if key.starts_with('/') => {
                    kept.extract[METADATA][&key[1..]] = value;
                }
                (_, value) => kept.extract[path.as_str()] = value,
            }
        }
        kept
    }
}

/// The path of the customer. No member of an extract has a name that begins like this.
const CUSTOMER: &str = "/customer";

const METADATA: &str = "metadata";

fn metadata_path(key: &str) -> String {
    format!("{METADATA}/{key}")
}

/// What is kept of the states that the facts of a second tell.
///
/// All of them stay until the second is no longer the newest, also those of facts that a newer version of their event has
/// replaced: a circuit can end in any state, and the event that closes it does not bring it. Above a number of bytes only
/// the greatest fact's stays. What is counted is what was ever told, so whether that happens does not depend on the order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct States {
    /// What is kept, by its hash.
    #[serde(flatten)]
    pub(super) kept: BTreeMap<StateHash, Kept>,
    /// Whether there were more bytes than a row can hold.
    #[serde(default, rename = "!", skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_cut: bool,
}

impl States {
    /// One state alone.
    pub(super) fn only(state: StateHash, kept: Kept) -> Self {
        Self {
            kept: BTreeMap::from([(state, kept)]),
            is_cut: false,
        }
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn get(&self, state: StateHash) -> Option<&Kept> {
        self.kept.get(&state)
    }

    /// These with the state of another fact; `facts` are those of the second with that fact among them.
    pub(super) fn with(
        &self,
        state: StateHash,
        kept: &Kept,
        facts: &Facts,
        bytes_max: usize,
    ) -> Self {
        let mut next = self.clone();
        next.kept.entry(state).or_insert_with(|| kept.clone());
        let overflows = matches!(facts, Facts::Overflow(_));
        next.is_cut =
            !overflows && (self.is_cut || (next.kept.len() > 1 && next.bytes() > bytes_max));
        if overflows || next.is_cut {
            let greatest = facts.greatest().map(Fact::kept);
            next.kept.retain(|state, _| Some(*state) == greatest);
        }
        next
    }

    /// The size of what is kept in bytes, each distinct value of a member counted once.
    fn bytes(&self) -> usize {
        let values = self.kept.values().flat_map(Kept::values);
        let distinct: BTreeSet<_> = values
            .map(|(path, value)| (path, value.to_string()))
            .collect();
        distinct
            .iter()
            .map(|(path, value)| path.len() + value.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kept_states_come_back_from_their_values() {
        for (extract, customer) in [
            (json!({}), None),
            (
                json!({"status": "a", "items": [{"x": 1}], "metadata": {}}),
                Some("cus_1"),
            ),
            (
                json!({"metadata": {"a": "1", "": "2", "/b/": {"c": 3}}}),
                None,
            ),
            (json!({"metadata": "odd", "deleted": true}), Some("")),
        ] {
            let kept = Kept {
                extract,
                customer: customer.map(str::to_owned),
            };
            assert_eq!(Kept::from_values(kept.values()), kept);
        }
    }

    #[test]
    fn the_customer_is_part_of_what_is_kept() {
        let kept = |customer: Option<&str>| Kept {
            extract: json!({"status": "a"}),
            customer: customer.map(str::to_owned),
        };
        let hashes = [kept(None), kept(Some("cus_a")), kept(Some("cus_b"))].map(|kept| kept.hash());
        assert_eq!(BTreeSet::from(hashes).len(), 3);
    }

    #[test]
    fn a_value_that_many_states_share_counts_once() {
        let state = |n: usize| Kept {
            extract: json!({"metadata": {"n": n.to_string(), "long": "x".repeat(10_000)}}),
            customer: None,
        };
        let states = States {
            kept: (0..10).map(|n| (state(n).hash(), state(n))).collect(),
            is_cut: false,
        };
        assert!(
            (10_000..10_500).contains(&states.bytes()),
            "{}",
            states.bytes()
        );
    }
}
