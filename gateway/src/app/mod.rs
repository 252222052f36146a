//! The parts list: what a gateway process is made of, how it starts and how it ends.

mod api_keys;
mod compiled;
mod credentials;
mod error;
mod jwks;
mod reload;
pub mod run;

use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use vertice_config::gateway::{AccessLogConfig, GatewayConfig, ListenAddress, ListenerConfig, RegistryPlace};
use vertice_process::readiness::{NotReady, Readiness};
use vertice_process::shutdown::ShutdownTrigger;
use vertice_process::tasks;
use vertice_registry_api::{InstanceId, ServiceUrl};
use vertice_registry_client::{CanaryConfig, SourceConfig, Token, View, source};

use crate::admin::{self, AdminState};
use crate::discovery::canary::CanaryDriver;
use crate::discovery::last_known_good::disk::StateDir;
use crate::discovery::last_known_good::keeper::Keeper;
use crate::discovery::order::{self, Order};
use crate::discovery::run::{Discovery, PROBES, Progress, run};
use crate::discovery::stale::StaleRule;
use crate::discovery::{last_known_good, release};
use crate::health::driver::{HealthParts, HealthRules};
use crate::health::{self, HealthStats, Reporter};
use crate::listener::accept::{Door, INBOX};
use crate::listener::open::{Listeners, OpenListener};
use crate::policy::Policies;
use crate::reload::origin::Origin;
use crate::reload::state::ConfigState;
use crate::reload::{ORDERS, ReloadOrder};
use crate::table::Published;
use crate::table::compile::first;
use crate::telemetry::log_writer;
use crate::telemetry::metrics::WorkerMetrics;
use crate::tls::ListenerTls;
use crate::upgrade::hand_over::{Offer, OfferedListener};
use crate::upgrade::inherited::Inherited;
use crate::upgrade::socket::UpgradeSocket;
use crate::upstream::AddressPolicy;
use crate::worker::run::WorkerParts;
use crate::worker::{self, Drain, Settings, Told};
use compiled::Lasting;
pub use credentials::Credentials;
pub use error::StartError;
pub use jwks::load as load_policies;

/// What a worker may be told before it listens; a start tells it of every listener.
const TOLD: usize = 64;

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    listeners: Listeners,
    admin: Option<Admin>,
    /// The embedded registry.
    registry: Option<SocketAddr>,
    readiness: Readiness,
    trigger: ShutdownTrigger,
    stop: watch::Sender<Option<Drain>>,
    workers: Vec<JoinHandle<()>>,
    origin: Origin,
    running: Arc<GatewayConfig>,
    credentials: Credentials,
    policies: Policies,
    lasting: Lasting,
    orders: mpsc::Sender<Order>,
    health_rules: watch::Sender<HealthRules>,
    /// What operators ask for over the admin listener.
    asked: mpsc::Receiver<ReloadOrder>,
    /// Another process is about to take over: nothing changes until that is decided.
    handing_over: bool,
}

/// The admin listener: opened at the start, answering from when the process is open for clients.
#[derive(Debug)]
struct Admin {
    /// Kept to be handed to a successor.
    socket: std::net::TcpListener,
    address: SocketAddr,
    state: Arc<AdminState>,
    /// Pulled when another process answers in our place; the process's own trigger at its end.
    stop: ShutdownTrigger,
}

