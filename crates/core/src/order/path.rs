//! The last state of one second, found from the facts of its events.
//!
//! Changes are edges from a state to a state, all other facts are single states. Three rules tell the last state; the
//! first that does decides, and each is tried for every second that the one before it leaves open.
//!
//! 1. *Whole objects.* If every event of the second is here, the object walked along all edges, each as often as it
//!    happened: an Euler path. Its end is the last state.
//! 2. *Equal rows.* If all states that could be the last are kept as the same, it does not matter which one is.
//! 3. *Pieces.* A change that no event tells breaks the walk into pieces (the module `pieces`).
//!
//! A walk is looked for in every *reading* of the facts, since two things can be read in more than one way: which
//! of two possible states a change started from, and whether two like events without a request are one change told
//! twice or two changes. If the readings that allow a walk do not all end in one state, the end is not known.

use super::fact::{Change, Fact, Life, State};
use super::pieces;
use super::state::StateHash;
use std::collections::{BTreeMap, BTreeSet};

/// More combinations than this, of starts or of counts, are not looked at; then the end is not known.
const MAX_COMBINATIONS: usize = 32;

/// The last state of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// The whole of it, unless only what is kept of it is known.
    pub(super) whole: Option<StateHash>,
    /// What is kept of it.
    pub(super) kept: StateHash,
    /// Whether it is final.
    pub(super) is_final: bool,
}

/// The last state of a second whose events that have a say are `facts`, or none if they do not tell it.
///
/// `base` is the state before the second, if it is known.
pub(super) fn last(facts: &[&Fact], base: Option<Last>) -> Option<Last> {
    let End { whole, kept } = end(facts, base)?;
    let mut shows = facts.iter().filter(|fact| fact.after.kept == kept);
    Some(Last {
        whole,
        kept,
        is_final: shows.any(|fact| fact.is_final),
    })
}

/// The state in which a walk ends.
#[derive(Clone, Copy)]
struct End {
    whole: Option<StateHash>,
    kept: StateHash,
}

fn end(facts: &[&Fact], base: Option<Last>) -> Option<End> {
    let deletions: Vec<_> = facts
        .iter()
        .copied()
        .filter(|f| f.life == Life::End)
        .collect();
    if !deletions.is_empty() {
        return last_of_single_states(&deletions).or_else(|| equal_rows(&deletions));
    }
    if facts.iter().all(|fact| fact.change.is_none()) {
        let highest = highest_single_states(facts);
        return last_of_single_states(&highest).or_else(|| equal_rows(&highest));
    }
    let second = Second::of(facts, base);
    let readings = readings(facts);
    let readings = readings.as_deref();
    readings
        .and_then(|readings| second.end_of_walks(readings))
        .or_else(|| equal_rows(&later(facts)))
        .or_else(|| readings.and_then(|readings| second.end_of_pieces(readings)))
}

/// The state to show if the last one is not known: the best by rules that need no path.
///
/// A deletion, then a final state. Then a state that was not left as often as it was reached, and in which the object
/// was not only created; of those the one of the highest rank, and at last the one with the greatest hash.
pub(super) fn best_guess(facts: &[&Fact]) -> Option<StateHash> {
    let edges: BTreeSet<_> = facts
        .iter()
        .filter_map(|fact| {
            Some((
                fact.change.as_ref()?.before.first()?.whole,
                fact.after.whole,
            ))
        })
        .collect();
    let followed = |state: StateHash| {
        let left = edges.iter().filter(|(from, _)| *from == state).count();
        left > 0 && left >= edges.iter().filter(|(_, to)| *to == state).count()
    };
    let best = facts.iter().max_by_key(|fact| {
        let open = fact.life != Life::Begin && !followed(fact.after.whole);
        (
            fact.life == Life::End,
            fact.is_final,
            open,
            fact.rank,
            fact.after,
        )
    });
    best.map(|fact| fact.after.kept)
}

/// What may have come last: everything but a creation, unless there is nothing else.
fn later<'a>(facts: &[&'a Fact]) -> Vec<&'a Fact> {
    let later = facts
        .iter()
        .copied()
        .filter(|fact| fact.life != Life::Begin);
    match later.collect::<Vec<_>>() {
        later if later.is_empty() => facts.to_vec(),
        later => later,
    }
}

/// Without changes: what was only created has been followed by any other state, and of those the last is one of the
/// highest rank.
fn highest_single_states<'a>(facts: &[&'a Fact]) -> Vec<&'a Fact> {
    let mut highest = later(facts);
    let place = |fact: &Fact| (fact.is_final, fact.rank);
    let top = highest.iter().map(|fact| place(fact)).max();
    highest.retain(|fact| Some(place(fact)) == top);
    highest
}

/// The one state that all of them show, if they do.
fn last_of_single_states(facts: &[&Fact]) -> Option<End> {
    let whole = only(facts.iter().map(|fact| fact.after.whole))?;
    Some(End {
        whole: Some(whole),
        kept: facts.iter().map(|fact| fact.after.kept).max()?,
    })
}

