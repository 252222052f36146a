//! `POST /v1/rejects`: a gateway says which entries it cannot use; who registered them learns it with the next answer.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use vertice_process::answer::Answer;
use vertice_registry_api::reject::{MAX_REJECTS, Rejection, Rejects};
use vertice_registry_api::{FieldError, InstanceId, limits};

use super::body::{Field, Kind};
use super::refused::{self, Refused};
use super::shared::Shared;
use super::{admit, body};
use crate::auth::Verb;

const REJECTS: [Field; 2] = [
    Field { name: "gateway", kind: Kind::Text, required: true },
    Field { name: "rejects", kind: Kind::List, required: true },
];

/// Keeps those that are about what is registered now.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Refused> {
    // It changes what is shown, never what is registered: who may acknowledge may say this too.
    admit(shared, &request, Verb::Read)?;
    let body = body::read(request.into_body(), limits::BATCH_BODY_BYTES).await?;
    let said: Rejects =
        serde_json::from_slice(&body).map_err(|error| body::diagnose(&body, &REJECTS, &error))?;
    let gateway = InstanceId::parse(&said.gateway)
        .map_err(|error| Refused::field(FieldError::body("gateway", "value", error.0)))?;
    if said.rejects.len() > MAX_REJECTS {
        let why = format!("{} rejects, {MAX_REJECTS} are allowed", said.rejects.len());
        return Err(Refused::field(FieldError::body("rejects", "limit", why)));
    }
    let mut about_now = said.rejects;
    {
        let store = shared.store();
        about_now.retain(|reject| {
            let there = store.held(reject.service.as_str(), reject.instance_id.as_str());
            there.is_some_and(|held| held.generation() == reject.generation)
        });
    }
    let kept = {
        let mut rejects = shared.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = rejects.say(gateway.as_str(), about_now, shared.now());
        shared.rejects_kept.store(rejects.len(), Ordering::Relaxed);
        kept
    };
    if kept > 0 {
        tracing::info!(%gateway, kept, "a gateway rejects entries");
    }
    Ok(refused::json(StatusCode::OK, &json!({ "kept": kept })))
}

impl Shared {
    /// Who rejects this instance. Costs nothing while nobody rejects anything.
    pub(super) fn rejects_of(&self, service: &str, id: &str, generation: Option<u64>) -> Vec<Rejection> {
        if self.rejects_kept.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let rejects = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        rejects.about(service, id, generation, self.now())
    }
}
