//! The wire between replicas and Redis: slow, cut in one direction or both, and with answers that are lost after what they
//! tell of was done.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::{Arg, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Value};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use vertice_registry::redis::{Connection, HostPort, Wire};

use super::cluster::{Cluster, RETRANSMITTED, SENTINEL, Way};
use super::executor::Executor;

/// One replica's way to the servers.
pub struct Line {
    pub replica: usize,
    pub cluster: Arc<Cluster>,
    pub executor: Executor,
}

struct Connected {
    line: Arc<Line>,
    port: u16,
    life: u64,
    deadline: Duration,
    /// Commands of one connection arrive in their order.
    last: Mutex<Instant>,
    broken: Arc<Mutex<bool>>,
}

fn broken(why: &str) -> RedisError {
    RedisError::from((ErrorKind::IoError, "the connection broke", why.to_owned()))
}

impl Line {
    fn way(&self) -> Way {
        let now = Instant::now();
        let way = self.cluster.state().ways.get(&self.replica).copied();
        way.unwrap_or(Way { there_until: now, back_until: now })
    }

    fn latency(&self) -> Duration {
        let mut state = self.cluster.state();
        let most = if state.rng.u8(..) == 0 { 400_000 } else { 3_000 };
        Duration::from_micros(state.rng.u64(100..most))
    }

    /// Until what is sent now has arrived there. False: never.
    async fn there(&self, arrival: Instant) -> bool {
        let sent = Instant::now();
        loop {
            let until = self.way().there_until;
            if until <= Instant::now() {
                break;
            }
            if until > sent + RETRANSMITTED {
                return false;
            }
            sleep_until(until).await;
        }
        sleep_until(arrival).await;
        true
    }

    /// The life of the node, once it answers.
    async fn knock(&self, node: usize) -> Option<u64> {
        loop {
            let (up, paused_until, life) = {
                let state = self.cluster.state();
                let node = &state.nodes[node];
                (node.up, node.paused_until, node.life)
            };
            if !up {
                return None;
            }
            if paused_until <= Instant::now() {
                return Some(life);
            }
            sleep_until(paused_until).await;
        }
    }
}

/// The wire of the replica of this line.
pub struct Lines(pub Arc<Line>);

impl Wire for Lines {
    fn connect(
        &self,
        at: HostPort,
        _: RedisConnectionInfo,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Connection>, RedisError>> {
        let line = self.0.clone();
        async move {
            let latency = line.latency();
            if !line.there(Instant::now() + latency).await {
                std::future::pending::<()>().await;
            }
            let life = match at.port {
                SENTINEL => 0,
                port => {
                    // The kernel takes connections for a process that stands still; it answers nothing on them.
                    let state = line.cluster.state();
                    let node = &state.nodes[Cluster::node(port)];
                    if !node.up {
                        return Err(broken("nobody listens"));
                    }
                    node.life
                }
            };
            sleep_until(line.way().back_until).await;
            let (last, broken) = (Mutex::new(Instant::now()), Arc::default());
            let connected: Arc<dyn Connection> =
                Arc::new(Connected { line, port: at.port, life, deadline, last, broken });
            Ok(connected)
        }
        .boxed()
    }
}

impl Connection for Connected {
    fn ask(&self, commands: Vec<Cmd>) -> BoxFuture<'_, Result<Vec<Value>, RedisError>> {
        let (tell, told) = oneshot::channel();
        let latency = self.line.latency();
        let arrival = {
            let mut last = self.last.lock().unwrap();
            *last = (*last).max(Instant::now() + latency);
            *last
        };
        let (line, port, life, broke) = (self.line.clone(), self.port, self.life, self.broken.clone());
        // Once sent, it is done whether anybody still waits for the answer or not.
        self.line.executor.spawn(async move {
            let Some(answer) = carry(&line, port, life, &broke, arrival, &commands).await else { return };
            let _ = tell.send(answer);
        });
        async move {
            let answered = async {
                match told.await {
                    Ok(answer) => answer,
                    // Nothing ever comes.
                    Err(_) => std::future::pending().await,
                }
            };
            timeout(self.deadline, answered).await.unwrap_or_else(|_| Err(broken("no answer in time")))
        }
        .boxed()
    }
}

fn words(command: &Cmd) -> Vec<Vec<u8>> {
    let word = |word: Arg<&[u8]>| match word {
        Arg::Simple(bytes) => bytes.to_vec(),
        Arg::Cursor => Vec::new(),
    };
    command.args_iter().map(word).collect()
}

/// What becomes of `commands`; nothing where no answer ever comes.
async fn carry(
    line: &Line,
    port: u16,
    life: u64,
    broke: &Mutex<bool>,
    arrival: Instant,
    commands: &[Cmd],
) -> Option<Result<Vec<Value>, RedisError>> {
    if *broke.lock().unwrap() {
        return Some(Err(broken("before")));
    }
    if !line.there(arrival).await {
        return None;
    }
    let mut answers = Vec::with_capacity(commands.len());
    if port == SENTINEL {
        answers.push(line.cluster.sentinel());
    } else {
        let node = Cluster::node(port);
        for command in commands {
            if line.knock(node).await != Some(life) || *broke.lock().unwrap() {
                return Some(Err(broken("it was reset")));
            }
            let words = words(command);
            let waits = words[0] == b"XREAD";
            let mut answer = line.cluster.execute(node, words.clone());
            if waits && answer == Ok(Value::Nil) {
                let changed = async {
                    loop {
                        let changed = line.cluster.changed.notified();
                        let answer = line.cluster.execute(node, words.clone());
                        if answer != Ok(Value::Nil) {
                            return answer;
                        }
                        changed.await;
                        if line.knock(node).await != Some(life) {
                            return Err("it was reset".into());
                        }
                    }
                };
                answer = timeout(Duration::from_millis(500), changed).await.unwrap_or(Ok(Value::Nil));
            }
            match answer {
                Ok(answer) => answers.push(answer),
                Err(why) => return Some(Err(RedisError::from((ErrorKind::ResponseError, "an error", why)))),
            }
        }
        let lost = {
            let mut state = line.cluster.state();
            let lost = state.replies_lost;
            state.rng.f64() < lost
        };
        if lost {
            *broke.lock().unwrap() = true;
            return Some(Err(broken("the answer was lost")));
        }
    }
    let until = line.way().back_until;
    if until > Instant::now() + RETRANSMITTED {
        return None;
    }
    sleep_until(until).await;
    sleep(line.latency()).await;
    Some(Ok(answers))
}
