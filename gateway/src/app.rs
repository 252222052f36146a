//! The parts list: what a gateway process is made of, how it starts and how it ends.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use vertice_config::gateway::{AccessLogConfig, GatewayConfig, PathPattern, RegistryPlace};
use vertice_process::readiness::{NotReady, Readiness};
use vertice_process::shutdown::ShutdownTrigger;
use vertice_process::tasks;
use vertice_registry_api::{InstanceId, ServiceUrl};
use vertice_registry_client::{CanaryConfig, SourceConfig, View, source};

use crate::admin::{self, AdminState};
use crate::discovery::canary::CanaryDriver;
use crate::discovery::last_known_good::disk::StateDir;
use crate::discovery::last_known_good::keeper::Keeper;
use crate::discovery::run::{Discovery, PROBES, Progress, run};
use crate::discovery::stale::StaleRule;
use crate::discovery::update::Fallbacks;
use crate::discovery::{last_known_good, release};
use crate::health::driver::HealthParts;
use crate::health::{self, HealthStats, Reporter};
use crate::listener::accept::{Door, INBOX};
use crate::listener::bind::bind;
use crate::route::{Action, OwnAnswer, Route, Routes};
use crate::table::Published;
use crate::table::compile::{Fixed, first};
use crate::telemetry::log_writer;
use crate::telemetry::metrics::WorkerMetrics;
use crate::upstream::AddressPolicy;
use crate::worker::run::WorkerParts;
use crate::worker::timer::ticks;
use crate::worker::{self, Settings};

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Where clients come in, by listener, with the ports that the system chose.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Where operators look in.
    pub admin: Option<SocketAddr>,
    /// The embedded registry.
    pub registry: Option<SocketAddr>,
    readiness: Readiness,
    trigger: ShutdownTrigger,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    drain_timeout: Duration,
}

/// Why a gateway did not start. `Display` is one line that says what to do.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind {
        /// What it is for.
        what: String,
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The embedded registry did not start.
    Registry(vertice_registry::StartError),
    /// The access log cannot be opened.
    AccessLog {
        /// Which file, if it is one.
        path: Option<PathBuf>,
        /// Why.
        error: std::io::Error,
    },
    /// The state directory cannot be used.
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The system gave us no thread.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { what, address, error } if error.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{what} {address} is taken: stop the process that listens there or choose another port"
                )
            }
            Self::Bind { what, address, error } => write!(f, "cannot listen on {what} {address}: {error}"),
            Self::Registry(error) => write!(f, "the embedded registry cannot start: {error}"),
            Self::AccessLog { path: Some(path), error } => {
                write!(f, "the access log {} cannot be opened: {error}", path.display())
            }
            Self::AccessLog { path: None, error } => write!(f, "the access log cannot be opened: {error}"),
            Self::StateDir { path, error } => write!(
                f,
                "the state directory {} cannot be written to: {error}; give this user the right to, or another one",
                path.display()
            ),
            Self::Thread(error) => write!(f, "a worker thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Starts every part. When this returns, connections are accepted.
pub async fn start(config: GatewayConfig) -> Result<Gateway, StartError> {
    let count = config.workers.unwrap_or_else(cores);
    let (trigger, readiness) = (ShutdownTrigger::new(), Readiness::default());
    let (listeners, sockets) = open(&config, count)?;
    let (admin_listener, admin_address) = open_admin(config.admin).await?;
    let (registry_url, registry_address) = registry(&config, &trigger).await?;

    let entries: Vec<SocketAddr> = listeners.iter().map(|(_, address)| *address).collect();
    let policy = AddressPolicy::of(&entries, admin_address.into_iter().chain(registry_address));
    let fixed = fixed(&config, count, policy.clone());
    let table = first(&fixed, |services| compile_routes(&config, |name| services.slot(name)));
    let (published, graveyard) = Published::new(table);
    tasks::spawn("free-tables", free_tables(graveyard));

    let (view, state_dir) = remembered(&config, &registry_url)?;
    let view = Arc::new(Mutex::new(view));
    let keeper = state_dir.map(|dir| Keeper::start(dir, registry_name(&config, &registry_url), view.clone()));
    let gateway_id = format!("gateway-{:016x}", fastrand::u64(..));
    let token = config.registry.token.as_ref().map(|token| token.expose().to_owned());
    let (probed, probes) = mpsc::channel(PROBES);
    let (releases, released) = mpsc::channel(release::QUEUE);
    let mut discovery = Discovery {
        source: source::start(SourceConfig {
            url: registry_url.clone(),
            token: token.clone(),
            request_timeout: config.registry.request_timeout,
            poll_interval: config.registry.poll_interval,
            // Three chances to be heard before a service counts as stale.
            watch_wait: config.registry.stale_after.map(|after| after / 3),
            gateway_id: Some(gateway_id.clone()),
        }),
        published: published.clone(),
        fixed,
        fallbacks: fallbacks(&config),
        probes,
        view: view.clone(),
        not_ready: Some(readiness.hold("no complete answer from the registry yet")),
        rule: StaleRule { after: config.registry.stale_after, then: config.registry.when_stale },
        keeper: keeper.transpose().map_err(StartError::Thread)?,
        canary: CanaryDriver::new(canary(&config, &registry_url, token, &gateway_id)),
        releases: released,
        shutdown: Some(trigger.handle()),
        progress: Progress::default(),
    };
    // Before the first request can come: a start with the registry away must not answer 503 first.
    discovery.begin();

    let metrics: Vec<Arc<WorkerMetrics>> = (0..count).map(|_| Arc::default()).collect();
    let (stop, stopped) = watch::channel(false);
    let (reporter, notices) = Reporter::new(&config.health);
    let (workers, doors) =
        start_workers(&config, sockets, &published, &metrics, policy.clone(), reporter, &stopped)?;

    let health = Arc::new(HealthStats::default());
    tasks::spawn(
        "health",
        health::driver::run(HealthParts {
            published: published.clone(),
            rules: config.health,
            policy,
            notices,
            probed,
            stats: health.clone(),
        }),
    );

    tasks::spawn("discovery", run(discovery));
    if let Some(listener) = admin_listener {
        let state = Arc::new(AdminState { published, view, metrics, health, doors, registry_url, releases });
        let shown = state.clone();
        let serve = vertice_process::admin::serve(
            listener,
            readiness.clone(),
            trigger.handle(),
            move || admin::metrics::render(&shown),
            move |request| admin::answer(state.clone(), request),
        );
        tasks::spawn("admin", serve);
    }
    Ok(Gateway {
        listeners,
        admin: admin_address,
        registry: registry_address,
        readiness,
        trigger,
        stop,
        workers,
        drain_timeout: config.limits.drain_timeout,
    })
}

/// Name and address of every listener, and per worker its socket of each.
type Opened = (Vec<(String, SocketAddr)>, Vec<Vec<std::net::TcpListener>>);

fn open(config: &GatewayConfig, workers: usize) -> Result<Opened, StartError> {
    let mut sockets: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        let bound = bind(listener.address, workers).map_err(|error| StartError::Bind {
            what: format!("listener {}", listener.name),
            address: listener.address,
            error,
        })?;
        let address = bound.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(listener.address);
        listeners.push((listener.name.clone(), address));
        for (worker, socket) in sockets.iter_mut().zip(bound) {
            worker.push(socket);
        }
    }
    Ok((listeners, sockets))
}

