//! A gateway: the real replica, view, stale rule, compiler of tables and choice of an endpoint, behind a modelled wire.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vertice_gateway::discovery::stale::StaleRule;
use vertice_gateway::discovery::update::{self, Fallbacks};
use vertice_gateway::route::Routes;
use vertice_gateway::table::Table;
use vertice_gateway::table::compile::{EndpointIds, Fixed, compile, first};
use vertice_gateway::upstream::AddressPolicy;
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Position, ServiceName, SourceState};
use vertice_registry_client::source::replica::Replica;
use vertice_registry_client::source::watch::{self, WatchEnd, Watched};
use vertice_registry_client::{Event, Known, SetChange, SourceError, SourceKind, View, source};

use super::history::History;
use super::network::{Call, Reply};
use super::property::{Property, Sabotage, Violation};
use super::sidecar::Clock;
use super::truth::{Key, key_of};

const REQUEST: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(55);
const JITTER: Duration = Duration::from_secs(5);

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    Nothing,
    Snapshot,
    Watch,
}

pub struct Process {
    pub number: u64,
    /// What was read last; kept when its position is lost, as the real one keeps it.
    pub replica: Option<Replica>,
    pub lost: bool,
    pub view: View,
    pub table: Table,
    pub ids: EndpointIds,
    asking: Asking,
    pub waiting: Option<u64>,
    pub failures: u32,
    /// The next poll does not wait: it is to prove that the registry is back.
    pub reconnecting: bool,
    /// Where each epoch was read to.
    pub reached: BTreeMap<u128, u64>,
    /// What the registry removed and said why, as far as this process has heard of it; and since when by its word only.
    pub told: BTreeMap<Key, RemovalReason>,
    pub heard: Duration,
    /// When the one before heard it last.
    pub disk_heard: Duration,
    /// Acknowledgements that are to be sent once more, as many as the real one sends.
    pub acks: u32,
}

/// Tries for one acknowledgement.
const ACKS: u32 = 5;

#[derive(Default)]
pub struct Gateway {
    process: Option<Process>,
    processes: u64,
    disk: Option<(Vec<Known>, Option<Position>)>,
    /// When the registry was last heard by the process that wrote it.
    disk_heard: Duration,
    pub timer: u64,
    pub paused_until: Duration,
    /// It reaches no service until then.
    pub blind_until: Duration,
}

/// What a gateway wants done.
#[derive(Debug)]
pub enum Wish {
    Send(Call, Duration),
    /// Not waited for.
    Tell(Call),
    Wake(Duration),
}

/// What a gateway can see of the services.
pub trait Services {
    fn serves(&self, key: &Key) -> bool;
    /// Since when it has run and wanted requests.
    fn wants_requests_since(&self, key: &Key) -> Option<Duration>;
}

/// What surrounds a gateway when something happens.
pub struct Around<'a> {
    pub now: Duration,
    pub clock: Clock,
    pub history: &'a History,
    pub services: &'a dyn Services,
    pub sabotage: Option<Sabotage>,
}

fn fixed() -> Fixed {
    let policy = AddressPolicy::default();
    Fixed { workers: 1, configured: BTreeSet::new(), policy, newcomers_wait: false, tls: None }
}

impl Gateway {
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// The number of the running process.
    pub fn process(&self) -> u64 {
        self.processes
    }

    /// The history that it reads.
    pub fn epoch(&self) -> Option<Epoch> {
        self.process.as_ref()?.view.position().map(|position| position.epoch)
    }

    /// Starts with what the disk has.
    pub fn start(&mut self, around: &Around<'_>) -> Result<Vec<Wish>, Violation> {
        self.processes += 1;
        let view = match &self.disk {
            None => View::new(),
            Some((known, at)) => {
                View::restore(known.clone(), Some(SourceKind::Watched), *at, around.clock.instant(around.now))
            }
        };
        let changed: BTreeSet<ServiceName> = view.services().map(|(name, _)| name.clone()).collect();
        self.process = Some(Process {
            number: self.processes,
            replica: None,
            lost: false,
            view,
            table: first(&fixed(), |_| Routes::default()),
            ids: EndpointIds::default(),
            asking: Asking::Nothing,
            waiting: None,
            failures: 0,
            reconnecting: false,
            reached: BTreeMap::new(),
            told: BTreeMap::new(),
            heard: self.disk_heard,
            disk_heard: self.disk_heard,
            acks: 0,
        });
        self.publish(changed, around)?;
        Ok(self.wake())
    }

    pub fn crash(&mut self) {
        self.process = None;
        self.timer += 1;
    }

    pub fn sent(&mut self, number: u64) {
        if let Some(process) = &mut self.process {
            process.waiting = Some(number);
        }
    }

    pub fn is_waiting_for(&self, number: u64) -> bool {
        self.process.as_ref().is_some_and(|process| process.waiting == Some(number))
    }

