//! Carrying one change to the end: the row, and the links between objects.
//!
//! Every step is done on every delivery, also of an event that was seen before: the first delivery may have
//! stopped between any two of them. Each is a guarded write that is harmless to repeat.
//!
//! A refund or a dispute does not name its customer. It learns it from its charge or payment intent, whichever
//! comes first: a child that finds no customer leaves a note with its parents and then looks again; a parent
//! whose row is written looks for notes. Both look after they wrote, with consistent reads, so of two at the
//! same moment at least one sees the other.
//!
//! Bear Billing's invoices and records of usage name only their subscription, whose row lies with the customer and
//! cannot be found by its id. So a subscription also leaves a note of its own, under its id, that says whose it is.
//! For its children that note is the parent's row.

use billhook_core::decide::{Change, Decision, Settled, decide};
use billhook_core::row::{RowKey, StoredRow, needs_refetch};
use billhook_store::{StoreError, Wrote};
use billhook_stripe::FetchError;
use serde_json::Value;

use crate::Consumer;

/// How often a row is looked at again after somebody else wrote it. With ten writers on one row at
/// once, nine fail once; more than a few failures in a row mean that waiting is better.
const TRIES_MAX: u32 = 6;

/// What a delivery did to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The row shows the event's state now.
    Written,
    /// The row knew this very event already.
    Duplicate,
    /// The row shows a later state. What the event tells of its second is noted.
    Stale,
}

/// What carrying out a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What it did to the row.
    pub effect: Effect,
    /// Whether it left the row such that only a look at the object itself can tell its state.
    pub needs_refetch: bool,
}

/// How a row came to be settled.
struct Done {
    applied: Applied,
    written: bool,
    /// The row as it was before, where it was seen.
    stored: Option<StoredRow>,
}

/// Why a change was not carried to the end.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stripe did not tell what its events leave open.
    #[error("refetch the object")]
    Refetch(#[from] FetchError),
    /// The row's second is not over yet, so a look at the object would not settle it.
    #[error("the second is not over yet")]
    NotOver,
    /// Others kept writing the same row.
    #[error("the row is busy: others kept writing it")]
    Busy,
}

impl Consumer {
    /// Carries a change to the end.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]: nothing is lost, the same change can be carried out again.
    pub async fn apply(&self, mut change: Change) -> Result<Applied, ApplyError> {
        if let Some(owner) = &change.key.owner {
            let applied = self.write(&change).await?.applied;
            if can_have_children(&change.key) {
                self.tell_children(&change.key, owner).await?;
            }
            return Ok(applied);
        }
        let parents = parents(&change);
        if change.customer.is_none() {
            change.customer = self.customer_of(&parents).await?;
        }
        let done = self.write(&change).await?;
        let customer = match (change.customer, done.stored) {
            // The row was written for other events, and none of them named the customer.
            (Some(named), Some(StoredRow { customer: None, .. })) if !done.written => {
                self.store.link(&change.key, &named).await?;
                Some(named)
            }
            (named, stored) => named.or(stored.and_then(|stored| stored.customer)),
        };
        let customer = match customer {
            Some(customer) => Some(customer),
            None => self.wait_for(&change.key, &parents).await?,
        };
        if let Some(customer) = customer {
            self.link_children(&change.key, &customer).await?;
        }
        Ok(done.applied)
    }

    /// Writes the row, looking at what is stored as often as the guard refuses.
    async fn write(&self, change: &Change) -> Result<Done, ApplyError> {
        let mut stored = None;
        for _ in 0..TRIES_MAX {
            let write = match decide(&change.incoming, stored.as_ref()) {
                Decision::Write(write) => write,
                Decision::Settled(settled) => {
                    let effect = match settled {
                        Settled::Duplicate => Effect::Duplicate,
                        Settled::Stale => Effect::Stale,
                    };
                    let needs_refetch = stored
                        .as_ref()
                        .is_some_and(|stored| needs_refetch(&stored.row));
                    let applied = Applied {
                        effect,
                        needs_refetch,
                    };
                    return Ok(Done {
                        applied,
                        written: false,
                        stored,
                    });
                }
            };
            stored = match self
                .store
                .write_row(&change.key, change.customer.as_deref(), &write)
                .await?
            {
                Wrote::Written => {
                    let effect = if write.shows_event {
                        Effect::Written
                    } else {
                        Effect::Stale
                    };
                    let applied = Applied {
                        effect,
                        needs_refetch: write.needs_refetch,
                    };
                    return Ok(Done {
                        applied,
                        written: true,
                        stored,
                    });
                }
                Wrote::Refused(there) => Some(*there),
                Wrote::RefusedByNone => None,
            };
        }
        Err(ApplyError::Busy)
    }

    /// Leaves notes with the parents and looks once more, since a parent may have come in between.
    async fn wait_for(
        &self,
        child: &RowKey,
        parents: &[RowKey],
    ) -> Result<Option<String>, ApplyError> {
        for parent in parents {
            self.store.note_child(parent, child).await?;
        }
        let customer = self.customer_of(parents).await?;
        if let Some(customer) = &customer {
            self.store.link(child, customer).await?;
        }
        Ok(customer)
    }

    /// The customer of the first parent that knows one.
    async fn customer_of(&self, parents: &[RowKey]) -> Result<Option<String>, ApplyError> {
        for parent in parents {
            if let Some(customer) = self.store.customer_of(parent).await? {
                return Ok(Some(customer));
            }
        }
        Ok(None)
    }

    /// Notes whose an owned object is, and tells the children that left a note before. They have no children of
    /// their own, and each is settled by itself: where more wait than one delivery has time for, the next one goes on.
    async fn tell_children(&self, parent: &RowKey, owner: &str) -> Result<(), ApplyError> {
        // Such a note is never removed, so one that is there can be relied on.
        if self.store.customer_of(parent).await?.is_none() {
            self.store.note_owner(parent, owner).await?;
        }
        for child in self.store.children(parent).await? {
            self.store.link(&child, owner).await?;
            self.store.settle_child(parent, &child).await?;
        }
        Ok(())
    }

    /// Tells the children that left a note, and theirs, whose they are.
    async fn link_children(&self, parent: &RowKey, customer: &str) -> Result<(), ApplyError> {
        let mut waiting = vec![parent.clone()];
        while let Some(parent) = waiting.pop() {
            if !can_have_children(&parent) {
                continue;
            }
            for child in self.store.children(&parent).await? {
                self.store.link(&child, customer).await?;
                waiting.push(child);
            }
        }
        Ok(())
    }
}

/// The objects that a change's object names as its parents.
fn parents(change: &Change) -> Vec<RowKey> {
    let RowKey { scope, kind, .. } = &change.key;
    let named = kind.parents(scope.source).iter();
    let named = named.filter_map(|(kind, field)| {
        let id = change
            .incoming
            .extract
            .get(*field)
            .and_then(Value::as_str)?;
        Some(RowKey {
            scope: scope.clone(),
            kind: *kind,
            id: id.to_owned(),
            owner: None,
        })
    });
    named.collect()
}

fn can_have_children(key: &RowKey) -> bool {
    key.kind.can_have_children(key.scope.source)
}
