//! How write rules that are in use do on four short histories.
//!
//! Each rule is a model of a few lines, written from what its project does with an event; it is not that project's code. The
//! last one is not a model: it is `billhook-core`, fed with real bodies. The histories are reconstructions: the
//! comparison that this one repeats gave their shapes and its counts, and these are the shortest ones that fit both.

use std::fmt::Write as _;

use billhook_core::objects::Kind;
use serde_json::{Value, json};

use crate::account::Account;
use crate::orders::permutations;

/// What a row says of a deleted object, whether it is kept as a tombstone or not at all.
const DELETED: &str = "deleted";

/// One event of a subscription.
#[derive(Clone, Copy, Debug)]
struct Told {
    second: i64,
    change: &'static str,
    status: &'static str,
    /// The status before, where the event tells it.
    before: Option<&'static str>,
}

const fn told(
    second: i64,
    change: &'static str,
    status: &'static str,
    before: Option<&'static str>,
) -> Told {
    Told {
        second,
        change,
        status,
        before,
    }
}

/// A history: its events in true order. The last one shows what is right.
struct History {
    name: &'static str,
    what: &'static str,
    lives: &'static [&'static [Told]],
}

const HISTORIES: [History; 4] = [
    History {
        name: "5 events, tie at both ends, deleted last",
        what: "created incomplete and made active in one second, past due in a later one, unpaid and deleted in a last one",
        lives: &[&[
            told(1, "created", "incomplete", None),
            told(1, "updated", "active", Some("incomplete")),
            told(2, "updated", "past_due", Some("active")),
            told(3, "updated", "unpaid", Some("past_due")),
            told(3, "deleted", DELETED, Some("unpaid")),
        ]],
    },
    History {
        name: "4 events, tie at the start",
        what: "created incomplete and made active in one second, past due in a later one, active again in a last one",
        lives: &[&[
            told(1, "created", "incomplete", None),
            told(1, "updated", "active", Some("incomplete")),
            told(2, "updated", "past_due", Some("active")),
            told(3, "updated", "active", Some("past_due")),
        ]],
    },
    History {
        name: "2 events, one second",
        what: "created incomplete and made active, as in stripe/sync-engine#268",
        lives: &[&[
            told(1, "created", "incomplete", None),
            told(1, "updated", "active", Some("incomplete")),
        ]],
    },
    History {
        name: "3 events, to and fro in one second",
        what: "created active, then past due and active again within one second; and the same the other way round",
        lives: &[
            &[
                told(1, "created", "active", None),
                told(2, "updated", "past_due", Some("active")),
                told(2, "updated", "active", Some("past_due")),
            ],
            &[
                told(1, "created", "past_due", None),
                told(2, "updated", "active", Some("past_due")),
                told(2, "updated", "past_due", Some("active")),
            ],
        ],
    },
];

/// What the modelled rules keep. A row that is not there is a deleted one.
#[derive(Clone, Copy, Debug)]
struct Row {
    status: &'static str,
    stamp: i64,
    place: Place,
}

/// The place of an event in a total order by rank: its second, whether it is the end, its type, its status.
type Place = (i64, bool, usize, usize);

fn place(told: &Told) -> Place {
    let rank = |list: &[&str], name| list.iter().position(|other| *other == name).unwrap_or(0);
    let types = ["created", "updated", "deleted"];
    let statuses = ["incomplete", "active", "past_due", "unpaid", DELETED];
    (
        told.second,
        told.status == DELETED,
        rank(&types, told.change),
        rank(&statuses, told.status),
    )
}

/// A write rule.
struct Rule {
    name: &'static str,
    /// Whether an event is written over the row that is there. Where none is there it always is.
    wins: fn(&Row, &Told) -> bool,
    /// What is then kept.
    keeps: fn(&Told) -> Option<Row>,
}

const RULES: [Rule; 7] = [
    Rule {
        name: "blind apply",
        wins: |_, _| true,
        keeps: |told| Some(row(told)),
    },
    Rule {
        name: "blind apply, `created` only where nothing is there",
        wins: |_, told| told.change != "created",
        keeps: |told| Some(row(told)),
    },
    Rule {
        name: "`created` strictly newer than the row's",
        wins: |row, told| row.stamp < told.second,
        keeps: |told| Some(row(told)),
    },
    Rule {
        name: "`created` not older than the row's",
        wins: |row, told| row.stamp <= told.second,
        keeps: |told| Some(row(told)),
    },
    Rule {
        name: "strictly newer, and a deletion removes the row",
        wins: |row, told| row.stamp < told.second || told.status == DELETED,
        keeps: |told| Some(row(told)).filter(|_| told.status != DELETED),
    },
    Rule {
        name: "strictly newer than the object's own `created`",
        wins: |row, told| row.stamp < told.second,
        // The object was created in second 1, whatever happened to it later.
        keeps: |told| {
            let row = row(told);
            Some(Row { stamp: 1, ..row })
        },
    },
    Rule {
        name: "a total order: second, end, type, rank of the status",
        wins: |row, told| row.place < place(told),
        keeps: |told| Some(row(told)),
    },
];

fn row(told: &Told) -> Row {
    Row {
        status: told.status,
        stamp: told.second,
        place: place(told),
    }
}

/// What a rule's row shows after these deliveries.
fn shown_by(rule: &Rule, life: &[Told], order: &[usize]) -> String {
    let mut row: Option<Row> = None;
    for told in order.iter().map(|n| &life[*n]) {
        if row.is_none_or(|row| (rule.wins)(&row, told)) {
            row = (rule.keeps)(told);
        }
    }
    row.map_or(DELETED, |row| row.status).to_owned()
}

