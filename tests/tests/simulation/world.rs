//! One run: a registry, its sidecars and gateways, a queue of what happens, and one random generator for all of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::Epoch;

use super::gateway::{Around, Gateway, Services, Wish as GatewayWish};
use super::network::{Call, Network, Peer, Reply};
use super::options::{Options, Story, Summary};
use super::property::{Failure, Property, Sabotage, Violation};
use super::queue::Queue;
use super::registry::{Registry, Restart};
use super::replicas::{Replicas, Turn, play};
use super::sidecar::{Clock, Sidecar, Wish as SidecarWish};
use super::truth::Key;

pub const SIDECARS: usize = 200;
pub const GATEWAYS: usize = 20;
/// Events that a failure shows.
pub const TRACE: usize = 40;

#[derive(Debug)]
pub enum Event {
    Tick,
    Pulse(usize),
    WakeSidecar {
        sidecar: usize,
        timer: u64,
    },
    WakeGateway {
        gateway: usize,
        timer: u64,
    },
    /// `at`: the replica, where there are several.
    Arrives {
        at: usize,
        peer: Peer,
        process: u64,
        id: u64,
        call: Call,
    },
    /// A replica has done what it was asked.
    Told {
        replica: usize,
        peer: Peer,
        id: u64,
        reply: Reply,
    },
    Answers {
        peer: Peer,
        id: u64,
        reply: Reply,
    },
    Silence {
        peer: Peer,
        id: u64,
    },
    StartSidecar(usize),
    StartGateway(usize),
    StartRegistry(Restart),
    StartReplica(usize),
    Redis(Turn),
    /// Those with these numbers fall silent.
    FallSilent(std::ops::Range<usize>),
    Fault,
    Calm,
}

/// An instance that no request may reach any more.
pub struct Promise {
    epoch: Epoch,
    generation: u64,
    gateways: BTreeSet<(usize, u64)>,
}

pub struct World {
    options: Options,
    pub rng: fastrand::Rng,
    pub now: Duration,
    clock: Clock,
    pub queue: Queue<Event>,
    pub network: Network,
    pub registry: Registry,
    /// Instead of `registry`.
    pub fleet: Option<Replicas>,
    /// Which replica who asks, if it is not the one of its number.
    pub homes: BTreeMap<Peer, usize>,
    /// Replicas that reach no client until then.
    pub isolated: BTreeMap<usize, Duration>,
    pub sidecars: Vec<Sidecar>,
    pub gateways: Vec<Gateway>,
    pub promises: BTreeMap<Key, Promise>,
    requests: u64,
    pub trace: VecDeque<(Duration, String)>,
    faults: VecDeque<(Duration, String)>,
    pub summary: Summary,
    /// Since when preservation is on, and whether somebody has ended it.
    preserving: Option<(Duration, bool)>,
}

struct Fleet<'a>(&'a [Sidecar]);

impl Services for Fleet<'_> {
    fn serves(&self, key: &Key) -> bool {
        find(self.0, key).is_some_and(Sidecar::serves)
    }

    fn wants_requests_since(&self, key: &Key) -> Option<Duration> {
        find(self.0, key)?.wants_requests_since()
    }
}

fn find<'a>(sidecars: &'a [Sidecar], key: &Key) -> Option<&'a Sidecar> {
    let number: usize = key.1.as_str().get(5..8)?.parse().ok()?;
    sidecars.get(number).filter(|sidecar| sidecar.key() == *key)
}

/// Runs it. An error is a property that does not hold.
pub fn run(options: Options) -> Result<Summary, Box<Failure>> {
    if options.replicas {
        return play(options);
    }
    let mut world = World::new(options, None);
    while let Some(due) = world.due().filter(|_| world.goes_on()) {
        world.next(due)?;
    }
    Ok(world.over())
}

