//! A model of how an object that does not name its customer learns it.
//!
//! A payment intent, a charge and a refund are handled by two consumers at once, step by step as the consumer's module
//! `apply` does it: write the row, leave a note with the parents, look once more; and the other way round, look for notes after
//! writing. Each step is one request to the store, and everything else can happen between two of them: the other consumer's
//! steps, a crash, a redelivery.
//!
//! The rule can be broken on purpose, one [`Fault`] at a time, to see that the properties would notice.

use std::collections::BTreeSet;

use billhook_core::objects::Kind;
use billhook_core::scope::Source;
use stateright::{Model, Property};

/// A way to break the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A child looks for its parents again, and only then leaves its notes.
    LookBeforeNote,
    /// A child does not look for its parents after it left its notes.
    NoSecondLook,
    /// A parent looks for notes before it writes its row.
    ChildrenBeforeRow,
    /// A parent links its own children and not theirs.
    NoGrandchildren,
    /// Only the delivery that writes the row carries on with the links.
    DuplicatesStop,
}

/// The objects of the model.
const OBJECTS: [Kind; 3] = [Kind::PaymentIntent, Kind::Charge, Kind::Refund];

/// One object of a [`LinkModel`], by its place in the list.
type Object = usize;

/// The model: who names whom, and what is wrong with the rule.
#[derive(Clone, Debug)]
pub struct LinkModel {
    name: &'static str,
    names_customer: [bool; 3],
    /// The parents that each object names, the nearest first.
    parents: [Vec<Object>; 3],
    fault: Option<Fault>,
    crashes_max: u8,
    timeouts_max: u8,
}

/// Everything there is at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Of each object whether there is a row, and whether it is linked.
    rows: [Option<bool>; 3],
    notes: BTreeSet<(Object, Object)>,
    marked: BTreeSet<Object>,
    messages: [Message; 3],
    workers: [Worker; 2],
    crashes: u8,
    timeouts: u8,
    /// What has happened on the way, for the properties.
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Waits,
    InFlight,
    Gone,
}

/// What a consumer is about to do, and for which object's event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// Read the parents, from this one on.
    FirstLook(Object, usize),
    /// Write the row, with the customer or without.
    Write(Object, bool),
    /// Leave a note, with the parents from this one on.
    Note(Object, usize),
    /// Read the parents once more, from this one on.
    SecondLook(Object, usize),
    /// Link the object's own row.
    Link(Object),
    /// Look for the notes of the last of these.
    FindChildren(Object, Vec<Object>),
    /// Link the first of these children; then look for theirs.
    LinkChildren(Object, Vec<Object>, Vec<Object>),
    Mark(Object),
    Ack(Object),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    child_first: bool,
    linked_by_parent: bool,
    linked_by_second_look: bool,
    crash_between: bool,
    overlap: bool,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A consumer takes the message of an object's event.
    Receive(usize, usize),
    /// A consumer does what it is about to do.
    Go(usize),
    /// A consumer is gone, and its message becomes visible again.
    Crash(usize),
    /// A message becomes visible again although its consumer is still at work.
    Timeout(usize),
}

impl LinkModel {
    /// The models, each with other objects naming each other.
    #[must_use]
    pub fn all(fault: Option<Fault>) -> Vec<Self> {
        const INTENT: Object = 0;
        const CHARGE: Object = 1;
        let model = |name, charge_names_customer, charge: &[Object], refund: &[Object]| Self {
            name,
            names_customer: [true, charge_names_customer, false],
            parents: [Vec::new(), charge.to_vec(), refund.to_vec()],
            fault,
            crashes_max: 1,
            timeouts_max: 1,
        };
        vec![
            model(
                "a refund and its charge, which names the customer",
                true,
                &[],
                &[CHARGE],
            ),
            model(
                "a refund of a charge that learns its customer itself",
                false,
                &[INTENT],
                &[CHARGE],
            ),
            model(
                "a refund that names both",
                false,
                &[INTENT],
                &[CHARGE, INTENT],
            ),
        ]
    }

