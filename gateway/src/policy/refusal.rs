//! Why a policy lets a request go no further, and what the client is told.

use http::StatusCode;
use http::header::HeaderValue;

use super::jwt::TokenFault;

/// Why a request is refused. Closed: [`Refusal::told`] and the metrics list every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no API key.
    KeyMissing,
    /// There is one that nobody gave out, or several.
    KeyWrong,
    /// Its time is over.
    KeyExpired,
    /// There is no token.
    TokenMissing,
    /// There is one that is not to be believed.
    Token(TokenFault),
    /// Nobody can tell, because the keys of its issuer could not be read.
    TokenKeysUnavailable,
    /// The service that decides said no to a gRPC call; to others its own answer goes.
    Denied {
        /// Rather who asks than what for.
        unauthenticated: bool,
    },
    /// The service that decides did not.
    AuthUnavailable,
    /// Who asks may not ask for this.
    ScopeMissing,
    /// Who asks does so for another tenant.
    TenantWrong,
    /// Its client's address is not one that may ask here.
    Address,
    /// A limit has no more of its kind for now.
    RateLimited,
    /// Its body is of a kind that the route does not take, or of none.
    ContentType,
}

impl Refusal {
    /// One of each, in the order in which policies look.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Address,
            Self::RateLimited,
            Self::KeyMissing,
            Self::KeyWrong,
            Self::KeyExpired,
            Self::TokenMissing,
        ];
        all.extend(TokenFault::ALL.map(Self::Token));
        all.extend([
            Self::TokenKeysUnavailable,
            Self::Denied { unauthenticated: true },
            Self::Denied { unauthenticated: false },
            Self::AuthUnavailable,
            Self::ScopeMissing,
            Self::TenantWrong,
            Self::ContentType,
        ]);
        all
    }

    /// Status, reason and detail. The details of the first two are those of the original gateway, which clients know.
    pub fn told(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::KeyMissing => (StatusCode::FORBIDDEN, "key_missing", "Not authenticated"),
            Self::KeyWrong => (StatusCode::UNAUTHORIZED, "key_wrong", "Invalid API Key"),
            Self::KeyExpired => {
                (StatusCode::UNAUTHORIZED, "key_expired", "this API key has expired: ask for another one")
            }
            Self::TokenMissing => (StatusCode::UNAUTHORIZED, "token_missing", "Not authenticated"),
            Self::Token(fault) => (StatusCode::UNAUTHORIZED, fault.reason(), fault.detail()),
            Self::TokenKeysUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "token_keys_unavailable",
                "tokens cannot be checked now: the keys of their issuer cannot be read",
            ),
            Self::Denied { unauthenticated: true } => {
                (StatusCode::UNAUTHORIZED, "auth_denied", "the service that decides does not know who asks")
            }
            Self::Denied { unauthenticated: false } => {
                (StatusCode::FORBIDDEN, "auth_denied", "the service that decides does not allow this")
            }
            Self::AuthUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "auth_unavailable",
                "who may ask cannot be decided now: the service that decides did not",
            ),
            Self::ScopeMissing => (
                StatusCode::FORBIDDEN,
                "scope_missing",
                "this needs a scope that the key or token does not have",
            ),
            Self::TenantWrong => {
                (StatusCode::FORBIDDEN, "tenant_wrong", "the key or token is for another tenant")
            }
            Self::Address => {
                (StatusCode::FORBIDDEN, "address_denied", "requests from this address are not taken here")
            }
            Self::RateLimited => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "too many requests: `Retry-After` says when the next one is taken, `RateLimit` by which limit",
            ),
            Self::ContentType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content_type",
                "the body's Content-Type is missing or is none that this route takes: see `Accept`",
            ),
        }
    }

    /// What the client could show instead (RFC 9110 11.6.1, RFC 6750 3). `bearer`: a token would do.
    pub fn challenge(self, bearer: bool, scopes: &[String]) -> Option<HeaderValue> {
        let challenge = match self {
            Self::Token(fault) => {
                format!(
                    "Bearer realm=\"vertice\", error=\"invalid_token\", error_description=\"{}\"",
                    fault.detail()
                )
            }
            Self::ScopeMissing if bearer => {
                let scopes = scopes.join(" ");
                format!("Bearer realm=\"vertice\", error=\"insufficient_scope\", scope=\"{scopes}\"")
            }
            // Who shows nothing is told no error (RFC 6750 3.1).
            Self::TokenMissing => "Bearer realm=\"vertice\"".to_owned(),
            Self::KeyWrong | Self::KeyExpired if bearer => "Bearer realm=\"vertice\"".to_owned(),
            Self::KeyWrong | Self::KeyExpired => "ApiKey realm=\"vertice\"".to_owned(),
            Self::KeyMissing
            | Self::TokenKeysUnavailable
            | Self::Denied { .. }
            | Self::AuthUnavailable
            | Self::ScopeMissing
            | Self::TenantWrong
            | Self::Address
            | Self::RateLimited
            | Self::ContentType => return None,
        };
        HeaderValue::try_from(challenge).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_say_what_would_do() {
        let scopes = ["a".to_owned(), "b:c".to_owned()];
        for (refusal, bearer, challenge) in [
            (Refusal::TokenMissing, true, Some("Bearer realm=\"vertice\"")),
            (
                Refusal::Token(TokenFault::Expired),
                true,
                Some(
                    "Bearer realm=\"vertice\", error=\"invalid_token\", error_description=\"the token has expired\"",
                ),
            ),
            (
                Refusal::ScopeMissing,
                true,
                Some("Bearer realm=\"vertice\", error=\"insufficient_scope\", scope=\"a b:c\""),
            ),
            (Refusal::ScopeMissing, false, None),
            (Refusal::KeyWrong, false, Some("ApiKey realm=\"vertice\"")),
            (Refusal::KeyMissing, false, None),
            (Refusal::AuthUnavailable, true, None),
        ] {
            let found = refusal.challenge(bearer, &scopes);
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), challenge, "{refusal:?}");
        }
    }
}
