//! Every default of the gateway with its reason. The reference page shows them; a test holds the two together.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{ClientLimits, HealthConfig, LimitsConfig, TimeoutsConfig};

/// Loopback: nothing is reachable from outside before somebody asks for it.
pub(crate) const LISTEN: SocketAddr = loopback(8000);
/// Of a listener's Unix socket: our user and our group.
pub(crate) const SOCKET_MODE: u32 = 0o660;
/// Loopback, too: the admin pages show addresses of the inside.
pub(crate) const ADMIN: SocketAddr = loopback(9901);
/// The registry's usual port, inside this process.
pub(crate) const EMBEDDED_REGISTRY: SocketAddr = loopback(8888);

/// What the original gateway waits for its registry.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the original gateway trusts what it read: polling as often shows a change no later than before.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Time limits of a request where nothing else is said.
pub(crate) const TIMEOUTS: TimeoutsConfig = TimeoutsConfig {
    // Inside one network a connection takes a millisecond; after two seconds (one lost SYN is resent after one)
    // another endpoint is the better bet.
    connect: Duration::from_secs(2),
    // Most routes of the original wait 60 s for an answer; analyses that take longer say so on their route.
    first_byte: Duration::from_mins(1),
    // A body that stands still this long has lost its sender or its reader.
    idle: Duration::from_mins(1),
    // Nothing to say is no fault there; TCP's own probes find peers that are gone.
    stream_idle: Duration::from_hours(1),
    // Downloads and event streams may last for hours as long as they move: idle watches over them.
    total: None,
};

/// Limits where nothing else is said.
pub(crate) const LIMITS: LimitsConfig = LimitsConfig {
    // At about 5 KiB per idle connection, and 30 KiB per busy one, this is at most 1.5 GiB: a machine's worth, and below usual file-descriptor limits.
    connections: 50_000,
    // What Kubernetes grants between SIGTERM and SIGKILL by default.
    drain_timeout: Duration::from_secs(30),
    clients: CLIENTS,
};

/// Those of clients.
const CLIENTS: ClientLimits = ClientLimits {
    // Twice what nginx takes with its default buffers (4 x 8 KiB), room for fat cookies and tokens.
    header_bytes: 64 * 1024,
    // Browsers send about 20, a chain of proxies adds as many; what has more is an attack on the header map.
    header_count: 100,
    // Longer than any browser or log line wants, far below the 64 KiB where the URI type ends.
    target_bytes: 16 * 1024,
    // Room for a load balancer or a whole carrier behind one address; still no one address takes all places.
    connections_per_address: Some(20_000),
    // Connections that live for ever pile up on the workers, and on the processes, that were there first.
    connection_requests: Some(100_000),
    connection_age: Some(Duration::from_hours(1)),
    // The HTTP library's own: a browser that closes a tab resets what it has open, and we take streams faster than that.
    resets: 20,
    // No service here takes larger bodies; without a limit one client fills a service's disk.
    body_bytes: Some(1024 * 1024 * 1024),
    // The worst phone sends more; a client that sends less holds its place on purpose.
    min_body_rate: Some(100),
    // A fifth of what the slowest phone line (GPRS) takes; who takes less holds our buffers and a service's connection.
    min_response_rate: Some(1024),
    // What browsers and gRPC clients count on (RFC 9113 5.1.2 wants at least 100).
    streams: 128,
    // A head fits into a few packets; a client that needs longer is broken or holds the place on purpose.
    head_timeout: Duration::from_secs(10),
    // A little longer than the 60 s of common load balancers, so that they close first and never write into a
    // connection that we are just closing.
    keep_alive: Duration::from_secs(75),
};

/// Health of endpoints where nothing else is said.
pub(crate) const HEALTH: HealthConfig = HealthConfig {
    active: true,
    // What dies right after a check is found after 3 s + 1 s (the check that fails) + 1 s (the one that confirms).
    interval: Duration::from_secs(3),
    timeout: Duration::from_secs(1),
    // One failure may be a lost packet.
    unhealthy_after: 2,
    healthy_after: 1,
    // Their requests went elsewhere, so there is no hurry; but three in a row are no accident.
    eject_after_connect_failures: 3,
    // Clients saw these. As Envoy has it; fewer would let one bad request, repeated, take endpoints out.
    eject_after_errors: 5,
    // More than half failing is rarely the endpoints' own fault.
    max_ejected_percent: 50,
    // Twice its load is what a well planned endpoint just carries.
    panic_percent: 50,
    // Requests in flight already keep the load of a cold endpoint low.
    slow_start: None,
};

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
