//! Bringing memory and Redis together: read all that is there, say what only this replica knows, take over the result.

use std::collections::HashMap;
use std::sync::Arc;

use vertice_registry_api::{Epoch, Position, Revision, SourceState};

use super::commit::arguments;
use super::decide::{Decision, Drain, Put};
use super::drawn::Drawn;
use super::link::{Away, BLOCK, CALL_DEADLINE, Link, away, query};
use super::mirror::{Dirty, Known};
use super::reconcile::{self, Local};
use super::record::{Key, Row, Step, What, padded};
use super::scripts::{CHANGES, INSTANCES, Script};
use super::wire::Connection;
use super::{Memory, RedisStore, with};

/// Fields of the hash, or entries of the stream, that one call asks for.
const PAGE: usize = 1000;
/// Assertions in one round trip.
const ASSERTIONS: usize = 200;

/// What `join.lua` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) epoch: Epoch,
    pub(super) revision: u64,
    pub(super) generation: u64,
    pub(super) warming: bool,
}

/// All records as of one revision.
struct Remote {
    rows: HashMap<Key, Row, Drawn>,
    revision: u64,
}

/// Entries of the stream, each with its id and its fields.
type Entries = Vec<(String, HashMap<String, Vec<u8>>)>;

/// Says hello: learns the epoch, or begins a new one if Redis went back.
pub(super) async fn join(store: &RedisStore, link: &Link) -> Result<Joined, Away> {
    let known = store.0.followed.at();
    let epoch = known.map_or_else(String::new, |at| at.epoch.to_string());
    let revision = known.map_or(0, |at| at.revision.0);
    let candidate = Epoch(fastrand::u128(..));
    let arguments = [
        epoch,
        revision.to_string(),
        link.replication.clone(),
        candidate.to_string(),
        store.0.settings.grace.as_millis().to_string(),
    ];
    let answer: Vec<String> = link.run(Script::Join, &arguments).await?;
    let number = |index: usize| answer.get(index).and_then(|text| text.parse::<u64>().ok());
    match (answer.first().map(|epoch| epoch.parse()), number(1), number(2), number(3), number(4)) {
        (Some(Ok(epoch)), Some(revision), Some(grace_until), Some(now), Some(generation)) => {
            Ok(Joined { epoch, revision, generation, warming: now < grace_until })
        }
        _ => Err(Away("join.lua answered something else: is the key vertice:meta somebody else's?".into())),
    }
}

/// After this memory is what Redis has, and writes go there.
pub(super) async fn bring_together(
    store: &RedisStore,
    memory: &dyn Memory,
    link: &Arc<Link>,
    joined: &Joined,
) -> Result<(), Away> {
    let known = store.0.followed.at();
    store.mirror().saw_generation(joined.generation);
    let same = known.filter(|at| at.epoch == joined.epoch && !store.linked().distrusted);
    if let Some(at) = same {
        let _gate = store.0.gate.write().await;
        // With changes of our own memory is not what it was at that revision: also when Redis was told of them by a session
        // that broke off before it took over what Redis made of them.
        let alone = store.mirror().dirty_any() || with(memory, |store, _| store.position()) != at;
        if !alone && catch_up(store, memory, link, at).await? {
            open(store, memory, link, joined);
            tracing::info!(
                revision = joined.revision,
                "Redis is back: followed the stream from where it was"
            );
            return Ok(());
        }
    }
    let new_epoch = known.is_some_and(|at| at.epoch != joined.epoch);
    let mut remote = read_all(link, joined.revision).await?;
    let mut asserted = say(store, memory, link, joined, &remote, new_epoch).await?;
    remote.catch_up(link).await?;
    // Writers went on alone until here; what they did meanwhile is little.
    let gate = store.0.gate.write().await;
    asserted += say(store, memory, link, joined, &remote, false).await?;
    remote.catch_up(link).await?;
    let (instances, revision) = (remote.rows.len(), remote.revision);
    take_over(store, memory, joined.epoch, &remote);
    open(store, memory, link, joined);
    drop(gate);
    tracing::info!(epoch = %joined.epoch, revision, instances, asserted, new_epoch, "in step with Redis");
    Ok(())
}

/// The link is for everybody.
fn open(store: &RedisStore, memory: &dyn Memory, link: &Arc<Link>, joined: &Joined) {
    let mut linked = store.linked();
    linked.distrusted = false;
    linked.link = Some((link.clone(), joined.epoch.to_string()));
    drop(linked);
    let state = if joined.warming { SourceState::Warming } else { SourceState::Serving };
    with(memory, |store, _| store.follow_state(state));
}

