//! A coarse wheel per worker: one entry per downstream connection, and per stream where a connection has many, whatever its
//! deadline is for.
//!
//! A request costs no timer of its own: setting a deadline is a store. The wheel looks at every connection at least
//! once a second and at its deadline's tick, and wakes its task, which then finds out what is over. Precision is one
//! tick ([`TICK`]) where [`Wheel::arm`] is called, and a second where only [`ConnectionClock::set`] is.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::pace::Reader;

/// Length of a tick.
pub const TICK: Duration = Duration::from_millis(50);

/// Ticks in a second.
pub const TICKS_PER_SECOND: u64 = 20;

/// The longest time between two looks at a connection: a second.
const LOOK: u64 = TICKS_PER_SECOND;

/// Slots of the wheel: more than [`LOOK`], so that nothing ever goes around.
const SLOTS: usize = 32;

/// Ticks without a request after which a connection may sleep: half a second. Who asks more often keeps its buffers.
const AWAKE: u64 = 10;

/// Ticks since the worker started.
pub type Tick = u64;

/// `duration` in ticks, rounded up, at least one.
pub fn ticks(duration: Duration) -> Tick {
    const TICK_MS: u32 = 50;
    let rest = u64::from(duration.subsec_millis().div_ceil(TICK_MS));
    duration.as_secs().saturating_mul(TICKS_PER_SECOND).saturating_add(rest).clamp(1, u64::MAX / 2)
}

/// The deadline of one connection, or of one HTTP/2 stream. Atomic because the connection's I/O wrapper must be `Send` to be handed over on an
/// upgrade; all uses are on one thread, so every access is a plain load or store.
#[derive(Debug)]
pub struct ConnectionClock {
    deadline: AtomicU64,
    /// The tick in whose slot the entry is; other slots may hold stale copies.
    queued: AtomicU64,
    closed: AtomicBool,
    /// Between requests: the deadline is that of a kept-alive connection, until the next head begins.
    waiting: AtomicBool,
    /// Ticks that each sign of progress gives from then on; 0 while a deadline stands whatever happens.
    window: AtomicU64,
    /// The tick at which its task is woken whatever the deadline is; `u64::MAX`: never, or it was.
    reminder: AtomicU64,
    /// Between requests: the tick from which on it may sleep; `u64::MAX`: never.
    sleep_at: AtomicU64,
    /// Whether everything that was to be written is.
    flushed: AtomicBool,
    /// What no progress moves the deadline beyond.
    limit: AtomicU64,
    /// Bytes read from the client since a byte of a request or an answer moved; one count per connection.
    idle_reads: Arc<AtomicU64>,
    /// How the client takes the answer.
    reader: Reader,
    waker: Mutex<Option<Waker>>,
    now: Arc<AtomicU64>,
}

impl ConnectionClock {
    /// The worker's tick.
    pub fn now(&self) -> Tick {
        self.now.load(Ordering::Relaxed)
    }

    /// Sets the deadline to `after` ticks from now.
    pub fn set(&self, after: Tick) {
        self.deadline.store(self.now().saturating_add(after), Ordering::Relaxed);
    }

    /// The last answer is through (or the connection is new): `keep_alive` ticks for the next head to begin.
    /// Whether it `may_sleep` meanwhile: there is nothing left of the last request.
    pub fn wait_for_head(&self, keep_alive: Tick, may_sleep: bool) {
        self.waiting.store(true, Ordering::Relaxed);
        let sleep_at = if may_sleep { self.now().saturating_add(AWAKE) } else { u64::MAX };
        self.sleep_at.store(sleep_at, Ordering::Relaxed);
        self.stream(keep_alive, u64::MAX);
    }

    /// Whether the connection has waited for a while and has nothing to do.
    pub fn may_sleep(&self) -> bool {
        self.is_tired() && self.is_waiting() && self.flushed.load(Ordering::Relaxed)
    }

    fn is_tired(&self) -> bool {
        self.now() >= self.sleep_at.load(Ordering::Relaxed)
    }

