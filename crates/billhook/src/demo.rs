//! `billhook demo`: a customer's life through the whole stack, in the wrong order and partly twice.
//!
//! Each event is signed and posted over HTTP, goes through the webhook function, the queue and the consumer
//! function into the embedded DynamoDB, and the state that results is compared with what it must be.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use billhook_aws::process::unix_ms;
use billhook_core::access::Policy;
use billhook_core::config::DEFAULT_EVENT_RETENTION_DAYS;
use billhook_core::head::Head;
use billhook_core::log::{Level, Log, causes};
use billhook_core::scope::{Mode, Scope, Source};
use billhook_core::signature::stripe::DEFAULT_TOLERANCE_SECS;
use billhook_core::time::date_time;
use billhook_embedded::server;
use billhook_embedded::stack::{Options, Stack};
use serde_json::Value;
use tokio::net::TcpListener;
use webhook::secrets::Secrets;

use crate::args::DemoArgs;
use crate::dev::random_secret;
use crate::{Failure, http, print, render, warn};

/// The life that is played, its events in the order they happened.
const LIFE: &str = include_str!("../../../events/lives/ada.jsonl");
/// What must be known of the customer at the end.
const EXPECTED: &str = include_str!("../../../events/lives/ada.expected.json");
/// A moment after the life's last event, so that what is shown does not depend on the day.
const AT: i64 = 1_794_600_000;

pub(crate) async fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let expected: Value = serde_json::from_str(EXPECTED).map_err(|error| error.to_string())?;
    let deliveries = shuffled_with_duplicates(args.seed);
    let secret = random_secret()?;
    let stack = Stack::start(options(&secret))
        .await
        .map_err(|error| causes(&error))?;
    let stack = Arc::new(stack);
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let server = tokio::spawn(server::serve(listener, stack.clone()));
    let url = http::webhook_url(&format!("http://{address}"), Source::Stripe);

    if !args.json {
        let events = LIFE.lines().count();
        print(&format!(
            "{events} events of a customer's life, signed, shuffled, some twice: {} deliveries\n",
            deliveries.len()
        ));
        print("arrived  true  happened          event                          outcome");
    }
    for (number, (happened, body)) in deliveries.iter().enumerate() {
        let outcome = deliver(&stack, &url, &secret, body).await?;
        if !args.json {
            print(&delivery_line(number + 1, *happened, body, outcome));
        }
    }
    server.abort();

    let customer = expected["customer"].as_str().unwrap_or_default();
    let scope = Scope {
        source: Source::Stripe,
        mode: Mode::Test,
        account: None,
    };
    let state = stack
        .store
        .customer_state(&scope, customer, AT, Policy::default())
        .await;
    let state = state
        .map_err(|error| causes(&error))?
        .unwrap_or(Value::Null);
    if args.json {
        print(&format!("{state:#}"));
    } else {
        print(
            "\napplied: the state shows it; stale: the state shows a later one; duplicate: seen before\n",
        );
        render::state(&state).iter().for_each(|line| print(line));
    }
    verdict(&expected, &state, args.json)
}

fn options(secret: &str) -> Options {
    Options {
        folder: None,
        secrets: Secrets::fixed(Some(secret), None),
        tolerance_secs: DEFAULT_TOLERANCE_SECS,
        mode: Mode::Test,
        event_retention_days: DEFAULT_EVENT_RETENTION_DAYS,
        policy: Policy::default(),
        stripe: None,
        clock: Arc::new(unix_ms),
        log: Log::new(Level::Error, |line| warn(&line.to_string())),
    }
}

/// Posts one event and waits until it was handled. Returns what became of it.
async fn deliver(
    stack: &Stack,
    url: &str,
    secret: &str,
    body: &'static str,
) -> Result<&'static str, Failure> {
    let (url, secret) = (url.to_owned(), secret.to_owned());
    let post = move || {
        let now = unix_ms().div_euclid(1000);
        http::deliver(&url, Source::Stripe, body.as_bytes(), &secret, now)
    };
    let answer = tokio::task::spawn_blocking(post)
        .await
        .map_err(|error| error.to_string())??;
    if answer.status != 200 {
        return Err(format!(
            "the webhook answered {}: {}",
            answer.status, answer.body
        ));
    }
    let handled = stack.work_once(Duration::from_secs(10)).await;
    let delivery = handled.first().ok_or("the queue lost the event")?;
    Ok(delivery.outcome.name())
}

fn delivery_line(number: usize, happened: usize, body: &str, outcome: &str) -> String {
    let head = Head::read(Source::Stripe, body.as_bytes());
    let event_type = head.event_type.unwrap_or_default();
    let created = head.created.map(date_time).unwrap_or_default();
    format!("{number:>7}  {happened:>4}  {created}  {event_type:<30} {outcome}")
}

/// The events with every third of them twice, in an order that depends on nothing but the seed.
fn shuffled_with_duplicates(seed: u64) -> Vec<(usize, &'static str)> {
    let mut deliveries = Vec::new();
    for (index, event) in LIFE.lines().enumerate() {
        let copies = if index % 3 == 0 { 2 } else { 1 };
        deliveries.extend(std::iter::repeat_n((index + 1, event), copies));
    }
    let mut state = seed;
    for last in (1..deliveries.len()).rev() {
        deliveries.swap(last, below(&mut state, last + 1));
    }
    deliveries
}

/// A number below `bound` from SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): the demo's order must be
/// the same on every machine.
fn below(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    usize::try_from(mixed % bound as u64).unwrap_or(0)
}

fn verdict(expected: &Value, state: &Value, quiet: bool) -> Result<ExitCode, Failure> {
    let wrong = differences(expected, state, "");
    if wrong.is_empty() {
        if !quiet {
            print("\nThis is the state that the events give in their true order, each once.");
        }
        return Ok(ExitCode::SUCCESS);
    }
    wrong.iter().for_each(|line| warn(line));
    Ok(ExitCode::FAILURE)
}

/// Where the state is not what it must be. What is not expected is free.
fn differences(expected: &Value, state: &Value, path: &str) -> Vec<String> {
    match (expected, state) {
        (Value::Object(expected), Value::Object(_)) => expected
            .iter()
            .flat_map(|(name, expected)| {
                differences(expected, &state[name.as_str()], &format!("{path}/{name}"))
            })
            .collect(),
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => expected
            .iter()
            .zip(got)
            .enumerate()
            .flat_map(|(i, (expected, got))| differences(expected, got, &format!("{path}/{i}")))
            .collect(),
        _ if expected == state => Vec::new(),
        _ => vec![format!("{path} is {state}, must be {expected}")],
    }
}
