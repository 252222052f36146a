//! Two modelled Redis servers and a Sentinel: one takes writes, and what the other takes over from may be seconds old.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redis::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::property::Sabotage;
use super::super::registry::START_UNIX_MS;
use super::data::Data;
use super::lua;
use super::shared::Shared;

pub const SENTINEL: u16 = 26379;
const FIRST_PORT: u16 = 7000;
/// Copies of each second, and of each hundredth second, that are kept.
const RECENT: usize = 30;
const OLD: usize = 12;
/// Entries that streams keep, so that who is away for a minute reads everything.
const SHORT_STREAM: usize = 300;

/// One server.
pub struct Node {
    pub data: Data,
    replication: String,
    pub up: bool,
    pub takes_writes: bool,
    pub paused_until: Instant,
    /// Connections of an earlier life are broken.
    pub life: u64,
}

/// A way from a replica to the servers.
#[derive(Clone, Copy)]
pub struct Way {
    pub there_until: Instant,
    pub back_until: Instant,
}

pub struct State {
    pub nodes: [Node; 2],
    pub master: usize,
    recent: VecDeque<Data>,
    old: VecDeque<Data>,
    pub ways: BTreeMap<usize, Way>,
    /// Of all answers: done, and never told.
    pub replies_lost: f64,
    pub rng: fastrand::Rng,
    /// The servers' clocks are off by this.
    pub skew_us: i64,
    beat: String,
    /// What was asked, when, and what the answer was, where somebody wants to know.
    pub record: Option<Vec<Asked>>,
}

/// One command as a server did it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at_us: u64,
    pub words: Vec<Vec<u8>>,
    pub answer: Result<Value, String>,
}

pub struct Cluster {
    state: Mutex<State>,
    pub changed: Notify,
    began: Instant,
    shared: Arc<Mutex<Shared>>,
    sabotage: Option<Sabotage>,
}

impl Cluster {
    pub fn new(seed: u64, shared: Arc<Mutex<Shared>>, sabotage: Option<Sabotage>, whole: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let mut node = |takes_writes| Node {
            data: Data::new((!whole).then_some(SHORT_STREAM), if whole { usize::MAX } else { 60 }),
            replication: format!("{:040x}", rng.u128(..)),
            up: true,
            takes_writes,
            paused_until: Instant::now(),
            life: 1,
        };
        let nodes = [node(true), node(false)];
        let state = State {
            nodes,
            master: 0,
            recent: VecDeque::new(),
            old: VecDeque::new(),
            ways: BTreeMap::new(),
            replies_lost: 0.0002,
            rng,
            skew_us: 0,
            beat: String::new(),
            record: whole.then(Vec::new),
        };
        Self { state: Mutex::new(state), changed: Notify::new(), began: Instant::now(), shared, sabotage }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn port(node: usize) -> u16 {
        FIRST_PORT + u16::try_from(node).unwrap()
    }

    pub fn node(port: u16) -> usize {
        usize::from(port - FIRST_PORT)
    }

    /// The clock of the servers.
    fn now_us(&self, skew_us: i64) -> u64 {
        let since = u64::try_from(self.began.elapsed().as_micros()).unwrap();
        (START_UNIX_MS * 1000 + since).saturating_add_signed(skew_us)
    }

    /// What a Sentinel answers.
    pub fn sentinel(&self) -> Value {
        let port = Self::port(self.state().master).to_string();
        Value::Array(vec![Value::BulkString(b"redis".to_vec()), Value::BulkString(port.into_bytes())])
    }

    /// Does one command at `node`.
    pub fn execute(&self, node: usize, words: Vec<Vec<u8>>) -> Result<Value, String> {
        let mut state = self.state();
        let at_us = self.now_us(state.skew_us);
        let answer = self.one(&mut state, node, &words, at_us);
        if let Some(record) = &mut state.record {
            record.push(Asked { at_us, words, answer: answer.clone() });
        }
        answer
    }

    fn one(&self, state: &mut State, node: usize, words: &[Vec<u8>], at_us: u64) -> Result<Value, String> {
        let Node { data, replication, takes_writes, .. } = &mut state.nodes[node];
        match words[0].as_slice() {
            b"INFO" => {
                let role = if *takes_writes { "master" } else { "slave" };
                let text = format!("# Replication\r\nrole:{role}\r\nmaster_replid:{replication}\r\n");
                Ok(Value::BulkString(text.into_bytes()))
            }
            b"SCRIPT" => {
                let text = std::str::from_utf8(&words[2]).unwrap();
                let name = script_name(text);
                lua::load(&name, &spoilt(text, self.sabotage))?;
                if text.contains("-- A batch of heartbeats.") {
                    state.beat.clone_from(&name);
                }
                Ok(Value::BulkString(name.into_bytes()))
            }
            b"EVALSHA" if !*takes_writes => {
                Err("READONLY You can't write against a read only replica.".into())
            }
            b"EVALSHA" => {
                let keys: usize = std::str::from_utf8(&words[2]).unwrap().parse().unwrap();
                let (keys, arguments) = words[3..].split_at(keys);
                let name = String::from_utf8(words[1].clone()).unwrap();
                let answer = lua::run(data, &name, keys, arguments, at_us)?;
                if name == state.beat {
                    let told =
                        arguments[1..].chunks(4).map(|beat| String::from_utf8(beat[0].clone()).unwrap());
                    self.shared.lock().unwrap().told(told);
                }
                self.changed.notify_waiters();
                Ok(answer)
            }
            b"XREAD" => {
                let (key, after) = (words[6].clone(), std::str::from_utf8(&words[7]).unwrap());
                let first: u64 = after.trim_end_matches("-0").parse().unwrap();
                match data.entries(&key, first + 1, 1000) {
                    Value::Array(entries) if entries.is_empty() => Ok(Value::Nil),
                    entries => Ok(Value::Array(vec![Value::Array(vec![Value::BulkString(key), entries])])),
                }
            }
            _ => data.call(words, at_us),
        }
    }

    /// The phase of self-preservation as it stands.
    pub fn preserving(&self) -> bool {
        let state = self.state();
        let phase = state.nodes[state.master].data.field("vertice:meta", "phase");
        phase.is_some_and(|phase| phase.starts_with("preserving"))
    }

    /// The epoch that all share.
    pub fn epoch(&self) -> Option<String> {
        let state = self.state();
        state.nodes[state.master].data.field("vertice:meta", "epoch").map(str::to_owned)
    }

    /// Whether the one that takes writes answers.
    pub fn answers(&self) -> bool {
        let state = self.state();
        let master = &state.nodes[state.master];
        master.up && master.takes_writes && master.paused_until <= Instant::now()
    }

    /// Every second: what the other server, or a dump, has of this moment.
    pub fn copy(&self, second: u64) {
        let mut state = self.state();
        let data = state.nodes[state.master].data.clone();
        if second.is_multiple_of(100) {
            state.old.push_back(data.clone());
        }
        state.recent.push_back(data);
        while state.recent.len() > RECENT {
            state.recent.pop_front();
        }
        while state.old.len() > OLD {
            state.old.pop_front();
        }
    }
}

impl State {
    /// `node` is gone.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].up = false;
        self.nodes[node].life += 1;
    }

