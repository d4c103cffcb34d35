//! The laws of order: any order, any duplicate, and the truth where the winner is decided.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use std::cell::Cell;

/// Plays a history in the given order.
pub(super) fn played(history: &[Incoming]) -> Row {
    let mut row = Row::first(&history[0]);
    for incoming in history {
        row = after(&row, incoming);
    }
    row
}

fn after(row: &Row, incoming: &Incoming) -> Row {
    match merge(Some(row), incoming) {
        Merged::Changed(next) => {
            assert_ne!(
                next, *row,
                "a change that changes nothing would be written for nothing"
            );
            next
        }
        Merged::Known | Merged::Stale => row.clone(),
    }
}

/// Plays a history in every order and with any number of any duplicates, and gives the one row it ends in.
///
/// It goes through all sets of events: if every way into a set gives one row, then every order does. A duplicate is an
/// event that is in the set already; if none changes the row of any set, then no number of them does.
pub(super) fn in_every_order(history: &[Incoming]) -> Row {
    assert!(
        history.len() <= 12,
        "there are two to the power of {} sets",
        history.len()
    );
    let mut rows: Vec<Option<Row>> = vec![None; 1 << history.len()];
    for set in 1..rows.len() {
        for (n, incoming) in history
            .iter()
            .enumerate()
            .filter(|(n, _)| set & (1 << n) != 0)
        {
            let without = rows[set & !(1 << n)].clone();
            let row = match without {
                None => Row::first(incoming),
                Some(row) => stored(&row, incoming),
            };
            let known = rows[set].get_or_insert_with(|| row.clone());
            assert_eq!(
                json!(known).to_string(),
                json!(row).to_string(),
                "the order of set {set:b} shows"
            );
        }
        let row = rows[set].as_ref().unwrap();
        for (n, incoming) in history
            .iter()
            .enumerate()
            .filter(|(n, _)| set & (1 << n) != 0)
        {
            assert!(
                !matches!(merge(Some(row), incoming), Merged::Changed(_)),
                "duplicate {n} changes set {set:b}"
            );
        }
    }
    rows.pop().flatten().unwrap()
}

/// The next row as a store would have it: as it is written and read, and without reading where that can be done.
fn stored(row: &Row, incoming: &Incoming) -> Row {
    let next = after(row, incoming);
    let blind = row.final_second().is_none() || incoming.learned.is_final();
    if incoming.second > row.second && matches!(incoming.learned, Learned::Event(_)) && blind {
        let first = Row::first(incoming);
        let copied = Base {
            second: row.second,
            ties: row.ties.to_string().parse().unwrap(),
        };
        let unread = Row {
            base: copied,
            floor: first.floor.or(row.floor),
            firsts: first
                .firsts
                .iter()
                .chain(&row.firsts)
                .map(|(f, s)| (*f, *s))
                .collect(),
            ..first
        };
        assert_eq!(next, unread, "a newer second needs no reading");
    }
    let text = serde_json::to_string(&next).unwrap();
    let read: Row = serde_json::from_str(&text).unwrap();
    assert_eq!(next, read, "a row is read as it was written");
    let mut known = next.clone();
    (known.live, known.finals) = Default::default();
    if let Some(last) = &mut known.last_final {
        last.states = States::default();
    }
    let shown = next.shown().kept.clone();
    let completed = known.complete(shown, next.others().as_deref());
    assert_eq!(completed, Ok(next), "so is one whose states are packed");
    read
}

/// One step in an object's life.
#[derive(Clone, Debug)]
struct Step {
    to: usize,
    automatic: bool,
    doubled: bool,
    twin: bool,
    shown: bool,
    next_second: bool,
}

/// An object's life: what happened, and how Stripe tells it.
#[derive(Clone, Debug)]
struct Life {
    starts_in: usize,
    created: bool,
    deleted: bool,
    /// Whether an old hash is told whole, or in the members that changed.
    whole: bool,
    versions: Versions,
    steps: Vec<Step>,
}

/// The API versions that a life is told in.
#[derive(Clone, Copy, Debug)]
enum Versions {
    One,
    /// Two endpoints get every event, each in its version.
    Both,
    /// The older one up to a step.
    OlderBefore(usize),
}

