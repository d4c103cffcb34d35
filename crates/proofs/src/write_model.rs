//! A model of the write rule: effect, then mark.
//!
//! A queue, two consumers, the row of one object and the ledger, with every interleaving of their steps, a crash between any
//! two of them, redeliveries and a message that was sent twice. What a row becomes is decided by `billhook-core`; the model
//! adds what lies around it: that a conditional write is one step, and that everything else can happen in between.
//!
//! The rule can be broken on purpose, one [`Fault`] at a time, to see that the properties would notice.

use std::collections::BTreeSet;

use billhook_core::decide::{Change, Decision, Guard, Settled, decide};
use billhook_core::order::{Base, Row};
use billhook_core::row::StoredRow;
use serde_json::{Value, json};
use stateright::{Model, Property};

use crate::account::change_of;

/// A way to break the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The event is marked first, and a marked event is not carried out again.
    MarkBeforeEffect,
    /// The message is acknowledged when it is received.
    AckBeforeEffect,
    /// The first write is not conditional: it overwrites what is there.
    UnguardedFirstWrite,
    /// A merged row is written whatever has become of the row that was read.
    UnguardedMerge,
    /// A merged row is written if the stored second is not newer, instead of if `rev` is what it was.
    GuardedBySecond,
    /// The first write leaves the base empty.
    BaseNotCopied,
    /// The first write of a newer second overwrites a row that keeps a final state, also if its own is not.
    FinalUndone,
    /// The first write of a newer second drops the floor of the row that it replaces.
    FloorNotKept,
    /// The first write of a newer second drops the firsts of the row that it replaces.
    FirstsNotKept,
}

/// The model: which events there are, and what is wrong with the rule.
#[derive(Clone, Debug)]
pub struct WriteModel {
    name: &'static str,
    changes: Vec<Change>,
    /// The event of each message.
    messages: Vec<usize>,
    /// What the row must hold in the end.
    wanted: String,
    fault: Option<Fault>,
    crashes_max: u8,
    timeouts_max: u8,
}

/// What an event tells: its second, its type, the object, and what was different before.
type Told = (i64, String, Value, Option<Value>);

/// Everything there is at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    row: Option<Item>,
    marked: BTreeSet<usize>,
    messages: Vec<Message>,
    workers: [Worker; 2],
    crashes: u8,
    timeouts: u8,
    /// What has happened on the way, for the properties.
    seen: Seen,
}

/// The stored row: as text, since that is what can be compared and hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    row: String,
    second: i64,
    rev: u64,
}

/// Where a message of the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Waits,
    InFlight,
    Gone,
}

/// What a consumer is about to do with the message that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// Write the row, as it was answered by the last refusal or unread.
    Write(usize, Option<Item>),
    Mark(usize),
    Ack(usize),
}

/// What has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    /// How often each event changed the row.
    effects: Vec<u8>,
    went_back: bool,
    redelivery: bool,
    refusal: bool,
    crash_before_mark: bool,
    duplicate: bool,
    /// A message was handed out again while its first consumer was still at work.
    overlap: bool,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A consumer takes a message.
    Receive(usize, usize),
    /// A consumer does what it is about to do.
    Go(usize),
    /// A consumer is gone, and its message becomes visible again.
    Crash(usize),
    /// A message becomes visible again although its consumer is still at work.
    Timeout(usize),
}

impl WriteModel {
    /// The models, each with other events of one object.
    #[must_use]
    pub fn all() -> [Self; 4] {
        [
            Self::ties(None),
            Self::canceled(None),
            Self::comes_back(None),
            Self::payment_failed(None),
        ]
    }

    /// The model whose events tell the rule from a broken one.
    #[must_use]
    pub fn broken_by(fault: Fault) -> Self {
        let model = match fault {
            Fault::MarkBeforeEffect
            | Fault::AckBeforeEffect
            | Fault::UnguardedFirstWrite
            | Fault::UnguardedMerge
            | Fault::GuardedBySecond
            | Fault::BaseNotCopied => Self::ties,
            Fault::FinalUndone => Self::canceled,
            Fault::FloorNotKept => Self::comes_back,
            Fault::FirstsNotKept => Self::payment_failed,
        };
        model(Some(fault))
    }

