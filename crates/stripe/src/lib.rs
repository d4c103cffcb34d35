//! Stripe's API, as far as it settles what events leave open: reading one object as it is now.
//!
//! Used where an API key is configured and the events of a second do not tell its last state, or a list in an
//! object was cut short. This crate does not know what is stored, nor when to ask.

mod https;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use billhook_aws::secret::{Secret, SecretError};
use billhook_core::log::causes;
use billhook_core::objects::Kind;
use billhook_core::scope::Mode;
use billhook_core::token::token;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use https::{Answer, Https};

/// The API version that objects are asked for in: the newest that the readers were written for.
pub const API_VERSION: &str = "2026-10-28.endive";

/// Where Stripe's API is.
pub const API_URL: &str = "https://api.stripe.com";

/// For one request. A consumer that waits for Stripe holds up a record, nothing else.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// The most pages of a list that are asked for, a hundred entries each.
const PAGES_MAX: usize = 10;

/// How long a key that was read from Secrets Manager is used without a reason to doubt it.
const KEY_AGE_MAX: Duration = Duration::from_mins(5);

/// How long it is used when Stripe does not accept it.
const REFUSED_KEY_AGE_MAX: Duration = Duration::from_secs(30);

/// A way to ask Stripe.
#[derive(Clone)]
pub struct StripeApi {
    https: Https,
    url: String,
    key: ApiKey,
    mode: Mode,
    /// Whether the key was looked at, so that it is spoken of once.
    judged: Arc<AtomicBool>,
}

/// Where the secret or restricted key is.
#[derive(Clone)]
pub enum ApiKey {
    /// Here.
    Plain(String),
    /// In AWS Secrets Manager. It is read when it is first needed: most functions never ask Stripe.
    Managed(Arc<Secret<String>>),
}

impl ApiKey {
    async fn read(&self, max_age: Duration) -> Result<String, FetchError> {
        match self {
            Self::Plain(key) => Ok(key.clone()),
            Self::Managed(secret) => {
                let reading = secret.read(max_age).await;
                reading.value.ok_or(FetchError::NoKey(reading.failure))
            }
        }
    }
}

/// Reads what a secret in Secrets Manager holds: the key, and nothing else.
///
/// # Errors
///
/// Why the text is unusable.
pub fn parse_key(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.trim() != text {
        return Err("the key is empty or has white space at an end");
    }
    Ok(text.to_owned())
}

/// The mode that a key is for, by its prefix (<https://docs.stripe.com/keys>); none where the prefix is not known.
#[must_use]
pub fn mode_of_key(key: &str) -> Option<Mode> {
    let (_, rest) = key.split_once('_')?;
    let (mode, _) = rest.split_once('_')?;
    let is_known = key.starts_with("sk_") || key.starts_with("rk_");
    Mode::from_name(mode).filter(|_| is_known)
}

/// What Stripe knows of an object, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The object.
    pub fetched: Fetched,
    /// What Stripe's clock showed when it was asked, at the latest, in Unix seconds; none if it does not say.
    pub at: Option<i64>,
}

/// What Stripe knows of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetched {
    /// The object as it is now.
    Object(Value),
    /// Stripe says that the object was deleted.
    Deleted,
    /// Stripe's own error says that there is no such object: it is gone, or of another mode or account than the key.
    NotFound,
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer, or not in time.
    #[error("Stripe does not answer ({0})")]
    Unreachable(String),
    /// There is no key to ask with.
    #[error("there is no API key{}", because(.0.as_ref()))]
    NoKey(Option<SecretError>),
    /// An answer that is neither the object nor that it is gone.
    #[error("Stripe answered {status} ({code})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Stripe's error code, or its type.
        code: String,
    },
    /// An answer that is no object.
    #[error("Stripe's answer is no object")]
    Unreadable,
    /// The key is for the other mode, so it is as good as none.
    #[error("the API key is for the other mode")]
    KeyOfOtherMode,
}

impl FetchError {
    /// One of a fixed set of names.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::NoKey(_) => "no_key",
            Self::Refused { status: 401, .. } => "unauthorized",
            Self::Refused { status: 403, .. } => "forbidden",
            Self::Refused { status: 404, .. } => "not_found",
            Self::Refused { status: 429, .. } => "rate_limited",
            Self::Refused { status: 500.., .. } => "stripe_failed",
            Self::Refused { .. } => "refused",
            Self::Unreadable => "unreadable",
            Self::KeyOfOtherMode => "key_of_other_mode",
        }
    }
}

