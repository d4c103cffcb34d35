//! The objects whose state is kept, one file each, and the table that says which event is about which.
//!
//! A reader takes the whole object of an event, in any API version since 2017-05-25, and returns the few
//! fields that make up the state. It knows the shapes that Stripe has moved things to and from
//! (<https://docs.stripe.com/upgrades>), and nothing about order, keys or stores.
//!
//! To keep state for one more kind of object: add its file, its [`Kind`] and its lines in
//! [`EVENT_TYPES`]. Another source reads its objects into the same kinds and the same fields: one file with
//! its readers, as [`bearbilling`], and its own table of event types.

pub mod bearbilling;
mod charge;
mod checkout_session;
mod credit_note;
mod customer;
mod dispute;
mod entitlement_summary;
mod event_types;
mod invoice;
mod invoice_payment;
mod payment_intent;
mod refund;
mod subscription;

pub use event_types::{BEAR_BILLING_EVENT_TYPES, EVENT_TYPES, kind_of};

use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::order::{First, Kept, Shown};
use crate::row::DELETED;
use crate::scope::Source;

/// A kind of object whose state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who pays.
    Customer,
    /// What is paid for, again and again.
    Subscription,
    /// A bill.
    Invoice,
    /// An attempt to take money.
    Charge,
    /// The intent behind one or more charges.
    PaymentIntent,
    /// Money given back.
    Refund,
    /// Money that the bank was asked to take back.
    Dispute,
    /// A visit to Stripe's checkout page.
    CheckoutSession,
    /// Which payment paid which invoice.
    InvoicePayment,
    /// A correction of an invoice.
    CreditNote,
    /// The features that a customer is entitled to.
    EntitlementSummary,
    /// A record of what was used. There is one per event, and they are added up.
    Usage,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 12] = [
        Self::Customer,
        Self::Subscription,
        Self::Invoice,
        Self::Charge,
        Self::PaymentIntent,
        Self::Refund,
        Self::Dispute,
        Self::CheckoutSession,
        Self::InvoicePayment,
        Self::CreditNote,
        Self::EntitlementSummary,
        Self::Usage,
    ];

    /// The name used in keys and logs. It is stored: it never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Subscription => "subscription",
            Self::Invoice => "invoice",
            Self::Charge => "charge",
            Self::PaymentIntent => "payment_intent",
            Self::Refund => "refund",
            Self::Dispute => "dispute",
            Self::CheckoutSession => "checkout_session",
            Self::InvoicePayment => "invoice_payment",
            Self::CreditNote => "credit_note",
            Self::EntitlementSummary => "entitlements",
            Self::Usage => "usage",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// True where the object always names its customer and never changes it, so that it can live in
    /// the customer's partition. The others are found through an index.
    #[must_use]
    pub fn is_owned(self, source: Source) -> bool {
        match self {
            Self::Customer | Self::Subscription | Self::CreditNote | Self::EntitlementSummary => {
                true
            }
            // Bear Billing's names its subscription only.
            Self::Invoice => source == Source::Stripe,
            Self::Charge
            | Self::PaymentIntent
            | Self::Refund
            | Self::Dispute
            | Self::CheckoutSession
            | Self::InvoicePayment
            | Self::Usage => false,
        }
    }

    /// The objects that an object of this kind belongs to and may have to learn its customer from, the
    /// nearest first: the kind and the field of the extract that names it.
    #[must_use]
    pub fn parents(self, source: Source) -> &'static [(Self, &'static str)] {
        match self {
            Self::Invoice | Self::Usage => match source {
                Source::Stripe => &[],
                Source::BearBilling => &[(Self::Subscription, "subscription")],
            },
            Self::Refund | Self::Dispute => &[
                (Self::Charge, "charge"),
                (Self::PaymentIntent, "payment_intent"),
            ],
            Self::InvoicePayment => &[
                (Self::PaymentIntent, "payment_intent"),
                (Self::Charge, "charge"),
            ],
            Self::Charge => &[(Self::PaymentIntent, "payment_intent")],
            Self::Customer
            | Self::Subscription
            | Self::PaymentIntent
            | Self::CheckoutSession
            | Self::CreditNote
            | Self::EntitlementSummary => &[],
        }
    }

    /// True where objects of another kind may have to learn their customer from an object of this one.
    #[must_use]
    pub fn can_have_children(self, source: Source) -> bool {
        let names_it = |child: &Self| child.parents(source).iter().any(|(kind, _)| *kind == self);
        Self::ALL.iter().any(names_it)
    }

    /// The state of an object of Stripe's of this kind, in the few fields that are kept.
    fn extract(self, object: Fields<'_>) -> Map<String, Value> {
        match self {
            Self::Customer => customer::extract(object),
            Self::Subscription => subscription::extract(object),
            Self::Invoice => invoice::extract(object),
            Self::Charge => charge::extract(object),
            Self::PaymentIntent => payment_intent::extract(object),
            Self::Refund => refund::extract(object),
            Self::Dispute => dispute::extract(object),
            Self::CheckoutSession => checkout_session::extract(object),
            Self::InvoicePayment => invoice_payment::extract(object),
            Self::CreditNote => credit_note::extract(object),
            Self::EntitlementSummary => entitlement_summary::extract(object),
            // Stripe sends no events of it.
            Self::Usage => Map::new(),
        }
    }

    /// How far along its life an object with this extract is.
    pub(crate) fn stage(self, extract: &Map<String, Value>) -> Stage {
        match self {
            // Nothing of these says how far they are.
            Self::Customer | Self::EntitlementSummary | Self::Usage => Stage::default(),
            Self::Subscription => subscription::stage(extract),
            Self::Invoice => Stage::by_status(extract, invoice::STATES, invoice::FINAL),
            Self::Charge => charge::stage(extract),
            Self::PaymentIntent => payment_intent::stage(extract),
            Self::Refund => Stage::by_status(extract, refund::STATES, refund::FINAL),
            Self::Dispute => Stage::by_status(extract, dispute::STATES, dispute::FINAL),
            Self::CheckoutSession => checkout_session::stage(extract),
            Self::InvoicePayment => {
                Stage::by_status(extract, invoice_payment::STATES, invoice_payment::FINAL)
            }
            Self::CreditNote => Stage::by_status(extract, credit_note::STATES, credit_note::FINAL),
        }
    }
}

