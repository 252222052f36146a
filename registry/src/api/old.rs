//! The old calls, for clients that exist: register, deregister, and the two reads. (The heartbeat has its own file.)

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use vertice_process::answer::{self, Answer};
use vertice_process::clock;
use vertice_registry_api::legacy::ServiceView;
use vertice_registry_api::name::LEGACY_INSTANCE;
use vertice_registry_api::register::Registration;
use vertice_registry_api::{FieldError, ServiceName, limits};

use super::refused::{Refused, json};
use super::shared::{Shared, has, stamped};
use super::{admit, body, instances, query};
use crate::auth::Verb;
use crate::store::Shown;

/// `POST /register`: always 201, as it always was.
pub(super) async fn register(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refused> {
    let principal = admit(shared, &request, Verb::Register)?;
    let body = body::read(request.into_body(), limits::INSTANCE_BODY_BYTES).await?;
    let wanted = Registration::from_old_body(&body).map_err(Refused::Fields)?;
    let (answer, _) = instances::register(shared, principal, wanted, "endpoint").await?;
    Ok(json(StatusCode::CREATED, &answer))
}

/// `DELETE /deregister/{name}`: 200, also when there is nothing to remove.
pub(super) async fn deregister<B>(
    shared: &Shared,
    request: &Request<B>,
    service: &str,
    query: Option<&str>,
) -> Result<Answer, Refused> {
    let principal = admit(shared, request, Verb::Register)?;
    let id = query::text(query, "instance_id")?;
    let generation = match id.as_deref() {
        None | Some(LEGACY_INSTANCE) => query::parsed(query, "generation", "a whole number")?,
        Some(_) => Some(query::required(query, "generation", "the generation that register returned")?),
    };
    // Any string is accepted here, as it always was: what cannot be registered is absent.
    if ServiceName::parse(service).is_ok() {
        instances::own(principal, service)?;
    }
    let id = id.as_deref().unwrap_or(LEGACY_INSTANCE);
    let (removed, _) = shared.deregister(service, id, generation).await?;
    let removed = removed.map_err(|refusal| Refused::by_store(&refusal, service, id))?;
    let message = if removed { "deregistered" } else { "was not registered" };
    let body = json!({ "message": format!("Service '{service}' {message}"), "service_name": service });
    Ok(json(StatusCode::OK, &body))
}

/// `GET /services`: the sorted names.
pub(super) fn services<B>(shared: &Shared, request: &Request<B>) -> Result<Answer, Refused> {
    admit(shared, request, Verb::Read)?;
    let store = shared.store();
    let (position, state) = (store.position(), store.state());
    if has(request, position) {
        return Ok(stamped(answer::empty(StatusCode::NOT_MODIFIED), position, state, true));
    }
    let names: Vec<ServiceName> = store.names().cloned().collect();
    drop(store);
    Ok(stamped(json(StatusCode::OK, &names), position, state, true))
}

/// `GET /services/{name}`: one endpoint, as it always was, and all instances.
pub(super) fn service<B>(shared: &Shared, request: &Request<B>, service: &str) -> Result<Answer, Refused> {
    admit(shared, request, Verb::Read)?;
    let mut store = shared.store();
    let (position, state) = (store.position(), store.state());
    let view = store.view(service, shared.now());
    drop(store);
    let view = view.ok_or_else(|| Refused::NotFound(format!("Service '{service}' not found")))?;
    let shown = view.shown.ok_or_else(|| {
        let count = view.instances.len();
        Refused::NotFound(format!("Service '{service}' not found: none of its {count} instances is up"))
    })?;
    let mut body = show(&shown);
    body.instances = view.instances.iter().map(|instance| (**instance).clone()).collect();
    Ok(stamped(json(StatusCode::OK, &body), position, state, false))
}

fn show(shown: &Shown) -> ServiceView {
    let instance = &shown.instance;
    let since_1970 = clock::since_1970().saturating_sub(shown.since_beat);
    ServiceView {
        service_name: instance.service.as_str().to_owned(),
        endpoint: instance.url.to_string(),
        health_endpoint: instance.health_endpoint.as_str().to_owned(),
        metadata: instance.metadata.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        registered_at: std::time::Duration::from_millis(instance.registered_at_ms).as_secs_f64(),
        last_heartbeat: since_1970.as_secs_f64(),
        ttl_remaining: shown.ttl_remaining_s,
        instances: Vec::new(),
    }
}

/// A service's name out of a path, checked.
pub(super) fn service_name(text: &str) -> Result<ServiceName, Refused> {
    ServiceName::parse(text).map_err(|error| Refused::field(FieldError::path("service", error.0)))
}
