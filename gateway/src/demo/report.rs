//! One line per step: whether it held, how long it took, what was seen.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// The lines so far.
#[derive(Debug)]
pub(super) struct Report {
    started: Instant,
    held: usize,
    failed: Vec<String>,
}

impl Report {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), held: 0, failed: Vec::new() }
    }

    /// Does `work` within `limit` and prints its line. The error is the line's text.
    pub(super) async fn step(
        &mut self,
        name: &str,
        limit: Duration,
        work: impl Future<Output = Result<String, String>>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let late = || Err(format!("not done within {} s", limit.as_secs()));
        let result = timeout(limit, work).await.unwrap_or_else(|_| late());
        let seconds = begun.elapsed().as_secs_f64();
        match result {
            Ok(seen) => {
                self.held += 1;
                say(&format!("  ok     {seconds:6.2} s  {name}: {seen}"));
                Ok(())
            }
            Err(why) => {
                say(&format!("  FAILED {seconds:6.2} s  {name}: {why}"));
                let failure = format!("{name}: {why}");
                self.failed.push(failure.clone());
                Err(failure)
            }
        }
    }

    /// All steps in one line; as an error with the failures, if there are any.
    pub(super) fn conclude(&self) -> Result<String, String> {
        let seconds = self.started.elapsed().as_secs_f64();
        let (held, failed) = (self.held, self.failed.len());
        let summary = format!("{held} steps held, {failed} failed, in {seconds:.1} s");
        if self.failed.is_empty() {
            return Ok(summary);
        }
        let mut text = summary;
        for failure in &self.failed {
            let _ = write!(text, "\nfailed: {failure}");
        }
        Err(text)
    }
}

/// Prints a line for the person. A closed standard output ends nothing: the parts are still to be taken down.
pub(super) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_that_fails_or_hangs_is_in_the_summary() {
        let mut report = Report::new();
        let limit = Duration::from_secs(3);
        report.step("first", limit, async { Ok("seen".into()) }).await.unwrap();
        assert!(report.conclude().is_ok());
        report.step("second", limit, async { Err("broken".into()) }).await.unwrap_err();
        let hangs = report.step("third", limit, std::future::pending()).await.unwrap_err();
        assert_eq!(hangs, "third: not done within 3 s");
        let error = report.conclude().unwrap_err();
        assert!(error.starts_with("1 steps held, 2 failed"), "{error}");
        assert!(error.contains("second: broken") && error.contains("third:"), "{error}");
    }
}
