//! An account's rows in memory, so that a life can be played a million times.
//!
//! It is an image of what the store does with a row, not a second store: what a row becomes is decided by `billhook-core`
//! alone, and this module only keeps the rows and holds each write to its guard, as `billhook-store` has DynamoDB do.

use std::collections::BTreeMap;
use std::rc::Rc;

use billhook_core::access::Policy;
use billhook_core::decide::{Change, Decision, Guard, Plan, Settled, Write, decide, plan};
use billhook_core::event::decode;
use billhook_core::objects::Kind;
use billhook_core::order::Base;
use billhook_core::row::{Owner, RowKey, StoredRow};
use billhook_core::scope::{Mode, Scope, Source};
use billhook_core::state::{CustomerRow, customer_state};
use serde_json::{Value, json};

/// What a delivery did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A row was written.
    Written,
    /// Nothing was to be written.
    Settled(Settled),
    /// The event changes no state.
    Ignored,
}

/// What became of a guarded write.
enum Wrote {
    Written,
    /// The guard did not hold: this is stored.
    Refused(Option<Rc<(RowKey, StoredRow)>>),
}

/// The rows of one account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Shared, since a copy of an account is made for every branch of an order.
    rows: BTreeMap<String, Rc<(RowKey, StoredRow)>>,
}

/// What a verified body tells about a row; none for an event that changes no state.
///
/// # Panics
///
/// Where the body is no event: everything that is played here is one.
#[must_use]
pub fn change_of(body: &[u8]) -> Option<Change> {
    let event = decode(Source::Stripe, Mode::Test, body).expect("what is played is an event");
    match plan(&event, Mode::Test) {
        Plan::Keep(change) => Some(*change),
        Plan::Ignore(_) => None,
    }
}

/// The name of a row, which no other row shares.
#[must_use]
pub fn name_of(key: &RowKey) -> String {
    let owner = match &key.owner {
        Some(Owner::Customer(customer)) => customer.as_str(),
        Some(Owner::Account(account)) => account.as_str(),
        None => "-",
    };
    format!("{} {owner} {} {}", key.scope.key(), key.kind.name(), key.id)
}

impl Account {
    /// Takes one delivery of a verified body.
    ///
    /// # Panics
    ///
    /// Where the body is no event.
    pub fn deliver(&mut self, body: &[u8]) -> Effect {
        change_of(body).map_or(Effect::Ignored, |change| self.apply(&change))
    }

    /// Carries out one change, as the consumer does: it tries to write unread, and looks where the guard refuses.
    pub fn apply(&mut self, change: &Change) -> Effect {
        let mut stored: Option<Rc<(RowKey, StoredRow)>> = None;
        loop {
            match decide(&change.incoming, stored.as_ref().map(|row| &row.1)) {
                Decision::Settled(settled) => return Effect::Settled(settled),
                Decision::Write(write) => match self.write(change, *write) {
                    Wrote::Written => return Effect::Written,
                    Wrote::Refused(there) => stored = there,
                },
            }
        }
    }

    /// Writes a row if what is stored is as the guard says, and else says what is stored.
    fn write(&mut self, change: &Change, write: Write) -> Wrote {
        let name = name_of(&change.key);
        let there = self.rows.get(&name);
        let stored = there.map(|row| &row.1);
        let Write { mut row, guard, .. } = write;
        match (guard, stored) {
            (Guard::AbsentOrOlder { over_final }, Some(stored))
                if stored.row.second < row.second
                    && (over_final || stored.row.final_second().is_none()) =>
            {
                // What is known of the second that is replaced becomes the base, unread, and what stands beside stays.
                row.base = Base {
                    second: stored.row.second,
                    ties: stored.row.ties.clone(),
                };
                row.floor = row.floor.or(stored.row.floor);
                row.firsts.extend(&stored.row.firsts);
            }
            (Guard::AbsentOrOlder { .. }, None) => {}
            (Guard::Rev(rev), Some(stored)) if stored.rev == rev => {}
            (Guard::AbsentOrOlder { .. } | Guard::Rev(_), _) => {
                return Wrote::Refused(there.cloned());
            }
        }
        let written = StoredRow {
            row,
            rev: stored.map_or(0, |stored| stored.rev) + 1,
            link: None,
        };
        self.rows
            .insert(name, Rc::new((change.key.clone(), written)));
        Wrote::Written
    }

    /// Every row.
    pub fn rows(&self) -> impl Iterator<Item = (&RowKey, &StoredRow)> {
        self.rows.values().map(|row| (&row.0, &row.1))
    }

    /// The row of this name, see [`name_of`].
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&StoredRow> {
        self.rows.get(name).map(|row| &row.1)
    }

    /// Everything that is known, as one text. How often a row was written is no part of it: that depends on the order.
    #[must_use]
    pub fn text(&self) -> String {
        let rows = self.rows.iter();
        rows.map(|(name, row)| format!("{name} {}\n", text_of(&row.1)))
            .collect()
    }

    /// A customer's state as `GET /customers/{id}` shows it; null where nothing is known of the customer.
    #[must_use]
    pub fn state(&self, customer: &str, now: i64) -> Value {
        let scope = Scope {
            source: Source::Stripe,
            mode: Mode::Test,
            account: None,
        };
        let theirs = self
            .rows()
            .filter(|(key, stored)| self.customer_of(key, stored) == Some(customer));
        let rows: Vec<_> = theirs
            .map(|(key, stored)| CustomerRow {
                kind: key.kind,
                id: key.id.clone(),
                stored: stored.clone(),
            })
            .collect();
        customer_state(&scope, customer, &rows, now, Policy::default()).unwrap_or_default()
    }

    /// Whose a row is: its owner's, whom it names, or whom the nearest parent names.
    ///
    /// The consumer writes such a link down when both rows are there; [`crate::link_model`] is about that.
    #[must_use]
    pub fn customer_of<'a>(&'a self, key: &'a RowKey, stored: &'a StoredRow) -> Option<&'a str> {
        let owner = match &key.owner {
            Some(Owner::Customer(customer)) => Some(customer.as_str()),
            Some(Owner::Account(_)) | None => None,
        };
        owner.or(stored.customer()).or_else(|| {
            let mut parents = key.kind.parents(key.scope.source).iter();
            parents.find_map(|(kind, field)| {
                let id = stored.extract().get(*field)?.as_str()?;
                let row = self.rows.get(&linked_name(key, *kind, id))?;
                self.customer_of(&row.0, &row.1)
            })
        })
    }
}

fn linked_name(child: &RowKey, kind: Kind, id: &str) -> String {
    name_of(&RowKey {
        scope: child.scope.clone(),
        kind,
        id: id.to_owned(),
        owner: None,
    })
}

/// What a row holds, as one text.
#[must_use]
pub fn text_of(stored: &StoredRow) -> String {
    json!([stored.row, stored.link]).to_string()
}
