//! HTTP/1.1 clients of the tests: one with types, and one that writes exact bytes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The only value of `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "several {name} in {self:?}");
        value
    }
}

/// Why there was no answer.
#[derive(Debug)]
pub struct NoAnswer(pub String);

/// A connection that is kept for several requests.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, NoAnswer> {
        let stream =
            TcpStream::connect(address).await.map_err(|error| NoAnswer(format!("connect: {error}")))?;
        let _ = stream.set_nodelay(true);
        Self::over(stream, address).await
    }

    /// On `stream`, which leads to `address`.
    pub async fn over<S>(stream: S, address: SocketAddr) -> Result<Self, NoAnswer>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| NoAnswer(format!("handshake: {error}")))?;
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    /// Sends `request` and reads the whole answer. A Host is added where there is none.
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let host = self.address.to_string().parse().unwrap();
        request.headers_mut().entry(http::header::HOST).or_insert(host);
        let whole = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer { status: head.status, headers: head.headers, body })
        };
        match timeout(PATIENCE, whole).await {
            Ok(answer) => answer.map_err(|error| NoAnswer(format!("{error:?}"))),
            Err(_) => Err(NoAnswer(format!("no answer within {PATIENCE:?}"))),
        }
    }
}

/// A request with a body; `target` is a path with a query.
pub fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// One request on its own connection, or why there was no answer.
pub async fn try_send(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
    Connection::open(address).await?.send(request).await
}

/// One request on its own connection.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let shown = format!("{} {}", request.method(), request.uri());
    try_send(address, request).await.unwrap_or_else(|error| panic!("{shown} at {address}: {error:?}"))
}

/// GET on its own connection.
pub async fn get(address: SocketAddr, target: &str) -> Answer {
    send(address, request("GET", target, &[], "")).await
}

/// `method` with a JSON body and headers, on its own connection.
pub async fn send_json(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    send(address, request(method, target, &all, body.to_string())).await
}

/// Writes exactly `bytes`, then reads until the peer closes or is silent for `silence`. What came.
pub async fn raw(address: SocketAddr, bytes: &[u8], silence: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut came = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(length @ 1..)) = timeout(silence, stream.read(&mut buffer)).await {
        came.extend_from_slice(&buffer[..length]);
    }
    came
}

/// Writes exactly `bytes`, which must ask for `Connection: close` (or be an error), and reads to the end.
pub async fn raw_to_end(address: SocketAddr, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&raw(address, bytes, PATIENCE).await).into_owned()
}
