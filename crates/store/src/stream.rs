//! The billing table's stream as Lambda hands it over, and what its records mean for a customer's access
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>).
//!
//! A record shows an item before and after a change, in DynamoDB's JSON. Only what tells changes apart is read of
//! them: what the state is now is asked of the table, since a record may be old when it comes.

use billhook_core::announce::Noted;
use billhook_core::objects::Kind;
use billhook_core::order::First;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::access::{self, LinkedRow};
use crate::attributes::{Item, from_image, number, text};
use crate::error::StoreError;
use crate::keys::{ACCESS, CPK, CSK, CustomerPartition, PK, SK, kind_of};
use crate::rows::names;

/// Records of one shard, in their order.
#[derive(Debug, Deserialize)]
pub struct StreamBatch {
    /// The records.
    #[serde(rename = "Records")]
    pub records: Vec<StreamRecord>,
}

/// A change of an item.
#[derive(Debug, Deserialize)]
pub struct StreamRecord {
    dynamodb: Images,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    sequence_number: String,
    new_image: Option<Image>,
    old_image: Option<Image>,
}

type Image = Map<String, Value>;

/// What a record means for a customer's access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemChange {
    /// A row that access rests on is not what it was.
    Row {
        /// Its customer, and the one before where that was another.
        customers: Vec<CustomerPartition>,
        /// The row, where it is found by the index.
        linked: Option<LinkedRow>,
    },
    /// What is noted of a customer's access is not what it was.
    Access {
        /// The customer.
        customer: CustomerPartition,
        /// What was noted before.
        before: Option<Noted>,
        /// What is noted now.
        now: Noted,
    },
    /// Nothing.
    Nothing,
}

impl StreamRecord {
    /// Names the record in the answer to Lambda.
    #[must_use]
    pub fn sequence_number(&self) -> &str {
        &self.dynamodb.sequence_number
    }

    /// Says what the record means.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where what is noted cannot be read or is of a newer format.
    pub fn change(&self) -> Result<ItemChange, StoreError> {
        let Some(new) = &self.dynamodb.new_image else {
            return Ok(ItemChange::Nothing);
        };
        let old = self.dynamodb.old_image.as_ref();
        let item = from_image(new);
        if text(&item, SK).as_deref() == Some(ACCESS) {
            return note_change(&item, old);
        }
        let data = |image: Option<&Image>| image?.get(names::DATA).cloned();
        let before = old.map(from_image).unwrap_or_default();
        let firsts = |item: &Item| First::ALL.map(|first| number::<i64>(item, first.name()));
        let is_alike = data(old) == data(Some(new)) && firsts(&before) == firsts(&item);
        if is_alike && text(&before, CPK) == text(&item, CPK) {
            // Only what is known of its order has changed.
            return Ok(ItemChange::Nothing);
        }
        Ok(row_change(&item, &before))
    }
}

fn note_change(item: &Item, old: Option<&Image>) -> Result<ItemChange, StoreError> {
    const OPERATION: &str = "read a note of access from the stream";
    let Some(customer) = partition(item, PK) else {
        return Ok(ItemChange::Nothing);
    };
    let before = old.map(|old| access::read(OPERATION, &from_image(old)));
    Ok(ItemChange::Access {
        customer,
        before: before.transpose()?,
        now: access::read(OPERATION, item)?,
    })
}

fn row_change(item: &Item, before: &Item) -> ItemChange {
    let kind = |sort_key| text(item, sort_key).as_deref().and_then(kind_of);
    if let Some(Kind::Customer | Kind::Subscription | Kind::Invoice) = kind(SK) {
        return match partition(item, PK) {
            Some(customer) => ItemChange::Row {
                customers: vec![customer],
                linked: None,
            },
            None => ItemChange::Nothing,
        };
    }
    // A row that is nobody's any more was somebody's.
    let csk = text(item, CSK).or_else(|| text(before, CSK));
    let (Some(pk), Some(csk), Some(rev)) = (text(item, PK), csk, number(item, names::REV)) else {
        return ItemChange::Nothing;
    };
    let rests_on_it = matches!(
        kind_of(&csk),
        Some(Kind::Charge | Kind::CheckoutSession | Kind::Dispute | Kind::Invoice | Kind::Refund)
    );
    let mut customers: Vec<_> = partition(before, CPK).into_iter().collect();
    let customer = partition(item, CPK);
    let cpk = customer
        .as_ref()
        .map(|customer| customer.pk.clone())
        .unwrap_or_default();
    customers.extend(customer);
    customers.dedup();
    if customers.is_empty() || !rests_on_it {
        return ItemChange::Nothing;
    }
    ItemChange::Row {
        customers,
        linked: Some(LinkedRow { pk, csk, cpk, rev }),
    }
}