async fn read_all(link: &Link, revision: u64) -> Result<Remote, Away> {
    let mut rows = HashMap::with_hasher(Drawn::default());
    let mut cursor = "0".to_owned();
    loop {
        let mut command = redis::cmd("HSCAN");
        command.arg(INSTANCES).arg(&cursor).arg("COUNT").arg(PAGE);
        let (next, page): (String, Vec<(String, Vec<u8>)>) = link.call(command).await?;
        for (key, record) in page {
            match Key::parse(&key).and_then(|key| Ok((key, Row::parse(&record)?))) {
                Ok((key, row)) => {
                    rows.insert(key, row);
                }
                Err(why) => tracing::error!(key, %why, "a record in Redis that nobody of us wrote: left out"),
            }
        }
        if next == "0" {
            break;
        }
        cursor = next;
    }
    let mut remote = Remote { rows, revision };
    remote.catch_up(link).await?;
    Ok(remote)
}

impl Remote {
    /// Applies what happened since. Changes that the scan had seen already are applied again, which does nothing.
    async fn catch_up(&mut self, link: &Link) -> Result<(), Away> {
        loop {
            let entries = after(link, self.revision).await?;
            if entries.is_empty() {
                return Ok(());
            }
            for (id, fields) in &entries {
                let step = Step::parse(id, fields).map_err(Away)?;
                if step.revision != self.revision + 1 {
                    return Err(Away("the stream went on faster than all was read".into()));
                }
                self.revision = step.revision;
                match step.what {
                    What::Put { key, row } => _ = self.rows.insert(key, row),
                    What::Remove { key, .. } => _ = self.rows.remove(&key),
                    What::Epoch => return Err(Away("another epoch has begun".into())),
                    What::Unreadable { .. } => {}
                }
            }
        }
    }
}

async fn after(link: &Link, revision: u64) -> Result<Entries, Away> {
    let mut command = redis::cmd("XRANGE");
    command.arg(CHANGES).arg(format!("({revision}-0")).arg("+").arg("COUNT").arg(PAGE);
    link.call(command).await
}

/// Follows what the stream has after `at`. False: not without a gap.
async fn catch_up(
    store: &RedisStore,
    memory: &dyn Memory,
    link: &Link,
    mut at: Position,
) -> Result<bool, Away> {
    loop {
        let entries = after(link, at.revision.0).await?;
        if entries.is_empty() {
            return Ok(true);
        }
        match apply(store, memory, at, &entries) {
            Ok(now) => at = now,
            Err(why) => {
                tracing::info!(%why, "the stream cannot be followed from here: reading everything");
                return Ok(false);
            }
        }
    }
}

/// The next entries after `at`; waits for them a moment.
pub(super) async fn next(reader: &dyn Connection, at: Position) -> Result<Entries, Away> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(PAGE).arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(0));
    command.arg("STREAMS").arg(CHANGES).arg(format!("{}-0", at.revision));
    let answer = tokio::time::timeout(BLOCK + CALL_DEADLINE, query(reader, command)).await;
    let streams: Option<Vec<(String, Entries)>> =
        answer.map_err(|_| Away("no answer to XREAD".into()))?.map_err(away("following the stream"))?;
    Ok(streams.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
}

/// Takes `entries` into memory; where that leads. An error: they do not follow `at`, or one cannot be read.
pub(super) fn apply(
    shared: &RedisStore,
    memory: &dyn Memory,
    at: Position,
    entries: &Entries,
) -> Result<Position, String> {
    let epoch = at.epoch.to_string();
    let mut steps = Vec::with_capacity(entries.len());
    for ((id, fields), revision) in entries.iter().zip(at.revision.0 + 1..) {
        let step = Step::parse(id, fields)?;
        if step.revision != revision || step.epoch != epoch {
            return Err(format!("{id} of another history or after a gap"));
        }
        match step.what {
            What::Epoch => return Err("another epoch has begun".into()),
            What::Unreadable { key, why } => {
                let key = key.as_ref().map_or("?", Key::as_str);
                return Err(format!("the change {id} of {key} is unreadable: {why}"));
            }
            What::Put { .. } | What::Remove { .. } => steps.push(step),
        }
    }
    Ok(with(memory, |store, now| {
        let mut mirror = shared.mirror();
        let mut reached = at;
        for step in steps {
            reached.revision = Revision(step.revision);
            match step.what {
                What::Put { key, row } => {
                    let generation = row.instance.generation;
                    mirror.put(&key, Known { modified: row.modified, generation });
                    store.follow_upsert(row.instance, now);
                }
                What::Remove { key, generation, reason } => {
                    let said = reason != vertice_registry_api::watch::RemovalReason::Expired;
                    mirror.remove(&key, generation, said);
                    if let Some((service, id)) = key.names() {
                        store.follow_remove(&service, &id, generation, reason, now);
                    }
                }
                What::Epoch | What::Unreadable { .. } => {}
            }
        }
        shared.0.followed.reach(reached);
        reached
    }))
}

