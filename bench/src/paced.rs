//! Requests at a steady rate on kept-alive connections, every one of them counted: load that spans an event.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::connection::Connection;
use crate::stub::Echo;

/// Connections that share the rate.
const CONNECTIONS: u32 = 16;

/// A request without an answer after this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Failures that are kept word for word; more are only counted.
const FAILURES_KEPT: usize = 3;

/// A running load; dropping it cuts its connections.
#[derive(Debug)]
pub(crate) struct Paced {
    tally: Rc<Tally>,
    clients: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Tally {
    stopping: Cell<bool>,
    answered: Cell<u64>,
    failed: Cell<u64>,
    failures: RefCell<Vec<String>>,
    milliseconds: RefCell<Vec<f64>>,
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// The first of them.
    pub(crate) failures: Vec<String>,
    /// Of each good answer, from the moment at which its request was due.
    pub(crate) milliseconds: Vec<f64>,
}

impl Paced {
    /// GETs `/v2/{service}/ask` for each of `services` in turn, `per_second` of them in all. An answer is good if its status is 200
    /// and the stub with the service's name gave it. What comes late is sent late, and nothing is left out.
    pub(crate) fn start(address: SocketAddr, services: &[&'static str], per_second: f64) -> Self {
        let tally = Rc::new(Tally::default());
        let mut clients = JoinSet::new();
        let period = Duration::from_secs_f64(f64::from(CONNECTIONS) / per_second);
        for number in 0..CONNECTIONS {
            let (tally, services) = (tally.clone(), services.to_vec());
            clients.spawn_local(async move {
                // Not all at the same moment.
                tokio::time::sleep(period * number / CONNECTIONS).await;
                client(address, &services, period, &tally).await;
            });
        }
        Self { tally, clients }
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> u64 {
        self.tally.answered.get() + self.tally.failed.get()
    }

    /// Ends it; every client gets its last answer.
    pub(crate) async fn stop(mut self) -> Counted {
        self.tally.stopping.set(true);
        while self.clients.join_next().await.is_some() {}
        let Tally { answered, failed, failures, milliseconds, .. } = &*self.tally;
        let (failures, milliseconds) = (failures.take(), milliseconds.take());
        Counted { answered: answered.get(), failed: failed.get(), failures, milliseconds }
    }
}

async fn client(address: SocketAddr, services: &[&str], period: Duration, tally: &Tally) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut connection = None;
    for service in services.iter().cycle() {
        let due = ticks.tick().await;
        if tally.stopping.get() {
            return;
        }
        match ask(&mut connection, address, service).await {
            Ok(()) => {
                tally.answered.set(tally.answered.get() + 1);
                tally.milliseconds.borrow_mut().push(due.elapsed().as_secs_f64() * 1000.0);
            }
            Err(why) => {
                connection = None;
                tally.failed.set(tally.failed.get() + 1);
                let mut failures = tally.failures.borrow_mut();
                if failures.len() < FAILURES_KEPT {
                    failures.push(format!("{service}: {why}"));
                }
            }
        }
    }
}

async fn ask(connection: &mut Option<Connection>, address: SocketAddr, service: &str) -> Result<(), String> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(address).await?),
    };
    let request = format!("GET /v2/{service}/ask HTTP/1.1\r\nhost: bench\r\n\r\n");
    let answer = timeout(PATIENCE, open.exchange(request.as_bytes()))
        .await
        .map_err(|_| format!("no answer within {PATIENCE:?}"))??;
    let echo = serde_json::from_slice::<Echo<'_>>(answer.body);
    if answer.status != 200 || !echo.is_ok_and(|echo| echo.stub == service) {
        return Err(format!("{} {}", answer.status, String::from_utf8_lossy(answer.body)));
    }
    Ok(())
}
