//! Policies: rules that are defined once, by name, and that routes name. How they work together: `docs/policies.md`.

mod api_keys;
mod auth;
mod forward_auth;
mod jwt;

use crate::env::Env;
use crate::keys::{Key, names};
use crate::reader::{Reading, Said, Section};
use crate::suggest;

pub(in crate::gateway) use api_keys::KEYS as API_KEY_KEYS;
pub use api_keys::{ApiKeyConfig, KeyHash};
pub use auth::{AuthConfig, TenantRule};
pub use forward_auth::ForwardAuthConfig;
pub(in crate::gateway) use forward_auth::KEYS as FORWARD_AUTH_KEYS;
pub(in crate::gateway) use jwt::KEYS as JWT_KEYS;
pub use jwt::{JwtAlgorithm, JwtConfig, JwtKeys};

use super::RouteConfig;

/// What is defined for routes to name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoliciesConfig {
    /// Keys of programs that ask.
    pub api_keys: Vec<ApiKeyConfig>,
    /// Issuers of tokens.
    pub jwt: Vec<JwtConfig>,
    /// Services that decide who may ask.
    pub forward_auth: Vec<ForwardAuthConfig>,
    /// What holds for a route that says nothing else, and for `/v2/{service}/`.
    pub general: RoutePoliciesConfig,
}

/// The policies of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutePoliciesConfig {
    /// Who may ask; `None`: everybody.
    pub auth: Option<AuthConfig>,
}

pub(in crate::gateway) const AUTH: Key = Key {
    name: "auth",
    kind: "table of `api_key`, `query_key`, `jwt`, `forward`, `all`, `scopes`, `tenant`, or \"none\"",
    default: None,
    absent: "what `[policies]` says",
    example: "{ api_key = true, scopes = [\"osint\"] }",
    what: "Who may ask: who has an API key (`api_key = true`; with `query_key = true` also in the query, as `?api_key=`), a token \
           of an issuer (`jwt = \"maximus\"`), or whom a service lets in (`forward = \"sso\"`). Of several ways one is enough, \
           unless `all = true`. `scopes` must all be held. `tenant` must be that of who asks: a text, `{ header = \"x-tenant\" }`, \
           or `{ segment = 4 }` of the path.",
    why: "`\"none\"` switches off what `[policies]` says. How it works: [policies](../policies.md).",
};

/// Keys of `[policies]`; a route has them as well.
pub(in crate::gateway) const KEYS: &[Key] = &[AUTH];

/// Everything that routes can name, and what holds for all of them.
pub(in crate::gateway) fn read(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    env: &Env,
) -> PoliciesConfig {
    let mut policies = PoliciesConfig {
        api_keys: api_keys::read(reading, root, env),
        jwt: jwt::read(reading, root, env),
        forward_auth: forward_auth::read(reading, root),
        general: RoutePoliciesConfig::default(),
    };
    if let Some(section) = root.section(reading, "policies", &names(KEYS)) {
        policies.general = read_route(reading, &section, &policies);
    }
    policies
}

/// What `section`, a route or `[policies]`, says over the general policies.
pub(in crate::gateway) fn read_route(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    defined: &PoliciesConfig,
) -> RoutePoliciesConfig {
    RoutePoliciesConfig { auth: auth::read(reading, section, defined) }
}

/// A definition that no route names is a mistake: somebody believes that it protects something.
pub(in crate::gateway) fn judge_unused(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    policies: &PoliciesConfig,
    routes: &[RouteConfig],
) {
    let used = || {
        let general = policies.general.auth.iter();
        general.chain(routes.iter().filter_map(|route| route.policies.auth.as_ref()))
    };
    let mut unused = |kind: &str, name: &str, used: bool| {
        if let Some(at) = root.place_within(kind, name).filter(|_| !used) {
            let right = format!("name it in `auth` of a route or of [policies], or take [{kind}.{name}] out");
            reading.missing(&at, format!("`{kind}.{name}` is used nowhere"), right);
        }
    };
    for jwt in &policies.jwt {
        unused("jwt", &jwt.name, used().any(|auth| auth.jwt.as_ref() == Some(&jwt.name)));
    }
    for forward in &policies.forward_auth {
        unused(
            "forward_auth",
            &forward.name,
            used().any(|auth| auth.forward.as_ref() == Some(&forward.name)),
        );
    }
    if let Some(at) = root.place_of("api_key").filter(|_| !used().any(|auth| auth.api_key)) {
        reading.missing(
            &at,
            "`api_key` is used nowhere: no route asks for a key",
            "write auth = { api_key = true } in a route or in [policies], or take the keys out",
        );
    }
}

/// What is odd but no mistake.
pub(in crate::gateway) fn warnings(policies: &PoliciesConfig, routes: &[RouteConfig]) -> Vec<String> {
    let wants_key = |auth: &Option<AuthConfig>| auth.as_ref().is_some_and(|auth| auth.api_key);
    if !policies.api_keys.is_empty() {
        return Vec::new();
    }
    let without = |what: &str| {
        format!(
            "{what} asks for an API key, and there is none: nobody gets in; add [[api_key]] or set MAXIMUS_API_KEY"
        )
    };
    let general = wants_key(&policies.general.auth).then(|| without("[policies]"));
    let of_routes = routes.iter().filter(|route| wants_key(&route.policies.auth));
    let first = of_routes.map(|route| without(&format!("route '{}'", route.name))).next();
    general.or(first).into_iter().collect()
}

/// Notes where `said` names none of `known`.
fn must_be_known(
    reading: &mut Reading<'_>,
    path: &str,
    said: &Said<String>,
    known: &[&str],
    kind: &str,
) -> bool {
    if known.contains(&said.value.as_str()) {
        return true;
    }
    let guess =
        suggest::nearest(&said.value, known).map(|k| format!("did you mean \"{k}\"? ")).unwrap_or_default();
    let have = if known.is_empty() {
        "there is none yet".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    reading.mistake(
        &said.at,
        format!("`{path}` names '{}', which is not defined", said.value),
        format!("{guess}define it as [{kind}.{}]; {have}", said.value),
    );
    false
}
