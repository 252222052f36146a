//! Services by slot and by name, shared between tables in chunks: a change to one service copies one chunk.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use vertice_registry_api::ServiceName;

use super::service::Service;

/// Services in one chunk: what a change copies, as `Arc`s.
const CHUNK: usize = 256;

type Chunk = Vec<Option<Arc<Service>>>;

/// The services of one table. A slot stays with its service until the name is dropped.
#[derive(Clone, Debug, Default)]
pub struct Services {
    chunks: Vec<Arc<Chunk>>,
    by_name: Arc<HashMap<ServiceName, usize, RandomState>>,
    /// Slots below the end that no service has.
    free: Vec<usize>,
}

impl Services {
    /// The service in `slot`.
    pub fn get(&self, slot: usize) -> Option<&Arc<Service>> {
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?.as_ref()
    }

    /// The slot of `name`.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The service called `name`.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Service>> {
        self.get(self.slot(name)?)
    }

    /// Every service, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten())
    }

    /// Calls `each` with the service of `before` and the one of `self` of every slot where they differ.
    pub fn differences(
        &self,
        before: &Self,
        mut each: impl FnMut(Option<&Arc<Service>>, Option<&Arc<Service>>),
    ) {
        for index in 0..self.chunks.len().max(before.chunks.len()) {
            let (new, old) = (self.chunks.get(index), before.chunks.get(index));
            if new.zip(old).is_some_and(|(new, old)| Arc::ptr_eq(new, old)) {
                continue;
            }
            for place in 0..CHUNK {
                let at = |chunk: Option<&'_ Arc<Chunk>>| chunk.and_then(|chunk| chunk.get(place)?.clone());
                let (new, old) = (at(new), at(old));
                let same = match (&new, &old) {
                    (None, None) => true,
                    (Some(new), Some(old)) => Arc::ptr_eq(new, old),
                    _ => false,
                };
                if !same {
                    each(old.as_ref(), new.as_ref());
                }
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Puts `service` where its name already is, or in a free slot. Its slot.
    pub fn put(&mut self, service: Arc<Service>) -> usize {
        let slot = self.slot(service.name.as_str()).unwrap_or_else(|| {
            let slot = self.free.pop().unwrap_or_else(|| self.end());
            Arc::make_mut(&mut self.by_name).insert(service.name.clone(), slot);
            slot
        });
        if slot / CHUNK >= self.chunks.len() {
            self.chunks.push(Arc::default());
        }
        if let Some(chunk) = self.chunks.get_mut(slot / CHUNK).map(Arc::make_mut) {
            if slot % CHUNK >= chunk.len() {
                chunk.resize(slot % CHUNK + 1, None);
            }
            if let Some(place) = chunk.get_mut(slot % CHUNK) {
                *place = Some(service);
            }
        }
        slot
    }

    /// Forgets `name`; its slot may go to another. Never for a service that a route leads to.
    pub fn drop_name(&mut self, name: &ServiceName) {
        let Some(slot) = Arc::make_mut(&mut self.by_name).remove(name) else { return };
        if let Some(place) =
            self.chunks.get_mut(slot / CHUNK).and_then(|chunk| Arc::make_mut(chunk).get_mut(slot % CHUNK))
        {
            *place = None;
        }
        self.free.push(slot);
    }

    fn end(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }
}
