//! Which of two snapshots of one object is the later one.
//!
//! `created` is in whole seconds, and whole purchases happen within one, so a rank decides where the
//! seconds are equal: deleted wins, then a terminal state, `*.created` loses, then the place of the state
//! in its kind's life, and at last a hash, so that every order of arrival ends in the same choice.
//!
//! The comparison is a total order, so taking the greatest is commutative, associative and
//! idempotent over the set of events of an object.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::objects::Stage;

/// Decides between two snapshots of one second; the greater one is the state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The object was deleted.
    pub deleted: bool,
    /// How far along its life the object is.
    pub stage: Stage,
    /// The event is not the `*.created` one.
    pub changed: bool,
    /// A hash of the state, so that two different states never tie.
    pub state: String,
}

impl Rank {
    /// The rank of a snapshot that an event of this type showed.
    #[must_use]
    pub fn new(event_type: &str, stage: Stage, extract: &Map<String, Value>) -> Self {
        Self {
            deleted: is_deletion(event_type),
            stage,
            changed: !event_type.ends_with(".created"),
            state: state_hash(extract),
        }
    }
}

impl Rank {
    /// The rank as it is stored.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self {
            deleted,
            stage,
            changed,
            state,
        } = self;
        let Stage { terminal, rank } = stage;
        format!(
            "{}{}{}.{rank}.{state}",
            u8::from(*deleted),
            u8::from(*terminal),
            u8::from(*changed)
        )
    }

    /// Reads what [`Rank::encode`] wrote.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let flags: Vec<bool> = parts.next()?.bytes().map(|byte| byte == b'1').collect();
        let [deleted, terminal, changed] = flags[..] else {
            return None;
        };
        let rank = parts.next()?.parse().ok()?;
        let state = parts.next()?.to_owned();
        Some(Self {
            deleted,
            stage: Stage { terminal, rank },
            changed,
            state,
        })
    }
}

/// True for an event after which the object is gone.
#[must_use]
pub fn is_deletion(event_type: &str) -> bool {
    event_type.ends_with(".deleted")
}

fn state_hash(extract: &Map<String, Value>) -> String {
    let text = Value::Object(extract.clone()).to_string();
    Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
