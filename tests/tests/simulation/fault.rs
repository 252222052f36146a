//! What goes wrong, and for how long: drawn one after the other for as long as a run lasts.

use std::time::Duration;

use super::network::{Call, Peer, Weather};
use super::options::Story;
use super::property::Sabotage;
use super::registry::{Registry, Restart};
use super::world::{Event, GATEWAYS, SIDECARS, World};
use vertice_registry_api::register::Registration;
use vertice_registry_api::{InstanceId, ServiceName, ServiceUrl};

/// An outage of the registry is shorter than what gateways bear.
const LONGEST_OUTAGE_S: u64 = 500;

impl World {
    /// One more thing goes wrong; the next one is drawn.
    pub fn fault(&mut self) {
        self.summary.faults += 1;
        let wanted = self.sabotage().and_then(Sabotage::brought_out_by).filter(|_| self.rng.bool());
        let kind = wanted.unwrap_or_else(|| self.rng.u32(..20));
        let many = self.fleet.is_some();
        if many && (matches!(kind, 4 | 5) || self.rng.bool()) {
            let of_many = self.sabotage().and_then(Sabotage::brought_out_among_replicas_by);
            let kind = of_many.filter(|_| self.rng.bool()).unwrap_or_else(|| self.rng.u32(..14));
            self.fleet_fault(kind);
        }
        match kind {
            4 | 5 if many => {}
            // Nobody ends preservation in that story.
            4 | 19 if self.story() == Story::Silence => {}
            0 | 1 => self.cut_sidecars(),
            2 | 3 => self.cut_gateways(),
            4 => self.stop_registry(),
            5 => self.pause_registry(),
            6 | 7 => self.crash_sidecars(),
            8 => self.pause_some(),
            9 => self.crash_gateway(),
            10 | 11 => self.drain_some(6),
            12 | 13 => self.change_some(),
            14 => self.jump_clocks(),
            15 => self.foul_weather(),
            16 | 17 => self.rogue(),
            18 => self.blind_gateway(),
            _ => {
                self.say("an operator ends preservation".into());
                self.ends_preservation();
                let replica = self.rng.usize(..3);
                match &self.fleet {
                    Some(fleet) => fleet.release(replica),
                    None => Registry::release(&mut self.registry),
                }
            }
        }
        // Rolling restarts go on whatever happens.
        self.drain_some(1);
        let ms = self.rng.u64(1_000..25_000);
        self.later(ms, Event::Fault);
    }

