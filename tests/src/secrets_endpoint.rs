//! A Secrets Manager endpoint of the tests' own: it gives the value that it was told, or fails as it is told.
//!
//! It speaks Secrets Manager's JSON protocol to the real client and knows `GetSecretValue` alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The endpoint. It stops when this is dropped.
pub struct SecretsEndpoint {
    url: String,
    state: Arc<Mutex<Vault>>,
    server: JoinHandle<()>,
}

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
        let state = Arc::new(Mutex::new(Vault::default()));
        let router = Router::new()
            .route("/", post(get_secret_value))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let server = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Self { url, state, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on it answers so.
    pub fn behave(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// From now on this secret has this value.
    pub fn put(&self, arn: &str, value: &str) {
        let values = &mut lock(&self.state).values;
        values.insert(arn.to_owned(), value.to_owned());
    }

    /// How many requests came, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }
}

impl Drop for SecretsEndpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(state: &Mutex<Vault>) -> MutexGuard<'_, Vault> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn get_secret_value(
    State(state): State<Arc<Mutex<Vault>>>,
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
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if header("x-amz-target") != Some("secretsmanager.GetSecretValue") {
        return refusal(400, "UnknownOperationException");
    }
    if !header("authorization")
        .is_some_and(|text| text.contains("/us-east-1/secretsmanager/aws4_request"))
    {
        return refusal(403, "MissingAuthenticationTokenException");
    }
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let arn = request["SecretId"].as_str().unwrap_or_default();
    match vault.values.get(arn) {
        Some(value) => {
            let answer = json!({"ARN": arn, "SecretString": value});
            ([("content-type", CONTENT_TYPE)], answer.to_string()).into_response()
        }
        // What the service says of a secret that was made without a value, too.
        None => refusal(400, "ResourceNotFoundException"),
    }
}

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

fn refusal(status: u16, code: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status between 100 and 999");
    let answer = json!({"__type": code, "message": "told to fail"});
    (status, [("content-type", CONTENT_TYPE)], answer.to_string()).into_response()
}
