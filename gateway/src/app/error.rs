//! Why a gateway did not start.

use std::fmt;
use std::path::PathBuf;

use vertice_config::gateway::ListenAddress;

use crate::credentials::CredentialError;
use crate::listener::open::OpenError;

/// Why a gateway did not start. `Display` says what to do, a line for each thing that is wrong.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind {
        /// What it is for.
        what: String,
        /// Which.
        address: ListenAddress,
        /// Why.
        error: std::io::Error,
    },
    /// The embedded registry did not start.
    Registry(vertice_registry::StartError),
    /// The access log cannot be opened.
    AccessLog {
        /// Which file, if it is one.
        path: Option<PathBuf>,
        /// Why.
        error: std::io::Error,
    },
    /// The state directory cannot be used.
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The service manager listens where no listener of the configuration does.
    Unclaimed {
        /// As it calls it.
        name: String,
        /// Where it is.
        address: ListenAddress,
    },
    /// Certificates, keys or authorities cannot be used.
    Credentials(Vec<CredentialError>),
    /// What policies name in files cannot be used.
    Policies(Vec<String>),
    /// The system gave us no thread.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { what, address, error } if error.kind() == std::io::ErrorKind::AddrInUse => {
                let other = match address {
                    ListenAddress::Tcp(_) => "port",
                    ListenAddress::Unix(_) => "path",
                };
                write!(
                    f,
                    "{what} {address} is taken: stop the process that listens there or choose another {other}"
                )
            }
            Self::Bind { what, address, error } => write!(f, "cannot listen on {what} {address}: {error}"),
            Self::Registry(error) => write!(f, "the embedded registry cannot start: {error}"),
            Self::AccessLog { path: Some(path), error } => {
                write!(f, "the access log {} cannot be opened: {error}", path.display())
            }
            Self::AccessLog { path: None, error } => write!(f, "the access log cannot be opened: {error}"),
            Self::StateDir { path, error } => write!(
                f,
                "the state directory {} cannot be written to: {error}; give this user the right to, or another one",
                path.display()
            ),
            Self::Unclaimed { name, address } => write!(
                f,
                "the service manager passed a socket {name} at {address} that no listener has: name a listener after it, or give \
                 one its address"
            ),
            Self::Credentials(errors) => {
                for (index, error) in errors.iter().enumerate() {
                    let border = if index == 0 { "" } else { "\n" };
                    write!(f, "{border}{error}")?;
                }
                Ok(())
            }
            Self::Policies(errors) => f.write_str(&errors.join("\n")),
            Self::Thread(error) => write!(f, "a worker thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<OpenError> for StartError {
    fn from(OpenError { name, address, error }: OpenError) -> Self {
        Self::Bind { what: format!("listener {name}"), address, error }
    }
}
