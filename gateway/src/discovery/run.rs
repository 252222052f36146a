//! The discovery task: listens to the source and to the probes of what is held, publishes tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use vertice_process::readiness::NotReady;
use vertice_process::shutdown::Shutdown;
use vertice_registry_api::ServiceName;
use vertice_registry_api::reject::MAX_REJECTS;
use vertice_registry_client::{Event, Source, SourceKind, View};

use super::applied::Applied;
use super::canary::CanaryDriver;
use super::findings;
use super::last_known_good::keeper::Keeper;
use super::order::{Order, Reconfigure};
use super::release::Release;
use super::stale::StaleRule;
use super::update::{self, Fallbacks};
use crate::health::Probed;
use crate::table::compile::{EndpointIds, Fixed, Reject, compile, reroute};
use crate::table::{CanaryProof, Freshness, LastKnownGood, Published, Table};

/// Between two looks at the clock.
const PULSE: Duration = Duration::from_secs(1);

/// Outcomes of probes that wait to be taken in; one that finds no room is asked for again.
pub const PROBES: usize = 1024;

/// Between two looks at what the registry has to be told: one at every endpoint, so not with each pulse.
const FINDINGS: Duration = Duration::from_secs(3);

/// Rejects that are shown.
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
    /// Held until the first whole read, or the last known good, is in the table.
    pub not_ready: Option<NotReady>,
    /// When a service's truth is too old.
    pub rule: StaleRule,
    /// Keeps what is known on disk.
    pub keeper: Option<Keeper>,
    /// Proves that the watch lives.
    pub canary: CanaryDriver,
    /// What operators let go.
    pub releases: mpsc::Receiver<Release>,
    /// What another configuration changes.
    pub orders: mpsc::Receiver<Order>,
    /// Told when the process ends.
    pub shutdown: Option<Shutdown>,
    /// What goes on from table to table.
    pub progress: Progress,
}

/// What goes on from table to table.
#[derive(Debug, Default)]
pub struct Progress {
    ids: EndpointIds,
    rejects: Vec<Reject>,
    /// Services whose truth is too old.
    stale: BTreeSet<ServiceName>,
    /// What came of reading the registry when nothing usable did, by its kind.
    failures: BTreeMap<&'static str, u64>,
    /// What may be acknowledged, and what waits for a worker.
    applied: Applied,
    /// When the registry was last told what was found out.
    told: Option<Instant>,
    /// Instances served from the disk's word alone, counted with each pulse: it takes a look at everything held.
    unconfirmed: usize,
}

/// Runs for as long as the process.
pub async fn run(mut discovery: Discovery) {
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let changed = tokio::select! {
            event = discovery.source.next() => {
                let Some(mut event) = event else {
                    tracing::error!("the task that reads the registry ended; serving goes on with the last table");
                    return;
                };
                let now = Instant::now();
                if let Event::Failed { error, .. } = &event {
                    *discovery.progress.failures.entry(error.kind()).or_default() += 1;
                }
                discovery.canary.take_out(&mut event, now);
                let mut changed = discovery.with_view(|view| view.apply(&event, now));
                if !discovery.progress.stale.is_empty() {
                    changed.extend(discovery.look_for_stale(now));
                }
                changed
            }
            Some((name, id, alive)) = discovery.probes.recv() => {
                discovery.with_view(|view| view.record_probe(&name, &id, alive, Instant::now()))
            }
            Some(release) = discovery.releases.recv() => {
                discovery.release(release);
                continue;
            }
            Some(order) = discovery.orders.recv() => {
                discovery.follow(order);
                continue;
            }
            () = discovery.published.taken_up() => {
                discovery.acknowledge();
                continue;
            }
            _ = pulse.tick() => discovery.pulse(Instant::now()),
            shutdown = pulled(&mut discovery.shutdown) => {
                discovery.canary.remove(shutdown);
                continue;
            }
        };
        discovery.publish(&changed);
    }
}

/// Returns the handle once the process is told to end; then never again.
async fn pulled(shutdown: &mut Option<Shutdown>) -> Shutdown {
    if let Some(waiting) = shutdown {
        waiting.pulled().await;
    }
    match shutdown.take() {
        Some(pulled) => pulled,
        None => std::future::pending().await,
    }
}

impl Discovery {
    /// Publishes what is known before any registry has spoken: fall-backs and the last known good. Call it before the
    /// first request can come.
    pub fn begin(&mut self) {
        let mut known: BTreeSet<ServiceName> = self.fallbacks.keys().cloned().collect();
        known
            .extend(self.with_view(|view| view.services().map(|(name, _)| name.clone()).collect::<Vec<_>>()));
        known.extend(self.look_for_stale(Instant::now()));
        self.progress.unconfirmed = self.with_view(|view| view.unconfirmed_count());
        self.publish(&known);
    }

    /// What the passing of time changes.
    fn pulse(&mut self, now: Instant) -> BTreeSet<ServiceName> {
        let (mut changed, wants_read, watching, unconfirmed) = self.with_view(|view| {
            let status = view.status();
            let watching = status.kind == Some(SourceKind::Watched)
                && status.state.is_some()
                && status.failing_since.is_none();
            (view.tick(now), view.wants_read(now), watching, view.unconfirmed_count())
        });
        self.progress.unconfirmed = unconfirmed;
        self.look_for_stuck_workers(now);
        let deaf = self.canary.pulse(watching, now);
        if deaf || wants_read {
            self.source.resync();
        }
        changed.extend(self.look_for_stale(now));
        if self.progress.told.is_none_or(|told| now.saturating_duration_since(told) >= FINDINGS) {
            self.progress.told = Some(now);
            let table = self.published.load();
            let report = self.with_view(|view| findings::report(&table, view, &self.progress.rejects));
            self.source.report(report);
        }
        changed
    }

