//! The contract of the store: what its callers lean on, shown on the embedded DynamoDB and, where it is installed,
//! on the official DynamoDB Local (`BILLHOOK_DYNAMODB_LOCAL`, see [`billhook_tests::dynamodb_local`]).
//!
//! Each rule is a function of the ground it stands on; the list at the end makes a test of each on the embedded
//! one, and one test of all on the official one, so that Java starts once.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use billhook_core::decide::{Change, Guard, Plan, Write, plan};
use billhook_core::event::decode;
use billhook_core::ledger::{Outcome, PARKED_RETENTION_DAYS, Record};
use billhook_core::objects::{Kind, kind_of};
use billhook_core::order::{self, Merged, merge};
use billhook_core::row::{Owner, RowKey, StoredRow};
use billhook_core::scope::{Mode, Scope, Source};
use billhook_store::{
    Disposition, Linked, Marked, Meter, Store, StoreError, StoreErrorKind, Wrote, keys,
};
use billhook_tests::dynamodb_local::{DynamoDbLocal, VARIABLE};
use billhook_tests::harness::{
    Ground, Lines, NOW, RETENTION_DAYS, Random, consumer, deliver, life, platform, sample, samples,
    say, skipped,
};
use consumer::record::DeliveryOutcome;
use serde_json::{Value, json};

const DAY: i64 = 86_400;

/// The guard of a row that is written unread and shows no final state.
const UNREAD: Guard = Guard::AbsentOrOlder { over_final: false };

/// The change that an event of this type and second makes, showing this object.
fn change(event: &str, event_type: &str, second: i64, object: &Value) -> Change {
    let body = json!({"id": event, "object": "event", "type": event_type, "created": second, "livemode": false,
        "data": {"object": object}});
    let body = body.to_string();
    let event = decode(Source::Stripe, Mode::Test, body.as_bytes()).expect("an event");
    match plan(&event, Mode::Test) {
        Plan::Keep(change) => *change,
        Plan::Ignore(reason) => panic!("{event_type} is kept, not {reason:?}"),
    }
}

/// A customer, shown with this e-mail address in this second.
fn customer(event: &str, second: i64, email: &str) -> Change {
    let object = json!({"id": "cus_1", "object": "customer", "email": email});
    change(event, "customer.updated", second, &object)
}

/// A charge that names a customer or none.
fn charge(event: &str, second: i64, customer: Option<&str>) -> Change {
    let object = json!({"id": "ch_1", "object": "charge", "amount": 100, "customer": customer});
    change(event, "charge.updated", second, &object)
}

/// Writes the row that an event alone makes, under this guard.
async fn write(store: &Store, change: &Change, guard: Guard) -> Result<Wrote, StoreError> {
    let row = order::Row::first(&change.incoming);
    let write = Write {
        row,
        guard,
        shows_event: true,
        needs_refetch: false,
    };
    store.write_row(&change.key, None, &write).await
}

async fn written(store: &Store, change: &Change, guard: Guard) {
    let wrote = write(store, change, guard).await;
    assert_eq!(wrote.expect("the store answers"), Wrote::Written);
}

/// What is stored where a write was refused.
async fn refused(store: &Store, change: &Change, guard: Guard) -> StoredRow {
    match write(store, change, guard).await {
        Ok(Wrote::Refused(stored)) => *stored,
        other => panic!("the write is refused and shows the row, not {other:?}"),
    }
}

async fn row(store: &Store, key: &RowKey) -> StoredRow {
    let row = store.read_row(key).await.expect("the row can be read");
    row.expect("there is a row")
}

fn email(stored: &StoredRow) -> &str {
    let email = stored.extract().get("email").and_then(Value::as_str);
    email.expect("the row shows the address")
}

/// Sets attributes of an item directly, as somebody else would.
async fn plant(ground: &Ground, key: &RowKey, set: &str, value: AttributeValue) {
    let keys::Key { pk, sk } = keys::row(key);
    let update = ground
        .client
        .update_item()
        .table_name(&ground.tables.billing);
    update
        .key(keys::PK, AttributeValue::S(pk))
        .key(keys::SK, AttributeValue::S(sk))
        .update_expression(format!("SET {set} = :value"))
        .expression_attribute_values(":value", value)
        .send()
        .await
        .expect("planted");
}

