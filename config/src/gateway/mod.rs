//! The gateway's configuration: what it means once it is validated. How it is written: `docs/reference/config.md`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use ipnet::IpNet;
use vertice_registry_api::{ServiceName, ServiceUrl};

use crate::place::{Place, Placed};
use crate::secret::Secret;

mod flags;
mod mistake;
mod defaults;
mod file;
pub(crate) mod unix_path;
pub(crate) mod listen_address;
mod listeners;
mod tls;
mod upstream_tls;
mod https;
mod registry;
mod access_log;
mod timeouts;
mod limits;
mod health;
mod services;
mod routes;
mod actions;
mod redirect;
mod answer;
mod edits;
pub mod policy;
mod host;
mod path;
mod environment;
mod fallbacks;
mod claims;
mod resolve;
pub mod reference;

pub use edits::reserved;
pub use flags::Flags;
pub use listen_address::ListenAddress;
pub use mistake::Mistake;
pub use resolve::resolve;
pub use unix_path::UnixPath;

/// Bytes of a configuration file that are read.
pub const FILE_BYTES: usize = crate::reader::TEXT_BYTES;

/// Everything that one gateway process runs with.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayConfig {
    /// Where clients come in; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Where operators look in; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// Who knows where services are.
    pub registry: RegistryConfig,
    /// Worker threads; `None`: one per core.
    pub workers: Option<usize>,
    /// Where the last known good is kept; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Where a successor asks for the listening sockets; `None`: nowhere, no upgrade in place.
    pub upgrade_socket: Option<PathBuf>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed; empty by default.
    pub trusted_proxies: Vec<IpNet>,
    /// One JSON line per request; `None`: off.
    pub access_log: Option<AccessLogConfig>,
    /// Whether `x-vertice-reason` tells why the gateway answered by itself.
    pub reason_header: bool,
    /// Time limits of requests where a route says nothing else.
    pub timeouts: TimeoutsConfig,
    /// Limits on what a client may send and how long it may take.
    pub limits: LimitsConfig,
    /// How the gateway finds out which endpoints answer.
    pub health: HealthConfig,
    /// How services with an `https` URL are connected to where the service says nothing else.
    pub upstream_tls: UpstreamTlsConfig,
    /// What is changed in the header fields of every request and answer.
    pub headers: HeaderEdits,
    /// Services that the configuration says something about.
    pub services: Vec<ServiceConfig>,
    /// Rules that routes name.
    pub policies: policy::PoliciesConfig,
    /// Configured routes, in the order of the file. `/v2/{service}/` needs none.
    pub routes: Vec<RouteConfig>,
    /// What is odd but no reason not to start; for the log.
    pub warnings: Vec<String>,
}

/// One place where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// For logs and metrics.
    pub name: String,
    /// Where.
    pub address: ListenAddress,
    /// Who may connect to a Unix socket, as the bits of its file.
    pub mode: u32,
    /// HTTPS; `None`: HTTP.
    pub tls: Option<ListenerTlsConfig>,
    /// Peers that begin with a PROXY header, which is believed.
    pub proxy_protocol: Vec<IpNet>,
    /// What holds for the connections that come in here.
    pub rules: ListenerRules,
}

/// HTTPS at one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTlsConfig {
    /// Pairs that are named one by one.
    pub certificates: Vec<CertificateConfig>,
    /// A folder of pairs.
    pub directory: Option<Placed<PathBuf>>,
    /// Whose certificate those get who ask for no name that is known; `None`: the first.
    pub default_name: Option<Placed<String>>,
    /// The oldest version.
    pub min_version: TlsVersion,
    /// Whether clients prove who they are.
    pub client_auth: ClientAuthConfig,
    /// For one handshake.
    pub handshake_timeout: Duration,
    /// Handshakes that a worker computes in one go.
    pub handshakes: usize,
    /// Where it was said.
    pub at: Place,
}

/// PEM files of a chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// The chain, the owner's certificate first.
    pub cert: Placed<PathBuf>,
    /// Its key.
    pub key: Placed<PathBuf>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

/// Whether clients prove who they are, and the authorities that are believed about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthConfig {
    /// They are not asked.
    None,
    /// They may.
    Optional(Placed<PathBuf>),
    /// They must.
    Required(Placed<PathBuf>),
}

/// How services with an `https` URL are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTlsConfig {
    /// PEM file of the authorities that are believed; `None`: those of the system.
    pub ca: Option<Placed<PathBuf>>,
    /// The name that certificates must have; `None`: the host of the URL.
    pub server_name: Option<String>,
    /// What is shown to a service that asks.
    pub client: Option<CertificateConfig>,
    /// Whether services must prove who they are.
    pub verify: bool,
}

impl Default for UpstreamTlsConfig {
    fn default() -> Self {
        Self { ca: None, server_name: None, client: None, verify: true }
    }
}

