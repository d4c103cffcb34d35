//! A model of how an object that does not name its customer learns it, and learns that it has changed.
//!
//! The events of a payment intent, a charge and a refund are handled by two consumers at once, step by step as the
//! consumer's module `apply` does it: guess the customer, write the row, leave a note with the parents, look once more; and
//! the other way round, look for notes after writing, and link who left them. Each step is one request to the store, and
//! everything else can happen between two of them: the other consumer's steps, a crash, a redelivery. What a parent
//! says can change: its newer event names another customer than the older one, or none, and they come in any order.
//!
//! Of a row's `rev` the model keeps only what it is for: whoever has read the row knows whether it was written since.
//!
//! The rule can be broken on purpose, one [`Fault`] at a time, to see that the properties would notice. One thing is not
//! among them, since it breaks nothing: to read the parents before the `rev` under which the link is written. Whoever writes
//! an older look over a newer one looks again, and mends it. What the `rev` guards is the customer that an object
//! names itself, which a link would take the place of.
//!
//! The rule rests on one thing that the model takes for granted: a consumer that dies had its message for itself, so
//! that the event is delivered again. See [`Fault::DiesUnheld`].

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
    /// Only a delivery that writes the row carries on with the links.
    DuplicatesStop,
    /// A link is written whatever has become of the row that was read.
    BlindLink,
    /// Linking is over with a successful write, without a look after it.
    EndsWithAWrite,
    /// A child that has a link is not linked again when its parent moves.
    LinkedOnce,
    /// A late event writes the customer that it names over that of a newer one.
    LateCustomer,
    /// A consumer dies although another one holds its message too, or has settled it. That breaks not the rule but what it
    /// rests on: nobody looks at what the dead one wrote last.
    DiesUnheld,
}

/// The objects of the model.
const OBJECTS: [Kind; 3] = [Kind::PaymentIntent, Kind::Charge, Kind::Refund];

const INTENT: Object = 0;
const CHARGE: Object = 1;
const REFUND: Object = 2;

/// One object of a [`LinkModel`], by its place in the list.
type Object = usize;

/// One event of a [`LinkModel`], by its place in the list.
type Event = usize;

type Customer = u8;

/// What an event tells: its object, and the customer that the object names.
type Told = (Object, Option<Customer>);

/// The model: which events there are, who names whom, and what is wrong with the rule.
#[derive(Clone, Debug)]
pub struct LinkModel {
    name: String,
    /// The events. Those of one object are in the order in which they happened.
    events: Vec<Told>,
    /// The parents that each object names, the nearest first.
    parents: [Vec<Object>; 3],
    /// Whether all events are of one second, so that only the first of an object can be written unread.
    in_one_second: bool,
    fault: Option<Fault>,
    crashes_max: u8,
    timeouts_max: u8,
}

/// Everything there is at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    rows: [Option<Row>; 3],
    /// The notes: with which parent, and of which child.
    notes: BTreeSet<(Object, Object)>,
    marked: BTreeSet<Event>,
    messages: Vec<Message>,
    /// Sorted, since two consumers are alike.
    workers: [Option<Worker>; 2],
    crashes: u8,
    timeouts: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Row {
    knows: BTreeSet<Event>,
    /// The customer that the object names.
    named: Option<Customer>,
    /// The customer that it is linked to; none if it names one.
    link: Option<Customer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Waits,
    InFlight,
    Gone,
}

/// A consumer at work: on which event, and what it is about to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Worker {
    event: Event,
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    /// Read the parents, from this one on.
    Guess(usize),
    /// Write the row unread, with this guess.
    Write(Option<Customer>),
    /// Write the row over the one that a refusal showed, if that is unchanged.
    WriteOver {
        guess: Option<Customer>,
        unchanged: bool,
    },
    /// Leave a note with the parents from this one on, then do the other.
    Note(usize, Box<Step>),
    /// Read the parents once more, from this one on. The row was linked to this customer.
    Look(usize, Option<Customer>),
    /// Link this row, then go on.
    Link(Object, Linking, Rest),
    /// Look for the notes of the last that waits.
    FindChildren(Rest),
    Mark,
    Ack,
}

