//! A request's story, every stage by name, in order.
//!
//! ```text
//! table -> target -> route::find -> headers -> balance::pick -> upstream::send -> headers -> body
//!                                              '---- again, while the request may go to another endpoint ----'
//! ```
//!
//! One table is taken at the start and used to the end: a request never sees two generations.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, VIA};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tokio::time::Instant;
use vertice_config::gateway::{PathRewrite, TimeoutsConfig};

use super::body::{Asked, DownstreamBody, LogNotes, Story};
use super::error::GatewayError;
use super::turn::Turn;
use super::{grpc, headers, own, request_id, target};
use crate::balance::{self, Candidates};
use crate::health::Testimony;
use crate::route::{Action, RequestView, Route, legacy_name};
use crate::table::{Endpoint, Service, StatusClass, Table};
use crate::upstream::send::{Attempt, send};
use crate::upstream::{AttemptError, Failure, RequestBody, ResponseBody};
use crate::worker::Worker;
use crate::worker::timer::{Tick, ticks};

/// Attempts at different endpoints for one request: a third failure in a row is no accident, and the client waits.
const ATTEMPTS: usize = 3;

/// What came of a request.
#[allow(
    clippy::large_enum_variant,
    reason = "it lives for one match; a box would cost every request an allocation"
)]
enum Outcome {
    /// A service answered.
    Answered { response: Response<ResponseBody>, service: Arc<Service> },
    /// The gateway answers by itself, and means to.
    Own(Response<Bytes>),
}

