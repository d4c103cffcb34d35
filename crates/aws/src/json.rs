//! A signed client for an AWS service that speaks JSON, for the few calls that do not deserve an SDK.
//!
//! The SDK's own signer signs, and the calls share the connections of the environment. The SDK for Secrets
//! Manager would make the webhook function 233 KB larger (6,009,312 bytes in place of 5,775,840) for one call.
//! This module deliberately does not know what the calls mean.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use billhook_core::token::token;
use serde_json::Value;

use crate::{AwsEnvironment, CallLimits, Service};

/// Before the second attempt; twice that before the third.
const BACKOFF: Duration = Duration::from_millis(50);

/// Signs and sends calls to one service.
#[derive(Clone, Debug)]
pub struct JsonClient {
    environment: AwsEnvironment,
    service: Service,
    limits: CallLimits,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer, or one that says to come again: it may pass.
    #[error("unavailable ({0})")]
    Unavailable(String),
    /// The service refused the call: something has to be mended first.
    #[error("refused ({code}, {status})")]
    Refused {
        /// The service's error code, for instance `AccessDeniedException`.
        code: String,
        /// The HTTP status.
        status: u16,
    },
}

impl JsonClient {
    /// A client for a service in this environment.
    #[must_use]
    pub fn new(environment: &AwsEnvironment, service: Service, limits: CallLimits) -> Self {
        Self {
            environment: environment.clone(),
            service,
            limits,
        }
    }

    /// Calls an operation (`GetSecretValue`) and returns the answer's JSON. What may pass is tried again, within
    /// the limits.
    ///
    /// # Errors
    ///
    /// [`CallError`]. Whether a call that was not answered took effect is not known.
    pub async fn call(&self, operation: &str, body: &Value) -> Result<Value, CallError> {
        let tried = tokio::time::timeout(self.limits.call, self.attempts(operation, body)).await;
        tried.unwrap_or_else(|_| Err(unavailable("no answer in time")))
    }

    async fn attempts(&self, operation: &str, body: &Value) -> Result<Value, CallError> {
        let body = body.to_string();
        let mut backoff = BACKOFF;
        let mut attempt = 1;
        loop {
            let answer = tokio::time::timeout(self.limits.attempt, self.attempt(operation, &body));
            let answer = answer
                .await
                .unwrap_or_else(|_| Err(unavailable("no answer in time")));
            match answer {
                Err(CallError::Unavailable(_)) if attempt < self.limits.attempts => {}
                settled => return settled,
            }
            tokio::time::sleep(backoff).await;
            backoff *= 2;
            attempt += 1;
        }
    }

    async fn attempt(&self, operation: &str, body: &str) -> Result<Value, CallError> {
        let request = self
            .request(operation, body, SystemTime::now())
            .map_err(|what| unavailable(&what))?;
        let (status, body) = self
            .environment
            .http
            .send(request)
            .await
            .map_err(|what| unavailable(&what))?;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, answer) {
            (200, Some(answer)) if answer.is_object() => Ok(answer),
            (200, _) => Err(unavailable("the answer is no JSON object")),
            (status, answer) => Err(refusal(status, &answer.unwrap_or_default())),
        }
    }

    /// The signed request. An error here says that the endpoint is no URL.
    fn request(&self, operation: &str, body: &str, now: SystemTime) -> Result<HttpRequest, String> {
        let url = format!("{}/", self.environment.url(self.service));
        let target = format!("{}.{operation}", self.service.target_prefix());
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
        ];
        let identity: Identity = self.environment.credentials.clone().into();
        let signing = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.environment.region)
            .name(self.service.signing_name())
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let body_bytes = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", &url, headers.into_iter(), body_bytes)
            .map_err(|error| error.to_string())?;
        let (signature, _) = sign(signable, &signing)
            .map_err(|error| error.to_string())?
            .into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        let set = |request: &mut HttpRequest, name: &str, value: &str| {
            request
                .headers_mut()
                .try_insert(name.to_owned(), value.to_owned())
                .map(drop)
                .map_err(|error| error.to_string())
        };
        request
            .set_method("POST")
            .map_err(|error| error.to_string())?;
        request.set_uri(url).map_err(|error| error.to_string())?;
        for (name, value) in headers.into_iter().chain(signature.headers()) {
            set(&mut request, name, value)?;
        }
        Ok(request)
    }
}

fn unavailable(what: &str) -> CallError {
    CallError::Unavailable(what.to_owned())
}

/// What an answer other than 200 says. Its code stands in `__type`, after a name space.
fn refusal(status: u16, answer: &Value) -> CallError {
    let code = answer["__type"].as_str().unwrap_or("unknown");
    let code = code.rsplit('#').next().unwrap_or(code);
    let passes = status >= 500
        || status == 429
        || code.contains("Throttl")
        || code == "LimitExceededException"
        || code == "RequestLimitExceeded";
    if passes {
        CallError::Unavailable(format!("{} ({status})", token(code)))
    } else {
        CallError::Refused {
            code: token(code).into_owned(),
            status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIMITS: CallLimits = CallLimits {
        attempt: Duration::from_secs(5),
        call: Duration::from_secs(5),
        attempts: 1,
    };

    #[test]
    fn a_request_is_signed_for_its_service_and_names_the_operation() {
        let environment = AwsEnvironment::local("http://127.0.0.1:1".to_owned());
        let client = JsonClient::new(&environment, Service::SecretsManager, LIMITS);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_794_219_385);
        let request = client.request("GetSecretValue", "{}", now).expect("signed");
        let header = |name| request.headers().get(name).unwrap_or_default();
        assert_eq!(request.uri(), "http://127.0.0.1:1/");
        assert_eq!(header("x-amz-target"), "secretsmanager.GetSecretValue");
        assert_eq!(header("x-amz-date"), "20261109T101625Z");
        let signed = header("authorization");
        assert!(
            signed.starts_with(
                "AWS4-HMAC-SHA256 Credential=local/20261109/us-east-1/secretsmanager/aws4_request"
            ) && signed.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target"),
            "{signed}"
        );
    }

    #[test]
    fn what_may_pass_is_told_from_what_has_to_be_mended() {
        let error = |status, kind: &str| refusal(status, &json!({"__type": kind}));
        for (status, kind) in [
            (400, "com.amazonaws.secretsmanager#ThrottlingException"),
            (429, "unknown"),
            (500, "InternalServiceError"),
            (503, "?"),
        ] {
            assert!(matches!(error(status, kind), CallError::Unavailable(_)));
        }
        assert_eq!(
            error(
                400,
                "com.amazonaws.secretsmanager#ResourceNotFoundException"
            ),
            CallError::Refused {
                code: "ResourceNotFoundException".to_owned(),
                status: 400
            }
        );
    }
}
