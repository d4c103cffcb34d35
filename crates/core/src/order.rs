//! The order of events: which snapshot of an object counts, whatever order its events arrive in.
//!
//! A row shows the winning snapshot of the newest second that an object's events name. Within one second `created`
//! cannot tell which event came last, so the row keeps the facts of all events of that second, the *ties*: the state
//! of the object after each and, where `previous_attributes` tell it, before. Read as a path from state to state they
//! name the last one (the module `path` says how). Of the second before the newest the row keeps the ties as well, as its
//! *base*: a path that ends where it began (active → past_due → active) does not show where that is, but the base may.
//!
//! Beside that stand two things that reach across seconds. A *final* state, such as a canceled subscription, is left only
//! by an event whose own old values say so: a later snapshot that merely says otherwise changes nothing. So the row keeps
//! the facts of final states of the newest second that has any, as its *last final*, while a newer second that is not
//! final is there; and the *floor*, the newest second that ends what was final before it. And the *firsts* are the least
//! seconds of some kinds of events.
//!
//! [`merge`] is all there is to it: it takes the stored row and what is learned, and says what the row becomes. Its
//! laws hold exactly, for everything a row holds, and rest on this: **a row is a function of the set of what was learned**.
//!
//! - *Commutative and associative:* any order of events, and any interleaving with reads, ends in the same row.
//! - *Idempotent:* what is learned a second time changes nothing, at any later time.
//! - *Sound:* if a winner is called decided and every event of its second and of its base has been seen, it is the last state.
//!
//! Nothing is forgotten that could matter again. Seconds only move forward, so a second older than the base can
//! neither become the base nor the newest. What a second tells the next one depends on its own events only, so
//! nothing older has an effect. The floor, the second of the last final and the firsts are maxima and minima. What is
//! bounded is bounded by counts that only grow: of the events of a second, and of the bytes that they ever told.
//! After a read, events of that second and older are absorbed: the base goes with them.
//!
//! The laws ask two things of a caller: an event's second is part of its identity (`created` is), and what a reader sees
//! in a snapshot is a function of the state, so it reads nothing that [`StateHash::of`] skips.
//!
//! This module knows no store and no clock. It cannot see an event that never arrived, as long as the
//! others make a path without it.

mod fact;
mod kept;
mod path;
mod pieces;
mod state;
mod table;
mod ties;

#[cfg(test)]
mod counterexamples;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use fact::{Fact, Observed, Shown};
pub use kept::{Kept, States};
pub use state::{Digest, Malformed, StateHash};
pub use ties::{Facts, Learned, MAX_FACTS, Read, Ties, Winner};

use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeMap};
use ties::Beside;

/// More bytes than this of distinct values, told by the live states of one second, and only the greatest fact's are kept.
///
/// Together with [`MAX_FINAL_BYTES`] and the facts they fit an item of DynamoDB, which holds 400 KB.
pub const MAX_LIVE_BYTES: usize = 256 * 1024;

/// The same for the final states of one second.
pub const MAX_FINAL_BYTES: usize = 96 * 1024;

/// The order's part of the row of one object.
///
/// A store can write most events, the first or one of a newer second, without reading: the new row is
/// [`Row::first`], except that its base is the `ties` and the `second` of the row it replaces, copied as they are
/// (or left empty if there is none), and that floor and firsts stay unless the new row brings its own. That holds unless
/// the stored row [keeps a final state](Row::final_second) and the event does not show one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The newest second that is known of, in Unix time.
    pub second: i64,
    /// What is known of it.
    pub ties: Ties,
    /// What is kept of its live states, any of which a later event can make the winner; or of the state that was read.
    #[serde(default, skip_serializing_if = "States::is_empty")]
    pub live: States,
    /// What is kept of its final states.
    #[serde(default, skip_serializing_if = "States::is_empty")]
    pub finals: States,
    /// What is known of the newest second before.
    #[serde(default, skip_serializing_if = "Base::is_empty")]
    pub base: Base,
    /// The newest second that ends what was final before it: of a read, or of an event that leaves a final state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<i64>,
    /// What is known of final states in an older second, if the newest has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_final: Option<LastFinal>,
    /// The least seconds of some kinds of events, see [`First`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub firsts: BTreeMap<First, i64>,
}