/// What billhook's row shows after these deliveries: nothing of this is modelled.
fn shown_by_billhook(life: &[Told], order: &[usize]) -> String {
    let mut account = Account::default();
    for n in order {
        account.deliver(body(&life[*n], *n).to_string().as_bytes());
    }
    let mut rows = account.rows();
    let (_, stored) = rows
        .find(|(key, _)| key.kind == Kind::Subscription)
        .expect("the subscription has a row");
    if !stored.row.shown().decided {
        return "undecided".to_owned();
    }
    match stored.extract()["status"].as_str() {
        Some("canceled") => DELETED.to_owned(),
        status => status.unwrap_or_default().to_owned(),
    }
}

/// The body of an event. The end of a subscription is a canceled one.
fn body(told: &Told, n: usize) -> Value {
    let status = if told.status == DELETED {
        "canceled"
    } else {
        told.status
    };
    let mut data = json!({"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status}});
    if let Some(before) = told.before {
        data["previous_attributes"] = json!({"status": before});
    }
    json!({
        "id": format!("evt_{n}"), "object": "event", "api_version": "2026-10-28.endive", "livemode": false,
        "created": 1_790_000_000 + told.second, "type": format!("customer.subscription.{}", told.change), "data": data,
    })
}

/// How often something went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How often.
    pub wrong: usize,
    /// Of how many.
    pub all: usize,
}

/// Plays every order of a history's lives, each as it is and with one event once more at the end.
fn count(history: &History, shown: impl Fn(&[Told], &[usize]) -> String) -> Count {
    let mut count = Count::default();
    for life in history.lives {
        let right = life[life.len() - 1].status;
        for order in permutations(life.len()) {
            let late = order.iter().map(|again| Some(*again));
            for again in late.chain([None]) {
                let deliveries: Vec<_> = order.iter().copied().chain(again).collect();
                count.all += 1;
                count.wrong += usize::from(shown(life, &deliveries) != right);
            }
        }
    }
    count
}

/// A step of one of two workers, each of which reads the object from Stripe and then writes what it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Reads(usize),
    Writes(usize),
}

/// Plays two workers that refetch. The object changes after the first read and before the second, so that the first worker
/// holds the old state. A guarded write holds only if the row's `rev` is what it was at the read; a worker that is refused
/// starts again.
fn count_refetches(guarded: bool) -> Count {
    use Step::{Reads, Writes};
    let interleavings = [
        [Reads(0), Writes(0), Reads(1), Writes(1)],
        [Reads(0), Reads(1), Writes(0), Writes(1)],
        [Reads(0), Reads(1), Writes(1), Writes(0)],
    ];
    let mut count = Count::default();
    for steps in interleavings {
        let (mut row, mut rev, mut held) = ("", 0, [("", 0); 2]);
        for step in steps {
            match step {
                Reads(worker) => held[worker] = (["old", "new"][worker], rev),
                Writes(worker) if guarded && held[worker].1 != rev => (row, rev) = ("new", rev + 1),
                Writes(worker) => (row, rev) = (held[worker].0, rev + 1),
            }
        }
        count.all += 1;
        count.wrong += usize::from(row != "new");
    }
    count
}

/// The counts of each rule over each history, billhook's last.
#[must_use]
pub fn counts() -> Vec<(&'static str, Vec<Count>)> {
    let of = |shown: &dyn Fn(&[Told], &[usize]) -> String| {
        HISTORIES
            .iter()
            .map(|history| count(history, shown))
            .collect()
    };
    let models = RULES
        .iter()
        .map(|rule| (rule.name, of(&|life, order| shown_by(rule, life, order))));
    let ours = ("**billhook**: the path of states", of(&shown_by_billhook));
    models.chain([ours]).collect()
}

/// The counts of two workers that refetch, without a guard and with one.
#[must_use]
pub fn refetch_counts() -> [(&'static str, Count); 2] {
    [
        ("refetch, then write", count_refetches(false)),
        (
            "refetch, then write if the row's `rev` is what it was",
            count_refetches(true),
        ),
    ]
}

/// Both tables and the histories, in Markdown.
#[must_use]
pub fn report() -> String {
    let mut text = String::new();
    line(
        &mut text,
        "| write rule",
        HISTORIES.map(|history| history.name.to_owned()),
    );
    line(&mut text, "|---", HISTORIES.map(|_| "---".to_owned()));
    for (name, counts) in counts() {
        line(&mut text, &format!("| {name}"), counts.iter().map(cell));
    }
    text += "\n";
    line(
        &mut text,
        "| two workers",
        ["an older read written last".to_owned()],
    );
    line(&mut text, "|---", ["---".to_owned()]);
    for (name, count) in refetch_counts() {
        line(&mut text, &format!("| {name}"), [cell(&count)]);
    }
    text += "\nThe histories, as they were reconstructed:\n\n";
    for History { name, what, .. } in HISTORIES {
        _ = writeln!(text, "- *{name}*: {what}.");
    }
    text
}

fn line(text: &mut String, first: &str, cells: impl IntoIterator<Item = String>) {
    let separator = if first.starts_with("|-") { "|" } else { " | " };
    let cells: Vec<_> = cells.into_iter().collect();
    let end = if separator == "|" { "|" } else { " |" };
    _ = writeln!(text, "{first}{separator}{}{end}", cells.join(separator));
}

fn cell(count: &Count) -> String {
    format!("{}/{}", count.wrong, count.all)
}
