//! Looking at the original's keys every second, and bringing both sides together. Each step names what it was decided on,
//! so that several replicas may do it at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Instance, InstanceId};

use super::commit::arguments;
use super::decide::{self, Decision};
use super::legacy::{self, Entry, Seen, Step};
use super::link::{Away, Link};
use super::record::{Key, padded};
use super::scripts::Script;
use super::{Memory, RedisStore, with};

/// Hashes in one round trip.
const PAGE: usize = 200;
/// Names in all that are looked at: as many as the store takes.
const NAMES: usize = 100_000;
/// Who registered what an old replica wrote.
const REGISTRANT: &str = "original-registry";
/// Rejects that are kept, to be told once each.
const REJECTS: usize = 1_000;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(super) struct Poll {
    epoch: String,
    seen: BTreeSet<String>,
    rejects: BTreeMap<String, String>,
}

/// One of ours, captured before the hashes are read.
struct Ours {
    instance: Arc<Instance>,
    modified: u64,
}

impl Poll {
    /// One look at all names.
    pub(super) async fn look(
        &mut self,
        store: &RedisStore,
        memory: &dyn Memory,
        link: &Link,
        epoch: &str,
    ) -> Result<(), Away> {
        if self.epoch != epoch {
            // Redis may have gone back: absence there proves nothing yet.
            self.seen.clear();
            epoch.clone_into(&mut self.epoch);
        }
        let heard = std::mem::take(&mut store.mirror().legacy_heard);
        let mut members = redis::cmd("SMEMBERS");
        members.arg("services:index");
        // Ours first: a change of ours after this makes what was decided on it void.
        let ours = captured(store, memory);
        let indexed: BTreeSet<String> = link.call(members).await?;
        let names: BTreeSet<&String> = indexed.iter().chain(ours.keys()).take(NAMES).collect();
        let names: Vec<&String> = names.into_iter().collect();
        for page in names.chunks(PAGE) {
            let read = |name: &&String| {
                let mut command = redis::cmd("HGETALL");
                command.arg(format!("services:{name}"));
                command
            };
            let hashes: Vec<HashMap<String, Vec<u8>>> =
                link.pipe("reading the original's keys", page.iter().map(read).collect()).await?;
            for (name, hash) in page.iter().zip(&hashes) {
                let key = Key::new(name, InstanceId::legacy().as_str());
                let seen = Seen {
                    before: self.seen.contains(*name),
                    indexed: indexed.contains(*name),
                    heard: heard.contains(&key),
                };
                let entry = legacy::read(name, hash);
                self.note(name, &entry);
                let held = ours.get(*name);
                let step = legacy::step(&entry, held.map(|ours| &*ours.instance), seen);
                take(store, memory, link, epoch, &key, held, step).await?;
            }
        }
        Ok(())
    }

    fn note(&mut self, name: &str, entry: &Entry) {
        match entry {
            Entry::Absent => {
                self.rejects.remove(name);
            }
            Entry::Present(_) => {
                self.seen.insert(name.to_owned());
                self.rejects.remove(name);
            }
            Entry::Rejected(why) => {
                if self.rejects.get(name) != Some(why) && self.rejects.len() < REJECTS {
                    tracing::warn!(name, %why, "an entry of the original registry is not taken over");
                    self.rejects.insert(name.to_owned(), why.clone());
                }
            }
        }
    }
}

/// The instances `@legacy` by name.
fn captured(shared: &RedisStore, memory: &dyn Memory) -> BTreeMap<String, Ours> {
    with(memory, |store, _| {
        let mirror = shared.mirror();
        let keys = mirror.all_known().filter(|(key, _)| key.is_legacy());
        keys.filter_map(|(key, known)| {
            let (service, id) = key.halves();
            let instance = store.get(service, id)?;
            Some((service.to_owned(), Ours { instance, modified: known.modified }))
        })
        .collect()
    })
}

/// Does `step`. Where another was faster nothing happens; the next look sees.
async fn take(
    shared: &RedisStore,
    memory: &dyn Memory,
    link: &Link,
    epoch: &str,
    key: &Key,
    held: Option<&Ours>,
    step: Step,
) -> Result<(), Away> {
    let expected = held.map_or_else(String::new, |ours| padded(ours.modified));
    let decision = match step {
        Step::Nothing => return Ok(()),
        Step::Alive => {
            // Their heartbeats count here; ours are in the hash already.
            with(memory, |store, now| {
                let (service, id) = key.halves();
                if let Ok(beat) = store.follow_beat(service, id, None, now) {
                    shared.mirror().heard(key, beat.generation, beat.stale);
                }
            });
            return Ok(());
        }
        Step::Publish => {
            let Some(ours) = held else { return Ok(()) };
            let mut arguments = vec![key.as_str().to_owned(), expected];
            arguments.extend(legacy::fields(&ours.instance));
            return link.run::<i64>(Script::PublishLegacy, &arguments).await.map(drop);
        }
        Step::Take(theirs) => {
            let before = held.map(|ours| &*ours.instance);
            decide::register(before, &theirs, REGISTRANT, memory.unix_ms())
        }
        Step::Remove => Decision::Remove(RemovalReason::Deregistered),
    };
    let generation = match &decision {
        Decision::Put(put) if put.draws => shared.mirror().propose(memory.unix_ms()).to_string(),
        Decision::Put(_)
        | Decision::Remove(_)
        | Decision::Refuse(_)
        | Decision::Renew { .. }
        | Decision::Nothing => String::new(),
    };
    // The hash is theirs: what comes from there is not written there.
    let arguments = arguments(epoch, key, &expected, &generation, &decision, false);
    if arguments.is_empty() {
        return Ok(());
    }
    link.run::<Vec<Vec<u8>>>(Script::Change, &arguments).await.map(drop)
}
