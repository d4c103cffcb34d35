//! What an AWS client in a small function needs, and no more: region, credentials and endpoints from the
//! environment, and one HTTPS client whose crypto is `ring`.
//!
//! The usual configuration crate and the SDK's default TLS client are left out on purpose. In Lambda the
//! credentials stand in the environment, and the default crypto provider spends about 48 ms of CPU on its
//! first random bytes, in the first invocation of every cold start.

pub mod process;
mod trust;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::{
    RetryConfig, SharedCredentialsProvider, StalledStreamProtectionConfig, TimeoutConfig,
};
use billhook_core::config::Variables;

pub use trust::TrustError;

/// A service that the functions call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon DynamoDB.
    DynamoDb,
    /// Amazon SQS.
    Sqs,
}

impl Service {
    /// The variable that points this service somewhere else.
    fn endpoint_variable(self) -> &'static str {
        match self {
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            Self::Sqs => "AWS_ENDPOINT_URL_SQS",
        }
    }
}

/// How long a call may take. Retries included, it must be over well before the function itself is.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// For opening a connection.
    pub connect: Duration,
    /// For one attempt.
    pub attempt: Duration,
    /// For all attempts of one call together.
    pub call: Duration,
    /// How many attempts there are.
    pub attempts: u32,
}

/// Region, credentials, endpoints and trust, as the environment gives them.
#[derive(Clone, Debug)]
pub struct AwsEnvironment {
    region: String,
    credentials: Credentials,
    endpoint: Option<String>,
    dynamodb_endpoint: Option<String>,
    sqs_endpoint: Option<String>,
    http: SharedHttpClient,
}

impl AwsEnvironment {
    /// Reads what the Lambda runtime sets (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, …), the endpoint variables
    /// `AWS_ENDPOINT_URL_<SERVICE>` and `AWS_ENDPOINT_URL`, and the certificate files `AWS_CA_BUNDLE`
    /// and `SSL_CERT_FILE`, which are trusted beside the roots that are built in. Problems are noted
    /// with the variables.
    pub fn read(variables: &mut Variables<'_>) -> Self {
        let region = variables
            .optional("AWS_REGION")
            .or_else(|| variables.optional("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|| variables.required("AWS_REGION"));
        let credentials = Credentials::new(
            variables.required("AWS_ACCESS_KEY_ID"),
            variables.required("AWS_SECRET_ACCESS_KEY"),
            variables.optional("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        Self {
            region,
            credentials,
            endpoint: variables.optional("AWS_ENDPOINT_URL"),
            dynamodb_endpoint: variables.optional(Service::DynamoDb.endpoint_variable()),
            sqs_endpoint: variables.optional(Service::Sqs.endpoint_variable()),
            http: https_client(variables),
        }
    }

    /// An environment for services on this machine, which check no credentials.
    #[must_use]
    pub fn local(endpoint: String) -> Self {
        Self {
            region: "us-east-1".to_owned(),
            credentials: Credentials::new("local", "local", None, None, "local"),
            endpoint: Some(endpoint),
            dynamodb_endpoint: None,
            sqs_endpoint: None,
            http: https_client_that_trusts(vec![trust::AMAZON_ROOTS.to_vec()]),
        }
    }

    /// The SDK configuration for a service.
    #[must_use]
    pub fn sdk_config(&self, service: Service, limits: CallLimits) -> SdkConfig {
        let own = match service {
            Service::DynamoDb => &self.dynamodb_endpoint,
            Service::Sqs => &self.sqs_endpoint,
        };
        let mut config = base_config(limits)
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(self.http.clone());
        config.set_endpoint_url(own.clone().or_else(|| self.endpoint.clone()));
        config.build()
    }
}

/// What every client has in common.
fn base_config(limits: CallLimits) -> aws_types::sdk_config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(limits.connect)
        .operation_attempt_timeout(limits.attempt)
        .operation_timeout(limits.call)
        .build();
    let retry = RetryConfig::standard()
        .with_max_attempts(limits.attempts)
        .with_initial_backoff(Duration::from_millis(50));
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(retry)
        // Answers here are a few kilobytes: the timeouts above are enough.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// The HTTPS client of every AWS client here. It trusts the roots that are built in and every certificate in
/// the files `AWS_CA_BUNDLE` and `SSL_CERT_FILE`. Problems are noted with the variables.
pub fn https_client(variables: &mut Variables<'_>) -> SharedHttpClient {
    let mut bundles = vec![trust::AMAZON_ROOTS.to_vec()];
    for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let Some(path) = variables.optional(name) else {
            continue;
        };
        match trust::read_bundle(path.as_ref()) {
            Ok(bundle) => bundles.push(bundle),
            Err(error) => variables.problem(name, &format!("is no usable bundle: {error}")),
        }
    }
    https_client_that_trusts(bundles)
}

/// An HTTPS client that trusts exactly these PEM bundles.
fn https_client_that_trusts(bundles: Vec<Vec<u8>>) -> SharedHttpClient {
    let mut roots = TrustStore::empty();
    for bundle in bundles {
        roots.add_pem_certificate(bundle);
    }
    let context = TlsContext::builder().with_trust_store(roots).build();
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context.expect("a trust store alone is always a valid context"))
        .build_https()
}
