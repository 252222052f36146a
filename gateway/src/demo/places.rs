//! Where things are: the programs, the logs, the addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use vertice_config::Env;

const GATEWAY: &str = "vertice-gateway";
const REGISTRY: &str = "vertice-registry";
const SIDECAR: &str = "vertice-sidecar";

/// The three programs, side by side in one folder.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) gateway: PathBuf,
    pub(super) registry: PathBuf,
    pub(super) sidecar: PathBuf,
}

impl Programs {
    /// Those in the folder of the running program; the error names every one that is missing.
    pub(super) fn beside_this() -> Result<Self, String> {
        let this = std::env::current_exe()
            .map_err(|error| format!("this program's own place is not known: {error}"))?;
        Self::in_folder(this.parent().unwrap_or_else(|| Path::new(".")))
    }

    fn in_folder(folder: &Path) -> Result<Self, String> {
        let missing: Vec<&str> =
            [GATEWAY, REGISTRY, SIDECAR].into_iter().filter(|name| !folder.join(name).is_file()).collect();
        if missing.is_empty() {
            return Ok(Self {
                gateway: folder.join(GATEWAY),
                registry: folder.join(REGISTRY),
                sidecar: folder.join(SIDECAR),
            });
        }
        Err(format!(
            "{} missing in {}\nbuild all programs with `cargo build --workspace --bins`, or simply start `cargo demo`",
            missing.join(" and "),
            folder.display()
        ))
    }
}

/// A folder for the logs, of our own and closed to other users.
#[derive(Debug)]
pub(super) struct Logs(PathBuf);

impl Logs {
    pub(super) fn create() -> Result<Self, String> {
        let env = Env::capture();
        let name = format!("vertice-demo-{:08x}", fastrand::u32(..));
        let folder = Path::new(env.get("TMPDIR").unwrap_or("/tmp")).join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| format!("no folder for the logs, {}: {error}", folder.display()))?;
        Ok(Self(folder))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// After a good end nobody asks for them.
    pub(super) fn remove(self) {
        // A folder in the temporary place that stays is not worth a failure.
        let _ = std::fs::remove_dir_all(self.0);
    }
}

/// Addresses, as wanted before a part is up (port 0: any), as they are afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) registry: SocketAddr,
}

impl Places {
    /// Ports that the system chooses.
    pub(super) fn any() -> Self {
        Self { gateway: loopback(0), admin: loopback(0), registry: loopback(0) }
    }

    /// The usual ports. One that is taken is replaced by any, with a note for the person.
    pub(super) fn usual() -> (Self, Vec<String>) {
        let mut notes = Vec::new();
        let mut choose = |what: &str, port: u16| match std::net::TcpListener::bind(loopback(port)) {
            Ok(_) => loopback(port),
            Err(error) => {
                notes.push(format!(
                    "port {port} cannot be used ({error}): another one for the {what}, see below"
                ));
                loopback(0)
            }
        };
        let places = Self {
            gateway: choose("gateway", 8000),
            admin: choose("gateway's admin pages", 9901),
            registry: choose("registry", 8888),
        };
        (places, notes)
    }
}

/// A port that nobody listens on now, `usual` if that is one.
pub(super) fn free_port(usual: u16) -> u16 {
    let probe = |port| std::net::TcpListener::bind(loopback(port)).and_then(|bound| bound.local_addr());
    probe(usual).or_else(|_| probe(0)).map_or(usual, |address| address.port())
}

/// On this machine only.
pub(super) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_program_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(GATEWAY), "").unwrap();
        let error = Programs::in_folder(folder.path()).unwrap_err();
        assert!(error.contains("vertice-registry and vertice-sidecar missing"), "{error}");
        assert!(error.contains("cargo demo"), "{error}");
        for name in [REGISTRY, SIDECAR] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(Programs::in_folder(folder.path()).is_ok());
    }

    #[test]
    fn a_taken_port_is_replaced() {
        let held = std::net::TcpListener::bind(loopback(0)).unwrap();
        let port = held.local_addr().unwrap().port();
        assert_ne!(free_port(port), port);
    }
}
