//! Which protocol a client speaks, from its first bytes: HTTP/2 with prior knowledge begins with a preface that no HTTP/1.1
//! request can begin with (RFC 9113 3.4).

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use super::stream::Stream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Room for the first read: most heads fit, and the HTTP library need not read again.
const FIRST_READ_BYTES: usize = 2048;

/// A protocol on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/1.0, or nothing that we understand: the HTTP/1 parser has the word.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Reads until the protocol is certain. With it, what was read.
pub async fn read(stream: &mut Stream) -> io::Result<(Protocol, Bytes)> {
    let mut first = BytesMut::with_capacity(FIRST_READ_BYTES);
    loop {
        let ended = stream.read_buf(&mut first).await? == 0;
        match judge(&first) {
            Some(protocol) => return Ok((protocol, first.freeze())),
            // What came is a head that broke off, if it is anything.
            None if ended => return Ok((Protocol::Http1, first.freeze())),
            None => {}
        }
    }
}

/// `None`: too few bytes to know.
fn judge(first: &[u8]) -> Option<Protocol> {
    if first.starts_with(PREFACE) {
        Some(Protocol::Http2)
    } else if PREFACE.starts_with(first) {
        None
    } else {
        Some(Protocol::Http1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_is_http2_and_only_its_beginning_waits() {
        for (first, protocol) in [
            (&b""[..], None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Protocol::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04", Some(Protocol::Http2)),
            (b"PRI * HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"PUT / HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"G", Some(Protocol::Http1)),
            (b"\0", Some(Protocol::Http1)),
        ] {
            assert_eq!(judge(first), protocol, "{first:?}");
        }
    }
}
