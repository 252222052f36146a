//! A request before the policies of its route, and the question to a service that decides.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, VIA};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use vertice_config::gateway::TimeoutsConfig;

use super::attempts::attempts;
use super::body::Story;
use super::error::GatewayError;
use super::{headers, pipeline};
use crate::fields::is_ours;
use crate::policy::forward::ForwardAuth;
use crate::policy::{self, Admission, Asking, Question, Refusal, RoutePolicies, Stop};
use crate::table::StatusClass;
use crate::upstream::{RequestBody, ResponseBody};

/// Bytes of the answer of a service that decides: a page for people, or a redirect. Larger ones are no decision.
const ANSWER_BYTES: usize = 64 * 1024;

/// The client's address: the peer's, or whom a trusted proxy names.
fn client(story: &Story, headers: &HeaderMap) -> IpAddr {
    story.turn.connection().peer.client(headers, &story.settings.trusted_proxies)
}

/// Whether requests of this client are taken at its listener at all.
pub fn admit_address(story: &Story, headers: &HeaderMap) -> Result<(), GatewayError> {
    match &story.turn.connection().rules().ip {
        Some(ip) if !ip.admits(client(story, headers)) => Err(GatewayError::Refused(Refusal::Address)),
        Some(_) | None => Ok(()),
    }
}

/// Whether the request goes on; `Some`: it is answered. What it is to bear on its way, and what its answer is to say, stays
/// in `story`.
pub async fn admit(
    story: &mut Story,
    policies: &RoutePolicies,
    host: &str,
    route: &str,
    parts: &mut Parts,
) -> Result<Option<Response<Bytes>>, GatewayError> {
    let mut admission = Box::<Admission>::default();
    let now_s = vertice_process::clock::unix_ms() / 1000;
    let client = client(story, &parts.headers);
    let (now, has_body, is_grpc) = (story.started, story.progress.is_some(), story.asked.grpc);
    let mut asking = Asking { parts, host, now_s, is_grpc, route, client, now, has_body };
    let ask = async |question: Question<'_>| ask(story, question).await;
    let admitted = policy::admit(policies, &mut asking, &mut admission, ask).await;
    story.note(|notes| notes.who = admission.names());
    if admission.is_preflight {
        story.worker.metrics.preflights.one();
    }
    if admission.origin_refused {
        story.worker.metrics.origins_refused.one();
    }
    story.admission = Some(admission);
    match admitted {
        Ok(()) => Ok(None),
        Err(Stop::Answered(response)) => Ok(Some(*response)),
        Err(Stop::Refused(refusal)) => Err(GatewayError::Refused(refusal)),
    }
}

/// Asks a service about a request; `None`: there is no answer that could be a decision.
async fn ask(story: &mut Story, question: Question<'_>) -> Option<Response<Bytes>> {
    let forward = question.forward;
    let table = story.worker.tables.current();
    let service = table.services.by_name(forward.service.as_str())?.clone();
    story.note(|notes| notes.service = Some(service.clone()));
    let mut request = Request::new(RequestBody::Empty);
    *request.headers_mut() = fields(story, &question, service.name.as_str());
    let timeouts = TimeoutsConfig {
        connect: forward.timeout,
        first_byte: forward.timeout,
        idle: forward.timeout,
        stream_idle: forward.timeout,
        total: Some(forward.timeout),
    };
    let started = Instant::now();
    let answer = attempts(story, &service, &forward.path, &timeouts, false, request).await;
    let answer = match answer {
        Ok(answer) => whole(answer).await,
        Err(_) => None,
    };
    let answer = answer?;
    if let Some(stats) = service.stats.of(story.worker.index) {
        let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        stats.answered(StatusClass::of(answer.status()), took_us);
    }
    Some(answer)
}

/// What the service is told: what the configuration names of the request, who the peer is, and what it asks for.
fn fields(story: &Story, question: &Question<'_>, service: &str) -> HeaderMap {
    let asked = question.asked;
    let mut fields = question.forward.question(asked);
    // What a trusted proxy says of its client; the claims of all others are replaced below.
    for (name, value) in asked.headers.iter().filter(|(name, _)| is_ours(name.as_str())) {
        fields.append(name, value.clone());
    }
    if let Some(host) = asked.headers.get(HOST) {
        fields.insert(HOST, host.clone());
    }
    headers::settle_host(&mut fields, asked.uri.authority(), service);
    pipeline::tell_who_asks(story, &mut fields);
    ForwardAuth::tell_target(asked, &mut fields);
    // So that a question that comes back to us is known for one.
    fields.insert(VIA, story.settings.via.clone());
    fields
}

/// The whole answer, so that its connection is free again; `None`: it breaks off, takes too long or is too large.
async fn whole(answer: Response<ResponseBody>) -> Option<Response<Bytes>> {
    let (mut parts, mut body) = answer.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            if bytes.len() + data.len() > ANSWER_BYTES {
                return None;
            }
            bytes.extend_from_slice(&data);
        }
    }
    headers::strip_response(&mut parts.headers);
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    parts.version = http::Version::HTTP_11;
    Some(Response::from_parts(parts, bytes.freeze()))
}
