//! Rules about who may ask, how often, and for what; and what of it the answer says. Data, compiled from the configuration.
//!
//! [`admit`] is the one function that tells their order. What it decides from is pure; the one thing that it asks of others
//! (an authorisation service) it asks through its caller, who has connections.

mod refusal;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use vertice_config::gateway::policy::{PoliciesConfig, RoutePoliciesConfig};

pub use refusal::Refusal;

/// What a process has of its policies: what several routes and all workers share, and what outlives a reload.
#[derive(Clone, Debug, Default)]
pub struct Policies {}

/// The policies of one route.
#[derive(Clone, Debug)]
pub struct RoutePolicies {}

/// A request as policies see it; its head is theirs to change.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The head as it came, hop-by-hop fields and all.
    pub parts: &'a mut Parts,
    /// The host in normal form.
    pub host: &'a str,
}

/// What is known of a request once it was looked at.
#[derive(Debug, Default)]
pub struct Admission {
    /// Who asks, for the log.
    pub who: Option<Arc<str>>,
    /// What the service is told, in the place of what the client may have claimed.
    pub request_fields: Vec<(HeaderName, HeaderValue)>,
    /// What the client is told, in refusals as well.
    pub answer_fields: Vec<(HeaderName, HeaderValue)>,
}

/// Why a request goes no further.
#[derive(Debug)]
pub enum Stop {
    /// It is refused.
    Refused(Refusal),
    /// It is answered.
    Answered(Response<Bytes>),
}

impl Policies {
    /// Of `config`; what `before` has under the same rules is kept.
    pub fn of(_config: &PoliciesConfig, _before: Option<&Self>) -> Self {
        Self {}
    }

    /// Those of one route; `None`: it has none, and its requests pay one look.
    pub fn route(&self, config: &RoutePoliciesConfig) -> Option<Arc<RoutePolicies>> {
        (*config != RoutePoliciesConfig::default()).then(|| Arc::new(RoutePolicies {}))
    }
}

/// Looks at a request that found its route. What it learns on the way stays in `admission`, whatever comes of it.
///
/// In this order: what costs least and refuses most comes first, and nobody learns more from a refusal than he may.
///
/// 1. the client's address
/// 2. CORS: a preflight is answered here, it has no key
/// 3. the rate of the client's address
/// 4. who asks: an API key, a token, an authorisation service
/// 5. the rate of who asks, and of the route
/// 6. what it may ask for: scopes, tenant, kind of body
#[allow(clippy::unused_async, reason = "stages that wait are about to come")]
pub async fn admit(
    _policies: &RoutePolicies,
    _asking: &mut Asking<'_>,
    _admission: &mut Admission,
) -> Result<(), Stop> {
    Ok(())
}

/// Puts what the client is told by policies into an answer, whoever made it.
pub fn finish(admission: Admission, _status: StatusCode, headers: &mut HeaderMap) {
    for (name, value) in admission.answer_fields {
        headers.insert(name, value);
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
