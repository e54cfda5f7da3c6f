//! The client's settings, read from Kafka's Java property names (`bootstrap.servers`, `request.timeout.ms`, …).
//!
//! Defaults are those of the Java client. Secrets are kept in [`Secret`], which prints as `******`.
//! Properties that only steer the Java client (`key.deserializer`, …) are no errors here:
//! each part reads what it knows.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::error::KafkaError;
use super::security::SecurityConfig;

/// A password or key that no log and no error shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for the wire only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("******")
    }
}

/// Properties by Kafka's names; prints with every secret masked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaProperties(BTreeMap<String, String>);

/// Whether the value of property `key` is a secret.
pub fn is_secret_property(key: &str) -> bool {
    key.contains("password") || key.contains("secret") || key == "sasl.jaas.config" || key == "ssl.keystore.key"
}

impl KafkaProperties {
    /// Takes `(name, value)` pairs; the last of a name wins.
    pub fn new<K: Into<String>, V: Into<String>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(entries.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }

    /// The trimmed value of `key`; `None` when absent or blank.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    /// Sets `key` unless the user did.
    pub fn set_default(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_owned()).or_insert_with(|| value.into());
    }

    /// Sets `key`.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// All entries in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// The value of `key` parsed, or `default`; an error names what is expected.
    pub fn parse_or<T: FromStr>(&self, key: &str, default: T, expected: &str) -> Result<T, KafkaError> {
        match self.get(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| wrong_value(key, text, expected)),
        }
    }

    /// A number of bytes or records between `min` and 2^31 - 1.
    pub fn size_or(&self, key: &str, default: usize, min: usize) -> Result<usize, KafkaError> {
        let value = self.parse_or(key, default, "a whole number")?;
        if value < min || value > i32::MAX as usize {
            return Err(wrong_value(
                key,
                &value.to_string(),
                &format!("a whole number from {min} to {}", i32::MAX),
            ));
        }
        Ok(value)
    }

    /// A duration in milliseconds.
    pub fn millis_or(&self, key: &str, default_ms: u64) -> Result<Duration, KafkaError> {
        let value: u64 = self.parse_or(key, default_ms, "a whole number of milliseconds")?;
        if value > i32::MAX as u64 {
            return Err(wrong_value(key, &value.to_string(), "at most 2147483647 milliseconds"));
        }
        Ok(Duration::from_millis(value))
    }

    /// `true` or `false`.
    pub fn bool_or(&self, key: &str, default: bool) -> Result<bool, KafkaError> {
        match self.get(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(wrong_value(key, other, "true or false")),
        }
    }
}

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.0
                    .iter()
                    .map(|(k, v)| (k, if is_secret_property(k) { "******" } else { v.as_str() })),
            )
            .finish()
    }
}

/// The error for a value that is not one of `expected`.
pub(crate) fn wrong_value(option: &str, value: &str, expected: &str) -> KafkaError {
    let shown = if is_secret_property(option) { "******" } else { value };
    KafkaError::Config {
        option: option.to_owned(),
        reason: format!("'{shown}' is not {expected}"),
    }
}

