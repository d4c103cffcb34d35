//! Requests in the forms that the webhook function gets them in.
//!
//! Each is one of the payloads in `events/apigateway/` with another path, body and headers.

use std::collections::BTreeMap;

use billhook_core::signature::{bearbilling, stripe};
use serde_json::{Map, Value, json};

/// Who hands the request over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An HTTP API, payload 2.0.
    HttpApi,
    /// A REST API, payload 1.0, with the stage `Prod`.
    RestApi,
    /// A function URL.
    FunctionUrl,
    /// An application load balancer.
    Alb,
    /// An application load balancer with multi-value headers.
    AlbMultiValue,
}

impl Form {
    /// Every form there is.
    pub const ALL: [Self; 5] = [
        Self::HttpApi,
        Self::RestApi,
        Self::FunctionUrl,
        Self::Alb,
        Self::AlbMultiValue,
    ];

    fn sample(self) -> Value {
        let text = match self {
            Self::HttpApi => include_str!("../../events/apigateway/http_api_v2_aged.json"),
            Self::RestApi => include_str!("../../events/apigateway/rest_api_aged.json"),
            Self::FunctionUrl => include_str!("../../events/apigateway/function_url_aged.json"),
            Self::Alb | Self::AlbMultiValue => {
                include_str!("../../events/apigateway/alb_aged.json")
            }
        };
        serde_json::from_str(text).expect("a sample is JSON")
    }
}

/// A request to the webhook function.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// The path without a stage.
    pub path: String,
    /// Headers in the order they came; one name may come several times.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A delivery of Stripe's without a signature.
    #[must_use]
    pub fn unsigned(body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST",
            path: "/webhooks/stripe".to_owned(),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// A delivery of Stripe's, signed for a Unix second.
    #[must_use]
    pub fn stripe(body: impl Into<Vec<u8>>, secret: &str, now: i64) -> Self {
        let request = Self::unsigned(body);
        let signature = stripe::sign(&request.body, secret, now);
        request.header("stripe-signature", &signature)
    }

    /// A delivery of Bear Billing's.
    #[must_use]
    pub fn bearbilling(body: impl Into<Vec<u8>>, secret: &str) -> Self {
        let request = Self::unsigned(body);
        let signature = bearbilling::sign(&request.body, secret);
        let request = request.header("x-bearbilling-signature", &signature);
        request.to("/webhooks/bearbilling")
    }

    /// The same request with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same request with another body: what was signed is not what came.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same request to another path.
    #[must_use]
    pub fn to(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The same request with another method.
    #[must_use]
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// The payload with the body as text.
    ///
    /// # Panics
    ///
    /// Where the body is no text.
    #[must_use]
    pub fn payload(&self, form: Form) -> Value {
        let body = std::str::from_utf8(&self.body).expect("a body that is text");
        self.payload_with(form, body, false)
    }

    /// The payload with the body in base64, which stands in `encoded`.
    #[must_use]
    pub fn payload_base64(&self, form: Form, encoded: &str) -> Value {
        self.payload_with(form, encoded, true)
    }

    fn payload_with(&self, form: Form, body: &str, base64: bool) -> Value {
        let mut payload = form.sample();
        payload["body"] = body.into();
        payload["isBase64Encoded"] = base64.into();
        self.put_route(form, &mut payload);
        self.put_headers(form, &mut payload);
        payload
    }

    fn put_route(&self, form: Form, payload: &mut Value) {
        let path: Value = self.path.as_str().into();
        let context = &mut payload["requestContext"];
        match form {
            Form::HttpApi | Form::FunctionUrl => {
                context["http"]["method"] = self.method.into();
                context["http"]["path"] = path.clone();
                payload["rawPath"] = path;
            }
            Form::RestApi => {
                context["httpMethod"] = self.method.into();
                context["path"] = format!("/Prod{}", self.path).into();
                payload["httpMethod"] = self.method.into();
                payload["path"] = path;
            }
            Form::Alb | Form::AlbMultiValue => {
                payload["httpMethod"] = self.method.into();
                payload["path"] = path;
            }
        }
    }

    /// HTTP APIs and function URLs join what came several times by commas; the others show the last value, and
    /// all of them where headers may have several values.
    fn put_headers(&self, form: Form, payload: &mut Value) {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in payload["headers"].as_object().into_iter().flatten() {
            let ours = ["stripe-signature", "x-bearbilling-signature"];
            if !ours.iter().any(|our| name.eq_ignore_ascii_case(our)) {
                let value = value.as_str().unwrap_or_default().to_owned();
                all.insert(name.clone(), vec![value]);
            }
        }
        for (name, value) in &self.headers {
            all.entry(name.clone()).or_default().push(value.clone());
        }
        let single = |join: bool| -> Map<String, Value> {
            let values = all.iter().map(|(name, values)| {
                let value = if join {
                    values.join(",")
                } else {
                    values.last().cloned().unwrap_or_default()
                };
                (name.clone(), value.into())
            });
            values.collect()
        };
        match form {
            Form::HttpApi | Form::FunctionUrl => payload["headers"] = single(true).into(),
            Form::Alb => payload["headers"] = single(false).into(),
            Form::RestApi => {
                payload["headers"] = single(false).into();
                payload["multiValueHeaders"] = json!(all);
            }
            Form::AlbMultiValue => {
                if let Some(payload) = payload.as_object_mut() {
                    payload.remove("headers");
                }
                payload["multiValueHeaders"] = json!(all);
            }
        }
    }
}
