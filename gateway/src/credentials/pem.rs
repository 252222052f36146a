//! PEM files: chains, keys, authorities. Each error names the file, what is wrong with it and what to do.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use vertice_config::Place;
use vertice_config::gateway::CertificateConfig;

use super::Facts;

/// Bytes of one file: the bundle of all public authorities has 250 KiB.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What is wrong with a file, and where the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialError {
    /// Where the file is named.
    pub at: Place,
    /// Which file.
    pub file: PathBuf,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: &'static str,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; {}", self.at, self.file.display(), self.wrong, self.right)
    }
}

impl std::error::Error for CredentialError {}

/// A chain with its key, and what the chain says.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Chain and key, which fit each other.
    pub key: Arc<CertifiedKey>,
    /// Of the chain's first certificate.
    pub facts: Facts,
    /// When the first certificate of the chain ends that does, in seconds since 1970.
    pub expires_s: u64,
    /// The chain's file.
    pub file: PathBuf,
    /// Where the configuration names it.
    pub at: Place,
}

/// Reads a pair. Both are needed whole; that a chain is over is no error here.
pub fn credential(pair: &CertificateConfig) -> Result<Credential, CredentialError> {
    let (file, at) = (&pair.cert.value, &pair.cert.at);
    let chain = chain(file, at)?;
    let key = key(&pair.key.value, &pair.key.at)?;
    let wrong = |file: &Path, at: &Place, wrong: String, right| CredentialError {
        at: at.clone(),
        file: file.to_owned(),
        wrong,
        right,
    };
    let facts = chain.iter().map(|der| Facts::of(der));
    let facts = facts.collect::<Result<Vec<_>, _>>().map_err(|why| {
        wrong(file, at, format!("holds a certificate that cannot be read: {why}"), "get it issued again")
    })?;
    let Some(first) = facts.first() else {
        return Err(wrong(file, at, "holds no certificate".into(), CHAIN));
    };
    if let Some(odd) = facts.windows(2).position(|pair| matches!(pair, [a, b] if a.issuer != b.subject_der)) {
        return Err(wrong(
            file,
            at,
            format!("certificate {} of the chain is not issued by certificate {}", odd + 1, odd + 2),
            "put the server's own certificate first and each issuer after what it issued",
        ));
    }
    let expires_s = facts.iter().map(|facts| facts.not_after_s).min().unwrap_or_default();
    let (facts, at) = (first.clone(), at.clone());
    let key = CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| {
        let (what, right) = if matches!(error, rustls::Error::InconsistentKeys(_)) {
            let what = format!("is not the key of {}", file.display());
            (what, "name the key that the certificate was requested with")
        } else {
            let right =
                "use an RSA key of 2048 to 8192 bits, an ECDSA key on P-256, P-384 or P-521, or an Ed25519 key";
            (format!("cannot be used: {error}"), right)
        };
        wrong(&pair.key.value, &pair.key.at, what, right)
    })?;
    Ok(Credential { key: Arc::new(key), facts, expires_s, file: file.clone(), at })
}

const CHAIN: &str = "give a PEM file with lines of -----BEGIN CERTIFICATE-----, the server's own first";

/// The certificates of a file.
fn chain(file: &Path, at: &Place) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let text = read(file, at)?;
    let found: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(CredentialError {
            at: at.clone(),
            file: file.to_owned(),
            wrong: "holds no certificate".into(),
            right: CHAIN,
        }),
        Ok(found) => Ok(found),
        Err(error) => Err(CredentialError {
            at: at.clone(),
            file: file.to_owned(),
            wrong: format!("is not PEM: {error}"),
            right: CHAIN,
        }),
    }
}

/// The key of a file. Nothing of it is in the error.
fn key(file: &Path, at: &Place) -> Result<PrivateKeyDer<'static>, CredentialError> {
    let text = read(file, at)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| CredentialError {
        at: at.clone(),
        file: file.to_owned(),
        wrong: if matches!(error, PemError::NoItemsFound) {
            "holds no private key".into()
        } else {
            "is not a PEM file".into()
        },
        right: "give a PEM file with -----BEGIN PRIVATE KEY----- (or RSA or EC), not encrypted",
    })
}

/// The authorities of a file, each of which must be one.
pub fn authorities(file: &Path, at: &Place) -> Result<Arc<RootCertStore>, CredentialError> {
    let mut roots = RootCertStore::empty();
    for der in chain(file, at)? {
        roots.add(der).map_err(|error| CredentialError {
            at: at.clone(),
            file: file.to_owned(),
            wrong: format!("holds a certificate that is no authority: {error}"),
            right: "give the certificates of authorities only",
        })?;
    }
    Ok(Arc::new(roots))
}

fn read(file: &Path, at: &Place) -> Result<Vec<u8>, CredentialError> {
    let failed = |wrong: String| CredentialError {
        at: at.clone(),
        file: file.to_owned(),
        wrong,
        right: "give a file that this user may read",
    };
    let open = std::fs::File::open(file).map_err(|error| failed(format!("cannot be opened: {error}")))?;
    let mut text = Vec::new();
    open.take(FILE_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > FILE_BYTES) {
        return Err(failed(format!("has more than {FILE_BYTES} bytes")));
    }
    Ok(text)
}
