//! The rules of order, each by the smallest history that needs it.
//!
//! Every history is played in every order and with every duplicate before its outcome is looked at.

use super::laws::in_every_order;
use super::*;
use serde_json::json;

const SECOND: i64 = 1_760_000_002;

/// An event of a history, with what most histories do not care about filled in.
#[derive(Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) id: &'a str,
    pub(super) event_type: &'a str,
    pub(super) second: i64,
    pub(super) request: Option<&'a str>,
    pub(super) version: &'a str,
    pub(super) terminal: bool,
    pub(super) rank: u16,
    from: Option<&'a str>,
    to: &'a str,
}

impl Event<'_> {
    pub(super) fn incoming(&self) -> Incoming {
        let snapshot = json!({"status": self.to});
        let previous = self.from.map(|status| json!({"status": status}));
        let fact = Fact::of(&Observed {
            event: self.id,
            event_type: self.event_type,
            request: self.request,
            api_version: Some(self.version),
            snapshot: &snapshot,
            previous: previous.as_ref(),
            terminal: self.terminal,
            rank: self.rank,
        });
        Incoming {
            second: self.second,
            learned: Learned::Event(fact),
            extract: snapshot,
        }
    }

    fn before(self) -> Self {
        Self {
            second: self.second - 1,
            ..self
        }
    }
}

impl<'a> Event<'a> {
    fn by(self, request: &'a str) -> Self {
        Self {
            request: Some(request),
            ..self
        }
    }

    fn as_type(self, event_type: &'a str) -> Self {
        Self { event_type, ..self }
    }

    fn ranked(self, rank: u16) -> Self {
        Self { rank, ..self }
    }

    fn terminal(self) -> Self {
        Self {
            terminal: true,
            ..self
        }
    }
}

/// An event without `previous_attributes`.
fn shows<'a>(id: &'a str, to: &'a str) -> Event<'a> {
    let (event_type, version) = ("invoice.finalized", "2025-09-30.clover");
    Event {
        id,
        event_type,
        second: SECOND,
        request: None,
        version,
        terminal: false,
        rank: 0,
        from: None,
        to,
    }
}

/// An event with `previous_attributes`.
fn changes<'a>(id: &'a str, from: &'a str, to: &'a str) -> Event<'a> {
    Event {
        from: Some(from),
        event_type: "invoice.updated",
        ..shows(id, to)
    }
}

