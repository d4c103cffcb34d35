//! Which certificate authorities are believed.
//!
//! The roots of Amazon Trust Services are built in, so a function loads no system bundle at start (1.6 ms of
//! CPU and more). A company that inspects its traffic, or an emulator with its own authority, adds bundles
//! by variable.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The five roots that AWS asks clients to trust (<https://www.amazontrust.com/repository/>).
pub(crate) const AMAZON_ROOTS: &[u8] = include_bytes!("../roots/amazon.pem");

/// Why a file is no usable bundle of certificates.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("the file cannot be read ({0})")]
    Unreadable(std::io::ErrorKind),
    /// The file holds something that is not PEM.
    #[error("it is not PEM")]
    NotPem,
    /// The file holds no certificate.
    #[error("it holds no certificate")]
    Empty,
    /// A certificate in the file cannot be used as a trust anchor.
    #[error("certificate {0} of it is not valid")]
    BadCertificate(usize),
}

/// Reads a PEM bundle and makes sure that every certificate in it can be used: the TLS library
/// itself would panic on one that cannot.
pub(crate) fn read_bundle(path: &Path) -> Result<Vec<u8>, TrustError> {
    let bytes = std::fs::read(path).map_err(|error| TrustError::Unreadable(error.kind()))?;
    check(&bytes)?;
    Ok(bytes)
}

fn check(pem: &[u8]) -> Result<(), TrustError> {
    let mut store = RootCertStore::empty();
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        count += 1;
        let certificate = certificate.map_err(|_| TrustError::NotPem)?;
        store
            .add(certificate)
            .map_err(|_| TrustError::BadCertificate(count))?;
    }
    if count == 0 {
        Err(TrustError::Empty)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_roots_are_all_usable() {
        check(AMAZON_ROOTS).expect("valid roots");
        assert_eq!(CertificateDer::pem_slice_iter(AMAZON_ROOTS).count(), 5);
    }

    #[test]
    fn a_bad_bundle_is_refused_before_it_is_used() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            check(broken.as_bytes()),
            Err(TrustError::BadCertificate(1))
        ));
        assert!(matches!(check(b"hello"), Err(TrustError::Empty)));
        let cut = "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n";
        assert!(matches!(check(cut.as_bytes()), Err(TrustError::NotPem)));
        assert!(matches!(
            read_bundle(Path::new("/no/such")),
            Err(TrustError::Unreadable(_))
        ));
    }
}
