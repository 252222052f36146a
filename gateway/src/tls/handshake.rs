//! One handshake: from a socket to an encrypted stream, or to a reason why not.
//!
//! ```text
//! first byte -> client's hello -> permit -> the computing -> the client's part
//!      '---------------- all of it before the deadline ---------------'
//! ```
//!
//! Most of the cost is one burst of computing, and a worker is one thread: whoever wants to compute waits for one of a few
//! permits, and gives it back after everybody else who is ready had theirs. So a flood of handshakes delays a request by
//! those few bursts, and a client that stalls in the middle holds a connection but no permit.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rustls::HandshakeKind;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::ClientIdentity;
use super::listener::{ListenerTls, Setup};
use super::stats::HandshakeFailure;

/// What is read of a request in clear text before its connection is closed: closing at once would take the answer with it.
const UNREAD_BYTES: usize = 64 * 1024;

/// The first byte of a TLS connection: a handshake record (RFC 8446 5.1).
const HANDSHAKE: u8 = 22;

const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 47\r\n\
    connection: close\r\n\r\nthis port speaks https: use https:// in the URL";

/// A connection whose handshake is over.
#[derive(Debug)]
pub struct Secured {
    /// What is read and written in clear.
    pub stream: TlsStream<TcpStream>,
    /// What was agreed on.
    pub security: Security,
}

/// What a handshake came to, for the requests of its connection.
#[derive(Debug)]
pub struct Security {
    /// The name that the client asked for, in lower case.
    pub server_name: Option<String>,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// Who the client proved to be.
    pub client: Option<ClientIdentity>,
    setup: Arc<Setup>,
}

impl Security {
    /// Whether a request for `host` (normal form) may be answered here. RFC 9110 7.4 and 15.5.20: not if the client was
    /// shown the certificate of another one. Who named no host at the handshake made no claim to contradict.
    pub fn answers_for(&self, host: &str) -> bool {
        let Some(name) = &self.server_name else { return true };
        let shown = || self.setup.loaded.certificates.of(Some(name));
        name == host || host.is_empty() || shown().iter().any(|credential| credential.facts.covers(host))
    }
}

/// Makes the handshake on `stream` at `worker`, counts what becomes of it, and ends it at its deadline.
pub async fn handshake(
    tls: &ListenerTls,
    worker: usize,
    stream: TcpStream,
) -> Result<Secured, HandshakeFailure> {
    let deadline = Instant::now() + tls.handshake_timeout();
    let done = timeout_at(deadline, secure(tls, worker, stream)).await;
    let done = done.unwrap_or(Err(HandshakeFailure::Timeout));
    match &done {
        Ok(secured) => {
            let kind = secured.stream.get_ref().1.handshake_kind();
            tls.stats.succeeded(matches!(kind, Some(HandshakeKind::Resumed)));
        }
        Err(why) => tls.stats.failed(*why),
    }
    done
}

async fn secure(tls: &ListenerTls, worker: usize, stream: TcpStream) -> Result<Secured, HandshakeFailure> {
    let mut first = [0_u8; 1];
    match stream.peek(&mut first).await {
        Ok(1..) if first == [HANDSHAKE] => {}
        Ok(1..) if first.iter().all(u8::is_ascii_alphabetic) => {
            tell_plain_http(stream).await;
            return Err(HandshakeFailure::PlainHttp);
        }
        Ok(1..) => return Err(HandshakeFailure::NotTls),
        Ok(0) | Err(_) => return Err(HandshakeFailure::Closed),
    }
    let of = |error: io::Error| HandshakeFailure::of(&error);
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(of)?;
    let setup = tls.current();
    let mut accepting = pin!(hello.into_stream(setup.server.clone()));
    let permit = match tls.permits(worker) {
        Some(permits) => permits.acquire().await.ok(),
        None => None,
    };
    // One look computes everything up to our part of the handshake.
    let at_once = poll_fn(|cx| Poll::Ready(accepting.as_mut().poll(cx))).await;
    tokio::task::yield_now().await;
    drop(permit);
    let stream = match at_once {
        Poll::Ready(done) => done,
        Poll::Pending => accepting.await,
    };
    let stream = stream.map_err(of)?;
    let session = stream.get_ref().1;
    let client = session.peer_certificates().and_then(|chain| chain.first());
    let client = match client {
        None => None,
        // Verified, and yet not to be read: nobody should be told of half an identity.
        Some(certificate) => {
            Some(ClientIdentity::of(certificate).ok_or(HandshakeFailure::BadClientCertificate)?)
        }
    };
    let http2 = session.alpn_protocol() == Some(b"h2");
    let server_name = session.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    Ok(Secured { security: Security { server_name, http2, client, setup }, stream })
}

/// Tells a client that speaks HTTP here what to do. Nothing of its request is looked at.
async fn tell_plain_http(mut stream: TcpStream) {
    if stream.write_all(PLAIN_HTTP).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = [0_u8; 1024];
    let mut left = UNREAD_BYTES;
    while let Ok(bytes @ 1..) = stream.read(&mut rest).await {
        left = left.saturating_sub(bytes);
        if left == 0 {
            return;
        }
    }
}
