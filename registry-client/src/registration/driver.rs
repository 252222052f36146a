//! The task behind a registrar: register until it stands, keep it standing, take it back at the end.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use vertice_registry_api::Status;
use vertice_registry_api::register::Registration;

use crate::http::Client;
use crate::registration::drain::drain;
use crate::registration::judge::{self, Beat, Granted, RegistryKind, Verdict};
use crate::registration::pace::{Due, PaceState, REFUSED_PAUSE, TriesState};
use crate::registration::{Phase, RegistrarConfig, RegistrarState, calls};

/// What an update that is on its way at the end gets to arrive: a removal that overtakes it would be undone by it.
const LAST_UPDATE: Duration = Duration::from_secs(1);
const NO_CALL: &str = "the registry knows neither PUT /v1/services/.. nor POST /register";

pub(crate) struct Driver {
    pub(crate) config: RegistrarConfig,
    pub(crate) wanted: watch::Receiver<Registration>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) state: watch::Sender<RegistrarState>,
    pub(crate) random: fastrand::Rng,
}

/// Why a wait ended.
#[derive(PartialEq, Eq)]
enum Woken {
    Due,
    /// Something else is wanted now.
    Changed,
    Stop,
}

/// Why a registration stands no more.
enum KeepEnd {
    Again,
    Withdraw(Granted),
    Stop(Granted),
}

impl Driver {
    pub(crate) async fn run(mut self) {
        let Some(client) = self.client().await else { return };
        loop {
            let Some(granted) = self.register(&client).await else { break };
            match self.keep(&client, granted).await {
                KeepEnd::Again => {}
                KeepEnd::Withdraw(granted) => {
                    tracing::info!("withdrawn from the registry until the service is up again");
                    self.take_back(&client, &granted).await;
                    self.enter(Phase::Withdrawn);
                }
                KeepEnd::Stop(granted) => {
                    if granted.kind == RegistryKind::Ours {
                        let wanted = self.wanted.borrow().clone();
                        drain(&client, &wanted, &granted).await;
                    }
                    self.take_back(&client, &granted).await;
                    break;
                }
            }
        }
        self.enter(Phase::Deregistered);
    }

    /// `None`: told to stop.
    async fn client(&mut self) -> Option<Client> {
        loop {
            match Client::new(&self.config.url, &self.config.token.clone().into()) {
                Ok(client) => return Some(client),
                Err(error) => {
                    self.refused(&error.to_string());
                    if self.pause(REFUSED_PAUSE).await == Woken::Stop {
                        return None;
                    }
                }
            }
        }
    }

    /// Tries until the registration stands. `None`: told to stop before.
    async fn register(&mut self, client: &Client) -> Option<Granted> {
        let mut tries = TriesState::new();
        loop {
            if *self.stop.borrow() {
                return None;
            }
            let wanted = self.wanted.borrow_and_update().clone();
            let pause = match try_once(client, &wanted, calls::REGISTER_DEADLINE).await {
                Tried::Verdict(Verdict::Granted(granted)) => {
                    self.granted(&granted);
                    return Some(granted);
                }
                Tried::Verdict(Verdict::Refused(words)) => {
                    self.refused(&words);
                    tries.after(true, self.random.f64())
                }
                Tried::Verdict(Verdict::Failed(words)) => {
                    self.failed(&words);
                    tries.after(false, self.random.f64())
                }
                Tried::Verdict(Verdict::UnknownCall) => {
                    self.failed(NO_CALL);
                    tries.after(false, self.random.f64())
                }
                Tried::NotNow => {
                    self.enter(Phase::Withdrawn);
                    match self.wait(None).await {
                        Woken::Stop => return None,
                        Woken::Changed | Woken::Due => continue,
                    }
                }
            };
            if self.pause(pause).await == Woken::Stop {
                return None;
            }
        }
    }

