//! How the functions start, and what stops them from it.

use billhook_tests::functions::function;
use billhook_tests::runtime_api::Function;
use billhook_tests::sqs_endpoint::QUEUE_URL;

/// Starts a function that must not start. Returns what it said.
async fn failed_start(name: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mut function = Function::start(&function(name), variables).await;
    let status = function.exit().await;
    assert_eq!(status.code(), Some(1), "{name} stops with a plain failure");
    function.stop().await
}

#[tokio::test]
async fn what_is_missing_stops_the_start_with_all_of_it_in_one_line() {
    let webhook: &[&str] = &[
        "QUEUE_URL",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ];
    let consumer: &[&str] = &[
        "EVENTS_TABLE",
        "BILLING_TABLE",
        "STRIPE_MODE",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ];
    let access: &[&str] = &[
        "BILLING_TABLE",
        "EVENT_BUS_NAME",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ];
    for (name, required) in [
        ("webhook", webhook),
        ("consumer", consumer),
        ("access", access),
    ] {
        let mut variables: Vec<_> = required.iter().map(|name| (*name, "")).collect();
        variables.push(("AWS_DEFAULT_REGION", ""));
        let lines = failed_start(name, &variables).await;
        assert_eq!(lines.len(), 1, "{name}: {lines:#?}");
        assert!(lines[0].contains("\"ERROR\""), "{name}: {lines:?}");
        for variable in required {
            let times = lines[0].matches(&format!("{variable} is not set")).count();
            assert_eq!(times, 1, "{name} names {variable} once: {lines:?}");
        }
    }
}

#[tokio::test]
async fn what_is_malformed_stops_the_start_and_its_value_is_not_repeated() {
    let webhook: &[(&str, &str)] = &[
        ("QUEUE_URL", QUEUE_URL),
        ("SIGNATURE_TOLERANCE_SECS", "3oo"),
        ("LOG_LEVEL", "chatty"),
    ];
    let consumer: &[(&str, &str)] = &[
        ("EVENTS_TABLE", "billhook-events"),
        ("BILLING_TABLE", "billhook-billing"),
        ("STRIPE_MODE", "3oo"),
        ("EVENT_RETENTION_DAYS", "-3oo"),
        ("MAX_RECEIVE_COUNT", "0"),
        ("LOG_LEVEL", "3oo"),
    ];
    let access: &[(&str, &str)] = &[
        ("BILLING_TABLE", "billhook-billing"),
        ("EVENT_BUS_NAME", "default"),
        ("GRACE_DAYS", "3oo"),
        ("PURCHASE_DAYS", "-3oo"),
        ("LOST_DISPUTE", "3oo"),
        ("LOG_LEVEL", "3oo"),
    ];
    for (name, variables, good) in [
        ("webhook", webhook, 1),
        ("consumer", consumer, 2),
        ("access", access, 2),
    ] {
        let lines = failed_start(name, variables).await;
        assert_eq!(lines.len(), 1, "{name}: {lines:#?}");
        for (variable, value) in &variables[good..] {
            assert!(lines[0].contains(variable), "{variable}: {lines:?}");
            let repeated = value.len() > 1 && lines[0].contains(value);
            assert!(!repeated, "{variable}: {lines:?}");
        }
        for (variable, _) in &variables[..good] {
            assert!(!lines[0].contains(variable), "{variable}: {lines:?}");
        }
    }
}

#[tokio::test]
async fn a_bundle_that_is_none_stops_the_start_and_is_named_once() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        for path in [manifest, "/no/such/file", "/"] {
            let webhook = [("QUEUE_URL", QUEUE_URL), (variable, path)];
            let consumer = [
                ("EVENTS_TABLE", "billhook-events"),
                ("BILLING_TABLE", "billhook-billing"),
                ("STRIPE_MODE", "test"),
                (variable, path),
            ];
            for (name, variables) in [("webhook", &webhook[..]), ("consumer", &consumer[..])] {
                let lines = failed_start(name, variables).await;
                assert_eq!(lines.len(), 1, "{name}: {lines:#?}");
                let times = lines[0].matches(variable).count();
                assert_eq!(times, 1, "{name} names {variable} once: {lines:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_bundle_of_ones_own_is_taken() {
    let bundle = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/aws/roots/amazon.pem"
    );
    let (sqs, event) = (
        billhook_tests::sqs_endpoint::SqsEndpoint::start().await,
        super::customer_event("evt_1", "cus_1", "ada@example.test"),
    );
    let webhook = super::webhook_at(sqs.url(), &[("AWS_CA_BUNDLE", bundle)]).await;
    let request = billhook_tests::requests::Request::stripe(
        event.to_string(),
        super::STRIPE_SECRET,
        super::now(),
    );
    let payload = request.payload(billhook_tests::requests::Form::HttpApi);
    assert_eq!(super::http(webhook.invoke(&payload).await).0, 200);
}
