//! The stack and its parts as the tests use them: at a fixed time, with lines of log kept, and with the
//! sample events and lives of `events/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use billhook_aws::{AwsEnvironment, CallLimits, Service};
use billhook_core::access::Policy;
use billhook_core::envelope::Envelope;
use billhook_core::head::Head;
use billhook_core::log::{Level, Line, Log};
use billhook_core::metrics::Metrics;
use billhook_core::scope::{Mode, Scope, Source};
use billhook_core::signature::stripe;
use billhook_embedded::dynamodb::EmbeddedDynamoDb;
use billhook_embedded::stack::{Options, Stack};
use billhook_store::{LedgerEntry, Store, Tables};
use consumer::Consumer;
use consumer::record::{Delivery, DeliveryOutcome};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};
use serde_json::{Map, Value, json};
use webhook::secrets::Secrets;

/// The time of every test, in Unix seconds: after the last event of every life, before Ada's access ends.
pub const NOW: i64 = 1_794_600_000;

/// The signing secret of the tests.
pub const SECRET: &str = "whsec_tests";

/// How long the tests' ledger keeps an event, in days.
pub const RETENTION_DAYS: u32 = 90;

/// How often the queue hands out a message.
pub const RECEIVES_MAX: u32 = consumer::config::DEFAULT_MAX_RECEIVE_COUNT;

/// The embedded stack's visibility timeout, and a little more.
pub const VISIBILITY: Duration = Duration::from_secs(11);

/// The lives of `events/lives` whose end every order of delivery must reach.
pub const LIVES: [&str; 9] = [
    "ada",
    "checkout_subscription",
    "dispute_lost",
    "entitlement_changes",
    "full_refund",
    "incomplete_expired",
    "partial_refunds_2020_api",
    "pause_collection_and_resume",
    "trial_to_canceled",
];

/// The platform's own data in test mode.
#[must_use]
pub fn platform() -> Scope {
    Scope {
        source: Source::Stripe,
        mode: Mode::Test,
        account: None,
    }
}

/// The SDK configuration for a DynamoDB on this machine.
#[must_use]
pub fn sdk_config(endpoint: &str) -> aws_types::SdkConfig {
    // Long: a test says what fails, never the clock.
    let limits = CallLimits {
        attempt: Duration::from_secs(60),
        call: Duration::from_secs(60),
        attempts: 1,
    };
    AwsEnvironment::local(endpoint.to_owned()).sdk_config(Service::DynamoDb, limits)
}

/// Tables that no other test of this process uses.
#[must_use]
pub fn fresh_tables() -> Tables {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    Tables {
        events: format!("events-{process}-{number}"),
        billing: format!("billing-{process}-{number}"),
    }
}

/// A DynamoDB in this process with empty tables.
pub struct Ground {
    /// Where it listens.
    pub endpoint: String,
    /// The names of the tables.
    pub tables: Tables,
    /// A store on it that nothing disturbs.
    pub store: Store,
    /// A client of it, to look at and to plant items directly.
    pub client: aws_sdk_dynamodb::Client,
    _dynamodb: Option<EmbeddedDynamoDb>,
}

impl Ground {
    /// Starts one.
    pub async fn embedded() -> Self {
        let dynamodb = EmbeddedDynamoDb::start(None).await;
        let dynamodb = dynamodb.expect("the embedded DynamoDB starts");
        let endpoint = dynamodb.endpoint().to_owned();
        let mut ground = Self::at(endpoint).await;
        ground._dynamodb = Some(dynamodb);
        ground
    }

    /// Makes empty tables in a DynamoDB that runs already.
    pub async fn at(endpoint: String) -> Self {
        let tables = fresh_tables();
        let client = aws_sdk_dynamodb::Client::new(&sdk_config(&endpoint));
        let store = Store::with_client(client.clone(), tables.clone(), RETENTION_DAYS);
        store.create_tables().await.expect("the tables are made");
        Self {
            endpoint,
            tables,
            store,
            client,
            _dynamodb: None,
        }
    }