async fn attribute(ground: &Ground, key: &RowKey, name: &str) -> Option<AttributeValue> {
    let keys::Key { pk, sk } = keys::row(key);
    let get = ground.client.get_item().table_name(&ground.tables.billing);
    let get = get
        .key(keys::PK, AttributeValue::S(pk))
        .key(keys::SK, AttributeValue::S(sk));
    let item = get.send().await.expect("read").item?;
    item.get(name).cloned()
}

async fn a_first_row_is_written_and_reads_back(ground: &Ground) {
    let first = customer("evt_1", 10, "first@example.test");
    assert_eq!(ground.store.read_row(&first.key).await.expect("read"), None);
    written(&ground.store, &first, UNREAD).await;
    let stored = row(&ground.store, &first.key).await;
    assert_eq!(
        (&stored.row, stored.rev),
        (&order::Row::first(&first.incoming), 1)
    );
}

async fn an_older_row_is_replaced(ground: &Ground) {
    let (old, new) = (
        customer("evt_1", 10, "old@example.test"),
        customer("evt_2", 11, "new@example.test"),
    );
    written(&ground.store, &old, UNREAD).await;
    written(&ground.store, &new, UNREAD).await;
    let stored = row(&ground.store, &new.key).await;
    assert_eq!(
        (email(&stored), stored.row.second, stored.rev),
        ("new@example.test", 11, 2)
    );
}

async fn a_row_written_unread_is_the_one_that_reading_first_would_make(ground: &Ground) {
    let events = [
        customer("evt_1", 10, "one@example.test"),
        customer("evt_2", 11, "two@example.test"),
        customer("evt_3", 13, "three@example.test"),
    ];
    let mut wanted = None;
    for event in &events {
        written(&ground.store, event, UNREAD).await;
        let Merged::Changed(row) = merge(wanted.as_ref(), &event.incoming) else {
            panic!("a newer second changes the row");
        };
        wanted = Some(row);
    }
    assert_eq!(Some(row(&ground.store, &events[0].key).await.row), wanted);
}

async fn a_row_of_the_same_second_stays_and_is_shown(ground: &Ground) {
    let (there, other) = (
        customer("evt_1", 10, "there@example.test"),
        customer("evt_2", 10, "other@example.test"),
    );
    written(&ground.store, &there, UNREAD).await;
    let shown = refused(&ground.store, &other, UNREAD).await;
    assert_eq!(shown, row(&ground.store, &there.key).await);
    assert_eq!((email(&shown), shown.rev), ("there@example.test", 1));
}

async fn a_newer_row_stays_and_is_shown(ground: &Ground) {
    let (new, old) = (
        customer("evt_2", 11, "new@example.test"),
        customer("evt_1", 10, "old@example.test"),
    );
    written(&ground.store, &new, UNREAD).await;
    let shown = refused(&ground.store, &old, UNREAD).await;
    assert_eq!((email(&shown), shown.rev), ("new@example.test", 1));
}

async fn seconds_are_compared_as_numbers(ground: &Ground) {
    let (nine, ten) = (
        customer("evt_1", 9, "nine@example.test"),
        customer("evt_2", 10, "ten@example.test"),
    );
    written(&ground.store, &nine, UNREAD).await;
    written(&ground.store, &ten, UNREAD).await;
    let shown = refused(&ground.store, &nine, UNREAD).await;
    assert_eq!(email(&shown), "ten@example.test");
}

async fn a_rev_guard_holds_only_while_nobody_wrote(ground: &Ground) {
    let one = customer("evt_1", 10, "one@example.test");
    let two = customer("evt_2", 10, "two@example.test");
    written(&ground.store, &one, UNREAD).await;
    written(&ground.store, &two, Guard::Rev(1)).await;
    let shown = refused(&ground.store, &one, Guard::Rev(1)).await;
    assert_eq!((email(&shown), shown.rev), ("two@example.test", 2));
    written(&ground.store, &one, Guard::Rev(2)).await;
    assert_eq!(row(&ground.store, &one.key).await.rev, 3);
}

async fn a_rev_guard_never_makes_a_row(ground: &Ground) {
    let one = customer("evt_1", 10, "one@example.test");
    let wrote = write(&ground.store, &one, Guard::Rev(1)).await;
    assert_eq!(wrote.expect("an answer"), Wrote::RefusedByNone);
    assert_eq!(ground.store.read_row(&one.key).await.expect("read"), None);
}

