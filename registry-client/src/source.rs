//! One registry as a stream of events, whatever its kind.

pub mod snapshot;
pub(crate) mod identify;
pub mod replica;
pub mod watch;
pub(crate) mod ack;
pub(crate) mod report;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch as latest};
use tokio::task::JoinHandle;
use vertice_registry_api::{Position, ServiceUrl};

use crate::backoff::{Backoff, spread};
use crate::error::SourceError;
use crate::event::{Authority, Event, SourceKind};
use crate::http::Client;
use crate::poll;
use crate::token::Token;
use identify::{Identity, identify};
use replica::Replica;
use report::Report;
use watch::WatchEnd;

/// Events that wait for a slow consumer before the source waits too: a few watch answers, each bounded itself.
const EVENTS_QUEUED: usize = 16;
/// Reconnects: at once after a blip, and no more than a request every few seconds per gateway in an outage.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// A fleet of gateways that lost the same registry comes back spread over the whole delay.
const RECONNECT_SPREAD: f64 = 0.5;

/// Which registry, and how to talk to it.
#[derive(Clone)]
pub struct SourceConfig {
    /// Where it is.
    pub url: ServiceUrl,
    /// Sent as `X-Registry-Token`.
    pub token: Token,
    /// The deadline of one request, without the time that a long poll waits by intent.
    pub request_timeout: Duration,
    /// Between two reads of the list of names; only a polled registry.
    pub poll_interval: Duration,
    /// How long a watch may be silent before the registry has to say that it is there; `None`: nearly a minute.
    pub watch_wait: Option<Duration>,
    /// The name under which applied revisions are acknowledged and findings are told; `None`: they are not.
    pub gateway_id: Option<String>,
}

/// A running source. Dropping it stops its task.
#[derive(Debug)]
pub struct Source {
    events: mpsc::Receiver<Event>,
    applied: latest::Sender<Option<Position>>,
    report: latest::Sender<Report>,
    resync: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Starts the source on the current tokio runtime; it goes on for ever, through every failure.
pub fn start(config: SourceConfig) -> Source {
    let (sender, events) = mpsc::channel(EVENTS_QUEUED);
    let (applied, to_acknowledge) = latest::channel(None);
    let (report, to_report) = latest::channel(Report::default());
    let resync = Arc::new(Notify::new());
    let task = tokio::spawn(run(config, sender, to_acknowledge, to_report, resync.clone()));
    Source { events, applied, report, resync, task }
}

impl Source {
    /// The next event; `None` only if the source's task died, which is a defect. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Says that what the source said up to `position` is in the table now. It is acknowledged to the registry (if
    /// `gateway_id` is set) in the background: the drain barrier waits for it. Call it after the swap.
    pub fn applied(&self, position: Position) {
        self.applied.send_if_modified(|last| last.replace(position) != Some(position));
    }

    /// Says what this gateway found out about what the source said. It is told to the registry (if `gateway_id` is set)
    /// in the background, and repeated before the registry forgets it. Only for a registry that is watched.
    pub fn report(&self, report: Report) {
        self.report.send_if_modified(|last| {
            let changed = *last != report;
            *last = report;
            changed
        });
    }

    /// Asks for a whole read over a new connection. A registry without history is read whole all the time: there this
    /// changes nothing.
    pub fn resync(&self) {
        self.resync.notify_one();
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all stages of a running source share.
pub(crate) struct Driver {
    pub(crate) config: SourceConfig,
    pub(crate) backoff: Backoff,
    pub(crate) random: fastrand::Rng,
    pub(crate) resync: Arc<Notify>,
    events: mpsc::Sender<Event>,
}

impl Driver {
    /// Hands an event over; waits while the consumer is behind. (A consumer that is gone has aborted this task.)
    pub(crate) async fn emit(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    /// Reports a failure and waits until the next try is due.
    pub(crate) async fn failed(&mut self, error: SourceError) {
        let retry_in = spread(self.backoff.next(), RECONNECT_SPREAD, self.random.f64());
        self.emit(Event::Failed { error, retry_in }).await;
        tokio::time::sleep(retry_in).await;
    }
}

async fn run(
    config: SourceConfig,
    events: mpsc::Sender<Event>,
    applied: latest::Receiver<Option<Position>>,
    findings: latest::Receiver<Report>,
    resync: Arc<Notify>,
) {
    let mut driver = Driver { config, backoff: RECONNECT, random: fastrand::Rng::new(), resync, events };
    let client = loop {
        match Client::new(&driver.config.url, &driver.config.token) {
            Ok(client) => break client,
            Err(error) => driver.failed(error).await,
        }
    };
    let gateway = driver.config.gateway_id.clone();
    let deadline = driver.config.request_timeout;
    let acknowledge = ack::acknowledge(client.clone(), gateway.clone(), applied, deadline);
    let report = report::report(client.clone(), gateway, findings, deadline);
    tokio::select! {
        () = listen(&mut driver, client) => {}
        () = acknowledge => {}
        () = report => {}
    }
}

/// Asks who is there and listens in the way of that kind, for ever.
async fn listen(driver: &mut Driver, mut client: Client) {
    let mut replica: Option<Replica> = None;
    let mut found: Option<Identity> = None;
    loop {
        let identity = match found.take() {
            Some(identity) => Ok(identity),
            None => identify(&client, driver.config.request_timeout).await,
        };
        match identity {
            Ok(Identity::Ours(snapshot)) => match Replica::new(snapshot, replica.as_ref()) {
                Ok(fresh) => {
                    let current = replica.insert(fresh);
                    let position = current.position();
                    driver.emit(Event::Identified(SourceKind::Watched)).await;
                    driver.emit(replaced(current)).await;
                    let end = watch::follow(driver, &client, current).await;
                    let progressed = current.position() != position;
                    if matches!(end, WatchEnd::Asked) {
                        // The connection is what is doubted: the next read must not come over it.
                        client = Client::new(&driver.config.url, &driver.config.token).unwrap_or(client);
                    }
                    after_watch(driver, end, progressed).await;
                }
                Err(error) => driver.failed(error).await,
            },
            Ok(Identity::OldCalls(names)) => {
                // Its history is over, and its memory with it.
                replica = None;
                driver.emit(Event::Identified(SourceKind::Polled)).await;
                driver.backoff.reset();
                found = Some(poll::read_on(driver, &client, names).await);
            }
            Err(error) => driver.failed(error).await,
        }
    }
}

/// A lost position is answered with a snapshot at once; a server that loses every position, or whose digests never
/// agree, is asked for one less and less often.
async fn after_watch(driver: &mut Driver, end: WatchEnd, progressed: bool) {
    match end {
        WatchEnd::Asked => {}
        WatchEnd::Gone if progressed => {}
        WatchEnd::Gone => {
            let pause = spread(driver.backoff.next(), RECONNECT_SPREAD, driver.random.f64());
            tokio::time::sleep(pause).await;
        }
        WatchEnd::Broken(error) => driver.failed(error).await,
    }
}

/// A whole read: what `replica` began with.
pub fn replaced(replica: &Replica) -> Event {
    Event::Replaced {
        instances: replica.instances(),
        unread: BTreeSet::new(),
        position: Some(replica.position()),
        state: replica.state(),
        authority: Authority::Complete,
    }
}
