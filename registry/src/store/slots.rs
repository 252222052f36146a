//! Where instances live: a dense array whose index is the instance's handle. A handle is used again after its
//! instance has gone; the generation, which never repeats, tells the two apart.

use std::sync::Arc;

use vertice_registry_api::Instance;

/// An instance with what heartbeats change.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) instance: Arc<Instance>,
    /// Lease time, in milliseconds, after which it is expired; the grace is in it.
    pub(super) deadline_ms: u64,
    /// Lease time, in milliseconds, at which draining ends.
    pub(super) drained_ms: Option<u64>,
    /// Lease time, in milliseconds, of the last renewal.
    pub(super) beat_ms: u64,
    /// Lease time, in milliseconds, since which it is stale.
    pub(super) stale_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Slot {
    held: Option<Held>,
    /// The second for which the wheel has its entry of this slot, also while the slot is free.
    armed_s: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A free slot takes `held`. `None` beyond 2^32 instances, which the limits never allow.
    pub(super) fn insert(&mut self, held: Held) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            self.slot(index)?.held = Some(held);
            return Some(index);
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot { held: Some(held), armed_s: None });
        Some(index)
    }

    /// Takes `held` into the slot `index`, the ones below it become free by [`Slots::free_the_rest`]; gives it back
    /// where there is one already.
    pub(super) fn insert_at(&mut self, index: u32, held: Held) -> Result<(), Held> {
        let Ok(place) = usize::try_from(index) else { return Err(held) };
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, Slot::default);
        }
        match self.slot(index) {
            Some(slot) if slot.held.is_none() => slot.held = Some(held),
            Some(_) | None => return Err(held),
        }
        Ok(())
    }

    /// Makes every slot that holds nothing a free one; the lowest is used first.
    pub(super) fn free_the_rest(&mut self) {
        let empty = self.slots.iter().zip(0..).filter(|(slot, _)| slot.held.is_none());
        self.free = empty.map(|(_, index)| index).collect();
        self.free.reverse();
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Held> {
        let held = self.slot(index)?.held.take()?;
        self.free.push(index);
        Some(held)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Held> {
        self.slots.get(usize::try_from(index).ok()?)?.held.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Held> {
        self.slot(index)?.held.as_mut()
    }

    pub(super) fn armed_s(&self, index: u32) -> Option<u64> {
        self.slots.get(usize::try_from(index).ok()?)?.armed_s
    }

    pub(super) fn set_armed(&mut self, index: u32, armed_s: Option<u64>) {
        if let Some(slot) = self.slot(index) {
            slot.armed_s = armed_s;
        }
    }

    fn slot(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(index).ok()?)
    }
}
