//! What the sidecar reads from its environment: the original agent's variables and defaults, without a default token.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use vertice_registry_api::{HealthPath, Host, InstanceId, ServiceName, ServiceUrl};

use crate::env::{Env, EnvError};
use crate::secret::Secret;

/// The original's default: the name of the registry's load balancer in its compose network.
const DEFAULT_REGISTRY: &str = "http://vertice-register-lb:80";
/// The original's default.
const DEFAULT_PORT: u16 = 8080;
/// The original's default.
const DEFAULT_INITIAL_WAIT_S: f64 = 60.0;
/// Shorter heartbeats are load without use: leases last 15 s at least.
const SHORTEST_HEARTBEAT_S: f64 = 1.0;
/// No lease is longer than an hour.
const LONGEST_HEARTBEAT_S: f64 = 3600.0;
/// Longer waits are a service that never starts.
const LONGEST_WAIT_S: f64 = 86_400.0;

/// The settings of one sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarConfig {
    /// `SERVICE_NAME`.
    pub service: ServiceName,
    /// `http://SERVICE_HOST:SERVICE_PORT`: what is registered, and where health is asked.
    pub endpoint: ServiceUrl,
    /// `SERVICE_HEALTH_ENDPOINT`.
    pub health_endpoint: HealthPath,
    /// `INSTANCE_ID`, else `host:port`.
    pub instance_id: InstanceId,
    /// `REGISTRY_URL`.
    pub registry: ServiceUrl,
    /// `VERTICE_REGISTRY_TOKEN`, else `REGISTRY_AUTH_TOKEN`, or their `_FILE`.
    pub token: Option<Secret>,
    /// `HEARTBEAT_INTERVAL`; `None`: what the registry asks for.
    pub heartbeat_interval: Option<Duration>,
    /// `INITIAL_WAIT_TIMEOUT`.
    pub initial_wait: Duration,
    /// `ADMIN_LISTEN`; `None`: no admin listener.
    pub admin_listen: Option<SocketAddr>,
}

impl SidecarConfig {
    /// Reads and checks everything; all mistakes at once, in the order of the variables above.
    pub fn from_env(env: &Env) -> Result<Self, Vec<EnvError>> {
        let mut mistakes = Vec::new();
        let mut keep = |mistake: EnvError| mistakes.push(mistake);

        let service = required(env, "SERVICE_NAME", ServiceName::parse).map_err(&mut keep).ok();
        let host = required(env, "SERVICE_HOST", host).map_err(&mut keep).ok();
        let port = port(env).map_err(&mut keep).ok();
        let health_endpoint =
            optional(env, "SERVICE_HEALTH_ENDPOINT", HealthPath::parse).map_err(&mut keep).ok();
        let instance_id = optional(env, "INSTANCE_ID", InstanceId::parse).map_err(&mut keep).ok();
        let registry = optional(env, "REGISTRY_URL", ServiceUrl::parse).map_err(&mut keep).ok();
        let token = token(env).map_err(&mut keep).ok();
        let heartbeat_interval =
            seconds(env, "HEARTBEAT_INTERVAL", SHORTEST_HEARTBEAT_S, LONGEST_HEARTBEAT_S)
                .map_err(&mut keep)
                .ok();
        let initial_wait = seconds(env, "INITIAL_WAIT_TIMEOUT", 0.0, LONGEST_WAIT_S).map_err(&mut keep).ok();
        let admin_rule = "an address and a port are wanted, such as 127.0.0.1:9902";
        let admin_listen = env.parsed("ADMIN_LISTEN", admin_rule).map_err(&mut keep).ok();

        let endpoint = host.zip(port).and_then(|(host, port)| {
            // Both parts are checked: together they are a URL.
            ServiceUrl::parse(&format!("http://{host}:{port}"))
                .map_err(|e| keep(wrong(env, "SERVICE_HOST", e.0)))
                .ok()
        });
        let instance_id = match (instance_id, &endpoint) {
            (Some(Some(id)), _) => Some(id),
            (Some(None), Some(endpoint)) => default_id(env, endpoint).map_err(&mut keep).ok(),
            (Some(None) | None, _) => None,
        };
        match (
            service,
            endpoint,
            health_endpoint,
            instance_id,
            registry,
            token,
            heartbeat_interval,
            initial_wait,
            admin_listen,
        ) {
            (
                Some(service),
                Some(endpoint),
                Some(health_endpoint),
                Some(instance_id),
                Some(registry),
                Some(token),
                Some(heartbeat_interval),
                Some(initial_wait),
                Some(admin_listen),
            ) if mistakes.is_empty() => Ok(Self {
                service,
                endpoint,
                health_endpoint: health_endpoint.unwrap_or_default(),
                instance_id,
                registry: match registry {
                    Some(registry) => registry,
                    None => default_registry()?,
                },
                token,
                heartbeat_interval,
                initial_wait: initial_wait.unwrap_or(Duration::from_secs_f64(DEFAULT_INITIAL_WAIT_S)),
                admin_listen,
            }),
            _ => Err(mistakes),
        }
    }
}