async fn attributes_that_others_put_on_a_row_survive(ground: &Ground) {
    let one = charge("evt_1", 10, None);
    written(&ground.store, &one, UNREAD).await;
    let note = AttributeValue::S("from a later version".to_owned());
    plant(ground, &one.key, "future", note.clone()).await;
    written(&ground.store, &charge("evt_2", 11, None), UNREAD).await;
    let linked = ground.store.link(&one.key, 2, Some("cus_1")).await;
    assert_eq!(linked.expect("linked"), Linked::Written);
    assert_eq!(attribute(ground, &one.key, "future").await, Some(note));
}

async fn a_row_of_a_newer_format_is_never_overwritten(ground: &Ground) {
    let one = customer("evt_1", 10, "one@example.test");
    written(&ground.store, &one, UNREAD).await;
    plant(ground, &one.key, "f", AttributeValue::N("99".to_owned())).await;
    let newer = |error: StoreError| {
        assert!(matches!(error.kind, StoreErrorKind::NewerFormat), "{error}");
        assert_eq!(
            error.disposition(),
            Disposition::Retry,
            "a newer consumer may take it"
        );
    };
    let two = customer("evt_2", 20, "two@example.test");
    let wrote = write(&ground.store, &two, UNREAD).await;
    newer(wrote.expect_err("not written"));
    newer(ground.store.read_row(&one.key).await.expect_err("not read"));
    let rows = ground.store.customer_rows(&platform(), "cus_1").await;
    newer(rows.expect_err("not shown"));
    let ties = attribute(ground, &one.key, "ties").await;
    let ties = ties
        .and_then(|ties| ties.as_s().ok().cloned())
        .unwrap_or_default();
    assert!(ties.starts_with("evt_1,"), "{ties}");
}

async fn of_writers_at_once_exactly_one_wins(ground: &Ground) {
    let at_once = async |guard: Guard, second: i64| {
        let writers: Vec<_> = (0..8)
            .map(|i| {
                let store = ground.store.clone();
                let change = customer(&format!("evt_{i}"), second, &format!("{i}@example.test"));
                tokio::spawn(async move { write(&store, &change, guard).await })
            })
            .collect();
        let mut won = 0;
        for writer in writers {
            match writer.await.expect("a writer never panics") {
                Ok(Wrote::Written) => won += 1,
                Ok(Wrote::Refused(_)) => {}
                other => panic!("a writer wins or is shown the row, not {other:?}"),
            }
        }
        won
    };
    assert_eq!(at_once(UNREAD, 10).await, 1, "on no row");
    assert_eq!(at_once(UNREAD, 11).await, 1, "on an older row");
    assert_eq!(
        at_once(Guard::Rev(2), 11).await,
        1,
        "on a row that was read"
    );
    let key = customer("evt", 10, "").key;
    assert_eq!(
        row(&ground.store, &key).await.rev,
        3,
        "each win raised it by one"
    );
}

async fn a_child_is_found_by_its_note(ground: &Ground) {
    let parent = charge("evt_1", 10, None).key;
    let child = |kind, id: &str| RowKey {
        scope: platform(),
        kind,
        id: id.to_owned(),
        owner: None,
    };
    let other = child(Kind::Charge, "ch_2");
    // An id that is no token comes back as it was.
    let children = [child(Kind::Refund, "re_1"), child(Kind::Dispute, "dp 1#é")];
    for note in [&children[0], &children[1], &children[0]] {
        ground.store.note_child(&parent, note).await.expect("noted");
    }
    let found = ground.store.children(&parent).await.expect("found");
    let ids =
        |keys: &[RowKey]| -> BTreeSet<String> { keys.iter().map(|key| key.id.clone()).collect() };
    assert_eq!((found.len(), ids(&found)), (2, ids(&children)));
    assert!(found.iter().all(|key| children.contains(key)));
    assert_eq!(ground.store.children(&other).await.expect("found"), []);
    assert_eq!(
        ground.store.read_row(&parent).await.expect("read"),
        None,
        "a note makes no row of the parent"
    );
}