fn lives(steps: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Life> {
    let rarely = || proptest::bool::weighted(0.15);
    let step = (
        0..5_usize,
        any::<bool>(),
        rarely(),
        rarely(),
        rarely(),
        proptest::bool::weighted(0.3),
    );
    let step = step.prop_map(|(to, automatic, doubled, twin, shown, next_second)| Step {
        to,
        automatic,
        doubled,
        twin,
        shown,
        next_second,
    });
    let versions = prop_oneof![8 => Just(Versions::One), 1 => Just(Versions::Both), 1 => (0..5_usize).prop_map(Versions::OlderBefore)];
    let life = (
        0..5_usize,
        any::<bool>(),
        rarely(),
        any::<bool>(),
        versions,
        proptest::collection::vec(step, steps),
    );
    life.prop_map(
        |(starts_in, created, deleted, whole, versions, steps)| Life {
            starts_in,
            created,
            deleted,
            whole,
            versions,
            steps,
        },
    )
}

/// States that are easily taken for one another when hashes are undone in the wrong way.
fn state(n: usize) -> Value {
    match n {
        0 => json!({"status": "a", "m": {"x": 1}, "metadata": {}, "list": [1]}),
        1 => json!({"status": "a", "m": {"x": 1, "y": 2}, "metadata": {}, "list": [1]}),
        2 => json!({"status": "a", "m": {"x": 5, "y": 2}, "metadata": {}, "list": [1]}),
        3 => json!({"status": "a", "m": {"x": 5}, "metadata": {}, "list": [1]}),
        _ => json!({"status": "b", "m": null, "metadata": {"k": "v"}, "list": [1, 2]}),
    }
}

/// A reader that keeps everything, in the shape of one version.
fn look(snapshot: &Value) -> Shown {
    let mut extract = snapshot.clone();
    extract
        .as_object_mut()
        .unwrap()
        .retain(|name, value| name != "plan" && !value.is_null());
    Shown {
        kept: Kept {
            extract,
            customer: None,
        },
        ..Shown::default()
    }
}

/// What Stripe says was there before.
fn previous(old: &Map<String, Value>, new: &Map<String, Value>, whole: bool) -> Value {
    let mut previous = Map::new();
    for name in old.keys().chain(new.keys()) {
        let [before, after] = [old, new].map(|side| side.get(name).cloned().unwrap_or_default());
        let value = match (&before, &after) {
            _ if before == after => continue,
            (Value::Object(old), Value::Object(new)) if !whole => self::previous(old, new, whole),
            _ => before,
        };
        previous.insert(name.clone(), value);
    }
    Value::Object(previous)
}

/// The events of a life in their true order, and the state it ends in.
struct Told {
    events: Vec<Incoming>,
    second: i64,
    ids: usize,
    versions: &'static [&'static str],
    last: StateHash,
}

impl Told {
    fn of(life: &Life) -> Self {
        let last = look(&state(life.starts_in)).kept.hash();
        let mut told = Self {
            events: Vec::new(),
            second: 1_760_000_000,
            ids: 0,
            versions: &[],
            last,
        };
        told.versions_at(life, 0);
        let mut now = life.starts_in;
        if life.created {
            told.tell("subscription.created", None, now, None);
        }
        for (n, step) in life.steps.iter().enumerate() {
            told.versions_at(life, n);
            told.second += i64::from(step.next_second);
            told.step(now, step, life.whole, &format!("req_{n}"));
            now = step.to;
        }
        if life.deleted {
            told.tell("subscription.deleted", None, now, None);
        }
        if told.events.is_empty() {
            told.tell("subscription.trial_will_end", None, now, None);
        }
        told
    }

    fn versions_at(&mut self, life: &Life, step: usize) {
        self.versions = match life.versions {
            Versions::Both => &["2024-06-20", "2025-09-30.clover"],
            Versions::OlderBefore(upgrade) if step < upgrade => &["2024-06-20"],
            Versions::One | Versions::OlderBefore(_) => &["2025-09-30.clover"],
        };
    }

    fn step(&mut self, from: usize, step: &Step, whole: bool, request: &str) {
        let request = (!step.automatic).then_some(request);
        if from != step.to {
            let [old, new] = [from, step.to].map(|n| state(n).as_object().unwrap().clone());
            let previous = previous(&old, &new, whole);
            for _ in 0..=usize::from(step.doubled) {
                self.tell("subscription.updated", request, step.to, Some(&previous));
            }
            if step.twin {
                self.tell("subscription.paused", request, step.to, Some(&previous));
            }
        }
        if step.shown || from == step.to {
            self.tell("subscription.trial_will_end", request, step.to, None);
        }
    }

