//! What was noted of a customer's access, and the look at the rows that it has to agree with.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use billhook_core::access::Access;
use billhook_core::announce::Noted;
use billhook_core::objects::Kind;
use billhook_core::row::FORMAT;
use billhook_core::state::CustomerRow;

use crate::Store;
use crate::attributes::{Item, number, text};
use crate::error::{StoreError, check_format};
use crate::keys::{ACCESS, BY_CUSTOMER, CPK, CSK, CustomerPartition, Key, PK, ROW, SK};
use crate::rows::{SortKeys, customer_row, names, number_value};
use crate::update::Update;

/// Its attributes, beside the keys and those that every row has too: `f`, `rev` and `customer`.
const GRANTED: &str = "granted";
const REASON: &str = "reason";
const UNTIL: &str = "until";
const SUBSCRIPTION: &str = "subscription";
const CHANGED_AT: &str = "changed_at";

/// The linked rows that access rests on lie between these pairs in the index: charges, checkout sessions, disputes and
/// Bear Billing's invoices; and refunds. Payments and records of usage, of which there can be thousands, lie beside them.
const LINKED: [(&str, &str); 2] = [("charge#", "invoice$"), ("refund#", "refund$")];

/// A linked row as a change of it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedRow {
    /// Its own partition.
    pub pk: String,
    /// Its sort key in the index.
    pub csk: String,
    /// The partition of its customer; empty if it has none.
    pub cpk: String,
    /// Its `rev`.
    pub rev: u64,
}

/// What is stored of a customer, as far as access rests on it.
#[derive(Clone, Debug)]
pub struct CustomerView {
    /// The customer's id; its token where that is no plain id and no row tells it.
    pub customer: String,
    /// The rows.
    pub rows: Vec<CustomerRow>,
    /// What was noted of the customer's access.
    pub noted: Option<Noted>,
    /// Whether the index does not show yet what is known to be written.
    pub index_is_behind: bool,
}

