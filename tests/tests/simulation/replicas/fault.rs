//! What goes wrong between replicas, their Redis and their clients.

use std::time::Duration;

use tokio::time::Instant;

use super::super::network::Peer;
use super::super::options::Story;
use super::super::world::{Event, GATEWAYS, SIDECARS, World};
use super::cluster::{Dump, Way};
use super::replica::{REPLICAS, Replicas};

/// What happens to Redis later on.
#[derive(Clone, Copy, Debug)]
pub enum Turn {
    Promote { node: usize, lag: usize },
    Demote(usize),
    Restart(Dump),
    Calm,
}

impl Replicas {
    pub fn turn(&self, turn: Turn) {
        let mut state = self.cluster.state();
        match turn {
            Turn::Promote { node, lag } => state.promote(node, lag),
            Turn::Demote(node) => state.demote(node),
            Turn::Restart(dump) if !state.nodes[state.master].up => state.restart(dump),
            Turn::Restart(_) => {}
            Turn::Calm => state.replies_lost = 0.0002,
        }
        drop(state);
        self.cluster.changed.notify_waiters();
    }
}

impl World {
    /// One thing more that goes wrong with the replicas.
    pub fn fleet_fault(&mut self, kind: u32) {
        match kind {
            0 | 1 => self.crash_replica(),
            2 => self.pause_replica(),
            3 | 4 => self.cut_store(),
            5 => self.pause_store(),
            6 | 7 if self.story() == Story::OneRedis => {
                self.say("Redis loses everything".into());
                self.with_cluster(super::cluster::State::flush);
            }
            8 if self.story() == Story::OneRedis => {}
            6 | 7 => self.fail_over(),
            8 => self.restart_store(),
            9 => {
                self.say("answers of Redis are lost after what they tell of was done".into());
                self.with_cluster(|state| state.replies_lost = 0.05);
                let ms = self.rng.u64(5_000..60_000);
                self.later(ms, Event::Redis(Turn::Calm));
            }
            10 => self.isolate_replica(),
            // Preservation lasts by this clock.
            11 if self.story() == Story::Silence => {}
            11 => self.jump_store_clock(),
            _ => self.move_some(),
        }
    }

    fn with_cluster<T>(&mut self, work: impl FnOnce(&mut super::cluster::State) -> T) -> Option<T> {
        self.fleet.as_ref().map(|fleet| work(&mut fleet.cluster.state()))
    }

    fn crash_replica(&mut self) {
        let number = self.rng.usize(..REPLICAS);
        let Some(fleet) = &mut self.fleet else { return };
        let out = fleet.crash(number);
        let ms = self.rng.u64(100..60_000);
        self.say(format!("replica {number} crashes for {ms} ms"));
        self.summary.restarts += 1;
        self.answer(out);
        self.later(ms, Event::StartReplica(number));
    }

    fn pause_replica(&mut self) {
        let (number, ms) = (self.rng.usize(..REPLICAS), self.rng.u64(100..60_000));
        self.say(format!("replica {number} stands still for {ms} ms"));
        if let Some(fleet) = &self.fleet {
            fleet.replicas[number].pause.until(Instant::now() + Duration::from_millis(ms));
        }
    }

    fn cut_store(&mut self) {
        let all = self.rng.u8(..5) == 0;
        let one = self.rng.usize(..REPLICAS);
        let (there, back) = *self.rng.choice(&[(true, true), (true, false), (false, true)]).unwrap();
        let long = self.rng.u8(..3) == 0;
        let ms = self.rng.u64(200..if long { 200_000 } else { 10_000 });
        let who = if all { "all replicas".to_owned() } else { format!("replica {one}") };
        self.say(format!("{who} cut from Redis (there {there}, back {back}) for {ms} ms"));
        let (now, until) = (Instant::now(), Instant::now() + Duration::from_millis(ms));
        self.with_cluster(|state| {
            for replica in (0..REPLICAS).filter(|replica| all || *replica == one) {
                let way = state.ways.entry(replica).or_insert(Way { there_until: now, back_until: now });
                way.there_until = if there { way.there_until.max(until) } else { way.there_until };
                way.back_until = if back { way.back_until.max(until) } else { way.back_until };
            }
        });
    }