fn partition(item: &Item, key: &str) -> Option<CustomerPartition> {
    CustomerPartition::read(&text(item, key)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CUSTOMER: &str = "stripe#test#-#customer#cus_1";

    fn change(old: Value, new: Value) -> ItemChange {
        let mut images = json!({"SequenceNumber": "100", "OldImage": old, "NewImage": new});
        if let Some(images) = images.as_object_mut() {
            images.retain(|_, image| !image.is_null());
        }
        let batch = json!({"Records": [{"eventName": "MODIFY", "dynamodb": images}]});
        let batch: StreamBatch = serde_json::from_value(batch).expect("a batch");
        assert_eq!(batch.records[0].sequence_number(), "100");
        batch.records[0].change().expect("readable")
    }

    fn owned(sk: &str, status: &str, rev: u32) -> Value {
        json!({"pk": {"S": CUSTOMER}, "sk": {"S": sk}, "rev": {"N": rev.to_string()},
            "data": {"M": {"status": {"S": status}}}})
    }

    fn linked(kind: &str, status: &str, customer: &str) -> Value {
        json!({"pk": {"S": format!("stripe#test#-#{kind}#x_1")}, "sk": {"S": "row"}, "rev": {"N": "2"},
            "cpk": {"S": format!("stripe#test#-#customer#{customer}")},
            "csk": {"S": format!("{kind}#x_1")}, "data": {"M": {"status": {"S": status}}}})
    }

    fn customers(change: &ItemChange) -> Vec<&str> {
        match change {
            ItemChange::Row { customers, .. } => {
                customers.iter().map(|one| one.customer.as_str()).collect()
            }
            ItemChange::Access { .. } | ItemChange::Nothing => Vec::new(),
        }
    }

    #[test]
    fn an_owned_row_concerns_the_customer_of_its_partition() {
        for (sk, concerns) in [
            ("customer#cus_1", true),
            ("subscription#sub_1", true),
            ("invoice#in_1", true),
            ("credit_note#cn_1", false),
            ("entitlements#cus_1", false),
        ] {
            let change = change(Value::Null, owned(sk, "active", 1));
            assert_eq!(customers(&change) == ["cus_1"], concerns, "{sk}");
        }
    }

    #[test]
    fn a_linked_row_concerns_the_customer_it_is_linked_to_and_the_one_before() {
        for (kind, concerns) in [
            ("charge", true),
            ("dispute", true),
            ("checkout_session", true),
            ("invoice", true),
            ("refund", true),
            ("payment_intent", false),
            ("invoice_payment", false),
            ("usage", false),
        ] {
            let change = change(Value::Null, linked(kind, "paid", "cus_1"));
            assert_eq!(customers(&change) == ["cus_1"], concerns, "{kind}");
        }
        // One that is detached concerns the customer whose it was.
        let mut detached = linked("charge", "paid", "cus_1");
        detached["cpk"] = Value::Null;
        detached["csk"] = Value::Null;
        if let Some(attributes) = detached.as_object_mut() {
            attributes.retain(|_, value| !value.is_null());
        }
        let detached = change(linked("charge", "paid", "cus_1"), detached);
        assert_eq!(customers(&detached), ["cus_1"]);
        let moved = change(
            linked("charge", "paid", "cus_1"),
            linked("charge", "paid", "cus_2"),
        );
        assert_eq!(customers(&moved), ["cus_1", "cus_2"]);
        let ItemChange::Row { linked: row, .. } = moved else {
            panic!("a row");
        };
        let row = row.expect("a linked row");
        assert_eq!((row.csk.as_str(), row.rev), ("charge#x_1", 2));
    }

    #[test]
    fn what_happened_for_the_first_time_is_a_change() {
        let invoice = |rev| owned("invoice#in_1", "open", rev);
        let mut failed = invoice(2);
        failed["first_payment_failed_at"] = json!({"N": "1762592005"});
        assert_eq!(customers(&change(invoice(1), failed)), ["cus_1"]);
    }

    #[test]
    fn what_changes_no_state_means_nothing() {
        let change = |old, new| change(old, new);
        let subscription = |rev| owned("subscription#sub_1", "active", rev);
        assert_eq!(
            change(subscription(1), subscription(2)),
            ItemChange::Nothing
        );
        let charge = || linked("charge", "paid", "cus_1");
        assert_eq!(change(charge(), charge()), ItemChange::Nothing);
        assert_eq!(change(charge(), Value::Null), ItemChange::Nothing);
        let note = json!({"pk": {"S": "stripe#test#-#charge#ch_1"}, "sk": {"S": "child#refund#re_1"},
            "id": {"S": "re_1"}});
        assert_eq!(change(Value::Null, note), ItemChange::Nothing);
        // Its first row, not linked yet: the link comes with another record.
        let unlinked = json!({"pk": {"S": "stripe#test#-#charge#ch_1"}, "sk": {"S": "row"},
            "rev": {"N": "1"}, "data": {"M": {}}});
        assert_eq!(change(Value::Null, unlinked), ItemChange::Nothing);
    }

    fn noted(granted: bool, reason: &str, rev: u32, format: u32) -> Value {
        json!({"pk": {"S": CUSTOMER}, "sk": {"S": "access"}, "f": {"N": format.to_string()},
            "rev": {"N": rev.to_string()}, "customer": {"S": "cus_1"}, "granted": {"BOOL": granted},
            "reason": {"S": reason}, "until": {"N": "1765184005"}, "changed_at": {"N": "1762592007"}})
    }

    #[test]
    fn a_note_of_access_is_read_as_it_was_and_as_it_is() {
        let change = change(noted(false, "canceled", 1, 1), noted(true, "active", 2, 1));
        let ItemChange::Access {
            customer,
            before,
            now,
        } = change
        else {
            panic!("{change:?}");
        };
        assert_eq!(customer.pk, CUSTOMER);
        assert_eq!(before.expect("there").access.reason, "canceled");
        assert_eq!((now.rev, now.access.granted), (2, true));
        assert_eq!(now.access.until, Some(1_765_184_005));
    }

    #[test]
    fn a_note_of_a_newer_format_is_left_to_a_newer_version() {
        let record =
            json!({"dynamodb": {"SequenceNumber": "1", "NewImage": noted(true, "active", 1, 2)}});
        let record: StreamRecord = serde_json::from_value(record).expect("a record");
        assert!(record.change().is_err());
    }
}
