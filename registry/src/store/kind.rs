//! What many instances have in common: one copy of it, however many they are.

use std::collections::HashSet;
use std::sync::Arc;

use vertice_registry_api::{HealthPath, Instance, ServiceName};

use super::bytes::{Bytes, put_short};

/// Kinds below which it is not worth looking for those that nobody has any more.
const FEW: usize = 1024;

/// What does not tell the copies of a service apart, mostly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(super) service: ServiceName,
    pub(super) health_endpoint: HealthPath,
    pub(super) zone: Option<Arc<str>>,
    pub(super) version: Option<Arc<str>>,
    pub(super) registered_by: Arc<str>,
    pub(super) weight: u16,
    pub(super) ttl_s: u32,
}

impl Kind {
    pub(crate) fn of(instance: &Instance) -> Self {
        Self {
            service: instance.service.clone(),
            health_endpoint: instance.health_endpoint.clone(),
            zone: instance.zone.clone(),
            version: instance.version.clone(),
            registered_by: instance.registered_by.clone(),
            weight: instance.weight,
            ttl_s: instance.lease.ttl_s,
        }
    }

    pub(crate) fn put(&self, bytes: &mut Vec<u8>) {
        put_short(self.service.as_str(), bytes);
        put_short(self.health_endpoint.as_str(), bytes);
        for optional in [&self.zone, &self.version] {
            bytes.push(u8::from(optional.is_some()));
            if let Some(text) = optional {
                put_short(text, bytes);
            }
        }
        put_short(&self.registered_by, bytes);
        bytes.extend_from_slice(&self.weight.to_le_bytes());
        bytes.extend_from_slice(&self.ttl_s.to_le_bytes());
    }

    /// What [`Kind::put`] wrote.
    pub(crate) fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let service = ServiceName::parse(bytes.short()?).ok()?;
        let health_endpoint = HealthPath::parse(bytes.short()?).ok()?;
        let mut optional = || match bytes.u8()? {
            0 => Some(None),
            1 => Some(Some(Arc::from(bytes.short()?))),
            _ => None,
        };
        let (zone, version) = (optional()?, optional()?);
        let registered_by = Arc::from(bytes.short()?);
        let (weight, ttl_s) = (bytes.u16()?, bytes.u32()?);
        Some(Self { service, health_endpoint, zone, version, registered_by, weight, ttl_s })
    }
}

/// The kinds that there are: never more than twice as many as are in use, or a few.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    known: HashSet<Arc<Kind>>,
    look_at: usize,
    scratch: Vec<u8>,
}

impl Kinds {
    /// The one copy of `kind`.
    pub(crate) fn common(&mut self, kind: Kind) -> Arc<Kind> {
        match self.known.get(&kind) {
            Some(known) => known.clone(),
            None => self.keep(Arc::new(kind)),
        }
    }

    /// The one copy of what `kind` says.
    pub(super) fn known(&mut self, kind: Arc<Kind>) -> Arc<Kind> {
        match self.known.get(&kind) {
            Some(known) => known.clone(),
            None => self.keep(kind),
        }
    }

    /// An empty place where the bytes of an instance can be put together.
    pub(super) fn scratch(&mut self) -> &mut Vec<u8> {
        self.scratch.clear();
        &mut self.scratch
    }

    fn keep(&mut self, kind: Arc<Kind>) -> Arc<Kind> {
        if self.known.len() >= self.look_at.max(FEW) {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.look_at = self.known.len() * 2;
        }
        self.known.insert(kind.clone());
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::super::packed::tests::example;
    use super::*;

    #[test]
    fn a_kind_reads_back_as_it_was_written_and_a_part_of_it_is_none() {
        for change in ["{}", r#"{"zone":null,"weight":7}"#, r#"{"version":null,"health_endpoint":"/x"}"#] {
            let kind = Kind::of(&example(change));
            let mut bytes = Vec::new();
            kind.put(&mut bytes);
            assert_eq!(Kind::read(&mut Bytes(&bytes)), Some(kind), "{change}");
            for cut in 0..bytes.len() {
                assert_eq!(Kind::read(&mut Bytes(&bytes[..cut])), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn equal_kinds_are_one_and_what_nobody_has_any_more_is_forgotten() {
        let mut kinds = Kinds::default();
        let (one, other) = (kinds.pack(&example("{}")), kinds.pack(&example(r#"{"instance_id":"b:1"}"#)));
        assert!(Arc::ptr_eq(one.kind(), other.kind()));
        let foreign = kinds.share(Kinds::default().pack(&example("{}")));
        assert!(Arc::ptr_eq(one.kind(), foreign.kind()));
        // One instance that has very many versions after each other.
        let mut instance = example("{}");
        for version in 0..10 * FEW {
            instance.version = Some(version.to_string().into());
            kinds.pack(&instance);
        }
        assert!(kinds.known.len() <= FEW + 1, "{}", kinds.known.len());
        assert!(Arc::ptr_eq(kinds.pack(&example("{}")).kind(), one.kind()), "what is in use stays");
    }
}
