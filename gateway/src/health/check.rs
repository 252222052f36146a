//! One active check: asking an endpoint itself whether it is well. Each on a connection of its own, which is closed.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use rustix::io::Errno;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use vertice_registry_api::Host;
use vertice_registry_api::url::Scheme;

use super::grpc;
use super::verdict::CheckResult;
use crate::table::{CheckKind, EndpointSpec, EndpointUrl, Origin, Protocol};
use crate::upstream::connect::{Reached, is_self_connected};
use crate::upstream::io::UpstreamStream;
use crate::upstream::{AddressPolicy, EndpointTls};

/// Names looked up at once. A look-up takes a thread and cannot be cancelled: when the resolver is gone, more of them
/// would only queue up.
const LOOKUPS: usize = 32;

/// A check that is ended by its deadline this much too late was held up by ourselves.
const OUR_DELAY: Duration = Duration::from_millis(500);

/// Bytes of the head of an answer; a health page has a few hundred.
const HEAD_BYTES: usize = 64 * 1024;

/// What every check works with.
#[derive(Clone, Debug)]
pub struct Checker {
    policy: AddressPolicy,
    lookups: Arc<Semaphore>,
}

impl Checker {
    /// Checks that connect to no address that `policy` refuses.
    pub fn new(policy: AddressPolicy) -> Self {
        Self { policy, lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// Asks the endpoint; takes at most `limit`.
    pub async fn check(
        &self,
        endpoint: &EndpointSpec,
        tls: Option<&EndpointTls>,
        limit: Duration,
    ) -> CheckResult {
        let deadline = Instant::now() + limit;
        let late = |result| if deadline.elapsed() > OUR_DELAY { CheckResult::Inconclusive } else { result };
        let stream = match timeout_at(deadline, self.connect(endpoint)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(result)) => return result,
            Err(_) => return late(CheckResult::ConnectTimeout),
        };
        let asking = async {
            let protocol = match &endpoint.check {
                CheckKind::Tcp => return CheckResult::Passed,
                CheckKind::Http => endpoint.protocol,
                CheckKind::Grpc { .. } => Protocol::Http2,
            };
            let stream = match (tls, stream) {
                (None, stream) => stream.into(),
                (Some(tls), Reached::Tcp(stream)) => match tls.connect(stream, protocol).await {
                    Ok(stream) => UpstreamStream::tls(stream),
                    Err(_) => return CheckResult::Tls,
                },
                // The table makes no such endpoint.
                (Some(_), Reached::Unix(_)) => return CheckResult::Tls,
            };
            match (&endpoint.check, protocol) {
                (CheckKind::Grpc { service }, _) => grpc::ask(endpoint, service, stream).await,
                (_, Protocol::Http1) => ask(endpoint, stream).await,
                (_, Protocol::Http2) => ask_over_http2(endpoint, stream).await,
            }
        };
        timeout_at(deadline, asking).await.unwrap_or_else(|_| late(CheckResult::Late))
    }

    async fn connect(&self, endpoint: &EndpointSpec) -> Result<Reached, CheckResult> {
        let url = match &endpoint.url {
            EndpointUrl::Http(url) => url,
            EndpointUrl::Unix { path, .. } => {
                return match UnixStream::connect(path.as_path()).await {
                    Ok(stream) => Ok(Reached::Unix(stream)),
                    Err(error) if is_our_fault(&error) => Err(CheckResult::Inconclusive),
                    Err(_) => Err(CheckResult::Refused),
                };
            }
        };
        let addresses = match url.host() {
            Host::Ip(ip) => vec![SocketAddr::new(*ip, url.port())],
            Host::Name(name) => self.look_up(name.to_string(), url.port()).await?,
        };
        let mut result = CheckResult::Unresolved;
        for address in addresses {
            if endpoint.origin != Origin::Operator && self.policy.refuses(address).is_some() {
                result = CheckResult::Forbidden;
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) if is_self_connected(&stream) => result = CheckResult::Refused,
                Ok(stream) => return Ok(Reached::Tcp(stream)),
                Err(error) if is_our_fault(&error) => return Err(CheckResult::Inconclusive),
                Err(_) => result = CheckResult::Refused,
            }
        }
        Err(result)
    }

    async fn look_up(&self, name: String, port: u16) -> Result<Vec<SocketAddr>, CheckResult> {
        let Ok(permit) = self.lookups.clone().acquire_owned().await else {
            return Err(CheckResult::Inconclusive);
        };
        // A task of its own, so that the permit is kept as long as the thread is, whatever becomes of this check.
        let found = tokio::spawn(async move {
            let _permit = permit;
            tokio::net::lookup_host((name, port)).await.map(Vec::from_iter)
        });
        match found.await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) if is_our_fault(&error) => Err(CheckResult::Inconclusive),
            Ok(Err(_)) => Err(CheckResult::Unresolved),
            Err(_) => Err(CheckResult::Inconclusive),
        }
    }
}