/// Answers one request.
pub async fn handle(worker: Rc<Worker>, turn: Turn, request: Request<Incoming>) -> Response<DownstreamBody> {
    let (mut parts, incoming) = request.into_parts();
    let body = RequestBody::new(incoming, turn.clock());
    turn.begin();
    worker.metrics.requests.one();
    let request_id = request_id::settle(&mut parts.headers, &mut worker.random.borrow_mut());
    let (connection, is_stream) = (turn.connection().clone(), turn.is_stream());
    let mut story = begin(&worker, turn, &parts, &request_id, &body);
    let result = answer(&mut story, parts, body).await;
    let head = story.started.elapsed();
    let head_us = u64::try_from(head.as_micros()).unwrap_or(u64::MAX);
    worker.metrics.head_seconds.observe(head_us);
    if let Some(notes) = &mut story.log {
        notes.head = head;
    }
    let mut response = match result {
        Ok(Outcome::Answered { mut response, service }) => {
            headers::strip_response(response.headers_mut());
            // The version is each connection's own (RFC 9110 2.5).
            *response.version_mut() = Version::HTTP_11;
            story.status = response.status();
            if let Some(stats) = service.stats.of(worker.index) {
                stats.answered(StatusClass::of(story.status), head_us);
            }
            response.map(|body| DownstreamBody::upstream(body, story))
        }
        Ok(Outcome::Own(response)) => {
            story.status = response.status();
            story.turn.clock().stream(story.settings.keep_alive, Tick::MAX);
            response.map(|body| DownstreamBody::own(body, story))
        }
        Err(error) => refuse(&worker, error, &request_id, story),
    };
    worker.metrics.answered(StatusClass::of(response.status()));
    response.headers_mut().insert(request_id::X_REQUEST_ID, request_id);
    // An HTTP/2 connection is told by itself.
    if !is_stream && worker.last_request_within(&connection.entrance).is_some() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn answer(story: &mut Story, mut parts: Parts, body: RequestBody) -> Result<Outcome, GatewayError> {
    let worker = story.worker.clone();
    let table = worker.tables.current();
    let limits = &story.settings.limits;
    target::check(&parts.uri, &parts.method, limits.target_bytes)?;
    headers::check_count(&parts.headers, limits.header_count)?;
    let host = target::host(&parts.uri, &parts.headers, parts.version)?;
    let view =
        RequestView { host: &host, path: parts.uri.path(), method: &parts.method, headers: &parts.headers };
    let route = table.routes.find(&view).ok_or(GatewayError::NoRoute)?;
    story.note(|notes| {
        notes.host = host.to_string();
        notes.route = Some(route.name.clone());
        notes.generation = table.generation;
    });
    let (service, target) = match direct(&table, route, &parts.uri)? {
        Direction::Service { service, target } => (service, target),
        Direction::Own(what) => return own::answer(story, what, &table, &parts).await.map(Outcome::Own),
        Direction::Redirect(location) => return Ok(Outcome::Own(own::redirect(&location))),
    };
    story.note(|notes| notes.service = Some(service.clone()));
    headers::strip_request(&mut parts.headers, !body.is_empty())?;
    if parts.version == Version::HTTP_2 {
        headers::join_crumbs(&mut parts.headers);
    }
    headers::settle_host(&mut parts.headers, parts.uri.authority(), service.name.as_str());
    pass_on_via(&mut parts.headers, &story.settings.via)?;
    story.turn.connection().peer.tell(&mut parts.headers);
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = parts.method;
    *outgoing.headers_mut() = parts.headers;
    let timeouts = within_call(story, outgoing.headers(), route.timeouts);
    let response = attempts(story, &service, &target, &timeouts, outgoing).await?;
    Ok(Outcome::Answered { response, service })
}

/// The route's time limits, and for a gRPC call the deadline that its client sent.
fn within_call(story: &Story, headers: &http::HeaderMap, route: TimeoutsConfig) -> TimeoutsConfig {
    let Some(call) = story.asked.grpc.then(|| grpc::timeout(headers)).flatten() else { return route };
    TimeoutsConfig { total: Some(route.total.map_or(call, |total| total.min(call))), ..route }
}

/// Signs the request (RFC 9110 7.6.3), unless it bears our signature already.
fn pass_on_via(headers: &mut http::HeaderMap, via: &HeaderValue) -> Result<(), GatewayError> {
    let signature = via.as_bytes();
    let is_signed =
        |value: &HeaderValue| value.as_bytes().windows(signature.len()).any(|part| part == signature);
    if headers.get_all(VIA).iter().any(is_signed) {
        return Err(GatewayError::Loop);
    }
    headers.append(VIA, via.clone());
    Ok(())
}

/// Tries endpoints until one answers, or an attempt fails after something of the request was written.
async fn attempts(
    story: &mut Story,
    service: &Arc<Service>,
    target: &str,
    timeouts: &TimeoutsConfig,
    mut request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, GatewayError> {
    let worker = story.worker.clone();
    let clock = story.turn.clock().clone();
    let settings = story.settings.clone();
    let now = worker.wheel.now();
    let attempt = Attempt {
        pool: &worker.pool,
        wheel: &worker.wheel,
        clock: &clock,
        policy: &settings.policy,
        connect: ticks(timeouts.connect),
        first_byte: ticks(timeouts.first_byte),
        idle: ticks(timeouts.idle),
        total: timeouts.total.map_or(Tick::MAX / 2, |total| now + ticks(total)),
    };
    let mut tried = [usize::MAX; ATTEMPTS];
    let mut last = if service.is_refused() { GatewayError::Stale } else { GatewayError::NoEndpoint };
    for round in 0..ATTEMPTS {
        let candidates = ServiceCandidates { worker: &worker, service, tried: &tried };
        let Some(position) = balance::pick(&candidates, &mut worker.random.borrow_mut()) else { break };
        let Some(endpoint) = service.routable.get(position) else { break };
        if let Some(slot) = tried.get_mut(round) {
            *slot = position;
        }
        if round > 0 {
            worker.metrics.retries.one();
            if let Some(stats) = service.stats.of(worker.index) {
                stats.retried();
            }
        }
        *request.uri_mut() = upstream_uri(endpoint, target)?;
        story.note(|notes| {
            notes.attempts += 1;
            notes.instance = Some(endpoint.spec.instance_id.to_string());
        });
        endpoint.health.begin_attempt();
        let sent = send(&attempt, endpoint, request).await;
        worker.attempted(endpoint, testimony(&sent));
        match sent {
            Ok(response)
                if response.status() == StatusCode::SWITCHING_PROTOCOLS
                    || !headers::only_chunked(response.headers()) =>
            {
                // Nobody asked for it: the fields that could have were taken out.
                return Err(GatewayError::Upstream(Failure::BadAnswer));
            }
            Ok(response) => return Ok(response),
            Err(AttemptError { failure, again }) => {
                worker.metrics.attempts_failed.one();
                last = GatewayError::Upstream(failure);
                match again {
                    Some(again) if failure != Failure::TotalTimeout => request = *again,
                    _ => break,
                }
            }
        }
    }
    Err(last)
}

/// What an attempt says about its endpoint; `None`: nothing, or nothing certain (the whole time may be over because the
/// client was slow).
fn testimony(sent: &Result<Response<ResponseBody>, AttemptError>) -> Option<Testimony> {
    match sent {
        Ok(response) => Some(match response.status() {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Testimony::Failed
            }
            _ => Testimony::Answered,
        }),
        Err(AttemptError { failure, .. }) => match failure {
            Failure::Resolve | Failure::Forbidden | Failure::Connect | Failure::ConnectTimeout => {
                Some(Testimony::NotConnected)
            }
            Failure::Closed | Failure::FirstByteTimeout | Failure::BadAnswer => Some(Testimony::Failed),
            Failure::ClosedDuringBody
            | Failure::TotalTimeout
            | Failure::ClientBody
            | Failure::ClientBodyTimeout => None,
        },
    }
}

/// Where a route leads a request.
enum Direction {
    Service { service: Arc<Service>, target: String },
    Own(crate::route::OwnAnswer),
    Redirect(String),
}

fn direct(table: &Table, route: &Route, uri: &Uri) -> Result<Direction, GatewayError> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    match &route.action {
        Action::Own(what) => Ok(Direction::Own(*what)),
        Action::ToService { slot, rewrite } => {
            let service = table.services.get(*slot).ok_or(GatewayError::NoEndpoint)?.clone();
            let target = rewritten(whole, route.matched_bytes(), rewrite);
            // What is put together from parts that were checked is checked again: it is another path.
            let path = target.split('?').next().unwrap_or_default();
            crate::route::path::check(path).map_err(GatewayError::Path)?;
            Ok(Direction::Service { service, target })
        }
        Action::ToNamed => {
            let after = whole.get(route.matched_bytes()..).unwrap_or_default();
            let Some(named) = after.strip_prefix('/').filter(|named| !named.is_empty()) else {
                return Err(GatewayError::NoRoute);
            };
            let name_end = named.find(['/', '?']).unwrap_or(named.len());
            let (name, rest) = named.split_at(name_end);
            if !rest.starts_with('/') {
                // `/v2/name`: the original redirects to the form with a slash, and so do we.
                let (path, query) = whole.split_at(route.matched_bytes() + 1 + name_end);
                return Ok(Direction::Redirect(format!("{path}/{query}")));
            }
            let name = legacy_name::resolve(name);
            let service = table.services.by_name(&name).ok_or(GatewayError::NoEndpoint)?.clone();
            Ok(Direction::Service { service, target: rest.to_owned() })
        }
    }
}

