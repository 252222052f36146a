//! Policies, as `/config` shows them. Each type is taken apart, so that a new setting cannot be forgotten; secrets are left out.

use http::HeaderName;
use serde_json::{Value, json};
use vertice_config::gateway::policy::{
    ApiKeyConfig, AuthConfig, ContentConfig, CorsConfig, CountedBy, ForwardAuthConfig, IpConfig,
    JwtAlgorithm, JwtConfig, JwtKeys, Networks, OriginPattern, PoliciesConfig, RateLimitConfig,
    RoutePoliciesConfig, TenantRule,
};
use vertice_config::redis_address::{StoreAddress, Whereabouts};

use super::rules;

/// What is defined.
pub fn all(policies: &PoliciesConfig) -> Value {
    let PoliciesConfig { api_keys, jwt, forward_auth, cors, rate_limits, rate_limit_store, ip, general } =
        policies;
    json!({
        "api_keys": api_keys.iter().map(api_key).collect::<Vec<_>>(),
        "jwt": jwt.iter().map(issuer).collect::<Vec<_>>(),
        "forward_auth": forward_auth.iter().map(forward).collect::<Vec<_>>(),
        "cors": cors.values().map(|config| cors_rules(config)).collect::<Vec<_>>(),
        "rate_limits": rate_limits.values().map(|config| rate_limit(config)).collect::<Vec<_>>(),
        "rate_limit_store": rate_limit_store.as_ref().map(store),
        "ip": ip.values().map(|config| addresses(config)).collect::<Vec<_>>(),
        "general": route(general),
    })
}

/// What a route has.
pub fn route(policies: &RoutePoliciesConfig) -> Value {
    let RoutePoliciesConfig { auth, ip, cors, rate_limits, content } = policies;
    json!({
        "ip": ip.as_ref().map(|config| &config.name),
        "cors": cors.as_ref().map(|config| &config.name),
        "rate_limits": rate_limits.iter().map(|config| &config.name).collect::<Vec<_>>(),
        "auth": auth.as_ref().map(who),
        "content": content.as_ref().map(|ContentConfig { types }| json!({"types": types})),
    })
}

fn api_key(key: &ApiKeyConfig) -> Value {
    // A hash is shown to nobody: a short key could be found from it.
    let ApiKeyConfig { name, hash: _, scopes, tenant, expires_s } = key;
    let expires = expires_s.and_then(|s| jiff::Timestamp::from_second(i64::try_from(s).ok()?).ok());
    json!({"name": name, "scopes": scopes, "tenant": tenant, "expires": expires.map(|at| at.to_string())})
}

fn issuer(issuer: &JwtConfig) -> Value {
    let JwtConfig {
        name,
        keys,
        algorithms,
        issuer,
        audience,
        leeway,
        scopes_claims,
        tenant_claim,
        claim_headers,
        refresh,
        max_stale,
    } = issuer;
    json!({
        "name": name,
        "keys": match keys {
            JwtKeys::Secret(_) => "[secret]".to_owned(),
            JwtKeys::File(path) => path.value.display().to_string(),
            JwtKeys::Url(url) => url.to_string(),
        },
        "algorithms": algorithms.iter().map(|algorithm| JwtAlgorithm::as_str(*algorithm)).collect::<Vec<_>>(),
        "issuer": issuer,
        "audience": audience,
        "leeway": format!("{leeway:?}"),
        "scopes_claims": scopes_claims,
        "tenant_claim": tenant_claim,
        "claim_headers": claim_headers.iter().map(|(name, claim)| format!("{name}: {claim}")).collect::<Vec<_>>(),
        "refresh": format!("{refresh:?}"),
        "max_stale": format!("{max_stale:?}"),
    })
}

fn forward(forward: &ForwardAuthConfig) -> Value {
    let ForwardAuthConfig { name, service, path, timeout, request_headers, response_headers } = forward;
    json!({
        "name": name,
        "service": service.as_str(),
        "path": path,
        "timeout": format!("{timeout:?}"),
        "request_headers": names(request_headers),
        "response_headers": names(response_headers),
    })
}

fn who(auth: &AuthConfig) -> Value {
    let AuthConfig { api_key, query_key, jwt, forward, all, scopes, tenant } = auth;
    json!({
        "api_key": api_key,
        "query_key": query_key,
        "jwt": jwt,
        "forward": forward,
        "all": all,
        "scopes": scopes,
        "tenant": tenant.as_ref().map(|tenant| match tenant {
            TenantRule::Is(tenant) => json!(tenant),
            TenantRule::Header(name) => json!({"header": name.as_str()}),
            TenantRule::Segment(number) => json!({"segment": number}),
        }),
    })
}

fn names(names: &[HeaderName]) -> Vec<&str> {
    names.iter().map(HeaderName::as_str).collect()
}

fn cors_rules(config: &CorsConfig) -> Value {
    let CorsConfig { name, origins, methods, headers, expose, credentials, max_age } = config;
    json!({
        "name": name,
        "origins": list(origins.as_ref(), |OriginPattern { scheme, host, port }| {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}://{}{port}", rules::host(host))
        }),
        "methods": list(methods.as_ref(), ToString::to_string),
        "headers": list(headers.as_ref(), ToString::to_string),
        "expose": list(expose.as_ref(), ToString::to_string),
        "credentials": credentials,
        "max_age_seconds": max_age.as_secs(),
    })
}

fn list<T>(list: Option<&Vec<T>>, text: impl Fn(&T) -> String) -> Vec<String> {
    list.map_or_else(|| vec!["*".to_owned()], |list| list.iter().map(text).collect())
}

fn rate_limit(config: &RateLimitConfig) -> Value {
    let RateLimitConfig { name, requests, per, burst, by, shared } = config;
    let part = |by: &CountedBy| match by {
        CountedBy::Address => json!("address"),
        CountedBy::Key => json!("key"),
        CountedBy::Route => json!("route"),
        CountedBy::Header(name) => json!({"header": name.as_str()}),
    };
    json!({
        "name": name,
        "requests": requests,
        "per_seconds": per.as_secs(),
        "burst": burst,
        "by": by.iter().map(part).collect::<Vec<_>>(),
        "shared": shared,
    })
}

fn store(address: &StoreAddress) -> Value {
    let StoreAddress { whereabouts, password, db } = address;
    let (at, master) = match whereabouts {
        Whereabouts::Fixed(at) => (vec![at.to_string()], None),
        Whereabouts::Sentinel { sentinels, master } => {
            (sentinels.iter().map(ToString::to_string).collect(), Some(master))
        }
    };
    json!({"at": at, "master": master, "db": db, "has_password": password.is_some()})
}

fn addresses(config: &IpConfig) -> Value {
    let IpConfig { name, allow, deny } = config;
    let texts = |networks: &Networks| networks.written().iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({"name": name, "allow": allow.as_ref().map(texts), "deny": texts(deny)})
}
