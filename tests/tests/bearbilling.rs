//! Bear Billing through the whole stack: its events end in one view under the organization, also those that name
//! only a subscription, whichever comes first and whoever stops on the way.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use billhook_core::access::Policy;
use billhook_core::envelope::Envelope;
use billhook_core::log::{Level, Log};
use billhook_core::scope::{Mode, Scope, Source};
use billhook_core::signature::bearbilling;
use billhook_embedded::server;
use billhook_embedded::stack::{Options, Stack};
use billhook_store::Meter;
use consumer::record::{Delivery, DeliveryOutcome};
use lambda_http::{Body, Request, RequestExt, http};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use webhook::secrets::Secrets;

const SECRET: &str = "bbsec_tests";

/// The time of every test, in Unix milliseconds: after the last of the sample events.
const NOW_MS: i64 = 1_796_000_000_000;

macro_rules! samples {
    ($($name:literal),+ $(,)?) => {
        [$(include_str!(concat!("../../events/bearbilling/", $name, ".json"))),+]
    };
}

/// One event of each type, in the order in which they happened.
const SAMPLES: [&str; 7] = samples![
    "subscription.created",
    "invoice.created",
    "invoice.payment_failed",
    "invoice.paid",
    "usage.recorded",
    "subscription.updated",
    "subscription.cancelled",
];

const ORGANIZATION: &str = "org_5kd82mqx";
const SUBSCRIPTION: &str = "bsub_7c1e90f4a2";
const INVOICE: &str = "binv_3f86d0b91e";

/// The stack, at a fixed time.
struct Bear(Arc<Stack>);

impl Bear {
    async fn start() -> Self {
        Self::start_metered(None).await
    }

    async fn start_metered(meter: Option<Meter>) -> Self {
        let options = Options {
            folder: None,
            secrets: Secrets::fixed(None, Some(SECRET)),
            tolerance_secs: 300,
            mode: Mode::Test,
            event_retention_days: 90,
            policy: Policy::default(),
            stripe: None,
            clock: Arc::new(|| NOW_MS),
            log: Log::new(Level::Error, |line| panic!("an error is logged: {line}")),
        };
        let mut stack = Stack::start(options).await.expect("the stack starts");
        if let Some(meter) = meter {
            stack.consumer.store = stack.store.clone().metered(meter);
        }
        Self(Arc::new(stack))
    }

    /// Posts a signed body, as Bear Billing does.
    async fn post(&self, body: &str) -> u16 {
        let request = http::Request::builder()
            .method("POST")
            .uri("http://localhost/webhooks/bearbilling")
            .header(
                bearbilling::HEADER,
                bearbilling::sign(body.as_bytes(), SECRET),
            )
            .body(Body::from(body));
        let request: Request = request.expect("a request");
        let request = request.with_raw_http_path("/webhooks/bearbilling");
        self.0.webhook.handle(request).await.status().as_u16()
    }

    /// Handles all that is queued.
    async fn work(&self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        loop {
            let handled = self.0.work_once(Duration::ZERO).await;
            if handled.is_empty() {
                return deliveries;
            }
            deliveries.extend(handled);
        }
    }

    /// Hands one delivery of an event straight to the consumer.
    async fn deliver(&self, source: Source, body: &str) -> DeliveryOutcome {
        let envelope = Envelope {
            source,
            received_at_ms: NOW_MS,
            body: body.as_bytes().to_vec(),
        };
        let mut message = SqsMessage::default();
        message.message_id = Some("m".to_owned());
        message.body = Some(envelope.encode());
        let mut event = SqsEvent::default();
        event.records.push(message);
        let deliveries = self.0.consumer.deliver_batch(event, NOW_MS + 60_000).await;
        assert_eq!(deliveries[0].reason, None, "{body}");
        deliveries[0].outcome
    }

    async fn take(&self, body: &str) -> DeliveryOutcome {
        self.deliver(Source::BearBilling, body).await
    }

