//! Where everything lies: the keys of both tables, in one place.
//!
//! `scope` is source, mode and account, for instance `stripe#test#-` or `stripe#live#acct_1`
//! ([`Scope::key`](billhook_core::scope::Scope::key)). Ids are written as tokens
//! ([`token`]), which never hold a `#`.
//!
//! | table | item | `pk` | `sk` |
//! |---|---|---|---|
//! | billing | an owned object: customer, subscription, invoice, credit note, entitlements | `scope#customer#<customer>` | `<kind>#<id>` |
//! | billing | an owned object that names an account and no customer | `scope#account#<account>` | `<kind>#<id>` |
//! | billing | a linked object: charge, payment intent, refund, dispute, checkout session, invoice payment; Bear Billing's invoice and usage | `scope#<kind>#<id>` | `row` |
//! | billing | whose an owned object is, where its children name it alone: Bear Billing's subscription | `scope#<kind>#<id>` | `owner` |
//! | billing | a child that has its customer from its parent | `scope#<kind>#<id>` of the parent | `child#<kind>#<id>` of the child |
//! | billing | what a customer's access was found to be last | `scope#customer#<customer>` | `access` |
//! | events | an event | `scope#<hour of created>#<shard>` | `<event id>` |
//! | events | a body without a time | `scope#none#<shard>` | `<event id>` or hash |
//!
//! | index | on | keys | holds |
//! |---|---|---|---|
//! | `by_customer` | billing | `cpk` = `scope#customer#<customer>`, `csk` = `<kind>#<id>` | linked objects whose customer is known |
//! | `open` | billing | `open` = `<source>#<mode>`, `at` = the row's second | rows that need a refetch, keys only |
//! | `found_by` | billing | `fpk` = a name, `pk` | reserved: what a name leads to, keys only |
//! | `ends` | billing | `ends` = `<mode>#<shard>`, `ends_at` = Unix seconds | reserved: access that ends by the clock, keys only |
//! | `timeline` | events | `cpk` = `scope#customer#<customer>`, `ctime` = `<created>#<event id>` | reserved: the events of a customer |
//! | `parked` | events | `parked` = `<source>#<mode>`, `received` = Unix milliseconds | parked events only |
//!
//! The reserved ones are there because CloudFormation adds one index to a table in one update. Nothing writes their keys yet.
//!
//! So a customer's subscriptions are one Query with `pk` = the customer's partition and `sk` starting with
//! `subscription#`, strongly consistent. The ledger's key comes from the event alone: a redelivery, a resend
//! and a replay meet the same record. Its shard keeps 10,000 events a second off one partition, and an id is
//! found without its time by asking for the same shard in each hour.

use billhook_core::objects::Kind;
use billhook_core::row::{Owner, RowKey};
use billhook_core::scope::{Mode, Scope, Source};
use billhook_core::time::hour;
use billhook_core::token::token;

/// The partition key of both tables.
pub const PK: &str = "pk";
/// The sort key of both tables.
pub const SK: &str = "sk";
/// The index on billing that finds a customer's linked objects.
pub const BY_CUSTOMER: &str = "by_customer";
/// The partition key of [`BY_CUSTOMER`].
pub const CPK: &str = "cpk";
/// The sort key of [`BY_CUSTOMER`].
pub const CSK: &str = "csk";
/// The index on billing that finds rows that need a refetch, and its partition key.
pub const OPEN: &str = "open";
/// The index on billing that will find what a name leads to.
pub const FOUND_BY: &str = "found_by";
/// The partition key of [`FOUND_BY`].
pub const FPK: &str = "fpk";
/// The index on billing that will find access that ends by the clock, and its partition key.
pub const ENDS: &str = "ends";
/// The sort key of [`ENDS`], in Unix seconds.
pub const ENDS_AT: &str = "ends_at";
/// The index on events that will find those of a customer.
pub const TIMELINE: &str = "timeline";
/// The sort key of [`TIMELINE`].
pub const CTIME: &str = "ctime";
/// The index on events that finds parked ones, and its partition key.
pub const PARKED: &str = "parked";
/// The sort key of [`PARKED`]: when the delivery was received, in Unix milliseconds.
pub const RECEIVED: &str = "received";

/// The sort key of a linked object's row.
pub(crate) const ROW: &str = "row";
/// What stands in the place of a kind in the partition of an account's objects.
const ACCOUNT: &str = "account";
/// The sort key of the note that says whose an owned object is.
const OWNER: &str = "owner";
/// What the sort keys of waiting children start with.
pub(crate) const CHILD: &str = "child#";

/// The sort key of what was noted of a customer's access.
pub(crate) const ACCESS: &str = "access";

/// In how many partitions the events of one hour lie. A partition takes 1,000 write units a second: at
/// 10,000 events a second, each of one unit, sixteen of them take 625 each.
pub const SHARDS: u32 = 16;