impl StripeApi {
    /// Asks at `url` (see [`API_URL`]) with this secret or restricted key, which must be for this mode.
    #[must_use]
    pub fn new(url: &str, key: ApiKey, mode: Mode) -> Self {
        Self {
            https: Https::new(),
            url: url.trim_end_matches('/').to_owned(),
            key,
            mode,
            judged: Arc::default(),
        }
    }

    /// What is wrong with the key, by its prefix alone; only the first time that it is asked about, and never the key.
    pub async fn warning(&self) -> Option<&'static str> {
        let key = self.key.read(KEY_AGE_MAX).await.ok()?;
        let warning = match mode_of_key(&key) {
            Some(mode) if mode == self.mode => return None,
            Some(_) => {
                "STRIPE_API_KEY, or what its secret holds, is for the other mode: nothing is read from Stripe"
            }
            None => {
                "STRIPE_API_KEY, or what its secret holds, begins with none of sk_test_, rk_test_, sk_live_, rk_live_"
            }
        };
        (!self.judged.swap(true, Ordering::Relaxed)).then_some(warning)
    }

    /// Reads an object as it is now, of a connected account where one is named.
    ///
    /// # Errors
    ///
    /// [`FetchError`]: nothing was learned, and the same can be asked again.
    pub async fn fetch(
        &self,
        kind: Kind,
        id: &str,
        account: Option<&str>,
    ) -> Result<Look, FetchError> {
        if kind == Kind::EntitlementSummary {
            return self.fetch_entitlements(id, account).await;
        }
        let Some(collection) = collection(kind) else {
            return Err(FetchError::Unreadable);
        };
        let path = format!("/v1/{collection}/{}", escape(id));
        let Read { body, at } = self.get(&path, account).await?;
        let fetched = match body {
            Some(object) if object["id"] != id => return Err(FetchError::Unreadable),
            Some(object) if object["deleted"] == true => Fetched::Deleted,
            Some(object) if !self.is_of_mode(&object) => return Err(FetchError::KeyOfOtherMode),
            Some(object) => Fetched::Object(object),
            None => Fetched::NotFound,
        };
        Ok(Look { fetched, at })
    }

    /// Whether an object is of the mode that was asked for. A key whose prefix is not known may be for the other one.
    fn is_of_mode(&self, object: &Value) -> bool {
        let livemode = object["livemode"].as_bool();
        livemode.is_none_or(|livemode| livemode == self.mode.is_live())
    }

    /// A customer's entitlements have no object of their own to read: the whole list is put in its form.
    async fn fetch_entitlements(
        &self,
        customer: &str,
        account: Option<&str>,
    ) -> Result<Look, FetchError> {
        let mut first_at = None;
        let mut entitlements = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let path = format!(
                "/v1/entitlements/active_entitlements?customer={}&limit=100{after}",
                escape(customer)
            );
            let Read { body, at } = self.get(&path, account).await?;
            let at = *first_at.get_or_insert(at);
            let Some(mut page) = body else {
                let fetched = Fetched::NotFound;
                return Ok(Look { fetched, at });
            };
            let more = page["has_more"] == true;
            let Some(data) = page["data"].as_array_mut() else {
                return Err(FetchError::Unreadable);
            };
            entitlements.append(data);
            let last = entitlements.last().and_then(|last| last["id"].as_str());
            match last.filter(|_| more) {
                Some(last) => after = format!("&starting_after={}", escape(last)),
                None => {
                    let fetched = Fetched::Object(summary(customer, entitlements, false));
                    return Ok(Look { fetched, at });
                }
            }
        }
        Ok(Look {
            fetched: Fetched::Object(summary(customer, entitlements, true)),
            at: first_at.flatten(),
        })
    }

    /// The JSON at a path. A key that is refused, or that is for the other mode, may have been replaced.
    async fn get(&self, path: &str, account: Option<&str>) -> Result<Read, FetchError> {
        let key = self.key.read(KEY_AGE_MAX).await?;
        match self.get_with(&key, path, account).await {
            Err(FetchError::Refused { status: 401, .. } | FetchError::KeyOfOtherMode) => {}
            settled => return settled,
        }
        let key = self.key.read(REFUSED_KEY_AGE_MAX).await?;
        self.get_with(&key, path, account).await
    }

    async fn get_with(
        &self,
        key: &str,
        path: &str,
        account: Option<&str>,
    ) -> Result<Read, FetchError> {
        if mode_of_key(key).is_some_and(|mode| mode != self.mode) {
            return Err(FetchError::KeyOfOtherMode);
        }
        let url = format!("{}{path}", self.url);
        let mut headers = vec![
            ("authorization", format!("Bearer {key}")),
            ("stripe-version", API_VERSION.to_owned()),
        ];
        headers.extend(account.map(|account| ("stripe-account", account.to_owned())));
        let asked = Instant::now();
        let answer = tokio::time::timeout(REQUEST_MAX, self.https.get(&url, headers)).await;
        let answer = answer.map_err(|_| FetchError::Unreachable("timeout".to_owned()))?;
        let Answer { status, date, body } = answer.map_err(FetchError::Unreachable)?;
        let at = date.and_then(|date| seconds(&date)).map(|date| {
            // It was asked so long before; a part of a second counts as a whole one.
            let took = i64::try_from(asked.elapsed().as_secs()).unwrap_or(i64::MAX);
            date.saturating_sub(took).saturating_sub(1)
        });
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, body) {
            (200, Some(body)) if body.is_object() => Ok(Read {
                body: Some(body),
                at,
            }),
            (200, _) => Err(FetchError::Unreadable),
            // A proxy's 404 is not in the shape of Stripe's errors.
            (404, Some(body)) if body["error"]["code"] == "resource_missing" => {
                Ok(Read { body: None, at })
            }
            (status, body) => {
                let error = body.map_or(Value::Null, |body| body["error"].clone());
                let code = error["code"].as_str().or_else(|| error["type"].as_str());
                Err(FetchError::Refused {
                    status,
                    code: token(code.unwrap_or("unknown")).into_owned(),
                })
            }
        }
    }
}