    fn tell(
        &mut self,
        event_type: &str,
        request: Option<&str>,
        now: usize,
        previous: Option<&Value>,
    ) {
        self.ids += 1;
        for version in self.versions {
            let mut snapshot = state(now);
            snapshot["plan"] = if version.starts_with("2024") {
                json!("plan_1")
            } else {
                Value::Null
            };
            let mut shown = look(&snapshot);
            if event_type.ends_with("deleted") {
                shown.deleted = true;
                shown.kept.extract["deleted"] = json!(true);
            }
            let fact = Fact::of(&Observed {
                event: &format!("evt_{}", self.ids),
                event_type,
                request,
                api_version: Some(version),
                snapshot: &snapshot,
                previous,
                shown: &shown,
                look: &look,
            });
            self.last = fact.kept();
            self.events
                .push(Incoming::event(self.second, fact, shown.kept));
        }
    }
}

/// A history in some other order, with some duplicates.
fn shuffled(history: &[Incoming], mut seed: u64) -> Vec<Incoming> {
    let mut random = |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap_or_default() % below
    };
    let mut shuffled = history.to_vec();
    for _ in 0..random(history.len() + 1) {
        shuffled.push(history[random(history.len())].clone());
    }
    for n in (1..shuffled.len()).rev() {
        shuffled.swap(n, random(n + 1));
    }
    shuffled
}

fn in_some_orders(history: &[Incoming]) -> Row {
    let row = played(history);
    for seed in 0..8 {
        assert_eq!(
            played(&shuffled(history, seed)),
            row,
            "the order of shuffle {seed} shows"
        );
    }
    row
}

