//! A reload: read, judged, and then everything of it or nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use vertice_config::gateway::GatewayConfig;

use super::{Credentials, Gateway, StartError, api_keys, compiled, jwks, open_log};
use crate::discovery::order::{Order, Reconfigure};
use crate::health::driver::HealthRules;
use crate::reload::plan::needs_a_new_process;
use crate::reload::state::{Cause, ReloadOutcome, Reloaded};
use crate::upstream::AddressPolicy;
use crate::worker::{Settings, Told};

/// For every worker and discovery to have taken it; they do it within milliseconds unless the machine stands still.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// Why a configuration was not applied.
struct Refused {
    outcome: ReloadOutcome,
    errors: Vec<String>,
}

impl Gateway {
    /// Reads the configuration again and applies it. What ran before goes on if anything speaks against the new one.
    pub async fn reload(&mut self, cause: Cause) -> Reloaded {
        let applied = self.try_reload(cause).await;
        let (outcome, errors, config) = match applied {
            Ok(Some(config)) => (ReloadOutcome::Applied, Vec::new(), Some(config)),
            Ok(None) => (ReloadOutcome::Unchanged, Vec::new(), None),
            Err(Refused { outcome, errors }) => (outcome, errors, None),
        };
        let reloaded = self.lasting.state.note(cause, outcome, errors, config);
        let (generation, by) = (reloaded.generation, cause.as_str());
        for error in &reloaded.errors {
            tracing::error!("configuration not applied: {error}");
        }
        match outcome {
            ReloadOutcome::Applied => tracing::info!(generation, by, "configuration applied"),
            ReloadOutcome::Unchanged => tracing::info!(generation, by, "configuration unchanged"),
            ReloadOutcome::Invalid | ReloadOutcome::NeedsRestart | ReloadOutcome::Failed => {
                let outcome = outcome.as_str();
                tracing::error!(generation, by, outcome, "the configuration before goes on");
            }
        }
        reloaded
    }

    /// The configuration that runs now; `None`: the same as before.
    async fn try_reload(&mut self, cause: Cause) -> Result<Option<Arc<GatewayConfig>>, Refused> {
        let invalid = |errors| Refused { outcome: ReloadOutcome::Invalid, errors };
        let failed =
            |error: StartError| Refused { outcome: ReloadOutcome::Failed, errors: vec![error.to_string()] };
        if self.handing_over {
            let errors =
                vec!["another process is taking over; it has read the configuration by itself".to_owned()];
            return Err(Refused { outcome: ReloadOutcome::Failed, errors });
        }
        let origin = self.origin.clone();
        // A disk that hangs must not stop discovery, which runs on this thread.
        let read = tokio::task::spawn_blocking(move || origin.read()).await;
        let wanted = read.map_err(|error| invalid(vec![error.to_string()]))?.map_err(invalid)?;
        let errors = needs_a_new_process(&self.running, &wanted);
        if !errors.is_empty() {
            return Err(Refused { outcome: ReloadOutcome::NeedsRestart, errors });
        }
        // Who asks for it gets it: a log that was moved away is opened anew.
        if wanted == *self.running && cause == Cause::File {
            return Ok(None);
        }
        let credentials = self.load_credentials(&wanted).await.map_err(invalid)?;
        let next = self
            .listeners
            .prepare(&wanted.listeners, &credentials.listeners)
            .map_err(|error| failed(error.into()))?;
        let policies = super::load_policies(&wanted, Some(&self.policies)).map_err(invalid)?;
        let log = wanted.access_log.as_ref().map(open_log).transpose().map_err(failed)?;

        // Nothing below can fail.
        for warning in &wanted.warnings {
            tracing::warn!("{warning}");
        }
        let own = self.admin.as_ref().map(|admin| admin.address).into_iter().chain(self.registry);
        let policy = AddressPolicy::of(&self.listeners.addresses_with(&next), own);
        self.tell(&compiled::settings(&wanted, &self.lasting, &policies, policy.clone(), log)).await;
        let new_token = wanted.registry.token != self.running.registry.token;
        if new_token {
            self.lasting.token.set(wanted.registry.token.as_ref().map(|token| token.expose().to_owned()));
            tracing::info!("the registry is shown another token from now on");
        }
        let wanted = Arc::new(wanted);
        credentials.watch(Some(&self.credentials));
        self.lasting.tls.show(credentials.https());
        self.credentials = credentials;
        jwks::keep_reading(&policies, Some(&self.policies), &self.credentials.upstream);
        api_keys::warn(&policies);
        self.lasting.policies.show(&policies);
        self.policies = policies;
        self.reroute(&wanted, policy.clone(), new_token).await;
        let rules = HealthRules { rules: wanted.health, policy };
        self.health_rules.send_if_modified(|before| {
            let changed = *before != rules;
            *before = rules;
            changed
        });
        self.listeners.change(next).await;
        self.running = wanted.clone();
        Ok(Some(wanted))
    }

    /// What `wanted` names in files; what of it is as before is not read again.
    async fn load_credentials(&self, wanted: &GatewayConfig) -> Result<Credentials, Vec<String>> {
        let (wanted, workers, before) = (wanted.clone(), self.lasting.workers, self.credentials.clone());
        // A disk that hangs must not stop discovery, which runs on this thread.
        let loaded =
            tokio::task::spawn_blocking(move || Credentials::load(&wanted, workers, Some(&before))).await;
        let loaded = loaded.map_err(|error| vec![error.to_string()])?;
        loaded.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    /// Tells all workers, and waits until they have heard.
    async fn tell(&self, settings: &Settings) {
        let mut heard = Vec::new();
        for worker in self.listeners.workers() {
            let (taken, hears) = oneshot::channel();
            // One that is gone serves nobody.
            if worker.send(Told::Settings(Box::new(settings.clone()), taken)).await.is_ok() {
                heard.push(hears);
            }
        }
        let all = async {
            for hears in heard {
                let _ = hears.await;
            }
        };
        if tokio::time::timeout(TAKEN_WITHIN, all).await.is_err() {
            tracing::warn!("a worker has not taken the configuration within {TAKEN_WITHIN:?}; it will");
        }
    }

    /// Has the routes, services and fall-backs of `config` compiled and published.
    async fn reroute(&self, config: &Arc<GatewayConfig>, policy: AddressPolicy, new_token: bool) {
        let (applied, hears) = oneshot::channel();
        let (routes, policies) = (config.clone(), self.policies.clone());
        let order = Order::Reconfigure(Box::new(Reconfigure {
            fixed: compiled::fixed(config, self.lasting.workers, policy, self.credentials.upstream.clone()),
            fallbacks: compiled::fallbacks(config),
            when_stale: config.registry.when_stale,
            new_token,
            routes: Box::new(move |services| {
                compiled::routes(&routes, &policies, |name| services.slot(name))
            }),
            applied,
        }));
        let published = async {
            let _ = self.orders.send(order).await;
            let _ = hears.await;
        };
        if tokio::time::timeout(TAKEN_WITHIN, published).await.is_err() {
            tracing::error!("discovery has not taken the configuration within {TAKEN_WITHIN:?}");
        }
    }
}
