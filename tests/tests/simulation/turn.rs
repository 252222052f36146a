//! What each event is: to whom it goes, and what a failure's trace says of it.

use std::time::Duration;

use vertice_registry::store::TICK;

use super::gateway::Gateway;
use super::network::{Call, Peer, Reply};
use super::property::Violation;
use super::world::{Event, TRACE, World};

impl World {
    pub fn note(&mut self, event: &Event) {
        let line = match event {
            Event::Tick | Event::Pulse(_) | Event::Silence { .. } | Event::Calm => return,
            Event::WakeSidecar { .. } | Event::WakeGateway { .. } | Event::Fault => return,
            Event::Arrives { call: Call::Beat { .. } | Call::Watch { .. } | Call::Ack(_), .. } => return,
            Event::Answers {
                reply: Reply::Written(200, _) | Reply::Quiet(_) | Reply::Changes(_), ..
            } => return,
            Event::Arrives { at, peer, call, .. } => format!("{peer:?} asks {at}: {}", call.word()),
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
            Event::Told { replica, peer, reply: Reply::Written(status, _), .. } if *status >= 300 => {
                format!("replica {replica} answers {peer:?}: {status}")
            }
            Event::Told { .. } => return,
            Event::StartSidecar(_) | Event::StartGateway(_) | Event::StartRegistry(_) => format!("{event:?}"),
            Event::StartReplica(_) | Event::Redis(_) | Event::FallSilent(_) => format!("{event:?}"),
        };
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back((self.now, line));
    }

    pub fn step(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Tick if self.fleet.is_some() => {
                let now = self.now;
                let out = self.fleet.as_mut().map_or(Ok(Vec::new()), |fleet| fleet.tick(now))?;
                self.answer(out);
                self.see_preservation();
                self.later(u64::try_from(TICK.as_millis()).unwrap(), Event::Tick);
            }
            Event::Tick => {
                if self.now >= self.registry.paused_until {
                    let out = self.registry.tick(self.now)?;
                    self.answer(out);
                }
                self.see_preservation();
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
                let clock = self.clock();
                let wishes = self.sidecars[sidecar].wake(clock, self.now);
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
            Event::Arrives { at, peer, process, id, call } => {
                let until = self.stands_still_until(at);
                if self.now < until {
                    self.queue.at(until, Event::Arrives { at, peer, process, id, call });
                    return Ok(());
                }
                if let Some(fleet) = &mut self.fleet {
                    let out = fleet.handle(at, peer, process, id, call, self.now);
                    self.answer(out);
                    return Ok(());
                }
                let out = self.registry.handle(peer, process, id, call, self.now, &mut self.rng)?;
                self.answer(out);
            }
            Event::Answers { peer, id, reply } => self.hears(peer, id, Some(reply))?,
            Event::Silence { peer, id } => self.hears(peer, id, None)?,
            Event::Told { peer, id, reply, .. } => self.answer(vec![(peer, id, reply)]),
            Event::StartReplica(number) => {
                if let Some(fleet) = &mut self.fleet {
                    fleet.start(number);
                }
            }
            Event::Redis(turn) => {
                if let Some(fleet) = &self.fleet {
                    fleet.turn(turn);
                }
            }
            Event::FallSilent(those) => {
                for sidecar in those {
                    self.sidecars[sidecar].crash();
                }
            }
            Event::StartSidecar(sidecar) if !self.sidecars[sidecar].runs() => {
                self.promises.remove(&self.sidecars[sidecar].key());
                let wishes = self.sidecars[sidecar].start(self.now, &mut self.rng);
                self.do_sidecar(sidecar, wishes)?;
            }
            Event::StartGateway(gateway) if !self.gateways[gateway].runs() => {
                let wishes = self.with_gateway(gateway, Gateway::start)?;
                self.do_gateway(gateway, wishes);
            }
            Event::StartRegistry(how) if !self.registry.is_up() && self.fleet.is_none() => {
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
        if reply.is_none() && self.fleet.is_some() {
            // Who hears nothing tries another address of the name, sooner or later.
            let moves = self.rng.bool();
            self.home(peer, moves);
        }
        match peer {
            Peer::Sidecar(sidecar) => {
                let clock = self.clock();
                let wishes = self.sidecars[sidecar].hear(reply, clock, self.now, &mut self.rng);
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
}
