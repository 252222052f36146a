//! A service and clients whose bodies come piece by piece, over HTTP/1.1 and HTTP/2: what goes on at the same time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1 as client1, http2 as client2};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::wait::{PATIENCE, within};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Every pair of a client and a service.
pub const PAIRS: [(Speaks, Speaks); 4] = [
    (Speaks::Http1, Speaks::Http1),
    (Speaks::Http2, Speaks::Http1),
    (Speaks::Http1, Speaks::Http2),
    (Speaks::Http2, Speaks::Http2),
];

/// What became of a request's body at the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// The head is there.
    Begun,
    /// It came to its end.
    Whole,
    /// It broke off.
    Broken,
}

/// A service that answers by the path:
///
/// * `echo`: each piece as it comes, from the first on;
/// * `swallow`: nothing before the body's end;
/// * `early`: 413 without a look at the body;
/// * `pause/{kind}`: a piece, then nothing for [`PAUSE`], then another one, with the content type `text/{kind}`;
/// * `late`: nothing for [`PAUSE`], then `late`.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    arrived: mpsc::Receiver<Arrived>,
    accepting: JoinHandle<()>,
}

/// How long an answer pauses.
pub const PAUSE: Duration = Duration::from_secs(1);

impl Service {
    /// Starts one.
    pub async fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, arrived) = mpsc::channel(100);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tell = tell.clone();
                let service = service_fn(move |request| {
                    let tell = tell.clone();
                    async move { Ok::<_, Infallible>(answer(request, tell).await) }
                });
                tokio::spawn(async move {
                    let io = TokioIo::new(stream);
                    match speaks {
                        Speaks::Http1 => http1::Builder::new().serve_connection(io, service).await,
                        Speaks::Http2 => {
                            http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
                        }
                    }
                });
            }
        });
        Self { address, arrived, accepting }
    }

    /// The next news of a body.
    pub async fn arrived(&mut self) -> Arrived {
        within(PATIENCE, "news of a body at the service", self.arrived.recv()).await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(request: Request<Incoming>, tell: mpsc::Sender<Arrived>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match path.trim_start_matches('/') {
        "echo" => {
            let pieces = stream::unfold(Upload::new(request, tell), |mut upload| async move {
                let piece = upload.next().await?;
                Some((Ok(Frame::data(piece)), upload))
            });
            Response::new(StreamBody::new(pieces).boxed_unsync())
        }
        "swallow" => {
            let mut upload = Upload::new(request, tell);
            while upload.next().await.is_some() {}
            text("swallowed")
        }
        "early" => {
            let mut answer = text("too much");
            *answer.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
            answer
        }
        "late" => {
            tokio::time::sleep(PAUSE).await;
            text("late")
        }
        other => {
            let kind = other.strip_prefix("pause/").unwrap_or("plain").to_owned();
            let pieces = stream::unfold(0, |sent| async move {
                if sent == 1 {
                    tokio::time::sleep(PAUSE).await;
                }
                (sent < 2).then(|| (Ok(Frame::data(Bytes::from_static(b"data: x\n\n"))), sent + 1))
            });
            let mut answer = Response::new(StreamBody::new(pieces).boxed_unsync());
            answer.headers_mut().insert("content-type", format!("text/{kind}").parse().unwrap());
            answer
        }
    }
}

/// A request's body, which tells its end, also when it is dropped before it: so does the library when the stream was reset.
struct Upload {
    body: Incoming,
    tell: mpsc::Sender<Arrived>,
    told: bool,
}

impl Upload {
    fn new(request: Request<Incoming>, tell: mpsc::Sender<Arrived>) -> Self {
        let _ = tell.try_send(Arrived::Begun);
        Self { body: request.into_body(), tell, told: false }
    }

    async fn next(&mut self) -> Option<Bytes> {
        let end = match self.body.frame().await {
            Some(Ok(frame)) => return Some(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => Arrived::Broken,
            None => Arrived::Whole,
        };
        self.told = true;
        let _ = self.tell.send(end).await;
        None
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.told {
            let _ = self.tell.try_send(Arrived::Broken);
        }
    }
}

fn text(text: &'static str) -> Response<Body> {
    Response::new(http_body_util::Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync())
}

/// Where the pieces of a request's body go. Dropped before the end, the body breaks off.
#[derive(Debug)]
struct Pieces(mpsc::Sender<Option<Bytes>>);

impl Pieces {
    async fn send(&self, piece: Option<Bytes>) -> bool {
        within(PATIENCE, "a piece is taken", self.0.send(piece)).await.is_ok()
    }
}

/// A request under way. Dropping it before the body's end cancels it.
#[derive(Debug)]
pub struct Call {
    pieces: Pieces,
    response: Response<Incoming>,
}

/// A request whose head and first pieces are sent, and whose answer is awaited.
#[derive(Debug)]
pub struct Pending {
    pieces: Pieces,
    answering: JoinHandle<Result<Response<Incoming>, hyper::Error>>,
    connection: JoinHandle<()>,
}

impl Pending {
    /// POSTs to `path` of the gateway at `address`.
    pub async fn begin(address: SocketAddr, speaks: Speaks, path: &str, headers: &[(&str, &str)]) -> Self {
        let (pieces, body) = mpsc::channel(1);
        let pieces = Pieces(pieces);
        let body = StreamBody::new(stream::unfold(body, |mut body| async move {
            match body.recv().await {
                Some(Some(piece)) => Some((Ok(Frame::data(piece)), body)),
                Some(None) => None,
                None => Some((Err(std::io::Error::other("cancelled")), body)),
            }
        }))
        .boxed_unsync();
        let target = match speaks {
            Speaks::Http1 => path.to_owned(),
            Speaks::Http2 => format!("http://{address}{path}"),
        };
        let mut request = Request::post(target).body(body).unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (answering, connection) = match speaks {
            Speaks::Http1 => {
                request.headers_mut().insert("host", address.to_string().parse().unwrap());
                let (mut sender, connection) = client1::handshake(io).await.unwrap();
                let connection = tokio::spawn(async move { drop(connection.await) });
                (tokio::spawn(async move { sender.send_request(request).await }), connection)
            }
            Speaks::Http2 => {
                let (mut sender, connection) = client2::handshake(TokioExecutor::new(), io).await.unwrap();
                let connection = tokio::spawn(async move { drop(connection.await) });
                (tokio::spawn(async move { sender.send_request(request).await }), connection)
            }
        };
        Self { pieces, answering, connection }
    }

    /// Sends a piece of the body; `false` when nobody takes it.
    pub async fn send(&self, piece: impl Into<Bytes>) -> bool {
        self.pieces.send(Some(piece.into())).await
    }

    /// Ends the body.
    pub async fn end(&self) -> bool {
        self.pieces.send(None).await
    }

    /// Waits for the head of the answer.
    pub async fn head(self) -> Call {
        let Self { pieces, answering, .. } = self;
        let response = within(PATIENCE, "the answer's head", answering).await.unwrap().unwrap();
        Call { pieces, response }
    }

    /// Gives up before there is an answer: over HTTP/1.1 by closing, over HTTP/2 by a reset with CANCEL.
    ///
    /// Hold what it returns until the other side knows: dropped, it is a body that broke off, which is another reset.
    pub fn cancel(self, speaks: Speaks) -> impl Sized {
        self.answering.abort();
        if speaks == Speaks::Http1 {
            self.connection.abort();
        }
        self.pieces
    }
}

impl Call {
    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Sends a piece of the body; `false` when nobody takes it.
    pub async fn send(&self, piece: impl Into<Bytes>) -> bool {
        self.pieces.send(Some(piece.into())).await
    }

    /// Ends the body.
    pub async fn end(&self) -> bool {
        self.pieces.send(None).await
    }

    /// The next piece of the answer that is not empty; `None` at its end; an error when it breaks off.
    pub async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = within(PATIENCE, "a piece of the answer", self.response.body_mut().frame()).await?;
            match frame.map(|frame| frame.into_data().unwrap_or_default()) {
                Ok(piece) if piece.is_empty() => {}
                piece => return Some(piece),
            }
        }
    }
}
