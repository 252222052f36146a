//! The simulation with a few seeds, and with every defect that its properties are there to notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod simulation;

use simulation::{Failure, Options, Property, Real, Sabotage, Story, Summary, recorded, run};

const STEPS: u64 = 150_000;

fn whole(seed: u64) -> Summary {
    let options = Options { seed, steps: STEPS, sabotage: None, only: None, ..Options::default() };
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

/// The first failure of the property that a run of `STEPS` with the defect has.
fn noticed(options: Options) -> Failure {
    for seed in 0..8 {
        if let Err(failure) = run(Options { seed, steps: STEPS, ..options }) {
            return *failure;
        }
    }
    panic!("{:?} never noticed that a part {:?}", options.only, options.sabotage);
}

fn notices(options: Options, cases: &[(Property, Sabotage)]) {
    for (property, sabotage) in cases.iter().copied() {
        let options = Options { sabotage: Some(sabotage), only: Some(property), ..options };
        let failure = noticed(options);
        println!("{sabotage:?}: {}", failure.violation.what);
        let again = Options { seed: failure.seed, steps: failure.step + 1, ..options };
        let repeated = run(again).expect_err("a replay finds the same");
        assert_eq!((repeated.step, repeated.violation), (failure.step, failure.violation));
    }
}

#[test]
fn every_property_notices_the_defect_that_it_is_there_for() {
    notices(Options::default(), &DEFECTS);
    let silence = Options { story: Story::Silence, ..Options::default() };
    notices(silence, &[(Property::P10, Sabotage::NeverEndsPreservation)]);
}

#[test]
#[ignore = "takes minutes"]
fn with_replicas_every_property_notices_the_defect_that_it_is_there_for() {
    let replicas = Options { replicas: true, ..Options::default() };
    notices(replicas, &DEFECTS);
    notices(replicas, &[(Property::P5, Sabotage::DrawsLowGenerations)]);
    let silence = Options { story: Story::Silence, ..replicas };
    notices(silence, &[(Property::P10, Sabotage::NeverEndsPreservation)]);
}

const DEFECTS: [(Property, Sabotage); 9] = [
    (Property::P1, Sabotage::LosesChange),
    (Property::P2, Sabotage::ForgetsBeats),
    (Property::P3, Sabotage::NeverExpires),
    (Property::P4, Sabotage::AcksTooEarly),
    (Property::P5, Sabotage::AcceptsOldGenerations),
    (Property::P6, Sabotage::KeepsEpoch),
    (Property::P7, Sabotage::IgnoresTokens),
    (Property::P8, Sabotage::BelievesAbsence),
    (Property::P9, Sabotage::KeepsRemoved),
];

fn story(seed: u64, replicas: bool, story: Story) -> Options {
    Options { seed, steps: STEPS, replicas, story, ..Options::default() }
}

#[test]
fn with_replicas_on_redis_every_property_holds_whatever_happens() {
    // No drawn seed: long runs still find one now and then (docs/simulation.md), and a test command is to tell of what is new.
    let play = |seed| {
        let options = Options { steps: 100_000, ..story(seed, true, Story::Anything) };
        run(options).unwrap_or_else(|failure| panic!("{failure}"))
    };
    let runs: Vec<Summary> = [1, 2, 3].into_iter().map(play).collect();
    println!("{runs:?}");
    let sum = |of: fn(&Summary) -> u64| runs.iter().map(of).sum::<u64>();
    let enough = sum(|run| run.restarts) > 5 && sum(|run| run.failovers) > 5 && sum(|run| run.promises) > 0;
    assert!(enough, "hardly anything happened, so this proves little");
}

#[test]
fn one_seed_is_one_run_with_replicas_too() {
    let options = Options { steps: 40_000, ..story(3, true, Story::Anything) };
    let play = || run(options).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(format!("{:?}", play()), format!("{:?}", play()));
}

#[test]
fn preservation_ends_by_itself_when_nobody_ends_it() {
    let summary = run(story(5, false, Story::Silence)).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{summary:?}");
    assert!(summary.ended > 0 && summary.longest_s >= 880, "no preservation lasted to its end: {summary:?}");
}

#[test]
fn the_modelled_redis_answers_as_a_real_one() {
    let seed = fastrand::u64(..);
    println!("the seed is {seed}");
    let (asked, dump) = recorded(Options { steps: 60_000, ..story(seed, true, Story::OneRedis) });
    let mut real = Real::start();
    let compared = real.repeat(&asked);
    println!("{compared:?}");
    assert!(
        compared.len() >= 9 && compared.values().sum::<usize>() > 3000,
        "too little was asked: {compared:?}"
    );
    let there = real.dump();
    assert_eq!(there.keys().collect::<Vec<_>>(), dump.keys().collect::<Vec<_>>());
    for (key, lines) in &dump {
        assert_eq!(&there[key], lines, "{key}");
    }
}
