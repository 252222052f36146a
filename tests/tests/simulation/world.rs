//! One run: a registry, its sidecars and gateways, a queue of what happens, and one random generator for all of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use vertice_registry::store::TICK;
use vertice_registry_api::Epoch;

use super::gateway::{Around, Gateway, Services, Wish as GatewayWish};
use super::network::{Call, Network, Peer, Reply};
use super::property::{Failure, Property, Sabotage, Violation};
use super::queue::Queue;
use super::registry::{Registry, Restart};
use super::sidecar::{Clock, Sidecar, Wish as SidecarWish};
use super::truth::Key;

pub const SIDECARS: usize = 200;
pub const GATEWAYS: usize = 20;
/// Events that a failure shows.
const TRACE: usize = 40;

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    /// Events after which it is over.
    pub steps: u64,
    pub sabotage: Option<Sabotage>,
    /// Look at this property only.
    pub only: Option<Property>,
}

/// What a run that found nothing was like; a run in which little happened proves little.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub steps: u64,
    pub seconds: u64,
    pub faults: u64,
    pub promises: u64,
    pub restarts: u64,
    pub preservations: u64,
}

#[derive(Debug)]
pub enum Event {
    Tick,
    Pulse(usize),
    WakeSidecar { sidecar: usize, timer: u64 },
    WakeGateway { gateway: usize, timer: u64 },
    Arrives { peer: Peer, process: u64, id: u64, call: Call },
    Answers { peer: Peer, id: u64, reply: Reply },
    Silence { peer: Peer, id: u64 },
    StartSidecar(usize),
    StartGateway(usize),
    StartRegistry(Restart),
    Fault,
    Calm,
}

/// An instance that no request may reach any more.
struct Promise {
    epoch: Epoch,
    generation: u64,
    gateways: BTreeSet<(usize, u64)>,
}

pub struct World {
    options: Options,
    pub rng: fastrand::Rng,
    pub now: Duration,
    clock: Clock,
    queue: Queue<Event>,
    pub network: Network,
    pub registry: Registry,
    pub sidecars: Vec<Sidecar>,
    pub gateways: Vec<Gateway>,
    promises: BTreeMap<Key, Promise>,
    requests: u64,
    trace: VecDeque<String>,
    pub summary: Summary,
    preserving: bool,
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
    let mut world = World::new(options);
    while world.summary.steps < options.steps {
        let Some((time, event)) = world.queue.next() else { break };
        world.now = time;
        world.summary.steps += 1;
        world.note(&event);
        if let Err(violation) = world.step(event)
            && options.only.is_none_or(|only| only == violation.property)
        {
            let trace = world.trace.into_iter().collect();
            let step = world.summary.steps - 1;
            return Err(Box::new(Failure { seed: options.seed, step, violation, trace }));
        }
    }
    world.summary.seconds = world.now.as_secs();
    Ok(world.summary)
}

impl World {
    fn new(options: Options) -> Self {
        let mut world = Self {
            options,
            rng: fastrand::Rng::with_seed(options.seed),
            now: Duration::ZERO,
            clock: Clock(Instant::now()),
            queue: Queue::new(),
            network: Network::new(),
            registry: Registry::new(options.sabotage),
            sidecars: (0..SIDECARS).map(Sidecar::new).collect(),
            gateways: (0..GATEWAYS).map(|_| Gateway::default()).collect(),
            promises: BTreeMap::new(),
            requests: 0,
            trace: VecDeque::new(),
            summary: Summary::default(),
            preserving: false,
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
        world
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

    pub fn say(&mut self, line: String) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{:>10.3} s  {line}", self.now.as_secs_f64()));
    }

    fn note(&mut self, event: &Event) {
        let line = match event {
            Event::Tick | Event::Pulse(_) | Event::Silence { .. } | Event::Calm => return,
            Event::WakeSidecar { .. } | Event::WakeGateway { .. } | Event::Fault => return,
            Event::Arrives { call: Call::Beat { .. } | Call::Watch { .. } | Call::Ack(_), .. } => return,
            Event::Answers {
                reply: Reply::Written(200, _) | Reply::Quiet(_) | Reply::Changes(_), ..
            } => return,
            Event::Arrives { peer, call, .. } => format!("{peer:?} asks: {}", call.word()),
            Event::Answers { peer, reply, .. } => match reply {
                Reply::Written(status, _) => format!("{peer:?} hears {status}"),
                Reply::Snapshot(snapshot) => {
                    format!("{peer:?} gets the snapshot at {}", snapshot.position.revision)
                }
                Reply::Gone | Reply::Quiet(_) | Reply::Changes(_) | Reply::Refused => {
                    format!("{peer:?} hears {reply:?}")
                }
                Reply::Barrier(judged, ..) => format!("{peer:?} hears {judged:?}"),
            },
            Event::StartSidecar(_) | Event::StartGateway(_) | Event::StartRegistry(_) => format!("{event:?}"),
        };
        self.say(line);
    }

    fn step(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Tick => {
                if self.now >= self.registry.paused_until {
                    let out = self.registry.tick(self.now)?;
                    self.answer(out);
                }
                self.later(u64::try_from(TICK.as_millis()).unwrap(), Event::Tick);
            }
            Event::Pulse(gateway) => {
                if self.now >= self.gateways[gateway].paused_until {
                    let wishes = self.with_gateway(gateway, Gateway::pulse)?;
                    self.do_gateway(gateway, wishes);
                    self.check_promises(gateway)?;
                }
                self.later(1000, Event::Pulse(gateway));
            }
            Event::WakeSidecar { sidecar, timer } if self.sidecars[sidecar].timer == timer => {
                if self.asleep(Peer::Sidecar(sidecar), Event::WakeSidecar { sidecar, timer }) {
                    return Ok(());
                }
                let wishes = self.sidecars[sidecar].wake(self.clock, self.now);
                self.do_sidecar(sidecar, wishes)?;
            }
            Event::WakeGateway { gateway, timer } if self.gateways[gateway].timer == timer => {
                if self.asleep(Peer::Gateway(gateway), Event::WakeGateway { gateway, timer }) {
                    return Ok(());
                }
                let wishes = self.gateways[gateway].wake();
                self.do_gateway(gateway, wishes);
            }
            Event::WakeSidecar { .. } | Event::WakeGateway { .. } => {}
            Event::Arrives { peer, process, id, call } => {
                if self.now < self.registry.paused_until {
                    let until = self.registry.paused_until;
                    self.queue.at(until, Event::Arrives { peer, process, id, call });
                    return Ok(());
                }
                let out = self.registry.handle(peer, process, id, call, self.now, &mut self.rng)?;
                self.answer(out);
            }
            Event::Answers { peer, id, reply } => self.hears(peer, id, Some(reply))?,
            Event::Silence { peer, id } => self.hears(peer, id, None)?,
            Event::StartSidecar(sidecar) if !self.sidecars[sidecar].runs() => {
                self.promises.remove(&self.sidecars[sidecar].key());
                let wishes = self.sidecars[sidecar].start(self.now, &mut self.rng);
                self.do_sidecar(sidecar, wishes)?;
            }
            Event::StartGateway(gateway) if !self.gateways[gateway].runs() => {
                let wishes = self.with_gateway(gateway, Gateway::start)?;
                self.do_gateway(gateway, wishes);
            }
            Event::StartRegistry(how) if !self.registry.is_up() => {
                self.registry.start(how, self.now, &mut self.rng);
            }
            Event::StartSidecar(_) | Event::StartGateway(_) | Event::StartRegistry(_) => {}
            Event::Fault => self.fault(),
            Event::Calm => self.network.weather = super::network::Weather::FAIR,
        }
        Ok(())
    }