/// What a row keeps of the newest second before its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The second, in Unix time; without meaning if nothing is known.
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

/// What a row keeps of the newest second in which its object was in a final state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastFinal {
    /// The second, in Unix time.
    pub second: i64,
    /// What is known of its final states.
    pub ties: Ties,
    /// What is kept of them.
    pub states: States,
}

/// Something that happens to an object for a first time, of which a row keeps the second.
///
/// It is told by every event that shows it, so the least second counts, whatever becomes of the event's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum First {
    /// A payment of the invoice failed.
    #[serde(rename = "first_payment_failed_at")]
    PaymentFailed,
    /// The checkout session was shown as paid.
    #[serde(rename = "first_paid_at")]
    Paid,
    /// The dispute was shown as lost.
    #[serde(rename = "first_lost_at")]
    Lost,
}

impl First {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::PaymentFailed, Self::Paid, Self::Lost];

    /// The name of the member that shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PaymentFailed => "first_payment_failed_at",
            Self::Paid => "first_paid_at",
            Self::Lost => "first_lost_at",
        }
    }
}

/// Something learned about an object, with the state it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// The second it tells about, in Unix time.
    ///
    /// Of an event it is `created`. Of a read it is a second that was surely over in Stripe when the read began:
    /// that second and all before it are settled by the read, events of a later second still count.
    pub second: i64,
    /// What is learned.
    pub learned: Learned,
    /// What a row keeps of this state.
    pub kept: Kept,
    /// Whether the object came to be in this second although its id may have been another's before.
    pub begins_anew: bool,
    /// What happened for a first time, if this is the first event that tells it.
    pub first: Option<First>,
}

impl Incoming {
    /// What an event tells; `kept` is what its fact was made of.
    pub fn event(second: i64, fact: Fact, kept: Kept) -> Self {
        debug_assert_eq!(fact.kept(), kept.hash());
        Self {
            second,
            learned: Learned::Event(fact),
            kept,
            begins_anew: false,
            first: None,
        }
    }

    /// What a read tells.
    pub fn read(second: i64, kept: Kept, is_final: bool) -> Self {
        let read = Read {
            is_final,
            kept: kept.hash(),
        };
        Self {
            second,
            learned: Learned::Read(read),
            kept,
            begins_anew: false,
            first: None,
        }
    }

    /// The second that ends what was final before it, or in it.
    fn floor(&self) -> Option<i64> {
        match &self.learned {
            Learned::Read(_) => Some(self.second),
            Learned::Event(fact) if fact.leaves_final() => Some(self.second),
            // What became final in this very second is of this life.
            Learned::Event(_) => self.begins_anew.then(|| self.second.saturating_sub(1)),
        }
    }

    fn firsts(&self) -> BTreeMap<First, i64> {
        self.first
            .map(|first| (first, self.second))
            .into_iter()
            .collect()
    }
}

/// What a row becomes.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every merge changes the row, and none is kept for long"
)]
pub enum Merged {
    /// The row changes to this one. Its winner may be another, or only what it knows.
    Changed(Row),
    /// The event is one of the row's already, or its second has been read or has overflown without it mattering.
    Known,
    /// The event is of a second that no longer matters.
    Stale,
}

