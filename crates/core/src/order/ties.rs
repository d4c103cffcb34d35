//! What a row keeps of one second: the facts of its events, as one short text.

use super::fact::{Fact, Life};
use super::path::{self, Last};
use super::state::{Malformed, StateHash};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// Of a second with more events than this, of live states or of final ones, only the greatest fact is kept.
///
/// The largest second seen for one object has six; 32 facts and their states fit an item with room to spare.
pub const MAX_FACTS: usize = 32;

/// What is known of one second of one object.
///
/// It grows in one direction only: to more facts, from too many facts to an overflow, and from anything to a
/// read. Whatever is added, the result is the same in any order and any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ties {
    /// What its events tell. None at all stands for a second that is not there.
    Told {
        /// The facts of states that are not final.
        live: Facts,
        /// The facts of final states. They are bounded by themselves, so that they are the same whether they are
        /// collected together with the others or alone.
        finals: Facts,
    },
    /// The object was read from Stripe after this second, which settles the second.
    Read(Read),
}

/// Facts of one second, no two of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// All of them, sorted by event.
    All(Vec<Fact>),
    /// There were more than [`MAX_FACTS`] events; this is the greatest fact.
    Overflow(Box<Fact>),
}

/// The state that an object was in when it was read from Stripe. Of two reads in one second the greater counts, a final
/// one before any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// Whether the state is final. That the object was not found is not.
    pub is_final: bool,
    /// The hash of what is kept of it.
    pub kept: StateHash,
}

/// Something that is learned about a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// What an event tells.
    Event(Fact),
    /// How the object was when it was read from Stripe, after the second had passed.
    Read(Read),
}

impl Learned {
    /// The hash of what is kept of the state that it shows.
    pub fn kept(&self) -> StateHash {
        match self {
            Self::Event(fact) => fact.kept(),
            Self::Read(read) => read.kept,
        }
    }

    /// Whether it shows a final state.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Event(fact) => fact.is_final,
            Self::Read(read) => read.is_final,
        }
    }
}

/// Which state counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// The hash of what is kept of it.
    pub kept: StateHash,
    /// An event that shows the state, the first by id; none after a read.
    pub event: Option<String>,
    /// Whether the state is surely the last one. If not, the row needs a refetch.
    pub decided: bool,
    /// Whether the state is final.
    pub(super) is_final: bool,
}

/// What the row knows of a second beside its facts, where that has a say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    /// An event of the second left a final state, so what is not final may have come later.
    pub(super) final_was_left: bool,
    /// What is kept of its live states, or of its final ones, was too much.
    pub(super) live_is_cut: bool,
    pub(super) finals_are_cut: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Facts {
    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn as_slice(&self) -> &[Fact] {
        match self {
            Self::All(facts) => facts,
            Self::Overflow(fact) => std::slice::from_ref(fact),
        }
    }

    pub(super) fn greatest(&self) -> Option<&Fact> {
        self.as_slice().iter().max()
    }

    fn overflows(&self) -> bool {
        matches!(self, Self::Overflow(_))
    }

    /// These facts with one more; of two facts of one event the greater stays.
    fn with(&self, fact: &Fact) -> Self {
        let mut facts = match self {
            Self::All(facts) => facts.clone(),
            Self::Overflow(greatest) => {
                return Self::Overflow(Box::new(fact.max(&**greatest).clone()));
            }
        };
        match facts.binary_search_by(|other| other.event.cmp(&fact.event)) {
            Ok(at) if *fact > facts[at] => facts[at] = fact.clone(),
            Ok(_) => {}
            Err(at) => facts.insert(at, fact.clone()),
        }
        if facts.len() <= MAX_FACTS {
            return Self::All(facts);
        }
        match facts.into_iter().max() {
            Some(greatest) => Self::Overflow(Box::new(greatest)),
            None => Self::default(),
        }
    }
}

