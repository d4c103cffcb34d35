//! What an AWS client in a small function needs, and no more: region, credentials and endpoints from the
//! environment, and one HTTPS client whose crypto is `ring`.
//!
//! The usual configuration crate and the SDK's default TLS client are left out on purpose. In Lambda the
//! credentials stand in the environment, and the default crypto provider spends about 48 ms of CPU on its
//! first random bytes, in the first invocation of every cold start.

pub mod json;
pub mod process;
pub mod secret;
mod trust;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::byte_stream::ByteStream;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::{
    RetryConfig, SharedCredentialsProvider, StalledStreamProtectionConfig, TimeoutConfig,
};
use billhook_core::config::Variables;
use billhook_core::log::causes;

pub use trust::TrustError;

/// For opening a connection.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// For opening a connection before it is needed, an answer included.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// A service that the functions call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon DynamoDB.
    DynamoDb,
    /// Amazon SQS.
    Sqs,
    /// AWS Secrets Manager.
    SecretsManager,
    /// Amazon EventBridge.
    EventBridge,
}

impl Service {
    const ALL: [Self; 4] = [
        Self::DynamoDb,
        Self::Sqs,
        Self::SecretsManager,
        Self::EventBridge,
    ];

    /// The variable that points this service somewhere else
    /// (<https://docs.aws.amazon.com/sdkref/latest/guide/ss-endpoints-table.html>).
    fn endpoint_variable(self) -> &'static str {
        match self {
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            Self::Sqs => "AWS_ENDPOINT_URL_SQS",
            Self::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            Self::EventBridge => "AWS_ENDPOINT_URL_EVENTBRIDGE",
        }
    }

    /// What signatures and host names call it.
    fn signing_name(self) -> &'static str {
        match self {
            Self::DynamoDb => "dynamodb",
            Self::Sqs => "sqs",
            Self::SecretsManager => "secretsmanager",
            Self::EventBridge => "events",
        }
    }

    /// What stands before an operation in the header `X-Amz-Target`.
    fn target_prefix(self) -> &'static str {
        match self {
            Self::DynamoDb => "DynamoDB_20120810",
            Self::Sqs => "AmazonSQS",
            Self::SecretsManager => "secretsmanager",
            Self::EventBridge => "AWSEvents",
        }
    }
}

/// How long a call may take. Retries included, it must be over well before the function itself is.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
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
    own_endpoints: Vec<(Service, String)>,
    http: OneConnector,
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
            own_endpoints: Service::ALL
                .into_iter()
                .filter_map(|service| {
                    Some((service, variables.optional(service.endpoint_variable())?))
                })
                .collect(),
            http: OneConnector::new(tls_context(bundles(variables))),
        }
    }

    /// An environment for services on this machine, which check no credentials.
    #[must_use]
    pub fn local(endpoint: String) -> Self {
        Self {
            region: "us-east-1".to_owned(),
            credentials: Credentials::new("local", "local", None, None, "local"),
            endpoint: Some(endpoint),
            own_endpoints: Vec::new(),
            http: OneConnector::new(tls_context(vec![trust::AMAZON_ROOTS.to_vec()])),
        }
    }

    /// The SDK configuration for a service.
    #[must_use]
    pub fn sdk_config(&self, service: Service, limits: CallLimits) -> SdkConfig {
        let mut config = base_config(limits)
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(self.http.clone());
        config.set_endpoint_url(self.endpoint(service).cloned());
        config.build()
    }

    fn endpoint(&self, service: Service) -> Option<&String> {
        let own = self.own_endpoints.iter().find(|(of, _)| *of == service);
        own.map(|(_, url)| url).or(self.endpoint.as_ref())
    }

    /// Where the service is, without a slash at the end.
    fn url(&self, service: Service) -> String {
        match self.endpoint(service) {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => default_endpoint(service, &self.region),
        }
    }

    /// Opens the connection that the first call to a service will use, and tells whether there is one now.
    ///
    /// Meant for a function's start, where it has a whole core; in its first invocation it has as little as
    /// a fourteenth of one, and somebody waits. Nothing depends on it: where it fails, or takes longer than
    /// a second, the first call opens its own connection and tells what is wrong.
    pub async fn open_connection(&self, service: Service) -> bool {
        let mut ping = HttpRequest::empty();
        if ping.set_uri(format!("{}/ping", self.url(service))).is_err() {
            return false;
        }
        // Whatever the answer is: once it is read to its end the connection is free again.
        let answer = tokio::time::timeout(OPENING_MAX, self.http.send(ping)).await;
        matches!(answer, Ok(Ok(_)))
    }
}