    /// What this one is about.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn broken(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn first_step(&self, object: Object) -> Worker {
        if self.broken(Fault::ChildrenBeforeRow) && self.names_customer[object] {
            return Worker::FindChildren(object, vec![object]);
        }
        match self.parents[object].is_empty() || self.names_customer[object] {
            true => Worker::Write(object, self.names_customer[object]),
            false => Worker::FirstLook(object, 0),
        }
    }

    fn after_link(&self, object: Object) -> Worker {
        if self.broken(Fault::ChildrenBeforeRow) {
            return Worker::Mark(object);
        }
        self.find_children(object, vec![object])
    }

    /// Looks for notes with the next that can have children.
    fn find_children(&self, object: Object, mut waiting: Vec<Object>) -> Worker {
        let can_have = |parent: &Object| {
            OBJECTS.iter().any(|child| {
                child
                    .parents(Source::Stripe)
                    .iter()
                    .any(|(kind, _)| *kind == OBJECTS[*parent])
            })
        };
        while waiting.last().is_some_and(|last| !can_have(last)) {
            waiting.pop();
        }
        if !waiting.is_empty() {
            return Worker::FindChildren(object, waiting);
        }
        let wrote_last = self.broken(Fault::ChildrenBeforeRow) && self.names_customer[object];
        if wrote_last {
            Worker::Write(object, true)
        } else {
            Worker::Mark(object)
        }
    }

    /// The two halves of waiting for a parent, in the order of the rule or swapped.
    fn wait_for(&self, object: Object) -> Worker {
        match self.fault {
            Some(Fault::LookBeforeNote) => Worker::SecondLook(object, 0),
            _ => Worker::Note(object, 0),
        }
    }

    fn write(&self, world: &mut World, object: Object, known: bool) -> Worker {
        let Some(linked) = world.rows[object] else {
            world.rows[object] = Some(known);
            world.seen.child_first |= self.parents[object]
                .iter()
                .all(|parent| world.rows[*parent].is_none())
                && !self.parents[object].is_empty();
            return if known {
                self.after_link(object)
            } else {
                self.wait_for(object)
            };
        };
        if self.broken(Fault::DuplicatesStop) {
            return Worker::Mark(object);
        }
        match (known, linked) {
            (true, false) => Worker::Link(object),
            (_, true) => self.after_link(object),
            (false, false) => self.wait_for(object),
        }
    }

    /// The step after a look at the parent in this place.
    fn looked(&self, world: &World, object: Object, at: usize) -> Result<(), Option<usize>> {
        let linked = self.parents[object]
            .get(at)
            .is_some_and(|parent| world.rows[*parent] == Some(true));
        match linked {
            true => Ok(()),
            false => Err(Some(at + 1).filter(|next| *next < self.parents[object].len())),
        }
    }

    fn go(&self, world: &mut World, worker: &Worker) -> Option<Worker> {
        let next = match worker.clone() {
            Worker::Idle => return None,
            Worker::FirstLook(object, at) => match self.looked(world, object, at) {
                Ok(()) => Worker::Write(object, true),
                Err(Some(next)) => Worker::FirstLook(object, next),
                Err(None) => Worker::Write(object, false),
            },
            Worker::Write(object, known) => self.write(world, object, known),
            Worker::Note(object, at) => {
                world
                    .notes
                    .extend(self.parents[object].get(at).map(|parent| (*parent, object)));
                match at + 1 < self.parents[object].len() {
                    true => Worker::Note(object, at + 1),
                    false
                        if matches!(
                            self.fault,
                            Some(Fault::LookBeforeNote | Fault::NoSecondLook)
                        ) =>
                    {
                        Worker::Mark(object)
                    }
                    false => Worker::SecondLook(object, 0),
                }
            }
            Worker::SecondLook(object, at) => match self.looked(world, object, at) {
                Ok(()) => Worker::Link(object),
                Err(Some(next)) => Worker::SecondLook(object, next),
                Err(None) if self.broken(Fault::LookBeforeNote) => Worker::Note(object, 0),
                Err(None) => Worker::Mark(object),
            },
            Worker::Link(object) => {
                world.seen.linked_by_second_look |= link(world, object);
                self.after_link(object)
            }
            Worker::FindChildren(object, mut waiting) => {
                let parent = waiting.pop()?;
                let children: Vec<_> = world
                    .notes
                    .iter()
                    .filter(|(of, _)| *of == parent)
                    .map(|(_, child)| *child)
                    .collect();
                match children.is_empty() {
                    true => self.find_children(object, waiting),
                    false => Worker::LinkChildren(object, waiting, children),
                }
            }
            Worker::LinkChildren(object, mut waiting, mut children) => {
                let child = children.remove(0);
                world.seen.linked_by_parent |= link(world, child);
                if !self.broken(Fault::NoGrandchildren) {
                    waiting.push(child);
                }
                match children.is_empty() {
                    true => self.find_children(object, waiting),
                    false => Worker::LinkChildren(object, waiting, children),
                }
            }
            Worker::Mark(object) => {
                world.marked.insert(object);
                Worker::Ack(object)
            }
            Worker::Ack(object) => {
                world.messages[object] = Message::Gone;
                Worker::Idle
            }
        };
        Some(next)
    }

    fn is_over(world: &World) -> bool {
        world
            .messages
            .iter()
            .all(|message| *message == Message::Gone)
            && world.workers.iter().all(|worker| *worker == Worker::Idle)
    }
}

