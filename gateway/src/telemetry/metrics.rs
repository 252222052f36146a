//! Counters of one worker. Written by that worker alone, without locked instructions; summed when somebody reads.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::Histogram;
use crate::http::error::GatewayError;
use crate::table::{StatusClass, add_count};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        add_count(&self.0, 1);
    }

    /// `amount` more.
    pub fn add(&self, amount: u64) {
        add_count(&self.0, amount);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a head was refused by the HTTP library before a request came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedHead {
    /// Not HTTP/1.1.
    Malformed,
    /// Larger than the limits on bytes or count.
    TooLarge,
    /// No PROXY header from a peer that must send one.
    ProxyProtocol,
}

/// All counters of one worker.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Connections taken from the kernel by this worker's listeners.
    pub accepted: Counter,
    /// Of these, how many were given to another worker.
    pub handed_over: Counter,
    /// Connections that were served to their end.
    pub connections_closed: Counter,
    /// Connections closed because a head, the next request or a reader took too long.
    pub connections_timed_out: Counter,
    /// Connections closed at once because their address had its share.
    pub connections_over_address: Counter,
    /// Connections ended after their number of requests or at their age.
    pub connections_spent: Counter,
    /// Connections ended by an error: reset by the client, or broken or too many HTTP/2 frames.
    pub connections_broken: Counter,
    /// HTTP/2 streams refused beyond the limit on streams.
    pub streams_refused: Counter,
    /// HTTP/2 streams reset because a reader or a writer took too long.
    pub streams_timed_out: Counter,
    /// Connections that were put to sleep between two requests.
    pub fell_asleep: Counter,
    /// Of these, how many have something to do again, or ended asleep.
    pub woke_up: Counter,
    /// Connections, and streams of HTTP/2, ended because their client took its answer too slowly.
    pub slow_readers: Counter,
    /// WebSockets that were opened.
    pub tunnels_opened: Counter,
    /// WebSockets that have ended.
    pub tunnels_closed: Counter,
    /// WebSockets that were ended because nothing moved, or by the route's total time.
    pub tunnels_timed_out: Counter,
    /// Heads that were not HTTP/1.1.
    pub heads_malformed: Counter,
    /// Heads that were too large.
    pub heads_too_large: Counter,
    /// Connections without the PROXY header that their peer must send.
    pub heads_without_proxy_header: Counter,
    /// Requests that began.
    pub requests: Counter,
    /// Requests that ended, in whatever way.
    pub requests_ended: Counter,
    /// Questions of browsers whether another request may be sent, which the gateway answered.
    pub preflights: Counter,
    /// Requests of pages of an origin that may not use the route.
    pub origins_refused: Counter,
    /// Requests whose answer did not reach its end: the client left or the endpoint broke off.
    pub requests_broken: Counter,
    /// Bytes of bodies from clients.
    pub body_bytes_in: Counter,
    /// Bytes of bodies to clients.
    pub body_bytes_out: Counter,
    /// Attempts beyond the first.
    pub retries: Counter,
    /// Attempts that failed.
    pub attempts_failed: Counter,
    /// Access-log lines that were lost because the writer was behind.
    pub log_lines_dropped: Counter,
    /// Time from a request's head to its answer's.
    pub head_seconds: Histogram,
    classes: [Counter; 5],
    reasons: Reasons,
}

#[derive(Debug)]
struct Reasons([Counter; GatewayError::REASONS.len()]);

impl Default for Reasons {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl WorkerMetrics {
    /// Counts an answer of `class`.
    pub fn answered(&self, class: StatusClass) {
        if let Some((_, counter)) = StatusClass::all().zip(&self.classes).find(|(c, _)| *c == class) {
            counter.one();
        }
    }

    /// Counts an answer that the gateway made itself.
    pub fn refused(&self, reason: &str) {
        if let Some((_, counter)) =
            GatewayError::REASONS.iter().zip(&self.reasons.0).find(|(r, _)| **r == reason)
        {
            counter.one();
        }
    }

    /// Counts a head that the HTTP library refused.
    pub fn refused_head(&self, why: RefusedHead) {
        match why {
            RefusedHead::Malformed => self.heads_malformed.one(),
            RefusedHead::TooLarge => self.heads_too_large.one(),
            RefusedHead::ProxyProtocol => self.heads_without_proxy_header.one(),
        }
    }

    /// Answers by class.
    pub fn classes(&self) -> impl Iterator<Item = (StatusClass, u64)> {
        StatusClass::all().zip(self.classes.iter().map(Counter::get))
    }

    /// Answers that the gateway made itself, by reason.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        GatewayError::REASONS.into_iter().zip(self.reasons.0.iter().map(Counter::get))
    }
}
