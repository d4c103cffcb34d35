//! The rules of order, each by the smallest history that needs it.
//!
//! Every history is played in every order and with every duplicate before its outcome is looked at.

use super::laws::in_every_order;
use super::*;
use serde_json::{Value, json};

pub(super) const SECOND: i64 = 1_760_000_002;

/// An event of a history, with what most histories do not care about filled in.
///
/// A state is written as `status`, `status/note` or `status@customer`. A row keeps the status and the customer; the note
/// stands for all that it does not keep. A status in capitals is final.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<'a> {
    pub(super) id: &'a str,
    pub(super) event_type: &'a str,
    pub(super) second: i64,
    pub(super) request: Option<&'a str>,
    pub(super) version: &'a str,
    pub(super) rank: u64,
    pub(super) from: Option<&'a str>,
    pub(super) to: &'a str,
}

/// The snapshot of a state.
pub(super) fn snapshot(state: &str) -> Value {
    let (state, customer) = match state.split_once('@') {
        Some((state, customer)) => (state, Some(customer)),
        None => (state, None),
    };
    let (status, note) = match state.split_once('/') {
        Some((status, note)) => (status, Some(note)),
        None => (state, None),
    };
    json!({"status": status, "note": note, "customer": customer})
}

/// What a reader sees in it.
pub(super) fn look(snapshot: &Value) -> Shown {
    let status = snapshot["status"].as_str().unwrap_or_default();
    Shown {
        kept: Kept {
            extract: json!({ "status": status }),
            customer: snapshot["customer"].as_str().map(str::to_owned),
        },
        is_final: status.starts_with(|c: char| c.is_ascii_uppercase()),
        left_final: status.starts_with("appeal"),
        ..Shown::default()
    }
}

impl Event<'_> {
    pub(super) fn incoming(&self) -> Incoming {
        let to = snapshot(self.to);
        let previous = self.from.map(|from| {
            let mut from = snapshot(from);
            if let Some(members) = from.as_object_mut() {
                members.retain(|name, value| to[name] != *value);
            }
            from
        });
        let mut shown = look(&to);
        shown.rank = self.rank;
        if self.event_type.ends_with(".deleted") {
            shown.deleted = true;
            shown.is_final = true;
            shown.kept.extract["deleted"] = json!(true);
        }
        let fact = Fact::of(&Observed {
            event: self.id,
            event_type: self.event_type,
            request: self.request,
            api_version: Some(self.version),
            snapshot: &to,
            previous: previous.as_ref(),
            shown: &shown,
            look: &look,
        });
        Incoming {
            begins_anew: self.event_type == "customer.created",
            first: (self.event_type == "invoice.payment_failed").then_some(First::PaymentFailed),
            ..Incoming::event(self.second, fact, shown.kept)
        }
    }

    pub(super) fn before(self) -> Self {
        self.at(self.second - 1)
    }

    /// The event so many seconds after the first one of a history.
    pub(super) fn at(self, second: i64) -> Self {
        Self { second, ..self }
    }
}

impl<'a> Event<'a> {
    pub(super) fn by(self, request: &'a str) -> Self {
        Self {
            request: Some(request),
            ..self
        }
    }

    pub(super) fn as_type(self, event_type: &'a str) -> Self {
        Self { event_type, ..self }
    }

    pub(super) fn ranked(self, rank: u64) -> Self {
        Self { rank, ..self }
    }
}

/// An event without `previous_attributes`.
pub(super) fn shows<'a>(id: &'a str, to: &'a str) -> Event<'a> {
    let (event_type, version) = ("invoice.finalized", "2025-09-30.clover");
    Event {
        id,
        event_type,
        second: SECOND,
        request: None,
        version,
        rank: 0,
        from: None,
        to,
    }
}

/// An event with `previous_attributes`.
pub(super) fn changes<'a>(id: &'a str, from: &'a str, to: &'a str) -> Event<'a> {
    Event {
        from: Some(from),
        event_type: "invoice.updated",
        ..shows(id, to)
    }
}

