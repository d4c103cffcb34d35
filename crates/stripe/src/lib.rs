//! Stripe's API, as far as it settles what events leave open: reading one object as it is now.
//!
//! Used where an API key is configured and the events of a second do not tell its last state, or a list in an
//! object was cut short. This crate does not know what is stored, nor when to ask.

mod https;

use std::fmt;
use std::time::Duration;

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

/// A way to ask Stripe.
#[derive(Clone)]
pub struct StripeApi {
    https: Https,
    url: String,
    key: String,
}

/// What Stripe knows of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetched {
    /// The object as it is now.
    Object(Value),
    /// There is no such object any more.
    Gone,
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer, or not in time.
    #[error("Stripe does not answer ({0})")]
    Unreachable(String),
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
    pub fn new(url: &str, key: String) -> Self {
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
            Some(object) if object["deleted"] == true => Ok(Fetched::Gone),
            Some(object) if object["id"] == id => Ok(Fetched::Object(object)),
            Some(_) => Err(FetchError::Unreadable),
            None => Ok(Fetched::Gone),
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
                return Ok(Fetched::Gone);
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

    /// The JSON at a path, or none where there is nothing (any more).
    async fn get(&self, path: &str, account: Option<&str>) -> Result<Option<Value>, FetchError> {
        let url = format!("{}{path}", self.url);
        let mut headers = vec![
            ("authorization", format!("Bearer {}", self.key)),
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
        let api = StripeApi::new(API_URL, "sk_test_secret".to_owned());
        assert!(!format!("{api:?}").contains("secret"));
    }
}
