//! The instances of one snapshot on their way to one client, in pieces, and for a limited time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use vertice_registry_api::Instance;

use crate::store::Packed;

/// For reading a whole snapshot: 200 MB at 4 MB/s. A reader that is stuck longer loses its rows, so that a thousand
/// stuck readers do not keep a thousand old states of the registry alive.
pub(super) const READ_TIME: Duration = Duration::from_mins(1);
/// About how many bytes a piece has: more than hyper hands to the kernel at once, less than a cache.
const PIECE_BYTES: usize = 32 * 1024;

type Kept = Arc<Mutex<Option<std::vec::IntoIter<Packed>>>>;

/// Rows that are still to be sent.
pub(super) struct Rows {
    kept: Kept,
    timer: AbortHandle,
}

/// The next piece.
pub(super) enum Piece {
    Text(Vec<u8>),
    End,
    /// The time is over.
    Lost,
}

impl Rows {
    pub(super) fn new(rows: Vec<Packed>) -> Self {
        let kept: Kept = Arc::new(Mutex::new(Some(rows.into_iter())));
        let timed = kept.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(READ_TIME).await;
            timed.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        Self { kept, timer: timer.abort_handle() }
    }

    /// Writes some rows with `write`, which appends one row to the text.
    pub(super) fn piece(&mut self, mut write: impl FnMut(&Instance, &mut Vec<u8>)) -> Piece {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rows) = kept.as_mut() else { return Piece::Lost };
        let mut text = Vec::with_capacity(PIECE_BYTES);
        for instance in rows.filter_map(|row| row.unpack()) {
            write(&instance, &mut text);
            if text.len() >= PIECE_BYTES {
                break;
            }
        }
        if text.is_empty() { Piece::End } else { Piece::Text(text) }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stuck_reader_loses_its_rows() {
        let mut rows = Rows::new(Vec::new());
        assert!(matches!(rows.piece(|_, _| {}), Piece::End));
        tokio::time::sleep(READ_TIME + Duration::from_secs(1)).await;
        assert!(matches!(rows.piece(|_, _| {}), Piece::Lost));
    }
}
