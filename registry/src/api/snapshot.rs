//! `GET /v1/snapshot`: all instances (or those of some services) as NDJSON, with a trailer that proves completeness.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use vertice_process::answer::{self, Answer, AnswerBody};
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::snapshot::{SnapshotHead, SnapshotTrailer};

use super::refused::Refused;
use super::rows::{Piece, Rows};
use super::shared::{MAX_WATCHERS, Shared, has, stamped};
use super::{admit, query};
use crate::auth::Verb;
use crate::store::Packed;

pub(super) fn answer<B>(
    shared: &Shared,
    request: &Request<B>,
    query: Option<&str>,
) -> Result<Answer, Refused> {
    admit(shared, request, Verb::Read)?;
    let names = query::text(query, "services")?;
    let names: Option<BTreeSet<String>> = names.map(|list| list.split(',').map(str::to_owned).collect());
    let permit = watcher(shared)?;
    let (position, state, digest, rows) = {
        let store = shared.store();
        let (position, state) = (store.position(), store.state());
        if has(request, position) {
            return Ok(stamped(answer::empty(StatusCode::NOT_MODIFIED), position, state, true));
        }
        (position, state, store.digest(), store.rows(names.as_ref()))
    };
    let digest = if names.is_none() {
        digest
    } else {
        let mut digest = SetDigest::default();
        rows.iter().filter_map(Packed::unpack).for_each(|instance| digest.add(&instance));
        digest
    };
    let head = SnapshotHead { epoch: position.epoch, revision: position.revision, state };
    let trailer = SnapshotTrailer { count: u64::try_from(rows.len()).unwrap_or(u64::MAX), digest };
    let lines = Lines {
        head: Some(line(&head)),
        rows: Rows::new(rows),
        trailer: Some(line(&trailer)),
        _permit: permit,
    };
    let frames = stream::iter(lines.map(|piece| Ok(Frame::data(piece))));
    let body: AnswerBody = StreamBody::new(frames).boxed_unsync();
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(stamped(answer, position, state, true))
}

/// A place among those who are being answered at length.
pub(super) fn watcher(shared: &Shared) -> Result<OwnedSemaphorePermit, Refused> {
    let busy = Refused::Busy { what: "watches and snapshots", limit: MAX_WATCHERS };
    shared.watchers.clone().try_acquire_owned().map_err(|_| busy)
}

/// The answer piece by piece; a stuck reader gets no trailer, so what it has is void.
struct Lines {
    head: Option<Bytes>,
    rows: Rows,
    trailer: Option<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take() {
            return Some(head);
        }
        let append = |instance: &vertice_registry_api::Instance, text: &mut Vec<u8>| {
            // Writing to a Vec does not fail, and instances have string keys only.
            let _ = serde_json::to_writer(&mut *text, instance);
            text.push(b'\n');
        };
        match self.rows.piece(append) {
            Piece::Text(text) => Some(text.into()),
            Piece::End => self.trailer.take(),
            Piece::Lost => None,
        }
    }
}

fn line(value: &impl serde::Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
