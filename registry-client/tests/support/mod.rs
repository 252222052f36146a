//! A registry that the test itself plays: it sees each request and says each answer, byte for byte if it wants.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::{
    Epoch, HealthPath, Instance, InstanceId, Lease, Metadata, ServiceName, ServiceUrl, Status,
};
use vertice_registry_client::{Event, Source, SourceConfig, source};

/// Longer than anything here takes; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits `work`, not for ever.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// The server.
pub struct Script {
    pub address: SocketAddr,
    asked: mpsc::Receiver<Asked>,
}

/// One request that waits for its answer. Dropped without one, its connection closes.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Script {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, sender.clone()));
            }
        });
        Self { address, asked }
    }

    pub fn url(&self) -> ServiceUrl {
        ServiceUrl::parse(&format!("http://{}", self.address)).unwrap()
    }

    /// The next request.
    pub async fn next(&mut self) -> Asked {
        soon("a request", self.asked.recv()).await.unwrap()
    }

    /// A request that has come already.
    pub fn waiting(&mut self) -> Option<Asked> {
        self.asked.try_recv().ok()
    }

    /// The next request, which must be `wanted` (`GET /path`, as far as it goes).
    pub async fn expect(&mut self, wanted: &str) -> Asked {
        let asked = self.next().await;
        let line = asked.line();
        assert!(line.starts_with(wanted), "{line} instead of {wanted}");
        asked
    }
}

impl Asked {
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn answer(self, status: u16, content_type: &str, body: &str) {
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.raw(head + body);
    }

    pub fn answer_json(self, status: u16, body: &Value) {
        self.answer(status, "application/json", &body.to_string());
    }

    /// Returns once the client has closed the connection without waiting for the answer.
    pub async fn closed(mut self) {
        self.answer.closed().await;
    }

    /// Exactly these bytes.
    pub fn raw(self, bytes: String) {
        let _ = self.answer.send(bytes.into_bytes());
    }
}

async fn connection(mut stream: TcpStream, asked: mpsc::Sender<Asked>) {
    let mut buffer = Vec::new();
    loop {
        let head_end = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        let body_end = head_end + 4 + length.unwrap_or(0);
        while buffer.len() < body_end {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = buffer[head_end + 4..body_end].to_vec();
        buffer.drain(..body_end);
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let (answer, answered) = oneshot::channel();
        if asked.send(Asked { method, path, head, body, answer }).await.is_err() {
            return;
        }
        let bytes = tokio::select! {
            bytes = answered => bytes,
            // The client went away.
            _ = stream.read_u8() => return,
        };
        let Ok(bytes) = bytes else { return };
        let cut = !String::from_utf8_lossy(&bytes).contains("content-length");
        let short = length_missing(&bytes);
        if stream.write_all(&bytes).await.is_err() || cut || short {
            return;
        }
    }
}

/// Whether an answer promises more bytes than it has: the connection closes after it.
fn length_missing(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return true };
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    promised.is_some_and(|promised| promised > body.len())
}

pub fn config(script: &Script) -> SourceConfig {
    SourceConfig {
        url: script.url(),
        token: Some("t0ken".to_owned()).into(),
        request_timeout: Duration::from_secs(5),
        poll_interval: Duration::from_millis(50),
        watch_wait: None,
        gateway_id: None,
    }
}

pub fn start(script: &Script) -> Source {
    source::start(config(script))
}

pub async fn event(source: &mut Source) -> Event {
    soon("an event", source.next()).await.unwrap()
}

pub fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub fn epoch(number: u128) -> Epoch {
    Epoch(number)
}

/// An instance that is up at `http://{id}`.
pub fn instance(service: &str, id: &str) -> Instance {
    Instance {
        service: name(service),
        instance_id: InstanceId::parse(id).unwrap(),
        incarnation: 1,
        generation: 1,
        url: ServiceUrl::parse(&format!("http://{id}")).unwrap(),
        health_endpoint: HealthPath::default(),
        metadata: Metadata::default(),
        zone: None,
        weight: 100,
        version: None,
        status: Status::Up,
        status_override: None,
        stale: false,
        lease: Lease { ttl_s: 60 },
        registered_at_ms: 0,
        registered_by: "test".into(),
    }
}

/// A serving registry's snapshot.
pub fn snapshot(epoch_number: u128, revision: u64, instances: &[Instance]) -> String {
    let head = serde_json::json!({"epoch": epoch(epoch_number), "revision": revision, "state": "serving"});
    let trailer = serde_json::json!({"count": instances.len(), "digest": SetDigest::of(instances)});
    let lines = instances.iter().map(|i| serde_json::to_string(i).unwrap());
    let lines: Vec<_> =
        std::iter::once(head.to_string()).chain(lines).chain(std::iter::once(trailer.to_string())).collect();
    lines.join("\n") + "\n"
}