impl Default for Ties {
    fn default() -> Self {
        Self::Told {
            live: Facts::default(),
            finals: Facts::default(),
        }
    }
}

impl Ties {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Told { live, finals } if live.is_empty() && finals.is_empty())
    }

    /// Whether the object was read from Stripe after the second.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read(_))
    }

    /// Whether the object was deleted in it. Of all facts deletions are the greatest, so none is lost in an overflow.
    pub(super) fn has_deletion(&self) -> bool {
        let finals = self.facts(true).as_slice();
        finals.iter().any(|fact| fact.life == Life::End)
    }

    /// Whether a final state is among what is known.
    pub(super) fn has_final(&self) -> bool {
        match self {
            Self::Told { finals, .. } => !finals.is_empty(),
            Self::Read(read) => read.is_final,
        }
    }

    /// What is known of final states alone.
    pub(super) fn finals(&self) -> Self {
        match self {
            Self::Told { finals, .. } => Self::Told {
                live: Facts::default(),
                finals: finals.clone(),
            },
            Self::Read(read) => Self::Read(*read),
        }
    }

    /// The facts of final states, or of the others.
    pub(super) fn facts(&self, is_final: bool) -> &Facts {
        static NONE: Facts = Facts::All(Vec::new());
        match self {
            Self::Told { finals, .. } if is_final => finals,
            Self::Told { live, .. } => live,
            Self::Read(_) => &NONE,
        }
    }

    /// These ties with something more learned.
    pub(super) fn with(&self, learned: &Learned) -> Self {
        match (self, learned) {
            (Self::Read(one), Learned::Read(other)) => Self::Read(*one.max(other)),
            (_, Learned::Read(read)) => Self::Read(*read),
            (Self::Read(read), Learned::Event(_)) => Self::Read(*read),
            (Self::Told { live, finals }, Learned::Event(fact)) if fact.is_final => Self::Told {
                live: live.clone(),
                finals: finals.with(fact),
            },
            (Self::Told { live, finals }, Learned::Event(fact)) => Self::Told {
                live: live.with(fact),
                finals: finals.clone(),
            },
        }
    }

    /// The state that counts, given what is known of the second before.
    pub(super) fn winner(&self, base: Option<Last>, beside: Beside) -> Winner {
        let (live, finals) = match self {
            Self::Told { live, finals } => (live, finals),
            Self::Read(read) => {
                return Winner {
                    kept: read.kept,
                    event: None,
                    decided: true,
                    is_final: read.is_final,
                };
            }
        };
        let Reading {
            facts,
            is_whole,
            finals_only,
        } = self.reading(beside);
        // What led to a final state no longer matters, so neither does where the second began, unless in a final state.
        let base = base.filter(|base| base.is_final || !finals_only);
        let last = path::last(&facts, base).filter(|_| is_whole);
        let kept = match last {
            Some(last) => last.kept,
            None if is_whole => path::best_guess(&facts).unwrap_or(StateHash::of_text("")),
            // Of an overflow only what the greatest fact shows is kept.
            None if finals.is_empty() => live.greatest().map_or(StateHash::of_text(""), Fact::kept),
            None => finals.greatest().map_or(StateHash::of_text(""), Fact::kept),
        };
        let whole = last.and_then(|last| last.whole);
        let shows = |fact: &&&Fact| {
            fact.after.kept == kept && whole.is_none_or(|whole| fact.after.whole == whole)
        };
        let shown = facts.iter().filter(shows).min_by_key(|fact| &fact.event);
        Winner {
            kept,
            event: shown.map(|fact| fact.event.clone()),
            decided: last.is_some(),
            is_final: facts.iter().filter(shows).any(|fact| fact.is_final),
        }
    }

    /// The last state, if the second tells it without help.
    ///
    /// A second tells the next one only what its own events tell: then a row depends on two seconds and no more. And
    /// what was read from Stripe is no such state, as it may show changes later than the second.
    pub(super) fn surely_last(&self) -> Option<Last> {
        let Reading {
            facts, is_whole, ..
        } = self.reading(Beside::default());
        path::last(&facts, None).filter(|_| is_whole)
    }

    /// The facts that have a say. Where a final state is told, what led to it no longer matters, unless an event says that
    /// a final state was left: then all are read.
    fn reading(&self, beside: Beside) -> Reading<'_> {
        let Self::Told { live, finals } = self else {
            return Reading {
                facts: Vec::new(),
                is_whole: false,
                finals_only: false,
            };
        };
        let live_is_whole = !live.overflows() && !beside.live_is_cut;
        let finals_are_whole = !finals.overflows() && !beside.finals_are_cut;
        let final_was_left =
            beside.final_was_left || live.as_slice().iter().any(Fact::leaves_final);
        if finals.is_empty() {
            return Reading {
                facts: live.as_slice().iter().collect(),
                is_whole: live_is_whole,
                finals_only: false,
            };
        }
        let mut facts: Vec<_> = finals.as_slice().iter().collect();
        if !final_was_left {
            return Reading {
                facts,
                is_whole: finals_are_whole,
                finals_only: true,
            };
        }
        // One event may tell a live state in one version and a final one in another; then the final one counts.
        let told_final = |fact: &&Fact| facts.iter().any(|other| other.event == fact.event);
        let others: Vec<_> = live.as_slice().iter().filter(|f| !told_final(f)).collect();
        facts.extend(others);
        Reading {
            facts,
            is_whole: live_is_whole && finals_are_whole,
            finals_only: false,
        }
    }
}

