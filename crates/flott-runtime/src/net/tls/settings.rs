//! From options and PEM files to what rustls wants.

use super::fault::of_certificate;
use super::names::AnyHostName;
use super::pem::{PemError, pem_certificates, pem_key};
use flott_core::Options;
use flott_core::options::OptionError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// How a Java keystore becomes what an option needs.
const FROM_KEYSTORE: &str = "'openssl pkcs12 -in STORE.p12 -nodes -out process.pem', which is both .cert and .key";
const FROM_TRUSTSTORE: &str = "'openssl pkcs12 -in STORE.p12 -nokeys -out ca.pem', which is .ca";
const FROM_JKS: &str =
    "'keytool -importkeystore -srckeystore STORE.jks -destkeystore STORE.p12 -deststoretype PKCS12' first if it is JKS";

/// At which end a certificate is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// The options of one place.
pub(super) struct Settings<'a> {
    options: &'a Options,
    /// `internal` or `rest`.
    place: &'static str,
    provider: Arc<CryptoProvider>,
}

/// A file that an option names.
struct Named {
    /// The option.
    key: String,
    path: String,
    text: Vec<u8>,
    /// How to make it of a Java keystore.
    from_java: &'static str,
}

impl Named {
    fn wrong(&self, needed: impl Into<String>) -> OptionError {
        OptionError::new(&self.key, &self.path, needed)
    }

    /// The error for a file in which there is no `what`.
    fn not_pem(&self, what: &str, error: &PemError) -> OptionError {
        let remedy = match error {
            PemError::EncryptedKey => "; take its password away by 'openssl pkey -in KEY -out PLAIN_KEY'".to_owned(),
            _ => format!("; a Java keystore becomes PEM by {}, and by {FROM_JKS}", self.from_java),
        };
        self.wrong(format!("a PEM file of {what}: this one {error}{remedy}"))
    }
}

impl<'a> Settings<'a> {
    /// Those between the processes of a cluster.
    pub(super) fn internal(options: &'a Options) -> Self {
        Self::of("internal", options)
    }

    /// Those of REST.
    pub(super) fn rest(options: &'a Options) -> Self {
        Self::of("rest", options)
    }

