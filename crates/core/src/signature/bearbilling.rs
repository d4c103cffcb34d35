//! Bear Billing's scheme: `X-BearBilling-Signature: <hex>`, the HMAC-SHA256 of the raw body.
//!
//! There is no timestamp, so there is no age to check: a captured delivery can be replayed for ever.
//! That is harmless here, because an event takes effect once.

use super::{SignatureError, Verified, check_secrets, find_match, hmac_hex, is_signature, trim};

/// The header that carries the signature.
pub const HEADER: &str = "x-bearbilling-signature";

/// Says whether a delivery was signed by the holder of one of the secrets.
///
/// # Errors
///
/// The first rule that the delivery breaks: configuration, header, body, form, match.
///
/// ```
/// use billhook_core::signature::bearbilling;
///
/// let header = bearbilling::sign(b"{}", "bbsec_1");
/// assert!(bearbilling::verify(b"{}", Some(header.as_bytes()), &["bbsec_1"]).is_ok());
/// ```
pub fn verify<S: AsRef<str>>(
    body: &[u8],
    header: Option<&[u8]>,
    secrets: &[S],
) -> Result<Verified, SignatureError> {
    check_secrets(secrets)?;
    let header = header.map(trim).filter(|header| !header.is_empty());
    let header = header.ok_or(SignatureError::MissingHeader)?;
    if body.is_empty() {
        return Err(SignatureError::EmptyBody);
    }
    if !is_signature(header) {
        return Err(SignatureError::MalformedHeader);
    }
    find_match(secrets, &[body], &[header])
}

/// Makes the header that Bear Billing would send for this body.
#[must_use]
pub fn sign(body: &[u8], secret: &str) -> String {
    String::from_utf8_lossy(&hmac_hex(secret, &[body])).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_bytes_under_a_known_secret_pass() {
        let body = br#"{"id":"bb_1"}"#;
        let good = sign(body, "bbsec");
        let check = |body: &[u8], header: &str, secrets: &[&str]| {
            verify(body, Some(header.as_bytes()), secrets).map_err(SignatureError::kind)
        };
        assert_eq!(
            check(body, &good, &["other", "bbsec"]),
            Ok(Verified { secret: 1 })
        );
        assert_eq!(check(b"{}", &good, &["bbsec"]), Err("signature_mismatch"));
        assert_eq!(check(body, &good, &["other"]), Err("signature_mismatch"));
        assert_eq!(
            check(body, &good.to_uppercase(), &["bbsec"]),
            Err("malformed_header")
        );
        assert_eq!(check(body, "", &["bbsec"]), Err("missing_header"));
        assert_eq!(check(b"", &good, &["bbsec"]), Err("empty_body"));
        assert_eq!(check(body, &good, &["bbsec", ""]), Err("config_error"));
    }
}
