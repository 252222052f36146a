//! The sweep: what ran out in Redis is judged here, by the rules of the store, and what comes of it is done there.
//!
//! Every replica sweeps. The phase that something was judged in, the revision of the record and the lease itself are
//! compared again where it is done, so that several at once do no harm.

use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::{
    Epoch, Instance, InstanceId, Position, Revision, ServiceName, SourceState, limits,
};

use super::link::{Away, Link};
use super::record::{Key, json, padded};
use super::scripts::Script;
use super::{Memory, RedisStore, with};
use crate::store::{Judged, LONGEST_STALE, SharedPhase};

/// Leases in one call.
const BATCH: usize = 200;
/// Without a sweep for so long, leases could not be renewed either.
const STANDSTILL_MS: u64 = 5_000;
/// Batches of one sweep; the next one goes on.
const BATCHES: usize = 100;

/// What `sweep.lua` found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    now_ms: u64,
    warming: bool,
    /// As it stands in Redis.
    phase: String,
    /// Removed ones that still count.
    counting: usize,
    /// There may be more.
    full: bool,
    overdue: Vec<(Key, u64)>,
    /// Their time as stale is over.
    stale: Vec<(Key, u64)>,
}

/// One thing for `settle.lua`.
struct Item {
    what: &'static str,
    key: Key,
    modified: u64,
    json: String,
    counts_ms: u64,
}

/// A record that memory and Redis agree on.
struct Held {
    key: Key,
    modified: u64,
    instance: Arc<Instance>,
}

/// Removes or marks what ran out, and tells memory what state that is.
pub(super) async fn sweep(
    store: &RedisStore,
    memory: &dyn Memory,
    link: &Arc<Link>,
    epoch: &str,
) -> Result<(), Away> {
    for _ in 0..BATCHES {
        let found = find(store, link, epoch).await?;
        let overdue = held(store, memory, &found.overdue);
        let instances: Vec<_> = overdue.iter().map(|held| held.instance.clone()).collect();
        let shared = phase_of(&found.phase, found.now_ms);
        let judged = with(memory, |store, now| store.judge_shared(shared, &instances, found.counting, now));
        if store.holds(link) {
            let state = match (found.warming, judged.phase) {
                (true, _) => SourceState::Warming,
                (false, SharedPhase::Preserving { .. }) => SourceState::Preserving,
                (false, SharedPhase::Watching | SharedPhase::Released) => SourceState::Serving,
            };
            with(memory, |store, _| store.follow_state(state));
        }
        let after = text_of(judged.phase, &found);
        let mut items = items(overdue, &judged);
        let stale = held(store, memory, &found.stale).into_iter();
        items.extend(stale.take(judged.pace).map(|held| Item::bare("pass", held)));
        if items.is_empty() && after == found.phase {
            if found.full {
                continue;
            }
            return Ok(());
        }
        let (done, followed) = settle(store, link, epoch, &found.phase, &after, judged.pace, &items).await?;
        // The next one is judged by what came of this one. Nothing done, or judged in another phase: later, then.
        if !followed || done == 0 || !found.full {
            return Ok(());
        }
    }
    Ok(())
}

async fn find(store: &RedisStore, link: &Link, epoch: &str) -> Result<Found, Away> {
    let arguments = [
        epoch.to_owned(),
        BATCH.to_string(),
        store.0.settings.grace.as_millis().to_string(),
        STANDSTILL_MS.to_string(),
        if store.0.settings.legacy { "1".to_owned() } else { String::new() },
        LONGEST_STALE.as_millis().to_string(),
    ];
    let answer: Vec<String> = link.run(Script::Sweep, &arguments).await?;
    Found::read(&answer).ok_or_else(|| Away("sweep.lua: another epoch has begun".into()))
}

