//! The running process's side of an upgrade: gives copies of its sockets away and hears whether the new process accepts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use tokio::time::timeout;
use vertice_config::gateway::ListenAddress;

use super::packet::{Channel, DESCRIPTORS, Predecessor, Successor, VERSION};
use super::{ANSWER_WITHIN, PATIENCE};

/// What is given away: copies, so that nothing of it can be lost with the new process.
#[derive(Debug)]
pub struct Offer {
    /// The listeners.
    pub listeners: Vec<OfferedListener>,
    /// The admin listener, with its configured address.
    pub admin: Option<(SocketAddr, OwnedFd)>,
    /// The socket that the new process came in at.
    pub socket: (PathBuf, OwnedFd),
}

/// One listener.
#[derive(Debug)]
pub struct OfferedListener {
    /// As the configuration calls it.
    pub name: String,
    /// As the configuration has it.
    pub address: ListenAddress,
    /// Whether the file of its Unix socket is ours to give.
    pub owns_file: bool,
    /// Its sockets.
    pub sockets: Vec<OwnedFd>,
}

/// What somebody at the upgrade socket wants.
#[derive(Debug)]
pub enum Wish {
    /// To take over.
    TakeOver,
    /// Nothing more.
    Answered,
}

/// Hears what the one at `channel` wants. What can be answered at once is.
pub async fn hear(channel: &Channel) -> io::Result<Wish> {
    let said = timeout(ANSWER_WITHIN, channel.receive::<Successor>()).await;
    match said.map_err(|_| io::ErrorKind::TimedOut)?? {
        None | Some((Successor::Ready, _)) => Ok(Wish::Answered),
        Some((Successor::Who, _)) => {
            channel.send(&Predecessor::Me { process: std::process::id() }, &[]).await?;
            Ok(Wish::Answered)
        }
        Some((Successor::TakeOver { version }, _)) if version == VERSION => Ok(Wish::TakeOver),
        Some((Successor::TakeOver { version }, _)) => {
            refuse(
                channel,
                &format!("it speaks version {version} of the hand-over, this one {VERSION}: restart"),
            )
            .await;
            Ok(Wish::Answered)
        }
    }
}

/// Says no.
pub async fn refuse(channel: &Channel, why: &str) {
    // Who asked may have left.
    let _ = channel.send(&Predecessor::Refused { why: why.to_owned() }, &[]).await;
}

/// Gives the sockets away and returns when the new process accepts; an error says why it never will.
pub async fn give(channel: &Channel, offer: &Offer) -> Result<(), String> {
    let sent = timeout(ANSWER_WITHIN, send(channel, offer)).await;
    sent.map_err(|_| "it does not take the sockets".to_owned())?.map_err(|error| error.to_string())?;
    match timeout(PATIENCE, channel.receive::<Successor>()).await {
        Ok(Ok(Some((Successor::Ready, _)))) => Ok(()),
        Ok(Ok(Some((other, _)))) => Err(format!("it said {other:?}")),
        Ok(Ok(None)) => Err("it ended before it was ready; its log says why".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it was not ready within {PATIENCE:?}")),
    }
}

async fn send(channel: &Channel, offer: &Offer) -> io::Result<()> {
    for OfferedListener { name, address, owns_file, sockets } in &offer.listeners {
        for some in sockets.chunks(DESCRIPTORS) {
            let (name, address, owns_file) = (name.clone(), address.clone(), *owns_file);
            let message = Predecessor::Listener { name, address, owns_file };
            let some: Vec<BorrowedFd<'_>> = some.iter().map(|socket| socket.as_fd()).collect();
            channel.send(&message, &some).await?;
        }
    }
    if let Some((address, socket)) = &offer.admin {
        channel.send(&Predecessor::Admin { address: *address }, &[socket.as_fd()]).await?;
    }
    let (path, socket) = &offer.socket;
    channel.send(&Predecessor::UpgradeSocket { path: path.clone() }, &[socket.as_fd()]).await?;
    channel.send(&Predecessor::All, &[]).await
}

/// Says that no more connections are taken here.
pub async fn going(channel: &Channel) {
    // The new process goes on without it.
    let _ = channel.send(&Predecessor::Going, &[]).await;
}