    fn of(place: &'static str, options: &'a Options) -> Self {
        Self {
            options,
            place,
            provider: Arc::new(default_provider()),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("security.ssl.{}.{name}", self.place)
    }

    /// An option of this place, else the one of both places; its whole name comes along.
    fn get(&self, name: &str) -> Option<(String, &'a str)> {
        let mut keys = [self.key(name), format!("security.ssl.{name}")].into_iter();
        keys.find_map(|key| self.options.get(&key).map(|value| (key, value)))
    }

    pub(super) fn is_enabled(&self) -> Result<bool, OptionError> {
        let is_enabled = self.options.boolean(&self.key("enabled"))?.unwrap_or(false);
        let pinned = self.key("cert.fingerprint");
        match self.options.get(&pinned) {
            // To ignore it would be to trust more than was asked for.
            Some(value) if is_enabled => {
                let needed = "to be left out: the CA alone decides who is trusted, so let it sign nothing else";
                Err(OptionError::new(&pinned, value, needed))
            }
            _ => Ok(is_enabled),
        }
    }

    pub(super) fn authenticates_clients(&self) -> Result<bool, OptionError> {
        let asked = self.options.boolean(&self.key("authentication-enabled"))?;
        Ok(asked.unwrap_or(false))
    }

    pub(super) fn verifies_names(&self) -> Result<bool, OptionError> {
        Ok(self.options.boolean("security.ssl.verify-hostname")?.unwrap_or(true))
    }

    /// Both ends between processes: each presents its certificate, and the CA has to have signed the other's.
    pub(super) fn both_ends(&self) -> Result<(ServerConfig, ClientConfig), OptionError> {
        let roots = self.roots()?;
        let own = self.own(&[Role::Server, Role::Client], Some(&roots))?;
        let server = self.server(own.clone(), Some(roots.clone()))?;
        Ok((server, self.client(Some(own), roots, false)?))
    }

    /// The JobManager's end of REST. What signs its certificate is its clients' matter.
    pub(super) fn server_end(&self, asks_clients: bool) -> Result<ServerConfig, OptionError> {
        let own = self.own(&[Role::Server], None)?;
        let roots = asks_clients.then(|| self.roots()).transpose()?;
        self.server(own, roots)
    }

    /// A command's end of REST.
    pub(super) fn client_end(&self) -> Result<ClientConfig, OptionError> {
        let is_asked = self.authenticates_clients()?;
        let own = is_asked.then(|| self.own(&[Role::Client], None)).transpose()?;
        self.client(own, self.roots()?, self.verifies_names()?)
    }

    /// A server that asks its clients for certificates of `roots`, if there are any.
    fn server(
        &self,
        own: Arc<SingleCertAndKey>,
        roots: Option<Arc<RootCertStore>>,
    ) -> Result<ServerConfig, OptionError> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|e| self.cannot(&e))?;
        let builder = match roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, self.provider.clone()).build();
                builder.with_client_cert_verifier(verifier.map_err(|e| self.cannot(&e))?)
            }
        };
        Ok(builder.with_cert_resolver(own))
    }

    fn client(
        &self,
        own: Option<Arc<SingleCertAndKey>>,
        roots: Arc<RootCertStore>,
        verifies_names: bool,
    ) -> Result<ClientConfig, OptionError> {
        let verifier = self.server_verifier(roots).map_err(|e| self.cannot(&e))?;
        let verifier: Arc<dyn ServerCertVerifier> = match verifies_names {
            true => verifier,
            false => Arc::new(AnyHostName::new(verifier)),
        };
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|e| self.cannot(&e))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_cert_resolver(own),
        })
    }

    fn server_verifier(
        &self,
        roots: Arc<RootCertStore>,
    ) -> Result<Arc<WebPkiServerVerifier>, rustls::server::VerifierBuilderError> {
        WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone()).build()
    }

    /// TLS that cannot be set up with settings that are right.
    fn cannot(&self, error: &dyn std::fmt::Display) -> OptionError {
        OptionError::new(&self.key("enabled"), "true", format!("TLS that can be set up: {error}"))
    }

    /// The file of an option.
    fn file(&self, name: &str, what: &str) -> Result<Named, OptionError> {
        let (stores, from_java) = match name {
            "ca" => (["truststore", "keystore"], FROM_TRUSTSTORE),
            _ => (["keystore", "truststore"], FROM_KEYSTORE),
        };
        let Some((key, path)) = self.get(name) else {
            let java = stores.into_iter().find_map(|store| self.get(store)).map(|(store, _)| {
                format!(
                    "; Flott reads no Java keystore, as {store} names one: convert it by {from_java}, and by {FROM_JKS}"
                )
            });
            let because = self.key("enabled");
            let needed = format!(
                "the path of a PEM file of {what}, because {because} is true{}",
                java.unwrap_or_default()
            );
            return Err(OptionError::new(&self.key(name), "", needed));
        };
        match std::fs::read(path) {
            Ok(text) => Ok(Named {
                key,
                path: path.to_owned(),
                text,
                from_java,
            }),
            Err(e) => Err(OptionError::new(&key, path, format!("a file that can be read: {e}"))),
        }
    }

    /// The certificates that sign those of others.
    fn roots(&self) -> Result<Arc<RootCertStore>, OptionError> {
        let file = self.file("ca", "the certificates that sign those of the other side")?;
        let certificates = pem_certificates(&file.text).map_err(|e| file.not_pem("certificates", &e))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let added = roots.add(certificate);
            added.map_err(|e| file.wrong(format!("certificates that can be used: {e}")))?;
        }
        Ok(Arc::new(roots))
    }

    /// The certificate of this process and its key, once it is found good for `roles` and, where it is known who will look
    /// at it, signed by one of `roots`.
    fn own(&self, roles: &[Role], roots: Option<&Arc<RootCertStore>>) -> Result<Arc<SingleCertAndKey>, OptionError> {
        let cert = self.file("cert", "this process' certificate, and of those between it and the CA")?;
        let chain = pem_certificates(&cert.text).map_err(|e| cert.not_pem("a certificate", &e))?;
        let key = self.file("key", "the private key of the certificate")?;
        let secret = pem_key(&key.text).map_err(|e| key.not_pem("a private key", &e))?;
        let own = CertifiedKey::from_der(chain, secret, &self.provider).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => key.wrong(format!(
                "the private key of the certificate in '{}' ({}): this one does not fit it",
                cert.path, cert.key
            )),
            rustls::Error::InvalidCertificate(e) => cert.wrong(format!(
                "a certificate that can be read: this one {}",
                of_certificate(&e)
            )),
            e => key.wrong(format!("a private key of RSA, ECDSA or Ed25519: {e}")),
        })?;
        match roles.iter().find_map(|role| self.fault(*role, &own.cert, roots)) {
            None => Ok(Arc::new(own.into())),
            Some(fault) => {
                let needed = format!("a certificate that others accept: this one {}", of_certificate(&fault));
                Err(cert.wrong(needed))
            }
        }
    }

    /// What others will find wrong with our own certificate.
    fn fault(
        &self,
        role: Role,
        chain: &[CertificateDer<'static>],
        roots: Option<&Arc<RootCertStore>>,
    ) -> Option<CertificateError> {
        let (leaf, between) = chain.split_first()?;
        let anchors = match roots {
            Some(roots) => roots.clone(),
            None => {
                // Something must be trusted; what it is does not matter to the faults that are looked for.
                let mut any = RootCertStore::empty();
                any.add(chain.last()?.clone()).ok()?;
                Arc::new(any)
            }
        };
        let now = UnixTime::now();
        let verified = match role {
            Role::Server => {
                let verifier = AnyHostName::new(self.server_verifier(anchors).ok()?);
                let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
                verifier.verify_server_cert(leaf, between, &name, &[], now).map(drop)
            }
            Role::Client => {
                let verifier = WebPkiClientVerifier::builder_with_provider(anchors, self.provider.clone()).build();
                verifier.ok()?.verify_client_cert(leaf, between, now).map(drop)
            }
        };
        let Err(rustls::Error::InvalidCertificate(fault)) = verified else {
            return None;
        };
        let is_of_anybody = matches!(
            fault,
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::InvalidPurpose
                | CertificateError::InvalidPurposeContext { .. }
        );
        (is_of_anybody || roots.is_some()).then_some(fault)
    }
}
