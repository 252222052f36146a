//! Where instances live: a dense array whose index is the instance's handle. A handle is used again after its
//! instance has gone; the generation, which never repeats, tells the two apart.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use vertice_registry_api::limits;

use super::packed::Packed;
use super::seconds;

/// An instance with what heartbeats change.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) packed: Packed,
    /// Lease time, in milliseconds, of the last renewal.
    pub(super) beat_ms: u64,
}

impl Held {
    /// Lease time, in milliseconds, after which it is expired; the grace is in it.
    pub(super) fn deadline_ms(&self) -> u64 {
        self.beat_ms + seconds(self.packed.ttl_s()) + seconds(limits::GRACE_S)
    }
}

#[derive(Debug, Default)]
struct Slot {
    held: Option<Held>,
    /// The second after the one for which the wheel has its entry of this slot, also while the slot is free.
    armed: Option<NonZeroU32>,
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
    /// Lease time, in milliseconds, at which draining ends; few have it.
    drained_ms: BTreeMap<u32, u64>,
    /// Lease time, in milliseconds, since which they are stale.
    stale_ms: BTreeMap<u32, u64>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// A free slot takes `held`. `None` beyond 2^32 instances, which the limits never allow.
    pub(super) fn insert(&mut self, held: Held) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            self.slot(index)?.held = Some(held);
            return Some(index);
        }
        let index = u32::try_from(self.all.len()).ok()?;
        self.all.push(Slot { held: Some(held), armed: None });
        Some(index)
    }

    /// Takes `held` into the slot `index`, the ones below it become free by [`Slots::free_the_rest`]; gives it back
    /// where there is one already.
    pub(super) fn insert_at(&mut self, index: u32, held: Held) -> Result<(), Held> {
        let Ok(place) = usize::try_from(index) else { return Err(held) };
        if self.all.len() <= place {
            self.all.resize_with(place + 1, Slot::default);
        }
        match self.slot(index) {
            Some(slot) if slot.held.is_none() => slot.held = Some(held),
            Some(_) | None => return Err(held),
        }
        Ok(())
    }

    /// Makes every slot that holds nothing a free one; the lowest is used first.
    pub(super) fn free_the_rest(&mut self) {
        let empty = self.all.iter().zip(0..).filter(|(slot, _)| slot.held.is_none());
        self.free = empty.map(|(_, index)| index).collect();
        self.free.reverse();
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Held> {
        let held = self.slot(index)?.held.take()?;
        self.free.push(index);
        self.drained_ms.remove(&index);
        self.stale_ms.remove(&index);
        Some(held)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Held> {
        self.all.get(usize::try_from(index).ok()?)?.held.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Held> {
        self.slot(index)?.held.as_mut()
    }

    /// The bytes of the id of what is in `index`.
    pub(super) fn id(&self, index: u32) -> &[u8] {
        self.get(index).map_or(&[], |held| held.packed.id())
    }

    pub(super) fn drained_ms(&self, index: u32) -> Option<u64> {
        self.drained_ms.get(&index).copied()
    }

    pub(super) fn set_drained(&mut self, index: u32, at_ms: Option<u64>) {
        set(&mut self.drained_ms, index, at_ms);
    }

    pub(super) fn stale_ms(&self, index: u32) -> Option<u64> {
        self.stale_ms.get(&index).copied()
    }

    pub(super) fn set_stale(&mut self, index: u32, since_ms: Option<u64>) {
        set(&mut self.stale_ms, index, since_ms);
    }

    pub(super) fn armed_s(&self, index: u32) -> Option<u64> {
        let armed = self.all.get(usize::try_from(index).ok()?)?.armed?;
        Some(u64::from(armed.get()) - 1)
    }

    /// Seconds have room for 136 years.
    pub(super) fn set_armed(&mut self, index: u32, armed_s: Option<u64>) {
        if let Some(slot) = self.slot(index) {
            slot.armed = armed_s.and_then(|s| NonZeroU32::new(u32::try_from(s + 1).unwrap_or(u32::MAX)));
        }
    }

    fn slot(&mut self, index: u32) -> Option<&mut Slot> {
        self.all.get_mut(usize::try_from(index).ok()?)
    }
}

fn set(times: &mut BTreeMap<u32, u64>, index: u32, at_ms: Option<u64>) {
    match at_ms {
        Some(at_ms) => times.insert(index, at_ms),
        // Mostly there is none.
        None if times.is_empty() => None,
        None => times.remove(&index),
    };
}
