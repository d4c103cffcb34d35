//! The rule of pieces: the walk of a second in which something changed that no event tells.
//!
//! Such a *silent* change touches nothing that a row keeps. It breaks the walk of whole objects: the next change starts
//! from a state in which no other one ended. So each connected part of the edges must be a walk by itself, a *piece*, and
//! the pieces are laid end to end wherever one ends and the next begins in the same kept state. That is a walk again, with
//! pieces for edges and kept states for states, and its end is what the row shows.
//!
//! A walk of all edges on kept states alone would take a lost event for a silent change. Of "flag on", "flag off" (lost)
//! and a comment, which is not kept, it would say *on*: but "flag on" and the comment start from one whole state, so they
//! are no piece, and the second stays open.

use super::path::{Ends, Reading, Start, Walk, are_connected, ends_of_degrees, only};
use super::state::StateHash;
use std::collections::{BTreeMap, BTreeSet};

/// A piece by the kept states at its ends, and the whole state in which it begins.
struct Piece {
    begins_in: StateHash,
    from: StateHash,
    to: StateHash,
}

/// Lays the pieces of a reading end to end; a walk then ends in a kept state. `kept` says what is kept of each state.
pub(super) fn walk(
    reading: &Reading,
    singles: &BTreeSet<StateHash>,
    kept: &BTreeMap<StateHash, StateHash>,
    start: Start,
) -> Walk {
    let mut pieces = Vec::new();
    for part in parts(reading, singles) {
        let edges = reading.iter().filter(|((from, _), _)| part.contains(from));
        let (from, to) = match ends_of_degrees(edges) {
            Ends::Path(from, to) => (from, to),
            // No edge: a state that an event shows.
            Ends::Circuit if part.len() == 1 => match part.first() {
                Some(state) => (*state, *state),
                None => return Walk::Impossible,
            },
            // It may have been walked from anywhere, so it cannot be laid.
            Ends::Circuit => return Walk::EndsAnywhere,
            Ends::Neither => return Walk::Impossible,
        };
        let (Some(kept_from), Some(kept_to)) = (kept.get(&from), kept.get(&to)) else {
            return Walk::Impossible;
        };
        pieces.push(Piece {
            begins_in: from,
            from: *kept_from,
            to: *kept_to,
        });
    }
    match start {
        Start::Created(created) => {
            let first = pieces.iter().position(|p| p.begins_in == created.whole);
            match first.map(|first| pieces.swap_remove(first)) {
                Some(first) => lay(&pieces, Some(first.to)),
                None => Walk::Impossible,
            }
        }
        Start::Base(base) => lay(&pieces, Some(base.kept)),
        Start::Unknown => lay(&pieces, None),
    }
}

/// The connected parts of the states.
fn parts(reading: &Reading, singles: &BTreeSet<StateHash>) -> Vec<BTreeSet<StateHash>> {
    let states = reading.keys().flat_map(|(from, to)| [*from, *to]);
    let mut parts: Vec<BTreeSet<StateHash>> = Vec::new();
    for state in states.chain(singles.iter().copied()) {
        if parts.iter().any(|part| part.contains(&state)) {
            continue;
        }
        let mut part = BTreeSet::from([state]);
        loop {
            let touching = reading
                .keys()
                .filter(|(from, to)| part.contains(from) != part.contains(to));
            let further: Vec<_> = touching.flat_map(|(from, to)| [*from, *to]).collect();
            if further.is_empty() {
                break;
            }
            part.extend(further);
        }
        parts.push(part);
    }
    parts
}

/// The end of all ways to lay the pieces, each once, from a kept state if it is known.
fn lay(pieces: &[Piece], start: Option<StateHash>) -> Walk {
    let mut edges = Reading::new();
    for piece in pieces {
        *edges.entry((piece.from, piece.to)).or_default() += 1;
    }
    let ends = edges.keys().flat_map(|(from, to)| [*from, *to]);
    let states: BTreeSet<_> = ends.chain(start).collect();
    if !are_connected(edges.keys(), &states) {
        return Walk::Impossible;
    }
    match (ends_of_degrees(&edges), start) {
        _ if edges.is_empty() => start.map_or(Walk::Impossible, Walk::Ends),
        (Ends::Path(from, _), Some(start)) if from != start => Walk::Impossible,
        (Ends::Path(_, to), _) => Walk::Ends(to),
        (Ends::Circuit, Some(start)) => Walk::Ends(start),
        (Ends::Circuit, None) => only(states.into_iter()).map_or(Walk::EndsAnywhere, Walk::Ends),
        (Ends::Neither, _) => Walk::Impossible,
    }
}
