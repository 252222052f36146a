//! The replicas: each a store in memory and the real `RedisStore` with its tasks, behind the modelled wire to clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use vertice_process::shutdown::ShutdownTrigger;
use vertice_registry::auth::{Auth, Verb};
use vertice_registry::redis::{Memory, RedisSettings, RedisStore, StoreAddress};
use vertice_registry::store::acks::Acks;
use vertice_registry::store::{Refusal, Registrant, Store, StoreLimits};
use vertice_registry_api::Epoch;
use vertice_registry_api::snapshot::Snapshot;

use super::super::history::History;
use super::super::network::{Call, Peer, Reply};
use super::super::property::{Property, Sabotage, Violation};
use super::super::registry::{self, Out, Poll, QUOTA, START_UNIX_MS, answered, written};
use super::super::truth::Truth;
use super::cluster::Cluster;
use super::executor::{Executor, Pause};
use super::line::{Line, Lines};
use super::shared::{Outside, Shared};

pub const REPLICAS: usize = 3;
const ADDRESS: &str = "redis+sentinel://sentinel:26379/main";

/// The memory of one process.
struct Kept {
    store: Mutex<Store>,
    started: Instant,
    began: Instant,
    replica: usize,
    process: u64,
    skew_ms: Arc<Mutex<i64>>,
    shared: Arc<Mutex<Shared>>,
    /// Watchers may have something to hear.
    touched: AtomicBool,
}

impl Memory for Kept {
    fn with(&self, work: &mut dyn FnMut(&mut Store, Duration)) {
        let mut store = self.store.lock().unwrap();
        work(&mut store, self.started.elapsed());
        self.touched.store(true, Ordering::Relaxed);
        self.shared.lock().unwrap().record(self.replica, self.process, &store, self.began.elapsed());
    }

    fn unix_ms(&self) -> u64 {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        (START_UNIX_MS + since).saturating_add_signed(*self.skew_ms.lock().unwrap())
    }
}

/// A running process.
struct Process {
    memory: Arc<Kept>,
    redis: RedisStore,
    tasks: Vec<u64>,
    acks: Acks,
    polls: Vec<Poll>,
    /// Its end is the end of all that it does.
    _trigger: ShutdownTrigger,
}

pub struct Replica {
    process: Option<Process>,
    processes: u64,
    pub pause: Pause,
    pub skew_ms: Arc<Mutex<i64>>,
}

/// An answer of a task.
type Told = (usize, Peer, u64, Reply);

#[allow(clippy::struct_field_names, reason = "it is what they are")]
pub struct Replicas {
    pub replicas: Vec<Replica>,
    pub cluster: Arc<Cluster>,
    pub shared: Arc<Mutex<Shared>>,
    pub executor: Executor,
    pub began: Instant,
    told: Arc<Mutex<Vec<Told>>>,
    auth: Auth,
    sabotage: Option<Sabotage>,
    second: u64,
}

impl Replicas {
    /// `whole`: nothing is made smaller than it is, and all that is asked of Redis is written down.
    pub fn new(seed: u64, sabotage: Option<Sabotage>, whole: bool) -> Self {
        let mut known = Shared::default();
        known.history = History::of_replicas();
        let shared = Arc::new(Mutex::new(known));
        let replica =
            || Replica { process: None, processes: 0, pause: Pause::new(), skew_ms: Arc::default() };
        let mut fleet = Self {
            replicas: (0..REPLICAS).map(|_| replica()).collect(),
            cluster: Arc::new(Cluster::new(seed, shared.clone(), sabotage, whole)),
            shared,
            executor: Executor::default(),
            began: Instant::now(),
            told: Arc::default(),
            auth: registry::tokens(),
            sabotage,
            second: 0,
        };
        for number in 0..REPLICAS {
            fleet.start(number);
        }
        fleet
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn is_up(&self, number: usize) -> bool {
        self.replicas[number].process.is_some()
    }

    /// A process begins: it knows nothing.
    pub fn start(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        if replica.process.is_some() {
            return;
        }
        replica.processes += 1;
        let process = replica.processes;
        self.shared.lock().unwrap().began(number, process);
        let limits =
            StoreLimits { instances_per_principal: QUOTA, log_entries: 400, ..StoreLimits::default() };
        let store = Store::new(limits, Epoch(fastrand::u128(..)), 1, Duration::ZERO);
        let memory = Arc::new(Kept {
            store: Mutex::new(store),
            started: Instant::now(),
            began: self.began,
            replica: number,
            process,
            skew_ms: replica.skew_ms.clone(),
            shared: self.shared.clone(),
            touched: AtomicBool::new(false),
        });
        let address = StoreAddress::parse(ADDRESS).unwrap();
        let settings = RedisSettings { address, legacy: false, grace: RedisSettings::GRACE };
        let line = Line { replica: number, cluster: self.cluster.clone(), executor: self.executor.clone() };
        let redis = RedisStore::over(Arc::new(Lines(Arc::new(line))), settings);
        let trigger = ShutdownTrigger::new();
        let duties = redis.duties(memory.clone(), &trigger.handle());
        let tasks =
            duties.into_iter().map(|(_, duty)| self.executor.spawn(replica.pause.over(duty))).collect();
        let (acks, polls) = (Acks::default(), Vec::new());
        replica.process = Some(Process { memory, redis, tasks, acks, polls, _trigger: trigger });
    }

    /// It is gone without a word; who waited hears of it.
    pub fn crash(&mut self, number: usize) -> Vec<Out> {
        let Some(process) = self.replicas[number].process.take() else { return Vec::new() };
        for task in process.tasks {
            self.executor.abort(task);
        }
        self.replicas[number].pause.until(Instant::now());
        process.polls.into_iter().map(|poll| (poll.peer, poll.id, Reply::Refused)).collect()
    }

    /// What became of writes.
    pub fn told(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// What does not hold.
    pub fn violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.shared.lock().unwrap().violations)
    }

