//! A service whose health the test decides, and a registry that notes what it is asked.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use vertice_config::sidecar::SidecarConfig;
use vertice_process::answer::{self, Answer};
use vertice_process::http_server::{ServerLimits, read_body, serve};
use vertice_process::shutdown::ShutdownTrigger;
use vertice_registry_api::{HealthPath, InstanceId, ServiceName, ServiceUrl};
use vertice_sidecar::health::Timing;
use vertice_sidecar::run::run;

/// Longer than anything here takes; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits `work`, not for ever.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

async fn listen<H, F>(handle: H) -> (SocketAddr, ShutdownTrigger)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let trigger = ShutdownTrigger::new();
    tokio::spawn(serve(listener, ServerLimits::default(), trigger.handle(), handle));
    (address, trigger)
}

/// A service.
pub struct Service {
    pub address: SocketAddr,
    answer: watch::Sender<(u16, String)>,
    checks: watch::Receiver<usize>,
    _serving: ShutdownTrigger,
}

impl Service {
    /// Answers its health path with `status` and `body`.
    pub async fn start(status: u16, body: &str) -> Self {
        let (answer, now) = watch::channel((status, body.to_owned()));
        let (count, checks) = watch::channel(0);
        let count = Arc::new(count);
        let (address, serving) = listen(move |request, _| {
            let (status, body) = now.borrow().clone();
            let known = request.uri().path() == "/healthz";
            count.send_modify(|n| *n += 1);
            async move {
                let status =
                    if known { StatusCode::from_u16(status).unwrap() } else { StatusCode::NOT_FOUND };
                answer::json(status, body)
            }
        })
        .await;
        Self { address, answer, checks, _serving: serving }
    }

    pub fn turn(&self, status: u16) {
        self.answer.send_modify(|answer| answer.0 = status);
    }

    /// Waits until it was checked `count` times more.
    pub async fn checked(&self, count: usize) {
        let mut checks = self.checks.clone();
        let wanted = *checks.borrow() + count;
        soon("health checks", checks.wait_for(|n| *n >= wanted)).await.unwrap();
    }
}

/// Which calls a registry knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    V1,
    OldCalls,
}

/// A registry that grants everything it knows.
pub struct Registry {
    pub address: SocketAddr,
    pub trigger: ShutdownTrigger,
    asked: mpsc::Receiver<(String, Value)>,
    token: Arc<Mutex<Option<String>>>,
}

impl Registry {
    pub async fn start(speaks: Speaks) -> Self {
        let (sender, asked) = mpsc::channel(1024);
        let token = Arc::new(Mutex::new(None));
        let seen = token.clone();
        let (address, trigger) =
            listen(move |request, _| grant(speaks, request, sender.clone(), seen.clone())).await;
        Self { address, trigger, asked, token }
    }

    /// The next call that is no heartbeat, with its body.
    pub async fn call(&mut self) -> (String, Value) {
        loop {
            let (line, body) = self.any_call().await;
            if line != "POST /heartbeat" {
                return (line, body);
            }
        }
    }

    pub async fn any_call(&mut self) -> (String, Value) {
        soon("a call of the registry", self.asked.recv()).await.unwrap()
    }

    pub fn token(&self) -> Option<String> {
        self.token.lock().unwrap().clone()
    }

    /// Calls that have come and that nobody has looked at, without heartbeats.
    pub fn unseen(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.asked.try_recv().ok())
            .map(|(line, _)| line)
            .filter(|line| line != "POST /heartbeat")
            .collect()
    }
}

async fn grant(
    speaks: Speaks,
    request: Request<Incoming>,
    asked: mpsc::Sender<(String, Value)>,
    token: Arc<Mutex<Option<String>>>,
) -> Answer {
    let line = format!("{} {}", request.method(), request.uri());
    let v1 = request.uri().path().starts_with("/v1/");
    let barrier = request.uri().path() == "/v1/barrier";
    let header = request.headers().get("x-registry-token").map(|v| v.to_str().unwrap().to_owned());
    *token.lock().unwrap() = header;
    let body = read_body(request.into_body(), 1 << 20).await.unwrap();
    asked.send((line, serde_json::from_slice(&body).unwrap_or_default())).await.unwrap();
    if v1 && speaks == Speaks::OldCalls {
        return answer::json(StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#);
    }
    if barrier {
        return answer::json(StatusCode::OK, r#"{"applied":1,"total":1,"missing":[]}"#);
    }
    let granted = json!({"message": "registered", "service_name": "osint_service", "instance_id": "x:1",
        "generation": 7, "handle": 1, "ttl": 60, "heartbeat_interval": 20,
        "epoch": "00000000000000000000000000000001", "revision": 1});
    answer::json(StatusCode::OK, granted.to_string())
}

pub fn config(service: SocketAddr, registry: SocketAddr) -> SidecarConfig {
    SidecarConfig {
        service: ServiceName::parse("osint_service").unwrap(),
        endpoint: ServiceUrl::parse(&format!("http://{service}")).unwrap(),
        health_endpoint: HealthPath::parse("/healthz").unwrap(),
        instance_id: InstanceId::parse(&service.to_string()).unwrap(),
        registry: ServiceUrl::parse(&format!("http://{registry}")).unwrap(),
        token: Some(vertice_config::Secret::new("t0ken")),
        heartbeat_interval: Some(Duration::from_millis(50)),
        initial_wait: PATIENCE,
        admin_listen: None,
    }
}

/// The same rules in a hundredth of the time.
pub fn quick() -> Timing {
    Timing {
        check: Duration::from_secs(5),
        well: Duration::from_millis(20),
        unwell: Duration::from_millis(10),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(100),
    }
}

/// A sidecar that runs.
pub struct Running {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

pub fn start(config: SidecarConfig, admin: Option<TcpListener>) -> Running {
    let trigger = ShutdownTrigger::new();
    let task = tokio::spawn(run(config, quick(), admin, trigger.handle()));
    Running { trigger, task }
}

impl Running {
    /// Tells it to stop and waits until it has.
    pub async fn stop(self) {
        self.trigger.pull();
        soon("the sidecar's end", self.task).await.unwrap();
    }
}
