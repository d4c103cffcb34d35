//! Settling by a look at the object itself what its events leave open.
//!
//! Where an API key is configured and a row says that it needs a refetch, the object is read from Stripe and
//! written under the guard that the row is still the one that was read before: so a slow, older read can never
//! overwrite what was learned since, by an event or by a later read. Without a key the row stays marked.
//!
//! A look that fails costs its event nothing: the row stays marked, it is counted why, and the rows that are still marked
//! are looked at again within a minute ([`Consumer::look_at_open_rows`]).
//!
//! Only Stripe's own word deletes: `"deleted": true`, or its error that a draft invoice is not there (drafts can be
//! deleted, <https://docs.stripe.com/api/invoices/delete>). Every other object that is not found is one that the key cannot
//! see.

use std::sync::atomic::Ordering;

use billhook_core::decide::{Guard, Write};
use billhook_core::log::{Level, Line, causes};
use billhook_core::metrics::{Measured, NEEDS_REFETCH, REFETCH_FAILED};
use billhook_core::objects::{self, Kind};
use billhook_core::order::{Incoming, Kept, Merged, merge};
use billhook_core::row::{RowKey, StoredRow, needs_refetch};
use billhook_core::scope::Source;
use billhook_store::{StoreError, Wrote};
use billhook_stripe::{FetchError, Fetched, Look, StripeApi};

use crate::Consumer;
use crate::apply::ApplyError;

/// How often the object is read again because its row changed meanwhile.
const TRIES_MAX: u32 = 3;

/// What is read now may be older than now by this much, in seconds: so a look settles only what was over by then.
const MARGIN_SECS: i64 = 5;

/// A row whose second is at least so long over has been left open by its events, in seconds. Until then the missing one
/// may be on its way.
const OPEN_AFTER_SECS: i64 = 60;

/// How long an environment does not ask again for rows that are open, in milliseconds.
const ASK_EVERY_MS: i64 = 60_000;

/// How many of them are counted at most, and how many are looked at.
const COUNTED_MAX: usize = 100;
const LOOKED_AT_MAX: usize = 10;

/// What became of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refetched {
    /// The row needs none any more.
    Settled,
    /// It still does. There is no key, its second is not over yet, or what Stripe says is cut short as well.
    Open,
    /// It still does, and Stripe did not tell, for this reason of a fixed set.
    Failed(&'static str),
}

