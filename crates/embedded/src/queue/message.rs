//! Messages, their names, and what SQS refuses in one.
//!
//! The limits are those of `SendMessage`: a message that only this queue would take must not
//! look fine on a developer's machine and be lost in production.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// The most a message may hold: its body and its attributes (names, types and values), in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// The most attributes a message may carry.
pub const ATTRIBUTES_MAX: usize = 10;
/// The longest a message may be delayed.
pub const DELAY_MAX: Duration = Duration::from_secs(15 * 60);

/// The data type that every attribute has here; SQS counts its name as part of the message.
const ATTRIBUTE_TYPE: &str = "String";
const ATTRIBUTE_NAME_CHARS_MAX: usize = 256;
const GROUP_CHARS_MAX: usize = 128;

/// Names a message, through all its deliveries and into the dead-letter queue. A redrive gives a new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(super) String);

impl MessageId {
    /// The id as text: a UUID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a UUID of version 4 out of 128 random bits.
    pub(super) fn from_random(high: u64, low: u64) -> Self {
        let [version, variant] = [high & !0xf000 | 0x4000, low & !(3 << 62) | 1 << 63];
        Self(format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            version >> 32,
            (version >> 16) & 0xffff,
            version & 0xffff,
            variant >> 48,
            variant & 0xffff_ffff_ffff,
        ))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one receive of one message.
///
/// As text it is opaque to callers; parse it back with [`FromStr`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReceiptHandle {
    pub(super) seq: i64,
    pub(super) receive_count: u32,
    pub(super) message_id: MessageId,
}

impl fmt::Display for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seq,
            receive_count,
            message_id,
        } = self;
        write!(f, "{seq}.{receive_count}.{message_id}")
    }
}

/// The text is no receipt handle of this queue (`ReceiptHandleIsInvalid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("read a receipt handle")]
pub struct InvalidReceiptHandle;

impl FromStr for ReceiptHandle {
    type Err = InvalidReceiptHandle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(InvalidReceiptHandle);
        let seq = next()?.parse().map_err(|_| InvalidReceiptHandle)?;
        let receive_count = next()?.parse().map_err(|_| InvalidReceiptHandle)?;
        let message_id = MessageId(next()?.to_owned());
        let handle = Self {
            seq,
            receive_count,
            message_id,
        };
        // One spelling per handle: no signs, no leading zeros.
        if handle.to_string() == text {
            Ok(handle)
        } else {
            Err(InvalidReceiptHandle)
        }
    }
}

/// A message as a consumer gets it. `Debug` shows no body.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The message, however often it is delivered.
    pub message_id: MessageId,
    /// This delivery of it: what to delete, or whose visibility timeout to change.
    pub receipt_handle: ReceiptHandle,
    /// What was sent.
    pub body: String,
    /// The message attributes, all of type `String`.
    pub attributes: BTreeMap<String, String>,
    /// `MessageGroupId`: whose message it is. Kept and returned; it has no bearing on delivery here.
    pub group: Option<String>,
    /// `ApproximateReceiveCount`, here exact: 1 on the first delivery.
    pub receive_count: u32,
    /// `SentTimestamp`.
    pub sent_at_ms: i64,
    /// `ApproximateFirstReceiveTimestamp`.
    pub first_received_at_ms: i64,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("message_id", &self.message_id.0)
            .field("receive_count", &self.receive_count)
            .field("sent_at_ms", &self.sent_at_ms)
            .field("first_received_at_ms", &self.first_received_at_ms)
            .field("attributes", &self.attributes)
            .field("group", &self.group)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A message that was received as often as it may be. `Debug` shows no body.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The id under which it was delivered.
    pub message_id: MessageId,
    /// What was sent.
    pub body: String,
    /// The message attributes, all of type `String`.
    pub attributes: BTreeMap<String, String>,
    /// `MessageGroupId`.
    pub group: Option<String>,
    /// How often it was delivered in vain.
    pub receive_count: u32,
    /// `SentTimestamp`: when it was sent to the queue, not when it came here.
    pub sent_at_ms: i64,
    /// When it was first delivered.
    pub first_received_at_ms: i64,
    /// When it was moved here.
    pub died_at_ms: i64,
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("message_id", &self.message_id.0)
            .field("receive_count", &self.receive_count)
            .field("sent_at_ms", &self.sent_at_ms)
            .field("first_received_at_ms", &self.first_received_at_ms)
            .field("died_at_ms", &self.died_at_ms)
            .field("attributes", &self.attributes)
            .field("group", &self.group)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// What a message is made of, on its way in.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) body: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) group: Option<String>,
    pub(super) delay: Duration,
}

