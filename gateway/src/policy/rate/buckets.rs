//! What is remembered of everybody under one limit, shared by all workers.
//!
//! Sharded, so that two workers rarely want the same lock, which is held for one look into a map. Bounded: who has been
//! idle long enough is forgotten, which changes nothing; when even that is not enough, those who are nearest to it.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;

use super::gcra::{Rate, Verdict};

/// Locks: with 16 workers two of them meet at one in a thousand looks.
const SHARDS: usize = 64;
/// Names under one shard, 262 144 under one limit: about 25 MiB at most.
const NAMES_PER_SHARD: usize = 4096;

/// Everybody under one limit.
#[derive(Debug)]
pub struct Buckets {
    rate: Rate,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

/// Some of everybody, and what came of their requests.
#[derive(Debug)]
struct Shard {
    buckets: HashMap<Box<[u8]>, Bucket, RandomState>,
    counts: Counts,
}

/// Requests by what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They passed.
    pub admitted: u64,
    /// They did not.
    pub refused: u64,
    /// Of all, judged without the other gateways, with which they should have been counted.
    pub alone: u64,
    /// Names that were forgotten although they were not idle.
    pub forgotten_early: u64,
}

/// What is remembered of one.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// See [`Rate::take`].
    at: u64,
    /// Requests that were admitted here and that the store has not been told of.
    untold: i64,
}

/// What came of a request.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Whether it passes.
    pub verdict: Verdict,
    /// Whether it is the first of its name that the store is to be told of.
    pub first_untold: bool,
}

impl Buckets {
    /// Nobody yet.
    pub fn new(rate: Rate) -> Self {
        let shard = || {
            let buckets = HashMap::with_hasher(RandomState::default());
            Mutex::new(Shard { buckets, counts: Counts::default() })
        };
        Self { rate, shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::default() }
    }

    /// The limit in numbers.
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// One request of `name`; `alone`: it is judged without the other gateways, with which it should be counted.
    pub fn take(&self, name: &[u8], now: u64, alone: bool) -> Taken {
        let mut shard = self.shard(name);
        let shard = &mut *shard;
        let taken = if let Some(bucket) = shard.buckets.get_mut(name) {
            bucket.take(&self.rate, now)
        } else {
            let mut bucket = Bucket::default();
            let taken = bucket.take(&self.rate, now);
            shard.make_room(now);
            shard.buckets.insert(name.into(), bucket);
            taken
        };
        match taken.verdict {
            Verdict::Admitted(_) => shard.counts.admitted += 1,
            Verdict::Refused { .. } => shard.counts.refused += 1,
        }
        shard.counts.alone += u64::from(alone);
        taken
    }

    /// A request that was admitted is refused for another reason: it does not count. Whether this is the first of its name
    /// that the store is to be told of.
    pub fn give_back(&self, name: &[u8], now: u64) -> bool {
        let mut shard = self.shard(name);
        shard.counts.admitted = shard.counts.admitted.saturating_sub(1);
        let Some(bucket) = shard.buckets.get_mut(name) else { return false };
        bucket.at = self.rate.charge(bucket.at, now, -1);
        bucket.untold -= 1;
        bucket.untold == -1
    }

    /// How many requests of `name` the store is to be told of; from now on it counts as told.
    pub fn tell(&self, name: &[u8]) -> i64 {
        self.shard(name).buckets.get_mut(name).map_or(0, |bucket| std::mem::take(&mut bucket.untold))
    }

    /// The store was not told of `requests` of `name` after all. Whether it still should be: time may have forgiven them.
    pub fn untell(&self, name: &[u8], requests: i64, now: u64) -> bool {
        let mut shard = self.shard(name);
        let Some(bucket) = shard.buckets.get_mut(name) else { return false };
        let idle = bucket.at <= now;
        let first = bucket.untold == 0;
        bucket.untold = if idle { 0 } else { bucket.untold.saturating_add(requests) };
        first && !idle
    }

    /// All names of which the store has not heard everything.
    pub fn untold(&self) -> Vec<Box<[u8]>> {
        let of = |shard: &Mutex<Shard>| {
            let shard = lock(shard);
            let untold = shard.buckets.iter().filter(|(_, bucket)| bucket.untold != 0);
            untold.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// The store says how far `name` is `ahead` of `asked`, when it was asked. What was admitted since then comes on top.
    pub fn settle(&self, name: &[u8], ahead: u64, asked: u64) {
        if let Some(bucket) = self.shard(name).buckets.get_mut(name) {
            bucket.at = self.rate.charge(asked.saturating_add(ahead), asked, bucket.untold);
        }
    }

    /// Names that are remembered.
    pub fn names(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).buckets.len()).sum()
    }

    /// What came of all requests.
    pub fn counts(&self) -> Counts {
        self.shards.iter().map(|shard| lock(shard).counts).fold(Counts::default(), |sum, one| Counts {
            admitted: sum.admitted + one.admitted,
            refused: sum.refused + one.refused,
            alone: sum.alone + one.alone,
            forgotten_early: sum.forgotten_early + one.forgotten_early,
        })
    }