    /// The view of an organization; null where nothing is known of it.
    async fn view(&self, organization: &str) -> Value {
        let now = NOW_MS / 1000;
        let state = self
            .0
            .store
            .customer_state(&scope(), organization, now, Policy::default())
            .await;
        state.expect("the store answers").unwrap_or(Value::Null)
    }
}

fn scope() -> Scope {
    Scope {
        source: Source::BearBilling,
        mode: Mode::Test,
        account: None,
    }
}

/// A sample with every id of its own, so that many lives fit one stack.
fn of_life(life: usize, sample: &str) -> String {
    ["org_", "bsub_", "binv_", "bev_"]
        .iter()
        .fold(sample.to_owned(), |body, prefix| {
            body.replace(&format!("\"{prefix}"), &format!("\"{prefix}{life}_"))
        })
}

/// The view of a life, with the ids of the samples again.
async fn view_of_life(bear: &Bear, life: usize) -> Value {
    let view = bear
        .view(&ORGANIZATION.replace("org_", &format!("org_{life}_")))
        .await;
    let text = ["org_", "bsub_", "binv_", "bev_"]
        .iter()
        .fold(view.to_string(), |text, prefix| {
            text.replace(&format!("\"{prefix}{life}_"), &format!("\"{prefix}"))
        });
    serde_json::from_str(&text).expect("still JSON")
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    let Some((first, rest)) = items.split_first() else {
        return vec![Vec::new()];
    };
    let places = |order: Vec<usize>| {
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, *first);
            order
        })
    };
    permutations(rest).into_iter().flat_map(places).collect()
}

/// Runs a future and drops it after so many polls, as a function that is stopped. None where it was.
async fn stopped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| match left {
        0 => Poll::Ready(None),
        _ => {
            left -= 1;
            future.as_mut().poll(context).map(Some)
        }
    })
    .await
}

#[tokio::test]
async fn the_seven_types_end_in_one_view_under_the_organization() {
    let bear = Bear::start().await;
    for body in SAMPLES.iter().rev().chain(&SAMPLES) {
        assert_eq!(bear.post(body).await, 200);
    }
    let deliveries = bear.work().await;
    assert_eq!(deliveries.len(), 14);
    let ignored = deliveries.iter().find(|d| d.reason.is_some());
    assert_eq!(ignored, None);

    let view = bear.view(ORGANIZATION).await;
    assert_eq!(view["access"]["reason"], "canceled");
    assert_eq!(view["best_subscription_status"], "canceled");
    let item = json!({"price": "plan_forest_monthly", "product": null, "lookup_key": null, "quantity": 1,
        "current_period_start": 1_793_615_400, "current_period_end": 1_796_207_400});
    let subscription = &view["subscriptions"][SUBSCRIPTION];
    assert_eq!(subscription["items"], json!([item]));
    assert_eq!(subscription["billing_cycle"], "monthly");
    let invoice = json!({"status": "paid", "amount_due": 4900, "amount_paid": 4900, "currency": "usd",
        "subscription": SUBSCRIPTION, "paid_at": 1_793_693_140,
        "first_payment_failed_at": 1_793_615_475,
        "as_of": {"event": "bev_a50967562b231930", "created": 1_793_693_141}});
    assert_eq!(view["invoices"], json!({ INVOICE: invoice }));
    assert_eq!(view["paid_invoices_total"], 4900);
    assert_eq!(view["paid_invoices_count"], 1);
    assert_eq!(view["usage"], json!({"api_calls": 18250}));
}

#[tokio::test]
async fn the_page_of_an_organization_is_found_by_its_source() {
    let bear = Bear::start().await;
    for body in &SAMPLES[..2] {
        bear.take(body).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(server::serve(listener, bear.0.clone()));
    let get = move |query: &'static str| {
        let url = format!("http://{address}/customers/{ORGANIZATION}{query}");
        tokio::task::spawn_blocking(move || {
            let mut answer = ureq::get(url)
                .config()
                .http_status_as_error(false)
                .build()
                .call()?;
            let body = answer.body_mut().read_to_string()?;
            Ok::<_, ureq::Error>((answer.status().as_u16(), body))
        })
    };
    let (status, body) = get("?source=bearbilling")
        .await
        .unwrap()
        .expect("an answer");
    let page: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(page["access"]["granted"], true);
    assert_eq!(page["invoices"][INVOICE]["status"], "open");
    let (status, _) = get("").await.unwrap().expect("an answer");
    assert_eq!(status, 404, "Stripe knows no such customer");
}

