//! One life told in the shapes of six API versions ends in one state.
//!
//! The life is Ada's, which is written in the newest shapes. Each of its snapshots is rewritten to an older version's shape, and
//! what Stripe says of the old values is what changed between two such snapshots.

#![expect(
    clippy::unwrap_used,
    reason = "the life is the repository's own, and a test may fail on it"
)]
#![expect(
    clippy::print_stdout,
    reason = "how much was undecided is a result, shown by --nocapture"
)]

use std::collections::BTreeMap;

use billhook_core::decide::Change;
use billhook_proofs::account::{Account, change_of};
use billhook_proofs::lives::{self, Life};
use billhook_proofs::orders::Chance;
use billhook_proofs::previous::{difference, undone};
use serde_json::{Map, Value, json};

/// Takes a snapshot to the shape of the version before.
type Rewrite = fn(&mut Map<String, Value>, &Told);

/// The versions, the newest first. Each has the changes of all that stand before it.
const VERSIONS: [(&str, Rewrite); 6] = [
    ("2026-09-30.endive", |_, _| {}),
    ("2025-09-30.clover", before_endive),
    ("2025-03-31.basil", before_clover),
    ("2024-06-20", before_basil),
    ("2020-08-27", before_2022_11_15),
    ("2019-05-16", before_2019_10_17),
];

/// The version before prices had names of their own.
const WITHOUT_PRICES: usize = 5;

/// What a snapshot alone does not say: the payments of the life, by their amounts.
#[derive(Default)]
struct Told {
    intents: BTreeMap<i64, String>,
    charges: BTreeMap<i64, String>,
    invoices: BTreeMap<i64, String>,
}

impl Told {
    fn of(life: &Life) -> Self {
        let mut told = Self::default();
        for body in &life.bodies {
            let event: Value = serde_json::from_slice(body).unwrap();
            let object = &event["data"]["object"];
            let (by_amount, amount) = match object["object"].as_str().unwrap() {
                "payment_intent" => (&mut told.intents, "amount"),
                "charge" => (&mut told.charges, "amount"),
                "invoice" => (&mut told.invoices, "amount_due"),
                _ => continue,
            };
            let id = object["id"].as_str().unwrap().to_owned();
            by_amount.insert(object[amount].as_i64().unwrap(), id);
        }
        told
    }
}

fn is(object: &Map<String, Value>, kind: &str) -> bool {
    object["object"] == kind
}

fn remove(object: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        object.remove(*name);
    }
}

/// The objects of a list inside an object.
fn listed<'a>(object: &'a mut Map<String, Value>, name: &str) -> Vec<&'a mut Map<String, Value>> {
    let list = object
        .get_mut(name)
        .and_then(|list| list["data"].as_array_mut());
    list.into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .collect()
}

fn before_endive(object: &mut Map<String, Value>, _: &Told) {
    remove(object, &["status_details", "customer_account"]);
    for item in listed(object, "items") {
        remove(item, &["current_trial"]);
    }
}

fn before_clover(object: &mut Map<String, Value>, _: &Told) {
    remove(object, &["billing_mode", "billing_cycle_anchor_config"]);
}

/// The period was the subscription's, and the invoice named its subscription, its charge and its intent itself.
fn before_basil(object: &mut Map<String, Value>, told: &Told) {
    if is(object, "subscription") {
        let mut period = Map::new();
        for item in listed(object, "items") {
            for name in ["current_period_start", "current_period_end"] {
                period.extend(item.remove_entry(name));
            }
            remove(item, &["discounts"]);
        }
        object.extend(period);
        object.insert("discount".into(), Value::Null);
        remove(object, &["discounts"]);
    }
    if is(object, "invoice") {
        let parent = object.remove("parent").unwrap_or_default();
        let details = &parent["subscription_details"];
        let (paid, amount) = (
            object["status"] == "paid",
            object["amount_due"].as_i64().unwrap(),
        );
        object.insert("subscription".into(), details["subscription"].clone());
        object.insert(
            "subscription_details".into(),
            json!({"metadata": details["metadata"]}),
        );
        object.insert("paid".into(), json!(paid));
        object.insert("paid_out_of_band".into(), json!(false));
        object.insert(
            "charge".into(),
            json!(told.charges.get(&amount).filter(|_| paid)),
        );
        object.insert(
            "payment_intent".into(),
            json!(told.intents.get(&amount).filter(|_| paid)),
        );
        object.insert("discount".into(), Value::Null);
        object.insert("tax".into(), Value::Null);
        object.insert("total_tax_amounts".into(), json!([]));
        remove(object, &["total_taxes", "amount_overpaid", "issuer"]);
        for line in listed(object, "lines") {
            let (parent, pricing) = (
                line.remove("parent").unwrap_or_default(),
                line.remove("pricing").unwrap_or_default(),
            );
            let details = &parent["subscription_item_details"];
            line.insert("type".into(), json!("subscription"));
            for name in ["subscription", "subscription_item", "proration"] {
                line.insert(name.into(), details[name].clone());
            }
            let price = &pricing["price_details"];
            line.insert(
                "price".into(),
                json!({"id": price["price"], "object": "price", "product": price["product"]}),
            );
            line.insert(
                "plan".into(),
                json!({"id": price["price"], "object": "plan", "product": price["product"]}),
            );
        }
    }
    if is(object, "charge") || is(object, "payment_intent") {
        let invoice = object["amount"]
            .as_i64()
            .and_then(|amount| told.invoices.get(&amount));
        object.insert("invoice".into(), json!(invoice));
    }
}