    /// Another store on the same tables, behind a client that was made elsewhere.
    #[must_use]
    pub fn store_with(&self, client: aws_sdk_dynamodb::Client) -> Store {
        Store::with_client(client, self.tables.clone(), RETENTION_DAYS)
    }
}

/// A consumer function on a store, at the tests' time.
#[must_use]
pub fn consumer(store: Store, log: Log) -> Consumer {
    Consumer {
        store,
        stripe: None,
        mode: Mode::Test,
        max_receive_count: RECEIVES_MAX,
        clock: Arc::new(|| NOW * 1000),
        log,
        metrics: Metrics::none(),
        warm: AtomicBool::new(true),
        asked_for_open_ms: AtomicI64::new(0),
        told_of_other_mode: AtomicBool::new(false),
    }
}

/// A queue message as the consumer function gets it: a Stripe body in its envelope, received so often.
#[must_use]
pub fn record(body: &[u8], receive_count: u32) -> SqsMessage {
    let envelope = Envelope {
        source: Source::Stripe,
        received_at_ms: NOW * 1000,
        body: body.to_vec(),
    };
    message(envelope.encode(), receive_count)
}

/// A queue message of any text.
#[must_use]
pub fn message(text: String, receive_count: u32) -> SqsMessage {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let mut message = SqsMessage::default();
    let number = SENT.fetch_add(1, Ordering::Relaxed);
    message.message_id = Some(format!("message-{number}"));
    message.body = Some(text);
    let attributes = [
        ("ApproximateReceiveCount", receive_count.to_string()),
        ("SentTimestamp", (NOW * 1000).to_string()),
    ];
    message.attributes = attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    message
}

/// Delivers messages as one batch, with time enough.
pub async fn deliver_messages(consumer: &Consumer, messages: Vec<SqsMessage>) -> Vec<Delivery> {
    let mut event = SqsEvent::default();
    event.records = messages;
    consumer.deliver_batch(event, NOW * 1000 + 3_600_000).await
}

/// Delivers one body for the first time.
pub async fn deliver(consumer: &Consumer, body: &[u8]) -> Delivery {
    let deliveries = deliver_messages(consumer, vec![record(body, 1)]).await;
    let delivery = deliveries.into_iter().next();
    delivery.expect("a record that was delivered has an outcome")
}

/// What the ledger holds of the event in this body.
pub async fn ledger(store: &Store, body: &[u8]) -> Option<LedgerEntry> {
    let head = Head::read(Source::Stripe, body);
    let scope = head.scope(Source::Stripe, Mode::Test);
    store
        .find_event(&scope, &head.name(body), head.created)
        .await
        .expect("the ledger can be read")
}

/// A customer's state at the tests' time; null where nothing is known.
pub async fn state(store: &Store, scope: &Scope, customer: &str) -> Value {
    let state = store
        .customer_state(scope, customer, NOW, Policy::default())
        .await;
    state.expect("the state can be read").unwrap_or(Value::Null)
}

/// Lines of log as they were written.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// A log of every level that keeps its lines here.
    #[must_use]
    pub fn log(&self) -> Log {
        let lines = self.clone();
        Log::new(Level::Debug, move |line: &Line| {
            lines.push(line.to_string())
        })
    }

    /// What keeps lines of metrics here.
    pub fn writer(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let lines = self.clone();
        move |line| lines.push(line.to_owned())
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }

    /// Every line so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The stack in memory at the tests' time, with the tests' secret.
pub async fn stack() -> Stack {
    stack_with(Lines::default().log()).await
}

/// The same with another log.
pub async fn stack_with(log: Log) -> Stack {
    let options = Options {
        stripe: None,
        folder: None,
        secrets: Secrets::fixed(Some(SECRET), None),
        tolerance_secs: 300,
        mode: Mode::Test,
        event_retention_days: RETENTION_DAYS,
        policy: Policy::default(),
        clock: Arc::new(|| NOW * 1000),
        log,
    };
    Stack::start(options).await.expect("the stack starts")
}

