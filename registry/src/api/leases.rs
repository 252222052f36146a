//! `GET /v1/leases`: what is registered with its ages, for operators.

use http::{Request, StatusCode};
use serde_json::{Map, Value, json};
use vertice_process::answer::Answer;

use super::refused::{self, Refused};
use super::shared::Shared;
use super::{admit, query};
use crate::auth::Verb;
use crate::store::LeaseView;

/// Leases in one answer: more than a person reads, and less than a lock should be held for.
const MAX_LEASES: usize = 10_000;

pub(super) fn answer<B>(
    shared: &Shared,
    request: &Request<B>,
    query: Option<&str>,
) -> Result<Answer, Refused> {
    admit(shared, request, Verb::Read)?;
    let service = query::text(query, "service")?;
    let (position, state, preserving, leases, total) = {
        let mut store = shared.store();
        let now = shared.now();
        let (leases, total) = store.leases(service.as_deref(), MAX_LEASES, now);
        (store.position(), store.state(), store.preserving_for(now), leases, total)
    };
    let rows: Vec<Value> = leases.iter().map(|lease| row(shared, lease)).collect();
    let body = json!({
        "epoch": position.epoch,
        "revision": position.revision,
        "state": state,
        "preserving_for_s": preserving.map(|since| since.as_secs()),
        "total": total,
        "leases": rows,
    });
    Ok(refused::json(StatusCode::OK, &body))
}

fn row(shared: &Shared, lease: &LeaseView) -> Value {
    let instance = &lease.instance;
    let mut row = Map::new();
    row.insert("instance".into(), serde_json::to_value(&**instance).unwrap_or_default());
    row.insert("beat_age_s".into(), lease.since_beat.as_secs().into());
    row.insert("expires_in_s".into(), lease.expires_in.as_secs().into());
    for (key, duration) in [
        ("stale_for_s", lease.stale_for),
        ("drains_in_s", lease.drains_in),
        ("quarantined_for_s", lease.quarantined_for),
    ] {
        if let Some(duration) = duration {
            row.insert(key.into(), duration.as_secs().into());
        }
    }
    let (service, id) = (instance.service.as_str(), instance.instance_id.as_str());
    let rejects = shared.rejects_of(service, id, Some(instance.generation));
    if !rejects.is_empty() {
        row.insert("rejects".into(), json!(rejects));
    }
    Value::Object(row)
}
