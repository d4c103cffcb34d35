//! Stripe's scheme: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…]`.
//!
//! The signed bytes are the timestamp, a dot and the raw body; the key is the whole secret string,
//! `whsec_` included (<https://docs.stripe.com/webhooks#verify-manually>). While a secret is being
//! rolled Stripe sends one `v1` per live secret, so any of them may match any of ours.
//!
//! Stripe's own libraries disagree in corners (several timestamps, white space, odd numbers). The
//! rules here are the strictest that no delivery of Stripe's can violate, and the order of the checks is
//! fixed: the first that fails names the error.

use super::{SignatureError, Verified, check_secrets, find_match, hmac_hex, is_signature, trim};

/// The header that carries the signature.
pub const HEADER: &str = "stripe-signature";

/// How old or how far in the future a signature may be, in seconds: what all of Stripe's libraries
/// use by default.
pub const DEFAULT_TOLERANCE_SECS: i64 = 300;

/// No genuine header comes near this; hashing candidates from a longer one would be wasted.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Says whether a delivery was signed by the holder of one of the secrets, about now.
///
/// `header` is the value of `Stripe-Signature`; where a proxy sent it twice, the values joined by a
/// comma. `now` is the time of receipt in Unix seconds. A signature that is exactly `tolerance_secs`
/// old, or that far in the future, is accepted.
///
/// # Errors
///
/// The first rule that the delivery breaks, in this order: configuration, presence and size, form of
/// the header, timestamp, `v1` items, match, and only then the age, so that nobody without a secret
/// learns anything about the clock.
///
/// ```
/// use billhook_core::signature::{SignatureError, stripe};
///
/// let body = br#"{"id":"evt_1"}"#;
/// let header = stripe::sign(body, "whsec_new", 1_760_000_000);
/// let secrets = ["whsec_old", "whsec_new"];
///
/// let verified = stripe::verify(body, Some(header.as_bytes()), &secrets, 1_760_000_300, 300);
/// assert_eq!(verified.map(|v| v.secret), Ok(1));
///
/// let later = stripe::verify(body, Some(header.as_bytes()), &secrets, 1_760_000_301, 300);
/// assert_eq!(later, Err(SignatureError::TimestampTooOld));
/// ```
pub fn verify<S: AsRef<str>>(
    body: &[u8],
    header: Option<&[u8]>,
    secrets: &[S],
    now: i64,
    tolerance_secs: i64,
) -> Result<Verified, SignatureError> {
    check_secrets(secrets)?;
    if tolerance_secs <= 0 {
        return Err(SignatureError::Config);
    }
    let header = header.filter(|header| !trim(header).is_empty());
    let header = header.ok_or(SignatureError::MissingHeader)?;
    if body.is_empty() {
        return Err(SignatureError::EmptyBody);
    }
    let header = Header::parse(header)?;
    let signed: [&[u8]; 3] = [header.timestamp_text, b".", body];
    let verified = find_match(secrets, &signed, &header.signatures)?;
    check_age(header.timestamp, now, tolerance_secs)?;
    Ok(verified)
}

/// Makes the header that Stripe would send for this body at this time (Unix seconds).
#[must_use]
pub fn sign(body: &[u8], secret: &str, timestamp: i64) -> String {
    let text = timestamp.to_string();
    let signature = hmac_hex(secret, &[text.as_bytes(), b".", body]);
    format!("t={text},v1={}", String::from_utf8_lossy(&signature))
}

/// What a well-formed header holds.
struct Header<'a> {
    timestamp: i64,
    /// The timestamp as it was written, because that is what was signed.
    timestamp_text: &'a [u8],
    /// The `v1` items that could be signatures at all.
    signatures: Vec<&'a [u8]>,
}

impl<'a> Header<'a> {
    fn parse(header: &'a [u8]) -> Result<Self, SignatureError> {
        if header.len() > HEADER_BYTES_MAX {
            return Err(SignatureError::MalformedHeader);
        }
        let items = parse_items(header)?;
        let values = |name: &[u8]| {
            let named: Vec<&'a [u8]> = items
                .iter()
                .filter(|(n, _)| *n == name)
                .map(|(_, value)| *value)
                .collect();
            named
        };
        let (timestamp, timestamp_text) = parse_timestamp(&values(b"t"))?;
        let mut signatures = values(b"v1");
        if signatures.is_empty() {
            return Err(SignatureError::NoV1Signature);
        }
        signatures.retain(|value| is_signature(value));
        Ok(Self {
            timestamp,
            timestamp_text,
            signatures,
        })
    }
}

