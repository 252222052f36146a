//! What the gateway answers by itself on its clients' listeners, as the original gateway did.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use serde_json::json;
use tokio::time::Instant;
use vertice_config::gateway::HttpsRedirectConfig;

use super::body::Story;
use super::error::GatewayError;
use crate::route::spec::host_matches;
use crate::route::{FixedAnswer, OwnAnswer, legacy_name};
use crate::table::{Service, Table};
use crate::upstream::RequestBody;
use crate::upstream::send::{Attempt, send};
use crate::worker::timer::Tick;

/// Ticks (50 ms) that a health check may take: 5 s, as the original's.
const HEALTH_TICKS: Tick = 100;

/// Answers `what`.
pub async fn answer(
    story: &Story,
    what: OwnAnswer,
    table: &Table,
    parts: &Parts,
) -> Result<Response<Bytes>, GatewayError> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    match what {
        OwnAnswer::Health => Ok(json(&json!({
            "status": "healthy",
            "service": "vertice-gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "timestamp": seconds_since_1970(),
        }))),
        OwnAnswer::Status => Ok(json(&status(story, table))),
        OwnAnswer::HealthCheck => {
            let name = parts.uri.path().rsplit('/').next().unwrap_or_default();
            let name = legacy_name::resolve(name);
            let service = table.services.by_name(&name).ok_or(GatewayError::NoEndpoint)?;
            Ok(json(&health_check(story, service).await?))
        }
    }
}

/// Sends the client to `location`, whose host no request can choose.
pub fn redirect(status: StatusCode, location: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    // What is not ASCII in a path goes back as it came.
    if let Ok(location) = HeaderValue::from_bytes(location.as_bytes()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Sends the client to the same place over TLS. Its host is believed where the operator named it: an answer for another one
/// would be an open redirect for who can put it into a cache.
pub fn to_https(to: &HttpsRedirectConfig, host: &str, uri: &Uri) -> Result<Response<Bytes>, GatewayError> {
    if !to.hosts.iter().any(|pattern| host_matches(pattern, host)) {
        return Err(GatewayError::UnknownHost);
    }
    let port = if to.port == 443 { String::new() } else { format!(":{}", to.port) };
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    Ok(redirect(StatusCode::PERMANENT_REDIRECT, &format!("https://{host}{port}{target}")))
}

/// What an operator wrote.
pub fn fixed(answer: &FixedAnswer) -> Response<Bytes> {
    let mut response = Response::new(answer.body.clone());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    if answer.status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    }
    response
}

fn status(story: &Story, table: &Table) -> serde_json::Value {
    let freshness = story.worker.tables.freshness();
    json!({
        "gateway": "operational",
        "version": env!("CARGO_PKG_VERSION"),
        // The original's breaker guards its registry look-ups; ours never stops serving, so this only says how it is.
        "circuit_breaker": {
            "state": if freshness.failing { "open" } else { "closed" },
            "last_error": freshness.last_error,
        },
        "service_discovery_cache": {
            "services": table.services.len(),
            "endpoints": table.services.iter().map(|service| service.all.len()).sum::<usize>(),
            "generation": table.generation,
        },
        "registry": freshness.as_json(),
        "configuration": story.settings.config.as_json(),
    })
}

async fn health_check(story: &Story, service: &Service) -> Result<serde_json::Value, GatewayError> {
    let worker = &story.worker;
    let endpoint = service.routable.first().or(service.all.first()).ok_or(GatewayError::NoEndpoint)?;
    let path = format!("{}{}", endpoint.spec.url.base(), endpoint.spec.health);
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| GatewayError::NoEndpoint)?;
    super::headers::settle_host(request.headers_mut(), None, service.name.as_str());
    let now = worker.wheel.now();
    let attempt = Attempt {
        pool: &worker.pool,
        wheel: &worker.wheel,
        clock: story.turn.clock(),
        policy: &story.settings.policy,
        connect: HEALTH_TICKS,
        first_byte: HEALTH_TICKS,
        idle: HEALTH_TICKS,
        min_rate: None,
        min_response_rate: None,
        stream_idle: HEALTH_TICKS,
        upgrade: false,
        total: now + HEALTH_TICKS,
    };
    let started = Instant::now();
    let status = send(&attempt, endpoint, request).await.map(|response| response.status().as_u16());
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    Ok(json!({
        "service_name": service.name.as_str(),
        // The path every client can use; where the instance really listens is for the admin listener.
        "service_url": format!("/v2/{}/", service.name),
        "healthy": status.as_ref().is_ok_and(|status| (200..300).contains(status)),
        "status_code": status.ok(),
        "response_time_ms": (milliseconds * 100.0).round() / 100.0,
        "cached": true,
        "cache_layer": "table",
        "timestamp": seconds_since_1970(),
    }))
}

fn seconds_since_1970() -> f64 {
    vertice_process::clock::since_1970().as_secs_f64()
}

fn json(value: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(value.to_string()));
    let length = HeaderValue::from(response.body().len());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}
