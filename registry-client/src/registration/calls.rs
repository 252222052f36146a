//! The requests of a registrant, in both contracts.

use std::time::Duration;

use http::Method;
use serde_json::Value;
use vertice_registry_api::heartbeat::HeartbeatRequest;
use vertice_registry_api::register::Registration;

use crate::error::SourceError;
use crate::http::{Answer, Client, SMALL_BODY_BYTES};
use crate::registration::judge::{Granted, RegistryKind};

/// The original's deadlines.
pub(crate) const REGISTER_DEADLINE: Duration = Duration::from_secs(10);
const BEAT_DEADLINE: Duration = Duration::from_secs(5);

/// `PUT /v1/services/{s}/instances/{id}`.
pub(crate) async fn put(
    client: &Client,
    wanted: &Registration,
    deadline: Duration,
) -> Result<Answer, SourceError> {
    let body = wanted.to_put_body();
    send(client, Method::PUT, &instance_path(wanted), Some(&body), deadline).await
}

/// `DELETE /v1/services/{s}/instances/{id}`.
pub(crate) async fn remove(
    client: &Client,
    wanted: &Registration,
    generation: u64,
    deadline: Duration,
) -> Result<Answer, SourceError> {
    let path = format!("{}?generation={generation}", instance_path(wanted));
    send(client, Method::DELETE, &path, None, deadline).await
}

/// `PATCH /v1/services/{s}/instances/{id}`.
pub(crate) async fn change(
    client: &Client,
    wanted: &Registration,
    granted: &Granted,
    body: &Value,
    deadline: Duration,
) -> Result<Answer, SourceError> {
    let path = format!("{}?generation={}", instance_path(wanted), granted.generation);
    send(client, Method::PATCH, &path, Some(body), deadline).await
}

/// The old `POST /register`, with exactly the original's four fields.
pub(crate) async fn old_register(client: &Client, wanted: &Registration) -> Result<Answer, SourceError> {
    let body = wanted.to_old_body();
    send(client, Method::POST, "/register", Some(&body), REGISTER_DEADLINE).await
}

/// `POST /heartbeat`; the original knows names only.
pub(crate) async fn beat(
    client: &Client,
    wanted: &Registration,
    granted: &Granted,
) -> Result<Answer, SourceError> {
    let ours = granted.kind == RegistryKind::Ours;
    let request = HeartbeatRequest {
        service_name: wanted.service.to_string(),
        instance_id: ours.then(|| wanted.instance_id.to_string()),
        generation: ours.then_some(granted.generation),
    };
    // Strings and a number: it cannot fail to be written.
    let body = serde_json::to_value(&request).unwrap_or_default();
    send(client, Method::POST, "/heartbeat", Some(&body), BEAT_DEADLINE).await
}

/// Takes the registration back.
pub(crate) async fn deregister(
    client: &Client,
    wanted: &Registration,
    granted: &Granted,
) -> Result<Answer, SourceError> {
    let path = match granted.kind {
        RegistryKind::Ours => format!("{}?generation={}", instance_path(wanted), granted.generation),
        RegistryKind::OldCalls => format!("/deregister/{}", wanted.service),
    };
    send(client, Method::DELETE, &path, None, BEAT_DEADLINE).await
}

/// Checked names and ids have no character that a path would need to escape.
fn instance_path(wanted: &Registration) -> String {
    format!("/v1/services/{}/instances/{}", wanted.service, wanted.instance_id)
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
    deadline: Duration,
) -> Result<Answer, SourceError> {
    let body = body.map(|body| body.to_string().into_bytes());
    client.ask(method, path, body, deadline, SMALL_BODY_BYTES).await
}