/// The name and the value of an item.
type Item<'a> = (&'a [u8], &'a [u8]);

/// Splits the header into its `name=value` items, at the first `=` of each.
fn parse_items(header: &[u8]) -> Result<Vec<Item<'_>>, SignatureError> {
    let mut items = Vec::new();
    for item in header.split(|b| *b == b',').map(trim) {
        match item.iter().position(|b| *b == b'=') {
            Some(at) => items.push((&item[..at], &item[at + 1..])),
            None if item == b"t" || item == b"v1" => return Err(SignatureError::MalformedHeader),
            None => {}
        }
    }
    if items.is_empty() {
        return Err(SignatureError::MalformedHeader);
    }
    Ok(items)
}

/// Reads the timestamp; a proxy that joined two headers may have given the same one twice.
fn parse_timestamp<'a>(values: &[&'a [u8]]) -> Result<(i64, &'a [u8]), SignatureError> {
    let numbers = values
        .iter()
        .map(|text| parse_seconds(text))
        .collect::<Result<Vec<_>, _>>()?;
    match (numbers.first(), values.first()) {
        (Some(first), Some(text)) if numbers.iter().all(|n| n == first) => Ok((*first, text)),
        (Some(_), Some(_)) => Err(SignatureError::DuplicateTimestamp),
        _ => Err(SignatureError::MissingTimestamp),
    }
}

/// Accepts 1 to 19 ASCII digits without a leading zero that fit an `i64`, and nothing else:
/// each of Stripe's libraries takes a different set of odder spellings.
fn parse_seconds(text: &[u8]) -> Result<i64, SignatureError> {
    let digits = text.iter().all(u8::is_ascii_digit) && (1..=19).contains(&text.len());
    if !digits || text.first() == Some(&b'0') {
        return Err(SignatureError::BadTimestamp);
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(SignatureError::BadTimestamp)
}

fn check_age(timestamp: i64, now: i64, tolerance_secs: i64) -> Result<(), SignatureError> {
    if now.saturating_sub(timestamp) > tolerance_secs {
        return Err(SignatureError::TimestampTooOld);
    }
    if timestamp.saturating_sub(now) > tolerance_secs {
        return Err(SignatureError::TimestampInFuture);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use serde_json::Value;

    /// The shared cases: every one names the answer that these rules must give.
    const CASES: &str = include_str!("../../tests/signature_cases.json");

    fn answer(case: &Value) -> &'static str {
        let body = base64::engine::general_purpose::STANDARD
            .decode(case["payload_base64"].as_str().expect("payload"))
            .expect("base64");
        let secrets: Vec<&str> = case["secrets"]
            .as_array()
            .expect("secrets")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let now = case["now"].as_i64().expect("now");
        let tolerance = case["tolerance"].as_i64().expect("tolerance");
        let header = case["header"].as_str().map(str::as_bytes);
        match verify(&body, header, &secrets, now, tolerance) {
            Ok(_) => "ok",
            Err(error) => error.kind(),
        }
    }

    #[test]
    fn every_shared_case_gets_the_answer_it_names() {
        let cases: Value = serde_json::from_str(CASES).expect("cases");
        let cases = cases["cases"].as_array().expect("a list");
        let mut tried = 0;
        for case in cases.iter().filter(|case| !case["tolerance"].is_null()) {
            assert_eq!(answer(case), case["expected"], "case {}", case["name"]);
            tried += 1;
        }
        assert!(tried > 100, "only {tried} cases were tried");
    }

    #[test]
    fn any_v1_may_match_any_secret_during_a_roll() {
        let body = b"{}";
        let old = sign(body, "whsec_old", 1000);
        let new = sign(body, "whsec_new", 1000);
        for (first, second) in [(&old, &new), (&new, &old)] {
            let header = format!("{first},{second}");
            for secrets in [
                &["whsec_old"][..],
                &["whsec_new"],
                &["whsec_new", "whsec_old"],
            ] {
                let verified = verify(body, Some(header.as_bytes()), secrets, 1000, 300);
                assert_eq!(
                    verified,
                    Ok(Verified { secret: 0 }),
                    "{header} with {secrets:?}"
                );
            }
        }
    }

    #[test]
    fn a_header_that_is_not_text_is_refused_without_a_panic() {
        let verified = verify(b"{}", Some(b"t=1,v1=\xff\xfe,\x00"), &["whsec"], 1, 300);
        assert_eq!(verified, Err(SignatureError::Mismatch));
    }
}