/// Few cases as a rule, since each is many orders; `PROPTEST_CASES` raises them.
pub(super) fn runner(cases_times: u32) -> TestRunner {
    let cases = Config::default().cases / 4 * cases_times;
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// Checks that the winners of many lives are true where they are decided, and gives the share of those.
fn decided_share(
    cases_times: u32,
    lives: impl Strategy<Value = Life>,
    row_of: fn(&[Incoming]) -> Row,
) -> f64 {
    let (all, decided) = (Cell::new(0.0), Cell::new(0.0));
    let outcome = runner(cases_times).run(&lives, |life| {
        let told = Told::of(&life);
        let row = row_of(&told.events);
        let shown = row.shown();
        all.set(all.get() + 1.0);
        decided.set(decided.get() + f64::from(u8::from(shown.decided)));
        prop_assert!(
            !shown.decided || shown.kept.hash() == told.last,
            "decided, and wrong: {}",
            row.ties
        );
        Ok(())
    });
    outcome.unwrap();
    decided.get() / all.get()
}

#[test]
fn a_short_life_ends_in_one_row_whatever_the_order_and_in_the_truth_if_decided() {
    let short = lives(0..5).prop_filter("few enough events for every order", |life| {
        Told::of(life).events.len() <= 8
    });
    let share = decided_share(1, short, in_every_order);
    assert!(share > 0.9, "only {share} are decided");
}

#[test]
fn a_long_life_ends_in_one_row_whatever_the_order_and_in_the_truth_if_decided() {
    let share = decided_share(4, lives(4..20), in_some_orders);
    assert!(share > 0.8, "only {share} are decided");
}

/// Anything that could be learned, whether or not a life could tell it: one event may even come with several contents.
fn anything(ids: u16) -> impl Strategy<Value = Incoming> {
    prop_oneof![30 => any_event(ids), 3 => (0..4_i64, 0..5_usize, any::<bool>()).prop_map(any_read)]
}

/// What is kept of a state of anything: whether it is final, whose it is and one more thing.
fn any_shown(n: usize, is_final: bool, deleted: bool) -> Shown {
    Shown {
        kept: Kept {
            extract: json!({"n": n / 2, "is_final": is_final, "deleted": deleted}),
            customer: [None, Some("cus_a".to_owned()), Some("cus_b".to_owned())][n % 3].clone(),
        },
        deleted,
        is_final: is_final || deleted,
        left_final: false,
        rank: 0,
    }
}

fn any_read((second, n, is_final): (i64, usize, bool)) -> Incoming {
    Incoming::read(second, any_shown(n, is_final, false).kept, is_final)
}

fn any_event(ids: u16) -> impl Strategy<Value = Incoming> {
    let event_type = prop_oneof![
        Just("x.created"),
        Just("x.updated"),
        Just("x.updated"),
        Just("x.paid"),
        Just("x.deleted")
    ];
    let rarely = || proptest::bool::weighted(0.2);
    let parts = (
        0..ids,
        event_type,
        (0..5_usize, rarely()),
        (0..5_usize, rarely()),
        0..3_usize,
        (rarely(), rarely()),
        0..3_u16,
    );
    parts.prop_map(
        |(id, event_type, from, to, request, (appeal, first), version)| {
            let [old, new] = [from.0, to.0].map(state);
            let mut previous = previous(old.as_object().unwrap(), new.as_object().unwrap(), appeal);
            previous["was_final"] = json!(from.1);
            let mut shown = any_shown(to.0, to.1, event_type == "x.deleted");
            shown.left_final = appeal;
            shown.rank = version.into();
            let look =
                |snapshot: &Value| any_shown(from.0, snapshot["was_final"] == json!(true), false);
            let fact = Fact::of(&Observed {
                event: &format!("evt_{id}"),
                event_type,
                request: ["req_1", "req_2"].get(request).copied(),
                api_version: Some(&format!("2025-0{version}-01")),
                snapshot: &new,
                previous: (from.0 != 0).then_some(&previous),
                shown: &shown,
                look: &look,
            });
            Incoming {
                begins_anew: event_type == "x.created" && first,
                first: first.then_some(First::PaymentFailed),
                ..Incoming::event(i64::from(id % 4), fact, shown.kept)
            }
        },
    )
}

pub(super) fn any_history() -> impl Strategy<Value = Vec<Incoming>> {
    proptest::collection::vec(anything(9), 1..8)
}

#[test]
fn whatever_is_learned_ends_in_one_row_whatever_the_order() {
    let outcome = runner(1).run(&any_history(), |history| {
        in_every_order(&history);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn crowded_seconds_end_in_one_row_whatever_the_order() {
    let overflows = Cell::new(0);
    let history = proptest::collection::vec(
        anything(240).prop_filter("events", |any| matches!(any.learned, Learned::Event(_))),
        160..260,
    );
    let outcome = runner(1).run(&history, |history| {
        let row = in_some_orders(&history);
        overflows
            .set(overflows.get() + u32::from(matches!(row.ties.facts(false), Facts::Overflow(_))));
        Ok(())
    });
    outcome.unwrap();
    assert!(overflows.get() > 0, "no second was crowded enough");
}

/// An event that tells a lot: states of some kilobytes, many of which share values.
fn heavy() -> impl Strategy<Value = Incoming> {
    let parts = (0..40_u16, 0..14_usize, 0..6_usize, 0..3_u16, any::<bool>());
    parts.prop_map(|(id, n, size, version, is_final)| {
        let long = "x".repeat(9_000 + 6_000 * size) + &n.to_string();
        let snapshot = json!({"n": n, "metadata": {"long": long, "n": size.to_string()}});
        let shown = Shown {
            kept: Kept {
                extract: snapshot.clone(),
                customer: None,
            },
            is_final: is_final && id % 4 == 0,
            ..Shown::default()
        };
        let fact = Fact::of(&Observed {
            event: &format!("evt_{id}"),
            event_type: "x.updated",
            request: None,
            api_version: Some(&format!("2025-0{version}-01")),
            snapshot: &snapshot,
            previous: None,
            shown: &shown,
            look: &look,
        });
        Incoming::event(i64::from(id % 5 / 4), fact, shown.kept)
    })
}

/// Nothing outgrows an item of DynamoDB, and what is kept of a second that would does not depend on the order.
#[test]
fn heavy_seconds_end_in_one_row_that_fits_an_item() {
    const ITEM_BYTES_MAX: usize = 400 * 1024;
    let (cut, largest) = (Cell::new(0), Cell::new(0));
    let outcome = runner(1).run(&proptest::collection::vec(heavy(), 5..45), |history| {
        let row = in_some_orders(&history);
        let others = row.others().unwrap_or_default();
        let bytes = others.len()
            + row.shown().kept.extract.to_string().len()
            + row.ties.to_string().len()
            + row.base.ties.to_string().len();
        prop_assert!(bytes < ITEM_BYTES_MAX - 8 * 1024, "{bytes} bytes");
        largest.set(largest.get().max(bytes));
        cut.set(cut.get() + u32::from(row.live.is_cut || row.finals.is_cut));
        Ok(())
    });
    outcome.unwrap();
    assert!(
        cut.get() > 0 && largest.get() > MAX_LIVE_BYTES / 2,
        "{largest:?} bytes, {cut:?} cut"
    );
}