    fn ties(fault: Option<Fault>) -> Self {
        let events = [
            subscription(1, "created", "incomplete", false, None),
            subscription(2, "updated", "active", false, was("incomplete")),
            subscription(2, "updated", "active", true, canceled(false)),
            subscription(2, "updated", "active", false, canceled(true)),
        ];
        Self::new(
            "a subscription with three events in one second",
            events,
            fault,
        )
    }

    /// The last event does not know of the end, and is the newest all the same.
    fn canceled(fault: Option<Fault>) -> Self {
        let events = [
            subscription(1, "created", "active", false, None),
            subscription(2, "deleted", "canceled", false, None),
            subscription(3, "updated", "active", true, canceled(false)),
        ];
        Self::new("a canceled subscription", events, fault)
    }

    fn comes_back(fault: Option<Fault>) -> Self {
        let events = [
            subscription(1, "deleted", "canceled", false, None),
            subscription(2, "updated", "active", false, was("canceled")),
            subscription(3, "updated", "past_due", false, was("active")),
        ];
        Self::new("a canceled subscription that comes back", events, fault)
    }

    fn payment_failed(fault: Option<Fault>) -> Self {
        let events = [
            invoice(1, "payment_failed", "open", None),
            invoice(2, "payment_failed", "open", None),
            invoice(3, "paid", "paid", was("open")),
        ];
        Self::new("an invoice whose payment failed twice", events, fault)
    }

    /// The second event's message is sent twice.
    fn new(
        name: &'static str,
        events: impl IntoIterator<Item = Told>,
        fault: Option<Fault>,
    ) -> Self {
        let events = events.into_iter().enumerate();
        let changes: Vec<_> = events
            .filter_map(|(n, (second, event_type, object, previous))| {
                let mut data = json!({"object": object});
                if let Some(previous) = previous {
                    data["previous_attributes"] = previous;
                }
                let body = json!({
                    "id": format!("evt_{n}"), "type": event_type, "data": data,
                    "created": 1_790_000_000 + second, "livemode": false, "api_version": "2026-10-28.endive",
                    "request": {"id": format!("req_{n}")},
                });
                change_of(body.to_string().as_bytes())
            })
            .collect();
        let mut account = crate::account::Account::default();
        for change in &changes {
            account.apply(change);
        }
        let (_, stored) = account.rows().next().expect("there is one row");
        let wanted = json!(stored.row).to_string();
        let messages = (0..changes.len()).chain([1]).collect();
        Self {
            name,
            changes,
            messages,
            wanted,
            fault,
            crashes_max: 1,
            timeouts_max: 1,
        }
    }