/// A charge listed its refunds, and an intent its charges.
fn before_2022_11_15(object: &mut Map<String, Value>, _: &Told) {
    if is(object, "charge") {
        let refunded = object["amount_refunded"].as_i64().unwrap();
        let refunds = if refunded > 0 {
            json!([{"id": "re_1", "object": "refund", "amount": refunded}])
        } else {
            json!([])
        };
        let count = refunds.as_array().map(Vec::len);
        object.insert(
            "refunds".into(),
            json!({"object": "list", "data": refunds, "has_more": false, "total_count": count}),
        );
    }
    if is(object, "payment_intent") {
        let charges: Vec<_> = object
            .remove("latest_charge")
            .filter(Value::is_string)
            .into_iter()
            .map(|id| json!({"id": id, "object": "charge"}))
            .collect();
        object.insert(
            "charges".into(),
            json!({"object": "list", "data": charges, "has_more": false}),
        );
    }
}

/// What is collected was what is billed, and a price was a plan.
fn before_2019_10_17(object: &mut Map<String, Value>, _: &Told) {
    if let Some(method) = object.remove("collection_method") {
        object.insert("billing".into(), method);
    }
    for name in ["items", "lines"] {
        for item in listed(object, name) {
            remove(item, &["price"]);
        }
    }
}

/// An event as an endpoint of this version gets it.
fn told_in(version: usize, body: &[u8], told: &Told) -> Vec<u8> {
    let shaped = |object: &Map<String, Value>| {
        let mut object = object.clone();
        for (_, rewrite) in &VERSIONS[..=version] {
            rewrite(&mut object, told);
        }
        object
    };
    let mut event: Value = serde_json::from_slice(body).unwrap();
    let object = event["data"]["object"].as_object().unwrap().clone();
    event["api_version"] = json!(VERSIONS[version].0);
    event["data"]["object"] = Value::Object(shaped(&object));
    if let Some(previous) = event["data"]["previous_attributes"].as_object() {
        let old = shaped(&undone(&object, previous));
        event["data"]["previous_attributes"] = Value::Object(difference(&old, &shaped(&object)));
    }
    serde_json::to_vec(&event).unwrap()
}

/// Ada's life, version by version.
fn shapes(life: &Life) -> Vec<Vec<Change>> {
    let told = Told::of(life);
    let in_version = |version| {
        let bodies = life.bodies.iter().map(|body| told_in(version, body, &told));
        bodies
            .map(|body| change_of(&body).expect("it changes state"))
            .collect()
    };
    (0..VERSIONS.len()).map(in_version).collect()
}

fn play<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Account {
    let mut account = Account::default();
    for change in changes {
        account.apply(change);
    }
    account
}

/// A customer's state, without what the oldest shapes cannot say.
fn state(life: &Life, account: &Account, version: usize) -> Value {
    for (key, stored) in account.rows() {
        assert!(
            stored.row.shown().decided,
            "{} is undecided in {}",
            key.id,
            VERSIONS[version].0
        );
    }
    let customer = life.expected.keys().next().unwrap();
    let mut state = account.state(customer, life.now);
    if version >= WITHOUT_PRICES {
        forget_lookup_keys(&mut state);
    }
    state
}

