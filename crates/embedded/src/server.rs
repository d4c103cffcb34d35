//! The HTTP side of the stack, on 127.0.0.1 only: the webhooks, and two pages to look at what came of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use billhook_core::scope::{Scope, Source};
use lambda_http::RequestExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::stack::Stack;

/// What API Gateway lets through at most, in bytes.
const REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Serves the stack on a listener until the future is dropped.
///
/// # Errors
///
/// What the listener failed with.
pub async fn serve(listener: TcpListener, stack: Arc<Stack>) -> io::Result<()> {
    let router = Router::new()
        .route("/status", get(status))
        .route("/customers/{id}", get(customer))
        .fallback(deliver)
        .with_state(stack);
    axum::serve(listener, router).await
}

/// Hands a request to the webhook function as API Gateway would: whole, with the path as it was asked for.
async fn deliver(State(stack): State<Arc<Stack>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, REQUEST_BYTES_MAX).await else {
        return answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({"error": "body_too_large"}),
        );
    };
    let path = parts.uri.path().to_owned();
    let body = lambda_http::Body::Binary(bytes.to_vec());
    let request = lambda_http::Request::from_parts(parts, body).with_raw_http_path(&path);
    stack
        .webhook
        .handle(request)
        .await
        .map(|body| Body::from(body.to_vec()))
}

async fn status(State(stack): State<Arc<Stack>>) -> Response {
    match stack.status().await {
        Ok(status) => answer(StatusCode::OK, &status),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error})),
    }
}

/// A customer's state; `?account=` of a connected account, `?source=` of another source than Stripe, `?at=` as
/// access will be at that Unix second.
async fn customer(
    State(stack): State<Arc<Stack>>,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let bad = |what: &str| answer(StatusCode::BAD_REQUEST, &json!({"error": what}));
    let source = query.get("source").map_or("stripe", String::as_str);
    let Some(source) = Source::from_name(source) else {
        return bad("unknown_source");
    };
    let now = match query.get("at").map(|at| at.parse::<i64>()) {
        None => (stack.consumer.clock)().div_euclid(1000),
        Some(Ok(at)) => at,
        Some(Err(_)) => return bad("at_is_no_unix_second"),
    };
    let account = query.get("account").cloned();
    let scope = Scope {
        source,
        mode: stack.consumer.mode,
        account,
    };
    match stack
        .store
        .customer_state(&scope, &id, now, stack.policy.clone())
        .await
    {
        Ok(Some(state)) => answer(StatusCode::OK, &state),
        Ok(None) => answer(StatusCode::NOT_FOUND, &json!({"error": "unknown_customer"})),
        Err(error) => answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            &json!({"error": error.to_string()}),
        ),
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let body = format!("{body}\n");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
