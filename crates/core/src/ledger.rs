//! The ledger: what became of each event.
//!
//! An outcome is a fact about the event, not about one delivery of it: its content is in the state, or was
//! deliberately left out, or could not be used. It is written when everything else is settled, so an event
//! that is in the ledger as applied is in the state, and one that is not can always be driven again.

use crate::scope::Scope;

/// Parked events are kept this long, in days, so that even a yearly event can be looked into.
pub const PARKED_RETENTION_DAYS: u32 = 400;

/// What became of an event. A later outcome replaces an earlier one, never the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It could not be used and waits for someone to look at it.
    Parked,
    /// It was deliberately left out of the state.
    Ignored,
    /// Its content is in the state, or in a later one.
    Applied,
}

impl Outcome {
    /// Every outcome, from the lowest.
    pub const ALL: [Self; 3] = [Self::Parked, Self::Ignored, Self::Applied];

    /// The name used in the ledger. Going up the outcomes, the names go down the alphabet: the store's
    /// condition compares them.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Ignored => "ignored",
            Self::Applied => "applied",
        }
    }

    /// The outcome of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// What the ledger holds about one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the event belongs; of a body that does not say, the stack's own mode.
    pub scope: Scope,
    /// The event's id as a token, or the hash of a body without one.
    pub name: String,
    /// When the event was created, in Unix seconds, where it says so.
    pub created: Option<i64>,
    /// The event's type, where it says so.
    pub event_type: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was ignored or parked.
    pub reason: Option<String>,
    /// When the delivery was received, in Unix milliseconds.
    pub received_at_ms: i64,
    /// The signed bytes.
    pub body: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_down_the_alphabet_as_outcomes_go_up() {
        assert!(Outcome::ALL.is_sorted());
        assert!(Outcome::ALL.is_sorted_by_key(|outcome| std::cmp::Reverse(outcome.name())));
    }
}
