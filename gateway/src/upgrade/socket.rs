//! The Unix socket at which a successor asks for the listening sockets.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
    sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::packet::{Channel, watched};

/// Those who ask at once: there is one successor, and perhaps a command that waits for it.
const BACKLOG: i32 = 8;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Listening.
#[derive(Debug)]
pub struct UpgradeSocket {
    path: PathBuf,
    socket: AsyncFd<OwnedFd>,
}

impl UpgradeSocket {
    /// Opens it at `path`, for our user alone. The socket that a process that died left there is removed; any other file stays,
    /// and is an error.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        // A plain file refuses connections, too.
        if fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
            && connected(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            fs::remove_file(path)?;
        }
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        // Before it has a name: at no moment may another user connect.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        Self::of(path, socket)
    }

    /// One that is open already.
    pub fn of(path: &Path, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), socket: watched(socket, Interest::READABLE)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A copy of the socket, for the successor.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.socket.get_ref().try_clone()
    }

    /// The next one who asks and is of our user. Cancel safe.
    pub async fn accept(&self) -> io::Result<Channel> {
        loop {
            let accept = |socket: &OwnedFd| Ok(accept_with(socket, FLAGS)?);
            let peer = self.socket.async_io(Interest::READABLE, accept).await?;
            let of = sockopt::socket_peercred(&peer)?;
            if of.uid == rustix::process::geteuid() {
                return Channel::new(peer);
            }
            tracing::warn!(
                user = of.uid.as_raw(),
                process = of.pid.as_raw_nonzero().get(),
                "another user asked for the listening sockets and was refused"
            );
        }
    }

    /// Takes its name away: nobody listens there any more.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the upgrade socket could not be removed");
        }
    }
}

/// A connection to the one that listens at `path`.
pub fn connected(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_ours_alone_takes_the_place_of_a_dead_one_and_never_of_a_live_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade.sock");
        let first = UpgradeSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(UpgradeSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        connected(&path).unwrap();
        drop(first);
        assert!(path.exists(), "as a killed process leaves it");
        UpgradeSocket::bind(&path).unwrap().remove();
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(UpgradeSocket::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = folder.path().join("x".repeat(200));
        assert!(UpgradeSocket::bind(&long).is_err());
    }
}