/// The target behind a rewrite; the query stays byte for byte.
fn rewritten(whole: &str, matched_bytes: usize, rewrite: &PathRewrite) -> String {
    let rest = || whole.get(matched_bytes..).unwrap_or_default();
    let (before, rest) = match rewrite {
        PathRewrite::Keep => return whole.to_owned(),
        PathRewrite::StripPrefix => ("", rest()),
        PathRewrite::ReplacePrefix(prefix) => (prefix.as_str(), rest()),
    };
    if before.is_empty() && !rest.starts_with('/') { format!("/{rest}") } else { format!("{before}{rest}") }
}

/// The endpoint's base path and the target, in origin form.
fn upstream_uri(endpoint: &Endpoint, target: &str) -> Result<Uri, GatewayError> {
    let base = endpoint.spec.url.base();
    let joined = if base.is_empty() {
        Bytes::copy_from_slice(target.as_bytes())
    } else {
        format!("{base}{target}").into()
    };
    let path_and_query = PathAndQuery::from_maybe_shared(joined)
        .map_err(|_| GatewayError::Path(crate::route::path::PathError::NotAbsolute))?;
    Ok(Uri::from(path_and_query))
}

/// A service's endpoints as one worker and one request see them.
struct ServiceCandidates<'a> {
    worker: &'a Worker,
    service: &'a Service,
    tried: &'a [usize],
}

