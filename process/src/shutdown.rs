//! One switch that tells every part of a process to stop, and a count of who has not finished.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// Held by who decides. Dropping it triggers as well: a process whose head is gone must stop.
#[derive(Debug)]
pub struct ShutdownTrigger {
    stop: watch::Sender<bool>,
    finished: mpsc::Receiver<()>,
    alive: mpsc::Sender<()>,
}

/// Held by every part that must finish something before the process ends.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stop: watch::Receiver<bool>,
    _alive: mpsc::Sender<()>,
}

impl ShutdownTrigger {
    /// A switch nobody has pulled.
    pub fn new() -> Self {
        let (alive, finished) = mpsc::channel(1);
        Self { stop: watch::Sender::new(false), finished, alive }
    }

    /// A handle for one more part.
    pub fn handle(&self) -> Shutdown {
        Shutdown { stop: self.stop.subscribe(), _alive: self.alive.clone() }
    }

    /// Pulls the switch.
    pub fn pull(&self) {
        self.stop.send_replace(true);
    }

    /// Pulls the switch and waits until every handle is dropped, at most `limit`. Whether all finished.
    pub async fn pull_and_wait(self, limit: Duration) -> bool {
        self.pull();
        let Self { stop: _stop, mut finished, alive } = self;
        drop(alive);
        tokio::time::timeout(limit, finished.recv()).await.is_ok()
    }
}

impl Default for ShutdownTrigger {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Returns once the switch is pulled. Cancel safe.
    pub async fn pulled(&mut self) {
        // An error means that the trigger is gone, which counts as pulled.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }

    /// Whether the switch is pulled.
    pub fn is_pulled(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_every_handle_and_not_longer_than_the_limit() {
        let trigger = ShutdownTrigger::new();
        let mut handle = trigger.handle();
        tokio::spawn(async move { handle.pulled().await });
        assert!(trigger.pull_and_wait(Duration::from_secs(1)).await);

        let trigger = ShutdownTrigger::new();
        let _stuck = trigger.handle();
        assert!(!trigger.pull_and_wait(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_dropped_trigger_counts_as_pulled() {
        let trigger = ShutdownTrigger::new();
        let mut handle = trigger.handle();
        drop(trigger);
        handle.pulled().await;
        assert!(handle.is_pulled());
    }
}
