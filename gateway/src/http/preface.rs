//! Which protocol a client speaks, from its first bytes: HTTP/2 with prior knowledge begins with a preface that no HTTP/1.1
//! request can begin with (RFC 9113 3.4). What has the form of a request line and the version of no protocol is another preface: it
//! gets no answer, because whoever sends it waits for frames and would take our text for one. Any other junk is HTTP/1's, and
//! gets its 400.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead as _, ReadBuf};

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

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Speaks(Protocol),
    /// A preface that is none of HTTP/2.
    NoHttp,
    TooFewBytes,
}

/// Reads until the protocol is certain. With it, what was read. `None`: it is no HTTP.
pub async fn read(stream: &mut Stream) -> io::Result<Option<(Protocol, Bytes)>> {
    let mut first = Bytes::new();
    loop {
        let more = poll_fn(|cx| poll_first(stream, cx)).await?;
        let ended = more.is_empty();
        first = if first.is_empty() { more } else { join(&first, &more) };
        match judge(&first) {
            Judged::Speaks(protocol) => return Ok(Some((protocol, first))),
            Judged::NoHttp => return Ok(None),
            // What came is a head that broke off, if it is anything.
            Judged::TooFewBytes if ended => return Ok(Some((Protocol::Http1, first))),
            Judged::TooFewBytes => {}
        }
    }
}

/// The next bytes, as soon as there are any; none: the end. Who waits for them holds no buffer meanwhile.
pub fn poll_first(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut space = [const { MaybeUninit::uninit() }; FIRST_READ_BYTES];
    let mut buffer = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
}

fn join(first: &[u8], more: &[u8]) -> Bytes {
    let mut both = BytesMut::with_capacity(first.len() + more.len());
    both.extend_from_slice(first);
    both.extend_from_slice(more);
    both.freeze()
}

fn judge(first: &[u8]) -> Judged {
    if first.starts_with(PREFACE) {
        Judged::Speaks(Protocol::Http2)
    } else if PREFACE.starts_with(first) {
        Judged::TooFewBytes
    } else if is_other_preface(first) {
        Judged::NoHttp
    } else {
        Judged::Speaks(Protocol::Http1)
    }
}

/// Whether the first line, if it is all there, is three words of which the last is no `name/version`.
fn is_other_preface(first: &[u8]) -> bool {
    let Some(end) = first.iter().position(|byte| *byte == b'\n') else { return false };
    let mut words = first.get(..end).unwrap_or_default().trim_ascii_end().split(|byte| *byte == b' ');
    let version = words.nth(2);
    words.next().is_none() && version.is_some_and(|version| !version.is_empty() && !version.contains(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP1: Judged = Judged::Speaks(Protocol::Http1);
    const HTTP2: Judged = Judged::Speaks(Protocol::Http2);

    #[test]
    fn only_the_whole_preface_is_http2_and_only_its_beginning_waits() {
        for (first, judged) in [
            (&b""[..], Judged::TooFewBytes),
            (b"P", Judged::TooFewBytes),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Judged::TooFewBytes),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04", HTTP2),
            (b"PRI * HTTP/1.1\r\n", HTTP1),
            (b"PUT / HTTP/1.1\r\n", HTTP1),
            (b"\r\nPUT / HTTP/1.1\r\n", HTTP1),
            (b"\r\n", HTTP1),
            (b"INVALID CONNECTION PREFACE", HTTP1),
            (b"INVALID CONNECTION PREFACE\r\n\r\n", Judged::NoHttp),
            (b"GET /\r\nX: a b\r\n", HTTP1),
            (b"GET / http/1.1\r\n", HTTP1),
            (b"GET /  \r\n", HTTP1),
            (b"GET / a b\r\n", HTTP1),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", HTTP1),
            (b"G", HTTP1),
            (b"\0", HTTP1),
        ] {
            assert_eq!(judge(first), judged, "{first:?}");
        }
    }
}
