//! Every order of delivery of the lives in `events/lives`.
//!
//! Three ways, from the plainest to the widest. All play what `billhook-core` decides, on rows in memory.

#![expect(
    clippy::print_stdout,
    reason = "how much was played is a result, shown by --nocapture"
)]

use std::collections::{BTreeMap, BTreeSet};

use billhook_core::decide::Change;
use billhook_proofs::account::{Account, Effect, name_of};
use billhook_proofs::lives::{self, Life, difference};
use billhook_proofs::orders::Chance;

/// The longest slice of which every order is played one by one: 5,040 orders.
const SLICE_MAX: usize = 7;

/// The longest slice of several seconds of which every order is played.
const SLICE_OF_SECONDS_MAX: usize = 5;

#[derive(Default)]
struct Counts {
    slices: u64,
    orders: u64,
    deliveries: u64,
    duplicates: u64,
}

/// Plays every order of a slice, event by event, and comes back to branch off.
///
/// Each event comes once more right after itself, and at the end of each order every event does. Nothing may change then: so
/// in each order each single duplicate is played at its own place and at the end.
fn play_on(
    slice: &[&Change],
    played: &mut Vec<usize>,
    account: &mut Account,
    wanted: &str,
    counts: &mut Counts,
) {
    if played.len() == slice.len() {
        counts.orders += 1;
        assert_eq!(account.text(), wanted, "the order {played:?} shows");
        for again in &*played {
            play_again(slice, *again, played, account, counts);
        }
    }
    for n in 0..slice.len() {
        if played.contains(&n) {
            continue;
        }
        let mut next = account.clone();
        next.apply(slice[n]);
        counts.deliveries += 1;
        played.push(n);
        play_again(slice, n, played, &mut next, counts);
        play_on(slice, played, &mut next, wanted, counts);
        played.pop();
    }
}

fn play_again(
    slice: &[&Change],
    again: usize,
    played: &[usize],
    account: &mut Account,
    counts: &mut Counts,
) {
    let effect = account.apply(slice[again]);
    counts.duplicates += 1;
    assert!(
        matches!(effect, Effect::Settled(_)),
        "{again} once more changes something after {played:?}"
    );
}

fn play_slice(slice: &[&Change], counts: &mut Counts) {
    let mut in_order = Account::default();
    for change in slice {
        in_order.apply(change);
    }
    counts.slices += 1;
    play_on(
        slice,
        &mut Vec::new(),
        &mut Account::default(),
        &in_order.text(),
        counts,
    );
}

/// The slices of a life: of one second the longest that can be played, and of any seconds shorter ones. A slice that
/// lies in another one is left out, since its orders are among the other's.
fn slices(life: &Life) -> Vec<Vec<&Change>> {
    let changes: Vec<_> = life.changes.iter().collect();
    let one_second =
        |slice: &[&Change]| slice[0].incoming.second == slice[slice.len() - 1].incoming.second;
    let seconds = changes.chunk_by(|a, b| a.incoming.second == b.incoming.second);
    let within = seconds.flat_map(|second| {
        second
            .windows(second.len().min(SLICE_MAX))
            .map(<[_]>::to_vec)
    });
    let across = changes
        .windows(SLICE_OF_SECONDS_MAX)
        .filter(|slice| !one_second(slice))
        .map(<[_]>::to_vec);
    within.chain(across).collect()
}

#[test]
fn every_order_of_every_slice_with_every_duplicate_ends_in_one_state() {
    let mut counts = Counts::default();
    for life in lives::all() {
        for slice in slices(&life) {
            play_slice(&slice, &mut counts);
        }
    }
    let Counts {
        slices,
        orders,
        deliveries,
        duplicates,
    } = counts;
    println!(
        "{slices} slices: {orders} orders in {deliveries} deliveries, {duplicates} duplicates"
    );
    assert!(slices >= 150 && orders >= 300_000 && duplicates >= 1_000_000);
}

/// The events of a life, object by object.
fn objects(life: &Life) -> BTreeMap<String, Vec<&Change>> {
    let mut objects = BTreeMap::<_, Vec<_>>::new();
    for change in &life.changes {
        objects
            .entry(name_of(&change.key))
            .or_default()
            .push(change);
    }
    objects
}

