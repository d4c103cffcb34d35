//! The ledger: one record per event, written when everything else of it is settled.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Select};
use billhook_core::ledger::{Outcome, PARKED_RETENTION_DAYS, Record};
use billhook_core::row::FORMAT;
use billhook_core::scope::{Mode, Scope, Source};
use billhook_core::token::token;

use crate::Store;
use crate::attributes::{Item, number, text};
use crate::error::{StoreError, check_format};
use crate::keys::{self, PARKED, PK, RECEIVED, SK};

/// The attributes of a record, beside its keys.
///
/// | name | holds |
/// |---|---|
/// | `f` | the format number |
/// | `outcome` | `applied`, `ignored` or `parked` |
/// | `type` | the event's type |
/// | `reason` | why it was ignored or parked |
/// | `received` | when the delivery was received, in Unix milliseconds |
/// | `body` | the signed bytes, compressed ([`crate::payload`]) |
/// | `expires` | when DynamoDB may delete the record, in Unix seconds |
/// | `parked` | on parked records only: the partition key of the index |
mod names {
    pub(super) const FORMAT: &str = "f";
    pub(super) const OUTCOME: &str = "outcome";
    pub(super) const TYPE: &str = "type";
    pub(super) const REASON: &str = "reason";
    pub(super) const BODY: &str = "body";
    pub(super) const EXPIRES: &str = "expires";
}

/// The attribute that DynamoDB's time to live looks at.
pub(crate) const TTL_ATTRIBUTE: &str = names::EXPIRES;

/// What became of marking an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// The record is stored.
    Recorded,
    /// The ledger held this outcome, or a later one, already.
    AlreadyThere,
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The event's id as a token, or the hash of a body without one.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The event's type as a token, where it says so.
    pub event_type: Option<String>,
    /// Why it was ignored or parked.
    pub reason: Option<String>,
    /// When the delivery was received, in Unix milliseconds.
    pub received_at_ms: i64,
    /// When the record may be deleted, in Unix seconds.
    pub expires: i64,
    /// The signed bytes.
    pub body: Vec<u8>,
}

const SECONDS_PER_DAY: i64 = 86_400;

