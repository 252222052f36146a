//! A registry with the embedded store: the real store, acknowledgements and tokens behind a modelled wire.

use std::time::Duration;

use vertice_config::Secret;
use vertice_config::registry::{NamePattern, TokenConfig, TokenSecret, Verbs};
use vertice_registry::auth::{Auth, Principal, Verb};
use vertice_registry::store::acks::Acks;
use vertice_registry::store::{
    Change, Delta, Packed, Refusal, Registered, Registrant, SharedPhase, Store, StoreLimits,
};
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::heartbeat::UnknownLease;
use vertice_registry_api::register::{RegisterAnswer, Registration};
use vertice_registry_api::snapshot::Snapshot;
use vertice_registry_api::watch::{Change as WireChange, ChangeOp, WatchAnswer};
use vertice_registry_api::{Epoch, Position, Revision, SourceState};

use super::network::{Call, Peer, Reply};
use super::property::{Property, Sabotage, Violation};
use super::truth::{Key, Truth};

/// What one answer to a watch carries at most, as in the real one.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Steps of expiry in one slice.
const SLICE: usize = 1000;
/// The wall clock when a run begins.
pub const START_UNIX_MS: u64 = 1_790_000_000_000;
/// A principal's share, small enough to be used up.
pub const QUOTA: usize = 300;

/// A watch that waits.
#[derive(Clone, Copy, Debug)]
pub struct Poll {
    pub peer: Peer,
    pub id: u64,
    pub from: Position,
    pub state_before: SourceState,
    pub deadline: Duration,
}

/// What the disk has.
struct Image {
    position: Position,
    next_generation: u64,
    rows: Vec<(Option<u32>, Packed)>,
    digest: SetDigest,
}

/// How a registry comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It was told to stop and had time to write.
    Clean,
    /// Killed; the disk has what was there up to a second ago.
    Killed,
    /// Nothing is left.
    Empty,
}

/// A running process.
struct Live {
    store: Store,
    acks: Acks,
    polls: Vec<Poll>,
    started: Duration,
}

pub struct Registry {
    live: Option<Live>,
    image: Option<Image>,
    pub skew_ms: i64,
    pub paused_until: Duration,
    auth: Auth,
    pub truth: Truth,
    sabotage: Option<Sabotage>,
}

/// An answer on its way, and to whom.
pub type Out = (Peer, u64, Reply);

impl Registry {
    pub fn new(sabotage: Option<Sabotage>) -> Self {
        Self {
            live: None,
            image: None,
            skew_ms: 0,
            paused_until: Duration::ZERO,
            auth: tokens(),
            truth: Truth::default(),
            sabotage,
        }
    }

    pub fn is_up(&self) -> bool {
        self.live.is_some()
    }

    /// The wall clock of its machine.
    fn unix_ms(&self, now: Duration) -> u64 {
        (START_UNIX_MS + u64::try_from(now.as_millis()).unwrap()).saturating_add_signed(self.skew_ms)
    }

    /// A process starts.
    pub fn start(&mut self, how: Restart, now: Duration, rng: &mut fastrand::Rng) {
        let limits =
            StoreLimits { instances_per_principal: QUOTA, log_entries: 400, ..StoreLimits::default() };
        let epoch = Epoch(rng.u128(..));
        let first = self.unix_ms(now).saturating_mul(1000);
        let store = match self.image.take().filter(|_| how != Restart::Empty) {
            None => Store::new(limits, epoch, first, Duration::ZERO),
            Some(image) => {
                let keeps = how == Restart::Clean || self.sabotage == Some(Sabotage::KeepsEpoch);
                let position = if keeps { image.position } else { Position { epoch, revision: Revision(0) } };
                let next = image.next_generation.max(first);
                Store::restored(limits, position, next, image.rows, image.digest, Duration::ZERO)
            }
        };
        self.truth.began(&store, how);
        self.live = Some(Live { store, acks: Acks::default(), polls: Vec::new(), started: now });
    }

    /// It is gone; who waited hears of it.
    pub fn stop(&mut self, how: Restart) -> Vec<Out> {
        if how == Restart::Clean {
            self.write_disk();
        }
        let polls = self.live.take().map(|live| live.polls).unwrap_or_default();
        polls.into_iter().map(|poll| (poll.peer, poll.id, Reply::Refused)).collect()
    }

    fn write_disk(&mut self) {
        let Some(Live { store, .. }) = &self.live else { return };
        let rows = store.rows_with_handles();
        self.image = Some(Image {
            position: store.position(),
            next_generation: store.next_generation(),
            rows,
            digest: store.digest(),
        });
    }

    /// Time passes.
    pub fn tick(&mut self, now: Duration) -> Result<Vec<Out>, Violation> {
        let Some(Live { store, started, .. }) = &mut self.live else { return Ok(Vec::new()) };
        let at = now.saturating_sub(*started);
        self.truth.observe(at);
        let stuck = match self.sabotage {
            Some(Sabotage::NeverExpires) => store.state() != SourceState::Warming,
            _ => false,
        };
        if self.sabotage == Some(Sabotage::NeverEndsPreservation) && self.truth.preserves() {
            // As if it began again and again.
            for phase in [SharedPhase::Watching, SharedPhase::Preserving { age: Duration::ZERO }] {
                store.judge_shared(phase, &[], 0, at);
            }
        }
        while !stuck && store.advance(at, SLICE).more {}
        self.truth.record(store, now, None)?;
        if self.truth.is_new_second() {
            self.truth.check_leases(store)?;
            self.write_disk();
        }
        Ok(self.flush(now))
    }

