//! Signing secrets in Secrets Manager: a roll loses no delivery, an outage refuses none that was accepted before,
//! and forgeries cannot make the function ask often (promise G7).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use billhook_aws::AwsEnvironment;
use billhook_core::metrics::Metrics;
use billhook_core::signature::{bearbilling, stripe};
use billhook_core::time::Clock;
use billhook_embedded::stack::Stack;
use billhook_tests::harness::{
    Lines, NOW, answer, customer_event, post_signed, request, sample, stack_with,
};
use billhook_tests::secrets_endpoint::{Behaviour, SecretsEndpoint};
use serde_json::{Value, json};
use webhook::secrets::{Place, Secrets};

const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:StripeWebhookSecret-AbCdEf";
const BEARBILLING_ARN: &str =
    "arn:aws:secretsmanager:us-east-1:123456789012:secret:BearBillingWebhookSecret-AbCdEf";

const MINUTE_MS: i64 = 60_000;

/// The stack with its secrets in a Secrets Manager, a clock that is moved by hand, and its metrics.
struct Rolled {
    stack: Stack,
    manager: SecretsEndpoint,
    now_ms: Arc<AtomicI64>,
    lines: Lines,
    metrics: Lines,
}

impl Rolled {
    /// With this value in Stripe's secret, or none yet.
    async fn start(value: Option<&str>) -> Self {
        let (lines, metrics) = (Lines::default(), Lines::default());
        let manager = SecretsEndpoint::start().await;
        if let Some(value) = value {
            manager.put(ARN, value);
        }
        manager.put(BEARBILLING_ARN, "bear_secret");
        let now_ms = Arc::new(AtomicI64::new(NOW * 1000));
        let told = now_ms.clone();
        let clock: Clock = Arc::new(move || told.load(Ordering::SeqCst));
        let mut stack = stack_with(lines.log()).await;
        stack.webhook.secrets = Secrets::new(
            &AwsEnvironment::local(manager.url().to_owned()),
            Place::Manager(ARN.to_owned()),
            Place::Manager(BEARBILLING_ARN.to_owned()),
            &clock,
        );
        stack.webhook.clock = clock;
        stack.webhook.metrics = Metrics::new(Some("tests".to_owned()), metrics.writer());
        stack.webhook.read_secrets().await;
        Self {
            stack,
            manager,
            now_ms,
            lines,
            metrics,
        }
    }

