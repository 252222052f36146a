//! Handing a table to the workers, and getting the old one back to be freed where nobody waits.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::Table;
use super::freshness::Freshness;

/// Old tables on their way to be freed. More than this at once are freed where they are: only under a storm of swaps.
const GRAVEYARD: usize = 1024;

/// The newest table, written by discovery, read by every worker.
#[derive(Debug)]
pub struct Published {
    table: ArcSwap<Table>,
    /// Of `table`; what workers compare per request, so that they touch `table` only after a swap.
    generation: AtomicU64,
    /// Of the table that each worker took up last; written by that worker alone.
    taken: Box<[AtomicU64]>,
    /// A worker has taken up another table.
    took: Notify,
    freshness: ArcSwap<Freshness>,
    graveyard: SyncSender<Arc<Table>>,
}

impl Published {
    /// Publishes `table` for so many workers. The receiver gets old tables back; who holds it frees them.
    pub fn new(table: Table, workers: usize) -> (Arc<Self>, Receiver<Arc<Table>>) {
        let (graveyard, dead) = sync_channel(GRAVEYARD);
        let generation = AtomicU64::new(table.generation);
        (
            Arc::new(Self {
                table: ArcSwap::from_pointee(table),
                generation,
                taken: (0..workers).map(|_| AtomicU64::new(0)).collect(),
                took: Notify::new(),
                freshness: ArcSwap::default(),
                graveyard,
            }),
            dead,
        )
    }

    /// Puts `table` in the place of the current one. Requests that have begun stay with theirs.
    pub fn swap(&self, table: Table) {
        let generation = table.generation;
        let old = self.table.swap(Arc::new(table));
        self.generation.store(generation, Ordering::Release);
        self.bury(old);
    }

    /// The newest table, for who is not on the request path.
    pub fn load(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// How old the truth is.
    pub fn freshness(&self) -> Arc<Freshness> {
        self.freshness.load_full()
    }

    /// Says how old the truth is; does not touch the table.
    pub fn set_freshness(&self, freshness: Freshness) {
        self.freshness.store(Arc::new(freshness));
    }

    /// The generation that every worker has taken up: no request begins with an older table any more.
    pub fn taken_by_all(&self) -> u64 {
        self.taken.iter().map(|taken| taken.load(Ordering::Relaxed)).min().unwrap_or(u64::MAX)
    }

    /// The workers that have not taken up `generation`.
    pub fn behind(&self, generation: u64) -> Vec<usize> {
        let behind =
            self.taken.iter().enumerate().filter(|(_, taken)| taken.load(Ordering::Relaxed) < generation);
        behind.map(|(index, _)| index).collect()
    }

    /// Returns when a worker has taken up another table, maybe before the call. For one waiter. Cancel safe.
    pub async fn taken_up(&self) {
        self.took.notified().await;
    }

    fn note_taken(&self, worker: usize, generation: u64) {
        if let Some(taken) = self.taken.get(worker) {
            taken.store(generation, Ordering::Relaxed);
            self.took.notify_one();
        }
    }

    fn bury(&self, table: Arc<Table>) {
        // Full or closed: the table is freed right here.
        let _ = self.graveyard.try_send(table);
    }
}

/// One worker's view of the newest table.
#[derive(Debug)]
pub struct CachedTable {
    worker: usize,
    published: Arc<Published>,
    current: RefCell<Rc<TableLease>>,
}

/// A table in use by one worker. The last user on the worker sends it to be freed elsewhere: dropping a million
/// endpoints must not stall requests.
#[derive(Debug)]
pub struct TableLease {
    table: Arc<Table>,
    published: Arc<Published>,
}

impl CachedTable {
    /// The view that `worker` has of what `published` holds.
    pub fn new(published: Arc<Published>, worker: usize) -> Self {
        let current = RefCell::new(Rc::new(TableLease::take(&published)));
        published.note_taken(worker, current.borrow().generation);
        Self { worker, published, current }
    }

    /// The newest table: one relaxed comparison and a non-atomic count, unless there was a swap.
    pub fn current(&self) -> Rc<TableLease> {
        let mut current = self.current.borrow_mut();
        if current.generation != self.published.generation.load(Ordering::Acquire) {
            *current = Rc::new(TableLease::take(&self.published));
            self.published.note_taken(self.worker, current.generation);
        }
        current.clone()
    }
}

impl CachedTable {
    /// How old the truth is.
    pub fn freshness(&self) -> Arc<Freshness> {
        self.published.freshness()
    }
}

impl Drop for CachedTable {
    fn drop(&mut self) {
        // A worker that has ended sends nothing any more: nobody waits for it.
        self.published.note_taken(self.worker, u64::MAX);
    }
}

impl TableLease {
    fn take(published: &Arc<Published>) -> Self {
        Self { table: published.load(), published: published.clone() }
    }
}

impl std::ops::Deref for TableLease {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}

impl Drop for TableLease {
    fn drop(&mut self) {
        // The count that `self.table` holds is then not the last.
        self.published.bury(self.table.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(generation: u64) -> Table {
        Table { generation, ..Table::default() }
    }

    #[test]
    fn a_table_is_taken_by_all_when_the_last_worker_has_it_or_has_ended() {
        let (published, _dead) = Published::new(table(1), 3);
        assert_eq!(published.taken_by_all(), 0, "none has begun");
        let workers: Vec<_> = (0..3).map(|worker| CachedTable::new(published.clone(), worker)).collect();
        assert_eq!(published.taken_by_all(), 1);
        published.swap(table(2));
        for (worker, seen) in workers.iter().zip([1, 1, 2]) {
            assert_eq!(worker.current().generation, 2);
            assert_eq!(published.taken_by_all(), seen);
        }
        published.swap(table(3));
        let mut workers = workers.into_iter();
        drop(workers.next());
        assert_eq!(published.behind(3), [1, 2]);
        let left: Vec<_> = workers.collect();
        assert!(left.iter().all(|worker| worker.current().generation == 3));
        assert_eq!(published.taken_by_all(), 3);
        drop(left);
        assert_eq!((published.taken_by_all(), published.behind(4)), (u64::MAX, vec![]));
    }

    #[tokio::test]
    async fn who_waits_is_told_also_of_what_came_before_the_wait() {
        let (published, _dead) = Published::new(table(1), 1);
        let worker = CachedTable::new(published.clone(), 0);
        published.taken_up().await;
        published.swap(table(2));
        drop(worker.current());
        published.taken_up().await;
        assert_eq!(published.taken_by_all(), 2);
    }
}