/// How far a consumer is with the link of one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Linking {
    /// Read the row.
    Read,
    /// Read the parents, from this one on. The row was linked to this customer.
    Parents {
        at: usize,
        link: Option<Customer>,
        unchanged: bool,
    },
    /// Write the link, if the row is unchanged.
    Write {
        wanted: Option<Customer>,
        unchanged: bool,
    },
}

/// Whom a consumer has yet to see to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rest {
    /// Those whose notes it has not looked for.
    waiting: Vec<Object>,
    /// Those that it found and has not linked.
    children: Vec<Object>,
    /// Whether it writes the row after that.
    row_follows: bool,
}

/// What a look at one parent tells.
enum Answer {
    /// The parents know this customer, or none.
    Says(Option<Customer>),
    /// That parent knows none: ask this one.
    Ask(usize),
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A consumer takes an event's message.
    Receive(usize, usize),
    /// A consumer does what it is about to do.
    Go(usize),
    /// A consumer that has its message for itself is gone, and the message becomes visible again.
    Crash(usize),
    /// A message becomes visible again although its consumer is still at work.
    Timeout(usize),
}

impl LinkModel {
    /// The models, each with other objects naming each other, or other events.
    #[must_use]
    pub fn all(fault: Option<Fault>) -> Vec<Self> {
        let models: [(&str, &[Object], &[Told]); 7] = [
            (
                "a refund of a charge that moves",
                &[CHARGE],
                &[(CHARGE, Some(1)), (CHARGE, Some(2)), (REFUND, None)],
            ),
            (
                "a refund of a charge that moves there and back",
                &[CHARGE],
                &[
                    (CHARGE, Some(1)),
                    (CHARGE, Some(2)),
                    (CHARGE, Some(1)),
                    (REFUND, None),
                ],
            ),
            (
                "a refund of a charge that comes to name nobody",
                &[CHARGE],
                &[(CHARGE, Some(1)), (CHARGE, None), (REFUND, None)],
            ),
            (
                "a refund with two events, of a charge that moves",
                &[CHARGE],
                &[
                    (CHARGE, Some(1)),
                    (CHARGE, Some(2)),
                    (REFUND, None),
                    (REFUND, None),
                ],
            ),
            (
                "a refund of a charge that comes to name a customer itself",
                &[CHARGE],
                &[
                    (INTENT, Some(1)),
                    (CHARGE, None),
                    (CHARGE, Some(2)),
                    (REFUND, None),
                ],
            ),
            (
                "a refund of a charge of an intent that moves",
                &[CHARGE],
                &[
                    (INTENT, Some(1)),
                    (INTENT, Some(2)),
                    (CHARGE, None),
                    (REFUND, None),
                ],
            ),
            (
                "a refund that names both, of a charge that comes to name nobody",
                &[CHARGE, INTENT],
                &[
                    (INTENT, Some(2)),
                    (CHARGE, Some(1)),
                    (CHARGE, None),
                    (REFUND, None),
                ],
            ),
        ];
        let seconds = [("in different seconds", false), ("in one second", true)];
        let of_second = |(when, in_one_second)| {
            models.map(|(name, parents_of_refund, events)| Self {
                name: format!("{name}, {when}"),
                events: events.to_vec(),
                parents: [vec![], vec![INTENT], parents_of_refund.to_vec()],
                in_one_second,
                fault,
                crashes_max: 1,
                timeouts_max: 1,
            })
        };
        seconds.into_iter().flat_map(of_second).collect()
    }

