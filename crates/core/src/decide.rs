//! The rules: what an event changes.
//!
//! Synchronous and total. [`plan`] says which rows an event is about before anything is read;
//! [`decide`] says what to do with one of them, first without and, where the store refused the write, with
//! the row that is stored. Every answer is so complete that committing it leaves no choice.
//!
//! A row is a snapshot with a version, so writing one twice is harmless; that is why no lock and no
//! transaction is needed, and why every row of an event is carried to the end on every delivery.

use serde_json::Value;

use crate::event::{Content, Event};
use crate::objects::{self, Kind, NoSnapshot, Snapshot, bearbilling};
use crate::order::{self, Fact, Incoming, Merged, Observed, Shown, merge};
use crate::row::{Owner, RowKey, StoredRow, needs_refetch};
use crate::scope::{Mode, Source};

/// What an event is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The event shows the state of an object.
    Keep(Box<Change>),
    /// The event changes no state, and that is as it should be.
    Ignore(Ignored),
}

/// A state that an event shows, and the row it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which row.
    pub key: RowKey,
    /// What the event tells about the object, and when.
    pub incoming: Incoming,
}

/// Why an event is deliberately left out of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// No state is kept for events of this type.
    NoState,
    /// The event is of the other mode than the stack. Connected accounts can send such at will.
    OtherMode,
    /// A thin event: it shows no object.
    Thin,
    /// There is no object in the event.
    NoObject,
    /// The object is a preview without an id.
    Preview,
    /// The object would live with its customer, and names none.
    NoCustomer,
}

impl Ignored {
    /// The reason as it stands in the ledger, in logs and in metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoState => "no_state",
            Self::OtherMode => "other_mode",
            Self::Thin => "thin_event",
            Self::NoObject => "no_object",
            Self::Preview => "preview",
            Self::NoCustomer => "no_customer",
        }
    }
}

/// Says which row an event is about. `mode` is the stack's.
#[must_use]
pub fn plan(event: &Event, mode: Mode) -> Plan {
    if event.scope.mode != mode {
        return Plan::Ignore(Ignored::OtherMode);
    }
    let (object, previous) = match &event.content {
        Content::Nothing => return Plan::Ignore(Ignored::NoObject),
        Content::Thin => return Plan::Ignore(Ignored::Thin),
        Content::Snapshot { object, previous } => (object, previous.as_ref()),
    };
    let source = event.scope.source;
    let Some(kind) = objects::kind_of(source, &event.event_type) else {
        return Plan::Ignore(Ignored::NoState);
    };
    let change = match source {
        Source::Stripe => objects::read(kind, object)
            .map(|snapshot| stripe_change(event, object, previous, snapshot)),
        Source::BearBilling => bearbilling::read(kind, event, object)
            .map(|snapshot| bearbilling_change(event, snapshot)),
    };
    match change {
        Ok(change) => Plan::Keep(Box::new(change)),
        Err(NoSnapshot::NoId) => Plan::Ignore(Ignored::Preview),
        Err(NoSnapshot::NoCustomer) => Plan::Ignore(Ignored::NoCustomer),
    }
}

fn stripe_change(
    event: &Event,
    object: &Value,
    previous: Option<&Value>,
    snapshot: Snapshot,
) -> Change {
    let Snapshot {
        kind, id, customer, ..
    } = snapshot;
    // A deleted subscription is a canceled one, which is still shown and can still change; anything else is gone.
    let ends = event.event_type.ends_with(".deleted");
    let deleted = ends && kind != Kind::Subscription;
    let look = |object: &Value| objects::look(kind, object);
    let account = || objects::account(&snapshot.extract).map(str::to_owned);
    let owner = match &customer {
        Some(customer) => Some(Owner::Customer(customer.clone())),
        None => account().map(Owner::Account),
    };
    let mut shown = objects::shown(kind, snapshot.extract, customer.as_deref());
    if ends {
        objects::end(kind, &mut shown);
    }
    let fact = Fact::of(&Observed {
        event: &event.id,
        event_type: &event.event_type,
        request: event.request.as_deref(),
        api_version: event.api_version.as_deref(),
        snapshot: object,
        previous: previous.filter(|_| !deleted),
        shown: &shown,
        look: &look,
    });
    let first = objects::first(kind, &event.event_type, &shown.kept.extract);
    let mut incoming = Incoming::event(event.created, fact, shown.kept);
    // The id of a customer is the one kind of id that a user can choose, and so give to another.
    incoming.begins_anew = event.event_type == "customer.created";
    incoming.first = first;
    Change {
        key: key(event, kind, id, owner),
        incoming,
    }
}

