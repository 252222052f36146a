//! Rules about who may ask, how often, and for what; and what of it the answer says. Data, compiled from the configuration.
//!
//! [`admit`] is the one function that tells their order. What it decides from is pure; the one thing that it asks of others
//! (an authorisation service) it asks through its caller, who has connections.

mod api_key;
pub mod cors;
pub mod rate;
mod auth;
pub mod forward;
mod guard;
mod identity;
pub mod jwt;
mod policies;
mod refusal;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Response, StatusCode};
use tokio::time::Instant;
use vertice_config::gateway::policy::{ContentConfig, IpConfig};

use cors::{Cors, Origin};
use rate::limiter::Asker;
use rate::{RouteLimits, Stage};

pub use api_key::ApiKeys;
pub use auth::Auth;
use forward::ForwardAuth;
pub use guard::Guard;
pub use identity::Identity;
pub use policies::{Policies, PoliciesNow};
pub use refusal::Refusal;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The policies of one route.
#[derive(Debug)]
pub struct RoutePolicies {
    /// From which addresses; `None`: from all.
    ip: Option<Arc<IpConfig>>,
    /// Pages of other origins; `None`: the service says.
    cors: Option<Arc<Cors>>,
    /// How often somebody may ask.
    limits: Option<RouteLimits>,
    /// Who may ask; `None`: everybody.
    auth: Option<Auth>,
    /// Which kinds of bodies; `None`: all.
    content: Option<ContentConfig>,
}

impl RoutePolicies {
    /// What they are, in their order, for people.
    pub fn shown(&self) -> Vec<String> {
        let ip = self.ip.iter().map(|ip| format!("ip: {}", ip.name));
        let cors = self.cors.iter().map(|cors| format!("cors: {}", cors.name()));
        let limits = |stage| {
            let names = self.limits.iter().flat_map(move |limits| limits.names(stage));
            names.map(|name| format!("rate limit: {name}"))
        };
        let auth = self.auth.iter().map(|auth| format!("auth: {auth}"));
        let content = self.content.iter().map(|content| format!("content: {}", content.types.join(", ")));
        ip.chain(cors)
            .chain(limits(Stage::Early))
            .chain(auth)
            .chain(limits(Stage::Late))
            .chain(content)
            .collect()
    }

    /// Whether preflights are answered here.
    pub fn answers_preflights(&self) -> bool {
        self.cors.is_some()
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
    /// The route's name.
    pub route: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// When it came.
    pub now: Instant,
    /// Whether it has a body.
    pub has_body: bool,
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
    /// What a page of another origin may do with the answer.
    pub cors: Option<(Arc<Cors>, Origin)>,
    /// It was asked whether another request may be sent.
    pub is_preflight: bool,
    /// A page of another origin asks that may not.
    pub origin_refused: bool,
    /// `RateLimit`.
    limits: String,
    /// `RateLimit-Policy`.
    limits_policy: Option<HeaderValue>,
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
    if policies.ip.as_ref().is_some_and(|ip| !ip.admits(asking.client)) {
        return Err(Refusal::Address.into());
    }
    if let Some(cors) = &policies.cors {
        // A preflight asks nothing of the service, and carries no key.
        if let Some(answer) = judge_origin(cors, asking, admission) {
            return Err(Stop::Answered(Box::new(answer)));
        }
    }
    if let Some(limits) = &policies.limits {
        admission.limits_policy = Some(limits.policy().clone());
        take(limits, Stage::Early, asking, admission)?;
    }
    if let Some(auth) = &policies.auth {
        auth.who_asks(asking, admission, ask).await?;
    }
    if let Some(limits) = &policies.limits {
        take(limits, Stage::Late, asking, admission)?;
    }
    if let Some(auth) = &policies.auth {
        auth.may_ask(asking, admission)?;
    }
    if let Some(content) = &policies.content {
        judge_content(content, asking, admission)?;
    }
    Ok(())
}

/// Whose page asks; `Some`: the answer to a preflight.
fn judge_origin(cors: &Arc<Cors>, asking: &Asking<'_>, admission: &mut Admission) -> Option<Response<Bytes>> {
    let origin = cors.judge(&asking.parts.headers);
    if cors::preflight(&asking.parts.method, &asking.parts.headers).is_none() {
        admission.origin_refused = origin == Origin::Refused;
        admission.cors = Some((cors.clone(), origin));
        return None;
    }
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    *answer.headers_mut() = cors.answer(&origin);
    admission.is_preflight = true;
    admission.origin_refused = origin == Origin::Refused;
    Some(answer)
}

/// Whether the limits of `stage` have room for the request.
fn take(
    limits: &RouteLimits,
    stage: Stage,
    asking: &Asking<'_>,
    admission: &mut Admission,
) -> Result<(), Refusal> {
    let who = admission.names();
    let asker = Asker {
        address: asking.client,
        key: who.as_deref(),
        route: asking.route,
        headers: &asking.parts.headers,
        found_out: &admission.request_fields,
    };
    limits.take(stage, &asker, asking.now, &mut admission.limits).map_err(|wait_s| {
        admission.answer_fields.push((RETRY_AFTER, HeaderValue::from(wait_s.max(1))));
        Refusal::RateLimited
    })
}

/// Whether the body is of a kind that the route takes. All values of a repeated Content-Type are judged.
fn judge_content(
    content: &ContentConfig,
    asking: &Asking<'_>,
    admission: &mut Admission,
) -> Result<(), Refusal> {
    if !asking.has_body {
        return Ok(());
    }
    let mut said = asking.parts.headers.get_all(CONTENT_TYPE).iter().peekable();
    let takes = |value: &HeaderValue| value.to_str().is_ok_and(|text| content.takes(text));
    if said.peek().is_some() && said.all(takes) {
        return Ok(());
    }
    // RFC 9110 15.5.16: what would be taken.
    if let Ok(types) = HeaderValue::from_str(&content.types.join(", ")) {
        admission.answer_fields.push((ACCEPT, types));
    }
    Err(Refusal::ContentType)
}

/// Puts what the client is told by policies into an answer, whoever made it.
pub fn finish(admission: Admission, _status: StatusCode, headers: &mut HeaderMap) {
    for (name, value) in admission.answer_fields {
        headers.insert(name, value);
    }
    if let Some((cors, origin)) = admission.cors {
        cors.finish(&origin, headers);
    }
    // They are lists: what a service says of limits of its own stays.
    if let Some(policy) = admission.limits_policy {
        headers.append(RATE_LIMIT_POLICY, policy);
    }
    if !admission.limits.is_empty()
        && let Ok(limits) = HeaderValue::try_from(admission.limits)
    {
        headers.append(RATE_LIMIT, limits);
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[cfg(test)]
mod tests;
