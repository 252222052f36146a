//! What the connections of one listener share, on whatever worker they are, for as long as the last of them lives.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;
use vertice_config::gateway::ListenerConfig;

use super::census::Census;

use crate::tls::ListenerTls;

/// One listener, as its acceptors and connections see it.
#[derive(Debug)]
pub struct Entrance {
    /// What the configuration says of it now. A reload that keeps its address replaces it; a connection takes it when it
    /// begins, and anew with each request.
    rules: ArcSwap<ListenerConfig>,
    /// HTTPS by these rules; `None`: HTTP.
    tls: ArcSwapOption<ListenerTls>,
    /// The same as `stop`, for who asks with every poll.
    closing: AtomicBool,
    stop: watch::Sender<bool>,
    census: Arc<Census>,
}

impl Entrance {
    /// An open one.
    pub fn new(rules: ListenerConfig, tls: Option<Arc<ListenerTls>>) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            tls: ArcSwapOption::new(tls),
            closing: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            census: Arc::default(),
        }
    }

    /// What is said of it now.
    pub fn rules(&self) -> Arc<ListenerConfig> {
        self.rules.load_full()
    }

    /// Puts what is said now in the place of `rules`, where it is something else. Nothing that workers share is written to
    /// while it is the same.
    pub fn renew(&self, rules: &RefCell<Arc<ListenerConfig>>) {
        let now = self.rules.load();
        let changed = !Arc::ptr_eq(&now, &rules.borrow());
        if changed {
            *rules.borrow_mut() = now.clone();
        }
    }

    /// The handshake that a connection begins with now, if it does.
    pub fn tls(&self) -> Option<Arc<ListenerTls>> {
        self.tls.load_full()
    }

    /// From the next request on, `rules` hold, and from the next connection on the TLS that is made of them.
    pub fn set_rules(&self, rules: ListenerConfig, tls: Option<Arc<ListenerTls>>) {
        self.tls.store(tls);
        self.rules.store(Arc::new(rules));
    }

    /// Its connections by address.
    pub fn census(&self) -> &Arc<Census> {
        &self.census
    }

    /// No new connections, and those that are there end after their next answer. There is no way back.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
    }

    /// Whether it is closed.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Turns true when it is closed.
    pub fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}
