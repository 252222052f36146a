//! The wire: who can reach whom, and what becomes of a message on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vertice_registry::store::Patch;
use vertice_registry_api::barrier::BarrierAnswer;
use vertice_registry_api::register::Registration;
use vertice_registry_api::snapshot::Snapshot;
use vertice_registry_api::watch::WatchAnswer;
use vertice_registry_api::{Epoch, Position, SourceState};

/// Who talks to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Sidecar(usize),
    Gateway(usize),
    /// A principal with a token of its own and bad intentions.
    Rogue,
}

/// A request.
#[derive(Clone, Debug)]
pub enum Call {
    Put(Box<Registration>),
    Beat { service: String, id: String, generation: u64 },
    Patch { service: String, id: String, generation: u64, patch: Patch },
    Delete { service: String, id: String, generation: u64 },
    Snapshot,
    Watch { from: Position, wait: Duration },
    Ack(Position),
    Barrier(Position),
}

impl Call {
    /// A word for the trace.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Beat { .. } => "beat",
            Self::Patch { .. } => "patch",
            Self::Delete { .. } => "delete",
            Self::Snapshot => "snapshot",
            Self::Watch { .. } => "watch",
            Self::Ack(_) => "ack",
            Self::Barrier(_) => "barrier",
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status and body of a write.
    Written(u16, Vec<u8>),
    Snapshot(Box<Snapshot>),
    Changes(Box<WatchAnswer>),
    Quiet(SourceState),
    Gone,
    /// Also the epoch, and (for the harness only) which gateways with which processes have said yes.
    Barrier(BarrierAnswer, Epoch, BTreeSet<(usize, u64)>),
    /// Nobody listens there.
    Refused,
}

/// How a message comes through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Of all messages.
    pub lost: f64,
    pub doubled: f64,
    /// So much later that others overtake it.
    pub late: f64,
    pub longest_late: Duration,
}

impl Weather {
    pub const FAIR: Self =
        Self { lost: 0.0005, doubled: 0.0005, late: 0.001, longest_late: Duration::from_secs(2) };
    pub const FOUL: Self =
        Self { lost: 0.03, doubled: 0.03, late: 0.1, longest_late: Duration::from_secs(20) };
}

/// One peer's way to the registry and back.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    there_until: Duration,
    back_until: Duration,
}

pub struct Network {
    cuts: BTreeMap<Peer, Cut>,
    pub weather: Weather,
}

impl Network {
    pub fn new() -> Self {
        Self { cuts: BTreeMap::new(), weather: Weather::FAIR }
    }

    /// Messages of `peer` do not arrive until then.
    pub fn cut_there(&mut self, peer: Peer, until: Duration) {
        let cut = self.cuts.entry(peer).or_default();
        cut.there_until = cut.there_until.max(until);
    }

    /// Answers to `peer` do not arrive until then: a half-open connection.
    pub fn cut_back(&mut self, peer: Peer, until: Duration) {
        let cut = self.cuts.entry(peer).or_default();
        cut.back_until = cut.back_until.max(until);
    }

    /// When the copies of a message arrive: none, one or two.
    pub fn arrivals(&self, peer: Peer, back: bool, now: Duration, rng: &mut fastrand::Rng) -> Vec<Duration> {
        let cut = self.cuts.get(&peer).copied().unwrap_or_default();
        let until = if back { cut.back_until } else { cut.there_until };
        if now < until || rng.f64() < self.weather.lost {
            return Vec::new();
        }
        let copies = if rng.f64() < self.weather.doubled { 2 } else { 1 };
        let mut arrival = || {
            let late = rng.f64() < self.weather.late;
            let most = if late { self.weather.longest_late } else { Duration::from_millis(20) };
            now + Duration::from_micros(rng.u64(200..=u64::try_from(most.as_micros()).unwrap()))
        };
        (0..copies).map(|_| arrival()).collect()
    }
}
