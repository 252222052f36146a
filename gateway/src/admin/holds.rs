//! `/holds`: what is served although the registry does not name it; `POST /holds/release` lets it go.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;
use vertice_process::answer::{self, Answer};
use vertice_registry_api::{InstanceId, ServiceName};
use vertice_registry_client::{HoldReason, SeenInstance, View};

use super::AdminState;
use super::guard::{not_a_change, refuse};
use crate::discovery::release::Release;

/// Holds that are listed; more are only counted. A page for a person.
const LISTED: usize = 1000;

/// The page.
pub fn show(state: &AdminState) -> Value {
    let view = state.view.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    json!({
        "held": view.held().count(),
        "by_reason": by_reason(&view).into_iter().map(|(reason, count)| (reason.to_owned(), count.into())).collect::<serde_json::Map<_, _>>(),
        "ended": view.holds_ended().map(|(end, count)| (end.as_str().to_owned(), count.into())).collect::<serde_json::Map<_, _>>(),
        "holds": view.held().take(LISTED).map(|(name, seen)| row(name, seen, now)).collect::<Vec<_>>(),
    })
}

/// Held instances by reason, every reason listed. A stale one keeps the reason that it was held for.
pub fn by_reason(view: &View) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<_, u64> =
        HoldReason::ALL.into_iter().map(|reason| (reason.as_str(), 0)).collect();
    for hold in view.held().filter_map(|(_, seen)| seen.hold) {
        *counts.entry(hold.reason.as_str()).or_default() += 1;
    }
    counts
}

fn row(name: &ServiceName, seen: &SeenInstance, now: Instant) -> Value {
    let Some(hold) = seen.hold else { return Value::Null };
    let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
    json!({
        "service": name.as_str(),
        "instance": seen.instance.instance_id.as_str(),
        "url": seen.instance.url.to_string(),
        "reason": hold.reason.as_str(),
        "age_seconds": seconds(hold.since),
        "last_proof_age_seconds": seconds(hold.last_proof),
        "ends_in_seconds": hold.ends().map(|ends| ends.saturating_duration_since(now).as_secs()),
        "stale": hold.stale,
        "second_read_agreed": hold.confirmed,
        "answers_probes": hold.last_probe,
    })
}

/// `POST /holds/release?service=S&instance=I`, `?service=S` or `?all=true`.
pub async fn release(state: &AdminState, request: &Request<Incoming>) -> Answer {
    if let Some(refused) = not_a_change(request) {
        return refused;
    }
    let (service, instance) = match parse(request.uri().query().unwrap_or_default()) {
        Ok(meant) => meant,
        Err(detail) => return refuse(StatusCode::BAD_REQUEST, &detail),
    };
    let (reply, released) = oneshot::channel();
    let busy = "discovery does not answer; try again";
    if state.releases.try_send(Release { service, instance, reply }).is_err() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, busy);
    }
    let Ok(released) = released.await else { return refuse(StatusCode::SERVICE_UNAVAILABLE, busy) };
    for one in &released {
        tracing::info!(service = %one.service, instance = %one.instance_id, "an operator let a held instance go");
    }
    let status = if released.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let rows: Vec<_> = released
        .iter()
        .map(|one| json!({"service": one.service.as_str(), "instance": one.instance_id.as_str()}))
        .collect();
    answer::json(status, json!({"released": rows}).to_string() + "\n")
}

type Meant = (Option<ServiceName>, Option<InstanceId>);

fn parse(query: &str) -> Result<Meant, String> {
    let (mut service, mut instance, mut all) = (None, None, false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8().map_err(|_| format!("{key}: not UTF-8"))?;
        match key {
            "service" => {
                service = Some(ServiceName::parse(&value).map_err(|rule| format!("service: {rule}"))?);
            }
            "instance" => {
                instance = Some(InstanceId::parse(&value).map_err(|rule| format!("instance: {rule}"))?);
            }
            "all" if value == "true" => all = true,
            other => {
                return Err(format!(
                    "unknown parameter {other}={value}: service, instance and all=true are known"
                ));
            }
        }
    }
    match (&service, &instance, all) {
        (None, None, true) | (Some(_), _, false) => Ok((service, instance)),
        (None, Some(_), _) => Err("instance: its service is missing".into()),
        (None, None, false) => Err("say which: service=S, service=S&instance=I, or all=true".into()),
        (Some(_), _, true) => Err("all=true and a service are both given: keep one".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_which() {
        let name = |text: &str| Some(ServiceName::parse(text).unwrap());
        let id = |text: &str| Some(InstanceId::parse(text).unwrap());
        assert_eq!(parse("all=true"), Ok((None, None)));
        assert_eq!(parse("service=core"), Ok((name("core"), None)));
        assert_eq!(parse("service=core&instance=10.0.0.7%3A80"), Ok((name("core"), id("10.0.0.7:80"))));
        for bad in ["", "all=1", "instance=a", "service=core&all=true", "service=A%20B", "services=core"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
