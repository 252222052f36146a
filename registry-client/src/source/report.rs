//! Telling the registry what came of what it said: entries that this gateway cannot use, and stale instances whose
//! probes prove that they are dead. Best effort, and never in an event's way.

use std::time::Duration;

use http::Method;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use vertice_registry_api::probe::Probes;
use vertice_registry_api::reject::{Reject, Rejects};
use vertice_registry_api::{Epoch, InstanceId, ServiceName, limits};

use crate::backoff::{Backoff, spread};
use crate::http::{Client, SMALL_BODY_BYTES};

/// The registry forgets a reject after ten minutes: it may miss three of four.
const REPEAT_REJECTS: Duration = Duration::from_mins(2);
/// A proof of death that the registry did not act on: to a replica that had not seen the instance go stale yet.
const REPEAT_DEAD: Duration = Duration::from_secs(15);
/// After something was told: what changes meanwhile goes with the next.
const PAUSE: Duration = Duration::from_secs(1);
/// After a refusal someone must change something first.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// A fleet of gateways says the same of the same entry.
const SPREAD: f64 = 0.25;

/// What is true now; each replaces the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of which history of the registry it is: a new one has heard nothing yet.
    pub epoch: Option<Epoch>,
    /// All that cannot be used, at most [`MAX_REJECTS`](vertice_registry_api::reject::MAX_REJECTS).
    pub rejects: Vec<Reject>,
    /// Stale instances that are dead, with the generation that was probed, at most [`MAX_DEAD`](vertice_registry_api::probe::MAX_DEAD).
    pub dead: Vec<(ServiceName, InstanceId, u64)>,
}

/// Tells whatever stands in `wanted`, only the newest when it changes faster than the registry answers.
pub(crate) async fn report(
    client: Client,
    gateway: Option<String>,
    wanted: watch::Receiver<Report>,
    deadline: Duration,
) {
    let Some(gateway) = gateway else { return std::future::pending().await };
    let rejects = |report: &Report| {
        bounded(&report.rejects, |rejects| {
            serde_json::to_vec(&Rejects { gateway: gateway.clone(), rejects: rejects.to_vec() })
        })
    };
    let dead = |report: &Report| {
        if report.dead.is_empty() {
            return None;
        }
        bounded(&report.dead, |dead| {
            serde_json::to_vec(&Probes { gateway: gateway.clone(), dead: dead.to_vec() })
        })
    };
    let teller = |path, repeat| Teller { client: client.clone(), path, repeat, deadline };
    tokio::join!(
        teller("/v1/rejects", REPEAT_REJECTS).run(
            wanted.clone(),
            |report| (report.epoch, report.rejects.clone()),
            |(_, rejects)| rejects.is_empty(),
            rejects,
        ),
        teller("/v1/probes", REPEAT_DEAD).run(
            wanted,
            |report| (report.epoch, report.dead.clone()),
            |(_, dead)| dead.is_empty(),
            dead,
        ),
    );
}

/// A body with as many of `entries` as the registry reads at most.
fn bounded<T>(entries: &[T], body: impl Fn(&[T]) -> Result<Vec<u8>, serde_json::Error>) -> Option<Vec<u8>> {
    let mut count = entries.len();
    loop {
        let bytes = body(entries.get(..count)?).ok()?;
        if bytes.len() <= limits::BATCH_BODY_BYTES {
            return Some(bytes);
        }
        count = count * 9 / 10;
    }
}

/// Says one thing of a report.
struct Teller {
    client: Client,
    path: &'static str,
    repeat: Duration,
    deadline: Duration,
}

/// What became of it.
enum Told {
    Yes,
    /// In the registry's words.
    Refused(String),
    Failed,
}

impl Teller {
    /// Runs until there is nobody who reports.
    async fn run<P: PartialEq>(
        self,
        mut wanted: watch::Receiver<Report>,
        part: impl Fn(&Report) -> P,
        is_empty: impl Fn(&P) -> bool,
        body: impl Fn(&Report) -> Option<Vec<u8>>,
    ) {
        let (mut told, mut refused) = (part(&Report::default()), None);
        let (mut retry, mut due) = (RETRY, None);
        loop {
            let due_now = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let is_due = tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return } else { false },
                () = due_now => true,
            };
            let report = wanted.borrow_and_update().clone();
            let now = part(&report);
            // The same again, or nothing after nothing.
            if !is_due && (now == told || is_empty(&now) && is_empty(&told)) {
                continue;
            }
            let Some(body) = body(&report) else {
                (told, due) = (now, None);
                continue;
            };
            let pause = match self.tell(body).await {
                Told::Yes => {
                    (told, refused) = (now, None);
                    retry.reset();
                    if is_empty(&told) { None } else { Some(self.repeat) }
                }
                Told::Refused(words) => {
                    if refused.as_ref() != Some(&words) {
                        tracing::warn!(call = self.path, %words, "the registry does not take what this gateway found out");
                    }
                    refused = Some(words);
                    Some(REFUSED_PAUSE)
                }
                Told::Failed => Some(retry.next()),
            };
            due = pause.map(|pause| Instant::now() + spread(pause, SPREAD, fastrand::f64()));
            sleep(if refused.is_some() { REFUSED_PAUSE } else { PAUSE }).await;
        }
    }

    async fn tell(&self, body: Vec<u8>) -> Told {
        let sent =
            self.client.ask(Method::POST, self.path, Some(body), self.deadline, SMALL_BODY_BYTES).await;
        match sent {
            Ok(answer) if answer.status.is_success() => Told::Yes,
            // Of a quota or a full queue, later.
            Ok(answer) if answer.status.is_client_error() && !matches!(answer.status.as_u16(), 408 | 429) => {
                Told::Refused(format!("status {}, {}", answer.status.as_u16(), answer.words()))
            }
            Ok(_) | Err(_) => Told::Failed,
        }
    }
}
