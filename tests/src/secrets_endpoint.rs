//! A Secrets Manager endpoint of the tests' own: it gives the value that it was told, or fails as it is told.
//!
//! It speaks Secrets Manager's JSON protocol to the real client and knows `GetSecretValue` alone.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Shared, check_call, lock, refusal, success};

/// The endpoint. It stops when this is dropped.
pub struct SecretsEndpoint(Endpoint<Vault>);

/// How the endpoint answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It gives the secret's value.
    #[default]
    Give,
    /// It refuses with this status and error code.
    Refuse(u16, &'static str),
    /// It takes the request and never answers.
    Hang,
}

#[derive(Default)]
struct Vault {
    behaviour: Behaviour,
    values: BTreeMap<String, String>,
    requests: usize,
}

impl SecretsEndpoint {
    /// Starts it on a free port.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub async fn start() -> Self {
        Self(Endpoint::start(post(get_secret_value)).await)
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

    /// From now on this secret has this value.
    pub fn put(&self, arn: &str, value: &str) {
        let values = &mut self.0.state().values;
        values.insert(arn.to_owned(), value.to_owned());
    }

    /// How many requests came, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.state().requests
    }
}

async fn get_secret_value(
    State(state): State<Shared<Vault>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let behaviour = {
        let mut vault = lock(&state);
        vault.requests += 1;
        vault.behaviour
    };
    match behaviour {
        Behaviour::Give => give(&lock(&state), &headers, &body),
        Behaviour::Refuse(status, code) => refusal(status, code),
        Behaviour::Hang => std::future::pending().await,
    }
}

fn give(vault: &Vault, headers: &HeaderMap, body: &[u8]) -> Response {
    if let Err(refusal) = check_call(headers, "secretsmanager.GetSecretValue", "secretsmanager") {
        return *refusal;
    }
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let arn = request["SecretId"].as_str().unwrap_or_default();
    match vault.values.get(arn) {
        Some(value) => success(&json!({"ARN": arn, "SecretString": value})),
        // What the service says of a secret that was made without a value, too.
        None => refusal(400, "ResourceNotFoundException"),
    }
}
