//! Identifiers: 128-bit ids in Flink's text form (32 lower-case hex digits) and the counters of the checkpoint protocol.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// An id did not parse.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an id: 32 hexadecimal digits expected")]
pub struct ParseIdError(String);

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u128);

        impl $name {
            /// The id that belongs to `text`: equal text, equal id, on every machine and in every version.
            pub fn of(text: &str) -> Self {
                Self(xxh3_128_with_seed(text.as_bytes(), 0x466c_6f74_7449_6431))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if text.len() != 32 {
                    return Err(ParseIdError(text.to_owned()));
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| ParseIdError(text.to_owned()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id128!(
    /// One submission of a job.
    JobId
);
id128!(
    /// An operator across submissions: what its state is found by.
    OperatorId
);
id128!(
    /// What the graph of a job is recognised by.
    Fingerprint
);

/// Number of a checkpoint within a job's life, counted from 1 and never reused.
pub type CheckpointId = u64;

/// Number of a leadership claim over a job's checkpoint directory; a higher one fences all lower ones.
pub type Generation = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_through_their_text() {
        let id = OperatorId::of("sink");
        assert_eq!(id.to_string().parse::<OperatorId>().unwrap(), id);
        assert!("xyz".parse::<JobId>().is_err());
        assert_ne!(OperatorId::of("a"), OperatorId::of("b"));
    }
}
