//! From a customer's rows to what is noted of their access.
//!
//! Several instances may be at work on one customer at once: the customer's own rows come by one shard of the
//! stream, charges and checkout sessions by others. That the last look is right rests on three things:
//!
//! - A note is written only over the one that was read with the rows, by its `rev`.
//! - After a write it is looked again, until what is noted agrees with what the rows say. Say A read the rows before
//!   a change and B after it. If A writes its older answer before B looks, B sees and corrects it. If A writes after
//!   that, B may have found nothing to correct; but then A's second look comes after the change and sees it. If A
//!   stops in between, its record is handed out again.
//! - The index follows the table within moments. A record of a row that the index does not show yet is not done
//!   before the index shows it: until then another instance could still read the index without it. The answer itself
//!   does not wait, since the row is read from the table.
//!
//! A second write of the same change can only come from such a race, and then both writes are told, the right one
//! last.

use std::time::Duration;

use billhook_core::announce::{Noted, change};
use billhook_core::state::customer_access;
use billhook_store::keys::CustomerPartition;
use billhook_store::{LinkedRow, StoreError};

use crate::AccessFunction;

/// Two looks are usual after a change, and one more for every race that is lost.
const LOOKS_MAX: u32 = 10;

/// Between two looks at an index that is behind.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a customer's access could not be noted.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others wrote again and again, or the index stayed behind.
    #[error("not settled after {LOOKS_MAX} looks")]
    Unsettled,
}

impl AccessFunction {
    /// Notes what a customer's access is, if it is not what is noted. `linked` are rows that a record has shown.
    ///
    /// # Errors
    ///
    /// [`NoteError`]: it may have been noted all the same.
    pub async fn note(
        &self,
        customer: &CustomerPartition,
        linked: &[LinkedRow],
    ) -> Result<(), NoteError> {
        for _ in 0..LOOKS_MAX {
            let view = self.store.view_customer(customer, linked).await?;
            let now = self.now();
            let (access, ever_had) = customer_access(&view.rows, now, &self.policy);
            let noted = view.noted.as_ref();
            if change(noted.map(|noted| &noted.access), &access, ever_had).is_some() {
                let next = Noted {
                    customer: view.customer,
                    access,
                    rev: noted.map_or(0, |noted| noted.rev) + 1,
                    changed_at: now,
                };
                // Refused or written: what counts is what the next look finds.
                self.store.note_access(customer, &next).await?;
            } else if view.index_is_behind {
                tokio::time::sleep(PAUSE).await;
            } else {
                return Ok(());
            }
        }
        Err(NoteError::Unsettled)
    }
}
