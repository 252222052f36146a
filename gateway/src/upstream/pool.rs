//! A worker's idle connections and its counts per endpoint: arrays indexed by endpoint, no lock, no hashing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::sync::Notify;

use super::connection::UpstreamConnection;
use super::error::Failure;
use super::shared::{SharedConnection, StreamLease};
use crate::health::EndpointHealth;
use crate::table::{Endpoint, EndpointId};
use crate::worker::timer::Tick;

/// Idle connections kept per endpoint and worker: connections multiply by workers, and beyond this many a burst is over.
const IDLE_PER_ENDPOINT: usize = 128;

/// Ticks (50 ms) that an idle connection is kept: 30 s, below the keep-alive of most servers and of NAT tables.
const IDLE_TICKS: Tick = 600;

/// Ticks that an endpoint is avoided after a connect failure: 1 s, then one request tries it again.
const SUSPECT_TICKS: Tick = 20;

/// Slots looked at per sweep, so that a sweep over a million endpoints stalls nobody.
const SWEEP_SLOTS: usize = 1024;

/// What one worker keeps per endpoint.
#[derive(Debug, Default)]
pub struct Pool {
    slots: RefCell<Vec<Slot>>,
    next_sweep: Cell<usize>,
    /// Indices with counts that are not flushed.
    counted: RefCell<Vec<usize>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Whose slot this is; another serial means that the endpoint before is gone.
    serial: u64,
    idle: Vec<Idle>,
    /// HTTP/2 connections, used or idle.
    shared: Vec<Shared>,
    /// Told when the HTTP/2 connection that is being opened is there, or will not be.
    opening: Option<Rc<Opened>>,
    in_flight: u32,
    suspect_until: Tick,
    /// Where the counts go; `None` before the first.
    health: Option<Arc<EndpointHealth>>,
    /// Requests since the last flush.
    answered: u32,
    failed: u32,
}

#[derive(Debug)]
struct Idle {
    connection: UpstreamConnection,
    since: Tick,
}

#[derive(Debug)]
struct Shared {
    connection: SharedConnection,
    last_used: Tick,
}

/// Who opens the next HTTP/2 connection to an endpoint.
#[derive(Debug)]
pub enum Opening {
    /// The caller, until it drops this.
    Ours(OpeningGuard),
    /// Somebody else, who tells what comes of it.
    Theirs(Rc<Opened>),
}

/// What came of opening a connection.
#[derive(Debug, Default)]
pub struct Opened {
    done: Notify,
    failure: Cell<Option<Failure>>,
}

impl Opened {
    /// Waits until it is there, or not: then why not. Who opened it may also have given up.
    pub async fn wait(&self) -> Result<(), Failure> {
        self.done.notified().await;
        self.failure.get().map_or(Ok(()), Err)
    }
}

/// The right to open a connection; who waits is told when this is dropped.
#[derive(Debug)]
pub struct OpeningGuard {
    pool: Rc<Pool>,
    endpoint: EndpointId,
    opened: Rc<Opened>,
}

impl OpeningGuard {
    /// It will not be there: who waits need not try the same.
    pub fn failed(&self, failure: Failure) {
        self.opened.failure.set(Some(failure));
    }
}

/// One request in flight at an endpoint; counted until dropped.
#[derive(Debug)]
pub struct InFlight {
    pool: Rc<Pool>,
    endpoint: EndpointId,
}

impl Pool {
    /// Counts a request at `endpoint`.
    pub fn begin(self: &Rc<Self>, endpoint: EndpointId) -> InFlight {
        self.with(endpoint, |slot| slot.in_flight += 1);
        InFlight { pool: self.clone(), endpoint }
    }

    /// Requests in flight at `endpoint` from this worker.
    pub fn in_flight(&self, endpoint: EndpointId) -> u32 {
        self.peek(endpoint, |slot| slot.in_flight).unwrap_or(0)
    }

