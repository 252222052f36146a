//! Telling the registry which revision this gateway has in its table. Best effort, and never in an event's way.

use std::time::Duration;

use http::Method;
use tokio::sync::watch;
use vertice_registry_api::Position;
use vertice_registry_api::barrier::Ack;

use crate::http::{Client, SMALL_BODY_BYTES};

/// A lost acknowledgement is sent again: a drain waits for it, up to ten seconds.
const RETRY: Duration = Duration::from_secs(1);
/// Tries for one position. A registry that is away for longer starts barriers anew when it is back.
const TRIES: u32 = 5;

/// Acknowledges whatever stands in `applied`, only the newest when it changes faster than the registry answers.
pub(crate) async fn acknowledge(
    client: Client,
    gateway: Option<String>,
    mut applied: watch::Receiver<Option<Position>>,
    deadline: Duration,
) {
    let Some(gateway) = gateway else { return std::future::pending().await };
    loop {
        if applied.changed().await.is_err() {
            return std::future::pending().await;
        }
        for _ in 0..TRIES {
            let Some(Position { epoch, revision }) = *applied.borrow_and_update() else { break };
            let ack = Ack { gateway: gateway.clone(), epoch, revision };
            let Ok(body) = serde_json::to_vec(&ack) else { break };
            let sent = client.ask(Method::POST, "/v1/ack", Some(body), deadline, SMALL_BODY_BYTES).await;
            match sent {
                // A refusal will not turn into a yes by repeating it.
                Ok(answer) if !answer.status.is_server_error() => break,
                Ok(_) | Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}