async fn open_admin(
    address: Option<SocketAddr>,
) -> Result<(Option<TcpListener>, Option<SocketAddr>), StartError> {
    let Some(address) = address else { return Ok((None, None)) };
    let listener = TcpListener::bind(address).await.map_err(|error| StartError::Bind {
        what: "admin listener".into(),
        address,
        error,
    })?;
    let bound = listener.local_addr().unwrap_or(address);
    Ok((Some(listener), Some(bound)))
}

type Started = (Vec<JoinHandle<()>>, Arc<[Door]>);

fn start_workers(
    config: &GatewayConfig,
    sockets: Vec<Vec<std::net::TcpListener>>,
    published: &Arc<Published>,
    metrics: &[Arc<WorkerMetrics>],
    policy: AddressPolicy,
    health: Reporter,
    stopped: &watch::Receiver<bool>,
) -> Result<Started, StartError> {
    let log = config.access_log.as_ref().map(open_log).transpose()?;
    let settings = Arc::new(Settings {
        head: ticks(config.limits.head_timeout),
        keep_alive: ticks(config.limits.keep_alive),
        limits: config.limits,
        trusted_proxies: config.trusted_proxies.clone(),
        reason_header: config.reason_header,
        via: http::HeaderValue::try_from(format!("1.1 vertice-{:016x}", fastrand::u64(..)))
            .unwrap_or(http::HeaderValue::from_static("1.1 vertice")),
        policy,
        health,
    });
    let (doors, inboxes): (Vec<Door>, Vec<_>) = sockets
        .iter()
        .map(|_| {
            let (inbox, receiver) = mpsc::channel(INBOX);
            (Door { inbox, load: Arc::default() }, receiver)
        })
        .unzip();
    let doors: Arc<[Door]> = doors.into();
    let parts = sockets.into_iter().zip(inboxes).zip(metrics).enumerate();
    let workers = parts.map(|(index, ((listeners, inbox), metrics))| {
        worker::run::start(WorkerParts {
            index,
            listeners,
            inbox,
            doors: doors.clone(),
            published: published.clone(),
            metrics: metrics.clone(),
            log: log.clone(),
            settings: settings.clone(),
            stop: stopped.clone(),
        })
    });
    let workers = workers.collect::<Result<_, _>>().map_err(StartError::Thread)?;
    Ok((workers, doors))
}

fn open_log(config: &AccessLogConfig) -> Result<SyncSender<Vec<u8>>, StartError> {
    log_writer::start(config).map_err(|error| StartError::AccessLog {
        path: match config {
            AccessLogConfig::File(path) => Some(path.clone()),
            AccessLogConfig::Stdout => None,
        },
        error,
    })
}