/// What every connection needs.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `host:port` of the brokers to ask first.
    pub bootstrap: Vec<(String, u16)>,
    pub client_id: String,
    pub security: SecurityConfig,
    /// `request.timeout.ms`: how long one request may take.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: the retry budget of metadata, offsets, admin calls and fetching.
    pub api_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub retry_backoff: Duration,
    pub retry_backoff_max: Duration,
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`.
    pub reconnect_backoff: Duration,
    pub reconnect_backoff_max: Duration,
    /// `socket.connection.setup.timeout.ms`: connect, TLS and SASL together.
    pub connect_timeout: Duration,
    /// `metadata.max.age.ms`: leaders and topic ids older than this are asked for again.
    pub metadata_max_age: Duration,
}

impl ClientConfig {
    /// Reads the settings; `bootstrap.servers` is required.
    pub fn from_properties(p: &KafkaProperties) -> Result<Self, KafkaError> {
        let servers = p.get("bootstrap.servers").ok_or_else(|| KafkaError::Config {
            option: "bootstrap.servers".into(),
            reason: "is required: host:port, or several with commas".into(),
        })?;
        Ok(Self {
            bootstrap: parse_bootstrap(servers)?,
            client_id: p.get("client.id").unwrap_or("flott").to_owned(),
            security: SecurityConfig::from_properties(p)?,
            request_timeout: p.millis_or("request.timeout.ms", 30_000)?,
            api_timeout: p.millis_or("default.api.timeout.ms", 60_000)?,
            retry_backoff: p.millis_or("retry.backoff.ms", 100)?,
            retry_backoff_max: p.millis_or("retry.backoff.max.ms", 1_000)?,
            reconnect_backoff: p.millis_or("reconnect.backoff.ms", 50)?,
            reconnect_backoff_max: p.millis_or("reconnect.backoff.max.ms", 1_000)?,
            connect_timeout: p.millis_or("socket.connection.setup.timeout.ms", 10_000)?,
            metadata_max_age: p.millis_or("metadata.max.age.ms", 300_000)?,
        })
    }

    /// The bootstrap list as the user wrote it, for messages.
    pub fn bootstrap_text(&self) -> String {
        self.bootstrap
            .iter()
            .map(|(h, p)| format!("{h}:{p}"))
            .collect::<Vec<_>>()
            .join(",")
    }
}

fn parse_bootstrap(servers: &str) -> Result<Vec<(String, u16)>, KafkaError> {
    let parse_one = |entry: &str| -> Option<(String, u16)> {
        let entry = entry.rsplit_once("://").map_or(entry, |(_, rest)| rest);
        let (host, port) = entry.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then_some(())?;
        Some((host.to_owned(), port.parse().ok().filter(|p| *p != 0)?))
    };
    let entries: Vec<&str> = servers.split(',').map(str::trim).filter(|s| !s.is_empty()).collect();
    if entries.is_empty() {
        return Err(wrong_value("bootstrap.servers", servers, "a list of host:port"));
    }
    entries
        .into_iter()
        .map(|e| parse_one(e).ok_or_else(|| wrong_value("bootstrap.servers", e, "host:port")))
        .collect()
}

/// Grows from `first` by doubling up to `max`, with a fifth of jitter, so that clients do not knock in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `first`.
    pub fn new(first: Duration, max: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self {
            first,
            max: max.max(first),
            next: first,
        }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let current = self.next;
        self.next = (current * 2).min(self.max);
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.subsec_nanos());
        current.mul_f64(0.8 + 0.4 * f64::from(nanos % 1024) / 1024.0)
    }

    /// Back to the first pause, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_forms() {
        assert_eq!(
            parse_bootstrap("a:1, SASL_SSL://b.c:9092 ,[::1]:3").unwrap(),
            vec![("a".into(), 1), ("b.c".into(), 9092), ("::1".into(), 3)]
        );
        for bad in ["", "host", ":9", "host:x", "host:0"] {
            assert!(
                parse_bootstrap(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("bootstrap.servers"),
                "{bad}"
            );
        }
    }

    #[test]
    fn secrets_are_masked() {
        let p = KafkaProperties::new([
            ("sasl.jaas.config", "hunter2"),
            ("ssl.key.password", "hunter2"),
            ("ssl.keystore.key", "hunter2"),
            ("client.id", "me"),
        ]);
        let shown = format!("{p:?}");
        assert!(!shown.contains("hunter2") && shown.contains("me"), "{shown}");
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
        assert!(
            !wrong_value("ssl.key.password", "hunter2", "a password")
                .to_string()
                .contains("hunter2")
        );
    }

    #[test]
    fn wrong_values_name_option_and_expectation() {
        let p = KafkaProperties::new([
            ("request.timeout.ms", "soon"),
            ("check.crcs", "maybe"),
            ("batch.size", "-1"),
        ]);
        assert!(
            p.millis_or("request.timeout.ms", 1)
                .unwrap_err()
                .to_string()
                .contains("'soon'")
        );
        assert!(
            p.bool_or("check.crcs", true)
                .unwrap_err()
                .to_string()
                .contains("true or false")
        );
        assert!(p.size_or("batch.size", 1, 0).is_err());
    }

    #[test]
    fn backoff_doubles_to_its_maximum() {
        let mut b = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        let pauses: Vec<u128> = (0..4).map(|_| b.pause().as_millis()).collect();
        for (pause, middle) in pauses.iter().zip([100, 200, 300, 300]) {
            assert!(
                (middle * 8 / 10..=middle * 12 / 10).contains(&(*pause as i32)),
                "{pauses:?}"
            );
        }
    }
}
