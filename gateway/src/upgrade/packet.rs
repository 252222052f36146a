//! What the two processes of an upgrade say to each other: one JSON object per packet, descriptors beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vertice_config::gateway::ListenAddress;

/// Descriptors in one packet; the kernel takes 253.
pub const DESCRIPTORS: usize = 64;

/// Bytes of one packet: a name, an address, a path.
const PACKET_BYTES: usize = 16 * 1024;

/// The version of this talk. Both sides may be of different releases.
pub const VERSION: u32 = 1;

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Successor {
    /// Give me your sockets.
    TakeOver {
        /// [`VERSION`]
        version: u32,
    },
    /// I accept: you may go.
    Ready,
    /// Who are you? (Asked by the command that waits for an upgrade.)
    Who,
}

/// What the running one says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Predecessor {
    /// Not now, or never.
    Refused {
        /// For a person.
        why: String,
    },
    /// Sockets of a listener; more of it may follow.
    Listener {
        /// As the configuration calls it.
        name: String,
        /// As the configuration has it.
        #[serde(with = "text")]
        address: ListenAddress,
        /// Whether the file of a Unix socket goes with it. A process from before there were any does not say so.
        #[serde(default)]
        owns_file: bool,
    },
    /// The socket of the admin listener.
    Admin {
        /// As the configuration has it.
        address: SocketAddr,
    },
    /// The socket that this talk came in at.
    UpgradeSocket {
        /// Its name.
        path: PathBuf,
    },
    /// That was all.
    All,
    /// I take no more connections.
    Going,
    /// This is me.
    Me {
        /// The number of the process.
        process: u32,
    },
}

/// One end of the talk.
#[derive(Debug)]
pub struct Channel(AsyncFd<OwnedFd>);

impl Channel {
    /// Over a connected socket of packets that does not block.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        watched(socket, Interest::READABLE | Interest::WRITABLE).map(Self)
    }

    /// Sends one packet with at most [`DESCRIPTORS`] descriptors, which stay ours, too.
    pub async fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let send = |socket: &OwnedFd| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            let fit = descriptors.len() <= DESCRIPTORS
                && (descriptors.is_empty() || beside.push(SendAncillaryMessage::ScmRights(descriptors)));
            if !fit {
                return Err(io::Error::other("too many descriptors for one packet"));
            }
            sendmsg(socket, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)?;
            Ok(())
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }

    /// The next packet and its descriptors; `None`: the other side is gone.
    pub async fn receive<M: for<'m> Deserialize<'m>>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let (bytes, descriptors) = self.0.async_io(Interest::READABLE, receive).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&bytes)?, descriptors)))
    }
}

fn receive(socket: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let came = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    if came.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a packet was cut; out of file descriptors?"));
    }
    bytes.truncate(came.bytes);
    Ok((bytes, descriptors))
}

/// `socket`, watched by the runtime.
pub fn watched<S: AsFd + std::os::fd::AsRawFd>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    #[allow(
        deprecated,
        reason = "its successor is unsafe; what it guards against, a descriptor that changes, an owned socket rules out"
    )]
    AsyncFd::with_interest(socket, interest)
}

/// What is written and read as its text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err = String>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::listener::socket::ListenSocket;

    fn pair() -> (Channel, Channel) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (Channel::new(a).unwrap(), Channel::new(b).unwrap())
    }

    #[tokio::test]
    async fn packets_keep_their_borders_and_their_descriptors() {
        let (here, there) = pair();
        let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        for listener in &listeners {
            let address = listener.local_addr().unwrap();
            let message =
                Predecessor::Listener { name: "a".into(), address: address.into(), owns_file: false };
            here.send(&message, &[listener.as_fd(), listener.as_fd()]).await.unwrap();
        }
        here.send(&Predecessor::All, &[]).await.unwrap();
        for listener in &listeners {
            let (message, came) = there.receive::<Predecessor>().await.unwrap().unwrap();
            let Predecessor::Listener { address, .. } = message else { panic!("{message:?}") };
            assert_eq!((&address, came.len()), (&listener.local_addr().unwrap().into(), 2));
            for socket in came {
                assert_eq!(ListenSocket::of(socket, &address).address().unwrap(), address);
            }
        }
        assert!(matches!(there.receive::<Predecessor>().await.unwrap().unwrap().0, Predecessor::All));
        drop(here);
        assert!(there.receive::<Predecessor>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_no_packet_of_ours_is_an_error() {
        let (here, there) = pair();
        here.send(&"hello", &[]).await.unwrap();
        assert!(there.receive::<Predecessor>().await.is_err());
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let many: Vec<_> = (0..=DESCRIPTORS).map(|_| one.as_fd()).collect();
        assert!(here.send(&"hello", &many).await.is_err());
    }
}
