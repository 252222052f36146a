//! The admin listener of every binary: `/live`, `/ready`, `/metrics`, and what the binary adds.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::answer::{self, Answer};
use crate::http_server::{self, ServerLimits};
use crate::readiness::Readiness;
use crate::shutdown::Shutdown;

/// The content type of metrics in the OpenMetrics text format.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the admin paths on `listener` until `shutdown`.
///
/// `metrics` renders the metrics text. `more` answers every other path, `None` for one it does not know.
pub async fn serve<M, R, F>(
    listener: TcpListener,
    readiness: Readiness,
    shutdown: Shutdown,
    metrics: M,
    more: R,
) where
    M: Fn() -> String + Send + Sync + 'static,
    R: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Option<Answer>> + Send + 'static,
{
    let (metrics, more) = (Arc::new(metrics), Arc::new(more));
    let handle = move |request: Request<Incoming>, _peer: SocketAddr| {
        let (readiness, metrics, more) = (readiness.clone(), metrics.clone(), more.clone());
        async move {
            let reads = matches!(*request.method(), Method::GET | Method::HEAD);
            match request.uri().path() {
                "/live" if reads => answer::text(StatusCode::OK, "live"),
                "/ready" if reads => ready(&readiness),
                "/metrics" if reads => answer::with_type(StatusCode::OK, METRICS_TYPE, metrics()),
                _ => more(request).await.unwrap_or_else(http_server::not_found),
            }
        }
    };
    let limits = ServerLimits { connections: 256, ..ServerLimits::default() };
    http_server::serve(listener, limits, shutdown, handle).await;
}

fn ready(readiness: &Readiness) -> Answer {
    let missing = readiness.missing();
    if missing.is_empty() {
        answer::text(StatusCode::OK, "ready")
    } else {
        answer::text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {}", missing.join(", ")))
    }
}