    /// Whether `peer` stands still; then it sees `event` when it goes on.
    fn asleep(&mut self, peer: Peer, event: Event) -> bool {
        let until = match peer {
            Peer::Sidecar(sidecar) => self.sidecars[sidecar].paused_until,
            Peer::Gateway(gateway) => self.gateways[gateway].paused_until,
            Peer::Rogue => Duration::ZERO,
        };
        if self.now < until {
            self.queue.at(until, event);
        }
        self.now < until
    }

    fn hears(&mut self, peer: Peer, id: u64, reply: Option<Reply>) -> Result<(), Violation> {
        let waits = match peer {
            Peer::Sidecar(sidecar) => self.sidecars[sidecar].is_waiting_for(id),
            Peer::Gateway(gateway) => self.gateways[gateway].is_waiting_for(id),
            Peer::Rogue => false,
        };
        let again = match &reply {
            Some(reply) => Event::Answers { peer, id, reply: reply.clone() },
            None => Event::Silence { peer, id },
        };
        if !waits || self.asleep(peer, again) {
            return Ok(());
        }
        match peer {
            Peer::Sidecar(sidecar) => {
                let wishes = self.sidecars[sidecar].hear(reply, self.clock, self.now, &mut self.rng);
                self.do_sidecar(sidecar, wishes)
            }
            Peer::Gateway(gateway) => {
                let mut rng = self.rng.fork();
                let wishes = self.with_gateway(gateway, |g, around| g.hear(reply, around, &mut rng))?;
                self.do_gateway(gateway, wishes);
                self.check_promises(gateway)
            }
            Peer::Rogue => Ok(()),
        }
    }

    fn with_gateway<T>(
        &mut self,
        gateway: usize,
        work: impl FnOnce(&mut Gateway, &Around<'_>) -> Result<T, Violation>,
    ) -> Result<T, Violation> {
        let around = Around {
            now: self.now,
            clock: self.clock,
            truth: &self.registry.truth,
            services: &Fleet(&self.sidecars),
            sabotage: self.options.sabotage,
        };
        work(&mut self.gateways[gateway], &around)
    }

    /// Sends a request; its number.
    pub fn send(&mut self, peer: Peer, process: u64, call: &Call) -> u64 {
        self.requests += 1;
        let id = self.requests;
        if !self.registry.is_up() {
            self.later(1, Event::Answers { peer, id, reply: Reply::Refused });
            return id;
        }
        for at in self.network.arrivals(peer, false, self.now, &mut self.rng) {
            self.queue.at(at, Event::Arrives { peer, process, id, call: call.clone() });
        }
        id
    }

    pub fn answer(&mut self, out: Vec<(Peer, u64, Reply)>) {
        for (peer, id, reply) in out {
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

    fn do_gateway(&mut self, gateway: usize, wishes: Vec<GatewayWish>) {
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
    fn check_promises(&mut self, gateway: usize) -> Result<(), Violation> {
        // Another epoch may not know of the goodbye.
        let epoch = self.registry.truth.epoch();
        self.promises.retain(|_, promise| Some(promise.epoch) == epoch);
        let me = (gateway, self.gateways[gateway].process());
        for (key, promise) in self.promises.iter().filter(|(_, promise)| promise.gateways.contains(&me)) {
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
    pub fn see_preservation(&mut self, preserves: bool) {
        if preserves && !self.preserving {
            self.summary.preservations += 1;
        }
        self.preserving = preserves;
    }
}
