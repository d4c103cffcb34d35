//! Rows of the billing table: the guarded write, and the reads.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use billhook_core::access::Policy;
use billhook_core::decide::{Guard, Write};
use billhook_core::objects::Kind;
use billhook_core::order::{self, Base, First, Kept, LastFinal, States, Ties};
use billhook_core::row::{FORMAT, RowKey, StoredRow};
use billhook_core::scope::{Mode, Scope, Source};
use billhook_core::state::{self, CustomerRow};
use serde_json::Value;

use crate::Store;
use crate::attributes::{self, Item, number, text};
use crate::error::{StoreError, check_format};
use crate::keys::{self, BY_CUSTOMER, CHILD, CPK, CSK, OPEN, PK, SK};
use crate::update::Update;

/// The attributes of a row, beside its keys.
///
/// | name | holds |
/// |---|---|
/// | `f` | the format number |
/// | `rev` | raised by one with every write |
/// | `data` | the object's state; with `deleted`: true it is a tombstone |
/// | `at` | the newest second that is known of, in Unix time |
/// | `ties` | what is known of that second ([`billhook_core::order`]) |
/// | `others` | the states that the row keeps beside the one it shows, if there are any: a text for the order alone |
/// | `needs_refetch` | true if only a look at the object itself can tell its state |
/// | `open` | then the partition of the index on such rows as well |
/// | `base_at`, `base_ties` | the newest second before, and what is known of it |
/// | `floor` | the newest second that ends what was final before it |
/// | `final_at` | the second of the newest final state that the row keeps, while it keeps one |
/// | `final_ties` | what is known of final states in that second, if it is older than `at` |
/// | `first_payment_failed_at` | the least second of an event that tells so |
/// | `id` | the object's id |
/// | `customer` | the customer of a linked object, if it is known |
/// | `linked` | true if the object does not name that customer and was linked to it through its parents |
///
/// A note that says whose an owned object is has `f`, `id` and `customer` of these. A note of a child that waits
/// has `f` and `id`, its `kind`, and `linked`: true once it need not wait any more.
pub(crate) mod names {
    pub(crate) const FORMAT: &str = "f";
    pub(crate) const REV: &str = "rev";
    pub(crate) const DATA: &str = "data";
    pub(crate) const AT: &str = "at";
    pub(crate) const TIES: &str = "ties";
    pub(crate) const OTHERS: &str = "others";
    pub(crate) const NEEDS_REFETCH: &str = "needs_refetch";
    pub(crate) const BASE_AT: &str = "base_at";
    pub(crate) const BASE_TIES: &str = "base_ties";
    pub(crate) const FLOOR: &str = "floor";
    pub(crate) const FINAL_AT: &str = "final_at";
    pub(crate) const FINAL_TIES: &str = "final_ties";
    pub(crate) const ID: &str = "id";
    pub(crate) const CUSTOMER: &str = "customer";
    pub(crate) const KIND: &str = "kind";
    pub(crate) const LINKED: &str = "linked";
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

/// What became of linking a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It is linked.
    Written,
    /// Somebody wrote the row since it was read.
    Refused,
}

