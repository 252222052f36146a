//! An instance in the form in which a million of them are held: what many have in common is one copy, and what is its own
//! is one piece of bytes, which is read when somebody asks. An `Instance` takes five times as much.

use std::collections::BTreeMap;
use std::sync::Arc;

use vertice_registry_api::{Instance, InstanceId, Lease, Metadata, ServiceName, ServiceUrl, Status};

use super::bytes::{Bytes, put_short};
use super::kind::{Kind, Kinds};

/// Where the id stands, behind the generation, the flags and its length.
const ID_AT: usize = 10;
/// The flag of staleness; the bits below it are the status and the override.
const STALE: u8 = 1 << 5;
/// In the order of their numbers.
const STATUSES: [Status; 4] = [Status::Starting, Status::Up, Status::Draining, Status::Down];

/// An instance, small and cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    kind: Arc<Kind>,
    /// Generation, flags, id, incarnation, time of registration, URL, labels.
    own: Arc<[u8]>,
}

impl Packed {
    /// Whose copy.
    pub fn service(&self) -> &ServiceName {
        &self.kind.service
    }

    /// The bytes of its id, which have the order of the ids.
    pub fn id(&self) -> &[u8] {
        let length = self.own.get(ID_AT - 1).copied().map_or(0, usize::from);
        self.own.get(ID_AT..ID_AT + length).unwrap_or_default()
    }

    /// Who holds it.
    pub fn generation(&self) -> u64 {
        self.own.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Where it stands.
    pub fn zone(&self) -> Option<&str> {
        self.kind.zone.as_deref()
    }

    /// Who registered it.
    pub fn registered_by(&self) -> &str {
        &self.kind.registered_by
    }

    /// Seconds of its lease.
    pub fn ttl_s(&self) -> u32 {
        self.kind.ttl_s
    }

    /// As [`Instance::stale`].
    pub fn stale(&self) -> bool {
        self.flags() & STALE != 0
    }

    /// The owner's word.
    pub fn status(&self) -> Status {
        statuses(self.flags()).0
    }

    /// As [`Instance::effective_status`].
    pub fn effective_status(&self) -> Status {
        let (status, status_override) = statuses(self.flags());
        status_override.unwrap_or(status)
    }

    fn flags(&self) -> u8 {
        self.own.get(ID_AT - 2).copied().unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &Arc<Kind> {
        &self.kind
    }

    pub(crate) fn own(&self) -> &[u8] {
        &self.own
    }

    /// All of it. `None` never comes of what was packed or read here.
    pub fn unpack(&self) -> Option<Instance> {
        unpack(&self.kind, &self.own)
    }

    /// Takes in what [`Packed::own`] gave once, if it is that; also all of it.
    pub(crate) fn read(kind: &Arc<Kind>, own: &[u8]) -> Option<(Self, Instance)> {
        let instance = unpack(kind, own)?;
        Some((Self { kind: kind.clone(), own: Arc::from(own) }, instance))
    }
}

fn flags(instance: &Instance) -> u8 {
    let number =
        |wanted: Status| (0..).zip(STATUSES).find(|(_, status)| *status == wanted).map_or(0, |n| n.0);
    let stale = if instance.stale { STALE } else { 0 };
    let over: u8 = instance.status_override.map_or(0, |status| number(status) + 1);
    number(instance.status) | over << 2 | stale
}

fn statuses(flags: u8) -> (Status, Option<Status>) {
    let at = |number: u8| STATUSES.get(usize::from(number)).copied();
    let over = (flags >> 2 & 7).checked_sub(1).and_then(at);
    (at(flags & 3).unwrap_or_default(), over)
}

fn unpack(kind: &Kind, own: &[u8]) -> Option<Instance> {
    let mut own = Bytes(own);
    let generation = own.u64()?;
    let flags = own.u8()?;
    let id = own.u8()?;
    let id = std::str::from_utf8(own.take(id.into())?).ok()?;
    let (incarnation, registered_at_ms) = (own.u64()?, own.u64()?);
    let scheme = own.u8()?;
    let rest = own.short()?;
    let url = match scheme {
        0 => ServiceUrl::parse(rest),
        1 => ServiceUrl::parse(&["http://", id, rest].concat()),
        2 => ServiceUrl::parse(&["https://", id, rest].concat()),
        _ => return None,
    };
    let mut labels = BTreeMap::new();
    for _ in 0..own.u8()? {
        labels.insert(own.short()?.to_owned(), own.short()?.to_owned());
    }
    let (status, status_override) = statuses(flags);
    own.0.is_empty().then_some(())?;
    Some(Instance {
        service: kind.service.clone(),
        instance_id: InstanceId::parse(id).ok()?,
        incarnation,
        generation,
        url: url.ok()?,
        health_endpoint: kind.health_endpoint.clone(),
        metadata: if labels.is_empty() { Metadata::default() } else { Metadata::new(labels).ok()? },
        zone: kind.zone.clone(),
        weight: kind.weight,
        version: kind.version.clone(),
        status,
        status_override,
        stale: flags & STALE != 0,
        lease: Lease { ttl_s: kind.ttl_s },
        registered_at_ms,
        registered_by: kind.registered_by.clone(),
    })
}

/// Writes what is an instance's own.
pub(crate) fn put_own(instance: &Instance, own: &mut Vec<u8>) {
    own.extend_from_slice(&instance.generation.to_le_bytes());
    own.push(flags(instance));
    let id = instance.instance_id.as_str();
    own.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
    own.extend_from_slice(id.as_bytes());
    own.extend_from_slice(&instance.incarnation.to_le_bytes());
    own.extend_from_slice(&instance.registered_at_ms.to_le_bytes());
    // Mostly the id is where it listens, and need not be written twice.
    let url = instance.url.to_string();
    let behind = |scheme: &str| url.strip_prefix(scheme)?.strip_prefix(id);
    let (scheme, rest) = match (behind("http://"), behind("https://")) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (2, rest),
        (None, None) => (0, url.as_str()),
    };
    own.push(scheme);
    put_short(rest, own);
    own.push(u8::try_from(instance.metadata.iter().count()).unwrap_or(u8::MAX));
    for (key, value) in instance.metadata.iter() {
        put_short(key, own);
        put_short(value, own);
    }
}

impl Kinds {
    /// `instance` in its small form.
    pub(crate) fn pack(&mut self, instance: &Instance) -> Packed {
        let kind = self.common(Kind::of(instance));
        let own = self.scratch();
        put_own(instance, own);
        Packed { kind, own: Arc::from(own.as_slice()) }
    }

