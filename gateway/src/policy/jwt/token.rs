//! A token taken apart (RFC 7515 7.1). Nothing of it is believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::fault::TokenFault;

/// Bytes of a token; those of large identity services have 3 KiB.
const TOKEN_BYTES: usize = 16 * 1024;

/// What a token claims.
pub(super) type Claims = Map<String, Value>;

/// A token.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) header: Header,
    /// What the signature is of.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    payload: &'a [u8],
}

/// What of the header is looked at. `jku`, `jwk`, `x5u` and `x5c`, which would bring a key along, are not.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, TokenFault> {
        if text.len() > TOKEN_BYTES {
            return Err(TokenFault::TooLarge);
        }
        let last = text.iter().rposition(|byte| *byte == b'.').ok_or(TokenFault::Malformed)?;
        let (signed, signature) = text.split_at(last);
        let first = signed.iter().position(|byte| *byte == b'.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_at(first);
        let signature = decoded(signature.get(1..).unwrap_or_default())?;
        let payload = payload.get(1..).unwrap_or_default();
        if payload.contains(&b'.') {
            return Err(TokenFault::Malformed);
        }
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| TokenFault::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenFault::Critical);
        }
        Ok(Self { header, signed, signature, payload })
    }

    /// For when the signature was found good.
    pub(super) fn claims(&self) -> Result<Claims, TokenFault> {
        serde_json::from_slice(&decoded(self.payload)?).map_err(|_| TokenFault::Malformed)
    }
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenFault::Malformed)
}
