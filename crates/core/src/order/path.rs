//! The last state of one second, found from the facts of its events.
//!
//! Changes are edges from a state to a state, all other facts are single states. If every event of the second is
//! here, the object walked along all edges, each as often as it happened: an Euler path. Its end is the last state.
//! The walk is looked for in every *reading* of the facts, since two things can be read in more than one way: which
//! of two possible states a change started from, and whether two like events without a request are one change told
//! twice or two changes. Where the readings that allow a walk do not all end in one state, the end is not known.

use super::fact::{Change, Fact, Life};
use super::state::StateHash;
use std::collections::{BTreeMap, BTreeSet};

/// More combinations than this, of starts or of counts, are not looked at; then the end is not known.
const MAX_COMBINATIONS: usize = 32;

/// The last state of a second whose events are all here, or none where they do not tell it.
///
/// `base` is the state before the second, where it is known.
pub(super) fn last_state(facts: &[Fact], base: Option<StateHash>) -> Option<StateHash> {
    if facts.iter().any(|fact| fact.life == Life::End) {
        return deleted_state(facts);
    }
    let last = match facts.iter().any(|fact| fact.change.is_some()) {
        true => end_of_all_readings(facts, base)?,
        false => last_of_single_states(facts)?,
    };
    let terminal = |fact: &&Fact| fact.terminal;
    let reached = facts.iter().filter(terminal).any(|fact| fact.after == last);
    (reached || !facts.iter().any(|fact| fact.terminal)).then_some(last)
}

/// The state to show where the last one is not known: the best by rules that need no path.
///
/// A deletion, then a terminal state. Then a state that was not left as often as it was reached, and in which the object
/// was not only created; of those the one of the highest rank, and at last the one with the greatest hash.
pub(super) fn best_guess(facts: &[Fact]) -> Option<StateHash> {
    let edges: BTreeSet<_> = facts
        .iter()
        .filter_map(|fact| Some((fact.change.as_ref()?.before[..].first()?, fact.after)))
        .collect();
    let followed = |state: StateHash| {
        let left = edges.iter().filter(|(from, _)| **from == state).count();
        left > 0 && left >= edges.iter().filter(|(_, to)| *to == state).count()
    };
    let best = facts.iter().max_by_key(|fact| {
        let open = fact.life != Life::Begin && !followed(fact.after);
        (
            fact.life == Life::End,
            fact.terminal,
            open,
            fact.rank,
            fact.after,
        )
    });
    best.map(|fact| fact.after)
}

/// A deletion comes last. Only where an id can come back, a creation in the same second may have followed it.
fn deleted_state(facts: &[Fact]) -> Option<StateHash> {
    let deletions = || facts.iter().filter(|fact| fact.life == Life::End);
    let created = facts.iter().any(|fact| fact.life == Life::Begin);
    let last = only(deletions().map(|fact| fact.after))?;
    (!created || deletions().any(|fact| fact.terminal)).then_some(last)
}

/// Without changes: what was only created has been followed by any other state, and of those a terminal one is last,
/// else the one of the highest rank.
fn last_of_single_states(facts: &[Fact]) -> Option<StateHash> {
    let later: Vec<_> = facts
        .iter()
        .filter(|fact| fact.life != Life::Begin)
        .collect();
    let candidates = if later.is_empty() {
        facts.iter().collect()
    } else {
        later
    };
    let place = |fact: &Fact| (fact.terminal, fact.rank);
    let top = candidates.iter().map(|fact| place(fact)).max()?;
    only(
        candidates
            .iter()
            .filter(|fact| place(fact) == top)
            .map(|fact| fact.after),
    )
}

/// The one state that all of them are, if they are.
fn only(mut states: impl Iterator<Item = StateHash>) -> Option<StateHash> {
    let first = states.next()?;
    states.all(|state| state == first).then_some(first)
}

/// Where the walk of a second begins.
#[derive(Clone, Copy)]
enum Start {
    /// In the state the object was created in.
    Created(StateHash),
    /// In the state of the second before, unless events between are missing.
    Base(StateHash),
    Unknown,
}

