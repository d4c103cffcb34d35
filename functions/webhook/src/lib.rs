//! The webhook function: takes a delivery, makes sure that the source signed it, puts it on the queue, and
//! only then answers 200.
//!
//! It cannot write billing state: it does not know DynamoDB. It never parses a body before its signature was
//! verified, and even then only the few outer fields that label the message.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | the environment, read once |
//! | [`secrets`] | where the signing secrets come from |
//! | [`headers`] | a payload put right: every value of a header, no false encoding |
//! | [`answer`] | every answer that a sender can get |
//! | this one | the way of a delivery: route → size → verify → enqueue → answer |

pub mod answer;
pub mod config;
pub mod headers;
pub mod secrets;

use std::time::Instant;

use billhook_core::envelope::{BODY_BYTES_MAX, Envelope};
use billhook_core::head::Head;
use billhook_core::log::{Level, Line, Log, causes};
use billhook_core::metrics::{
    ENQUEUE_FAILURES, Measured, Metrics, OLD_SECRET_ONLY, REFUSED, SECRET_REFRESH_FAILURES,
};
use billhook_core::scope::Source;
use billhook_core::signature::{SignatureError, Verified, bearbilling, stripe};
use billhook_core::time::Clock;
use billhook_core::token::token;
use billhook_queue::{Message, Queue};
use lambda_http::http::Method;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};

use answer::Answer;
use headers::BAD_BASE64;
use secrets::{Known, List, Secrets};

/// The function, ready to take deliveries.
pub struct Webhook<Q> {
    /// Where verified deliveries go.
    pub queue: Q,
    /// The signing secrets of each source.
    pub secrets: Secrets,
    /// How old or how far in the future a signature may be, in seconds.
    pub tolerance_secs: i64,
    /// Tells the time.
    pub clock: Clock,
    /// Takes one line per delivery.
    pub log: Log,
    /// Takes what is counted.
    pub metrics: Metrics,
}

/// A verified delivery: what there is to say about it.
struct Accepted {
    head: Head,
    name: String,
}

