//! Stripe's API, as far as it settles what events leave open: reading one object as it is now.
//!
//! Used where an API key is configured and the events of a second do not tell its last state, or a list in an
//! object was cut short. This crate does not know what is stored, nor when to ask.

mod https;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use billhook_aws::secret::{Secret, SecretError};
use billhook_core::log::causes;
use billhook_core::objects::Kind;
use billhook_core::token::token;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use https::Https;

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

/// What Stripe knows of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetched {
    /// The object as it is now.
    Object(Value),
    /// Stripe says that the object was deleted.
    Deleted,
    /// Stripe finds no such object.
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
}

impl StripeApi {
    /// Asks at `url` (see [`API_URL`]) with this secret or restricted key.
    #[must_use]
    pub fn new(url: &str, key: ApiKey) -> Self {
        Self {
            https: Https::new(),
            url: url.trim_end_matches('/').to_owned(),
            key,
        }
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
    ) -> Result<Fetched, FetchError> {
        if kind == Kind::EntitlementSummary {
            return self.fetch_entitlements(id, account).await;
        }
        let Some(collection) = collection(kind) else {
            return Err(FetchError::Unreadable);
        };
        let answer = self
            .get(&format!("/v1/{collection}/{}", escape(id)), account)
            .await?;
        match answer {
            Some(object) if object["deleted"] == true => Ok(Fetched::Deleted),
            Some(object) if object["id"] == id => Ok(Fetched::Object(object)),
            Some(_) => Err(FetchError::Unreadable),
            None => Ok(Fetched::NotFound),
        }
    }

    /// A customer's entitlements have no object of their own to read: the whole list is put in its form.
    async fn fetch_entitlements(
        &self,
        customer: &str,
        account: Option<&str>,
    ) -> Result<Fetched, FetchError> {
        let mut entitlements = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let path = format!(
                "/v1/entitlements/active_entitlements?customer={}&limit=100{after}",
                escape(customer)
            );
            let Some(mut page) = self.get(&path, account).await? else {
                return Ok(Fetched::NotFound);
            };
            let more = page["has_more"] == true;
            let Some(data) = page["data"].as_array_mut() else {
                return Err(FetchError::Unreadable);
            };
            entitlements.append(data);
            let last = entitlements.last().and_then(|last| last["id"].as_str());
            match last.filter(|_| more) {
                Some(last) => after = format!("&starting_after={}", escape(last)),
                None => return Ok(Fetched::Object(summary(customer, entitlements, false))),
            }
        }
        Ok(Fetched::Object(summary(customer, entitlements, true)))
    }

    /// The JSON at a path, or none where there is nothing (any more). A key that is refused may have been rolled.
    async fn get(&self, path: &str, account: Option<&str>) -> Result<Option<Value>, FetchError> {
        let key = self.key.read(KEY_AGE_MAX).await?;
        match self.get_with(&key, path, account).await {
            Err(FetchError::Refused { status: 401, .. }) => {}
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
    ) -> Result<Option<Value>, FetchError> {
        let url = format!("{}{path}", self.url);
        let mut headers = vec![
            ("authorization", format!("Bearer {key}")),
            ("stripe-version", API_VERSION.to_owned()),
        ];
        headers.extend(account.map(|account| ("stripe-account", account.to_owned())));
        let answer = tokio::time::timeout(REQUEST_MAX, self.https.get(&url, headers)).await;
        let answer = answer.map_err(|_| FetchError::Unreachable("timeout".to_owned()))?;
        let (status, body) = answer.map_err(FetchError::Unreachable)?;
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, body) {
            (200, Some(body)) if body.is_object() => Ok(Some(body)),
            (200, _) => Err(FetchError::Unreadable),
            (404, _) => Ok(None),
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
        let api = StripeApi::new(API_URL, ApiKey::Plain("sk_test_secret".to_owned()));
        assert!(!format!("{api:?}").contains("secret"));
    }

    #[test]
    fn a_key_is_taken_as_it_is_or_not_at_all() {
        assert_eq!(parse_key("rk_test_1"), Ok("rk_test_1".to_owned()));
        for text in ["", " ", "rk_test_1\n", " rk_test_1"] {
            assert!(parse_key(text).is_err(), "{text:?}");
        }
    }
}
