//! Who may do what: tokens, kept as hashes and compared in constant time.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use vertice_config::Secret;
use vertice_config::registry::{NamePattern, TokenConfig, TokenSecret, Verbs};

/// The header that carries a token.
pub const TOKEN_HEADER: &str = "x-registry-token";

/// How this registry tells who asks.
#[derive(Clone, Debug)]
pub enum Auth {
    /// It does not: everybody may do everything.
    Open,
    /// One token for all writes; reads are open, as they are in the original.
    Single(TokenHash),
    /// Many tokens with names and verbs; reads need one too.
    Tokens(Arc<[TokenRule]>),
}

/// SHA-256 of a token.
#[derive(Clone, Debug)]
pub struct TokenHash([u8; 32]);

/// One principal of a tokens file.
#[derive(Clone, Debug)]
pub struct TokenRule {
    name: String,
    hash: TokenHash,
    names: Vec<NamePattern>,
    verbs: Verbs,
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// To write registrations.
    Register,
    /// To read.
    Read,
    /// To override.
    Admin,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// Shown as `registered_by`.
    pub name: &'a str,
    rule: Option<&'a TokenRule>,
}

/// Why a call is refused before it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthRefusal {
    /// No token, or not one of ours: 401.
    Unknown,
    /// A token without the verb: 403.
    Verb {
        /// Whose token.
        principal: String,
        /// What it lacks.
        lacks: &'static str,
    },
}

impl Auth {
    /// One token for everything.
    pub fn single(token: &Secret) -> Self {
        Self::Single(TokenHash::of(token.expose().as_bytes()))
    }

    /// The tokens of a file.
    pub fn tokens(tokens: Vec<TokenConfig>) -> Self {
        let rule = |token: TokenConfig| TokenRule {
            name: token.name,
            hash: match token.secret {
                TokenSecret::Plain(secret) => TokenHash::of(secret.expose().as_bytes()),
                TokenSecret::Sha256(hash) => TokenHash(hash),
            },
            names: token.names,
            verbs: token.verbs,
        };
        Self::Tokens(tokens.into_iter().map(rule).collect())
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Who presents `token`, if that one may do `verb` at all (for which names: [`Principal::may`]).
    pub fn admit(&self, token: Option<&[u8]>, verb: Verb) -> Result<Principal<'_>, AuthRefusal> {
        match self {
            Self::Open => Ok(Principal { name: "anonymous", rule: None }),
            Self::Single(_) if verb == Verb::Read => Ok(Principal { name: "anonymous", rule: None }),
            Self::Single(hash) => {
                let presented = TokenHash::of(token.ok_or(AuthRefusal::Unknown)?);
                let same = bool::from(presented.0.ct_eq(&hash.0));
                same.then_some(Principal { name: "registry-token", rule: None }).ok_or(AuthRefusal::Unknown)
            }
            Self::Tokens(rules) => {
                let presented = TokenHash::of(token.ok_or(AuthRefusal::Unknown)?);
                // Every rule is compared, so that the time does not tell which one it was.
                let mut found = None;
                for rule in rules.iter() {
                    if bool::from(presented.0.ct_eq(&rule.hash.0)) {
                        found = Some(rule);
                    }
                }
                let rule = found.ok_or(AuthRefusal::Unknown)?;
                let (has, lacks) = match verb {
                    Verb::Register => (rule.verbs.register, "register"),
                    Verb::Read => (rule.verbs.read, "read"),
                    Verb::Admin => (rule.verbs.admin, "admin"),
                };
                if !has {
                    return Err(AuthRefusal::Verb { principal: rule.name.clone(), lacks });
                }
                Ok(Principal { name: &rule.name, rule: Some(rule) })
            }
        }
    }
}

impl Principal<'_> {
    /// Whether this one may write about `service`.
    pub fn may(&self, service: &str) -> bool {
        self.rule.is_none_or(|rule| rule.names.iter().any(|pattern| pattern.covers(service)))
    }

    /// Whether this one may write about every service.
    pub fn may_all(&self) -> bool {
        let all = |pattern: &NamePattern| matches!(pattern, NamePattern::Prefix(prefix) if prefix.is_empty());
        self.rule.is_none_or(|rule| rule.names.iter().any(all))
    }

    /// Whether this is one of many, so that a limit per principal makes sense.
    pub fn is_one_of_many(&self) -> bool {
        self.rule.is_some()
    }
}

impl TokenHash {
    fn of(token: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(&Sha256::digest(token));
        Self(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[token]]
        name = "osint"
        token = "one"
        names = ["osint_*"]
        verbs = ["register"]
        [[token]]
        name = "ops"
        sha256 = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
        names = ["*"]
        verbs = ["read", "admin"]
    "#;

    fn name<'a>(auth: &'a Auth, token: Option<&str>, verb: Verb) -> Result<&'a str, AuthRefusal> {
        auth.admit(token.map(str::as_bytes), verb).map(|p| p.name)
    }

    #[test]
    fn one_token_guards_the_writes_and_leaves_reads_open() {
        let auth = Auth::single(&Secret::new("s3cret"));
        assert_eq!(name(&auth, Some("s3cret"), Verb::Register), Ok("registry-token"));
        for wrong in [None, Some(""), Some("s3cre"), Some("s3crett"), Some("S3cret")] {
            assert_eq!(name(&auth, wrong, Verb::Register), Err(AuthRefusal::Unknown), "{wrong:?}");
            assert_eq!(name(&auth, wrong, Verb::Admin), Err(AuthRefusal::Unknown), "{wrong:?}");
            assert_eq!(name(&auth, wrong, Verb::Read), Ok("anonymous"));
        }
    }

    #[test]
    fn many_tokens_have_names_and_verbs() {
        let auth = Auth::tokens(vertice_config::registry::parse_tokens("f", FILE).unwrap());
        let osint = auth.admit(Some(b"one"), Verb::Register).unwrap();
        assert!(osint.may("osint_service") && !osint.may("ip_service"));
        let lacks = |principal: &str, lacks| Err(AuthRefusal::Verb { principal: principal.into(), lacks });
        assert_eq!(name(&auth, Some("one"), Verb::Read), lacks("osint", "read"));
        assert_eq!(name(&auth, Some("two"), Verb::Admin), Ok("ops"), "the hash in the file is of 'two'");
        assert_eq!(name(&auth, Some("two"), Verb::Register), lacks("ops", "register"));
        assert_eq!(name(&auth, None, Verb::Read), Err(AuthRefusal::Unknown));
        assert_eq!(name(&auth, Some("three"), Verb::Read), Err(AuthRefusal::Unknown));
    }

    #[test]
    fn open_is_open() {
        assert_eq!(name(&Auth::Open, None, Verb::Admin), Ok("anonymous"));
    }
}