    /// Beats, and tells what else is wanted, until the lease is lost or the end. What stands is kept whatever becomes
    /// of an update: its lease must not run out meanwhile, and it must be taken back at the end.
    async fn keep(&mut self, client: &Client, mut granted: Granted) -> KeepEnd {
        let mut pace = self.pace(&granted);
        loop {
            match self.wait(Some(pace.next())).await {
                Woken::Stop => return KeepEnd::Stop(granted),
                Woken::Changed => match granted.kind {
                    // Registering again with the same incarnation is an update.
                    RegistryKind::Ours => {
                        pace.changed(Instant::now());
                        continue;
                    }
                    RegistryKind::OldCalls if is_out(self.wanted.borrow().status) => {
                        return KeepEnd::Withdraw(granted);
                    }
                    // The original has no status, and every further registration costs one more replica that cannot
                    // be read (Q1): new metadata goes with the next one.
                    RegistryKind::OldCalls => continue,
                },
                Woken::Due => {}
            }
            if pace.due(Instant::now()) == Due::Update {
                if let Some(anew) = self.update(client, &granted, &mut pace).await {
                    granted = anew;
                    pace = self.pace(&granted);
                }
                continue;
            }
            let wanted = self.wanted.borrow().clone();
            let beat = match calls::beat(client, &wanted, &granted).await {
                Ok(answer) => {
                    let beat = judge::beat(&answer);
                    if beat == Beat::Renewed {
                        self.rejected(judge::rejections(&answer));
                    }
                    beat
                }
                Err(error) => Beat::Failed(error.to_string()),
            };
            match &beat {
                // A heartbeat does not make an update that fails good.
                Beat::Renewed if pace.is_updating() => {}
                Beat::Renewed => self.renewed(),
                Beat::Lost { words, .. } => {
                    tracing::warn!(%words, "the registry lost the registration, registering again");
                    self.enter(Phase::Registering);
                }
                Beat::Refused(words) => self.refused(words),
                Beat::Failed(words) => self.failed(words),
            }
            if let Some(pause) = pace.beaten(&beat, Instant::now(), self.random.f64()) {
                return match self.pause(pause).await {
                    Woken::Stop => KeepEnd::Stop(granted),
                    Woken::Due | Woken::Changed => KeepEnd::Again,
                };
            }
        }
    }

