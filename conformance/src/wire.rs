//! A client's connection to the target, plain or TLS, blocking, with a deadline on every read.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use crate::tls;

/// How long a connect or a write may take before the target counts as deaf.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the cases go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    /// How long to wait for something that should come.
    pub(crate) patience: Duration,
}

/// An open connection.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes,
    /// The peer closed.
    End,
    /// The peer tore the connection down: what was on its way is lost.
    Reset,
    /// Nothing until the deadline.
    Late,
}

impl Wire {
    /// Connects; `protocol` is offered by ALPN.
    pub(crate) fn connect(target: &Target, protocol: &[u8]) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&target.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        if !target.tls {
            return Ok(Self::Plain(stream));
        }
        let mut tls = StreamOwned::new(tls::client(protocol)?, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        if tls.conn.alpn_protocol() != Some(protocol) && protocol != b"http/1.1" {
            return Err(io::Error::other("the target does not speak this protocol over TLS (ALPN)"));
        }
        Ok(Self::Tls(Box::new(tls)))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Appends what comes before `deadline` to `to`.
    pub(crate) fn receive(&mut self, to: &mut Vec<u8>, deadline: Instant) -> Received {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut bytes = [0; 16_384];
        let read = match self {
            Self::Plain(stream) => {
                let _ = stream.set_read_timeout(Some(left));
                stream.read(&mut bytes)
            }
            Self::Tls(stream) => {
                let _ = stream.sock.set_read_timeout(Some(left));
                stream.read(&mut bytes)
            }
        };
        match read {
            Ok(0) => Received::End,
            Ok(length) => {
                to.extend_from_slice(&bytes[..length]);
                Received::Bytes
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                    Received::Late
                }
                // Without a closing alert of TLS, which is a habit of many.
                io::ErrorKind::UnexpectedEof => Received::End,
                _ => Received::Reset,
            },
        }
    }
}
