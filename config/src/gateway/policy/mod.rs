//! Policies: rules that are defined once, by name, and that routes name. How they work together: `docs/policies.md`.

pub(super) mod cors;
pub(super) mod rate_limit;
pub(super) mod ip;
mod content;
mod api_keys;
mod auth;
mod forward_auth;
mod jwt;

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use crate::env::Env;
use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Said, Section, Wrong};
use crate::redis_address::StoreAddress;
use crate::{suggest, values};

pub(in crate::gateway) use api_keys::KEYS as API_KEY_KEYS;
pub use api_keys::{ApiKeyConfig, KeyHash};
pub use auth::{AuthConfig, TenantRule};
pub use forward_auth::ForwardAuthConfig;
pub(in crate::gateway) use forward_auth::KEYS as FORWARD_AUTH_KEYS;
pub(in crate::gateway) use jwt::KEYS as JWT_KEYS;
pub use jwt::{JwtAlgorithm, JwtConfig, JwtKeys};

pub use content::ContentConfig;
pub use cors::{CorsConfig, OriginPattern};
pub use ip::{IpConfig, Networks};
pub use rate_limit::{CountedBy, RateLimitConfig};

use super::{ListenerConfig, RouteConfig};

/// Limits on one route: each costs every request a look.
const RATE_LIMITS: usize = 8;

/// What is defined for routes to name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoliciesConfig {
    /// Keys of programs that ask.
    pub api_keys: Vec<ApiKeyConfig>,
    /// Issuers of tokens.
    pub jwt: Vec<JwtConfig>,
    /// Services that decide who may ask.
    pub forward_auth: Vec<ForwardAuthConfig>,
    /// Pages of other origins.
    pub cors: BTreeMap<String, Arc<CorsConfig>>,
    /// How often somebody may ask.
    pub rate_limits: BTreeMap<String, Arc<RateLimitConfig>>,
    /// Where limits are counted that all gateways share.
    pub rate_limit_store: Option<StoreAddress>,
    /// From which addresses clients may ask.
    pub ip: BTreeMap<String, Arc<IpConfig>>,
    /// What holds for a route that says nothing else, and for `/v2/{service}/`.
    pub general: RoutePoliciesConfig,
}

/// The policies of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutePoliciesConfig {
    /// Who may ask; `None`: everybody.
    pub auth: Option<AuthConfig>,
    /// From which addresses; `None`: from all.
    pub ip: Option<Arc<IpConfig>>,
    /// Pages of other origins; `None`: what the service says about that goes through.
    pub cors: Option<Arc<CorsConfig>>,
    /// All of these hold.
    pub rate_limits: Vec<Arc<RateLimitConfig>>,
    /// Which kinds of bodies; `None`: all.
    pub content: Option<ContentConfig>,
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
pub(in crate::gateway) const KEYS: &[Key] = &[
    AUTH,
    Key {
        name: "ip",
        kind: "name of an `[ip.NAME]`, or \"none\"",
        default: Some("\"none\""),
        absent: "",
        example: "\"office\"",
        what: "From which addresses clients may ask; 403 for all others.",
        why: "",
    },
    Key {
        name: "cors",
        kind: "name of a `[cors.NAME]`, or \"none\"",
        default: Some("\"none\""),
        absent: "",
        example: "\"web\"",
        what: "Which pages of other origins may use it. The gateway answers preflights, and replaces what the service says about it.",
        why: "Without it services answer preflights themselves, and what they say goes through.",
    },
    Key {
        name: "rate_limits",
        kind: "list of names of `[rate_limit.NAME]`",
        default: Some("[]"),
        absent: "",
        example: "[\"per-client\"]",
        what: "How often somebody may ask; 429 beyond. All of them hold; a request that one of them refuses does not count for those \
               that are looked at together with it.",
        why: "",
    },
    Key {
        name: "content",
        kind: "table of `types`",
        default: None,
        absent: "bodies of every kind",
        example: "{ types = [\"application/json\", \"image/*\"] }",
        what: "Media types of the bodies of requests; 415 for all others, and for a body that does not say what it is.",
        why: "How large a body may be: `body_bytes`.",
    },
];

