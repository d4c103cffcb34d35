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
use billhook_core::log::{Level, Line, Log};
use billhook_core::scope::Source;
use billhook_core::signature::{SignatureError, bearbilling, stripe};
use billhook_core::time::Clock;
use billhook_core::token::token;
use billhook_queue::{Message, Queue};
use lambda_http::http::Method;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};

use answer::Answer;
use secrets::Secrets;

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
        let (answer, line) = match self.accept(source, &request).await {
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
        answer.into_response()
    }

    async fn accept(&self, source: Source, request: &Request) -> Result<Accepted, Refusal> {
        let body: &[u8] = request.body();
        if body.len() > BODY_BYTES_MAX {
            let line = Line::new(Level::Warn, "delivery too large").with("bytes", body.len());
            return Err(Refusal {
                answer: Answer::TooLarge,
                line,
            });
        }
        let received_at_ms = (self.clock)();
        self.verify(source, request, body, received_at_ms)
            .await
            .map_err(Refusal::unverified)?;
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

    async fn verify(
        &self,
        source: Source,
        request: &Request,
        body: &[u8],
        now_ms: i64,
    ) -> Result<(), SignatureError> {
        let secrets = self.secrets.of(source).await;
        let header = |name| joined_header(request, name);
        match source {
            Source::Stripe => {
                let header = header(stripe::HEADER);
                let now = now_ms.div_euclid(1000);
                stripe::verify(body, header.as_deref(), &secrets, now, self.tolerance_secs)
            }
            Source::BearBilling => {
                bearbilling::verify(body, header(bearbilling::HEADER).as_deref(), &secrets)
            }
        }
        .map(drop)
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

/// Finds the source that a request is for: `POST /webhooks/<source>`, and nothing else.
fn route(request: &Request) -> Result<Source, Answer> {
    let source = path(request)
        .strip_prefix("/webhooks/")
        .and_then(Source::from_name);
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
