//! One write: decided on what is known, done by the script if that still holds, else decided again; alone if Redis is away.

use std::sync::Arc;

use tokio::time::timeout;
use vertice_registry_api::{Epoch, Instance, Position, Revision, limits};

use super::decide::{Decision, Drain, Put};
use super::legacy;
use super::link::{Away, CALL_DEADLINE, Link};
use super::mirror::{Dirty, Known};
use super::record::{Key, Row, json, padded};
use super::scripts::{INSTANCES, Script};
use super::{Memory, RedisStore, with};
use crate::store::Refusal;

/// A record that changes this often under one writer is fought over by others who get on.
const ATTEMPTS: usize = 16;
/// Links that one write may lose before it is taken in alone.
const FAILOVERS: usize = 3;

/// What a write led to.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) decision: Decision,
    /// Of the record, where there is one now.
    pub(super) generation: u64,
    pub(super) position: Position,
}

/// An answer of `change.lua`.
enum Changed {
    Ok {
        revision: u64,
        generation: u64,
    },
    /// Somebody else was faster; this is the record now.
    Other(Looked),
}

/// What a write is decided on: the record, and the revision that wrote it.
type Current = Option<Row>;

/// As `Current`; the error is that of a record that nobody of us wrote.
type Looked = Result<Current, String>;

impl RedisStore {
    /// Does what `decide` says about the record of `key`.
    pub(super) async fn commit(
        &self,
        memory: &dyn Memory,
        key: &Key,
        decide: impl Fn(Option<&Instance>) -> Decision,
    ) -> Result<Done, Refusal> {
        // One for all attempts: a call that Redis does after we gave up does the same as we did alone.
        let proposed = self.mirror().propose(memory.unix_ms());
        for _ in 0..FAILOVERS {
            let gate = self.0.gate.read().await;
            let Some((link, epoch)) = self.link() else { break };
            match self.commit_shared(memory, &link, &epoch, key, proposed, &decide).await {
                Ok(Err(refusal)) => return Err(refusal),
                Ok(Ok(done)) => {
                    // Who waits for the gate brings memory and Redis together; nobody may wait for that in here.
                    drop(gate);
                    if self.followed(&link, &done).await {
                        return Ok(done);
                    }
                    // Redis said yes, and was gone before this replica saw the change: it may be lost there, and nobody
                    // else holds it. Decided again, it is done again or found done.
                }
                Err(why) => self.cut(memory, &link, &why),
            }
        }
        let _gate = self.0.gate.read().await;
        self.commit_alone(memory, key, proposed, &decide)
    }

    async fn commit_shared(
        &self,
        memory: &dyn Memory,
        link: &Arc<Link>,
        epoch: &str,
        key: &Key,
        proposed: u64,
        decide: &impl Fn(Option<&Instance>) -> Decision,
    ) -> Result<Result<Done, Refusal>, Away> {
        let mut current = self.in_memory(memory, key);
        // Memory may be a moment behind: what would refuse or change nothing is looked at in Redis first.
        let mut fresh = false;
        for _ in 0..ATTEMPTS {
            let decision = decide(current.as_ref().map(|row| &*row.instance));
            let held = current.as_ref().map_or(0, |row| row.instance.generation);
            let looked = match &decision {
                Decision::Refuse(refusal) if fresh => return Ok(Err(refusal.clone())),
                Decision::Nothing if fresh => return Ok(Ok(Self::done(memory, decision, held))),
                Decision::Refuse(_) | Decision::Nothing => fetch(link, key).await?,
                Decision::Renew { generation, ttl_s } => {
                    let lease = [(key.clone(), *generation, *ttl_s)];
                    if beat(link, self.0.settings.legacy, &lease).await?.is_empty() {
                        with(memory, |store, now| {
                            let (service, id) = key.halves();
                            // Not in memory yet: the stream brings it with a full lease.
                            let _ = store.follow_beat(service, id, Some(*generation), now);
                        });
                        return Ok(Ok(Self::done(memory, decision, held)));
                    }
                    fetch(link, key).await?
                }
                Decision::Put(_) | Decision::Remove(_) => {
                    match self.change(link, epoch, key, current.as_ref(), proposed, &decision).await? {
                        Changed::Ok { revision, generation } => {
                            let epoch = epoch.parse().unwrap_or(Epoch(0));
                            let position = Position { epoch, revision: Revision(revision) };
                            return Ok(Ok(Done { decision, generation, position }));
                        }
                        Changed::Other(looked) => looked,
                    }
                }
            };
            match looked {
                Ok(row) => (current, fresh) = (row, true),
                Err(why) => {
                    tracing::error!(key = key.as_str(), %why, "a record in Redis that nobody of us wrote: not touched");
                    return Ok(Err(Refusal::OldGeneration));
                }
            }
        }
        Ok(Err(Refusal::OldGeneration))
    }

