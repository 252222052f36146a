//! HTTPS at one listener, shared by all workers; swapped whole when its files change.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use tokio::sync::Semaphore;
use vertice_config::gateway::{ClientAuthConfig, ListenerTlsConfig, TlsVersion};

use super::certificates::Certificates;
use super::load::{Loaded, load, look};
use super::stats::TlsStats;
use crate::credentials::watch::{Look, WatchState, Watched};
use crate::credentials::{CredentialError, provider};

/// What is offered inside, best first (ALPN, RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// HTTPS at one listener.
pub struct ListenerTls {
    /// The listener's name.
    pub name: String,
    /// What became of handshakes.
    pub stats: TlsStats,
    config: ListenerTlsConfig,
    current: ArcSwap<Setup>,
    tickets: Arc<dyn ProducesTickets>,
    /// By worker: handshakes computed in one go.
    permits: Box<[Semaphore]>,
    watch: Mutex<WatchState>,
}

/// The listeners with HTTPS, for who shows them; another configuration puts others in their place.
#[derive(Debug, Default)]
pub struct TlsListeners(ArcSwap<Vec<Arc<ListenerTls>>>);

impl TlsListeners {
    /// Those of now.
    pub fn all(&self) -> Arc<Vec<Arc<ListenerTls>>> {
        self.0.load_full()
    }

    /// From now on these.
    pub fn show<'a>(&self, listeners: impl Iterator<Item = &'a Arc<ListenerTls>>) {
        self.0.store(Arc::new(listeners.cloned().collect()));
    }
}

/// What a handshake begins with.
#[derive(Debug)]
pub struct Setup {
    /// What the library works with.
    pub server: Arc<ServerConfig>,
    /// What was loaded.
    pub loaded: Loaded,
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ListenerTls {
    /// Loads what `config` names, for `workers` workers; everything that is wrong with it.
    pub fn start(
        name: &str,
        config: &ListenerTlsConfig,
        workers: usize,
        now_s: u64,
    ) -> Result<Self, Vec<CredentialError>> {
        let before: Look = look(config);
        let (loaded, errors) = load(config, None, now_s);
        let Some(loaded) = loaded.filter(|_| errors.is_empty()) else { return Err(errors) };
        let tickets = tickets(config).map_err(|error| vec![unusable(config, &error)])?;
        let setup = setup(config, loaded, tickets.clone()).map_err(|error| vec![unusable(config, &error)])?;
        Ok(Self {
            name: name.to_owned(),
            stats: TlsStats::default(),
            config: config.clone(),
            current: ArcSwap::from_pointee(setup),
            tickets,
            permits: (0..workers).map(|_| Semaphore::new(config.handshakes)).collect(),
            watch: Mutex::new(WatchState::new(before)),
        })
    }

    /// Whether it is that of the listener `name` by these rules.
    pub fn is(&self, name: &str, config: &ListenerTlsConfig) -> bool {
        self.name == name && self.config == *config
    }

    /// What a handshake begins with now.
    pub fn current(&self) -> Arc<Setup> {
        self.current.load_full()
    }

    /// For one handshake.
    pub fn handshake_timeout(&self) -> Duration {
        self.config.handshake_timeout
    }

    /// The permits of `worker`.
    pub fn permits(&self, worker: usize) -> Option<&Semaphore> {
        self.permits.get(worker)
    }

    /// Each chain's file and when it ends, in seconds since 1970.
    pub fn expiries(&self) -> Vec<(String, u64)> {
        let all = self.current();
        let row = |c: &Arc<crate::credentials::pem::Credential>| (c.file.display().to_string(), c.expires_s);
        all.loaded.certificates.all().iter().map(row).collect()
    }

    /// What is over or will soon be.
    pub fn warnings(&self, now_s: u64) -> Vec<String> {
        self.current().loaded.warnings(now_s)
    }

    /// What is over, as mistakes.
    pub fn expired(&self, now_s: u64) -> Vec<CredentialError> {
        let over = |c: &Arc<crate::credentials::pem::Credential>| CredentialError {
            at: c.at.clone(),
            file: c.file.clone(),
            wrong: format!(
                "holds a chain that is over since {} days",
                now_s.saturating_sub(c.expires_s) / 86_400
            ),
            right: "renew it: clients refuse it",
        };
        self.current().loaded.expired(now_s).map(over).collect()
    }
}

impl Watched for ListenerTls {
    fn look(&self) -> Look {
        look(&self.config)
    }

    fn state(&self) -> &Mutex<WatchState> {
        &self.watch
    }

    fn reload(&self) {
        let now_s = vertice_process::clock::unix_ms() / 1000;
        let before = self.current();
        let (loaded, errors) = load(&self.config, Some(&before.loaded), now_s);
        for error in &errors {
            tracing::error!(listener = self.name, %error, "a changed file cannot be used; its last good form stays");
        }
        let taken = loaded.map(|loaded| setup(&self.config, loaded, self.tickets.clone()));
        match taken {
            Some(Ok(setup)) => {
                for warning in setup.loaded.warnings(now_s) {
                    tracing::warn!(listener = self.name, "{warning}");
                }
                let certificates = setup.loaded.certificates.all().len();
                self.current.store(Arc::new(setup));
                tracing::info!(
                    listener = self.name,
                    certificates,
                    refused = errors.len(),
                    "files changed: new connections get these certificates"
                );
            }
            Some(Err(error)) => {
                tracing::error!(listener = self.name, %error, "changed files cannot be used; what was loaded stays");
                self.stats.swapped(true);
                return;
            }
            None => {}
        }
        self.stats.swapped(!errors.is_empty());
    }
}

/// Tickets that every worker can read, and that outlive a swap of certificates.
///
/// One key for the whole process, except where clients are asked for certificates: a resumed session is taken at its
/// word, so one begun where nobody was asked must not be resumed there.
fn tickets(config: &ListenerTlsConfig) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    static COMMON: OnceLock<Mutex<Option<Arc<dyn ProducesTickets>>>> = OnceLock::new();
    if config.client_auth != ClientAuthConfig::None {
        return rustls::crypto::aws_lc_rs::Ticketer::new();
    }
    let mut common = COMMON.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(tickets) = &*common {
        return Ok(tickets.clone());
    }
    let made = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    *common = Some(made.clone());
    Ok(made)
}

fn setup(
    config: &ListenerTlsConfig,
    loaded: Loaded,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Setup, rustls::Error> {
    let versions: &[_] = match config.min_version {
        TlsVersion::V12 => &[&TLS13, &TLS12],
        TlsVersion::V13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    let builder = match &loaded.authorities {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
            let verifier = match &config.client_auth {
                ClientAuthConfig::Optional(_) => verifier.allow_unauthenticated(),
                ClientAuthConfig::None | ClientAuthConfig::Required(_) => verifier,
            };
            let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let certificates: Arc<Certificates> = loaded.certificates.clone();
    let mut server = builder.with_cert_resolver(certificates);
    server.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    // A ticket holds all there is to know: no worker has to find what another one stored.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.ticketer = tickets;
    // A client takes one; who opens several connections at once shares it or begins anew.
    server.send_tls13_tickets = 1;
    Ok(Setup { server: Arc::new(server), loaded })
}

fn unusable(config: &ListenerTlsConfig, error: &rustls::Error) -> CredentialError {
    CredentialError {
        at: config.at.clone(),
        file: "[listener.tls]".into(),
        wrong: format!("cannot be used: {error}"),
        right: "give certificates of authorities as `client_ca`",
    }
}
