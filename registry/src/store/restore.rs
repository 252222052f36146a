//! What a store gives to be kept on a disk, and a store out of what was kept.

use std::time::Duration;

use vertice_registry_api::Position;
use vertice_registry_api::digest::SetDigest;

use super::log::ChangeLog;
use super::slots::Held;
use super::{Packed, Store, StoreLimits};

impl Store {
    /// A store that goes on at `position` with `rows`, whose digest it is, and the handles that they had. Each gets a whole lease with its
    /// grace, and the state is *warming*: nobody could renew while there was no registry. A draining instance loses its
    /// deadline; its lease bounds it.
    pub fn restored(
        limits: StoreLimits,
        position: Position,
        next_generation: u64,
        rows: impl IntoIterator<Item = (Option<u32>, Packed)>,
        digest: SetDigest,
        now: Duration,
    ) -> Self {
        let mut store = Self::new(limits, position.epoch, next_generation, now);
        store.log = ChangeLog::starting_at(position.revision, limits.log_entries, limits.log_bytes);
        store.digest = digest;
        let lease_ms = store.clock.observe(now);
        let mut homeless = Vec::new();
        for (handle, packed) in rows {
            // A handle beyond the limit is none of ours, and would only make the array long.
            let fits = handle.filter(|h| usize::try_from(*h).is_ok_and(|h| h < limits.instances));
            let held = Held { packed: store.kinds.share(packed), beat_ms: lease_ms };
            match fits {
                Some(handle) => match store.slots.insert_at(handle, held) {
                    Ok(()) => store.come_back(handle, lease_ms),
                    Err(held) => homeless.push(held),
                },
                None => homeless.push(held),
            }
        }
        store.slots.free_the_rest();
        for held in homeless {
            if let Some(slot) = store.slots.insert(held) {
                store.come_back(slot, lease_ms);
            }
        }
        store
    }

    /// Makes an instance that is in its slot known everywhere else.
    fn come_back(&mut self, slot: u32, lease_ms: u64) {
        self.move_in(slot);
        self.follow_mark(slot, lease_ms);
        self.arm(slot);
    }

    /// The handle of `(service, id)`.
    pub fn handle(&self, service: &str, id: &str) -> Option<u32> {
        self.find(service, id)
    }

    /// Higher than any generation that was given out.
    pub fn next_generation(&self) -> u64 {
        self.next_generation
    }

    /// All instances with their handles.
    pub fn rows_with_handles(&self) -> Vec<(Option<u32>, Packed)> {
        let slots = self.services.values().flat_map(|record| record.instances.iter());
        let mut rows = Vec::with_capacity(self.slots.len());
        rows.extend(slots.filter_map(|slot| Some((Some(slot), self.slots.get(slot)?.packed.clone()))));
        rows
    }
}

#[cfg(test)]
mod tests {
    use vertice_registry_api::register::Registration;
    use vertice_registry_api::{Epoch, SourceState};

    use super::*;
    use crate::store::Registrant;

    fn filled() -> Store {
        let mut store = Store::new(StoreLimits::default(), Epoch(7), 1, Duration::ZERO);
        for number in 0..20 {
            let body = format!(
                r#"{{"service_name":"s{}","instance_id":"i:{number}","endpoint":"http://h:80","zone":"z"}}"#,
                number % 3
            );
            let wanted = Registration::from_old_body(body.as_bytes()).unwrap();
            store.register(wanted, Registrant { name: "p", limited: true }, Duration::ZERO, 0).unwrap();
        }
        for number in [3, 7, 19] {
            let service = format!("s{}", number % 3);
            store.deregister(&service, &format!("i:{number}"), None, Duration::ZERO).unwrap();
        }
        store
    }

    fn restored(store: &Store) -> Store {
        let rows = store.rows_with_handles();
        let next = store.next_generation();
        Store::restored(StoreLimits::default(), store.position(), next, rows, store.digest(), Duration::ZERO)
    }

    #[test]
    fn a_restored_store_is_the_same_and_goes_on() {
        let store = filled();
        let mut again = restored(&store);
        assert_eq!((again.position(), again.digest()), (store.position(), store.digest()));
        assert_eq!(again.rows_with_handles(), store.rows_with_handles());
        assert_eq!(again.state(), SourceState::Warming);
        assert_eq!(again.oldest(), store.position().revision);
        let wanted = br#"{"service_name":"s9","endpoint":"http://h:80"}"#;
        let wanted = Registration::from_old_body(wanted).unwrap();
        let by = Registrant { name: "p", limited: true };
        let registered = again.register(wanted, by, Duration::ZERO, 0).unwrap();
        assert_eq!(registered.generation, store.next_generation());
        assert!([3, 7, 19].contains(&registered.handle), "a handle that is free");
        for tick in 0..800 {
            while again.advance(Duration::from_millis(tick * 100), 100).more {}
        }
        assert!(again.stats().instances < 18, "leases run out");
    }

    #[test]
    fn handles_that_are_missing_taken_or_absurd_are_given_anew() {
        let store = filled();
        let mut rows = store.rows_with_handles();
        rows[0].0 = None;
        rows[1].0 = rows[2].0;
        rows[3].0 = Some(u32::MAX);
        let again = Store::restored(
            StoreLimits::default(),
            store.position(),
            1,
            rows,
            store.digest(),
            Duration::ZERO,
        );
        assert_eq!(SetDigest::of(&again.instances()), store.digest());
        let mut handles: Vec<_> = again.rows_with_handles().into_iter().map(|(handle, _)| handle).collect();
        handles.sort_unstable();
        handles.dedup();
        assert_eq!(handles.len(), 17);
        assert!(handles.iter().all(|handle| handle.unwrap() < 30));
    }
}