    /// The server that takes writes from now on is `node`, with what it had `lag` seconds ago.
    pub fn promote(&mut self, node: usize, lag: usize) {
        let copy = self.recent.iter().rev().nth(lag).or(self.recent.front()).cloned();
        let empty = self.nodes[node].data.emptied();
        self.begin(node, copy.unwrap_or(empty));
        self.master = node;
    }

    /// `node` follows the other one from now on.
    pub fn demote(&mut self, node: usize) {
        if node != self.master {
            let other = self.nodes[self.master].data.clone();
            let node = &mut self.nodes[node];
            (node.data, node.takes_writes, node.up) = (other, false, true);
            node.life += 1;
        }
    }

    /// The one that takes writes starts anew with what is on its disk: all, an old dump, or nothing.
    pub fn restart(&mut self, dump: Dump) {
        let (held, empty) = (&self.nodes[self.master].data, self.nodes[self.master].data.emptied());
        let data = match dump {
            Dump::All => held.clone(),
            Dump::Old => {
                let some = self.rng.usize(..self.old.len().max(1));
                self.old.get(some).cloned().unwrap_or(empty)
            }
            Dump::Nothing => empty,
        };
        self.begin(self.master, data);
    }

    /// The one that takes writes goes on with nothing.
    pub fn flush(&mut self) {
        let node = &mut self.nodes[self.master];
        node.data = node.data.emptied();
        if let Some(record) = &mut self.record {
            let answer = Ok(Value::Okay);
            record.push(Asked { at_us: 0, words: vec![b"FLUSHALL".to_vec()], answer });
        }
    }

    fn begin(&mut self, node: usize, data: Data) {
        let replication = format!("{:040x}", self.rng.u128(..));
        let node = &mut self.nodes[node];
        (node.data, node.replication, node.takes_writes, node.up) = (data, replication, true, true);
        node.life += 1;
    }
}

/// What is on the disk of a server that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    All,
    Old,
    Nothing,
}

pub fn script_name(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(20).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// `text` with the defect that is put in on purpose.
fn spoilt(text: &str, sabotage: Option<Sabotage>) -> String {
    let (sound, defect) = match sabotage {
        // Nothing is ever found to be overdue.
        Some(Sabotage::NeverExpires) => ("found[7] = find(LEASES, now)", "found[7] = 0"),
        // Another Redis, and what it lost, begins no epoch.
        Some(Sabotage::KeepsEpoch) => {
            ("if not epoch or replication ~= ARGV[3] or (epoch", "if not epoch or (false and epoch")
        }
        // Self-preservation begins, and nothing ends it.
        Some(Sabotage::NeverEndsPreservation) => (
            "if ARGV[3] ~= '' then redis",
            "if string.sub(phase, 1, 10) ~= 'preserving' and ARGV[3] ~= '' then redis",
        ),
        // A late message of an old holder is not told apart.
        Some(Sabotage::DrawsLowGenerations) => (
            "if record then generation = math.max",
            "if record then generation = generation - 1000000000000 elseif false then generation = math.max",
        ),
        // A change that was made is not in the stream.
        _ => return text.to_owned(),
    };
    text.replace(sound, defect)
}

/// How long a command may wait on a way that is cut and be done all the same, because it is sent again and again.
pub const RETRANSMITTED: Duration = Duration::from_secs(15);
