//! What stands in Redis for an instance, and what the stream tells of a change: text to types and back, no I/O.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Instance, InstanceId, ServiceName};

/// Digits of each number in a record's head, so that the order of the texts is that of the numbers.
const DIGITS: usize = 20;

/// `service/id`, the name of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(Arc<str>);

impl Key {
    pub(super) fn of(instance: &Instance) -> Self {
        Self::new(instance.service.as_str(), instance.instance_id.as_str())
    }

    pub(super) fn new(service: &str, id: &str) -> Self {
        Self(format!("{service}/{id}").into())
    }

    /// Neither half can have a slash.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (service, id) = text.split_once('/').ok_or_else(|| format!("the key {text:?} has no slash"))?;
        ServiceName::parse(service).map_err(|error| error.0)?;
        if id != vertice_registry_api::name::LEGACY_INSTANCE {
            InstanceId::parse(id).map_err(|error| error.0)?;
        }
        Ok(Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// A short name that means the same on every replica. Two keys with one are as likely as 1 in 18 000 among a
    /// million; then one of them is told that its lease is lost, and registers again, which renews.
    pub(super) fn handle(&self) -> u64 {
        let hash = Sha256::digest(self.0.as_bytes());
        // 53 bits, which also a double holds.
        hash.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)) >> 11
    }

    /// The halves as what they are; `None` where the key did not come through [`Self::parse`] or [`Self::of`].
    pub(super) fn names(&self) -> Option<(ServiceName, InstanceId)> {
        let (service, id) = self.halves();
        let id = if self.is_legacy() { InstanceId::legacy() } else { InstanceId::parse(id).ok()? };
        Some((ServiceName::parse(service).ok()?, id))
    }

    /// Whether it is the one instance of a client of the old calls.
    pub(super) fn is_legacy(&self) -> bool {
        self.halves().1 == vertice_registry_api::name::LEGACY_INSTANCE
    }

    /// The service's name and the instance's id.
    pub(super) fn halves(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or((&self.0, ""))
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The revision that wrote it.
    pub(super) modified: u64,
    pub(super) instance: Arc<Instance>,
}

impl Row {
    /// Reads `record`. The head's generation is the one that counts: the script drew it, the JSON cannot know it.
    pub(super) fn parse(record: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(record).map_err(|_| "the record is not UTF-8".to_owned())?;
        let modified = head(text, 0)?;
        let generation = head(text, 1)?;
        head(text, 2)?;
        let json = text.get(3 * DIGITS..).unwrap_or_default();
        let mut instance: Instance = serde_json::from_str(json).map_err(|error| error.to_string())?;
        instance.generation = generation;
        Ok(Self { modified, instance: Arc::new(instance) })
    }
}

fn head(text: &str, position: usize) -> Result<u64, String> {
    let digits = text.get(position * DIGITS..(position + 1) * DIGITS);
    let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|d| d.parse().ok()).ok_or_else(|| "the record's head is not three numbers".to_owned())
}

/// `number` as it stands in a head.
pub(super) fn padded(number: u64) -> String {
    format!("{number:020}")
}

/// The JSON of a record. Without the generation, which the head has.
pub(super) fn json(instance: &Instance) -> String {
    let bare = Instance { generation: 0, ..instance.clone() };
    // Serialising an instance cannot fail: string keys only, no foreign code.
    serde_json::to_string(&bare).unwrap_or_default()
}

/// One step of the shared history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) revision: u64,
    pub(super) epoch: String,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Put {
        key: Key,
        row: Row,
    },
    Remove {
        key: Key,
        generation: u64,
        reason: RemovalReason,
    },
    /// A new epoch begins.
    Epoch,
    /// It names a key and cannot be read: what is held there stays.
    Unreadable {
        key: Option<Key>,
        why: String,
    },
}