impl Store {
    /// Looks at what a customer's access rests on. Of `linked`, rows that are known to be written, the view shows
    /// what is stored, also where the index does not yet.
    ///
    /// The index is read first and the table after it, strongly consistent: so whatever the index showed by then was
    /// there when the note was read.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store did not answer, or an item is of a newer format.
    pub async fn view_customer(
        &self,
        partition: &CustomerPartition,
        linked: &[LinkedRow],
    ) -> Result<CustomerView, StoreError> {
        const OPERATION: &str = "look at a customer";
        let pk = &partition.pk;
        let mut items = Vec::new();
        for (first, last) in LINKED {
            let range = SortKeys::Between(first, last);
            items.extend(self.query(OPERATION, Some(BY_CUSTOMER), pk, range).await?);
        }
        let mut index_is_behind = false;
        for row in linked {
            index_is_behind |= self.catch_up(OPERATION, pk, row, &mut items).await?;
        }
        items.extend(self.query(OPERATION, None, pk, SortKeys::All).await?);
        let noted = items
            .iter()
            .find(|item| text(item, SK).as_deref() == Some(ACCESS));
        let noted = noted.map(|item| read(OPERATION, item)).transpose()?;
        let rows = items
            .iter()
            .filter_map(|item| customer_row(OPERATION, item).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let named = rows.iter().find_map(|row| match row.kind {
            Kind::Customer => Some(row.id.clone()),
            _ => row.stored.customer().map(str::to_owned),
        });
        Ok(CustomerView {
            customer: named.unwrap_or_else(|| partition.customer.clone()),
            rows,
            noted,
            index_is_behind,
        })
    }

    /// Where the index does not show a row as it was seen, takes the row itself. True where the index is behind it.
    async fn catch_up(
        &self,
        operation: &'static str,
        pk: &str,
        row: &LinkedRow,
        items: &mut Vec<Item>,
    ) -> Result<bool, StoreError> {
        let shown = items
            .iter()
            .position(|item| text(item, CSK).as_deref() == Some(row.csk.as_str()));
        let shown_rev = shown.and_then(|at| number::<u64>(&items[at], names::REV));
        let up_to_date = match shown_rev {
            Some(rev) => rev >= row.rev,
            None => row.cpk != pk,
        };
        if up_to_date {
            return Ok(false);
        }
        let own = self.query(operation, None, &row.pk, SortKeys::StartWith(ROW));
        let own = own.await?;
        let of_customer = |item: &Item| {
            text(item, CPK).as_deref() == Some(pk)
                && text(item, CSK).as_deref() == Some(row.csk.as_str())
        };
        if let Some(at) = shown {
            items.swap_remove(at);
        }
        let found = own.into_iter().find(of_customer);
        let behind = shown.is_some() || found.is_some();
        items.extend(found);
        Ok(behind)
    }

    /// Notes a customer's access, if what is noted is still what it follows by its `rev`: nothing, or the one before.
    /// False where it is not.
    ///
    /// Attributes that this version does not know are left as they are.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it is not known whether it was noted.
    pub async fn note_access(
        &self,
        partition: &CustomerPartition,
        noted: &Noted,
    ) -> Result<bool, StoreError> {
        let Access {
            granted,
            reason,
            until,
            subscription,
        } = &noted.access;
        let mut update = Update::default();
        update.set(names::FORMAT, number_value(FORMAT));
        update.set(names::REV, number_value(noted.rev));
        update.set(names::CUSTOMER, AttributeValue::S(noted.customer.clone()));
        update.set(GRANTED, AttributeValue::Bool(*granted));
        update.set(REASON, AttributeValue::S(reason.clone()));
        update.set_or_remove(UNTIL, until.map(number_value));
        update.set_or_remove(SUBSCRIPTION, subscription.clone().map(AttributeValue::S));
        update.set(CHANGED_AT, number_value(noted.changed_at));
        let condition = match noted.rev.checked_sub(1) {
            // absent: nothing was noted before.
            None | Some(0) => {
                update.name(PK);
                "attribute_not_exists(#pk)"
            }
            // unchanged: nobody noted anything since it was read.
            Some(seen) => {
                update.value("seen", number_value(seen));
                "#rev = :seen"
            }
        };
        let key = Key {
            pk: partition.pk.clone(),
            sk: ACCESS.to_owned(),
        };
        let answer = update.request(self.update(&key), condition).send().await;
        match answer {
            Ok(answer) => {
                self.count_write(answer.consumed_capacity());
                Ok(true)
            }
            Err(error) => {
                self.count_write(None);
                match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                    _ => Err(StoreError::new("note access", &error)),
                }
            }
        }
    }
}

/// Reads what was noted from its item.
pub(crate) fn read(operation: &'static str, item: &Item) -> Result<Noted, StoreError> {
    check_format(operation, Some(item))?;
    let unreadable = |name| StoreError::unreadable(operation, name);
    let granted = item.get(GRANTED).and_then(|flag| flag.as_bool().ok());
    let access = Access {
        granted: *granted.ok_or_else(|| unreadable(GRANTED))?,
        reason: text(item, REASON).ok_or_else(|| unreadable(REASON))?,
        until: number(item, UNTIL),
        subscription: text(item, SUBSCRIPTION),
    };
    Ok(Noted {
        customer: text(item, names::CUSTOMER).ok_or_else(|| unreadable(names::CUSTOMER))?,
        access,
        rev: number(item, names::REV).ok_or_else(|| unreadable(names::REV))?,
        changed_at: number(item, CHANGED_AT).ok_or_else(|| unreadable(CHANGED_AT))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::object;

    #[test]
    fn the_ranges_hold_the_linked_kinds_that_access_rests_on_and_no_other() {
        for kind in Kind::ALL {
            let key = object(kind, "id_1");
            let mut ranges = LINKED.iter();
            let within = ranges.any(|(first, last)| (*first..=*last).contains(&key.as_str()));
            let wanted = match kind {
                Kind::Charge
                | Kind::CheckoutSession
                | Kind::Dispute
                | Kind::Invoice
                | Kind::Refund => true,
                // These are owned by every source: they are never in the index.
                Kind::CreditNote | Kind::Customer | Kind::EntitlementSummary => true,
                Kind::InvoicePayment | Kind::PaymentIntent | Kind::Subscription | Kind::Usage => {
                    false
                }
            };
            assert_eq!(within, wanted, "{key}");
        }
    }
}