/// What Stripe says when it is asked, settling this second.
pub(super) fn read(second: i64, state: &str) -> Incoming {
    let shown = look(&snapshot(state));
    Incoming::read(second, shown.kept, shown.is_final)
}

fn row(events: &[Event<'_>]) -> Row {
    in_every_order(&events.iter().map(Event::incoming).collect::<Vec<_>>())
}

/// The status shown, if it is decided.
pub(super) fn decided(events: &[Event<'_>]) -> Option<String> {
    decided_by(&events.iter().map(Event::incoming).collect::<Vec<_>>())
}

/// The same, of anything that can be learned.
pub(super) fn decided_by(history: &[Incoming]) -> Option<String> {
    let row = in_every_order(history);
    row.shown().decided.then(|| status(&row))
}

pub(super) fn status(row: &Row) -> String {
    let status = row.shown().kept.extract["status"].as_str();
    status.unwrap_or_default().to_owned()
}

pub(super) fn is(status: &str) -> Option<String> {
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
    assert!(!row.shown().decided);
    for (late, shown) in [
        (shows("e3", "b").before().before(), "b"),
        (shows("e4", "a").before(), "a"),
    ] {
        let Merged::Changed(next) = merge(Some(&row), &late.incoming()) else {
            panic!("the base is new")
        };
        assert_eq!(
            (next.shown().decided, status(&next).as_str()),
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
        decided(&[created, changes("e2", "b", "c"), changes("e3", "c", "d")]),
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
    let deleted = shows("e3", "a").as_type("customer.deleted");
    let created = shows("e1", "a").as_type("customer.created");
    for history in [
        &[shows("e1", "a"), changes("e2", "a", "b"), deleted][..],
        &[created, deleted],
    ] {
        let row = row(history);
        let shown = row.shown();
        assert!(shown.decided);
        assert_eq!(shown.kept.extract["deleted"], true);
        assert_eq!(
            shown.event.as_deref(),
            Some("e3"),
            "though the snapshot is that of a living object"
        );
    }
}

#[test]
fn a_final_state_comes_last() {
    let loose = [shows("e1", "Paid"), shows("e2", "open")];
    assert_eq!(decided(&loose), is("Paid"));
    assert_eq!(decided(&[shows("e1", "Paid"), shows("e2", "Void")]), None);
    let edited = [
        changes("e1", "open", "Paid/a"),
        changes("e2", "Paid/a", "Paid/b"),
        changes("e3", "x", "open"),
        shows("e4", "Paid/b"),
    ];
    assert_eq!(
        decided(&edited),
        is("Paid"),
        "what led to it no longer matters"
    );
}

#[test]
fn a_final_state_is_left_by_an_event_that_says_so() {
    let detached = [shows("e1", "Paid"), changes("e2", "Paid", "open")];
    assert_eq!(decided(&detached), is("open"));
    let paid_again = [detached[0], detached[1], changes("e3", "open", "Paid")];
    assert_eq!(decided(&paid_again), None, "a circle, and no base is known");
    let made = shows("e0", "open").as_type("invoice.created");
    let whole = [made, changes("e1", "open", "Paid"), detached[1]];
    assert_eq!(decided(&whole), is("open"));
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
    let ranked = loose("e1", "a").ranked(1);
    assert_eq!(status(&row(&[ranked, loose("e2", "b")])), "a");
    let left = changes("e1", "a", "b").ranked(9);
    let open = [left, changes("e2", "b", "c").ranked(1), loose("e3", "d")];
    assert_eq!(status(&row(&open)), "c");
    let unranked = row(&[shows("e1", "a"), shows("e2", "b")]);
    let greatest = unranked.ties.facts(false).greatest().map(Fact::kept);
    assert_eq!(
        Some(unranked.shown().kept.hash()),
        greatest,
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
    assert_eq!((row.shown().decided, status(&row).as_str()), (true, "c"));
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
            ..changes("e7", "old", "older")
        }
        .incoming(),
    );
    events.push(changes("e8", "a", "e8").before().incoming());
    let first = laws::played(&events);
    assert!(matches!(first.ties.facts(false), Facts::Overflow(_)));
    assert_eq!((first.shown().decided, first.others()), (false, None));
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
        (row.shown().decided, status(&row)),
        (true, names[MAX_FACTS].clone())
    );
    events.push(shows("one more", "s1").incoming());
    assert!(!laws::played(&events).shown().decided);
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
        read(SECOND, "b"),
    ]);
    assert_eq!(
        (
            row.shown().decided,
            row.shown().event,
            Some(status(&row).as_str())
        ),
        (true, None, Some("b"))
    );
    let settled = laws::played(&[read(SECOND, "b")]);
    assert_eq!(row, settled, "nothing of the events remains");
    assert_eq!(merge(Some(&row), &hole[0]), Merged::Known);
    assert_eq!(merge(Some(&row), &before), Merged::Stale);
}

