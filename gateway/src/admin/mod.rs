//! What operators see on the admin listener, beside `/live`, `/ready` and `/metrics`.

pub mod config;
pub mod limits;
pub mod explain;
pub mod guard;
pub mod holds;
pub mod metrics;
pub mod services;
pub mod table;
pub mod policies;
pub mod rules;

use std::sync::{Arc, Mutex};

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use vertice_process::answer::{self, Answer};
use vertice_registry_api::ServiceUrl;
use vertice_registry_client::View;

use crate::discovery::release::Release;
use crate::health::HealthStats;
use crate::listener::accept::Door;
use crate::policy::PoliciesNow;
use crate::reload::ReloadOrder;
use crate::reload::state::ConfigState;
use crate::table::Published;
use crate::telemetry::metrics::WorkerMetrics;
use crate::tls::TlsListeners;

/// Handles to everything that is shown.
#[derive(Debug)]
pub struct AdminState {
    /// The newest table and how old the truth is.
    pub published: Arc<Published>,
    /// What the registry said.
    pub view: Arc<Mutex<View>>,
    /// Counters by worker.
    pub metrics: Vec<Arc<WorkerMetrics>>,
    /// Counters of checks and ejections.
    pub health: Arc<HealthStats>,
    /// HTTPS of the listeners that have it.
    pub tls: Arc<TlsListeners>,
    /// Keys and issuers.
    pub policies: Arc<PoliciesNow>,
    /// Loads by worker.
    pub doors: Arc<[Door]>,
    /// Which registry.
    pub registry_url: ServiceUrl,
    /// To discovery: what operators let go.
    pub releases: mpsc::Sender<Release>,
    /// The configuration that runs.
    pub config: Arc<ConfigState>,
    /// To who applies another one.
    pub reloads: mpsc::Sender<ReloadOrder>,
}

/// Answers a path of the gateway's own, `None` for one that it does not have.
pub async fn answer(state: Arc<AdminState>, request: Request<Incoming>) -> Option<Answer> {
    let state = &*state;
    if request.uri().path() == "/holds/release" {
        return Some(holds::release(state, &request).await);
    }
    if request.uri().path() == "/config/reload" {
        return Some(config::reload(state, &request).await);
    }
    let query = request.uri().query().unwrap_or_default();
    let answer = match request.uri().path() {
        "/config" => json(&config::show(state)),
        "/table" => json(&table::show(state)),
        "/services" => json(&services::show(state)),
        "/holds" => json(&holds::show(state)),
        "/explain" => match explain::answer(state, query) {
            Ok(value) => json(&value),
            Err(detail) => {
                answer::json(StatusCode::BAD_REQUEST, serde_json::json!({"detail": detail}).to_string())
            }
        },
        _ => return None,
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET is offered here"));
    }
    Some(answer)
}

fn json(value: &serde_json::Value) -> Answer {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    answer::json(StatusCode::OK, text + "\n")
}