    /// An operator ends preservation.
    pub fn release(&mut self) {
        if let Some(live) = &mut self.live {
            live.store.release();
        }
    }

    /// Takes a request in. What it is answered, and what others are told because of it.
    pub fn handle(
        &mut self,
        peer: Peer,
        process: u64,
        id: u64,
        call: Call,
        now: Duration,
        rng: &mut fastrand::Rng,
    ) -> Result<Vec<Out>, Violation> {
        let reply = self.answer(peer, process, id, call, now, rng)?;
        let mut out: Vec<Out> = reply.into_iter().map(|reply| (peer, id, reply)).collect();
        if let Some(live) = &self.live {
            self.truth.record(&live.store, now, Some(peer))?;
        }
        out.extend(self.flush(now));
        Ok(out)
    }

    fn answer(
        &mut self,
        peer: Peer,
        process: u64,
        id: u64,
        call: Call,
        now: Duration,
        rng: &mut fastrand::Rng,
    ) -> Result<Option<Reply>, Violation> {
        let unix_ms = self.unix_ms(now);
        let Some(live) = &mut self.live else { return Ok(Some(Reply::Refused)) };
        let at = now.saturating_sub(live.started);
        self.truth.observe(at);
        let token: &[u8] = if peer == Peer::Rogue { b"rogue" } else { b"fleet" };
        let principal = self.auth.admit(Some(token), Verb::Register).unwrap();
        let ignores_tokens = self.sabotage == Some(Sabotage::IgnoresTokens);
        let may = |service: &str| ignores_tokens || principal.may(service);
        let any = self.sabotage == Some(Sabotage::AcceptsOldGenerations);
        let named = |generation: u64| Some(generation).filter(|_| !any);
        let store = &mut live.store;
        Ok(Some(match call {
            Call::Put(wanted) if !may(wanted.service.as_str()) => written(403),
            Call::Put(wanted) => put(store, &mut self.truth, *wanted, principal, at, unix_ms, rng)?,
            Call::Beat { service, .. } | Call::Patch { service, .. } | Call::Delete { service, .. }
                if !may(&service) =>
            {
                written(403)
            }
            Call::Beat { service, id, generation } => {
                let forgets = self.sabotage == Some(Sabotage::ForgetsBeats);
                let before = Truth::held(store, &service, &id);
                let beaten = if forgets && before == Some(generation) {
                    Ok(())
                } else {
                    store.beat(&service, &id, named(generation), at).map(|_| ())
                };
                Truth::judge(before, generation, beaten.is_ok(), "a heartbeat")?;
                if beaten.is_ok() {
                    self.truth.beat(&service, &id);
                }
                answered(beaten, rng)
            }
            Call::Patch { service, id, generation, patch } => {
                let before = Truth::held(store, &service, &id);
                let patched = store.patch(&service, &id, named(generation), &patch, at).map(|_| ());
                Truth::judge(before, generation, patched.is_ok(), "a change")?;
                match patched {
                    Ok(()) => Reply::Written(200, serde_json::to_vec(&store.position()).unwrap()),
                    refused => answered(refused, rng),
                }
            }
            Call::Delete { service, id, generation } => {
                let before = Truth::held(store, &service, &id);
                let removed = store.deregister(&service, &id, named(generation), at);
                Truth::judge(before, generation, removed == Ok(true), "a goodbye")?;
                answered(removed.map(|_| ()), rng)
            }
            Call::Snapshot => Reply::Snapshot(Box::new(Snapshot {
                position: store.position(),
                state: store.state(),
                instances: store.instances(),
                digest: store.digest(),
            })),
            Call::Watch { from, wait } => {
                let state_before = store.state();
                if store.since(from, 1).is_none() {
                    return Ok(Some(Reply::Gone));
                }
                live.polls.push(Poll { peer, id, from, state_before, deadline: now + wait });
                return Ok(None);
            }
            Call::Ack(applied) => {
                let current = store.position();
                let known = applied.epoch == current.epoch && applied.revision <= current.revision;
                if let (true, Peer::Gateway(gateway)) = (known, peer) {
                    live.acks.ack(&format!("gateway-{gateway}"), applied.revision, current, at);
                    self.truth.acked(gateway, process, applied.revision);
                }
                written(if known { 200 } else { 410 })
            }
            Call::Barrier(said) if said.epoch != store.position().epoch => written(410),
            Call::Barrier(Position { revision, .. }) => {
                let current = store.position();
                if revision > current.revision {
                    return Ok(Some(written(422)));
                }
                let answer = live.acks.judge(revision, current, at);
                Reply::Barrier(answer, current.epoch, self.truth.applied(revision))
            }
        }))
    }

