//! What stands in a Redis, and the commands of it that the registry and its scripts use. A test holds them against a real one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use redis::Value;

type Bytes = Vec<u8>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SortedSet {
    scores: BTreeMap<Bytes, i64>,
    order: BTreeSet<(i64, Bytes)>,
}

/// The entries with their ids, and the last id that was ever given.
type Stream = (VecDeque<(u64, Vec<Bytes>)>, u64);

#[derive(Clone, Debug, Default)]
pub struct Data {
    hashes: BTreeMap<Bytes, BTreeMap<Bytes, Bytes>>,
    sets: BTreeMap<Bytes, SortedSet>,
    streams: BTreeMap<Bytes, Stream>,
    /// Where each scan stands.
    scans: BTreeMap<u64, Bytes>,
    /// Fewer entries of streams are kept than is asked for, so that readers fall behind.
    shortest: Option<usize>,
    scan_page: usize,
}

fn bulk(bytes: &[u8]) -> Value {
    Value::BulkString(bytes.to_vec())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

fn number(bytes: &[u8]) -> Result<i64, String> {
    text(bytes).parse().map_err(|_| format!("ERR value is not an integer: {:?}", text(bytes)))
}

/// The first half of an id such as `12-0`, and whether it is excluded.
fn id(bytes: &[u8]) -> Result<(u64, bool), String> {
    let (bare, excluded) = text(bytes).strip_prefix('(').map_or((text(bytes), false), |bare| (bare, true));
    let first = bare.split_once('-').map_or(bare, |(first, _)| first);
    Ok((first.parse().map_err(|_| "ERR Invalid stream ID specified".to_owned())?, excluded))
}

impl SortedSet {
    fn put(&mut self, member: &[u8], score: i64) -> bool {
        let before = self.scores.insert(member.to_vec(), score);
        if let Some(before) = before {
            self.order.remove(&(before, member.to_vec()));
        }
        self.order.insert((score, member.to_vec()));
        before.is_none()
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        let Some(score) = self.scores.remove(member) else { return false };
        self.order.remove(&(score, member.to_vec()))
    }
}

impl Data {
    pub fn new(shortest: Option<usize>, scan_page: usize) -> Self {
        Self { shortest, scan_page, ..Self::default() }
    }

    /// Nothing, in the same manner.
    pub fn emptied(&self) -> Self {
        Self::new(self.shortest, self.scan_page)
    }

    /// Does one command at `now_us`.
    pub fn call(&mut self, words: &[Bytes], now_us: u64) -> Result<Value, String> {
        let word = |index: usize| words.get(index).map_or(&[][..], Vec::as_slice);
        let key = word(1).to_vec();
        let command = text(word(0)).to_ascii_uppercase();
        Ok(match command.as_str() {
            "TIME" => Value::Array(vec![
                bulk((now_us / 1_000_000).to_string().as_bytes()),
                bulk((now_us % 1_000_000).to_string().as_bytes()),
            ]),
            "HGET" => {
                let held = self.hashes.get(&key).and_then(|hash| hash.get(word(2)));
                held.map_or(Value::Nil, |held| bulk(held))
            }
            "HSET" => {
                let hash = self.hashes.entry(key).or_default();
                let pairs = words[2..].chunks(2);
                let new = pairs.filter(|pair| hash.insert(pair[0].clone(), pair[1].clone()).is_none());
                Value::Int(i64::try_from(new.count()).unwrap())
            }
            "HDEL" => {
                let gone = self.hashes.get_mut(&key).and_then(|hash| hash.remove(word(2)));
                self.hashes.retain(|_, hash| !hash.is_empty());
                Value::Int(gone.is_some().into())
            }
            "HINCRBY" => {
                let hash = self.hashes.entry(key).or_default();
                let before = hash.get(word(2)).map_or(Ok(0), |held| number(held))?;
                let after = before + number(word(3))?;
                hash.insert(word(2).to_vec(), after.to_string().into_bytes());
                Value::Int(after)
            }
            "HSCAN" => self.scan(&key, word(2)),
            "ZADD" => Value::Int(self.sets.entry(key).or_default().put(word(3), number(word(2))?).into()),
            "ZREM" => {
                let gone = self.sets.get_mut(&key).is_some_and(|set| set.remove(word(2)));
                Value::Int(gone.into())
            }
            "ZSCORE" => {
                let score = self.sets.get(&key).and_then(|set| set.scores.get(word(2)));
                score.map_or(Value::Nil, |score| bulk(score.to_string().as_bytes()))
            }
            "ZCARD" => {
                let count = self.sets.get(&key).map_or(0, |set| set.scores.len());
                Value::Int(i64::try_from(count).unwrap())
            }
            "ZRANGEBYSCORE" => {
                let most = number(word(3))?;
                let most_members = if words.len() > 4 { number(word(6))? } else { i64::MAX };
                let set = self.sets.get(&key).map(|set| &set.order).into_iter().flatten();
                let due = set.take_while(|(score, _)| *score <= most);
                let due = due.take(usize::try_from(most_members).unwrap_or(usize::MAX));
                Value::Array(due.map(|(_, member)| bulk(member)).collect())
            }
            "ZREMRANGEBYSCORE" => {
                let most = number(word(3))?;
                self.drop_first(&key, |_, score| score <= most)
            }
            "ZREMRANGEBYRANK" => {
                let last = usize::try_from(number(word(3))?).map_err(|_| "ERR only from the front")?;
                self.drop_first(&key, |rank, _| rank <= last)
            }
            "XADD" => self.add(key, words)?,
            "XRANGE" => {
                let (from, excluded) = id(word(2))?;
                self.entries(&key, from + u64::from(excluded), number(word(5))?)
            }
            "XREVRANGE" => {
                let last = self.streams.get(&key).and_then(|(entries, _)| entries.back());
                Value::Array(last.map(entry).into_iter().collect())
            }
            other => return Err(format!("ERR unknown command {other:?}")),
        })
    }

    fn drop_first(&mut self, key: &[u8], goes: impl Fn(usize, i64) -> bool) -> Value {
        let Some(set) = self.sets.get_mut(key) else { return Value::Int(0) };
        let gone: Vec<Bytes> = set
            .order
            .iter()
            .enumerate()
            .take_while(|(rank, (s, _))| goes(*rank, *s))
            .map(|(_, (_, m))| m.clone())
            .collect();
        for member in &gone {
            set.remove(member);
        }
        Value::Int(i64::try_from(gone.len()).unwrap())
    }

    /// `XADD key MAXLEN ~ N id field value ...`
    fn add(&mut self, key: Bytes, words: &[Bytes]) -> Result<Value, String> {
        let (entries, last) = self.streams.entry(key).or_default();
        let (new, _) = id(&words[5])?;
        if new <= *last {
            return Err(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item".into()
            );
        }
        *last = new;
        entries.push_back((new, words[6..].to_vec()));
        let most = usize::try_from(number(&words[4])?).unwrap();
        while entries.len() > self.shortest.unwrap_or(most).min(most) {
            entries.pop_front();
        }
        Ok(bulk(&words[5]))
    }

    /// Entries from `first` on.
    pub fn entries(&self, key: &[u8], first: u64, most: i64) -> Value {
        let Some((entries, _)) = self.streams.get(key) else { return Value::Array(Vec::new()) };
        let from = entries.partition_point(|(id, _)| *id < first);
        let found = entries.range(from..).take(usize::try_from(most).unwrap_or(usize::MAX));
        Value::Array(found.map(entry).collect())
    }

    /// A page of a hash in the order of its fields: what is there all the time is seen, whatever comes and goes meanwhile.
    fn scan(&mut self, key: &[u8], cursor: &[u8]) -> Value {
        let after = text(cursor).parse().ok().and_then(|cursor: u64| self.scans.remove(&cursor));
        let hash = self.hashes.get(key);
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let fields = hash
            .into_iter()
            .flat_map(|hash| hash.range::<Bytes, _>((from.clone(), std::ops::Bound::Unbounded)));
        let page: Vec<(&Bytes, &Bytes)> = fields.take(self.scan_page.max(1)).collect();
        let next = match page.last() {
            Some((last, _)) if page.len() == self.scan_page.max(1) => {
                let next = self.scans.last_key_value().map_or(1, |(cursor, _)| cursor + 1);
                Some((next, (*last).clone()))
            }
            _ => None,
        };
        let page = page.into_iter().flat_map(|(field, value)| [bulk(field), bulk(value)]).collect();
        let cursor = next.as_ref().map_or(0, |(cursor, _)| *cursor);
        self.scans.extend(next);
        Value::Array(vec![bulk(cursor.to_string().as_bytes()), Value::Array(page)])
    }

    /// All that can be compared, as text: hashes, sorted sets with their scores, streams.
    pub fn dump(&self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::new();
        for (key, hash) in &self.hashes {
            let lines = hash.iter().map(|(field, value)| format!("{} {}", text(field), text(value)));
            all.insert(text(key).to_owned(), lines.collect());
        }
        for (key, set) in self.sets.iter().filter(|(_, set)| !set.scores.is_empty()) {
            let lines = set.order.iter().map(|(score, member)| format!("{score} {}", text(member)));
            all.insert(text(key).to_owned(), lines.collect());
        }
        for (key, (entries, _)) in &self.streams {
            let lines = entries.iter().map(|(id, fields)| {
                let fields: Vec<&str> = fields.iter().map(|field| text(field)).collect();
                format!("{id}-0 {}", fields.join(" "))
            });
            all.insert(text(key).to_owned(), lines.collect());
        }
        all
    }

    /// A field of a hash, as text.
    pub fn field(&self, key: &str, field: &str) -> Option<&str> {
        self.hashes.get(key.as_bytes())?.get(field.as_bytes()).map(|value| text(value))
    }
}

fn entry((id, fields): &(u64, Vec<Bytes>)) -> Value {
    let fields = fields.iter().map(|field| bulk(field)).collect();
    Value::Array(vec![bulk(format!("{id}-0").as_bytes()), Value::Array(fields)])
}
