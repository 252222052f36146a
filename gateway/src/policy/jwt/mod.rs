//! Tokens (RFC 7519) that come as `Authorization: Bearer` (RFC 6750).
//!
//! Which algorithms there are says the configuration, and which of them a key is for says the key: a token's own word is
//! looked up, never followed. Signatures are the library's to verify; which claims count is decided here.

mod claims;
mod fault;
pub mod jwks;
mod keys;
mod token;

use std::sync::Arc;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde_json::Value;
use vertice_config::gateway::policy::{JwtAlgorithm, JwtConfig, JwtKeys};

use super::identity::Identity;
use super::refusal::Refusal;
use claims::Rules;
pub use fault::TokenFault;
use jwks::Jwks;
use keys::KeySet;

/// One issuer of tokens.
#[derive(Debug)]
pub struct Issuer {
    /// How routes name it.
    pub name: String,
    algorithms: Vec<JwtAlgorithm>,
    keys: Keys,
    rules: Rules,
    scopes_claims: Vec<String>,
    tenant_claim: String,
    claim_headers: Vec<(HeaderName, String)>,
}

#[derive(Debug)]
enum Keys {
    Secret(KeySet),
    Published(Arc<Jwks>),
}

/// What a token proves.
#[derive(Debug)]
pub struct Proved {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// What the service is told of it.
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

impl Issuer {
    /// As the configuration has it. `published` are its keys where it has no secret.
    pub fn of(config: &JwtConfig, published: Option<Arc<Jwks>>) -> Self {
        let keys = match (&config.keys, published) {
            (JwtKeys::Secret(secret), _) => Keys::Secret(KeySet::of_secret(secret, &config.algorithms)),
            (JwtKeys::File(_) | JwtKeys::Url(_), Some(published)) => Keys::Published(published),
            // No key at all: every token is refused.
            (JwtKeys::File(_) | JwtKeys::Url(_), None) => Keys::Secret(KeySet::default()),
        };
        Self {
            name: config.name.clone(),
            algorithms: config.algorithms.clone(),
            keys,
            rules: Rules {
                issuer: config.issuer.clone(),
                audience: config.audience.clone(),
                leeway_s: config.leeway.as_secs_f64(),
            },
            scopes_claims: config.scopes_claims.clone(),
            tenant_claim: config.tenant_claim.clone(),
            claim_headers: config.claim_headers.clone(),
        }
    }

    /// What the token of a request proves; `None`: there is none. The token stays: the service may want to see it.
    pub fn judge(&self, headers: &HeaderMap, now_s: u64) -> Option<Result<Proved, Refusal>> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let first = values.next()?;
        if values.next().is_some() {
            return Some(Err(Refusal::Token(TokenFault::Several)));
        }
        let token = bearer(first)?;
        Some(self.verify(token, now_s))
    }

    fn verify(&self, text: &[u8], now_s: u64) -> Result<Proved, Refusal> {
        let claims = match &self.keys {
            Keys::Secret(keys) => self.signed(text, keys),
            Keys::Published(jwks) => {
                let keys = jwks.current().ok_or(Refusal::TokenKeysUnavailable)?;
                let claims = self.signed(text, &keys);
                if claims == Err(TokenFault::UnknownKey) {
                    jwks.want();
                }
                claims
            }
        };
        let claims = claims.map_err(Refusal::Token)?;
        self.rules.judge(&claims, now_s).map_err(Refusal::Token)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let scopes = claims::words(&claims, &self.scopes_claims);
        let tenant = text(&self.tenant_claim).map(str::to_owned);
        let name = text("sub").unwrap_or("-");
        let fields = self.claim_headers.iter().filter_map(|(field, claim)| {
            let value = claims::field_value(claims.get(claim)?)?;
            Some((field.clone(), value))
        });
        Ok(Proved {
            identity: Arc::new(Identity::of_token(claims::shown(name), scopes, tenant)),
            fields: fields.collect(),
        })
    }

    /// The claims of a token with a good signature.
    fn signed(&self, text: &[u8], keys: &KeySet) -> Result<token::Claims, TokenFault> {
        let token = token::Token::parse(text)?;
        let algorithm = self.algorithms.iter().find(|known| known.as_str() == token.header.alg);
        let algorithm = algorithm.ok_or(TokenFault::Algorithm)?;
        let key = keys.find(*algorithm, token.header.kid.as_deref()).ok_or(TokenFault::UnknownKey)?;
        if !key.verifies(token.signed, &token.signature) {
            return Err(TokenFault::Signature);
        }
        token.claims()
    }

    /// Fields that only the gateway may set.
    pub fn own_fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.claim_headers.iter().map(|(field, _)| field)
    }
}

/// The token of `Bearer token`; `None`: another scheme.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(6)?;
    let separated = token.first().is_none_or(|byte| *byte == b' ');
    (separated && scheme.eq_ignore_ascii_case(b"bearer")).then(|| token.trim_ascii())
}

/// A token by HS256.
#[cfg(test)]
pub(super) fn sign_for_tests(header: &str, claims: &str, secret: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

#[cfg(test)]
mod tests;