    /// Whether a request for the service of `key` could be sent to that instance now.
    pub fn may_choose(&self, key: &Key) -> bool {
        let service = self.process.as_ref().and_then(|p| p.table.services.by_name(key.0.as_str()));
        service.is_some_and(|service| service.routable.iter().any(|e| e.spec.instance_id == key.1))
    }

    /// What to ask next.
    pub fn wake(&mut self) -> Vec<Wish> {
        let Some(process) = &mut self.process else { return Vec::new() };
        if let Some(replica) = process.replica.as_ref().filter(|_| !process.lost) {
            process.asking = Asking::Watch;
            let wait = if process.reconnecting { Duration::ZERO } else { WAIT };
            let limit = if process.reconnecting { REQUEST } else { REQUEST + WAIT + JITTER };
            return vec![Wish::Send(Call::Watch { from: replica.position(), wait }, limit)];
        }
        process.asking = Asking::Snapshot;
        vec![Wish::Send(Call::Snapshot, REQUEST)]
    }

    /// An answer came, or (`None`) none in time.
    pub fn hear(
        &mut self,
        reply: Option<Reply>,
        around: &Around<'_>,
        rng: &mut fastrand::Rng,
    ) -> Result<Vec<Wish>, Violation> {
        let Some(process) = &mut self.process else { return Ok(Vec::new()) };
        process.waiting = None;
        let asked = std::mem::replace(&mut process.asking, Asking::Nothing);
        let watched = match (asked, reply) {
            (Asking::Snapshot, Some(Reply::Snapshot(snapshot))) => {
                let fresh = Replica::new(*snapshot, process.replica.as_ref());
                let Ok(fresh) = fresh else { return self.failed(around, rng) };
                let event = source::replaced(&fresh);
                process.replica = Some(fresh);
                process.lost = false;
                (process.failures, process.reconnecting) = (0, false);
                self.take(&Event::Identified(SourceKind::Watched), around)?;
                let mut wishes = self.take(&event, around)?;
                wishes.extend(self.wake());
                return Ok(wishes);
            }
            (Asking::Watch, Some(Reply::Changes(answer))) => Watched::Changes(answer),
            (Asking::Watch, Some(Reply::Quiet(state))) => Watched::Quiet(Some(state)),
            (Asking::Watch, Some(Reply::Gone)) => Watched::Gone,
            _ => return self.failed(around, rng),
        };
        let Some(replica) = &mut process.replica else { return Ok(Vec::new()) };
        match watch::take(replica, watched) {
            Ok(event) => {
                (process.failures, process.reconnecting) = (0, false);
                let mut wishes = self.take(&event, around)?;
                wishes.extend(self.wake());
                Ok(wishes)
            }
            Err(WatchEnd::Gone | WatchEnd::Asked) => {
                process.lost = true;
                Ok(self.wake())
            }
            Err(WatchEnd::Broken(_)) => {
                process.lost = true;
                self.failed(around, rng)
            }
        }
    }

    fn failed(&mut self, around: &Around<'_>, rng: &mut fastrand::Rng) -> Result<Vec<Wish>, Violation> {
        let Some(process) = &mut self.process else { return Ok(Vec::new()) };
        process.reconnecting = true;
        let pause = Duration::from_millis(100) * 2_u32.pow(process.failures.min(6));
        process.failures += 1;
        let retry_in = pause.min(Duration::from_secs(5)).mul_f64(0.5 + rng.f64());
        let error = SourceError::Timeout(REQUEST);
        let mut wishes = self.take(&Event::Failed { error, retry_in }, around)?;
        wishes.push(Wish::Wake(around.now + retry_in));
        Ok(wishes)
    }

    /// Every second.
    pub fn pulse(&mut self, around: &Around<'_>) -> Result<Vec<Wish>, Violation> {
        let Some(process) = &mut self.process else { return Ok(Vec::new()) };
        let at = around.clock.instant(around.now);
        let mut changed = process.view.tick(at);
        if around.now.as_secs().is_multiple_of(2) {
            let held: Vec<Key> = process.view.held().map(|(_, seen)| key_of(&seen.instance)).collect();
            for key in held {
                let answers = around.now >= self.blind_until && around.services.serves(&key);
                if !answers {
                    // What a probe disproved may go.
                    process.told.entry(key.clone()).or_insert(RemovalReason::Expired);
                }
                changed.extend(process.view.record_probe(&key.0, &key.1, answers, at));
            }
        }
        let wants_read = process.view.wants_read(at);
        self.check(around)?;
        self.publish(changed, around)?;
        self.write_disk(around);
        let Some(process) = &mut self.process else { return Ok(Vec::new()) };
        let mut wishes = Vec::new();
        if let Some(position) = process.view.status().position.filter(|_| process.acks > 0) {
            process.acks -= 1;
            wishes.push(Wish::Tell(Call::Ack(position)));
        }
        if wants_read && process.asking == Asking::Watch {
            process.lost = true;
            wishes.extend(self.wake());
        }
        Ok(wishes)
    }

