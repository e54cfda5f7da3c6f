//! Certificates of tests: a CA, and what it signs, as PEM files in a folder. The tests of several crates include this file.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// A CA of its own.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        };
        authority.write("ca.pem", authority.issuer.pem().as_bytes());
        authority
    }

    /// Writes a file beside the others; its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Signs a certificate for this machine, as `NAME.pem` with `NAME.key`.
    pub fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{name}.pem"), certificate.pem().as_bytes());
        self.write(&format!("{name}.key"), key.serialize_pem().as_bytes());
    }

    /// The options of a process that has this certificate; `place` is `internal` or `rest`.
    pub fn options(&self, place: &str, name: &str) -> Vec<(String, String)> {
        let file = |file: &str| self.folder.path().join(file).to_str().unwrap().to_owned();
        let option = |key: &str, value: String| (format!("security.ssl.{place}.{key}"), value);
        vec![
            option("enabled", "true".to_owned()),
            option("cert", file(&format!("{name}.pem"))),
            option("key", file(&format!("{name}.key"))),
            option("ca", file("ca.pem")),
        ]
    }
}
