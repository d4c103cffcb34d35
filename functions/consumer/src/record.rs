//! One record of a batch: from the queue message to the mark in the ledger.
//!
//! Every failure is one of three, decided here and nowhere else: *retry*, which leaves the message on the
//! queue; *park*, which puts the event into the ledger with its raw body and a reason; *ignore*, which records
//! that the event was deliberately left out.

use std::borrow::Cow;

use aws_lambda_events::event::sqs::SqsMessage;
use billhook_core::decide::{Change, Plan, plan};
use billhook_core::envelope::{BODY_BYTES_MAX, Envelope, EnvelopeError};
use billhook_core::event::{CREATED_IN_THE_FUTURE, TEST_EVENT, decode};
use billhook_core::head::Head;
use billhook_core::ledger::{Outcome, Record};
use billhook_core::log::{Level, Line, causes};
use billhook_core::metrics::{self, Metric};
use billhook_core::scope::Source;
use billhook_core::token::token;
use billhook_store::{Disposition, Marked, StoreError, StoreErrorKind};

use crate::Consumer;
use crate::apply::{Applied, ApplyError, Effect};
use crate::refetch::Refetched;

/// What became of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The event is in the state, and was not before this delivery.
    Applied,
    /// The event was in the ledger already; nothing changed.
    Duplicate,
    /// The event came too late: the state shows a later one.
    Stale,
    /// The event was deliberately left out.
    Ignored,
    /// The event could not be used and waits in the ledger.
    Parked,
    /// Something failed: the message stays on the queue.
    Retry,
}

impl DeliveryOutcome {
    /// The name used in logs, metrics and `/status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
            Self::Retry => "retry",
        }
    }

    /// What counts deliveries of this outcome.
    #[must_use]
    pub fn metric(self) -> Metric {
        match self {
            Self::Applied => metrics::APPLIED,
            Self::Duplicate => metrics::DUPLICATE,
            Self::Stale => metrics::STALE,
            Self::Ignored => metrics::IGNORED,
            Self::Parked => metrics::PARKED,
            Self::Retry => metrics::RETRY,
        }
    }
}

/// One delivery and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The queue's id of the message.
    pub message_id: String,
    /// The event's id as a token, or the hash of a body without one.
    pub event: String,
    /// The event's type as a token, where it says so.
    pub event_type: Option<String>,
    /// What became of it.
    pub outcome: DeliveryOutcome,
    /// Why it was ignored, parked or has to be tried again.
    pub reason: Option<String>,
    /// Whether it left a row whose state only a look at the object itself can tell.
    pub needs_refetch: bool,
    /// Why Stripe did not tell that state, if it was asked: one of a fixed set of names.
    pub refetch_failed: Option<&'static str>,
    /// Who sent it; none where the message could not even be opened.
    pub source: Option<Source>,
    /// How long ago the event was created at its source, in seconds, where it says so.
    pub age_secs: Option<i64>,
}

impl Delivery {
    /// What is said of a record whose handling could not even be ended in order: it comes again.
    pub(crate) fn given_up(message: &SqsMessage, reason: &str) -> Self {
        Self {
            message_id: message.message_id.clone().unwrap_or_default(),
            event: "unknown".to_owned(),
            event_type: None,
            outcome: DeliveryOutcome::Retry,
            reason: Some(reason.to_owned()),
            needs_refetch: false,
            refetch_failed: None,
            source: None,
            age_secs: None,
        }
    }
}

/// A message, taken apart as far as it can be without judging it.
struct Opened {
    source: Source,
    head: Head,
    received_at_ms: i64,
    body: Vec<u8>,
    /// Why there is no envelope around the body, where there is none.
    error: Option<EnvelopeError>,
}

impl Opened {
    fn delivery(&self, message: &SqsMessage, handled: Handled, now_ms: i64) -> Delivery {
        let created = self.head.created;
        let event_type = self.head.event_type.as_deref().map(token);
        Delivery {
            message_id: message.message_id.clone().unwrap_or_default(),
            event: self.head.name(&self.body),
            event_type: event_type.map(Cow::into_owned),
            outcome: handled.outcome,
            reason: handled.reason,
            needs_refetch: handled.needs_refetch,
            refetch_failed: handled.refetch_failed,
            source: self.error.is_none().then_some(self.source),
            age_secs: created.map(|created| now_ms.div_euclid(1000).saturating_sub(created).max(0)),
        }
    }
}

/// What became of a delivery, without its names.
struct Handled {
    outcome: DeliveryOutcome,
    reason: Option<String>,
    needs_refetch: bool,
    refetch_failed: Option<&'static str>,
}

/// What an event comes to, before it is marked.
struct Settled {
    outcome: Outcome,
    reason: Option<String>,
    applied: Option<Applied>,
    refetch_failed: Option<&'static str>,
}

