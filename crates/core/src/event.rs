//! From the bytes of a verified body to an event that the rules can work with.
//!
//! Every API version since 2017-05-25 is read, by looking only at what is needed; whatever else stands
//! in a body is kept in the ledger and never judged. This module does not know what the objects
//! inside mean.

use serde_json::{Map, Value};

use crate::head::Head;
use crate::json;
use crate::scope::{Mode, Scope, Source};

/// One event of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Whose data it is about.
    pub scope: Scope,
    /// The event's id, as the source gave it.
    pub id: String,
    /// The event's type, for instance `invoice.paid`.
    pub event_type: String,
    /// When the event was created, in Unix seconds.
    pub created: i64,
    /// The nanoseconds after that, for sources that tell fractions of a second.
    pub nanoseconds: u32,
    /// The API version that the body is written in.
    pub api_version: Option<String>,
    /// The API request that caused the event; none for what happened by itself.
    pub request: Option<String>,
    /// What the event says.
    pub content: Content,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// The whole object as it was right after the event.
    Snapshot {
        /// The object, always a JSON object.
        object: Value,
        /// The old values of what changed, where the source tells.
        previous: Option<Value>,
    },
    /// Nothing: there is no object in it.
    Nothing,
    /// A thin event (`v2.core.event`): it names an object and does not show it.
    Thin,
}

/// Why a verified body is no event that can be used, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The body is not JSON in UTF-8.
    #[error("the body is not JSON")]
    NotJson,
    /// The body is nested deeper than 128 levels.
    #[error("the body is nested too deep")]
    TooDeep,
    /// The body is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A field without which an event has no name, place or time is absent or of another type.
    #[error("the event has no usable `{0}`")]
    Field(&'static str),
    /// What stands for its account names none, so it cannot be told whose the event is.
    #[error("the event's `account` is no text")]
    BadAccount,
}

/// The id of the event that the pages of Stripe's libraries make to try an endpoint out
/// (<https://github.com/stripe/stripe-node#testing-webhook-signing>). It has nothing beside its id.
pub const TEST_EVENT: &str = "evt_test_webhook";

/// The reason of an event that says it was created later than it was received.
pub const CREATED_IN_THE_FUTURE: &str = "created_in_the_future";

/// How far ahead of ours the clock of a source may be, in seconds.
const AHEAD_SECS_MAX: i64 = 86_400;

impl Event {
    /// Whether the event says that it was created more than a day after it was received, at `received_at_ms` in Unix
    /// milliseconds. Such a second would outlast every later event of its object. In test mode it is a test clock's
    /// (<https://docs.stripe.com/billing/testing/test-clocks>).
    #[must_use]
    pub fn is_from_the_future(&self, received_at_ms: i64) -> bool {
        let received = received_at_ms.div_euclid(1000);
        self.scope.mode.is_live() && self.created > received.saturating_add(AHEAD_SECS_MAX)
    }
}

impl Unusable {
    /// The reason as it stands in the ledger, in logs and in metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::TooDeep => "too_deep",
            Self::NotAnObject => "not_an_object",
            Self::Field("id") => "no_id",
            Self::Field("type") => "no_type",
            Self::BadAccount => "bad_account",
            Self::Field("created") => "no_created",
            Self::Field(_) => "no_livemode",
        }
    }
}

/// Reads a verified body. `mode` is the stack's, for sources that have none.
///
/// # Errors
///
/// [`Unusable`] says what is wrong with a body that no later version of this program could use either
/// without being told more.
pub fn decode(source: Source, mode: Mode, body: &[u8]) -> Result<Event, Unusable> {
    let Value::Object(mut fields) = parse(body)? else {
        return Err(Unusable::NotAnObject);
    };
    // The head is read by the same reader in both functions, so both mean the same event.
    let head = Head::read(source, body);
    if head.bad_account {
        return Err(Unusable::BadAccount);
    }
    let nanoseconds = head.nanoseconds;
    let scope = head.scope(source, mode);
    let id = head.id.ok_or(Unusable::Field("id"))?;
    let event_type = head.event_type.ok_or(Unusable::Field("type"))?;
    let created = head.created.ok_or(Unusable::Field("created"))?;
    let content = match source {
        Source::Stripe => {
            head.livemode.ok_or(Unusable::Field("livemode"))?;
            stripe_content(&mut fields)
        }
        Source::BearBilling => match fields.remove("data") {
            Some(object @ Value::Object(_)) => Content::Snapshot {
                object,
                previous: None,
            },
            _ => Content::Nothing,
        },
    };
    let api_version = fields
        .get("api_version")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let request = fields.get("request").and_then(request_id);
    Ok(Event {
        scope,
        id,
        event_type,
        created,
        nanoseconds,
        api_version,
        request,
        content,
    })
}

