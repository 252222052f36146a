//! The service behind the target: it records every byte that reaches it, judges the framing as strictly as the RFC does,
//! and answers as the case says.
//!
//! Cases run at the same time over the target's pool of connections. What belongs to which case tells the token that every
//! target of a case carries ([`token`]).

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::h1::chunked::{self, Decoded};

/// What the service does when a request of a case has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// 200 with the token as body, once the whole request is there.
    Ordinary,
    /// These bytes, once the whole request is there; then the next request is waited for.
    Bytes(&'static [u8]),
    /// These bytes, then the end of the connection.
    BytesAndClose(&'static [u8]),
    /// These bytes as soon as the head is there; the body is read afterwards.
    Early(&'static [u8]),
    /// These bytes so many times, then the ordinary answer.
    Flood(&'static [u8], usize),
    /// 200 with a body of so many bytes.
    Large(usize),
}

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    /// The head with its empty line; whatever came, if no head was made of it.
    pub(crate) head: Vec<u8>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// Trailer fields, raw.
    pub(crate) trailers: Vec<u8>,
    /// What is wrong with its framing, or that it was cut.
    pub(crate) fault: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU32,
    answers: Mutex<HashMap<String, Answer>>,
    seen: Mutex<HashMap<String, Vec<Exchange>>>,
}

/// A connection that stays idle or stands still this long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// What one head may have before it is recorded as it is.
const HEAD_BYTES: usize = 4 * 1024 * 1024;
/// What is kept of a body.
const BODY_BYTES: usize = 4 * 1024 * 1024;

impl Upstream {
    /// Listens at `address`. Its threads end with the process.
    pub(crate) fn start(address: SocketAddr) -> Result<Self, String> {
        let listener =
            TcpListener::bind(address).map_err(|error| format!("cannot listen at {address}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared::default());
        let clone = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = clone.clone();
                thread::spawn(move || shared.converse(stream));
            }
        });
        Ok(Self { address, shared })
    }

    /// A new token, under which requests are answered with `answer`.
    pub(crate) fn token(&self, answer: Answer) -> String {
        let token = format!("c{:05}x", self.shared.next.fetch_add(1, Ordering::Relaxed));
        lock(&self.shared.answers).insert(token.clone(), answer);
        token
    }

    /// What came under `token`.
    pub(crate) fn seen(&self, token: &str) -> Vec<Exchange> {
        lock(&self.shared.seen).get(token).cloned().unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first token in `bytes`: `c`, five digits, `x`.
pub(crate) fn token_in(bytes: &[u8]) -> Option<String> {
    let found =
        bytes.windows(7).find(|w| w[0] == b'c' && w[6] == b'x' && w[1..6].iter().all(u8::is_ascii_digit))?;
    Some(String::from_utf8_lossy(found).into_owned())
}

impl Shared {
    fn record(&self, exchange: Exchange) {
        let named = exchange.head.split(|b| *b == b'\n').next().and_then(token_in);
        if let Some(token) = named.or_else(|| token_in(&exchange.head)) {
            lock(&self.seen).entry(token).or_default().push(exchange);
        }
    }

    fn converse(&self, stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.set_write_timeout(Some(PATIENCE));
        let _ = stream.set_nodelay(true);
        let mut connection = Connection { stream, bytes: Vec::new() };
        while let Some(more) = self.one(&mut connection) {
            if !more {
                break;
            }
        }
    }

    /// One request and its answer; whether another may follow. `None`: the peer is gone.
    fn one(&self, connection: &mut Connection) -> Option<bool> {
        let Some(length) = connection.head() else {
            if !connection.bytes.is_empty() {
                let head = std::mem::take(&mut connection.bytes);
                self.record(Exchange {
                    head,
                    fault: Some("no whole head came".into()),
                    ..Exchange::default()
                });
            }
            return None;
        };
        let head: Vec<u8> = connection.bytes.drain(..length).collect();
        let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
        let token = token_in(line);
        let answer = token.as_ref().and_then(|t| lock(&self.answers).get(t).copied());
        let answer = answer.unwrap_or(Answer::Ordinary);
        if let Answer::Early(bytes) = answer {
            connection.write(&filled(bytes, token.as_deref()))?;
        }
        let expects = chunked::values(&head, "expect").iter().any(|v| v.eq_ignore_ascii_case("100-continue"));
        if expects && !matches!(answer, Answer::Early(_)) {
            connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let framing = match chunked::framing(&head) {
            Ok(framing) => framing,
            Err(fault) => {
                self.record(Exchange { head, fault: Some(fault), ..Exchange::default() });
                return Some(false);
            }
        };
        let mut exchange = Exchange { head, ..Exchange::default() };
        let whole = connection.body(framing, &mut exchange);
        let is_head = exchange.head.starts_with(b"HEAD ");
        let fault = exchange.fault.is_some();
        self.record(exchange);
        if !whole || fault {
            return Some(false);
        }
        let body = token.clone().unwrap_or_else(|| "ok".into());
        let ordinary = |body: &str| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Case: {body}\r\n\r\n", body.len());
            if is_head { head } else { head + body }
        };
        match answer {
            Answer::Ordinary => connection.write(ordinary(&body).as_bytes())?,
            Answer::Bytes(bytes) => connection.write(&filled(bytes, token.as_deref()))?,
            Answer::BytesAndClose(bytes) => {
                connection.write(&filled(bytes, token.as_deref()))?;
                return Some(false);
            }
            Answer::Early(_) => {}
            Answer::Flood(bytes, times) => {
                for _ in 0..times {
                    connection.write(bytes)?;
                }
                connection.write(ordinary(&body).as_bytes())?;
            }
            Answer::Large(length) => {
                connection
                    .write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes())?;
                connection.write(&vec![b'x'; length])?;
            }
        }
        Some(true)
    }
}

/// `bytes` with the token where `{t}` stands.
pub(crate) fn filled(bytes: &[u8], token: Option<&str>) -> Vec<u8> {
    let token = token.unwrap_or("none").as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(|w| w == b"{t}") {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(token);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    out
}

struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    fn more(&mut self) -> bool {
        let mut bytes = [0; 16_384];
        match self.stream.read(&mut bytes) {
            Ok(length @ 1..) => {
                self.bytes.extend_from_slice(&bytes[..length]);
                true
            }
            _ => false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }

    /// The length of the next head with its empty line.
    fn head(&mut self) -> Option<usize> {
        loop {
            if let Some(at) = self.bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                return Some(at + 4);
            }
            if self.bytes.len() > HEAD_BYTES || !self.more() {
                return None;
            }
        }
    }

    /// Reads a body; whether it came to its end.
    fn body(&mut self, framing: chunked::Framing, exchange: &mut Exchange) -> bool {
        match framing {
            chunked::Framing::Length(length) => {
                let mut left = length;
                loop {
                    let take = left.min(self.bytes.len());
                    exchange.body.extend(self.bytes.drain(..take));
                    exchange.body.truncate(BODY_BYTES);
                    left -= take;
                    if left == 0 {
                        return true;
                    }
                    if !self.more() {
                        exchange.fault = Some(format!("the body was cut {left} bytes before its end"));
                        return false;
                    }
                }
            }
            chunked::Framing::Chunked => {
                // Nobody pipelines to a service, so the end of a body is the end of what came; looking only there keeps
                // a body of many chunks cheap.
                while !self.bytes.ends_with(b"\r\n\r\n")
                    || matches!(chunked::decode(&self.bytes), Decoded::More(_))
                {
                    if self.bytes.len() > BODY_BYTES || !self.more() {
                        break;
                    }
                }
                match chunked::decode(&self.bytes) {
                    Decoded::Whole { body, trailers, length } => {
                        self.bytes.drain(..length);
                        exchange.body = body;
                        exchange.trailers = trailers;
                    }
                    Decoded::Bad(fault) => exchange.fault = Some(fault),
                    Decoded::More(body) => {
                        exchange.body = body;
                        exchange.fault = Some("the chunked body was cut before its end".into());
                    }
                }
                exchange.fault.is_none()
            }
        }
    }
}
