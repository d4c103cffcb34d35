//! Something between the SDK and DynamoDB that sees each call, and passes it on, holds it back or answers it.

use std::fmt::Debug;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::harness::sdk_config;

/// What is done with each call.
pub(crate) trait Between: Clone + Debug + Send + Sync + 'static {
    /// Makes the call by `on`, or does not.
    fn call(&self, request: HttpRequest, on: &SharedHttpConnector) -> HttpConnectorFuture;
}

/// A client of the DynamoDB at this endpoint with something in between. It does not retry, so that each call is
/// one of the caller's.
pub(crate) fn client(endpoint: &str, between: impl Between) -> Client {
    let config = sdk_config(endpoint);
    let inner = config
        .http_client()
        .expect("the configuration brings its HTTP client");
    let config = aws_sdk_dynamodb::config::Builder::from(&config)
        .http_client(Wrapped { inner, between })
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

#[derive(Debug)]
struct Wrapped<T, B> {
    inner: T,
    between: B,
}

impl<B: Between> HttpClient for Wrapped<SharedHttpClient, B> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Wrapped {
            inner: self.inner.http_connector(settings, components),
            between: self.between.clone(),
        })
    }
}

impl<B: Between> HttpConnector for Wrapped<SharedHttpConnector, B> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.between.call(request, &self.inner)
    }
}
