//! An HTTP/2 client of the tests, with prior knowledge.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::{Answer, NoAnswer};
use crate::wait::PATIENCE;

/// A connection that carries several requests at once. Clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, NoAnswer> {
        let wrong = |what: &str, error: &dyn std::fmt::Display| NoAnswer(format!("{what}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(|error| wrong("connect", &error))?;
        Self::over(stream, address).await
    }

    /// On `stream`, which leads to `address`.
    pub async fn over<S>(stream: S, address: SocketAddr) -> Result<Self, NoAnswer>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let wrong = |what: &str, error: &dyn std::fmt::Display| NoAnswer(format!("{what}: {error}"));
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| wrong("handshake", &error))?;
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    /// Sends `request`, whose target is a path, and returns the head of the answer with its body to come.
    pub async fn begin(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NoAnswer> {
        let (mut head, body) = request.into_parts();
        head.uri = format!("http://{}{}", self.address, head.uri).parse().unwrap();
        let sent = async {
            self.sender.ready().await?;
            self.sender.send_request(Request::from_parts(head, body)).await
        };
        match timeout(PATIENCE, sent).await {
            Ok(answer) => answer.map_err(|error| NoAnswer(format!("{error:?}"))),
            Err(_) => Err(NoAnswer(format!("no answer within {PATIENCE:?}"))),
        }
    }

    /// Sends `request` and reads the whole answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        Ok(whole(self.begin(request).await?).await?.0)
    }

    /// Whether the server has ended the connection.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// The whole answer and its trailers.
pub async fn whole(response: Response<Incoming>) -> Result<(Answer, HeaderMap), NoAnswer> {
    let (head, body) = response.into_parts();
    let collected = match timeout(PATIENCE, body.collect()).await {
        Ok(collected) => collected.map_err(|error| NoAnswer(format!("{error:?}")))?,
        Err(_) => return Err(NoAnswer(format!("no whole body within {PATIENCE:?}"))),
    };
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let answer = Answer { status: head.status, headers: head.headers, body: collected.to_bytes() };
    Ok((answer, trailers))
}
