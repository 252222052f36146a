//! Before the goodbye: saying that the instance drains, and waiting until no gateway sends it anything new.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use vertice_registry_api::Epoch;
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

/// How often it is said again where the registry has begun another history meanwhile.
const SAID: usize = 3;

/// Returns when every live gateway has applied it, or when waiting longer would cost the goodbye. Only for our registry.
pub(crate) async fn drain(client: &Client, wanted: &Registration, granted: &Granted) {
    let began = Instant::now();
    let mut waited = Err("the registry begins one history after the other".to_owned());
    for _ in 0..SAID {
        let said = match say(client, wanted, granted).await {
            Ok(said) => said,
            Err(words) => {
                tracing::warn!(%words, "the registry was not told of the draining; deregistering without waiting for the gateways");
                return;
            }
        };
        let left_s = u64::from(BARRIER_S).saturating_sub(began.elapsed().as_secs());
        match wait(client, said, left_s).await {
            // What was said may not be in the new history.
            Ok(None) if left_s > 0 => {}
            Ok(None) => break,
            Ok(Some(answer)) => {
                waited = Ok(answer);
                break;
            }
            Err(words) => {
                waited = Err(words);
                break;
            }
        }
    }
    match waited {
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

/// Where in history the draining stands (a registry of before tells no epoch), or why it does not.
async fn say(
    client: &Client,
    wanted: &Registration,
    granted: &Granted,
) -> Result<(Option<Epoch>, u64), String> {
    let body = json!({ "status": "draining", "deadline_s": REMOVED_AFTER_S });
    let answer =
        calls::change(client, wanted, granted, &body, SAY_DEADLINE).await.map_err(|e| e.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("status {}, {}", answer.status.as_u16(), answer.words()));
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let epoch = body.get("epoch").and_then(Value::as_str).and_then(|epoch| epoch.parse().ok());
    let revision = body.get("revision").and_then(Value::as_u64);
    let revision = revision.ok_or_else(|| answer.not_ours("it names no revision").to_string())?;
    Ok((epoch, revision))
}

/// What the barrier says; nothing where another history has begun.
async fn wait(
    client: &Client,
    (epoch, revision): (Option<Epoch>, u64),
    left_s: u64,
) -> Result<Option<BarrierAnswer>, String> {
    let epoch = epoch.map_or_else(String::new, |epoch| format!("&epoch={epoch}"));
    let path = format!("/v1/barrier?revision={revision}{epoch}&timeout={left_s}");
    let answer = client.get(&path, BARRIER_DEADLINE).await.map_err(|error| error.to_string())?;
    if answer.status == StatusCode::GONE {
        return Ok(None);
    }
    if !answer.status.is_success() {
        return Err(format!("status {}, {}", answer.status.as_u16(), answer.words()));
    }
    let judged = serde_json::from_slice(&answer.body);
    judged.map(Some).map_err(|error| answer.not_ours(error.to_string()).to_string())
}