/// The facts of a second that have a say in which state is its last.
struct Reading<'a> {
    facts: Vec<&'a Fact>,
    /// Whether none of them is missing because there were too many.
    is_whole: bool,
    /// Whether they are the facts of final states.
    finals_only: bool,
}

/// Written as the facts with a space between, `!` before the one fact of an overflow; or `=` before a state that was read,
/// `=!` before a final one.
impl fmt::Display for Ties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (live, finals) = match self {
            Self::Told { live, finals } => (live, finals),
            Self::Read(read) if read.is_final => return write!(f, "=!{}", read.kept),
            Self::Read(read) => return write!(f, "={}", read.kept),
        };
        let mut space = "";
        for facts in [live, finals] {
            let mark = if facts.overflows() { "!" } else { "" };
            for fact in facts.as_slice() {
                write!(f, "{space}{mark}{fact}")?;
                space = " ";
            }
        }
        Ok(())
    }
}

impl FromStr for Ties {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Some(read) = text.strip_prefix('=') {
            let kept = read.strip_prefix('!').unwrap_or(read);
            return Ok(Self::Read(Read {
                is_final: kept.len() < read.len(),
                kept: kept.parse()?,
            }));
        }
        let (mut live, mut finals) = (Told::default(), Told::default());
        for text in text.split(' ').filter(|_| !text.is_empty()) {
            let fact: Fact = text.strip_prefix('!').unwrap_or(text).parse()?;
            let told = if fact.is_final {
                &mut finals
            } else {
                &mut live
            };
            told.overflow |= text.starts_with('!');
            told.facts.push(fact);
        }
        Ok(Self::Told {
            live: live.facts()?,
            finals: finals.facts()?,
        })
    }
}

/// Facts as they are read back.
#[derive(Default)]
struct Told {
    facts: Vec<Fact>,
    overflow: bool,
}

impl Told {
    fn facts(mut self) -> Result<Facts, Malformed> {
        if self.overflow {
            return match (self.facts.pop(), &self.facts[..]) {
                (Some(greatest), []) => Ok(Facts::Overflow(Box::new(greatest))),
                _ => Err(Malformed),
            };
        }
        // The search in them relies on the order.
        match self.facts.is_sorted_by(|one, next| one.event < next.event) {
            true => Ok(Facts::All(self.facts)),
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
