//! From the files of a listener to what it shows. At a swap, a pair that is broken now keeps its last good form.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use vertice_config::gateway::{CertificateConfig, ClientAuthConfig, ListenerTlsConfig};
use vertice_config::{Place, Placed};

use super::certificates::Certificates;
use crate::credentials::CredentialError;
use crate::credentials::pem::{self, Credential};
use crate::credentials::watch::Look;

/// Pairs in one folder: more is a folder of something else.
const PAIRS: usize = 10_000;

/// A certificate that ends sooner than this is warned of: renewals come 30 days before the end, and two weeks of failing
/// is what somebody should hear of.
const SOON_S: u64 = 14 * 24 * 3600;

/// What the files of a listener hold.
#[derive(Debug)]
pub struct Loaded {
    /// The certificates.
    pub certificates: Arc<Certificates>,
    /// Who is believed about clients; `None`: they are not asked.
    pub authorities: Option<Arc<RootCertStore>>,
}

/// Loads all of it. Where something is wrong and `last` has a good form of it, that stays in its place; the errors are
/// told in either case. `None`: there is something wrong that nothing can stand in for.
pub fn load(
    config: &ListenerTlsConfig,
    last: Option<&Loaded>,
    now_s: u64,
) -> (Option<Loaded>, Vec<CredentialError>) {
    let mut errors = Vec::new();
    let mut complete = true;
    let folder = config.directory.as_ref().map(pairs).transpose().unwrap_or_else(|error| {
        errors.push(error);
        complete = false;
        None
    });
    let mut all = Vec::new();
    for pair in config.certificates.iter().chain(folder.iter().flatten()) {
        let before = last.and_then(|last| last.of_file(&pair.cert.value));
        match pem::credential(pair).and_then(|new| newer(new, before.as_deref(), now_s)) {
            Ok(credential) => all.push(Arc::new(credential)),
            Err(error) => {
                errors.push(error);
                complete &= before.is_some();
                all.extend(before);
            }
        }
    }
    let authorities = match &config.client_auth {
        ClientAuthConfig::None => None,
        ClientAuthConfig::Optional(ca) | ClientAuthConfig::Required(ca) => {
            Some(pem::authorities(&ca.value, &ca.at).or_else(|error| {
                errors.push(error);
                last.and_then(|last| last.authorities.clone()).ok_or(())
            }))
        }
    };
    let Ok(authorities) = authorities.transpose() else { return (None, errors) };
    if !complete {
        return (None, errors);
    }
    let default_name = config.default_name.as_ref();
    match Certificates::new(all, default_name.map(|name| name.value.as_str())) {
        Ok(certificates) => (Some(Loaded { certificates: Arc::new(certificates), authorities }), errors),
        Err(why) => {
            let (file, at) = whole(config);
            let at = default_name.map_or(at, |name| name.at.clone());
            let right = "name one that a certificate is for";
            errors.push(CredentialError { at, file, wrong: why, right });
            (None, errors)
        }
    }
}

impl Loaded {
    fn of_file(&self, file: &Path) -> Option<Arc<Credential>> {
        self.certificates.all().iter().find(|credential| credential.file == file).cloned()
    }

    /// What is over or will soon be, or is for nobody, each a line for the log.
    pub fn warnings(&self, now_s: u64) -> Vec<String> {
        let lines = self.certificates.all().iter().filter_map(|credential| {
            let place = format!("{}: {}", credential.at, credential.file.display());
            let left_s = credential.expires_s.saturating_sub(now_s);
            if credential.facts.names.is_empty() {
                return Some(format!("{place}: it is for no host name: only who gets the default sees it"));
            }
            if left_s == 0 {
                let days = now_s.saturating_sub(credential.expires_s) / (24 * 3600);
                return Some(format!(
                    "{place}: the chain is over since {days} days: clients refuse it; renew it"
                ));
            }
            (left_s < SOON_S).then(|| {
                format!("{place}: the chain ends in {} days; see to its renewal", left_s / (24 * 3600))
            })
        });
        lines.collect()
    }

    /// The chains that are over.
    pub fn expired(&self, now_s: u64) -> impl Iterator<Item = &Arc<Credential>> {
        self.certificates.all().iter().filter(move |credential| credential.expires_s <= now_s)
    }
}

/// A chain that is over does not take the place of one that is not.
fn newer(new: Credential, before: Option<&Credential>, now_s: u64) -> Result<Credential, CredentialError> {
    if new.expires_s <= now_s && before.is_some_and(|before| before.expires_s > now_s) {
        return Err(CredentialError {
            at: new.at,
            file: new.file,
            wrong: "holds a chain that is over, and the one before it is not".into(),
            right: "put the renewed chain there",
        });
    }
    Ok(new)
}

/// The pairs of a folder, by file name.
fn pairs(folder: &Placed<PathBuf>) -> Result<Vec<CertificateConfig>, CredentialError> {
    let failed = |wrong: String, right| CredentialError {
        at: folder.at.clone(),
        file: folder.value.clone(),
        wrong,
        right,
    };
    let cannot = |error: std::io::Error| {
        failed(format!("cannot be read: {error}"), "give a folder that this user may read")
    };
    let mut chains = Vec::new();
    for entry in std::fs::read_dir(&folder.value).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if !name.starts_with('.') && matches!(ending, Some("crt" | "pem")) {
            chains.push(path);
        }
        if chains.len() > PAIRS {
            return Err(failed(
                format!("has more than {PAIRS} certificates"),
                "give a folder of certificates only",
            ));
        }
    }
    chains.sort_unstable();
    if chains.is_empty() {
        return Err(failed("has no certificate".into(), "put NAME.crt and NAME.key into it"));
    }
    let placed = |path: PathBuf| Placed { value: path, at: folder.at.clone() };
    let pair =
        |path: PathBuf| CertificateConfig { key: placed(path.with_extension("key")), cert: placed(path) };
    Ok(chains.into_iter().map(pair).collect())
}

/// How the files of `config` are now.
pub fn look(config: &ListenerTlsConfig) -> Look {
    let pairs = config.certificates.iter().flat_map(|pair| [&pair.cert.value, &pair.key.value]);
    let ca = match &config.client_auth {
        ClientAuthConfig::None => None,
        ClientAuthConfig::Optional(ca) | ClientAuthConfig::Required(ca) => Some(&ca.value),
    };
    let folder = config.directory.as_ref().map(|folder| folder.value.as_path());
    Look::at(pairs.chain(ca).map(|path| -> &Path { path }), folder)
}

/// What a mistake of the whole is told about.
fn whole(config: &ListenerTlsConfig) -> (PathBuf, Place) {
    let first = config.certificates.first().map(|pair| pair.cert.value.clone());
    let folder = config.directory.as_ref().map(|folder| folder.value.clone());
    (folder.or(first).unwrap_or_default(), config.at.clone())
}
