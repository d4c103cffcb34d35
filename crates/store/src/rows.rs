//! Rows of the billing table: the guarded write, and the reads.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use billhook_core::access::Policy;
use billhook_core::decide::{Change, Guard};
use billhook_core::objects::Kind;
use billhook_core::row::{FORMAT, Row, RowKey, StoredRow};
use billhook_core::scope::Scope;
use billhook_core::state::{self, CustomerRow};
use serde_json::Value;

use crate::Store;
use crate::attributes::{self, Item, flag, number, text};
use crate::error::{StoreError, StoreErrorKind};
use crate::keys::{self, BY_CUSTOMER, CHILD, CPK, CSK, PK, SK};

/// The attributes of a row, beside its keys.
///
/// | name | holds |
/// |---|---|
/// | `f` | the format number |
/// | `rev` | raised by one with every write |
/// | `at` | the second of the snapshot: when its event was created |
/// | `event` | the id of that event |
/// | `rank` | what decides between events of that second |
/// | `id` | the object's id |
/// | `customer` | the customer of a linked object, where it is known |
/// | `deleted` | true on a tombstone |
/// | `data` | the object's state |
mod names {
    pub(super) const FORMAT: &str = "f";
    pub(super) const REV: &str = "rev";
    pub(super) const AT: &str = "at";
    pub(super) const EVENT: &str = "event";
    pub(super) const RANK: &str = "rank";
    pub(super) const ID: &str = "id";
    pub(super) const CUSTOMER: &str = "customer";
    pub(super) const DELETED: &str = "deleted";
    pub(super) const DATA: &str = "data";
}

/// What became of a guarded write.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrote {
    /// The row is stored.
    Written,
    /// The guard did not hold: this is stored.
    Refused(Box<StoredRow>),
    /// The guard did not hold, and the row was gone when it was asked for.
    RefusedByNone,
}

impl Store {
    /// Writes a row if what is stored is still as the guard says.
    ///
    /// Attributes that this version does not know are left as they are.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether the row was written.
    pub async fn write_row(&self, change: &Change, guard: Guard) -> Result<Wrote, StoreError> {
        const OPERATION: &str = "write a row";
        let request = guarded(self.update(&keys::row(&change.key)), change, guard);
        match assign(request, change).send().await {
            Ok(answer) => {
                self.count_write(answer.consumed_capacity());
                Ok(Wrote::Written)
            }
            Err(error) => {
                self.count_write(None);
                let refusal = error.as_service_error().and_then(|error| match error {
                    aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(refused) => Some(refused),
                    _ => None,
                });
                let Some(refusal) = refusal else {
                    return Err(StoreError::new(OPERATION, &error));
                };
                match refusal.item() {
                    Some(item) => Ok(Wrote::Refused(Box::new(read(OPERATION, item)?))),
                    None => Ok(Wrote::RefusedByNone),
                }
            }
        }
    }

    /// Reads one row, strongly consistent.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer, or the row is of a newer format.
    pub async fn read_row(&self, key: &RowKey) -> Result<Option<StoredRow>, StoreError> {
        const OPERATION: &str = "read a row";
        let keys::Key { pk, sk } = keys::row(key);
        let request = self
            .client
            .get_item()
            .table_name(&self.tables.billing)
            .key(PK, AttributeValue::S(pk))
            .key(SK, AttributeValue::S(sk))
            .consistent_read(true)
            .set_return_consumed_capacity(self.capacity());
        let answer = request
            .send()
            .await
            .map_err(|error| StoreError::new(OPERATION, &error))?;
        self.count_read(answer.consumed_capacity());
        answer.item().map(|item| read(OPERATION, item)).transpose()
    }

    /// Leaves a note with a parent, so that whoever learns the parent's customer finds the child. Writing it
    /// again changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether the note was written.
    pub async fn note_child(&self, parent: &RowKey, child: &RowKey) -> Result<(), StoreError> {
        let keys::Key { pk, sk } = keys::child(parent, child);
        let request = self
            .client
            .put_item()
            .table_name(&self.tables.billing)
            .item(PK, AttributeValue::S(pk))
            .item(SK, AttributeValue::S(sk))
            .item(names::FORMAT, AttributeValue::N(FORMAT.to_string()))
            .item(names::ID, AttributeValue::S(child.id.clone()))
            .item("kind", AttributeValue::S(child.kind.name().to_owned()))
            .set_return_consumed_capacity(self.capacity());
        let answer = request.send().await;
        let answer = answer.map_err(|error| StoreError::new("note a child", &error))?;
        self.count_write(answer.consumed_capacity());
        Ok(())
    }