fn forget_lookup_keys(state: &mut Value) {
    let subscriptions = state["subscriptions"].as_object_mut().unwrap().values_mut();
    for item in subscriptions
        .filter_map(|subscription| subscription["items"].as_array_mut())
        .flatten()
    {
        item["lookup_key"] = Value::Null;
    }
}

#[test]
fn a_life_ends_in_one_state_in_every_shape_and_order() {
    let life = lives::named("ada");
    let shapes = shapes(&life);
    let newest = play(&shapes[0]);
    for (version, changes) in shapes.iter().enumerate() {
        let wanted = state(&life, &newest, version);
        for seed in 0..50 {
            let order = Chance::new(seed).deliveries(changes.len());
            let account = play(order.iter().map(|n| &changes[*n]));
            assert_eq!(
                state(&life, &account, version),
                wanted,
                "{} in the order {order:?}",
                VERSIONS[version].0
            );
        }
    }
}

#[test]
fn the_shapes_do_differ() {
    let life = lives::named("ada");
    let told = Told::of(&life);
    for (version, (name, _)) in VERSIONS.iter().enumerate().skip(1) {
        let differ = life.bodies.iter().filter(|body| {
            let objects = [version - 1, version].map(|version| {
                let event: Value = serde_json::from_slice(&told_in(version, body, &told)).unwrap();
                event["data"]["object"].clone()
            });
            objects[0] != objects[1]
        });
        assert!(differ.count() > 2, "{name}");
    }
    let oldest: Value =
        serde_json::from_slice(&told_in(WITHOUT_PRICES, &life.bodies[11], &told)).unwrap();
    let previous = &oldest["data"]["previous_attributes"];
    assert!(previous["current_period_end"].is_i64(), "{previous}");
    assert!(previous["items"]["data"][0]["price"].is_null());
}

/// Two endpoints may get every event, each in its version.
#[test]
fn of_two_versions_of_every_event_the_newer_one_counts() {
    let life = lives::named("ada");
    let shapes = shapes(&life);
    for (version, older) in shapes.iter().enumerate().skip(1) {
        let both: Vec<_> = shapes[0].iter().chain(older).collect();
        let newest = play(&shapes[0]);
        for seed in 0..50 {
            let order = Chance::new(seed).deliveries(both.len());
            let account = play(order.iter().map(|n| both[*n]));
            // A state that only the older version told stays stored, so that its second's size only grows.
            for ((key, got), (_, wanted)) in account.rows().zip(newest.rows()) {
                assert_eq!(
                    got.row.shown(),
                    wanted.row.shown(),
                    "{key:?} with {} in the order {order:?}",
                    VERSIONS[version].0
                );
            }
        }
    }
}

/// An endpoint may be set to a newer version at any moment.
#[test]
fn a_version_may_change_between_any_two_seconds() {
    let life = lives::named("ada");
    let shapes = shapes(&life);
    let wanted = state(&life, &play(&shapes[0]), WITHOUT_PRICES);
    for (version, older) in shapes.iter().enumerate().skip(1) {
        let second = |n: usize| older[n].incoming.second;
        for upgrade in (1..older.len()).filter(|n| second(n - 1) < second(*n)) {
            let changes: Vec<_> = older[..upgrade]
                .iter()
                .chain(&shapes[0][upgrade..])
                .collect();
            let order = Chance::new(upgrade as u64).deliveries(changes.len());
            let account = play(order.iter().map(|n| changes[*n]));
            assert_eq!(
                state(&life, &account, WITHOUT_PRICES),
                wanted,
                "{} up to event {upgrade}",
                VERSIONS[version].0
            );
        }
    }
}

/// Within a second the snapshots of two versions cannot be compared. What is decided all the same must be right.
#[test]
fn a_version_that_changes_within_a_second_leads_to_nothing_wrong() {
    let life = lives::named("ada");
    let shapes = shapes(&life);
    let newest = play(&shapes[0]);
    let (mut rows, mut undecided) = (0, 0);
    for older in &shapes[1..WITHOUT_PRICES] {
        for upgrade in 1..older.len() {
            let account = play(older[..upgrade].iter().chain(&shapes[0][upgrade..]));
            for ((key, stored), (_, wanted)) in account.rows().zip(newest.rows()) {
                let decided = stored.row.shown().decided;
                rows += 1;
                undecided += u32::from(!decided);
                assert!(
                    !decided || stored.extract() == wanted.extract(),
                    "{} is wrong, with a new version from event {upgrade} on",
                    key.id
                );
            }
        }
    }
    println!("{undecided} of {rows} rows are undecided where a version changes at any event");
}
