//! Everything that a configuration names in files of certificates and keys: loaded together, watched, warned of.

use std::sync::{Arc, Weak};
use std::time::Duration;

use vertice_config::gateway::GatewayConfig;
use vertice_process::{clock, tasks};

use crate::credentials::CredentialError;
use crate::credentials::watch::watch;
use crate::tls::ListenerTls;
use crate::upstream::UpstreamTls;

/// Between two warnings of one certificate.
const WARNED_EVERY: Duration = Duration::from_hours(24);

/// All of it.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// HTTPS by listener, in the order of the configuration; `None`: HTTP.
    pub listeners: Vec<Option<Arc<ListenerTls>>>,
    /// Towards services.
    pub upstream: UpstreamTls,
}

impl Credentials {
    /// Loads what `config` names, for `workers` workers; everything that is wrong. What `before` has under the same rules
    /// stays: its files are watched, and its tickets, connections and counts are of use.
    pub fn load(
        config: &GatewayConfig,
        workers: usize,
        before: Option<&Self>,
    ) -> Result<Self, Vec<CredentialError>> {
        let now_s = clock::unix_ms() / 1000;
        let known = || before.iter().flat_map(|before| &before.listeners).flatten();
        let mut errors = Vec::new();
        let listeners = config.listeners.iter().map(|listener| {
            let tls = listener.tls.as_ref()?;
            if let Some(same) = known().find(|known| known.is(&listener.name, tls)) {
                return Some(same.clone());
            }
            match ListenerTls::start(&listener.name, tls, workers, now_s) {
                Ok(tls) => Some(Arc::new(tls)),
                Err(found) => {
                    errors.extend(found);
                    None
                }
            }
        });
        let listeners = listeners.collect();
        match UpstreamTls::load(config, before.map(|before| &before.upstream)) {
            Ok(upstream) if errors.is_empty() => Ok(Self { listeners, upstream }),
            Ok(_) => Err(errors),
            Err(found) => Err(errors.into_iter().chain(found).collect()),
        }
    }

    /// Of what `before` did not have: warns of what is over or soon will be, now and every day, and takes up what changes
    /// on disk, for as long as it is used.
    pub(super) fn watch(&self, before: Option<&Self>) {
        let known = |tls: &Arc<ListenerTls>| {
            before
                .is_some_and(|before| before.listeners.iter().flatten().any(|known| Arc::ptr_eq(known, tls)))
        };
        for tls in self.https().filter(|tls| !known(tls)) {
            tasks::spawn("certificate-warnings", warn(Arc::downgrade(tls)));
            tasks::spawn("certificates", watch(Arc::downgrade(tls)));
        }
        let before: Vec<_> = before.iter().flat_map(|before| before.upstream.services()).collect();
        for tls in self.upstream.services().filter(|tls| !before.iter().any(|known| Arc::ptr_eq(known, tls)))
        {
            tasks::spawn("upstream-certificates", watch(Arc::downgrade(tls)));
        }
    }

    /// The listeners that have it.
    pub fn https(&self) -> impl Iterator<Item = &Arc<ListenerTls>> {
        self.listeners.iter().flatten()
    }
}

/// A process runs for months, and a renewal that fails is silent.
async fn warn(tls: Weak<ListenerTls>) {
    let mut day = tokio::time::interval(WARNED_EVERY);
    loop {
        day.tick().await;
        let Some(tls) = tls.upgrade() else { return };
        for warning in tls.warnings(clock::unix_ms() / 1000) {
            tracing::warn!(listener = tls.name, "{warning}");
        }
    }
}