/// Starts every part. Nothing is accepted before [`Gateway::open`]: what comes waits in the kernel's queues.
pub async fn start(
    config: GatewayConfig,
    origin: Origin,
    mut inherited: Inherited,
) -> Result<Gateway, StartError> {
    let count = config.workers.unwrap_or_else(cores);
    let (trigger, readiness) = (ShutdownTrigger::new(), Readiness::default());
    let credentials = Credentials::load(&config, count, None).map_err(StartError::Credentials)?;
    let open = open(&config, count, &credentials, &mut inherited)?;
    let admin_socket = open_admin(config.admin, &mut inherited)?;
    inherited.nothing_left()?;
    let (registry_url, registry_address) = registry(&config, &trigger).await?;

    let entries: Vec<ListenAddress> = open.iter().map(|listener| listener.address.clone()).collect();
    let admin_address = admin_socket.as_ref().map(|(_, address)| *address);
    let policy = AddressPolicy::of(&entries, admin_address.into_iter().chain(registry_address));
    let fixed = compiled::fixed(&config, count, policy.clone(), credentials.upstream.clone());
    let policies = load_policies(&config, None).map_err(StartError::Policies)?;
    let table = first(&fixed, |services| compiled::routes(&config, &policies, |name| services.slot(name)));
    let (published, graveyard) = Published::new(table, count);
    tasks::spawn("free-tables", free_tables(graveyard));

    let (view, state_dir) = remembered(&config, &registry_url)?;
    let view = Arc::new(Mutex::new(view));
    let keeper = state_dir.map(|dir| Keeper::start(dir, registry_name(&config, &registry_url), view.clone()));
    let gateway_id = format!("gateway-{:016x}", fastrand::u64(..));
    let token = Token::from(config.registry.token.as_ref().map(|token| token.expose().to_owned()));
    let (probed, probes) = mpsc::channel(PROBES);
    let (releases, released) = mpsc::channel(release::QUEUE);
    let (orders, ordered) = mpsc::channel(order::QUEUE);
    let mut discovery = Discovery {
        source: source::start(reading(&config, &registry_url, token.clone(), &gateway_id)),
        published: published.clone(),
        fixed,
        fallbacks: compiled::fallbacks(&config),
        probes,
        view: view.clone(),
        not_ready: Some(readiness.hold("no complete answer from the registry yet")),
        rule: StaleRule { after: config.registry.stale_after, then: config.registry.when_stale },
        keeper: keeper.transpose().map_err(StartError::Thread)?,
        canary: CanaryDriver::new(canary(&config, &registry_url, token.clone(), &gateway_id)),
        releases: released,
        orders: ordered,
        shutdown: Some(trigger.handle()),
        progress: Progress::default(),
    };
    // Before the first request can come: a start with the registry away must not answer 503 first.
    discovery.begin();

    let metrics: Vec<Arc<WorkerMetrics>> = (0..count).map(|_| Arc::default()).collect();
    let (stop, stopped) = watch::channel(None);
    let (reporter, notices) = Reporter::new(&config.health);
    let running = Arc::new(config);
    let state = Arc::new(ConfigState::new(running.clone(), origin.shown()));
    let lasting = lasting(count, reporter, state.clone(), token);
    lasting.tls.show(credentials.https());
    lasting.policies.show(&policies);
    credentials.watch(None);
    jwks::keep_reading(&policies, None, &credentials.upstream);
    api_keys::warn(&policies);
    let log = running.access_log.as_ref().map(open_log).transpose()?;
    let settings = compiled::settings(&running, &lasting, &policies, policy.clone(), log);
    let Started { threads, doors, told } = start_workers(count, &published, &metrics, &settings, &stopped)?;

    let health = Arc::new(HealthStats::default());
    let (health_rules, rules) = watch::channel(HealthRules { rules: running.health, policy });
    let parts = HealthParts { published: published.clone(), rules, notices, probed, stats: health.clone() };
    tasks::spawn("health", health::driver::run(parts));
    tasks::spawn("discovery", run(discovery));
    let (ask, asked) = mpsc::channel(ORDERS);
    let state = Arc::new(AdminState {
        published,
        view,
        metrics,
        health,
        doors,
        tls: lasting.tls.clone(),
        policies: lasting.policies.clone(),
        registry_url,
        releases,
        config: state,
        reloads: ask,
    });
    Ok(Gateway {
        listeners: Listeners::new(open, told),
        admin: admin_socket.map(|(socket, address)| Admin {
            socket,
            address,
            state,
            stop: ShutdownTrigger::new(),
        }),
        registry: registry_address,
        readiness,
        trigger,
        stop,
        workers: threads,
        origin,
        running,
        credentials,
        policies,
        lasting,
        orders,
        health_rules,
        asked,
        handing_over: false,
    })
}

/// What no configuration changes.
fn lasting(workers: usize, health: Reporter, state: Arc<ConfigState>, token: Token) -> Lasting {
    Lasting {
        workers,
        via: http::HeaderValue::try_from(format!("1.1 vertice-{:016x}", fastrand::u64(..)))
            .unwrap_or(http::HeaderValue::from_static("1.1 vertice")),
        health,
        state,
        policies: Arc::default(),
        tls: Arc::default(),
        token,
    }
}

/// Every listener of the configuration: sockets that were inherited where there are some, new ones elsewhere.
fn open(
    config: &GatewayConfig,
    workers: usize,
    credentials: &Credentials,
    inherited: &mut Inherited,
) -> Result<Vec<OpenListener>, StartError> {
    let one = |(listener, tls): (&ListenerConfig, &Option<Arc<ListenerTls>>)| {
        let open = match inherited.take(listener) {
            Some(there) => OpenListener::of(listener, tls.clone(), there.sockets, there.owns_file),
            None => OpenListener::bind(listener, tls.clone(), workers),
        };
        open.map_err(|error| StartError::Bind {
            what: format!("listener {}", listener.name),
            address: listener.address.clone(),
            error,
        })
    };
    config.listeners.iter().zip(&credentials.listeners).map(one).collect()
}

type AdminSocket = Option<(std::net::TcpListener, SocketAddr)>;

fn open_admin(address: Option<SocketAddr>, inherited: &mut Inherited) -> Result<AdminSocket, StartError> {
    let Some(address) = address else { return Ok(None) };
    let mut open = || {
        let socket = match inherited.take_admin(address) {
            Some(socket) => socket,
            None => std::net::TcpListener::bind(address)?,
        };
        socket.set_nonblocking(true)?;
        let bound = socket.local_addr()?;
        Ok((socket, bound))
    };
    let error = |error| StartError::Bind { what: "admin listener".into(), address: address.into(), error };
    open().map(Some).map_err(error)
}

struct Started {
    threads: Vec<JoinHandle<()>>,
    doors: Arc<[Door]>,
    told: Vec<mpsc::Sender<Told>>,
}

