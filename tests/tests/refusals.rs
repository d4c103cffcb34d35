//! What somebody without a signing secret can do to a stack: no line and no alarm without end, and no way past a path
//! token or a list of addresses (promise G12).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use billhook_core::metrics::Metrics;
use billhook_core::signature::stripe;
use billhook_embedded::stack::Stack;
use billhook_tests::harness::{
    Lines, NOW, SECRET, STRIPES_ADDRESS, answer, customer_event, from_address, request, stack_with,
};
use lambda_http::Request;
use serde_json::{Value, json};
use webhook::addresses::Check;

const STRANGER: &str = "192.0.2.77";
const PATH: &str = "/webhooks/stripe";

/// The stack with a clock that is moved by hand, its lines and its metrics.
struct Watched {
    stack: Stack,
    now_ms: Arc<AtomicI64>,
    lines: Lines,
    metrics: Lines,
}

impl Watched {
    async fn start() -> Self {
        let (lines, metrics) = (Lines::default(), Lines::default());
        let now_ms = Arc::new(AtomicI64::new(NOW * 1000));
        let told = now_ms.clone();
        let mut stack = stack_with(lines.log()).await;
        stack.webhook.clock = Arc::new(move || told.load(Ordering::SeqCst));
        stack.webhook.metrics = Metrics::new(Some("tests".to_owned()), metrics.writer());
        Self {
            stack,
            now_ms,
            lines,
            metrics,
        }
    }

    async fn handle(&self, request: Request) -> (u16, Value) {
        answer(self.stack.webhook.handle(request).await)
    }

    async fn forge(&self, address: &str) -> (u16, Value) {
        let now = self.now_ms.load(Ordering::SeqCst) / 1000;
        let header = format!("t={now},v1={}", "0".repeat(64));
        let forged = request(PATH, b"{}", Some(&header));
        self.handle(from_address(forged, address)).await
    }

    async fn post(&self, path: &str, address: Option<&str>) -> (u16, Value) {
        let body = customer_event("evt_1", NOW, "ada@example.test");
        let signature = stripe::sign(&body, SECRET, self.now_ms.load(Ordering::SeqCst) / 1000);
        let request = request(path, &body, Some(&signature));
        let request = match address {
            Some(address) => from_address(request, address),
            None => request,
        };
        self.handle(request).await
    }

    fn counted(&self, name: &str, reason: Option<&str>) -> i64 {
        let lines = self.metrics.all();
        let lines = lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("a line of metrics is JSON"));
        let lines = lines.filter(|line: &Value| reason.is_none_or(|it| line["Reason"] == it));
        lines.map(|line| line[name].as_i64().unwrap_or(0)).sum()
    }
}

#[tokio::test]
async fn a_flood_of_forgeries_is_counted_exactly_and_written_in_sums() {
    let watched = Watched::start().await;
    for _ in 0..1_234 {
        assert_eq!(watched.forge(STRANGER).await.0, 400);
    }
    watched.now_ms.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(watched.post(PATH, None).await.0, 200);
    assert_eq!(
        watched.counted("Refused", Some("signature_mismatch")),
        1_234
    );
    assert_eq!(watched.counted("RefusedFromStripe", None), 0);
    let (lines, metrics) = (watched.lines.all(), watched.metrics.all());
    // Ten by themselves, 1,224 in sums of a hundred, and the delivery that was taken.
    assert_eq!(lines.len(), 10 + 13 + 1, "{lines:#?}");
    assert_eq!(metrics.len(), 10 + 13, "{metrics:#?}");
}

#[tokio::test]
async fn a_refusal_of_stripes_is_always_written_and_counted_apart() {
    let watched = Watched::start().await;
    for _ in 0..50 {
        assert_eq!(watched.forge(STRIPES_ADDRESS).await.0, 400);
    }
    let reason = Some("signature_mismatch");
    assert_eq!(watched.counted("RefusedFromStripe", reason), 50);
    assert_eq!(watched.counted("Refused", reason), 50);
    assert_eq!(watched.lines.all().len(), 50);
}

#[tokio::test]
async fn a_signed_delivery_from_elsewhere_is_told_of_or_refused_as_configured() {
    let mut watched = Watched::start().await;
    for (check, address, status) in [
        (Check::Off, Some(STRANGER), 200),
        (Check::Log, Some(STRANGER), 200),
        (Check::Log, Some(STRIPES_ADDRESS), 200),
        (Check::Enforce, Some(STRIPES_ADDRESS), 200),
        (Check::Enforce, Some(STRANGER), 403),
        // Behind a load balancer the address is not known.
        (Check::Enforce, None, 403),
    ] {
        watched.stack.webhook.addresses.check = check;
        let (got, answer) = watched.post(PATH, address).await;
        assert_eq!(got, status, "{check:?} {address:?}");
        if status == 403 {
            assert_eq!(answer, json!({"error": "address_not_allowed"}));
        }
    }
    assert_eq!(watched.counted("AddressNotListed", None), 3);
    assert_eq!(watched.counted("Refused", Some("address_not_allowed")), 2);
    // Somebody without the secret does not learn what is on the list.
    assert_eq!(watched.forge(STRANGER).await.0, 400);
    assert_eq!(watched.forge(STRIPES_ADDRESS).await.0, 400);
}

#[tokio::test]
async fn with_a_path_token_every_other_path_is_not_found() {
    let mut watched = Watched::start().await;
    watched.stack.webhook.path_token = Some("b1llh00k-t0ken_1".to_owned());
    for (path, status) in [
        ("/webhooks/stripe/b1llh00k-t0ken_1", 200),
        ("/webhooks/stripe/b1llh00k-t0ken_1/", 200),
        ("/webhooks/stripe", 404),
        ("/webhooks/stripe/", 404),
        ("/webhooks/stripe/b1llh00k-t0ken_2", 404),
        ("/webhooks/stripeb1llh00k-t0ken_1", 404),
        ("/webhooks/b1llh00k-t0ken_1", 404),
        ("/webhooks//b1llh00k-t0ken_1", 404),
        ("/webhooks/stripe//b1llh00k-t0ken_1", 404),
        ("/webhooks/stripe/b1llh00k-t0ken_1/x", 404),
    ] {
        assert_eq!(watched.post(path, None).await.0, status, "{path}");
    }
    watched.stack.webhook.path_token = None;
    let status = watched
        .post("/webhooks/stripe/b1llh00k-t0ken_1", None)
        .await
        .0;
    assert_eq!(status, 404);
}