impl Start {
    fn of(facts: &[Fact], base: Option<StateHash>) -> Self {
        let created = facts.iter().find(|fact| fact.life == Life::Begin);
        match (created, base) {
            (Some(fact), _) => Self::Created(fact.after),
            (None, Some(base)) => Self::Base(base),
            (None, None) => Self::Unknown,
        }
    }
}

/// A change from one state to another.
type Edge = (StateHash, StateHash);

/// One reading: how often each change happened.
type Reading = BTreeMap<Edge, usize>;

/// What the facts of one second end in, by one reading of them.
enum Walk {
    /// No walk uses all edges and meets all states: the reading is wrong, or events are missing.
    Impossible,
    Ends(StateHash),
    /// A closed circuit that may have begun, and so ended, in any of its states.
    EndsAnywhere,
}

fn end_of_all_readings(facts: &[Fact], base: Option<StateHash>) -> Option<StateHash> {
    let start = Start::of(facts, base);
    let singles: BTreeSet<_> = facts
        .iter()
        .filter(|fact| fact.change.is_none())
        .map(|fact| fact.after)
        .collect();
    let mut ends = Vec::new();
    for reading in readings(facts)? {
        match walk(&reading, &singles, start) {
            Walk::Impossible => {}
            Walk::Ends(state) => ends.push(state),
            Walk::EndsAnywhere => return None,
        }
    }
    only(ends.into_iter())
}

/// All readings of the changes, or none if there are too many.
fn readings(facts: &[Fact]) -> Option<Vec<Reading>> {
    let known: BTreeSet<_> = facts.iter().map(|fact| fact.after).collect();
    let changes: Vec<_> = facts
        .iter()
        .filter_map(|fact| Some((fact, fact.change.as_ref()?)))
        .collect();
    let kinds: BTreeSet<_> = changes
        .iter()
        .map(|(fact, change)| (&change.before, fact.after))
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
            if let Some(from) = start_of.get(&(&change.before, fact.after)) {
                edges.entry((*from, fact.after)).or_default().push(change);
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
fn possible_starts(before: &[StateHash], known: &BTreeSet<StateHash>) -> Vec<StateHash> {
    let seen: Vec<_> = before
        .iter()
        .copied()
        .filter(|state| known.contains(state))
        .collect();
    if seen.is_empty() {
        before.iter().copied().take(1).collect()
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

fn walk(edges: &Reading, singles: &BTreeSet<StateHash>, start: Start) -> Walk {
    let states: BTreeSet<_> = edges.keys().flat_map(|(from, to)| [*from, *to]).collect();
    if !singles.is_subset(&states) || !are_connected(edges, &states) {
        return Walk::Impossible;
    }
    match (ends_of_degrees(edges), start) {
        (Ends::Path(from, _), Start::Created(created)) if from != created => Walk::Impossible,
        (Ends::Path(_, to), _) => Walk::Ends(to),
        (Ends::Circuit, Start::Created(at) | Start::Base(at)) if states.contains(&at) => {
            Walk::Ends(at)
        }
        (Ends::Circuit, _) => Walk::EndsAnywhere,
        (Ends::Neither, _) => Walk::Impossible,
    }
}

/// What the degrees of the states allow.
enum Ends {
    Path(StateHash, StateHash),
    Circuit,
    Neither,
}

/// A path leaves its start once more than it reaches it, and reaches its end once more than it leaves it.
fn ends_of_degrees(edges: &Reading) -> Ends {
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

fn are_connected(edges: &Reading, states: &BTreeSet<StateHash>) -> bool {
    let mut met: BTreeSet<StateHash> = states.iter().copied().take(1).collect();
    loop {
        let touching = edges
            .keys()
            .filter(|(from, to)| met.contains(from) != met.contains(to));
        let further: Vec<_> = touching.flat_map(|(from, to)| [*from, *to]).collect();
        if further.is_empty() {
            return met.len() == states.len();
        }
        met.extend(further);
    }
}
