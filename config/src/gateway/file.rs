//! The configuration file: its sections in order, each read by the module of its name.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

use super::listeners::AdminSpec;
use super::registry::RegistrySpec;
use super::{
    AccessLogConfig, HeaderEdits, HealthConfig, LimitsConfig, ListenerConfig, RouteConfig, ServiceConfig,
    TimeoutsConfig, UpstreamTlsConfig, access_log, defaults, edits, health, limits, listeners, policy,
    registry, routes, services, timeouts, upstream_tls,
};
use crate::env::Env;
use crate::keys::{Key, names};
use crate::reader::{Reading, Said, Section};
use crate::values;

/// A thread each; more than a machine has cores is a slip.
pub(super) const WORKERS: RangeInclusive<usize> = 1..=1024;

/// The sections that stand below the top-level keys.
const SECTIONS: [&str; 19] = [
    "listener",
    "admin",
    "registry",
    "access_log",
    "timeouts",
    "limits",
    "health",
    "upstream_tls",
    "headers",
    "api_key",
    "jwt",
    "forward_auth",
    "policies",
    "cors",
    "rate_limit",
    "rate_limit_store",
    "ip",
    "service",
    "route",
];

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "workers",
        kind: "integer, 1 to 1024",
        default: None,
        absent: "one per core",
        example: "4",
        what: "Threads that serve requests.",
        why: "Workers share nothing on a request's path, so more than cores only costs.",
    },
    Key {
        name: "state_dir",
        kind: "path",
        default: None,
        absent: "nothing is kept",
        example: "\"/var/lib/vertice-gateway\"",
        what: "Where the last known good of the registry is kept, so that a start with the registry away serves from it.",
        why: "Nothing is written to disk unasked.",
    },
    Key {
        name: "upgrade_socket",
        kind: "path",
        default: None,
        absent: "`upgrade.sock` in `state_dir`; without one, no upgrade in place",
        example: "\"/run/vertice-gateway/upgrade.sock\"",
        what: "A Unix socket at which a new process (`run --upgrade`) takes over the listening sockets of this one.",
        why: "Only the same user is let in, and the file's mode is 0600.",
    },
    Key {
        name: "trusted_proxies",
        kind: "list of networks",
        default: Some("[]"),
        absent: "",
        example: "[\"10.0.0.0/8\", \"192.168.1.7\"]",
        what: "Peers whose `X-Forwarded-*` and `Forwarded` are believed and extended; those of all others are replaced.",
        why: "Nobody, because anybody can send these headers.",
    },
    Key {
        name: "reason_header",
        kind: "true or false",
        default: Some("true"),
        absent: "",
        example: "false",
        what: "Whether `x-vertice-reason` tells why the gateway answered by itself.",
        why: "It names a reason, never an address.",
    },
];

/// What a file said; `None` where the other sources or the defaults decide.
#[derive(Debug)]
pub(super) struct FileSpec {
    pub(super) listeners: Vec<Said<ListenerConfig>>,
    pub(super) admin: Option<Said<AdminSpec>>,
    pub(super) registry: RegistrySpec,
    pub(super) workers: Option<usize>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) upgrade_socket: Option<PathBuf>,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) access_log: Option<AccessLogConfig>,
    pub(super) reason_header: bool,
    pub(super) timeouts: TimeoutsConfig,
    pub(super) limits: LimitsConfig,
    pub(super) health: HealthConfig,
    pub(super) upstream_tls: UpstreamTlsConfig,
    pub(super) headers: HeaderEdits,
    pub(super) services: Vec<ServiceConfig>,
    pub(super) policies: policy::PoliciesConfig,
    pub(super) routes: Vec<RouteConfig>,
}

impl Default for FileSpec {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            admin: None,
            registry: RegistrySpec::default(),
            workers: None,
            state_dir: None,
            upgrade_socket: None,
            trusted_proxies: Vec::new(),
            access_log: None,
            reason_header: true,
            timeouts: defaults::TIMEOUTS,
            limits: defaults::LIMITS,
            health: defaults::HEALTH,
            upstream_tls: UpstreamTlsConfig::default(),
            headers: HeaderEdits::default(),
            services: Vec::new(),
            policies: policy::PoliciesConfig::default(),
            routes: Vec::new(),
        }
    }
}

/// What the other sources leave to the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// No variable and no flag names a listener.
    pub(super) listener: bool,
    /// No variable holds the registry's token.
    pub(super) token: bool,
    /// No variable holds the password of the store of rate limits.
    pub(super) store_password: bool,
}

/// Reads every section.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>, env: &Env, wanted: Wanted) -> FileSpec {
    let known: Vec<&'static str> = names(KEYS).into_iter().chain(SECTIONS).collect();
    root.only(reading, &known);
    if wanted.listener && root.place_of("listener").is_none() {
        reading.missing(
            &(0..0),
            "no listener is named, so no client could come in",
            "add a section [[listener]] with address = \"127.0.0.1:8000\", or give --listen 127.0.0.1:8000",
        );
    }
    let timeouts = timeouts::read(reading, root, &defaults::TIMEOUTS).over(&defaults::TIMEOUTS);
    let limits = limits::read(reading, root);
    let policies = policy::read(reading, root, env, wanted.store_password);
    let listeners = listeners::read(reading, root, limits.clients, &timeouts, &policies);
    let admin = listeners::read_admin(reading, root);
    let registry = registry::read(reading, root, wanted.token);
    let workers = root.value(reading, "workers", |v| values::number(v, *WORKERS.start(), *WORKERS.end()));
    let state_dir = root.value(reading, "state_dir", values::path);
    let upgrade_socket = root.value(reading, "upgrade_socket", values::path);
    let trusted_proxies = root.list(reading, "trusted_proxies", "[\"10.0.0.0/8\"]", values::network);
    let reason_header = root.value(reading, "reason_header", values::boolean);
    let access_log = access_log::read(reading, root);
    let health = root.section(reading, "health", &names(health::KEYS));
    let upstream_tls = upstream_tls::read_general(reading, root);
    let services = services::read(reading, root, &upstream_tls);
    let headers = edits::read_general(reading, root);
    let bases = routes::Bases { timeouts: &timeouts, edits: &headers, policies: &policies };
    let routes = routes::read(reading, root, &bases);
    let at: Vec<&ListenerConfig> = listeners.iter().map(|said| &said.value).collect();
    policy::judge_unused(reading, root, &policies, &at, &routes);
    FileSpec {
        listeners,
        admin,
        registry,
        workers: workers.map(|said| said.value),
        state_dir: state_dir.map(|said| said.value),
        upgrade_socket: upgrade_socket.map(|said| said.value),
        trusted_proxies: trusted_proxies
            .map_or_else(Vec::new, |said| said.value.into_iter().map(|net| net.value).collect()),
        access_log,
        reason_header: reason_header.is_none_or(|said| said.value),
        timeouts,
        limits,
        health: health::read(health.as_ref(), reading),
        upstream_tls,
        headers,
        services,
        policies,
        routes,
    }
}
