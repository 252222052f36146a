//! A service that decides about each request: what it is asked, and what its answer means. Asking is done elsewhere.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use vertice_config::gateway::policy::ForwardAuthConfig;
use vertice_registry_api::ServiceName;

use super::refusal::Refusal;

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// One such service.
#[derive(Debug)]
pub struct ForwardAuth {
    /// How routes name it.
    pub name: String,
    /// Who is asked.
    pub service: ServiceName,
    /// Under which path.
    pub path: String,
    /// For its answer.
    pub timeout: Duration,
    shown: Vec<HeaderName>,
    copied: Vec<HeaderName>,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request goes on, with these fields.
    GoOn(Vec<(HeaderName, HeaderValue)>),
    /// The client gets the answer.
    Tell,
    /// There was no decision.
    Failed,
}

impl ForwardAuth {
    /// As the configuration has it.
    pub fn of(config: &ForwardAuthConfig) -> Self {
        Self {
            name: config.name.clone(),
            service: config.service.clone(),
            path: config.path.clone(),
            timeout: config.timeout,
            shown: config.request_headers.clone(),
            copied: config.response_headers.clone(),
        }
    }

    /// The fields of the question about a request. What the peer is, and the host, is for the caller to add.
    pub fn question(&self, asked: &Parts) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in &self.shown {
            for value in asked.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers
    }

    /// Says in `headers` what is asked for. After everything else: these are not the client's to say.
    pub fn tell_target(asked: &Parts, headers: &mut HeaderMap) {
        for (name, value) in [
            (X_FORWARDED_METHOD, asked.method.as_str()),
            (X_FORWARDED_URI, asked.uri.path_and_query().map_or("/", |target| target.as_str())),
        ] {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.insert(name, value);
            }
        }
    }

    /// What its answer means.
    pub fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        if status.is_success() {
            let mut copied = Vec::new();
            for name in &self.copied {
                copied.extend(headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
            }
            return Verdict::GoOn(copied);
        }
        if status.is_redirection() || status.is_client_error() { Verdict::Tell } else { Verdict::Failed }
    }

    /// Fields that only the gateway may set.
    pub fn own_fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.copied.iter()
    }
}

/// What a gRPC client is told in the place of an answer that is no gRPC.
pub fn in_grpc(status: StatusCode) -> Refusal {
    Refusal::Denied { unauthenticated: status != StatusCode::FORBIDDEN }
}
