//! The secret that a cluster's processes share.

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