/// The two parts of an item's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

/// The partition of a customer's owned objects, and of the index on linked ones.
#[must_use]
pub fn customer_partition(scope: &Scope, customer: &str) -> String {
    partition(scope, Kind::Customer, customer)
}

/// The partition of owned objects that name an account (`acct_…`) and no customer.
#[must_use]
pub fn account_partition(scope: &Scope, account: &str) -> String {
    format!("{}#{ACCOUNT}#{}", scope.key(), token(account))
}

/// A customer as the key of their partition names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerPartition {
    /// The key itself.
    pub pk: String,
    /// Whose customer it is. An account whose id is no token stands as its hash.
    pub scope: Scope,
    /// The customer's id as a token.
    pub customer: String,
}

impl CustomerPartition {
    /// Takes a partition key apart; none where it is not a customer's.
    #[must_use]
    pub fn read(pk: &str) -> Option<Self> {
        let (scope, [kind, customer]) = read_scope(pk)?;
        (kind == Kind::Customer.name()).then(|| Self {
            pk: pk.to_owned(),
            scope,
            customer: customer.to_owned(),
        })
    }
}

/// The key of an object's row.
#[must_use]
pub fn row(key: &RowKey) -> Key {
    match &key.owner {
        Some(owner) => Key {
            pk: match owner {
                Owner::Customer(customer) => customer_partition(&key.scope, customer),
                Owner::Account(account) => account_partition(&key.scope, account),
            },
            sk: object(key.kind, &key.id),
        },
        None => Key {
            pk: own_partition(key),
            sk: ROW.to_owned(),
        },
    }
}

/// The partition of an object's own, which can be found by those that name it without knowing its customer.
#[must_use]
pub fn own_partition(key: &RowKey) -> String {
    partition(&key.scope, key.kind, &key.id)
}

/// The key of the item that says whose an object is: a linked object's row itself, and the note beside an owned
/// one's.
#[must_use]
pub fn whose(key: &RowKey) -> Key {
    let sk = if key.kind.is_owned(key.scope.source) {
        OWNER
    } else {
        ROW
    };
    Key {
        pk: own_partition(key),
        sk: sk.to_owned(),
    }
}

/// The key of the note that a child leaves with a parent that it may have its customer from.
#[must_use]
pub fn child(parent: &RowKey, child: &RowKey) -> Key {
    Key {
        pk: own_partition(parent),
        sk: format!("{CHILD}{}", object(child.kind, &child.id)),
    }
}

/// The key of an event in the ledger.
#[must_use]
pub fn event(scope: &Scope, name: &str, created: Option<i64>) -> Key {
    let hour = created.and_then(hour).unwrap_or_else(|| "none".to_owned());
    let pk = format!("{}#{hour}#{:02}", scope.key(), shard(name));
    Key {
        pk,
        sk: name.to_owned(),
    }
}

/// Where the index on parked events keeps those of a source and mode, of all accounts together.
#[must_use]
pub fn parked_partition(source: Source, mode: Mode) -> String {
    format!("{source}#{}", mode.name())
}

/// Where the index on open rows keeps those of a source and mode, of all accounts together.
#[must_use]
pub fn open_partition(source: Source, mode: Mode) -> String {
    parked_partition(source, mode)
}

/// What a row's key is the key of; none if it is no row's, or if an id in it is not plain, so that its key holds a hash.
#[must_use]
pub fn read_row(key: &Key) -> Option<RowKey> {
    let (scope, rest) = read_scope(&key.pk)?;
    let [kind, id] = rest;
    let read = match Kind::from_name(kind) {
        Some(Kind::Customer) => {
            let (owned, owned_id) = key.sk.split_once('#')?;
            let owner = Some(Owner::Customer(id.to_owned()));
            (Kind::from_name(owned)?, owned_id, owner)
        }
        Some(kind) if key.sk == ROW => (kind, id, None),
        Some(_) => return None,
        None if kind == ACCOUNT => {
            let (owned, owned_id) = key.sk.split_once('#')?;
            let owner = Some(Owner::Account(id.to_owned()));
            (Kind::from_name(owned)?, owned_id, owner)
        }
        None => return None,
    };
    let (kind, id, owner) = read;
    let found = RowKey {
        scope,
        kind,
        id: id.to_owned(),
        owner,
    };
    (row(&found) == *key).then_some(found)
}

/// The scope that a partition key of an object's starts with, and the two parts that follow.
fn read_scope(pk: &str) -> Option<(Scope, [&str; 2])> {
    let [source, mode, account, kind, id] = pk.split('#').collect::<Vec<_>>()[..] else {
        return None;
    };
    let scope = Scope {
        source: Source::from_name(source)?,
        mode: Mode::from_name(mode)?,
        account: match account {
            "-" => None,
            "~-" => Some("-".to_owned()),
            account => Some(account.to_owned()),
        },
    };
    Some((scope, [kind, id]))
}

