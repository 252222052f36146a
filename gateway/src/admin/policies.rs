//! Policies, as `/config` shows them. Each type is taken apart, so that a new setting cannot be forgotten; secrets are left out.

use http::HeaderName;
use serde_json::{Value, json};
use vertice_config::gateway::policy::{
    ApiKeyConfig, AuthConfig, ForwardAuthConfig, JwtAlgorithm, JwtConfig, JwtKeys, PoliciesConfig,
    RoutePoliciesConfig, TenantRule,
};

/// What is defined.
pub fn all(policies: &PoliciesConfig) -> Value {
    let PoliciesConfig { api_keys, jwt, forward_auth, general } = policies;
    json!({
        "api_keys": api_keys.iter().map(api_key).collect::<Vec<_>>(),
        "jwt": jwt.iter().map(issuer).collect::<Vec<_>>(),
        "forward_auth": forward_auth.iter().map(forward).collect::<Vec<_>>(),
        "general": route(general),
    })
}

/// What a route has.
pub fn route(policies: &RoutePoliciesConfig) -> Value {
    let RoutePoliciesConfig { auth } = policies;
    json!({"auth": auth.as_ref().map(who)})
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