    /// The children that left a note with this parent, strongly consistent.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer.
    pub async fn children(&self, parent: &RowKey) -> Result<Vec<RowKey>, StoreError> {
        let pk = keys::row(parent).pk;
        let items = self.query("find children", None, &pk, CHILD).await?;
        let child = |item: &Item| {
            let kind = text(item, "kind").as_deref().and_then(Kind::from_name)?;
            let id = text(item, names::ID)?;
            Some(RowKey {
                scope: parent.scope.clone(),
                kind,
                id,
                owner: None,
            })
        };
        Ok(items.iter().filter_map(child).collect())
    }

    /// Notes on a linked object's row that it belongs to a customer, unless a customer is known already.
    /// Without a row there is nothing to note: the row's own writer looks for its parents afterwards.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether it was written.
    pub async fn link(&self, key: &RowKey, customer: &str) -> Result<(), StoreError> {
        // row_exists: there is a row; not_linked: no customer is known yet.
        let condition = "attribute_exists(#pk) AND attribute_not_exists(#cpk)";
        let request = self
            .update(&keys::row(key))
            .condition_expression(condition)
            .update_expression("SET #customer = :customer, #cpk = :cpk, #csk = :csk ADD #rev :one")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#rev", names::REV)
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        match belongs_to(request, key, customer).send().await {
            Ok(answer) => self.count_write(answer.consumed_capacity()),
            Err(error) => {
                self.count_write(None);
                let refused = error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception());
                if !refused {
                    return Err(StoreError::new("link a row", &error));
                }
            }
        }
        Ok(())
    }

    /// Every row of a customer: the owned objects by a strongly consistent Query, the linked ones by one on
    /// the index, which follows the table within moments. Together they are no snapshot of one moment.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer.
    pub async fn customer_rows(
        &self,
        scope: &Scope,
        customer: &str,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        const OPERATION: &str = "read a customer";
        let pk = keys::customer_partition(scope, customer);
        let owned = self.query(OPERATION, None, &pk, "").await?;
        let linked = self.query(OPERATION, Some(BY_CUSTOMER), &pk, "").await?;
        let mut rows = Vec::with_capacity(owned.len() + linked.len());
        for item in owned.iter().chain(&linked) {
            let sort_key = if item.contains_key(CSK) { CSK } else { SK };
            let Some(kind) = kind_of(item, sort_key) else {
                continue;
            };
            let id = text(item, names::ID);
            let id = id.ok_or_else(|| StoreError::unreadable(OPERATION, names::ID))?;
            rows.push(CustomerRow {
                kind,
                id,
                stored: read(OPERATION, item)?,
            });
        }
        Ok(rows)
    }

    /// A customer's whole state as JSON, as `GET /customers/{id}` shows it; none if nothing is known of the
    /// customer. `now` is in Unix seconds. See [`Store::customer_rows`] for how consistent it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer.
    pub async fn customer_state(
        &self,
        scope: &Scope,
        customer: &str,
        now: i64,
        policy: Policy,
    ) -> Result<Option<Value>, StoreError> {
        let rows = self.customer_rows(scope, customer).await?;
        Ok(state::customer_state(scope, customer, &rows, now, policy))
    }

    /// All items of a partition whose sort key starts with `prefix`: of the table strongly consistent, of an
    /// index as it is.
    async fn query(
        &self,
        operation: &'static str,
        index: Option<&str>,
        pk: &str,
        prefix: &str,
    ) -> Result<Vec<Item>, StoreError> {
        let (pk_name, sk_name) = if index.is_some() {
            (CPK, CSK)
        } else {
            (PK, SK)
        };
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let mut request = self
                .client
                .query()
                .table_name(&self.tables.billing)
                .set_index_name(index.map(str::to_owned))
                .expression_attribute_names("#pk", pk_name)
                .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
                .consistent_read(index.is_none())
                .set_exclusive_start_key(start)
                .set_return_consumed_capacity(self.capacity());
            request = if prefix.is_empty() {
                request.key_condition_expression("#pk = :pk")
            } else {
                request
                    .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
                    .expression_attribute_names("#sk", sk_name)
                    .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            };
            let answer = request.send().await;
            let answer = answer.map_err(|error| StoreError::new(operation, &error))?;
            self.count_read(answer.consumed_capacity());
            items.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    fn update(&self, key: &keys::Key) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.tables.billing)
            .key(PK, AttributeValue::S(key.pk.clone()))
            .key(SK, AttributeValue::S(key.sk.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.capacity())
    }

    pub(crate) fn count_write(&self, capacity: Option<&aws_sdk_dynamodb::types::ConsumedCapacity>) {
        if let Some(meter) = &self.meter {
            meter.wrote(capacity);
        }
    }

    pub(crate) fn count_read(&self, capacity: Option<&aws_sdk_dynamodb::types::ConsumedCapacity>) {
        if let Some(meter) = &self.meter {
            meter.read(capacity);
        }
    }
}

