//! How far memory has followed, and who waits for it: they go on in the order in which they came.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use vertice_registry_api::Position;

#[derive(Debug, Default)]
pub(super) struct Followed {
    at: Mutex<Option<Position>>,
    moved: Notify,
}

impl Followed {
    pub(super) fn at(&self) -> Option<Position> {
        *self.locked()
    }

    /// Memory is at `position` now.
    pub(super) fn reach(&self, position: Position) {
        *self.locked() = Some(position);
        self.look_again();
    }

    /// Something else changed that a waiter looks at.
    pub(super) fn look_again(&self) {
        self.moved.notify_waiters();
    }

    /// Waits until `over` holds; where memory is then.
    pub(super) async fn wait_for(&self, over: impl Fn(Option<Position>) -> bool) -> Option<Position> {
        loop {
            // Before the look, so that no move is missed between the two.
            let moved = self.moved.notified();
            let at = self.at();
            if over(at) {
                return at;
            }
            moved.await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<Position>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
