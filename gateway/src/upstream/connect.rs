//! From an endpoint to a stream on which it can be spoken to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use vertice_registry_api::Host;

use super::address_policy::AddressPolicy;
use super::error::Failure;
use super::io::UpstreamStream;
use crate::table::{Endpoint, EndpointUrl, Origin};

/// A silent connection is probed after this. TCP_USER_TIMEOUT would find a vanished endpoint faster, but it also cuts one
/// that pauses its reading, whatever `idle` allows.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// Opens a connection to `endpoint`, inside TLS where its URL says `https`. Takes as long as the network does: the caller has the deadline.
///
/// A name is resolved each time, so that a container that came back under another address is found; every address
/// it resolves to is judged before it is tried, in the resolver's order.
pub async fn connect(endpoint: &Endpoint, policy: &AddressPolicy) -> Result<UpstreamStream, Failure> {
    let stream = reach(endpoint, policy).await?;
    match (&endpoint.tls, stream) {
        (None, stream) => Ok(stream.into()),
        // Another address of the same name would show the same certificate: it is not tried.
        (Some(tls), Reached::Tcp(stream)) => {
            tls.connect(stream, endpoint.spec.protocol).await.map(UpstreamStream::tls)
        }
        // The table makes no such endpoint.
        (Some(_), Reached::Unix(_)) => Err(Failure::Connect),
    }
}

/// A connection before any handshake.
#[derive(Debug)]
pub enum Reached {
    /// Over the network.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl From<Reached> for UpstreamStream {
    fn from(reached: Reached) -> Self {
        match reached {
            Reached::Tcp(stream) => Self::tcp(stream),
            Reached::Unix(stream) => Self::unix(stream),
        }
    }
}

async fn reach(endpoint: &Endpoint, policy: &AddressPolicy) -> Result<Reached, Failure> {
    let url = match &endpoint.spec.url {
        EndpointUrl::Http(url) => url,
        EndpointUrl::Unix { path, .. } => {
            let stream = UnixStream::connect(path.as_path()).await;
            return stream.map(Reached::Unix).map_err(|_| Failure::Connect);
        }
    };
    let exempt = endpoint.spec.origin == Origin::Operator;
    let mut failure = Failure::Resolve;
    match url.host() {
        Host::Ip(ip) => open(SocketAddr::new(*ip, url.port()), exempt, policy).await.map(Reached::Tcp),
        Host::Name(name) => {
            let addresses =
                tokio::net::lookup_host((&**name, url.port())).await.map_err(|_| Failure::Resolve)?;
            for address in addresses {
                match open(address, exempt, policy).await {
                    Ok(stream) => return Ok(Reached::Tcp(stream)),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        }
    }
}

async fn open(address: SocketAddr, exempt: bool, policy: &AddressPolicy) -> Result<TcpStream, Failure> {
    if !exempt && policy.refuses(address).is_some() {
        return Err(Failure::Forbidden);
    }
    let stream = TcpStream::connect(address).await.map_err(|_| Failure::Connect)?;
    if is_self_connected(&stream) {
        return Err(Failure::Connect);
    }
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE));
    Ok(stream)
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