    /// What this one is about.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn broken(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn object(&self, event: Event) -> Object {
        self.events[event].0
    }

    /// Whose an object is, by the newest event of each object and nothing else.
    fn owner(&self, object: Object) -> Option<Customer> {
        let newest = self.events.iter().rfind(|(of, _)| *of == object);
        let named = newest.and_then(|(_, named)| *named);
        named.or_else(|| {
            let mut parents = self.parents[object].iter();
            parents.find_map(|parent| self.owner(*parent))
        })
    }

    /// Whether all events are marked and nobody is at work, although messages can still wait.
    fn is_settled(&self, world: &World) -> bool {
        world.marked.len() == self.events.len() && world.workers == [None, None]
    }

    fn all_are_right(&self, world: &World) -> bool {
        self.events.iter().all(|(object, _)| {
            let row = world.rows[*object].as_ref();
            row.is_some_and(|row| row.customer() == self.owner(*object))
        })
    }

    /// Reads the parent in this place.
    fn ask(&self, world: &World, object: Object, at: usize) -> Answer {
        let parents = &self.parents[object];
        let parent = parents
            .get(at)
            .and_then(|parent| world.rows[*parent].as_ref());
        match parent.and_then(Row::customer) {
            None if at + 1 < parents.len() => Answer::Ask(at + 1),
            customer => Answer::Says(customer),
        }
    }

    fn first_step(&self, event: Event) -> Step {
        if self.broken(Fault::ChildrenBeforeRow) {
            let row_first = Rest {
                row_follows: true,
                ..Rest::of(self.object(event))
            };
            return self.go_on(event, row_first);
        }
        self.first_for_row(event)
    }

    fn first_for_row(&self, event: Event) -> Step {
        let (object, named) = self.events[event];
        match named.is_some() || self.parents[object].is_empty() {
            true => Step::Write(None),
            false => Step::Guess(0),
        }
    }

    /// Writes the row unread, if there is none or an older one.
    fn write(&self, world: &mut World, event: Event, guess: Option<Customer>) -> Step {
        let (object, named) = self.events[event];
        let newest = world.rows[object].as_ref().and_then(Row::newest);
        if newest.is_some_and(|newest| self.in_one_second || event <= newest) {
            return self.refused(world, event, guess);
        }
        let row = Row {
            knows: world.rows[object]
                .take()
                .map(|row| row.knows)
                .unwrap_or_default(),
            named,
            link: guess,
        };
        self.store(world, event, row)
    }

    /// Decides anew, by the row that the refusal of a write shows.
    fn refused(&self, world: &World, event: Event, guess: Option<Customer>) -> Step {
        let row = world.rows[self.object(event)].as_ref();
        match row.filter(|row| self.changes_nothing(row, event)) {
            Some(_) if self.broken(Fault::DuplicatesStop) => Step::Mark,
            Some(row) => self.after_write(event, row),
            None => Step::WriteOver {
                guess,
                unchanged: true,
            },
        }
    }

    /// Whether the event would not change the row: it is known, or of a second that no longer matters.
    fn changes_nothing(&self, row: &Row, event: Event) -> bool {
        let before_newest = row.knows.iter().rev().nth(1);
        let is_stale = !self.in_one_second && before_newest.is_some_and(|base| event < *base);
        is_stale || row.knows.contains(&event)
    }

    /// Writes the row over the one that was read. It shows the newest event, and stays linked if it is.
    fn write_over(&self, world: &mut World, event: Event, guess: Option<Customer>) -> Option<Step> {
        let (object, named) = self.events[event];
        let row = world.rows[object].clone()?;
        let is_late = row.newest() > Some(event) && !self.broken(Fault::LateCustomer);
        let row = Row {
            named: if is_late { row.named } else { named },
            link: row.link.or(guess),
            ..row
        };
        Some(self.store(world, event, row))
    }

    fn store(&self, world: &mut World, event: Event, mut row: Row) -> Step {
        row.knows.insert(event);
        row.link = row.link.filter(|_| row.named.is_none());
        let next = self.after_write(event, &row);
        self.put(world, self.object(event), row);
        next
    }

    /// Puts a row, and so raises its `rev`: whoever read it before holds an old one.
    fn put(&self, world: &mut World, object: Object, row: Row) {
        world.rows[object] = Some(row);
        for worker in world.workers.iter_mut().flatten() {
            let own = self.object(worker.event);
            match &mut worker.step {
                Step::WriteOver { unchanged, .. } if own == object => *unchanged = false,
                Step::Link(
                    of,
                    Linking::Parents { unchanged, .. } | Linking::Write { unchanged, .. },
                    _,
                ) if *of == object => {
                    *unchanged = false;
                }
                _ => {}
            }
        }
    }

    /// The step after the row was written, or found to be settled.
    fn after_write(&self, event: Event, row: &Row) -> Step {
        let look = match row.named {
            Some(_) => self.after_look(event),
            None => Step::Look(0, row.link),
        };
        match self.fault {
            Some(Fault::LookBeforeNote) => look,
            Some(Fault::NoSecondLook) => self.note(event, self.after_look(event)),
            _ => self.note(event, look),
        }
    }

    /// Leaves the notes, if the event asks for any, before the other step.
    fn note(&self, event: Event, then: Step) -> Step {
        let (object, named) = self.events[event];
        match named.is_some() || self.parents[object].is_empty() {
            true => then,
            false => Step::Note(0, Box::new(then)),
        }
    }

    /// The step after the row was found to be linked as it must be.
    fn after_look(&self, event: Event) -> Step {
        self.go_on(event, self.rest_after_row(event))
    }

    fn rest_after_row(&self, event: Event) -> Rest {
        match self.broken(Fault::ChildrenBeforeRow) {
            true => Rest::default(),
            false => Rest::of(self.object(event)),
        }
    }

    /// Sees to the next child, or looks for more; when nobody is left, the event is settled.
    fn go_on(&self, event: Event, mut rest: Rest) -> Step {
        if !rest.children.is_empty() {
            let child = rest.children.remove(0);
            if !self.broken(Fault::NoGrandchildren) {
                rest.waiting.push(child);
            }
            return Step::Link(child, Linking::Read, rest);
        }
        let can_have = |parent: &Object| OBJECTS[*parent].can_have_children(Source::Stripe);
        while rest.waiting.pop_if(|last| !can_have(last)).is_some() {}
        match rest.waiting.is_empty() {
            false => Step::FindChildren(rest),
            true if rest.row_follows => self.first_for_row(event),
            true => Step::Mark,
        }
    }

    /// One step of linking a row.
    fn go_link(
        &self,
        world: &mut World,
        event: Event,
        object: Object,
        linking: Linking,
        rest: Rest,
    ) -> Step {
        let next = match linking {
            Linking::Read => {
                let row = world.rows[object].as_ref();
                let has_its_link = |row: &&Row| {
                    row.named.is_some() || self.broken(Fault::LinkedOnce) && row.link.is_some()
                };
                match row.filter(|row| !has_its_link(row)) {
                    None => return self.go_on(event, rest),
                    Some(row) => Linking::Parents {
                        at: 0,
                        link: row.link,
                        unchanged: true,
                    },
                }
            }
            Linking::Parents {
                at,
                link,
                unchanged,
            } => match self.ask(world, object, at) {
                Answer::Ask(at) => Linking::Parents {
                    at,
                    link,
                    unchanged,
                },
                Answer::Says(wanted) if wanted == link => return self.go_on(event, rest),
                Answer::Says(wanted) => Linking::Write { wanted, unchanged },
            },
            Linking::Write { wanted, unchanged } => {
                let holds = unchanged || self.broken(Fault::BlindLink);
                if let Some(row) = world.rows[object].clone().filter(|_| holds) {
                    // A row has one place for its customer, and says beside it whether that is a link.
                    let row = Row {
                        named: None,
                        link: wanted,
                        ..row
                    };
                    self.put(world, object, row);
                }
                if holds && self.broken(Fault::EndsWithAWrite) {
                    return self.go_on(event, rest);
                }
                return Step::Link(object, Linking::Read, rest);
            }
        };
        Step::Link(object, next, rest)
    }

    fn go(&self, world: &mut World, event: Event, step: Step) -> Option<Step> {
        let object = self.object(event);
        let next = match step {
            Step::Guess(at) => match self.ask(world, object, at) {
                Answer::Ask(next) => Step::Guess(next),
                Answer::Says(guess) => Step::Write(guess),
            },
            Step::Write(guess) => self.write(world, event, guess),
            Step::WriteOver {
                guess,
                unchanged: true,
            } => self.write_over(world, event, guess)?,
            Step::WriteOver { guess, .. } => self.refused(world, event, guess),
            Step::Note(at, then) => {
                let parents = &self.parents[object];
                world.notes.insert((*parents.get(at)?, object));
                match at + 1 < parents.len() {
                    true => Step::Note(at + 1, then),
                    false => *then,
                }
            }
            Step::Look(at, link) => match self.ask(world, object, at) {
                Answer::Ask(next) => Step::Look(next, link),
                Answer::Says(wanted) => {
                    let then = match wanted == link {
                        true => self.after_look(event),
                        false => Step::Link(object, Linking::Read, self.rest_after_row(event)),
                    };
                    match self.broken(Fault::LookBeforeNote) {
                        true => self.note(event, then),
                        false => then,
                    }
                }
            },
            Step::Link(object, linking, rest) => self.go_link(world, event, object, linking, rest),
            Step::FindChildren(mut rest) => {
                let parent = rest.waiting.pop()?;
                let notes = world.notes.iter().filter(|(of, _)| *of == parent);
                rest.children = notes.map(|(_, child)| *child).collect();
                self.go_on(event, rest)
            }
            Step::Mark => {
                world.marked.insert(event);
                Step::Ack
            }
            Step::Ack => return None,
        };
        Some(next)
    }

    fn is_over(world: &World) -> bool {
        world
            .messages
            .iter()
            .all(|message| *message == Message::Gone)
            && world.workers == [None, None]
    }
}

