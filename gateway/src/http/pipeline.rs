//! A request's story, every stage by name, in order.
//!
//! ```text
//! table -> target -> route::find -> policy::admit -> direct -> headers -> attempts (balance::pick -> upstream::send) -> headers -> body
//! ```
//!
//! One table is taken at the start and used to the end: a request never sees two generations.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, STRICT_TRANSPORT_SECURITY, VIA};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Instant;
use vertice_config::gateway::{Bound, TimeoutsConfig};

use super::attempts::attempts;
use super::body::{Asked, DownstreamBody, LogNotes, Story};
use super::direction::{Direction, direct};
use super::error::GatewayError;
use super::turn::Turn;
use super::websocket::{self, Handshake};
use super::{admission, edits, grpc, headers, own, request_id, target, tunnel};
use crate::policy;
use crate::policy::cors::preflight;
use crate::route::{RequestView, Route, Routes};
use crate::table::{Service, StatusClass};
use crate::upstream::{Failure, RequestBody, ResponseBody};
use crate::worker::Worker;
use crate::worker::timer::Tick;

/// What came of a request.
#[allow(
    clippy::large_enum_variant,
    reason = "it lives for one match; a box would cost every request an allocation"
)]
enum Outcome {
    /// A service answered.
    Answered { response: Response<ResponseBody>, service: Arc<Service> },
    /// A service agreed to leave HTTP.
    Switched { response: Response<ResponseBody>, handshake: Handshake, timeouts: TimeoutsConfig },
    /// The gateway answers by itself, and means to.
    Own(Response<Bytes>),
}