    /// Whether everything that was to be written is, as far as the connection knows.
    pub fn note_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Ordering::Relaxed);
    }

    /// It sleeps from here on: it need not be woken to do so.
    pub fn sleeps(&self) {
        self.sleep_at.store(u64::MAX, Ordering::Relaxed);
    }

    /// From here on every byte in either direction gives `window` ticks, up to the tick `limit`.
    pub fn stream(&self, window: Tick, limit: Tick) {
        self.window.store(window, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.progress();
    }

    /// Bytes of a request or an answer moved.
    pub fn progress(&self) {
        self.idle_reads.store(0, Ordering::Relaxed);
        let window = self.window.load(Ordering::Relaxed);
        if window > 0 {
            let deadline = self.now().saturating_add(window).min(self.limit.load(Ordering::Relaxed));
            self.deadline.store(deadline, Ordering::Relaxed);
        }
    }

    /// From here on the client owes to take `rate` bytes per second of its answer.
    pub fn owes(&self, rate: Option<u64>) {
        self.reader.owes(rate);
    }

    /// The client is waited for to take more of its answer, as one of `shared_by`.
    pub fn reader_waits(&self, shared_by: u32) {
        if let Some(at) = self.reader.waits(self.now(), shared_by) {
            self.deadline.store(self.deadline().min(at), Ordering::Relaxed);
        }
    }

    /// The client took `bytes` of its answer.
    pub fn reader_took(&self, bytes: usize) {
        self.reader.took(u64::try_from(bytes).unwrap_or(u64::MAX), self.now());
    }

    /// The client took what it was waited for, if it was: its deadline is that of progress again.
    pub fn reader_is_back(&self) {
        if self.reader.is_waiting() {
            self.reader_took(0);
            self.progress();
        }
    }

    /// Whether the client takes its answer too slowly.
    pub fn reader_is_late(&self) -> bool {
        self.reader.is_late(self.now())
    }

    /// `bytes` were read that may be of no request at all. How many there were since something moved.
    pub fn read(&self, bytes: u64) -> u64 {
        let sum = self.idle_reads.load(Ordering::Relaxed).saturating_add(bytes);
        self.idle_reads.store(sum, Ordering::Relaxed);
        sum
    }

    /// Nothing but the deadline in `after` ticks counts from here on: progress does not move it.
    pub fn hold(&self, after: Tick) {
        self.window.store(0, Ordering::Relaxed);
        self.set(after);
    }

    /// Has its task woken once, within a second after the tick `at`.
    pub fn remind(&self, at: Tick) {
        self.reminder.store(at, Ordering::Relaxed);
    }

    /// Whether the reminder is due; it is once.
    fn take_reminder(&self, now: Tick) -> bool {
        let due = self.reminder.load(Ordering::Relaxed) <= now;
        if due {
            self.reminder.store(u64::MAX, Ordering::Relaxed);
        }
        due
    }

    /// Whether no request is under way.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The first bytes of a head came: `head` ticks for the rest of it.
    pub fn head_begins(&self, head: Tick) {
        self.waiting.store(false, Ordering::Relaxed);
        self.sleep_at.store(u64::MAX, Ordering::Relaxed);
        self.hold(head);
    }

    /// The tick of the deadline, `u64::MAX` for none.
    pub fn deadline(&self) -> Tick {
        self.deadline.load(Ordering::Relaxed)
    }

    /// Whether the deadline has come.
    pub fn is_over(&self) -> bool {
        self.now() >= self.deadline()
    }

    /// Who is woken: the connection's task, which never changes.
    pub fn set_waker(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// Whether nobody would be woken yet.
    pub fn needs_waker(&self) -> bool {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// The connection has ended: the wheel forgets it at its next look.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// The connections of one worker by the tick of the next look at them.
#[derive(Debug)]
pub struct Wheel {
    now: Arc<AtomicU64>,
    slots: RefCell<Vec<Vec<Arc<ConnectionClock>>>>,
    draining: Cell<bool>,
}

impl Wheel {
    /// An empty wheel at tick 0.
    pub fn new() -> Self {
        Self { now: Arc::default(), slots: RefCell::new(vec![Vec::new(); SLOTS]), draining: Cell::new(false) }
    }

    /// The current tick.
    pub fn now(&self) -> Tick {
        self.now.load(Ordering::Relaxed)
    }

    /// Takes in a new connection without a deadline.
    pub fn add(&self) -> Arc<ConnectionClock> {
        self.enter(Arc::default())
    }

    /// Takes in one stream of the connection of `clock`, without a deadline: it has one of its own, and what moves on it
    /// counts for the connection.
    pub fn add_stream(&self, clock: &ConnectionClock) -> Arc<ConnectionClock> {
        self.enter(clock.idle_reads.clone())
    }

    fn enter(&self, idle_reads: Arc<AtomicU64>) -> Arc<ConnectionClock> {
        let clock = Arc::new(ConnectionClock {
            deadline: AtomicU64::new(u64::MAX),
            queued: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            window: AtomicU64::new(0),
            reminder: AtomicU64::new(u64::MAX),
            sleep_at: AtomicU64::new(u64::MAX),
            flushed: AtomicBool::new(true),
            limit: AtomicU64::new(u64::MAX),
            idle_reads,
            reader: Reader::new(),
            waker: Mutex::new(None),
            now: self.now.clone(),
        });
        self.queue(&clock);
        clock
    }

    /// Sets the deadline of `clock` to the tick `deadline` and makes sure that it is looked at then.
    pub fn arm(&self, clock: &Arc<ConnectionClock>, deadline: Tick) {
        clock.deadline.store(deadline, Ordering::Relaxed);
        if deadline < clock.queued.load(Ordering::Relaxed) {
            self.queue(clock);
        }
    }

    /// From now on every connection is woken at each look: the process drains.
    pub fn drain(&self) {
        self.draining.set(true);
        self.wake_all();
    }

    /// Wakes every connection: something that they look at has changed.
    pub fn wake_all(&self) {
        for clock in self.slots.borrow().iter().flatten() {
            clock.wake();
        }
    }

    /// One tick further: wakes what is due, queues the rest again.
    pub fn advance(&self) {
        let now = self.now() + 1;
        self.now.store(now, Ordering::Relaxed);
        let due = self.slots.borrow_mut().get_mut(slot(now)).map(std::mem::take).unwrap_or_default();
        for clock in due {
            if clock.closed.load(Ordering::Relaxed) || clock.queued.load(Ordering::Relaxed) != now {
                continue;
            }
            if clock.take_reminder(now) || clock.is_over() || clock.is_tired() || self.draining.get() {
                clock.wake();
            }
            self.queue(&clock);
        }
    }

    fn queue(&self, clock: &Arc<ConnectionClock>) {
        let now = self.now();
        let at = clock.deadline().clamp(now + 1, now + LOOK);
        clock.queued.store(at, Ordering::Relaxed);
        if let Some(slot) = self.slots.borrow_mut().get_mut(slot(at)) {
            slot.push(clock.clone());
        }
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

fn slot(tick: Tick) -> usize {
    usize::try_from(tick).unwrap_or(0) % SLOTS
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn watched(wheel: &Wheel) -> (Arc<ConnectionClock>, Arc<Count>) {
        let (clock, count) = (wheel.add(), Arc::new(Count::default()));
        clock.set_waker(&Waker::from(count.clone()));
        (clock, count)
    }

    fn woken_at(wheel: &Wheel, count: &Count, up_to: Tick) -> Option<Tick> {
        while wheel.now() < up_to {
            wheel.advance();
            if count.0.load(Ordering::Relaxed) > 0 {
                return Some(wheel.now());
            }
        }
        None
    }

    #[test]
    fn an_armed_deadline_wakes_at_its_tick_near_or_far() {
        for deadline in [1, 5, 19, 20, 21, 40, 1000] {
            let wheel = Wheel::new();
            let (clock, count) = watched(&wheel);
            wheel.arm(&clock, deadline);
            assert_eq!(woken_at(&wheel, &count, 2000), Some(deadline));
        }
    }

    #[test]
    fn a_deadline_that_is_moved_away_does_not_wake_and_one_set_without_the_wheel_wakes_within_a_second() {
        let wheel = Wheel::new();
        let (clock, count) = watched(&wheel);
        wheel.arm(&clock, 3);
        clock.set(100);
        assert_eq!(woken_at(&wheel, &count, 90), None);
        clock.set(2);
        let at = woken_at(&wheel, &count, 200).unwrap();
        assert!(at <= 90 + LOOK + 2, "{at}");
    }

    #[test]
    fn progress_moves_the_deadline_up_to_the_limit_and_only_while_streaming() {
        let wheel = Wheel::new();
        let (clock, _) = watched(&wheel);
        clock.head_begins(10);
        clock.progress();
        assert_eq!(clock.deadline(), 10, "a head's deadline stands");
        clock.stream(10, 15);
        (0..6).for_each(|_| wheel.advance());
        clock.progress();
        assert_eq!(clock.deadline(), 15);
        clock.wait_for_head(20, false);
        (0..2).for_each(|_| wheel.advance());
        clock.progress();
        assert_eq!(clock.deadline(), 28, "what is still being written counts");
    }

    #[test]
    fn a_reminder_wakes_once_whatever_the_deadline_is() {
        let wheel = Wheel::new();
        let (clock, count) = watched(&wheel);
        clock.hold(1000);
        clock.remind(50);
        let at = woken_at(&wheel, &count, 200).unwrap();
        assert!((50..=50 + LOOK).contains(&at), "{at}");
        (0..200).for_each(|_| wheel.advance());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_connection_that_waits_is_woken_once_to_sleep_unless_something_is_left_to_do() {
        let wheel = Wheel::new();
        let (clock, count) = watched(&wheel);
        clock.wait_for_head(1000, true);
        assert!(!clock.may_sleep());
        let at = woken_at(&wheel, &count, 100).unwrap();
        assert!((AWAKE..=AWAKE + LOOK).contains(&at) && clock.may_sleep(), "{at}");
        clock.note_flushed(false);
        assert!(!clock.may_sleep());
        clock.note_flushed(true);
        clock.sleeps();
        count.0.store(0, Ordering::Relaxed);
        assert_eq!(woken_at(&wheel, &count, 900), None);
        clock.wait_for_head(1000, false);
        assert_eq!(woken_at(&wheel, &count, 1000), None, "what is left of a request keeps it awake");
    }

    #[test]
    fn a_closed_connection_is_forgotten() {
        let wheel = Wheel::new();
        let (clock, count) = watched(&wheel);
        wheel.arm(&clock, 3);
        clock.close();
        assert_eq!(woken_at(&wheel, &count, 100), None);
        assert_eq!(Arc::strong_count(&clock), 1);
    }
}