/// What holds for the connections of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerRules {
    /// Clients that come without TLS are sent to the same place with it.
    pub https_redirect: Option<HttpsRedirectConfig>,
    /// Strict-Transport-Security of answers over TLS.
    pub hsts: Option<HeaderValue>,
    /// What its clients may send and how long they may take: its own limits over the general ones.
    pub limits: ClientLimits,
    /// Time limits of its requests where a route says nothing else: its own over the general ones.
    pub timeouts: TimeoutsConfig,
    /// From which addresses clients may ask; `None`: from all.
    pub ip: Option<Arc<policy::IpConfig>>,
}

impl ListenerRules {
    /// Those of a listener that says nothing by itself.
    pub fn plain(limits: ClientLimits, timeouts: TimeoutsConfig) -> Self {
        Self { https_redirect: None, hsts: None, limits, timeouts, ip: None }
    }
}

impl Default for ListenerRules {
    /// Those of a listener of which nothing is said anywhere.
    fn default() -> Self {
        Self::plain(defaults::LIMITS.clients, defaults::TIMEOUTS)
    }
}

/// Where clients that come without TLS are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsRedirectConfig {
    /// Hosts that are redirected to; at least one.
    pub hosts: Vec<HostPattern>,
    /// The port for TLS.
    pub port: u16,
}

/// Who knows where services are.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// Which registry.
    pub place: RegistryPlace,
    /// What it is shown.
    pub token: Option<Secret>,
    /// For one read of it (a long poll gets its wait on top).
    pub request_timeout: Duration,
    /// Between two reads of a registry that cannot be watched.
    pub poll_interval: Duration,
    /// How long what is known of a service counts without a word of the registry; `None`: for ever.
    pub stale_after: Option<Duration>,
    /// What happens past it.
    pub when_stale: WhenStale,
}

/// What becomes of requests to a service that the registry has not vouched for in a long time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenStale {
    /// Served, and marked.
    #[default]
    Serve,
    /// Answered with 503.
    Refuse,
}

/// Which registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryPlace {
    /// Inside this process, listening here.
    Embedded(SocketAddr),
    /// Elsewhere.
    Remote(ServiceUrl),
}

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogConfig {
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// Time limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutsConfig {
    /// To connect to one endpoint.
    pub connect: Duration,
    /// From the request's head having been sent to the answer's head.
    pub first_byte: Duration,
    /// Without a byte of a body in either direction.
    pub idle: Duration,
    /// The same for what pauses by its nature: WebSockets, server-sent events, gRPC calls.
    pub stream_idle: Duration,
    /// For the whole request; `None`: no limit (streams).
    pub total: Option<Duration>,
}

/// What a listener or a route says of time limits. What it leaves out is taken from what stands above it: a route's from its
/// listener, a listener's from the general ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnTimeouts {
    /// See [`TimeoutsConfig::connect`].
    pub connect: Option<Duration>,
    /// See [`TimeoutsConfig::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`TimeoutsConfig::idle`].
    pub idle: Option<Duration>,
    /// See [`TimeoutsConfig::stream_idle`].
    pub stream_idle: Option<Duration>,
    /// See [`TimeoutsConfig::total`].
    pub total: Option<Bound<Duration>>,
}

impl OwnTimeouts {
    /// All limits where `above` holds for what is left out.
    pub fn over(&self, above: &TimeoutsConfig) -> TimeoutsConfig {
        TimeoutsConfig {
            connect: self.connect.unwrap_or(above.connect),
            first_byte: self.first_byte.unwrap_or(above.first_byte),
            idle: self.idle.unwrap_or(above.idle),
            stream_idle: self.stream_idle.unwrap_or(above.stream_idle),
            total: self.total.map_or(above.total, Bound::most),
        }
    }
}

/// A limit that somebody set, or took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound<T> {
    /// `"none"`
    Unlimited,
    /// At most this.
    At(T),
}

impl<T> Bound<T> {
    /// The limit, if there is one.
    pub fn most(self) -> Option<T> {
        match self {
            Self::Unlimited => None,
            Self::At(most) => Some(most),
        }
    }
}

impl<T> From<Option<T>> for Bound<T> {
    fn from(most: Option<T>) -> Self {
        most.map_or(Self::Unlimited, Self::At)
    }
}

/// Limits of the process, and those of its clients where a listener says nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Downstream connections of the whole process; more wait in the kernel's queue.
    pub connections: usize,
    /// After SIGTERM, for what is in flight.
    pub drain_timeout: Duration,
    /// What a client may send and how long it may take.
    pub clients: ClientLimits,
}

/// Limits on what the clients of one listener may send and how long they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of a request's head, 431 beyond.
    pub header_bytes: usize,
    /// Header fields of a request, 431 beyond.
    pub header_count: usize,
    /// Bytes of a request target, 414 beyond.
    pub target_bytes: usize,
    /// Downstream connections of one client address at one listener; `None`: no limit.
    pub connections_per_address: Option<usize>,
    /// Requests of one connection, after which it is ended; `None`: no limit.
    pub connection_requests: Option<u64>,
    /// Age of a connection, after which it is ended; `None`: no limit.
    pub connection_age: Option<Duration>,
    /// HTTP/2 streams at once on one connection.
    pub streams: u32,
    /// HTTP/2 streams that a client reset before they were taken.
    pub resets: usize,
    /// Bytes of a request's body where a route says nothing else; `None`: no limit.
    pub body_bytes: Option<u64>,
    /// Bytes per second that a request's body must come with; `None`: no limit.
    pub min_body_rate: Option<u64>,
    /// Bytes per second that an answer must be taken with; `None`: no limit.
    pub min_response_rate: Option<u64>,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// Without a request on a kept-alive connection.
    pub keep_alive: Duration,
}