fn default_registry() -> Result<ServiceUrl, Vec<EnvError>> {
    ServiceUrl::parse(DEFAULT_REGISTRY).map_err(|error| {
        vec![EnvError { variable: "REGISTRY_URL".into(), value: DEFAULT_REGISTRY.into(), rule: error.0 }]
    })
}

fn wrong(env: &Env, variable: &str, rule: impl fmt::Display) -> EnvError {
    EnvError {
        variable: variable.into(),
        value: env.get(variable).unwrap_or_default().into(),
        rule: rule.to_string(),
    }
}

fn required<T, E: fmt::Display>(
    env: &Env,
    variable: &str,
    check: impl Fn(&str) -> Result<T, E>,
) -> Result<T, EnvError> {
    match optional(env, variable, check)? {
        Some(value) => Ok(value),
        None => Err(wrong(env, variable, "it is required")),
    }
}

fn optional<T, E: fmt::Display>(
    env: &Env,
    variable: &str,
    check: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, EnvError> {
    env.get(variable).map(|text| check(text.trim()).map_err(|error| wrong(env, variable, error))).transpose()
}

/// A name or an address, with nothing around it. A bare IPv6 address gets its brackets.
fn host(text: &str) -> Result<Host, String> {
    let rule = "a host name or an address is wanted, without scheme, port or path";
    let bare = text.parse::<std::net::Ipv6Addr>().map(|ip| Host::Ip(ip.into()));
    if let Ok(host) = bare {
        return Ok(host);
    }
    let plain = !text.is_empty()
        && !text.contains(['/', '@', '?', '#'])
        && (text.ends_with(']') || !text.contains(':'));
    match ServiceUrl::parse(&format!("http://{text}:1")) {
        Ok(url) if plain => Ok(url.host().clone()),
        Ok(_) | Err(_) => Err(rule.into()),
    }
}

fn port(env: &Env) -> Result<u16, EnvError> {
    let rule = "a port from 1 to 65535 is wanted";
    match env.parsed::<u16>("SERVICE_PORT", rule)? {
        None => Ok(DEFAULT_PORT),
        Some(0) => Err(wrong(env, "SERVICE_PORT", rule)),
        Some(port) => Ok(port),
    }
}

/// The first variable of the two that is set, as the original reads them.
fn token(env: &Env) -> Result<Option<Secret>, EnvError> {
    for name in ["VERTICE_REGISTRY_TOKEN", "REGISTRY_AUTH_TOKEN"] {
        if let Some(token) = env.secret(name)? {
            let sendable = token.expose().bytes().all(|b| b.is_ascii_graphic() || b == b' ');
            return if sendable {
                Ok(Some(token))
            } else {
                let rule = "the token may have printable ASCII characters only, or no header can carry it";
                Err(EnvError { variable: name.into(), value: "[secret]".into(), rule: rule.into() })
            };
        }
    }
    Ok(None)
}

/// Seconds, with a fraction if need be, within limits.
fn seconds(env: &Env, variable: &str, least: f64, most: f64) -> Result<Option<Duration>, EnvError> {
    let rule = format!("a number of seconds from {least} to {most} is wanted");
    match env.parsed::<f64>(variable, &rule)? {
        None => Ok(None),
        Some(number) if (least..=most).contains(&number) => Ok(Some(Duration::from_secs_f64(number))),
        Some(_) => Err(wrong(env, variable, rule)),
    }
}

/// `host:port`, so that a restart takes over its own record. Brackets have no place in an id.
fn default_id(env: &Env, endpoint: &ServiceUrl) -> Result<InstanceId, EnvError> {
    let text = endpoint.authority().replace(['[', ']'], "");
    InstanceId::parse(&text).map_err(|error| {
        wrong(
            env,
            "SERVICE_HOST",
            format!("it is too long for an id by itself, set INSTANCE_ID: {}", error.0),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<SidecarConfig, Vec<EnvError>> {
        let least = [("SERVICE_NAME", "osint_service"), ("SERVICE_HOST", "vertice-maximus_eureka")];
        SidecarConfig::from_env(
            &least.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        )
    }

    /// The variables that are wrong.
    fn wrong_in(more: &[(&str, &str)]) -> Vec<String> {
        read(more).unwrap_err().into_iter().map(|e| e.variable).collect()
    }

    #[test]
    fn the_originals_defaults_but_no_token() {
        let config = read(&[]).unwrap();
        assert_eq!(config.endpoint.to_string(), "http://vertice-maximus_eureka:8080");
        assert_eq!(config.instance_id.as_str(), "vertice-maximus_eureka:8080");
        assert_eq!(config.health_endpoint.as_str(), "/health");
        assert_eq!(config.registry.to_string(), "http://vertice-register-lb:80");
        assert_eq!(config.initial_wait, Duration::from_mins(1));
        assert_eq!((config.token, config.heartbeat_interval, config.admin_listen), (None, None, None));
    }

    #[test]
    fn every_variable_is_read() {
        let config = read(&[
            ("SERVICE_HOST", "::1"),
            ("SERVICE_PORT", "9000"),
            ("SERVICE_HEALTH_ENDPOINT", "/healthz"),
            ("INSTANCE_ID", "one"),
            ("REGISTRY_URL", "https://registry/base/"),
            ("REGISTRY_AUTH_TOKEN", "second"),
            ("HEARTBEAT_INTERVAL", "2.5"),
            ("INITIAL_WAIT_TIMEOUT", "0"),
            ("ADMIN_LISTEN", "127.0.0.1:9902"),
        ])
        .unwrap();
        assert_eq!(config.endpoint.to_string(), "http://[::1]:9000");
        assert_eq!(config.health_endpoint.as_str(), "/healthz");
        assert_eq!(config.instance_id.as_str(), "one");
        assert_eq!(config.registry.to_string(), "https://registry:443/base");
        assert_eq!(config.token, Some(Secret::new("second")));
        assert_eq!(config.heartbeat_interval, Some(Duration::from_millis(2500)));
        assert_eq!(config.initial_wait, Duration::ZERO);
        assert_eq!(config.admin_listen, Some(([127, 0, 0, 1], 9902).into()));
        let both = read(&[("VERTICE_REGISTRY_TOKEN", "first"), ("REGISTRY_AUTH_TOKEN", "second")]).unwrap();
        assert_eq!(both.token, Some(Secret::new("first")));
    }

    #[test]
    fn every_mistake_at_once_naming_variable_value_and_rule() {
        let variables = wrong_in(&[
            ("SERVICE_NAME", "Bad Name"),
            ("SERVICE_HOST", "http://a"),
            ("SERVICE_PORT", "0"),
            ("SERVICE_HEALTH_ENDPOINT", "health"),
            ("INSTANCE_ID", "a/b"),
            ("REGISTRY_URL", "registry"),
            ("VERTICE_REGISTRY_TOKEN", "two\nlines"),
            ("HEARTBEAT_INTERVAL", "-1"),
            ("INITIAL_WAIT_TIMEOUT", "soon"),
            ("ADMIN_LISTEN", "9902"),
        ]);
        assert_eq!(
            variables,
            [
                "SERVICE_NAME",
                "SERVICE_HOST",
                "SERVICE_PORT",
                "SERVICE_HEALTH_ENDPOINT",
                "INSTANCE_ID",
                "REGISTRY_URL",
                "VERTICE_REGISTRY_TOKEN",
                "HEARTBEAT_INTERVAL",
                "INITIAL_WAIT_TIMEOUT",
                "ADMIN_LISTEN"
            ]
        );
        let message = read(&[("SERVICE_NAME", "Bad Name")]).unwrap_err()[0].to_string();
        assert!(message.contains("SERVICE_NAME=\"Bad Name\"") && message.contains("a-z0-9"), "{message}");
        let message = read(&[("VERTICE_REGISTRY_TOKEN", "s\u{e9}cret")]).unwrap_err()[0].to_string();
        assert!(!message.contains("cret\""), "{message}");
    }

    #[test]
    fn what_is_required_is_missed() {
        let errors = SidecarConfig::from_env(&Env::from([("SERVICE_NAME", "")])).unwrap_err();
        let variables: Vec<_> = errors.iter().map(|e| e.variable.as_str()).collect();
        assert_eq!(variables, ["SERVICE_NAME", "SERVICE_HOST"]);
    }

    #[test]
    fn hosts_by_rule() {
        for good in ["a", "vertice_x", "10.0.0.1", "::1", "[::1]"] {
            assert!(read(&[("SERVICE_HOST", good)]).is_ok(), "{good}");
        }
        for bad in ["a:1", "http://a", "a/b", "u@a", "a b", "127.1", "[::1", "a..b"] {
            assert_eq!(wrong_in(&[("SERVICE_HOST", bad)]), ["SERVICE_HOST"], "{bad}");
        }
    }

    #[test]
    fn seconds_that_are_no_time_are_refused() {
        for bad in ["0", "0.9", "3601", "inf", "NaN", "1e400", "1s"] {
            assert_eq!(wrong_in(&[("HEARTBEAT_INTERVAL", bad)]), ["HEARTBEAT_INTERVAL"], "{bad}");
        }
    }
}
