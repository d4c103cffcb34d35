//! The queue message: a versioned envelope around the signed bytes.
//!
//! The body travels as base64, because SQS refuses some characters that JSON allows (raw U+FFFE and
//! U+FFFF among them), and because the bytes that were signed must come out exactly as they went in,
//! UTF-8 or not. Fields may be added to the envelope, never changed in meaning, so an old consumer reads
//! a new message.
//!
//! The consumer also takes Stripe events that came through EventBridge: there the event stands in
//! `detail`, and what vouches for it is the queue policy, which pins the sender.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::scope::Source;

/// The largest body that is taken, in bytes: what surely fits one SQS message (1 MiB, of which
/// base64 takes a third more) and one DynamoDB item (400 KB). The largest event known is 12 KB.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// The version of the envelope written here.
const VERSION: u32 = 1;

/// EventBridge's `source` of Stripe's partner events starts so.
const EVENTBRIDGE_STRIPE: &str = "aws.partner/stripe.com/";

/// What the webhook function puts on the queue and the consumer takes off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who signed the body.
    pub source: Source,
    /// When the delivery was received, in Unix milliseconds.
    pub received_at_ms: i64,
    /// The bytes that were signed.
    pub body: Vec<u8>,
}

/// Why a queue message is no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The message is not JSON of a known shape, or its body is not base64.
    #[error("the message is no envelope")]
    Unreadable,
    /// The envelope is of a version that this program does not know: a newer one may.
    #[error("the envelope is of a newer version")]
    NewerVersion,
    /// The envelope names a source that this program does not know: a newer one may.
    #[error("the envelope names an unknown source")]
    UnknownSource,
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    source: &'a str,
    received_at: i64,
    body: String,
}

#[derive(Deserialize)]
struct Read<'a> {
    v: Option<u32>,
    source: Option<&'a str>,
    #[serde(default)]
    received_at: i64,
    #[serde(borrow)]
    body: Option<&'a str>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

impl Envelope {
    /// The envelope as the text of a queue message.
    #[must_use]
    pub fn encode(&self) -> String {
        let written = Written {
            v: VERSION,
            source: self.source.name(),
            received_at: self.received_at_ms,
            body: STANDARD.encode(&self.body),
        };
        serde_json::to_string(&written).expect("numbers and strings are always JSON")
    }

    /// Reads a queue message: an envelope, or a Stripe event as EventBridge delivers it.
    ///
    /// `sent_at_ms` is when the queue took the message; it stands in for the time of receipt of events
    /// that came without an envelope.
    ///
    /// # Errors
    ///
    /// See [`EnvelopeError`]: what is unreadable stays so, what is newer may be read by another version.
    pub fn decode(message: &str, sent_at_ms: i64) -> Result<Self, EnvelopeError> {
        let read: Read<'_> =
            serde_json::from_str(message).map_err(|_| EnvelopeError::Unreadable)?;
        match (read.v, read.source, read.detail) {
            (None, Some(source), Some(detail)) if source.starts_with(EVENTBRIDGE_STRIPE) => {
                let body = detail.get().as_bytes().to_vec();
                Ok(Self {
                    source: Source::Stripe,
                    received_at_ms: sent_at_ms,
                    body,
                })
            }
            (Some(version), _, _) if version > VERSION => Err(EnvelopeError::NewerVersion),
            (Some(_), Some(source), _) => {
                let source = Source::from_name(source).ok_or(EnvelopeError::UnknownSource)?;
                let body = read.body.ok_or(EnvelopeError::Unreadable)?;
                let body = STANDARD
                    .decode(body)
                    .map_err(|_| EnvelopeError::Unreadable)?;
                Ok(Self {
                    source,
                    received_at_ms: read.received_at,
                    body,
                })
            }
            _ => Err(EnvelopeError::Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_out_as_they_went_in_and_need_only_plain_characters() {
        let bodies: [&[u8]; 4] = [
            b"{}",
            "raw \u{fffe}\u{ffff} \u{1}".as_bytes(),
            b"\xff\xfe\x00",
            &[7; BODY_BYTES_MAX],
        ];
        for body in bodies {
            let envelope = Envelope {
                source: Source::BearBilling,
                received_at_ms: 7,
                body: body.to_vec(),
            };
            let text = envelope.encode();
            assert!(
                text.bytes().all(|b| b.is_ascii_graphic()),
                "only printable ASCII"
            );
            assert!(
                text.len() < 1024 * 1024 - 4096,
                "fits an SQS message with its attributes"
            );
            assert_eq!(Envelope::decode(&text, 0), Ok(envelope));
        }
    }

    #[test]
    fn an_old_consumer_reads_a_message_with_new_fields() {
        let text = r#"{"v":1,"new":{"x":[1]},"source":"stripe","received_at":5,"body":"e30="}"#;
        let envelope = Envelope {
            source: Source::Stripe,
            received_at_ms: 5,
            body: b"{}".to_vec(),
        };
        assert_eq!(Envelope::decode(text, 0), Ok(envelope));
    }

    #[test]
    fn an_event_from_eventbridge_is_the_detail_as_it_stands() {
        let text =
            r#"{"version":"0","source":"aws.partner/stripe.com/ed_1","detail":{"id": "evt_1"}}"#;
        let envelope = Envelope::decode(text, 9).expect("an event");
        assert_eq!(envelope.body, br#"{"id": "evt_1"}"#);
        assert_eq!(envelope.received_at_ms, 9);
    }

    #[test]
    fn what_a_newer_version_wrote_is_not_called_unreadable() {
        let decode = |text| Envelope::decode(text, 0).expect_err("not for us");
        assert_eq!(
            decode(r#"{"v":2,"source":"stripe"}"#),
            EnvelopeError::NewerVersion
        );
        let other = r#"{"v":1,"source":"other","body":""}"#;
        assert_eq!(decode(other), EnvelopeError::UnknownSource);
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"v":1}"#,
            r#"{"v":1,"source":"stripe","body":"%"}"#,
        ] {
            assert_eq!(decode(text), EnvelopeError::Unreadable, "{text}");
        }
    }
}
