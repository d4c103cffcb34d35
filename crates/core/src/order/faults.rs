//! Each rule broken on purpose: the law or the truth that it serves must notice.
//!
//! A broken rule is put together from the real parts, here and not in the code itself. (The models of the write rule and
//! of the links have faults of their own, in the crate of proofs.)

use super::fact::State;
use super::laws::{any_history, runner};
use super::path;
use super::tests::{Event, changes, look, shows, snapshot};
use super::*;
use proptest::prelude::*;
use std::cell::Cell;

/// A second of one object in which changes happen that no event tells: the events in their true order.
fn seconds_with_silence() -> impl Strategy<Value = Vec<Event<'static>>> {
    const IDS: [&str; 6] = ["e1", "e2", "e3", "e4", "e5", "e6"];
    const STATES: [[&str; 3]; 3] = [
        ["a/1", "a/2", "a/3"],
        ["b/1", "b/2", "b/3"],
        ["c/1", "c/2", "c/3"],
    ];
    // A note that changes by itself is a silent change; a status that changes is told.
    let step = (0..3_usize, 0..3_usize, proptest::bool::weighted(0.3));
    let steps = proptest::collection::vec(step, 1..IDS.len());
    (any::<bool>(), 0..3_usize, steps).prop_map(|(created, start, steps)| {
        let (mut status, mut note) = (start, 0);
        let mut told = Vec::new();
        if created {
            told.push(shows(IDS[0], STATES[status][note]).as_type("invoice.created"));
        }
        for ((next, noted, silent), id) in steps.into_iter().zip(&IDS[1..]) {
            if silent {
                note = noted;
            }
            if next != status {
                let change = changes(id, STATES[status][note], STATES[next][note]);
                told.push(change.by(id));
            }
            status = next;
        }
        if told.is_empty() {
            told.push(shows(IDS[0], STATES[status][note]));
        }
        told
    })
}

