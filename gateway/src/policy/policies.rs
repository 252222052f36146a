//! What a process has of its policies: what several routes and all workers share, and what outlives a reload.

use std::sync::Arc;

use arc_swap::ArcSwap;
use vertice_config::gateway::policy::{PoliciesConfig, RoutePoliciesConfig};

use super::RoutePolicies;
use super::api_key::ApiKeys;
use super::auth::Auth;
use super::cors::Cors;
use super::forward::ForwardAuth;
use super::guard::Guard;
use super::jwt::Issuer;
use super::jwt::jwks::Jwks;
use super::rate::RateLimits;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    keys: Arc<ApiKeys>,
    issuers: Vec<Arc<Issuer>>,
    published: Vec<Arc<Jwks>>,
    services: Vec<Arc<ForwardAuth>>,
    guard: Option<Arc<Guard>>,
    limits: RateLimits,
}

/// What holds now, for who shows it.
#[derive(Debug, Default)]
pub struct PoliciesNow(ArcSwap<Policies>);

impl PoliciesNow {
    /// These.
    pub fn get(&self) -> Arc<Policies> {
        self.0.load_full()
    }

    /// From here on, `policies`.
    pub fn show(&self, policies: &Policies) {
        self.0.store(Arc::new(policies.clone()));
    }
}

impl Policies {
    /// Of `config`; what `before` has under the same rules is kept.
    pub fn of(config: &PoliciesConfig, before: Option<&Self>) -> Self {
        let keys = Arc::new(ApiKeys::of(&config.api_keys));
        let mut published = Vec::new();
        let mut issuers = Vec::new();
        for issuer in &config.jwt {
            let known =
                before.iter().flat_map(|before| &before.published).find(|jwks| jwks.is(issuer)).cloned();
            let jwks = known.or_else(|| Jwks::of(issuer).map(Arc::new));
            published.extend(jwks.clone());
            issuers.push(Arc::new(Issuer::of(issuer, jwks)));
        }
        let services: Vec<_> =
            config.forward_auth.iter().map(|forward| Arc::new(ForwardAuth::of(forward))).collect();
        let of_tokens = issuers.iter().flat_map(|issuer| issuer.own_fields());
        let of_services = services.iter().flat_map(|service| service.own_fields());
        let guard = Guard::of(of_tokens.chain(of_services), keys.clone()).map(Arc::new);
        let limits = RateLimits::of(config, before.map(|before| &before.limits));
        Self { keys, issuers, published, services, guard, limits }
    }

    /// Those of one route; `None`: it has none, and its requests pay one look.
    pub fn route(&self, config: &RoutePoliciesConfig) -> Option<Arc<RoutePolicies>> {
        if *config == RoutePoliciesConfig::default() {
            return None;
        }
        let RoutePoliciesConfig { auth, ip, cors, rate_limits, content } = config;
        let auth = auth.as_ref().map(|auth| {
            let issuer = auth.jwt.as_ref().and_then(|name| self.issuers.iter().find(|i| i.name == *name));
            let forward =
                auth.forward.as_ref().and_then(|name| self.services.iter().find(|s| s.name == *name));
            Auth::of(auth, auth.api_key.then(|| self.keys.clone()), issuer.cloned(), forward.cloned())
        });
        Some(Arc::new(RoutePolicies {
            ip: ip.clone(),
            cors: cors.as_ref().map(|config| Arc::new(Cors::new(config))),
            limits: self.limits.route(rate_limits),
            auth,
            content: content.clone(),
        }))
    }

    /// What no client may say on any route.
    pub fn guard(&self) -> Option<Arc<Guard>> {
        self.guard.clone()
    }

    /// Who asked how often.
    pub fn limits(&self) -> &RateLimits {
        &self.limits
    }

    /// The API keys.
    pub fn keys(&self) -> &Arc<ApiKeys> {
        &self.keys
    }

    /// Key sets that somebody must read.
    pub fn published(&self) -> &[Arc<Jwks>] {
        &self.published
    }
}
