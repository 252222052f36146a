//! `/config`: the configuration that runs; `POST /config/reload` reads it again.

use std::fmt::Display;
use std::time::Duration;

use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use vertice_config::gateway::{
    AccessLogConfig, CertificateConfig, ClientAuthConfig, GatewayConfig, HealthConfig, ListenAddress,
    ListenerConfig, ListenerTlsConfig, PathPattern, RegistryPlace, RouteConfig, TlsVersion,
    UpstreamTlsConfig, WhenStale,
};
use vertice_process::answer::{self, Answer};

use super::guard::{not_a_change, refuse};
use super::{AdminState, limits, policies, rules};
use crate::reload::ReloadOrder;
use crate::reload::state::{ReloadOutcome, Reloaded};

/// The page.
pub fn show(state: &AdminState) -> Value {
    let mut page = state.config.details();
    if let Some(page) = page.as_object_mut() {
        page.insert("config".to_owned(), config(&state.config.config()));
    }
    page
}

/// `POST /config/reload`. Answered when it is applied, or refused.
pub async fn reload<B>(state: &AdminState, request: &Request<B>) -> Answer {
    if let Some(refused) = not_a_change(request) {
        return refused;
    }
    let (reply, done) = oneshot::channel();
    let busy = "the process is busy with another change; try again";
    if state.reloads.try_send(ReloadOrder { reply }).is_err() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, busy);
    }
    let Ok(Reloaded { outcome, generation, errors }) = done.await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, busy);
    };
    let status = match outcome {
        ReloadOutcome::Applied | ReloadOutcome::Unchanged => StatusCode::OK,
        ReloadOutcome::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ReloadOutcome::NeedsRestart | ReloadOutcome::Failed => StatusCode::CONFLICT,
    };
    let body = json!({"outcome": outcome.as_str(), "generation": generation, "errors": errors});
    answer::json(status, body.to_string() + "\n")
}

fn listener(listener: &ListenerConfig) -> Value {
    let ListenerConfig { name, address, mode, tls, proxy_protocol, rules } = listener;
    let mode = matches!(address, ListenAddress::Unix(_)).then(|| format!("{mode:04o}"));
    json!({
        "name": name,
        "address": address.to_string(),
        "mode": mode,
        "tls": tls.as_ref().map(https),
        "proxy_protocol": texts(proxy_protocol),
        "rules": rules::listener(rules),
    })
}

fn https(tls: &ListenerTlsConfig) -> Value {
    let ListenerTlsConfig {
        certificates,
        directory,
        default_name,
        min_version,
        client_auth,
        handshake_timeout,
        handshakes,
        at: _,
    } = tls;
    let (client_auth, client_ca) = match client_auth {
        ClientAuthConfig::None => ("none", None),
        ClientAuthConfig::Optional(ca) => ("optional", Some(&ca.value)),
        ClientAuthConfig::Required(ca) => ("required", Some(&ca.value)),
    };
    json!({
        "certificates": certificates.iter().map(pair).collect::<Vec<_>>(),
        "directory": directory.as_ref().map(|folder| &folder.value),
        "default": default_name.as_ref().map(|name| &name.value),
        "min_version": match min_version {
           TlsVersion::V12 => "1.2",
           TlsVersion::V13 => "1.3",
        },
        "client_auth": client_auth,
        "client_ca": client_ca,
        "handshake_timeout": time(*handshake_timeout),
        "handshakes": handshakes,
    })
}

fn pair(pair: &CertificateConfig) -> Value {
    let CertificateConfig { cert, key } = pair;
    json!({"cert": cert.value, "key": key.value})
}

fn towards_services(tls: &UpstreamTlsConfig) -> Value {
    let UpstreamTlsConfig { ca, server_name, client, verify } = tls;
    json!({
        "ca": ca.as_ref().map(|ca| &ca.value),
        "server_name": server_name,
        "client": client.as_ref().map(pair),
        "verify": verify,
    })
}