/// What is kept of all of them, if that is the same.
fn equal_rows(facts: &[&Fact]) -> Option<End> {
    let kept = only(facts.iter().map(|fact| fact.after.kept))?;
    Some(End { whole: None, kept })
}

/// The one state that all of them are, if they are.
pub(super) fn only(mut states: impl Iterator<Item = StateHash>) -> Option<StateHash> {
    let first = states.next()?;
    states.all(|state| state == first).then_some(first)
}

/// Where the walk of a second begins.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// In the state the object was created in.
    Created(State),
    /// In the state of the second before, unless events between are missing.
    Base(Last),
    Unknown,
}

impl Start {
    fn of(facts: &[&Fact], base: Option<Last>) -> Self {
        let created = facts.iter().filter(|fact| fact.life == Life::Begin);
        match (created.map(|fact| fact.after).min(), base) {
            (Some(created), _) => Self::Created(created),
            (None, Some(base)) => Self::Base(base),
            (None, None) => Self::Unknown,
        }
    }
}

/// A change from one state to another, as whole objects.
type Edge = (StateHash, StateHash);

/// One reading: how often each change happened.
pub(super) type Reading = BTreeMap<Edge, usize>;

/// What the facts of one second end in, by one reading of them.
pub(super) enum Walk {
    /// No walk uses all edges and meets all states: the reading is wrong, or events are missing.
    Impossible,
    Ends(StateHash),
    /// A closed circuit that may have begun, and so ended, in any of its states.
    EndsAnywhere,
}

/// What all readings of a second share.
struct Second {
    start: Start,
    /// The states that events show without telling a change.
    singles: BTreeSet<StateHash>,
    /// What is kept of each state.
    kept: BTreeMap<StateHash, StateHash>,
}

impl Second {
    fn of(facts: &[&Fact], base: Option<Last>) -> Self {
        let singles = facts.iter().filter(|fact| fact.change.is_none());
        let before = facts.iter().filter_map(|fact| fact.change.as_ref());
        let before = before.flat_map(|change| &change.before).copied();
        // What an event shows counts more than what was computed from old values.
        let shown: BTreeSet<_> = facts.iter().map(|fact| fact.after).collect();
        let before: BTreeSet<_> = before.collect();
        let kept = before.iter().chain(&shown);
        Self {
            start: Start::of(facts, base),
            singles: singles.map(|fact| fact.after.whole).collect(),
            kept: kept.map(|state| (state.whole, state.kept)).collect(),
        }
    }

    /// The rule of whole objects.
    fn end_of_walks(&self, readings: &[Reading]) -> Option<End> {
        let walks = readings.iter().map(|reading| self.walk(reading));
        let whole = end_of_all(walks)?;
        let kept = *self.kept.get(&whole)?;
        Some(End {
            whole: Some(whole),
            kept,
        })
    }

    /// The rule of pieces.
    fn end_of_pieces(&self, readings: &[Reading]) -> Option<End> {
        let walks = readings
            .iter()
            .map(|reading| pieces::walk(reading, &self.singles, &self.kept, self.start));
        end_of_all(walks).map(|kept| End { whole: None, kept })
    }

    fn walk(&self, edges: &Reading) -> Walk {
        let states: BTreeSet<_> = edges.keys().flat_map(|(from, to)| [*from, *to]).collect();
        if !self.singles.is_subset(&states) || !are_connected(edges.keys(), &states) {
            return Walk::Impossible;
        }
        let base = match self.start {
            Start::Base(base) => base.whole,
            Start::Created(_) | Start::Unknown => None,
        };
        // A base that lies on the path and does not begin it: something between is missing.
        let passes_base = |from| base.is_some_and(|base| base != from && states.contains(&base));
        match (ends_of_degrees(edges), self.start) {
            (Ends::Path(from, _), Start::Created(created)) if from != created.whole => {
                Walk::Impossible
            }
            (Ends::Path(from, _), _) if passes_base(from) => Walk::Impossible,
            (Ends::Path(_, to), _) => Walk::Ends(to),
            (Ends::Circuit, Start::Created(at)) if states.contains(&at.whole) => {
                Walk::Ends(at.whole)
            }
            (Ends::Circuit, _) => match base.filter(|base| states.contains(base)) {
                Some(base) => Walk::Ends(base),
                None => Walk::EndsAnywhere,
            },
            (Ends::Neither, _) => Walk::Impossible,
        }
    }
}

/// The one end of all walks that are possible, if there is one.
fn end_of_all(walks: impl Iterator<Item = Walk>) -> Option<StateHash> {
    let mut ends = Vec::new();
    for walk in walks {
        match walk {
            Walk::Impossible => {}
            Walk::Ends(state) => ends.push(state),
            Walk::EndsAnywhere => return None,
        }
    }
    only(ends.into_iter())
}

