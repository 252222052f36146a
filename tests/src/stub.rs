//! A service behind the gateway, in this process: it tells what it got, and misbehaves on demand.
//!
//! | target | answer |
//! |---|---|
//! | `/health` (or the given path) | 200 with a JSON object, or the status set by [`Stub::set_health`] |
//! | `.../stub/status/N` | status N, echo |
//! | `.../stub/hold` | echo once [`Stub::release`] was called |
//! | `.../stub/chunks/N` | N chunks of 1000 bytes, without a length |
//! | `.../stub/half-then-hold` | one chunk at once, the second after [`Stub::release`] |
//! | `.../stub/trailers` | one chunk, then the trailers `grpc-status: 0` and `x-sum: 5` |
//! | `.../stub/headers` | many kinds of headers, hop-by-hop ones among them |
//! | `.../stub/cut` | a body that ends before its declared length |
//! | `.../stub/count` | the number of bytes of the body, read as they come |
//! | anything else | 200, echo: a JSON object of what came |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::wait::PATIENCE;

type Body = UnsyncBoxBody<Bytes, Infallible>;

const LOOPBACK: &str = "127.0.0.1:0";

/// A stub service on loopback. Dropping it cuts every connection, as a killed process does.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: AbortHandle,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    health_path: String,
    /// It speaks HTTP/2 and nothing else.
    http2: bool,
    health: AtomicU16,
    /// The status of every other answer; 0: as the table above says.
    answer: AtomicU16,
    /// Before every other answer.
    delay_ms: AtomicU64,
    health_checks: AtomicUsize,
    requests: AtomicUsize,
    connections: AtomicUsize,
    open: watch::Sender<usize>,
    held: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Stub {
    /// Starts one that calls itself `name` and is healthy at `/health`.
    pub async fn start(name: &str) -> Self {
        Self::with_health_path(name, "/health").await
    }

    /// Starts one that speaks TLS as `tls` says, and HTTP/2 inside where that is what it offers.
    pub async fn with_tls(name: &str, tls: Arc<ServerConfig>) -> Self {
        let http2 = tls.alpn_protocols.iter().any(|protocol| protocol == b"h2");
        Self::begin(name, LOOPBACK, "/health", http2, Some(tls.into())).await
    }

    /// Starts one that is healthy at `health_path`.
    pub async fn with_health_path(name: &str, health_path: &str) -> Self {
        Self::begin(name, LOOPBACK, health_path, false, None).await
    }

    /// Starts one at `listen`.
    pub async fn start_at(name: &str, listen: &str) -> Self {
        Self::begin(name, listen, "/health", false, None).await
    }

    /// Starts one that speaks HTTP/2 with prior knowledge.
    pub async fn http2(name: &str) -> Self {
        Self::begin(name, LOOPBACK, "/health", true, None).await
    }

    async fn begin(
        name: &str,
        listen: &str,
        health_path: &str,
        http2: bool,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind(listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            health_path: health_path.to_owned(),
            http2,
            health: AtomicU16::new(200),
            answer: AtomicU16::new(0),
            delay_ms: AtomicU64::new(0),
            health_checks: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open: watch::Sender::new(0),
            held: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        let stop = watch::Sender::new(false);
        let server = tokio::spawn(serve(listener, tls, shared.clone(), stop.subscribe())).abort_handle();
        Self { address, shared, server, stop }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, as it registers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far, health checks not counted.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Health checks so far.
    pub fn health_checks(&self) -> usize {
        self.shared.health_checks.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// What `/health` answers from now on.
    pub fn set_health(&self, status: u16) {
        self.shared.health.store(status, Ordering::SeqCst);
    }

    /// Whatever is asked for is answered with `status` from now on, at once; 0: as usual again. `/health` stays as it is.
    pub fn answer_all_with(&self, status: u16) {
        self.shared.answer.store(status, Ordering::SeqCst);
    }

    /// Every answer takes this long from now on; `/health` stays as it is.
    pub fn answer_after(&self, delay: Duration) {
        self.shared.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Waits until `count` requests are held.
    pub async fn held(&self, count: usize) {
        let mut held = self.shared.held.subscribe();
        let enough = timeout(PATIENCE, held.wait_for(|held| *held >= count)).await;
        assert!(enough.is_ok(), "{} of {count} requests arrived to be held", *self.shared.held.borrow());
    }

    /// Lets everything go that is held now or will be.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Stops as a well-behaved service does: no new connections, what has begun is finished, then all is closed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let mut open = self.shared.open.subscribe();
        let closed = timeout(PATIENCE, open.wait_for(|open| *open == 0)).await;
        assert!(closed.is_ok(), "connections of {} stay open", self.shared.name);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    // Dropping the set, when this task is aborted, aborts every connection.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        if let Ok((stream, _)) = accepted {
            let _ = stream.set_nodelay(true);
            shared.connections.fetch_add(1, Ordering::SeqCst);
            shared.open.send_modify(|open| *open += 1);
            let (tls, shared, stop) = (tls.clone(), shared.clone(), stop.clone());
            connections.spawn(async move {
                match tls {
                    None => connection(stream, &shared, stop).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            connection(stream, &shared, stop).await;
                        }
                    }
                }
                shared.open.send_modify(|open| *open -= 1);
            });
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<S>(stream: S, shared: &Arc<Shared>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = {
        let shared = shared.clone();
        service_fn(move |request| {
            let shared = shared.clone();
            async move { Ok::<_, Infallible>(answer(&shared, request).await) }
        })
    };
    if shared.http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(20)
            .serve_connection(TokioIo::new(stream), service);
        let _ = connection.await;
        return;
    }
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let told_to_stop = async {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::select! {
        _ = connection.as_mut() => {}
        () = told_to_stop => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path == shared.health_path {
        shared.health_checks.fetch_add(1, Ordering::SeqCst);
        let status = StatusCode::from_u16(shared.health.load(Ordering::SeqCst)).unwrap();
        return whole(status, json!({ "status": "healthy", "version": "1.0.0" }).to_string());
    }
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let delay = shared.delay_ms.load(Ordering::SeqCst);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if let status @ 1.. = shared.answer.load(Ordering::SeqCst) {
        return whole(StatusCode::from_u16(status).unwrap(), json!({ "stub": shared.name }).to_string());
    }
    let (_, order) = path.split_once("/stub/").unwrap_or_default();
    let (order, number) = order.split_once('/').unwrap_or((order, "0"));
    let number: u16 = number.parse().unwrap_or(0);
    match order {
        "status" => {
            let status = StatusCode::from_u16(number).unwrap();
            let mut answer = echo(shared, request).await;
            *answer.status_mut() = status;
            answer
        }
        "hold" => {
            shared.held.send_modify(|held| *held += 1);
            released(shared.released.subscribe()).await;
            echo(shared, request).await
        }
        "chunks" => {
            let chunks = (0..number).map(|_| Ok(Frame::data(Bytes::from(vec![b'c'; 1000]))));
            Response::new(StreamBody::new(stream::iter(chunks)).boxed_unsync())
        }
        "half-then-hold" => {
            shared.held.send_modify(|held| *held += 1);
            let halves = stream::unfold((0, shared.released.subscribe()), |(sent, gate)| async move {
                match sent {
                    0 => Some((Ok(Frame::data(Bytes::from_static(b"first"))), (1, gate))),
                    1 => {
                        released(gate.clone()).await;
                        Some((Ok(Frame::data(Bytes::from_static(b"second"))), (2, gate)))
                    }
                    _ => None,
                }
            });
            Response::new(StreamBody::new(halves).boxed_unsync())
        }
        "trailers" => {
            let trailers = HeaderMap::from_iter([
                (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0")),
                (HeaderName::from_static("x-sum"), HeaderValue::from_static("5")),
            ]);
            let frames = [Frame::data(Bytes::from_static(b"first")), Frame::trailers(trailers)];
            Response::new(StreamBody::new(stream::iter(frames.map(Ok))).boxed_unsync())
        }
        "headers" => with_headers(),
        "cut" => {
            let short = stream::iter([Ok(Frame::data(Bytes::from_static(b"short")))]);
            let mut answer = Response::new(StreamBody::new(short).boxed_unsync());
            answer.headers_mut().insert("content-length", 100.into());
            answer
        }
        "count" => {
            let mut body = request.into_body();
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
            }
            whole(StatusCode::OK, bytes.to_string())
        }
        _ => echo(shared, request).await,
    }
}

/// Waits for the release, or for the test to be over.
async fn released(mut gate: watch::Receiver<bool>) {
    let _ = timeout(PATIENCE + Duration::from_secs(5), gate.wait_for(|released| *released)).await;
}

/// Tells what came: `{stub, method, target, version, headers: [[name, value], ...], body}`.
async fn echo(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::from_static(b"(broken off)"),
    };
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| {
            [name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()]
        })
        .collect();
    let told = json!({
        "stub": shared.name,
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    whole(StatusCode::OK, told.to_string())
}

fn whole(status: StatusCode, body: String) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

fn with_headers() -> Response<Body> {
    let mut answer = whole(StatusCode::OK, "{}".into());
    for (name, value) in [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-plain", "plain"),
        ("x-latin", "caf\u{e9}"),
        ("x-empty", ""),
        ("connection", "x-for-this-hop"),
        ("x-for-this-hop", "secret"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("server", "stub"),
        ("etag", "\"abc\""),
    ] {
        let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        answer.headers_mut().append(name, value);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Connection, get, request, try_send};

    #[tokio::test]
    async fn tells_what_came_and_counts() {
        let stub = Stub::start("a").await;
        let headers = [("x-many", "1"), ("x-many", "2")];
        let mut connection = Connection::open(stub.address()).await.unwrap();
        let echo = connection.send(request("PATCH", "/p%2F?q=1&q=2", &headers, "body")).await.unwrap().json();
        assert_eq!(
            (&echo["stub"], &echo["method"], &echo["target"]),
            (&json!("a"), &json!("PATCH"), &json!("/p%2F?q=1&q=2"))
        );
        assert_eq!(
            (&echo["headers"][0], &echo["headers"][1]),
            (&json!(["x-many", "1"]), &json!(["x-many", "2"]))
        );
        assert_eq!(echo["body"], "body");
        assert_eq!(get(stub.address(), "/health").await.status, 200);
        stub.set_health(500);
        assert_eq!(get(stub.address(), "/health").await.status, 500);
        assert_eq!((stub.requests(), stub.health_checks(), stub.connections()), (1, 2, 3));
    }

    #[tokio::test]
    async fn misbehaves_on_demand() {
        let stub = Stub::start("a").await;
        assert_eq!(get(stub.address(), "/x/stub/status/418").await.status, 418);
        assert_eq!(get(stub.address(), "/stub/chunks/3").await.body.len(), 3000);
        assert!(try_send(stub.address(), request("GET", "/stub/cut", &[], "")).await.is_err());
        let upload = request("POST", "/stub/count", &[], vec![0; 100_000]);
        assert_eq!(try_send(stub.address(), upload).await.unwrap().text(), "100000");
    }

    #[tokio::test]
    async fn holds_until_released_and_stops_once_all_is_finished() {
        let stub = Stub::start("a").await;
        let address = stub.address();
        let mut idle = Connection::open(address).await.unwrap();
        idle.send(request("GET", "/x", &[], "")).await.unwrap();
        let held = tokio::spawn(async move { get(address, "/stub/hold").await });
        stub.held(1).await;
        assert!(!held.is_finished());
        stub.release();
        assert_eq!(held.await.unwrap().status, 200);
        stub.stop().await;
        assert!(idle.send(request("GET", "/x", &[], "")).await.is_err());
        assert!(Connection::open(address).await.is_err());
    }
}
