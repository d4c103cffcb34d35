//! The lines of metrics that the functions write, for those who judge alarms by them: `infra/lib/metric_lines.json`.
//!
//! `BILLHOOK_WRITE=1` writes the file anew; without it the file must be what the functions write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lambda_events::event::sqs::SqsEvent;
use billhook_core::metrics::Metrics;
use billhook_core::scope::Mode;
use billhook_core::signature::stripe;
use billhook_core::time::Clock;
use billhook_embedded::stack::Stack;
use billhook_stripe::{ApiKey, StripeApi};
use billhook_tests::harness::{
    Ground, Lines, NOW, SECRET, STRIPES_ADDRESS, consumer, customer_event, from_address, record,
    request, root, stack_with,
};
use consumer::Consumer;
use serde_json::{Value, json};
use webhook::addresses::Check;
use webhook::secrets::Secrets;

const STRANGER: &str = "192.0.2.77";

/// The lines without their times: whoever plays them says when.
fn timeless(lines: &Lines) -> Vec<Value> {
    let lines = lines.all().into_iter().map(|line| {
        let mut line: Value = serde_json::from_str(&line).expect("a line of metrics is JSON");
        assert!(line["timestamp"].is_string(), "{line}");
        line["_aws"]["Timestamp"] = json!(0);
        line["timestamp"] = json!("");
        line
    });
    lines.collect()
}

/// What the webhook function writes of one request.
async fn webhook(
    change: impl FnOnce(&mut Stack),
    body: &[u8],
    signature: Option<&str>,
    address: &str,
) -> Vec<Value> {
    let lines = Lines::default();
    let mut stack = stack_with(Lines::default().log()).await;
    stack.webhook.metrics = Metrics::new(Some("stack".to_owned()), lines.writer());
    change(&mut stack);
    let request = request("/webhooks/stripe", body, signature);
    stack.webhook.handle(from_address(request, address)).await;
    timeless(&lines)
}

/// What a stranger's flood makes the webhook function write in a minute and at the next one's first request.
async fn flood() -> Vec<Value> {
    let lines = Lines::default();
    let now_ms = Arc::new(AtomicI64::new(NOW * 1000));
    let told = now_ms.clone();
    let clock: Clock = Arc::new(move || told.load(Ordering::SeqCst));
    let mut stack = stack_with(Lines::default().log()).await;
    stack.webhook.clock = clock;
    stack.webhook.metrics = Metrics::new(Some("stack".to_owned()), lines.writer());
    for _ in 0..60 {
        let request = request("/webhooks/stripe", b"{}", Some(&forged()));
        stack.webhook.handle(from_address(request, STRANGER)).await;
    }
    now_ms.fetch_add(60_000, Ordering::SeqCst);
    let request = request("/webhooks/stripe", b"{}", Some(&forged()));
    stack.webhook.handle(from_address(request, STRANGER)).await;
    timeless(&lines)
}

fn forged() -> String {
    format!("t={NOW},v1={}", "0".repeat(64))
}

/// What the consumer writes of one batch.
async fn batch(change: impl FnOnce(&mut Consumer), bodies: &[Vec<u8>]) -> Vec<Value> {
    let ground = Ground::embedded().await;
    let lines = Lines::default();
    let mut consumer = consumer(ground.store.clone(), Lines::default().log());
    consumer.metrics = Metrics::new(Some("stack".to_owned()), lines.writer());
    change(&mut consumer);
    let mut event = SqsEvent::default();
    event.records = bodies.iter().map(|body| record(body, 1)).collect();
    consumer.handle(event, NOW * 1000 + 3_600_000).await;
    timeless(&lines)
}

/// Two updates of one second that end where they began: nothing tells which of the two states that is.
fn circle() -> Vec<Vec<u8>> {
    let update = |id: &str, from: &str, to: &str| {
        json!({"id": id, "object": "event", "type": "customer.subscription.updated", "created": NOW - 1000,
            "livemode": false, "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1",
                "status": to}, "previous_attributes": {"status": from}}})
        .to_string()
        .into_bytes()
    };
    vec![
        update("evt_1", "active", "past_due"),
        update("evt_2", "past_due", "active"),
    ]
}