/// The member of an extract that says that a list in it was cut short (`has_more`): what it does not show is
/// unknown, not denied.
pub const CUT: &str = "cut";

/// How far along its life an object is. It decides between states of one second where no event tells what changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage {
    /// True for a state that is left only if an event's own old values say so.
    pub is_final: bool,
    /// The place of the state in its kind's usual life, from 1; 0 for a state that is not known. States between
    /// which an object goes to and fro share a place.
    pub rank: u8,
}

impl Stage {
    /// The stage of an object whose status says how far it is.
    fn by_status(extract: &Map<String, Value>, states: &[&str], finals: &[&str]) -> Self {
        let status = text(extract, "status");
        Self {
            is_final: finals.contains(&status),
            rank: rank(states, status),
        }
    }
}

fn text<'a>(extract: &'a Map<String, Value>, name: &str) -> &'a str {
    extract
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The place of a state in the list of its kind, from 1.
fn rank(states: &[&str], status: &str) -> u8 {
    let place = states.iter().position(|state| *state == status);
    place
        .and_then(|place| u8::try_from(place + 1).ok())
        .unwrap_or(0)
}

/// One object's state, as one event showed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What it is.
    pub kind: Kind,
    /// The object's id. Of an entitlement summary, which has none, the customer's; of usage the event's.
    pub id: String,
    /// The customer that the object names.
    pub customer: Option<String>,
    /// The fields that are kept.
    pub extract: Map<String, Value>,
}

/// Why an event of a kind that is kept changes no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSnapshot {
    /// The object has no id of its own: a preview, such as the invoice of `invoice.upcoming`.
    NoId,
    /// The object lives with its customer and names none.
    NoCustomer,
}

/// Reads an object of Stripe's.
///
/// # Errors
///
/// [`NoSnapshot`] if there is nothing that a row could be kept for.
pub fn read(kind: Kind, object: &Value) -> Result<Snapshot, NoSnapshot> {
    let fields = Fields::new(object.as_object().ok_or(NoSnapshot::NoId)?);
    let customer = customer(kind, fields);
    let id = match kind {
        Kind::EntitlementSummary => customer.or_else(|| fields.id(&[CUSTOMER_ACCOUNT])),
        _ => fields.text(&["id"]),
    };
    let id = id.filter(|id| !id.is_empty()).ok_or(NoSnapshot::NoId)?;
    let extract = extract(kind, fields);
    if kind.is_owned(Source::Stripe) && customer.is_none() && account(&extract).is_none() {
        return Err(NoSnapshot::NoCustomer);
    }
    Ok(Snapshot {
        kind,
        id: id.to_owned(),
        customer: customer.map(str::to_owned),
        extract,
    })
}

