//! `/v1/services/{s}/instances/{id}`: register, change, deregister one instance.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use vertice_process::answer::Answer;
use vertice_registry_api::register::{RegisterAnswer, Registration, parse_status};
use vertice_registry_api::{FieldError, InstanceId, Status, limits};

use super::operator::{self, Done};
use super::refused::{self, Refused};
use super::shared::Shared;
use super::{admit, body, old, query};
use crate::auth::{Principal, Verb};
use crate::store::{Patch, Registrant};

/// Longest time that draining may be given, in seconds: an hour, as for leases.
const MAX_DEADLINE_S: u64 = 3600;

/// `PUT`: 201 for a new instance, 200 for one that was there.
pub(super) async fn put(
    shared: &Shared,
    request: Request<Incoming>,
    service: &str,
    id: &str,
) -> Result<Answer, Refused> {
    let principal = admit(shared, &request, Verb::Register)?;
    let (service, id) = (old::service_name(service)?, instance_id(id)?);
    let body = body::read(request.into_body(), limits::INSTANCE_BODY_BYTES).await?;
    let wanted = Registration::from_put_body(service, id, &body).map_err(Refused::Fields)?;
    let (answer, created) = register(shared, principal, wanted, "url").await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(refused::json(status, &answer))
}

/// Judges and stores `wanted`, whose URL came in the field `url_field`. Also whether it is new.
pub(super) async fn register(
    shared: &Shared,
    principal: Principal<'_>,
    wanted: Registration,
    url_field: &str,
) -> Result<(RegisterAnswer, bool), Refused> {
    own(principal, wanted.service.as_str())?;
    shared
        .policy
        .judge(&wanted.url)
        .map_err(|why| Refused::field(FieldError::body(url_field, "value", why)))?;
    let (service, instance_id) = (wanted.service.clone(), wanted.instance_id.clone());
    let by = Registrant { name: principal.name, limited: principal.is_one_of_many() };
    let (registered, position) = shared.register(wanted, by).await?;
    let registered =
        registered.map_err(|refusal| Refused::by_store(&refusal, service.as_str(), instance_id.as_str()))?;
    if registered.changed {
        tracing::debug!(%service, instance = %instance_id, by = principal.name, "registered");
    }
    let rejects = shared.rejects_of(service.as_str(), instance_id.as_str(), Some(registered.generation));
    let answer = RegisterAnswer {
        message: format!("Service '{service}' registered"),
        service_name: service,
        instance_id,
        generation: registered.generation,
        handle: registered.handle,
        ttl: registered.ttl_s,
        // Two beats may be lost before the lease is over.
        heartbeat_interval: (registered.ttl_s / 3).max(1),
        epoch: position.epoch,
        revision: position.revision,
        rejects,
    };
    Ok((answer, registered.created))
}

/// `PATCH ?generation=G`: what the owner or an operator changes.
pub(super) async fn patch(
    shared: &Shared,
    request: Request<Incoming>,
    service: &str,
    id: &str,
    query: Option<&str>,
) -> Result<Answer, Refused> {
    // The body tells which verb is wanted, so any known token comes in, and the verb is asked for below.
    let registers = admit(shared, &request, Verb::Register);
    let administers = admit(shared, &request, Verb::Admin);
    let principal = match (&registers, &administers) {
        (Ok(principal), _) | (_, Ok(principal)) => *principal,
        (Err(refused), Err(_)) => return Err(refused.clone()),
    };
    let (service, id) = (old::service_name(service)?, instance_id(id)?);
    own(principal, service.as_str())?;
    let from = operator::peer(&request);
    let body = body::read(request.into_body(), limits::INSTANCE_BODY_BYTES).await?;
    let patch = read_patch(&body).map_err(Refused::Fields)?;
    let owners = patch.status.is_some() || patch.weight.is_some();
    if owners {
        registers?;
    }
    if patch.status_override.is_some() {
        administers?;
    }
    // An operator means whoever is there; an owner must prove that it still is the owner.
    let generation = if owners {
        Some(query::required(query, "generation", "the generation that register returned")?)
    } else {
        query::parsed(query, "generation", "a whole number")?
    };
    let (before, (patched, position)) =
        shared.patch(service.as_str(), id.as_str(), generation, &patch).await?;
    let generation = patched.map_err(|refusal| Refused::by_store(&refusal, service.as_str(), id.as_str()))?;
    tracing::debug!(%service, instance = %id, by = principal.name, ?patch, "changed");
    if let (Some(after), Some(instance)) = (patch.status_override, before) {
        let done = Done {
            action: "override",
            before: operator::word(instance.status_override),
            instance: Some(&*instance),
            after: operator::word(after),
            revision: position.revision,
        };
        operator::note(&shared.audit, principal, from, done);
    }
    let body = json!({
        "message": format!("Instance '{id}' of service '{service}' changed"),
        "generation": generation,
        "epoch": position.epoch,
        "revision": position.revision,
    });
    Ok(refused::json(StatusCode::OK, &body))
}