    /// Tells our registry what is wanted now; `None`: it is to be tried again.
    async fn update(&mut self, client: &Client, granted: &Granted, pace: &mut PaceState) -> Option<Granted> {
        let wanted = self.wanted.borrow_and_update().clone();
        // Short enough for the heartbeat after it to be in time.
        let deadline = calls::REGISTER_DEADLINE.min(granted.ttl / 3);
        let stop = &mut self.stop;
        let end = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(LAST_UPDATE).await;
        };
        let tried = tokio::select! {
            tried = try_once(client, &wanted, deadline) => tried,
            // The next wait hears of the end.
            () = end => return None,
        };
        let refused = matches!(tried, Tried::Verdict(Verdict::Refused(_)));
        match tried {
            Tried::Verdict(Verdict::Granted(granted)) => {
                self.granted(&granted);
                return Some(granted);
            }
            Tried::Verdict(Verdict::Refused(words)) => self.refused(&words),
            Tried::Verdict(Verdict::Failed(words)) => self.failed(&words),
            // It knew the call before. If it is another registry now, the next heartbeat finds that out.
            Tried::Verdict(Verdict::UnknownCall) | Tried::NotNow => self.failed(NO_CALL),
        }
        pace.update_failed(refused, Instant::now(), self.random.f64());
        None
    }

    async fn take_back(&mut self, client: &Client, granted: &Granted) {
        let wanted = self.wanted.borrow().clone();
        match calls::deregister(client, &wanted, granted).await {
            Ok(answer) if answer.status.is_success() => tracing::info!("deregistered"),
            Ok(answer) => {
                tracing::warn!(
                    status = answer.status.as_u16(),
                    words = answer.words(),
                    "not deregistered, the lease will run out"
                );
            }
            Err(error) => tracing::warn!(%error, "not deregistered, the lease will run out"),
        }
    }

    fn pace(&mut self, granted: &Granted) -> PaceState {
        let own = self.config.heartbeat_interval;
        let pace = PaceState::new(granted, own, Instant::now(), self.random.f64());
        if pace.interval() >= granted.ttl {
            tracing::warn!(
                interval_s = pace.interval().as_secs(),
                ttl_s = granted.ttl.as_secs(),
                "the heartbeat interval is not shorter than the lease: the registration will come and go"
            );
        }
        pace
    }

    /// Waits out a pause whatever else is wanted meanwhile; only the end cuts it short.
    async fn pause(&mut self, pause: Duration) -> Woken {
        tokio::select! {
            () = tokio::time::sleep(pause) => Woken::Due,
            _ = self.stop.wait_for(|stop| *stop) => Woken::Stop,
        }
    }

    /// Waits until `due` (for ever without), a change or the end.
    async fn wait(&mut self, due: Option<Instant>) -> Woken {
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Woken::Stop,
            changed = self.wanted.changed() => if changed.is_ok() { Woken::Changed } else { Woken::Stop },
            () = due => Woken::Due,
        }
    }

    fn enter(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    fn granted(&self, granted: &Granted) {
        let first =
            self.state.borrow().phase != Phase::Registered || self.state.borrow().kind != Some(granted.kind);
        if first {
            tracing::info!(kind = ?granted.kind, generation = granted.generation, "registered");
        }
        self.state.send_modify(|state| {
            *state = RegistrarState {
                phase: Phase::Registered,
                kind: Some(granted.kind),
                rejections: std::mem::take(&mut state.rejections),
                ..RegistrarState::default()
            };
        });
    }

    /// The same said again is not logged again.
    fn rejected(&self, rejections: Vec<String>) {
        self.state.send_if_modified(|state| {
            if state.rejections == rejections {
                return false;
            }
            if rejections.is_empty() {
                tracing::info!("every gateway can use the instance again");
            } else {
                let gateways = rejections.join("; ");
                tracing::warn!(%gateways, "gateways cannot use the instance as it is registered");
            }
            state.rejections = rejections;
            true
        });
    }

    fn renewed(&self) {
        if self.state.borrow().failures > 0 {
            tracing::info!("heartbeats reach the registry again");
        }
        self.state.send_if_modified(|state| {
            let fresh = RegistrarState {
                phase: Phase::Registered,
                kind: state.kind,
                rejections: state.rejections.clone(),
                ..RegistrarState::default()
            };
            let changed = *state != fresh;
            *state = fresh;
            changed
        });
    }

    /// A refusal in the same words is logged once.
    fn refused(&self, words: &str) {
        self.state.send_modify(|state| {
            if state.last_error.as_deref() != Some(words) {
                tracing::error!(%words, "the registry refuses; trying again every minute");
            }
            state.phase = Phase::Refused;
            state.failures = state.failures.saturating_add(1);
            state.last_error = Some(words.to_owned());
        });
    }

    /// Only the first failure of a row is logged.
    fn failed(&self, words: &str) {
        self.state.send_modify(|state| {
            if state.failures == 0 {
                tracing::warn!(%words, "the registry cannot be used now; trying again until it can");
            }
            state.failures = state.failures.saturating_add(1);
            state.last_error = Some(words.to_owned());
        });
    }
}

enum Tried {
    Verdict(Verdict),
    /// A registry without statuses is not told of an instance that is down.
    NotNow,
}

/// One try: the call of `/v1`, and the old one where that is unknown.
async fn try_once(client: &Client, wanted: &Registration, deadline: Duration) -> Tried {
    let put = match calls::put(client, wanted, deadline).await {
        Ok(answer) => judge::put(&answer),
        Err(error) => Verdict::Failed(error.to_string()),
    };
    if put != Verdict::UnknownCall {
        return Tried::Verdict(put);
    }
    if is_out(wanted.status) {
        return Tried::NotNow;
    }
    Tried::Verdict(match calls::old_register(client, wanted).await {
        Ok(answer) => judge::old_register(&answer),
        Err(error) => Verdict::Failed(error.to_string()),
    })
}

/// Whether an instance of this status takes no requests any more.
fn is_out(status: Status) -> bool {
    match status {
        Status::Down | Status::Draining => true,
        Status::Starting | Status::Up => false,
    }
}