    /// What this one is about.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn broken(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn event(&self, message: usize) -> usize {
        self.messages[message]
    }

    /// What a consumer does first with a message.
    fn first_step(&self, world: &World, message: usize) -> Worker {
        match self.fault {
            Some(Fault::MarkBeforeEffect) if world.marked.contains(&self.event(message)) => {
                Worker::Ack(message)
            }
            Some(Fault::MarkBeforeEffect) => Worker::Mark(message),
            Some(Fault::AckBeforeEffect) => Worker::Ack(message),
            _ => Worker::Write(message, None),
        }
    }

    /// What a consumer does after its write is settled.
    fn after_write(&self, message: usize) -> Worker {
        match self.fault {
            Some(Fault::MarkBeforeEffect) => Worker::Ack(message),
            _ => Worker::Mark(message),
        }
    }

    /// One conditional write, or none where there is nothing to write.
    fn write(&self, world: &mut World, message: usize, read: Option<&Item>) -> Worker {
        let event = self.event(message);
        let stored = read.map(Item::stored);
        let write = match decide(&self.changes[event].incoming, stored.as_ref()) {
            Decision::Settled(settled) => {
                world.seen.duplicate |= settled == Settled::Duplicate;
                return self.after_write(message);
            }
            Decision::Write(write) => *write,
        };
        let there = world.row.as_ref();
        let holds = match write.guard {
            Guard::AbsentOrOlder { over_final } => {
                let undoes_final =
                    |there: &Item| !over_final && there.stored().row.final_second().is_some();
                self.broken(Fault::UnguardedFirstWrite)
                    || there.is_none_or(|there| {
                        there.second < write.row.second
                            && (self.broken(Fault::FinalUndone) || !undoes_final(there))
                    })
            }
            Guard::Rev(_) if self.broken(Fault::UnguardedMerge) => true,
            Guard::Rev(_) if self.broken(Fault::GuardedBySecond) => {
                there.is_some_and(|there| there.second <= write.row.second)
            }
            Guard::Rev(rev) => there.is_some_and(|there| there.rev == rev),
        };
        if !holds {
            world.seen.refusal = true;
            return Worker::Write(message, world.row.clone());
        }
        let mut row = write.row;
        if let (Guard::AbsentOrOlder { .. }, Some(replaced)) = (write.guard, there) {
            self.keep(&mut row, replaced.stored());
        }
        let rev = there.map_or(0, |there| there.rev) + 1;
        let before = there.map_or((i64::MIN, 0), |there| (there.second, there.rev));
        world.seen.went_back |= (row.second, rev) < before;
        world.seen.effects[event] += 1;
        world.row = Some(Item {
            second: row.second,
            rev,
            row: json!(row).to_string(),
        });
        self.after_write(message)
    }

    /// What the store keeps of a row that it replaces unread: its second becomes the base, and what stands beside its
    /// snapshot stays.
    fn keep(&self, row: &mut Row, replaced: StoredRow) {
        let Row {
            second,
            ties,
            floor,
            firsts,
            ..
        } = replaced.row;
        if !self.broken(Fault::BaseNotCopied) {
            row.base = Base { second, ties };
        }
        if !self.broken(Fault::FloorNotKept) {
            row.floor = row.floor.or(floor);
        }
        if !self.broken(Fault::FirstsNotKept) {
            row.firsts.extend(firsts);
        }
    }

    fn knows(&self, world: &World, event: usize) -> bool {
        let stored = world.row.as_ref().map(Item::stored);
        stored.is_some_and(|stored| {
            matches!(
                decide(&self.changes[event].incoming, Some(&stored)),
                Decision::Settled(_)
            )
        })
    }

    fn is_over(world: &World) -> bool {
        world
            .messages
            .iter()
            .all(|message| *message == Message::Gone)
            && world.workers.iter().all(|worker| *worker == Worker::Idle)
    }
}

fn subscription(
    second: i64,
    change: &str,
    status: &str,
    cancels: bool,
    previous: Option<Value>,
) -> Told {
    let object = json!({
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status,
        "cancel_at_period_end": cancels,
    });
    let event_type = format!("customer.subscription.{change}");
    (second, event_type, object, previous)
}

fn invoice(second: i64, change: &str, status: &str, previous: Option<Value>) -> Told {
    let object = json!({"id": "in_1", "object": "invoice", "customer": "cus_1", "status": status});
    (second, format!("invoice.{change}"), object, previous)
}

fn was(status: &str) -> Option<Value> {
    Some(json!({"status": status}))
}

fn canceled(at_period_end: bool) -> Option<Value> {
    Some(json!({"cancel_at_period_end": at_period_end}))
}

impl Item {
    fn stored(&self) -> StoredRow {
        let row: Row = serde_json::from_str(&self.row).expect("a row is read as it was written");
        StoredRow {
            row,
            rev: self.rev,
            link: None,
        }
    }
}

impl Worker {
    fn message(&self) -> Option<usize> {
        match self {
            Self::Idle => None,
            Self::Write(message, _) | Self::Mark(message) | Self::Ack(message) => Some(*message),
        }
    }
}