/// A failure that may pass.
struct Retry(String);

impl Consumer {
    /// Carries one record out. Never fails: the outcome says what to tell the queue.
    pub(crate) async fn deliver(&self, message: &SqsMessage) -> Delivery {
        let opened = open(message, (self.clock)());
        let handled = match self.carry_out(&opened).await {
            Ok(handled) => handled,
            Err(Retry(reason)) => self.retry_or_park(message, &opened, reason).await,
        };
        opened.delivery(message, handled, (self.clock)())
    }

    /// What is said of a record whose handling panicked or found no time.
    pub(crate) async fn interrupted(&self, message: &SqsMessage, reason: &str) -> Delivery {
        let opened = open(message, (self.clock)());
        let handled = self
            .retry_or_park(message, &opened, reason.to_owned())
            .await;
        opened.delivery(message, handled, (self.clock)())
    }

    async fn carry_out(&self, opened: &Opened) -> Result<Handled, Retry> {
        let settled = self.settle(opened).await?;
        let marked = self.mark(opened, &settled).await?;
        Ok(settled.handled(marked))
    }

    /// Decides what the event comes to and carries its change to the end.
    async fn settle(&self, opened: &Opened) -> Result<Settled, Retry> {
        match opened.error {
            Some(EnvelopeError::Unreadable) => {
                return Ok(Settled::left_out(Outcome::Parked, "not_an_envelope"));
            }
            Some(error @ (EnvelopeError::NewerVersion | EnvelopeError::UnknownSource)) => {
                return Err(Retry(error.to_string()));
            }
            None => {}
        }
        if opened.body.len() > BODY_BYTES_MAX {
            return Ok(Settled::left_out(Outcome::Parked, "too_large"));
        }
        let event = match decode(opened.source, self.mode, &opened.body) {
            Ok(event) => event,
            Err(_) if opened.head.id.as_deref() == Some(TEST_EVENT) => {
                return Ok(Settled::left_out(Outcome::Ignored, "test_event"));
            }
            Err(unusable) => return Ok(Settled::left_out(Outcome::Parked, unusable.reason())),
        };
        if event.is_from_the_future(opened.received_at_ms) {
            return Ok(Settled::left_out(Outcome::Parked, CREATED_IN_THE_FUTURE));
        }
        match plan(&event, self.mode) {
            Plan::Ignore(ignored) => Ok(Settled::left_out(Outcome::Ignored, ignored.reason())),
            Plan::Keep(change) => self.keep(*change).await,
        }
    }

    /// Carries a change to the end. What its events leave open is settled by a look at the object, where that can be
    /// had; without it the event is applied all the same, since its content is in the row.
    async fn keep(&self, change: Change) -> Result<Settled, Retry> {
        let key = change.key.clone();
        let mut applied = match self.apply(change).await {
            Ok(applied) => applied,
            Err(error) => {
                return match disposition(&error) {
                    Disposition::Retry => Err(Retry(causes(&error))),
                    Disposition::Park(reason) => Ok(Settled::left_out(Outcome::Parked, reason)),
                };
            }
        };
        let mut refetch_failed = None;
        if applied.needs_refetch {
            match self.refetch(&key).await {
                Ok(Refetched::Settled) => applied.needs_refetch = false,
                Ok(Refetched::Open) => {}
                Ok(Refetched::Failed(reason)) => refetch_failed = Some(reason),
                Err(error) => return Err(Retry(causes(&error))),
            }
        }
        Ok(Settled {
            outcome: Outcome::Applied,
            reason: None,
            applied: Some(applied),
            refetch_failed,
        })
    }

    async fn mark(&self, opened: &Opened, settled: &Settled) -> Result<Marked, Retry> {
        let mut record = self.record(opened, settled.outcome, settled.reason.clone());
        let now = (self.clock)().div_euclid(1000);
        let mut marked = self.store.mark(&record, now).await;
        // What no item can hold is cut, to be seen at all.
        let is_too_large = |error: &StoreError| matches!(error.kind, StoreErrorKind::TooLarge);
        if record.body.len() > BODY_BYTES_MAX && marked.as_ref().is_err_and(is_too_large) {
            record.body.truncate(BODY_BYTES_MAX);
            record.reason = Some("too_large_and_cut".to_owned());
            marked = self.store.mark(&record, now).await;
        }
        marked.map_err(|error| Retry(causes(&error)))
    }

    /// On the last permitted receive the event is parked rather than left to become a dead letter, so that
    /// the dead-letter queue holds only what the store refused.
    async fn retry_or_park(
        &self,
        message: &SqsMessage,
        opened: &Opened,
        reason: String,
    ) -> Handled {
        let retry = |reason| Handled {
            outcome: DeliveryOutcome::Retry,
            reason: Some(reason),
            needs_refetch: false,
            refetch_failed: None,
        };
        if !self.is_last(message) {
            return retry(reason);
        }
        let parked = Settled {
            outcome: Outcome::Parked,
            reason: Some(format!("retries_exhausted: {reason}")),
            applied: None,
            refetch_failed: None,
        };
        match self.mark(opened, &parked).await {
            Ok(marked) => parked.handled(marked),
            Err(Retry(again)) => retry(again),
        }
    }