async fn lines() -> BTreeMap<&'static str, Vec<Value>> {
    let body = customer_event("evt_1", NOW - 2, "ada@example.test");
    let other_mode = {
        let mut event: Value = serde_json::from_slice(&body).expect("JSON");
        event["livemode"] = json!(true);
        event.to_string().into_bytes()
    };
    let sign = |body: &[u8], at: i64| stripe::sign(body, SECRET, at);
    let signed = sign(&body, NOW);
    let large = vec![b' '; 300_000];
    let nothing = |_: &mut Stack| {};
    let plain = |_: &mut Consumer| {};
    let missing = || AwsNowhere::secrets();
    let mut lines = BTreeMap::new();
    let mut put = |name, made: Vec<Value>| assert!(lines.insert(name, made).is_none(), "{name}");

    put(
        "webhook: a delivery",
        webhook(nothing, &body, Some(&signed), STRIPES_ADDRESS).await,
    );
    for (name, body, signature, address) in [
        ("webhook: a forged delivery", &body, forged(), STRANGER),
        (
            "webhook: a forged delivery from an address of Stripe's",
            &body,
            forged(),
            STRIPES_ADDRESS,
        ),
        (
            "webhook: timestamp too old",
            &body,
            sign(&body, NOW - 9_999),
            STRIPES_ADDRESS,
        ),
        (
            "webhook: timestamp in the future",
            &body,
            sign(&body, NOW + 9_999),
            STRIPES_ADDRESS,
        ),
        ("webhook: too large", &large, sign(&large, NOW), STRANGER),
        (
            "webhook: too large, from Stripe's",
            &large,
            sign(&large, NOW),
            STRIPES_ADDRESS,
        ),
    ] {
        put(
            name,
            webhook(nothing, body, Some(&signature), address).await,
        );
    }
    put("webhook: a flood of forged deliveries", flood().await);
    let no_secret = |stack: &mut Stack| stack.webhook.secrets = Secrets::fixed(None, None);
    put(
        "webhook: no secret",
        webhook(no_secret, &body, Some(&signed), STRIPES_ADDRESS).await,
    );
    let unread = |stack: &mut Stack| stack.webhook.secrets = missing();
    put(
        "webhook: a secret that cannot be read",
        webhook(unread, &body, Some(&signed), STRIPES_ADDRESS).await,
    );
    let down = |stack: &mut Stack| stack.queue.set_down(true);
    put(
        "webhook: the queue is down",
        webhook(down, &body, Some(&signed), STRIPES_ADDRESS).await,
    );
    let rolled = format!("whsec_new,{SECRET}");
    let old = |stack: &mut Stack| stack.webhook.secrets = Secrets::fixed(Some(&rolled), None);
    put(
        "webhook: old secret only",
        webhook(old, &body, Some(&signed), STRIPES_ADDRESS).await,
    );
    let enforced = |stack: &mut Stack| stack.webhook.addresses.check = Check::Enforce;
    put(
        "webhook: an address that is not listed",
        webhook(enforced, &body, Some(&signed), STRANGER).await,
    );

    put(
        "consumer: an event is applied",
        batch(plain, std::slice::from_ref(&body)).await,
    );
    put(
        "consumer: an event twice",
        batch(plain, &[body.clone(), body.clone()]).await,
    );
    put(
        "consumer: an event of the other mode",
        batch(plain, &[other_mode]).await,
    );
    put(
        "consumer: an event is parked",
        batch(plain, &[b"nonsense".to_vec()]).await,
    );
    put("consumer: a row is open", batch(plain, &circle()).await);
    let nobody_answers = |consumer: &mut Consumer| {
        let key = ApiKey::Plain("sk_test_1".to_owned());
        consumer.stripe = Some(StripeApi::new("http://127.0.0.1:1", key, Mode::Test));
    };
    put(
        "consumer: a refetch fails",
        batch(nobody_answers, &circle()).await,
    );
    lines
}

/// A Secrets Manager that is not there.
struct AwsNowhere;

impl AwsNowhere {
    fn secrets() -> Secrets {
        let environment = billhook_aws::AwsEnvironment::local("http://127.0.0.1:1".to_owned());
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:StripeWebhookSecret-AbCdEf";
        let place = webhook::secrets::Place::Manager(arn.to_owned());
        let clock: Clock = Arc::new(|| NOW * 1000);
        Secrets::new(
            &environment,
            place,
            webhook::secrets::Place::Nowhere,
            &clock,
        )
    }
}

#[tokio::test]
async fn the_lines_that_alarms_are_judged_by_are_those_that_the_functions_write() {
    let written = serde_json::to_string_pretty(&lines().await).expect("JSON") + "\n";
    let path = root().join("infra/lib/metric_lines.json");
    if std::env::var("BILLHOOK_WRITE").is_ok_and(|value| value == "1") {
        std::fs::write(&path, &written).expect("the file can be written");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        known, written,
        "the functions write other lines: run this test with BILLHOOK_WRITE=1"
    );
}