    /// Whether `endpoint` failed a moment ago.
    pub fn is_suspect(&self, endpoint: EndpointId, now: Tick) -> bool {
        self.peek(endpoint, |slot| slot.suspect_until > now).unwrap_or(false)
    }

    /// `endpoint` failed just now: its idle connections are as good as dead, and it is avoided for a moment.
    pub fn suspect(&self, endpoint: EndpointId, now: Tick) {
        let dead = self.with(endpoint, |slot| {
            slot.suspect_until = now + SUSPECT_TICKS;
            std::mem::take(&mut slot.idle)
        });
        drop(dead);
    }

    /// `endpoint` accepted a connection just now.
    pub fn trust(&self, endpoint: EndpointId) {
        self.with(endpoint, |slot| slot.suspect_until = 0);
    }

    /// Counts a request that `endpoint` answered or failed.
    pub fn count(&self, endpoint: &Endpoint, failed: bool) {
        let first = self.with(endpoint.id, |slot| {
            let first = slot.answered == 0 && slot.failed == 0;
            if failed {
                slot.failed += 1;
            } else {
                slot.answered += 1;
            }
            slot.health.get_or_insert_with(|| endpoint.health.clone());
            first
        });
        if first {
            self.counted.borrow_mut().push(endpoint.id.index);
        }
    }

    /// Adds what was counted to what all workers know.
    pub fn flush_counts(&self) {
        let mut slots = self.slots.borrow_mut();
        for index in self.counted.borrow_mut().drain(..) {
            // One that went to another endpoint meanwhile has lost its counts, or flushes them twice as nothing.
            let Some(slot) = slots.get_mut(index) else { continue };
            let (answered, failed) = (std::mem::take(&mut slot.answered), std::mem::take(&mut slot.failed));
            if let Some(health) = &slot.health {
                health.add(answered, failed);
            }
        }
    }

    /// The connection that was used last, if it has not been idle for longer than `max_idle` ticks.
    pub fn take(&self, endpoint: EndpointId, now: Tick, max_idle: Tick) -> Option<UpstreamConnection> {
        let idle = self.with(endpoint, |slot| slot.idle.pop_if(|idle| idle.since + max_idle >= now))?;
        Some(idle.connection)
    }

    /// Keeps `connection` for the next request.
    pub fn put(&self, endpoint: EndpointId, connection: UpstreamConnection, now: Tick) {
        let spare = self.with(endpoint, |slot| {
            if slot.idle.len() < IDLE_PER_ENDPOINT {
                slot.idle.push(Idle { connection, since: now });
                None
            } else {
                Some(connection)
            }
        });
        drop(spare);
    }

    /// A place on an HTTP/2 connection, on the first that has one: the others become idle and are closed.
    pub fn share(&self, endpoint: EndpointId, now: Tick) -> Option<(SharedConnection, StreamLease)> {
        self.with(endpoint, |slot| {
            slot.shared.iter_mut().find_map(|shared| {
                let lease = shared.connection.lease()?;
                shared.last_used = now;
                Some((shared.connection.clone(), lease))
            })
        })
    }

    /// Keeps an HTTP/2 connection for others.
    pub fn put_shared(&self, endpoint: EndpointId, connection: SharedConnection, now: Tick) {
        self.with(endpoint, |slot| slot.shared.push(Shared { connection, last_used: now }));
    }

    /// Who opens the next HTTP/2 connection to `endpoint`.
    pub fn opening(self: &Rc<Self>, endpoint: EndpointId) -> Opening {
        self.with(endpoint, |slot| {
            if let Some(opening) = &slot.opening {
                return Opening::Theirs(opening.clone());
            }
            let opened: Rc<Opened> = Rc::default();
            slot.opening = Some(opened.clone());
            Opening::Ours(OpeningGuard { pool: self.clone(), endpoint, opened })
        })
    }

