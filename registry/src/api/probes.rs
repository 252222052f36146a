//! `POST /v1/probes`: a gateway proves that stale instances are dead, so that they need not be kept to the end.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use vertice_process::answer::Answer;
use vertice_registry_api::probe::{MAX_DEAD, Probes};
use vertice_registry_api::{FieldError, InstanceId, limits};

use super::body::{Field, Kind};
use super::refused::{self, Refused};
use super::shared::Shared;
use super::{admit, body};
use crate::auth::Verb;

const PROBES: [Field; 2] = [
    Field { name: "gateway", kind: Kind::Text, required: true },
    Field { name: "dead", kind: Kind::List, required: true },
];

/// Removes those that are stale and still of the probed generation; the rest is not believed.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refused> {
    // It removes instances, so it wants a token that may write about them. An operator's will do.
    let registers = admit(shared, &request, Verb::Register);
    let principal = registers.or_else(|refused| admit(shared, &request, Verb::Admin).map_err(|_| refused))?;
    let body = body::read(request.into_body(), limits::BATCH_BODY_BYTES).await?;
    let probes: Probes =
        serde_json::from_slice(&body).map_err(|error| body::diagnose(&body, &PROBES, &error))?;
    let gateway = InstanceId::parse(&probes.gateway)
        .map_err(|error| Refused::field(FieldError::body("gateway", "value", error.0)))?;
    if probes.dead.len() > MAX_DEAD {
        let why = format!("{} instances, {MAX_DEAD} are allowed", probes.dead.len());
        return Err(Refused::field(FieldError::body("dead", "limit", why)));
    }
    let mut dead = probes.dead;
    dead.retain(|(service, _, _)| principal.may(service.as_str()));
    let removed = shared.proven_dead(&dead).await?;
    if removed > 0 {
        tracing::info!(%gateway, removed, by = principal.name, "stale instances were proven dead and removed");
    }
    Ok(refused::json(StatusCode::OK, &json!({ "removed": removed })))
}
