//! Before the goodbye: saying that the instance drains, and waiting until no gateway sends it anything new.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use vertice_registry_api::barrier::BarrierAnswer;
use vertice_registry_api::register::Registration;

use crate::http::Client;
use crate::registration::calls;
use crate::registration::judge::Granted;

/// For saying it: a registry that is away must not keep a service from its end.
const SAY_DEADLINE: Duration = Duration::from_millis(1500);
/// How long gateways are waited for. With the deadlines around it, it fits into the ten seconds that container engines
/// give; a gateway that watches needs some milliseconds.
const BARRIER_S: u32 = 5;
/// The barrier's answer on its way.
const BARRIER_DEADLINE: Duration = Duration::from_millis(5500);
/// Who says this may be killed before the goodbye: the registry removes the entry then.
const REMOVED_AFTER_S: u32 = 15;

/// Returns when every live gateway has applied it, or when waiting longer would cost the goodbye. Only for our registry.
pub(crate) async fn drain(client: &Client, wanted: &Registration, granted: &Granted) {
    let began = Instant::now();
    let revision = match say(client, wanted, granted).await {
        Ok(revision) => revision,
        Err(words) => {
            tracing::warn!(%words, "the registry was not told of the draining; deregistering without waiting for the gateways");
            return;
        }
    };
    match wait(client, revision).await {
        // A replica on Redis knows only the gateways that watch at it.
        Ok(BarrierAnswer { total: 0, .. }) => {
            tracing::info!("no gateway watches at this registry: nobody to wait for");
        }
        Ok(BarrierAnswer { applied, total, missing }) if missing.is_empty() => {
            let took_ms = began.elapsed().as_millis();
            tracing::info!(gateways = total, applied, took_ms, "drained: no gateway sends new requests");
        }
        Ok(BarrierAnswer { applied, total, missing }) => {
            let missing = missing.join(", ");
            tracing::warn!(
                gateways = total,
                applied,
                missing,
                "deregistering although these gateways have not confirmed within {BARRIER_S} s that they send nothing new"
            );
        }
        Err(words) => {
            tracing::warn!(%words, "whether every gateway knows of the draining is not known; deregistering");
        }
    }
}

/// The revision that the draining has, or why it has none.
async fn say(client: &Client, wanted: &Registration, granted: &Granted) -> Result<u64, String> {
    let body = json!({ "status": "draining", "deadline_s": REMOVED_AFTER_S });
    let answer =
        calls::change(client, wanted, granted, &body, SAY_DEADLINE).await.map_err(|e| e.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("status {}, {}", answer.status.as_u16(), answer.words()));
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let revision = body.get("revision").and_then(Value::as_u64);
    revision.ok_or_else(|| answer.not_ours("it names no revision").to_string())
}

async fn wait(client: &Client, revision: u64) -> Result<BarrierAnswer, String> {
    let path = format!("/v1/barrier?revision={revision}&timeout={BARRIER_S}");
    let answer = client.get(&path, BARRIER_DEADLINE).await.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("status {}, {}", answer.status.as_u16(), answer.words()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| answer.not_ours(error.to_string()).to_string())
}
