//! The order of events: which snapshot of an object counts, whatever order its events arrive in.
//!
//! A row shows the winning snapshot of the newest second that an object's events name. Within one second `created`
//! cannot tell which event came last, so the row keeps the facts of all events of that second, the *ties*: the state
//! of the object after each and, where `previous_attributes` tell it, before. Read as a path from state to state they
//! name the last one (the module `path` says how). Of the second before the newest the row keeps the ties as well, as its
//! *base*: a path that ends where it began (active → past_due → active) does not show where that is, but the base may.
//!
//! [`merge`] is all there is to it: it takes the stored row and what is learned, and says what the row becomes. Its
//! laws hold exactly, for everything a row holds, and rest on this: **a row is a function of the set of events seen**,
//! namely of those of the two newest seconds among them.
//!
//! - *Commutative and associative:* any order of events, and any interleaving with refetches, ends in the same row.
//! - *Idempotent:* what is learned a second time changes nothing, at any later time.
//! - *Sound:* where a winner is called decided and every event of its second and of its base has been seen, it is the last state.
//!
//! Nothing is forgotten that could matter again. Seconds only move forward, so a second older than the base can
//! neither become the base nor the newest. What a second tells the next one depends on its own events only, so
//! nothing older has an effect. A second with more than [`MAX_FACTS`] events keeps the greatest fact, which is a
//! function of the set too. After a refetch, events of that second and older are absorbed: the base goes with them.
//!
//! The laws ask two things of a caller: an event's second is part of its identity (`created` is), and the extract, the
//! rank and the terminal mark are functions of the state, so read nothing from a snapshot that [`StateHash::of`] skips.
//!
//! This module knows no store, no customer and no clock. It cannot see an event that never arrived, as long as the
//! others make a path without it.

mod fact;
mod path;
mod state;
mod ties;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use fact::{Fact, Observed};
pub use state::{Digest, Malformed, StateHash};
pub use ties::{Learned, MAX_FACTS, Ties, Winner};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{cmp::Ordering, collections::BTreeMap};

/// The order's part of the row of one object.
///
/// A store can write the common event, the first or one of a newer second, without reading: the new row is
/// [`Row::first`], except that its base is the `ties` and the `second` of the row it replaces, copied as they are
/// (or left empty where there is none), and that no other extracts remain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The newest second that is known of, in Unix time.
    pub second: i64,
    /// What is known of it.
    pub ties: Ties,
    /// The extract of the winner: what the row shows.
    pub extract: Value,
    /// The extracts of the other states of the second, any of which a later event can make the winner.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<StateHash, Value>,
    /// What is known of the newest second before.
    #[serde(default, skip_serializing_if = "Base::is_empty")]
    pub base: Base,
}

/// What a row keeps of the newest second before its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The second, in Unix time; without meaning where nothing is known.
    pub second: i64,
    /// What is known of it.
    pub ties: Ties,
}

impl Base {
    /// Whether no older second is known.
    pub fn is_empty(&self) -> bool {
        self.ties.is_empty()
    }
}

/// Something learned about an object, with the state it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// The second it tells about, in Unix time.
    ///
    /// Of an event it is `created`. Of a refetch it is a second that was surely over in Stripe when the read began:
    /// that second and all before it are settled by the read, events of a later second still count.
    pub second: i64,
    /// What is learned.
    pub learned: Learned,
    /// What a row shows in this state.
    pub extract: Value,
}

/// What a row becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Merged {
    /// The row changes to this one. Its winner may be another, or only what it knows.
    Changed(Row),
    /// The event is one of the row's already, or its second has been refetched or has overflown without it mattering.
    Known,
    /// The event is of a second that no longer matters.
    Stale,
}