    #[allow(clippy::indexing_slicing, reason = "a remainder of the number of shards is one of them")]
    fn shard(&self, name: &[u8]) -> MutexGuard<'_, Shard> {
        let hash = usize::try_from(self.hasher.hash_one(name) >> 32).unwrap_or_default();
        lock(&self.shards[hash % SHARDS])
    }
}

impl Shard {
    /// Before the map grows, whoever is idle goes; at the limit, a quarter of the rest, too.
    fn make_room(&mut self, now: u64) {
        if self.buckets.len() < self.buckets.capacity().min(NAMES_PER_SHARD) {
            return;
        }
        self.buckets.retain(|_, bucket| bucket.at > now);
        if self.buckets.len() < NAMES_PER_SHARD {
            return;
        }
        let mut times: Vec<u64> = self.buckets.values().map(|bucket| bucket.at).collect();
        let (_, limit, _) = times.select_nth_unstable(NAMES_PER_SHARD / 4);
        let limit = *limit;
        let before = self.buckets.len();
        self.buckets.retain(|_, bucket| bucket.at > limit);
        self.counts.forgotten_early += u64::try_from(before - self.buckets.len()).unwrap_or_default();
    }
}

impl Bucket {
    fn take(&mut self, rate: &Rate, now: u64) -> Taken {
        let (verdict, at) = rate.take(self.at, now);
        self.at = at;
        let admitted = matches!(verdict, Verdict::Admitted(_));
        self.untold += i64::from(admitted);
        Taken { verdict, first_untold: admitted && self.untold == 1 }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn admitted(buckets: &Buckets, name: &[u8], now: u64) -> bool {
        matches!(buckets.take(name, now, false).verdict, Verdict::Admitted(_))
    }

    #[test]
    fn everybody_has_a_limit_of_their_own_and_workers_share_it() {
        let buckets = Buckets::new(Rate::new(5, Duration::from_hours(1), 5));
        let passed: usize = std::thread::scope(|scope| {
            let worker = || (0..100).filter(|_| admitted(&buckets, b"a", SECOND)).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(passed, 5);
        assert!(admitted(&buckets, b"b", SECOND));
    }

    #[test]
    fn who_is_idle_is_forgotten_and_who_is_not_stays() {
        let buckets = Buckets::new(Rate::new(1, Duration::from_secs(1), 10));
        for _ in 0..10 {
            assert!(admitted(&buckets, b"busy", SECOND));
        }
        // A second apart each: when the next one comes, the one before has been idle.
        for n in 0u64..100_000 {
            let now = SECOND + n * 50_000;
            assert!(admitted(&buckets, &n.to_be_bytes(), now));
        }
        assert_eq!(buckets.counts().forgotten_early, 0);
        assert!(buckets.names() < 50_000, "{}", buckets.names());
        assert!(!admitted(&buckets, b"busy", SECOND + SECOND / 2));
    }

    #[test]
    fn under_a_flood_of_names_memory_is_bounded_and_the_busiest_are_kept() {
        let buckets = Buckets::new(Rate::new(1, Duration::from_hours(1), 10));
        for _ in 0..10 {
            admitted(&buckets, b"busy", SECOND);
        }
        for n in 0u64..400_000 {
            assert!(admitted(&buckets, &n.to_be_bytes(), SECOND));
        }
        assert!(buckets.names() <= SHARDS * NAMES_PER_SHARD);
        assert!(buckets.counts().forgotten_early > 100_000);
        assert!(!admitted(&buckets, b"busy", SECOND));
    }

    #[test]
    fn what_is_admitted_is_told_once_and_again_where_that_failed() {
        let buckets = Buckets::new(Rate::new(10, Duration::from_secs(1), 10));
        assert!(buckets.take(b"a", SECOND, false).first_untold);
        assert!(!buckets.take(b"a", SECOND, false).first_untold);
        assert_eq!((buckets.tell(b"a"), buckets.tell(b"a")), (2, 0));
        assert!(buckets.untell(b"a", 2, SECOND));
        assert_eq!(buckets.tell(b"a"), 2);
        assert!(!buckets.untell(b"a", 2, 10 * SECOND), "time has forgiven it");
        assert_eq!(buckets.tell(b"a"), 0);
        buckets.take(b"b", SECOND, false);
        assert!(!buckets.give_back(b"b", SECOND));
        assert_eq!(buckets.tell(b"b"), 0);
        buckets.take(b"b", SECOND, false);
        buckets.tell(b"b");
        assert!(buckets.give_back(b"b", SECOND));
        assert_eq!(buckets.tell(b"b"), -1);
    }

    #[test]
    fn what_the_store_says_replaces_what_was_thought_and_what_was_admitted_since_comes_on_top() {
        let buckets = Buckets::new(Rate::new(10, Duration::from_secs(1), 10));
        buckets.take(b"a", SECOND, false);
        assert_eq!(buckets.tell(b"a"), 1);
        buckets.take(b"a", SECOND, false);
        // Others had eight.
        buckets.settle(b"a", 9 * SECOND / 10, SECOND);
        assert!(!admitted(&buckets, b"a", SECOND));
        assert!(admitted(&buckets, b"a", SECOND + SECOND / 10));
    }
}
