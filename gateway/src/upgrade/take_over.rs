//! The new process's side of an upgrade: asks the running one for its sockets, and tells it when it may go.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tokio::time::timeout;

use super::inherited::{Inherited, InheritedListener};
use super::packet::{Channel, Predecessor, Successor, VERSION};
use super::socket::connected;
use super::{ANSWER_WITHIN, PATIENCE};
use crate::listener::socket::ListenSocket;

/// What was taken over, and the one it was taken from.
#[derive(Debug)]
pub struct TakenOver {
    /// The sockets.
    pub inherited: Inherited,
    /// The upgrade socket and where it is.
    pub socket: Option<(PathBuf, OwnedFd)>,
    /// The running process, until it is told to go.
    pub predecessor: Running,
}

/// The running process.
#[derive(Debug)]
pub struct Running(Channel);

/// Asks the process that listens at `path` for its sockets.
pub async fn ask(path: &Path) -> Result<TakenOver, String> {
    let shown = path.display();
    let socket = connected(path).map_err(|error| {
        format!("no running gateway at {shown}: {error}; start without --upgrade, or say with --upgrade-socket where it is")
    })?;
    let failed = |error: std::io::Error| format!("taking over from {shown}: {error}");
    let channel = Channel::new(socket).map_err(failed)?;
    channel.send(&Successor::TakeOver { version: VERSION }, &[]).await.map_err(failed)?;
    let mut listeners: Vec<InheritedListener> = Vec::new();
    let (mut admin, mut socket) = (None, None);
    loop {
        // The running process may have another one at the door just then.
        let received = timeout(ANSWER_WITHIN, channel.receive::<Predecessor>()).await;
        let received = received.map_err(|_| format!("the gateway at {shown} does not answer"))?;
        let Some((message, sockets)) = received.map_err(failed)? else {
            return Err(format!("the gateway at {shown} broke off"));
        };
        match message {
            Predecessor::Refused { why } => return Err(format!("the gateway at {shown} refuses: {why}")),
            Predecessor::Listener { name, address, owns_file } => {
                let sockets: Vec<_> =
                    sockets.into_iter().map(|socket| ListenSocket::of(socket, &address)).collect();
                match listeners.last_mut().filter(|last| last.name == name && last.address == address) {
                    Some(last) => last.sockets.extend(sockets),
                    None => listeners.push(InheritedListener { name, address, owns_file, sockets }),
                }
            }
            Predecessor::Admin { address } => {
                let sockets = sockets.into_iter().map(|socket| ListenSocket::Tcp(socket.into())).collect();
                let (name, address) = ("admin".into(), address.into());
                admin = Some(InheritedListener { name, address, owns_file: false, sockets });
            }
            Predecessor::UpgradeSocket { path } => {
                socket = sockets.into_iter().next().map(|socket| (path, socket));
            }
            Predecessor::All => break,
            Predecessor::Going | Predecessor::Me { .. } => {}
        }
    }
    Ok(TakenOver {
        inherited: Inherited::handed_over(listeners, admin),
        socket,
        predecessor: Running(channel),
    })
}

impl Running {
    /// Tells it that we accept. An error: it has given us up and goes on.
    pub async fn ready(self) -> Result<(), String> {
        let given_up = || "the running gateway no longer waits for this one, and goes on".to_owned();
        self.0.send(&Successor::Ready, &[]).await.map_err(|_| given_up())?;
        match timeout(ANSWER_WITHIN, self.0.receive::<Predecessor>()).await {
            // Silence: what is sent over such a socket is there, so it will hear us. Both accept until then.
            Ok(Ok(Some((Predecessor::Going, _)))) | Err(_) => Ok(()),
            Ok(Ok(_) | Err(_)) => Err(given_up()),
        }
    }
}

/// The number of the process that listens at `path`.
pub async fn who(path: &Path) -> Option<u32> {
    let channel = Channel::new(connected(path).ok()?).ok()?;
    channel.send(&Successor::Who, &[]).await.ok()?;
    match timeout(PATIENCE, channel.receive::<Predecessor>()).await {
        Ok(Ok(Some((Predecessor::Me { process }, _)))) => Some(process),
        _ => None,
    }
}
