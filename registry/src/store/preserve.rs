//! Self-preservation: when too much expires at once, it is likelier that the registry is cut off than that all of it
//! is dead. Then nothing more is removed for expiry; what runs out is marked stale instead, and that always ends.
//!
//! What counts as lost: leases that expired and were removed (each for one TTL of its own, so that a wave of long
//! leases is seen as one), and those that are stale now. What it is compared with: all that are live, and the removed
//! ones. An instance that leaves by its own word leaves both, so a scale-down never trips anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vertice_registry_api::limits;

use super::clock::millis;

/// So many may be lost whatever the share: single expiries are always on time.
const FREE: usize = 5;
/// Share of all, in percent, that may be lost.
const SHARE_PERCENT: usize = 15;
/// A zone with fewer instances tells nothing: one node less is already half of it.
const SMALLEST_ZONE: usize = 6;
/// Two intervals of clients that beat every 30 s: so long must the losses be below the limit before it ends.
pub(super) const CALM: Duration = Duration::from_mins(1);
/// A lease is stale for so long at most.
pub const LONGEST_STALE: Duration = Duration::from_mins(10);
/// It lasts so long at most. Longer than a stale lease, so only a fleet in which much dies all the time gets here.
pub(super) const LONGEST: Duration = Duration::from_mins(15);
/// Stale leases are removed at this share of all per second, in percent, and one at least: the tables of a thousand
/// gateways shrink over minutes in which somebody can still look.
const PERCENT_PER_SECOND: usize = 1;

#[derive(Clone, Copy, Debug, Default)]
struct Zone {
    live: usize,
    /// Of `live`.
    stale: usize,
    /// Removed for expiry, still counting.
    expired: usize,
}

/// All that is compared: a count of what is lost, whole and by zone.
#[derive(Clone, Debug, Default)]
struct Losses {
    all: Zone,
    zones: BTreeMap<String, Zone>,
}

/// A phase as replicas share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedPhase {
    /// Expiry is carried out, and counted.
    Watching,
    /// Nothing is removed for expiry before its time.
    Preserving {
        /// How long it has lasted.
        age: Duration,
    },
    /// It was ended by an operator or by time.
    Released,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Expiry is carried out, and counted.
    Watching,
    /// Nothing is removed for expiry before its time.
    Preserving { since_ms: u64, calm_since_ms: Option<u64> },
    /// It was ended by an operator or by time, and does not begin again before the losses were below the limit once.
    Released,
}

#[derive(Debug)]
pub(super) struct Preservation {
    phase: Phase,
    losses: Losses,
    /// Removed ones by the second in which they stop counting, and by zone.
    counting: BTreeMap<u64, BTreeMap<Option<String>, usize>>,
    /// Stale slots, the oldest first.
    stale: BTreeSet<(u64, u32)>,
    /// The second whose removals are given out.
    second_s: u64,
    /// Removals of stale ones that are left for this second.
    allowance: usize,
}

