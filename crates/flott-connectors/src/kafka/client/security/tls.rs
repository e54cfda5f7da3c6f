//! TLS by rustls from Kafka's `ssl.*` properties: PEM and PKCS12 stores, given as files or inline.
//!
//! A truststore replaces the system's roots, as in Java. `ssl.endpoint.identification.algorithm` set to the empty string
//! switches the check of the host name off, nothing else of the certificate's.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use flott_runtime::net::{AnyHostName, PemError, pem_certificates, pem_key};
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::kafka::client::config::{KafkaProperties, Secret, wrong_value};
use crate::kafka::client::error::KafkaError;

/// The ready client configuration of rustls; prints no keys.
#[derive(Clone)]
pub struct TlsConfig {
    pub client: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfig")
    }
}

/// Where a store's content comes from.
enum Store {
    Pem {
        option: &'static str,
        text: Vec<u8>,
    },
    Pkcs12 {
        option: &'static str,
        bytes: Vec<u8>,
        password: Secret,
    },
}

fn config_error(option: &str, reason: impl Into<String>) -> KafkaError {
    KafkaError::Config {
        option: option.to_owned(),
        reason: reason.into(),
    }
}

fn read_file(option: &str, path: &str) -> Result<Vec<u8>, KafkaError> {
    std::fs::read(PathBuf::from(path)).map_err(|e| config_error(option, format!("'{path}' cannot be read: {e}")))
}

/// The property names of one store.
struct StoreOptions {
    kind: &'static str,
    location: &'static str,
    password: &'static str,
}

const TRUST: StoreOptions = StoreOptions {
    kind: "ssl.truststore.type",
    location: "ssl.truststore.location",
    password: "ssl.truststore.password",
};
const KEYS: StoreOptions = StoreOptions {
    kind: "ssl.keystore.type",
    location: "ssl.keystore.location",
    password: "ssl.keystore.password",
};

/// A JKS file starts with these bytes.
const JKS_MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

impl StoreOptions {
    fn jks(&self, option: &str) -> KafkaError {
        config_error(
            option,
            format!(
                "JKS stores are not supported: convert it with 'keytool -importkeystore -srckeystore STORE.jks -destkeystore STORE.p12 -deststoretype PKCS12' and set {}=PKCS12, or use PEM",
                self.kind
            ),
        )
    }

    /// The store at `location`; `None` when the user named none.
    fn load(&self, p: &KafkaProperties) -> Result<Option<Store>, KafkaError> {
        let kind = p.get(self.kind).map(str::to_ascii_uppercase);
        if let Some("JKS") = kind.as_deref() {
            return Err(self.jks(self.kind));
        }
        let Some(path) = p.get(self.location) else {
            return Ok(None);
        };
        let bytes = read_file(self.location, path)?;
        if bytes.starts_with(&JKS_MAGIC) {
            return Err(self.jks(self.location));
        }
        let pem = match kind.as_deref() {
            Some("PEM") => true,
            Some("PKCS12") => false,
            // Java's default type is JKS; what is neither named nor JKS is told apart by its content.
            None => bytes.windows(11).any(|w| w == b"-----BEGIN "),
            Some(other) => return Err(wrong_value(self.kind, other, "PEM or PKCS12")),
        };
        Ok(Some(if pem {
            Store::Pem {
                option: self.location,
                text: bytes,
            }
        } else {
            let password = Secret::new(p.get(self.password).unwrap_or_default());
            Store::Pkcs12 {
                option: self.location,
                bytes,
                password,
            }
        }))
    }
}

impl Store {
    fn open_pkcs12(option: &str, bytes: &[u8], password: &Secret) -> Result<KeyStore, KafkaError> {
        KeyStore::from_pkcs12(bytes, password.reveal(), Pkcs12ImportPolicy::Relaxed).map_err(|e| {
            config_error(
                option,
                format!("is no readable PKCS12 store (or its password is wrong): {e}"),
            )
        })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, KafkaError> {
        match self {
            Store::Pem { option, text } => certificates_in(option, text),
            Store::Pkcs12 {
                option,
                bytes,
                password,
            } => {
                let store = Self::open_pkcs12(option, bytes, password)?;
                let mut found = Vec::new();
                for (_, entry) in store.entries() {
                    match entry {
                        KeyStoreEntry::Certificate(c) => found.push(CertificateDer::from(c.as_der().to_vec())),
                        KeyStoreEntry::PrivateKeyChain(chain) => {
                            found.extend(chain.certs().iter().map(|c| CertificateDer::from(c.as_der().to_vec())));
                        }
                        _ => {}
                    }
                }
                Ok(found)
            }
        }
    }

    fn key_and_chain(&self) -> Result<(PrivateKeyDer<'static>, Vec<CertificateDer<'static>>), KafkaError> {
        match self {
            Store::Pem { option, text } => Ok((key_in(option, text)?, certificates_in(option, text)?)),
            Store::Pkcs12 {
                option,
                bytes,
                password,
            } => {
                let store = Self::open_pkcs12(option, bytes, password)?;
                let (_, chain) = store
                    .private_key_chain()
                    .ok_or_else(|| config_error(option, "holds no private key"))?;
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec()));
                Ok((
                    key,
                    chain
                        .certs()
                        .iter()
                        .map(|c| CertificateDer::from(c.as_der().to_vec()))
                        .collect(),
                ))
            }
        }
    }
}