impl Consumer {
    /// Reads the object from Stripe, if its row needs it and there is a key.
    pub(crate) async fn refetch(&self, key: &RowKey) -> Result<Refetched, ApplyError> {
        let Some(stripe) = self
            .stripe
            .as_ref()
            .filter(|_| key.scope.source == Source::Stripe)
        else {
            return Ok(Refetched::Open);
        };
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.store.read_row(key).await? else {
                return Ok(Refetched::Settled);
            };
            if !needs_refetch(&stored.row) {
                return Ok(Refetched::Settled);
            }
            let now = (self.clock)().div_euclid(1000);
            if stored.row.second > now - MARGIN_SECS {
                return Ok(Refetched::Open);
            }
            let account = key.scope.account.as_deref();
            let look = match stripe.fetch(key.kind, &key.id, account).await {
                Ok(look) => look,
                Err(error) => return Ok(self.failed(stripe, key, &error).await),
            };
            let incoming = match learned(key.kind, &stored, &look, now) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return Ok(Refetched::Open),
                Err(reason) => return Ok(self.told_nothing(key, reason, None)),
            };
            let Some(write) = write(&stored, &incoming) else {
                return Ok(Refetched::Open);
            };
            let link = stored.link.as_deref();
            match self.store.write_row(key, link, &write).await? {
                Wrote::Written => {
                    if key.owner.is_none() {
                        let Kept { extract, customer } = write.row.shown().kept.clone();
                        self.settle_links(key, &extract, customer, stored.link)
                            .await?;
                    }
                    return Ok(match write.needs_refetch {
                        true => Refetched::Open,
                        false => Refetched::Settled,
                    });
                }
                Wrote::Refused(_) | Wrote::RefusedByNone => {}
            }
        }
        // Others are writing it: it is looked at again with the rows that are open.
        Ok(Refetched::Open)
    }

    async fn failed(&self, stripe: &StripeApi, key: &RowKey, error: &FetchError) -> Refetched {
        if let Some(warning) = stripe.warning().await {
            self.log.write(&Line::new(Level::Warn, warning));
        }
        self.told_nothing(key, error.reason(), Some(causes(error)))
    }

    fn told_nothing(&self, key: &RowKey, reason: &'static str, error: Option<String>) -> Refetched {
        let line = Line::new(Level::Warn, "refetch failed")
            .with("kind", key.kind.name())
            .with("reason", reason)
            .with("error", error.as_deref());
        self.log.write(&line);
        Refetched::Failed(reason)
    }

    /// Counts the rows that are open, and looks at some of them if there is a key. Once a minute, and never a failure of the
    /// batch that it follows.
    pub async fn look_at_open_rows(&self) {
        let now_ms = (self.clock)();
        let asked = self.asked_for_open_ms.load(Ordering::Relaxed);
        let is_due = now_ms.saturating_sub(asked) >= ASK_EVERY_MS;
        let (known, order) = (&self.asked_for_open_ms, Ordering::Relaxed);
        if !is_due || known.compare_exchange(asked, now_ms, order, order).is_err() {
            return;
        }
        if let Err(error) = self.settle_open_rows(now_ms).await {
            let line = Line::new(Level::Warn, "the open rows could not be looked at")
                .with("reason", causes(&error).as_str());
            self.log.write(&line);
        }
    }

    async fn settle_open_rows(&self, now_ms: i64) -> Result<(), ApplyError> {
        let before = now_ms.div_euclid(1000) - OPEN_AFTER_SECS;
        let open = self.open_rows(before).await?;
        let mut settled = 0;
        for key in open.iter().filter_map(Option::as_ref).take(LOOKED_AT_MAX) {
            match self.refetch(key).await? {
                Refetched::Settled => settled += 1,
                Refetched::Open => {}
                Refetched::Failed(reason) => {
                    let mut measured = Measured::default();
                    measured.count_for(REFETCH_FAILED, reason);
                    self.metrics.write(&measured, now_ms);
                    // The next one would most likely fail alike.
                    if reason != "not_found" {
                        break;
                    }
                }
            }
        }
        let left = i64::try_from(open.len() - settled).unwrap_or(i64::MAX);
        if left > 0 {
            let mut measured = Measured::default();
            measured.measure(NEEDS_REFETCH, left);
            self.metrics.write(&measured, now_ms);
        }
        Ok(())
    }

    async fn open_rows(&self, before: i64) -> Result<Vec<Option<RowKey>>, StoreError> {
        let mut open = Vec::new();
        for source in Source::ALL {
            let of_source = self.store.open_rows(source, self.mode, before, COUNTED_MAX);
            open.extend(of_source.await?);
        }
        Ok(open)
    }
}

/// What a look tells, or why it tells nothing; none if the row's second was not over.
fn learned(
    kind: Kind,
    stored: &StoredRow,
    look: &Look,
    now: i64,
) -> Result<Option<Incoming>, &'static str> {
    // By Stripe's clock if it says, since ours may be ahead of it.
    let over = look.at.map_or(now, |at| at.min(now)) - MARGIN_SECS;
    let shown = stored.row.shown();
    let is_draft = kind == Kind::Invoice && shown.kept.extract["status"] == "draft";
    let (kept, is_final) = match &look.fetched {
        Fetched::Object(object) => {
            objects::read(kind, object).map_err(|_| "unreadable")?;
            let shown = objects::look(kind, object);
            (shown.kept, shown.is_final)
        }
        Fetched::Deleted => (objects::tombstone(kind, shown.kept.clone()), true),
        // That it was not found is not final: any event after it counts.
        Fetched::NotFound if is_draft => (objects::tombstone(kind, shown.kept.clone()), false),
        Fetched::NotFound => return Err("not_found"),
    };
    let is_over = over >= stored.row.second;
    Ok(is_over.then(|| Incoming::read(over, kept, is_final)))
}

fn write(stored: &StoredRow, incoming: &Incoming) -> Option<Write> {
    let Merged::Changed(row) = merge(Some(&stored.row), incoming) else {
        return None;
    };
    Some(Write {
        needs_refetch: needs_refetch(&row),
        row,
        guard: Guard::Rev(stored.rev),
        shows_event: false,
    })
}