async fn ask(endpoint: &EndpointSpec, stream: UpstreamStream) -> CheckResult {
    let url = &endpoint.url;
    let request = Request::get(format!("{}{}", url.base(), endpoint.health))
        .header(HOST, url.authority())
        .header(USER_AGENT, "vertice-gateway health check")
        .header(CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new());
    let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(stream).await;
    let (Ok(request), Ok((mut sender, connection))) = (request, handshake) else {
        return CheckResult::BadAnswer;
    };
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection is over; what it brought is with the sender.
        _ = connection => answer.await,
    };
    judge(answer)
}

async fn ask_over_http2(endpoint: &EndpointSpec, stream: UpstreamStream) -> CheckResult {
    let url = &endpoint.url;
    let scheme = match url.scheme() {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let request = Request::get(format!("{scheme}://{}{}{}", url.authority(), url.base(), endpoint.health))
        .header(USER_AGENT, "vertice-gateway health check")
        .body(Empty::<bytes::Bytes>::new());
    let handshake = http2::handshake(TokioExecutor::new(), stream).await;
    let (Ok(request), Ok((mut sender, connection))) = (request, handshake) else {
        return CheckResult::BadAnswer;
    };
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => return CheckResult::BadAnswer,
    };
    judge(answer)
}

fn judge(answer: hyper::Result<Response<Incoming>>) -> CheckResult {
    match answer {
        Ok(response) if response.status().is_success() => CheckResult::Passed,
        Ok(response) => CheckResult::BadStatus(response.status().as_u16()),
        Err(_) => CheckResult::BadAnswer,
    }
}

/// Whether the system had nothing left for us.
fn is_our_fault(error: &io::Error) -> bool {
    const OURS: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| OURS.contains(&errno))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use vertice_registry_api::{HealthPath, InstanceId, ServiceUrl, Status};

    use super::*;

    fn spec(url: &str, check: CheckKind) -> EndpointSpec {
        EndpointSpec {
            instance_id: InstanceId::parse("i").unwrap(),
            url: ServiceUrl::parse(url).unwrap().into(),
            health: HealthPath::default(),
            check,
            protocol: Protocol::Http1,
            weight: 1,
            status: Status::Up,
            version: None,
            held: None,
            origin: Origin::Registry { registered_by: "t".into(), registered_at_ms: 0 },
        }
    }

    fn checker(loopback_allowed: bool) -> Checker {
        Checker::new(AddressPolicy { loopback_allowed, own: Vec::new() })
    }

    /// A server that answers each connection with `answer`, and how many came.
    async fn server(answer: &'static str) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                kept.push(stream);
            }
        });
        (url, count)
    }

    async fn check(url: &str, kind: CheckKind) -> CheckResult {
        checker(true).check(&spec(url, kind), None, Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn only_2xx_passes_and_redirects_are_not_followed() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", CheckResult::Passed),
            ("HTTP/1.1 204 No Content\r\n\r\n", CheckResult::Passed),
            // The body never ends: its head is enough.
            ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx", CheckResult::Passed),
            (
                "HTTP/1.1 302 Found\r\nlocation: /health2\r\ncontent-length: 0\r\n\r\n",
                CheckResult::BadStatus(302),
            ),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", CheckResult::BadStatus(404)),
            ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", CheckResult::BadStatus(500)),
            ("SSH-2.0-OpenSSH_9.6\r\n", CheckResult::BadAnswer),
        ] {
            let (url, count) = server(answer).await;
            assert_eq!(check(&url, CheckKind::Http).await, expected, "{answer}");
            assert_eq!(count.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn a_silent_port_passes_only_where_a_connection_is_all_that_is_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        assert_eq!(check(&url, CheckKind::Tcp).await, CheckResult::Passed);
        let short = Duration::from_millis(20);
        let late = checker(true).check(&spec(&url, CheckKind::Http), None, short).await;
        assert_eq!(late, CheckResult::Late);
        drop(listener);
        assert_eq!(check(&url, CheckKind::Tcp).await, CheckResult::Refused);
        assert_eq!(check(&url, CheckKind::Http).await, CheckResult::Refused);
    }

    #[tokio::test]
    async fn a_refused_address_is_not_connected_to_even_behind_a_name() {
        let (url, count) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let named = url.replace("127.0.0.1", "localhost");
        for url in [&url, &named] {
            let refused =
                checker(false).check(&spec(url, CheckKind::Http), None, Duration::from_secs(5)).await;
            assert_eq!(refused, CheckResult::Forbidden, "{url}");
        }
        assert_eq!(count.load(Ordering::Relaxed), 0);
        let written = EndpointSpec { origin: Origin::Operator, ..spec(&url, CheckKind::Http) };
        let exempt = checker(false).check(&written, None, Duration::from_secs(5)).await;
        assert_eq!(exempt, CheckResult::Passed, "what an operator wrote is exempt");
    }

    #[test]
    fn our_own_shortage_is_not_the_endpoints_fault() {
        assert!(is_our_fault(&io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())));
        assert!(!is_our_fault(&io::Error::from_raw_os_error(Errno::CONNREFUSED.raw_os_error())));
    }
}
