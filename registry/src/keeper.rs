//! Keeps the state directory up to date: a watcher of the store's own log that writes what it sees to the disk.
//!
//! It holds the store's lock only to copy references, and whatever blocks runs on a thread for that. What is
//! acknowledged is written a fraction of a second later, so that the end of this process does not lose it, however
//! slowly the disk syncs; syncing goes on beside that. When either fails, serving goes on, and the next attempt writes
//! everything anew.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use vertice_process::shutdown::Shutdown;
use vertice_registry_api::Revision;

use crate::api::Shared;
use crate::state::{Journal, SnapshotDone};

/// Between two writes: many changes share one, and none waits for a second.
const WRITE_EVERY: Duration = Duration::from_millis(200);
/// Between two attempts when writing fails, and between two log lines about it.
const RETRY_EVERY: Duration = Duration::from_secs(2);
const TOLD_EVERY: Duration = Duration::from_mins(1);
/// Changes that are written at once.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    /// `None` only while a thread has it, or when that thread panicked.
    journal: Option<Journal>,
    written: Revision,
    synced: Revision,
    /// A sync that is under way, up to this revision.
    syncing: Option<(Revision, JoinHandle<io::Result<()>>)>,
    /// A snapshot that is being written.
    snapshot: Option<JoinHandle<io::Result<SnapshotDone>>>,
    failing: bool,
    told: Option<Instant>,
    shutdown: Shutdown,
}

impl Keeper {
    /// `journal` ends at the store's present revision.
    pub(crate) fn new(shared: Arc<Shared>, journal: Journal, shutdown: Shutdown) -> Self {
        let written = shared.at().0.revision;
        shared.metrics.state_saved(written);
        Self {
            shared,
            journal: Some(journal),
            written,
            synced: written,
            syncing: None,
            snapshot: None,
            failing: false,
            told: None,
            shutdown,
        }
    }

    /// Writes until the process stops, and then its end.
    pub(crate) async fn keep(mut self) {
        let mut published = self.shared.published.subscribe();
        while !self.shutdown.is_pulled() {
            published.borrow_and_update();
            self.catch_up().await;
            let pause = if self.failing { RETRY_EVERY } else { WRITE_EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shutdown.pulled() => break,
            }
            // While it fails, or while there is more to sync, the next round comes by itself.
            if !self.failing && self.synced == self.written {
                tokio::select! {
                    _ = published.changed() => {}
                    () = self.shutdown.pulled() => {}
                }
            }
        }
        self.end().await;
    }

    async fn catch_up(&mut self) {
        let result = self.write_all().await;
        self.tell(result);
    }

    async fn write_all(&mut self) -> io::Result<()> {
        self.take_finished_snapshot().await;
        self.take_finished_sync().await?;
        let goal = self.shared.at().0.revision;
        while self.failing || self.written < goal {
            if self.failing {
                return self.renew().await;
            }
            let Some(piece) = self.shared.piece_after(self.written, PIECE_BYTES) else {
                // More happened meanwhile than the log holds.
                return self.renew().await;
            };
            let to = piece.delta.to;
            self.with_journal(move |journal| journal.append(&piece)).await?;
            self.written = to;
        }
        self.begin_sync()?;
        if self.snapshot.is_none() && self.journal.as_ref().is_some_and(Journal::has_grown) {
            self.turn_over().await?;
        }
        Ok(())
    }

    /// Begins a new pair of files; the snapshot is written beside everything else.
    async fn turn_over(&mut self) -> io::Result<()> {
        let (piece, whole) = self.shared.piece_and_whole(self.written);
        let Some(piece) = piece else { return self.renew().await };
        let to = piece.delta.to;
        let job = self
            .with_journal(move |journal| {
                journal.append(&piece)?;
                journal.turn_over(whole)
            })
            .await?;
        self.written = to;
        self.is_synced(to);
        self.snapshot = Some(tokio::task::spawn_blocking(move || job.run()));
        Ok(())
    }

    /// Begins a new pair of files and waits for it: what the old one holds cannot be gone on with.
    async fn renew(&mut self) -> io::Result<()> {
        if let Some(running) = self.snapshot.take() {
            let _ = running.await;
        }
        let (_, whole) = self.shared.piece_and_whole(self.written);
        let to = whole.position.revision;
        self.with_journal(move |journal| journal.renew(whole)).await?;
        self.written = to;
        self.is_synced(to);
        Ok(())
    }

    /// Syncs what was written, unless the last sync still runs: then the next round does.
    fn begin_sync(&mut self) -> io::Result<()> {
        if self.syncing.is_some() || self.synced >= self.written {
            return Ok(());
        }
        let Some(journal) = &self.journal else { return Ok(()) };
        let file = journal.to_sync()?;
        self.syncing = Some((self.written, tokio::task::spawn_blocking(move || file.sync_data())));
        Ok(())
    }

    async fn take_finished_sync(&mut self) -> io::Result<()> {
        match self.syncing.take_if(|(_, running)| running.is_finished()) {
            None => Ok(()),
            Some((to, running)) => {
                running.await.map_err(io::Error::other)??;
                self.is_synced(to);
                Ok(())
            }
        }
    }

    async fn take_finished_snapshot(&mut self) {
        if self.snapshot.as_ref().is_none_or(|running| !running.is_finished()) {
            return;
        }
        let Some(running) = self.snapshot.take() else { return };
        match running.await {
            Ok(Ok(done)) => {
                if let Some(journal) = self.journal.as_mut() {
                    journal.finish(done);
                }
            }
            Ok(Err(error)) => self.tell(Err(error)),
            Err(error) => self.tell(Err(io::Error::other(error))),
        }
    }

    async fn with_journal<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Journal) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut journal = self.journal.take().ok_or_else(|| io::Error::other("the journal is lost"))?;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work(&mut journal);
            (journal, result)
        });
        let (journal, result) = worked.await.map_err(io::Error::other)?;
        self.journal = Some(journal);
        result
    }

    fn is_synced(&mut self, to: Revision) {
        self.synced = self.synced.max(to);
        self.shared.metrics.state_saved(self.synced);
    }

    fn tell(&mut self, result: io::Result<()>) {
        self.shared.metrics.state_failing(result.is_err());
        match result {
            Ok(()) if self.failing => {
                self.failing = false;
                self.told = None;
                tracing::info!("the state directory is written again; everything is in it");
            }
            Ok(()) => {}
            Err(error) => {
                self.failing = true;
                if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    self.told = Some(Instant::now());
                    tracing::error!(
                        %error,
                        saved_revision = %self.synced,
                        "the state directory cannot be written: serving goes on, but a restart would lose what is newer; make room or mend the disk, it is tried again every 2 s"
                    );
                }
            }
        }
    }

    /// The last write: nothing changes any more, and that is written too.
    async fn end(&mut self) {
        self.shared.close();
        let result = self.write_all().await;
        let failed = result.is_err();
        self.tell(result);
        if failed || self.failing {
            return;
        }
        let (revision, next_generation) = self.shared.final_revision();
        let ended = self.with_journal(move |journal| journal.append_clean(revision, next_generation)).await;
        self.tell(ended);
    }
}
