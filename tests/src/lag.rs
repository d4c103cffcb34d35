//! An index that is behind its table: for so many queries it shows nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use billhook_store::keys::BY_CUSTOMER;

use crate::between::{self, Between};

/// How many queries of the index find nothing. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lag(Arc<AtomicUsize>);

impl Lag {
    /// From now on so many queries find nothing.
    pub fn set(&self, queries: usize) {
        self.0.store(queries, Ordering::SeqCst);
    }

    /// How many queries still find nothing.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A client of the DynamoDB at this endpoint whose index is behind.
    #[must_use]
    pub fn client(&self, endpoint: &str) -> Client {
        between::client(endpoint, self.clone())
    }

    /// Uses up one query; true if it finds nothing.
    fn hides(&self, request: &HttpRequest) -> bool {
        let body = request.body().bytes().unwrap_or_default();
        let of_index = String::from_utf8_lossy(body).contains(BY_CUSTOMER);
        let one_less = |left: usize| left.checked_sub(1);
        of_index
            && self
                .0
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok()
    }
}

impl Between for Lag {
    fn call(&self, request: HttpRequest, on: &SharedHttpConnector) -> HttpConnectorFuture {
        if !self.hides(&request) {
            return on.call(request);
        }
        let status = 200.try_into().expect("a status");
        let nothing = r#"{"Items":[],"Count":0,"ScannedCount":0}"#;
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, nothing.into())))
    }
}