fn parse(body: &[u8]) -> Result<Value, Unusable> {
    json::parse(body).map_err(|error| {
        // serde_json has no kind of its own for this; its text is fixed.
        if error.to_string().starts_with("recursion limit exceeded") {
            Unusable::TooDeep
        } else {
            Unusable::NotJson
        }
    })
}

fn stripe_content(fields: &mut Map<String, Value>) -> Content {
    if fields.get("object").and_then(Value::as_str) == Some("v2.core.event") {
        return Content::Thin;
    }
    let Some(Value::Object(mut data)) = fields.remove("data") else {
        return Content::Nothing;
    };
    let previous = data.remove("previous_attributes").filter(Value::is_object);
    match data.remove("object") {
        Some(object @ Value::Object(_)) => Content::Snapshot { object, previous },
        _ => Content::Nothing,
    }
}

/// `request` is an object, and was a bare string before 2017-05-25.
fn request_id(request: &Value) -> Option<String> {
    let id = request
        .as_str()
        .or_else(|| request.get("id").and_then(Value::as_str));
    id.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_stripe(body: &str) -> Result<Event, Unusable> {
        decode(Source::Stripe, Mode::Test, body.as_bytes())
    }

    #[test]
    fn a_body_that_is_no_event_says_what_is_missing() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        let table = [
            ("", "not_json"),
            ("{", "not_json"),
            ("[]", "not_an_object"),
            (deep.as_str(), "too_deep"),
            ("{}", "no_id"),
            (r#"{"id":""}"#, "no_id"),
            (r#"{"id":"evt_1"}"#, "no_type"),
            (r#"{"id":"evt_1","type":"a"}"#, "no_created"),
            (r#"{"id":"evt_1","type":"a","created":1}"#, "no_livemode"),
            (
                r#"{"id":"evt_1","type":"a","created":1,"livemode":false,"account":5}"#,
                "bad_account",
            ),
        ];
        for (body, reason) in table {
            assert_eq!(
                decode_stripe(body).map_err(Unusable::reason),
                Err(reason),
                "{body:.40}"
            );
        }
    }

    #[test]
    fn a_request_may_be_a_bare_string_as_before_2017_05_25() {
        let event = |request: &str| {
            let body = format!(
                r#"{{"id":"e","type":"t","created":1,"livemode":false,"request":{request},"data":{{"object":{{}}}}}}"#
            );
            decode_stripe(&body).expect("an event").request
        };
        assert_eq!(event(r#""req_1""#).as_deref(), Some("req_1"));
        assert_eq!(event(r#"{"id":"req_2"}"#).as_deref(), Some("req_2"));
        assert_eq!(event(r#"{"id":null}"#), None);
        assert_eq!(event("null"), None);
    }

    #[test]
    fn an_event_may_be_about_nothing() {
        let body =
            r#"{"id":"evt_1","type":"ping","created":1,"livemode":false,"data":{"object":null}}"#;
        assert_eq!(
            decode_stripe(body).map(|event| event.content),
            Ok(Content::Nothing)
        );
    }

    #[test]
    fn a_thin_event_is_an_event() {
        let body = r#"{"id":"evt_1","object":"v2.core.event","type":"v1.invoice.paid",
            "created":"2026-11-01T00:00:00.123Z","livemode":false}"#;
        let event = decode_stripe(body).expect("an event");
        assert_eq!(event.content, Content::Thin);
        assert_eq!(event.created, 1_793_491_200);
    }
}
