//! The gateway's variables: those of the original gateway keep their names and meaning.

use std::time::Duration;

use vertice_registry_api::ServiceUrl;

use super::ListenAddress;
use super::listeners::AdminSpec;
use crate::env::{Env, EnvError};
use crate::secret::Secret;
use crate::values;

/// One variable, for the reference page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variable {
    /// As it is written.
    pub(super) name: &'static str,
    /// What kind of value it takes.
    pub(super) kind: &'static str,
    /// What it does.
    pub(super) what: &'static str,
}

pub(super) const LISTEN: &str = "GATEWAY_LISTEN";
pub(super) const ADMIN: &str = "GATEWAY_ADMIN";
const REGISTRY: &str = "VERTICE_REGISTRY_URL";
const TOKEN: &str = "VERTICE_REGISTRY_TOKEN";
const OLD_TOKEN: &str = "REGISTRY_AUTH_TOKEN";
const STORE_PASSWORD: &str = "RATE_LIMIT_STORE_PASSWORD";
const TIMEOUT: &str = "REGISTRY_TIMEOUT";
const CACHE_TTL: &str = "GATEWAY_CACHE_TTL";

/// Everything that is read, except the fall-backs, whose names are open.
pub(super) const VARIABLES: &[Variable] = &[
    Variable { name: LISTEN, kind: "address", what: "The only listener, as `--listen`." },
    Variable { name: ADMIN, kind: "address or off", what: "The admin listener, as `[admin] address`." },
    Variable { name: REGISTRY, kind: "URL", what: "The registry, as `[registry] url`." },
    Variable {
        name: TOKEN,
        kind: "text",
        what: "What the registry is shown; `VERTICE_REGISTRY_TOKEN_FILE` names a file that holds it.",
    },
    Variable {
        name: OLD_TOKEN,
        kind: "text",
        what: "The same where `VERTICE_REGISTRY_TOKEN` is not set; `REGISTRY_AUTH_TOKEN_FILE` as well.",
    },
    Variable {
        name: STORE_PASSWORD,
        kind: "text",
        what: "The password of the `[rate_limit_store]`; `RATE_LIMIT_STORE_PASSWORD_FILE` names a file that holds it.",
    },
    Variable {
        name: TIMEOUT,
        kind: "seconds, 0.001 to 86400",
        what: "For one read of the registry, as `[registry] request_timeout`.",
    },
    Variable {
        name: CACHE_TTL,
        kind: "seconds, 0.001 to 86400",
        what: "Between two reads of a registry that cannot be watched, as `[registry] poll_interval`.",
    },
];

/// What the environment said.
#[derive(Debug, Default)]
pub(super) struct EnvSpec {
    pub(super) listen: Option<ListenAddress>,
    pub(super) admin: Option<AdminSpec>,
    pub(super) registry: Option<ServiceUrl>,
    pub(super) token: Option<Secret>,
    pub(super) store_password: Option<Secret>,
    pub(super) request_timeout: Option<Duration>,
    pub(super) poll_interval: Option<Duration>,
}

/// Reads the variables; every one that cannot be used is an error.
pub(super) fn read(env: &Env) -> (EnvSpec, Vec<EnvError>) {
    let mut errors = Vec::new();
    let spec = EnvSpec {
        listen: keep(
            &mut errors,
            env.parsed(LISTEN, "give an address and a port, like 0.0.0.0:8000, or unix:PATH"),
        ),
        admin: keep(&mut errors, admin(env)),
        registry: keep(&mut errors, registry(env)),
        token: keep(&mut errors, token(env)),
        store_password: keep(&mut errors, env.secret(STORE_PASSWORD)),
        request_timeout: keep(&mut errors, seconds(env, TIMEOUT)),
        poll_interval: keep(&mut errors, seconds(env, CACHE_TTL)),
    };
    (spec, errors)
}

fn keep<T>(errors: &mut Vec<EnvError>, outcome: Result<Option<T>, EnvError>) -> Option<T> {
    outcome.unwrap_or_else(|error| {
        errors.push(error);
        None
    })
}

fn admin(env: &Env) -> Result<Option<AdminSpec>, EnvError> {
    if env.get(ADMIN).is_some_and(|text| text.trim() == "off") {
        return Ok(Some(AdminSpec::Off));
    }
    Ok(env.parsed(ADMIN, "give an address and a port, like 127.0.0.1:9901, or off")?.map(AdminSpec::At))
}

fn registry(env: &Env) -> Result<Option<ServiceUrl>, EnvError> {
    let Some(text) = env.get(REGISTRY) else { return Ok(None) };
    values::parse_url(text.trim()).map(Some).map_err(|why| EnvError {
        variable: REGISTRY.into(),
        value: if text.contains('@') { "[not shown]".into() } else { text.into() },
        rule: why,
    })
}

fn token(env: &Env) -> Result<Option<Secret>, EnvError> {
    match env.secret(TOKEN)? {
        Some(token) => Ok(Some(token)),
        None => env.secret(OLD_TOKEN),
    }
}

/// Seconds as the original reads them, fractions allowed.
fn seconds(env: &Env, name: &str) -> Result<Option<Duration>, EnvError> {
    let rule = "give seconds from 0.001 to 86400, like 2 or 0.5";
    let Some(count) = env.parsed::<f64>(name, rule)? else { return Ok(None) };
    Duration::try_from_secs_f64(count)
        .ok()
        .filter(|d| (Duration::from_millis(1)..=Duration::from_hours(24)).contains(d))
        .map(Some)
        .ok_or_else(|| EnvError { variable: name.into(), value: count.to_string(), rule: rule.into() })
}