impl Store {
    /// Writes a row if what is stored is still as the guard says. A linked object belongs to the customer that it names;
    /// one that names none, to the one that it is linked to, if any.
    ///
    /// Attributes that this version does not know are left as they are.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether the row was written.
    pub async fn write_row(
        &self,
        key: &RowKey,
        link: Option<&str>,
        write: &Write,
    ) -> Result<Wrote, StoreError> {
        const OPERATION: &str = "write a row";
        let request = self.update(&keys::row(key));
        match row_write(request, key, link, write).send().await {
            Ok(answer) => {
                self.count_write(answer.consumed_capacity());
                Ok(Wrote::Written)
            }
            Err(error) => {
                self.count_write(None);
                let Some(UpdateItemError::ConditionalCheckFailedException(refusal)) =
                    error.as_service_error()
                else {
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
        let item = self.get(OPERATION, keys::row(key)).await?;
        item.map(|item| read(OPERATION, &item)).transpose()
    }

    /// The customer that an object is known to belong to, strongly consistent, asked for without knowing it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer, or the item is of a newer format.
    pub async fn customer_of(&self, key: &RowKey) -> Result<Option<String>, StoreError> {
        const OPERATION: &str = "find a customer";
        let Some(item) = self.get(OPERATION, keys::whose(key)).await? else {
            return Ok(None);
        };
        check_format(OPERATION, Some(&item))?;
        Ok(text(&item, names::CUSTOMER))
    }

    /// Notes beside an owned object whose it is, for those that name it and not its customer. Writing it again
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether the note was written.
    pub async fn note_owner(&self, key: &RowKey, customer: &str) -> Result<(), StoreError> {
        let note = Item::from([
            (names::ID.to_owned(), AttributeValue::S(key.id.clone())),
            (
                names::CUSTOMER.to_owned(),
                AttributeValue::S(customer.to_owned()),
            ),
        ]);
        self.put("note an owner", keys::whose(key), note).await
    }

    /// Leaves a note with a parent, so that whoever learns the parent's customer finds the child. Writing it
    /// again changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether the note was written.
    pub async fn note_child(&self, parent: &RowKey, child: &RowKey) -> Result<(), StoreError> {
        let kind = child.kind.name().to_owned();
        let note = Item::from([
            (names::ID.to_owned(), AttributeValue::S(child.id.clone())),
            (names::KIND.to_owned(), AttributeValue::S(kind)),
        ]);
        self.put("note a child", keys::child(parent, child), note)
            .await
    }

    /// Marks a child's note: the child is linked, so that nobody has to come back to it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether the mark was written.
    pub async fn settle_child(&self, parent: &RowKey, child: &RowKey) -> Result<(), StoreError> {
        let mut update = Update::default();
        update.set(names::LINKED, AttributeValue::Bool(true));
        update.name(PK);
        // note_exists: a note is only ever marked, not made.
        let condition = "attribute_exists(#pk)";
        let request = update.request(self.update(&keys::child(parent, child)), condition);
        let answer = request.send().await;
        let answer = answer.map_err(|error| StoreError::new("settle a child", &error))?;
        self.count_write(answer.consumed_capacity());
        Ok(())
    }

    /// The children that left a note with this parent and are not settled, strongly consistent.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer.
    pub async fn children(&self, parent: &RowKey) -> Result<Vec<RowKey>, StoreError> {
        let pk = keys::own_partition(parent);
        let items = self.query("find children", None, &pk, SortKeys::StartWith(CHILD));
        let items = items.await?;
        let child = |item: &Item| {
            let kind = text(item, names::KIND)
                .as_deref()
                .and_then(Kind::from_name)?;
            let id = text(item, names::ID)?;
            Some(RowKey {
                scope: parent.scope.clone(),
                kind,
                id,
                owner: None,
            })
        };
        let waiting = items
            .iter()
            .filter(|item| !item.contains_key(names::LINKED));
        Ok(waiting.filter_map(child).collect())
    }

    /// Links a row to the customer that its object's parents know, or to none, if nobody wrote it since it was read.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether it was written.
    pub async fn link(
        &self,
        key: &RowKey,
        rev: u64,
        customer: Option<&str>,
    ) -> Result<Linked, StoreError> {
        const OPERATION: &str = "link a row";
        let mut update = Update::default();
        belongs_to(&mut update, key, customer);
        let linked = customer.map(|_| AttributeValue::Bool(true));
        update.set_or_remove(names::LINKED, linked);
        raise_rev(&mut update);
        update.value("seen", number_value(rev));
        // unchanged: nobody wrote since the row was read.
        let request = update.request(self.update(&keys::row(key)), "#rev = :seen");
        match request.send().await {
            Ok(answer) => {
                self.count_write(answer.consumed_capacity());
                Ok(Linked::Written)
            }
            Err(error) => {
                self.count_write(None);
                match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => {
                        Ok(Linked::Refused)
                    }
                    _ => Err(StoreError::new(OPERATION, &error)),
                }
            }
        }
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
        let owned = self.query(OPERATION, None, &pk, SortKeys::All).await?;
        let linked = self.query(OPERATION, Some(BY_CUSTOMER), &pk, SortKeys::All);
        let linked = linked.await?;
        let rows = owned.iter().chain(&linked);
        rows.filter_map(|item| customer_row(OPERATION, item).transpose())
            .collect()
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

    /// The oldest rows of a source and mode, at most so many, that need a refetch and whose second is before `before` (Unix
    /// seconds); none in place of one whose key does not tell what it is of.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer.
    pub async fn open_rows(
        &self,
        source: Source,
        mode: Mode,
        before: i64,
        count_max: usize,
    ) -> Result<Vec<Option<RowKey>>, StoreError> {
        const OPERATION: &str = "find open rows";
        let partition = keys::open_partition(source, mode);
        let request = self
            .client
            .query()
            .table_name(&self.tables.billing)
            .index_name(OPEN)
            .key_condition_expression("#open = :open AND #at < :before")
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_names("#at", names::AT)
            .expression_attribute_values(":open", AttributeValue::S(partition))
            .expression_attribute_values(":before", number_value(before))
            .limit(i32::try_from(count_max).unwrap_or(i32::MAX))
            .set_return_consumed_capacity(self.capacity());
        let answer = request.send().await;
        let answer = answer.map_err(|error| StoreError::new(OPERATION, &error))?;
        self.count_read(answer.consumed_capacity());
        let key = |item: &Item| {
            keys::read_row(&keys::Key {
                pk: text(item, PK)?,
                sk: text(item, SK)?,
            })
        };
        Ok(answer.items().iter().map(key).collect())
    }

    async fn get(
        &self,
        operation: &'static str,
        key: keys::Key,
    ) -> Result<Option<Item>, StoreError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.tables.billing)
            .key(PK, AttributeValue::S(key.pk))
            .key(SK, AttributeValue::S(key.sk))
            .consistent_read(true)
            .set_return_consumed_capacity(self.capacity());
        let answer = request.send().await;
        let answer = answer.map_err(|error| StoreError::new(operation, &error))?;
        self.count_read(answer.consumed_capacity());
        Ok(answer.item)
    }

    /// Puts a note, whatever was there.
    async fn put(
        &self,
        operation: &'static str,
        key: keys::Key,
        note: Item,
    ) -> Result<(), StoreError> {
        let request = self
            .client
            .put_item()
            .table_name(&self.tables.billing)
            .set_item(Some(note))
            .item(PK, AttributeValue::S(key.pk))
            .item(SK, AttributeValue::S(key.sk))
            .item(names::FORMAT, number_value(FORMAT))
            .set_return_consumed_capacity(self.capacity());
        let answer = request.send().await;
        let answer = answer.map_err(|error| StoreError::new(operation, &error))?;
        self.count_write(answer.consumed_capacity());
        Ok(())
    }

    /// All items of a partition with such sort keys: of the table strongly consistent, of an index as it is.
    pub(crate) async fn query(
        &self,
        operation: &'static str,
        index: Option<&str>,
        pk: &str,
        sort_keys: SortKeys<'_>,
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
            request = match sort_keys {
                SortKeys::All => request.key_condition_expression("#pk = :pk"),
                SortKeys::StartWith(prefix) => request
                    .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
                    .expression_attribute_names("#sk", sk_name)
                    .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned())),
                SortKeys::Between(first, last) => request
                    .key_condition_expression("#pk = :pk AND #sk BETWEEN :first AND :last")
                    .expression_attribute_names("#sk", sk_name)
                    .expression_attribute_values(":first", AttributeValue::S(first.to_owned()))
                    .expression_attribute_values(":last", AttributeValue::S(last.to_owned())),
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

    pub(crate) fn update(&self, key: &keys::Key) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.tables.billing)
            .key(PK, AttributeValue::S(key.pk.clone()))
            .key(SK, AttributeValue::S(key.sk.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.capacity())
    }

