//! HTTP/2 frame by frame, for what no well-behaved client does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait::{PATIENCE, within};

/// What a client begins with (RFC 9113 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub const HEADERS: u8 = 1;
/// An error of one stream.
pub const RST_STREAM: u8 = 3;
/// Settings of either side.
pub const SETTINGS: u8 = 4;
/// Answered with the same bytes.
pub const PING: u8 = 6;
/// The connection ends.
pub const GOAWAY: u8 = 7;
/// More may be sent.
pub const WINDOW_UPDATE: u8 = 8;

/// A flag: nothing follows on this stream.
pub const END_STREAM: u8 = 1;
const ACK: u8 = 1;
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 5;

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A client's connection.
#[derive(Debug)]
pub struct Frames {
    address: SocketAddr,
    stream: TcpStream,
}

impl Frames {
    /// Connects, and says the preface and empty settings.
    pub async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        Self { address, stream }
    }

    /// Begins GET requests of `path` on `streams`, in one write.
    pub async fn get(&mut self, streams: impl IntoIterator<Item = u32>, path: &str) {
        let authority = self.address.to_string();
        // Literal fields, not indexed, with the names of the static table (RFC 7541 appendix A).
        let literal = |index: u8, value: &str| {
            [&[index, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat()
        };
        let block = [vec![0x82, 0x86], literal(0x04, path), literal(0x01, &authority)].concat();
        let bytes: Vec<u8> =
            streams.into_iter().flat_map(|stream| frame(HEADERS, WHOLE, stream, &block)).collect();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next frame that is no SETTINGS, PING or WINDOW_UPDATE; the first two are answered. `None`: the connection was closed.
    pub async fn next(&mut self) -> Option<Frame> {
        within(PATIENCE, "a frame, or the end", async {
            loop {
                let frame = self.read().await?;
                match frame.kind {
                    SETTINGS | PING if frame.flags & ACK == 0 => {
                        let payload = if frame.kind == PING { frame.payload } else { Vec::new() };
                        self.stream.write_all(&self::frame(frame.kind, ACK, 0, &payload)).await.ok()?;
                    }
                    SETTINGS | PING | WINDOW_UPDATE => {}
                    _ => return Some(frame),
                }
            }
        })
        .await
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}