#[test]
fn two_refetches_of_one_second_end_in_one_row() {
    in_every_order(&[read(SECOND, "a"), read(SECOND, "b"), read(SECOND, "c")]);
}

#[test]
fn events_after_a_refetch_count() {
    let later = Event {
        second: SECOND + 1,
        ..changes("e1", "b", "c")
    };
    let row = in_every_order(&[
        shows("e0", "a").incoming(),
        read(SECOND, "b"),
        later.incoming(),
    ]);
    assert_eq!((row.shown().decided, status(&row).as_str()), (true, "c"));
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
        read(SECOND - 1, "a"),
    ]);
    assert!(
        !row.shown().decided,
        "it may have been read after the first change"
    );
}

#[test]
fn what_is_not_kept_of_a_state_does_not_matter() {
    let snapshot = snapshot("a");
    let mut shown = look(&snapshot);
    shown.kept.extract["receipt_url"] = json!("seen in one event only");
    let other = Fact::of(&Observed {
        event: "e2",
        event_type: "invoice.finalized",
        request: None,
        api_version: None,
        snapshot: &snapshot,
        previous: None,
        shown: &shown,
        look: &look,
    });
    let other = Incoming::event(SECOND, other, shown.kept);
    let one = shows("e1", "a").incoming();
    in_every_order(&[one, other, changes("e3", "a", "b").incoming()]);
}

#[test]
fn the_common_row_is_small() {
    let id = "evt_1SL9k4sqgWE4SKutCdUPIvM1";
    let one = row(&[changes(id, "a", "b").by("req_1SkKffG2ptXaRt5F")]);
    assert!(one.ties.to_string().len() <= 99, "{}", one.ties);
    assert_eq!(
        one.others(),
        None,
        "the state that is shown is not kept twice"
    );
}

#[test]
fn a_malformed_row_is_refused_and_an_odd_one_survives() {
    let fact = "250930u,AAAAAAAAAAAABBBBBBBBBBBB";
    for ties in [
        "e1",
        "!",
        "=",
        "= ",
        &format!("e2,{fact} e1,{fact}"),
        &format!("!e1,{fact} e2,{fact}"),
    ] {
        assert_eq!(ties.parse::<Ties>(), Err(Malformed), "{ties}");
    }
    let odd: Row = serde_json::from_value(
        json!({"second": 1, "ties": "", "live": {"AAAAAAAAAAAA": {"extract": 2}}}),
    )
    .unwrap();
    assert!(!odd.shown().decided);
    for event in [
        shows("e1", "a"),
        shows("e1", "a").at(1),
        shows("e1", "a").at(i64::MIN),
    ] {
        let Merged::Changed(row) = merge(Some(&odd), &event.incoming()) else {
            panic!("something new")
        };
        assert_eq!(serde_json::from_value::<Row>(json!(row)).unwrap(), row);
    }
    for others in [
        "",
        "{}x",
        r#"{"values":[["status",[]]],"live":{"states":{"AAAAAAAAAAAA":[2]}}}"#,
    ] {
        let row = Row::default().complete(Kept::default(), Some(others));
        assert_eq!(row, Err(Malformed), "{others}");
    }
}
