//! Runs cases against a target, several at a time, and keeps what the client saw.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::answers::{self, Answer};
use super::table::{Case, Check, Step};
use crate::upstream::{self, Upstream, filled};
use crate::wire::{Received, Target, Wire};

/// Cases at the same time: most of a case is waiting.
const THREADS: usize = 8;
/// After what was expected has come: for what must not come.
const LINGER: Duration = Duration::from_millis(60);
/// Other clients' requests after a case whose service misbehaved.
const FOLLOWERS: usize = 3;

/// What the client saw of one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) token: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) closed: bool,
    /// What is wrong with the requests of other clients afterwards.
    pub(crate) unclean: Option<String>,
    /// The connection could not even be made.
    pub(crate) error: Option<String>,
}

/// Runs `cases`; what was seen, in their order.
pub(crate) fn all(cases: &[&Case], target: &Target, upstream: &Upstream) -> Vec<Observed> {
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(vec![Observed::default(); cases.len()]);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((index, case)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(index).map(|case| (index, case))
                } {
                    let observed = one(case, target, upstream);
                    seen.lock().unwrap_or_else(PoisonError::into_inner)[index] = observed;
                }
            });
        }
    });
    // What must not reach the service may still be on its way to it.
    thread::sleep(Duration::from_millis(200));
    seen.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn one(case: &Case, target: &Target, upstream: &Upstream) -> Observed {
    let token = upstream.token(case.answer);
    let mut observed = Observed { token: token.clone(), ..Observed::default() };
    let mut wire = match Wire::connect(target, b"http/1.1") {
        Ok(wire) => wire,
        Err(error) => {
            observed.error = Some(format!("cannot connect: {error}"));
            return observed;
        }
    };
    let mut head = false;
    for (index, step) in case.steps.iter().enumerate() {
        let sent = match step {
            Step::Send(bytes) => {
                head |= index == 0 && bytes.starts_with(b"HEAD ");
                wire.send(&filled(bytes, Some(&token)))
            }
            Step::Fill(byte, times) => wire.send(&vec![*byte; *times]),
            Step::Repeat(bytes, times) => wire.send(&bytes.repeat(*times)),
            Step::Await(part) => {
                let deadline = Instant::now() + target.patience;
                while !contains(&observed.bytes, part) {
                    if wire.receive(&mut observed.bytes, deadline) != Received::Bytes {
                        break;
                    }
                }
                Ok(())
            }
        };
        if sent.is_err() {
            // Closed before everything was sent; an answer may be there all the same.
            break;
        }
    }
    let wants = Wants::of(case.checks);
    gather(&mut wire, target, head, wants, &mut observed);
    observed.answers = answers::parse(&observed.bytes, observed.closed, head);
    if wants.open && !observed.closed {
        observed.closed = !carries_another(&mut wire, target, upstream);
    }
    drop(wire);
    if wants.clean {
        observed.unclean = (0..FOLLOWERS).find_map(|_| follower(target, upstream));
    }
    observed
}

/// What has to be waited for.
#[derive(Clone, Copy, Default)]
struct Wants {
    closed: bool,
    open: bool,
    clean: bool,
    answers: usize,
}

impl Wants {
    fn of(checks: &[Check]) -> Self {
        let mut wants = Self { answers: 1, ..Self::default() };
        wants.add(checks);
        wants
    }

    fn add(&mut self, checks: &[Check]) {
        for check in checks {
            match check {
                Check::Closed | Check::Cut => self.closed = true,
                Check::Open => self.open = true,
                Check::Clean => self.clean = true,
                Check::Answers(count) => self.answers = *count,
                // Alternatives: whatever one of them needs is waited for.
                Check::Either(one, other) => {
                    self.add(one);
                    self.add(other);
                }
                _ => {}
            }
        }
    }
}

fn gather(wire: &mut Wire, target: &Target, head: bool, wants: Wants, observed: &mut Observed) {
    let mut deadline = Instant::now() + target.patience;
    let mut lingering = false;
    loop {
        match wire.receive(&mut observed.bytes, deadline) {
            Received::End | Received::Reset => {
                observed.closed = true;
                return;
            }
            Received::Late if Instant::now() >= deadline => return,
            Received::Late | Received::Bytes => {}
        }
        let answers = answers::parse(&observed.bytes, false, head);
        let finals = answers::finals(&answers);
        let enough = finals.len() >= wants.answers && finals.iter().all(|answer| answer.whole);
        // An error ends many an exchange before all of the answers that were asked for.
        let refused = finals.iter().any(|answer| answer.status >= 400 && answer.whole);
        if (enough || refused) && !wants.closed && !lingering {
            lingering = true;
            deadline = Instant::now() + LINGER;
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    super::chunked::find(bytes, part).is_some()
}

fn request(token: &str) -> Vec<u8> {
    format!("GET /{token} HTTP/1.1\r\nHost: conformance.test\r\n\r\n").into_bytes()
}

/// Whether `wire` carries one more request and its answer.
fn carries_another(wire: &mut Wire, target: &Target, upstream: &Upstream) -> bool {
    let token = upstream.token(upstream::Answer::Ordinary);
    if wire.send(&request(&token)).is_err() {
        return false;
    }
    let mut bytes = Vec::new();
    let deadline = Instant::now() + target.patience;
    while !contains(&bytes, token.as_bytes()) {
        if wire.receive(&mut bytes, deadline) != Received::Bytes {
            return false;
        }
    }
    true
}

/// One request of another client; what is wrong with its answer.
pub(crate) fn follower(target: &Target, upstream: &Upstream) -> Option<String> {
    let token = upstream.token(upstream::Answer::Ordinary);
    let mut wire = match Wire::connect(target, b"http/1.1") {
        Ok(wire) => wire,
        Err(error) => return Some(format!("another client cannot connect: {error}")),
    };
    let _ = wire.send(&request(&token));
    let (mut bytes, deadline) = (Vec::new(), Instant::now() + target.patience);
    loop {
        let answers = answers::parse(&bytes, false, false);
        if let Some(answer) = answers::finals(&answers).first().filter(|answer| answer.whole) {
            let own = answer.status == 200 && answer.body == token.as_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return (!own)
                .then(|| format!("another client got a foreign answer: {}", super::judge::short(&text)));
        }
        if wire.receive(&mut bytes, deadline) != Received::Bytes {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Some(format!("another client got no whole answer: {}", super::judge::short(&text)));
        }
    }
}

/// The status of a plain GET, outside of every case.
pub(super) fn plain_status(target: &Target) -> Option<u16> {
    let mut wire = Wire::connect(target, b"http/1.1").ok()?;
    wire.send(&request("ready")).ok()?;
    let (mut bytes, deadline) = (Vec::new(), Instant::now() + target.patience);
    while answers::parse(&bytes, false, false).is_empty() {
        if wire.receive(&mut bytes, deadline) != Received::Bytes {
            return None;
        }
    }
    answers::parse(&bytes, false, false).first().map(|answer| answer.status)
}