/// Everything but secrets. Each type is taken apart, so that a new setting cannot be forgotten.
fn config(config: &GatewayConfig) -> Value {
    let GatewayConfig {
        listeners,
        admin,
        registry,
        workers,
        state_dir,
        upgrade_socket,
        trusted_proxies,
        access_log,
        reason_header,
        timeouts: general,
        limits: of_clients,
        health,
        upstream_tls,
        headers,
        services,
        policies,
        routes,
        warnings,
    } = config;
    json!({
        "workers": workers,
        "state_dir": state_dir,
        "upgrade_socket": upgrade_socket,
        "trusted_proxies": texts(trusted_proxies),
        "reason_header": reason_header,
        "listeners": listeners.iter().map(listener).collect::<Vec<_>>(),
        "admin": admin.map(|address| address.to_string()),
        "registry": {
            "place": match &registry.place {
                RegistryPlace::Embedded(address) => format!("embedded at {address}"),
                RegistryPlace::Remote(url) => url.to_string(),
            },
            "token": registry.token.as_ref().map(|_| "[secret]"),
            "request_timeout": time(registry.request_timeout),
            "poll_interval": time(registry.poll_interval),
            "stale_after": registry.stale_after.map(time),
            "when_stale": match registry.when_stale {
                WhenStale::Serve => "serve",
                WhenStale::Refuse => "refuse",
            },
        },
        "access_log": access_log.as_ref().map(|log| match log {
            AccessLogConfig::Stdout => "stdout".to_owned(),
            AccessLogConfig::File(path) => path.display().to_string(),
        }),
        "timeouts": limits::timeouts(general),
        "limits": limits::general(of_clients),
        "health": health_of(health),
        "upstream_tls": towards_services(upstream_tls),
        "headers": rules::edits(headers),
        "services": services.iter().map(|service| json!({
            "name": service.name.as_str(),
            "fallback": service.fallback.as_ref().map(|urls| texts(urls)),
            "tls": service.tls.as_ref().map(towards_services),
        })).collect::<Vec<_>>(),
        "policies": policies::all(policies),
        "routes": routes.iter().map(route).collect::<Vec<_>>(),
        "warnings": warnings,
    })
}

fn route(route: &RouteConfig) -> Value {
    let RouteConfig {
        name,
        host,
        path,
        methods,
        headers,
        action,
        edits,
        body_bytes,
        policies,
        timeouts: own,
    } = route;
    json!({
        "name": name,
        "host": host.as_ref().map(rules::host),
        "path": match path {
            PathPattern::Exact(path) => json!({"exact": path}),
            PathPattern::Prefix(prefix) => json!({"prefix": prefix}),
        },
        "methods": texts(methods),
        // A value may be what lets a request in.
        "headers": headers.iter().map(|header| header.name.as_str()).collect::<Vec<_>>(),
        "action": rules::action(action),
        "changed_headers": rules::edits(edits),
        "body_bytes": limits::bytes(*body_bytes),
        "policies": policies::route(policies),
        "timeouts": limits::own_timeouts(own),
    })
}

fn health_of(health: &HealthConfig) -> Value {
    let HealthConfig {
        active,
        interval,
        timeout,
        unhealthy_after,
        healthy_after,
        eject_after_connect_failures,
        eject_after_errors,
        max_ejected_percent,
        panic_percent,
        slow_start,
    } = health;
    json!({
        "active": active,
        "interval": time(*interval),
        "timeout": time(*timeout),
        "unhealthy_after": unhealthy_after,
        "healthy_after": healthy_after,
        "eject_after_connect_failures": eject_after_connect_failures,
        "eject_after_errors": eject_after_errors,
        "max_ejected_percent": max_ejected_percent,
        "panic_percent": panic_percent,
        "slow_start": slow_start.map(time),
    })
}

pub(super) fn time(duration: Duration) -> String {
    format!("{duration:?}")
}

fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
