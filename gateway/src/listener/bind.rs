//! Opening the sockets of one address.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use vertice_config::gateway::{ListenAddress, ListenerConfig};

use super::socket::ListenSocket;
use super::unix;

/// A silent connection is probed after this, as cloud load balancers and NATs forget it after minutes.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// The sockets of `listener` for `workers`. A Unix socket is one: its file leads to one queue, and who accepts there hands over.
pub fn bind(listener: &ListenerConfig, workers: usize) -> io::Result<Vec<ListenSocket>> {
    match &listener.address {
        ListenAddress::Tcp(address) => bind_tcp(*address, workers),
        ListenAddress::Unix(path) => {
            unix::bind(path.as_path(), listener.mode).map(|socket| vec![ListenSocket::Unix(socket)])
        }
    }
}

/// `count` sockets on `address`, each for one worker. Port 0: all on the port that the first one got.
///
/// The first bind is made without SO_REUSEPORT, because with it a port that another process has is no error.
fn bind_tcp(address: SocketAddr, count: usize) -> io::Result<Vec<ListenSocket>> {
    let probe = socket(address, false)?;
    probe.bind(&address.into())?;
    let actual = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    (0..count.max(1))
        .map(|_| {
            let socket = socket(actual, true)?;
            socket.bind(&actual.into())?;
            // The kernel cuts this to net.core.somaxconn.
            socket.listen(i32::from(u16::MAX))?;
            Ok(ListenSocket::Tcp(socket.into()))
        })
        .collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 too, as people expect of it.
        socket.set_only_v6(false)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    Ok(socket)
}

/// Makes a listening socket, whoever opened it, what workers expect. What is set here is inherited by every accepted
/// connection: no system call per connection for it.
pub fn ready(socket: &ListenSocket) -> io::Result<()> {
    let is_tcp = matches!(socket, ListenSocket::Tcp(_));
    let socket = SockRef::from(socket);
    socket.set_nonblocking(true)?;
    if !is_tcp {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sockets_share_one_port_and_a_taken_port_is_an_error() {
        let sockets = bind_tcp("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = |socket: &ListenSocket| match socket.address().unwrap() {
            ListenAddress::Tcp(address) => address,
            ListenAddress::Unix(path) => panic!("{path}"),
        };
        let addresses: Vec<_> = sockets.iter().map(address).collect();
        assert!(addresses.windows(2).all(|pair| pair[0] == pair[1]) && addresses[0].port() != 0);
        let error = bind_tcp(addresses[0], 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