    /// Whether the queue hands the message out for the last time.
    fn is_last(&self, message: &SqsMessage) -> bool {
        receive_count(message) >= self.max_receive_count
    }

    fn record(&self, opened: &Opened, outcome: Outcome, reason: Option<String>) -> Record {
        Record {
            scope: opened.head.scope(opened.source, self.mode),
            name: opened.head.name(&opened.body),
            created: opened.head.created,
            event_type: opened.head.event_type.clone(),
            outcome,
            reason,
            received_at_ms: opened.received_at_ms,
            body: opened.body.clone(),
        }
    }

    /// One line per delivery.
    pub(crate) fn log_delivery(&self, message: &SqsMessage, delivery: &Delivery, micros: u64) {
        let level = match delivery.outcome {
            DeliveryOutcome::Parked => Level::Error,
            DeliveryOutcome::Retry => Level::Warn,
            DeliveryOutcome::Applied
            | DeliveryOutcome::Duplicate
            | DeliveryOutcome::Stale
            | DeliveryOutcome::Ignored => Level::Info,
        };
        let line = Line::new(level, "delivery handled")
            .with("event_id", delivery.event.as_str())
            .with("event_type", delivery.event_type.as_deref())
            .with("outcome", delivery.outcome.name())
            .with("reason", delivery.reason.as_deref())
            .with("needs_refetch", delivery.needs_refetch.then_some(true))
            .with("refetch_failed", delivery.refetch_failed)
            .with("message_id", delivery.message_id.as_str())
            .with("receive_count", receive_count(message))
            .with("duration_us", micros);
        self.log.write(&line);
    }
}

fn disposition(error: &ApplyError) -> Disposition {
    match error {
        ApplyError::Store(error) => error.disposition(),
        ApplyError::Busy => Disposition::Retry,
    }
}

impl Settled {
    /// An event that changes no state.
    fn left_out(outcome: Outcome, reason: &str) -> Self {
        Self {
            outcome,
            reason: Some(reason.to_owned()),
            applied: None,
            refetch_failed: None,
        }
    }

    /// What the delivery came to, given what became of the mark.
    fn handled(self, marked: Marked) -> Handled {
        let effect = self.applied.map(|applied| applied.effect);
        let outcome = match (self.outcome, effect, marked) {
            // Written by this delivery although the ledger knew the event: a replay of it.
            (Outcome::Applied, Some(Effect::Written), _) => DeliveryOutcome::Applied,
            (_, _, Marked::AlreadyThere) => DeliveryOutcome::Duplicate,
            (Outcome::Applied, Some(Effect::Stale), Marked::Recorded) => DeliveryOutcome::Stale,
            // The row was written by a delivery that stopped before the mark; this one completed it.
            (Outcome::Applied, _, Marked::Recorded) => DeliveryOutcome::Applied,
            (Outcome::Ignored, _, Marked::Recorded) => DeliveryOutcome::Ignored,
            (Outcome::Parked, _, Marked::Recorded) => DeliveryOutcome::Parked,
        };
        let needs_refetch = self.applied.is_some_and(|applied| applied.needs_refetch);
        Handled {
            outcome,
            reason: self.reason,
            needs_refetch,
            refetch_failed: self.refetch_failed,
        }
    }
}

/// Takes a message apart. One without an envelope is its own body.
fn open(message: &SqsMessage, now_ms: i64) -> Opened {
    let text = message.body.as_deref().unwrap_or_default();
    let sent_at_ms = attribute(message, "SentTimestamp").unwrap_or(now_ms);
    let (envelope, error) = match Envelope::decode(text, sent_at_ms) {
        Ok(envelope) => (envelope, None),
        Err(error) => {
            let body = text.as_bytes().to_vec();
            let envelope = Envelope {
                source: Source::Stripe,
                received_at_ms: sent_at_ms,
                body,
            };
            (envelope, Some(error))
        }
    };
    let Envelope {
        source,
        received_at_ms,
        body,
    } = envelope;
    let head = if error.is_some() {
        Head::default()
    } else {
        Head::read(source, &body)
    };
    Opened {
        source,
        head,
        received_at_ms,
        body,
        error,
    }
}

fn receive_count(message: &SqsMessage) -> u32 {
    attribute(message, "ApproximateReceiveCount").unwrap_or(1)
}

fn attribute<T: std::str::FromStr>(message: &SqsMessage, name: &str) -> Option<T> {
    message.attributes.get(name)?.parse().ok()
}
