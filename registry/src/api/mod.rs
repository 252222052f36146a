//! The HTTP API over the store: one function tells a request's story, one file per call.

mod route;
mod query;
mod body;
mod refused;
mod metrics;
mod old;
mod instances;
mod heartbeat;
mod rows;
mod snapshot;
mod change_line;
mod watch;
mod stream;
mod barrier;
mod probes;
mod rejects;
mod leases;
mod operator;
mod shared;
mod writes;

use std::sync::Arc;

use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use vertice_process::answer::{self, Answer};
use vertice_process::http_server;

pub(crate) use operator::Peer;
pub(crate) use shared::Shared;

use crate::auth::{Principal, TOKEN_HEADER, Verb};
use refused::Refused;
use route::Route;

/// Answers one request. (hyper leaves the body out of an answer to HEAD.)
pub(crate) async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let uri = request.uri().clone();
    let Some(route) = route::find(uri.path()) else { return http_server::not_found() };
    let name = route.name();
    if !route.methods().contains(&request.method().as_str()) {
        shared.metrics.count(name, StatusCode::METHOD_NOT_ALLOWED);
        return wrong_method(&route);
    }
    let answer = dispatch(&shared, route, uri.query(), request).await.unwrap_or_else(Answer::from);
    shared.metrics.count(name, answer.status());
    answer
}

async fn dispatch(
    shared: &Arc<Shared>,
    route: Route<'_>,
    query: Option<&str>,
    request: Request<Incoming>,
) -> Result<Answer, Refused> {
    match route {
        Route::Heartbeat => heartbeat::single(shared, request).await,
        Route::Heartbeats => heartbeat::batch(shared, request).await,
        Route::Register => old::register(shared, request).await,
        Route::Deregister { service } => old::deregister(shared, &request, &service, query).await,
        Route::Services => old::services(shared, &request),
        Route::Service { service } => old::service(shared, &request, &service),
        Route::Instance { service, id } if request.method() == Method::PUT => {
            instances::put(shared, request, &service, &id).await
        }
        Route::Instance { service, id } if request.method() == Method::PATCH => {
            instances::patch(shared, request, &service, &id, query).await
        }
        Route::Instance { service, id } if query::text(query, "by")?.as_deref() == Some("operator") => {
            operator::remove(shared, &request, &service, &id, query).await
        }
        Route::Instance { service, id } => instances::delete(shared, &request, &service, &id, query).await,
        Route::Snapshot => snapshot::answer(shared, &request, query),
        Route::Watch => watch::answer(shared, &request, query).await,
        Route::Ack => barrier::ack(shared, request).await,
        Route::Barrier => barrier::wait(shared, &request, query).await,
        Route::Probes => probes::answer(shared, request).await,
        Route::Rejects => rejects::answer(shared, request).await,
        Route::Leases => leases::answer(shared, &request, query),
        Route::Release => operator::release(shared, &request).await,
        Route::Audit => operator::audit(shared, &request),
        Route::Health => Ok(metrics::health(shared)),
        Route::Metrics => Ok(metrics::answer(shared)),
    }
}

/// Who asks, if that one may do `verb` at all.
fn admit<'s, B>(shared: &'s Shared, request: &Request<B>, verb: Verb) -> Result<Principal<'s>, Refused> {
    let mut tokens = request.headers().get_all(TOKEN_HEADER).iter();
    let token = tokens.next().map(HeaderValue::as_bytes);
    if tokens.next().is_some() {
        // Two tokens: some proxy added one, and nobody can say which of them was meant.
        return Err(Refused::Token);
    }
    Ok(shared.auth.admit(token, verb)?)
}

fn wrong_method(route: &Route<'_>) -> Answer {
    let mut answer = answer::json(StatusCode::METHOD_NOT_ALLOWED, r#"{"detail":"Method Not Allowed"}"#);
    if let Ok(allow) = HeaderValue::from_str(&route.methods().join(", ")) {
        answer.headers_mut().insert(ALLOW, allow);
    }
    answer
}
