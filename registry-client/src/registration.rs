//! Registering one instance and keeping it registered, with either kind of registry.

pub(crate) mod calls;
pub(crate) mod drain;
pub(crate) mod driver;
pub mod judge;
pub mod pace;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use vertice_registry_api::register::Registration;
use vertice_registry_api::{Metadata, ServiceUrl, Status};

use driver::Driver;
pub use judge::RegistryKind;

/// Which registry, and how to talk to it.
#[derive(Clone)]
pub struct RegistrarConfig {
    /// Where it is.
    pub url: ServiceUrl,
    /// Sent as `X-Registry-Token`.
    pub token: Option<String>,
    /// Between two heartbeats; `None`: what the server asks for, else a third of the lease.
    pub heartbeat_interval: Option<Duration>,
    /// The wall clock at the start of this process in milliseconds since 1970: the incarnation is made of it.
    pub started_unix_ms: u64,
}

/// How far a registration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Trying.
    #[default]
    Registering,
    /// It stands, as far as is known here.
    Registered,
    /// The registry said no; tried again every minute.
    Refused,
    /// Taken back from a registry that knows no status, until the service is up again.
    Withdrawn,
    /// The end.
    Deregistered,
}

/// What a registrar is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrarState {
    /// How far.
    pub phase: Phase,
    /// With whom; `None` before the first success.
    pub kind: Option<RegistryKind>,
    /// Failed requests in a row.
    pub failures: u32,
    /// Why the last of them failed, in the server's words where it had any.
    pub last_error: Option<String>,
    /// Gateways that cannot use the instance as it is registered, and why.
    pub rejections: Vec<String>,
}

/// Keeps one instance registered until it is told otherwise. Dropping it stops the heartbeats without a goodbye.
#[derive(Debug)]
pub struct Registrar {
    wanted: watch::Sender<Registration>,
    stop: watch::Sender<bool>,
    state: watch::Receiver<RegistrarState>,
    task: JoinHandle<()>,
}

impl Registrar {
    /// Starts on the current tokio runtime. The registration's incarnation is drawn here.
    pub fn start(config: RegistrarConfig, mut registration: Registration) -> Self {
        let mut random = fastrand::Rng::new();
        registration.incarnation = incarnation(config.started_unix_ms, random.u16(..));
        let (wanted, wanted_now) = watch::channel(registration);
        let (stop, stopped) = watch::channel(false);
        let (state, state_now) = watch::channel(RegistrarState::default());
        let driver = Driver { config, wanted: wanted_now, stop: stopped, state, random };
        Self { wanted, stop, state: state_now, task: tokio::spawn(driver.run()) }
    }

    /// The owner's word from now on. A registry that knows no status is told by deregistering (down, draining) and
    /// registering again (starting, up).
    pub fn set_status(&self, status: Status) {
        self.wanted.send_if_modified(|wanted| std::mem::replace(&mut wanted.status, status) != status);
    }

    /// Other labels from now on. A registry that knows no update gets them with the next registration.
    pub fn set_metadata(&self, metadata: Metadata) {
        self.wanted.send_if_modified(|wanted| {
            let changed = wanted.metadata != metadata;
            wanted.metadata = metadata;
            changed
        });
    }

    /// What it is doing, now and later.
    pub fn state(&self) -> watch::Receiver<RegistrarState> {
        self.state.clone()
    }

    /// Takes the registration back and ends, within `limit`. Our registry is told first that the instance drains, and
    /// every live gateway is waited for, up to some seconds, until it sends nothing new there. Whether it ended in time;
    /// if not, the registry removes a draining instance soon, and any other when its lease runs out.
    pub async fn deregister(mut self, limit: Duration) -> bool {
        self.stop.send_replace(true);
        tokio::time::timeout(limit, &mut self.task).await.is_ok()
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Newer starts win; the random part tells two starts within one millisecond apart.
fn incarnation(unix_ms: u64, random: u16) -> u64 {
    unix_ms << 16 | u64::from(random)
}