impl Store {
    /// Marks an event, unless the ledger holds this outcome or a later one. `now` is in Unix seconds.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether the record was written.
    pub async fn mark(&self, record: &Record, now: i64) -> Result<Marked, StoreError> {
        const OPERATION: &str = "mark an event";
        // absent: the ledger does not know the event; lower: it holds a lower outcome, whose name is
        // later in the alphabet.
        // readable: its format is not newer than ours.
        let condition = "attribute_not_exists(#pk) OR (#outcome > :outcome AND #f <= :f)";
        let outcome = AttributeValue::S(record.outcome.name().to_owned());
        let request = self
            .client
            .put_item()
            .table_name(&self.tables.events)
            .set_item(Some(self.item(record, now)))
            .condition_expression(condition)
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#outcome", names::OUTCOME)
            .expression_attribute_values(":outcome", outcome)
            .expression_attribute_names("#f", names::FORMAT)
            .expression_attribute_values(":f", AttributeValue::N(FORMAT.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.capacity());
        match request.send().await {
            Ok(answer) => {
                self.count_write(answer.consumed_capacity());
                Ok(Marked::Recorded)
            }
            Err(error) => {
                self.count_write(None);
                let Some(PutItemError::ConditionalCheckFailedException(refusal)) =
                    error.as_service_error()
                else {
                    return Err(StoreError::new(OPERATION, &error));
                };
                let there = refusal.item().and_then(|item| text(item, names::OUTCOME));
                let there = there.as_deref().and_then(Outcome::from_name);
                match there.is_some_and(|there| there < record.outcome) {
                    true => check_format(OPERATION, refusal.item()).map(|()| Marked::AlreadyThere),
                    false => Ok(Marked::AlreadyThere),
                }
            }
        }
    }

    /// Finds an event by its name and the second it was created in.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer, or the record cannot be read.
    pub async fn find_event(
        &self,
        scope: &Scope,
        id: &str,
        created: Option<i64>,
    ) -> Result<Option<LedgerEntry>, StoreError> {
        const OPERATION: &str = "find an event";
        let key = keys::event(scope, &event_name(id), created);
        let request = self
            .client
            .get_item()
            .table_name(&self.tables.events)
            .key(PK, AttributeValue::S(key.pk))
            .key(SK, AttributeValue::S(key.sk))
            .consistent_read(true)
            .set_return_consumed_capacity(self.capacity());
        let answer = request
            .send()
            .await
            .map_err(|error| StoreError::new(OPERATION, &error))?;
        self.count_read(answer.consumed_capacity());
        answer
            .item()
            .map(|item| self.read_entry(OPERATION, item))
            .transpose()
    }

    /// How many events of a source and mode are parked, of all accounts together.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer.
    pub async fn count_parked(&self, source: Source, mode: Mode) -> Result<u64, StoreError> {
        let partition = keys::parked_partition(source, mode);
        let mut count = 0;
        let mut start = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.tables.events)
                .index_name(PARKED)
                .key_condition_expression("#parked = :partition")
                .expression_attribute_names("#parked", PARKED)
                .expression_attribute_values(":partition", AttributeValue::S(partition.clone()))
                .select(Select::Count)
                .set_exclusive_start_key(start)
                .set_return_consumed_capacity(self.capacity());
            let answer = request.send().await;
            let answer = answer.map_err(|error| StoreError::new("count parked events", &error))?;
            self.count_read(answer.consumed_capacity());
            count += u64::try_from(answer.count()).unwrap_or(0);
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(count);
            }
        }
    }

    fn item(&self, record: &Record, now: i64) -> Item {
        let key = keys::event(&record.scope, &record.name, record.created);
        let parked = record.outcome == Outcome::Parked;
        let days = if parked {
            PARKED_RETENTION_DAYS
        } else {
            self.event_retention_days
        };
        let expires = now.saturating_add(i64::from(days) * SECONDS_PER_DAY);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: i64| AttributeValue::N(number.to_string());
        let mut item = Item::from([
            (PK.to_owned(), AttributeValue::S(key.pk)),
            (SK.to_owned(), AttributeValue::S(key.sk)),
            (names::FORMAT.to_owned(), number(FORMAT.into())),
            (names::OUTCOME.to_owned(), text(record.outcome.name())),
            (RECEIVED.to_owned(), number(record.received_at_ms)),
            (names::EXPIRES.to_owned(), number(expires)),
            (
                names::BODY.to_owned(),
                AttributeValue::B(Blob::new(self.codec.pack(&record.body))),
            ),
        ]);
        if let Some(event_type) = &record.event_type {
            item.insert(names::TYPE.to_owned(), text(&token(event_type)));
        }
        if let Some(reason) = &record.reason {
            item.insert(names::REASON.to_owned(), text(reason));
        }
        if parked {
            let partition = keys::parked_partition(record.scope.source, record.scope.mode);
            item.insert(PARKED.to_owned(), AttributeValue::S(partition));
        }
        item
    }

    fn read_entry(&self, operation: &'static str, item: &Item) -> Result<LedgerEntry, StoreError> {
        let missing = |name| StoreError::unreadable(operation, name);
        check_format(operation, Some(item))?;
        let outcome = text(item, names::OUTCOME);
        let outcome = outcome.as_deref().and_then(Outcome::from_name);
        let packed = item.get(names::BODY).and_then(|body| body.as_b().ok());
        let body = packed.and_then(|packed| self.codec.unpack(packed.as_ref()).ok());
        Ok(LedgerEntry {
            name: text(item, SK).ok_or_else(|| missing(SK))?,
            outcome: outcome.ok_or_else(|| missing(names::OUTCOME))?,
            event_type: text(item, names::TYPE),
            reason: text(item, names::REASON),
            received_at_ms: number(item, RECEIVED).ok_or_else(|| missing(RECEIVED))?,
            expires: number(item, names::EXPIRES).ok_or_else(|| missing(names::EXPIRES))?,
            body: body.ok_or_else(|| missing(names::BODY))?,
        })
    }
}

/// An id as the ledger names it; a name is left as it is.
fn event_name(id: &str) -> String {
    let hash = id.strip_prefix('~').filter(|hash| hash.len() == 64);
    let is_name = hash.is_some_and(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_name {
        id.to_owned()
    } else {
        token(id).into_owned()
    }
}
