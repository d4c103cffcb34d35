//! Every answer that a sender can get. The statuses are a contract: Stripe retries everything but 2xx for
//! three days, so 200 means "it is safe with us", and 4xx is only for what no retry can mend.

use billhook_core::signature::SignatureError;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Response};
use serde_json::json;

/// What a sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Verified and durably enqueued; `id` is none for a signed body that is no event.
    Received {
        /// The event's id.
        id: Option<String>,
    },
    /// The signature does not hold, or we have no secret to hold it against.
    Unverified(SignatureError),
    /// Signed, from an address that is not on the list, where the list is enforced.
    AddressNotAllowed,
    /// The body calls itself base64 and is none.
    BadBase64,
    /// No such path.
    NotFound,
    /// The path takes POST only.
    MethodNotAllowed,
    /// The body is larger than 256 KiB.
    TooLarge,
    /// The queue did not take it; the sender is asked to come again.
    QueueUnavailable,
}

impl Answer {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Received { .. } => StatusCode::OK,
            // The event is fine, we are not: a retry will find us mended.
            Self::Unverified(SignatureError::Config) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unverified(_) | Self::BadBase64 => StatusCode::BAD_REQUEST,
            Self::AddressNotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::QueueUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The name of the answer in its body, in logs and in metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Received { .. } => "enqueued",
            Self::Unverified(error) => error.kind(),
            Self::AddressNotAllowed => "address_not_allowed",
            Self::BadBase64 => "bad_base64",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "body_too_large",
            Self::QueueUnavailable => "queue_unavailable",
        }
    }

    /// The response: small JSON, never anything of the request but the event's id.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let status = self.status();
        let body = match self {
            Self::Received { id } => json!({"received": true, "id": id}),
            other => json!({"error": other.kind()}),
        };
        let response = Response::builder()
            .status(status)
            .header("content-type", "application/json");
        let response = if status == StatusCode::METHOD_NOT_ALLOWED {
            response.header("allow", "POST")
        } else {
            response
        };
        response
            .body(Body::from(body.to_string()))
            .expect("a fixed status and fixed headers make a response")
    }
}
