//! Which claims of a token count. Pure: the time is an argument.

use http::HeaderValue;
use serde_json::Value;

use super::fault::TokenFault;
use super::token::Claims;

/// Letters of a subject that logs show.
const SHOWN: usize = 128;

/// What a token must say.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) issuer: Option<String>,
    pub(super) audience: Vec<String>,
    pub(super) leeway_s: f64,
}

impl Rules {
    /// RFC 7519 4.1.
    pub(super) fn judge(&self, claims: &Claims, now_s: u64) -> Result<(), TokenFault> {
        let now = f64::from(u32::try_from(now_s).unwrap_or(u32::MAX));
        let expires = claims.get("exp").and_then(Value::as_f64).ok_or(TokenFault::NoExpiry)?;
        if now >= expires + self.leeway_s {
            return Err(TokenFault::Expired);
        }
        for name in ["nbf", "iat"] {
            let Some(value) = claims.get(name) else { continue };
            let from = value.as_f64().ok_or(TokenFault::Malformed)?;
            if now + self.leeway_s < from {
                return Err(TokenFault::NotYet);
            }
        }
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(TokenFault::Issuer);
        }
        if !self.is_for_us(claims.get("aud")) {
            return Err(TokenFault::Audience);
        }
        // How the original tells the two kinds of tokens apart that it issues with one secret.
        if claims.get("type").and_then(Value::as_str) == Some("refresh") {
            return Err(TokenFault::Refresh);
        }
        Ok(())
    }

    fn is_for_us(&self, aud: Option<&Value>) -> bool {
        let is_ours =
            |value: &Value| value.as_str().is_some_and(|name| self.audience.iter().any(|a| a == name));
        match aud {
            None => self.audience.is_empty(),
            Some(Value::Array(names)) => names.iter().any(is_ours),
            Some(one) => is_ours(one),
        }
    }
}

/// The words of all claims in `names`: lists of texts, or texts of words (RFC 8693 4.2).
pub(super) fn words(claims: &Claims, names: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for value in names.iter().filter_map(|name| claims.get(name)) {
        match value {
            Value::String(text) => words.extend(text.split_ascii_whitespace().map(str::to_owned)),
            Value::Array(list) => words.extend(list.iter().filter_map(Value::as_str).map(str::to_owned)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
        }
    }
    words
}

/// A claim as a header field carries it; `None`: it cannot.
pub(super) fn field_value(claim: &Value) -> Option<HeaderValue> {
    let text = match claim {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        Value::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            // A comma inside would make two of one.
            texts.filter(|texts| !texts.iter().any(|text| text.contains(',')))?.join(",")
        }
        Value::Null | Value::Object(_) => return None,
    };
    HeaderValue::try_from(text).ok()
}

/// A subject, not too long for a log line.
pub(super) fn shown(subject: &str) -> &str {
    let end = subject.char_indices().nth(SHOWN).map_or(subject.len(), |(at, _)| at);
    subject.get(..end).unwrap_or_default()
}
