//! The last known good on disk: what the registry said, so that a start with the registry away serves from it.
//!
//! [`format`] is the file's text, pure; [`disk`] is where it stands and what becomes of a file that cannot be used;
//! [`keeper`] is the thread that writes it.

pub mod format;
pub mod disk;
pub mod keeper;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vertice_process::clock;
use vertice_registry_client::{Known, View};

use disk::StateDir;
use format::Kept;

/// Makes sure that `dir` can be written to, and begins with what it remembers of `registry`. Without the folder nothing
/// is to be written.
pub fn open(dir: &Path, registry: &str) -> io::Result<(View, Option<StateDir>)> {
    let state_dir = StateDir::open(dir, std::process::id())?;
    let (now, unix_ms) = (Instant::now(), clock::unix_ms());
    let loaded = state_dir.load(registry, unix_ms);
    for remark in &loaded.remarks {
        tracing::warn!("{remark}");
    }
    let view = loaded.kept.map(|kept| restore(kept, now, unix_ms)).filter(View::is_complete);
    let file = loaded.name.unwrap_or_default().display().to_string();
    match view.as_ref().map(|view| (view, view.status().last_proof)) {
        Some((view, Some(proof))) => {
            let (age, instances) = (now.saturating_duration_since(proof).as_secs(), view.count());
            tracing::warn!(
                file,
                instances,
                "serving the last known good, stale {age} s, until the registry answers"
            );
        }
        Some((_, None)) | None if loaded.remarks.is_empty() => {
            tracing::info!(dir = %dir.display(), "no last known good yet");
        }
        Some((_, None)) | None => tracing::warn!(
            dir = %dir.display(),
            "no last known good can be used: starting without one, not ready before the registry answers"
        ),
    }
    Ok((view.unwrap_or_default(), (!loaded.blocked).then_some(state_dir)))
}

/// The view that `kept` gives, all of it held until a source names it. `now` and `unix_ms` are the same moment.
pub fn restore(kept: Kept, now: Instant, unix_ms: u64) -> View {
    let known = kept.entries.into_iter().map(|entry| {
        let age = Duration::from_millis(unix_ms.saturating_sub(entry.last_proof_ms));
        // A file that is older than what this clock can say is as good as one of now: it is held either way.
        Known { instance: Arc::new(entry.instance), last_proof: now.checked_sub(age).unwrap_or(now) }
    });
    View::restore(known.collect(), kept.kind, kept.position, now)
}

#[cfg(test)]
mod tests;