    pub(crate) fn count_write(&self, capacity: Option<&ConsumedCapacity>) {
        if let Some(meter) = &self.meter {
            meter.wrote(capacity);
        }
    }

    pub(crate) fn count_read(&self, capacity: Option<&ConsumedCapacity>) {
        if let Some(meter) = &self.meter {
            meter.read(capacity);
        }
    }
}

/// Which items of a partition are meant.
#[derive(Clone, Copy)]
pub(crate) enum SortKeys<'a> {
    All,
    StartWith(&'a str),
    Between(&'a str, &'a str),
}

/// Completes the request for a row write: its condition, and what it sets.
fn row_write(
    request: UpdateItemFluentBuilder,
    key: &RowKey,
    link: Option<&str>,
    write: &Write,
) -> UpdateItemFluentBuilder {
    let Write { row, guard, .. } = write;
    let shown = row.shown().kept;
    let mut update = Update::default();
    update.set(names::FORMAT, number_value(FORMAT));
    update.set(names::ID, AttributeValue::S(key.id.clone()));
    update.set(names::DATA, attributes::from_json(&shown.extract));
    update.set(names::AT, number_value(row.second));
    update.set(names::TIES, AttributeValue::S(row.ties.to_string()));
    let needs_refetch = write.needs_refetch.then_some(AttributeValue::Bool(true));
    update.set_or_remove(names::NEEDS_REFETCH, needs_refetch);
    let open = keys::open_partition(key.scope.source, key.scope.mode);
    let open = write.needs_refetch.then_some(AttributeValue::S(open));
    update.set_or_remove(OPEN, open);
    raise_rev(&mut update);
    if key.owner.is_none() {
        let named = shown.customer.as_deref();
        belongs_to(&mut update, key, named.or(link));
        let linked = named.is_none() && link.is_some();
        update.set_or_remove(names::LINKED, linked.then_some(AttributeValue::Bool(true)));
    }
    update.set_or_remove(names::OTHERS, row.others().map(AttributeValue::S));
    update.set_or_remove(names::FINAL_AT, row.final_second().map(number_value));
    let final_ties = row.last_final.as_ref().map(|last| last.ties.to_string());
    update.set_or_remove(names::FINAL_TIES, final_ties.map(AttributeValue::S));
    match guard {
        Guard::AbsentOrOlder { over_final } => {
            // What is known of the second that is replaced becomes the base, unread.
            update.value("none", AttributeValue::S(String::new()));
            update.assign(names::BASE_AT, "if_not_exists(#at, :zero)");
            update.assign(names::BASE_TIES, "if_not_exists(#ties, :none)");
            // What stands beside the snapshot stays, unless this is the first that is known, or the newest.
            if let Some(floor) = row.floor {
                update.set(names::FLOOR, number_value(floor));
            }
            for (first, second) in &row.firsts {
                let name = first.name();
                update.value(name, number_value(second));
                update.assign(name, &format!("if_not_exists(#{name}, :{name})"));
            }
            // absent: this is the object's first row; older: the stored second is strictly older; readable: its format
            // is not newer than ours; no final: the row keeps no final state, which is not undone unread.
            update.name(PK);
            let condition = match over_final {
                true => "attribute_not_exists(#pk) OR (#at < :at AND #f <= :f)",
                false => {
                    "attribute_not_exists(#pk) OR (#at < :at AND #f <= :f AND attribute_not_exists(#final_at))"
                }
            };
            update.request(request, condition)
        }
        Guard::Rev(rev) => {
            update.set(names::BASE_AT, number_value(row.base.second));
            update.set(
                names::BASE_TIES,
                AttributeValue::S(row.base.ties.to_string()),
            );
            update.set_or_remove(names::FLOOR, row.floor.map(number_value));
            for (first, second) in &row.firsts {
                update.set(first.name(), number_value(second));
            }
            // unchanged: nobody wrote since the row was read.
            update.value("seen", number_value(*rev));
            update.request(request, "#rev = :seen")
        }
    }
}

