//! `security.protocol` and what hangs on it: [`jaas`] credentials, [`scram`] and PLAIN exchanges, [`tls`] stores.

pub mod jaas;
pub mod scram;
pub mod tls;

use super::config::{KafkaProperties, Secret, wrong_value};
use super::error::KafkaError;
use tls::TlsConfig;

/// How a connection is secured.
#[derive(Clone, Debug, Default)]
pub struct SecurityConfig {
    /// TLS, for `SSL` and `SASL_SSL`.
    pub tls: Option<TlsConfig>,
    /// SASL, for `SASL_PLAINTEXT` and `SASL_SSL`.
    pub sasl: Option<SaslConfig>,
}

/// The SASL mechanisms that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl SaslMechanism {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Mechanism and credentials.
#[derive(Clone, Debug)]
pub struct SaslConfig {
    pub mechanism: SaslMechanism,
    pub username: String,
    pub password: Secret,
}

impl SecurityConfig {
    /// Reads `security.protocol`, `sasl.*` and `ssl.*`.
    pub fn from_properties(p: &KafkaProperties) -> Result<Self, KafkaError> {
        let protocol = p.get("security.protocol").unwrap_or("PLAINTEXT").to_ascii_uppercase();
        let (with_tls, with_sasl) = match protocol.as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            other => {
                return Err(wrong_value(
                    "security.protocol",
                    other,
                    "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
                ));
            }
        };
        Ok(Self {
            tls: with_tls.then(|| TlsConfig::from_properties(p)).transpose()?,
            sasl: with_sasl.then(|| SaslConfig::from_properties(p)).transpose()?,
        })
    }
}

impl SaslConfig {
    fn from_properties(p: &KafkaProperties) -> Result<Self, KafkaError> {
        let mechanism = match p
            .get("sasl.mechanism")
            .unwrap_or("GSSAPI")
            .to_ascii_uppercase()
            .as_str()
        {
            "PLAIN" => SaslMechanism::Plain,
            "SCRAM-SHA-256" => SaslMechanism::ScramSha256,
            "SCRAM-SHA-512" => SaslMechanism::ScramSha512,
            other => {
                return Err(wrong_value(
                    "sasl.mechanism",
                    other,
                    "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
                ));
            }
        };
        let text = p.get("sasl.jaas.config").ok_or_else(|| KafkaError::Config {
            option: "sasl.jaas.config".into(),
            reason: format!("is required by sasl.mechanism {}", mechanism.name()),
        })?;
        let login = jaas::parse(text).map_err(|reason| KafkaError::Config {
            option: "sasl.jaas.config".into(),
            reason,
        })?;
        let expected = match mechanism {
            SaslMechanism::Plain => "PlainLoginModule",
            _ => "ScramLoginModule",
        };
        if !login.module.ends_with(expected) {
            return Err(KafkaError::Config {
                option: "sasl.jaas.config".into(),
                reason: format!(
                    "names login module {}, but sasl.mechanism {} needs one that ends in {expected}",
                    login.module,
                    mechanism.name()
                ),
            });
        }
        let take = |name: &str| {
            login.option(name).map(str::to_owned).ok_or_else(|| KafkaError::Config {
                option: "sasl.jaas.config".into(),
                reason: format!("has no {name}=\"…\""),
            })
        };
        Ok(Self {
            mechanism,
            username: take("username")?,
            password: Secret::new(take("password")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&str, &str)]) -> Result<SecurityConfig, KafkaError> {
        SecurityConfig::from_properties(&KafkaProperties::new(entries.iter().copied()))
    }

    #[test]
    fn sasl_plain_from_java_names() {
        let config = of(&[
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            (
                "sasl.jaas.config",
                "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"p w\";",
            ),
        ])
        .unwrap();
        let sasl = config.sasl.unwrap();
        assert_eq!((sasl.username.as_str(), sasl.password.reveal()), ("u", "p w"));
        assert!(!format!("{sasl:?}").contains("p w"));
    }

    #[test]
    fn mistakes_are_named_without_secrets() {
        let scram =
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"hunter2\";";
        for (entries, part) in [
            (vec![("security.protocol", "TLS")], "SASL_SSL"),
            (vec![("security.protocol", "SASL_SSL")], "GSSAPI"),
            (
                vec![("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN")],
                "sasl.jaas.config",
            ),
            (
                vec![
                    ("security.protocol", "SASL_PLAINTEXT"),
                    ("sasl.mechanism", "PLAIN"),
                    ("sasl.jaas.config", scram),
                ],
                "PlainLoginModule",
            ),
        ] {
            let message = of(&entries).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains("hunter2"), "{message}");
        }
    }
}
