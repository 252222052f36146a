//! A middleman in front of a registry: passes everything on until it is told to answer as a sick registry does.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Longest request that it takes: what a gateway asks and writes is short.
const REQUEST_BYTES: usize = 64 * 1024;

/// What it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// A registry of the five old calls: it does not know what is under `/v1`.
    OldCalls,
    /// All that the registry behind it speaks.
    Everything,
}

/// How it answers reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As the registry does.
    Well,
    /// As one that lost everything and says that it is fine: `[]`, an empty snapshot, 404 for each name.
    Empty,
    /// 500 for this one name.
    Fails(&'static str),
    /// Half of each answer.
    Truncated,
}

/// A running middleman. Dropping it closes its port.
#[derive(Debug)]
pub(crate) struct Sick {
    pub(crate) address: SocketAddr,
    manner: watch::Sender<Manner>,
    /// Answers that were not the registry's own.
    bad: Rc<Cell<u64>>,
    accepting: AbortHandle,
}

impl Sick {
    /// In front of `registry`, well.
    pub(crate) async fn start(registry: SocketAddr, speaks: Speaks) -> Result<Self, String> {
        let listen = async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = listen.await.map_err(|error: std::io::Error| format!("sick: {error}"))?;
        let manner = watch::Sender::new(Manner::Well);
        let (manners, bad) = (manner.clone(), Rc::new(Cell::new(0)));
        let count = bad.clone();
        let accepting = tokio::task::spawn_local(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let mut manner = manners.subscribe();
                    let now = *manner.borrow_and_update();
                    let count = count.clone();
                    tokio::task::spawn_local(async move {
                        // Falling sick and getting well cut what is open: a watch that goes on would not notice either.
                        tokio::select! {
                            _ = serve(stream, registry, speaks, now, &count) => {}
                            _ = manner.changed() => {}
                        }
                    });
                }
            }
        });
        Ok(Self { address, manner, bad, accepting: accepting.abort_handle() })
    }

    /// From now on it answers like this.
    pub(crate) fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How many answers it has spoilt.
    pub(crate) fn spoilt(&self) -> u64 {
        self.bad.get()
    }
}

impl Drop for Sick {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One request per connection, as `connection: close` says.
async fn serve(
    mut client: TcpStream,
    registry: SocketAddr,
    speaks: Speaks,
    manner: Manner,
    bad: &Cell<u64>,
) -> Option<()> {
    let request = read_request(&mut client).await?;
    let text = String::from_utf8_lossy(&request);
    let mut words = text.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if target.starts_with("/v1/") && speaks == Speaks::OldCalls {
        return reply(&mut client, "404 Not Found", r#"{"detail":"Not Found"}"#).await;
    }
    let spoil = || bad.set(bad.get() + 1);
    match (method, manner) {
        ("GET", Manner::Empty) => {
            spoil();
            return empty(&mut client, target).await;
        }
        ("GET", Manner::Fails(name)) if target.strip_prefix("/services/") == Some(name) => {
            spoil();
            return reply(&mut client, "500 Internal Server Error", "Internal Server Error").await;
        }
        _ => {}
    }
    let mut upstream = TcpStream::connect(registry).await.ok()?;
    let line_end = request.windows(2).position(|two| two == b"\r\n")? + 2;
    upstream.write_all(request.get(..line_end)?).await.ok()?;
    upstream.write_all(b"connection: close\r\n").await.ok()?;
    upstream.write_all(request.get(line_end..)?).await.ok()?;
    if method == "GET" && manner == Manner::Truncated {
        spoil();
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await.ok()?;
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        return client.write_all(answer.get(..head + (answer.len() - head) / 2)?).await.ok();
    }
    tokio::io::copy(&mut upstream, &mut client).await.ok()?;
    Some(())
}

/// A head and the body that it announces. `None`: the client went away, or it is too long.
async fn read_request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::with_capacity(1024);
    loop {
        if client.read_buf(&mut request).await.ok()? == 0 || request.len() > REQUEST_BYTES {
            return None;
        }
        let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(request.get(..head)?).ok()?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let body: usize = lengths.find_map(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
        if request.len() >= head + 4 + body {
            return Some(request);
        }
    }
}

/// What a registry says that has a history of its own in which nothing has ever happened.
async fn empty(client: &mut TcpStream, target: &str) -> Option<()> {
    const EPOCH: &str = "00000000000000000000000000000bad";
    let path = target.split('?').next()?;
    match path {
        "/services" => reply(client, "200 OK", "[]").await,
        "/v1/snapshot" => {
            let head = format!(r#"{{"epoch":"{EPOCH}","revision":0,"state":"serving"}}"#);
            let body = format!("{head}\n{{\"count\":0,\"digest\":\"{:032x}\"}}\n", 0);
            reply(client, "200 OK", &body).await
        }
        "/v1/watch" if target.contains(EPOCH) => {
            sleep(Duration::from_secs(5)).await;
            client.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.ok()
        }
        "/v1/watch" => {
            let body = format!(r#"{{"detail":"no such position","epoch":"{EPOCH}","oldest":0}}"#);
            reply(client, "410 Gone", &body).await
        }
        _ => reply(client, "404 Not Found", r#"{"detail":"Service not found"}"#).await,
    }
}

async fn reply(client: &mut TcpStream, status: &str, body: &str) -> Option<()> {
    let length = body.len();
    let kind = if body.starts_with(['{', '[']) { "application/json" } else { "text/plain" };
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close");
    client.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.ok()
}
