//! Who asks, and what it may ask for.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, Response};
use vertice_config::gateway::policy::{AuthConfig, TenantRule};

use super::api_key::ApiKeys;
use super::forward::{self, ForwardAuth, Verdict};
use super::identity::Identity;
use super::jwt::Issuer;
use super::refusal::Refusal;
use super::{Admission, Asking, Question, Stop};

/// Who may ask.
#[derive(Debug)]
pub struct Auth {
    keys: Option<Arc<ApiKeys>>,
    query_key: bool,
    issuer: Option<Arc<Issuer>>,
    forward: Option<Arc<ForwardAuth>>,
    all: bool,
    scopes: Vec<String>,
    tenant: Option<TenantRule>,
}

/// What one way has found.
enum Found {
    Nobody,
    Somebody,
    Refused(Refusal),
}

impl Auth {
    /// As `config` has it. The ways are those that it names.
    pub(super) fn of(
        config: &AuthConfig,
        keys: Option<Arc<ApiKeys>>,
        issuer: Option<Arc<Issuer>>,
        forward: Option<Arc<ForwardAuth>>,
    ) -> Self {
        Self {
            keys,
            query_key: config.query_key,
            issuer,
            forward,
            all: config.all,
            scopes: config.scopes.clone(),
            tenant: config.tenant.clone(),
        }
    }

    /// Finds out who asks. Of several ways one is enough, unless all are wanted; the service that decides is asked last, and
    /// only if it matters.
    pub(super) async fn who_asks(
        &self,
        asking: &mut Asking<'_>,
        admission: &mut Admission,
        ask: impl AsyncFnOnce(Question<'_>) -> Option<Response<Bytes>>,
    ) -> Result<(), Stop> {
        let by_key = self.by_key(asking, admission);
        let by_token = self.by_token(asking, admission);
        let ways = [by_key, by_token];
        let enough = ways.iter().flatten().any(|found| matches!(found, Found::Somebody));
        if enough && !self.all {
            return Ok(());
        }
        let refused = ways.iter().flatten().find_map(|found| match found {
            Found::Refused(refusal) => Some(*refusal),
            Found::Nobody | Found::Somebody => None,
        });
        let nobody =
            || ways.iter().flatten().any(|found| matches!(found, Found::Nobody)).then(|| self.missing());
        let against = refused.or_else(nobody);
        match (&self.forward, against) {
            (Some(forward), None) => self.by_service(forward, asking, admission, ask).await,
            (Some(forward), Some(_)) if !self.all => self.by_service(forward, asking, admission, ask).await,
            (_, Some(refusal)) => Err(self.refuse(refusal, admission)),
            (None, None) => Ok(()),
        }
    }

    fn by_key(&self, asking: &mut Asking<'_>, admission: &mut Admission) -> Option<Found> {
        let keys = self.keys.as_ref()?;
        Some(match keys.take(asking.parts, self.query_key, asking.now_s) {
            None => Found::Nobody,
            Some(Err(refusal)) => Found::Refused(refusal),
            Some(Ok(identity)) => {
                admission.who.push(identity);
                Found::Somebody
            }
        })
    }

    fn by_token(&self, asking: &Asking<'_>, admission: &mut Admission) -> Option<Found> {
        let issuer = self.issuer.as_ref()?;
        Some(match issuer.judge(&asking.parts.headers, asking.now_s) {
            None => Found::Nobody,
            Some(Err(refusal)) => Found::Refused(refusal),
            Some(Ok(proved)) => {
                admission.who.push(proved.identity);
                admission.request_fields.extend(proved.fields);
                Found::Somebody
            }
        })
    }

    async fn by_service(
        &self,
        forward: &ForwardAuth,
        asking: &Asking<'_>,
        admission: &mut Admission,
        ask: impl AsyncFnOnce(Question<'_>) -> Option<Response<Bytes>>,
    ) -> Result<(), Stop> {
        let question = Question { forward, asked: asking.parts };
        let Some(answer) = ask(question).await else {
            return Err(Refusal::AuthUnavailable.into());
        };
        match forward.judge(answer.status(), answer.headers()) {
            Verdict::GoOn(fields) => {
                admission.request_fields.extend(fields);
                Ok(())
            }
            Verdict::Tell if asking.is_grpc => Err(forward::in_grpc(answer.status()).into()),
            Verdict::Tell => Err(Stop::Answered(Box::new(answer))),
            Verdict::Failed => Err(Refusal::AuthUnavailable.into()),
        }
    }

    /// Judges what those who ask may ask for. With several, each must be allowed to.
    pub(super) fn may_ask(&self, asking: &Asking<'_>, admission: &mut Admission) -> Result<(), Stop> {
        let needs_somebody = !self.scopes.is_empty() || self.tenant.is_some();
        if needs_somebody && admission.who.is_empty() {
            return Err(self.refuse(Refusal::ScopeMissing, admission));
        }
        if !admission.who.iter().all(|identity| identity.has(&self.scopes)) {
            return Err(self.refuse(Refusal::ScopeMissing, admission));
        }
        let Some(rule) = &self.tenant else { return Ok(()) };
        let of_tenant = |tenant: &str| admission.who.iter().all(|identity| identity.is_of(tenant));
        if wanted_tenant(rule, asking.parts).is_some_and(of_tenant) {
            return Ok(());
        }
        Err(Refusal::TenantWrong.into())
    }

    fn missing(&self) -> Refusal {
        if self.issuer.is_some() { Refusal::TokenMissing } else { Refusal::KeyMissing }
    }

    fn refuse(&self, refusal: Refusal, admission: &mut Admission) -> Stop {
        if let Some(challenge) = refusal.challenge(self.issuer.is_some(), &self.scopes) {
            admission.answer_fields.push((WWW_AUTHENTICATE, challenge));
        }
        refusal.into()
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.keys.is_some().then(|| {
            if self.query_key { "an API key, also in the query".to_owned() } else { "an API key".to_owned() }
        });
        let token = self.issuer.as_ref().map(|issuer| format!("a token of {}", issuer.name));
        let service = self.forward.as_ref().map(|forward| format!("a word of {}", forward.name));
        let ways: Vec<String> = [key, token, service].into_iter().flatten().collect();
        f.write_str(&ways.join(if self.all { " and " } else { " or " }))?;
        if !self.scopes.is_empty() {
            write!(f, "; with scopes {}", self.scopes.join(", "))?;
        }
        match &self.tenant {
            None => Ok(()),
            Some(TenantRule::Is(tenant)) => write!(f, "; of tenant {tenant}"),
            Some(TenantRule::Header(name)) => write!(f, "; of the tenant that {name} names"),
            Some(TenantRule::Segment(number)) => write!(f, "; of the tenant in segment {number} of the path"),
        }
    }
}

/// The tenant that a request is for; `None`: it does not say, or says several things.
fn wanted_tenant<'a>(rule: &'a TenantRule, parts: &'a Parts) -> Option<&'a str> {
    match rule {
        TenantRule::Is(tenant) => Some(tenant),
        TenantRule::Header(name) => only(&parts.headers, name)?.to_str().ok(),
        TenantRule::Segment(number) => {
            parts.uri.path().split('/').nth(*number).filter(|text| !text.is_empty())
        }
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Names of all who ask, for the log.
pub(super) fn names(who: &[Arc<Identity>]) -> Option<Arc<str>> {
    match who {
        [] => None,
        [one] => Some(one.name.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(|identity| &*identity.name).collect();
            Some(names.join(", ").into())
        }
    }
}