/// One thing that Redis may not know.
struct Assertion {
    key: Key,
    arguments: Vec<String>,
    /// The number of the change that it tells.
    number: Option<u64>,
}

/// Says what this replica knows better; how many things.
async fn say(
    store: &RedisStore,
    memory: &dyn Memory,
    link: &Link,
    joined: &Joined,
    remote: &Remote,
    new_epoch: bool,
) -> Result<usize, Away> {
    let assertions = plan(store, memory, joined, remote, new_epoch);
    for batch in assertions.chunks(ASSERTIONS) {
        let commands = batch.iter().map(|said| link.scripts.command(Script::Assert, &said.arguments));
        let answers: Vec<Vec<Vec<u8>>> = link.pipe("asserting what is held here", commands.collect()).await?;
        if answers.iter().any(|answer| answer.first().is_some_and(|word| word == b"epoch")) {
            return Err(Away("another epoch has begun".into()));
        }
        let mut mirror = store.mirror();
        for assertion in batch {
            if let Some(number) = assertion.number {
                mirror.told(&assertion.key, number);
            }
        }
    }
    Ok(assertions.len())
}

fn plan(
    shared: &RedisStore,
    memory: &dyn Memory,
    joined: &Joined,
    remote: &Remote,
    new_epoch: bool,
) -> Vec<Assertion> {
    let epoch = joined.epoch.to_string();
    let legacy = shared.0.settings.legacy;
    let assertion = |key: &Key, generation: u64, decision: &Decision, number: Option<u64>| {
        let expected = reconcile::looked_at(&remote.rows, key).map_or_else(String::new, padded);
        let arguments = arguments(&epoch, key, &expected, &padded(generation), decision, legacy);
        Assertion { key: key.clone(), arguments, number }
    };
    with(memory, |store, _| {
        let mirror = shared.mirror();
        let mut all = Vec::new();
        for (key, (change, number)) in mirror.all_dirty() {
            if let Dirty::Remove { generation, reason } = change {
                all.push(assertion(key, *generation, &Decision::Remove(*reason), Some(*number)));
            }
        }
        if new_epoch {
            let reason = vertice_registry_api::watch::RemovalReason::Deregistered;
            let again = mirror.removed().filter(|(key, g)| reconcile::buries(*g, remote.rows.get(key)));
            all.extend(again.map(|(key, g)| assertion(key, *g, &Decision::Remove(reason), None)));
        }
        for (key, known) in mirror.all_known() {
            let (service, id) = key.halves();
            let Some(instance) = store.get(service, id) else { continue };
            let change = mirror.dirty_put(key);
            let local = Local {
                modified: known.modified,
                generation: known.generation,
                incarnation: instance.incarnation,
                dirty: change.is_some(),
                heard: mirror.beats.get(key).is_some_and(|beat| beat.generation == known.generation),
            };
            if reconcile::asserts(local, remote.rows.get(key), new_epoch) {
                let drain = change.map_or(Drain::Keep, |(drain, _)| drain);
                let instance = (*instance).clone();
                let put = Put { instance, draws: false, created: false, renews: true, drain };
                let number = change.map(|(_, number)| number);
                all.push(assertion(key, known.generation, &Decision::Put(Box::new(put)), number));
            }
        }
        all
    })
}

/// Memory is `remote` now.
fn take_over(shared: &RedisStore, memory: &dyn Memory, epoch: Epoch, remote: &Remote) {
    let at = Position { epoch, revision: Revision(remote.revision) };
    with(memory, |store, now| {
        let mut mirror = shared.mirror();
        mirror.clear_known();
        // What Redis knew better would count as told never, and so as a reason to write over what others do later.
        mirror.settle();
        let mut instances = Vec::with_capacity(remote.rows.len());
        for (key, row) in &remote.rows {
            mirror.put(key, Known { modified: row.modified, generation: row.instance.generation });
            instances.push(row.instance.clone());
        }
        store.follow_reset(at, instances, now);
        shared.0.followed.reach(at);
    });
}
