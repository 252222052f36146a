//! What became of handshakes and of changed files. Not on a request's path: plain shared counters.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It took longer than `handshake_timeout`.
    Timeout,
    /// HTTP without TLS.
    PlainHttp,
    /// Neither TLS nor HTTP.
    NotTls,
    /// The client closed in the middle.
    Closed,
    /// No version of TLS that both speak.
    Version,
    /// No cipher, key exchange or signature that both know.
    NothingShared,
    /// A client certificate is required and there is none.
    NoClientCertificate,
    /// The client's certificate is not believed.
    BadClientCertificate,
    /// The client did not want ours: it says so by an alert.
    RefusedByClient,
    /// Anything else that is not TLS as it should be.
    Broken,
}

impl HandshakeFailure {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::PlainHttp,
        Self::NotTls,
        Self::Closed,
        Self::Version,
        Self::NothingShared,
        Self::NoClientCertificate,
        Self::BadClientCertificate,
        Self::RefusedByClient,
        Self::Broken,
    ];

    /// A word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::PlainHttp => "plain_http",
            Self::NotTls => "not_tls",
            Self::Closed => "closed",
            Self::Version => "version",
            Self::NothingShared => "nothing_shared",
            Self::NoClientCertificate => "no_client_certificate",
            Self::BadClientCertificate => "bad_client_certificate",
            Self::RefusedByClient => "refused_by_client",
            Self::Broken => "broken",
        }
    }

    /// What `error` of a handshake means.
    pub fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::NoCertificatesPresented) => Self::NoClientCertificate,
            Some(rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => Self::Broken,
            Some(rustls::Error::InvalidCertificate(_)) => Self::BadClientCertificate,
            Some(rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            )) => Self::Version,
            Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => {
                Self::NothingShared
            }
            None
            | Some(rustls::Error::AlertReceived(
                AlertDescription::CloseNotify | AlertDescription::UserCanceled,
            )) => Self::Closed,
            Some(rustls::Error::AlertReceived(_)) => Self::RefusedByClient,
            Some(_) => Self::Broken,
        }
    }
}

/// Of one listener.
#[derive(Debug, Default)]
pub struct TlsStats {
    full: AtomicU64,
    resumed: AtomicU64,
    failures: [AtomicU64; HandshakeFailure::ALL.len()],
    swaps: AtomicU64,
    swaps_failed: AtomicU64,
}

impl TlsStats {
    /// Counts a handshake that succeeded.
    pub fn succeeded(&self, resumed: bool) {
        let counter = if resumed { &self.resumed } else { &self.full };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that did not.
    pub fn failed(&self, why: HandshakeFailure) {
        if let Some((_, counter)) = HandshakeFailure::ALL.iter().zip(&self.failures).find(|(w, _)| **w == why)
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts files that changed: `wrong`, where something of them could not be used.
    pub fn swapped(&self, wrong: bool) {
        let counter = if wrong { &self.swaps_failed } else { &self.swaps };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Handshakes that succeeded, by kind.
    pub fn successes(&self) -> [(&'static str, u64); 2] {
        [("full", self.full.load(Ordering::Relaxed)), ("resumed", self.resumed.load(Ordering::Relaxed))]
    }

    /// Handshakes that did not, by reason.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        HandshakeFailure::ALL
            .into_iter()
            .zip(&self.failures)
            .map(|(why, counter)| (why.label(), counter.load(Ordering::Relaxed)))
    }

    /// Changes of files, by outcome.
    pub fn swaps(&self) -> [(&'static str, u64); 2] {
        [
            ("taken", self.swaps.load(Ordering::Relaxed)),
            ("refused", self.swaps_failed.load(Ordering::Relaxed)),
        ]
    }
}