/// Answers one request.
pub async fn handle(worker: Rc<Worker>, turn: Turn, request: Request<Incoming>) -> Response<DownstreamBody> {
    let (mut parts, incoming) = request.into_parts();
    let body = RequestBody::new(incoming, turn.clock(), turn.is_stream());
    turn.begin();
    worker.metrics.requests.one();
    let request_id = request_id::settle(&mut parts.headers, &mut worker.random.borrow_mut());
    let (connection, is_stream) = (turn.connection().clone(), turn.is_stream());
    let hsts = connection.rules().hsts.as_ref().filter(|_| connection.is_secure(&parts.headers)).cloned();
    let mut story = begin(&worker, turn, &parts, &request_id, &body);
    let result = answer(&mut story, parts, body).await;
    let head = story.started.elapsed();
    let head_us = u64::try_from(head.as_micros()).unwrap_or(u64::MAX);
    worker.metrics.head_seconds.observe(head_us);
    if let Some(notes) = &mut story.log {
        notes.head = head;
    }
    let (admission, changes) = (story.admission.take(), story.edits.take());
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
        Ok(Outcome::Switched { mut response, handshake, timeouts }) => {
            headers::strip_response(response.headers_mut());
            handshake.agree(&mut response);
            story.status = response.status();
            tunnel::between(story, handshake, response, &timeouts)
        }
        Ok(Outcome::Own(response)) => {
            story.status = response.status();
            story.turn.clock().stream(story.turn.connection().keep_alive(), Tick::MAX);
            let unread = !is_stream && story.has_unread_body();
            let mut response = response.map(|body| DownstreamBody::own(body, story));
            if unread {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        Err(error) => refuse(&worker, error, &request_id, story),
    };
    worker.metrics.answered(StatusClass::of(response.status()));
    if let Some(admission) = admission {
        policy::finish(*admission, response.status(), response.headers_mut());
    }
    if let Some(changes) = changes {
        edits::apply(&changes, response.headers_mut());
    }
    if let Some(hsts) = hsts {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    response.headers_mut().insert(request_id::X_REQUEST_ID, request_id);
    // An HTTP/2 connection is told by itself.
    if !is_stream && connection.last_request_within(&worker).is_some() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn answer(story: &mut Story, mut parts: Parts, mut body: RequestBody) -> Result<Outcome, GatewayError> {
    let worker = story.worker.clone();
    // Nothing is awaited from here to the first attempt: once this worker takes up another table, nobody begins with this one.
    let table = worker.tables.current();
    let connection = story.turn.connection().clone();
    let limits = connection.limits();
    let handshake = websocket::take(&mut parts, &mut worker.random.borrow_mut())?;
    target::check(&parts.uri, &parts.method, limits.target_bytes)?;
    headers::check_count(&parts.headers, limits.header_count)?;
    let host = target::host(&parts.uri, &parts.headers, parts.version)?;
    if connection.security.as_ref().is_some_and(|security| !security.answers_for(&host)) {
        return Err(GatewayError::Misdirected);
    }
    if let Some(to) = &connection.rules().https_redirect
        && !connection.is_secure(&parts.headers)
    {
        return own::to_https(to, &host, &parts.uri).map(Outcome::Own);
    }
    admission::admit_address(story, &parts.headers)?;
    let view =
        RequestView { host: &host, path: parts.uri.path(), method: &parts.method, headers: &parts.headers };
    let route = find(&table.routes, &view).ok_or(GatewayError::NoRoute)?;
    story.edits.clone_from(&route.edits.response);
    story.note(|notes| {
        notes.host = host.to_string();
        notes.route = Some(route.name.clone());
        notes.generation = table.generation;
    });
    if let Some(policies) = route.policies.clone() {
        let host = host.into_owned();
        // Few routes have any, and all requests would pay for the size of the future.
        let admitted = Box::pin(admission::admit(story, &policies, &host, &route.name, &mut parts)).await?;
        if let Some(answer) = admitted {
            return Ok(Outcome::Own(answer));
        }
    }
    let (mut service, target) = match direct(&table, route, &parts.uri)? {
        Direction::Service { service, target } => (service, target),
        Direction::Own(what) => return own::answer(story, what, &table, &parts).await.map(Outcome::Own),
        Direction::Fixed(answer) => return Ok(Outcome::Own(own::fixed(answer))),
        Direction::Redirect(status, location) => return Ok(Outcome::Own(own::redirect(status, &location))),
    };
    // A policy may have waited for a service: endpoints are those of now.
    if route.policies.is_some()
        && let Some(now) = worker.tables.current().services.by_name(service.name.as_str())
    {
        service = now.clone();
    }
    story.note(|notes| notes.service = Some(service.clone()));
    // A call is a stream of messages, each of which its service limits.
    if let Some(limit) = route.body_bytes.map_or(limits.body_bytes, Bound::most).filter(|_| !story.asked.grpc)
        && !body.limit(limit)
    {
        return Err(GatewayError::Upstream(Failure::BodyTooLarge));
    }
    if let Some(guard) = &story.settings.guard {
        body.guard(guard.fields());
    }
    headers::strip_request(&mut parts.headers, !body.is_empty())?;
    if parts.version == Version::HTTP_2 {
        headers::join_crumbs(&mut parts.headers);
    }
    headers::settle_host(&mut parts.headers, parts.uri.authority(), service.name.as_str());
    pass_on_via(&mut parts.headers, &story.settings.via)?;
    tell_who_asks(story, &mut parts.headers);
    tell_what_policies_say(story, &mut parts.headers);
    if let Some(changes) = &route.edits.request {
        edits::apply(changes, &mut parts.headers);
    }
    if handshake.is_some() {
        websocket::ask(&mut parts.headers);
    }
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = parts.method;
    *outgoing.headers_mut() = parts.headers;
    let timeouts = within_call(story, outgoing.headers(), route.timeouts.over(&connection.rules().timeouts));
    let response = attempts(story, &service, &target, &timeouts, handshake.is_some(), outgoing).await?;
    match handshake {
        Some(handshake) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Ok(Outcome::Switched { response, handshake, timeouts })
        }
        // There, any 2xx would be a yes (RFC 8441 5).
        Some(handshake) if handshake.over_http2() && response.status().is_success() => {
            Err(GatewayError::Upstream(Failure::BadAnswer))
        }
        _ => Ok(Outcome::Answered { response, service }),
    }
}

/// The route of a request; of a preflight, that of the request that it is about, if that one answers preflights.
fn find<'r>(routes: &'r Routes, view: &RequestView<'_>) -> Option<&'r Route> {
    if let Some(method) = preflight(view.method, view.headers) {
        let announced = routes.find(&RequestView { method: &method, ..*view });
        let answers = |route: &&Route| route.policies.as_ref().is_some_and(|p| p.answers_preflights());
        if let Some(route) = announced.filter(answers) {
            return Some(route);
        }
    }
    routes.find(view)
}

/// Takes away what a client claims of itself, and says what is known of it.
pub(super) fn tell_who_asks(story: &Story, headers: &mut http::HeaderMap) {
    let connection = story.turn.connection();
    connection.peer.tell(headers);
    if let Some(client) = connection.security.as_ref().and_then(|security| security.client.as_ref()) {
        client.tell(headers);
    }
}

/// Takes away what only policies may say, whatever the route, and says what those of this one found out.
fn tell_what_policies_say(story: &Story, headers: &mut http::HeaderMap) {
    if let Some(guard) = &story.settings.guard {
        guard.strip(headers);
    }
    if let Some(admission) = &story.admission {
        for (name, value) in &admission.request_fields {
            headers.append(name, value.clone());
        }
    }
}

/// The route's time limits over the listener's, and for a gRPC call the deadline that its client sent.
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
            who: None,
            service: None,
            instance: None,
            reason: None,
            head: std::time::Duration::ZERO,
            attempts: 0,
            generation: 0,
        })
    });
    let settings = worker.settings();
    Story {
        worker: worker.clone(),
        turn,
        admission: None,
        edits: settings.response_edits.clone(),
        settings,
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
    if let Some(progress) = &story.progress {
        progress.cut();
    }
    let close = story.has_unread_body() && !story.turn.is_stream();
    story.turn.clock().stream(story.turn.connection().keep_alive(), Tick::MAX);
    let reason_header = story.settings.reason_header;
    let mut response = if story.asked.grpc {
        grpc::refusal(&told, reason_header)
    } else {
        GatewayError::response(&told, request_id, reason_header, close)
    };
    // RFC 9110 15.5.22; HTTP/2 has no such fields.
    if told.status == StatusCode::UPGRADE_REQUIRED && !story.turn.is_stream() {
        websocket::ask(response.headers_mut());
    }
    response.map(|body| DownstreamBody::own(body, story))
}

impl Story {
    /// Whether the request has a body that was not read to its end. Over HTTP/1.1 it would be taken for the next head.
    fn has_unread_body(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| !progress.finished.get())
    }

    /// Notes something for the log line, if there will be one.
    pub(super) fn note(&mut self, write: impl FnOnce(&mut LogNotes)) {
        if let Some(notes) = &mut self.log {
            write(notes);
        }
    }
}