/// Everything that routes can name, and what holds for all of them.
pub(in crate::gateway) fn read(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    env: &Env,
    password_wanted: bool,
) -> PoliciesConfig {
    let mut policies = PoliciesConfig {
        api_keys: api_keys::read(reading, root, env),
        jwt: jwt::read(reading, root, env),
        forward_auth: forward_auth::read(reading, root),
        cors: cors::read(reading, root),
        rate_limits: rate_limit::read(reading, root, root.place_of("rate_limit_store").is_some()),
        rate_limit_store: rate_limit::read_store(reading, root, password_wanted),
        ip: ip::read(reading, root),
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
    let mut policies = defined.general.clone();
    policies.auth = auth::read(reading, section, defined);
    if let Some(said) = section.value(reading, "ip", |value| named(value, "ip", &defined.ip)) {
        policies.ip = said.value;
    }
    if let Some(said) = section.value(reading, "cors", |value| named(value, "cors", &defined.cors)) {
        policies.cors = said.value;
    }
    let limit = |value: &DeValue<'_>| one_of(values::text(value)?, "rate_limit", &defined.rate_limits);
    if let Some(said) = section.list(reading, "rate_limits", "[\"per-client\"]", limit) {
        policies.rate_limits = Vec::new();
        let path = section.path_of("rate_limits");
        if said.value.len() > RATE_LIMITS {
            let wrong = format!("`{path}` has {} limits", said.value.len());
            reading.mistake(&said.at, wrong, format!("at most {RATE_LIMITS} are looked at"));
        }
        for limit in said.value {
            if policies.rate_limits.contains(&limit.value) {
                let wrong = format!("`{path}` has '{}' twice", limit.value.name);
                reading.mistake(&limit.at, wrong, "name each limit once");
            }
            policies.rate_limits.push(limit.value);
        }
    }
    if let Some(content) = content::read(reading, section) {
        policies.content = Some(content);
    }
    judge_keyed(reading, section, &policies);
    policies
}

/// Who is counted by key must be asked for one.
fn judge_keyed(reading: &mut Reading<'_>, section: &Section<'_, '_>, policies: &RoutePoliciesConfig) {
    let asked = policies.auth.as_ref().is_some_and(|auth| auth.api_key || auth.jwt.is_some());
    let keyed = policies.rate_limits.iter().find(|limit| limit.by.contains(&CountedBy::Key));
    let Some(limit) = keyed.filter(|_| !asked) else { return };
    let at = section.place_of("rate_limits").or_else(|| section.place_of("auth"));
    let wrong = format!("`{}` counts by key, and nobody is asked for one here", limit.name);
    let right = "add auth = { api_key = true } or a `jwt`, or name a limit that counts by something else";
    reading.mistake(&at.unwrap_or_else(|| section.at.clone()), wrong, right);
}

/// What a route or a listener says: a name, or `"none"`.
pub(in crate::gateway) fn named<T: Clone>(
    value: &DeValue<'_>,
    kind: &str,
    defined: &BTreeMap<String, T>,
) -> Outcome<Option<T>> {
    let text = values::text(value)?;
    if text == "none" { Ok(None) } else { one_of(text, kind, defined).map(Some) }
}

fn one_of<T: Clone>(text: &str, kind: &str, defined: &BTreeMap<String, T>) -> Outcome<T> {
    defined.get(text).cloned().ok_or_else(|| {
        let known: Vec<&str> = defined.keys().map(String::as_str).collect();
        let guess = suggest::nearest(text, &known);
        let right = match (guess, known.as_slice()) {
            (Some(guess), _) => format!("did you mean \"{guess}\"?"),
            (None, []) => format!("define it: [{kind}.{text}]"),
            (None, known) => format!("define [{kind}.{text}], or name one of these: {}", known.join(", ")),
        };
        Wrong::new(format!("names {}, and there is no such [{kind}.NAME]", shorten(text)), right)
    })
}

/// A definition that no route names is a mistake: somebody believes that it protects something.
pub(in crate::gateway) fn judge_unused(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    policies: &PoliciesConfig,
    listeners: &[&ListenerConfig],
    routes: &[RouteConfig],
) {
    judge_unused_traffic(reading, root, policies, listeners, routes);
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

/// The same of what needs no identity.
fn judge_unused_traffic(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    policies: &PoliciesConfig,
    listeners: &[&ListenerConfig],
    routes: &[RouteConfig],
) {
    // A route with a mistake names less than it was meant to.
    if reading.mistakes() > 0 {
        return;
    }
    let everywhere = || routes.iter().map(|route| &route.policies).chain([&policies.general]);
    let mut unused = Vec::new();
    for (name, cors) in &policies.cors {
        unused.push(("cors", name, everywhere().any(|of| of.cors.as_ref() == Some(cors))));
    }
    for (name, limit) in &policies.rate_limits {
        unused.push(("rate_limit", name, everywhere().any(|of| of.rate_limits.contains(limit))));
    }
    for (name, ip) in &policies.ip {
        let of_listener = listeners.iter().any(|listener| listener.rules.ip.as_ref() == Some(ip));
        unused.push(("ip", name, of_listener || everywhere().any(|of| of.ip.as_ref() == Some(ip))));
    }
    for (kind, name, _) in unused.into_iter().filter(|(_, _, used)| !used) {
        if let Some(at) = root.place_within(kind, name) {
            let right = format!("name it in a route or in [policies], or take [{kind}.{name}] out");
            reading.missing(&at, format!("`{kind}.{name}` is used nowhere"), right);
        }
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
