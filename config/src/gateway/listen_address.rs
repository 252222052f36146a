//! Where clients come in: an address and a port, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use vertice_registry_api::name::shorten;

use super::unix_path::{SCHEME, UnixPath};

/// How it is written, for messages.
pub(crate) const FORM: &str = "give an address and a port: \"127.0.0.1:8000\", \"0.0.0.0:8000\" for all networks, \"[::1]:8000\", or a \
     Unix socket: \"unix:/run/vertice/gateway.sock\"";

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Over the network. Port 0 lets the system choose.
    Tcp(SocketAddr),
    /// On this machine.
    Unix(UnixPath),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(SCHEME) {
            return text.parse().map(Self::Unix);
        }
        text.parse().map(Self::Tcp).map_err(|_| format!("is {}", shorten(text)))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}
