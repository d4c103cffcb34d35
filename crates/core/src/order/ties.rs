//! What a row keeps of one second: the facts of its events, as one short text.

use super::fact::Fact;
use super::path;
use super::state::{Digest, Malformed, StateHash};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// A second with more events than this keeps only the greatest of their facts.
///
/// The largest second seen for one object has six; 32 facts and their states fit an item with room to spare.
pub const MAX_FACTS: usize = 32;

/// What is known of one second of one object.
///
/// It grows in one direction only: to more facts, from too many facts to an overflow, and from anything to a
/// refetch. Whatever is added, the result is the same in any order and any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ties {
    /// The facts of its events, sorted by event. None at all stands for a second that is not there.
    Facts(Vec<Fact>),
    /// There were more than [`MAX_FACTS`] events; this is the greatest fact.
    Overflow(Box<Fact>),
    /// The object was read from Stripe after this second, in this state, which settles the second.
    Refetched(StateHash),
}

/// Something that is learned about a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// What an event tells.
    Event(Fact),
    /// The state that the object was in when it was read from Stripe, after the second had passed.
    Refetch(StateHash),
}

impl Learned {
    /// The state that it shows.
    pub fn state(&self) -> StateHash {
        match self {
            Self::Event(fact) => fact.after,
            Self::Refetch(state) => *state,
        }
    }
}

/// Which state of a second counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// The state.
    pub state: StateHash,
    /// An event that shows the state, the first by id; none after a refetch.
    pub event: Option<String>,
    /// Whether the state is surely the last of its second. If not, the row needs a refetch.
    pub decided: bool,
}

impl Default for Ties {
    fn default() -> Self {
        Self::Facts(Vec::new())
    }
}

impl Ties {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Facts(facts) if facts.is_empty())
    }

    /// These ties with something more learned, or none where that changes nothing.
    pub(super) fn with(&self, learned: &Learned) -> Option<Self> {
        let with = match (self, learned) {
            (Self::Refetched(state), Learned::Refetch(other)) => Self::Refetched(*state.max(other)),
            (_, Learned::Refetch(state)) => Self::Refetched(*state),
            (Self::Refetched(_), Learned::Event(_)) => return None,
            (Self::Overflow(greatest), Learned::Event(fact)) => {
                Self::Overflow(Box::new(fact.max(&**greatest).clone()))
            }
            (Self::Facts(facts), Learned::Event(fact)) => Self::of_facts(with_fact(facts, fact)),
        };
        (with != *self).then_some(with)
    }

    fn of_facts(facts: Vec<Fact>) -> Self {
        if facts.len() <= MAX_FACTS {
            return Self::Facts(facts);
        }
        match facts.into_iter().max() {
            Some(greatest) => Self::Overflow(Box::new(greatest)),
            None => Self::default(),
        }
    }

    /// The state that counts, given what is known of the second before.
    pub(super) fn winner(&self, base: &Ties) -> Winner {
        let decided = match self {
            Self::Facts(facts) => path::last_state(facts, base.surely_last()),
            Self::Overflow(_) => None,
            Self::Refetched(state) => Some(*state),
        };
        let state = decided
            .or_else(|| path::best_guess(self.facts()))
            .unwrap_or(Digest::of_text(""));
        let shows = self.facts().iter().find(|fact| fact.after == state);
        Winner {
            state,
            event: shows.map(|fact| fact.event.clone()),
            decided: decided.is_some(),
        }
    }

    /// The last state, where the second tells it without help.
    ///
    /// A second tells the next one only what its own events tell: then a row depends on two seconds and no more. And
    /// what was read from Stripe is no such state, as it may show changes later than the second.
    fn surely_last(&self) -> Option<StateHash> {
        match self {
            Self::Facts(facts) => path::last_state(facts, None),
            Self::Overflow(_) | Self::Refetched(_) => None,
        }
    }

    /// All states that one of them may be the winner.
    pub(super) fn states(&self) -> BTreeSet<StateHash> {
        match self {
            Self::Facts(_) | Self::Overflow(_) => {
                self.facts().iter().map(|fact| fact.after).collect()
            }
            Self::Refetched(state) => [*state].into(),
        }
    }

    fn facts(&self) -> &[Fact] {
        match self {
            Self::Facts(facts) => facts,
            Self::Overflow(fact) => std::slice::from_ref(fact),
            Self::Refetched(_) => &[],
        }
    }
}

/// The facts with one more; of two facts of one event the greater stays.
fn with_fact(facts: &[Fact], fact: &Fact) -> Vec<Fact> {
    let mut facts = facts.to_vec();
    match facts.binary_search_by(|other| other.event.cmp(&fact.event)) {
        Ok(at) if *fact > facts[at] => facts[at] = fact.clone(),
        Ok(_) => {}
        Err(at) => facts.insert(at, fact.clone()),
    }
    facts
}

/// Written as the facts with a space between, `!` before the one fact of an overflow, or `=` before a refetched state.
impl fmt::Display for Ties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Facts(facts) => {
                let mut space = "";
                facts
                    .iter()
                    .try_for_each(|fact| write!(f, "{}{fact}", std::mem::replace(&mut space, " ")))
            }
            Self::Overflow(fact) => write!(f, "!{fact}"),
            Self::Refetched(state) => write!(f, "={state}"),
        }
    }
}

impl FromStr for Ties {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Some(fact) = text.strip_prefix('!') {
            return Ok(Self::Overflow(Box::new(fact.parse()?)));
        }
        if let Some(state) = text.strip_prefix('=') {
            return Ok(Self::Refetched(state.parse()?));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let facts = text
            .split(' ')
            .map(str::parse)
            .collect::<Result<Vec<Fact>, _>>()?;
        // The search in them relies on the order.
        match facts.is_sorted_by(|one, next| one.event < next.event) {
            true => Ok(Self::Facts(facts)),
            false => Err(Malformed),
        }
    }
}

impl Serialize for Ties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
