//! Asking an instance itself whether it lives, when the registry's word is not enough.

use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use http::header::HOST;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use vertice_registry_api::{Host, Instance};

use crate::upstream::AddressPolicy;

/// As long as the original sidecar gives its service.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether `instance` answers its health path at all: any answer below 500 is one of a living service.
pub async fn is_alive(instance: &Instance, policy: &AddressPolicy) -> bool {
    tokio::time::timeout(LIMIT, ask(instance, policy)).await.ok().flatten().is_some_and(|status| status < 500)
}

async fn ask(instance: &Instance, policy: &AddressPolicy) -> Option<u16> {
    let url = &instance.url;
    let address = match url.host() {
        Host::Ip(ip) => SocketAddr::new(*ip, url.port()),
        Host::Name(name) => tokio::net::lookup_host((&**name, url.port())).await.ok()?.next()?,
    };
    if policy.refuses(address).is_some() {
        return None;
    }
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(format!("{}{}", url.base(), instance.health_endpoint))
        .header(HOST, url.authority())
        .body(Empty::<bytes::Bytes>::new())
        .ok()?;
    let answer =
        async move { sender.send_request(request).await.ok().map(|response| response.status().as_u16()) };
    let (status, _) = tokio::join!(answer, connection);
    status
}
