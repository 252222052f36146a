//! `/metrics` in the OpenMetrics text format: the workers' counters summed up at the moment of asking.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use vertice_registry_client::SourceError;

use super::AdminState;
use super::holds::by_reason;
use crate::health::verdict::Verdict;
use crate::policy::rate::buckets::Counts;
use crate::policy::rate::store::StoreStats;
use crate::table::{Service, StatusClass};
use crate::telemetry::histogram::Sum;
use crate::telemetry::metrics::{Counter, WorkerMetrics};

/// Services that get series of their own; beyond, the sums have to do, or a scrape would be larger than the traffic.
const SERVICES_SHOWN: usize = 2000;

/// The same for certificates of a listener.
const CERTIFICATES_SHOWN: usize = 2000;

/// The metrics text.
pub fn render(state: &std::sync::Arc<AdminState>) -> String {
    let mut registry = Registry::with_prefix("vertice_gateway");
    registry.register_collector(Box::new(Snapshot(state.clone())));
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Snapshot(std::sync::Arc<AdminState>);

type Encoded = Result<(), std::fmt::Error>;

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        let state = &*self.0;
        configuration(state, &mut encoder)?;
        connections(state, &mut encoder)?;
        requests(state, &mut encoder)?;
        table(state, &mut encoder)?;
        holds(state, &mut encoder)?;
        health(state, &mut encoder)?;
        services(state, &mut encoder)?;
        policies(state, &mut encoder)?;
        tls(state, &mut encoder)?;
        traffic(state, &mut encoder)
    }
}

fn sum(state: &AdminState, counter: impl Fn(&WorkerMetrics) -> &Counter) -> u64 {
    state.metrics.iter().map(|worker| counter(worker).get()).sum()
}

