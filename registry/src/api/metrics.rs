//! `GET /metrics` and `GET /health`.

use std::sync::atomic::Ordering;

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::json;
use vertice_process::admin::METRICS_TYPE;
use vertice_process::answer::{self, Answer};
use vertice_registry_api::{Revision, SourceState};

use super::refused;
use super::shared::{MAX_WATCHERS, Shared};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
    status: u32,
}

/// What this registry counts.
pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    pub(super) renewals: Counter,
    instances: Gauge,
    services: Gauge,
    revision: Gauge,
    watchers: Gauge,
    serving: Gauge,
    preserving: Gauge,
    stale: Gauge,
    quarantined: Gauge,
    expired: Counter,
    state_saved_revision: Gauge,
    state_failing: Gauge,
    state_write_errors: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("vertice_registry");
        let calls = Family::default();
        registry.register("calls", "Calls answered, by call and status", calls.clone());
        let renewals = Counter::default();
        registry.register("renewals", "Leases renewed by heartbeats", renewals.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let instances = gauge("instances", "Live instances");
        let services = gauge("services", "Names with a live instance");
        let revision = gauge("revision", "The revision of the last change");
        let watchers = gauge("watchers", "Watches and snapshots being answered");
        let serving = gauge("serving", "1 when the state is serving");
        let preserving = gauge("preserving", "1 while self-preservation keeps what expires");
        let stale = gauge("stale_leases", "Leases that ran out and are kept by self-preservation");
        let quarantined = gauge("quarantined_instances", "Instances that were taken over too often");
        let state_saved_revision =
            gauge("state_saved_revision", "Everything up to this revision is in the state directory");
        let state_failing = gauge("state_failing", "1 while the state directory cannot be written");
        let state_write_errors = Counter::default();
        registry.register(
            "state_write_errors",
            "Failed attempts to write the state directory",
            state_write_errors.clone(),
        );
        let expired = Counter::default();
        registry.register("expired_leases", "Leases that ran out since the start", expired.clone());
        Self {
            registry,
            calls,
            renewals,
            instances,
            services,
            revision,
            watchers,
            serving,
            preserving,
            stale,
            quarantined,
            expired,
            state_saved_revision,
            state_failing,
            state_write_errors,
        }
    }

    /// Everything up to `revision` is on the disk.
    pub(crate) fn state_saved(&self, revision: Revision) {
        self.state_saved_revision.set(i64::try_from(revision.0).unwrap_or(i64::MAX));
    }

    /// Whether the state directory could not be written just now.
    pub(crate) fn state_failing(&self, failing: bool) {
        self.state_failing.set(i64::from(failing));
        if failing {
            self.state_write_errors.inc();
        }
    }

    pub(super) fn count(&self, call: &'static str, status: StatusCode) {
        self.calls.get_or_create(&CallLabels { call, status: status.as_u16().into() }).inc();
    }
}

impl Shared {
    /// All metrics as text.
    pub(crate) fn render_metrics(&self) -> String {
        let (position, state) = self.at();
        let stats = self.store().stats();
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let metrics = &self.metrics;
        metrics.instances.set(whole(stats.instances));
        metrics.services.set(whole(stats.services));
        metrics.revision.set(i64::try_from(position.revision.0).unwrap_or(i64::MAX));
        metrics.watchers.set(whole(MAX_WATCHERS - self.watchers.available_permits()));
        metrics.serving.set(i64::from(state == SourceState::Serving));
        metrics.preserving.set(i64::from(state == SourceState::Preserving));
        metrics.quarantined.set(whole(stats.quarantined));
        metrics.stale.set(whole(stats.stale));
        metrics.expired.inner().store(stats.expired_total, Ordering::Relaxed);
        let mut rendered = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut rendered, &metrics.registry);
        rendered
    }
}

pub(super) fn answer(shared: &Shared) -> Answer {
    answer::with_type(StatusCode::OK, METRICS_TYPE, shared.render_metrics())
}

pub(super) fn health(shared: &Shared) -> Answer {
    let (position, state) = shared.at();
    let stats = shared.store().stats();
    let body = json!({
        "status": "healthy",
        "state": state,
        "epoch": position.epoch,
        "revision": position.revision,
        "services": stats.services,
        "instances": stats.instances,
        "stale": stats.stale,
    });
    refused::json(StatusCode::OK, &body)
}
