//! A replica comes back, tells Redis what it did alone, and loses it again before it took over what became of that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod redis_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Value};
use redis_support::{Replica, Server, draining, eventually};
use rustix::process::Signal;
use vertice_registry::redis::{Connection, HostPort, Wire};
use vertice_registry_api::SourceState;

/// A wire that can be cut, and on which, once armed, one connection breaks after the first call that tells of a registration.
#[derive(Clone, Default)]
struct Breaks {
    cut: Arc<AtomicBool>,
    armed: Arc<AtomicBool>,
    happened: Arc<AtomicBool>,
}

struct Breaking {
    connection: MultiplexedConnection,
    wire: Breaks,
    broken: AtomicBool,
}

impl Wire for Breaks {
    fn connect(
        &self,
        at: HostPort,
        _: RedisConnectionInfo,
        _: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Connection>, RedisError>> {
        async move {
            if self.cut.load(Ordering::Relaxed) {
                return Err(RedisError::from((ErrorKind::IoError, "cut")));
            }
            let client = Client::open(format!("redis://{}:{}", at.host, at.port))?;
            let connection = client.get_multiplexed_async_connection().await?;
            let breaking: Arc<dyn Connection> =
                Arc::new(Breaking { connection, wire: self.clone(), broken: AtomicBool::new(false) });
            Ok(breaking)
        }
        .boxed()
    }
}

impl Connection for Breaking {
    fn ask(&self, commands: Vec<Cmd>) -> BoxFuture<'_, Result<Vec<Value>, RedisError>> {
        async move {
            if self.broken.load(Ordering::Relaxed) || self.wire.cut.load(Ordering::Relaxed) {
                return Err(RedisError::from((ErrorKind::IoError, "broken off")));
            }
            // Of all calls only those of change.lua and assert.lua carry an instance.
            let tells = commands
                .iter()
                .any(|command| String::from_utf8_lossy(&command.get_packed_command()).contains("\"url\":"));
            let mut pipeline = redis::pipe();
            for command in commands {
                pipeline.add_command(command);
            }
            let answers = pipeline.query_async(&mut self.connection.clone()).await;
            if tells && self.wire.armed.swap(false, Ordering::Relaxed) {
                self.broken.store(true, Ordering::Relaxed);
                self.wire.happened.store(true, Ordering::Relaxed);
            }
            answers
        }
        .boxed()
    }
}

/// A replica whose wire is cut, from now on or not any more.
async fn cut(wire: &Breaks, replica: &Replica, now: bool) {
    wire.cut.store(now, Ordering::Relaxed);
    let wanted = if now { SourceState::Degraded } else { SourceState::Serving };
    eventually("as it is wanted", || replica.state() == wanted).await;
}

#[tokio::test]
async fn what_redis_knew_better_is_settled_and_the_next_time_alone_is_a_history_of_its_own() {
    let server = Server::start(&[]).await;
    let wire = Breaks::default();
    let other = Replica::serving(&server.address()).await;
    let replica = Replica::over(Arc::new(wire.clone()), &server.address(), |_| {});
    eventually("serving", || replica.state() == SourceState::Serving).await;
    let held = replica.registered("osint_service", "both", 1).await;
    eventually("followed", || other.count() == 1).await;
    cut(&wire, &replica, true).await;
    replica.patch("osint_service", "both", held, draining()).await.unwrap();
    let newer = other.registered("osint_service", "both", 2).await;
    cut(&wire, &replica, false).await;
    assert!(replica.has("osint_service", "both", newer), "the newer incarnation wins");
    cut(&wire, &replica, true).await;
    replica.registered("osint_service", "alone", 1).await;
    assert_ne!(replica.position().epoch, other.position().epoch, "nobody else has this at that position");
}

#[tokio::test]
async fn what_was_told_but_not_taken_over_is_read_anew() {
    let server = Server::start(&[]).await;
    let breaks = Breaks::default();
    let other = Replica::serving(&server.address()).await;
    let replica = Replica::over(Arc::new(breaks.clone()), &server.address(), |_| {});
    eventually("serving", || replica.state() == SourceState::Serving).await;
    replica.registered("osint_service", "before", 1).await;
    server.signal(Signal::STOP);
    replica.registered("osint_service", "alone", 1).await;
    assert_ne!(replica.position().epoch, other.position().epoch, "what happened here only");
    breaks.armed.store(true, Ordering::Relaxed);
    server.signal(Signal::CONT);
    eventually("broken off", || breaks.happened.load(Ordering::Relaxed)).await;
    eventually("the same history, and the same in it", || {
        replica.state() == SourceState::Serving && replica.fingerprint() == other.fingerprint()
    })
    .await;
    assert_eq!(replica.count(), 2);
}