impl Step {
    /// Reads an entry of the stream. Only an id that is none is an error: without it there is no order.
    pub(super) fn parse(id: &str, fields: &HashMap<String, Vec<u8>>) -> Result<Self, String> {
        let revision = id.split_once('-').filter(|(_, sequence)| *sequence == "0").map(|(r, _)| r.parse());
        let Some(Ok(revision)) = revision else {
            return Err(format!("the stream has the foreign id {id:?}"));
        };
        let text = |name: &str| {
            let bytes = fields.get(name).ok_or_else(|| format!("the field {name} is missing"))?;
            std::str::from_utf8(bytes).map_err(|_| format!("the field {name} is not UTF-8"))
        };
        let epoch = text("e").unwrap_or_default().to_owned();
        let key = text("k").and_then(Key::parse);
        let what = match (text("o"), &key) {
            (Ok("epoch"), _) => Ok(What::Epoch),
            (Ok("put"), Ok(key)) => {
                fields.get("v").ok_or_else(|| "no record".to_owned()).and_then(|record| {
                    let row = Row::parse(record)?;
                    if Key::of(&row.instance) == *key {
                        Ok(What::Put { key: key.clone(), row })
                    } else {
                        Err("the record is another instance's".to_owned())
                    }
                })
            }
            (Ok("remove"), Ok(key)) => removal(&text).map(|(generation, reason)| What::Remove {
                key: key.clone(),
                generation,
                reason,
            }),
            (Ok(other), Ok(_)) => Err(format!("unknown kind {other:?}")),
            (Err(why), _) => Err(why),
            (Ok(_), Err(why)) => Err(why.clone()),
        };
        let what = what.unwrap_or_else(|why| What::Unreadable { key: key.ok(), why });
        Ok(Self { revision, epoch, what })
    }
}

fn removal<'f>(text: &impl Fn(&str) -> Result<&'f str, String>) -> Result<(u64, RemovalReason), String> {
    let generation = text("g")?.parse().map_err(|_| "the generation is not a number".to_owned())?;
    let word = text("r")?;
    let all =
        [RemovalReason::Deregistered, RemovalReason::Drained, RemovalReason::Expired, RemovalReason::Removed];
    let reason = all.into_iter().find(|reason| reason.as_str() == word);
    Ok((generation, reason.ok_or_else(|| format!("unknown reason {word:?}"))?))
}

#[cfg(test)]
pub(super) mod tests {
    use vertice_registry_api::{HealthPath, Lease, Metadata, ServiceUrl, Status};

    use super::*;

    pub(in crate::redis) fn instance(service: &str, id: &str, generation: u64) -> Instance {
        Instance {
            service: ServiceName::parse(service).unwrap(),
            instance_id: if id == "@legacy" { InstanceId::legacy() } else { InstanceId::parse(id).unwrap() },
            incarnation: u64::MAX,
            generation,
            url: ServiceUrl::parse("http://h:80").unwrap(),
            health_endpoint: HealthPath::default(),
            metadata: Metadata::default(),
            zone: None,
            weight: 100,
            version: None,
            status: Status::Up,
            status_override: None,
            stale: false,
            lease: Lease { ttl_s: 60 },
            registered_at_ms: 1,
            registered_by: "x".into(),
        }
    }

    fn record(modified: u64, instance: &Instance) -> String {
        let (generation, incarnation) = (padded(instance.generation), padded(instance.incarnation));
        format!("{}{generation}{incarnation}{}", padded(modified), json(instance))
    }

    fn fields(pairs: &[(&str, &str)]) -> HashMap<String, Vec<u8>> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_record_reads_back_with_every_digit() {
        let before = instance("osint_service", "h:80", 9_007_199_254_740_991);
        let row = Row::parse(record(7, &before).as_bytes()).unwrap();
        assert_eq!((row.modified, &*row.instance), (7, &before));
        for bad in ["", "{}", &record(7, &before)[1..], &record(7, &before)[..100]] {
            assert!(Row::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn steps_are_read_or_said_to_be_unreadable() {
        let record = record(7, &instance("ab", "x", 3));
        let put =
            Step::parse("7-0", &fields(&[("e", "E"), ("o", "put"), ("k", "ab/x"), ("v", &record)])).unwrap();
        assert!(matches!(&put.what, What::Put { key, row } if key.as_str() == "ab/x" && row.modified == 7));
        assert_eq!((put.revision, put.epoch.as_str()), (7, "E"));
        let remove = fields(&[("e", "E"), ("o", "remove"), ("k", "ab/x"), ("g", "003"), ("r", "expired")]);
        let remove = Step::parse("8-0", &remove).unwrap();
        assert!(matches!(remove.what, What::Remove { generation: 3, reason: RemovalReason::Expired, .. }));
        for bad in [
            &[("o", "put"), ("k", "ab/x")][..],
            &[("o", "put"), ("k", "ab/y"), ("v", &record)],
            &[("o", "remove"), ("k", "ab/x"), ("g", "x"), ("r", "expired")],
            &[("o", "dance"), ("k", "ab/x")],
            &[("k", "ab/x")],
            &[],
        ] {
            assert!(
                matches!(Step::parse("9-0", &fields(bad)).unwrap().what, What::Unreadable { .. }),
                "{bad:?}"
            );
        }
        for id in ["7", "7-1", "x-0", ""] {
            assert!(Step::parse(id, &fields(&[])).is_err(), "{id}");
        }
    }
}