/// The member of an object, and of its extract, that names the account (`acct_…`) of its customer, or instead of one
/// (<https://docs.stripe.com/connect/use-accounts-as-customers>).
const CUSTOMER_ACCOUNT: &str = "customer_account";

/// The account that stands for the customer of an object with this extract.
#[must_use]
pub fn account(extract: &Map<String, Value>) -> Option<&str> {
    extract.get(CUSTOMER_ACCOUNT)?.as_str()
}

fn customer(kind: Kind, object: Fields<'_>) -> Option<&str> {
    match kind {
        Kind::Customer => object.text(&["id"]),
        _ => object.id(&["customer"]),
    }
}

fn extract(kind: Kind, object: Fields<'_>) -> Map<String, Value> {
    let mut extract = kind.extract(object);
    if let Some(account) = object.id(&[CUSTOMER_ACCOUNT]) {
        extract.insert(CUSTOMER_ACCOUNT.to_owned(), account.into());
    }
    extract
}

/// What the order of events has to know of a state of an object of Stripe's that was read.
#[must_use]
pub fn shown(kind: Kind, extract: Map<String, Value>, customer: Option<&str>) -> Shown {
    let stage = kind.stage(&extract);
    let is_appeal = kind == Kind::Dispute && dispute::is_appeal(text(&extract, "status"));
    Shown {
        kept: kept(kind, Source::Stripe, extract, customer),
        deleted: false,
        is_final: stage.is_final,
        left_final: is_appeal,
        rank: stage.rank.into(),
    }
}

/// The same of any object of this kind, also of one that no row could be kept for.
#[must_use]
pub fn look(kind: Kind, object: &Value) -> Shown {
    let nothing = Map::new();
    let fields = Fields::new(object.as_object().unwrap_or(&nothing));
    shown(kind, extract(kind, fields), customer(kind, fields))
}

/// What a row keeps of a state. The customer is part of it for objects that can change theirs.
#[must_use]
pub fn kept(
    kind: Kind,
    source: Source,
    extract: Map<String, Value>,
    customer: Option<&str>,
) -> Kept {
    Kept {
        extract: Value::Object(extract),
        customer: customer
            .filter(|_| !kind.is_owned(source))
            .map(str::to_owned),
    }
}

/// Makes of an object's last state the one after its deletion: of a subscription its canceled state, which can still
/// change, and of anything else a tombstone.
pub fn end(kind: Kind, shown: &mut Shown) {
    if kind == Kind::Subscription {
        if !shown.is_final {
            shown.kept.extract["status"] = subscription::CANCELED.into();
        }
        shown.is_final = true;
        return;
    }
    shown.kept = tombstone(kind, std::mem::take(&mut shown.kept));
    shown.deleted = true;
    shown.is_final = true;
}

/// What is kept of an object after its deletion: of a customer nothing personal.
#[must_use]
pub fn tombstone(kind: Kind, mut kept: Kept) -> Kept {
    if let Some(extract) = kept.extract.as_object_mut() {
        if kind == Kind::Customer {
            extract.retain(|name, _| !customer::PERSONAL.contains(&name.as_str()));
        }
        extract.insert(DELETED.to_owned(), Value::Bool(true));
    }
    kept
}

/// What an event of this type that shows this state tells to have happened for a first time, if it is the first that
/// does. No snapshot says when.
#[must_use]
pub fn first(kind: Kind, event_type: &str, extract: &Value) -> Option<First> {
    let is = |field: &str, value: &str| extract[field].as_str() == Some(value);
    let happened = match kind {
        Kind::Invoice => event_type == "invoice.payment_failed",
        Kind::CheckoutSession => {
            let is_paid =
                is("payment_status", "paid") || is("payment_status", "no_payment_required");
            is("status", "complete") && is_paid
        }
        Kind::Dispute => is("status", "lost"),
        _ => false,
    };
    let first = match kind {
        Kind::Invoice => First::PaymentFailed,
        Kind::CheckoutSession => First::Paid,
        _ => First::Lost,
    };
    happened.then_some(first)
}