/// Merges what is learned into the stored row of its object.
///
/// ```
/// # use billhook_core::order::*;
/// # use serde_json::{Value, json};
/// let look = |snapshot: &Value| {
///     let kept = Kept { extract: json!({"status": snapshot["status"]}), customer: None };
///     Shown { kept, ..Shown::default() }
/// };
/// let event = |event, event_type, status, previous| {
///     let snapshot = json!({"id": "sub_1", "status": status});
///     let shown = look(&snapshot);
///     let fact = Fact::of(&Observed {
///         event,
///         event_type,
///         request: None,
///         api_version: Some("2025-09-30.clover"),
///         snapshot: &snapshot,
///         previous,
///         shown: &shown,
///         look: &look,
///     });
///     Incoming::event(1760000002, fact, shown.kept)
/// };
/// let before = json!({"status": "incomplete"});
/// let created = event("evt_1", "customer.subscription.created", "incomplete", None);
/// let updated = event("evt_2", "customer.subscription.updated", "active", Some(&before));
///
/// // The second event arrives first, and both are of one second.
/// let row = Row::first(&updated);
/// let Merged::Changed(row) = merge(Some(&row), &created) else { panic!("a new fact") };
/// assert_eq!(row.shown().kept.extract, json!({"status": "active"}));
/// assert!(row.shown().decided);
/// assert_eq!(merge(Some(&row), &created), Merged::Known);
/// ```
pub fn merge(stored: Option<&Row>, incoming: &Incoming) -> Merged {
    let Some(row) = stored else {
        return Merged::Changed(Row::first(incoming));
    };
    let next = row.with(incoming);
    if next != *row {
        return Merged::Changed(next);
    }
    let is_base = !row.base.is_empty() && incoming.second == row.base.second;
    match incoming.second == row.second || is_base {
        true => Merged::Known,
        false => Merged::Stale,
    }
}

/// What a row shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Showing<'a> {
    /// What is kept of the state.
    pub kept: &'a Kept,
    /// The second in which the object was in it, in Unix time.
    pub second: i64,
    /// An event that shows the state, the first by id; none after a read.
    pub event: Option<String>,
    /// Whether the state is surely the last one. If not, the row needs a refetch.
    pub decided: bool,
}

impl Row {
    /// The row of an object of which nothing else is known.
    pub fn first(incoming: &Incoming) -> Self {
        let mut row = Self {
            second: incoming.second,
            floor: incoming.floor(),
            firsts: incoming.firsts(),
            ..Self::default()
        };
        row.learn(incoming);
        row
    }