impl World {
    /// Whether one consumer has the message of its event for itself, so that nobody else settles it.
    fn is_alone_with(&self, event: Event) -> bool {
        let holders = self.workers().filter(|worker| worker.event == event);
        self.messages[event] != Message::Gone && holders.count() == 1
    }

    fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().flatten()
    }
}

impl Row {
    fn newest(&self) -> Option<Event> {
        self.knows.last().copied()
    }

    fn customer(&self) -> Option<Customer> {
        self.named.or(self.link)
    }
}

impl Rest {
    fn of(object: Object) -> Self {
        Self {
            waiting: vec![object],
            ..Self::default()
        }
    }
}

impl Worker {
    /// Whether it is about to write a link that its guard does not refuse, to a row that satisfies this.
    fn links(&self, world: &World, wants: impl Fn(Object, &Row) -> bool) -> bool {
        match &self.step {
            Step::Link(
                object,
                Linking::Write {
                    unchanged: true, ..
                },
                _,
            ) => world.rows[*object]
                .as_ref()
                .is_some_and(|row| wants(*object, row)),
            _ => false,
        }
    }
}

impl Model for LinkModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            rows: [const { None }; 3],
            notes: BTreeSet::new(),
            marked: BTreeSet::new(),
            messages: vec![Message::Waits; self.events.len()],
            workers: [None, None],
            crashes: 0,
            timeouts: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let at = |place| {
            (0..world.messages.len()).filter(move |message| world.messages[*message] == place)
        };
        for (n, worker) in world.workers.iter().enumerate() {
            match worker {
                // Two idle consumers are alike, so the first one takes the message.
                None if world.workers[..n].contains(&None) => {}
                None => {
                    actions.extend(at(Message::Waits).map(|message| Action::Receive(n, message)));
                }
                Some(worker) => {
                    actions.push(Action::Go(n));
                    let can_die =
                        self.broken(Fault::DiesUnheld) || world.is_alone_with(worker.event);
                    if world.crashes < self.crashes_max && can_die {
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
            Action::Receive(n, event) => {
                next.messages[event] = Message::InFlight;
                let step = self.first_step(event);
                next.workers[n] = Some(Worker { event, step });
            }
            Action::Go(n) => {
                let Worker { event, step } = world.workers[n].clone()?;
                let step = self.go(&mut next, event, step);
                if step.is_none() {
                    next.messages[event] = Message::Gone;
                }
                next.workers[n] = step.map(|step| Worker { event, step });
            }
            Action::Crash(n) => {
                let event = next.workers[n].take()?.event;
                next.crashes += 1;
                if next.messages[event] == Message::InFlight {
                    next.messages[event] = Message::Waits;
                }
            }
            Action::Timeout(event) => {
                next.timeouts += 1;
                next.messages[event] = Message::Waits;
            }
        }
        next.workers.sort();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(
                "every row shows its customer once all events are marked",
                |model: &Self, world: &World| {
                    !model.is_settled(world) || model.all_are_right(world)
                },
            ),
            Property::always(
                "every event is marked in the end",
                |model: &Self, world: &World| {
                    !Self::is_over(world) || world.marked.len() == model.events.len()
                },
            ),
            Property::always("a mark follows its row", |model: &Self, world: &World| {
                world.marked.iter().all(|event| {
                    let row = world.rows[model.object(*event)].as_ref();
                    row.is_some_and(|row| model.changes_nothing(row, *event))
                })
            }),
            Property::eventually("the queue is empty", |_, world: &World| {
                Self::is_over(world)
            }),
            Property::sometimes(
                "a child is there before its parents",
                |model: &Self, world: &World| {
                    let is_there = |object: &Object| world.rows[*object].is_some();
                    model.parents.iter().enumerate().any(|(child, parents)| {
                        is_there(&child) && !parents.is_empty() && !parents.iter().any(is_there)
                    })
                },
            ),
            Property::sometimes("a parent links its child", |model: &Self, world: &World| {
                world.workers().any(|worker| {
                    worker.links(world, |child, _| child != model.object(worker.event))
                })
            }),
            Property::sometimes("a child links itself", |model: &Self, world: &World| {
                world.workers().any(|worker| {
                    worker.links(world, |child, _| child == model.object(worker.event))
                })
            }),
            Property::sometimes("a child is linked anew", |_, world: &World| {
                let mut workers = world.workers();
                workers.any(|worker| worker.links(world, |_, row| row.link.is_some()))
            }),
            Property::sometimes("a link is refused", |_, world: &World| {
                world.workers().any(|worker| {
                    matches!(
                        worker.step,
                        Step::Link(
                            _,
                            Linking::Write {
                                unchanged: false,
                                ..
                            },
                            _
                        )
                    )
                })
            }),
            Property::sometimes(
                "an older event is there after a newer one",
                |model: &Self, world: &World| {
                    world.workers().any(|worker| {
                        let row = world.rows[model.object(worker.event)].as_ref();
                        row.is_some_and(|row| {
                            row.newest() > Some(worker.event)
                                && !model.changes_nothing(row, worker.event)
                        })
                    })
                },
            ),
        ];
        if self.crashes_max > 0 {
            properties.push(Property::sometimes(
                "a consumer is gone between row and link",
                |model: &Self, world: &World| {
                    (0..model.events.len()).any(|event| {
                        let object = model.object(event);
                        let row = world.rows[object].as_ref();
                        world.crashes > 0
                            && world.messages[event] == Message::Waits
                            && world.workers().all(|worker| worker.event != event)
                            && row.is_some_and(|row| {
                                row.knows.contains(&event) && row.customer() != model.owner(object)
                            })
                    })
                },
            ));
        }
        if self.timeouts_max > 0 {
            properties.push(Property::sometimes(
                "two consumers hold one message",
                |_, world: &World| matches!(&world.workers, [Some(one), Some(other)] if one.event == other.event),
            ));
        }
        properties
    }
}