    /// Answers the watches that have something to hear.
    fn flush(&mut self, now: Duration) -> Vec<Out> {
        let Some(live) = &mut self.live else { return Vec::new() };
        let mut out = Vec::new();
        flush(&live.store, &mut live.polls, now, self.sabotage, &mut out);
        out
    }
}

/// The tokens of the fleet, and of somebody with other intentions.
pub fn tokens() -> Auth {
    let token = |name: &str, prefix: &str| TokenConfig {
        name: name.into(),
        secret: TokenSecret::Plain(Secret::new(name)),
        names: vec![NamePattern::Prefix(prefix.into())],
        verbs: Verbs { register: true, read: true, admin: false },
    };
    Auth::tokens(vec![token("fleet", "service-"), token("rogue", "rogue-")])
}

/// Answers the watches that have something to hear of `store`.
pub fn flush(
    store: &Store,
    polls: &mut Vec<Poll>,
    now: Duration,
    sabotage: Option<Sabotage>,
    out: &mut Vec<Out>,
) {
    let (position, state) = (store.position(), store.state());
    let before = out.len();
    polls.retain(|poll| {
        let news = position != poll.from || state != poll.state_before;
        let reply = if news {
            store
                .since(poll.from, ANSWER_BYTES)
                .map_or(Reply::Gone, |delta| Reply::Changes(Box::new(wire(&delta, poll.from.epoch, state))))
        } else if now >= poll.deadline {
            Reply::Quiet(state)
        } else {
            return true;
        };
        out.push((poll.peer, poll.id, reply));
        false
    });
    if sabotage == Some(Sabotage::LosesChange) {
        for (_, _, reply) in &mut out[before..] {
            lose_change(reply);
        }
    }
}

/// The last change is done twice instead of what it was, and the digest is that of the result.
fn lose_change(reply: &mut Reply) {
    let Reply::Changes(answer) = reply else { return };
    if let [WireChange { op: ChangeOp::Upsert { instance }, .. }] = answer.changes.as_mut_slice() {
        answer.digest.remove(instance);
        instance.weight += 1;
        answer.digest.add(instance);
    }
}

fn put(
    store: &mut Store,
    truth: &mut Truth,
    wanted: Registration,
    principal: Principal<'_>,
    at: Duration,
    unix_ms: u64,
    rng: &mut fastrand::Rng,
) -> Result<Reply, Violation> {
    let key = (wanted.service.clone(), wanted.instance_id.clone());
    let by = Registrant { name: principal.name, limited: principal.is_one_of_many() };
    let registered = match store.register(wanted, by, at, unix_ms) {
        Ok(registered) => registered,
        Err(Refusal::Full { what, limit }) if principal.name != "rogue" => {
            return Violation::of(Property::P7, format!("{key:?} is refused: {limit} {what}"));
        }
        Err(refusal) => return Ok(answered(Err(refusal), rng)),
    };
    truth.granted(&key, registered.generation, registered.ttl_s);
    Ok(granted(key, registered, store.position()))
}

/// The answer to who registered.
pub fn granted(key: Key, registered: Registered, at: Position) -> Reply {
    let answer = RegisterAnswer {
        message: String::new(),
        service_name: key.0,
        instance_id: key.1,
        generation: registered.generation,
        handle: registered.handle,
        ttl: registered.ttl_s,
        heartbeat_interval: (registered.ttl_s / 3).max(1),
        epoch: at.epoch,
        revision: at.revision,
        rejects: Vec::new(),
    };
    Reply::Written(if registered.created { 201 } else { 200 }, serde_json::to_vec(&answer).unwrap())
}

pub fn written(status: u16) -> Reply {
    Reply::Written(status, b"{}".to_vec())
}

pub fn answered(done: Result<(), Refusal>, rng: &mut fastrand::Rng) -> Reply {
    match done {
        Ok(()) => written(200),
        Err(Refusal::Unknown) => {
            let unknown = UnknownLease { detail: String::new(), retry_after_ms: rng.u64(50..1000) };
            Reply::Written(404, serde_json::to_vec(&unknown).unwrap())
        }
        Err(Refusal::OldGeneration | Refusal::OlderIncarnation { .. }) => written(409),
        Err(Refusal::Flapping { .. } | Refusal::Full { .. }) => written(429),
    }
}

/// A delta as it goes over the wire.
fn wire(delta: &Delta, epoch: Epoch, state: SourceState) -> WatchAnswer {
    let op = |change: &Change| match change {
        Change::Upsert(instance) => ChangeOp::Upsert { instance: Box::new((**instance).clone()) },
        Change::Remove { service, instance_id, generation, reason } => ChangeOp::Remove {
            service: service.clone(),
            instance_id: instance_id.clone(),
            generation: *generation,
            reason: *reason,
        },
    };
    let changes = delta.changes.iter().zip(delta.from.0 + 1..);
    let changes =
        changes.map(|(c, revision)| WireChange { revision: Revision(revision), op: op(c) }).collect();
    WatchAnswer { epoch, from: delta.from, to: delta.to, changes, digest: delta.digest, state }
}
