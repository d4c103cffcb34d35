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
//! | [`addresses`] | where Stripe sends from |
//! | [`refusals`] | what strangers provoke, in sums |
//! | [`answer`] | every answer that a sender can get |
//! | this one | the way of a delivery: route → size → verify → enqueue → answer |

pub mod addresses;
pub mod answer;
pub mod config;
pub mod headers;
pub mod refusals;
pub mod secrets;

use std::time::Instant;

use billhook_core::envelope::{BODY_BYTES_MAX, Envelope};
use billhook_core::head::Head;
use billhook_core::log::{Level, Line, Log, causes};
use billhook_core::metrics::{
    ADDRESS_NOT_LISTED, ENQUEUE_FAILURES, Measured, Metrics, OLD_SECRET_ONLY, REFUSED,
    REFUSED_FROM_STRIPE, SECRET_REFRESH_FAILURES,
};
use billhook_core::scope::Source;
use billhook_core::signature::{SignatureError, Verified, bearbilling, stripe};
use billhook_core::time::Clock;
use billhook_core::token::token;
use billhook_queue::{Message, Queue};
use lambda_http::http::Method;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};

use addresses::{Addresses, Check, sender};
use answer::Answer;
use headers::BAD_BASE64;
use refusals::Refusals;
use secrets::{Known, List, Secrets};

/// The function, ready to take deliveries.
pub struct Webhook<Q> {
    /// Where verified deliveries go.
    pub queue: Q,
    /// The signing secrets of each source.
    pub secrets: Secrets,
    /// How old or how far in the future a signature may be, in seconds.
    pub tolerance_secs: i64,
    /// The segment that the paths end in, if they end in one.
    pub path_token: Option<String>,
    /// Where Stripe sends from.
    pub addresses: Addresses,
    /// What strangers provoked and was not logged yet.
    pub refusals: Refusals,
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
        self.tell_refusals();
        let source = match self.route(&request) {
            Ok(source) => source,
            Err(answer) => return answer.into_response(),
        };
        let mut measured = Measured::default();
        let (answer, line) = match self.accept(source, &request, &mut measured).await {
            Ok(accepted) => {
                // The consumer's line has the same id.
                let line =
                    Line::new(Level::Debug, "delivery enqueued").with("event_id", accepted.name);
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
        let is_logged = match &answer {
            Answer::Received { .. } => true,
            Answer::QueueUnavailable => {
                measured.count(ENQUEUE_FAILURES);
                true
            }
            Answer::Unverified(_)
            | Answer::AddressNotAllowed
            | Answer::BadBase64
            | Answer::TooLarge
            | Answer::NotFound
            | Answer::MethodNotAllowed => {
                self.count_refusal(source, &request, &answer, &mut measured)
            }
        };
        if is_logged {
            self.log.write(&line);
        }
        self.metrics.write(&measured, (self.clock)());
        answer.into_response()
    }

    /// Counts a refusal; whether it has a line of its own. Each one of Stripe's has.
    fn count_refusal(
        &self,
        source: Source,
        request: &Request,
        answer: &Answer,
        measured: &mut Measured,
    ) -> bool {
        let reason = answer.kind();
        if source == Source::Stripe && self.addresses.lists(request) {
            measured.count_for(REFUSED_FROM_STRIPE, reason);
        } else if !self.refusals.is_single(reason, (self.clock)()) {
            return false;
        }
        measured.count_for(REFUSED, reason);
        true
    }

    /// Writes the sums of refusals that are due.
    fn tell_refusals(&self) {
        let now_ms = (self.clock)();
        for (reason, number) in self.refusals.due(now_ms) {
            let line = Line::new(Level::Warn, "more deliveries refused")
                .with("outcome", reason)
                .with("count", number);
            self.log.write(&line);
            let mut measured = Measured::default();
            measured.add_for(REFUSED, reason, number);
            self.metrics.write(&measured, now_ms);
        }
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
        if source == Source::Stripe && !self.is_allowed(request, measured) {
            return Err(Refusal {
                answer: Answer::AddressNotAllowed,
                line: Line::new(Level::Warn, "delivery refused"),
            });
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

    /// Whether a verified delivery may come from where it came from. Asked after the signature, so that no stranger can find
    /// out what is on the list, or fill the log.
    fn is_allowed(&self, request: &Request, measured: &mut Measured) -> bool {
        if self.addresses.check == Check::Off || self.addresses.lists(request) {
            return true;
        }
        measured.count(ADDRESS_NOT_LISTED);
        let address = sender(request).map(|address| address.to_string());
        let line = Line::new(Level::Warn, "delivery from an address that is not listed")
            .with("address", address.as_deref().unwrap_or("not known"));
        self.log.write(&line);
        self.addresses.check == Check::Log
    }

    /// Finds the source that a request is for: `POST /webhooks/<source>`, with a slash at its end or without, and nothing
    /// else; with a path token `POST /webhooks/<source>/<token>`.
    fn route(&self, request: &Request) -> Result<Source, Answer> {
        let rest = path(request).strip_prefix("/webhooks/");
        let rest = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let name = match (rest, &self.path_token) {
            (Some(rest), Some(token)) => rest
                .strip_suffix(token.as_str())
                .and_then(|name| name.strip_suffix('/')),
            (rest, None) => rest,
            (None, Some(_)) => None,
        };
        let source = name.and_then(Source::from_name);
        match source {
            None => Err(Answer::NotFound),
            Some(_) if request.method() != Method::POST => Err(Answer::MethodNotAllowed),
            Some(source) => Ok(source),
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
