//! A row: the state of one object as it is stored.
//!
//! This module says what a row is, not where it lies: keys and attribute names belong to the store.

use serde_json::{Map, Value};

use crate::objects::Kind;
use crate::order::Rank;
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
    /// The customer whose partition holds an owned object's row; none for linked objects.
    pub owner: Option<String>,
}

/// The winning snapshot of an object's newest second.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When the event that showed this state was created, in Unix seconds.
    pub second: i64,
    /// The id of that event.
    pub event: String,
    /// What decides between events of one second.
    pub rank: Rank,
    /// True for a tombstone: the object was deleted. The extract is what it was last.
    pub deleted: bool,
    /// The fields that are kept.
    pub extract: Map<String, Value>,
}

/// A row as it was read, with the number that guards a write over it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// The row.
    pub row: Row,
    /// Raised by one with every write.
    pub rev: u64,
    /// The customer that a linked object belongs to, named by itself or found through its parents.
    pub customer: Option<String>,
}
