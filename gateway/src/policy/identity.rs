//! Who asks, as it was proved.

use std::sync::Arc;

/// Scopes and tenants that stand for all.
const ALL: &str = "*";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the API key or the subject of the token, for logs and limits.
    pub name: Arc<str>,
    scopes: Scopes,
    tenant: Tenants,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scopes {
    All,
    These(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tenants {
    All,
    None,
    One(String),
}

impl Identity {
    /// Of an API key: what its operator wrote, where `*` is everything.
    pub fn of_key(name: &str, scopes: &[String], tenant: Option<&str>) -> Self {
        let all = scopes.iter().any(|scope| scope == ALL);
        Self {
            name: name.into(),
            scopes: if all { Scopes::All } else { Scopes::These(scopes.to_vec()) },
            tenant: match tenant {
                None => Tenants::None,
                Some(ALL) => Tenants::All,
                Some(tenant) => Tenants::One(tenant.to_owned()),
            },
        }
    }

    /// Of a token: nothing that it says is everything.
    pub fn of_token(name: &str, scopes: Vec<String>, tenant: Option<String>) -> Self {
        let tenant = tenant.map_or(Tenants::None, Tenants::One);
        Self { name: name.into(), scopes: Scopes::These(scopes), tenant }
    }

    /// Whether all of `wanted` are held.
    pub fn has(&self, wanted: &[String]) -> bool {
        match &self.scopes {
            Scopes::All => true,
            Scopes::These(held) => wanted.iter().all(|scope| held.contains(scope)),
        }
    }

    /// Whether it asks for `tenant`.
    pub fn is_of(&self, tenant: &str) -> bool {
        match &self.tenant {
            Tenants::All => true,
            Tenants::None => false,
            Tenants::One(own) => own == tenant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_star_is_everything_for_a_key_and_a_word_for_a_token() {
        let wanted = texts(&["a", "b"]);
        for (held, has) in [(&["a", "b", "c"][..], true), (&["a"], false), (&[], false)] {
            assert_eq!(Identity::of_key("k", &texts(held), None).has(&wanted), has);
            assert_eq!(Identity::of_token("k", texts(held), None).has(&wanted), has);
        }
        assert!(Identity::of_key("k", &texts(&["*"]), Some("*")).has(&wanted));
        assert!(Identity::of_key("k", &[], Some("*")).is_of("acme"));
        let token = Identity::of_token("t", texts(&["*"]), Some("*".into()));
        assert!(!token.has(&wanted) && !token.is_of("acme"));
        assert!(!Identity::of_key("k", &[], None).is_of("acme"), "no tenant is none");
    }
}
