//! HTTPS for a benchmark: one certificate, and a client that leaves no choice of cipher and key exchange to either side.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::KeyPair;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

/// The only host of the certificate, and of the requests.
pub(crate) const HOST: &str = "api.example.com";

/// What both sides use, in words.
pub(crate) const TERMS: &str = "TLS 1.3, AES-128-GCM, X25519, a P-256 certificate";

/// A self-signed P-256 certificate on disk, and how to connect to who shows it.
pub(crate) struct Https {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) connector: TlsConnector,
    pub(crate) name: ServerName<'static>,
    folder: TempDir,
}

impl Https {
    /// Makes a certificate.
    pub(crate) fn new() -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("a certificate cannot be made: {error}");
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|e| wrong(&e))?;
        let params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).map_err(|e| wrong(&e))?;
        let cert = params.self_signed(&key).map_err(|e| wrong(&e))?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).map_err(|e| wrong(&e))?;
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|e| wrong(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let folder = tempfile::tempdir().map_err(|e| wrong(&e))?;
        let made = Self {
            cert: folder.path().join("bench.crt"),
            key: folder.path().join("bench.key"),
            connector: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(HOST).map_err(|e| wrong(&e))?,
            folder,
        };
        std::fs::write(&made.cert, cert.pem()).map_err(|e| wrong(&e))?;
        std::fs::write(&made.key, key.serialize_pem()).map_err(|e| wrong(&e))?;
        Ok(made)
    }

    /// A configuration of the gateway with one HTTPS listener.
    pub(crate) fn gateway_config(&self) -> Result<PathBuf, String> {
        let path = self.folder.path().join("gateway.toml");
        let (cert, key) = (self.cert.display(), self.key.display());
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[listener.tls]\n\
             certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n"
        );
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// What stands in an nginx server.
    pub(crate) fn nginx(&self) -> String {
        let (cert, key) = (self.cert.display(), self.key.display());
        format!("ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;")
    }
}