/// What every client has in common.
fn base_config(limits: CallLimits) -> aws_types::sdk_config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_MAX)
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

/// Where a service is in the partitions `aws`, `aws-us-gov` and `aws-cn`. Clients of the SDK have its own, larger
/// table; elsewhere `AWS_ENDPOINT_URL_<SERVICE>` says where the others are.
fn default_endpoint(service: Service, region: &str) -> String {
    let name = service.signing_name();
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://{name}.{region}.amazonaws.com{china}")
}

/// An HTTPS client with one set of connections, made once. The SDK's own makes a connector, trust store and
/// all, when a client is made, throws it away, and makes another one for the first call.
#[derive(Clone, Debug)]
struct OneConnector(SharedHttpConnector);

impl OneConnector {
    fn new(context: TlsContext) -> Self {
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT_MAX)
            .build();
        let connector = Connector::builder()
            .connector_settings(settings)
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(context)
            .build();
        Self(SharedHttpConnector::new(connector))
    }

    /// Sends a request and reads the answer, whatever it is, to its end.
    async fn send(&self, request: HttpRequest) -> Result<(u16, Vec<u8>), String> {
        let answer = self.0.call(request).await.map_err(|error| causes(&error))?;
        let status = answer.status().as_u16();
        let body = ByteStream::new(answer.into_body()).collect().await;
        let body = body.map_err(|error| causes(&error))?;
        Ok((status, body.into_bytes().to_vec()))
    }
}

impl HttpClient for OneConnector {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.clone()
    }
}

/// The HTTPS client for AWS clients that are configured elsewhere. It trusts the roots that are built in and
/// every certificate in the files `AWS_CA_BUNDLE` and `SSL_CERT_FILE`. Problems are noted with the
/// variables.
pub fn https_client(variables: &mut Variables<'_>) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls_context(bundles(variables)))
        .build_https()
}

/// The roots that are built in and those in the files that the environment names.
fn bundles(variables: &mut Variables<'_>) -> Vec<Vec<u8>> {
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
    bundles
}

/// TLS that trusts exactly these PEM bundles.
fn tls_context(bundles: Vec<Vec<u8>>) -> TlsContext {
    let mut roots = TrustStore::empty();
    for bundle in bundles {
        roots.add_pem_certificate(bundle);
    }
    let context = TlsContext::builder().with_trust_store(roots).build();
    context.expect("a trust store alone is always a valid context")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    /// A server that answers every request, or none; and how many connections it got.
    fn server(answers: bool) -> (AwsEnvironment, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepted.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                        if answers && line == "\r\n" {
                            let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno";
                            stream.get_mut().write_all(answer).expect("written");
                        }
                        line.clear();
                    }
                });
            }
        });
        (AwsEnvironment::local(url), connections)
    }

    #[tokio::test]
    async fn the_connection_that_is_opened_is_the_one_that_is_used() {
        let (environment, connections) = server(true);
        for _ in 0..3 {
            assert!(environment.open_connection(Service::Sqs).await);
            // The connection goes back where it is found by the next call.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_costs_little_time_and_no_more() {
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", closed.local_addr().expect("an address"));
        drop(closed);
        let nobody = AwsEnvironment::local(url);
        let nonsense = AwsEnvironment::local("not a url".to_owned());
        let (silent, _) = server(false);
        for environment in [nobody, nonsense, silent] {
            let started = Instant::now();
            assert!(!environment.open_connection(Service::DynamoDb).await);
            assert!(started.elapsed() < OPENING_MAX * 2);
        }
    }

    #[test]
    fn the_default_endpoints_are_those_of_the_service() {
        let url = |service, region| default_endpoint(service, region);
        assert_eq!(
            url(Service::Sqs, "eu-north-1"),
            "https://sqs.eu-north-1.amazonaws.com"
        );
        assert_eq!(
            url(Service::DynamoDb, "cn-north-1"),
            "https://dynamodb.cn-north-1.amazonaws.com.cn"
        );
    }
}
