//! Carrying one change to the end: the row, and the links between objects.
//!
//! Every step is done on every delivery, also of an event that was seen before: the first delivery may have
//! stopped between any two of them. Each is a guarded write that is harmless to repeat.
//!
//! A refund or a dispute does not name its customer. It has the one of its charge or payment intent, the first of them
//! that knows one, and changes with it. So every object that does not name its customer leaves a note with each parent, and
//! looks at them again; and whoever writes a parent settles its children. Both look after they wrote, with consistent
//! reads, so of two at the same moment at least one sees the other. A link is written under the child's `rev`, so that it never
//! takes the place of a customer that the child has come to name itself. And whoever writes a link looks again, so
//! whoever writes last has seen what the parents say in the end. That takes a consumer that lives on after such a write, or
//! whose message comes back: `billhook_proofs::link_model` says what was checked.
//!
//! Bear Billing's invoices and records of usage name only their subscription, whose row lies with the customer and
//! cannot be found by its id. So a subscription also leaves a note of its own, under its id, that says whose it is.
//! For its children that note is the parent's row.

use billhook_core::decide::{Change, Decision, Settled, decide};
use billhook_core::order::{self, Kept};
use billhook_core::row::{Owner, RowKey, StoredRow, needs_refetch};
use billhook_store::{StoreError, Wrote};
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

/// How a row came to be settled, and what it shows now.
struct Done {
    applied: Applied,
    extract: Value,
    /// The customer that the object names.
    named: Option<String>,
    /// The customer that it is linked to.
    link: Option<String>,
}

/// Why a change was not carried to the end.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    pub async fn apply(&self, change: Change) -> Result<Applied, ApplyError> {
        match &change.key.owner {
            Some(owner) => {
                let applied = self.write(&change, None).await?.applied;
                if let Owner::Customer(customer) = owner
                    && can_have_children(&change.key)
                {
                    self.tell_children(&change.key, customer).await?;
                }
                Ok(applied)
            }
            None => self.apply_linked(&change).await,
        }
    }

    async fn apply_linked(&self, change: &Change) -> Result<Applied, ApplyError> {
        let named = change.incoming.kept.customer.is_some();
        let parents = parents(&change.key, &change.incoming.kept.extract);
        let guess = match named {
            true => None,
            false => self.customer_of(&parents).await?,
        };
        let done = self.write(change, guess.as_deref()).await?;
        // An owned parent never changes hands, so a link to it stays as it is.
        if done.link.is_some() && parents.iter().all(is_owned) {
            return Ok(done.applied);
        }
        self.settle_links(&change.key, &done.extract, done.named, done.link)
            .await?;
        Ok(done.applied)
    }

    /// Writes the row, looking at what is stored as often as the guard refuses. `link` is the customer that the object's
    /// parents were seen to know.
    async fn write(&self, change: &Change, link: Option<&str>) -> Result<Done, ApplyError> {
        let mut stored: Option<StoredRow> = None;
        for _ in 0..TRIES_MAX {
            let write = match decide(&change.incoming, stored.as_ref()) {
                Decision::Write(write) => write,
                Decision::Settled(settled) => {
                    let effect = match settled {
                        Settled::Duplicate => Effect::Duplicate,
                        Settled::Stale => Effect::Stale,
                    };
                    let stored = stored.unwrap_or_default();
                    let applied = Applied {
                        effect,
                        needs_refetch: needs_refetch(&stored.row),
                    };
                    return Ok(done(applied, &stored.row, stored.link));
                }
            };
            // What a row is linked to stays until its parents were looked at again, after the write.
            let kept = stored.as_ref().and_then(|stored| stored.link.as_deref());
            let link = kept.or(link);
            stored = match self.store.write_row(&change.key, link, &write).await? {
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
                    let link = link.map(str::to_owned);
                    return Ok(done(applied, &write.row, link));
                }
                Wrote::Refused(there) => Some(*there),
                Wrote::RefusedByNone => None,
            };
        }
        Err(ApplyError::Busy)
    }

    /// Sees to it that a linked row and those that depend on it belong to whom they must, after the row was written or
    /// found to be settled as it is described. The parents that count are those that the row shows, not those of an
    /// event that came late.
    pub(crate) async fn settle_links(
        &self,
        key: &RowKey,
        extract: &Value,
        named: Option<String>,
        link: Option<String>,
    ) -> Result<(), ApplyError> {
        if named.is_none() {
            let parents = parents(key, extract);
            for parent in &parents {
                self.store.note_child(parent, key).await?;
            }
            if self.customer_of(&parents).await? != link {
                self.link(key).await?;
            }
        }
        let mut parents_of_children = vec![key.clone()];
        while let Some(parent) = parents_of_children.pop() {
            if !can_have_children(&parent) {
                continue;
            }
            for child in self.store.children(&parent).await? {
                self.link(&child).await?;
                parents_of_children.push(child);
            }
        }
        Ok(())
    }

    /// Links a row to the first of its parents that knows a customer, unless it names one itself. Without a row there is
    /// nothing to link: its own writer looks for its parents afterwards.
    ///
    /// It ends with a look that finds nothing to do, never with a write: a link that is right already is not written, so
    /// the row's `rev` does not tell of those who found it right after this look and before this write.
    async fn link(&self, key: &RowKey) -> Result<(), ApplyError> {
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.store.read_row(key).await? else {
                return Ok(());
            };
            let wanted = match stored.row.shown().kept.customer {
                Some(_) => return Ok(()),
                None => self.customer_of(&parents(key, stored.extract())).await?,
            };
            if wanted == stored.link {
                return Ok(());
            }
            let wanted = wanted.as_deref();
            self.store.link(key, stored.rev, wanted).await?;
        }
        Err(ApplyError::Busy)
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
            self.link(&child).await?;
            self.store.settle_child(parent, &child).await?;
        }
        Ok(())
    }
}

fn done(applied: Applied, row: &order::Row, link: Option<String>) -> Done {
    let Kept { extract, customer } = row.shown().kept.clone();
    Done {
        applied,
        extract,
        named: customer,
        link,
    }
}

/// The objects that an object with this extract names as its parents, the nearest first.
fn parents(key: &RowKey, extract: &Value) -> Vec<RowKey> {
    let RowKey { scope, kind, .. } = key;
    let named = kind.parents(scope.source).iter();
    let named = named.filter_map(|(kind, field)| {
        let id = extract.get(*field).and_then(Value::as_str)?;
        Some(RowKey {
            scope: scope.clone(),
            kind: *kind,
            id: id.to_owned(),
            owner: None,
        })
    });
    named.collect()
}

fn is_owned(key: &RowKey) -> bool {
    key.kind.is_owned(key.scope.source)
}

fn can_have_children(key: &RowKey) -> bool {
    key.kind.can_have_children(key.scope.source)
}
