//! Which certificate a client gets: an exact name before `*.` and the rest, the default for all others.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::credentials::pem::Credential;

type ByName = HashMap<String, Vec<Arc<Credential>>, RandomState>;

/// The certificates of one listener. Immutable: another set takes its place.
#[derive(Debug, Default)]
pub struct Certificates {
    all: Vec<Arc<Credential>>,
    exact: ByName,
    /// `*.example.com` by `example.com`.
    wildcard: ByName,
    default: Vec<Arc<Credential>>,
}

impl Certificates {
    /// Of these, in the order of the configuration. `default_name`: whose certificate everybody else gets; the error
    /// says that none has it.
    pub fn new(all: Vec<Arc<Credential>>, default_name: Option<&str>) -> Result<Self, String> {
        let mut set = Self { all, ..Self::default() };
        for credential in &set.all {
            for name in &credential.facts.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut set.wildcard, rest),
                    None => (&mut set.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(credential.clone());
            }
        }
        for several in set.exact.values_mut().chain(set.wildcard.values_mut()) {
            // The one that lasts the longest is the newest of a name.
            several.sort_by_key(|credential| std::cmp::Reverse(credential.expires_s));
        }
        set.default = match default_name {
            None => set.all.first().cloned().into_iter().collect(),
            Some(name) => set.named(name).ok_or_else(|| format!("no certificate is for {name}"))?.to_vec(),
        };
        Ok(set)
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Credential>] {
        &self.all
    }

    /// The certificates for `name`, which is in lower case: several where kinds of keys differ.
    pub fn of(&self, name: Option<&str>) -> &[Arc<Credential>] {
        name.and_then(|name| self.named(name)).unwrap_or(&self.default)
    }

    fn named(&self, name: &str) -> Option<&[Arc<Credential>]> {
        let rest = || name.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
        self.exact.get(name).or_else(rest).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.of(hello.server_name());
        let fits = |credential: &&Arc<Credential>| {
            credential.key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        // If none fits, the handshake says so in its own words.
        candidates.iter().find(fits).or(candidates.first()).map(|credential| credential.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use vertice_config::gateway::CertificateConfig;
    use vertice_config::{Place, Placed};

    use super::*;
    use crate::credentials::pem::credential;

    fn issue(folder: &std::path::Path, file: &str, names: &[&str]) -> Arc<Credential> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let placed = |ending: &str, text: String| {
            let path = folder.join(format!("{file}.{ending}"));
            std::fs::write(&path, text).unwrap();
            Placed { value: path, at: Place::default() }
        };
        let pair = CertificateConfig {
            cert: placed("crt", made.cert.pem()),
            key: placed("key", made.signing_key.serialize_pem()),
        };
        Arc::new(credential(&pair).unwrap())
    }

    #[test]
    fn exact_before_wildcard_before_default() {
        let dir = tempfile::tempdir().unwrap();
        let all = vec![
            issue(dir.path(), "first", &["first.example"]),
            issue(dir.path(), "wild", &["*.example.com"]),
            issue(dir.path(), "exact", &["A.example.com"]),
        ];
        let set = Certificates::new(all.clone(), None).unwrap();
        let stem = |name: Option<&str>| set.of(name)[0].file.file_stem().unwrap().to_owned();
        for (name, expected) in [
            (Some("a.example.com"), "exact"),
            (Some("b.example.com"), "wild"),
            (Some("x.b.example.com"), "first"),
            (Some("example.com"), "first"),
            (Some("other"), "first"),
            (None, "first"),
        ] {
            assert_eq!(stem(name), expected, "{name:?}");
        }
        let set = Certificates::new(all.clone(), Some("b.example.com")).unwrap();
        assert_eq!(set.of(None)[0].file.file_stem().unwrap(), "wild");
        assert!(Certificates::new(all, Some("nobody")).is_err());
    }
}
