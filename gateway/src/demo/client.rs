//! Requests as a person with curl would send them: HTTP/1.1 over one kept-alive connection, with a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// For one request; nothing in the demo is far away.
const LIMIT: Duration = Duration::from_secs(5);

/// No answer in the demo is larger.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    body: Bytes,
}

impl Reply {
    /// The body, null if it is no JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The text in the body's field `name`.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        self.json().get(name)?.as_str().map(str::to_owned)
    }

    /// Status and what a person reads first, for a report of a failure.
    pub(super) fn in_short(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let detail = self.field("detail").unwrap_or_else(|| text.chars().take(120).collect());
        format!("{} {detail}", self.status)
    }
}

impl Connection {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{address}: {error}");
        let opening = async {
            let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
            let _ = stream.set_nodelay(true);
            handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))
        };
        let (sender, connection) = timeout(LIMIT, opening)
            .await
            .map_err(|_| format!("{address}: no connection within {LIMIT:?}"))??;
        let driver = tokio::spawn(async move {
            // Whoever sends sees the error too.
            let _ = connection.await;
        });
        Ok(Self { address, sender, driver })
    }

    /// Whether another request may go out on it; the other side may have closed it between two requests.
    pub(super) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request, with a JSON body if one is given, and reads the whole answer.
    pub(super) async fn send(
        &mut self,
        method: &str,
        target: &str,
        json: Option<&Value>,
    ) -> Result<Reply, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{method} {target}: {error}");
        let mut request =
            Request::builder().method(method).uri(target).header(HOST, self.address.to_string());
        if json.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = json.map(|json| Bytes::from(json.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| failed(&error))?;
        let exchange = async {
            let answer = self.sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            Ok(Reply { status, body: body.map_err(|error| failed(&error))?.to_bytes() })
        };
        timeout(LIMIT, exchange)
            .await
            .map_err(|_| format!("{method} {target}: no answer within {LIMIT:?}"))?
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One GET on a connection of its own.
pub(super) async fn get(address: SocketAddr, target: &str) -> Result<Reply, String> {
    Connection::open(address).await?.send("GET", target, None).await
}

/// One POST of `json` on a connection of its own.
pub(super) async fn post(address: SocketAddr, target: &str, json: &Value) -> Result<Reply, String> {
    Connection::open(address).await?.send("POST", target, Some(json)).await
}
