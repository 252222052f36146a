//! Heartbeats, one by one and in batches. The most frequent call by far: bodies are borrowed, the lock is held once.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use vertice_process::answer::{self, Answer};
use vertice_registry_api::heartbeat::{BatchAnswer, BatchRequest};
use vertice_registry_api::name::LEGACY_INSTANCE;
use vertice_registry_api::{FieldError, ServiceName, limits};

use super::body::{Field, Kind};
use super::refused::{self, Refused};
use super::shared::Shared;
use super::{admit, body, instances};
use crate::auth::Verb;
use crate::store::Refusal;

/// As in `HeartbeatRequest`, borrowed from the body.
#[derive(Deserialize)]
struct Single<'b> {
    #[serde(borrow)]
    service_name: Text<'b>,
    #[serde(borrow, default)]
    instance_id: Option<Text<'b>>,
    #[serde(default)]
    generation: Option<u64>,
}

/// A string that is borrowed also inside an `Option`, which serde does not do for a bare `Cow`.
#[derive(Deserialize)]
struct Text<'b>(#[serde(borrow)] Cow<'b, str>);

const SINGLE: [Field; 3] = [
    Field { name: "service_name", kind: Kind::Text, required: true },
    Field { name: "instance_id", kind: Kind::Text, required: false },
    Field { name: "generation", kind: Kind::Number, required: false },
];

const BATCH: [Field; 2] = [
    Field { name: "epoch", kind: Kind::Epoch, required: true },
    Field { name: "leases", kind: Kind::Pairs, required: true },
];

/// `POST /heartbeat`: 200, or 404 with the pause after which to register again.
pub(super) async fn single(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refused> {
    let principal = admit(shared, &request, Verb::Register)?;
    let body = body::read(request.into_body(), limits::INSTANCE_BODY_BYTES).await?;
    let single: Single<'_> =
        serde_json::from_slice(&body).map_err(|error| body::diagnose(&body, &SINGLE, &error))?;
    let service = single.service_name.0.as_ref();
    let id = single.instance_id.as_ref().map_or(LEGACY_INSTANCE, |id| id.0.as_ref());
    if id != LEGACY_INSTANCE && single.generation.is_none() {
        let why = "required with instance_id: the generation that register returned";
        return Err(Refused::field(FieldError::body("generation", "missing", why)));
    }
    instances::own(principal, service)?;
    match shared.beat(service, id, single.generation).await? {
        Ok(_) => {
            shared.metrics.renewals.inc();
            // The name is a registered one, so it needs no escapes.
            let mut body = format!(r#"{{"message":"Heartbeat received","service_name":"{service}""#);
            let rejects = shared.rejects_of(service, id, single.generation);
            if !rejects.is_empty() {
                body.push_str(r#","rejects":"#);
                body.push_str(&serde_json::to_string(&rejects).unwrap_or_default());
            }
            body.push('}');
            Ok(answer::json(StatusCode::OK, Bytes::from(body)))
        }
        Err(refusal) => Err(refused_beat(&refusal, service, id)),
    }
}

fn refused_beat(refusal: &Refusal, service: &str, id: &str) -> Refused {
    Refused::by_store(refusal, &short(service), &short(id))
}

/// What a client sent, cut for a message.
fn short(text: &str) -> Cow<'_, str> {
    const SHOWN_CHARS: usize = 128;
    match text.char_indices().nth(SHOWN_CHARS) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", text.get(..end).unwrap_or_default())),
    }
}

/// `POST /v1/heartbeats`: names the handles that have no lease (any more).
pub(super) async fn batch(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refused> {
    let principal = admit(shared, &request, Verb::Register)?;
    let body = body::read(request.into_body(), limits::BATCH_BODY_BYTES).await?;
    let batch: BatchRequest =
        serde_json::from_slice(&body).map_err(|error| body::diagnose(&body, &BATCH, &error))?;
    if batch.leases.len() > limits::BATCH_LEASES {
        let why = format!("{} leases, {} are allowed", batch.leases.len(), limits::BATCH_LEASES);
        return Err(Refused::field(FieldError::body("leases", "limit", why)));
    }
    let may = |service: &ServiceName| principal.may(service.as_str());
    let beaten = shared.beat_batch(batch.epoch, &batch.leases, may)?;
    shared.metrics.renewals.inc_by(beaten.renewed);
    let ttl_s = beaten.shortest_ttl_s.unwrap_or(limits::DEFAULT_TTL_S);
    let answer = BatchAnswer { lost: beaten.lost, next_ms: u64::from(ttl_s) * 1000 / 3 };
    Ok(refused::json(StatusCode::OK, &answer))
}