    async fn change(
        &self,
        link: &Link,
        epoch: &str,
        key: &Key,
        current: Option<&Row>,
        proposed: u64,
        decision: &Decision,
    ) -> Result<Changed, Away> {
        let expected = current.map_or_else(String::new, |row| padded(row.modified));
        let generation = match decision {
            Decision::Put(put) if put.draws => proposed.to_string(),
            Decision::Put(_)
            | Decision::Remove(_)
            | Decision::Refuse(_)
            | Decision::Renew { .. }
            | Decision::Nothing => String::new(),
        };
        let arguments = arguments(epoch, key, &expected, &generation, decision, self.0.settings.legacy);
        let answer: Vec<Vec<u8>> = link.run(Script::Change, &arguments).await?;
        read_changed(&answer)
    }

    /// Redis is away: memory takes it, and Redis is told later.
    fn commit_alone(
        &self,
        memory: &dyn Memory,
        key: &Key,
        proposed: u64,
        decide: &impl Fn(Option<&Instance>) -> Decision,
    ) -> Result<Done, Refusal> {
        with(memory, |store, now| {
            let (service, id) = key.halves();
            let held = store.get(service, id);
            let decision = decide(held.as_deref());
            let mut generation = held.as_ref().map_or(0, |held| held.generation);
            let mut mirror = self.mirror();
            if let Decision::Put(_) | Decision::Remove(_) = &decision
                && !mirror.dirty_any()
            {
                // What comes is not in the shared history, so its revisions must not look as if they were.
                store.follow_alone(Epoch(fastrand::u128(..)));
            }
            match &decision {
                Decision::Refuse(refusal) => return Err(refusal.clone()),
                Decision::Nothing => {}
                Decision::Renew { generation, .. } => {
                    if let Ok(beat) = store.follow_beat(service, id, Some(*generation), now) {
                        mirror.beat(key.clone(), beat);
                    }
                }
                Decision::Put(put) => {
                    let mut instance = put.instance.clone();
                    if put.draws {
                        generation = proposed.max(generation + 1);
                    }
                    instance.generation = generation;
                    let modified = mirror.known(key).map_or(0, |known| known.modified);
                    mirror.put(key, Known { modified, generation });
                    let before = mirror.dirty_put(key).map(|(drain, _)| drain);
                    let drain = before.filter(|_| put.drain == Drain::Keep).unwrap_or(put.drain);
                    mirror.soil(key, Dirty::Put { drain });
                    store.follow_upsert(Arc::new(instance), now);
                }
                Decision::Remove(reason) => {
                    if let Some(held) = &held {
                        mirror.remove(key, generation, true);
                        mirror.soil(key, Dirty::Remove { generation, reason: *reason });
                        store.follow_remove(&held.service, &held.instance_id, generation, *reason, now);
                    }
                }
            }
            Ok(Done { decision, generation, position: store.position() })
        })
    }

    /// The record as memory has it.
    fn in_memory(&self, memory: &dyn Memory, key: &Key) -> Current {
        let (service, id) = key.halves();
        with(memory, |store, _| {
            let instance = store.get(service, id)?;
            let modified = self.mirror().known(key)?.modified;
            Some(Row { modified, instance })
        })
    }

    fn done(memory: &dyn Memory, decision: Decision, generation: u64) -> Done {
        Done { decision, generation, position: with(memory, |store, _| store.position()) }
    }

    /// Waits until memory has what was written, so that its writer reads it here. False: the link was cut before that.
    async fn followed(&self, link: &Arc<Link>, done: &Done) -> bool {
        match &done.decision {
            Decision::Put(_) | Decision::Remove(_) => self.followed_to(link, done.position).await,
            Decision::Refuse(_) | Decision::Renew { .. } | Decision::Nothing => true,
        }
    }

