//! The original registry on a loopback port, in this process.

use std::collections::BTreeSet;
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

/// A name is read anew within half a lease or so; a reader that spares a failing registry takes longer.
const READ_PATIENCE: Duration = Duration::from_secs(100);

/// A running fake. Its time stands still but for [`OriginalRegistry::advance`], so that no lease ends because a machine
/// is slow; or it flows.
#[derive(Debug)]
pub struct OriginalRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::AbortHandle,
}

#[derive(Debug)]
struct Shared {
    fleet: Mutex<Fleet>,
    /// Of a time that flows.
    start: Option<Instant>,
    advanced: Mutex<Duration>,
    /// How often the list, or whether there is a newer one, was asked for.
    polls: watch::Sender<usize>,
    /// Names that were asked for, in order.
    reads: watch::Sender<Vec<String>>,
}

impl OriginalRegistry {
    /// Serves `fleet`; its time stands still.
    pub async fn start(fleet: Fleet) -> Self {
        Self::serve(fleet, None).await
    }

    /// Serves `fleet`; its time flows.
    pub async fn start_with_flowing_time(fleet: Fleet) -> Self {
        Self::serve(fleet, Some(Instant::now())).await
    }

    async fn serve(fleet: Fleet, start: Option<Instant>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            fleet: Mutex::new(fleet),
            start,
            advanced: Mutex::new(Duration::ZERO),
            polls: watch::Sender::new(0),
            reads: watch::Sender::new(Vec::new()),
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
        *self.shared.advanced.lock().unwrap() += time;
    }

    /// Waits until the list, or a snapshot as a newer registry has it, was asked for `count` times more.
    pub async fn polled(&self, count: usize) {
        let mut polls = self.shared.polls.subscribe();
        let wanted = *polls.borrow_and_update() + count;
        let polled = timeout(PATIENCE * 2, polls.wait_for(|polls| *polls >= wanted)).await;
        assert!(polled.is_ok(), "{} of {count} polls are missing", wanted - *self.shared.polls.borrow());
    }

    /// Waits until `count` different names were asked for since now.
    pub async fn read(&self, count: usize) {
        let mut reads = self.shared.reads.subscribe();
        let before = reads.borrow_and_update().len();
        let distinct = |reads: &Vec<String>| reads[before..].iter().collect::<BTreeSet<_>>().len();
        let read = timeout(READ_PATIENCE, reads.wait_for(|reads| distinct(reads) >= count)).await;
        let got = distinct(&self.shared.reads.borrow());
        assert!(read.is_ok(), "{got} of {count} names were read within {READ_PATIENCE:?}");
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.start.map_or(Duration::ZERO, |start| start.elapsed()) + *self.advanced.lock().unwrap()
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
    if head.method == http::Method::GET && matches!(path.as_str(), "/services" | "/v1/snapshot") {
        shared.polls.send_modify(|polls| *polls += 1);
    }
    if let Some(name) = path.strip_prefix("/services/").filter(|_| head.method == http::Method::GET) {
        shared.reads.send_modify(|reads| reads.push(name.to_owned()));
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