    fn write_disk(&mut self, around: &Around<'_>) {
        let Some(process) = self.process.as_ref().filter(|p| p.view.is_complete()) else { return };
        let known = process.view.services().flat_map(|(_, service)| {
            let known = |seen: &vertice_registry_client::SeenInstance| Known {
                instance: seen.instance.clone(),
                last_proof: seen.hold.map_or(service.last_proof, |hold| hold.last_proof),
            };
            service.instances.values().map(known).collect::<Vec<_>>()
        });
        if around.now.as_secs().is_multiple_of(5) {
            self.disk = Some((known.collect(), process.view.position_of_all()));
            self.disk_heard = process.heard;
        }
    }

    fn take(&mut self, event: &Event, around: &Around<'_>) -> Result<Vec<Wish>, Violation> {
        let Some(process) = &mut self.process else { return Ok(Vec::new()) };
        process.note(event, around);
        let believed = (around.sabotage == Some(Sabotage::BelievesAbsence))
            .then(|| process.absences(event))
            .filter(|changes| !changes.is_empty());
        let early = around.sabotage == Some(Sabotage::AcksTooEarly);
        let deaf = around.sabotage == Some(Sabotage::KeepsRemoved) && is_removal(event);
        let at = around.clock.instant(around.now);
        let before = process.view.position();
        let mut changed = if deaf { BTreeSet::new() } else { process.view.apply(event, at) };
        if let Some(changes) = believed {
            let absent =
                Event::Changed { changes, position: process.view.position(), state: SourceState::Serving };
            changed.extend(process.view.apply(&absent, at));
        }
        if let Some(position) = process.view.position() {
            let reached = process.reached.entry(position.epoch.0).or_default();
            if *reached > position.revision.0 {
                let what = format!("a gateway went from {reached} to {} in one epoch", position.revision);
                return Violation::of(Property::P6, what);
            }
            *reached = position.revision.0;
        }
        if !(early && is_change(event)) {
            self.publish(changed, around)?;
        }
        let Some(process) = &mut self.process else { return Ok(Vec::new()) };
        if is_change(event) {
            process.check_told()?;
        }
        let position = process.view.status().position;
        let news = position.filter(|position| Some(*position) != before || !is_change(event));
        if news.is_some() {
            process.acks = ACKS - 1;
        }
        Ok(news.map(|position| Wish::Tell(Call::Ack(position))).into_iter().collect())
    }

    /// Compiles what changed, as discovery does, and looks at the result.
    fn publish(&mut self, changed: BTreeSet<ServiceName>, around: &Around<'_>) -> Result<(), Violation> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if changed.is_empty() {
            return Ok(());
        }
        let (rule, fallbacks) = (StaleRule::default(), Fallbacks::new());
        let at = around.clock.instant(around.now);
        let updates = changed.iter().map(|n| update::of(n, &process.view, &fallbacks, &rule, at)).collect();
        let (table, _) = compile(&process.table, updates, &fixed(), &mut process.ids);
        let before = std::mem::replace(&mut process.table, table);
        for name in &changed {
            process.check_service(name, &before, around)?;
        }
        Ok(())
    }

    /// P1: at the same position the sets are the same.
    fn check(&self, around: &Around<'_>) -> Result<(), Violation> {
        let Some(Process { replica: Some(replica), view, number, .. }) = &self.process else { return Ok(()) };
        let at = replica.position();
        if let Some(digest) = around.history.digest_at(at).filter(|digest| *digest != replica.digest()) {
            let what = format!("at {at} a gateway has {}, the registry had {digest}", replica.digest());
            return Violation::of(Property::P1, what);
        }
        // Each in its own second.
        if (around.now.as_secs() + number * 7).is_multiple_of(97) {
            let instances = replica.instances();
            let set = SetDigest::of(instances.iter().map(|i| &**i));
            let vouched: BTreeMap<Key, _> = view
                .services()
                .flat_map(|(_, service)| service.instances.values())
                .filter(|seen| seen.hold.is_none())
                .map(|seen| (key_of(&seen.instance), &seen.instance))
                .collect();
            let same = instances.iter().all(|i| vouched.get(&key_of(i)).is_some_and(|other| *other == i));
            if set != replica.digest() || !same || vouched.len() != instances.len() {
                return Violation::of(Property::P1, format!("at {at} a gateway's view is not what it read"));
            }
        }
        Ok(())
    }
}

fn is_change(event: &Event) -> bool {
    matches!(event, Event::Changed { .. })
}

fn is_removal(event: &Event) -> bool {
    let Event::Changed { changes, .. } = event else { return false };
    changes.iter().all(|change| matches!(change, SetChange::Removed { .. }))
}
