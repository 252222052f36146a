//! What the command line said. Plain data: who parses it is the gateway's business.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ListenAddress;

/// The flags of `vertice-gateway run` that change the configuration. All unset: ready to try on loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--listen ADDR`: the only listener, whatever the file names.
    pub listen: Option<ListenAddress>,
    /// `--admin ADDR`
    pub admin: Option<SocketAddr>,
    /// `--registry URL`
    pub registry: Option<String>,
    /// `--embedded-registry ADDR`
    pub embedded_registry: Option<SocketAddr>,
    /// `--workers N`
    pub workers: Option<usize>,
    /// `--state-dir DIR`
    pub state_dir: Option<PathBuf>,
    /// `--upgrade-socket PATH`
    pub upgrade_socket: Option<PathBuf>,
}