impl Candidates for ServiceCandidates<'_> {
    fn count(&self) -> usize {
        self.service.routable.len()
    }

    fn weight_sums(&self) -> &[u32] {
        &self.service.weight_sums
    }

    fn in_flight(&self, position: usize) -> u32 {
        self.service.routable.get(position).map_or(0, |endpoint| self.worker.pool.in_flight(endpoint.id))
    }

    fn excluded(&self, position: usize) -> bool {
        self.tried.contains(&position)
    }

    fn suspect(&self, position: usize) -> bool {
        let now = self.worker.wheel.now();
        self.service
            .routable
            .get(position)
            .is_some_and(|e| e.health.share().is_out() || self.worker.pool.is_suspect(e.id, now))
    }

    fn share_percent(&self, position: usize) -> u8 {
        self.service.routable.get(position).map_or(0, |endpoint| endpoint.health.share().as_percent())
    }
}

fn begin(
    worker: &Rc<Worker>,
    turn: Turn,
    parts: &Parts,
    request_id: &HeaderValue,
    body: &RequestBody,
) -> Story {
    let log = worker.log.is_on().then(|| {
        Box::new(LogNotes {
            unix_ms: vertice_process::clock::unix_ms(),
            request_id: request_id.clone(),
            method: parts.method.clone(),
            host: String::new(),
            path: parts.uri.path().to_owned(),
            route: None,
            service: None,
            instance: None,
            reason: None,
            head: std::time::Duration::ZERO,
            attempts: 0,
            generation: 0,
        })
    });
    Story {
        worker: worker.clone(),
        turn,
        settings: worker.settings(),
        started: Instant::now(),
        asked: Asked { head_only: parts.method == Method::HEAD, grpc: grpc::is_call(&parts.headers) },
        // What the log says of a client that left before there was an answer; nginx's number for it.
        status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        progress: body.progress(),
        bytes_out: 0,
        complete: false,
        log,
    }
}

fn refuse(
    worker: &Rc<Worker>,
    error: GatewayError,
    request_id: &HeaderValue,
    mut story: Story,
) -> Response<DownstreamBody> {
    let told = error.answer();
    worker.metrics.refused(told.reason);
    story.status = told.status;
    story.note(|notes| notes.reason = Some(told.reason));
    // Over HTTP/1.1, a body that was not read to its end would be taken for the next request's head.
    let unread = story.progress.as_ref().is_some_and(|progress| !progress.finished.get());
    let close = unread && !story.turn.is_stream();
    story.turn.clock().stream(story.settings.keep_alive, Tick::MAX);
    let reason_header = story.settings.reason_header;
    let response = if story.asked.grpc {
        grpc::refusal(&told, reason_header)
    } else {
        GatewayError::response(&told, request_id, reason_header, close)
    };
    response.map(|body| DownstreamBody::own(body, story))
}

impl Story {
    /// Notes something for the log line, if there will be one.
    pub(super) fn note(&mut self, write: impl FnOnce(&mut LogNotes)) {
        if let Some(notes) = &mut self.log {
            write(notes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_keep_the_query_byte_for_byte() {
        let replace = PathRewrite::ReplacePrefix("/x".into());
        for (whole, matched, rewrite, target) in [
            ("/a/b?q=%2F&q=1", 2, &PathRewrite::Keep, "/a/b?q=%2F&q=1"),
            ("/a/b?q", 2, &PathRewrite::StripPrefix, "/b?q"),
            ("/a", 2, &PathRewrite::StripPrefix, "/"),
            ("/a?q", 2, &PathRewrite::StripPrefix, "/?q"),
            ("/a/", 2, &PathRewrite::StripPrefix, "/"),
            ("/a//b", 2, &PathRewrite::StripPrefix, "//b"),
            ("/a/b", 2, &replace, "/x/b"),
            ("/a?q", 2, &replace, "/x?q"),
            ("/b?q", 0, &replace, "/x/b?q"),
        ] {
            assert_eq!(rewritten(whole, matched, rewrite), target, "{whole}");
        }
    }
}