async fn a_child_that_is_settled_is_not_found_again(ground: &Ground) {
    let parent = charge("evt_1", 10, None).key;
    let child = |id: &str| RowKey {
        id: id.to_owned(),
        kind: Kind::Refund,
        ..parent.clone()
    };
    let (one, other) = (child("re_1"), child("re_2"));
    let store = &ground.store;
    for note in [&one, &other] {
        store.note_child(&parent, note).await.expect("noted");
    }
    store.settle_child(&parent, &one).await.expect("settled");
    let waiting = store.children(&parent).await.expect("found");
    assert_eq!(waiting, std::slice::from_ref(&other));
    // It may be settled again, and whoever notes it again is found again.
    store.settle_child(&parent, &one).await.expect("settled");
    store.note_child(&parent, &one).await.expect("noted");
    let waiting = store.children(&parent).await.expect("found");
    assert_eq!(waiting, [one, other]);
    let stranger = child("re_3");
    let settled = store.settle_child(&parent, &stranger).await;
    settled.expect_err("there is no note to mark");
    assert_eq!(store.children(&parent).await.expect("found").len(), 2);
}

async fn whose_an_owned_object_is_can_be_asked_without_knowing_it(ground: &Ground) {
    let scope = Scope {
        source: Source::BearBilling,
        ..platform()
    };
    let named = RowKey {
        scope,
        kind: Kind::Subscription,
        id: "bsub_1".to_owned(),
        owner: None,
    };
    let owned = RowKey {
        owner: Some(Owner::Customer("org_1".to_owned())),
        ..named.clone()
    };
    let store = &ground.store;
    assert_eq!(store.customer_of(&named).await.expect("read"), None);
    store.note_owner(&owned, "org_1").await.expect("noted");
    store.note_owner(&owned, "org_1").await.expect("noted");
    let customer = store.customer_of(&named).await.expect("read");
    assert_eq!(customer.as_deref(), Some("org_1"));
    let rows = store.customer_rows(&owned.scope, "org_1").await;
    assert_eq!(rows.expect("read"), [], "the note is no row");

    // Of a linked object the row itself tells.
    let linked = charge("evt_1", 10, Some("cus_1"));
    assert_eq!(store.customer_of(&linked.key).await.expect("read"), None);
    written(store, &linked, UNREAD).await;
    let customer = store.customer_of(&linked.key).await.expect("read");
    assert_eq!(customer.as_deref(), Some("cus_1"));
}

