//! The secret that a cluster's processes share.

use flott_core::Options;
use flott_core::options::OptionError;
use ring::hmac;
use std::fmt;
use std::sync::Arc;

/// A shared secret, which is never printed. Cheap to clone.
///
/// An empty one proves nothing: whoever reaches the port gets in. It serves clusters whose network keeps strangers out.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    key: hmac::Key,
    is_empty: bool,
}

impl Secret {
    /// The secret of these bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        Self(Arc::new(Inner {
            key: hmac::Key::new(hmac::HMAC_SHA256, bytes),
            is_empty: bytes.is_empty(),
        }))
    }

    /// No secret.
    pub fn none() -> Self {
        Self::new([])
    }

    /// Whether there is no secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty
    }

    /// The proof over `parts`; fixed lengths or lengths in front keep them apart.
    pub(super) fn prove(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0.key);
        parts.iter().for_each(|part| context.update(part));
        context.sign()
    }

    /// Whether `proof` is the one over `parts`, in constant time.
    pub(super) fn is_proof(&self, parts: &[&[u8]], proof: &[u8]) -> bool {
        hmac::verify(&self.0.key, &parts.concat(), proof).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(none)" } else { "Secret(..)" })
    }
}

/// The text of a secret option, or of the file that `KEY-file` names, which keeps it out of lists of processes; the white space
/// around it is not part of it.
///
/// # Errors
/// If both are given, the file cannot be read, or the text is empty.
pub fn secret_text(options: &Options, key: &str) -> Result<Option<String>, OptionError> {
    let of_file = format!("{key}-file");
    let (named, text) = match (options.get(key), options.get(&of_file)) {
        (None, None) => return Ok(None),
        (Some(_), Some(file)) => {
            let needed = format!("to be left out where {key} is given");
            return Err(OptionError::new(&of_file, file, needed));
        }
        (Some(text), None) => (key, text.to_owned()),
        (None, Some(file)) => {
            let read = std::fs::read_to_string(file);
            let needed = |e| format!("a text file that can be read ('{file}': {e})");
            let text = read.map_err(|e| OptionError::new(&of_file, file, needed(e)))?;
            (of_file.as_str(), text)
        }
    };
    match text.trim() {
        "" => Err(OptionError::new(
            named,
            "",
            "a text that nobody guesses: this one is empty",
        )),
        text => Ok(Some(text.to_owned())),
    }
}
