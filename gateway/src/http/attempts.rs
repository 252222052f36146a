//! Trying endpoints of a service until one answers.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use vertice_config::gateway::TimeoutsConfig;

use super::body::Story;
use super::direction::upstream_uri;
use super::error::GatewayError;
use super::{headers, websocket};
use crate::balance::{self, Candidates};
use crate::health::Testimony;
use crate::table::Service;
use crate::upstream::send::{Attempt, send};
use crate::upstream::{AttemptError, Failure, RequestBody, ResponseBody};
use crate::worker::Worker;
use crate::worker::timer::{Tick, ticks};

/// Attempts at different endpoints for one request: a third failure in a row is no accident, and the client waits.
const ATTEMPTS: usize = 3;

/// Tries endpoints until one answers, or an attempt fails after something of the request was written. `upgrade`: the request
/// is a handshake.
pub async fn attempts(
    story: &mut Story,
    service: &Arc<Service>,
    target: &str,
    timeouts: &TimeoutsConfig,
    upgrade: bool,
    mut request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, GatewayError> {
    let worker = story.worker.clone();
    let clock = story.turn.clock().clone();
    let settings = story.settings.clone();
    let limits = story.turn.connection().limits();
    let now = worker.wheel.now();
    let attempt = Attempt {
        pool: &worker.pool,
        wheel: &worker.wheel,
        clock: &clock,
        policy: &settings.policy,
        connect: ticks(timeouts.connect),
        first_byte: ticks(timeouts.first_byte),
        // The messages of a call may be far apart, in both directions.
        idle: ticks(if story.asked.grpc { timeouts.stream_idle } else { timeouts.idle }),
        min_rate: limits.min_body_rate.filter(|_| !story.asked.grpc),
        min_response_rate: limits.min_response_rate.filter(|_| !story.asked.grpc),
        stream_idle: ticks(timeouts.stream_idle),
        total: timeouts.total.map_or(Tick::MAX / 2, |total| now + ticks(total)),
        upgrade,
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
            Ok(response) if is_wrong(&response, upgrade) => {
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

/// Whether an answer cannot be passed on: in a coding that would be lost with its name, or a switch to what nobody asked for.
fn is_wrong(response: &Response<ResponseBody>, upgrade: bool) -> bool {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    !headers::only_chunked(response.headers()) || (switches && !(upgrade && websocket::is_agreed(response)))
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
            Failure::Resolve
            | Failure::Forbidden
            | Failure::Connect
            | Failure::ConnectTimeout
            | Failure::Certificate
            | Failure::Tls => Some(Testimony::NotConnected),
            Failure::Closed | Failure::FirstByteTimeout | Failure::BadAnswer => Some(Testimony::Failed),
            Failure::ClosedDuringBody
            | Failure::TotalTimeout
            | Failure::ClientBody
            | Failure::ClientBodyTimeout
            | Failure::BodyTooLarge => None,
        },
    }
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