    fn pause_store(&mut self) {
        let long = self.rng.u8(..4) == 0;
        let ms = self.rng.u64(100..if long { 100_000 } else { 8_000 });
        self.say(format!("Redis stands still for {ms} ms"));
        self.with_cluster(|state| {
            state.nodes[state.master].paused_until = Instant::now() + Duration::from_millis(ms);
        });
    }

    /// Another server takes over, from what it had some seconds ago; the one before is dead, or does not know it yet.
    fn fail_over(&mut self) {
        let (lag, dead) = (self.rng.usize(..20), self.rng.bool());
        let wait = self.rng.u64(300..10_000);
        let Some(old) = self.with_cluster(|state| {
            let old = state.master;
            if dead {
                state.kill(old);
            } else {
                state.nodes[old].paused_until = Instant::now() + Duration::from_millis(wait);
            }
            old
        }) else {
            return;
        };
        self.summary.failovers += 1;
        self.say(format!("failover in {wait} ms, from what was {lag} s ago (dead: {dead})"));
        self.later(wait, Event::Redis(Turn::Promote { node: 1 - old, lag }));
        let ms = wait + self.rng.u64(if dead { 2_000..30_000 } else { 1..4_000 });
        self.later(ms, Event::Redis(Turn::Demote(old)));
    }

    fn restart_store(&mut self) {
        let all = [Dump::All, Dump::All, Dump::Old, Dump::Nothing];
        // Of what is lost a beginning of preservation may be.
        let all = if self.story() == Story::Silence { &all[..1] } else { &all[..] };
        let dump = *self.rng.choice(all).unwrap();
        let long = self.rng.u8(..3) == 0;
        let ms = self.rng.u64(100..if long { 200_000 } else { 5_000 });
        self.say(format!("Redis is away for {ms} ms and comes back with: {dump:?}"));
        self.summary.failovers += 1;
        self.with_cluster(|state| state.kill(state.master));
        self.later(ms, Event::Redis(Turn::Restart(dump)));
    }

    fn isolate_replica(&mut self) {
        let (number, ms) = (self.rng.usize(..REPLICAS), self.rng.u64(1_000..90_000));
        self.say(format!("replica {number} reaches no client for {ms} ms, but Redis"));
        self.isolated.insert(number, self.now + Duration::from_millis(ms));
    }

    fn jump_store_clock(&mut self) {
        let seconds = self.rng.i64(-20..600);
        self.say(format!("the clock of Redis jumps by {seconds} s"));
        self.with_cluster(|state| state.skew_us += seconds * 1_000_000);
    }

    /// A few, or many, talk to another replica from now on.
    fn move_some(&mut self) {
        let share = if self.rng.bool() { self.rng.f64() } else { 0.05 };
        self.say(format!("{:.0} % of all move to another replica", share * 100.0));
        let peers = (0..SIDECARS).map(Peer::Sidecar).chain((0..GATEWAYS).map(Peer::Gateway));
        for peer in peers.collect::<Vec<_>>() {
            if self.rng.f64() < share {
                let to = self.rng.usize(..REPLICAS);
                self.homes.insert(peer, to);
            }
        }
    }

    /// Where `peer` asks; elsewhere from now on if `fails`.
    pub fn home(&mut self, peer: Peer, fails: bool) -> usize {
        let at = match (self.homes.get(&peer), peer) {
            (Some(home), _) => *home,
            (None, Peer::Sidecar(number) | Peer::Gateway(number)) => number % REPLICAS,
            (None, Peer::Rogue) => 0,
        };
        if fails {
            self.homes.insert(peer, (at + 1) % REPLICAS);
        }
        at
    }
}
