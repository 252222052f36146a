//! The modelled Redis beside a real one: what a run asked, asked there once more, with the same answers and the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Connection, Value};

use super::cluster::Asked;

/// Scripts ask this instead of the clock, so that both live at the same time.
const CLOCK: &str = "test:clock";

/// A server of the test's own; killed when dropped.
pub struct Real {
    child: Child,
    connection: Connection,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(connection: &mut Connection, words: &[Vec<u8>]) -> Result<Value, String> {
    let (name, rest) = words.split_first().unwrap();
    let mut command = redis::cmd(std::str::from_utf8(name).unwrap());
    for word in rest {
        command.arg(word);
    }
    command.query(connection).map_err(|error| error.to_string())
}

impl Real {
    pub fn start() -> Self {
        for _ in 0..5 {
            // Somebody else may take the port between the look and the start.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp"]);
            let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = quiet.spawn().expect("is the package redis-server installed?");
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
            #[allow(clippy::disallowed_methods, reason = "a real server starts in real time")]
            let began = Instant::now();
            while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_mins(1) {
                if let Ok(connection) = client.get_connection() {
                    return Self { child, connection };
                }
                std::thread::yield_now();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server does not start");
    }

    fn words(&mut self, words: &[&str]) -> Result<Value, String> {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        ask(&mut self.connection, &words)
    }

    /// Asks all of `asked`; how many answers were compared, by script or command.
    pub fn repeat(&mut self, asked: &[Asked]) -> BTreeMap<String, usize> {
        let mut compared = BTreeMap::new();
        let mut scripts: BTreeMap<Vec<u8>, (Vec<u8>, String)> = BTreeMap::new();
        for (number, Asked { at_us, words, answer }) in asked.iter().enumerate() {
            let command = String::from_utf8(words[0].clone()).unwrap();
            let (mut there, mut name) = (words.clone(), command.clone());
            match command.as_str() {
                "INFO" => continue,
                "SCRIPT" => {
                    let text = String::from_utf8(words[2].clone()).unwrap();
                    let timed =
                        text.replace("redis.call('TIME')", "redis.call('HMGET', 'test:clock', 's', 'us')");
                    assert_ne!(timed, text, "a script without the prelude");
                    let Ok(Value::BulkString(sha)) = self.words(&["SCRIPT", "LOAD", &timed]) else {
                        panic!("a script is not taken");
                    };
                    let title = text.lines().rfind(|line| line.starts_with("-- ")).unwrap_or_default();
                    let Ok(Value::BulkString(known)) = answer else { panic!("the model took no script") };
                    scripts.insert(known.clone(), (sha, title.to_owned()));
                    continue;
                }
                "EVALSHA" => {
                    let (s, us) = ((at_us / 1_000_000).to_string(), (at_us % 1_000_000).to_string());
                    self.words(&["HSET", CLOCK, "s", &s, "us", &us]).unwrap();
                    let (sha, _) = &scripts[&words[1]];
                    there[1].clone_from(sha);
                    name = format!("script {}", String::from_utf8_lossy(&words[1][..6]));
                }
                "XREAD" => {
                    there.drain(3..5);
                }
                "HSCAN" => there[4] = b"1000000".to_vec(),
                _ => {}
            }
            let real = ask(&mut self.connection, &there);
            let same = match (&real, answer) {
                (Ok(real), Ok(model)) if command == "HSCAN" => fields(real) == fields(model),
                (Ok(real), Ok(model)) => real == model,
                (real, model) => real.is_err() && model.is_err(),
            };
            assert!(
                same,
                "command {number}, {:?}: really {real:?}, in the model {answer:?}",
                words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>()
            );
            *compared.entry(name).or_insert(0) += 1;
        }
        compared
    }

    /// All that stands there, as `Data::dump` has it.
    pub fn dump(&mut self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::new();
        for key in texts(&self.words(&["KEYS", "vertice:*"]).unwrap()) {
            let kind = match self.words(&["TYPE", &key]).unwrap() {
                Value::SimpleString(kind) => kind,
                other => panic!("{other:?}"),
            };
            let lines = match kind.as_str() {
                "hash" => {
                    let mut pairs = texts(&self.words(&["HGETALL", &key]).unwrap());
                    let mut lines: Vec<(String, String)> =
                        pairs.chunks_mut(2).map(|p| (p[0].clone(), p[1].clone())).collect();
                    lines.sort();
                    lines.into_iter().map(|(field, value)| format!("{field} {value}")).collect()
                }
                "zset" => {
                    let pairs = texts(&self.words(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).unwrap());
                    pairs.chunks(2).map(|pair| format!("{} {}", pair[1], pair[0])).collect()
                }
                "stream" => {
                    let Value::Array(entries) = self.words(&["XRANGE", &key, "-", "+"]).unwrap() else {
                        continue;
                    };
                    entries.iter().map(|entry| flat(entry).join(" ")).collect()
                }
                other => panic!("{key} is a {other}"),
            };
            all.insert(key, lines);
        }
        all
    }
}

/// All texts inside of `value`, in their order.
fn flat(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        other => vec![format!("{other:?}")],
    }
}

fn texts(value: &Value) -> Vec<String> {
    flat(value)
}

/// The fields of one page of a scan.
fn fields(page: &Value) -> BTreeSet<Vec<String>> {
    let Value::Array(halves) = page else { return BTreeSet::new() };
    let texts = halves.last().map(flat).unwrap_or_default();
    texts.chunks(2).map(<[String]>::to_vec).collect()
}