/// All readings of the changes, or none if there are too many.
fn readings(facts: &[&Fact]) -> Option<Vec<Reading>> {
    let known: BTreeSet<_> = facts.iter().map(|fact| fact.after.whole).collect();
    let changes: Vec<_> = facts
        .iter()
        .filter_map(|fact| Some((fact, fact.change.as_ref()?)))
        .collect();
    let kinds: BTreeSet<_> = changes
        .iter()
        .map(|(fact, change)| (&change.before, fact.after.whole))
        .collect();
    let starts: Vec<_> = kinds
        .iter()
        .map(|(before, _)| possible_starts(before, &known))
        .collect();

    let mut readings = Vec::new();
    for choice in combinations(&starts)? {
        let start_of: BTreeMap<_, _> = kinds.iter().copied().zip(choice).collect();
        let mut edges: BTreeMap<Edge, Vec<&Change>> = BTreeMap::new();
        for (fact, change) in &changes {
            if let Some(from) = start_of.get(&(&change.before, fact.after.whole)) {
                edges
                    .entry((*from, fact.after.whole))
                    .or_default()
                    .push(change);
            }
        }
        let counts: Vec<_> = edges.values().map(|told| possible_counts(told)).collect();
        let of_choice = combinations(&counts)?
            .into_iter()
            .map(|counts| edges.keys().copied().zip(counts).collect());
        readings.extend(of_choice);
    }
    Some(readings)
}

/// A change starts from a state that is seen elsewhere; only the first change of a second may start from an unseen
/// one, and then it does not matter from which.
fn possible_starts(before: &[State], known: &BTreeSet<StateHash>) -> Vec<StateHash> {
    let before = before.iter().map(|state| state.whole);
    let seen: Vec<_> = before
        .clone()
        .filter(|state| known.contains(state))
        .collect();
    if seen.is_empty() {
        before.take(1).collect()
    } else {
        seen
    }
}

/// How often a change may have happened, given all events that tell it.
///
/// Stripe tells one change by events of several types, and sometimes twice: so events of different types never add
/// up, and of one type only those of different requests do. Without a request, two events may be either.
fn possible_counts(told: &[&Change]) -> Vec<usize> {
    let mut by_type: BTreeMap<_, (BTreeSet<_>, usize)> = BTreeMap::new();
    for change in told {
        let (requests, automatic) = by_type.entry(change.event_type).or_default();
        match change.request {
            Some(request) => _ = requests.insert(request),
            None => *automatic += 1,
        }
    }
    let least = by_type
        .values()
        .map(|(requests, automatic)| requests.len() + automatic.min(&1));
    let most = by_type
        .values()
        .map(|(requests, automatic)| requests.len() + automatic);
    (least.max().unwrap_or(1)..=most.max().unwrap_or(1)).collect()
}

/// Every way to take one of each, or none if there are more than [`MAX_COMBINATIONS`].
fn combinations<T: Copy>(choices: &[Vec<T>]) -> Option<Vec<Vec<T>>> {
    let mut all = vec![Vec::new()];
    for options in choices {
        if all.len() * options.len() > MAX_COMBINATIONS {
            return None;
        }
        all = all
            .iter()
            .flat_map(|taken| {
                options
                    .iter()
                    .map(|option| [&taken[..], &[*option]].concat())
            })
            .collect();
    }
    Some(all)
}

/// What the degrees of the states allow.
pub(super) enum Ends {
    Path(StateHash, StateHash),
    Circuit,
    Neither,
}

/// A path leaves its start once more than it reaches it, and reaches its end once more than it leaves it.
pub(super) fn ends_of_degrees<'a>(edges: impl IntoIterator<Item = (&'a Edge, &'a usize)>) -> Ends {
    let mut degrees: BTreeMap<StateHash, (usize, usize)> = BTreeMap::new();
    for ((from, to), count) in edges {
        degrees.entry(*from).or_default().0 += count;
        degrees.entry(*to).or_default().1 += count;
    }
    let starts = |(left, reached): (usize, usize)| left == reached + 1;
    let ends = |(left, reached): (usize, usize)| reached == left + 1;
    let lone = only(degrees.keys().copied());
    let unbalanced: Vec<_> = degrees
        .into_iter()
        .filter(|(_, (left, reached))| left != reached)
        .collect();
    match unbalanced[..] {
        [] => lone.map_or(Ends::Circuit, |state| Ends::Path(state, state)),
        [(from, a), (to, b)] | [(to, b), (from, a)] if starts(a) && ends(b) => Ends::Path(from, to),
        _ => Ends::Neither,
    }
}

pub(super) fn are_connected<'a>(
    edges: impl Iterator<Item = &'a Edge> + Clone,
    states: &BTreeSet<StateHash>,
) -> bool {
    let mut met: BTreeSet<StateHash> = states.iter().copied().take(1).collect();
    loop {
        let touching = edges
            .clone()
            .filter(|(from, to)| met.contains(from) != met.contains(to));
        let further: Vec<_> = touching.flat_map(|(from, to)| [*from, *to]).collect();
        if further.is_empty() {
            return met.len() == states.len();
        }
        met.extend(further);
    }
}
