//! Handing a table to the workers, and getting the old one back to be freed where nobody waits.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arc_swap::ArcSwap;

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
    freshness: ArcSwap<Freshness>,
    graveyard: SyncSender<Arc<Table>>,
}

impl Published {
    /// Publishes `table`. The receiver gets old tables back; who holds it frees them.
    pub fn new(table: Table) -> (Arc<Self>, Receiver<Arc<Table>>) {
        let (graveyard, dead) = sync_channel(GRAVEYARD);
        let generation = AtomicU64::new(table.generation);
        (
            Arc::new(Self {
                table: ArcSwap::from_pointee(table),
                generation,
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

    fn bury(&self, table: Arc<Table>) {
        // Full or closed: the table is freed right here.
        let _ = self.graveyard.try_send(table);
    }
}

/// One worker's view of the newest table.
#[derive(Debug)]
pub struct CachedTable {
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
    /// A view of what `published` holds.
    pub fn new(published: Arc<Published>) -> Self {
        let current = RefCell::new(Rc::new(TableLease::take(&published)));
        Self { published, current }
    }

    /// The newest table: one relaxed comparison and a non-atomic count, unless there was a swap.
    pub fn current(&self) -> Rc<TableLease> {
        let mut current = self.current.borrow_mut();
        if current.generation != self.published.generation.load(Ordering::Acquire) {
            *current = Rc::new(TableLease::take(&self.published));
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
