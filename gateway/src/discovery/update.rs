//! What the table is told of one service: the registry's instances, or the operator's fall-back where there are none.

use std::collections::BTreeMap;

use tokio::time::Instant;
use vertice_config::gateway::FallbackUrl;
use vertice_registry_api::{HealthPath, InstanceId, ServiceName, Status};
use vertice_registry_client::{SeenInstance, View};

use super::stale::StaleRule;
use crate::table::compile::ServiceUpdate;
use crate::table::{CheckKind, EndpointSpec, EndpointUrl, Origin, Protocol};

/// Fall-back URLs by service, from the configuration and the environment.
pub type Fallbacks = BTreeMap<ServiceName, Vec<FallbackUrl>>;

/// All that is known of `name` now.
pub fn of(
    name: &ServiceName,
    view: &View,
    fallbacks: &Fallbacks,
    rule: &StaleRule,
    now: Instant,
) -> ServiceUpdate {
    let doubt = view.service(name).and_then(|service| rule.doubt(service, now));
    let seen =
        view.service(name).map(|service| service.instances.values().map(registered).collect::<Vec<_>>());
    let endpoints = match seen {
        Some(endpoints) if !endpoints.is_empty() => endpoints,
        _ => fallbacks
            .get(name)
            .map(|urls| urls.iter().map(|url| written(name, url)).collect())
            .unwrap_or_default(),
    };
    ServiceUpdate { name: name.clone(), endpoints, doubt }
}

fn registered(seen: &SeenInstance) -> EndpointSpec {
    let instance = &seen.instance;
    let held = match (&seen.hold, instance.stale) {
        (Some(hold), _) => Some(hold.reason.as_str().to_owned()),
        (None, true) => Some("stale".to_owned()),
        (None, false) => None,
    };
    EndpointSpec {
        instance_id: instance.instance_id.clone(),
        url: instance.url.clone().into(),
        health: instance.health_endpoint.clone(),
        check: match instance.metadata.get("health") {
            Some("tcp") => CheckKind::Tcp,
            // A gRPC server has no pages.
            None if instance.metadata.get("protocol") == Some("grpc") => CheckKind::Tcp,
            Some("grpc") => {
                let service = instance.metadata.get("grpc_service").unwrap_or_default();
                CheckKind::Grpc { service: service.into() }
            }
            _ => CheckKind::Http,
        },
        protocol: Protocol::of(&instance.metadata),
        weight: instance.weight,
        status: instance.effective_status(),
        version: instance.version.as_deref().map(str::to_owned),
        held,
        origin: Origin::Registry {
            registered_by: instance.registered_by.to_string(),
            registered_at_ms: instance.registered_at_ms,
        },
    }
}

fn written(name: &ServiceName, url: &FallbackUrl) -> EndpointSpec {
    let (place, url) = match url {
        FallbackUrl::Http(url) => (url.authority(), EndpointUrl::Http(url.clone())),
        FallbackUrl::Unix(path) => (
            path.to_string().replace('/', ":"),
            EndpointUrl::Unix { path: path.clone(), service: name.clone() },
        ),
    };
    // The id only has to be unique within the service; an authority with brackets is no id, its digits are.
    let id: String = place.chars().filter(|c| c.is_ascii_alphanumeric() || ".:_-".contains(*c)).collect();
    EndpointSpec {
        instance_id: InstanceId::parse(&id).unwrap_or_else(|_| InstanceId::legacy()),
        url,
        health: HealthPath::default(),
        check: CheckKind::Http,
        protocol: Protocol::Http1,
        weight: vertice_registry_api::limits::DEFAULT_WEIGHT,
        status: Status::Up,
        version: None,
        held: None,
        origin: Origin::Operator,
    }
}

/// How long ago the registry last vouched for `name`.
pub fn age_seconds(name: &ServiceName, view: &View) -> Option<f64> {
    view.service(name)
        .map(|service| Instant::now().saturating_duration_since(service.last_proof).as_secs_f64())
}
