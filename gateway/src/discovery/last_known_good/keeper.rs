//! The thread that keeps the last known good on disk: discovery only says that something changed, a slow disk stops this
//! thread alone.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vertice_process::clock;
use vertice_registry_api::Instance;
use vertice_registry_client::View;

use super::disk::StateDir;
use super::format::{About, EntryRef, HoldLine};

/// Between the starts of two writes. What changed is on disk within a second.
const PAUSE: Duration = Duration::from_millis(900);
/// How often the file is written anew although nothing changed: its ages are to say when the registry was last heard.
const REFRESH: Duration = Duration::from_secs(10);
/// A refresh waits this many times as long as a write takes, so that it never uses more than a hundredth of a disk.
const REFRESH_SHARE: u32 = 100;

/// How the writing goes, for who shows it.
#[derive(Debug, Default)]
pub struct KeeperStats {
    writes: AtomicU64,
    failures: AtomicU64,
    state: Mutex<KeeperState>,
}

#[derive(Clone, Debug, Default)]
struct KeeperState {
    written: Option<Instant>,
    error: Option<String>,
}

impl KeeperStats {
    /// Files written.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Writes that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// When a file was last written, and why the last try failed, if it did.
    pub fn now(&self) -> (Option<Instant>, Option<String>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (state.written, state.error)
    }
}

/// The handle of the thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    changed: SyncSender<()>,
    stats: Arc<KeeperStats>,
}

impl Keeper {
    /// Starts the thread that writes what `view` knows of `registry`.
    pub fn start(dir: StateDir, registry: String, view: Arc<Mutex<View>>) -> io::Result<Self> {
        let (changed, changes) = sync_channel(1);
        let stats = Arc::new(KeeperStats::default());
        let writer = Writer { dir, registry, view, stats: stats.clone(), last_proof: None };
        std::thread::Builder::new().name("last-known-good".into()).spawn(move || keep(writer, &changes))?;
        Ok(Self { changed, stats })
    }

    /// Says that the view has changed.
    pub fn changed(&self) {
        // Full: the thread is going to look anyway.
        let _ = self.changed.try_send(());
    }

    /// How the writing goes.
    pub fn stats(&self) -> Arc<KeeperStats> {
        self.stats.clone()
    }
}

fn keep(mut writer: Writer, changes: &Receiver<()>) {
    let mut dirty = false;
    let mut not_before = Instant::now();
    let mut refresh_at = not_before + REFRESH;
    loop {
        let due = if dirty { not_before } else { refresh_at };
        let now = Instant::now();
        if now < due {
            match changes.recv_timeout(due - now) {
                Ok(()) => dirty = true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            continue;
        }
        writer.write(dirty);
        dirty = false;
        not_before = now + PAUSE;
        refresh_at = now + REFRESH.max(now.elapsed() * REFRESH_SHARE);
    }
}

struct Writer {
    dir: StateDir,
    registry: String,
    view: Arc<Mutex<View>>,
    stats: Arc<KeeperStats>,
    /// Of the source, when the file was last written.
    last_proof: Option<Instant>,
}

/// One entry, copied out of the view so that its lock is not held while the disk works.
struct Row {
    instance: Arc<Instance>,
    last_proof_ms: u64,
    hold: Option<HoldLine>,
}

impl Writer {
    /// Writes what is known now; without `changed` only if the source was heard since the last time.
    fn write(&mut self, changed: bool) {
        let (now, unix_ms) = (Instant::now(), clock::unix_ms());
        let at_unix = |at: Instant| {
            unix_ms.saturating_sub(
                u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX),
            )
        };
        let (about, rows, last_proof) = {
            let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            let status = view.status();
            // What is not whole yet must not take the place of what was.
            if !view.is_complete() || (!changed && status.last_proof == self.last_proof) {
                return;
            }
            let mut rows = Vec::with_capacity(view.count());
            for (_, service) in view.services() {
                rows.extend(service.instances.values().map(|seen| Row {
                    instance: seen.instance.clone(),
                    last_proof_ms: at_unix(seen.hold.map_or(service.last_proof, |hold| hold.last_proof)),
                    hold: seen.hold.map(|hold| HoldLine {
                        reason: hold.reason.as_str().to_owned(),
                        since_ms: at_unix(hold.since),
                    }),
                }));
            }
            let about = About {
                written_at_ms: unix_ms,
                registry: self.registry.clone(),
                kind: status.kind,
                position: view.position_of_all(),
            };
            (about, rows, status.last_proof)
        };
        let entries = rows.iter().map(|row| EntryRef {
            last_proof_ms: row.last_proof_ms,
            hold: row.hold.clone(),
            instance: &row.instance,
        });
        let written = self.dir.write(&about, entries);
        let mut state = self.stats.state.lock().unwrap_or_else(PoisonError::into_inner);
        match written {
            Ok(()) => {
                self.last_proof = last_proof;
                self.stats.writes.fetch_add(1, Ordering::Relaxed);
                if state.error.take().is_some() {
                    tracing::info!("the last known good is written again");
                }
                state.written = Some(now);
            }
            Err(error) => {
                self.stats.failures.fetch_add(1, Ordering::Relaxed);
                // Said once per outage of the disk.
                if state.error.replace(error.to_string()).is_none() {
                    tracing::warn!(%error, "the last known good cannot be written; a restart would serve from an older one");
                }
            }
        }
    }
}
