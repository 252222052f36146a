//! Listening sockets of a service manager (systemd's LISTEN_FDS): it holds them while the process is restarted.

use listenfd::ListenFd;
use vertice_config::Env;

use super::inherited::{Inherited, InheritedListener};
use crate::listener::socket::ListenSocket;

/// The sockets that were passed to this process, with the names that they were passed under.
pub fn inherited(env: &Env) -> Result<Inherited, String> {
    let mut passed = ListenFd::from_env();
    let names: Vec<&str> =
        env.get("LISTEN_FDNAMES").map(|names| names.split(':').collect()).unwrap_or_default();
    let mut listeners: Vec<InheritedListener> = Vec::new();
    for index in 0..passed.len() {
        let name = names.get(index).copied().unwrap_or_default();
        let bad = |error: std::io::Error| {
            format!(
                "socket {index} ({name}) of the service manager is no listening TCP or Unix socket: {error}"
            )
        };
        let socket = match passed.take_tcp_listener(index) {
            Ok(socket) => socket.map(ListenSocket::Tcp),
            // It was left in its place.
            Err(_) => passed.take_unix_listener(index).map_err(bad)?.map(ListenSocket::Unix),
        };
        let Some(socket) = socket else { continue };
        let address = socket.address().map_err(bad)?;
        match listeners.iter_mut().find(|there| there.name == name && there.address == address) {
            Some(there) => there.sockets.push(socket),
            None => listeners.push(InheritedListener {
                name: name.to_owned(),
                address,
                owns_file: false,
                sockets: vec![socket],
            }),
        }
    }
    Ok(Inherited::passed(listeners))
}
