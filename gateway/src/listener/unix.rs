//! The file of a Unix socket: made, guarded by its mode, taken from the dead and never from the living, removed.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

/// A socket at `path` whose file has `mode`.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    remove_dead(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // The umask had its say in the file's first mode. Nobody can connect before `listen`, whatever that was.
    set_mode(path, mode)?;
    socket.listen(i32::from(u16::MAX))?;
    Ok(socket.into())
}

/// Who may connect from now on.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Takes the name away: nobody listens there any more.
pub fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(%error, path = %path.display(), "a Unix socket could not be removed");
    }
}

/// Removes what a process that died left at `path`. What else is there stays, and is an error.
fn remove_dead(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::other("what is there is no socket, and stays; choose another path"));
        }
        Ok(_) => {}
    }
    // Not to be held up by one whose queue is full: it lives.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_the_place_of_a_dead_one_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.sock");
        let first = bind(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(bind(&path, 0o660).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(path.exists(), "as a killed process leaves it");
        let second = bind(&path, 0o666).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        drop(second);
        remove(&path);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path, 0o660).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
