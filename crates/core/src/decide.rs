//! The rules: what an event changes.
//!
//! Synchronous and total. [`plan`] says which rows an event is about before anything is read;
//! [`decide`] says what to do with one of them, first without and, where the store refused the write, with
//! the row that is stored. Every answer is so complete that committing it leaves no choice.
//!
//! A row is a snapshot with a version, so writing one twice is harmless; that is why no lock and no
//! transaction is needed, and why every row of an event is carried to the end on every delivery.

use crate::event::{Content, Event};
use crate::objects::{self, Kind, NoSnapshot};
use crate::order::{Rank, is_deletion};
use crate::row::{Row, RowKey, StoredRow};
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
    /// What it shall be, unless a later one is stored.
    pub row: Row,
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
            Self::Preview => "preview",
            Self::NoCustomer => "no_customer",
        }
    }
}

/// Says which row an event is about. `mode` is the stack's.
#[must_use]
pub fn plan(event: Event, mode: Mode) -> Plan {
    if event.scope.mode != mode {
        return Plan::Ignore(Ignored::OtherMode);
    }
    let object = match &event.content {
        Content::Thin => return Plan::Ignore(Ignored::Thin),
        Content::Snapshot { object, .. } => object,
    };
    let kind = match event.scope.source {
        Source::Stripe => objects::kind_of(&event.event_type),
        Source::BearBilling => None,
    };
    let Some(kind) = kind else {
        return Plan::Ignore(Ignored::NoState);
    };
    match objects::read(kind, object) {
        Ok(snapshot) => Plan::Keep(Box::new(change(event, snapshot))),
        Err(NoSnapshot::NoId) => Plan::Ignore(Ignored::Preview),
        Err(NoSnapshot::NoCustomer) => Plan::Ignore(Ignored::NoCustomer),
    }
}

fn change(event: Event, snapshot: objects::Snapshot) -> Change {
    let rank = Rank::new(&event.event_type, snapshot.stage, &snapshot.extract);
    let owner = snapshot
        .customer
        .clone()
        .filter(|_| snapshot.kind.is_owned());
    Change {
        key: RowKey {
            scope: event.scope,
            kind: snapshot.kind,
            id: snapshot.id,
            owner,
        },
        row: Row {
            second: event.created,
            event: event.id,
            rank,
            deleted: is_deletion(&event.event_type) && snapshot.kind != Kind::Subscription,
            extract: snapshot.extract,
        },
        customer: snapshot.customer,
    }
}

/// What to do with a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Write it, if what is stored is still as the guard says.
    Write {
        /// What must be true of the stored row.
        guard: Guard,
    },
    /// Nothing is to be written.
    Settled(Settled),
}

/// What must be true of the stored row when it is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// There is none, or its second is older than the new one's.
    AbsentOrOlder,
    /// It is exactly the one that was read.
    Rev(u64),
}

/// Why nothing is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The row shows this very event.
    Duplicate,
    /// The row shows a later state.
    Stale,
}

/// Decides about one row: `stored` is what the store answered, none while it was not asked.
///
/// The first write is tried unread, because nearly every event is the newest of its object: one write
/// and no read. Within a second the version says nothing, so there the guard is the row's `rev`.
#[must_use]
pub fn decide(incoming: &Row, stored: Option<&StoredRow>) -> Decision {
    let Some(stored) = stored else {
        return Decision::Write {
            guard: Guard::AbsentOrOlder,
        };
    };
    let there = &stored.row;
    if there.event == incoming.event {
        return Decision::Settled(Settled::Duplicate);
    }
    let version = |row: &Row| (row.second, row.rank.clone());
    if version(incoming) > version(there) {
        return Decision::Write {
            guard: Guard::Rev(stored.rev),
        };
    }
    Decision::Settled(Settled::Stale)
}