    /// Every tick: what is so now, and who has waited long enough.
    pub fn tick(&mut self, now: Duration) -> Result<Vec<Out>, Violation> {
        if now.as_secs() > self.second {
            self.second = now.as_secs();
            self.cluster.copy(self.second);
            let ways = self.cluster.state().ways.clone();
            let reaches = |number: &usize| {
                let at = Instant::now();
                let open = ways.get(number).is_none_or(|way| way.there_until <= at && way.back_until <= at);
                let replica = &self.replicas[*number];
                open && replica.process.is_some() && !replica.pause.holds()
            };
            let outside = Outside {
                answers: self.cluster.answers(),
                epoch: self.cluster.epoch(),
                preserving: self.cluster.preserving(),
                reach: (0..REPLICAS).filter(reaches).collect(),
            };
            self.shared.lock().unwrap().pass(now, &outside);
            for (number, replica) in self.replicas.iter().enumerate() {
                let Some(process) = replica.process.as_ref().filter(|_| !replica.pause.holds()) else {
                    continue;
                };
                let store = process.memory.store.lock().unwrap();
                self.shared.lock().unwrap().check_leases(number, &store)?;
            }
        }
        Ok(self.flush(now, true))
    }

    /// An operator ends preservation, at any replica.
    pub fn release(&self, number: usize) {
        let Some(process) = &self.replicas[number].process else { return };
        let (redis, memory) = (process.redis.clone(), process.memory.clone());
        self.executor.spawn(self.replicas[number].pause.over(async move {
            redis.release(&*memory).await;
        }));
    }

    /// Takes a request in; an answer if there is one at once.
    pub fn handle(
        &mut self,
        number: usize,
        peer: Peer,
        process: u64,
        id: u64,
        call: Call,
        now: Duration,
    ) -> Vec<Out> {
        let reply = self.answer(number, peer, process, id, call, now);
        let mut out: Vec<Out> = reply.into_iter().map(|reply| (peer, id, reply)).collect();
        out.extend(self.flush(now, false));
        out
    }

    fn answer(
        &mut self,
        number: usize,
        peer: Peer,
        gateway: u64,
        id: u64,
        call: Call,
        now: Duration,
    ) -> Option<Reply> {
        let Some(live) = &mut self.replicas[number].process else { return Some(Reply::Refused) };
        let store = live.memory.store.lock().unwrap();
        let at = live.memory.started.elapsed();
        let current = store.position();
        match call {
            Call::Snapshot => Some(Reply::Snapshot(Box::new(Snapshot {
                position: current,
                state: store.state(),
                instances: store.instances(),
                digest: store.digest(),
            }))),
            Call::Watch { from, wait } => {
                if store.since(from, 1).is_none() {
                    return Some(Reply::Gone);
                }
                let state_before = store.state();
                live.polls.push(Poll { peer, id, from, state_before, deadline: now + wait });
                None
            }
            Call::Ack(applied) => {
                let known = applied.epoch == current.epoch && applied.revision <= current.revision;
                if let (true, Peer::Gateway(name)) = (known, peer) {
                    live.acks.ack(&format!("gateway-{name}"), applied.revision, current, at);
                    self.shared.lock().unwrap().acked(number, name, gateway, applied);
                }
                Some(written(if known { 200 } else { 410 }))
            }
            Call::Barrier(said) if said.epoch != current.epoch => Some(written(410)),
            Call::Barrier(said) if said.revision > current.revision => Some(written(422)),
            Call::Barrier(said) => {
                let answer = live.acks.judge(said.revision, current, at);
                let applied = self.shared.lock().unwrap().applied(number, said);
                Some(Reply::Barrier(answer, current.epoch, applied))
            }
            write => {
                drop(store);
                self.write(number, peer, id, write)
            }
        }
    }