fn start_workers(
    count: usize,
    published: &Arc<Published>,
    metrics: &[Arc<WorkerMetrics>],
    settings: &Settings,
    stopped: &watch::Receiver<Option<Drain>>,
) -> Result<Started, StartError> {
    let (doors, inboxes): (Vec<Door>, Vec<_>) = (0..count)
        .map(|_| {
            let (inbox, receiver) = mpsc::channel(INBOX);
            (Door { inbox, load: Arc::default() }, receiver)
        })
        .unzip();
    let doors: Arc<[Door]> = doors.into();
    let mut told = Vec::with_capacity(count);
    let parts = inboxes.into_iter().zip(metrics).enumerate();
    let threads = parts.map(|(index, (inbox, metrics))| {
        let (tell, hears) = mpsc::channel(TOLD);
        told.push(tell);
        worker::run::start(WorkerParts {
            index,
            told: hears,
            inbox,
            doors: doors.clone(),
            published: published.clone(),
            metrics: metrics.clone(),
            settings: settings.clone(),
            stop: stopped.clone(),
        })
    });
    let threads = threads.collect::<Result<_, _>>().map_err(StartError::Thread)?;
    Ok(Started { threads, doors, told })
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
    /// Where clients come in, by listener, with the ports that the system chose.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, &ListenAddress)> {
        self.listeners.iter().map(|listener| (listener.config.name.as_str(), &listener.address))
    }

    /// From here on clients and operators are answered.
    pub async fn open(&mut self) -> Result<(), StartError> {
        if let Some(admin) = &self.admin {
            let listener = admin.socket.try_clone().and_then(tokio::net::TcpListener::from_std);
            let listener = listener.map_err(|error| StartError::Bind {
                what: "admin listener".into(),
                address: admin.address.into(),
                error,
            })?;
            let (shown, state) = (admin.state.clone(), admin.state.clone());
            let serve = vertice_process::admin::serve(
                listener,
                self.readiness.clone(),
                admin.stop.handle(),
                move || admin::metrics::render(&shown),
                move |request| admin::answer(state.clone(), request),
            );
            tasks::spawn("admin", serve);
        }
        self.listeners.start().await;
        Ok(())
    }

    /// Whether requests could be answered now.
    pub fn is_ready(&self) -> bool {
        self.readiness.missing().is_empty()
    }

    /// Copies of all sockets, for a successor that came in at `socket`.
    fn offer(&self, socket: &UpgradeSocket) -> std::io::Result<Offer> {
        let listener = |open: &OpenListener| {
            Ok(OfferedListener {
                name: open.config.name.clone(),
                address: open.config.address.clone(),
                owns_file: open.owns_file,
                sockets: open.copies()?,
            })
        };
        let admin = match (&self.admin, self.running.admin) {
            (Some(admin), Some(configured)) => Some((configured, admin.socket.try_clone()?.into())),
            (Some(_), None) | (None, _) => None,
        };
        Ok(Offer {
            listeners: self.listeners.iter().map(listener).collect::<std::io::Result<_>>()?,
            admin,
            socket: (socket.path().to_owned(), socket.copy()?),
        })
    }

    /// Not ready, no new connections, what is in flight to its end, at most the drain timeout. Whether all finished.
    pub async fn drain(self, how: Drain) -> bool {
        let _draining: NotReady = self.readiness.hold("draining");
        let mut admin = self.admin;
        if how == Drain::HandedOver {
            // The successor answers, and keeps the last known good.
            let _ = self.orders.send(Order::StopKeeping).await;
            if let Some(admin) = admin.take() {
                admin.stop.pull_and_wait(Duration::from_secs(1)).await;
            }
        }
        // Workers hear of it before their listeners close: a connection that they take from the queue then is one of a
        // process that drains.
        self.stop.send_replace(Some(how));
        self.listeners.close(how);
        let workers = self.workers;
        let joined =
            tokio::task::spawn_blocking(move || workers.into_iter().all(|worker| worker.join().is_ok()));
        let finished =
            matches!(tokio::time::timeout(self.running.limits.drain_timeout, joined).await, Ok(Ok(true)));
        // The admin listener answers to the end: somebody may be watching.
        if let Some(admin) = admin {
            admin.stop.pull_and_wait(Duration::from_secs(1)).await;
        }
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

fn reading(config: &GatewayConfig, url: &ServiceUrl, token: Token, id: &str) -> SourceConfig {
    SourceConfig {
        url: url.clone(),
        token,
        request_timeout: config.registry.request_timeout,
        poll_interval: config.registry.poll_interval,
        // Three chances to be heard before a service counts as stale.
        watch_wait: config.registry.stale_after.map(|after| after / 3),
        gateway_id: Some(id.to_owned()),
    }
}

fn canary(config: &GatewayConfig, url: &ServiceUrl, token: Token, id: &str) -> CanaryConfig {
    CanaryConfig {
        url: url.clone(),
        token,
        id: InstanceId::parse(id).unwrap_or_else(|_| InstanceId::legacy()),
        started_unix_ms: vertice_process::clock::unix_ms(),
        request_timeout: config.registry.request_timeout,
    }
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
