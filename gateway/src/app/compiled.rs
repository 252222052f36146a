//! What the parts of a process are told of its configuration. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use http::HeaderValue;
use vertice_config::gateway::{GatewayConfig, OwnTimeouts, PathPattern, RouteAction, ServiceConfig};
use vertice_registry_client::Token;

use crate::discovery::update::Fallbacks;
use crate::health::Reporter;
use crate::policy::{Policies, PoliciesNow};
use crate::reload::state::ConfigState;
use crate::route::{Action, Edits, FixedAnswer, OwnAnswer, Route, Routes, edit_list};
use crate::table::compile::Fixed;
use crate::tls::TlsListeners;
use crate::upstream::{AddressPolicy, UpstreamTls};
use crate::worker::Settings;

/// What stays the same over every configuration of one process.
#[derive(Debug)]
pub(super) struct Lasting {
    pub(super) workers: usize,
    /// Our signature in requests that we pass on.
    pub(super) via: HeaderValue,
    pub(super) health: Reporter,
    pub(super) state: Arc<ConfigState>,
    /// What is shown of policies.
    pub(super) policies: Arc<PoliciesNow>,
    /// What is shown of HTTPS.
    pub(super) tls: Arc<TlsListeners>,
    /// What the registry is shown.
    pub(super) token: Token,
}

/// What workers are told.
pub(super) fn settings(
    config: &GatewayConfig,
    lasting: &Lasting,
    policies: &Policies,
    policy: AddressPolicy,
    log: Option<SyncSender<Vec<u8>>>,
) -> Settings {
    Settings {
        connections: config.limits.connections,
        trusted_proxies: config.trusted_proxies.clone(),
        reason_header: config.reason_header,
        response_edits: edit_list(&config.headers.response),
        guard: policies.guard(),
        via: lasting.via.clone(),
        policy,
        health: lasting.health.under(&config.health),
        log,
        config: lasting.state.clone(),
    }
}

/// What no table changes.
pub(super) fn fixed(
    config: &GatewayConfig,
    workers: usize,
    policy: AddressPolicy,
    tls: UpstreamTls,
) -> Fixed {
    let named = config.services.iter().map(|service| service.name.clone());
    let of_routes = config.routes.iter().filter_map(|route| match &route.action {
        RouteAction::Service { service, .. } => Some(service.clone()),
        RouteAction::Redirect(_) | RouteAction::Answer(_) => None,
    });
    let deciding = config.policies.forward_auth.iter().map(|forward| forward.service.clone());
    let configured: BTreeSet<_> = named.chain(of_routes).chain(deciding).collect();
    Fixed { workers, configured, policy, newcomers_wait: config.health.active, tls: Some(tls) }
}

/// Where services are that the registry does not know.
pub(super) fn fallbacks(config: &GatewayConfig) -> Fallbacks {
    let urls = |service: &ServiceConfig| service.fallback.clone().unwrap_or_default();
    config.services.iter().map(|service| (service.name.clone(), urls(service))).collect()
}

/// The configured routes and the gateway's own.
pub(super) fn routes(
    config: &GatewayConfig,
    policies: &Policies,
    slot: impl Fn(&str) -> Option<usize>,
) -> Routes {
    let general =
        Edits { request: edit_list(&config.headers.request), response: edit_list(&config.headers.response) };
    let configured = config.routes.iter().filter_map(|route| {
        let action = match &route.action {
            RouteAction::Service { service, rewrite } => {
                // Every service that a route names has a slot: `fixed` lists them.
                Action::ToService { slot: slot(service.as_str())?, rewrite: rewrite.clone() }
            }
            RouteAction::Redirect(redirect) => Action::Redirect(redirect.clone()),
            RouteAction::Answer(answer) => Action::Fixed(Arc::new(FixedAnswer::of(answer))),
        };
        Some(Route {
            name: route.name.clone(),
            host: route.host.clone(),
            path: route.path.clone(),
            methods: route.methods.clone(),
            headers: route.headers.clone(),
            action,
            edits: Edits {
                request: edit_list(&route.edits.request),
                response: edit_list(&route.edits.response),
            },
            policies: policies.route(&route.policies),
            body_bytes: route.body_bytes,
            timeouts: route.timeouts,
            built_in: false,
        })
    });
    let general_policies = policies.route(&config.policies.general);
    let own = |name: &str, path: PathPattern, action: Action| Route {
        name: name.to_owned(),
        host: None,
        path,
        methods: Vec::new(),
        headers: Vec::new(),
        action: action.clone(),
        edits: general.clone(),
        // Health and status are for who watches the gateway, and tell nothing of the inside.
        policies: general_policies.clone().filter(|_| matches!(action, Action::ToNamed)),
        body_bytes: None,
        timeouts: OwnTimeouts::default(),
        built_in: true,
    };
    let built_in = [
        own("v2", PathPattern::Prefix("/v2".into()), Action::ToNamed),
        own("health", PathPattern::Exact("/health".into()), Action::Own(OwnAnswer::Health)),
        own("gateway-status", PathPattern::Exact("/gateway/status".into()), Action::Own(OwnAnswer::Status)),
        own(
            "gateway-health-check",
            PathPattern::Prefix("/gateway/health-check".into()),
            Action::Own(OwnAnswer::HealthCheck),
        ),
    ];
    Routes::compile(configured.chain(built_in).collect())
}