fn played(events: &[Event<'_>]) -> Row {
    laws::played(&events.iter().map(Event::incoming).collect::<Vec<_>>())
}

fn kept_of(event: &Event<'_>) -> StateHash {
    look(&snapshot(event.to)).kept.hash()
}

/// Plays many seconds with silent changes, without each event once if `lossy`. `decide` gives the state that a rule says is
/// the last. Gives how often it says something, and how often that is wrong.
fn judged(lossy: bool, decide: impl Fn(&[Event<'_>]) -> Option<StateHash>) -> (u32, u32) {
    let (decided, wrong) = (Cell::new(0), Cell::new(0));
    let judge = |events: &[Event<'_>], last: StateHash| {
        if let Some(said) = decide(events) {
            decided.set(decided.get() + 1);
            wrong.set(wrong.get() + u32::from(said != last));
        }
    };
    let outcome = runner(16).run(&seconds_with_silence(), |events| {
        let (last, others) = events.split_last().expect("there is an event");
        if lossy {
            for lost in 0..others.len() {
                let mut delivered = events.clone();
                delivered.remove(lost);
                judge(&delivered, kept_of(last));
            }
        } else {
            judge(&events, kept_of(last));
        }
        Ok(())
    });
    outcome.unwrap();
    (decided.get(), wrong.get())
}

fn by_the_rules(events: &[Event<'_>]) -> Option<StateHash> {
    let row = played(events);
    let shown = row.shown();
    shown.decided.then(|| shown.kept.hash())
}

/// What is left open is looked at by the open ends of the walk alone.
fn by_open_ends(events: &[Event<'_>]) -> Option<StateHash> {
    by_the_rules(events).or_else(|| {
        let row = played(events);
        let facts = row.ties.facts(false).as_slice();
        let is_left = |state: State| {
            let mut changes = facts.iter().filter_map(|fact| fact.change.as_ref());
            changes.any(|change| change.before.contains(&state))
        };
        let changed = facts.iter().filter(|fact| fact.change.is_some());
        path::only(changed.filter(|fact| !is_left(fact.after)).map(Fact::kept))
    })
}

/// A walk on what is kept of the states, as if nothing else belonged to them.
fn by_kept_states(events: &[Event<'_>]) -> Option<StateHash> {
    let of_kept = |mut fact: Fact| {
        let befores = fact.change.iter_mut().flat_map(|change| &mut change.before);
        for state in befores.chain([&mut fact.after]) {
            state.whole = state.kept;
        }
        fact
    };
    let incoming = events.iter().map(Event::incoming).map(|incoming| Incoming {
        learned: match incoming.learned {
            Learned::Event(fact) => Learned::Event(of_kept(fact)),
            read @ Learned::Read(_) => read,
        },
        ..incoming
    });
    let row = laws::played(&incoming.collect::<Vec<_>>());
    let shown = row.shown();
    shown.decided.then(|| shown.kept.hash())
}

#[test]
fn with_silent_changes_what_is_decided_is_true() {
    let (decided, wrong) = judged(false, by_the_rules);
    assert!(decided > 500, "only {decided} are decided");
    assert_eq!(wrong, 0);
}

#[test]
fn open_ends_only_is_wrong_with_nothing_lost() {
    let (_, wrong) = judged(false, by_open_ends);
    assert!(wrong > 0);
}

#[test]
fn a_walk_on_kept_states_takes_a_lost_event_for_a_silent_change() {
    let (_, wrong) = judged(true, by_the_rules);
    let (_, more) = judged(true, by_kept_states);
    assert!(more > wrong, "{wrong} and {more}");
    // The flag is set, it is taken back (lost), and somebody comments.
    let history = [
        changes("e1", "off/1", "on/1"),
        changes("e3", "off/1", "off/2"),
    ];
    assert_eq!(by_the_rules(&history), None);
    assert_eq!(by_kept_states(&history), Some(kept_of(&history[0])));
}

/// Whether two orders of some history end in different rows by a broken way to merge.
fn order_shows(broken: fn(&Row, &Incoming) -> Row) -> bool {
    let played = |history: &mut dyn Iterator<Item = &Incoming>| {
        let mut row: Option<Row> = None;
        for incoming in history {
            row = Some(match row {
                None => Row::first(incoming),
                Some(row) => broken(&row, incoming),
            });
        }
        row
    };
    let outcome = runner(4).run(&any_history(), |history| {
        let there = played(&mut history.iter());
        let back = played(&mut history.iter().rev());
        prop_assert_eq!(there, back);
        Ok(())
    });
    outcome.is_err()
}

fn merged(row: &Row, incoming: &Incoming) -> Row {
    match merge(Some(row), incoming) {
        Merged::Changed(next) => next,
        Merged::Known | Merged::Stale => row.clone(),
    }
}

#[test]
fn a_rule_of_merging_that_is_broken_shows_in_the_order() {
    assert!(!order_shows(merged), "it does not by the rule itself");
    let without_floor = |row: &Row, incoming: &Incoming| Row {
        floor: None,
        ..merged(row, incoming)
    };
    assert!(order_shows(without_floor));
    let late_final_is_forgotten = |row: &Row, incoming: &Incoming| Row {
        last_final: match incoming.second < row.second {
            true => row.last_final.clone(),
            false => merged(row, incoming).last_final,
        },
        ..merged(row, incoming)
    };
    assert!(order_shows(late_final_is_forgotten));
    let stale_tells_nothing = |row: &Row, incoming: &Incoming| Row {
        firsts: match incoming.second < row.second {
            true => row.firsts.clone(),
            false => merged(row, incoming).firsts,
        },
        ..merged(row, incoming)
    };
    assert!(order_shows(stale_tells_nothing));
    let only_the_shown_is_kept = |row: &Row, incoming: &Incoming| {
        let mut next = merged(row, incoming);
        let shown = next.shown().kept.hash();
        next.live.kept.retain(|state, _| *state == shown);
        next
    };
    assert!(order_shows(only_the_shown_is_kept));
}
