//! One look at the service's health: a GET on a connection of its own, no redirect followed, everything limited.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use vertice_registry_api::{HealthPath, Host, Metadata, ServiceUrl};

use crate::metadata;

/// The most of a body that is read for metadata; a longer one is healthy too, it only tells nothing.
const BODY_BYTES: usize = 64 * 1024;

/// Why a service is not healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unhealthy {
    /// Nothing listens there, or the connection broke.
    Unreachable(String),
    /// No answer in time.
    Silent(Duration),
    /// It answered, but not 200.
    Status(u16),
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "it cannot be reached: {reason}"),
            Self::Silent(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
            Self::Status(status) => write!(f, "it answers {status}, only 200 is healthy"),
        }
    }
}

/// Asks `endpoint` for `path`; healthy is exactly 200.
pub async fn probe(endpoint: &ServiceUrl, path: &HealthPath, limit: Duration) -> Result<Metadata, Unhealthy> {
    tokio::time::timeout(limit, ask(endpoint, path, limit)).await.unwrap_or(Err(Unhealthy::Silent(limit)))
}

async fn ask(endpoint: &ServiceUrl, path: &HealthPath, limit: Duration) -> Result<Metadata, Unhealthy> {
    let unreachable = |error: &dyn fmt::Display| Unhealthy::Unreachable(error.to_string());
    let connected = match endpoint.host() {
        Host::Ip(ip) => TcpStream::connect((*ip, endpoint.port())).await,
        Host::Name(name) => TcpStream::connect((&**name, endpoint.port())).await,
    };
    let stream = connected.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let request = Request::get(path.as_str())
        .header(HOST, endpoint.authority())
        .header(USER_AGENT, concat!("vertice-sidecar/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| unreachable(&error))?;
    let asked = async {
        let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(Unhealthy::Status(answer.status().as_u16()));
        }
        // Its head says that it is healthy; a body that never ends, or breaks off, does not change that.
        let body =
            tokio::time::timeout(limit / 2, Limited::new(answer.into_body(), BODY_BYTES).collect()).await;
        Ok(match body {
            Ok(Ok(body)) => metadata::from_body(&body.to_bytes()),
            Ok(Err(_)) | Err(_) => Metadata::default(),
        })
    };
    tokio::pin!(asked);
    // The connection must be driven for the answer to come; with `asked` both end.
    tokio::select! {
        biased;
        asked = &mut asked => asked,
        ended = connection => match ended {
            Ok(()) => asked.await,
            Err(error) => Err(unreachable(&error)),
        },
    }
}
