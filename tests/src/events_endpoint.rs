//! An EventBridge endpoint of the tests' own: it takes what `PutEvents` brings, or fails as it is told.
//!
//! It speaks EventBridge's JSON protocol to the real client, knows this one operation, and refuses what the service
//! would (<https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>).

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Shared, check_call, lock, refusal, success};

/// The bus's name as the function is told it.
pub const EVENT_BUS: &str = "billhook-access";

/// The endpoint. It stops when this is dropped.
pub struct EventsEndpoint(Endpoint<Bus>);

/// How the endpoint answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It takes every entry.
    #[default]
    Take,
    /// It takes every entry but the one at this place, in one call; then it takes all again.
    FailEntryOnce(usize),
    /// It refuses with this status and error code.
    Refuse(u16, &'static str),
    /// It takes every entry, and answers that it failed.
    LoseAnswer,
    /// It takes the request and never answers.
    Hang,
}

/// An event that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// What kind it is.
    pub detail_type: String,
    /// When it happened, in Unix seconds.
    pub time: i64,
    /// What it tells.
    pub detail: Value,
}

#[derive(Default)]
struct Bus {
    behaviour: Behaviour,
    requests: usize,
    put: Vec<Put>,
}

impl EventsEndpoint {
    /// Starts it on a free port.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub async fn start() -> Self {
        Self(Endpoint::start(post(put_events)).await)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// From now on it answers so.
    pub fn behave(&self, behaviour: Behaviour) {
        self.0.state().behaviour = behaviour;
    }

    /// Every event that was taken since the last call, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Put> {
        std::mem::take(&mut self.0.state().put)
    }

    /// How many requests came, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.state().requests
    }
}

async fn put_events(State(state): State<Shared<Bus>>, headers: HeaderMap, body: Bytes) -> Response {
    let behaviour = {
        let mut bus = lock(&state);
        bus.requests += 1;
        bus.behaviour
    };
    match behaviour {
        Behaviour::Take => take(&mut lock(&state), &headers, &body, None),
        Behaviour::FailEntryOnce(place) => {
            let mut bus = lock(&state);
            bus.behaviour = Behaviour::Take;
            take(&mut bus, &headers, &body, Some(place))
        }
        Behaviour::Refuse(status, code) => refusal(status, code),
        Behaviour::LoseAnswer => {
            take(&mut lock(&state), &headers, &body, None);
            refusal(500, "InternalException")
        }
        Behaviour::Hang => std::future::pending().await,
    }
}

fn take(bus: &mut Bus, headers: &HeaderMap, body: &[u8], failing: Option<usize>) -> Response {
    if let Err(refusal) = check_call(headers, "AWSEvents.PutEvents", "events") {
        return *refusal;
    }
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let entries = request["Entries"].as_array().map_or(&[][..], Vec::as_slice);
    if !(1..=10).contains(&entries.len()) {
        return refusal(400, "ValidationException");
    }
    let results = entries.iter().enumerate().map(|(place, entry)| {
        match read(entry).filter(|_| failing != Some(place)) {
            Some(put) => {
                bus.put.push(put);
                json!({"EventId": format!("event-{}", bus.put.len())})
            }
            None => json!({"ErrorCode": "InternalFailure", "ErrorMessage": "told to fail"}),
        }
    });
    let results: Vec<Value> = results.collect();
    let failed = results.iter().filter(|result| result["EventId"].is_null());
    let answer = json!({"FailedEntryCount": failed.count(), "Entries": results});
    success(&answer)
}

/// An entry as it stands on the bus; none where the service would not take it.
fn read(entry: &Value) -> Option<Put> {
    let detail = serde_json::from_str(entry["Detail"].as_str()?).ok()?;
    let ours = entry["EventBusName"] == EVENT_BUS && entry["Source"] == "billhook";
    ours.then_some(Put {
        detail_type: entry["DetailType"].as_str()?.to_owned(),
        time: entry["Time"].as_i64()?,
        detail,
    })
}