async fn a_link_is_made_under_the_rev_that_was_read(ground: &Ground) {
    let one = charge("evt_1", 10, None);
    let store = &ground.store;
    let link = async |rev: u64, customer: Option<&str>| {
        let linked = store.link(&one.key, rev, customer).await;
        linked.expect("an answer")
    };
    let charges = async |customer: &str| {
        let rows = store.customer_rows(&platform(), customer).await;
        let rows = rows.expect("read").into_iter();
        rows.map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(link(1, Some("cus_1")).await, Linked::Refused);
    assert_eq!(store.read_row(&one.key).await.expect("read"), None);
    written(store, &one, UNREAD).await;
    assert_eq!(charges("cus_1").await, Vec::<String>::new());
    assert_eq!(link(1, Some("cus_1")).await, Linked::Written);
    assert_eq!(charges("cus_1").await, ["ch_1"]);
    let stored = row(store, &one.key).await;
    assert_eq!((stored.link.as_deref(), stored.rev), (Some("cus_1"), 2));
    // Who looked before that does not put an older answer over it.
    assert_eq!(link(1, Some("cus_2")).await, Linked::Refused);
    assert_eq!(charges("cus_2").await, Vec::<String>::new());
    assert_eq!(link(2, Some("cus_2")).await, Linked::Written);
    assert_eq!(charges("cus_1").await, Vec::<String>::new());
    assert_eq!(charges("cus_2").await, ["ch_1"]);
    assert_eq!(link(3, None).await, Linked::Written);
    assert_eq!(charges("cus_2").await, Vec::<String>::new());
    assert_eq!(row(store, &one.key).await.customer(), None);
}

async fn an_object_belongs_to_the_customer_that_its_newest_state_names(ground: &Ground) {
    let store = &ground.store;
    let ids = async |customer: &str| {
        let rows = store.customer_rows(&platform(), customer).await;
        rows.expect("read").len()
    };
    let named = [
        (10, Some("cus_1"), (1, 0)),
        (11, Some("cus_2"), (0, 1)),
        (12, None, (0, 0)),
    ];
    for (second, customer, wanted) in named {
        let event = charge(&format!("evt_{second}"), second, customer);
        written(store, &event, UNREAD).await;
        assert_eq!((ids("cus_1").await, ids("cus_2").await), wanted);
        let stored = row(store, &event.key).await;
        assert_eq!(stored.customer(), customer);
    }
}

async fn a_final_state_is_not_overwritten_unread(ground: &Ground) {
    let store = &ground.store;
    let intent = |event: &str, second: i64, status: &str| {
        let object = json!({"id": "pi_1", "object": "payment_intent", "status": status});
        change(event, "payment_intent.processing", second, &object)
    };
    let over_final = Guard::AbsentOrOlder { over_final: true };
    let ended = intent("evt_1", 10, "succeeded");
    written(store, &ended, over_final).await;
    let stale = intent("evt_2", 11, "processing");
    let there = refused(store, &stale, UNREAD).await;
    let Merged::Changed(merged) = merge(Some(&there.row), &stale.incoming) else {
        panic!("it is noted");
    };
    let write = Write {
        row: merged.clone(),
        guard: Guard::Rev(there.rev),
        shows_event: false,
        needs_refetch: false,
    };
    let wrote = store.write_row(&stale.key, None, &write).await;
    assert_eq!(wrote.expect("an answer"), Wrote::Written);
    let stored = row(store, &stale.key).await;
    assert_eq!(stored.row, merged, "with all that it keeps");
    assert_eq!(stored.extract()["status"], "succeeded");
    let later = intent("evt_3", 12, "processing");
    refused(store, &later, UNREAD).await;
    let again = intent("evt_4", 13, "succeeded");
    written(store, &again, over_final).await;
    let stored = row(store, &again.key).await;
    assert_eq!((stored.row.second, stored.row.last_final), (13, None));
}

fn event_record(name: &str, outcome: Outcome, body: &[u8]) -> Record {
    Record {
        scope: platform(),
        name: name.to_owned(),
        created: Some(1_760_000_000),
        event_type: Some("invoice.paid".to_owned()),
        outcome,
        reason: (outcome != Outcome::Applied).then(|| "a_reason".to_owned()),
        received_at_ms: NOW * 1000,
        body: body.to_vec(),
    }
}

async fn found(store: &Store, record: &Record) -> billhook_store::LedgerEntry {
    let entry = store
        .find_event(&record.scope, &record.name, record.created)
        .await;
    entry.expect("the ledger can be read").expect("it is there")
}

async fn outcomes_only_go_up(ground: &Ground) {
    for first in Outcome::ALL {
        for second in Outcome::ALL {
            let name = format!("evt_{}_{}", first.name(), second.name());
            let record = |outcome| event_record(&name, outcome, b"{}");
            let marked = ground
                .store
                .mark(&record(first), NOW)
                .await
                .expect("marked");
            assert_eq!(marked, Marked::Recorded);
            let again = ground
                .store
                .mark(&record(second), NOW)
                .await
                .expect("marked");
            let raised = second > first;
            assert_eq!(
                again == Marked::Recorded,
                raised,
                "{} after {}",
                second.name(),
                first.name()
            );
            let entry = found(&ground.store, &record(first)).await;
            assert_eq!(entry.outcome, first.max(second));
        }
    }
}

async fn raising_a_parked_event_ends_its_parking(ground: &Ground) {
    let parked = event_record("evt_1", Outcome::Parked, b"{}");
    ground.store.mark(&parked, NOW).await.expect("marked");
    let entry = found(&ground.store, &parked).await;
    assert_eq!(entry.expires, NOW + i64::from(PARKED_RETENTION_DAYS) * DAY);
    assert_eq!(entry.reason.as_deref(), Some("a_reason"));
    assert_eq!(count(&ground.store, Mode::Test).await, 1);
    let applied = event_record("evt_1", Outcome::Applied, b"{}");
    ground.store.mark(&applied, NOW).await.expect("marked");
    let entry = found(&ground.store, &applied).await;
    assert_eq!(
        (entry.expires, entry.reason),
        (NOW + i64::from(RETENTION_DAYS) * DAY, None)
    );
    assert_eq!(count(&ground.store, Mode::Test).await, 0);
}

async fn count(store: &Store, mode: Mode) -> u64 {
    store
        .count_parked(Source::Stripe, mode)
        .await
        .expect("counted")
}

async fn parked_events_are_counted_over_all_accounts_of_one_source_and_mode(ground: &Ground) {
    let park = async |name: &str, source, mode, account: Option<&str>| {
        let scope = Scope {
            source,
            mode,
            account: account.map(str::to_owned),
        };
        let record = Record {
            scope,
            ..event_record(name, Outcome::Parked, b"{}")
        };
        ground.store.mark(&record, NOW).await.expect("marked");
    };
    park("evt_1", Source::Stripe, Mode::Test, None).await;
    park("evt_2", Source::Stripe, Mode::Test, Some("acct_1")).await;
    park("evt_2", Source::Stripe, Mode::Test, Some("acct_2")).await;
    park("evt_3", Source::Stripe, Mode::Live, None).await;
    park("evt_4", Source::BearBilling, Mode::Test, None).await;
    let applied = event_record("evt_5", Outcome::Applied, b"{}");
    ground.store.mark(&applied, NOW).await.expect("marked");
    assert_eq!(count(&ground.store, Mode::Test).await, 3);
    assert_eq!(count(&ground.store, Mode::Live).await, 1);
}

async fn a_body_is_kept_byte_for_byte(ground: &Ground) {
    let mut random = Random::new(1);
    let noise: Vec<u8> = (0..256 * 1024).map(|_| random.below(256) as u8).collect();
    let bodies: [&[u8]; 6] = [
        b"",
        b"{}",
        b"\xff\xfe\x00 no text",
        "raw \u{fffe}\u{ffff} \u{1}".as_bytes(),
        &[b'x'; 256 * 1024],
        &noise,
    ];
    for (i, body) in bodies.into_iter().enumerate() {
        let record = event_record(&format!("evt_{i}"), Outcome::Applied, body);
        ground.store.mark(&record, NOW).await.expect("marked");
        assert!(
            found(&ground.store, &record).await.body == body,
            "body {i} comes back"
        );
    }
}

async fn an_event_is_found_by_its_name_and_second_alone(ground: &Ground) {
    let record = event_record("evt_1", Outcome::Ignored, b"{}");
    ground.store.mark(&record, NOW).await.expect("marked");
    let entry = found(&ground.store, &record).await;
    assert_eq!(entry.name, "evt_1");
    assert_eq!(entry.event_type.as_deref(), Some("invoice.paid"));
    assert_eq!(entry.received_at_ms, NOW * 1000);
    let find = async |scope: &Scope, id: &str, created| {
        let entry = ground.store.find_event(scope, id, created).await;
        entry.expect("the ledger can be read").is_some()
    };
    assert!(!find(&platform(), "evt_2", record.created).await);
    assert!(!find(&platform(), "evt_1", None).await);
    let account = Scope {
        account: Some("acct_1".to_owned()),
        ..platform()
    };
    assert!(!find(&account, "evt_1", record.created).await);
}

async fn what_is_too_large_for_an_item_is_parked_not_tried_again(ground: &Ground) {
    let object = json!({"id": "cus_1", "metadata": {"note": "x".repeat(500 * 1024)}});
    let large = change("evt_1", "customer.updated", 10, &object);
    let error = write(&ground.store, &large, UNREAD).await;
    let error = error.expect_err("an item has 400 KB at most");
    assert_eq!(
        error.disposition(),
        Disposition::Park("too_large"),
        "a first row: {error}"
    );
    written(
        &ground.store,
        &customer("evt_0", 5, "small@example.test"),
        UNREAD,
    )
    .await;
    let error = write(&ground.store, &large, UNREAD).await;
    let error = error.expect_err("an item has 400 KB at most");
    assert_eq!(
        error.disposition(),
        Disposition::Park("too_large"),
        "over a row: {error}"
    );
    let mut random = Random::new(1);
    let noise: Vec<u8> = (0..500 * 1024).map(|_| random.below(256) as u8).collect();
    let error = ground
        .store
        .mark(&event_record("evt_1", Outcome::Applied, &noise), NOW)
        .await;
    let error = error.expect_err("an item has 400 KB at most");
    assert_eq!(
        error.disposition(),
        Disposition::Park("too_large"),
        "a record: {error}"
    );
}

async fn making_the_tables_again_changes_nothing(ground: &Ground) {
    let one = customer("evt_1", 10, "one@example.test");
    written(&ground.store, &one, UNREAD).await;
    ground.store.create_tables().await.expect("they are there");
    ground.store.create_tables().await.expect("they are there");
    assert_eq!(row(&ground.store, &one.key).await.rev, 1);
}

/// One page of DynamoDB holds 1 MB.
async fn a_customer_of_many_pages_is_read_whole(ground: &Ground) {
    let filler = "x".repeat(100 * 1024);
    for i in 0..24 {
        let (id, event_type) = if i % 2 == 0 {
            (format!("sub_{i}"), "customer.subscription.updated")
        } else {
            (format!("cs_{i}"), "checkout.session.completed")
        };
        let object = json!({"id": id, "customer": "cus_1", "metadata": {"filler": filler}});
        let change = change(&format!("evt_{i}"), event_type, 10, &object);
        written(&ground.store, &change, UNREAD).await;
    }
    let meter = Meter::default();
    let store = ground.store.clone().metered(meter.clone());
    let rows = store
        .customer_rows(&platform(), "cus_1")
        .await
        .expect("read");
    let ids: BTreeSet<_> = rows.iter().map(|row| row.id.clone()).collect();
    assert_eq!((rows.len(), ids.len()), (24, 24), "every row once");
    let bytes = |id: &str| {
        let row = rows.iter().find(|row| row.id == id).expect("it is there");
        row.stored.extract()["metadata"]["filler"]
            .as_str()
            .map(str::len)
    };
    assert_eq!(
        (bytes("sub_0"), bytes("cs_1")),
        (Some(filler.len()), Some(filler.len()))
    );
    let reads = meter.take().reads;
    assert!(
        reads >= 4,
        "two pages of the table and two of the index: {reads} reads"
    );
}

/// The capacity that each type of event takes, through the consumer function, payload kept.
async fn an_event_takes_few_units(ground: &Ground) {
    let mut table = vec![format!(
        "{:52} {:>5} {:>6} {:>5} {:>5}",
        "event", "wr.", "units", "reads", "units"
    )];
    let mut wrong = Vec::new();
    let bodies = samples("stripe");
    for (file, body) in &bodies {
        let event: Value = serde_json::from_slice(body).expect("JSON");
        let event_type = event["type"].as_str().expect("a type");
        let kind = kind_of(Source::Stripe, event_type);
        // What a child belongs to comes first, as it nearly always does.
        let ground = Ground::at(ground.endpoint.clone()).await;
        let meter = Meter::default();
        let consumer = consumer(
            ground.store.clone().metered(meter.clone()),
            Lines::default().log(),
        );
        if matches!(
            kind,
            Some(Kind::Refund | Kind::Dispute | Kind::InvoicePayment)
        ) {
            for parent in ["payment_intent.succeeded", "charge.succeeded"] {
                deliver(&consumer, &sample(&format!("stripe/{parent}.json"))).await;
            }
        }
        let _ = meter.take();
        let delivery = deliver(&consumer, body).await;
        let units = meter.take();
        table.push(format!(
            "{file:52} {:5} {:6} {:5} {:5}",
            units.writes, units.written, units.reads, units.read
        ));
        let taken = (units.writes, units.written, units.reads);
        let right = match kind {
            // The record alone.
            None => taken == (1, 1.0, 0),
            // Row and record, and no look.
            Some(kind) if kind.is_owned(Source::Stripe) => taken == (2, 2.0, 0),
            // Row, index and record, and a look for children.
            Some(Kind::Charge | Kind::PaymentIntent) => taken == (2, 3.0, 1),
            // A session has no parents and no children. Its record is the one that outgrows a unit.
            Some(Kind::CheckoutSession) => taken.0 == 2 && taken.1 <= 4.0 && taken.2 == 0,
            // Row, index and record, a note with each parent, and a look at the nearest before and after.
            Some(Kind::Refund | Kind::Dispute) => taken == (4, 5.0, 2),
            // It names one parent.
            Some(_) => taken == (3, 4.0, 2),
        };
        if !right {
            wrong.push(format!("{file}: {units:?}"));
        }
        assert_eq!(
            delivery.outcome == DeliveryOutcome::Ignored,
            kind.is_none(),
            "{file}: {delivery:?}"
        );
    }
    say(&table.join("\n"));
    assert_eq!(
        wrong,
        Vec::<String>::new(),
        "these take more than they should"
    );
}

/// What the events of whole lives take on average: notes and links are there, and are looked at again each time.
async fn the_events_of_a_life_take_few_units(ground: &Ground) {
    const LIVES: [&str; 10] = [
        "ada",
        "checkout_subscription",
        "dispute_lost",
        "entitlement_changes",
        "full_refund",
        "incomplete_expired",
        "partial_refunds_2020_api",
        "pause_collection_and_resume",
        "same_second_toggles",
        "trial_to_canceled",
    ];
    // Of owned objects and of linked ones: events, units written, units read.
    let mut taken = [(0.0, 0.0, 0.0); 2];
    for name in LIVES {
        let ground = Ground::at(ground.endpoint.clone()).await;
        let meter = Meter::default();
        let consumer = consumer(
            ground.store.clone().metered(meter.clone()),
            Lines::default().log(),
        );
        for body in life(name).events {
            let event: Value = serde_json::from_slice(&body).expect("JSON");
            let kind = kind_of(Source::Stripe, event["type"].as_str().expect("a type"));
            deliver(&consumer, &body).await;
            let units = meter.take();
            if let Some(kind) = kind {
                let of_kind = &mut taken[usize::from(!kind.is_owned(Source::Stripe))];
                *of_kind = (
                    of_kind.0 + 1.0,
                    of_kind.1 + units.written,
                    of_kind.2 + units.read,
                );
            }
        }
    }
    let [owned, linked] =
        taken.map(|(events, written, read)| (events, written / events, read / events));
    say(&format!(
        "owned: {} events, {:.2} units written, {:.2} read; linked: {} events, {:.2} written, {:.2} read",
        owned.0, owned.1, owned.2, linked.0, linked.1, linked.2
    ));
    assert!(owned.1 < 2.3 && owned.2 < f64::EPSILON, "{owned:?}");
    assert!(linked.1 < 3.5 && linked.2 < 1.4, "{linked:?}");
}

macro_rules! contract {
    ($($rule:ident,)*) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $rule() {
                    super::$rule(&super::Ground::embedded().await).await;
                }
            )*
        }

        #[tokio::test]
        async fn the_contract_holds_on_the_official_dynamodb_local() {
            let Some(local) = DynamoDbLocal::start() else {
                let why = format!("{VARIABLE} does not name the folder of DynamoDBLocal.jar");
                return skipped("the store's contract on DynamoDB Local", &why);
            };
            $(
                say(&format!("DynamoDB Local: {}", stringify!($rule)));
                $rule(&Ground::at(local.endpoint.clone()).await).await;
            )*
        }
    };
}