    fn seconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        self.now + Duration::from_millis(self.rng.u64(range.start * 1000..range.end * 1000))
    }

    /// A few, or a good part.
    fn some_of(&mut self, all: usize) -> Vec<usize> {
        let share = if self.rng.u8(..4) == 0 { self.rng.f64() } else { 0.03 };
        (0..all).filter(|_| self.rng.f64() < share).collect()
    }

    fn cut(&mut self, peers: Vec<Peer>, until: Duration) {
        let (there, back) = *self.rng.choice(&[(true, true), (true, false), (false, true)]).unwrap();
        self.say(format!("cut (there {there}, back {back}) until {until:?}: {peers:?}"));
        for peer in peers {
            if there {
                self.network.cut_there(peer, until);
            }
            if back {
                self.network.cut_back(peer, until);
            }
        }
    }

    fn cut_sidecars(&mut self) {
        let (until, some) = (self.seconds(1..400), self.some_of(SIDECARS));
        self.cut(some.into_iter().map(Peer::Sidecar).collect(), until);
    }

    fn cut_gateways(&mut self) {
        let (until, some) = (self.seconds(1..300), self.some_of(GATEWAYS));
        self.cut(some.into_iter().map(Peer::Gateway).collect(), until);
    }

    fn stop_registry(&mut self) {
        if !self.registry.is_up() {
            return;
        }
        let how =
            *self.rng.choice(&[Restart::Clean, Restart::Killed, Restart::Killed, Restart::Empty]).unwrap();
        let long = self.rng.u8(..3) == 0;
        let ms = self.rng.u64(100..if long { LONGEST_OUTAGE_S * 1000 } else { 5_000 });
        self.say(format!("the registry stops ({how:?}) for {ms} ms"));
        self.summary.restarts += 1;
        self.registry.paused_until = self.now;
        self.ends_preservation();
        let out = self.registry.stop(how);
        self.answer(out);
        self.later(ms, Event::StartRegistry(how));
    }

    fn pause_registry(&mut self) {
        let until = self.seconds(0..90);
        self.say(format!("the registry stands still until {until:?}"));
        self.registry.paused_until = until;
    }

    fn crash_sidecars(&mut self) {
        let some = self.some_of(SIDECARS);
        self.say(format!("crash: {some:?}"));
        for sidecar in some {
            self.haunt(sidecar);
            self.sidecars[sidecar].crash();
            let ms = self.rng.u64(500..400_000);
            self.later(ms, Event::StartSidecar(sidecar));
        }
    }

    /// Messages of a process that is about to die arrive when the next one may be there.
    fn haunt(&mut self, sidecar: usize) {
        let Some(generation) = self.sidecars[sidecar].generation().filter(|_| self.rng.bool()) else {
            return;
        };
        let (service, id) = self.sidecars[sidecar].key();
        let (service, id) = (service.to_string(), id.to_string());
        let delete = Call::Delete { service: service.clone(), id: id.clone(), generation };
        for call in [Call::Beat { service, id, generation }, delete] {
            let ms = self.rng.u64(100..200_000);
            let peer = Peer::Sidecar(sidecar);
            let at = self.home(peer, false);
            self.later(ms, Event::Arrives { at, peer, process: 0, id: 0, call });
        }
    }

    fn pause_some(&mut self) {
        let (until, some) = (self.seconds(0..150), self.some_of(SIDECARS));
        self.say(format!("sidecars stand still until {until:?}: {some:?}"));
        for sidecar in some {
            self.sidecars[sidecar].paused_until = until;
        }
        let (until, some) = (self.seconds(0..150), self.some_of(GATEWAYS));
        self.say(format!("gateways stand still until {until:?}: {some:?}"));
        for gateway in some {
            self.gateways[gateway].paused_until = until;
        }
    }

    fn crash_gateway(&mut self) {
        let gateway = self.rng.usize(..GATEWAYS);
        self.say(format!("gateway {gateway} crashes"));
        self.gateways[gateway].crash();
        let ms = self.rng.u64(100..60_000);
        self.later(ms, Event::StartGateway(gateway));
    }

    fn blind_gateway(&mut self) {
        let (until, gateway) = (self.seconds(1..120), self.rng.usize(..GATEWAYS));
        self.say(format!("gateway {gateway} reaches no service until {until:?}"));
        self.gateways[gateway].blind_until = until;
    }

    fn drain_some(&mut self, most: u32) {
        for _ in 0..self.rng.u32(1..=most) {
            let sidecar = self.rng.usize(..SIDECARS);
            self.say(format!("sidecar {sidecar} is told to stop"));
            let wishes = self.sidecars[sidecar].drain(self.now);
            // Nothing is promised yet, so nothing can be broken.
            let _ = self.do_sidecar(sidecar, wishes);
        }
    }

    fn change_some(&mut self) {
        for _ in 0..self.rng.u32(1..6) {
            let sidecar = self.rng.usize(..SIDECARS);
            let (clock, now) = (self.clock(), self.now);
            let wishes = self.sidecars[sidecar].change(clock, now, &mut self.rng);
            let _ = self.do_sidecar(sidecar, wishes);
        }
    }

    fn jump_clocks(&mut self) {
        const HOUR_MS: i64 = 3_600_000;
        self.registry.skew_ms += self.rng.i64(-HOUR_MS..HOUR_MS);
        for replica in self.fleet.iter().flat_map(|fleet| &fleet.replicas) {
            *replica.skew_ms.lock().unwrap() += self.rng.i64(-HOUR_MS..HOUR_MS);
        }
        for sidecar in self.some_of(SIDECARS) {
            self.sidecars[sidecar].skew_ms += self.rng.i64(-HOUR_MS..HOUR_MS);
        }
        self.say("wall clocks jump".into());
    }

    fn foul_weather(&mut self) {
        self.network.weather = Weather::FOUL;
        self.say("messages are lost, doubled and reordered".into());
        let ms = self.rng.u64(5_000..60_000);
        self.later(ms, Event::Calm);
    }

    /// Somebody with a token writes about others, and as much as it may about its own.
    fn rogue(&mut self) {
        self.say("a rogue writes".into());
        for _ in 0..20 {
            let sidecar = self.rng.usize(..SIDECARS);
            let (service, id) = self.sidecars[sidecar].key();
            let generation = self.rng.u64(..);
            let (name, number) = (service.to_string(), id.to_string());
            let call = match self.rng.u8(..4) {
                0 => Call::Put(Box::new(stolen(&service, &id))),
                1 => Call::Delete { service: name, id: number, generation },
                2 => Call::Beat { service: name, id: number, generation },
                _ => {
                    let service = ServiceName::parse(&format!("rogue-{}", self.rng.u32(..50))).unwrap();
                    let id = InstanceId::parse(&format!("r:{}", self.rng.u32(..1000))).unwrap();
                    Call::Put(Box::new(stolen(&service, &id)))
                }
            };
            self.send(Peer::Rogue, 0, &call);
        }
    }
}

fn stolen(service: &ServiceName, id: &InstanceId) -> Registration {
    Registration {
        service: service.clone(),
        instance_id: id.clone(),
        incarnation: u64::MAX,
        url: ServiceUrl::parse("http://rogue:80").unwrap(),
        health_endpoint: vertice_registry_api::HealthPath::default(),
        metadata: vertice_registry_api::Metadata::default(),
        zone: None,
        weight: 1,
        version: None,
        ttl_s: Some(20),
        status: vertice_registry_api::Status::Up,
    }
}