    fn write(&mut self, number: usize, peer: Peer, id: u64, call: Call) -> Option<Reply> {
        let token: &[u8] = if peer == Peer::Rogue { b"rogue" } else { b"fleet" };
        let name = if peer == Peer::Rogue { "rogue" } else { "fleet" };
        let service = match &call {
            Call::Put(wanted) => wanted.service.as_str(),
            Call::Beat { service, .. } | Call::Patch { service, .. } | Call::Delete { service, .. } => {
                service
            }
            _ => return None,
        };
        let principal = self.auth.admit(Some(token), Verb::Register).unwrap();
        if self.sabotage != Some(Sabotage::IgnoresTokens) && !principal.may(service) {
            return Some(written(403));
        }
        let replica = &mut self.replicas[number];
        let live = replica.process.as_mut()?;
        let write = Write {
            memory: live.memory.clone(),
            redis: live.redis.clone(),
            by: name,
            sabotage: self.sabotage,
        };
        let told = self.told.clone();
        let task = self.executor.spawn(replica.pause.over(async move {
            let reply = write.done(call).await;
            told.lock().unwrap().push((number, peer, id, reply));
        }));
        live.tasks.push(task);
        if live.tasks.len() > 2000 {
            live.tasks.drain(5..1000);
        }
        None
    }

    /// Answers the watches that have something to hear; `all`: also those whose time is over.
    pub fn flush(&mut self, now: Duration, all: bool) -> Vec<Out> {
        let mut out = Vec::new();
        for replica in self.replicas.iter_mut().filter(|replica| !replica.pause.holds()) {
            let Some(live) = &mut replica.process else { continue };
            if live.memory.touched.swap(false, Ordering::Relaxed) || all {
                let store = live.memory.store.lock().unwrap();
                registry::flush(&store, &mut live.polls, now, self.sabotage, &mut out);
            }
        }
        out
    }
}

/// One write on its way through a replica.
struct Write {
    memory: Arc<Kept>,
    redis: RedisStore,
    by: &'static str,
    sabotage: Option<Sabotage>,
}

impl Write {
    fn held(&self, service: &str, id: &str) -> (Option<u64>, Epoch) {
        let store = self.memory.store.lock().unwrap();
        (Truth::held(&store, service, id), store.position().epoch)
    }

    /// P5: what an old holder said changed nothing, in the history in which it was said.
    fn judge(
        &self,
        service: &str,
        id: &str,
        before: (Option<u64>, Epoch),
        named: u64,
        done: bool,
        what: &str,
    ) {
        if self.held(service, id).1 == before.1 {
            let judged = Truth::judge(before.0, named, done, what);
            self.memory.shared.lock().unwrap().violations.extend(judged.err());
        }
    }

    async fn done(self, call: Call) -> Reply {
        let (memory, redis) = (&*self.memory, &self.redis);
        let any = self.sabotage == Some(Sabotage::AcceptsOldGenerations);
        let named = |generation: u64| Some(generation).filter(|_| !any);
        match call {
            Call::Put(wanted) => {
                let by = Registrant { name: self.by, limited: true };
                let key = (wanted.service.clone(), wanted.instance_id.clone());
                match redis.register(memory, &wanted, by, memory.unix_ms()).await {
                    Ok((registered, position)) => {
                        let (replica, process) = (memory.replica, memory.process);
                        let mut shared = memory.shared.lock().unwrap();
                        shared.heard(replica, process, &key, registered.generation);
                        registry::granted(key, registered, position)
                    }
                    Err(Refusal::Full { what, limit }) if self.by != "rogue" => {
                        let what = format!("{key:?} is refused: {limit} {what}");
                        let violation = Violation { property: Property::P7, what };
                        memory.shared.lock().unwrap().violations.push(violation);
                        written(429)
                    }
                    Err(refusal) => answered(Err(refusal), &mut fastrand::Rng::with_seed(1)),
                }
            }
            Call::Beat { service, id, generation } => {
                let before = self.held(&service, &id);
                let forgets = self.sabotage == Some(Sabotage::ForgetsBeats) && before.0 == Some(generation);
                let beaten = if forgets {
                    Ok(())
                } else {
                    redis.beat(memory, &service, &id, named(generation)).await.map(|_| ())
                };
                self.judge(&service, &id, before, generation, beaten.is_ok(), "a heartbeat");
                if let (Ok(()), Some(key)) = (&beaten, super::super::truth::parse(&service, &id)) {
                    memory.shared.lock().unwrap().heard(memory.replica, memory.process, &key, generation);
                }
                answered(beaten, &mut fastrand::Rng::with_seed(generation))
            }
            Call::Patch { service, id, generation, patch } => {
                let before = self.held(&service, &id);
                let patched = redis.patch(memory, &service, &id, named(generation), &patch).await;
                self.judge(&service, &id, before, generation, patched.is_ok(), "a change");
                match patched {
                    Ok((_, position)) => Reply::Written(200, serde_json::to_vec(&position).unwrap()),
                    Err(refusal) => answered(Err(refusal), &mut fastrand::Rng::with_seed(generation)),
                }
            }
            Call::Delete { service, id, generation } => {
                let before = self.held(&service, &id);
                let removed = redis.deregister(memory, &service, &id, named(generation)).await;
                let gone = removed.as_ref().is_ok_and(|(gone, _)| *gone);
                self.judge(&service, &id, before, generation, gone, "a goodbye");
                answered(removed.map(|_| ()), &mut fastrand::Rng::with_seed(generation))
            }
            _ => Reply::Refused,
        }
    }
}