impl Found {
    fn read(answer: &[String]) -> Option<Self> {
        let number = |index: usize| answer.get(index)?.parse::<u64>().ok();
        let members: Vec<_> = answer.get(7..)?.iter().map(|text| member(text)).collect();
        let overdue = members.get(..usize::try_from(number(6)?).ok()?)?;
        let stale = members.get(overdue.len()..)?;
        let known = |members: &[Option<(Key, u64)>]| members.iter().flatten().cloned().collect();
        Some(Self {
            now_ms: number(1)?,
            warming: number(1)? < number(2)?,
            phase: answer.get(3)?.clone(),
            counting: usize::try_from(number(4)?).ok()?,
            full: number(5)? != 0,
            overdue: known(overdue),
            stale: known(stale),
        })
    }
}

/// A lease's generation and key; what is none of ours is left alone.
fn member(text: &str) -> Option<(Key, u64)> {
    let (generation, key) = text.split_once(':')?;
    Some((Key::parse(key).ok()?, generation.parse().ok()?))
}

/// Those of `members` that memory has, too. Of the others the stream will tell.
fn held(shared: &RedisStore, memory: &dyn Memory, members: &[(Key, u64)]) -> Vec<Held> {
    with(memory, |store, _| {
        let mirror = shared.mirror();
        let held = |(key, generation): &(Key, u64)| {
            let (service, id) = key.halves();
            let instance = store.get(service, id).filter(|held| held.generation == *generation)?;
            Some(Held { modified: mirror.known(key)?.modified, key: key.clone(), instance })
        };
        members.iter().filter_map(held).collect()
    })
}

fn items(overdue: Vec<Held>, judged: &Judged) -> Vec<Item> {
    let item = |(held, expires): (Held, &bool)| {
        if *expires {
            let ttl_s = held.instance.lease.ttl_s.max(limits::DEFAULT_TTL_S);
            return Item { counts_ms: u64::from(ttl_s) * 1000, ..Item::bare("expire", held) };
        }
        let stale = Instance { stale: true, ..(*held.instance).clone() };
        Item { json: json(&stale), ..Item::bare("mark", held) }
    };
    overdue.into_iter().zip(&judged.expires).map(item).collect()
}

impl Item {
    fn bare(what: &'static str, held: Held) -> Self {
        Self { what, key: held.key, modified: held.modified, json: String::new(), counts_ms: 0 }
    }
}

/// Does `items` in Redis. How many were done, and whether memory has followed; `false` also where the phase was not
/// `seen` any more.
async fn settle(
    store: &RedisStore,
    link: &Arc<Link>,
    epoch: &str,
    seen: &str,
    after: &str,
    pace: usize,
    items: &[Item],
) -> Result<(usize, bool), Away> {
    let legacy = if store.0.settings.legacy { "1" } else { "" };
    let mut arguments = vec![epoch.to_owned(), seen.to_owned(), after.to_owned(), pace.to_string()];
    arguments.push(legacy.to_owned());
    for Item { what, key, modified, json, counts_ms } in items {
        let counts_ms = counts_ms.to_string();
        arguments.extend([(*what).to_owned(), key.as_str().to_owned(), padded(*modified), json.clone()]);
        arguments.push(counts_ms);
    }
    let answer: Vec<String> = link.run(Script::Settle, &arguments).await?;
    let number = |index: usize| answer.get(index).and_then(|text| text.parse::<u64>().ok());
    match (answer.first().map(String::as_str), number(1), number(2)) {
        (Some("ok"), Some(revision), Some(done)) => {
            let epoch = epoch.parse().unwrap_or(Epoch(0));
            let wanted = Position { epoch, revision: Revision(revision) };
            let followed = store.followed_to(link, wanted).await;
            Ok((usize::try_from(done).unwrap_or(0), followed))
        }
        (Some("phase"), ..) => Ok((0, false)),
        (Some("epoch"), ..) => Err(Away("another epoch has begun".into())),
        _ => Err(Away("settle.lua answered something else".into())),
    }
}

/// A phase as it stands in Redis: a word, and since when by its clock.
fn phase_of(text: &str, now_ms: u64) -> SharedPhase {
    match text.split_once(' ') {
        Some(("preserving", since)) => {
            let since_ms = since.parse().unwrap_or(now_ms);
            SharedPhase::Preserving { age: Duration::from_millis(now_ms.saturating_sub(since_ms)) }
        }
        None if text == "released" => SharedPhase::Released,
        Some(_) | None => SharedPhase::Watching,
    }
}

