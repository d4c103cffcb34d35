//! An SQS endpoint of the tests' own: it takes what `SendMessage` brings, or fails as it is told.
//!
//! It speaks SQS's JSON protocol to the real SDK and knows this one operation. It judges nothing: whether a
//! message would please the real service is asked of an emulator of the whole service.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Shared, check_call, lock, refusal, status_code, success};

/// The queue's URL as the functions are told it. The endpoint is named apart from it.
pub const QUEUE_URL: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/billhook-events";

/// The endpoint. It stops when this is dropped.
pub struct SqsEndpoint(Endpoint<Queue>);

/// How the endpoint answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It takes the message.
    #[default]
    Take,
    /// It refuses with this status and error code.
    Refuse(u16, &'static str),
    /// It takes the request and never answers.
    Hang,
    /// It answers with this status and this text, as a proxy in between would.
    Say(u16, &'static str),
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The queue it was sent to.
    pub queue_url: String,
    /// The message.
    pub body: String,
    /// Its attributes, all of type String.
    pub attributes: BTreeMap<String, String>,
    /// Its group.
    pub group: Option<String>,
}

#[derive(Default)]
struct Queue {
    behaviour: Behaviour,
    requests: usize,
    sent: Vec<Sent>,
}

impl SqsEndpoint {
    /// Starts it on a free port.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub async fn start() -> Self {
        Self(Endpoint::start(post(send_message)).await)
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

    /// Every message that was taken.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.0.state().sent.clone()
    }

    /// How many requests came, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.state().requests
    }
}

async fn send_message(
    State(state): State<Shared<Queue>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let behaviour = {
        let mut queue = lock(&state);
        queue.requests += 1;
        queue.behaviour.clone()
    };
    match behaviour {
        Behaviour::Take => take(&state, &headers, &body),
        Behaviour::Refuse(status, code) => refusal(status, code),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Say(status, text) => (status_code(status), text).into_response(),
    }
}

fn take(state: &Shared<Queue>, headers: &HeaderMap, body: &[u8]) -> Response {
    if let Err(refusal) = check_call(headers, "AmazonSQS.SendMessage", "sqs") {
        return *refusal;
    }
    let Some(sent) = read(body) else {
        return refusal(400, "InvalidParameterValue");
    };
    let mut queue = lock(state);
    queue.sent.push(sent);
    let id = format!("5fea7756-0ea4-451a-a703-{:012}", queue.sent.len());
    let answer = json!({"MessageId": id});
    success(&answer)
}

fn read(body: &[u8]) -> Option<Sent> {
    let request: Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| request[name].as_str().map(str::to_owned);
    let attributes = request["MessageAttributes"].as_object()?;
    let attributes = attributes.iter().map(|(name, attribute)| {
        (attribute["DataType"] == "String")
            .then(|| attribute["StringValue"].as_str())
            .flatten()
            .map(|value| (name.clone(), value.to_owned()))
    });
    Some(Sent {
        queue_url: text("QueueUrl")?,
        body: text("MessageBody")?,
        attributes: attributes.collect::<Option<_>>()?,
        group: text("MessageGroupId"),
    })
}