#[tokio::test]
async fn whichever_comes_first_each_finds_its_organization() {
    let bear = Bear::start().await;
    // The subscription, two events of its invoice, and usage.
    let events = [0, 1, 3, 4];
    let in_order = events.map(|at| of_life(0, SAMPLES[at]));
    for body in &in_order {
        bear.take(body).await;
    }
    let wanted = view_of_life(&bear, 0).await;
    assert_eq!(wanted["invoices"][INVOICE]["status"], "paid");
    assert_eq!(wanted["usage"], json!({"api_calls": 18250}));
    for (life, order) in permutations(&events).iter().enumerate() {
        let life = life + 1;
        for at in order {
            let body = of_life(life, SAMPLES[*at]);
            bear.take(&body).await;
            assert_eq!(bear.take(&body).await, DeliveryOutcome::Duplicate);
        }
        assert_eq!(view_of_life(&bear, life).await, wanted, "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_same_moment_at_least_one_sees_the_other() {
    let bear = Bear::start().await;
    for life in 0..40 {
        let [subscription, invoice, usage] = [0, 1, 4].map(|at| of_life(life, SAMPLES[at]));
        tokio::join!(
            bear.take(&subscription),
            bear.take(&invoice),
            bear.take(&usage),
            bear.take(&subscription),
            bear.take(&invoice),
        );
        let view = view_of_life(&bear, life).await;
        assert_eq!(view["invoices"][INVOICE]["status"], "open", "life {life}");
        assert_eq!(view["usage"], json!({"api_calls": 18250}), "life {life}");
    }
}

#[tokio::test]
async fn wherever_a_delivery_stops_the_next_one_carries_it_to_the_end() {
    let bear = Bear::start().await;
    let mut life = 0;
    let mut stops = 0;
    // Each of the three is stopped once, before and after the other two came.
    for order in permutations(&[0, 1, 4]) {
        for stopped in 0..3 {
            for polls in 1.. {
                life += 1;
                let bodies: Vec<String> =
                    order.iter().map(|at| of_life(life, SAMPLES[*at])).collect();
                let mut completed = false;
                for (place, body) in bodies.iter().enumerate() {
                    if place == stopped {
                        completed = stopped_after(polls, bear.take(body)).await.is_some();
                    } else {
                        bear.take(body).await;
                    }
                }
                // It comes again, after all others.
                bear.take(&bodies[stopped]).await;
                let view = view_of_life(&bear, life).await;
                let context = format!("{order:?}, {stopped} stopped after {polls} polls: {view}");
                assert_eq!(view["access"]["granted"], true, "{context}");
                assert_eq!(view["invoices"][INVOICE]["status"], "open", "{context}");
                assert_eq!(view["usage"], json!({"api_calls": 18250}), "{context}");
                if completed {
                    break;
                }
                stops += 1;
            }
        }
    }
    assert!(
        stops > 18 * 3,
        "deliveries were stopped in their midst: {stops}"
    );
}

#[tokio::test]
async fn usage_counts_once_per_event_however_often_it_comes() {
    let bear = Bear::start().await;
    let usage = |event: &str, data: Value| {
        json!({"id": event, "type": "usage.recorded", "created_at": "2026-11-05T00:00:00Z", "data": data})
            .to_string()
    };
    let of_subscription =
        json!({"subscription_id": SUBSCRIPTION, "metric": "seats", "quantity": 2});
    let events = [
        usage("bev_1", of_subscription.clone()),
        // The same again is another event.
        usage("bev_2", of_subscription),
        usage(
            "bev_3",
            json!({"organization_id": ORGANIZATION, "quantity": 5}),
        ),
        usage(
            "bev_4",
            json!({"organization_id": ORGANIZATION, "what": ["ever"]}),
        ),
        // Nobody's, as far as is known.
        usage("bev_5", json!({"quantity": 1000})),
        SAMPLES[0].to_owned(),
    ];
    for body in events.iter().chain(events.iter().rev()) {
        bear.take(body).await;
    }
    let view = bear.view(ORGANIZATION).await;
    assert_eq!(view["usage"], json!({"seats": 4, "usage": 5}));
    let records = view["usage_records"].as_object().expect("an object");
    assert_eq!(
        records.keys().collect::<Vec<_>>(),
        ["bev_1", "bev_2", "bev_3", "bev_4"]
    );
    assert_eq!(
        records["bev_4"]["data"]["what"],
        json!(["ever"]),
        "kept as it came"
    );
}

#[tokio::test]
async fn organizations_and_sources_do_not_mix() {
    let bear = Bear::start().await;
    for (life, at) in [(1, 0), (2, 0), (1, 1), (2, 4)] {
        bear.take(&of_life(life, SAMPLES[at])).await;
    }
    let (one, two) = (view_of_life(&bear, 1).await, view_of_life(&bear, 2).await);
    assert_eq!(one["invoices"][INVOICE]["status"], "open");
    assert_eq!((&two["invoices"], &one["usage"]), (&json!({}), &json!({})));
    assert_eq!(two["usage"], json!({"api_calls": 18250}));

    // A subscription of Stripe's with the id that an invoice of Bear Billing's names is not its parent.
    let stripe = json!({"id": "evt_1", "type": "customer.subscription.created", "created": 1, "livemode": false,
        "data": {"object": {"id": "bsub_9", "customer": "cus_1", "status": "active"}}});
    bear.deliver(Source::Stripe, &stripe.to_string()).await;
    let invoice = json!({"id": "bev_9", "type": "invoice.created", "created_at": 1,
        "data": {"id": "binv_9", "subscription_id": "bsub_9", "amount": 1}});
    bear.take(&invoice.to_string()).await;
    assert_eq!(bear.view("cus_1").await, Value::Null);
}

#[tokio::test]
async fn what_each_event_costs() {
    let meter = Meter::default();
    let bear = Bear::start_metered(Some(meter.clone())).await;
    let stripe = |id: u32, at: u32, event_type: &str, object: &str| {
        format!(
            r#"{{"id":"evt_{id}","type":"{event_type}","created":{at},"livemode":false,"data":{{"object":{object}}}}}"#
        )
    };
    let subscription = r#"{"id":"sub_1","customer":"cus_1","status":"active"}"#;
    let invoice = r#"{"id":"in_1","customer":"cus_1","subscription":"sub_1","status":"open"}"#;
    let stripes = [
        stripe(1, 1, "customer.subscription.created", subscription),
        stripe(2, 2, "customer.subscription.updated", subscription),
        stripe(3, 3, "invoice.created", invoice),
    ];
    for body in &stripes {
        bear.deliver(Source::Stripe, body).await;
        let units = meter.take();
        assert_eq!(
            (units.writes, units.reads),
            (2, 0),
            "row and record: {body}"
        );
    }

    let table = [
        // The row, whose it is, the record; is that known, who waits?
        (0, 3, 2),
        // The row, the record; is that known, who waits?
        (5, 2, 2),
        // The row and the record; whose is the subscription?
        (1, 2, 1),
        (4, 2, 1),
    ];
    for (at, writes, reads) in table {
        bear.take(SAMPLES[at]).await;
        let units = meter.take();
        assert_eq!(
            (units.writes, units.reads),
            (writes, reads),
            "{}",
            SAMPLES[at]
        );
    }

    // The row, a note, the record; two looks.
    let [invoice, subscription, updated] = [1, 0, 5].map(|at| of_life(1, SAMPLES[at]));
    bear.take(&invoice).await;
    let units = meter.take();
    assert_eq!((units.writes, units.reads), (3, 2));
    // For the one that waits a link, and a mark so that it is linked once.
    bear.take(&subscription).await;
    assert_eq!(meter.take().writes, 3 + 2);
    bear.take(&updated).await;
    assert_eq!(meter.take().writes, 2);
}