impl Preservation {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Watching,
            losses: Losses::default(),
            counting: BTreeMap::new(),
            stale: BTreeSet::new(),
            second_s: 0,
            allowance: 0,
        }
    }

    /// An instance in `zone` is there from now on.
    pub(super) fn enter(&mut self, zone: Option<&str>) {
        self.losses.change(zone, |counts| counts.live += 1);
    }

    /// It is not any more.
    pub(super) fn leave(&mut self, zone: Option<&str>) {
        self.losses.change(zone, |counts| counts.live = counts.live.saturating_sub(1));
    }

    /// Whether a lease that ran out may go. If not, it is to be marked stale.
    pub(super) fn may_expire(&mut self, zone: Option<&str>, ttl_s: u32, lease_ms: u64) -> bool {
        if self.phase == Phase::Watching && self.losses.too_many_with(zone) {
            self.phase = Phase::Preserving { since_ms: lease_ms, calm_since_ms: None };
        }
        let may = self.since_ms().is_none();
        if may {
            self.expired(zone, ttl_s, lease_ms);
        }
        may
    }

    /// As [`Self::may_expire`], for all of `overdue` in their order, by their zones. None is counted: each is when it has
    /// gone, by [`Self::expired`]. `counting`: how many count as removed, where somebody knows better.
    pub(super) fn may_expire_all<'z>(
        &mut self,
        overdue: impl IntoIterator<Item = Option<&'z str>>,
        counting: usize,
        lease_ms: u64,
    ) -> Vec<bool> {
        let mut losses = self.losses.clone();
        losses.all.expired = losses.all.expired.max(counting);
        let judge = |zone: Option<&str>| {
            if self.phase == Phase::Watching && losses.too_many_with(zone) {
                self.phase = Phase::Preserving { since_ms: lease_ms, calm_since_ms: None };
            }
            let may = self.since_ms().is_none();
            if may {
                losses.change(zone, |counts| {
                    counts.live = counts.live.saturating_sub(1);
                    counts.expired += 1;
                });
            }
            may
        };
        overdue.into_iter().map(judge).collect()
    }

    /// A lease that ran out was removed.
    pub(super) fn expired(&mut self, zone: Option<&str>, ttl_s: u32, lease_ms: u64) {
        let until_s = lease_ms / 1000 + u64::from(ttl_s.max(limits::DEFAULT_TTL_S));
        *self.counting.entry(until_s).or_default().entry(zone.map(str::to_owned)).or_default() += 1;
        self.losses.change(zone, |counts| counts.expired += 1);
    }

    pub(super) fn mark(&mut self, slot: u32, zone: Option<&str>, since_ms: u64) {
        self.stale.insert((since_ms, slot));
        self.losses.change(zone, |counts| counts.stale += 1);
    }

    pub(super) fn unmark(&mut self, slot: u32, zone: Option<&str>, since_ms: u64) {
        if self.stale.remove(&(since_ms, slot)) {
            self.losses.change(zone, |counts| counts.stale = counts.stale.saturating_sub(1));
        }
    }

    /// What time changes. To be called before anything else at a new `lease_ms`.
    pub(super) fn pass(&mut self, lease_ms: u64) {
        let now_s = lease_ms / 1000;
        if now_s <= self.second_s {
            return;
        }
        self.second_s = now_s;
        self.allowance = self.pace();
        while let Some(first) = self.counting.first_entry().filter(|entry| *entry.key() <= now_s) {
            for (zone, count) in first.remove() {
                self.losses
                    .change(zone.as_deref(), |counts| counts.expired = counts.expired.saturating_sub(count));
            }
        }
        self.phase = match self.phase {
            Phase::Released if self.losses.too_many() => Phase::Released,
            Phase::Watching | Phase::Released => Phase::Watching,
            Phase::Preserving { since_ms, .. } if lease_ms >= since_ms + millis(LONGEST) => Phase::Released,
            Phase::Preserving { since_ms, .. } if self.losses.too_many() => {
                Phase::Preserving { since_ms, calm_since_ms: None }
            }
            Phase::Preserving { since_ms, calm_since_ms } => {
                let calm_since_ms = calm_since_ms.unwrap_or(lease_ms);
                if lease_ms >= calm_since_ms + millis(CALM) {
                    Phase::Watching
                } else {
                    Phase::Preserving { since_ms, calm_since_ms: Some(calm_since_ms) }
                }
            }
        };
    }

    /// The next stale slot whose time is over, if one may still go in this second.
    pub(super) fn overdue(&mut self, lease_ms: u64) -> Option<u32> {
        let (since_ms, slot) = *self.stale.first()?;
        let over = self.since_ms().is_none() || lease_ms >= since_ms + millis(LONGEST_STALE);
        if !over || self.allowance == 0 {
            return None;
        }
        self.allowance -= 1;
        Some(slot)
    }

    /// An operator says that what is stale is dead. Whether there was anything to end.
    pub(super) fn release(&mut self) -> bool {
        let ends = self.since_ms().is_some();
        if ends {
            self.phase = Phase::Released;
        }
        ends
    }

    /// Judges what a restart found: many that were stale before are still no reason to remove them.
    pub(super) fn warmed(&mut self, lease_ms: u64) {
        if self.losses.too_many() {
            self.phase = Phase::Preserving { since_ms: lease_ms, calm_since_ms: None };
        }
    }

    /// Since when it preserves.
    pub(super) fn since_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Preserving { since_ms, .. } => Some(since_ms),
            Phase::Watching | Phase::Released => None,
        }
    }

    pub(super) fn stale(&self) -> usize {
        self.stale.len()
    }

    /// How many stale ones may go in a second.
    pub(super) fn pace(&self) -> usize {
        (self.losses.all.live * PERCENT_PER_SECOND / 100).max(1)
    }

    /// The phase is that of the others. Its end is by their clock; to who asks, a process that is younger than it says its
    /// own age.
    pub(super) fn adopt(&mut self, shared: SharedPhase, lease_ms: u64) {
        self.phase = match (shared, self.phase) {
            (SharedPhase::Watching, _) => Phase::Watching,
            (SharedPhase::Released, _) => Phase::Released,
            (SharedPhase::Preserving { age }, _) if age >= LONGEST => Phase::Released,
            (SharedPhase::Preserving { age }, before) => {
                let calm_since_ms = match before {
                    Phase::Preserving { calm_since_ms, .. } => calm_since_ms,
                    Phase::Watching | Phase::Released => None,
                };
                Phase::Preserving { since_ms: lease_ms.saturating_sub(millis(age)), calm_since_ms }
            }
        };
    }

    /// The phase for the others.
    pub(super) fn shared(&self, lease_ms: u64) -> SharedPhase {
        match self.phase {
            Phase::Watching => SharedPhase::Watching,
            Phase::Preserving { since_ms, .. } => SharedPhase::Preserving { age: age(since_ms, lease_ms) },
            Phase::Released => SharedPhase::Released,
        }
    }
}

impl Losses {
    fn too_many(&self) -> bool {
        over_all(self.all, 0) || self.zones.values().any(|zone| over_zone(*zone, 0))
    }

    fn too_many_with(&self, zone: Option<&str>) -> bool {
        let zone = zone.and_then(|zone| self.zones.get(zone));
        over_all(self.all, 1) || zone.is_some_and(|zone| over_zone(*zone, 1))
    }

    fn change(&mut self, zone: Option<&str>, change: impl Fn(&mut Zone)) {
        change(&mut self.all);
        let Some(name) = zone else { return };
        if let Some(zone) = self.zones.get_mut(name) {
            change(zone);
            if zone.live == 0 && zone.expired == 0 {
                self.zones.remove(name);
            }
            return;
        }
        let mut zone = Zone::default();
        change(&mut zone);
        if zone.live > 0 || zone.expired > 0 {
            self.zones.insert(name.to_owned(), zone);
        }
    }
}

fn over_all(all: Zone, more: usize) -> bool {
    all.stale + all.expired + more > FREE.max((all.live + all.expired) * SHARE_PERCENT / 100)
}

fn over_zone(zone: Zone, more: usize) -> bool {
    let whole = zone.live + zone.expired;
    whole >= SMALLEST_ZONE && (zone.stale + zone.expired + more) * 2 > whole
}

/// Whole seconds from `since_ms` to `lease_ms`, for people.
pub(super) fn age(since_ms: u64, lease_ms: u64) -> Duration {
    Duration::from_millis(lease_ms.saturating_sub(since_ms))
}
