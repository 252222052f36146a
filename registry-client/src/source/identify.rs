//! Which kind of registry is at a URL: ours if it gives a whole snapshot, the five old calls if it has no snapshot and a
//! valid list of names. Any other answer decides nothing.

use std::time::Duration;

use http::{Method, StatusCode};
use vertice_registry_api::snapshot::Snapshot;

use crate::error::SourceError;
use crate::http::{Answer, Client, broken, content_type, within};
use crate::source::snapshot::SnapshotReader;

/// A list of names: 250 000 of the longest.
const LIST_BYTES: u64 = 16 * 1024 * 1024;
/// A whole snapshot over a slow line. Each piece of it has the request's deadline as well.
const SNAPSHOT_TIME: Duration = Duration::from_mins(5);

/// What is there, with what it said in proof.
pub(crate) enum Identity {
    Ours(Snapshot),
    OldCalls(Vec<String>),
}

/// Asks.
pub(crate) async fn identify(client: &Client, deadline: Duration) -> Result<Identity, SourceError> {
    if let Some(snapshot) = take_snapshot(client, deadline).await? {
        return Ok(Identity::Ours(snapshot));
    }
    list(client, deadline).await.map(Identity::OldCalls)
}

/// The snapshot; `None` from a server that does not know the call.
async fn take_snapshot(client: &Client, deadline: Duration) -> Result<Option<Snapshot>, SourceError> {
    within(SNAPSHOT_TIME, async {
        let mut response = client.open(Method::GET, "/v1/snapshot", None, deadline).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
            other => return Err(SourceError::Status(other.as_u16())),
        }
        let mut reader = SnapshotReader::new(content_type(response.headers()));
        loop {
            let chunk =
                within(deadline, async { response.chunk().await.map_err(|e| broken(&e, deadline)) }).await?;
            match chunk {
                Some(chunk) => reader.feed(&chunk)?,
                None => return reader.finish().map(Some),
            }
        }
    })
    .await
}

/// The names, unchecked: the original lets anything register.
pub(crate) async fn list(client: &Client, deadline: Duration) -> Result<Vec<String>, SourceError> {
    let answer = client.ask(Method::GET, "/services", None, deadline, LIST_BYTES).await?;
    names(&answer)
}

fn names(answer: &Answer) -> Result<Vec<String>, SourceError> {
    if answer.status != StatusCode::OK {
        return Err(SourceError::Status(answer.status.as_u16()));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| answer.not_ours(format!("not a JSON array of names: {error}")))
}
