//! From an endpoint to an open connection.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use vertice_registry_api::Host;

use super::address_policy::AddressPolicy;
use super::connection::UpstreamConnection;
use super::error::Failure;
use crate::table::{Endpoint, Origin};

/// Unacknowledged data kills a connection after this: an endpoint that vanished without a word (a pulled cable, a
/// removed container) is noticed long before the kernel's own fifteen minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a connection to `endpoint`. Takes as long as the network does: the caller has the deadline.
///
/// A name is resolved each time, so that a container that came back under another address is found; every address
/// it resolves to is judged before it is tried, in the resolver's order.
pub async fn connect(endpoint: &Endpoint, policy: &AddressPolicy) -> Result<UpstreamConnection, Failure> {
    let url = &endpoint.spec.url;
    let exempt = endpoint.spec.origin == Origin::Operator;
    let mut failure = Failure::Resolve;
    match url.host() {
        Host::Ip(ip) => open(SocketAddr::new(*ip, url.port()), exempt, policy).await,
        Host::Name(name) => {
            let addresses =
                tokio::net::lookup_host((&**name, url.port())).await.map_err(|_| Failure::Resolve)?;
            for address in addresses {
                match open(address, exempt, policy).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        }
    }
}

async fn open(
    address: SocketAddr,
    exempt: bool,
    policy: &AddressPolicy,
) -> Result<UpstreamConnection, Failure> {
    if !exempt && policy.refuses(address).is_some() {
        return Err(Failure::Forbidden);
    }
    let stream = TcpStream::connect(address).await.map_err(|_| Failure::Connect)?;
    if is_self_connected(&stream) {
        return Err(Failure::Connect);
    }
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(USER_TIMEOUT));
    UpstreamConnection::new(stream).await.map_err(|_| Failure::Connect)
}

/// A loopback connect to a free port of the ephemeral range can meet itself (simultaneous open): no server there.
pub fn is_self_connected(stream: &TcpStream) -> bool {
    let loopback = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => loopback(&peer) && local == peer,
        _ => false,
    }
}
