//! Runs the tasks of replicas and of the wire to Redis in one thread, always those first that began first: tokio would wake
//! some of them in an order that it draws.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct Inner {
    tasks: BTreeMap<u64, Option<Task>>,
    ready: Arc<Ready>,
    made: u64,
}

#[derive(Default)]
struct Ready {
    tasks: Mutex<BTreeSet<u64>>,
    world: Mutex<Option<Waker>>,
}

struct Woken {
    id: u64,
    ready: Arc<Ready>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.ready.tasks.lock().unwrap().insert(self.id);
        if let Some(world) = self.ready.world.lock().unwrap().take() {
            world.wake();
        }
    }
}

#[derive(Clone, Default)]
pub struct Executor(Arc<Mutex<Inner>>);

impl Executor {
    /// A task that runs from the next turn on; its number.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> u64 {
        let mut inner = self.0.lock().unwrap();
        inner.made += 1;
        let id = inner.made;
        inner.tasks.insert(id, Some(Box::pin(task)));
        inner.ready.tasks.lock().unwrap().insert(id);
        id
    }

    /// It ends where it stands.
    pub fn abort(&self, id: u64) {
        let task = self.0.lock().unwrap().tasks.remove(&id);
        drop(task);
    }

    /// Runs until all wait for something.
    pub fn run(&self) {
        let ready = self.0.lock().unwrap().ready.clone();
        loop {
            let Some(id) = ready.tasks.lock().unwrap().pop_first() else { return };
            let taken = self.0.lock().unwrap().tasks.get_mut(&id).and_then(Option::take);
            let Some(mut task) = taken else { continue };
            let waker = Waker::from(Arc::new(Woken { id, ready: ready.clone() }));
            let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
            let mut inner = self.0.lock().unwrap();
            if polled.is_ready() {
                inner.tasks.remove(&id);
            } else if let Some(slot) = inner.tasks.get_mut(&id) {
                *slot = Some(task);
            }
        }
    }

    /// Waits until a task can go on, or until `time`.
    pub async fn wait_until(&self, time: Instant) {
        let mut sleep = std::pin::pin!(sleep_until(time));
        let ready = self.0.lock().unwrap().ready.clone();
        std::future::poll_fn(|context| {
            *ready.world.lock().unwrap() = Some(context.waker().clone());
            if ready.tasks.lock().unwrap().is_empty() {
                sleep.as_mut().poll(context)
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }
}

/// When a process that stands still goes on.
#[derive(Clone)]
pub struct Pause(Arc<Mutex<Instant>>);

impl Pause {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub fn until(&self, until: Instant) {
        *self.0.lock().unwrap() = until;
    }

    pub fn holds(&self) -> bool {
        Instant::now() < *self.0.lock().unwrap()
    }

    pub fn left(&self) -> Duration {
        self.0.lock().unwrap().saturating_duration_since(Instant::now())
    }

    /// `task`, which does nothing while its process stands still.
    pub fn over<F: Future<Output = ()> + Send + 'static>(&self, task: F) -> Standing {
        Standing { task: Box::pin(task), pause: self.clone(), sleep: None }
    }
}

pub struct Standing {
    task: Task,
    pause: Pause,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Standing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        while self.pause.holds() {
            let until = Instant::now() + self.pause.left();
            let sleep = self.sleep.insert(Box::pin(sleep_until(until)));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.sleep = None;
        self.task.as_mut().poll(context)
    }
}