fn raise_rev(update: &mut Update) {
    update.value("zero", number_value(0));
    update.value("one", number_value(1));
    update.assign(names::REV, "if_not_exists(#rev, :zero) + :one");
}

pub(crate) fn number_value(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Sets the customer of a linked object and its keys in the index, or removes them.
fn belongs_to(update: &mut Update, key: &RowKey, customer: Option<&str>) {
    let text = |text: String| AttributeValue::S(text);
    let partition = customer.map(|customer| keys::customer_partition(&key.scope, customer));
    let object = customer.map(|_| keys::object(key.kind, &key.id));
    let customer = customer.map(str::to_owned);
    update.set_or_remove(names::CUSTOMER, customer.map(text));
    update.set_or_remove(CPK, partition.map(text));
    update.set_or_remove(CSK, object.map(text));
}

/// Reads a row of a customer's, of the table or of the index; none where the item is no row.
pub(crate) fn customer_row(
    operation: &'static str,
    item: &Item,
) -> Result<Option<CustomerRow>, StoreError> {
    let sort_key = if item.contains_key(CSK) { CSK } else { SK };
    let Some(kind) = text(item, sort_key).as_deref().and_then(keys::kind_of) else {
        return Ok(None);
    };
    let id = text(item, names::ID).ok_or_else(|| StoreError::unreadable(operation, names::ID))?;
    let stored = read(operation, item)?;
    Ok(Some(CustomerRow { kind, id, stored }))
}

/// Reads a row from its item.
fn read(operation: &'static str, item: &Item) -> Result<StoredRow, StoreError> {
    let unreadable = |name| StoreError::unreadable(operation, name);
    check_format(operation, Some(item))?;
    let ties = |name| {
        let ties = text(item, name).and_then(|ties| ties.parse::<Ties>().ok());
        ties.ok_or_else(|| unreadable(name))
    };
    let second = |name| number(item, name).ok_or_else(|| unreadable(name));
    let last_final = item.contains_key(names::FINAL_TIES).then(|| {
        Ok::<_, StoreError>(LastFinal {
            second: second(names::FINAL_AT)?,
            ties: ties(names::FINAL_TIES)?,
            states: States::default(),
        })
    });
    let firsts = First::ALL.into_iter();
    let firsts = firsts.filter_map(|first| Some((first, number(item, first.name())?)));
    let row = order::Row {
        second: second(names::AT)?,
        ties: ties(names::TIES)?,
        base: Base {
            second: second(names::BASE_AT)?,
            ties: ties(names::BASE_TIES)?,
        },
        floor: number(item, names::FLOOR),
        last_final: last_final.transpose()?,
        firsts: firsts.collect(),
        ..order::Row::default()
    };
    let customer = text(item, names::CUSTOMER);
    let is_linked = item.contains_key(names::LINKED);
    let data = item
        .get(names::DATA)
        .ok_or_else(|| unreadable(names::DATA))?;
    let shown = Kept {
        extract: attributes::to_json(data),
        customer: customer.clone().filter(|_| !is_linked),
    };
    let others = text(item, names::OTHERS);
    let row = row
        .complete(shown, others.as_deref())
        .map_err(|_| unreadable(names::OTHERS))?;
    let rev = number(item, names::REV).ok_or_else(|| unreadable(names::REV))?;
    Ok(StoredRow {
        row,
        rev,
        link: customer.filter(|_| is_linked),
    })
}
