//! Ids as they may appear outside the body: in keys, message attributes, groups and log lines.
//!
//! Ids come from the body, so anything may stand in them: an e-mail address, a line break, a megabyte.
//! SQS would refuse some of that for ever, and a log must never show it.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Longer ids are hashed: both tables' keys stay far below DynamoDB's limits.
const TOKEN_LEN_MAX: usize = 128;

/// The id itself where it is short and matches `[A-Za-z0-9_.:-]+`, else `~` and its SHA-256 in
/// hexadecimal. `~` is no id's own character, so no id can pass for another one's hash.
///
/// ```
/// use billhook_core::token::token;
///
/// assert_eq!(token("evt_1Qx"), "evt_1Qx");
/// assert!(token("ada@example.test").starts_with('~'));
/// ```
#[must_use]
pub fn token(id: &str) -> Cow<'_, str> {
    if is_token(id) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(hashed(id.as_bytes()))
    }
}

/// The name of a body that has no id of its own: `~` and the SHA-256 of its bytes.
#[must_use]
pub fn hashed(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(65);
    text.push('~');
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn is_token(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    (1..=TOKEN_LEN_MAX).contains(&id.len()) && id.bytes().all(allowed)
}
