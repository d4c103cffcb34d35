//! One HTTPS connector for Stripe, made when it is first needed: most functions never ask, and reading a hundred root
//! certificates takes a millisecond.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::byte_stream::ByteStream;
use base64::Engine;
use billhook_core::log::causes;

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The header `Date`: the server's clock.
    pub(crate) date: Option<String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Https(Arc<OnceLock<SharedHttpConnector>>);

impl Https {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// What is at a URL, or why there was no answer.
    pub(crate) async fn get(
        &self,
        url: &str,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Answer, String> {
        let mut request = HttpRequest::empty();
        request.set_uri(url).map_err(|error| causes(&error))?;
        for (name, value) in headers {
            // An account comes from a body: a header takes no line break.
            request
                .headers_mut()
                .try_insert(name, value)
                .map_err(|error| causes(&error))?;
        }
        let connector = self.0.get_or_init(connector);
        let answer = connector
            .call(request)
            .await
            .map_err(|error| causes(&error))?;
        let status = answer.status().as_u16();
        let date = answer.headers().get("date").map(str::to_owned);
        let body = ByteStream::new(answer.into_body()).collect().await;
        let body = body.map_err(|error| causes(&error))?;
        Ok(Answer {
            status,
            date,
            body: body.into_bytes().to_vec(),
        })
    }
}

fn connector() -> SharedHttpConnector {
    let context = TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(mozilla_roots()))
        .build()
        .expect("a trust store alone is always a valid context");
    let connector = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build();
    SharedHttpConnector::new(connector)
}

/// Mozilla's roots as PEM: Stripe does not say which authority it will use next.
fn mozilla_roots() -> String {
    let mut pem = String::new();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let text = base64::engine::general_purpose::STANDARD.encode(root);
        let _ = writeln!(
            pem,
            "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"
        );
    }
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_make_a_connector() {
        // Making it reads every root, and would panic on one that cannot be used.
        let _ = connector();
    }
}
