//! Settling by a look at the object itself what its events leave open.
//!
//! Where an API key is configured and a row says that it needs a refetch, the object is read from Stripe and
//! written under the guard that the row is still the one that was read before: so a slow, older read can never
//! overwrite what was learned since, by an event or by a later read. Without a key the row stays marked.

use billhook_core::decide::{Guard, Write};
use billhook_core::objects;
use billhook_core::order::{Incoming, Kept, Merged, merge};
use billhook_core::row::{DELETED, RowKey, StoredRow, needs_refetch};
use billhook_core::scope::Source;
use billhook_store::Wrote;
use billhook_stripe::{Fetched, StripeApi};
use serde_json::Value;

use crate::Consumer;
use crate::apply::ApplyError;

/// How often the object is read again because its row changed meanwhile.
const TRIES_MAX: u32 = 3;

/// A second is over in Stripe when it has passed here by this much: clocks differ a little.
const OVER_SECS: i64 = 2;

impl Consumer {
    /// Reads the object from Stripe, if its row needs it and there is a key. Returns whether the row still
    /// needs it.
    pub(crate) async fn refetch(&self, key: &RowKey) -> Result<bool, ApplyError> {
        let Some(stripe) = &self.stripe else {
            return Ok(true);
        };
        if key.scope.source != Source::Stripe {
            return Ok(true);
        }
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.store.read_row(key).await? else {
                return Ok(false);
            };
            if !needs_refetch(&stored.row) {
                return Ok(false);
            }
            let over = (self.clock)().div_euclid(1000) - OVER_SECS;
            if stored.row.second > over {
                return Err(ApplyError::NotOver);
            }
            let Some(write) = settle(stripe, key, &stored, over).await? else {
                return Ok(true);
            };
            let link = stored.link.as_deref();
            match self.store.write_row(key, link, &write).await? {
                Wrote::Written => {
                    if key.owner.is_none() {
                        let Kept { extract, customer } = write.row.shown().kept.clone();
                        self.settle_links(key, &extract, customer, stored.link)
                            .await?;
                    }
                    return Ok(write.needs_refetch);
                }
                Wrote::Refused(_) | Wrote::RefusedByNone => {}
            }
        }
        Err(ApplyError::Busy)
    }
}

/// What the row becomes by what Stripe says; none where that is nothing new.
async fn settle(
    stripe: &StripeApi,
    key: &RowKey,
    stored: &StoredRow,
    over: i64,
) -> Result<Option<Write>, ApplyError> {
    let account = key.scope.account.as_deref();
    let (kept, is_final) = match stripe.fetch(key.kind, &key.id, account).await? {
        Fetched::Object(object) => match objects::read(key.kind, &object) {
            Ok(_) => {
                let shown = objects::look(key.kind, &object);
                (shown.kept, shown.is_final)
            }
            Err(_) => return Ok(None),
        },
        // That it was not found is not final: any event after it counts.
        gone @ (Fetched::Deleted | Fetched::NotFound) => {
            let mut kept = stored.row.shown().kept.clone();
            kept.extract[DELETED] = Value::Bool(true);
            (kept, gone == Fetched::Deleted)
        }
    };
    let incoming = Incoming::read(over, kept, is_final);
    match merge(Some(&stored.row), &incoming) {
        Merged::Changed(row) => {
            let needs_refetch = needs_refetch(&row);
            let guard = Guard::Rev(stored.rev);
            Ok(Some(Write {
                row,
                guard,
                shows_event: false,
                needs_refetch,
            }))
        }
        Merged::Known | Merged::Stale => Ok(None),
    }
}