/// Goes through all sets of an object's events: if every way into a set leads to one row, then every order does. And if no
/// event of a set changes its row, then no number of duplicates does, at any place.
///
/// Gives how many sets there are.
fn every_order_of_an_object(changes: &[&Change]) -> usize {
    let mut after: Vec<Account> = vec![Account::default()];
    for set in 1_usize..1 << changes.len() {
        let members = || (0..changes.len()).filter(|n| set & (1 << n) != 0);
        let mut all_ways = members().map(|last| {
            let mut account = after[set & !(1 << last)].clone();
            account.apply(changes[last]);
            account
        });
        let mut account = all_ways.next().expect("the set is not empty");
        let wanted = account.text();
        assert!(
            all_ways.all(|other| other.text() == wanted),
            "the order of set {set:b} shows"
        );
        for again in members() {
            let effect = account.apply(changes[again]);
            assert!(
                matches!(effect, Effect::Settled(_)),
                "{again} once more changes set {set:b}"
            );
        }
        after.push(account);
    }
    after.len()
}

/// An event touches the row of its object and no other, so this is every order of every whole life.
#[test]
fn every_order_of_every_whole_life_ends_in_one_state() {
    let (mut rows, mut sets, mut longest) = (0, 0, 0);
    for life in lives::all() {
        for changes in objects(&life).values() {
            rows += 1;
            longest = longest.max(changes.len());
            sets += every_order_of_an_object(changes);
        }
    }
    println!("{rows} objects with up to {longest} events: {sets} sets of events");
    assert!(rows >= 50 && longest >= 8 && sets >= 2_000);
}

fn play(life: &Life, order: &[usize]) -> Account {
    let mut account = Account::default();
    for n in order {
        account.apply(&life.changes[*n]);
    }
    account
}

#[test]
fn two_thousand_shuffles_of_every_life_end_in_the_state_that_must_result() {
    const SHUFFLES: u64 = 2_000;
    let (mut shuffles, mut deliveries) = (0, 0);
    for life in lives::all() {
        let in_order: Vec<_> = (0..life.changes.len()).collect();
        let wanted = play(&life, &in_order);
        for (customer, state) in life.states(&wanted) {
            assert_eq!(
                difference(&life.expected[&customer], &state),
                None,
                "{}, in order",
                life.name
            );
        }
        for seed in 0..SHUFFLES {
            let order = Chance::new(seed).deliveries(life.changes.len());
            let account = play(&life, &order);
            assert_eq!(
                account.text(),
                wanted.text(),
                "{} in the order {order:?}",
                life.name
            );
            // Equal rows make equal states; that is looked at now and then.
            if seed % 100 == 0 {
                assert_eq!(
                    life.states(&account),
                    life.states(&wanted),
                    "{}, {order:?}",
                    life.name
                );
            }
            shuffles += 1;
            deliveries += order.len();
        }
    }
    println!("{shuffles} shuffles of whole lives: {deliveries} deliveries");
    assert!(shuffles >= 20_000);
}

#[test]
fn every_prefix_of_a_life_ends_in_what_it_says_in_order() {
    const SHUFFLES: u64 = 12;
    let mut prefixes = 0;
    for life in lives::all() {
        let mut wanted = Account::default();
        for (n, change) in life.changes.iter().enumerate() {
            wanted.apply(change);
            let states = life.states(&wanted);
            prefixes += 1;
            for seed in 0..SHUFFLES {
                let order = Chance::new(seed).deliveries(n + 1);
                let account = play(&life, &order);
                assert_eq!(account.text(), wanted.text(), "{}, {order:?}", life.name);
                assert_eq!(life.states(&account), states, "{}, {order:?}", life.name);
            }
        }
    }
    println!(
        "{prefixes} prefixes of lives, {} shuffles",
        prefixes * SHUFFLES
    );
    assert!(prefixes >= 200);
}

/// Where a life is whole, nothing is left open.
#[test]
fn every_row_of_every_life_is_decided() {
    let mut undecided = BTreeSet::new();
    for life in lives::all() {
        let mut account = Account::default();
        for body in &life.bodies {
            account.deliver(body);
        }
        for (key, stored) in account.rows() {
            if !stored.row.shown().decided {
                undecided.insert(format!("{} {}", life.name, name_of(key)));
            }
        }
    }
    assert!(undecided.is_empty(), "{undecided:#?}");
}
