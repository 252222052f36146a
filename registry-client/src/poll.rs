//! Reading a registry that speaks only the five old calls: the list every few seconds, each name now and then.

pub(crate) mod record;
pub(crate) mod roll;
pub(crate) mod pace;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use vertice_registry_api::{ServiceName, SourceState};

use crate::backoff::{Backoff, spread};
use crate::error::SourceError;
use crate::event::{Event, Reject, SourceKind};
use crate::http::Client;
use crate::source::Driver;
use crate::source::identify::{Identity, identify, list};
use pace::Pace;
use record::{Read, judge};
use roll::Roll;

/// After a failed list: an original that hangs holds a request for 18 s (Q16), asking it faster piles them up.
const LIST_RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// How often the registry is asked whether it is ours by now, besides after each failure: an upgrade behind a load
/// balancer shows no failure.
const KIND_INTERVAL: Duration = Duration::from_mins(5);

/// One request.
enum Job {
    List { with_kind: bool },
    Read(ServiceName),
}

/// Its outcome.
enum Done {
    Listed(Result<Identity, SourceError>),
    Read(ServiceName, Read),
}

async fn work(client: &Client, deadline: Duration, job: Job) -> Done {
    match job {
        Job::List { with_kind: true } => Done::Listed(identify(client, deadline).await),
        Job::List { with_kind: false } => Done::Listed(list(client, deadline).await.map(Identity::OldCalls)),
        Job::Read(name) => {
            // A checked name needs no escaping, and an unchecked one never gets here.
            let answer = client.get(&format!("/services/{name}"), deadline).await;
            let read = judge(&name, answer);
            Done::Read(name, read)
        }
    }
}

/// The state of a poll between two requests.
struct Poll {
    roll: Roll,
    pace: Pace,
    list_retry: Backoff,
    /// `None` while the list is being read.
    list_due: Option<Instant>,
    kind_due: Instant,
    /// Whether the list that is being read asks for the kind as well.
    asking_kind: bool,
    was_whole: bool,
    rejects: (Vec<Reject>, usize),
}

/// Reads on for ever, beginning with the list `names`, until the registry turns out to be ours.
pub(crate) async fn read_on(driver: &mut Driver, client: &Client, names: Vec<String>) -> Identity {
    let now = Instant::now();
    let mut poll = Poll {
        roll: Roll::new(now),
        pace: Pace::new(),
        list_retry: LIST_RETRY,
        list_due: None,
        kind_due: now + KIND_INTERVAL,
        asking_kind: false,
        was_whole: false,
        rejects: (Vec::new(), 0),
    };
    poll.take_list(driver, &names).await;
    let deadline = driver.config.request_timeout;
    let mut reading = 0;
    let mut jobs = FuturesUnordered::new();
    loop {
        let now = Instant::now();
        if poll.list_due.is_some_and(|due| due <= now) {
            poll.list_due = None;
            poll.asking_kind = poll.kind_due <= now;
            jobs.push(work(client, deadline, Job::List { with_kind: poll.asking_kind }));
        }
        while reading < poll.pace.slots(now)
            && let Some(name) = poll.roll.take_due(now)
        {
            reading += 1;
            jobs.push(work(client, deadline, Job::Read(name)));
        }
        let mut done = tokio::select! {
            Some(done) = jobs.next() => Some(done),
            () = poll.wake(reading) => None,
        };
        // All that is finished goes into one event.
        let mut changes = Vec::new();
        while let Some(one) = done {
            match one {
                Done::Listed(Ok(identity @ Identity::Ours(_))) => return identity,
                Done::Listed(Ok(Identity::OldCalls(names))) => poll.take_list(driver, &names).await,
                Done::Listed(Err(error)) => poll.list_failed(driver, error).await,
                Done::Read(name, read) => {
                    reading -= 1;
                    let now = Instant::now();
                    poll.pace.note(&read, poll.was_whole, now, driver.random.f64());
                    changes.extend(poll.roll.read(name, read, now, driver.random.f64()));
                }
            }
            done = jobs.next().now_or_never().flatten();
        }
        if !changes.is_empty() {
            driver.emit(Event::Changed { changes, position: None, state: SourceState::Serving }).await;
        }
        poll.report(driver).await;
    }
}

impl Poll {
    /// A new list is a proof of life; it is a whole read as soon as its names were read.
    async fn take_list(&mut self, driver: &mut Driver, names: &[String]) {
        let now = Instant::now();
        if self.asking_kind {
            self.kind_due = now + KIND_INTERVAL;
            driver.emit(Event::Identified(SourceKind::Polled)).await;
        }
        self.list_retry.reset();
        self.list_due = Some(now + spread(driver.config.poll_interval, 0.1, driver.random.f64()));
        self.roll.listed(names, now);
        let event = if self.was_whole {
            self.roll.replaced()
        } else {
            Event::Alive { position: None, state: SourceState::Serving }
        };
        driver.emit(event).await;
    }

    async fn list_failed(&mut self, driver: &mut Driver, error: SourceError) {
        let now = Instant::now();
        let retry_in = spread(self.list_retry.next(), 0.25, driver.random.f64());
        self.list_due = Some(now + retry_in);
        // Who comes back may be another.
        self.kind_due = now;
        driver.emit(Event::Failed { error, retry_in }).await;
    }

    /// The first whole read, and news about what is left out.
    async fn report(&mut self, driver: &Driver) {
        if !self.was_whole && self.roll.is_whole(Instant::now()) {
            self.was_whole = true;
            driver.emit(self.roll.replaced()).await;
        }
        let rejects = self.roll.rejects();
        if rejects != self.rejects {
            self.rejects.clone_from(&rejects);
            let (rejects, total) = rejects;
            driver.emit(Event::Rejected { rejects, total }).await;
        }
    }

    /// Sleeps until a request is due.
    async fn wake(&self, reading: usize) {
        let now = Instant::now();
        let pausing = self.pace.until().filter(|until| *until > now);
        let read_due = match self.roll.next_due() {
            // A free slot opens when a read ends, which wakes by itself.
            Some(due) if pausing.is_some() || reading < self.pace.slots(now) => {
                Some(due.max(pausing.unwrap_or(due)))
            }
            Some(_) | None => None,
        };
        match self.list_due.into_iter().chain(read_due).min() {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}
