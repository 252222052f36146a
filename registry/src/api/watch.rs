//! `GET /v1/watch`: what changed since a position, as soon as something has; a long poll here, a stream in `stream`.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HeaderName};
use http::{Request, StatusCode};
use tokio::time::Instant;
use vertice_process::answer::{self, Answer};
use vertice_registry_api::watch::Gone;
use vertice_registry_api::{Position, limits};

use super::change_line::{WatchLine, lines};
use super::refused::{self, Refused};
use super::shared::{Shared, stamped};
use super::snapshot::watcher;
use super::{admit, query, stream};
use crate::auth::Verb;
use crate::store::{Delta, Store};

/// About how many bytes of changes one answer carries; the client comes back for the rest.
const ANSWER_BYTES: usize = 1024 * 1024;
const DEFAULT_WAIT_S: u32 = 55;

pub(super) async fn answer<B>(
    shared: &Arc<Shared>,
    request: &Request<B>,
    query: Option<&str>,
) -> Result<Answer, Refused> {
    admit(shared, request, Verb::Read)?;
    let permit = watcher(shared)?;
    if wants_stream(request) {
        let last = request.headers().get(HeaderName::from_static("last-event-id"));
        let from = match last {
            // An id that is not ours is a position that we do not have.
            Some(id) => stream::Start::At(id.to_str().ok().and_then(|id| id.parse().ok())),
            None if query::text(query, "epoch")?.is_some() => stream::Start::At(Some(position(query)?)),
            None => stream::Start::Anew,
        };
        return Ok(stream::answer(shared.clone(), from, permit));
    }
    let from = position(query)?;
    let wait_s = query::parsed(query, "wait", "seconds as a whole number")?.unwrap_or(DEFAULT_WAIT_S);
    let wait = Duration::from_secs(wait_s.min(limits::WATCH_WAIT_S).into());
    let answer = poll(shared, from, wait).await;
    drop(permit);
    answer
}

fn wants_stream<B>(request: &Request<B>) -> bool {
    let accepts = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|list| list.split(',')).any(|one| {
        one.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
    })
}

fn position(query: Option<&str>) -> Result<Position, Refused> {
    let epoch = query::required(query, "epoch", "an epoch of 32 hexadecimal digits")?;
    let revision = query::required(query, "revision", "a revision, a whole number")?;
    Ok(Position { epoch, revision: vertice_registry_api::Revision(revision) })
}

async fn poll(shared: &Shared, from: Position, wait: Duration) -> Result<Answer, Refused> {
    let deadline = Instant::now() + wait;
    let mut published = shared.published.subscribe();
    let mut shutdown = shared.shutdown.clone();
    let state_before = published.borrow_and_update().state;
    loop {
        let (delta, position, state) = {
            let store = shared.store();
            let delta = store.since(from, ANSWER_BYTES).ok_or_else(|| Refused::Gone(gone(&store)))?;
            (delta, store.position(), store.state())
        };
        // A new state is news too: a client that waits for *serving* must not wait for the next change.
        if !delta.changes.is_empty() || state != state_before {
            return Ok(stamped(render(&delta, from, state), position, state, false));
        }
        let woken = tokio::select! {
            changed = published.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = shutdown.pulled() => false,
        };
        if !woken {
            return Ok(stamped(answer::empty(StatusCode::NO_CONTENT), position, state, false));
        }
    }
}

fn render(delta: &Delta, from: Position, state: vertice_registry_api::SourceState) -> Answer {
    let body = WatchLine {
        epoch: from.epoch,
        from: delta.from,
        to: delta.to,
        changes: lines(delta).collect(),
        digest: delta.digest,
        state,
    };
    refused::json(StatusCode::OK, &body)
}

/// What to tell a client whose position is not in the log.
pub(super) fn gone(store: &Store) -> Gone {
    Gone {
        detail: "this position is not in the log: take a snapshot and watch from there".into(),
        epoch: store.position().epoch,
        oldest: store.oldest(),
    }
}