    /// Drops idle connections that are too old or that the endpoint closed, in some of the slots.
    pub fn sweep(&self, now: Tick) {
        let (mut dead, mut dead_shared) = (Vec::new(), Vec::new());
        {
            let mut slots = self.slots.borrow_mut();
            let start = if self.next_sweep.get() >= slots.len() { 0 } else { self.next_sweep.get() };
            self.next_sweep.set(start + SWEEP_SLOTS);
            let mut nobody = Context::from_waker(Waker::noop());
            for slot in slots.iter_mut().skip(start).take(SWEEP_SLOTS) {
                dead_shared.extend(slot.shared.extract_if(.., |shared| shared.is_done(now)));
                let over =
                    |idle: &mut Idle| idle.since + IDLE_TICKS < now || idle.connection.drive(&mut nobody);
                dead.extend(slot.idle.extract_if(.., over));
            }
        }
        drop((dead, dead_shared));
    }

    /// Idle connections in all.
    pub fn idle(&self) -> usize {
        self.slots.borrow().iter().map(|slot| slot.idle.len()).sum()
    }

    fn peek<T>(&self, endpoint: EndpointId, look: impl FnOnce(&Slot) -> T) -> Option<T> {
        self.slots.borrow().get(endpoint.index).filter(|slot| slot.serial == endpoint.serial).map(look)
    }

    /// Works on the slot of `endpoint`, which is emptied first if it was another's.
    fn with<T>(&self, endpoint: EndpointId, work: impl FnOnce(&mut Slot) -> T) -> T {
        let mut before = None;
        let mut slots = self.slots.borrow_mut();
        if endpoint.index >= slots.len() {
            slots.resize_with(endpoint.index + 1, Slot::default);
        }
        // The index exists: it was just made sure of.
        let mut spare = Slot::default();
        let slot = slots.get_mut(endpoint.index).unwrap_or(&mut spare);
        if slot.serial < endpoint.serial {
            before = Some(std::mem::replace(slot, Slot { serial: endpoint.serial, ..Slot::default() }));
        } else if slot.serial > endpoint.serial {
            // A request of an older table: its endpoint is gone and must not disturb the one that has its place now.
            return work(&mut spare);
        }
        let result = work(slot);
        drop(slots);
        drop(before);
        result
    }
}

impl Shared {
    fn is_done(&mut self, now: Tick) -> bool {
        if !self.connection.is_idle() {
            self.last_used = now;
        }
        self.connection.is_over() || self.last_used + IDLE_TICKS < now
    }
}

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        self.pool.with(self.endpoint, |slot| slot.opening = None);
        self.opened.done.notify_waiters();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pool.with(self.endpoint, |slot| slot.in_flight = slot.in_flight.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_went_to_another_endpoint_shares_nothing_with_the_first() {
        let pool = Rc::new(Pool::default());
        let (old, new) = (EndpointId { index: 3, serial: 1 }, EndpointId { index: 3, serial: 2 });
        let first = pool.begin(old);
        pool.suspect(old, 0);
        assert_eq!((pool.in_flight(old), pool.is_suspect(old, 1)), (1, true));
        let second = pool.begin(new);
        assert_eq!((pool.in_flight(new), pool.is_suspect(new, 1), pool.in_flight(old)), (1, false, 0));
        drop(first);
        assert_eq!(pool.in_flight(new), 1, "the end of an old request is not counted for the new endpoint");
        drop(second);
        assert_eq!(pool.in_flight(new), 0);
    }

    #[test]
    fn a_suspect_is_forgiven_after_a_second_or_at_the_first_success() {
        let pool = Rc::new(Pool::default());
        let id = EndpointId { index: 0, serial: 1 };
        pool.suspect(id, 100);
        assert!(pool.is_suspect(id, 119) && !pool.is_suspect(id, 120));
        pool.suspect(id, 100);
        pool.trust(id);
        assert!(!pool.is_suspect(id, 101));
    }
}
