//! The writes of the API: to the store in memory, or through it to the Redis that it is shared on.

use std::sync::Arc;
use std::time::Duration;

use vertice_process::clock;
use vertice_registry_api::register::Registration;
use vertice_registry_api::{Epoch, Instance, InstanceId, Position, ServiceName};

use super::refused::Refused;
use super::shared::Shared;
use crate::redis::Memory;
use crate::store::{BatchBeat, Beat, Patch, Refusal, Registered, Registrant, Store};

/// What the store said, and where in history that left it.
type Written<T> = (Result<T, Refusal>, Position);

impl Memory for Shared {
    fn with(&self, work: &mut dyn FnMut(&mut Store, Duration)) {
        self.publish(self.store(), |store, now| work(store, now));
    }

    fn unix_ms(&self) -> u64 {
        clock::unix_ms()
    }
}

impl Shared {
    pub(super) async fn register(
        &self,
        wanted: Registration,
        by: Registrant<'_>,
    ) -> Result<Written<Registered>, Refused> {
        let Some(redis) = &self.redis else {
            return self.write(|store, now| {
                let registered = store.register(wanted, by, now, clock::unix_ms());
                (registered, store.position())
            });
        };
        Ok(self.split(redis.register(self, &wanted, by, clock::unix_ms()).await))
    }

    /// Also the instance as it was before.
    pub(super) async fn patch(
        &self,
        service: &str,
        id: &str,
        generation: Option<u64>,
        patch: &Patch,
    ) -> Result<(Option<Arc<Instance>>, Written<u64>), Refused> {
        let Some(redis) = &self.redis else {
            return self.write(|store, now| {
                let before = store.get(service, id);
                let patched = store.patch(service, id, generation, patch, now);
                (before, (patched, store.position()))
            });
        };
        let before = self.store().get(service, id);
        Ok((before, self.split(redis.patch(self, service, id, generation, patch).await)))
    }

    pub(super) async fn deregister(
        &self,
        service: &str,
        id: &str,
        generation: Option<u64>,
    ) -> Result<Written<bool>, Refused> {
        let Some(redis) = &self.redis else {
            return self.write(|store, now| {
                let removed = store.deregister(service, id, generation, now);
                (removed, store.position())
            });
        };
        Ok(self.split(redis.deregister(self, service, id, generation).await))
    }

    /// Also the instance as it was before.
    pub(super) async fn remove_by_operator(
        &self,
        service: &str,
        id: &str,
        generation: Option<u64>,
    ) -> Result<(Option<Arc<Instance>>, Written<bool>), Refused> {
        let Some(redis) = &self.redis else {
            return self.write(|store, now| {
                let before = store.get(service, id);
                let removed = store.remove_by_operator(service, id, generation, now);
                (before, (removed, store.position()))
            });
        };
        let before = self.store().get(service, id);
        Ok((before, self.split(redis.remove_by_operator(self, service, id, generation).await)))
    }

    pub(super) async fn beat(
        &self,
        service: &str,
        id: &str,
        generation: Option<u64>,
    ) -> Result<Result<Beat, Refusal>, Refused> {
        match &self.redis {
            // As a write: the heartbeat of a stale instance makes it fresh, which is a change.
            None => self.write(|store, now| store.beat(service, id, generation, now)),
            Some(redis) => Ok(redis.beat(self, service, id, generation).await),
        }
    }

    pub(super) fn beat_batch(
        &self,
        epoch: Epoch,
        leases: &[(u64, u64)],
        may: impl Fn(&ServiceName) -> bool,
    ) -> Result<BatchBeat, Refused> {
        match &self.redis {
            None => self.write(|store, now| store.beat_batch(epoch, leases, may, now)),
            // Handles on Redis mean the same in every epoch.
            Some(redis) => Ok(redis.beat_batch(self, leases, may)),
        }
    }

    /// How many of `dead` were stale, of that generation, and are removed.
    pub(super) async fn proven_dead(
        &self,
        dead: &[(ServiceName, InstanceId, u64)],
    ) -> Result<usize, Refused> {
        let Some(redis) = &self.redis else {
            return self.write(|store, now| {
                let proven = dead.iter().filter(|(service, id, generation)| {
                    store.proven_dead(service.as_str(), id.as_str(), *generation, now)
                });
                proven.count()
            });
        };
        Ok(redis.proven_dead(self, dead).await)
    }

    /// Whether self-preservation was on and has ended, and how many were stale then.
    pub(super) async fn release(&self) -> Result<(bool, usize, Position), Refused> {
        let Some(redis) = &self.redis else {
            return self.write(|store, _| {
                let stale = store.stats().stale;
                (store.release(), stale, store.position())
            });
        };
        let stale = self.store().stats().stale;
        let away = "Redis is away: nothing is removed until it is back, so there is nothing to release yet";
        let released = redis.release(self).await.ok_or_else(|| Refused::Conflict(away.into()))?;
        Ok((released, stale, self.at().0))
    }

    fn split<T>(&self, done: Result<(T, Position), Refusal>) -> Written<T> {
        match done {
            Ok((done, position)) => (Ok(done), position),
            Err(refusal) => (Err(refusal), self.at().0),
        }
    }
}