/// The object's part of a key: `<kind>#<id>`.
pub(crate) fn object(kind: Kind, id: &str) -> String {
    format!("{}#{}", kind.name(), token(id))
}

/// The kind of object in a sort key of the form `<kind>#<id>`; none where it is of another form.
pub(crate) fn kind_of(sort_key: &str) -> Option<Kind> {
    Kind::from_name(sort_key.split('#').next()?)
}

fn partition(scope: &Scope, kind: Kind, id: &str) -> String {
    format!("{}#{}", scope.key(), object(kind, id))
}

/// FNV-1a: a fixed, even spread. It is part of the stored format and never changes.
fn shard(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(account: Option<&str>) -> Scope {
        let account = account.map(str::to_owned);
        Scope {
            source: Source::Stripe,
            mode: Mode::Test,
            account,
        }
    }

    #[test]
    fn a_rows_key_can_be_read_unless_it_holds_a_hash() {
        let key = |kind, id: &str, owner: Option<Owner>| RowKey {
            scope: scope(Some("acct_1")),
            kind,
            id: id.to_owned(),
            owner,
        };
        let customer = |id: &str| Some(Owner::Customer(id.to_owned()));
        let account = Some(Owner::Account("acct_2".to_owned()));
        for key in [
            key(Kind::Invoice, "in_1", customer("cus_1")),
            key(Kind::Customer, "cus_1", customer("cus_1")),
            key(Kind::Invoice, "in_1", account),
            key(Kind::Charge, "ch_1", None),
        ] {
            assert_eq!(read_row(&row(&key)), Some(key));
        }
        for key in [
            key(Kind::Charge, "an id", None),
            key(Kind::Invoice, "in_1", customer("a b")),
        ] {
            assert_eq!(read_row(&row(&key)), None, "{key:?}");
        }
        let charge = key(Kind::Charge, "ch_1", None);
        assert_eq!(read_row(&child(&charge, &charge)), None, "a note is no row");
    }

    #[test]
    fn keys_are_as_documented() {
        let owned = RowKey {
            scope: scope(None),
            kind: Kind::Invoice,
            id: "in_1".into(),
            owner: Some(Owner::Customer("cus_1".to_owned())),
        };
        let Key { pk, sk } = row(&owned);
        assert_eq!(
            (pk.as_str(), sk.as_str()),
            ("stripe#test#-#customer#cus_1", "invoice#in_1")
        );

        let linked = RowKey {
            scope: scope(Some("acct_1")),
            kind: Kind::Charge,
            id: "ch_1".into(),
            owner: None,
        };
        let Key { pk, sk } = row(&linked);
        assert_eq!(
            (pk.as_str(), sk.as_str()),
            ("stripe#test#acct_1#charge#ch_1", "row")
        );

        let subscription = RowKey {
            scope: Scope {
                source: Source::BearBilling,
                ..scope(None)
            },
            kind: Kind::Subscription,
            id: "bsub_1".into(),
            owner: Some(Owner::Customer("org_1".to_owned())),
        };
        let Key { pk, sk } = whose(&subscription);
        assert_eq!(
            (pk.as_str(), sk.as_str()),
            ("bearbilling#test#-#subscription#bsub_1", "owner")
        );
        assert_eq!(whose(&linked), row(&linked), "its row says whose it is");

        let Key { pk, sk } = event(&scope(None), "evt_1", Some(1_760_000_000));
        assert_eq!(
            (pk.as_str(), sk.as_str()),
            ("stripe#test#-#2025100908#02", "evt_1")
        );
        assert_eq!(
            event(&scope(None), "evt_1", None).pk,
            "stripe#test#-#none#02"
        );
    }

    #[test]
    fn a_customers_partition_says_whose_it_is() {
        for account in [None, Some("acct_1"), Some("-")] {
            let scope = scope(account);
            let pk = customer_partition(&scope, "cus_1");
            let read = CustomerPartition::read(&pk).expect("a customer's partition");
            assert_eq!(
                (read.pk, read.scope, read.customer.as_str()),
                (pk, scope, "cus_1")
            );
        }
        for other in [
            "stripe#test#-#charge#ch_1",
            "stripe#test#-#2025100908#02",
            "other#test#-#customer#cus_1",
            "stripe#test#-#customer",
            "stripe#test#-#customer#cus_1#x",
            "",
        ] {
            assert_eq!(CustomerPartition::read(other), None, "{other}");
        }
    }

    #[test]
    fn ids_spread_over_the_shards() {
        let mut counts = [0_u32; SHARDS as usize];
        for i in 0..16_000 {
            counts[shard(&format!("evt_1S{i:05}")) as usize] += 1;
        }
        assert!(counts.iter().all(|n| (500..1500).contains(n)), "{counts:?}");
    }
}