/// What was read at a path, none where Stripe says that there is nothing.
struct Read {
    body: Option<Value>,
    /// What Stripe's clock showed when it was asked, at the latest.
    at: Option<i64>,
}

fn seconds(date: &str) -> Option<i64> {
    Some(DateTime::from_str(date, Format::HttpDate).ok()?.secs())
}

fn because(failure: Option<&SecretError>) -> String {
    failure.map_or_else(String::new, |failure| format!(" ({})", causes(failure)))
}

impl fmt::Debug for StripeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeApi")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The summary that an event would have shown.
fn summary(customer: &str, entitlements: Vec<Value>, has_more: bool) -> Value {
    let mut list = Map::new();
    list.insert("data".to_owned(), Value::Array(entitlements));
    list.insert("has_more".to_owned(), Value::Bool(has_more));
    json!({
        "object": "entitlements.active_entitlement_summary",
        "customer": customer,
        "entitlements": list,
    })
}

fn collection(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Customer => Some("customers"),
        Kind::Subscription => Some("subscriptions"),
        Kind::Invoice => Some("invoices"),
        Kind::Charge => Some("charges"),
        Kind::PaymentIntent => Some("payment_intents"),
        Kind::Refund => Some("refunds"),
        Kind::Dispute => Some("disputes"),
        Kind::CheckoutSession => Some("checkout/sessions"),
        Kind::InvoicePayment => Some("invoice_payments"),
        Kind::CreditNote => Some("credit_notes"),
        Kind::EntitlementSummary | Kind::Usage => None,
    }
}

/// Everything but the characters that mean nothing special anywhere in a URL (RFC 3986, section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Escapes an id in a URL: it comes from a body, and must not reach another path.
fn escape(id: &str) -> String {
    utf8_percent_encode(id, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_path() {
        assert_eq!(escape("sub_1"), "sub_1");
        assert_eq!(escape("../x?y=1#z"), "%2E%2E%2Fx%3Fy%3D1%23z");
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = ApiKey::Plain("sk_test_secret".to_owned());
        let api = StripeApi::new(API_URL, key, Mode::Test);
        assert!(!format!("{api:?}").contains("secret"));
    }

    #[test]
    fn the_prefix_of_a_key_names_its_mode() {
        for (key, mode) in [
            ("sk_test_1", Some(Mode::Test)),
            ("rk_live_1", Some(Mode::Live)),
            ("sk_org_live_1", None),
            ("pk_live_1", None),
            ("whatever", None),
        ] {
            assert_eq!(mode_of_key(key), mode, "{key}");
        }
    }

    #[test]
    fn stripes_clock_is_read() {
        assert_eq!(
            seconds("Tue, 04 Nov 2025 10:00:00 GMT"),
            Some(1_762_250_400)
        );
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn a_key_is_taken_as_it_is_or_not_at_all() {
        assert_eq!(parse_key("rk_test_1"), Ok("rk_test_1".to_owned()));
        for text in ["", " ", "rk_test_1\n", " rk_test_1"] {
            assert!(parse_key(text).is_err(), "{text:?}");
        }
    }
}
