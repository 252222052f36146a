//! `/services`: every endpoint with its state, who registered it and when, and how old the truth about it is.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use super::AdminState;
use crate::discovery::update::age_seconds;
use crate::health::EndpointHealth;
use crate::table::{Endpoint, Origin, Service};

/// All services by name.
pub fn show(state: &AdminState) -> Value {
    let table = state.published.load();
    let mut services: Vec<_> = table.services.iter().cloned().collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let ages: Vec<Option<f64>> = {
        let view = state.view.lock().unwrap_or_else(PoisonError::into_inner);
        services.iter().map(|service| age_seconds(&service.name, &view)).collect()
    };
    let rows: Vec<_> = services.iter().zip(ages).map(|(service, age)| service_json(service, age)).collect();
    json!({
        "generation": table.generation,
        "registry": {"url": state.registry_url.to_string(), "source": state.published.freshness().as_json()},
        "services": rows,
    })
}

/// One service; `age` since the registry last vouched for it.
pub fn service_json(service: &Service, age: Option<f64>) -> Value {
    json!({
        "name": service.name.as_str(),
        "last_proof_age_seconds": age.map(|age| (age * 1000.0).round() / 1000.0),
        "stale_seconds": service.stale_seconds(),
        "stale": service.doubt.is_some_and(|doubt| doubt.stale),
        "endpoints": service.all.iter().map(|endpoint| endpoint_json(endpoint)).collect::<Vec<_>>(),
    })
}

fn endpoint_json(endpoint: &Endpoint) -> Value {
    let spec = &endpoint.spec;
    let (origin, registered_by, registered_at) = match &spec.origin {
        Origin::Operator => ("configuration", None, None),
        Origin::Registry { registered_by, registered_at_ms } => {
            let at = i64::try_from(*registered_at_ms)
                .ok()
                .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            ("registry", Some(registered_by.as_str()), at.map(|at| at.to_string()))
        }
    };
    json!({
        "instance": spec.instance_id.as_str(),
        "url": spec.url.to_string(),
        "protocol": spec.protocol.as_str(),
        "status": spec.status.as_str(),
        "takes_requests": endpoint.takes_requests(),
        "health": health_json(&endpoint.health),
        "weight": spec.weight,
        "version": spec.version,
        "held": spec.held,
        "origin": origin,
        "registered_by": registered_by,
        "registered_at": registered_at,
    })
}

fn health_json(health: &EndpointHealth) -> Value {
    let shown = health.shown();
    json!({
        "verdict": shown.verdict.label(),
        "reason": shown.verdict.reason(),
        "since_seconds": seconds(shown.since.elapsed()),
        // What it gets of its usual share: it warms up below 100, and one that is bad gets something when too many are.
        "share_percent": health.share().as_percent(),
        "last_check": shown.last_check.map(|(result, at)| json!({
            "result": result.label(),
            "status": result.status(),
            "age_seconds": seconds(at.elapsed()),
        })),
    })
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
