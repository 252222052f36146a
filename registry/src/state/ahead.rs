//! Reading on a thread of its own what is taken in on this one: a start has two cores, and each has half of the work.

use std::sync::mpsc::sync_channel;
use std::thread;

/// Items that are handed over at once, and how often that may be done before one is taken: some MiB at most.
const AT_ONCE: usize = 16;
const WAITING: usize = 4;

/// What `take` makes of `items`, which another thread draws.
pub(super) fn ahead<T: Send, R>(
    items: impl Iterator<Item = T> + Send,
    take: impl FnOnce(&mut dyn Iterator<Item = T>) -> R,
) -> R {
    thread::scope(|scope| {
        let (given, taken) = sync_channel(WAITING);
        scope.spawn(move || {
            let mut items = items;
            loop {
                let some: Vec<T> = items.by_ref().take(AT_ONCE).collect();
                // Who takes may have seen enough.
                if some.is_empty() || given.send(some).is_err() {
                    return;
                }
            }
        });
        take(&mut taken.into_iter().flatten())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_come_in_order_and_who_has_enough_stops() {
        assert!(ahead(0..10_000, |items| items.eq(0..10_000)));
        assert_eq!(ahead(0.., |items| items.nth(1000)), Some(1000));
    }
}
