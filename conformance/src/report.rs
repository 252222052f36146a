//! What came of a run, as text, Markdown or JSON.

use clap::ValueEnum;
use serde_json::json;

use crate::case::{Level, Outcome, Verdict};
use crate::deviations;
use crate::{h1, h2};

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Markdown,
    Json,
}

/// Passed, failed, skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Sum {
    pub(crate) fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        let mut sum = Self::default();
        for outcome in outcomes {
            match outcome.verdict {
                Verdict::Passed => sum.passed += 1,
                Verdict::Failed { .. } => sum.failed += 1,
                Verdict::Skipped(_) => sum.skipped += 1,
            }
        }
        sum
    }
}

/// Turns the known deviations of our own gateway into skips, and those that are none any more into failures.
fn with_deviations(outcomes: &[Outcome]) -> Vec<Outcome> {
    let judged = |outcome: &Outcome| {
        let mut outcome = outcome.clone();
        if let Some(reason) = deviations::reason(&outcome.id) {
            outcome.verdict = match outcome.verdict {
                Verdict::Failed { .. } => Verdict::Skipped(format!("known deviation: {reason}")),
                Verdict::Passed => Verdict::Failed {
                    expected: "a deviation, by conformance/src/deviations.rs".into(),
                    came: "it passes: take it off the list".into(),
                },
                Verdict::Skipped(reason) => Verdict::Skipped(reason),
            };
        }
        outcome
    };
    outcomes.iter().map(judged).collect()
}

/// Prints a run; whether no case failed. `ours`: known deviations count as skipped.
pub(crate) fn print(outcomes: &[Outcome], format: Format, ours: bool) -> bool {
    let outcomes = if ours { with_deviations(outcomes) } else { outcomes.to_vec() };
    match format {
        Format::Text => text(&outcomes),
        Format::Markdown => markdown(&outcomes),
        Format::Json => println!("{:#}", as_json(&outcomes)),
    }
    !outcomes.iter().any(Outcome::failed)
}

fn text(outcomes: &[Outcome]) {
    for outcome in outcomes {
        let Outcome { suite, id, section, level, what, verdict } = outcome;
        match verdict {
            Verdict::Passed => {}
            Verdict::Failed { expected, came } => println!(
                "FAILED {suite} {id} [{section}, {}]: {what}\n       expected {expected}\n       came     {came}",
                level.word()
            ),
            Verdict::Skipped(why) => println!("skipped {suite} {id} [{section}]: {why}"),
        }
    }
    for suite in suites(outcomes) {
        for level in [Level::Must, Level::Should, Level::Ours] {
            let sum = Sum::of(outcomes.iter().filter(|o| o.suite == suite && o.level == level));
            if sum != Sum::default() {
                println!(
                    "{suite} {}: {} passed, {} failed, {} skipped",
                    level.word(),
                    sum.passed,
                    sum.failed,
                    sum.skipped
                );
            }
        }
    }
    let sum = Sum::of(outcomes.iter());
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
}

/// The suites that ran, in their order.
pub(crate) fn suites(outcomes: &[Outcome]) -> Vec<&'static str> {
    let mut suites: Vec<_> = outcomes.iter().map(|outcome| outcome.suite).collect();
    suites.dedup();
    suites
}

fn markdown(outcomes: &[Outcome]) {
    println!("| protocol | case | section | level | result |\n|---|---|---|---|---|");
    for outcome in outcomes {
        let result = match &outcome.verdict {
            Verdict::Passed => "passed".into(),
            Verdict::Failed { expected, came } => {
                cell(&format!("**failed**: expected {expected}; came {came}"))
            }
            Verdict::Skipped(why) => cell(&format!("skipped: {why}")),
        };
        let Outcome { suite, id, section, level, .. } = outcome;
        println!("| {suite} | `{id}` | {section} | {} | {result} |", level.word());
    }
}

/// `text` as one cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn as_json(outcomes: &[Outcome]) -> serde_json::Value {
    let cases: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let (result, expected, came) = match &outcome.verdict {
                Verdict::Passed => ("passed", None, None),
                Verdict::Failed { expected, came } => ("failed", Some(expected), Some(came)),
                Verdict::Skipped(why) => ("skipped", None, Some(why)),
            };
            json!({
                "protocol": outcome.suite,
                "id": outcome.id,
                "section": outcome.section,
                "level": outcome.level.word(),
                "what": outcome.what,
                "result": result,
                "expected": expected,
                "came": came,
            })
        })
        .collect();
    let sum = Sum::of(outcomes.iter());
    json!({ "cases": cases, "passed": sum.passed, "failed": sum.failed, "skipped": sum.skipped })
}

/// Lists every case.
pub(crate) fn list() {
    for case in h1::list() {
        println!("h1 {} [{}, {}]: {}", case.id, case.section, case.level.word(), case.what);
    }
    for (id, section, what) in h2::list() {
        println!("h2 {id} [{section}]: {what}");
    }
}
