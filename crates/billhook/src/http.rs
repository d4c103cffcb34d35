//! Talking to a webhook endpoint or a `billhook dev`.

use billhook_core::scope::Source;
use billhook_core::signature::{bearbilling, stripe};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Failure;

/// A status and a body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into()
}

/// The name and the value of the header that a source signs this body with, at this Unix second.
pub(crate) fn signature(
    source: Source,
    body: &[u8],
    secret: &str,
    now: i64,
) -> (&'static str, String) {
    match source {
        Source::Stripe => (stripe::HEADER, stripe::sign(body, secret, now)),
        Source::BearBilling => (bearbilling::HEADER, bearbilling::sign(body, secret)),
    }
}

/// Posts a body as a source would.
pub(crate) fn deliver(
    url: &str,
    source: Source,
    body: &[u8],
    secret: &str,
    now: i64,
) -> Result<Answer, Failure> {
    let (header, value) = signature(source, body, secret, now);
    let request = agent().post(url).header("content-type", "application/json");
    read(url, request.header(header, value).send(body))
}

pub(crate) fn get(url: &str) -> Result<Answer, Failure> {
    read(url, agent().get(url).call())
}

fn read(
    url: &str,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Answer, Failure> {
    let unreachable = |error| format!("{url} does not answer: {error}");
    let mut answer = answer.map_err(unreachable)?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string().map_err(unreachable)?;
    Ok(Answer { status, body })
}

/// The URL of a source's webhook: the one given, with the path added where it has none.
pub(crate) fn webhook_url(url: &str, source: Source) -> String {
    let base = url.trim_end_matches('/');
    let has_path = base
        .split_once("://")
        .is_some_and(|(_, rest)| rest.contains('/'));
    if has_path {
        base.to_owned()
    } else {
        format!("{base}/webhooks/{source}")
    }
}

/// Everything but the characters that mean nothing special anywhere in a URL (RFC 3986, section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Escapes a path segment or query value of a URL.
pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}
