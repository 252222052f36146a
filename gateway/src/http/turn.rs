//! A request's turn on its connection: whose deadline watches over it, and what its end means for the connection.
//!
//! Over HTTP/1.1 a connection has one request at a time, and one deadline serves both. Over HTTP/2 each stream has its
//! own; the connection's counts while there is no stream.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;
use vertice_config::gateway::{ClientLimits, ListenerConfig, ListenerRules};

use super::forwarded::Peer;
use crate::listener::census::Place;
use crate::listener::entrance::Entrance;
use crate::tls::Security;
use crate::worker::timer::{ConnectionClock, Tick, ticks};
use crate::worker::{LINGER, Worker};

/// A deadline that is not to come: a century of ticks, which no sum overflows.
const FAR: Tick = Tick::MAX / 4;

/// What the requests of one connection share.
#[derive(Debug)]
pub struct Downstream {
    /// Its deadline.
    pub clock: Arc<ConnectionClock>,
    /// What is forwarded about its peer.
    pub peer: Peer,
    /// What its TLS handshake came to; `None`: it is not encrypted.
    pub security: Option<Security>,
    /// The peer's address, for log lines.
    pub peer_text: String,
    /// Where it came in.
    pub entrance: Arc<Entrance>,
    /// What its listener had to say when its last request began.
    pub rules: RefCell<Arc<ListenerConfig>>,
    /// HTTP/2 streams under way.
    pub streams: Cell<u32>,
    /// Requests so far.
    pub requests: Cell<u64>,
    /// The tick at which it began.
    pub began: Tick,
    /// It has had its requests or its time.
    pub is_spent: Cell<bool>,
    /// Counts for its client's address for as long as it, or a tunnel that it became, lives.
    pub place: Option<Place>,
}

impl Downstream {
    /// Ticks that it has for its next request if that is to be the last one: its worker drains, its listener was closed, or
    /// it has had its requests or its time.
    pub fn last_request_within(&self, worker: &Worker) -> Option<Tick> {
        worker.last_request_within(&self.entrance).or_else(|| self.judge_spent(worker).then_some(LINGER))
    }

    /// What its listener says.
    pub fn rules(&self) -> Ref<'_, ListenerRules> {
        Ref::map(self.rules.borrow(), |config| &config.rules)
    }

    /// What its client may send and how long it may take.
    pub fn limits(&self) -> ClientLimits {
        self.rules().limits
    }

    /// Ticks between two of its requests.
    pub fn keep_alive(&self) -> Tick {
        ticks(self.rules().limits.keep_alive)
    }

    fn judge_spent(&self, worker: &Worker) -> bool {
        let rules = self.rules();
        let limits = &rules.limits;
        let age = worker.wheel.now().saturating_sub(self.began);
        let spent = limits.connection_requests.is_some_and(|most| self.requests.get() >= most)
            || limits.connection_age.is_some_and(|most| age >= ticks(most));
        if spent && !self.is_spent.replace(true) {
            worker.metrics.connections_spent.one();
        }
        spent
    }

    fn begin_request(&self) {
        self.entrance.renew(&self.rules);
        self.requests.set(self.requests.get() + 1);
    }

    /// Whether the client's own connection is one over TLS.
    pub fn is_secure(&self, headers: &HeaderMap) -> bool {
        self.security.is_some() || self.peer.says_https(headers)
    }
}

/// One request on its connection.
#[derive(Debug)]
pub struct Turn {
    connection: Rc<Downstream>,
    /// The deadline of an HTTP/2 stream.
    stream: Option<Arc<ConnectionClock>>,
}

impl Turn {
    /// The connection's only request, until it ends.
    pub fn whole(connection: Rc<Downstream>) -> Self {
        connection.begin_request();
        Self { connection, stream: None }
    }

    /// One of its streams, with the deadline `clock`.
    pub fn stream(connection: Rc<Downstream>, clock: Arc<ConnectionClock>) -> Self {
        connection.begin_request();
        connection.streams.set(connection.streams.get() + 1);
        connection.clock.progress();
        connection.clock.hold(FAR);
        Self { connection, stream: Some(clock) }
    }

    /// The connection.
    pub fn connection(&self) -> &Rc<Downstream> {
        &self.connection
    }

    /// The deadline that counts for this request.
    pub fn clock(&self) -> &Arc<ConnectionClock> {
        self.stream.as_ref().unwrap_or(&self.connection.clock)
    }

    /// Whether other requests share the connection.
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// From here on every stage has its own deadline.
    pub fn begin(&self) {
        self.clock().owes(None);
        self.clock().head_begins(FAR);
    }

    /// The answer is through, or nobody waits for it any more: `keep_alive` ticks for the next request. `is_whole`: nothing of
    /// the request is still to come.
    pub fn end(&self, keep_alive: Tick, is_whole: bool) {
        let Some(stream) = &self.stream else {
            return self.connection.clock.wait_for_head(keep_alive, is_whole);
        };
        // The end of the stream may still have to be written.
        stream.stream(keep_alive, Tick::MAX);
        let left = self.connection.streams.get().saturating_sub(1);
        self.connection.streams.set(left);
        if left == 0 {
            self.connection.clock.hold(keep_alive);
        }
    }
}
