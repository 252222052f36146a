//! What one registry runs with, and why it may not start.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::auth::Auth;
use crate::redis::RedisSettings;
use crate::state::StateError;
use crate::store::StoreLimits;

/// Everything that one registry runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients come in; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where operators look in; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// Who may do what.
    pub auth: Auth,
    /// Run without tokens beyond loopback.
    pub insecure: bool,
    /// Endpoints with addresses must be in one of these; empty: anywhere.
    pub allow_networks: Vec<IpNet>,
    /// Endpoints with names must be one of these or end in a dot and one of these; empty: any.
    pub allow_suffixes: Vec<String>,
    /// Where registrations survive a restart; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// The Redis that it is shared on with other replicas; `None`: with nobody.
    pub redis: Option<RedisSettings>,
    /// How much it takes in.
    pub limits: StoreLimits,
}

impl Settings {
    /// No tokens, no admin listener; for `address` on loopback, which is all that may be open.
    pub fn open_on_loopback(address: SocketAddr) -> Self {
        Self {
            listen: address,
            admin: None,
            auth: Auth::Open,
            insecure: false,
            allow_networks: Vec::new(),
            allow_suffixes: Vec::new(),
            state_dir: None,
            redis: None,
            limits: StoreLimits::default(),
        }
    }
}

impl Default for Settings {
    /// Open, on a free port of loopback.
    fn default() -> Self {
        Self::open_on_loopback(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
    }
}

/// Why a registry did not start. `Display` is one line that says what to do.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind {
        /// The flag that gave it.
        flag: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// Without tokens on an address that others can reach.
    OpenBeyondLoopback {
        /// Which.
        address: SocketAddr,
    },
    /// The state directory cannot be used.
    State(StateError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { flag, address, error } if error.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{address} is taken by another process: stop it (ss -ltnp shows which it is) or choose another address with {flag}"
                )
            }
            Self::Bind { flag, address, error } => {
                write!(
                    f,
                    "cannot listen on {address}: {error}; choose an address of this machine with {flag}"
                )
            }
            Self::State(error) => error.fmt(f),
            Self::OpenBeyondLoopback { address } => write!(
                f,
                "refusing to listen on {address} without tokens, because everybody who reaches it could redirect traffic: \
                 set REGISTRY_AUTH_TOKEN, REGISTRY_AUTH_TOKEN_FILE or --tokens FILE, listen on 127.0.0.1, or say --insecure"
            ),
        }
    }
}

impl std::error::Error for StartError {}
