//! Reads what `cargo test` prints, and counts. What gives no result is a failure, never a pass.

use crate::tally::Tally;

/// What one run of `cargo test` has said so far.
#[derive(Debug, Default)]
pub(crate) struct TestOutput {
    tally: Tally,
    programs: usize,
    results: usize,
    ignored: Vec<String>,
}

/// The whole run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestVerdict {
    pub(crate) tally: Tally,
    /// Names of the tests that were not run.
    pub(crate) ignored: Vec<String>,
    /// What went wrong beyond tests that failed, for the reader.
    pub(crate) trouble: Option<String>,
}

impl TestOutput {
    /// Takes a line of the standard output: what the test programs say.
    pub(crate) fn stdout_line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            if let Some(tally) = parse_result(result) {
                self.results += 1;
                self.tally += tally;
            }
        } else if let Some(name) = ignored_name(line) {
            self.ignored.push(name.to_owned());
        }
    }

    /// Takes a line of the standard error: what cargo says.
    pub(crate) fn stderr_line(&mut self, line: &str) {
        let line = without_colour(line);
        let line = line.trim_start();
        if line.starts_with("Running ") || line.starts_with("Doc-tests ") {
            self.programs += 1;
        }
    }

    /// The verdict, once cargo has ended.
    pub(crate) fn verdict(self, succeeded: bool) -> TestVerdict {
        let Self { mut tally, programs, results, ignored } = self;
        let silent = programs.saturating_sub(results);
        let trouble = if programs == 0 {
            Some("no test program ran: the tests do not compile, or there are none".to_owned())
        } else if silent > 0 {
            Some(format!("{silent} test program(s) ended without a result: crashed, or killed"))
        } else if !succeeded && tally.failed == 0 {
            Some("cargo test failed although no test did".to_owned())
        } else {
            None
        };
        tally.failed += if trouble.is_some() { silent.max(1) } else { 0 };
        TestVerdict { tally, ignored, trouble }
    }
}

/// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn parse_result(text: &str) -> Option<Tally> {
    let (_, counts) = text.split_once(". ")?;
    let count = |word: &str| -> Option<usize> {
        counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim_end().parse().ok())
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

/// `test the_name ... ignored`, with or without `, a reason`.
fn ignored_name(line: &str) -> Option<&str> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    (outcome == "ignored" || outcome.starts_with("ignored, ")).then_some(name)
}

/// Cuts out escape sequences of colours.
fn without_colour(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
    const FAILED: &str =
        "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";

    fn verdict(stderr: &[&str], stdout: &[&str], succeeded: bool) -> TestVerdict {
        let mut output = TestOutput::default();
        for line in stderr {
            output.stderr_line(line);
        }
        for line in stdout {
            output.stdout_line(line);
        }
        output.verdict(succeeded)
    }

    #[test]
    fn results_are_summed_and_ignored_tests_named() {
        let colour = "\u{1b}[1m\u{1b}[92m     Running\u{1b}[0m unittests src/lib.rs (target/debug/deps/a-1)";
        let stdout =
            [PASSED, "test slow ... ignored, 10 minutes", "test fine ... ok", "test b ... ignored", FAILED];
        let verdict = verdict(&["   Compiling a", colour, "   Doc-tests a"], &stdout, false);
        assert_eq!(verdict.tally, Tally { passed: 4, failed: 2, skipped: 1 });
        assert_eq!(verdict.ignored, ["slow", "b"]);
        assert_eq!(verdict.trouble, None);
    }

    #[test]
    fn what_does_not_compile_is_a_failure() {
        let verdict = verdict(&["   Compiling a", "error: could not compile `a`"], &[], false);
        assert_eq!(verdict.tally, Tally { passed: 0, failed: 1, skipped: 0 });
        assert!(verdict.trouble.is_some());
    }

    #[test]
    fn a_program_that_crashes_is_a_failure() {
        let verdict = verdict(&["     Running a", "     Running b"], &[PASSED], false);
        assert_eq!(verdict.tally, Tally { passed: 3, failed: 1, skipped: 1 });
    }

    #[test]
    fn cargos_own_failure_is_a_failure() {
        assert_eq!(verdict(&["     Running a"], &[PASSED], false).tally.failed, 1);
        assert_eq!(verdict(&["     Running a"], &[PASSED], true).tally.failed, 0);
    }
}
