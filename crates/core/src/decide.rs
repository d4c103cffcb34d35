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
use crate::order::{self, Fact, Incoming, Learned, Merged, Observed, merge};
use crate::row::{DELETED, RowKey, StoredRow, needs_refetch};
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
    /// The customer that the object names. An object that names none keeps the one it was linked to.
    pub customer: Option<String>,
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
        Source::Stripe => {
            objects::read(kind, object).map(|snapshot| change(event, object, previous, snapshot))
        }
        Source::BearBilling => bearbilling::read(kind, event, object).map(|snapshot| {
            // What an object leaves open its event's type can tell, so the state is what was read of both.
            let state = Value::Object(snapshot.extract.clone());
            change(event, &state, None, snapshot)
        }),
    };
    match change {
        Ok(change) => Plan::Keep(Box::new(change)),
        Err(NoSnapshot::NoId) => Plan::Ignore(Ignored::Preview),
        Err(NoSnapshot::NoCustomer) => Plan::Ignore(Ignored::NoCustomer),
    }
}

fn change(event: &Event, state: &Value, previous: Option<&Value>, snapshot: Snapshot) -> Change {
    let Snapshot {
        kind,
        id,
        customer,
        mut extract,
        stage,
    } = snapshot;
    let deleted = event.event_type.ends_with(".deleted");
    // A deleted subscription is a canceled one, which is still shown; anything else is gone.
    if deleted && kind != Kind::Subscription {
        extract.insert(DELETED.to_owned(), Value::Bool(true));
    }
    let fact = Fact::of(&Observed {
        event: &event.id,
        event_type: &event.event_type,
        request: event.request.as_deref(),
        api_version: event.api_version.as_deref(),
        snapshot: state,
        previous,
        // None of the kinds that are kept lets its users choose ids: what is deleted stays so.
        terminal: stage.terminal || deleted,
        rank: stage.rank.into(),
    });
    let owner = customer
        .clone()
        .filter(|_| kind.is_owned(event.scope.source));
    Change {
        key: RowKey {
            scope: event.scope.clone(),
            kind,
            id,
            owner,
        },
        incoming: Incoming {
            second: event.created,
            learned: Learned::Event(fact),
            extract: Value::Object(extract),
        },
        customer,
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
    /// new row's base, whatever that is.
    AbsentOrOlder,
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
    let (merged, guard) = match stored {
        None => (merge(None, incoming), Guard::AbsentOrOlder),
        Some(stored) => (merge(Some(&stored.row), incoming), Guard::Rev(stored.rev)),
    };
    match merged {
        Merged::Known => Decision::Settled(Settled::Duplicate),
        Merged::Stale => Decision::Settled(Settled::Stale),
        Merged::Changed(row) => {
            let shows_event =
                row.second == incoming.second && row.winner().state == incoming.learned.state();
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