/// Links a row, if there is one and it is not linked yet; says whether it did.
fn link(world: &mut World, object: Object) -> bool {
    let linked = world.rows[object] == Some(false);
    if linked {
        world.rows[object] = Some(true);
    }
    linked
}

impl Worker {
    fn object(&self) -> Option<Object> {
        match self {
            Self::Idle => None,
            Self::FirstLook(object, _)
            | Self::Write(object, _)
            | Self::Note(object, _)
            | Self::SecondLook(object, _)
            | Self::Link(object)
            | Self::FindChildren(object, _)
            | Self::LinkChildren(object, _, _)
            | Self::Mark(object)
            | Self::Ack(object) => Some(*object),
        }
    }
}

impl Model for LinkModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            rows: [None; 3],
            notes: BTreeSet::new(),
            marked: BTreeSet::new(),
            messages: [Message::Waits; 3],
            workers: [Worker::Idle, Worker::Idle],
            crashes: 0,
            timeouts: 0,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let at = |place| {
            (0..world.messages.len()).filter(move |message| world.messages[*message] == place)
        };
        for (n, worker) in world.workers.iter().enumerate() {
            match worker.object() {
                // Two idle consumers are alike, so the first one takes the message.
                None if world.workers[..n].contains(&Worker::Idle) => {}
                None => {
                    actions.extend(at(Message::Waits).map(|message| Action::Receive(n, message)))
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
            actions.extend(at(Message::InFlight).map(Action::Timeout));
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
                    .any(|worker| worker.object() == Some(message));
                next.workers[n] = self.first_step(message);
            }
            Action::Go(n) => next.workers[n] = self.go(&mut next, &world.workers[n])?,
            Action::Crash(n) => {
                let object = world.workers[n].object()?;
                next.crashes += 1;
                next.seen.crash_between |= world.rows[object] == Some(false);
                next.workers[n] = Worker::Idle;
                if next.messages[object] == Message::InFlight {
                    next.messages[object] = Message::Waits;
                }
            }
            Action::Timeout(message) => {
                next.timeouts += 1;
                next.messages[message] = Message::Waits;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "every row is linked once all events are marked",
                |_, world: &World| {
                    world.marked.len() < OBJECTS.len() || world.rows == [Some(true); 3]
                },
            ),
            Property::always("every event is marked in the end", |_, world: &World| {
                !Self::is_over(world) || world.marked.len() == OBJECTS.len()
            }),
            Property::always("a mark follows its row", |_, world: &World| {
                world
                    .marked
                    .iter()
                    .all(|object| world.rows[*object].is_some())
            }),
            Property::eventually("the queue is empty", |_, world: &World| {
                Self::is_over(world)
            }),
            Property::sometimes("a child is there before its parents", |_, world: &World| {
                world.seen.child_first
            }),
            Property::sometimes("a parent links its child", |_, world: &World| {
                world.seen.linked_by_parent
            }),
            Property::sometimes("a child links itself", |_, world: &World| {
                world.seen.linked_by_second_look
            }),
            Property::sometimes(
                "a consumer is gone between row and link",
                |_, world: &World| world.seen.crash_between,
            ),
            Property::sometimes("two consumers hold one message", |_, world: &World| {
                world.seen.overlap
            }),
        ]
    }
}