impl World {
    pub fn new(options: Options, fleet: Option<Replicas>) -> Self {
        let mut world = Self {
            options,
            rng: fastrand::Rng::with_seed(options.seed),
            now: Duration::ZERO,
            clock: Clock(Instant::now()),
            queue: Queue::new(),
            network: Network::new(),
            registry: Registry::new(options.sabotage),
            fleet,
            homes: BTreeMap::new(),
            isolated: BTreeMap::new(),
            sidecars: (0..SIDECARS).map(Sidecar::new).collect(),
            gateways: (0..GATEWAYS).map(|_| Gateway::default()).collect(),
            promises: BTreeMap::new(),
            requests: 0,
            trace: VecDeque::new(),
            faults: VecDeque::new(),
            summary: Summary::default(),
            preserving: None,
        };
        world.later(0, Event::StartRegistry(Restart::Empty));
        world.later(0, Event::Tick);
        for sidecar in 0..SIDECARS {
            let ms = world.rng.u64(0..20_000);
            world.later(ms, Event::StartSidecar(sidecar));
        }
        for gateway in 0..GATEWAYS {
            let ms = world.rng.u64(0..20_000);
            world.later(ms, Event::StartGateway(gateway));
            world.later(ms, Event::Pulse(gateway));
        }
        world.later(100_000, Event::Fault);
        if options.story != Story::Anything {
            world.later(150_000, Event::FallSilent(0..SIDECARS * 2 / 5));
        }
        if options.story == Story::Silence {
            world.later(650_000, Event::FallSilent(SIDECARS * 2 / 5..SIDECARS * 4 / 5));
        }
        world
    }

    pub fn goes_on(&self) -> bool {
        self.summary.steps < self.options.steps
    }

    /// When the next event is.
    pub fn due(&self) -> Option<Duration> {
        self.queue.due()
    }

    /// The next event, at `now`.
    pub fn next(&mut self, now: Duration) -> Result<(), Box<Failure>> {
        match self.queue.next() {
            Some((_, event)) => self.turn(now, event),
            None => Ok(()),
        }
    }

    /// One event.
    pub fn turn(&mut self, now: Duration, event: Event) -> Result<(), Box<Failure>> {
        self.now = now;
        self.summary.steps += 1;
        self.note(&event);
        let done = self.step(event);
        self.judge(done)
    }

    /// A failure, if `done` is one that is looked for.
    pub fn judge(&mut self, done: Result<(), Violation>) -> Result<(), Box<Failure>> {
        let Err(violation) = done else { return Ok(()) };
        if self.options.only.is_some_and(|only| only != violation.property) {
            return Ok(());
        }
        let trace = self.trace();
        let step = self.summary.steps.saturating_sub(1);
        let (seed, replicas) = (self.options.seed, self.options.replicas);
        Err(Box::new(Failure { seed, replicas, step, violation, trace }))
    }

    /// What it was like.
    pub fn over(mut self) -> Summary {
        self.summary.seconds = self.now.as_secs();
        self.summary
    }

    /// Whether somebody may end preservation, by word or by a restart.
    pub fn story(&self) -> Story {
        self.options.story
    }

    pub fn sabotage(&self) -> Option<Sabotage> {
        self.options.sabotage
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    pub fn later(&mut self, ms: u64, event: Event) {
        self.queue.at(self.now + Duration::from_millis(ms), event);
    }

    /// Something goes wrong.
    pub fn say(&mut self, line: String) {
        if self.faults.len() == TRACE {
            self.faults.pop_front();
        }
        self.faults.push_back((self.now, line));
    }

    /// The last of what went wrong and of what was said, in the order of their times.
    fn trace(&mut self) -> Vec<String> {
        let mut all: Vec<(Duration, String)> = self.faults.drain(..).chain(self.trace.drain(..)).collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(at, line)| format!("{:>10.3} s  {line}", at.as_secs_f64())).collect()
    }

