//! A small HTTP service of the demo: healthy at `/health`, and an echo everywhere else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use vertice_process::answer::{self, Answer};
use vertice_process::http_server::{self, ServerLimits};
use vertice_process::shutdown::ShutdownTrigger;

/// The version that the services say they have.
pub(super) const VERSION: &str = "1.4.2";

/// A body that somebody sends to an echo is counted up to here.
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// For what a service has begun when it stops.
const FINISH_TIME: Duration = Duration::from_secs(3);

/// A running service. Dropping it is a death: its connections break off.
///
/// It has a thread and a runtime of its own, as a process would: when the runtime goes, every connection goes with it,
/// at whatever point it was.
#[derive(Debug)]
pub(super) struct Service {
    end: oneshot::Sender<End>,
    ended: oneshot::Receiver<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// No new connections, what has begun is finished.
    Finish,
    /// Now, whatever is going on.
    Vanish,
}

impl Service {
    /// Starts an instance of `service` that calls itself `instance`, at `address` (port 0: any). With its real address.
    pub(super) async fn start(
        service: &str,
        instance: &str,
        address: SocketAddr,
    ) -> Result<(Self, SocketAddr), String> {
        let failed = |error: std::io::Error| format!("{instance} cannot listen on {address}: {error}");
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let listener = listener.into_std().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (end, asked_to_end) = oneshot::channel();
        let (report, ended) = oneshot::channel();
        let me = Arc::new((service.to_owned(), instance.to_owned()));
        let live = move || {
            let all_finished = runtime.block_on(serve(listener, me, asked_to_end));
            drop(runtime);
            // Nobody may be waiting any more.
            let _ = report.send(all_finished);
        };
        std::thread::Builder::new().name(instance.to_owned()).spawn(live).map_err(failed)?;
        Ok((Self { end, ended }, bound))
    }

    /// Stops as a well-behaved service does.
    pub(super) async fn finish(self) -> Result<(), String> {
        self.end_by(End::Finish).await
    }

    /// Is gone, as after SIGKILL.
    pub(super) async fn vanish(self) -> Result<(), String> {
        self.end_by(End::Vanish).await
    }

    async fn end_by(self, end: End) -> Result<(), String> {
        // An error means that its thread is gone, which the next line finds out.
        let _ = self.end.send(end);
        match self.ended.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("requests were still running after {FINISH_TIME:?} and were cut")),
            Err(_) => Err("the service had died before".into()),
        }
    }
}

/// Serves until the end. Whether all that had begun could be finished, if that was wanted.
async fn serve(
    listener: std::net::TcpListener,
    me: Arc<(String, String)>,
    end: oneshot::Receiver<End>,
) -> bool {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, instance = me.1, "the service's listener is lost");
            return false;
        }
    };
    let trigger = ShutdownTrigger::new();
    let handle = move |request, _peer| answer(me.clone(), request);
    tokio::spawn(http_server::serve(listener, ServerLimits::default(), trigger.handle(), handle));
    match end.await {
        Ok(End::Finish) => trigger.pull_and_wait(FINISH_TIME).await,
        Ok(End::Vanish) | Err(_) => true,
    }
}

async fn answer(me: Arc<(String, String)>, request: Request<Incoming>) -> Answer {
    let (service, instance) = (&me.0, &me.1);
    let (head, body) = request.into_parts();
    let told = if head.uri.path() == "/health" {
        json!({"status": "healthy", "service": service, "version": VERSION})
    } else {
        let body = match http_server::read_body(body, BODY_BYTES).await {
            Ok(body) => body,
            Err(error) => {
                return answer::json(error.status(), r#"{"detail":"the body is too large or broken"}"#);
            }
        };
        json!({
            "service": service,
            "instance": instance,
            "method": head.method.as_str(),
            "path": head.uri.path(),
            "query": head.uri.query(),
            "body_bytes": body.len(),
        })
    };
    answer::json(StatusCode::OK, format!("{told}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::client::{Connection, get};
    use crate::demo::places::loopback;

    #[tokio::test]
    async fn echoes_finishes_and_comes_back_at_its_place() {
        let (service, address) = Service::start("osint_service", "osint-1", loopback(0)).await.unwrap();
        assert_eq!(get(address, "/health").await.unwrap().json()["version"], VERSION);
        let echo = get(address, "/a%2Fb?q=1&q=2").await.unwrap().json();
        assert_eq!(
            (&echo["instance"], &echo["path"], &echo["query"]),
            (&json!("osint-1"), &json!("/a%2Fb"), &json!("q=1&q=2"))
        );
        service.finish().await.unwrap();
        assert!(get(address, "/").await.is_err());
        let (again, same) = Service::start("osint_service", "osint-1", address).await.unwrap();
        assert_eq!((get(address, "/").await.unwrap().status, same), (200, address));
        drop(again);
    }

    #[tokio::test]
    async fn a_vanished_one_breaks_its_connections_off() {
        let (service, address) = Service::start("osint_service", "osint-1", loopback(0)).await.unwrap();
        let mut kept = Connection::open(address).await.unwrap();
        kept.send("GET", "/", None).await.unwrap();
        service.vanish().await.unwrap();
        assert!(kept.send("GET", "/", None).await.is_err());
        assert!(get(address, "/").await.is_err());
    }
}
