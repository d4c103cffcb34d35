//! What the tests' own endpoints of AWS services share: a server on 127.0.0.1 with its state, and the form of calls
//! and answers in AWS's JSON protocol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// State that the server and the test share.
pub(crate) type Shared<S> = Arc<Mutex<S>>;

/// A server on a free port. It stops when this is dropped.
pub(crate) struct Endpoint<S> {
    url: String,
    state: Shared<S>,
    server: JoinHandle<()>,
}

impl<S: Default + Send + 'static> Endpoint<S> {
    /// Starts it; `handler` takes every call.
    ///
    /// # Panics
    ///
    /// Where there is no free port.
    pub(crate) async fn start(handler: MethodRouter<Shared<S>>) -> Self {
        let state = Shared::<S>::default();
        let router = Router::new()
            .route("/", handler)
            .layer(DefaultBodyLimit::disable())
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let server = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Self { url, state, server }
    }
}

impl<S> Endpoint<S> {
    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its state.
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        lock(&self.state)
    }
}

impl<S> Drop for Endpoint<S> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Takes a look at shared state, also after a panic elsewhere.
pub(crate) fn lock<S>(state: &Mutex<S>) -> MutexGuard<'_, S> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses a call of another operation than `target`, and one that is not signed for `service`.
pub(crate) fn check_call(
    headers: &HeaderMap,
    target: &str,
    service: &str,
) -> Result<(), Box<Response>> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if header("x-amz-target") != Some(target) {
        return Err(Box::new(refusal(400, "UnknownOperationException")));
    }
    let scope = format!("/us-east-1/{service}/aws4_request");
    if !header("authorization").is_some_and(|text| text.contains(&scope)) {
        return Err(Box::new(refusal(
            403,
            "MissingAuthenticationTokenException",
        )));
    }
    Ok(())
}

/// An answer of success.
pub(crate) fn success(answer: &Value) -> Response {
    ([("content-type", CONTENT_TYPE)], answer.to_string()).into_response()
}

/// An answer with an error code.
pub(crate) fn refusal(status: u16, code: &str) -> Response {
    let headers = [("content-type", CONTENT_TYPE)];
    let answer = json!({"__type": code, "message": "told to fail"});
    (status_code(status), headers, answer.to_string()).into_response()
}

/// The status of this number.
pub(crate) fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status between 100 and 999")
}

/// Some services say 1.1; clients read both.
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
