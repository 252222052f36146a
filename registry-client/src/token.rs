//! What a registry is shown, for everything that talks to it: a token that was rotated is taken by all at once.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderValue;

use crate::error::SourceError;

/// A token, or none. Copies share it: what is [set](Token::set) is sent with the next request of each.
#[derive(Clone, Default)]
pub struct Token(Arc<RwLock<Option<String>>>);

impl Token {
    /// From now on this one.
    pub fn set(&self, token: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// As it is sent.
    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, SourceError> {
        let token = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = token.as_deref() else { return Ok(None) };
        let mut value = HeaderValue::from_str(token)
            .map_err(|_| SourceError::Client("the token has characters that no header can carry".into()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl From<Option<String>> for Token {
    fn from(token: Option<String>) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }
}

/// It is a secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