/// Merges what is learned into the stored row of its object.
///
/// ```
/// # use billhook_core::order::*;
/// # use serde_json::json;
/// let event = |event, event_type, status, previous| {
///     let snapshot = json!({"id": "sub_1", "status": status});
///     let fact = Fact::of(&Observed {
///         event,
///         event_type,
///         request: None,
///         api_version: Some("2025-09-30.clover"),
///         snapshot: &snapshot,
///         previous,
///         terminal: false,
///         rank: 0,
///     });
///     Incoming { second: 1760000002, learned: Learned::Event(fact), extract: json!({"status": status}) }
/// };
/// let before = json!({"status": "incomplete"});
/// let created = event("evt_1", "customer.subscription.created", "incomplete", None);
/// let updated = event("evt_2", "customer.subscription.updated", "active", Some(&before));
///
/// // The second event arrives first, and both are of one second.
/// let row = Row::first(&updated);
/// let Merged::Changed(row) = merge(Some(&row), &created) else { panic!("a new fact") };
/// assert_eq!(row.extract, json!({"status": "active"}));
/// assert!(row.winner().decided);
/// assert_eq!(merge(Some(&row), &created), Merged::Known);
/// ```
pub fn merge(stored: Option<&Row>, incoming: &Incoming) -> Merged {
    match stored {
        None => Merged::Changed(Row::first(incoming)),
        Some(row) if incoming.second > row.second => Merged::Changed(row.followed_by(incoming)),
        Some(row) if incoming.second == row.second => row.tied_with(incoming),
        Some(row) => row.preceded_by(incoming),
    }
}

impl Row {
    /// The row of an object of which nothing else is known.
    pub fn first(incoming: &Incoming) -> Self {
        let ties = Ties::default().with(&incoming.learned).unwrap_or_default();
        let extracts = BTreeMap::from([(incoming.learned.state(), incoming.extract.clone())]);
        Self::assemble(incoming.second, ties, extracts, Base::default())
    }

    /// The state that the row shows, and whether it is surely the last one.
    pub fn winner(&self) -> Winner {
        self.ties.winner(&self.base.ties)
    }

    fn followed_by(&self, incoming: &Incoming) -> Self {
        let next = Self::first(incoming);
        let base = Base {
            second: self.second,
            ties: self.ties.clone(),
        };
        Self::assemble(next.second, next.ties.clone(), next.extracts(), base)
    }

    fn tied_with(&self, incoming: &Incoming) -> Merged {
        let Some(ties) = self.ties.with(&incoming.learned) else {
            return Merged::Known;
        };
        let mut extracts = self.extracts();
        let text = |extract: &Value| extract.to_string();
        let state = incoming.learned.state();
        // One state has one extract. Should a caller break that, which one stays still does not depend on the order.
        if extracts.get(&state).map(text) < Some(text(&incoming.extract)) {
            extracts.insert(state, incoming.extract.clone());
        }
        Merged::Changed(Self::assemble(
            self.second,
            ties,
            extracts,
            self.base.clone(),
        ))
    }

    /// An older second can only be the base, or become it; through the base it can change the winner.
    fn preceded_by(&self, incoming: &Incoming) -> Merged {
        let base = match incoming.second.cmp(&self.base.second) {
            _ if self.is_settled() => return Merged::Stale,
            Ordering::Less if !self.base.is_empty() => return Merged::Stale,
            Ordering::Equal => self.base.ties.clone(),
            Ordering::Less | Ordering::Greater => Ties::default(),
        };
        let Some(ties) = base.with(&incoming.learned) else {
            return Merged::Known;
        };
        let base = Base {
            second: incoming.second,
            ties,
        };
        Merged::Changed(Self::assemble(
            self.second,
            self.ties.clone(),
            self.extracts(),
            base,
        ))
    }

    /// Whether a refetch has settled the row's second, so that nothing before it matters any more.
    fn is_settled(&self) -> bool {
        matches!(self.ties, Ties::Refetched(_))
    }

    /// The extracts of all states of the second. The row's own belongs to the one state that is not among the others.
    fn extracts(&self) -> BTreeMap<StateHash, Value> {
        let shown = self
            .ties
            .states()
            .into_iter()
            .find(|state| !self.others.contains_key(state));
        let shown = shown.map(|state| (state, self.extract.clone()));
        self.others.clone().into_iter().chain(shown).collect()
    }

    fn assemble(
        second: i64,
        ties: Ties,
        mut extracts: BTreeMap<StateHash, Value>,
        base: Base,
    ) -> Self {
        let states = ties.states();
        extracts.retain(|state, _| states.contains(state));
        let mut row = Self {
            second,
            ties,
            extract: Value::Null,
            others: extracts,
            base,
        };
        if row.is_settled() || row.base.is_empty() {
            row.base = Base::default();
        }
        row.extract = row.others.remove(&row.winner().state).unwrap_or_default();
        row
    }
}
