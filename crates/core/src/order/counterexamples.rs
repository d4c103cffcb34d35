//! The smallest histories that simpler wordings of the rules get wrong.
//!
//! Every history is played in every order and with every duplicate before its outcome is looked at.

use super::laws::in_every_order;
use super::tests::{Event, SECOND, changes, decided, decided_by, is, read, shows, status};
use super::*;
use serde_json::json;

/// What the row shows in the end, whether or not that is decided.
fn shown(history: &[Incoming]) -> String {
    status(&in_every_order(history))
}

fn told(events: &[Event<'_>]) -> Vec<Incoming> {
    events.iter().map(Event::incoming).collect()
}

#[test]
fn paid_is_not_for_ever() {
    let paid = shows("e1", "Paid").at(1);
    let detached = changes("e2", "Paid", "open").at(5);
    assert_eq!(decided(&[paid, shows("e3", "open").at(5)]), is("Paid"));
    assert_eq!(decided(&[paid, detached]), is("open"));
    assert_eq!(
        decided(&[paid, detached, shows("e3", "open").at(9)]),
        is("open")
    );
    let again = changes("e4", "open", "Paid").at(7);
    assert_eq!(decided(&[paid, detached, again]), is("Paid"));
}

#[test]
fn an_unread_write_does_not_undo_a_final_state() {
    let canceled = shows("e1", "Canceled").at(5);
    assert_eq!(
        decided(&[canceled, shows("e2", "active").at(6)]),
        is("Canceled")
    );
    let edited = shows("e3", "Canceled again").at(8);
    let late = [
        canceled,
        shows("e2", "active").at(6),
        edited,
        shows("e4", "active").at(9),
    ];
    assert_eq!(
        decided(&late),
        is("Canceled again"),
        "the newest final state"
    );
}

#[test]
fn a_read_beats_finals_of_its_second_and_before() {
    let paid = changes("e1", "a", "Paid").at(0).incoming();
    assert_eq!(shown(&[read(2, "open"), paid.clone()]), "open");
    assert_eq!(shown(&[read(0, "open"), paid.clone()]), "open");
    let later = shows("e2", "open").at(3).incoming();
    assert_eq!(shown(&[read(2, "Void"), paid, later]), "Void");
    let moving = [
        changes("e1", "a", "b").at(0),
        changes("e2", "b", "Paid").at(2),
        changes("e3", "b", "a").at(3),
    ];
    assert_eq!(decided(&moving), is("Paid"));
}

#[test]
fn an_object_that_was_not_found_may_come_to_be() {
    let kept = Kept {
        extract: json!({"status": "draft", "deleted": true}),
        customer: None,
    };
    let gone = Incoming::read(2, kept, false);
    let made = changes("e0", "x", "draft").at(1).incoming();
    assert_eq!(shown(&[made.clone(), gone.clone()]), "draft");
    let paid = shows("e1", "Paid").at(4).incoming();
    assert_eq!(shown(&[made.clone(), gone.clone(), paid]), "Paid");
    let open = shows("e1", "open").at(4).incoming();
    assert_eq!(shown(&[made, gone, open]), "open");
}

#[test]
fn what_was_deleted_stays_so_until_its_id_is_given_again() {
    let deleted = shows("e1", "a").as_type("customer.deleted").at(5);
    let is_deleted = |events: &[Event<'_>]| {
        let row = in_every_order(&told(events));
        let shown = row.shown();
        (shown.decided, shown.kept.extract["deleted"] == true)
    };
    let stale = shows("e2", "b").at(6);
    assert_eq!(is_deleted(&[deleted, stale]), (true, true));
    let made = shows("e3", "c").as_type("customer.created");
    assert_eq!(is_deleted(&[deleted, stale, made.at(8)]), (true, false));
    // A life of one second ends with it.
    assert_eq!(is_deleted(&[made.at(5), deleted, stale]), (true, true));
}

#[test]
fn a_final_state_can_still_be_edited() {
    let canceled = [
        changes("e1", "active", "Canceled"),
        shows("e2", "Canceled"),
        changes("e3", "Canceled", "Canceled, with a comment"),
    ];
    assert_eq!(decided(&canceled), is("Canceled, with a comment"));
    let circle = [
        canceled[2],
        changes("e4", "Canceled, with a comment", "Canceled"),
    ];
    assert_eq!(decided(&circle), None);
    let before = shows("e0", "Canceled").before();
    assert_eq!(decided(&[before, circle[0], circle[1]]), is("Canceled"));
}

#[test]
fn a_lost_event_does_not_pass_for_a_silent_change() {
    let (on, comment) = (
        changes("e1", "off/a", "on/a"),
        changes("e2", "off/a", "off/b"),
    );
    assert_eq!(decided(&[on, comment]), None);
    assert_eq!(decided(&[shows("e0", "off/a").before(), on, comment]), None);
}

#[test]
fn a_silent_change_breaks_the_walk_into_pieces() {
    let made = shows("e1", "a/1").as_type("customer.created");
    let pieces = [
        made,
        changes("e2", "a/1", "b/1"),
        changes("e3", "b/2", "c/2"),
        changes("e4", "c/2", "d/2"),
        changes("e5", "d/3", "e/3"),
    ];
    assert_eq!(decided(&pieces), is("e"));
    assert_eq!(decided(&pieces[1..]), is("e"), "they fit in one way only");
    assert_eq!(decided(&pieces[..3]), is("c"));
    let hole = [pieces[0], pieces[1], pieces[3]];
    assert_eq!(decided(&hole), None, "from b to c there is none");
    let elsewhere = [shows("e0", "c/0").before(), pieces[1], pieces[2]];
    assert_eq!(
        decided(&elsewhere),
        None,
        "the kept base is not where they begin"
    );
}

#[test]
fn pieces_that_make_a_circle_end_at_the_kept_base() {
    let to_and_fro = [changes("e1", "a/1", "b/1"), changes("e2", "b/2", "a/2")];
    assert_eq!(decided(&to_and_fro), None);
    let before = shows("e0", "a/0").before();
    assert_eq!(decided(&[before, to_and_fro[0], to_and_fro[1]]), is("a"));
}

#[test]
fn a_circle_is_not_laid() {
    let circle = [changes("e1", "2/c", "0/c"), changes("e2", "0/c", "2/c")];
    let before = shows("e0", "0").before();
    assert_eq!(
        decided(&[before, circle[0], circle[1]]),
        None,
        "a change of 0 to 2 may be lost, and then it ends in 2"
    );
    let beside = changes("e3", "0/d", "1/d");
    assert_eq!(decided(&[before, circle[0], circle[1], beside]), None);
}

#[test]
fn every_later_state_could_be_the_last() {
    let automatic = [
        changes("e1", "0/a", "1/b"),
        changes("e2", "1/b", "2/b"),
        changes("e3", "2/b", "1/b"),
        changes("e4", "1/b", "2/b"),
    ];
    assert_eq!(
        decided(&automatic),
        None,
        "open ends are 1 only, and 2 may be true"
    );
}

#[test]
fn equal_rows_are_decided_although_their_order_is_not() {
    assert_eq!(
        decided(&[shows("e1", "won/a"), shows("e2", "won/b")]),
        is("won")
    );
    let made = shows("e0", "open").as_type("invoice.created");
    let loose = [
        made,
        changes("e1", "x", "won/a"),
        changes("e2", "y", "won/b"),
    ];
    assert_eq!(decided(&loose), is("won"));
    for other in ["won@cus_b", "won"] {
        let rows = [shows("e1", "won@cus_a"), shows("e2", other)];
        assert_eq!(
            decided(&rows),
            None,
            "the customer is a part of the row: {other}"
        );
    }
    let gone = shows("e2", "won").as_type("customer.deleted");
    let row = in_every_order(&told(&[shows("e1", "won"), gone]));
    assert_eq!(row.shown().kept.extract["deleted"], true);
}

#[test]
fn the_customer_is_the_winners() {
    let customer =
        |events: &[Event<'_>]| in_every_order(&told(events)).shown().kept.customer.clone();
    let (a, b) = (shows("e1", "a@cus_a"), shows("e2", "a@cus_b"));
    assert_eq!(customer(&[a.before(), b]).as_deref(), Some("cus_b"));
    assert_eq!(customer(&[a, b.before()]).as_deref(), Some("cus_a"));
    assert_eq!(
        customer(&[a.before(), shows("e3", "a")]),
        None,
        "none means none"
    );
    let moved = changes("e2", "a@cus_a", "a@cus_b");
    assert_eq!(customer(&[a, moved]).as_deref(), Some("cus_b"));
}

#[test]
fn the_state_in_which_a_circuit_ends_is_still_there_when_it_closes() {
    let circuit = [
        changes("e1", "s1", "s2"),
        changes("e2", "s2", "s0"),
        changes("e3", "s0", "s1"),
    ];
    for base in ["s1", "s2", "s0"] {
        let before = shows("e0", base).before();
        let history = [before, circuit[0], circuit[1], circuit[2]];
        assert_eq!(decided(&history), is(base));
    }
}

#[test]
fn a_first_time_is_told_by_every_event_whatever_becomes_of_it() {
    let failed = |id, second| {
        shows(id, "open")
            .as_type("invoice.payment_failed")
            .at(second)
    };
    let firsts = |history: &[Incoming]| in_every_order(history).firsts.into_values().next();
    let paid = shows("e9", "Paid").at(50);
    let base = shows("e8", "open").at(40);
    // Older than the base, the base's own, and the newest second's.
    for second in [1, 40, 50] {
        let history = told(&[paid, base, failed("e1", second)]);
        assert_eq!(firsts(&history), Some(second));
    }
    let several = told(&[failed("e1", 30), failed("e2", 10), failed("e3", 60), paid]);
    assert_eq!(firsts(&several), Some(10));
    // A read absorbs the snapshot, and an overflow drops it.
    let absorbed = [read(45, "Paid"), failed("e1", 20).incoming()];
    assert_eq!(firsts(&absorbed), Some(20));
    let ids: Vec<String> = (0..=MAX_FACTS).map(|n| format!("o{n}")).collect();
    let mut crowded: Vec<_> = ids
        .iter()
        .map(|id| shows(id, id).at(7).incoming())
        .collect();
    crowded.push(failed("e1", 7).incoming());
    let row = super::laws::played(&crowded);
    assert_eq!(row.firsts[&First::PaymentFailed], 7);
}

#[test]
fn a_known_base_on_the_path_begins_it() {
    let path = [changes("e1", "c", "a"), changes("e2", "a", "b")];
    assert_eq!(decided(&path), is("b"));
    let before = |state| shows("e0", state).before();
    assert_eq!(decided(&[before("a"), path[0], path[1]]), None);
    assert_eq!(decided(&[before("c"), path[0], path[1]]), is("b"));
    assert_eq!(
        decided(&[before("x"), path[0], path[1]]),
        is("b"),
        "what is missing came before the second"
    );
}

#[test]
fn a_read_between_a_row_and_its_base() {
    let circle = [
        changes("e1", "a", "b").incoming(),
        changes("e2", "b", "a").incoming(),
    ];
    let base = shows("e0", "a").at(SECOND - 5).incoming();
    let settled = [base.clone(), circle[0].clone(), circle[1].clone()];
    assert_eq!(decided_by(&settled), is("a"));
    let between = read(SECOND - 2, "b");
    let unsettled = [base.clone(), between, circle[0].clone(), circle[1].clone()];
    assert_eq!(decided_by(&unsettled), None, "it may show a later second");
    let ended = read(SECOND - 2, "Canceled");
    let ended = [base, ended, circle[0].clone(), circle[1].clone()];
    assert_eq!(decided_by(&ended), is("Canceled"));
}

#[test]
fn an_appeal_reopens_what_was_over() {
    let lost = shows("e1", "lost").at(1);
    let won = shows("e2", "Won").at(3);
    let appeal = shows("e3", "appeal under review").at(5);
    assert_eq!(decided(&[lost, won, shows("e4", "lost").at(4)]), is("Won"));
    assert_eq!(decided(&[won, appeal]), is("appeal under review"));
    assert_eq!(
        decided(&[lost, won, appeal, shows("e4", "lost").at(9)]),
        is("lost")
    );
}

#[test]
fn too_many_events_leave_a_final_state_as_it_was() {
    let ids: Vec<String> = (0..=MAX_FACTS).map(|n| format!("o{n}")).collect();
    let mut crowded: Vec<_> = ids
        .iter()
        .map(|id| shows(id, id).at(7).incoming())
        .collect();
    crowded.insert(9, shows("e1", "Canceled").at(7).incoming());
    for later in [None, Some(shows("e2", "active").at(8).incoming())] {
        crowded.extend(later);
        let row = super::laws::played(&crowded);
        let shown = row.shown();
        assert_eq!((status(&row).as_str(), shown.decided), ("Canceled", true));
        crowded.rotate_left(5);
        assert_eq!(super::laws::played(&crowded), row);
    }
}
