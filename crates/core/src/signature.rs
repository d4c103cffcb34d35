//! Who signs how: telling a genuine delivery from a forged one.
//!
//! Two schemes share one error type and one rule about secrets, so that the webhook function treats
//! every source alike. [`stripe`] signs a timestamp and the body, [`bearbilling`] only the body.
//! A signer stands beside each verifier, so that tests, samples and `billhook send` make real
//! signatures.
//!
//! This module deliberately does not know what a body means: nothing here parses one. It has no
//! clock either; the caller says what time it is.

pub mod bearbilling;
pub mod stripe;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// A signature is 32 bytes of HMAC-SHA256 in lower-case hexadecimal.
const SIGNATURE_HEX_LEN: usize = 64;

/// Why a delivery was not accepted. Each kind has a stable name, see [`SignatureError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no usable secret or the tolerance is not positive: our fault, never the sender's.
    #[error("no usable signing secret or tolerance is configured")]
    Config,
    /// The signature header is absent or blank.
    #[error("the signature header is missing")]
    MissingHeader,
    /// The body has no bytes.
    #[error("the body is empty")]
    EmptyBody,
    /// The header is too long or is not a list of `name=value` items.
    #[error("the signature header is malformed")]
    MalformedHeader,
    /// The header has no `t` item.
    #[error("the signature header has no timestamp")]
    MissingTimestamp,
    /// A `t` item is not a positive decimal number that fits an `i64`.
    #[error("the timestamp is not a positive number of seconds")]
    BadTimestamp,
    /// The header has two different `t` items.
    #[error("the signature header has two different timestamps")]
    DuplicateTimestamp,
    /// The header has no `v1` item. Other schemes never count.
    #[error("the signature header has no v1 signature")]
    NoV1Signature,
    /// No signature was made with any of the secrets over exactly these bytes.
    #[error("no signature matches the body")]
    Mismatch,
    /// The signature is genuine and older than the tolerance.
    #[error("the timestamp is too old")]
    TimestampTooOld,
    /// The signature is genuine and further in the future than the tolerance.
    #[error("the timestamp is in the future")]
    TimestampInFuture,
}

impl SignatureError {
    /// The name of this kind of error in answers, logs and metrics.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Config => "config_error",
            Self::MissingHeader => "missing_header",
            Self::EmptyBody => "empty_body",
            Self::MalformedHeader => "malformed_header",
            Self::MissingTimestamp => "missing_timestamp",
            Self::BadTimestamp => "bad_timestamp",
            Self::DuplicateTimestamp => "duplicate_timestamp",
            Self::NoV1Signature => "no_v1_signature",
            Self::Mismatch => "signature_mismatch",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::TimestampInFuture => "timestamp_in_future",
        }
    }
}

/// What is known about a delivery whose signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which of the given secrets matched, counted from 0 in the order given. During a roll this
    /// tells whether only the old secret still matches.
    pub secret: usize,
}

/// Refuses a list of secrets that could let anybody in, or that will surely never match.
///
/// An empty secret is a key that everybody knows. White space at an end is nearly always a line
/// break that came along from a file; it is refused rather than trimmed, because a secret that was
/// changed silently is a fault that nobody finds.
///
/// # Errors
///
/// [`SignatureError::Config`].
pub fn check_secrets<S: AsRef<str>>(secrets: &[S]) -> Result<(), SignatureError> {
    let usable = |secret: &S| {
        let secret = secret.as_ref();
        !secret.is_empty() && secret.trim() == secret
    };
    if secrets.is_empty() || !secrets.iter().all(usable) {
        return Err(SignatureError::Config);
    }
    Ok(())
}

/// The HMAC-SHA256 of the parts, one after the other, in lower-case hexadecimal.
fn hmac_hex(secret: &str, parts: &[&[u8]]) -> [u8; SIGNATURE_HEX_LEN] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .expect("HMAC takes a key of any length (RFC 2104)");
    for part in parts {
        mac.update(part);
    }
    let digest = mac.finalize().into_bytes();
    let mut hex = [0; SIGNATURE_HEX_LEN];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
        pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
        pair[1] = HEX_DIGITS[usize::from(byte & 15)];
    }
    hex
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Tells which secret made one of the given signatures, in constant time: every signature is
/// compared with every secret's, whether or not one matched already.
fn find_match<S: AsRef<str>>(
    secrets: &[S],
    signed: &[&[u8]],
    given: &[&[u8]],
) -> Result<Verified, SignatureError> {
    let mut found = None;
    for (secret, text) in secrets.iter().enumerate() {
        let right = hmac_hex(text.as_ref(), signed);
        let matches = given
            .iter()
            .fold(Choice::from(0), |any, one| any | right[..].ct_eq(one));
        if bool::from(matches) && found.is_none() {
            found = Some(Verified { secret });
        }
    }
    found.ok_or(SignatureError::Mismatch)
}

/// True for exactly 64 lower-case hexadecimal digits.
fn is_signature(value: &[u8]) -> bool {
    value.len() == SIGNATURE_HEX_LEN && value.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The white space that may stand around a header or an item of it.
fn trim(bytes: &[u8]) -> &[u8] {
    let is_text = |b: &u8| !matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(is_text)
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}
