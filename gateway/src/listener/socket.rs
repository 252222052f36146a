//! Sockets of either family: those that listen, and those that are accepted.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{SocketFlags, acceptfrom_with};
use vertice_config::gateway::ListenAddress;

/// Whoever connects over a Unix socket is on this machine, and has no address of its own.
const UNIX_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A listening socket.
#[derive(Debug)]
pub enum ListenSocket {
    /// Over the network.
    Tcp(TcpListener),
    /// On this machine.
    Unix(UnixListener),
}

/// An accepted connection that is not registered with any runtime yet.
#[derive(Debug)]
pub enum ClientSocket {
    /// Over the network.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl ListenSocket {
    /// `socket`, which another process says listens at `address`.
    pub fn of(socket: OwnedFd, address: &ListenAddress) -> Self {
        match address {
            ListenAddress::Tcp(_) => Self::Tcp(socket.into()),
            ListenAddress::Unix(_) => Self::Unix(socket.into()),
        }
    }

    /// Where it really is: the port that the system chose.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(ListenAddress::Tcp),
            Self::Unix(socket) => {
                let address = socket.local_addr()?;
                let path = address.as_pathname().and_then(|path| path.to_str());
                path.and_then(|path| format!("unix:{path}").parse().ok())
                    .ok_or_else(|| io::Error::other("its Unix socket has no absolute path"))
            }
        }
    }

    /// Another descriptor of the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    /// The next connection in its queue, and who that is.
    pub fn accept(&self) -> io::Result<(ClientSocket, SocketAddr)> {
        let (socket, peer) = acceptfrom_with(self, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        match self {
            Self::Tcp(_) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                // A connection that was reset while it waited may have no peer any more.
                let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
                Ok((ClientSocket::Tcp(socket.into()), peer))
            }
            Self::Unix(_) => Ok((ClientSocket::Unix(socket.into()), UNIX_PEER)),
        }
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsRawFd for ListenSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<ListenSocket> for OwnedFd {
    fn from(socket: ListenSocket) -> Self {
        match socket {
            ListenSocket::Tcp(socket) => socket.into(),
            ListenSocket::Unix(socket) => socket.into(),
        }
    }
}