impl<Q: Queue> Webhook<Q> {
    /// Takes a request of any of the kinds that Lambda is invoked by over HTTP, and answers it.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let started = Instant::now();
        let source = match route(&request) {
            Ok(source) => source,
            Err(answer) => return answer.into_response(),
        };
        let mut measured = Measured::default();
        let (answer, line) = match self.accept(source, &request, &mut measured).await {
            Ok(accepted) => {
                let line =
                    Line::new(Level::Info, "delivery enqueued").with("event_id", accepted.name);
                let event_type = accepted.head.event_type.as_deref().map(token);
                let id = accepted
                    .head
                    .is_event()
                    .then_some(accepted.head.id)
                    .flatten();
                (
                    Answer::Received { id },
                    line.with("event_type", event_type.as_deref()),
                )
            }
            Err(refusal) => (refusal.answer, refusal.line),
        };
        let line = line
            .with("source", source.name())
            .with("outcome", answer.kind())
            .with("status", answer.status().as_u16())
            .with(
                "duration_us",
                u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            );
        self.log.write(&line);
        match &answer {
            Answer::Received { .. } => {}
            Answer::QueueUnavailable => measured.count(ENQUEUE_FAILURES),
            Answer::Unverified(_)
            | Answer::BadBase64
            | Answer::TooLarge
            | Answer::NotFound
            | Answer::MethodNotAllowed => measured.count_for(REFUSED, answer.kind()),
        }
        self.metrics.write(&measured, (self.clock)());
        answer.into_response()
    }

    /// Reads the secrets of every source, one after the other over one connection. Meant for a function's start,
    /// where it has a whole core and nobody waits.
    pub async fn read_secrets(&self) {
        let mut measured = Measured::default();
        for source in Source::ALL {
            let known = self.secrets.of(source).await;
            self.usable(source, known, &mut measured);
        }
        self.metrics.write(&measured, (self.clock)());
    }

    async fn accept(
        &self,
        source: Source,
        request: &Request,
        measured: &mut Measured,
    ) -> Result<Accepted, Refusal> {
        if request.headers().contains_key(BAD_BASE64) {
            return Err(Refusal {
                answer: Answer::BadBase64,
                line: Line::new(Level::Warn, "delivery refused"),
            });
        }
        let body: &[u8] = request.body();
        if body.len() > BODY_BYTES_MAX {
            let line = Line::new(Level::Warn, "delivery too large").with("bytes", body.len());
            return Err(Refusal {
                answer: Answer::TooLarge,
                line,
            });
        }
        let received_at_ms = (self.clock)();
        let verified = self
            .verify(source, request, received_at_ms, measured)
            .await
            .map_err(Refusal::unverified)?;
        if verified.secret > 0 {
            measured.count(OLD_SECRET_ONLY);
        }
        let head = Head::read(source, body);
        let envelope = Envelope {
            source,
            received_at_ms,
            body: body.to_vec(),
        };
        let name = head.name(body);
        let message = Message::new(&envelope, &head);
        match self.queue.enqueue(message).await {
            Ok(()) => Ok(Accepted { head, name }),
            Err(error) => {
                let line = Line::new(Level::Error, "delivery not enqueued")
                    .with("event_id", name)
                    .with("reason", error.to_string());
                Err(Refusal {
                    answer: Answer::QueueUnavailable,
                    line,
                })
            }
        }
    }

    /// Verifies with the secrets that are known, and once more where Secrets Manager holds others by now: a
    /// secret may have been rolled since.
    async fn verify(
        &self,
        source: Source,
        request: &Request,
        now_ms: i64,
        measured: &mut Measured,
    ) -> Result<Verified, SignatureError> {
        if source == Source::BearBilling && self.shares_a_secret().await {
            return Err(SignatureError::Config);
        }
        let known = self.usable(source, self.secrets.of(source).await, measured);
        let verified = self.verify_with(source, request, now_ms, &known);
        match verified {
            Err(SignatureError::Mismatch | SignatureError::Config) => {
                let again = self.usable(source, self.secrets.again(source).await, measured);
                if again == known {
                    verified
                } else {
                    self.verify_with(source, request, now_ms, &again)
                }
            }
            settled => settled,
        }
    }

    /// Whether one secret is said to be both sources'. Then a delivery of Stripe's, which is signed over another text, could
    /// be passed off as Bear Billing's.
    async fn shares_a_secret(&self) -> bool {
        let stripe = self.secrets.of(Source::Stripe).await.list;
        let bearbilling = self.secrets.of(Source::BearBilling).await.list;
        bearbilling.iter().any(|secret| stripe.contains(secret))
    }

    fn verify_with(
        &self,
        source: Source,
        request: &Request,
        now_ms: i64,
        secrets: &List,
    ) -> Result<Verified, SignatureError> {
        let body: &[u8] = request.body();
        let header = |name| joined_header(request, name);
        match source {
            Source::Stripe => {
                let header = header(stripe::HEADER);
                let now = now_ms.div_euclid(1000);
                stripe::verify(body, header.as_deref(), secrets, now, self.tolerance_secs)
            }
            Source::BearBilling => {
                bearbilling::verify(body, header(bearbilling::HEADER).as_deref(), secrets)
            }
        }
    }

    /// The secrets that can be used, after it was told that reading them again failed.
    fn usable(&self, source: Source, known: Known, measured: &mut Measured) -> List {
        if let Some(failure) = known.failure {
            let line = Line::new(Level::Error, "signing secret not read")
                .with("source", source.name())
                .with("reason", causes(&failure));
            self.log.write(&line);
            measured.count(SECRET_REFRESH_FAILURES);
        }
        known.list
    }
}

/// A delivery that is not taken: what the sender and what the log is told.
struct Refusal {
    answer: Answer,
    line: Line,
}

impl Refusal {
    fn unverified(error: SignatureError) -> Self {
        let level = if error == SignatureError::Config {
            Level::Error
        } else {
            Level::Warn
        };
        let line = Line::new(level, "delivery refused");
        Self {
            answer: Answer::Unverified(error),
            line,
        }
    }
}

/// Finds the source that a request is for: `POST /webhooks/<source>`, with a slash at its end or without, and nothing else.
fn route(request: &Request) -> Result<Source, Answer> {
    let name = path(request).strip_prefix("/webhooks/");
    let name = name.map(|name| name.strip_suffix('/').unwrap_or(name));
    let source = name.and_then(Source::from_name);
    match source {
        None => Err(Answer::NotFound),
        Some(_) if request.method() != Method::POST => Err(Answer::MethodNotAllowed),
        Some(source) => Ok(source),
    }
}

/// The path as it was asked for, without the stage that a named stage of an API puts before it.
fn path(request: &Request) -> &str {
    let path = request.raw_http_path();
    let stage = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.as_deref(),
        Some(RequestContext::ApiGatewayV1(context)) => context.stage.as_deref(),
        _ => None,
    };
    let without_stage = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    without_stage
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path)
}

/// The value of a header; of one that came several times, all values joined by commas in the order they
/// came, which is also what HTTP APIs do on their own (RFC 9110, section 5.3).
fn joined_header(request: &Request, name: &str) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = request
        .headers()
        .get_all(name)
        .iter()
        .map(|value| value.as_bytes())
        .collect();
    (!values.is_empty()).then(|| values.join(&b","[..]))
}