/// A request to a path of the webhook function, signed or not.
#[must_use]
pub fn request(path: &str, body: &[u8], signature: Option<&str>) -> Request {
    let mut request = lambda_http::http::Request::builder()
        .method("POST")
        .uri(format!("https://webhooks.example.test{path}"));
    if let Some(signature) = signature {
        request = request.header(stripe::HEADER, signature);
    }
    let body = Body::Binary(body.to_vec());
    let request = request.body(body).expect("a path and a header are enough");
    request.with_raw_http_path(path)
}

/// An address that Stripe sends from.
pub const STRIPES_ADDRESS: &str = "54.187.174.169";

/// The same request as API Gateway hands it over: from this address.
#[must_use]
pub fn from_address(request: Request, address: &str) -> Request {
    let mut context = ApiGatewayV2httpRequestContext::default();
    context.http.source_ip = Some(address.to_owned());
    request.with_request_context(RequestContext::ApiGatewayV2(context))
}

/// An event of one customer, small and whole: one that shows an e-mail address.
pub fn customer_event(id: &str, created: i64, email: &str) -> Vec<u8> {
    json!({
        "id": id, "object": "event", "type": "customer.updated", "created": created, "livemode": false,
        "api_version": "2026-10-28.endive", "request": {"id": null},
        "data": {"object": {"id": "cus_1", "object": "customer", "created": 1, "email": email}},
    })
    .to_string()
    .into_bytes()
}

/// Posts a body to the webhook function, signed with a secret: the status and the answer.
pub async fn post_signed(stack: &Stack, body: &[u8], secret: &str) -> (u16, Value) {
    let signature = stripe::sign(body, secret, NOW);
    let request = request("/webhooks/stripe", body, Some(&signature));
    answer(stack.webhook.handle(request).await)
}

/// Posts a body to the webhook function, signed with the tests' secret.
pub async fn post(stack: &Stack, body: &[u8]) -> (u16, Value) {
    post_signed(stack, body, SECRET).await
}

/// Posts bodies that must be taken.
pub async fn post_all<B: AsRef<[u8]>>(stack: &Stack, bodies: &[B]) {
    for body in bodies {
        let (status, answer) = post(stack, body.as_ref()).await;
        assert_eq!(status, 200, "a signed event is taken: {answer}");
    }
}

/// A response taken apart.
#[must_use]
pub fn answer(response: lambda_http::Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = serde_json::from_slice(response.body()).expect("every answer is JSON");
    (status, body)
}

/// Works until nothing is queued or in flight, letting time pass where messages wait. Returns what became of
/// every delivery.
pub async fn drain(stack: &Stack) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for _ in 0..2_000 {
        let batch = stack.work_once(Duration::ZERO).await;
        if batch.is_empty() {
            let counts = stack.queue.counts().await.expect("the queue counts");
            if counts.queued + counts.in_flight == 0 {
                return deliveries;
            }
            stack.queue.advance(VISIBILITY);
        }
        deliveries.extend(batch);
    }
    panic!("the queue never got empty: an event is stuck");
}

/// How many deliveries came to this.
#[must_use]
pub fn count(deliveries: &[Delivery], outcome: DeliveryOutcome) -> usize {
    let of = |delivery: &&Delivery| delivery.outcome == outcome;
    deliveries.iter().filter(of).count()
}

/// The folder of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository")
        .to_owned()
}

