//! The original registry on a loopback port, in this process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::fleet::{Call, Fleet, Reply};
use crate::wait::PATIENCE;

/// A running fake. Its time is the real one plus what [`OriginalRegistry::advance`] has added.
#[derive(Debug)]
pub struct OriginalRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::AbortHandle,
}

#[derive(Debug)]
struct Shared {
    fleet: Mutex<Fleet>,
    start: Instant,
    added: Mutex<Duration>,
    lists: watch::Sender<usize>,
}

impl OriginalRegistry {
    /// Serves `fleet`.
    pub async fn start(fleet: Fleet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            fleet: Mutex::new(fleet),
            start: Instant::now(),
            added: Mutex::new(Duration::ZERO),
            lists: watch::Sender::new(0),
        });
        let server = tokio::spawn(serve(listener, shared.clone())).abort_handle();
        Self { address, shared, server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Looks at or changes the fleet between two calls.
    pub fn fleet<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.shared.fleet.lock().unwrap())
    }

    /// One call without the wire, at the fake's present time.
    pub fn call(&self, call: Call<'_>) -> Reply {
        let now = self.shared.now();
        self.fleet(|fleet| fleet.call(now, call))
    }

    /// Lets `time` pass for leases, sweeps and nginx.
    pub fn advance(&self, time: Duration) {
        *self.shared.added.lock().unwrap() += time;
    }

    /// Waits until `GET /services` was asked `count` times more: so many polls have begun since.
    pub async fn polled(&self, count: usize) {
        let mut lists = self.shared.lists.subscribe();
        let wanted = *lists.borrow_and_update() + count;
        let polled = timeout(PATIENCE * 2, lists.wait_for(|lists| *lists >= wanted)).await;
        assert!(polled.is_ok(), "{} of {count} polls are missing", wanted - *self.shared.lists.borrow());
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.start.elapsed() + *self.added.lock().unwrap()
    }
}

impl Drop for OriginalRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let token = head.headers.get("x-registry-token").and_then(|value| value.to_str().ok());
    let path = decoded(head.uri.path());
    let call = Call { method: head.method.as_str(), path: &path, token, body: &body };
    let now = shared.now();
    let reply = shared.fleet.lock().unwrap().call(now, call);
    if head.method == http::Method::GET && path == "/services" {
        shared.lists.send_modify(|lists| *lists += 1);
    }
    sleep(reply.after).await;
    let kind = if reply.status == 502 { "text/html" } else { "application/json" };
    let answer = Response::builder().status(reply.status).header("content-type", kind);
    Ok(answer.body(Full::new(reply.body.into())).unwrap())
}

/// Percent-decoding as the original's framework does it before it looks for a route.
fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        match u8::from_str_radix(hex, 16) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(format!("%{hex}").as_bytes()),
        }
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
