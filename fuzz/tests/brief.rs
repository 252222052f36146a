//! Every target for a moment: the checked-in inputs, and a thousand changed ones. Longer: `cargo xtask fuzz`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_fuzz::run::{Until, run};
use vertice_fuzz::targets;

/// Few enough for a debug build.
const INPUTS: u64 = 1000;

#[test]
fn no_target_panics_or_breaks_a_law() {
    // One test, because a panic's hook belongs to the whole process.
    let seed = fastrand::u64(..);
    let mut crashes = Vec::new();
    for target in targets::ALL {
        match run(target, seed, Until::Inputs(INPUTS)) {
            Ok(done) => println!("{}: {done:?}", target.name),
            Err(crash) => crashes.push(format!(
                "{} panics: {}\n  input {:?}\n  saved as {:?}\n  again: cargo xtask fuzz {} --seed {seed}",
                target.name,
                crash.message,
                String::from_utf8_lossy(&crash.input),
                crash.saved,
                target.name
            )),
        }
    }
    assert!(crashes.is_empty(), "seed {seed}\n{}", crashes.join("\n"));
}

#[test]
fn every_target_has_inputs_to_begin_with() {
    for target in targets::ALL {
        assert!(!vertice_fuzz::corpus::load(target.name).is_empty(), "fuzz/corpus/{}/", target.name);
    }
}