impl Model for WriteModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let seen = Seen {
            effects: vec![0; self.changes.len()],
            ..Seen::default()
        };
        vec![World {
            row: None,
            marked: BTreeSet::new(),
            messages: vec![Message::Waits; self.messages.len()],
            workers: [Worker::Idle, Worker::Idle],
            crashes: 0,
            timeouts: 0,
            seen,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (n, worker) in world.workers.iter().enumerate() {
            match worker.message() {
                // Two idle consumers are alike, so the first one takes the message.
                None if world.workers[..n].contains(&Worker::Idle) => {}
                None => {
                    let waiting = world
                        .messages
                        .iter()
                        .enumerate()
                        .filter(|(_, message)| **message == Message::Waits);
                    actions.extend(waiting.map(|(message, _)| Action::Receive(n, message)));
                }
                Some(_) => {
                    actions.push(Action::Go(n));
                    if world.crashes < self.crashes_max {
                        actions.push(Action::Crash(n));
                    }
                }
            }
        }
        if world.timeouts < self.timeouts_max {
            let in_flight = world
                .messages
                .iter()
                .enumerate()
                .filter(|(_, message)| **message == Message::InFlight);
            actions.extend(in_flight.map(|(message, _)| Action::Timeout(message)));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Receive(n, message) => {
                next.messages[message] = Message::InFlight;
                next.seen.overlap |= world
                    .workers
                    .iter()
                    .any(|worker| worker.message() == Some(message));
                next.workers[n] = self.first_step(world, message);
            }
            Action::Crash(n) => {
                let message = world.workers[n].message()?;
                next.crashes += 1;
                next.seen.redelivery = true;
                let event = self.event(message);
                next.seen.crash_before_mark |=
                    matches!(world.workers[n], Worker::Mark(_)) && world.seen.effects[event] > 0;
                next.workers[n] = Worker::Idle;
                if next.messages[message] == Message::InFlight {
                    next.messages[message] = Message::Waits;
                }
            }
            Action::Timeout(message) => {
                next.timeouts += 1;
                next.seen.redelivery = true;
                next.messages[message] = Message::Waits;
            }
            Action::Go(n) => {
                next.workers[n] = match &world.workers[n] {
                    Worker::Idle => return None,
                    Worker::Write(message, read) => self.write(&mut next, *message, read.as_ref()),
                    Worker::Mark(message) => {
                        next.marked.insert(self.event(*message));
                        match self.fault {
                            Some(Fault::MarkBeforeEffect) => Worker::Write(*message, None),
                            Some(Fault::AckBeforeEffect) => Worker::Idle,
                            _ => Worker::Ack(*message),
                        }
                    }
                    Worker::Ack(message) => {
                        next.messages[*message] = Message::Gone;
                        match self.fault {
                            Some(Fault::AckBeforeEffect) => Worker::Write(*message, None),
                            _ => Worker::Idle,
                        }
                    }
                };
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is lost", |model: &Self, world: &World| {
                !Self::is_over(world)
                    || world
                        .row
                        .as_ref()
                        .is_some_and(|item| item.row == model.wanted)
            }),
            Property::always("nothing takes effect twice", |_, world: &World| {
                world.seen.effects.iter().all(|times| *times <= 1)
            }),
            Property::always("no version goes back", |_, world: &World| {
                !world.seen.went_back
            }),
            Property::always(
                "a mark follows its effect",
                |model: &Self, world: &World| {
                    world.marked.iter().all(|event| model.knows(world, *event))
                },
            ),
            Property::always(
                "every event is marked in the end",
                |model: &Self, world: &World| {
                    !Self::is_over(world) || world.marked.len() == model.changes.len()
                },
            ),
            Property::eventually("the queue is empty", |_, world: &World| {
                Self::is_over(world)
            }),
            Property::sometimes("a message is handed out again", |_, world: &World| {
                world.seen.redelivery
            }),
            Property::sometimes("two consumers hold one message", |_, world: &World| {
                world.seen.overlap
            }),
            Property::sometimes("a guard refuses", |_, world: &World| world.seen.refusal),
            Property::sometimes(
                "a consumer is gone between row and mark",
                |_, world: &World| world.seen.crash_before_mark,
            ),
            Property::sometimes("a duplicate is noticed", |_, world: &World| {
                world.seen.duplicate
            }),
        ]
    }
}