/// A sample event of `events/`, for instance `stripe/invoice.paid.json`.
#[must_use]
pub fn sample(path: &str) -> Vec<u8> {
    let path = root().join("events").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All sample events of a folder of `events/`, by file name.
#[must_use]
pub fn samples(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let path = root().join("events").join(folder);
    let entries = std::fs::read_dir(&path).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("a file").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names
        .filter(|name| name.ends_with(".json"))
        .map(|name| (name.clone(), sample(&format!("{folder}/{name}"))))
        .collect()
}

/// A customer's whole life, and what must be known of the customers at its end.
#[derive(Clone, Debug)]
pub struct Life {
    /// The file's name.
    pub name: &'static str,
    /// The bodies, in the order in which things happened.
    pub events: Vec<Vec<u8>>,
    /// The customers' states at the end, as far as they are promised.
    pub expected: BTreeMap<String, Value>,
}

/// Reads a life of `events/lives`.
#[must_use]
pub fn life(name: &'static str) -> Life {
    let lines = sample(&format!("lives/{name}.jsonl"));
    let lines = lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let events = lines
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let expected: Value = serde_json::from_slice(&sample(&format!("lives/{name}.expected.json")))
        .expect("the expected state is JSON");
    let expected = match (expected.get("customers"), expected.get("customer")) {
        (Some(Value::Object(customers)), _) => customers.clone().into_iter().collect(),
        (_, Some(Value::String(customer))) => BTreeMap::from([(customer.clone(), expected)]),
        _ => panic!("{name}: no customer is expected"),
    };
    Life {
        name,
        events,
        expected,
    }
}

impl Life {
    /// What the store shows of each customer of this life.
    pub async fn states(&self, store: &Store) -> BTreeMap<String, Value> {
        let mut states = BTreeMap::new();
        for customer in self.expected.keys() {
            states.insert(customer.clone(), state(store, &platform(), customer).await);
        }
        states
    }

    /// Where the store's states differ from what must be.
    pub async fn wrong(&self, store: &Store) -> Vec<String> {
        let states = self.states(store).await;
        let of = |(customer, wanted): (&String, &Value)| differences(wanted, &states[customer]);
        self.expected.iter().flat_map(of).collect()
    }
}

/// Where a state differs from what must be: every key that is wanted must be there with its value, and no
/// object may be there that is not wanted.
#[must_use]
pub fn differences(wanted: &Value, got: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(wanted, got, "", &mut found);
    found
}

/// Maps of objects that list every object there is.
const COMPLETE: [&str; 4] = ["subscriptions", "invoices", "charges", "disputes"];

fn compare(wanted: &Value, got: &Value, path: &str, found: &mut Vec<String>) {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => compare_maps(wanted, got, path, found),
        (Value::Array(wanted), Value::Array(got)) => {
            let (wanted, got) = (sorted(wanted), sorted(got));
            if wanted.len() != got.len() {
                found.push(format!(
                    "{path} has {} entries, wanted {}",
                    got.len(),
                    wanted.len()
                ));
            }
            for (i, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
                compare(wanted, got, &format!("{path}[{i}]"), found);
            }
        }
        _ if wanted == got => {}
        _ => found.push(format!("{path} is {got}, wanted {wanted}")),
    }
}

fn compare_maps(
    wanted: &Map<String, Value>,
    got: &Map<String, Value>,
    path: &str,
    found: &mut Vec<String>,
) {
    for (name, wanted) in wanted {
        match got.get(name) {
            Some(got) => compare(wanted, got, &format!("{path}.{name}"), found),
            None if is_nothing(wanted) => {}
            None => found.push(format!("{path}.{name} is missing, wanted {wanted}")),
        }
    }
    let last = path.rsplit('.').next().unwrap_or_default();
    if COMPLETE.contains(&last) {
        let extra = got.keys().filter(|name| !wanted.contains_key(*name));
        found.extend(extra.map(|name| format!("{path}.{name} should not be there")));
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(_) => false,
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Lists are sets; the items of a subscription are sorted by their price.
fn sorted(values: &[Value]) -> Vec<&Value> {
    let mut values: Vec<&Value> = values.iter().collect();
    let key = |value: &Value| match value.get("price") {
        Some(price) => price.to_string(),
        None => value.to_string(),
    };
    values.sort_by_key(|value| key(value));
    values
}

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One course of numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// The items in another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Says something that must be seen even where the test passes: it goes past the capture of the test runner.
pub fn say(text: &str) {
    use std::io::Write;
    let mut stderr = std::io::stderr();
    // A closed standard error is no reason for a test to fail.
    let _ = writeln!(stderr, "{text}");
}

/// What is said where a test cannot run here. Where everything is required it fails.
pub fn skipped(test: &str, why: &str) {
    let required = std::env::var("BILLHOOK_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "{test} is required to run, but {why}");
    say(&format!("SKIPPED: {test}: {why}"));
}
