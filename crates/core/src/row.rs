//! A row: the state of one object as it is stored.
//!
//! This module says what a row is, not where it lies: keys and attribute names belong to the store.

use serde_json::Value;

use crate::objects::{CUT, Kind};
use crate::order;
use crate::scope::Scope;

/// The format of the rows written here. A consumer that meets a newer one leaves it alone and retries,
/// so that during a deployment an old consumer never overwrites what a new one wrote.
pub const FORMAT: u32 = 1;

/// Names one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// Whose data it is.
    pub scope: Scope,
    /// What it is.
    pub kind: Kind,
    /// The object's id.
    pub id: String,
    /// In whose partition an owned object's row lies; none for linked objects.
    pub owner: Option<Owner>,
}

/// Whose an owned object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The customer that it names.
    Customer(String),
    /// The account that it names, since it names no customer.
    Account(String),
}

/// A row as it was read, with the number that guards a write over it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredRow {
    /// What is known of the object and its order, and the state that it shows.
    pub row: order::Row,
    /// Raised by one with every write.
    pub rev: u64,
    /// The customer that a linked object was found to belong to through its parents; none if it names one itself.
    pub link: Option<String>,
}

/// The member of an extract that makes it a tombstone: the object was deleted, and the rest is what it was last.
pub const DELETED: &str = "deleted";

/// Whether only a look at the object itself can tell its state: its events do not tell which state is the last one, or
/// a list in it was cut short.
#[must_use]
pub fn needs_refetch(row: &order::Row) -> bool {
    let shown = row.shown();
    !shown.decided || shown.kept.extract.get(CUT) == Some(&Value::Bool(true))
}

impl StoredRow {
    /// The fields that are kept of the object.
    #[must_use]
    pub fn extract(&self) -> &Value {
        &self.row.shown().kept.extract
    }

    /// The customer that a linked object belongs to: the one it names, or the one it was linked to.
    #[must_use]
    pub fn customer(&self) -> Option<&str> {
        let named = self.row.shown().kept.customer.as_deref();
        named.or(self.link.as_deref())
    }

    /// Whether the object was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.extract().get(DELETED) == Some(&Value::Bool(true))
    }
}
