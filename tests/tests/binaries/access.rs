//! The access function over DynamoDB and EventBridge: from a record of the stream to an event on the bus.

use aws_sdk_dynamodb::types::AttributeValue;
use billhook_embedded::stack::BILLING_TABLE;
use billhook_tests::batches::failures;
use billhook_tests::events_endpoint::{Behaviour, EVENT_BUS, EventsEndpoint};
use billhook_tests::functions::function;
use billhook_tests::harness::{Lines, sample};
use billhook_tests::harness::{consumer, deliver, sdk_config};
use billhook_tests::runtime_api::{Answer, Function};
use serde_json::{Value, json};

use super::Database;

const NONE: [&str; 0] = [];

/// An item as a stream's record shows it.
async fn image(database: &Database, sk: &str) -> Value {
    let client = aws_sdk_dynamodb::Client::new(&sdk_config(database.dynamodb.endpoint()));
    let items = client.scan().table_name(BILLING_TABLE).send().await;
    let items = items.expect("an answer").items.unwrap_or_default();
    let found = items.iter().find(|item| {
        let sort_key = item["sk"].as_s().expect("a text");
        sort_key.starts_with(sk)
    });
    let found = found.unwrap_or_else(|| panic!("no item {sk}: {items:?}"));
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(text) => json!({ "N": text }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        _ => json!({"M": {}}),
    };
    let members = found.iter().map(|(name, of)| (name.clone(), value(of)));
    members.collect::<serde_json::Map<_, _>>().into()
}

fn batch(number: &str, image: &Value) -> Value {
    json!({"Records": [{"eventID": "1", "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "dynamodb": {"SequenceNumber": number, "NewImage": image, "StreamViewType": "NEW_AND_OLD_IMAGES"}}]})
}

#[tokio::test]
async fn a_row_is_noted_and_the_note_is_told() {
    let database = Database::start().await;
    let bus = EventsEndpoint::start().await;
    let variables = [
        ("BILLING_TABLE", BILLING_TABLE),
        ("EVENT_BUS_NAME", EVENT_BUS),
        ("STACK_NAME", "billhook-test"),
        ("AWS_ENDPOINT_URL_DYNAMODB", database.dynamodb.endpoint()),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url()),
    ];
    let access = Function::start(&function("access"), &variables).await;
    let consumer = consumer(database.store.clone(), Lines::default().log());
    deliver(
        &consumer,
        &sample("stripe/customer.subscription.created.json"),
    )
    .await;

    let row = batch(
        "100000000000000000001",
        &image(&database, "subscription#").await,
    );
    assert_eq!(failures(&access.invoke(&row).await.response()), NONE);
    let note = image(&database, "access").await;
    let note_record = batch("100000000000000000002", &note);
    bus.behave(Behaviour::Refuse(400, "AccessDeniedException"));
    let refused = access.invoke(&note_record).await.response();
    assert_eq!(failures(&refused), ["100000000000000000002"]);
    bus.behave(Behaviour::Take);
    assert_eq!(
        failures(&access.invoke(&note_record).await.response()),
        NONE
    );
    let put = bus.take();
    assert_eq!(put.len(), 1, "{put:?}");
    assert_eq!(put[0].detail["customer"], note["customer"]["S"]);
    assert_eq!(put[0].detail["sequence"], 1);

    let nonsense = json!({"Records": [{"dynamodb": {}}]});
    let answer = access.invoke(&nonsense).await;
    assert!(matches!(answer, Answer::Error(_)), "{answer:?}");
    assert_eq!(failures(&access.invoke(&row).await.response()), NONE);
    let lines = access.stop().await;
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(with("\"access told\""), 1, "{lines:#?}");
    assert_eq!(with("\"records come again\""), 1, "{lines:#?}");
    assert_eq!(with("CloudWatchMetrics"), 1, "{lines:#?}");
}