    /// The state that the row shows, and whether it is surely the last one.
    pub fn shown(&self) -> Showing<'_> {
        static NOTHING: Kept = Kept {
            extract: serde_json::Value::Null,
            customer: None,
        };
        let (second, winner, [first, second_choice]) = self.winner();
        let kept = first.get(winner.kept);
        let kept = kept.or_else(|| second_choice.get(winner.kept));
        Showing {
            kept: kept.unwrap_or(&NOTHING),
            second,
            event: winner.event,
            decided: winner.decided,
        }
    }

    /// The winner, its second, and where what is kept of it is to be found.
    fn winner(&self) -> (i64, Winner, [&States; 2]) {
        let own = self.ties.winner(
            self.base.ties.surely_last(),
            Beside {
                final_was_left: self.floor == Some(self.second),
                live_is_cut: self.live.is_cut,
                finals_are_cut: self.finals.is_cut,
            },
        );
        match &self.last_final {
            Some(last) if !own.is_final => {
                let beside = Beside {
                    finals_are_cut: last.states.is_cut,
                    ..Beside::default()
                };
                let winner = last.ties.winner(None, beside);
                (last.second, winner, [&last.states, &last.states])
            }
            _ if own.is_final => (self.second, own, [&self.finals, &self.live]),
            _ => (self.second, own, [&self.live, &self.finals]),
        }
    }

    /// The newest second of a final state that the row keeps; none if it keeps no final state. While it does, an event
    /// that shows no final state must not be written without reading.
    pub fn final_second(&self) -> Option<i64> {
        match &self.last_final {
            Some(last) => Some(last.second),
            None => self.has_own_final().then_some(self.second),
        }
    }

    /// Whether the newest second has a final state that a later one does not undo.
    fn has_own_final(&self) -> bool {
        self.ties.has_final() && (self.ties.is_read() || self.is_above_floor(self.second))
    }

    fn is_above_floor(&self, second: i64) -> bool {
        self.floor.is_none_or(|floor| second > floor)
    }

    fn with(&self, incoming: &Incoming) -> Self {
        let mut next = self.clone();
        for (first, second) in incoming.firsts() {
            let least = next.firsts.entry(first).or_insert(second);
            *least = second.min(*least);
        }
        match incoming.second.cmp(&self.second) {
            Ordering::Greater => next.follow(incoming),
            Ordering::Equal => next.learn(incoming),
            Ordering::Less => next.look_back(incoming),
        }
        next.floor = next.floor.max(incoming.floor());
        if incoming.learned.is_final() && incoming.second < next.second {
            next.learn_final(incoming);
        }
        next.forget();
        next
    }

    /// Takes a newer second, of which only this is known.
    fn follow(&mut self, incoming: &Incoming) {
        if self.has_own_final() {
            let states = if self.ties.is_read() {
                std::mem::take(&mut self.live)
            } else {
                std::mem::take(&mut self.finals)
            };
            self.last_final = Some(LastFinal {
                second: self.second,
                ties: self.ties.finals(),
                states,
            });
        }
        self.base = Base {
            second: self.second,
            ties: std::mem::take(&mut self.ties),
        };
        (self.live, self.finals) = Default::default();
        self.second = incoming.second;
        self.learn(incoming);
    }

    /// Takes what is learned about the newest second.
    fn learn(&mut self, incoming: &Incoming) {
        let next = self.ties.with(&incoming.learned);
        match (&next, &incoming.learned) {
            (Ties::Read(read), Learned::Read(learned)) => {
                if read == learned {
                    self.live = States::only(read.kept, incoming.kept.clone());
                }
                self.finals = States::default();
            }
            // A read absorbs the events of its second, and no second that was read is told again.
            (Ties::Read(_), Learned::Event(_)) | (Ties::Told { .. }, Learned::Read(_)) => {}
            (Ties::Told { .. }, Learned::Event(fact)) => {
                let is_final = fact.is_final();
                let (states, bytes_max) = match is_final {
                    true => (&mut self.finals, MAX_FINAL_BYTES),
                    false => (&mut self.live, MAX_LIVE_BYTES),
                };
                let facts = next.facts(is_final);
                *states = states.with(fact.kept(), &incoming.kept, facts, bytes_max);
            }
        }
        self.ties = next;
        // Nothing of its second comes after a deletion, and what was deleted is not to be kept.
        if self.ties.has_deletion() {
            self.live = States::default();
        }
    }

    /// Takes what is learned about an older second: it can be the base, or become it, and so change the winner.
    fn look_back(&mut self, incoming: &Incoming) {
        let known = match incoming.second.cmp(&self.base.second) {
            Ordering::Less if !self.base.is_empty() => return,
            Ordering::Equal => std::mem::take(&mut self.base.ties),
            Ordering::Less | Ordering::Greater => Ties::default(),
        };
        self.base = Base {
            second: incoming.second,
            ties: known.with(&incoming.learned),
        };
    }

    /// Takes a final state of an older second, if it is above the floor or was read at it, and none newer is known.
    fn learn_final(&mut self, incoming: &Incoming) {
        let is_read = matches!(incoming.learned, Learned::Read(_));
        let counts = match self.floor {
            Some(floor) if is_read => incoming.second >= floor,
            _ => self.is_above_floor(incoming.second),
        };
        if !counts {
            return;
        }
        let mut known = Self {
            second: incoming.second,
            ..Self::default()
        };
        match self.last_final.take() {
            Some(newer) if newer.second > incoming.second => {
                self.last_final = Some(newer);
                return;
            }
            Some(same) if same.second == incoming.second => {
                match same.ties.is_read() {
                    true => known.live = same.states,
                    false => known.finals = same.states,
                }
                known.ties = same.ties;
            }
            Some(_) | None => {}
        }
        known.learn(incoming);
        self.last_final = Some(LastFinal {
            second: incoming.second,
            states: if known.ties.is_read() {
                known.live
            } else {
                known.finals
            },
            ties: known.ties,
        });
    }

    /// Drops what no longer matters.
    fn forget(&mut self) {
        if self.ties.is_read() || self.base.is_empty() {
            self.base = Base::default();
        }
        let floor = self.floor;
        let has_own = self.has_own_final();
        let is_over = |last: &mut LastFinal| {
            let is_below = match last.ties.is_read() {
                true => floor.is_some_and(|floor| last.second < floor),
                false => floor.is_some_and(|floor| last.second <= floor),
            };
            has_own || is_below
        };
        self.last_final.take_if(is_over);
    }
}