    pub fn with_gateway<T>(
        &mut self,
        gateway: usize,
        work: impl FnOnce(&mut Gateway, &Around<'_>) -> Result<T, Violation>,
    ) -> Result<T, Violation> {
        let shared = self.fleet.as_ref().map(|fleet| fleet.shared.lock().unwrap());
        let around = Around {
            now: self.now,
            clock: self.clock,
            history: shared.as_ref().map_or(&self.registry.truth.history, |shared| &shared.history),
            services: &Fleet(&self.sidecars),
            sabotage: self.options.sabotage,
        };
        work(&mut self.gateways[gateway], &around)
    }

    /// Sends a request; its number.
    pub fn send(&mut self, peer: Peer, process: u64, call: &Call) -> u64 {
        self.requests += 1;
        let id = self.requests;
        let at = self.home(peer, false);
        let up = self.fleet.as_ref().map_or(self.registry.is_up(), |fleet| fleet.is_up(at));
        if !up {
            self.home(peer, true);
            self.later(1, Event::Answers { peer, id, reply: Reply::Refused });
            return id;
        }
        if self.is_isolated(at) {
            return id;
        }
        for time in self.network.arrivals(peer, false, self.now, &mut self.rng) {
            self.queue.at(time, Event::Arrives { at, peer, process, id, call: call.clone() });
        }
        id
    }

    fn is_isolated(&self, replica: usize) -> bool {
        self.fleet.is_some() && self.isolated.get(&replica).is_some_and(|until| self.now < *until)
    }

    pub fn stands_still_until(&self, replica: usize) -> Duration {
        match &self.fleet {
            Some(fleet) => self.now + fleet.replicas[replica].pause.left(),
            None => self.registry.paused_until,
        }
    }

    pub fn answer(&mut self, out: Vec<(Peer, u64, Reply)>) {
        for (peer, id, reply) in out {
            let at = self.home(peer, false);
            if self.is_isolated(at) {
                continue;
            }
            for at in self.network.arrivals(peer, true, self.now, &mut self.rng) {
                self.queue.at(at, Event::Answers { peer, id, reply: reply.clone() });
            }
        }
    }

    pub fn do_sidecar(&mut self, sidecar: usize, wishes: Vec<SidecarWish>) -> Result<(), Violation> {
        for wish in wishes {
            match wish {
                SidecarWish::Send(call, limit) => {
                    let peer = Peer::Sidecar(sidecar);
                    let id = self.send(peer, 0, &call);
                    self.sidecars[sidecar].sent(id);
                    self.queue.at(self.now + limit, Event::Silence { peer, id });
                }
                SidecarWish::Wake(at) => {
                    self.sidecars[sidecar].timer += 1;
                    let timer = self.sidecars[sidecar].timer;
                    self.queue.at(at.max(self.now), Event::WakeSidecar { sidecar, timer });
                }
                SidecarWish::Promise { generation, epoch, gateways } => {
                    self.summary.promises += 1;
                    let key = self.sidecars[sidecar].key();
                    let counted: Vec<usize> = gateways.iter().map(|(gateway, _)| *gateway).collect();
                    self.promises.insert(key, Promise { epoch, generation, gateways });
                    for gateway in counted {
                        self.check_promises(gateway)?;
                    }
                }
                SidecarWish::Ended => {
                    let ms = self.rng.u64(5_000..120_000);
                    self.later(ms, Event::StartSidecar(sidecar));
                }
            }
        }
        Ok(())
    }

    pub fn do_gateway(&mut self, gateway: usize, wishes: Vec<GatewayWish>) {
        let process = self.gateways[gateway].process();
        for wish in wishes {
            match wish {
                GatewayWish::Send(call, limit) => {
                    let peer = Peer::Gateway(gateway);
                    let id = self.send(peer, process, &call);
                    self.gateways[gateway].sent(id);
                    self.queue.at(self.now + limit, Event::Silence { peer, id });
                }
                GatewayWish::Tell(call) => _ = self.send(Peer::Gateway(gateway), process, &call),
                GatewayWish::Wake(at) => {
                    self.gateways[gateway].timer += 1;
                    let timer = self.gateways[gateway].timer;
                    self.queue.at(at, Event::WakeGateway { gateway, timer });
                }
            }
        }
    }

    /// P4: a gateway that the barrier counted chooses nobody whom it was asked about.
    pub fn check_promises(&mut self, gateway: usize) -> Result<(), Violation> {
        // Another epoch may not know of the goodbye.
        if self.fleet.is_none() {
            let epoch = self.registry.truth.epoch();
            self.promises.retain(|_, promise| Some(promise.epoch) == epoch);
        }
        let me = (gateway, self.gateways[gateway].process());
        let epoch = self.gateways[gateway].epoch();
        let mine = |promise: &Promise| promise.gateways.contains(&me) && Some(promise.epoch) == epoch;
        for (key, promise) in self.promises.iter().filter(|(_, promise)| mine(promise)) {
            if self.gateways[gateway].may_choose(key) {
                let what = format!(
                    "gateway {gateway} may choose {key:?} of generation {}, whose barrier said that all have applied",
                    promise.generation
                );
                return Violation::of(Property::P4, what);
            }
        }
        Ok(())
    }

    /// Counts preservations, for the summary.
    pub fn see_preservation(&mut self) {
        let preserves = match &self.fleet {
            Some(fleet) => fleet.cluster.preserving(),
            None => self.registry.truth.preserves(),
        };
        match (preserves, self.preserving) {
            (true, None) => {
                self.summary.preservations += 1;
                self.preserving = Some((self.now, false));
            }
            (false, Some((since, ended))) => {
                if !ended {
                    self.summary.ended += 1;
                    self.summary.longest_s = self.summary.longest_s.max((self.now - since).as_secs());
                }
                self.preserving = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Somebody is about to end preservation, if there is one.
    pub fn ends_preservation(&mut self) {
        if let Some((_, ended)) = &mut self.preserving {
            *ended = true;
        }
    }
}
