//! `POST /v1/ack` and `GET /v1/barrier`: who has applied a revision, and waiting until all have.

use std::sync::PoisonError;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;
use vertice_process::answer::Answer;
use vertice_registry_api::barrier::Ack;
use vertice_registry_api::watch::Gone;
use vertice_registry_api::{Epoch, FieldError, InstanceId, Revision, limits};

use super::body::{Field, Kind};
use super::refused::{self, Refused};
use super::shared::Shared;
use super::{admit, body, query, watch};
use crate::auth::Verb;
use crate::store::acks::MAX_GATEWAYS;

const DEFAULT_TIMEOUT_S: u32 = 10;

const ACK: [Field; 3] = [
    Field { name: "gateway", kind: Kind::Text, required: true },
    Field { name: "epoch", kind: Kind::Epoch, required: true },
    Field { name: "revision", kind: Kind::Number, required: true },
];

/// A gateway says what it has applied, at once after each table.
pub(super) async fn ack(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refused> {
    admit(shared, &request, Verb::Read)?;
    let body = body::read(request.into_body(), limits::INSTANCE_BODY_BYTES).await?;
    let ack: Ack = serde_json::from_slice(&body).map_err(|error| body::diagnose(&body, &ACK, &error))?;
    let gateway = InstanceId::parse(&ack.gateway)
        .map_err(|error| Refused::field(FieldError::body("gateway", "value", error.0)))?;
    let (position, gone) = {
        let store = shared.store();
        (store.position(), watch::gone(&store))
    };
    if ack.epoch != position.epoch {
        return Err(Refused::Gone(gone));
    }
    not_ahead(ack.revision, position.revision)
        .map_err(|why| Refused::field(FieldError::body("revision", "value", why)))?;
    let noted = {
        let mut acks = shared.acks.lock().unwrap_or_else(PoisonError::into_inner);
        acks.ack(gateway.as_str(), ack.revision, position, shared.now())
    };
    if !noted {
        return Err(Refused::Full { what: "gateways", limit: MAX_GATEWAYS });
    }
    shared.acked.send_replace(());
    Ok(refused::json(StatusCode::OK, &serde_json::json!({ "revision": position.revision })))
}

/// Answers when every live gateway has applied the revision, or when the time is over.
pub(super) async fn wait<B>(
    shared: &Shared,
    request: &Request<B>,
    query: Option<&str>,
) -> Result<Answer, Refused> {
    admit(shared, request, Verb::Read)?;
    let _place = super::snapshot::watcher(shared)?;
    let revision = Revision(query::required(query, "revision", "a revision, a whole number")?);
    let begun = shared.at().0;
    // Revisions of two histories tell nothing of each other: a replica that lost its Redis, or has it again, is in another.
    let epoch = query::parsed(query, "epoch", "an epoch, 32 hex digits")?.unwrap_or(begun.epoch);
    still(shared, epoch)?;
    not_ahead(revision, begun.revision).map_err(|why| Refused::field(FieldError::query("revision", why)))?;
    let timeout_s =
        query::parsed(query, "timeout", "seconds as a whole number")?.unwrap_or(DEFAULT_TIMEOUT_S);
    let deadline = Instant::now() + Duration::from_secs(timeout_s.min(limits::BARRIER_WAIT_S).into());
    let mut acked = shared.acked.subscribe();
    let mut shutdown = shared.shutdown.clone();
    loop {
        acked.borrow_and_update();
        still(shared, epoch)?;
        let (answer, silence) = {
            let (now, current) = (shared.now(), shared.at().0);
            let mut acks = shared.acks.lock().unwrap_or_else(PoisonError::into_inner);
            (acks.judge(revision, current, now), acks.next_silence(now))
        };
        let over = Instant::now() >= deadline || shutdown.is_pulled();
        if answer.missing.is_empty() || over {
            return Ok(refused::json(StatusCode::OK, &answer));
        }
        // A gateway that falls silent meanwhile is not waited for any longer.
        let silent = silence.map_or(deadline, |after| Instant::now() + after).min(deadline);
        tokio::select! {
            _ = acked.changed() => {}
            () = tokio::time::sleep_until(silent) => {}
            () = shutdown.pulled() => {}
        }
    }
}

/// Refuses if the history is not that of `epoch` any more.
fn still(shared: &Shared, epoch: Epoch) -> Result<(), Refused> {
    let gone = {
        let store = shared.store();
        if store.position().epoch == epoch {
            return Ok(());
        }
        watch::gone(&store)
    };
    let detail = "another epoch has begun: say again what is to be applied, and wait for that".into();
    Err(Refused::Gone(Gone { detail, ..gone }))
}

fn not_ahead(revision: Revision, now: Revision) -> Result<(), String> {
    if revision <= now { Ok(()) } else { Err(format!("the registry is at revision {now} only")) }
}
