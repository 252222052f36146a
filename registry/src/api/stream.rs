//! The watch as server-sent events. Text is made only when the connection takes it: a slow watcher falls behind in the
//! log, which is bounded, and gets a reset and a fresh snapshot when the log has gone past it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use vertice_process::answer::{Answer, AnswerBody};
use vertice_process::shutdown::Shutdown;
use vertice_registry_api::snapshot::{SnapshotHead, SnapshotTrailer};
use vertice_registry_api::watch::{Bookmark, Gone};
use vertice_registry_api::{Position, Revision, SourceState};

use super::change_line::{ChangeLine, lines};
use super::rows::{Piece, Rows};
use super::shared::{Published, Shared, stamped};
use super::watch::gone;

/// Silence after which a bookmark is sent: below the 15 s of the contract with room for a slow line.
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);
/// About how many bytes of changes are taken from the log at once.
const PIECE_BYTES: usize = 32 * 1024;

/// Where a watcher wants to begin.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// With a snapshot.
    Anew,
    /// After this position; `None`: after one that is not ours.
    At(Option<Position>),
}

pub(super) fn answer(shared: Arc<Shared>, start: Start, permit: OwnedSemaphorePermit) -> Answer {
    let (position, state) = shared.at();
    let feed = Feed {
        published: shared.published.subscribe(),
        shutdown: shared.shutdown.clone(),
        phase: match start {
            Start::Anew => Phase::Begin,
            Start::At(None) => Phase::Reset,
            Start::At(Some(from)) => Phase::Live(from),
        },
        state,
        shared,
        _permit: permit,
    };
    let frames = stream::unfold(feed, |mut feed| async move {
        let piece = feed.next().await?;
        Some((Ok(Frame::data(piece)), feed))
    });
    let body: AnswerBody = StreamBody::new(frames).boxed_unsync();
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    stamped(answer, position, state, false)
}

/// What comes next for one watcher.
enum Phase {
    /// Its position is not in the log.
    Reset,
    /// A snapshot begins.
    Begin,
    /// A snapshot is under way.
    Rows { rows: Rows, position: Position, trailer: SnapshotTrailer },
    /// Changes after this position.
    Live(Position),
    /// Nothing more.
    End,
}

struct Feed {
    shared: Arc<Shared>,
    published: watch::Receiver<Published>,
    shutdown: Shutdown,
    phase: Phase,
    /// As the watcher was told.
    state: SourceState,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.shutdown.is_pulled() {
                return None;
            }
            match std::mem::replace(&mut self.phase, Phase::End) {
                Phase::Reset => return Some(self.reset()),
                Phase::Begin => return Some(self.begin()),
                Phase::Rows { rows, position, trailer } => return self.rows(rows, position, &trailer),
                Phase::Live(position) => {
                    if let Some(piece) = self.live(position).await {
                        return Some(piece);
                    }
                }
                Phase::End => return None,
            }
        }
    }

    fn reset(&mut self) -> Bytes {
        let gone: Gone = gone(&self.shared.store());
        self.phase = Phase::Begin;
        event("reset", None, &gone)
    }

    fn begin(&mut self) -> Bytes {
        let store = self.shared.store();
        let (position, state, digest, rows) =
            (store.position(), store.state(), store.digest(), store.rows(None));
        drop(store);
        self.state = state;
        let trailer = SnapshotTrailer { count: u64::try_from(rows.len()).unwrap_or(u64::MAX), digest };
        self.phase = Phase::Rows { rows: Rows::new(rows), position, trailer };
        let head = SnapshotHead { epoch: position.epoch, revision: position.revision, state };
        // No id before the end: who breaks off in the middle must not resume from here.
        event("snapshot-begin", None, &head)
    }

    fn rows(&mut self, mut rows: Rows, position: Position, trailer: &SnapshotTrailer) -> Option<Bytes> {
        let revision = position.revision;
        let piece = rows.piece(|instance, text| {
            append(text, "change", None, &ChangeLine::Upsert { revision, instance });
        });
        match piece {
            Piece::Text(text) => {
                self.phase = Phase::Rows { rows, position, trailer: trailer.clone() };
                Some(text.into())
            }
            Piece::End => {
                self.phase = Phase::Live(position);
                Some(event("snapshot-end", Some(position), trailer))
            }
            // It could not read the snapshot in a minute; it may come back.
            Piece::Lost => None,
        }
    }

    /// The changes after `position`, or a bookmark after a while without; `None`: look again.
    async fn live(&mut self, position: Position) -> Option<Bytes> {
        self.published.borrow_and_update();
        let (delta, state) = {
            let store = self.shared.store();
            (store.since(position, PIECE_BYTES), store.state())
        };
        let Some(delta) = delta else {
            self.phase = Phase::Reset;
            return None;
        };
        let to = Position { epoch: position.epoch, revision: delta.to };
        self.phase = Phase::Live(to);
        let mut text = Vec::new();
        for (line, revision) in lines(&delta).zip(delta.from.0 + 1..) {
            append(&mut text, "change", Some(Position { revision: Revision(revision), ..to }), &line);
        }
        let news = !delta.changes.is_empty() || state != self.state;
        if !news {
            tokio::select! {
                changed = self.published.changed() => {
                    if changed.is_err() {
                        self.phase = Phase::End;
                    }
                    return None;
                }
                () = self.shutdown.pulled() => return None,
                () = tokio::time::sleep_until(Instant::now() + BOOKMARK_EVERY) => {}
            }
        }
        self.state = state;
        // After changes too: its digest proves that they led to the same set.
        let bookmark = Bookmark { epoch: to.epoch, revision: to.revision, digest: delta.digest, state };
        append(&mut text, "bookmark", Some(to), &bookmark);
        Some(text.into())
    }
}

fn event(name: &str, id: Option<Position>, data: &impl serde::Serialize) -> Bytes {
    let mut text = Vec::new();
    append(&mut text, name, id, data);
    text.into()
}

fn append(text: &mut Vec<u8>, name: &str, id: Option<Position>, data: &impl serde::Serialize) {
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    if let Some(id) = id {
        text.extend_from_slice(format!("\nid: {id}").as_bytes());
    }
    text.extend_from_slice(b"\ndata: ");
    // JSON has no raw line ends, so one data line is enough; writing to a Vec does not fail.
    let _ = serde_json::to_writer(&mut *text, data);
    text.extend_from_slice(b"\n\n");
}