/// SQS would refuse this message however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidMessage {
    /// The body is empty.
    #[error("take a message without a body")]
    EmptyBody,
    /// Body and attributes together are too large.
    #[error("take a message of {bytes} bytes, more than {MESSAGE_BYTES_MAX}")]
    TooLarge {
        /// The size that SQS would count.
        bytes: usize,
    },
    /// The body or an attribute's value holds a character that XML 1.0 does not have.
    #[error("take a message with the character U+{:04X}", u32::from(*.character))]
    ForbiddenCharacter {
        /// The first such character.
        character: char,
    },
    /// There are too many attributes.
    #[error("take a message with {count} attributes, more than {ATTRIBUTES_MAX}")]
    TooManyAttributes {
        /// How many there are.
        count: usize,
    },
    /// An attribute's name is empty, too long, reserved (`AWS.`, `Amazon.`), badly dotted, or not made of letters,
    /// digits, `_`, `-` and `.`.
    #[error("take a message with an attribute of an invalid name")]
    AttributeName,
    /// An attribute has no value.
    #[error("take a message with an empty attribute")]
    EmptyAttribute,
    /// The message group is empty, too long, or not made of ASCII letters, digits and punctuation.
    #[error("take a message with an invalid group")]
    Group,
    /// The delay is too long.
    #[error("delay a message by {} s, more than {} s", .delay.as_secs(), DELAY_MAX.as_secs())]
    DelayTooLong {
        /// The delay asked for.
        delay: Duration,
    },
}

impl Draft {
    /// Applies the rules of `SendMessage`.
    pub(super) fn check(&self) -> Result<(), InvalidMessage> {
        if self.body.is_empty() {
            return Err(InvalidMessage::EmptyBody);
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            let count = self.attributes.len();
            return Err(InvalidMessage::TooManyAttributes { count });
        }
        let bytes = self.bytes();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(InvalidMessage::TooLarge { bytes });
        }
        check_characters(&self.body)?;
        for (name, value) in &self.attributes {
            check_attribute_name(name)?;
            if value.is_empty() {
                return Err(InvalidMessage::EmptyAttribute);
            }
            check_characters(value)?;
        }
        if let Some(group) = &self.group {
            check_group(group)?;
        }
        if self.delay > DELAY_MAX {
            return Err(InvalidMessage::DelayTooLong { delay: self.delay });
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let attributes = self.attributes.iter();
        let attributes =
            attributes.map(|(name, value)| name.len() + ATTRIBUTE_TYPE.len() + value.len());
        self.body.len() + attributes.sum::<usize>()
    }
}

fn check_characters(text: &str) -> Result<(), InvalidMessage> {
    match text.chars().find(|&character| !is_allowed(character)) {
        Some(character) => Err(InvalidMessage::ForbiddenCharacter { character }),
        None => Ok(()),
    }
}

/// XML 1.0's characters, which SQS keeps to; a `char` is never a surrogate.
fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

