//! Options under Flink's names: text in, typed values out, with errors that name the option, the value and what is allowed.

use crate::suggest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A value that an option does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option '{key}' has the value '{value}', but needs {allowed}")]
pub struct OptionError {
    /// The option's name.
    pub key: String,
    /// The value that was given, masked if the option holds a secret.
    pub value: String,
    /// What the option accepts.
    pub allowed: String,
}

impl OptionError {
    /// The error for a value of `key` that is not `allowed`; secrets are masked.
    pub fn new(key: &str, value: &str, allowed: impl Into<String>) -> Self {
        let value = if is_secret(key) {
            "******".to_owned()
        } else {
            value.to_owned()
        };
        Self {
            key: key.to_owned(),
            value,
            allowed: allowed.into(),
        }
    }
}

/// Options by name; the text is kept as written and read when asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options(BTreeMap<String, String>);

/// Whether values of this option must not be shown, by Flink's rule on words in the name; one that Flink shows is the password for ZooKeeper.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    [
        "password",
        "secret",
        "jaas",
        "apikey",
        "api-key",
        "auth-params",
        "service-key",
        "token",
        "basic-auth",
        "keystore.key",
        "fs.azure.account.key",
        "http-headers",
        "zookeeper.client.authorization",
    ]
    .iter()
    .any(|w| key.contains(w))
}

impl Options {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an option and returns what it was.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(key.into(), value.into())
    }

    /// Removes an option.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Removes all options.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds all options of `other`; those win over equal names.
    pub fn merge(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(k, v)| (k.clone(), v.clone())));
    }

    /// The text of an option.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All options, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Number of options.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The options whose names start with `prefix`, without it.
    pub fn with_prefix(&self, prefix: &str) -> BTreeMap<String, String> {
        self.0
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone())))
            .collect()
    }

    /// An option as a whole number.
    ///
    /// # Errors
    /// If the text is not one.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, OptionError> {
        self.read(key, "a whole number", |v| v.trim().parse().ok())
    }

    /// An option as a count of at least 1.
    ///
    /// # Errors
    /// If the text is not one.
    pub fn positive(&self, key: &str) -> Result<Option<usize>, OptionError> {
        self.read(key, "a whole number of at least 1", |v| {
            v.trim().parse().ok().filter(|n| *n >= 1)
        })
    }

    /// An option as a floating-point number.
    ///
    /// # Errors
    /// If the text is not one.
    pub fn float(&self, key: &str) -> Result<Option<f64>, OptionError> {
        self.read(key, "a number", |v| v.trim().parse().ok())
    }

    /// An option as `true` or `false`, in any case.
    ///
    /// # Errors
    /// If the text is neither.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, OptionError> {
        self.read(key, "true or false", |v| match v.trim().to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
    }

    /// An option as a duration in milliseconds.
    ///
    /// # Errors
    /// If the text is no duration ([`parse_duration_ms`]).
    pub fn duration_ms(&self, key: &str) -> Result<Option<i64>, OptionError> {
        self.read(key, "a duration such as '10 s', '500 ms' or '1 min'", parse_duration_ms)
    }

    /// An option as a size in bytes.
    ///
    /// # Errors
    /// If the text is no size ([`parse_memory_bytes`]).
    pub fn memory_bytes(&self, key: &str) -> Result<Option<u64>, OptionError> {
        self.read(key, "a size such as '64 mb' or '1 gb'", parse_memory_bytes)
    }

    /// An option as one of `names`, compared without regard to case; gives the index.
    ///
    /// # Errors
    /// If it is none of them; the error names the nearest.
    pub fn one_of(&self, key: &str, names: &[&str]) -> Result<Option<usize>, OptionError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match names.iter().position(|n| n.eq_ignore_ascii_case(value.trim())) {
            Some(i) => Ok(Some(i)),
            None => {
                let allowed = format!(
                    "one of {}{}",
                    names.join(", "),
                    suggest::hint(value, names.iter().copied())
                );
                Err(OptionError::new(key, value, allowed))
            }
        }
    }

    fn read<T>(&self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, OptionError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        parse(value)
            .map(Some)
            .ok_or_else(|| OptionError::new(key, value, allowed))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        Self(iter.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

/// Milliseconds of a duration as Flink writes it: a whole number and a unit (`ns`, `us`, `ms`, `s`, `min`, `h`, `d` and
/// their long forms; none means ms). Fractions of a millisecond are cut off.
pub fn parse_duration_ms(text: &str) -> Option<i64> {
    let (number, unit) = split_number(text)?;
    let per_unit_ns: i128 = match unit.as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    i64::try_from(i128::from(number) * per_unit_ns / 1_000_000).ok()
}

/// Bytes of a size as Flink writes it: a whole number and a unit (`b`, `k`/`kb`, `m`/`mb`, `g`/`gb`, `t`/`tb`, each a
/// power of 1024; none means bytes).
pub fn parse_memory_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let shift = match unit.as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kibibytes" => 10,
        "m" | "mb" | "mebibytes" => 20,
        "g" | "gb" | "gibibytes" => 30,
        "t" | "tb" | "tebibytes" => 40,
        _ => return None,
    };
    u64::try_from(number).ok()?.checked_mul(1 << shift)
}

fn split_number(text: &str) -> Option<(i64, String)> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_as_in_flink() {
        for (text, ms) in [
            ("10 s", 10_000),
            ("300ms", 300),
            ("1 min", 60_000),
            ("5", 5),
            ("2 h", 7_200_000),
            ("1500us", 1),
        ] {
            assert_eq!(parse_duration_ms(text), Some(ms), "{text}");
        }
        assert_eq!(parse_duration_ms("ten"), None);
        assert_eq!(parse_memory_bytes("64 mb"), Some(64 << 20));
        assert_eq!(parse_memory_bytes("1g"), Some(1 << 30));
        assert_eq!(parse_memory_bytes("-1"), None);
    }

    #[test]
    fn secrets_are_known_by_words_in_their_names() {
        for key in [
            "s3.secret-key",
            "properties.sasl.jaas.config",
            "fs.azure.account.key.store.blob.core.windows.net",
            "metrics.reporter.otel.http-headers",
            "security.ssl.Keystore.Key-password",
            "high-availability.zookeeper.client.authorization",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["key.fields", "fs.azure.account.name", "parallelism.default"] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn errors_name_option_value_and_what_is_allowed() {
        let o: Options = [("scan.startup.mode", "earliest"), ("properties.sasl.jaas.config", "x")]
            .into_iter()
            .collect();
        let e = o
            .one_of("scan.startup.mode", &["earliest-offset", "latest-offset"])
            .unwrap_err();
        assert_eq!(
            e.to_string(),
            "option 'scan.startup.mode' has the value 'earliest', but needs one of earliest-offset, latest-offset"
        );
        assert!(
            o.integer("properties.sasl.jaas.config")
                .unwrap_err()
                .to_string()
                .contains("'******'")
        );
    }
}
