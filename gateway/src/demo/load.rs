//! Steady GETs on kept-alive connections while something else happens, every answer counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Connection;

/// Clients at once.
const CLIENTS: usize = 16;

/// Failures kept word for word.
const FAILURES_KEPT: usize = 3;

/// A running load. Dropping it ends it at once.
#[derive(Debug)]
pub(super) struct Load {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
    tally: Arc<Mutex<Tally>>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Answers with status 200, by the instance that gave them.
    answers: BTreeMap<String, usize>,
    /// Everything else.
    failed: usize,
    first_failures: Vec<String>,
}

impl Load {
    /// GETs the `targets` at `address` in turn, each client waiting for its answer and then for `pause`.
    pub(super) fn start(address: SocketAddr, targets: &[String], pause: Duration) -> Self {
        let (stop, tally) = (watch::Sender::new(false), Arc::new(Mutex::new(Tally::default())));
        let targets: Arc<[String]> = targets.into();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (stopped, tally, targets) = (stop.subscribe(), tally.clone(), targets.clone());
            clients.spawn(async move {
                let mut connection = None;
                for target in targets.iter().cycle().skip(number) {
                    if *stopped.borrow() {
                        break;
                    }
                    let outcome = one(&mut connection, address, target).await;
                    if outcome.is_err() {
                        connection = None;
                    }
                    tally.lock().unwrap_or_else(PoisonError::into_inner).count(outcome);
                    sleep(pause).await;
                }
            });
        }
        Self { stop, clients, tally }
    }

    /// The count so far.
    pub(super) fn so_far(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it; every client gets its last answer.
    pub(super) async fn stop(mut self) -> Tally {
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
        self.so_far()
    }
}

impl Tally {
    fn count(&mut self, outcome: Result<String, String>) {
        match outcome {
            Ok(instance) => *self.answers.entry(instance).or_default() += 1,
            Err(why) => {
                self.failed += 1;
                if self.first_failures.len() < FAILURES_KEPT {
                    self.first_failures.push(why);
                }
            }
        }
    }

    /// Answers of `instance`.
    pub(super) fn of(&self, instance: &str) -> usize {
        self.answers.get(instance).copied().unwrap_or_default()
    }

    /// Answers of all instances.
    pub(super) fn answered(&self) -> usize {
        self.answers.values().sum()
    }

    /// `N of N answered`, or the failures; nothing asked at all is a failure as well.
    pub(super) fn verdict(&self) -> Result<String, String> {
        self.none_failed()?;
        if self.answered() == 0 { Err("no request came to its end".into()) } else { Ok(self.count_text()) }
    }

    /// The failures, if there are any.
    pub(super) fn none_failed(&self) -> Result<(), String> {
        if self.failed == 0 {
            return Ok(());
        }
        Err(format!("{}; the first failures: {}", self.count_text(), self.first_failures.join("; ")))
    }

    fn count_text(&self) -> String {
        format!("{} of {} requests answered", self.answered(), self.answered() + self.failed)
    }
}

/// One request; the instance that answered 200.
async fn one(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    target: &str,
) -> Result<String, String> {
    if let Some(open) = connection
        && !open.is_open().await
    {
        *connection = None;
    }
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(address).await?),
    };
    let reply = open.send("GET", target, None).await?;
    match (reply.status, reply.field("instance")) {
        (200, Some(instance)) => Ok(instance),
        _ => Err(format!("GET {target}: {}", reply.in_short())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::places::loopback;
    use crate::demo::service::Service;

    #[tokio::test]
    async fn answers_count_and_so_do_failures() {
        let (service, address) = Service::start("osint_service", "osint-1", loopback(0)).await.unwrap();
        let targets = ["/x".to_owned()];
        let load = Load::start(address, &targets, Duration::from_millis(1));
        while load.so_far().of("osint-1") < 100 {
            tokio::task::yield_now().await;
        }
        let tally = load.stop().await;
        assert!(tally.verdict().unwrap().ends_with("requests answered"));

        let load = Load::start(address, &targets, Duration::from_millis(1));
        service.vanish().await.unwrap();
        while load.so_far().failed == 0 {
            tokio::task::yield_now().await;
        }
        assert!(load.stop().await.verdict().unwrap_err().contains("the first failures"));
        assert!(Tally::default().verdict().is_err());
    }
}
