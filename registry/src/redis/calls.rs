//! The writes of the registry's API, as the store in memory has them, but shared.

use vertice_registry_api::register::Registration;
use vertice_registry_api::{Position, ServiceName};

use super::decide::{self, Decision};
use super::record::Key;
use super::{Memory, RedisStore, with};
use crate::store::{BatchBeat, Beat, Patch, Refusal, Registered, Registrant};

impl RedisStore {
    /// As `Store::register`. The handle is drawn from the name: it means the same on every replica.
    pub async fn register(
        &self,
        memory: &dyn Memory,
        wanted: &Registration,
        by: Registrant<'_>,
        unix_ms: u64,
    ) -> Result<(Registered, Position), Refusal> {
        let key = Key::new(wanted.service.as_str(), wanted.instance_id.as_str());
        let (service, id) = (wanted.service.as_str(), wanted.instance_id.as_str());
        let admitted = with(memory, |store, _| store.admits(service, by));
        with(memory, |store, now| {
            let Some(held) = store.get(service, id) else { return Ok(()) };
            let decision = decide::register(Some(&held), wanted, by.name, unix_ms);
            // Every replica counts what comes to it.
            if decide::takes_over(&held, &decision) {
                store.admits_takeover(service, id, now)
            } else {
                Ok(())
            }
        })?;
        let done = self
            .commit(memory, &key, |held| match (&admitted, held) {
                // Every replica judges by what it has followed: some too many at once are possible, not many.
                (Err(full), None) => Decision::Refuse(full.clone()),
                _ => decide::register(held, wanted, by.name, unix_ms),
            })
            .await?;
        let (created, changed) = match &done.decision {
            Decision::Put(put) => (put.created, true),
            Decision::Refuse(_) | Decision::Renew { .. } | Decision::Remove(_) | Decision::Nothing => {
                (false, false)
            }
        };
        let ttl_s = wanted.ttl_s.unwrap_or(vertice_registry_api::limits::DEFAULT_TTL_S);
        let generation = done.generation;
        Ok((Registered { generation, handle: key.handle(), ttl_s, created, changed }, done.position))
    }

    /// As `Store::patch`.
    pub async fn patch(
        &self,
        memory: &dyn Memory,
        service: &str,
        id: &str,
        generation: Option<u64>,
        patch: &Patch,
    ) -> Result<(u64, Position), Refusal> {
        let done = self
            .commit(memory, &Key::new(service, id), |held| decide::patch(held, generation, patch))
            .await?;
        Ok((done.generation, done.position))
    }

    /// As `Store::deregister`.
    pub async fn deregister(
        &self,
        memory: &dyn Memory,
        service: &str,
        id: &str,
        generation: Option<u64>,
    ) -> Result<(bool, Position), Refusal> {
        let done =
            self.commit(memory, &Key::new(service, id), |held| decide::deregister(held, generation)).await?;
        Ok((matches!(done.decision, Decision::Remove(_)), done.position))
    }

    /// As `Store::remove_by_operator`.
    pub async fn remove_by_operator(
        &self,
        memory: &dyn Memory,
        service: &str,
        id: &str,
        generation: Option<u64>,
    ) -> Result<(bool, Position), Refusal> {
        let key = Key::new(service, id);
        let done = self.commit(memory, &key, |held| decide::remove_by_operator(held, generation)).await?;
        Ok((matches!(done.decision, Decision::Remove(_)), done.position))
    }

    /// As `Store::beat`. Answered from memory; Redis hears of it within a second. Only what memory does not know is
    /// asked for there: it may have been registered with another replica a moment ago.
    pub async fn beat(
        &self,
        memory: &dyn Memory,
        service: &str,
        id: &str,
        generation: Option<u64>,
    ) -> Result<Beat, Refusal> {
        let key = Key::new(service, id);
        let beaten = with(memory, |store, now| {
            let beat = store.follow_beat(service, id, generation, now)?;
            self.mirror().beat(key.clone(), beat);
            Ok(Beat { ttl_s: beat.ttl_s })
        });
        match beaten {
            Err(Refusal::Unknown) if self.link().is_some() && Key::parse(key.as_str()).is_ok() => {}
            answer => return answer,
        }
        let done = self.commit(memory, &key, |held| decide::renew(held, generation)).await?;
        match done.decision {
            Decision::Renew { ttl_s, .. } => Ok(Beat { ttl_s }),
            Decision::Put(put) => Ok(Beat { ttl_s: put.instance.lease.ttl_s }),
            Decision::Refuse(_) | Decision::Remove(_) | Decision::Nothing => Err(Refusal::Unknown),
        }
    }

    /// As `Store::beat_batch`, but handles mean the same in every epoch and on every replica.
    pub fn beat_batch(
        &self,
        memory: &dyn Memory,
        leases: &[(u64, u64)],
        may: impl Fn(&ServiceName) -> bool,
    ) -> BatchBeat {
        with(memory, |store, now| {
            let mut batch = BatchBeat::default();
            let mut mirror = self.mirror();
            for &(handle, generation) in leases {
                let key = mirror.named(handle).cloned();
                let beat = key.and_then(|key| {
                    let (service, id) = key.halves();
                    store.held(service, id).filter(|held| may(held.service()))?;
                    let beat = store.follow_beat(service, id, Some(generation), now).ok()?;
                    mirror.beat(key.clone(), beat);
                    Some(beat.ttl_s)
                });
                match beat {
                    None => batch.lost.push(handle),
                    Some(ttl_s) => {
                        batch.renewed += 1;
                        batch.shortest_ttl_s = Some(batch.shortest_ttl_s.map_or(ttl_s, |s| s.min(ttl_s)));
                    }
                }
            }
            batch
        })
    }
}