    /// Services that became too old, or are no longer.
    fn look_for_stale(&mut self, now: Instant) -> BTreeSet<ServiceName> {
        let stale = self.with_view(|view| self.rule.past(view, now));
        let changed: BTreeSet<ServiceName> =
            stale.symmetric_difference(&self.progress.stale).cloned().collect();
        for name in changed.intersection(&stale) {
            tracing::warn!(service = %name, "the registry has not vouched for this service for longer than stale_after");
        }
        self.progress.stale = stale;
        changed
    }

    fn release(&mut self, release: Release) {
        let (released, changed) =
            self.with_view(|view| view.release(release.service.as_ref(), release.instance.as_ref()));
        self.publish(&changed);
        // Who asked may have left.
        let _ = release.reply.send(released);
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Reconfigure(order) => {
                let Reconfigure { fixed, fallbacks, when_stale, new_token, routes, applied } = *order;
                if new_token {
                    self.canary.try_again();
                }
                let mut changed: BTreeSet<ServiceName> =
                    self.fixed.configured.union(&fixed.configured).cloned().collect();
                changed.extend(self.fallbacks.keys().chain(fallbacks.keys()).cloned());
                if self.rule.then != when_stale {
                    changed.extend(self.progress.stale.iter().cloned());
                }
                if self.fixed.policy != fixed.policy || self.fixed.tls != fixed.tls {
                    // Whom it refuses is judged anew, and how https is spoken.
                    changed.extend(
                        self.with_view(|view| {
                            view.services().map(|(name, _)| name.clone()).collect::<Vec<_>>()
                        }),
                    );
                }
                (self.fixed, self.fallbacks, self.rule.then) = (fixed, fallbacks, when_stale);
                let table = reroute(&self.published.load(), &self.fixed, routes);
                self.publish_after(Arc::new(table), &changed);
                // Who asked may have left.
                let _ = applied.send(());
            }
            Order::StopKeeping => self.keeper = None,
        }
    }

    fn with_view<T>(&self, work: impl FnOnce(&mut View) -> T) -> T {
        work(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compiles what changed and publishes it, says how old the truth is, and notes what is in the table: it is acknowledged
    /// when all workers have it.
    fn publish(&mut self, changed: &BTreeSet<ServiceName>) {
        self.publish_after(self.published.load(), changed);
    }

    /// As [`Self::publish`], with `previous` as the table to begin with.
    fn publish_after(&mut self, previous: Arc<Table>, changed: &BTreeSet<ServiceName>) {
        let now = Instant::now();
        let Progress { ids, rejects, .. } = &mut self.progress;
        let (updates, freshness, position, complete) = {
            let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            let updates: Vec<_> = changed
                .iter()
                .map(|name| update::of(name, &view, &self.fallbacks, &self.rule, now))
                .collect();
            rejects.retain(|reject| !changed.contains(&reject.service));
            (updates, freshness(&view), view.status().position, view.is_complete())
        };
        if !updates.is_empty() || previous.generation != self.published.load().generation {
            let (table, refused) = compile(&previous, updates, &self.fixed, ids);
            drop(previous);
            for reject in &refused {
                tracing::warn!(service = %reject.service, instance = %reject.instance_id, reason = %reject.reason, "an instance was not taken");
            }
            rejects.extend(refused);
            rejects.truncate(MAX_REJECTS);
            self.published.swap(table);
        }
        if let Some(keeper) = self.keeper.as_ref().filter(|_| !changed.is_empty()) {
            keeper.changed();
        }
        if let Some(position) = position {
            self.progress.applied.published(self.published.load().generation, position, now);
            self.acknowledge();
        }
        self.say(freshness);
        if complete && self.not_ready.take().is_some() {
            tracing::info!(services = self.published.load().services.len(), "the first table is complete");
        }
    }

    /// Tells the registry what no request can miss any more.
    fn acknowledge(&mut self) {
        if let Some(position) = self.progress.applied.taken(self.published.taken_by_all()) {
            self.source.applied(position);
        }
    }

    /// A worker that stands still keeps drains waiting: said once for each table.
    fn look_for_stuck_workers(&mut self, now: Instant) {
        if let Some(generation) = self.progress.applied.is_late(now) {
            let workers = self.published.behind(generation);
            tracing::warn!(
                ?workers,
                generation,
                "these workers have not taken up the table yet, so it is not acknowledged, and drains wait for it"
            );
        }
    }

    fn say(&self, mut freshness: Freshness) {
        freshness.canary = self.canary.shown();
        freshness.failures.clone_from(&self.progress.failures);
        freshness.unacknowledged_since = self.progress.applied.waiting_since();
        if let Some(keeper) = &self.keeper {
            let (written, error) = keeper.stats().now();
            let failures = keeper.stats().failures();
            let unconfirmed = self.progress.unconfirmed;
            freshness.last_known_good = LastKnownGood { kept: true, unconfirmed, written, error, failures };
        }
        let ours = self
            .progress
            .rejects
            .iter()
            .take(REJECTS_SHOWN)
            .map(|r| (format!("{}/{}", r.service, r.instance_id), r.reason.clone()));
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
        failures: BTreeMap::new(),
        last_error: status.last_error.as_ref().map(ToString::to_string),
        held: view.held_count(),
        rejects: status.rejects.iter().map(|r| (r.name.clone(), r.reason.clone())).collect(),
        last_known_good: LastKnownGood::default(),
        canary: CanaryProof::default(),
        unacknowledged_since: None,
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
