//! What operators do beyond overriding: remove an instance, end self-preservation, read what was done by hand.

use std::net::SocketAddr;

use http::{Request, StatusCode};
use serde_json::json;
use vertice_process::answer::Answer;
use vertice_process::clock;
use vertice_registry_api::{Instance, Position, Status};

use super::refused::{self, Refused};
use super::shared::Shared;
use super::{admit, instances, old, query};
use crate::audit::{Audit, Entry};
use crate::auth::{Principal, Verb};

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What was done to which instance.
pub(super) struct Done<'d> {
    pub(super) action: &'static str,
    pub(super) instance: Option<&'d Instance>,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) revision: vertice_registry_api::Revision,
}

/// Writes into the audit what `principal` did.
pub(super) fn note(audit: &Audit, principal: Principal<'_>, from: Option<Peer>, done: Done<'_>) {
    audit.note(Entry {
        at_ms: clock::unix_ms(),
        who: principal.name.to_owned(),
        from: from.map(|Peer(address)| address),
        action: done.action.to_owned(),
        service: done.instance.map(|instance| instance.service.to_string()),
        instance_id: done.instance.map(|instance| instance.instance_id.to_string()),
        generation: done.instance.map(|instance| instance.generation),
        before: done.before,
        after: done.after,
        revision: done.revision,
    });
}

pub(super) fn peer<B>(request: &Request<B>) -> Option<Peer> {
    request.extensions().get().copied()
}

/// An override as it is shown.
pub(super) fn word(status: Option<Status>) -> String {
    status.map_or("none", Status::as_str).to_owned()
}

/// `DELETE /v1/services/{s}/instances/{id}?by=operator`: whoever holds it, unless `generation` says who.
pub(super) async fn remove<B>(
    shared: &Shared,
    request: &Request<B>,
    service: &str,
    id: &str,
    query: Option<&str>,
) -> Result<Answer, Refused> {
    let principal = admit(shared, request, Verb::Admin)?;
    let (service, id) = (old::service_name(service)?, instances::instance_id(id)?);
    instances::own(principal, service.as_str())?;
    let generation = query::parsed(query, "generation", "a whole number")?;
    let (before, (removed, position)) =
        shared.remove_by_operator(service.as_str(), id.as_str(), generation).await?;
    let removed = removed
        .map(|removed| before.filter(|_| removed))
        .map_err(|refusal| Refused::by_store(&refusal, service.as_str(), id.as_str()))?;
    if let Some(instance) = &removed {
        let before = format!("{} {}", instance.effective_status().as_str(), instance.url);
        let done = Done {
            action: "remove",
            instance: Some(instance),
            before,
            after: "absent".into(),
            revision: position.revision,
        };
        note(&shared.audit, principal, peer(request), done);
    }
    let Position { epoch, revision } = position;
    let did = if removed.is_some() { "removed" } else { "was not registered" };
    let message = format!("Instance '{id}' of service '{service}' {did}");
    let removed = removed.is_some();
    let body = json!({ "message": message, "removed": removed, "epoch": epoch, "revision": revision });
    Ok(refused::json(StatusCode::OK, &body))
}

/// `POST /v1/release`: self-preservation ends. It concerns all names, so a token for some is not enough.
pub(super) async fn release<B>(shared: &Shared, request: &Request<B>) -> Result<Answer, Refused> {
    let principal = admit(shared, request, Verb::Admin)?;
    if !principal.may_all() {
        let who = principal.name;
        return Err(Refused::Forbidden(format!(
            "self-preservation concerns all services, and the token of '{who}' is not for all names"
        )));
    }
    let (released, stale, position) = shared.release().await?;
    if released {
        let before = format!("preserving, {stale} stale");
        let after = "serving".into();
        let done = Done { action: "release", instance: None, before, after, revision: position.revision };
        note(&shared.audit, principal, peer(request), done);
    }
    Ok(refused::json(StatusCode::OK, &json!({ "released": released, "stale": stale })))
}

/// `GET /v1/audit`: the last changes by hand, as far as the token is for their services.
pub(super) fn audit<B>(shared: &Shared, request: &Request<B>) -> Result<Answer, Refused> {
    let principal = admit(shared, request, Verb::Admin)?;
    let may_see = |entry: &Entry| entry.service.as_deref().is_none_or(|service| principal.may(service));
    Ok(refused::json(StatusCode::OK, &json!({ "changes": shared.audit.recent(may_see) })))
}