fn certificates_in(option: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, KafkaError> {
    pem_certificates(text).map_err(|e| config_error(option, e.to_string()))
}

fn key_in(option: &str, text: &[u8]) -> Result<PrivateKeyDer<'static>, KafkaError> {
    pem_key(text).map_err(|e| {
        let remedy = match e {
            PemError::EncryptedKey => ": put key and certificate in a PKCS12 store with a password",
            _ => "",
        };
        config_error(option, format!("{e}{remedy}"))
    })
}

impl TlsConfig {
    /// Reads `ssl.truststore.*`, `ssl.keystore.*` and `ssl.endpoint.identification.algorithm`.
    pub fn from_properties(p: &KafkaProperties) -> Result<Self, KafkaError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(trusted_roots(p)?);
        let verify_host = match p.iter().find(|(k, _)| *k == "ssl.endpoint.identification.algorithm") {
            None => true,
            Some((_, value)) => match value.trim().to_ascii_lowercase().as_str() {
                "https" => true,
                "" => false,
                other => {
                    return Err(wrong_value(
                        "ssl.endpoint.identification.algorithm",
                        other,
                        "https or empty",
                    ));
                }
            },
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|e| config_error("ssl.truststore.location", e.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = if verify_host {
            verifier
        } else {
            Arc::new(AnyHostName::new(verifier))
        };
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| config_error("ssl.protocol", e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let client = match client_identity(p)? {
            None => builder.with_no_client_auth(),
            Some((key, chain)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| config_error("ssl.keystore.location", format!("key and certificate do not fit: {e}")))?,
        };
        Ok(Self {
            client: Arc::new(client),
        })
    }
}

fn trusted_roots(p: &KafkaProperties) -> Result<RootCertStore, KafkaError> {
    let store = match p.get("ssl.truststore.certificates") {
        Some(text) => {
            TRUST.load(p)?;
            Some(Store::Pem {
                option: "ssl.truststore.certificates",
                text: text.replace("\\n", "\n").into_bytes(),
            })
        }
        None => TRUST.load(p)?,
    };
    let mut roots = RootCertStore::empty();
    match store {
        Some(store) => {
            for certificate in store.certificates()? {
                roots
                    .add(certificate)
                    .map_err(|e| config_error(TRUST.location, format!("holds an unusable certificate: {e}")))?;
            }
            if roots.is_empty() {
                return Err(config_error(TRUST.location, "holds no certificate"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(config_error(
                    TRUST.location,
                    "is not set, and the system has no trusted certificates",
                ));
            }
        }
    }
    Ok(roots)
}

type Identity = (PrivateKeyDer<'static>, Vec<CertificateDer<'static>>);

fn client_identity(p: &KafkaProperties) -> Result<Option<Identity>, KafkaError> {
    match (p.get("ssl.keystore.key"), p.get("ssl.keystore.certificate.chain")) {
        (Some(key), Some(chain)) => {
            let key = key_in("ssl.keystore.key", key.replace("\\n", "\n").as_bytes())?;
            let chain = certificates_in("ssl.keystore.certificate.chain", chain.replace("\\n", "\n").as_bytes())?;
            Ok(Some((key, chain)))
        }
        (Some(_), None) => Err(config_error(
            "ssl.keystore.certificate.chain",
            "is required by ssl.keystore.key",
        )),
        (None, Some(_)) => Err(config_error(
            "ssl.keystore.key",
            "is required by ssl.keystore.certificate.chain",
        )),
        (None, None) => KEYS.load(p)?.map(|store| store.key_and_chain()).transpose(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(entries: &[(&str, &str)]) -> String {
        TlsConfig::from_properties(&KafkaProperties::new(entries.iter().copied()))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn stores_that_cannot_be_used_are_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        assert!(refused(&[("ssl.truststore.type", "JKS")]).contains("keytool -importkeystore"));
        let jks = write("a.jks", &[0xfe, 0xed, 0xfe, 0xed, 0, 0]);
        assert!(refused(&[("ssl.truststore.location", &jks)]).contains("keytool -importkeystore"));
        assert!(refused(&[("ssl.truststore.location", "/no/such/file")]).contains("/no/such/file"));
        let empty = write("empty.pem", b"nothing here");
        let pem = ("ssl.truststore.type", "PEM");
        assert!(refused(&[pem, ("ssl.truststore.location", &empty)]).contains("BEGIN CERTIFICATE"));
        let p12 = write("a.p12", b"not a store");
        assert!(refused(&[("ssl.truststore.type", "PKCS12"), ("ssl.truststore.location", &p12)]).contains("PKCS12"));
        assert!(
            refused(&[("ssl.truststore.type", "BKS"), ("ssl.truststore.location", &p12)]).contains("PEM or PKCS12")
        );
        assert!(refused(&[("ssl.keystore.key", "x")]).contains("ssl.keystore.certificate.chain"));
        assert!(refused(&[("ssl.endpoint.identification.algorithm", "dns")]).contains("https"));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
        let chain = ("ssl.keystore.certificate.chain", "x");
        assert!(refused(&[("ssl.keystore.key", encrypted), chain]).contains("PKCS12 store"));
    }
}
