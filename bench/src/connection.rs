//! A kept-alive HTTP/1.1 connection that asks one thing after the other, as cheaply as a load generator must.
//!
//! It understands the answers of the programs that are measured, which carry `content-length`; anything else is an
//! error, so nothing is ever taken for an answer that is none.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::tls::Https;

/// Largest answer: far more than any that is asked for here, the admin's table included.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// For one question of control; load has its own limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    /// The connection ends with it.
    pub(crate) closes: bool,
}

/// Where an answer's parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes to the end of the empty line.
    length: usize,
    /// Bytes of the body.
    body: usize,
    /// `Connection: close`
    closes: bool,
}

impl Connection {
    /// Connects to `address`.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("{address}: {error}"))?;
        Ok(Self { stream: Stream::Tcp(stream), buffer: Vec::with_capacity(4096) })
    }

    /// Connects to `address`, inside TLS if `https` says how.
    pub(crate) async fn open_as(address: SocketAddr, https: Option<&Https>) -> Result<Self, String> {
        let Self { stream, buffer } = Self::open(address).await?;
        let stream = match (https, stream) {
            (Some(https), Stream::Tcp(stream)) => {
                let stream = https.connector.connect(https.name.clone(), stream).await;
                Stream::Tls(Box::new(stream.map_err(|error| format!("{address}: TLS: {error}"))?))
            }
            (_, stream) => stream,
        };
        Ok(Self { stream, buffer })
    }

    /// GET `path`; waits at most ten seconds.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer<'_>, String> {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").as_bytes()).await
    }

    /// Sends `request` and reads the whole answer; waits at most ten seconds.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, String> {
        timeout(PATIENCE, self.exchange(request)).await.map_err(|_| "no answer within 10 s".to_owned())?
    }

    /// Sends `request` and reads the whole answer, however long it takes.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, String> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(request).await,
            Stream::Tls(stream) => stream.write_all(request).await,
        }
        .map_err(|error| format!("sending failed: {error}"))?;
        self.buffer.clear();
        let mut head = None;
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read_buf(&mut self.buffer).await,
                Stream::Tls(stream) => stream.read_buf(&mut self.buffer).await,
            };
            match read.map_err(|error| format!("reading failed: {error}"))? {
                0 => return Err(format!("closed after {} bytes of an answer", self.buffer.len())),
                _ if self.buffer.len() > MOST_BYTES => return Err("the answer is too large".into()),
                _ => {}
            }
            if head.is_none() {
                head = Head::parse(&self.buffer)?;
            }
            let Some(Head { status, length, body, closes }) = head else { continue };
            if self.buffer.len() > length + body {
                return Err("more bytes than the answer's length".into());
            }
            if self.buffer.len() == length + body {
                return Ok(Answer { status, body: self.buffer.get(length..).unwrap_or_default(), closes });
            }
        }
    }
}

impl Head {
    /// `None` while it is not all there.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = bytes.get(..end).and_then(|head| std::str::from_utf8(head).ok());
        let text = text.ok_or("a head that is not text")?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("not an answer: {first}"))?;
        let (mut length, mut closes) = (None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = length.or(value.trim().parse().ok());
            } else if name.eq_ignore_ascii_case("connection") {
                closes |= value.trim().eq_ignore_ascii_case("close");
            }
        }
        match (status, length) {
            (204 | 304, _) => Ok(Some(Self { status, length: end + 4, body: 0, closes })),
            (_, Some(body)) => Ok(Some(Self { status, length: end + 4, body, closes })),
            (_, None) => Err(format!("an answer without content-length: {first}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhel";
        assert_eq!(Head::parse(answer), Ok(Some(Head { status: 200, length: 49, body: 5, closes: false })));
        assert_eq!(Head::parse(&answer[..40]), Ok(None));
        let empty = b"HTTP/1.1 204 No Content\r\nconnection: Close\r\n\r\n";
        assert_eq!(Head::parse(empty), Ok(Some(Head { status: 204, length: 46, body: 0, closes: true })));
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        for bad in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] {
            assert!(Head::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
