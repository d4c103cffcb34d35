//! The queue between the two functions: what a message is, and who takes it.
//!
//! [`Queue`] is a seam because there are two: Amazon SQS, and the one inside `billhook dev`. This crate
//! does not know how messages are received: in Lambda the event source mapping does that.

mod sqs;

use std::collections::BTreeMap;
use std::future::Future;

use billhook_core::envelope::Envelope;
use billhook_core::head::Head;
use billhook_core::token::token;

pub use sqs::SqsQueue;

/// A message as it is handed to the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The envelope, encoded.
    pub body: String,
    /// What can be seen of the event without opening the envelope.
    pub attributes: BTreeMap<&'static str, String>,
    /// The customer or account: a standard queue serves groups fairly, so that one busy customer does
    /// not delay the others.
    pub group: String,
}

/// The message attribute that holds the event's id, or the hash of a body without one.
pub const EVENT_ID: &str = "event_id";
/// The message attribute that holds the event's type.
pub const EVENT_TYPE: &str = "event_type";
/// The message attribute that holds the event's `livemode`.
pub const LIVEMODE: &str = "livemode";

impl Message {
    /// Makes the message for a verified body.
    #[must_use]
    pub fn new(envelope: &Envelope, head: &Head) -> Self {
        let mut attributes = BTreeMap::from([(EVENT_ID, head.name(&envelope.body))]);
        if let Some(event_type) = &head.event_type {
            attributes.insert(EVENT_TYPE, token(event_type).into_owned());
        }
        if let Some(livemode) = head.livemode {
            attributes.insert(LIVEMODE, livemode.to_string());
        }
        Self {
            body: envelope.encode(),
            attributes,
            group: head.group(),
        }
    }
}

/// The queue did not say that it has the message. It may have it all the same: the sender's next try
/// then makes a duplicate, which is harmless.
#[derive(Debug, thiserror::Error)]
#[error("the queue did not take the message: {reason}")]
pub struct EnqueueError {
    /// What went wrong, without anything of the message.
    pub reason: String,
}

/// Something that takes messages and keeps them.
pub trait Queue: Send + Sync {
    /// Hands a message over. When this returns `Ok`, the message is stored durably.
    ///
    /// # Errors
    ///
    /// [`EnqueueError`] where that is not certain.
    fn enqueue(&self, message: Message) -> impl Future<Output = Result<(), EnqueueError>> + Send;
}