    /// Waits until memory is at `wanted`. False: the link was cut before that.
    pub(super) async fn followed_to(&self, link: &Arc<Link>, wanted: Position) -> bool {
        let reached = |at: Option<Position>| {
            at.is_some_and(|at| at.epoch == wanted.epoch && at.revision >= wanted.revision)
        };
        let over = self.0.followed.wait_for(|at| reached(at) || !self.holds(link));
        match timeout(CALL_DEADLINE, over).await {
            Ok(at) => reached(at),
            // It is written and the link holds: this replica is only slow to see it.
            Err(_) => true,
        }
    }

    /// Whether `link` is still the way to Redis.
    pub(super) fn holds(&self, link: &Arc<Link>) -> bool {
        self.linked().link.as_ref().is_some_and(|(held, _)| Arc::ptr_eq(held, link))
    }
}

/// The arguments of `change.lua` and `assert.lua`.
pub(super) fn arguments(
    epoch: &str,
    key: &Key,
    expected: &str,
    generation: &str,
    decision: &Decision,
    legacy: bool,
) -> Vec<String> {
    let head = |op: &str| vec![epoch.to_owned(), key.as_str().to_owned(), expected.to_owned(), op.to_owned()];
    let mirrored = legacy && key.is_legacy();
    let flag = if mirrored { "1" } else { "" };
    match decision {
        Decision::Put(put) => {
            let Put { instance, renews, drain, .. } = &**put;
            let lease = if *renews { lease_ms(instance.lease.ttl_s) } else { String::new() };
            let drain = match drain {
                Drain::Keep => String::new(),
                Drain::Clear => "-".to_owned(),
                Drain::In(seconds) => (u64::from(*seconds) * 1000).to_string(),
            };
            let incarnation = padded(instance.incarnation);
            let mut all = head("put");
            all.extend([
                generation.to_owned(),
                incarnation,
                json(instance),
                lease,
                drain,
                String::new(),
                flag.to_owned(),
            ]);
            if mirrored {
                all.extend(legacy::fields(instance));
            }
            all
        }
        Decision::Remove(reason) => {
            let mut all = head("remove");
            let empty = || String::new();
            all.extend([generation.to_owned(), empty(), empty(), empty(), empty()]);
            all.extend([reason.as_str().to_owned(), flag.to_owned()]);
            all
        }
        Decision::Refuse(_) | Decision::Renew { .. } | Decision::Nothing => Vec::new(),
    }
}

/// A lease with its grace, in milliseconds.
pub(super) fn lease_ms(ttl_s: u32) -> String {
    (u64::from(ttl_s + limits::GRACE_S) * 1000).to_string()
}

/// Renews leases; which of them (by position) Redis does not know.
pub(super) async fn beat(link: &Link, legacy: bool, leases: &[(Key, u64, u32)]) -> Result<Vec<usize>, Away> {
    let mut arguments = vec![if legacy { "1".to_owned() } else { String::new() }];
    for (key, generation, ttl_s) in leases {
        arguments.extend([key.as_str().to_owned(), padded(*generation), lease_ms(*ttl_s), ttl_s.to_string()]);
    }
    link.run(Script::Beat, &arguments).await
}

/// The record as Redis has it.
async fn fetch(link: &Link, key: &Key) -> Result<Looked, Away> {
    let mut command = redis::cmd("HGET");
    command.arg(INSTANCES).arg(key.as_str());
    let record: Option<Vec<u8>> = link.call(command).await?;
    Ok(record.map(|record| Row::parse(&record)).transpose())
}

fn read_changed(answer: &[Vec<u8>]) -> Result<Changed, Away> {
    let text = |index: usize| answer.get(index).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let number = |index: usize| text(index).and_then(|digits| digits.parse::<u64>().ok());
    match (text(0), number(1), number(2)) {
        (Some("ok"), Some(revision), Some(generation)) => Ok(Changed::Ok { revision, generation }),
        (Some("changed"), _, _) => match answer.get(1).map(Vec::as_slice) {
            None | Some([]) => Ok(Changed::Other(Ok(None))),
            Some(record) => Ok(Changed::Other(Row::parse(record).map(Some))),
        },
        (Some("epoch"), _, _) => Err(Away("another epoch has begun".into())),
        _ => Err(Away("change.lua answered something else".into())),
    }
}
