//! The discovery task: listens to the source and to the probes of what is held, publishes tables.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use vertice_process::readiness::NotReady;
use vertice_registry_api::{Position, ServiceName};
use vertice_registry_client::{Source, View};

use super::update::{self, Fallbacks};
use crate::health::Probed;
use crate::table::compile::{EndpointIds, Fixed, Reject, compile};
use crate::table::{Freshness, Published};

/// Between two looks at the clock.
const PULSE: Duration = Duration::from_secs(1);

/// Outcomes of probes that wait to be taken in; one that finds no room is asked for again.
pub const PROBES: usize = 1024;

/// Rejects that are kept to be shown.
const REJECTS_SHOWN: usize = 100;

/// What discovery works with.
pub struct Discovery {
    /// The registry.
    pub source: Source,
    /// Where tables go.
    pub published: Arc<Published>,
    /// What no table changes.
    pub fixed: Fixed,
    /// Where services are that the registry does not know.
    pub fallbacks: Fallbacks,
    /// Whether held instances live, from the one who checks them.
    pub probes: mpsc::Receiver<Probed>,
    /// Read by the admin listener.
    pub view: Arc<Mutex<View>>,
    /// Held until the first whole read is in the table.
    pub not_ready: Option<NotReady>,
}

/// Runs for as long as the process.
pub async fn run(mut discovery: Discovery) {
    let mut ids = EndpointIds::default();
    let mut rejects: Vec<Reject> = Vec::new();
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let known: BTreeSet<ServiceName> = discovery.fallbacks.keys().cloned().collect();
    discovery.publish(&known, &mut ids, &mut rejects);
    loop {
        let changed = tokio::select! {
            event = discovery.source.next() => {
                let Some(event) = event else {
                    tracing::error!("the task that reads the registry ended; serving goes on with the last table");
                    return;
                };
                discovery.with_view(|view| view.apply(&event, Instant::now()))
            }
            Some((name, id, alive)) = discovery.probes.recv() => {
                discovery.with_view(|view| view.record_probe(&name, &id, alive, Instant::now()))
            }
            _ = pulse.tick() => discovery.with_view(|view| view.tick(Instant::now())),
        };
        discovery.publish(&changed, &mut ids, &mut rejects);
    }
}

impl Discovery {
    fn with_view<T>(&self, work: impl FnOnce(&mut View) -> T) -> T {
        work(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compiles what changed and publishes it, says how old the truth is, and acknowledges what is in the table.
    fn publish(&mut self, changed: &BTreeSet<ServiceName>, ids: &mut EndpointIds, rejects: &mut Vec<Reject>) {
        let (updates, freshness, position, complete) = {
            let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            let updates: Vec<_> =
                changed.iter().map(|name| update::of(name, &view, &self.fallbacks)).collect();
            rejects.retain(|reject| !changed.contains(&reject.service));
            (updates, freshness(&view), view.status().position, view.is_complete())
        };
        if !updates.is_empty() {
            let (table, refused) = compile(&self.published.load(), updates, &self.fixed, ids);
            for reject in &refused {
                tracing::warn!(service = %reject.service, instance = %reject.instance_id, reason = %reject.reason, "an instance was not taken");
            }
            rejects.extend(refused);
            rejects.truncate(REJECTS_SHOWN);
            self.published.swap(table);
        }
        self.say(freshness, rejects);
        if let Some(position) = position {
            self.applied(position);
        }
        if complete && self.not_ready.take().is_some() {
            tracing::info!(services = self.published.load().services.len(), "the first table is complete");
        }
    }

    fn applied(&self, position: Position) {
        self.source.applied(position);
    }

    fn say(&self, mut freshness: Freshness, rejects: &[Reject]) {
        let ours = rejects.iter().map(|r| (format!("{}/{}", r.service, r.instance_id), r.reason.clone()));
        freshness.rejects.extend(ours);
        let before = self.published.freshness();
        if freshness.failing != before.failing {
            match &freshness.last_error {
                Some(error) if freshness.failing => {
                    tracing::warn!(%error, "the registry cannot be read; serving goes on with what is known");
                }
                _ => tracing::info!("the registry can be read again"),
            }
        }
        self.published.set_freshness(freshness);
    }
}

fn freshness(view: &View) -> Freshness {
    let status = view.status();
    Freshness {
        kind: status.kind.map(vertice_registry_client::SourceKind::as_str),
        state: status.state.map(|state| state.to_string()),
        last_proof: status.last_proof,
        complete: view.is_complete(),
        failing: status.failing_since.is_some(),
        last_error: status.last_error.as_ref().map(ToString::to_string),
        held: view.held().count(),
        rejects: status.rejects.iter().map(|r| (r.name.clone(), r.reason.clone())).collect(),
    }
}
