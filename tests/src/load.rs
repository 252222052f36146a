//! Steady requests on kept-alive connections while something else happens, and what came of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http::{Connection, NoAnswer, request};
use crate::wait::PATIENCE;

/// Failures that are kept word for word; more are only counted.
const FAILURES_KEPT: usize = 20;

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: watch::Sender<usize>,
    clients: JoinSet<LoadReport>,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Answers with status 200, by the stub that gave them.
    pub answers: BTreeMap<String, usize>,
    /// Everything else.
    pub failed: usize,
    /// The first few failures.
    pub failures: Vec<String>,
}

impl Load {
    /// GETs `target` at `address` again and again on `connections` connections, each waiting for its answer.
    ///
    /// A connection that is told to be closed is opened anew, as clients do.
    pub fn start(address: SocketAddr, target: &str, connections: usize) -> Self {
        Self::begin(address, target, connections, true)
    }

    /// The same with a new connection for every request.
    pub fn start_connecting(address: SocketAddr, target: &str, clients: usize) -> Self {
        Self::begin(address, target, clients, false)
    }

    fn begin(address: SocketAddr, target: &str, connections: usize, keep: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = watch::Sender::new(0);
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            clients.spawn(client(address, target.to_owned(), keep, stop.clone(), answered.clone()));
        }
        Self { stop, answered, clients }
    }

    /// Waits until `count` more requests are over, well or not.
    pub async fn goes_on(&self, count: usize) {
        let mut answered = self.answered.subscribe();
        let wanted = *answered.borrow_and_update() + count;
        let reached = timeout(PATIENCE, answered.wait_for(|answered| *answered >= wanted)).await;
        assert!(reached.is_ok(), "the load stands still at {}", *self.answered.borrow());
    }

    /// Ends it; each client finishes its request.
    pub async fn stop(self) -> LoadReport {
        self.stop.store(true, Ordering::SeqCst);
        let mut sum = LoadReport::default();
        for report in self.clients.join_all().await {
            for (stub, count) in report.answers {
                *sum.answers.entry(stub).or_default() += count;
            }
            sum.failed += report.failed;
            sum.failures.extend(report.failures);
        }
        sum
    }
}

impl LoadReport {
    /// Panics with the failures if there are any.
    pub fn assert_none_failed(&self) {
        let answered: usize = self.answers.values().sum();
        assert!(answered > 0, "nothing was asked");
        assert_eq!(self.failed, 0, "{} failed, {answered} answered: {:#?}", self.failed, self.failures);
    }
}

async fn client(
    address: SocketAddr,
    target: String,
    keep: bool,
    stop: Arc<AtomicBool>,
    answered: watch::Sender<usize>,
) -> LoadReport {
    let mut report = LoadReport::default();
    let mut connection = None;
    while !stop.load(Ordering::SeqCst) {
        let done = one(&mut connection, address, &target).await;
        if !keep {
            connection = None;
        }
        match done {
            Ok(stub) => *report.answers.entry(stub).or_default() += 1,
            Err(NoAnswer(why)) => {
                connection = None;
                report.failed += 1;
                if report.failures.len() < FAILURES_KEPT {
                    report.failures.push(why);
                }
            }
        }
        answered.send_modify(|answered| *answered += 1);
    }
    report
}

/// One request; the name of the stub that answered 200.
async fn one(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    target: &str,
) -> Result<String, NoAnswer> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(address).await?),
    };
    let answer = open.send(request("GET", target, &[], "")).await?;
    if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
        *connection = None;
    }
    match (answer.status.as_u16(), answer.json()["stub"].as_str()) {
        (200, Some(stub)) => Ok(stub.to_owned()),
        (status, _) => Err(NoAnswer(format!("{status}: {}", answer.text()))),
    }
}