impl Gateway {
    /// Not ready, no new connections, what is in flight to its end, at most the drain timeout. Whether all finished.
    pub async fn drain(self) -> bool {
        let _draining: NotReady = self.readiness.hold("draining");
        self.stop.send_replace(true);
        let workers = self.workers;
        let joined =
            tokio::task::spawn_blocking(move || workers.into_iter().all(|worker| worker.join().is_ok()));
        let finished = matches!(tokio::time::timeout(self.drain_timeout, joined).await, Ok(Ok(true)));
        // The admin listener answers to the end: somebody may be watching.
        self.trigger.pull_and_wait(Duration::from_secs(1)).await;
        finished
    }
}

/// The registry's URL, and the address of the embedded one, which is started here.
async fn registry(
    config: &GatewayConfig,
    trigger: &ShutdownTrigger,
) -> Result<(ServiceUrl, Option<SocketAddr>), StartError> {
    match &config.registry.place {
        RegistryPlace::Remote(url) => Ok((url.clone(), None)),
        RegistryPlace::Embedded(address) => {
            let mut settings = vertice_registry::Settings::open_on_loopback(*address);
            if let Some(token) = &config.registry.token {
                settings.auth = vertice_registry::auth::Auth::single(token);
            }
            let running =
                vertice_registry::start(settings, trigger.handle()).await.map_err(StartError::Registry)?;
            let url = format!("http://{}", running.address);
            let invalid =
                |_| StartError::Thread(std::io::Error::other("the registry's own address is no URL"));
            Ok((ServiceUrl::parse(&url).map_err(invalid)?, Some(running.address)))
        }
    }
}

/// Whose word the last known good is.
fn registry_name(config: &GatewayConfig, url: &ServiceUrl) -> String {
    match &config.registry.place {
        RegistryPlace::Remote(_) => url.to_string(),
        // Its port may be another one at each start.
        RegistryPlace::Embedded(_) => "embedded".to_owned(),
    }
}

/// What the disk remembers, if it is to.
fn remembered(config: &GatewayConfig, url: &ServiceUrl) -> Result<(View, Option<StateDir>), StartError> {
    let Some(path) = &config.state_dir else { return Ok((View::new(), None)) };
    last_known_good::open(path, &registry_name(config, url))
        .map_err(|error| StartError::StateDir { path: path.clone(), error })
}

fn canary(config: &GatewayConfig, url: &ServiceUrl, token: Option<String>, id: &str) -> CanaryConfig {
    CanaryConfig {
        url: url.clone(),
        token,
        id: InstanceId::parse(id).unwrap_or_else(|_| InstanceId::legacy()),
        started_unix_ms: vertice_process::clock::unix_ms(),
        request_timeout: config.registry.request_timeout,
    }
}

fn fixed(config: &GatewayConfig, workers: usize, policy: AddressPolicy) -> Fixed {
    let named = config.services.iter().map(|service| service.name.clone());
    let configured: BTreeSet<_> =
        named.chain(config.routes.iter().map(|route| route.service.clone())).collect();
    Fixed { workers, configured, policy, newcomers_wait: config.health.active }
}

fn fallbacks(config: &GatewayConfig) -> Fallbacks {
    config.services.iter().map(|service| (service.name.clone(), service.fallback.clone())).collect()
}

/// The configured routes and the gateway's own.
fn compile_routes(config: &GatewayConfig, slot: impl Fn(&str) -> Option<usize>) -> Routes {
    let timeouts = config.timeouts;
    let configured = config.routes.iter().filter_map(|route| {
        // Every service that a route names has a slot: `fixed` lists them.
        let slot = slot(route.service.as_str())?;
        Some(Route {
            name: route.name.clone(),
            host: route.host.clone(),
            path: route.path.clone(),
            methods: route.methods.clone(),
            headers: route.headers.clone(),
            action: Action::ToService { slot, rewrite: route.rewrite.clone() },
            timeouts: route.timeouts,
            built_in: false,
        })
    });
    let own = |name: &str, path: PathPattern, action: Action| Route {
        name: name.to_owned(),
        host: None,
        path,
        methods: Vec::new(),
        headers: Vec::new(),
        action,
        timeouts,
        built_in: true,
    };
    let built_in = [
        own("v2", PathPattern::Prefix("/v2".into()), Action::ToNamed),
        own("health", PathPattern::Exact("/health".into()), Action::Own(OwnAnswer::Health)),
        own("gateway-status", PathPattern::Exact("/gateway/status".into()), Action::Own(OwnAnswer::Status)),
        own(
            "gateway-health-check",
            PathPattern::Prefix("/gateway/health-check".into()),
            Action::Own(OwnAnswer::HealthCheck),
        ),
    ];
    Routes::compile(configured.chain(built_in).collect())
}

/// Frees tables that no worker uses any more, away from the workers.
async fn free_tables(graveyard: std::sync::mpsc::Receiver<Arc<crate::table::Table>>) {
    let mut pulse = tokio::time::interval(Duration::from_millis(100));
    loop {
        pulse.tick().await;
        while let Ok(table) = graveyard.try_recv() {
            drop(table);
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
