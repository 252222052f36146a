//! Certificates and keys on disk: read, judged and watched. Who shows them to whom is not decided here.

pub mod pem;
pub mod facts;
pub mod watch;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

pub use facts::Facts;
pub use pem::CredentialError;

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}
