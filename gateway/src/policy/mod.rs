//! Rules about who may ask, how often, and for what; and what of it the answer says. Data, compiled from the configuration.
//!
//! [`admit`] is the one function that tells their order. What it decides from is pure; the one thing that it asks of others
//! (an authorisation service) it asks through its caller, who has connections.

mod api_key;
mod auth;
pub mod forward;
mod guard;
mod identity;
pub mod jwt;
mod policies;
mod refusal;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

pub use api_key::ApiKeys;
pub use auth::Auth;
use forward::ForwardAuth;
pub use guard::Guard;
pub use identity::Identity;
pub use policies::{Policies, PoliciesNow};
pub use refusal::Refusal;

/// The policies of one route.
#[derive(Debug)]
pub struct RoutePolicies {
    /// Who may ask; `None`: everybody.
    auth: Option<Auth>,
}

impl RoutePolicies {
    /// What they are, in their order, for people.
    pub fn shown(&self) -> Vec<String> {
        self.auth.iter().map(|auth| format!("auth: {auth}")).collect()
    }
}

/// A request as policies see it; its head is theirs to change.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The head as it came, hop-by-hop fields and all.
    pub parts: &'a mut Parts,
    /// The host in normal form.
    pub host: &'a str,
    /// Seconds since 1970.
    pub now_s: u64,
    /// A gRPC call, which is told errors in its terms.
    pub is_grpc: bool,
}

/// What is known of a request once it was looked at.
#[derive(Debug, Default)]
pub struct Admission {
    /// Who asks: nobody known, one, or several where a route wants all of its ways.
    pub who: Vec<Arc<Identity>>,
    /// What the service is told, in the place of what the client may have claimed.
    pub request_fields: Vec<(HeaderName, HeaderValue)>,
    /// What the client is told, in refusals as well.
    pub answer_fields: Vec<(HeaderName, HeaderValue)>,
}

impl Admission {
    /// Who asks, for the log.
    pub fn names(&self) -> Option<Arc<str>> {
        auth::names(&self.who)
    }
}

/// Whether a service lets a request in.
#[derive(Debug)]
pub struct Question<'a> {
    /// The service and the rules.
    pub forward: &'a ForwardAuth,
    /// The request that is asked about.
    pub asked: &'a Parts,
}

/// Why a request goes no further.
#[derive(Debug)]
pub enum Stop {
    /// It is refused.
    Refused(Refusal),
    /// It is answered, here or by the service that decides.
    Answered(Box<Response<Bytes>>),
}

/// Looks at a request that found its route. What it learns on the way stays in `admission`, whatever comes of it.
///
/// In this order: what costs least and refuses most comes first, and nobody learns more from a refusal than he may.
///
/// 1. the client's address
/// 2. CORS: a preflight is answered here, it has no key
/// 3. the rate of the client's address
/// 4. who asks: an API key, a token, an authorisation service, which `ask` asks
/// 5. the rate of who asks, and of the route
/// 6. what it may ask for: scopes, tenant, kind of body
pub async fn admit(
    policies: &RoutePolicies,
    asking: &mut Asking<'_>,
    admission: &mut Admission,
    ask: impl AsyncFnOnce(Question<'_>) -> Option<Response<Bytes>>,
) -> Result<(), Stop> {
    if let Some(auth) = &policies.auth {
        auth.who_asks(asking, admission, ask).await?;
        auth.may_ask(asking, admission)?;
    }
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

#[cfg(test)]
mod tests;