/// `phase` as it is to stand in Redis, where `found` was: what goes on keeps its beginning.
fn text_of(phase: SharedPhase, found: &Found) -> String {
    let before = phase_of(&found.phase, found.now_ms);
    match (phase, before) {
        (SharedPhase::Watching, _) => "watching".to_owned(),
        (SharedPhase::Released, _) => "released".to_owned(),
        (SharedPhase::Preserving { .. }, SharedPhase::Preserving { .. }) => found.phase.clone(),
        (SharedPhase::Preserving { .. }, _) => format!("preserving {}", found.now_ms),
    }
}

impl RedisStore {
    /// As `Store::proven_dead`, of many at once: how many were stale, of that generation, and are removed. None, while
    /// Redis is away.
    pub async fn proven_dead(&self, memory: &dyn Memory, dead: &[(ServiceName, InstanceId, u64)]) -> usize {
        let Some((link, epoch)) = self.link() else { return 0 };
        let named = dead
            .iter()
            .map(|(service, id, generation)| (Key::new(service.as_str(), id.as_str()), *generation));
        let named: Vec<_> = named.collect();
        let stale = held(self, memory, &named).into_iter().filter(|held| held.instance.stale);
        let items: Vec<_> = stale.map(|held| Item::bare("dead", held)).collect();
        if items.is_empty() {
            return 0;
        }
        match settle(self, &link, &epoch, "", "", 0, &items).await {
            Ok((done, _)) => done,
            Err(why) => {
                self.cut(memory, &link, &why);
                0
            }
        }
    }

    /// As `Store::release`, for all replicas. `None`: Redis is away, where nothing is removed anyway.
    pub async fn release(&self, memory: &dyn Memory) -> Option<bool> {
        let (link, epoch) = self.link()?;
        let answer: Result<Vec<String>, _> = link.run(Script::Release, &[epoch]).await;
        match answer.as_deref() {
            Ok([word, ended]) if word == "ok" => {
                with(memory, |store, _| store.release());
                Some(ended == "1")
            }
            Ok(_) => None,
            Err(why) => {
                self.cut(memory, &link, why);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_was_found_is_read_and_another_epoch_is_nothing() {
        let one = format!("{}:ab/x", padded(3));
        let two = format!("{}:ab/y", padded(4));
        let answer = texts(&["ok", "9000", "8000", "preserving 4000", "7", "1", "2", &one, "7:no-key", &two]);
        let found = Found::read(&answer).unwrap();
        assert_eq!((found.now_ms, found.warming, found.counting, found.full), (9000, false, 7, true));
        assert_eq!(found.overdue, [(Key::new("ab", "x"), 3)]);
        assert_eq!(found.stale, [(Key::new("ab", "y"), 4)]);
        let age = Duration::from_secs(5);
        assert_eq!(phase_of(&found.phase, found.now_ms), SharedPhase::Preserving { age });
        for bad in [
            &["epoch"][..],
            &["ok", "1", "2", "watching", "0", "0", "1"],
            &["ok", "x", "2", "", "0", "0", "0"],
        ] {
            assert_eq!(Found::read(&texts(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn a_phase_that_goes_on_keeps_its_beginning() {
        let answer = |phase: &str| Found::read(&texts(&["ok", "9000", "0", phase, "0", "0", "0"])).unwrap();
        let preserving = SharedPhase::Preserving { age: Duration::ZERO };
        assert_eq!(text_of(preserving, &answer("preserving 4000")), "preserving 4000");
        assert_eq!(text_of(preserving, &answer("watching")), "preserving 9000");
        for phase in [SharedPhase::Watching, SharedPhase::Released, preserving] {
            let text = text_of(phase, &answer("watching"));
            assert_eq!(phase_of(&text, 9000), phase, "{text}");
        }
    }
}
