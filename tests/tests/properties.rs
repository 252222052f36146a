//! The simulation with a few seeds, and with every defect that its properties are there to notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod simulation;

use simulation::{Failure, Options, Property, Sabotage, Summary, run};

const STEPS: u64 = 150_000;

fn whole(seed: u64) -> Summary {
    let options = Options { seed, steps: STEPS, sabotage: None, only: None };
    run(options).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn whatever_happens_every_property_holds() {
    let random = fastrand::u64(..);
    println!("the random seed is {random}");
    let runs: Vec<Summary> = [1, 2, random].into_iter().map(whole).collect();
    println!("{runs:?}");
    let sum = |of: fn(&Summary) -> u64| runs.iter().map(of).sum::<u64>();
    let enough = sum(|run| run.faults) > 100 && sum(|run| run.promises) > 0 && sum(|run| run.restarts) > 0;
    assert!(enough, "hardly anything happened, so this proves little");
}

/// The first failure of `property` that a run of `STEPS` with `sabotage` has.
fn noticed(property: Property, sabotage: Sabotage) -> Failure {
    for seed in 0..8 {
        let options = Options { seed, steps: STEPS, sabotage: Some(sabotage), only: Some(property) };
        if let Err(failure) = run(options) {
            return *failure;
        }
    }
    panic!("{property:?} never noticed that a part {sabotage:?}");
}

fn notices(cases: &[(Property, Sabotage)]) {
    for (property, sabotage) in cases.iter().copied() {
        let failure = noticed(property, sabotage);
        println!("{sabotage:?}: {}", failure.violation.what);
        let again = Options {
            seed: failure.seed,
            steps: failure.step + 1,
            sabotage: Some(sabotage),
            only: Some(property),
        };
        let repeated = run(again).expect_err("a replay finds the same");
        assert_eq!((repeated.step, repeated.violation), (failure.step, failure.violation));
    }
}

#[test]
fn every_property_notices_the_defect_that_it_is_there_for() {
    notices(&[
        (Property::P1, Sabotage::LosesChange),
        (Property::P2, Sabotage::ForgetsBeats),
        (Property::P3, Sabotage::NeverExpires),
        (Property::P4, Sabotage::AcksTooEarly),
        (Property::P5, Sabotage::AcceptsOldGenerations),
        (Property::P6, Sabotage::KeepsEpoch),
        (Property::P7, Sabotage::IgnoresTokens),
        (Property::P8, Sabotage::BelievesAbsence),
        (Property::P9, Sabotage::KeepsRemoved),
    ]);
}