    fn pass(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Posts an event with a signature of each of these secrets, as Stripe does during a roll.
    async fn post(&self, secrets: &[&str]) -> (u16, Value) {
        let now = self.now_ms.load(Ordering::SeqCst) / 1000;
        let body = customer_event(&format!("evt_{now}"), now, "ada@example.test");
        let signatures = secrets.iter().map(|secret| {
            let header = stripe::sign(&body, secret, now);
            header.split_once(",v1=").expect("a signature").1.to_owned()
        });
        let header = format!("t={now},v1={}", signatures.collect::<Vec<_>>().join(",v1="));
        let request = request("/webhooks/stripe", &body, Some(&header));
        answer(self.stack.webhook.handle(request).await)
    }

    async fn takes(&self, secrets: &[&str], when: &str) {
        let (status, answer) = self.post(secrets).await;
        assert_eq!(status, 200, "{when}: {answer}");
    }

    /// How often a metric was counted in all.
    fn counted(&self, name: &str) -> i64 {
        let lines = self.metrics.all();
        let lines = lines.iter().map(|line| {
            let line: Value = serde_json::from_str(line).expect("a line of metrics is JSON");
            line[name].as_i64().unwrap_or(0)
        });
        lines.sum()
    }
}

#[tokio::test]
async fn a_whole_roll_refuses_no_delivery() {
    let rolled = Rolled::start(Some("whsec_old")).await;
    rolled.takes(&["whsec_old"], "before the roll").await;
    // Rolled in Stripe: it signs with both. We know the old one.
    rolled.takes(&["whsec_new", "whsec_old"], "rolled").await;
    rolled.pass(MINUTE_MS);
    rolled.takes(&["whsec_new", "whsec_old"], "rolled").await;
    assert_eq!(
        rolled.counted("OldSecretOnly"),
        0,
        "there is no newer one yet"
    );
    // Told to Secrets Manager. The next delivery is the first with the new one alone: it matches nothing that is
    // known, so the secret is read again at once.
    rolled
        .manager
        .put(ARN, r#"{"secrets":["whsec_new","whsec_old"]}"#);
    rolled.takes(&["whsec_new"], "the new one alone").await;
    rolled.takes(&["whsec_new", "whsec_old"], "both").await;
    assert_eq!(rolled.counted("OldSecretOnly"), 0);
    rolled.takes(&["whsec_old"], "a late retry").await;
    assert_eq!(
        rolled.counted("OldSecretOnly"),
        1,
        "only the old one matched"
    );
    // The old one has ended in Stripe and is taken out.
    rolled.pass(24 * 60 * MINUTE_MS);
    rolled.manager.put(ARN, "whsec_new");
    rolled.takes(&["whsec_new"], "after the roll").await;
    assert_eq!(rolled.post(&["whsec_old"]).await.0, 400);
    assert_eq!(rolled.counted("Refused"), 1, "the old one, after the roll");
    assert_eq!(rolled.counted("SecretRefreshFailures"), 0);
}

#[tokio::test]
async fn an_outage_of_secrets_manager_during_a_roll_refuses_nothing() {
    let both = r#"{"secrets":["whsec_new","whsec_old"]}"#;
    let rolled = Rolled::start(Some(both)).await;
    for behaviour in [
        Behaviour::Refuse(500, "InternalServiceError"),
        Behaviour::Refuse(400, "AccessDeniedException"),
        Behaviour::Hang,
    ] {
        rolled.manager.behave(behaviour);
        for signs in [
            &["whsec_old"][..],
            &["whsec_new", "whsec_old"],
            &["whsec_new"],
        ] {
            rolled.pass(10 * MINUTE_MS);
            rolled.takes(signs, &format!("{behaviour:?}")).await;
        }
    }
    assert_eq!(rolled.counted("SecretRefreshFailures"), 9, "each attempt");
    assert_eq!(rolled.counted("Refused"), 0);
    // What it does not know it cannot take, and a forgery is refused as ever.
    assert_eq!(rolled.post(&["whsec_newest"]).await.0, 400);
    rolled.manager.behave(Behaviour::Give);
    rolled.manager.put(ARN, r#"{"secrets":["whsec_newest"]}"#);
    rolled.pass(MINUTE_MS);
    rolled.takes(&["whsec_newest"], "it is back").await;
}

#[tokio::test]
async fn an_unusable_value_is_refused_loudly_and_the_known_one_is_kept() {
    let rolled = Rolled::start(Some("whsec_old")).await;
    for value in ["", "whsec_new\n", "{", r#"{"secrets":["whsec_new",""]}"#] {
        rolled.manager.put(ARN, value);
        rolled.pass(6 * MINUTE_MS);
        rolled.takes(&["whsec_old"], value).await;
        assert_eq!(rolled.post(&["whsec_new"]).await.0, 400, "{value:?}");
    }
    assert_eq!(rolled.counted("SecretRefreshFailures"), 4);
    let shown = rolled.lines.all().join("\n");
    assert_eq!(shown.matches("signing secret not read").count(), 4);
    assert!(!shown.contains("whsec_"), "{shown}");
}

/// Stripe's scheme signs another text than Bear Billing's, so with one secret a delivery of the one could pass for the
/// other's.
#[tokio::test]
async fn a_secret_of_both_sources_closes_bear_billings_route() {
    for (secret, status) in [("whsec_1", 500), ("bear_secret", 200)] {
        let mut stack = stack_with(Lines::default().log()).await;
        stack.webhook.secrets = Secrets::fixed(Some("whsec_0,whsec_1"), Some(secret));
        let body = sample("bearbilling/subscription.created.json");
        let mut request = request("/webhooks/bearbilling", &body, None);
        let signature = bearbilling::sign(&body, secret).parse().expect("a header");
        request.headers_mut().insert(bearbilling::HEADER, signature);
        assert_eq!(
            answer(stack.webhook.handle(request).await).0,
            status,
            "{secret}"
        );
        let event = customer_event("evt_1", NOW, "ada@example.test");
        let (status, _) = post_signed(&stack, &event, "whsec_1").await;
        assert_eq!(status, 200, "Stripe's goes on");
    }
}

#[tokio::test]
async fn without_a_usable_secret_the_answer_is_500_until_there_is_one() {
    for value in [
        None,
        Some(""),
        Some(r#"{"secrets":[]}"#),
        Some(r#"{"secrets":["whsec_1",""]}"#),
        Some("whsec_1\n"),
    ] {
        let rolled = Rolled::start(value).await;
        let refused = rolled.post(&["whsec_1"]).await;
        assert_eq!(
            refused,
            (500, json!({"error": "config_error"})),
            "{value:?}"
        );
        assert_eq!(rolled.counted("Refused"), 1);
        rolled.manager.put(ARN, "whsec_1");
        rolled.pass(5_000);
        rolled.takes(&["whsec_1"], "five seconds later").await;
    }
}

#[tokio::test]
async fn forgeries_cannot_drive_secrets_manager() {
    let rolled = Rolled::start(Some("whsec_1")).await;
    assert_eq!(rolled.manager.requests(), 2, "both sources, at the start");
    // Ten thousand forgeries within two minutes.
    for _ in 0..10_000 {
        assert_eq!(rolled.post(&["whsec_forged"]).await.0, 400);
        rolled.pass(12);
    }
    let asked = rolled.manager.requests() - 2;
    assert_eq!(asked, 3, "once in thirty seconds, counted from the start");
    // After the first ten of a minute they are counted in sums, at the latest with the next minute's first request.
    rolled.pass(MINUTE_MS);
    rolled.takes(&["whsec_1"], "after the flood").await;
    assert_eq!(rolled.counted("Refused"), 10_000);

    // The same while Secrets Manager fails, and while there is no secret at all.
    rolled
        .manager
        .behave(Behaviour::Refuse(400, "AccessDeniedException"));
    let before = rolled.manager.requests();
    for _ in 0..1_000 {
        assert_eq!(rolled.post(&["whsec_forged"]).await.0, 400);
        rolled.pass(120);
    }
    assert!(rolled.manager.requests() - before <= 5);
}

#[tokio::test]
async fn deliveries_at_once_ask_once() {
    let rolled = Rolled::start(Some("whsec_1")).await;
    let before = rolled.manager.requests();
    rolled.pass(6 * MINUTE_MS);
    let posts = [(); 8].map(|()| rolled.takes(&["whsec_1"], "at once"));
    let [a, b, c, d, e, f, g, h] = posts;
    tokio::join!(a, b, c, d, e, f, g, h);
    assert_eq!(rolled.manager.requests() - before, 1);
}

#[tokio::test]
async fn forged_metrics_in_a_delivery_are_none() {
    let rolled = Rolled::start(Some("whsec_1")).await;
    let forged = r#"{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"forged","Dimensions":[[]],"Metrics":[{"Name":"Forged"}]}]},"Forged":1}"#;
    let now = NOW;
    for body in [
        forged.to_owned(),
        json!({"id": forged, "type": forged, "created": now, "livemode": false, "account": forged,
            "data": {"object": {"id": forged, "customer": forged}}})
        .to_string(),
    ] {
        let header = stripe::sign(body.as_bytes(), "whsec_1", now);
        let signed = request("/webhooks/stripe", body.as_bytes(), Some(&header));
        assert_eq!(answer(rolled.stack.webhook.handle(signed).await).0, 200);
        let refused = request("/webhooks/stripe", body.as_bytes(), Some(forged));
        assert_eq!(answer(rolled.stack.webhook.handle(refused).await).0, 400);
    }
    for line in rolled.lines.all() {
        let line: Value = serde_json::from_str(&line).expect("a line of log is JSON");
        assert!(line.get("_aws").is_none(), "{line}");
    }
    for line in rolled.metrics.all() {
        assert!(!line.contains("orged"), "{line}");
    }
    assert_eq!(rolled.counted("Refused"), 2);
}
