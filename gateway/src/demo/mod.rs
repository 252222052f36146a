//! `vertice-gateway demo`: the whole system on this machine, to try out or to check itself.
//!
//! Registry, sidecars and gateway are real processes, started from the programs beside this one; only the services are
//! threads of this process.

mod places;
mod wait;
mod child;
mod service;
mod parts;
mod client;
mod load;
mod report;
mod command;
mod screen;
mod session;
mod story;

use vertice_process::signals::Signals;

use self::parts::Parts;
use self::places::{Logs, Places, Programs};
use self::report::Report;

/// Runs the demo until it is told to stop; with `self_check`, goes through the story alone instead and ends.
///
/// The error says which part or step failed and where the logs are.
pub async fn run(self_check: bool) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|error| format!("signals cannot be listened to: {error}"))?;
    let programs = Programs::beside_this()?;
    let logs = Logs::create()?;
    let folder = logs.folder().display().to_string();
    let mut report = Report::new();
    let done = if self_check {
        let mut parts = Parts::new(programs, logs.folder(), Places::any());
        story::run(&mut parts, &mut report, &mut signals).await
    } else {
        let (places, notes) = Places::usual();
        let mut parts = Parts::new(programs, logs.folder(), places);
        session::run(&mut parts, &notes, &mut report, &mut signals).await
    };
    match done {
        Ok(()) => {
            logs.remove();
            Ok(())
        }
        Err(why) => Err(format!("{why}\nthe logs of all parts are in {folder}")),
    }
}