    /// `packed` with the copy of its kind that others have.
    pub(crate) fn share(&mut self, packed: Packed) -> Packed {
        Packed { kind: self.known(packed.kind), own: packed.own }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::store) fn example(change: &str) -> Instance {
        let json = r#"{"service":"osint_service","instance_id":"10.0.0.7:8036","incarnation":3,"generation":4,"url":"http://10.0.0.7:8036","health_endpoint":"/health","zone":"a","weight":100,"version":"2.1","status":"up","lease":{"ttl_s":60},"registered_at_ms":5,"registered_by":"anonymous"}"#;
        let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
        let change: serde_json::Map<_, _> = serde_json::from_str(change).unwrap();
        value.as_object_mut().unwrap().extend(change);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_packed_comes_back() {
        let long = "x".repeat(100);
        let labels = format!(r#"{{"metadata":{{"a":"","k":"é\n","{}":"{long}"}}}}"#, &long[..64]);
        for change in [
            "{}",
            r#"{"url":"https://10.0.0.7:8036/base"}"#,
            r#"{"url":"http://10.0.0.7:80365"}"#.replace("80365", "80").as_str(),
            r#"{"url":"http://[::1]:8036/a/b"}"#,
            r#"{"url":"http://a_name:1","instance_id":"@legacy"}"#,
            r#"{"instance_id":"10.0.0.7:803"}"#,
            r#"{"status":"starting","override":"down","stale":true}"#,
            r#"{"status":"draining","override":"starting"}"#,
            r#"{"zone":null,"version":null,"weight":0,"generation":18446744073709551615}"#,
            labels.as_str(),
        ] {
            let instance = example(change);
            let packed = Kinds::default().pack(&instance);
            assert_eq!(packed.unpack().as_ref(), Some(&instance), "{change}");
            assert_eq!(packed.id(), instance.instance_id.as_str().as_bytes());
            assert_eq!(
                (packed.generation(), packed.stale(), packed.status(), packed.effective_status()),
                (instance.generation, instance.stale, instance.status, instance.effective_status())
            );
            let (again, read) = Packed::read(packed.kind(), packed.own()).unwrap();
            assert_eq!((&again, &read), (&packed, &instance));
            for cut in 0..packed.own().len() {
                assert_eq!(Packed::read(packed.kind(), &packed.own()[..cut]), None, "cut at {cut}");
            }
        }
    }
}