/// Bear Billing says nothing of what was there before. What an object leaves open its event's type can tell, so the state
/// is what was read of both.
fn bearbilling_change(event: &Event, snapshot: Snapshot) -> Change {
    let Snapshot {
        kind, id, customer, ..
    } = snapshot;
    let state = Value::Object(snapshot.extract.clone());
    let stage = kind.stage(&snapshot.extract);
    let owner = customer.clone().map(Owner::Customer);
    let shown = Shown {
        kept: objects::kept(
            kind,
            event.scope.source,
            snapshot.extract,
            customer.as_deref(),
        ),
        rank: bearbilling::rank(stage, event.nanoseconds),
        ..Shown::default()
    };
    let fact = Fact::of(&Observed {
        event: &event.id,
        event_type: &event.event_type,
        request: event.request.as_deref(),
        api_version: event.api_version.as_deref(),
        snapshot: &state,
        previous: None,
        shown: &shown,
        look: &|_| shown.clone(),
    });
    let first = objects::first(kind, &event.event_type, &shown.kept.extract);
    let mut incoming = Incoming::event(event.created, fact, shown.kept);
    incoming.first = first;
    Change {
        key: key(event, kind, id, owner),
        incoming,
    }
}

fn key(event: &Event, kind: Kind, id: String, owner: Option<Owner>) -> RowKey {
    RowKey {
        scope: event.scope.clone(),
        kind,
        id,
        owner: owner.filter(|_| kind.is_owned(event.scope.source)),
    }
}

/// What to do with a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Write it, if what is stored is still as the guard says.
    Write(Box<Write>),
    /// Nothing is to be written.
    Settled(Settled),
}

/// A row to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// What the row shall be.
    pub row: order::Row,
    /// What must be true of the stored row.
    pub guard: Guard,
    /// Whether the row then shows the state of the event.
    pub shows_event: bool,
    /// Whether only a look at the object itself can tell its state then.
    pub needs_refetch: bool,
}

/// What must be true of the stored row when it is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// There is none, or its second is older than the new one's. What it knows of its second becomes the
    /// new row's base, whatever that is; its floor and its firsts stay unless the new row brings its own.
    AbsentOrOlder {
        /// Whether it may also keep a final state: the new row shows one itself.
        over_final: bool,
    },
    /// It is exactly the one that was read.
    Rev(u64),
}

/// Why nothing is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The row knows this very event.
    Duplicate,
    /// The row shows a later state.
    Stale,
}

/// Decides about one row: `stored` is what the store answered, none while it was not asked.
///
/// The first write is tried unread, because nearly every event is the newest of its object: one write
/// and no read. Within a second, and for anything older, the row is merged as the store has it, and the guard is
/// its `rev`: two losers of a tie would leave its second as it was.
#[must_use]
pub fn decide(incoming: &Incoming, stored: Option<&StoredRow>) -> Decision {
    let over_final = incoming.learned.is_final();
    let (merged, guard) = match stored {
        None => (merge(None, incoming), Guard::AbsentOrOlder { over_final }),
        Some(stored) => (merge(Some(&stored.row), incoming), Guard::Rev(stored.rev)),
    };
    match merged {
        Merged::Known => Decision::Settled(Settled::Duplicate),
        Merged::Stale => Decision::Settled(Settled::Stale),
        Merged::Changed(row) => {
            let shown = row.shown();
            let shows_event = shown.second == incoming.second && *shown.kept == incoming.kept;
            let needs_refetch = needs_refetch(&row);
            Decision::Write(Box::new(Write {
                row,
                guard,
                shows_event,
                needs_refetch,
            }))
        }
    }
}
