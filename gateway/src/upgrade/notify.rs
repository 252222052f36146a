//! Tells the service manager (systemd's NOTIFY_SOCKET) that this process is ready, and that it is the one now.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use vertice_config::Env;

/// Tells it, if there is one. After an upgrade in place the service manager knows another process as the main one.
pub fn ready(env: &Env) {
    let Some(place) = env.get("NOTIFY_SOCKET") else { return };
    let message = format!("READY=1\nMAINPID={}\n", std::process::id());
    if let Err(error) = send(place, message.as_bytes()) {
        tracing::warn!(%error, "the service manager could not be told that this process is ready");
    }
}

fn send(place: &str, message: &[u8]) -> io::Result<()> {
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold us.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_who_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        ready(&Env::from([("NOTIFY_SOCKET", path.to_str().unwrap())]));
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert_eq!(said, format!("READY=1\nMAINPID={}\n", std::process::id()));
        ready(&Env::default());
    }
}