/// How the gateway finds out which endpoints answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Whether endpoints are asked, beside watching what comes of requests.
    pub active: bool,
    /// Between two checks of an endpoint.
    pub interval: Duration,
    /// For one check; at most `interval`.
    pub timeout: Duration,
    /// Failed checks in a row that take an endpoint out; at least one.
    pub unhealthy_after: u32,
    /// Passed checks in a row that take it back; at least one.
    pub healthy_after: u32,
    /// Requests in a row that could not connect, after which it is left out; 0: never.
    pub eject_after_connect_failures: u32,
    /// Requests in a row that it failed, after which it is left out; 0: never.
    pub eject_after_errors: u32,
    /// Share of a service's endpoints that failed requests can have left out at once.
    pub max_ejected_percent: u32,
    /// With a smaller share good, the others that answer are used, too.
    pub panic_percent: u32,
    /// Time in which a new or returned endpoint grows to its full share; `None`: at once.
    pub slow_start: Option<Duration>,
}

/// What the configuration says about one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Which.
    pub name: ServiceName,
    /// Used while the registry knows no instance of it. Operator-written, so exempt from the endpoint policy. `None`: not
    /// said, and the environment said nothing either.
    pub fallback: Option<Vec<FallbackUrl>>,
    /// How its `https` URLs are connected to; `None`: as all others.
    pub tls: Option<UpstreamTlsConfig>,
}

/// Where a service is while the registry knows no instance of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FallbackUrl {
    /// In the network.
    Http(ServiceUrl),
    /// On this machine, HTTP/1.1 in clear.
    Unix(UnixPath),
}

impl fmt::Display for FallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

/// One configured route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// For logs, metrics and `explain`; unique.
    pub name: String,
    /// Which hosts; `None`: every host.
    pub host: Option<HostPattern>,
    /// Which paths.
    pub path: PathPattern,
    /// Which methods; empty: every method.
    pub methods: Vec<Method>,
    /// Headers that must all be there.
    pub headers: Vec<HeaderPattern>,
    /// What happens to matching requests.
    pub action: RouteAction,
    /// What is changed on the way; begins with the general changes.
    pub edits: HeaderEdits,
    /// Bytes of a request's body; `None`: as at the listener.
    pub body_bytes: Option<Bound<u64>>,
    /// Who may ask, how often, and for what.
    pub policies: policy::RoutePoliciesConfig,
    /// Time limits of this route.
    pub timeouts: OwnTimeouts,
}

/// What happens to requests that match a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// They go to a service.
    Service {
        /// Which.
        service: ServiceName,
        /// What happens to the path on the way.
        rewrite: PathRewrite,
    },
    /// The client is sent elsewhere.
    Redirect(RedirectConfig),
    /// The gateway answers by itself.
    Answer(AnswerConfig),
}

/// Where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectConfig {
    /// 301, 302, 307 or 308.
    pub status: StatusCode,
    /// Put together, `http(s)://host...` or a path.
    pub to: Vec<RedirectPart>,
}

/// A piece of the place where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPart {
    /// As it stands.
    Text(String),
    /// The path of the request.
    Path,
    /// What follows the route's prefix in it: nothing, or something that starts with a slash.
    Rest,
    /// The query with its question mark, if there is one.
    Query,
}

/// What the gateway answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerConfig {
    /// Not a redirect.
    pub status: StatusCode,
    /// May be empty.
    pub body: String,
    /// With Content-Type and Retry-After, without Content-Length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Changes to the header fields of requests and answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// On the way to the service, in this order.
    pub request: Vec<HeaderEdit>,
    /// On the way to the client, in this order.
    pub response: Vec<HeaderEdit>,
}

/// One change to the header fields of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// All fields of this name go.
    Remove(HeaderName),
    /// This one comes in the place of all of its name.
    Set(HeaderName, HeaderValue),
    /// This one comes behind those of its name.
    Add(HeaderName, HeaderValue),
}

/// Which hosts a route is for; lower case, without a port or a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `api.example.com`
    Exact(String),
    /// `*.example.com`, kept as `example.com`: one or more labels before it.
    Wildcard(String),
}

/// Which paths a route is for; compared byte for byte with the request's path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(String),
    /// This path and everything below it, on segment borders: `/a` and `/a/` match `/a` and `/a/b`, not `/ab`.
    /// Kept without a trailing slash; the root is the empty string.
    Prefix(String),
}

/// A header that must be there, with any value or with this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern {
    /// Which.
    pub name: HeaderName,
    /// With which value; `None`: any.
    pub value: Option<HeaderValue>,
}

/// What happens to the path on its way to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// Nothing.
    Keep,
    /// The matched prefix goes away; what is left starts with a slash.
    StripPrefix,
    /// The matched prefix becomes this one (kept without a trailing slash).
    ReplacePrefix(String),
}