fn check_attribute_name(name: &str) -> Result<(), InvalidMessage> {
    let lower = name.to_ascii_lowercase();
    let valid = (1..=ATTRIBUTE_NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        && !(lower.starts_with("aws.") || lower.starts_with("amazon."));
    if valid {
        Ok(())
    } else {
        Err(InvalidMessage::AttributeName)
    }
}

fn check_group(group: &str) -> Result<(), InvalidMessage> {
    let valid = (1..=GROUP_CHARS_MAX).contains(&group.len())
        && group.bytes().all(|byte| byte.is_ascii_graphic());
    if valid {
        Ok(())
    } else {
        Err(InvalidMessage::Group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(body: &str) -> Draft {
        Draft {
            body: body.to_owned(),
            attributes: BTreeMap::new(),
            group: None,
            delay: Duration::ZERO,
        }
    }

    fn with_attributes<const N: usize>(attributes: [(String, String); N]) -> Draft {
        Draft {
            attributes: BTreeMap::from(attributes),
            ..draft("body")
        }
    }

    #[test]
    fn an_empty_body_is_refused() {
        assert_eq!(draft("").check(), Err(InvalidMessage::EmptyBody));
    }

    #[test]
    fn exactly_the_characters_that_sqs_takes_are_taken() {
        for character in '\0'..=char::MAX {
            let code = u32::from(character);
            let allowed = matches!(code, 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x10000..=0x10_FFFF);
            assert_eq!(is_allowed(character), allowed, "U+{code:04X}");
        }
        for character in ['\0', '\u{b}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            let forbidden = Err(InvalidMessage::ForbiddenCharacter { character });
            assert_eq!(draft(&format!("a{character}b")).check(), forbidden);
            let attribute = ("type".to_owned(), format!("a{character}b"));
            assert_eq!(with_attributes([attribute]).check(), forbidden);
        }
        assert_eq!(
            draft("\t\r\n ~\u{7f}é\u{d7ff}\u{e000}\u{fffd}🦀").check(),
            Ok(())
        );
    }

    #[test]
    fn a_message_may_hold_one_mebibyte_of_body_and_attributes_and_no_byte_more() {
        assert_eq!(draft(&"é".repeat(MESSAGE_BYTES_MAX / 2)).check(), Ok(()));
        let bytes = MESSAGE_BYTES_MAX + 1;
        let too_large = Err(InvalidMessage::TooLarge { bytes });
        assert_eq!(draft(&"x".repeat(bytes)).check(), too_large);

        // "type" + "String" + "v" are 11 bytes.
        let mut message = with_attributes([("type".to_owned(), "v".to_owned())]);
        message.body = "x".repeat(MESSAGE_BYTES_MAX - 11);
        assert_eq!(message.check(), Ok(()));
        message.body.push('x');
        assert_eq!(message.check(), too_large);
    }

    #[test]
    fn ten_attributes_are_taken_and_eleven_refused() {
        let mut message = draft("body");
        for number in 1..=10 {
            message
                .attributes
                .insert(format!("a{number}"), "v".to_owned());
        }
        assert_eq!(message.check(), Ok(()));
        message.attributes.insert("a11".to_owned(), "v".to_owned());
        assert_eq!(
            message.check(),
            Err(InvalidMessage::TooManyAttributes { count: 11 })
        );
    }

    #[test]
    fn attribute_names_and_values_follow_the_rules_of_sqs() {
        let long = "n".repeat(256);
        for name in ["event_id", "event-type", "a.b", "AWSome", &long] {
            let attribute = (name.to_owned(), "v".to_owned());
            assert_eq!(with_attributes([attribute]).check(), Ok(()), "{name}");
        }
        let too_long = "n".repeat(257);
        for name in [
            "", ".a", "a.", "a..b", "a b", "é", "AWS.x", "amazon.x", &too_long,
        ] {
            let attribute = (name.to_owned(), "v".to_owned());
            let refused = Err(InvalidMessage::AttributeName);
            assert_eq!(with_attributes([attribute]).check(), refused, "{name}");
        }
        let empty = with_attributes([("type".to_owned(), String::new())]);
        assert_eq!(empty.check(), Err(InvalidMessage::EmptyAttribute));
    }

    #[test]
    fn a_group_is_at_most_128_visible_ascii_characters() {
        let (longest, too_long) = ("g".repeat(128), "g".repeat(129));
        let with_group = |group: &str| Draft {
            group: Some(group.to_owned()),
            ..draft("body")
        };
        for group in ["cus_1", "acct:1/2", &longest] {
            assert_eq!(with_group(group).check(), Ok(()), "{group}");
        }
        for group in ["", "a b", "é", &too_long] {
            assert_eq!(
                with_group(group).check(),
                Err(InvalidMessage::Group),
                "{group}"
            );
        }
    }

    #[test]
    fn a_delay_is_at_most_fifteen_minutes() {
        let mut message = draft("body");
        message.delay = DELAY_MAX;
        assert_eq!(message.check(), Ok(()));
        message.delay += Duration::from_millis(1);
        let delay = message.delay;
        assert_eq!(message.check(), Err(InvalidMessage::DelayTooLong { delay }));
    }

    #[test]
    fn a_message_id_is_a_uuid_of_version_4() {
        let zero = MessageId::from_random(0, 0);
        assert_eq!(zero.as_str(), "00000000-0000-4000-8000-000000000000");
        let ones = MessageId::from_random(u64::MAX, u64::MAX);
        assert_eq!(ones.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn a_receipt_handle_survives_its_text_and_nothing_else_is_one() {
        let handle = ReceiptHandle {
            seq: 12,
            receive_count: 3,
            message_id: MessageId::from_random(1, 2),
        };
        assert_eq!(handle.to_string().parse(), Ok(handle));
        for text in [
            "", "1", "1.2", "a.1.id", "1.-1.id", "+1.1.id", "01.1.id", "1.1",
        ] {
            assert_eq!(
                text.parse::<ReceiptHandle>(),
                Err(InvalidReceiptHandle),
                "{text:?}"
            );
        }
    }
}