/// Adds the condition of a row write.
fn guarded(
    request: UpdateItemFluentBuilder,
    change: &Change,
    guard: Guard,
) -> UpdateItemFluentBuilder {
    match guard {
        Guard::AbsentOrOlder => {
            // absent: this is the object's first row; older: the stored second is strictly older, and
            // readable: its format is not newer than ours.
            let condition = "attribute_not_exists(#pk) OR (#at < :at AND #f <= :f)";
            let _ = change;
            request
                .condition_expression(condition)
                .expression_attribute_names("#pk", PK)
        }
        Guard::Rev(rev) => {
            // unchanged: nobody wrote since the row was read.
            request
                .condition_expression("#rev = :seen")
                .expression_attribute_values(":seen", AttributeValue::N(rev.to_string()))
        }
    }
}

/// Adds what a row write sets.
fn assign(request: UpdateItemFluentBuilder, change: &Change) -> UpdateItemFluentBuilder {
    let Change { key, row, customer } = change;
    let mut set = "SET #f = :f, #at = :at, #event = :event, #rank = :rank, #id = :id, \
                   #data = :data, #deleted = :deleted, #rev = if_not_exists(#rev, :zero) + :one"
        .to_owned();
    let linked = customer.as_deref().filter(|_| key.owner.is_none());
    if linked.is_some() {
        set.push_str(", #customer = :customer, #cpk = :cpk, #csk = :csk");
    }
    let values = [
        ("f", names::FORMAT, AttributeValue::N(FORMAT.to_string())),
        ("at", names::AT, AttributeValue::N(row.second.to_string())),
        ("event", names::EVENT, AttributeValue::S(row.event.clone())),
        ("rank", names::RANK, AttributeValue::S(row.rank.encode())),
        ("id", names::ID, AttributeValue::S(key.id.clone())),
        ("data", names::DATA, attributes::from_map(&row.extract)),
        ("deleted", names::DELETED, AttributeValue::Bool(row.deleted)),
    ];
    let request = values
        .into_iter()
        .fold(request, |request, (place, name, value)| {
            request
                .expression_attribute_names(format!("#{place}"), name)
                .expression_attribute_values(format!(":{place}"), value)
        });
    let request = request
        .update_expression(set)
        .expression_attribute_names("#rev", names::REV)
        .expression_attribute_values(":zero", AttributeValue::N("0".to_owned()))
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    match linked {
        Some(customer) => belongs_to(request, key, customer),
        None => request,
    }
}

/// Fills in the customer of a linked object and its keys in the index.
fn belongs_to(
    request: UpdateItemFluentBuilder,
    key: &RowKey,
    customer: &str,
) -> UpdateItemFluentBuilder {
    let cpk = keys::customer_partition(&key.scope, customer);
    let csk = keys::object(key.kind, &key.id);
    request
        .expression_attribute_names("#customer", names::CUSTOMER)
        .expression_attribute_names("#cpk", CPK)
        .expression_attribute_names("#csk", CSK)
        .expression_attribute_values(":customer", AttributeValue::S(customer.to_owned()))
        .expression_attribute_values(":cpk", AttributeValue::S(cpk))
        .expression_attribute_values(":csk", AttributeValue::S(csk))
}

/// Reads a row from its item.
fn read(operation: &'static str, item: &Item) -> Result<StoredRow, StoreError> {
    let missing = |name| StoreError::unreadable(operation, name);
    let format: u32 = number(item, names::FORMAT).ok_or_else(|| missing(names::FORMAT))?;
    if format > FORMAT {
        return Err(StoreError {
            operation,
            kind: StoreErrorKind::NewerFormat,
        });
    }
    let rank = text(item, names::RANK).and_then(|rank| billhook_core::order::Rank::decode(&rank));
    let data = item.get(names::DATA).and_then(|data| data.as_m().ok());
    Ok(StoredRow {
        row: Row {
            second: number(item, names::AT).ok_or_else(|| missing(names::AT))?,
            event: text(item, names::EVENT).ok_or_else(|| missing(names::EVENT))?,
            rank: rank.ok_or_else(|| missing(names::RANK))?,
            deleted: flag(item, names::DELETED),
            extract: attributes::to_map(data.ok_or_else(|| missing(names::DATA))?),
        },
        rev: number(item, names::REV).ok_or_else(|| missing(names::REV))?,
        customer: text(item, names::CUSTOMER),
    })
}

/// The kind of object in a sort key of the form `<kind>#<id>`.
fn kind_of(item: &Item, sort_key: &str) -> Option<Kind> {
    let sort_key = text(item, sort_key)?;
    Kind::from_name(sort_key.split('#').next()?)
}