fn count(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Encoded {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Encoded {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// A family of counters with one label.
fn family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    rows: impl Iterator<Item = (&'a str, u64)>,
) -> Encoded {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, number) in rows {
        ConstCounter::new(number).encode(metric.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

fn configuration(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let generation = usize::try_from(state.config.generation()).unwrap_or(usize::MAX);
    let help = "Generation of the configuration that runs: 1 at the start, one more with each reload";
    gauge(encoder, "config_generation", help, approximately(generation))?;
    family(encoder, "config_reloads", "Reloads of the configuration", "outcome", state.config.counts())?;
    let help = "1 if the last reload was refused and the configuration before it goes on";
    gauge(encoder, "config_last_reload_failed", help, if state.config.last_failed() { 1.0 } else { 0.0 })
}

fn connections(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let open: usize = state.doors.iter().map(|door| door.load.load(Ordering::Relaxed)).sum();
    gauge(encoder, "connections", "Open client connections", approximately(open))?;
    count(encoder, "connections_accepted", "Client connections accepted", sum(state, |m| &m.accepted))?;
    count(
        encoder,
        "connections_handed_over",
        "Connections given to a less busy worker",
        sum(state, |m| &m.handed_over),
    )?;
    count(
        encoder,
        "connections_timed_out",
        "Client connections closed at a deadline: no head, no next request, or a reader that stalled",
        sum(state, |m| &m.connections_timed_out),
    )?;
    for (name, help, value) in [
        (
            "connections_over_address",
            "Client connections closed at once: their address had `connections_per_address`",
            sum(state, |m| &m.connections_over_address),
        ),
        (
            "connections_spent",
            "Client connections ended after `connection_requests` or at `connection_age`",
            sum(state, |m| &m.connections_spent),
        ),
        (
            "connections_broken",
            "Client connections ended by an error: reset by the client, or broken or too many HTTP/2 frames or resets",
            sum(state, |m| &m.connections_broken),
        ),
    ] {
        count(encoder, name, help, value)?;
    }
    count(
        encoder,
        "streams_refused",
        "HTTP/2 streams refused beyond `streams` (REFUSED_STREAM)",
        sum(state, |m| &m.streams_refused),
    )?;
    count(
        encoder,
        "streams_timed_out",
        "HTTP/2 streams reset at a deadline: a reader or a writer that stalled",
        sum(state, |m| &m.streams_timed_out),
    )?;
    let asleep = sum(state, |m| &m.fell_asleep).saturating_sub(sum(state, |m| &m.woke_up));
    gauge(
        encoder,
        "connections_asleep",
        "Open HTTP/1.1 connections on which nothing has happened for a while: they hold no buffers",
        approximately(usize::try_from(asleep).unwrap_or(usize::MAX)),
    )?;
    count(
        encoder,
        "slow_readers",
        "Client connections, and HTTP/2 streams, ended because their answer was taken more slowly than `min_response_rate`",
        sum(state, |m| &m.slow_readers),
    )?;
    let (opened, closed) = (sum(state, |m| &m.tunnels_opened), sum(state, |m| &m.tunnels_closed));
    count(encoder, "websockets_opened", "WebSockets opened", opened)?;
    let open = usize::try_from(opened.saturating_sub(closed)).unwrap_or(usize::MAX);
    gauge(encoder, "websockets", "Open WebSockets; each counts as a connection", approximately(open))?;
    count(
        encoder,
        "websockets_timed_out",
        "WebSockets ended because nothing moved for `stream_idle`, or by the route's total time",
        sum(state, |m| &m.tunnels_timed_out),
    )?;
    let refused = [
        ("malformed", sum(state, |m| &m.heads_malformed)),
        ("too_large", sum(state, |m| &m.heads_too_large)),
        ("proxy_protocol", sum(state, |m| &m.heads_without_proxy_header)),
    ];
    family(
        encoder,
        "heads_refused",
        "Request heads refused before a request came of them",
        "reason",
        refused.into_iter(),
    )
}

fn requests(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let (begun, ended) = (sum(state, |m| &m.requests), sum(state, |m| &m.requests_ended));
    count(encoder, "requests", "Requests that began", begun)?;
    let in_flight = usize::try_from(begun.saturating_sub(ended)).unwrap_or(usize::MAX);
    gauge(encoder, "requests_in_flight", "Requests that have not ended", approximately(in_flight))?;
    count(
        encoder,
        "requests_broken",
        "Requests whose answer did not reach its end",
        sum(state, |m| &m.requests_broken),
    )?;
    count(encoder, "retries", "Attempts beyond the first", sum(state, |m| &m.retries))?;
    count(encoder, "attempts_failed", "Attempts that failed", sum(state, |m| &m.attempts_failed))?;
    count(encoder, "request_body_bytes", "Bytes of bodies from clients", sum(state, |m| &m.body_bytes_in))?;
    count(encoder, "response_body_bytes", "Bytes of bodies to clients", sum(state, |m| &m.body_bytes_out))?;
    count(
        encoder,
        "log_lines_dropped",
        "Access-log lines lost because the writer was behind",
        sum(state, |m| &m.log_lines_dropped),
    )?;
    let by_class = StatusClass::all().map(|class| {
        let of = |m: &std::sync::Arc<WorkerMetrics>| {
            m.classes().filter(|(c, _)| *c == class).map(|(_, n)| n).sum::<u64>()
        };
        (class.label(), state.metrics.iter().map(of).sum::<u64>())
    });
    family(encoder, "responses", "Answers by class of status", "class", by_class)?;
    let reasons = crate::http::error::GatewayError::REASONS.into_iter().map(|reason| {
        let of = |m: &std::sync::Arc<WorkerMetrics>| {
            m.reasons().filter(|(r, _)| *r == reason).map(|(_, n)| n).sum::<u64>()
        };
        (reason, state.metrics.iter().map(of).sum::<u64>())
    });
    family(encoder, "own_answers", "Answers that the gateway made itself, by reason", "reason", reasons)?;
    let heads = Sum::of(state.metrics.iter().map(|worker| &worker.head_seconds));
    let mut metric = encoder.encode_descriptor(
        "head_duration_seconds",
        "Time from a request's head to its answer's",
        None,
        MetricType::Histogram,
    )?;
    metric.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
        heads.seconds,
        heads.count,
        &heads.buckets,
        None,
    )
}

fn table(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let table = state.published.load();
    let freshness = state.published.freshness();
    let endpoints = table.services.iter().map(|service| service.all.len()).sum();
    let generation = usize::try_from(table.generation).unwrap_or(usize::MAX);
    gauge(encoder, "table_generation", "Generation of the routing table", approximately(generation))?;
    gauge(encoder, "services", "Services in the table", approximately(table.services.len()))?;
    gauge(encoder, "endpoints", "Endpoints in the table", approximately(endpoints))?;
    gauge(
        encoder,
        "endpoints_held",
        "Endpoints served although the registry no longer names them",
        approximately(freshness.held),
    )?;
    gauge(
        encoder,
        "entries_rejected",
        "Entries of the registry that were left out",
        approximately(freshness.rejects.len()),
    )?;
    gauge(
        encoder,
        "registry_reachable",
        "1 if the last try to read the registry succeeded",
        if freshness.failing { 0.0 } else { 1.0 },
    )?;
    let age = freshness.age_seconds().unwrap_or(f64::NAN);
    gauge(encoder, "registry_proof_age_seconds", "Time since the registry last gave a usable answer", age)?;
    let failures =
        SourceError::KINDS.into_iter().map(|kind| (kind, freshness.failures.get(kind).copied().unwrap_or(0)));
    family(
        encoder,
        "registry_failures",
        "Reads of the registry that gave nothing usable, by what was wrong",
        "kind",
        failures,
    )?;
    let failures = freshness.last_known_good.failures;
    count(encoder, "last_known_good_write_failures", "Writes of the last known good that failed", failures)?;
    let written = age_of(freshness.last_known_good.written);
    gauge(encoder, "last_known_good_age_seconds", "Time since the last known good was written", written)?;
    let unconfirmed = approximately(freshness.last_known_good.unconfirmed);
    let help = "Endpoints served from the last known good alone";
    gauge(encoder, "last_known_good_unconfirmed", help, unconfirmed)?;
    let back = age_of(freshness.canary.back);
    gauge(encoder, "canary_age_seconds", "Time since our canary last came back over the watch", back)?;
    let trip = freshness.canary.round_trip.map_or(f64::NAN, |trip| trip.as_secs_f64());
    gauge(encoder, "canary_round_trip_seconds", "Time from writing our canary to its coming back", trip)?;
    let unacknowledged = freshness.unacknowledged_since.map_or(0.0, |since| since.elapsed().as_secs_f64());
    let help = "Time that a table has waited to be taken up by all workers and acknowledged, at the last look; 0: none waits";
    gauge(encoder, "table_unacknowledged_seconds", help, unacknowledged)?;
    let help = "Canaries that the registry had and the watch did not bring";
    count(encoder, "canary_lost", help, freshness.canary.deaf)
}

fn traffic(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let help = "Preflights (CORS) that the gateway answered";
    count(encoder, "cors_preflights", help, sum(state, |m| &m.preflights))?;
    let help = "Requests and preflights of pages of an origin that the route's CORS does not name";
    count(encoder, "cors_origins_refused", help, sum(state, |m| &m.origins_refused))?;
    let policies = state.policies.get();
    let limits = policies.limits();
    let counts: Vec<_> =
        limits.all().map(|limit| (limit.config.name.as_str(), limit.buckets.counts())).collect();
    let row = |of: fn(&Counts) -> u64| counts.iter().map(move |(name, counts)| (*name, of(counts)));
    let help = "Requests that a rate limit let pass";
    family(encoder, "rate_limit_admitted", help, "limit", row(|counts| counts.admitted))?;
    let help = "Requests that a rate limit refused";
    family(encoder, "rate_limit_refused", help, "limit", row(|counts| counts.refused))?;
    let help = "Requests under a shared rate limit that were judged while its store was away";
    family(encoder, "rate_limit_alone", help, "limit", row(|counts| counts.alone))?;
    let help = "Clients (addresses, keys, values) that a rate limit forgot although they were not idle, because there were too many";
    family(encoder, "rate_limit_forgotten_early", help, "limit", row(|counts| counts.forgotten_early))?;
    let help = "Clients (addresses, keys, values) that a rate limit remembers";
    let mut metric = encoder.encode_descriptor("rate_limit_names", help, None, MetricType::Gauge)?;
    for limit in limits.all() {
        let names = approximately(limit.buckets.names());
        ConstGauge::new(names).encode(metric.encode_family(&[("limit", limit.config.name.as_str())])?)?;
    }
    let stats = limits.store().map(|store| store.door().stats.clone());
    let of = |read: fn(&StoreStats) -> u64| stats.as_ref().map_or(0, |stats| read(stats));
    let reachable = stats.as_ref().map_or(f64::NAN, |stats| if stats.is_reachable() { 1.0 } else { 0.0 });
    let help = "1 if the store of shared rate limits answered the last time; not a number: there is none";
    gauge(encoder, "rate_limit_store_reachable", help, reachable)?;
    let help = "Talks with the store of shared rate limits; each tells it of many requests";
    count(encoder, "rate_limit_store_talks", help, of(StoreStats::talks))?;
    let help = "Talks with the store of shared rate limits, and connections to it, that failed";
    count(encoder, "rate_limit_store_failures", help, of(StoreStats::failures))?;
    let waiting: usize = limits.all().map(|limit| limit.waiting()).sum();
    let waiting = waiting + stats.as_ref().map_or(0, |stats| stats.talked_of());
    let help = "Clients (addresses, keys, values) of whose requests the store of shared rate limits has not heard yet";
    gauge(encoder, "rate_limit_store_waiting", help, approximately(waiting))?;
    let trip = stats.as_ref().map_or(f64::NAN, |stats| stats.round_trip().as_secs_f64());
    let help = "How long the last talk with the store of shared rate limits took; no request waits for it";
    gauge(encoder, "rate_limit_store_round_trip_seconds", help, trip)
}

/// Seconds since `at`; not a number where there is none.
fn age_of(at: Option<Instant>) -> f64 {
    at.map_or(f64::NAN, |at| at.elapsed().as_secs_f64())
}

fn holds(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let view = state.view.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let mut metric = encoder.encode_descriptor(
        "holds",
        "Endpoints served although the registry does not name them, by reason",
        None,
        MetricType::Gauge,
    )?;
    for (reason, count) in by_reason(&view) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        ConstGauge::new(approximately(count)).encode(metric.encode_family(&[("reason", reason)])?)?;
    }
    let ended = view.holds_ended().map(|(end, count)| (end.as_str(), count));
    family(encoder, "holds_ended", "Ends of holds by how they ended", "how", ended)?;
    let ages = || {
        let age = |proof| now.saturating_duration_since(proof).as_secs_f64();
        view.services().map(move |(name, service)| (name.as_str(), age(service.last_proof)))
    };
    let oldest = ages().map(|(_, age)| age).fold(0.0, f64::max);
    let help = "Time since the registry last vouched for the service that it vouched for the longest ago";
    gauge(encoder, "registry_oldest_service_proof_age_seconds", help, oldest)?;
    let help = "Time since the registry last vouched for a service";
    let mut metric = encoder.encode_descriptor("service_proof_age_seconds", help, None, MetricType::Gauge)?;
    for (name, age) in ages().take(SERVICES_SHOWN) {
        ConstGauge::new(age).encode(metric.encode_family(&[("service", name)])?)?;
    }
    Ok(())
}

fn health(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let stats = &state.health;
    family(encoder, "health_checks", "Checks of endpoints by result", "result", stats.checks())?;
    family(
        encoder,
        "ejections",
        "Endpoints left out because of what came of requests, by reason",
        "reason",
        stats.ejections(),
    )?;
    count(
        encoder,
        "ejections_refused",
        "Endpoints that failed requests and stayed, because too many were out or it was the last good one",
        stats.ejections_refused.get(),
    )?;
    let table = state.published.load();
    let mut counts = [0_usize; Verdict::LABELS.len()];
    for endpoint in table.services.iter().flat_map(|service| &service.all) {
        let label = endpoint.health.shown().verdict.label();
        if let Some((_, count)) = Verdict::LABELS.iter().zip(&mut counts).find(|(l, _)| **l == label) {
            *count += 1;
        }
    }
    let help = "Endpoints in the table by what is thought of their health";
    let mut metric = encoder.encode_descriptor("endpoints_by_verdict", help, None, MetricType::Gauge)?;
    for (label, count) in Verdict::LABELS.into_iter().zip(counts) {
        ConstGauge::new(approximately(count)).encode(metric.encode_family(&[("verdict", label)])?)?;
    }
    Ok(())
}

fn services(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let table = state.published.load();
    let shown = || table.services.iter().take(SERVICES_SHOWN);
    let mut metric = encoder.encode_descriptor(
        "service_responses",
        "Answers of a service by class of status",
        None,
        MetricType::Counter,
    )?;
    for service in shown() {
        for class in StatusClass::all() {
            let labels = [("service", service.name.as_str()), ("class", class.label())];
            ConstCounter::new(service.stats.answers(class)).encode(metric.encode_family(&labels)?)?;
        }
    }
    let help = "Time to the answers' heads of a service, summed up";
    let mut metric = encoder.encode_descriptor("service_head_seconds", help, None, MetricType::Counter)?;
    for service in shown() {
        ConstCounter::new(service.stats.head_seconds()).encode(metric.encode_family(&labels(service))?)?;
    }
    let mut metric = encoder.encode_descriptor(
        "service_retries",
        "Attempts beyond the first for a service",
        None,
        MetricType::Counter,
    )?;
    for service in shown() {
        ConstCounter::new(service.stats.retries()).encode(metric.encode_family(&labels(service))?)?;
    }
    Ok(())
}

/// By listener; the reasons that never happened are left out, or a scrape would be mostly zeroes.
fn tls(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let listeners = state.tls.all();
    let help = "TLS handshakes that succeeded, by kind";
    let mut metric = encoder.encode_descriptor("tls_handshakes", help, None, MetricType::Counter)?;
    for tls in &*listeners {
        for (kind, number) in tls.stats.successes() {
            let labels = [("listener", tls.name.as_str()), ("kind", kind)];
            ConstCounter::new(number).encode(metric.encode_family(&labels)?)?;
        }
    }
    let help = "TLS handshakes that came to nothing, by reason";
    let mut metric = encoder.encode_descriptor("tls_handshake_failures", help, None, MetricType::Counter)?;
    for tls in &*listeners {
        for (reason, number) in tls.stats.failures().filter(|(_, number)| *number > 0) {
            let labels = [("listener", tls.name.as_str()), ("reason", reason)];
            ConstCounter::new(number).encode(metric.encode_family(&labels)?)?;
        }
    }
    let help = "Changes of certificate files, by whether all of them could be used";
    let mut metric = encoder.encode_descriptor("tls_swaps", help, None, MetricType::Counter)?;
    for tls in &*listeners {
        for (outcome, number) in tls.stats.swaps() {
            let labels = [("listener", tls.name.as_str()), ("outcome", outcome)];
            ConstCounter::new(number).encode(metric.encode_family(&labels)?)?;
        }
    }
    let help = "Time until a certificate chain ends; below zero: since when it is over";
    let mut metric =
        encoder.encode_descriptor("certificate_expiry_seconds", help, None, MetricType::Gauge)?;
    for tls in &*listeners {
        for (file, expires_s) in tls.expiries().into_iter().take(CERTIFICATES_SHOWN) {
            let labels = [("listener", tls.name.as_str()), ("file", file.as_str())];
            ConstGauge::new(seconds_until(expires_s)).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn policies(state: &AdminState, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let policies = state.policies.get();
    let help = "Time until an API key expires; below zero: since when it is over";
    let mut metric = encoder.encode_descriptor("api_key_expiry_seconds", help, None, MetricType::Gauge)?;
    for (key, expires_s) in policies.keys().expiries() {
        ConstGauge::new(seconds_until(expires_s)).encode(metric.encode_family(&[("key", key)])?)?;
    }
    let help = "Readings of an issuer's key set that failed";
    let mut metric = encoder.encode_descriptor("jwks_failures", help, None, MetricType::Counter)?;
    for jwks in policies.published() {
        ConstCounter::new(jwks.stats().0).encode(metric.encode_family(&[("issuer", jwks.name.as_str())])?)?;
    }
    let help =
        "Age of an issuer's key set; past `max_stale`, and while there is none, its tokens are refused";
    let mut metric = encoder.encode_descriptor("jwks_age_seconds", help, None, MetricType::Gauge)?;
    for jwks in policies.published() {
        let Some(age) = jwks.stats().1 else { continue };
        ConstGauge::new(age.as_secs_f64())
            .encode(metric.encode_family(&[("issuer", jwks.name.as_str())])?)?;
    }
    Ok(())
}

/// Seconds from now to `unix_s`; exact for decades.
fn seconds_until(unix_s: u64) -> f64 {
    let now_s = vertice_process::clock::unix_ms() / 1000;
    let seconds = |span: u64| approximately(usize::try_from(span).unwrap_or(usize::MAX));
    if unix_s >= now_s { seconds(unix_s - now_s) } else { -seconds(now_s - unix_s) }
}

fn labels(service: &Service) -> [(&'static str, &str); 1] {
    [("service", service.name.as_str())]
}

/// A gauge's number; exact up to 2^32, which no count here reaches.
fn approximately(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