contract! {
    a_first_row_is_written_and_reads_back,
    an_older_row_is_replaced,
    a_row_written_unread_is_the_one_that_reading_first_would_make,
    a_row_of_the_same_second_stays_and_is_shown,
    a_newer_row_stays_and_is_shown,
    seconds_are_compared_as_numbers,
    a_rev_guard_holds_only_while_nobody_wrote,
    a_rev_guard_never_makes_a_row,
    attributes_that_others_put_on_a_row_survive,
    a_row_of_a_newer_format_is_never_overwritten,
    of_writers_at_once_exactly_one_wins,
    a_child_is_found_by_its_note,
    a_child_that_is_settled_is_not_found_again,
    whose_an_owned_object_is_can_be_asked_without_knowing_it,
    a_link_is_made_under_the_rev_that_was_read,
    a_final_state_is_not_overwritten_unread,
    an_object_belongs_to_the_customer_that_its_newest_state_names,
    outcomes_only_go_up,
    raising_a_parked_event_ends_its_parking,
    parked_events_are_counted_over_all_accounts_of_one_source_and_mode,
    a_body_is_kept_byte_for_byte,
    an_event_is_found_by_its_name_and_second_alone,
    what_is_too_large_for_an_item_is_parked_not_tried_again,
    making_the_tables_again_changes_nothing,
    a_customer_of_many_pages_is_read_whole,
    an_event_takes_few_units,
    the_events_of_a_life_take_few_units,
}
