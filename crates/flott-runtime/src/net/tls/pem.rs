//! Certificates and keys in PEM.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Text in which there is not what was looked for.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// No section is a certificate.
    #[error("holds no '-----BEGIN CERTIFICATE-----'")]
    NoCertificate,
    /// Sections that cannot be read.
    #[error("is not valid PEM: {0}")]
    NotPem(pem::Error),
    /// A key that only a password opens.
    #[error("holds an encrypted private key, which is not supported in PEM")]
    EncryptedKey,
    /// No section is a private key, or it cannot be read.
    #[error("holds no readable private key: {0}")]
    NoKey(pem::Error),
}

/// The certificates of `text`, in its order; at least one.
///
/// # Errors
/// [`PemError::NoCertificate`], [`PemError::NotPem`].
pub fn pem_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(PemError::NoCertificate),
        Err(e) => Err(PemError::NotPem(e)),
    }
}

/// The first private key of `text`.
///
/// # Errors
/// [`PemError::EncryptedKey`], [`PemError::NoKey`].
pub fn pem_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    if text.windows(27).any(|w| w == b"BEGIN ENCRYPTED PRIVATE KEY") {
        return Err(PemError::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(text).map_err(PemError::NoKey)
}
