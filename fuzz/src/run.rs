//! Feeds a target, for a number of inputs or for a time.

use std::collections::HashSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::mutate::{mutate, shrink};
use crate::{Target, corpus};

/// Kept inputs beyond those that are checked in.
const MOST_KEPT: usize = 2000;
/// One input may take this long before it counts as one that never ends.
const FOREVER: Duration = Duration::from_secs(20);

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many inputs.
    Inputs(u64),
    /// After this time.
    Time(Duration),
}

/// What came of a run without a failure.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Inputs fed.
    pub inputs: u64,
    /// Different answers that they got.
    pub answers: usize,
}

/// A crash.
#[derive(Debug)]
pub struct Crash {
    /// What the panic says.
    pub message: String,
    /// The smallest input found that does it.
    pub input: Vec<u8>,
    /// Where it was saved.
    pub saved: Option<PathBuf>,
}

/// Feeds `target` with the checked-in inputs and then with changed ones drawn from `seed`.
pub fn run(target: &Target, seed: u64, until: Until) -> Result<Done, Box<Crash>> {
    let _quiet = Quiet::new();
    let watch = Watch::start(target.name);
    let mut random = Rng::with_seed(seed);
    let mut kept = corpus::load(target.name);
    assert!(!kept.is_empty(), "fuzz/corpus/{} has no inputs", target.name);
    let mut answers = HashSet::new();
    let mut inputs = 0;
    let begun = Instant::now();
    let own = kept.clone();
    let mut queue = own.iter();
    loop {
        let over = match until {
            Until::Inputs(most) => inputs >= most,
            Until::Time(time) => begun.elapsed() >= time,
        };
        let input = match queue.next() {
            Some(input) => input.clone(),
            None if over => return Ok(Done { inputs, answers: answers.len() }),
            None => {
                let base = &kept[random.usize(..kept.len())];
                let other = &kept[random.usize(..kept.len())];
                mutate(base, other, target.words, &mut random)
            }
        };
        inputs += 1;
        watch.feeds(&input);
        match fed(target, &input) {
            Ok(answer) => {
                if answers.insert(shape(&answer)) && kept.len() < own.len() + MOST_KEPT {
                    kept.push(input);
                }
            }
            Err(_) => return Err(Box::new(crash(target, &input))),
        }
    }
}

/// Feeds one input; the panic's message if it panics.
pub fn fed(target: &Target, input: &[u8]) -> Result<String, String> {
    panic::catch_unwind(AssertUnwindSafe(|| (target.feed)(input))).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

fn crash(target: &Target, input: &[u8]) -> Crash {
    let small = shrink(input, |bytes| fed(target, bytes).is_err());
    let message = fed(target, &small).err().unwrap_or_default();
    let saved = corpus::save(target.name, &small).ok();
    Crash { message, input: small, saved }
}

/// An answer without its numbers and quotations, of which there is no end.
fn shape(answer: &str) -> String {
    let mut quoted = false;
    let mut shape = String::new();
    for c in answer.chars().take(300) {
        match c {
            '"' | '`' => quoted = !quoted,
            '0'..='9' => {}
            c if !quoted => shape.push(c),
            _ => {}
        }
    }
    shape
}

/// Panics of targets are caught and told in our own words; the hook comes back when this is dropped.
struct Quiet;

impl Quiet {
    fn new() -> Self {
        panic::set_hook(Box::new(|_| {}));
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if !thread::panicking() {
            drop(panic::take_hook());
        }
    }
}

/// Ends the process when one input takes forever, and says which.
struct Watch(Arc<Mutex<Option<Fed>>>);

/// An input, and since when it is fed.
type Fed = (Instant, Vec<u8>);

impl Watch {
    fn start(target: &'static str) -> Self {
        let current = Arc::new(Mutex::new(None::<Fed>));
        let weak = Arc::downgrade(&current);
        thread::spawn(move || {
            while let Some(current) = weak.upgrade() {
                let stuck = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((since, input)) = stuck.filter(|(since, _)| since.elapsed() > FOREVER) {
                    let saved = corpus::save(target, &input).ok();
                    eprintln!("{target}: an input takes more than {:?}: {saved:?}", since.elapsed());
                    std::process::abort();
                }
                drop(current);
                thread::sleep(Duration::from_millis(500));
            }
        });
        Self(current)
    }

    fn feeds(&self, input: &[u8]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), input.to_vec()));
    }
}
