//! What can go wrong with the store, by what the caller can do about it.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use billhook_core::log::causes;
use billhook_core::row::FORMAT;
use billhook_core::token::token;

use crate::attributes::{Item, number};

/// A request to the store that failed. Whether it took effect is not known unless the service refused it.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {kind}")]
pub struct StoreError {
    /// What was to be done.
    pub operation: &'static str,
    /// What kind of failure it was.
    pub kind: StoreErrorKind,
}

/// The kinds of failure.
#[derive(Debug, thiserror::Error)]
pub enum StoreErrorKind {
    /// The service asked to slow down, or another write was under way on the same item.
    #[error("throttled ({0})")]
    Throttled(String),
    /// There was no answer, or one that says nothing of the request itself.
    #[error("unavailable ({0})")]
    Unavailable(String),
    /// The service refused the request: a table is missing, a permission, or the request is wrong.
    #[error("refused ({0})")]
    Refused(String),
    /// The item would be larger than the service allows.
    #[error("too large")]
    TooLarge,
    /// A value in the item is one that the service never takes.
    #[error("a value cannot be stored")]
    Unstorable,
    /// The stored item was written by a newer version of this program.
    #[error("written by a newer version")]
    NewerFormat,
    /// The stored item cannot be read.
    #[error("unreadable item ({0})")]
    Unreadable(&'static str),
}

/// What a queue wants to know of a failure: does it make sense to try again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It may pass: leave the message on the queue.
    Retry,
    /// It can never succeed as it is: park the event, where someone sees it, with this reason.
    Park(&'static str),
}

impl StoreError {
    /// Whether trying again makes sense. A missing table or permission is mended by people while the
    /// message waits, so only what depends on nothing but the event itself is parked.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self.kind {
            StoreErrorKind::TooLarge => Disposition::Park("too_large"),
            StoreErrorKind::Unstorable => Disposition::Park("unstorable_value"),
            StoreErrorKind::Throttled(_)
            | StoreErrorKind::Unavailable(_)
            | StoreErrorKind::Refused(_)
            | StoreErrorKind::NewerFormat
            | StoreErrorKind::Unreadable(_) => Disposition::Retry,
        }
    }

    pub(crate) fn new<E>(operation: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let kind = match error {
            SdkError::ServiceError(answer) => {
                let code = token(answer.err().code().unwrap_or("unknown")).into_owned();
                let message = answer.err().message().unwrap_or_default();
                service_error(code, message, answer.raw().status().as_u16())
            }
            other => StoreErrorKind::Unavailable(causes(other)),
        };
        Self { operation, kind }
    }

    pub(crate) fn unreadable(operation: &'static str, what: &'static str) -> Self {
        Self {
            operation,
            kind: StoreErrorKind::Unreadable(what),
        }
    }
}

/// Refuses an item that a newer version of this program wrote: it is left alone, and a newer consumer may take it.
pub(crate) fn check_format(operation: &'static str, item: Option<&Item>) -> Result<(), StoreError> {
    match item.map(|item| number::<u32>(item, FORMAT_ATTRIBUTE)) {
        None => Ok(()),
        Some(None) => Err(StoreError::unreadable(operation, FORMAT_ATTRIBUTE)),
        Some(Some(format)) if format > FORMAT => Err(StoreError {
            operation,
            kind: StoreErrorKind::NewerFormat,
        }),
        Some(Some(_)) => Ok(()),
    }
}

/// The attribute that holds the format number, in both tables.
pub(crate) const FORMAT_ATTRIBUTE: &str = "f";

/// What the texts of errors about a value say, and no error about a request that is wrong in itself.
const UNSTORABLE: [&str; 6] = [
    "Nesting Levels",
    "nesting",
    "Number overflow",
    "Number underflow",
    "significant digits",
    "mpty attribute name",
];

/// Codes: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.
fn service_error(code: String, message: &str, status: u16) -> StoreErrorKind {
    match code.as_str() {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "TransactionConflictException"
        | "TransactionInProgressException" => StoreErrorKind::Throttled(code),
        // The only sign of it is in the text.
        "ValidationException" if message.contains("Item size") || message.contains("item size") => {
            StoreErrorKind::TooLarge
        }
        "ValidationException" if UNSTORABLE.iter().any(|sign| message.contains(sign)) => {
            StoreErrorKind::Unstorable
        }
        _ if status >= 500 => StoreErrorKind::Unavailable(code),
        _ => StoreErrorKind::Refused(code),
    }
}