fn row(events: &[Event<'_>]) -> Row {
    in_every_order(&events.iter().map(Event::incoming).collect::<Vec<_>>())
}

/// The status shown, if it is decided.
fn decided(events: &[Event<'_>]) -> Option<String> {
    let row = row(events);
    row.winner().decided.then(|| status(&row))
}

fn status(row: &Row) -> String {
    row.extract["status"].as_str().unwrap().to_owned()
}

fn is(status: &str) -> Option<String> {
    Some(status.to_owned())
}

#[test]
fn one_event_is_decided() {
    assert_eq!(decided(&[shows("e1", "a")]), is("a"));
    assert_eq!(decided(&[changes("e1", "a", "b")]), is("b"));
    let told_before = [shows("e0", "x").before(), changes("e1", "a", "b")];
    assert_eq!(
        decided(&told_before),
        is("b"),
        "whatever the second before ended in"
    );
}

#[test]
fn changes_end_where_their_path_ends() {
    assert_eq!(
        decided(&[
            changes("e1", "c", "d"),
            changes("e2", "a", "b"),
            changes("e3", "b", "c")
        ]),
        is("d")
    );
}

#[test]
fn toggles_end_in_the_state_reached_once_more_than_left() {
    let toggles = [
        changes("e1", "a", "b").by("r1"),
        changes("e2", "b", "a").by("r2"),
        changes("e3", "a", "b").by("r3"),
    ];
    assert_eq!(decided(&toggles), is("b"));
}

#[test]
fn a_closed_circuit_ends_at_its_base() {
    let circuit = [changes("e1", "a", "b"), changes("e2", "b", "a")];
    assert_eq!(
        decided(&[shows("e0", "a").before(), circuit[0], circuit[1]]),
        is("a")
    );
    assert_eq!(
        decided(&[shows("e0", "b").before(), circuit[0], circuit[1]]),
        is("b")
    );
}

#[test]
fn a_closed_circuit_without_a_base_is_undecided() {
    assert_eq!(
        decided(&[changes("e1", "a", "b"), changes("e2", "b", "a")]),
        None
    );
    let elsewhere = [
        shows("e0", "x").before(),
        changes("e1", "a", "b"),
        changes("e2", "b", "a"),
    ];
    assert_eq!(
        decided(&elsewhere),
        None,
        "nor does a base help that is not on it"
    );
}

#[test]
fn a_closed_circuit_of_a_new_object_ends_where_it_was_created() {
    let created = shows("e1", "b").as_type("invoice.created");
    assert_eq!(
        decided(&[created, changes("e2", "b", "a"), changes("e3", "a", "b")]),
        is("b")
    );
}

#[test]
fn a_late_event_of_the_second_before_can_change_the_winner() {
    let circuit = [
        changes("e1", "a", "b").incoming(),
        changes("e2", "b", "a").incoming(),
    ];
    let mut row = in_every_order(&circuit);
    assert!(!row.winner().decided);
    for (late, shown) in [
        (shows("e3", "b").before().before(), "b"),
        (shows("e4", "a").before(), "a"),
    ] {
        let Merged::Changed(next) = merge(Some(&row), &late.incoming()) else {
            panic!("the base is new")
        };
        assert_eq!(
            (next.winner().decided, status(&next).as_str()),
            (true, shown)
        );
        row = next;
    }
    assert_eq!(
        merge(Some(&row), &shows("e5", "b").before().before().incoming()),
        Merged::Stale
    );
}

#[test]
fn an_undecided_second_before_is_no_base() {
    let circuit = [changes("e1", "a", "b"), changes("e2", "b", "a")];
    let unclear = [shows("e3", "a").before(), shows("e4", "b").before()];
    assert_eq!(decided(&[circuit[0], circuit[1], unclear[0]]), is("a"));
    assert_eq!(
        decided(&[circuit[0], circuit[1], unclear[0], unclear[1]]),
        None
    );
    let earlier = shows("e5", "a").before().before();
    let circuit_before = [
        changes("e6", "a", "b").before(),
        changes("e7", "b", "a").before(),
    ];
    let all = [
        circuit[0],
        circuit[1],
        circuit_before[0],
        circuit_before[1],
        earlier,
    ];
    assert_eq!(
        decided(&all),
        None,
        "a base is told by its own second alone"
    );
}

#[test]
fn a_hole_in_the_path_is_undecided() {
    assert_eq!(
        decided(&[changes("e1", "a", "b"), changes("e2", "c", "d")]),
        None
    );
    let unbalanced = [changes("e1", "a", "b"), changes("e2", "a", "c")];
    assert_eq!(decided(&unbalanced), None);
    let two_circuits = [
        changes("e1", "a", "b"),
        changes("e2", "b", "a"),
        changes("e3", "c", "d"),
    ];
    assert_eq!(decided(&two_circuits), None);
}

#[test]
fn a_state_off_the_path_is_undecided() {
    assert_eq!(
        decided(&[changes("e1", "a", "b"), shows("e2", "a"), shows("e3", "b")]),
        is("b")
    );
    assert_eq!(decided(&[changes("e1", "a", "b"), shows("e2", "c")]), None);
}

#[test]
fn events_of_several_types_tell_one_change() {
    let twins = [
        changes("e1", "a", "b"),
        changes("e2", "a", "b").as_type("invoice.paid"),
    ];
    assert_eq!(decided(&twins), is("b"));
    let with_toggle = [
        twins[0],
        twins[1],
        changes("e3", "b", "a"),
        shows("e0", "a").before(),
    ];
    assert_eq!(decided(&with_toggle), is("a"));
}

#[test]
fn one_request_makes_a_change_once() {
    let doubled = [
        changes("e1", "a", "b").by("r1"),
        changes("e2", "a", "b").by("r1"),
        changes("e3", "b", "a").by("r2"),
    ];
    assert_eq!(decided(&[doubled[0], doubled[1]]), is("b"));
    assert_eq!(
        decided(&[
            doubled[0],
            doubled[1],
            doubled[2],
            shows("e0", "a").before()
        ]),
        is("a")
    );
}

#[test]
fn two_like_events_without_a_request_may_be_one_change_or_two() {
    let double = [changes("e1", "a", "b"), changes("e2", "a", "b")];
    assert_eq!(
        decided(&double),
        is("b"),
        "two changes would need one back between them"
    );
    let back = changes("e3", "b", "a");
    assert_eq!(
        decided(&[double[0], double[1], back, shows("e0", "a").before()]),
        None,
        "one ends in a, two in b"
    );
    assert_eq!(
        decided(&[double[0], double[1], back, changes("e4", "b", "c")]),
        is("c")
    );
}

#[test]
fn too_many_readings_are_not_looked_at() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let ids: Vec<String> = (0..12).map(|n| format!("e{n:02}")).collect();
    let doubles: Vec<_> = (0..12)
        .map(|n| changes(&ids[n], names[n / 2], names[n / 2 + 1]))
        .collect();
    assert_eq!(decided(&doubles[..10]), is("f"));
    assert_eq!(decided(&doubles), None);
}

#[test]
fn a_creation_comes_first() {
    let created = shows("e1", "a").as_type("invoice.created");
    assert_eq!(decided(&[created]), is("a"));
    assert_eq!(decided(&[created, shows("e2", "b")]), is("b"));
    assert_eq!(decided(&[created, changes("e2", "a", "b")]), is("b"));
    assert_eq!(
        decided(&[created, changes("e2", "b", "a")]),
        None,
        "the path begins elsewhere"
    );
    assert_eq!(
        decided(&[created, shows("e2", "a"), shows("e3", "b")]),
        None,
        "it may have come back"
    );
}

#[test]
fn a_deletion_comes_last() {
    let deleted = shows("e3", "a").as_type("customer.deleted").terminal();
    let winner = row(&[shows("e1", "a"), changes("e2", "a", "b"), deleted]).winner();
    assert!(winner.decided);
    assert_eq!(
        winner.event.as_deref(),
        Some("e3"),
        "though the snapshot is that of a living object"
    );
}

#[test]
fn an_id_that_can_come_back_may_have() {
    let (deleted, created) = (
        shows("e1", "a").as_type("plan.deleted"),
        shows("e2", "a").as_type("plan.created"),
    );
    assert_eq!(decided(&[deleted]), is("a"));
    assert_eq!(decided(&[deleted, shows("e3", "b")]), is("a"));
    assert_eq!(decided(&[deleted, created]), None);
    assert_eq!(
        decided(&[deleted.terminal(), created]),
        is("a"),
        "unless ids of its kind do not"
    );
}

#[test]
fn a_terminal_state_comes_last() {
    assert_eq!(
        decided(&[shows("e1", "paid").terminal(), shows("e2", "open")]),
        is("paid")
    );
    assert_eq!(
        decided(&[
            shows("e1", "paid").terminal(),
            shows("e2", "void").terminal()
        ]),
        None
    );
    let back = [
        shows("e1", "paid").terminal(),
        changes("e2", "paid", "open"),
    ];
    assert_eq!(decided(&back), None, "a path out of it is not believed");
    assert_eq!(status(&row(&back)), "paid");
}

#[test]
fn ranks_decide_where_nothing_tells_what_was_before() {
    let (low, high) = (
        shows("e1", "processing").ranked(2),
        shows("e2", "succeeded").ranked(3),
    );
    assert_eq!(decided(&[low, high]), is("succeeded"));
    assert_eq!(decided(&[low, shows("e2", "other").ranked(2)]), None);
    assert_eq!(
        decided(&[changes("e3", "succeeded", "processing").ranked(2), high]),
        is("processing"),
        "a path knows better"
    );
}

#[test]
fn an_undecided_second_shows_the_best_guess() {
    let loose = |id, to| changes(id, "x", to);
    assert_eq!(
        status(&row(&[loose("e1", "a").ranked(1), loose("e2", "b")])),
        "a"
    );
    assert_eq!(
        status(&row(&[
            loose("e1", "a").ranked(1),
            loose("e2", "b").terminal()
        ])),
        "b"
    );
    let left = changes("e1", "a", "b").ranked(9);
    assert_eq!(
        status(&row(&[
            left,
            changes("e2", "b", "c").ranked(1),
            loose("e3", "d")
        ])),
        "c"
    );
    let unranked = row(&[shows("e1", "a"), shows("e2", "b")]);
    assert_eq!(
        unranked.winner().state,
        unranked.ties.states().last().copied().unwrap(),
        "at last by the hash"
    );
}

#[test]
fn of_one_event_in_two_versions_the_newer_counts() {
    let old = Event {
        version: "2024-06-20",
        ..changes("e1", "old a", "old b")
    };
    let new = changes("e1", "a", "b");
    let row = row(&[old, new, changes("e2", "b", "c")]);
    assert_eq!((row.winner().decided, status(&row).as_str()), (true, "c"));
    assert_eq!(
        row.others.len(),
        1,
        "the state in the older version is gone"
    );
}

#[test]
fn two_versions_in_one_second_do_not_make_a_path() {
    let old = Event {
        version: "2024-06-20",
        ..changes("e1", "old a", "old b")
    };
    assert_eq!(decided(&[old, changes("e2", "b", "c")]), None);
}

#[test]
fn a_second_with_too_many_events_overflows_in_any_order() {
    let ids: Vec<String> = (0..40).map(|n| format!("e{n}")).collect();
    let mut events: Vec<_> = ids
        .iter()
        .map(|id| changes(id, "a", id).incoming())
        .collect();
    events.push(
        Event {
            version: "2024-06-20",
            ..changes("e7", "old", "older").terminal()
        }
        .incoming(),
    );
    events.push(changes("e8", "a", "e8").terminal().before().incoming());
    let first = laws::played(&events);
    assert!(matches!(first.ties, Ties::Overflow(_)));
    assert_eq!((first.winner().decided, first.others.len()), (false, 0));
    assert_eq!(
        serde_json::to_string(&first)
            .unwrap()
            .parse::<Value>()
            .unwrap()["ties"]
            .as_str()
            .unwrap()
            .len(),
        first.ties.to_string().len()
    );
    for turn in 0..events.len() {
        events.rotate_left(1);
        events.swap(turn / 2, turn);
        let again: Vec<_> = events
            .iter()
            .chain(&events[turn / 2..turn])
            .cloned()
            .collect();
        assert_eq!(laws::played(&again), first);
    }
}

#[test]
fn a_second_as_large_as_allowed_still_has_its_path() {
    let names: Vec<String> = (0..=MAX_FACTS).map(|n| format!("s{n}")).collect();
    let mut events: Vec<_> = names
        .windows(2)
        .map(|pair| changes(&pair[1], &pair[0], &pair[1]).incoming())
        .collect();
    events.reverse();
    let row = laws::played(&events);
    assert_eq!(
        (row.winner().decided, status(&row)),
        (true, names[MAX_FACTS].clone())
    );
    events.push(shows("one more", "s1").incoming());
    assert!(!laws::played(&events).winner().decided);
}

fn refetch(second: i64, status: &str) -> Incoming {
    let snapshot = json!({"status": status});
    Incoming {
        second,
        learned: Learned::Refetch(StateHash::of(&snapshot)),
        extract: snapshot,
    }
}

#[test]
fn a_refetch_settles_its_second_and_all_before() {
    let hole = [
        changes("e1", "a", "b").incoming(),
        changes("e2", "c", "d").incoming(),
    ];
    let before = shows("e3", "x").before().incoming();
    let row = in_every_order(&[
        hole[0].clone(),
        hole[1].clone(),
        before.clone(),
        refetch(SECOND, "b"),
    ]);
    assert_eq!(
        (
            row.winner().decided,
            row.winner().event,
            row.extract["status"].as_str()
        ),
        (true, None, Some("b"))
    );
    let settled = laws::played(&[refetch(SECOND, "b")]);
    assert_eq!(row, settled, "nothing of the events remains");
    assert_eq!(merge(Some(&row), &hole[0]), Merged::Known);
    assert_eq!(merge(Some(&row), &before), Merged::Stale);
}

#[test]
fn two_refetches_of_one_second_end_in_one_row() {
    in_every_order(&[
        refetch(SECOND, "a"),
        refetch(SECOND, "b"),
        refetch(SECOND, "c"),
    ]);
}

#[test]
fn events_after_a_refetch_count() {
    let later = Event {
        second: SECOND + 1,
        ..changes("e1", "b", "c")
    };
    let row = in_every_order(&[
        shows("e0", "a").incoming(),
        refetch(SECOND, "b"),
        later.incoming(),
    ]);
    assert_eq!((row.winner().decided, status(&row).as_str()), (true, "c"));
}

#[test]
fn a_refetched_state_is_no_base() {
    let circuit = [
        changes("e1", "a", "b").incoming(),
        changes("e2", "b", "a").incoming(),
    ];
    let row = in_every_order(&[
        circuit[0].clone(),
        circuit[1].clone(),
        refetch(SECOND - 1, "a"),
    ]);
    assert!(
        !row.winner().decided,
        "it may have been read after the first change"
    );
}

#[test]
fn of_two_extracts_of_one_state_the_same_one_stays_in_any_order() {
    let [one, mut other] = [shows("e1", "a"), shows("e2", "a")].map(|event| event.incoming());
    other.extract = json!({"status": "a", "receipt_url": "seen in one event only"});
    in_every_order(&[one, other, changes("e3", "a", "b").incoming()]);
}

#[test]
fn the_common_row_is_small() {
    let id = "evt_1SL9k4sqgWE4SKutCdUPIvM1";
    let one = row(&[changes(id, "a", "b").by("req_1SkKffG2ptXaRt5F")]);
    assert!(one.ties.to_string().len() <= 75, "{}", one.ties);
    let bytes = serde_json::to_string(&one).unwrap().len() - one.extract.to_string().len();
    assert!(bytes <= 120, "{bytes} bytes");
}

#[test]
fn a_malformed_row_is_refused_and_an_odd_one_survives() {
    for ties in [
        "e1",
        "!",
        "=",
        "= ",
        "e2,250930u,AAAAAAAAAAAA e1,250930u,AAAAAAAAAAAA",
        " ",
    ] {
        assert_eq!(ties.parse::<Ties>(), Err(Malformed), "{ties}");
    }
    let odd: Row = serde_json::from_value(
        json!({"second": 1, "ties": "", "extract": 1, "others": {"AAAAAAAAAAAA": 2}}),
    )
    .unwrap();
    assert!(!odd.winner().decided);
    for event in [
        shows("e1", "a"),
        Event {
            second: 1,
            ..shows("e1", "a")
        },
        Event {
            second: i64::MIN,
            ..shows("e1", "a")
        },
    ] {
        let Merged::Changed(row) = merge(Some(&odd), &event.incoming()) else {
            panic!("something new")
        };
        assert_eq!(serde_json::from_value::<Row>(json!(row)).unwrap(), row);
    }
}