/// `DELETE ?generation=G`: 200, also when there is nothing (any more).
pub(super) async fn delete<B>(
    shared: &Shared,
    request: &Request<B>,
    service: &str,
    id: &str,
    query: Option<&str>,
) -> Result<Answer, Refused> {
    let principal = admit(shared, request, Verb::Register)?;
    let (service, id) = (old::service_name(service)?, instance_id(id)?);
    own(principal, service.as_str())?;
    let generation = query::required(query, "generation", "the generation that register returned")?;
    let (removed, position) = shared.deregister(service.as_str(), id.as_str(), Some(generation)).await?;
    let removed = removed.map_err(|refusal| Refused::by_store(&refusal, service.as_str(), id.as_str()))?;
    if removed {
        tracing::debug!(%service, instance = %id, by = principal.name, "deregistered");
    }
    let body = json!({
        "message": format!("Instance '{id}' of service '{service}' {}", if removed { "deregistered" } else { "was not registered" }),
        "removed": removed,
        "epoch": position.epoch,
        "revision": position.revision,
    });
    Ok(refused::json(StatusCode::OK, &body))
}

/// 403 unless `principal` may write about `service`.
pub(super) fn own(principal: Principal<'_>, service: &str) -> Result<(), Refused> {
    if principal.may(service) {
        return Ok(());
    }
    let who = principal.name;
    Err(Refused::Forbidden(format!("the token of '{who}' is not for the service '{service}'")))
}

pub(super) fn instance_id(text: &str) -> Result<InstanceId, Refused> {
    InstanceId::parse(text).map_err(|error| Refused::field(FieldError::path("id", error.0)))
}

/// A patch out of its body; unknown keys are mistakes, because a change that does nothing would look done.
fn read_patch(body: &[u8]) -> Result<Patch, Vec<FieldError>> {
    let object: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| vec![FieldError::json(format!("the body is not a JSON object: {error}"))])?;
    let mut patch = Patch::default();
    let mut errors = Vec::new();
    for (key, value) in &object {
        let read = match key.as_str() {
            "status" => status(value).map(|status| patch.status = Some(status)),
            "weight" => {
                whole(value, 0..=limits::MAX_WEIGHT.into()).map(|n| patch.weight = u16::try_from(n).ok())
            }
            "deadline_s" => {
                whole(value, 1..=MAX_DEADLINE_S).map(|n| patch.deadline_s = u32::try_from(n).ok())
            }
            "override" if value.is_null() => {
                patch.status_override = Some(None);
                Ok(())
            }
            "override" => status(value).map(|status| patch.status_override = Some(Some(status))),
            _ => Err("unknown field; the fields are status, weight, deadline_s, override".to_owned()),
        };
        if let Err(why) = read {
            errors.push(FieldError::body(key, "value", why));
        }
    }
    if errors.is_empty() && object.is_empty() {
        errors.push(FieldError::json("the body changes nothing: give status, weight or override"));
    }
    if errors.is_empty() && patch.deadline_s.is_some() && patch.status != Some(Status::Draining) {
        errors.push(FieldError::body("deadline_s", "value", "goes with \"status\": \"draining\" only"));
    }
    if errors.is_empty() { Ok(patch) } else { Err(errors) }
}

fn status(value: &Value) -> Result<Status, String> {
    let word = value.as_str().ok_or("a string is wanted")?;
    parse_status(word).map_err(|error| error.0)
}

fn whole(value: &Value, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    value
        .as_u64()
        .filter(|n| range.contains(n))
        .ok_or_else(|| format!("a whole number from {} to {} is wanted", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_by_rule() {
        let drain = read_patch(br#"{"status":"draining","deadline_s":30}"#).unwrap();
        assert_eq!((drain.status, drain.deadline_s), (Some(Status::Draining), Some(30)));
        assert_eq!(read_patch(br#"{"override":null}"#).unwrap().status_override, Some(None));
        let down = read_patch(br#"{"override":"down"}"#).unwrap();
        assert_eq!(down.status_override, Some(Some(Status::Down)));
        assert_eq!(read_patch(br#"{"weight":0}"#).unwrap().weight, Some(0));
        for (bad, field) in [
            (r#"{"status":"well"}"#, "status"),
            (r#"{"status":7}"#, "status"),
            (r#"{"weight":1001}"#, "weight"),
            (r#"{"weight":-1}"#, "weight"),
            (r#"{"colour":1}"#, "colour"),
            (r#"{"deadline_s":5}"#, "deadline_s"),
            (r#"{"status":"up","deadline_s":5}"#, "deadline_s"),
            (r#"{"status":"draining","deadline_s":0}"#, "deadline_s"),
            (r#"{"override":"gone"}"#, "override"),
        ] {
            assert_eq!(read_patch(bad.as_bytes()).unwrap_err()[0].loc, ["body", field], "{bad}");
        }
        for bad in ["", "[]", "{}", "7"] {
            assert_eq!(read_patch(bad.as_bytes()).unwrap_err()[0].kind, "json", "{bad}");
        }
    }
}
