//! Who may ask: [`Access`], a token that every request brings along, TLS, and certificates of clients.
//!
//! | option | what it does |
//! |---|---|
//! | `security.rest.token`, `security.rest.token-file` | requests without `Authorization: Bearer TOKEN` get 401; ours, Flink has none |
//! | `security.ssl.rest.*` | TLS, and certificates of clients ([`flott_runtime::net::Acceptor`]) |

use crate::error::RestError;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flott_core::Options;
use flott_core::options::OptionError;
use flott_runtime::net::{Acceptor, secret_text};
use ring::hmac;
use ring::rand::SystemRandom;
use std::fmt;
use std::sync::Arc;

/// What goes in front of the token.
const SCHEME: &str = "Bearer ";

const TOKEN: &str = "security.rest.token";

/// The token that requests have to bring along, as a client knows it; `None`: they need none.
///
/// # Errors
/// If it is given twice, cannot be read, is empty, or cannot stand in a header.
pub fn token(options: &Options) -> Result<Option<String>, OptionError> {
    let text = secret_text(options, TOKEN)?;
    match text {
        Some(text) if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(OptionError::new(
            TOKEN,
            &text,
            "letters, digits and signs of ASCII, without spaces",
        )),
        text => Ok(text),
    }
}

/// Who may ask a server. Cheap to clone; prints no token.
#[derive(Clone)]
pub struct Access {
    acceptor: Acceptor,
    token: Option<Arc<Token>>,
}

/// A token as the server knows it: not the text, but what proves it.
struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Token {
    fn new(text: &str) -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        let tag = hmac::sign(&key, text.as_bytes());
        Some(Self { key, tag })
    }

    /// Whether a text is the token, in a time that does not tell how much of it is right.
    fn is(&self, text: &[u8]) -> bool {
        hmac::verify(&self.key, text, self.tag.as_ref()).is_ok()
    }
}

impl Access {
    /// Whoever reaches the server may ask.
    pub fn open() -> Self {
        Self {
            acceptor: Acceptor::plain(),
            token: None,
        }
    }

    /// Reads the options.
    ///
    /// # Errors
    /// If one is wrong, or a file that one names.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let no_random = || OptionError::new(TOKEN, "", "random bytes, of which the system gives none");
        let token = token(options)?.map(|text| Token::new(&text).ok_or_else(no_random));
        Ok(Self {
            acceptor: Acceptor::of_rest(options)?,
            token: token.transpose()?.map(Arc::new),
        })
    }

    /// Whether only those may ask who prove something.
    pub fn is_guarded(&self) -> bool {
        self.token.is_some() || self.acceptor.asks_clients()
    }

    /// Whether connections are under TLS.
    pub fn is_tls(&self) -> bool {
        self.acceptor.is_tls()
    }

    pub(crate) fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let given = given.and_then(|value| value.split_at_checked(SCHEME.len()));
        given.is_some_and(|(scheme, text)| scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) && token.is(text))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("acceptor", &self.acceptor)
            .field("has_token", &self.token.is_some())
            .finish()
    }
}

/// Answers requests that may be asked, before anything else of them is read.
pub(crate) async fn admit(State(access): State<Access>, request: Request, next: Next) -> Response {
    if access.admits(request.headers()) {
        return next.run(request).await;
    }
    let text = "this JobManager wants a token: 'Authorization: Bearer TOKEN'; commands take it from security.rest.token or security.rest.token-file";
    let challenge = [(WWW_AUTHENTICATE, SCHEME.trim_end())];
    (challenge, RestError::new(StatusCode::UNAUTHORIZED, text)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(options: &[(&str, &str)]) -> Result<Access, String> {
        let options: Options = options.iter().copied().collect();
        Access::from_options(&options).map_err(|e| e.to_string())
    }

    fn admits(access: &Access, authorization: &str) -> bool {
        let value = HeaderValue::from_str(authorization).unwrap();
        access.admits(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let access = access(&[("security.rest.token", "s3cret-token")]).unwrap();
        assert!(access.is_guarded() && !access.is_tls());
        assert!(admits(&access, "Bearer s3cret-token") && admits(&access, "bearer s3cret-token"));
        for wrong in [
            "Bearer s3cret-toke",
            "Bearer s3cret-token2",
            "Bearer ",
            "Basic s3cret-token",
            "s3cret-token",
            "",
        ] {
            assert!(!admits(&access, wrong), "{wrong}");
        }
        assert!(!access.admits(&HeaderMap::new()));
        assert!(!format!("{access:?}").contains("s3cret"));
    }

    #[test]
    fn tokens_come_from_files_and_wrong_ones_are_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = path.to_str().unwrap();
        std::fs::write(&path, "of-a-file\n").unwrap();
        let named = access(&[("security.rest.token-file", file)]).unwrap();
        assert!(admits(&named, "Bearer of-a-file"));

        let both = access(&[("security.rest.token", "t"), ("security.rest.token-file", file)]).unwrap_err();
        assert!(
            both.contains("security.rest.token-file") && both.contains("left out"),
            "{both}"
        );
        let missing = access(&[("security.rest.token-file", "/no/such/file")]).unwrap_err();
        assert!(missing.contains("/no/such/file"), "{missing}");
        std::fs::write(&path, " \n").unwrap();
        let empty = access(&[("security.rest.token-file", file)]).unwrap_err();
        assert!(empty.contains("empty"), "{empty}");
        let spaced = access(&[("security.rest.token", "two words")]).unwrap_err();
        assert!(
            spaced.contains("without spaces") && !spaced.contains("two words"),
            "{spaced}"
        );
        assert!(!access(&[]).unwrap().is_guarded());
    }
}
