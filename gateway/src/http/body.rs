//! The body of an answer, and the end of a request's story: what is counted and logged once the last byte is out.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::grpc;
use super::turn::Turn;
use crate::policy::Admission;
use crate::route::EditList;
use crate::table::Service;
use crate::telemetry::access_log::Line;
use crate::upstream::request_body::Progress;
use crate::upstream::{ResponseBody, response_body::StreamError};
use crate::worker::{Settings, Worker};

/// The body of an answer.
#[derive(Debug)]
pub struct DownstreamBody {
    content: Content,
    /// Told when this is dropped: hyper drops a body as soon as it is through with it, or with the connection.
    story: Option<Story>,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every answer is the large one; a box would cost each an allocation"
)]
enum Content {
    Own(Option<Bytes>),
    Upstream(ResponseBody),
}

/// What is known about a request while it is answered.
#[derive(Debug)]
pub struct Story {
    pub(super) worker: Rc<Worker>,
    pub(super) turn: Turn,
    /// What held when it began.
    pub(super) settings: Rc<Settings>,
    pub(super) started: Instant,
    pub(super) asked: Asked,
    /// What policies found out about the request.
    pub(super) admission: Option<Box<Admission>>,
    /// What is changed in the answer's header fields.
    pub(super) edits: EditList,
    pub(super) status: StatusCode,
    pub(super) progress: Option<Rc<Progress>>,
    pub(super) bytes_out: u64,
    pub(super) complete: bool,
    /// What only a log line needs; `None` when the access log is off.
    pub(super) log: Option<Box<LogNotes>>,
}

/// How the client wants to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// HEAD: no body, whatever its length.
    pub(super) head_only: bool,
    /// A gRPC call: errors are told in its terms.
    pub(super) grpc: bool,
}

/// What only a log line needs.
#[derive(Debug)]
pub(super) struct LogNotes {
    pub(super) unix_ms: u64,
    pub(super) request_id: HeaderValue,
    pub(super) method: Method,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) route: Option<String>,
    pub(super) who: Option<std::sync::Arc<str>>,
    pub(super) service: Option<std::sync::Arc<Service>>,
    pub(super) instance: Option<String>,
    pub(super) reason: Option<&'static str>,
    pub(super) head: std::time::Duration,
    pub(super) attempts: u32,
    pub(super) generation: u64,
}

impl DownstreamBody {
    pub(super) fn own(bytes: Bytes, mut story: Story) -> Self {
        // It is all there. For HEAD it is only measured, by its Content-Length.
        story.complete = true;
        let bytes = Some(bytes).filter(|_| !story.asked.head_only);
        Self { content: Content::Own(bytes), story: Some(story) }
    }

    pub(super) fn upstream(body: ResponseBody, mut story: Story) -> Self {
        // An empty answer is through before it is asked for; hyper then never polls it.
        story.complete = body.is_end_stream();
        Self { content: Content::Upstream(body), story: Some(story) }
    }

    /// The last that the client gets of an answer that broke off: the error, or what a gRPC call has for it.
    fn broken_off(&mut self, error: StreamError) -> Result<Frame<Bytes>, StreamError> {
        // Over HTTP/1.1 trailers may be left out, and what broke off would look whole.
        if !self.story.as_ref().is_some_and(|story| story.asked.grpc && story.turn.is_stream()) {
            return Err(error);
        }
        // What is left of the answer is let go, and nothing comes after trailers.
        self.content = Content::Own(None);
        Ok(Frame::trailers(grpc::broken_off(&error)))
    }

    /// Nothing: the story goes on elsewhere.
    pub(super) fn none() -> Self {
        Self { content: Content::Own(None), story: None }
    }
}

impl Body for DownstreamBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        let stream = this.story.as_ref().filter(|story| story.turn.is_stream());
        // The library asks for more of a stream's answer when the client has taken what there was.
        if let Some(story) = stream {
            story.turn.clock().reader_is_back();
        }
        let polled = match &mut this.content {
            Content::Own(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Content::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        if let Poll::Ready(frame) = &polled {
            let ended = this.is_end_stream() && !matches!(frame, Some(Err(_)));
            if let Some(story) = &mut this.story {
                story.took(frame.as_ref());
                story.complete |= ended;
            }
        }
        match polled {
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(this.broken_off(error))),
            Poll::Ready(_) | Poll::Pending => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| u64::try_from(b.len()).unwrap_or(0)))
            }
            Content::Upstream(body) => body.size_hint(),
        }
    }
}

impl Story {
    fn took(&mut self, frame: Option<&Result<Frame<Bytes>, StreamError>>) {
        match frame {
            None => self.complete = true,
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if bytes > 0 && self.turn.is_stream() {
                    let clock = self.turn.clock();
                    clock.reader_took(bytes);
                    clock.reader_waits(self.turn.connection().streams.get());
                }
                self.bytes_out += u64::try_from(bytes).unwrap_or(0);
            }
            Some(Err(_)) => {}
        }
    }

    /// It went on as a tunnel, which ends now.
    pub(super) fn ended_as_tunnel(&mut self, bytes_in: u64, bytes_out: u64, complete: bool) {
        let progress = Rc::<Progress>::default();
        progress.bytes.set(bytes_in);
        self.progress = Some(progress);
        self.bytes_out = bytes_out;
        self.complete = complete;
    }

    fn write_log(&self, notes: &LogNotes, bytes_in: u64) {
        let time =
            i64::try_from(notes.unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let lost = self.worker.log.write(&Line {
            time: &time.map(|t| t.to_string()).unwrap_or_default(),
            request_id: notes.request_id.to_str().unwrap_or_default(),
            peer: &self.turn.connection().peer_text,
            method: notes.method.as_str(),
            host: &notes.host,
            path: &notes.path,
            route: notes.route.as_deref(),
            who: notes.who.as_deref(),
            service: notes.service.as_ref().map(|service| service.name.as_str()),
            instance: notes.instance.as_deref(),
            status: self.status.as_u16(),
            reason: notes.reason,
            bytes_in,
            bytes_out: self.bytes_out,
            head_ms: milliseconds(notes.head),
            total_ms: milliseconds(self.started.elapsed()),
            attempts: notes.attempts,
            complete: self.complete,
            generation: notes.generation,
            stale_seconds: notes.service.as_ref().and_then(|service| service.stale_seconds()),
        });
        self.worker.metrics.log_lines_dropped.add(lost);
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let metrics = &self.worker.metrics;
        let bytes_in = self.progress.as_ref().map_or(0, |progress| progress.bytes.get());
        metrics.requests_ended.one();
        metrics.body_bytes_in.add(bytes_in);
        metrics.body_bytes_out.add(self.bytes_out);
        if !self.complete {
            metrics.requests_broken.one();
            // Whoever still sends it would go on until the client ends it.
            if let Some(progress) = &self.progress {
                progress.cut();
            }
        }
        if let Some(notes) = self.log.take() {
            self.write_log(&notes, bytes_in);
        }
        let last = self.turn.connection().last_request_within(&self.worker);
        let is_whole = self.complete && self.progress.as_ref().is_none_or(|progress| progress.finished.get());
        self.turn.end(last.unwrap_or_else(|| self.turn.connection().keep_alive()), is_whole);
    }
}

/// Milliseconds with a fraction of microseconds.
fn milliseconds(duration: std::time::Duration) -> f64 {
    f64::from(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}
