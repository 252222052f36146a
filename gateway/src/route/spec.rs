//! What a route is and what of a request it looks at.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use vertice_config::gateway::{
    AnswerConfig, Bound, HeaderEdit, HeaderPattern, HostPattern, OwnTimeouts, PathPattern, PathRewrite,
    RedirectConfig,
};

use crate::policy::RoutePolicies;

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct Route {
    /// For logs, metrics and explanations.
    pub name: String,
    /// Which hosts; `None`: every host.
    pub host: Option<HostPattern>,
    /// Which paths.
    pub path: PathPattern,
    /// Which methods; empty: every method.
    pub methods: Vec<Method>,
    /// Headers that must all be there.
    pub headers: Vec<HeaderPattern>,
    /// What happens to a request that matches.
    pub action: Action,
    /// What is changed on the way.
    pub edits: Edits,
    /// Who may ask, how often, and for what; `None`: everybody. The route itself does not look at it.
    pub policies: Option<Arc<RoutePolicies>>,
    /// Bytes of a request's body; `None`: as at the listener.
    pub body_bytes: Option<Bound<u64>>,
    /// Time limits, over the listener's.
    pub timeouts: OwnTimeouts,
    /// Whether the gateway brought this route itself; these come last where all else is equal.
    pub built_in: bool,
}

/// What happens to a request that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To the service in this slot of the table.
    ToService {
        /// The service's place in the table.
        slot: usize,
        /// What happens to the path.
        rewrite: PathRewrite,
    },
    /// To the service that the first segment after the prefix names.
    ToNamed,
    /// Nowhere: the client is sent elsewhere.
    Redirect(RedirectConfig),
    /// Nowhere: the gateway says what an operator wrote.
    Fixed(Arc<FixedAnswer>),
    /// Nowhere: the gateway tells of itself.
    Own(OwnAnswer),
}

/// An answer that an operator wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    /// Its status.
    pub status: StatusCode,
    /// All its fields but Content-Length.
    pub headers: HeaderMap,
    /// May be empty.
    pub body: Bytes,
}

impl FixedAnswer {
    /// As `config` has it.
    pub fn of(config: &AnswerConfig) -> Self {
        let headers = config.headers.iter().cloned().collect();
        Self { status: config.status, headers, body: Bytes::from(config.body.clone()) }
    }
}

/// Changes to header fields; `None` where nothing is configured, so that a request then pays one look.
pub type EditList = Option<Arc<[HeaderEdit]>>;

/// What is changed in the header fields of a route's requests and answers.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// On the way to the service.
    pub request: EditList,
    /// On the way to the client.
    pub response: EditList,
}

/// As the configuration has them.
pub fn edit_list(edits: &[HeaderEdit]) -> EditList {
    if edits.is_empty() { None } else { Some(edits.into()) }
}

/// What the gateway answers by itself on the listeners of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnAnswer {
    /// `GET /health`
    Health,
    /// `GET /gateway/status`
    Status,
    /// `GET /gateway/health-check/{service}`
    HealthCheck,
}

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// In normal form (see [`super::host::normal`]).
    pub host: &'a str,
    /// Checked (see [`super::path::check`]), without the query.
    pub path: &'a str,
    /// As it came.
    pub method: &'a Method,
    /// As they came.
    pub headers: &'a HeaderMap,
}

/// The first condition of a route that a request does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Another host.
    Host,
    /// Another path.
    Path,
    /// Another method.
    Method,
    /// This header is missing or has none of its values equal to the wanted one.
    Header(String),
}

impl Route {
    /// Whether the request falls under this route, and if not, on what it failed.
    pub fn judge(&self, request: &RequestView<'_>) -> Result<(), Mismatch> {
        if !self.host.as_ref().is_none_or(|pattern| host_matches(pattern, request.host)) {
            return Err(Mismatch::Host);
        }
        if !path_matches(&self.path, request.path) {
            return Err(Mismatch::Path);
        }
        self.judge_rest(request)
    }

    /// [`Route::judge`] without host and path, which an index has matched already.
    pub fn judge_rest(&self, request: &RequestView<'_>) -> Result<(), Mismatch> {
        if !(self.methods.is_empty() || self.methods.contains(request.method)) {
            return Err(Mismatch::Method);
        }
        match self.headers.iter().find(|pattern| !header_matches(pattern, request.headers)) {
            Some(pattern) => Err(Mismatch::Header(pattern.name.to_string())),
            None => Ok(()),
        }
    }

    /// How many bytes of the path the pattern itself takes.
    pub fn matched_bytes(&self) -> usize {
        match &self.path {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => path.len(),
        }
    }
}

/// Whether `host`, in normal form, is one of `pattern`.
pub fn host_matches(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(exact) => host == exact,
        HostPattern::Wildcard(suffix) => {
            host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        }
    }
}

fn path_matches(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => path == exact,
        PathPattern::Prefix(prefix) => {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

/// All values of a repeated header are looked at; one that is equal is enough.
fn header_matches(pattern: &HeaderPattern, headers: &HeaderMap) -> bool {
    match &pattern.value {
        None => headers.contains_key(&pattern.name),
        Some(wanted) => headers.get_all(&pattern.name).iter().any(|value| value == wanted),
    }
}
