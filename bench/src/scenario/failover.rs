//! Failover of Redis under registrations: what was acknowledged is counted afterwards, in both replicas and in Redis.
//!
//! Two replicas of the registry on a Redis with one copy and a Sentinel. Its master is killed while registrations come in
//! over HTTP. Afterwards every acknowledged registration is looked for, by its generation, in each replica, and Redis is
//! asked how many there are. Once with `min-replicas-to-write 1` on the old master, once without.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::connection::Connection;
use crate::machine::load_average;
use crate::programs::{ANY, Programs, registration};
use crate::redis::{self, Fleet};
use crate::report::{Figure, Outcome, Table};

/// Registrations per second that are tried.
const RATE: f64 = 5000.0;
const CONNECTIONS: u32 = 64;

/// Instances of one service: a read of it stays small.
const PER_SERVICE: u32 = 1000;

/// Load before the master is killed and after both replicas are back.
const AROUND: Duration = Duration::from_secs(3);

/// For the failover, and for the replicas to agree.
const PATIENCE: Duration = Duration::from_mins(1);

/// The hash in which the registrations stand.
const INSTANCES: &str = "vertice:instances";

/// What the clients have seen.
#[derive(Debug, Default)]
struct Tally {
    stopping: Cell<bool>,
    begun: Cell<u32>,
    /// Generations by number.
    acknowledged: RefCell<BTreeMap<u32, u64>>,
    refused: Cell<u32>,
    refusals: RefCell<Vec<String>>,
    /// The longest that an acknowledgement took.
    slowest: Cell<Duration>,
}

/// What came of one failover.
#[derive(Debug)]
struct Seen {
    min_replicas: u32,
    begun: u32,
    acknowledged: usize,
    refused: u32,
    refusals: Vec<String>,
    /// Acknowledged while the master was gone.
    during: usize,
    back: Duration,
    slowest: Duration,
    per_second: f64,
    /// Acknowledged, and not in the first, the second replica.
    lost: [usize; 2],
    /// In Redis less the acknowledged ones.
    more_in_redis: i64,
}

#[derive(Deserialize)]
struct Given {
    generation: u64,
}

/// Measures.
pub(crate) async fn run(programs: &Programs) -> Result<Outcome, String> {
    let before = load_average();
    let mut all = Vec::new();
    for min_replicas in [0, 1] {
        println!("min-replicas-to-write {min_replicas}");
        all.push(fail_over(programs, min_replicas).await?);
    }
    Ok(outcome(&all, &before))
}

async fn fail_over(programs: &Programs, min_replicas: u32) -> Result<Seen, String> {
    let mut fleet = Fleet::start(min_replicas).await?;
    let store = fleet.store();
    let arguments = ["--store", store.as_str()];
    let first = programs.start_registry_at(ANY, &arguments).await?;
    let second = programs.start_registry_at(ANY, &arguments).await?;
    let replicas = [first.address, second.address];
    serving(replicas).await?;
    let tally = Rc::new(Tally::default());
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let replica = if number % 2 == 0 { first.address } else { second.address };
        clients.spawn_local(client(replica, tally.clone()));
    }
    let started = Instant::now();
    sleep(AROUND).await;
    let count = || tally.acknowledged.borrow().len();
    let (killed, before) = (Instant::now(), count());
    fleet.kill_master().await?;
    redis::says(fleet.copy, "replication", "role:master").await?;
    println!("promoted after {:.1} s", killed.elapsed().as_secs_f64());
    serving(replicas).await?;
    let (back, during) = (killed.elapsed(), count() - before);
    println!("both replicas are back after {:.1} s", back.as_secs_f64());
    sleep(AROUND).await;
    tally.stopping.set(true);
    while clients.join_next().await.is_some() {}
    let seconds = started.elapsed().as_secs_f64();
    agree(replicas).await?;
    let acknowledged = tally.acknowledged.borrow().clone();
    let lost = [missing(first.address, &acknowledged).await?, missing(second.address, &acknowledged).await?];
    let in_redis = redis::ask(fleet.copy, &format!("HLEN {INSTANCES}")).await?;
    let in_redis = in_redis.strip_prefix(':').and_then(|rest| rest.split('\r').next()?.parse::<i64>().ok());
    let in_redis = in_redis.ok_or("Redis does not say how many instances it has")?;
    Ok(Seen {
        min_replicas,
        begun: tally.begun.get(),
        acknowledged: acknowledged.len(),
        refused: tally.refused.get(),
        refusals: tally.refusals.take(),
        during,
        back,
        slowest: tally.slowest.get(),
        per_second: f64::from(tally.begun.get()) / seconds,
        lost,
        more_in_redis: in_redis - i64::try_from(acknowledged.len()).unwrap_or(i64::MAX),
    })
}

fn service(number: u32) -> String {
    format!("failover_service_{}", number / PER_SERVICE)
}

/// Registers something new at its rate until told to stop.
async fn client(replica: SocketAddr, tally: Rc<Tally>) {
    let mut ticks = interval(Duration::from_secs_f64(f64::from(CONNECTIONS) / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut connection = None;
    loop {
        ticks.tick().await;
        if tally.stopping.get() {
            return;
        }
        let number = tally.begun.replace(tally.begun.get() + 1);
        let begun = Instant::now();
        match register(&mut connection, replica, number).await {
            Ok(generation) => {
                tally.acknowledged.borrow_mut().insert(number, generation);
                tally.slowest.set(tally.slowest.get().max(begun.elapsed()));
            }
            Err(why) => {
                connection = None;
                tally.refused.set(tally.refused.get() + 1);
                let mut refusals = tally.refusals.borrow_mut();
                if refusals.len() < 3 {
                    refusals.push(why);
                }
            }
        }
    }
}

async fn register(
    connection: &mut Option<Connection>,
    replica: SocketAddr,
    number: u32,
) -> Result<u64, String> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(replica).await?),
    };
    let request = registration(&service(number), &format!("i{number}"), "http://127.0.0.1:9");
    let answer = open.ask(&request).await?;
    match answer.status {
        201 => {
            let given: Given = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
            Ok(given.generation)
        }
        other => Err(format!("{other} {}", String::from_utf8_lossy(answer.body))),
    }
}

/// Waits until both replicas write to Redis; after a failover they are warming for a lease's time, as after a start.
async fn serving(replicas: [SocketAddr; 2]) -> Result<(), String> {
    for replica in replicas {
        let begun = Instant::now();
        loop {
            let state = state(replica).await?;
            if state == "serving" || state == "warming" {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("a replica is {state} after {PATIENCE:?}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

async fn state(replica: SocketAddr) -> Result<String, String> {
    health(replica)
        .await?
        .get("state")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| "no state".into())
}

async fn health(replica: SocketAddr) -> Result<Value, String> {
    let mut connection = Connection::open(replica).await?;
    let answer = connection.get("/health").await?;
    serde_json::from_slice(answer.body).map_err(|error| format!("/health: {error}"))
}

/// Waits until both replicas have the same.
async fn agree(replicas: [SocketAddr; 2]) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let [first, second] = [health(replicas[0]).await?, health(replicas[1]).await?];
        // One that is degraded has an epoch of its own.
        let same = ["epoch", "revision", "instances"].iter().all(|key| first.get(key) == second.get(key));
        if same {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("the replicas do not agree after {PATIENCE:?}: {first} and {second}"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// How many of `acknowledged` are not in `replica` with their generation.
async fn missing(replica: SocketAddr, acknowledged: &BTreeMap<u32, u64>) -> Result<usize, String> {
    #[derive(Deserialize)]
    struct Row {
        instance_id: String,
        generation: u64,
    }
    #[derive(Deserialize)]
    struct Rows {
        instances: Vec<Row>,
    }
    let mut connection = Connection::open(replica).await?;
    let mut held: BTreeMap<String, u64> = BTreeMap::new();
    for number in (0..=acknowledged.keys().last().copied().unwrap_or(0)).step_by(1000) {
        let answer = connection.get(&format!("/services/{}", service(number))).await?;
        if answer.status == 200 {
            let rows: Rows = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
            held.extend(rows.instances.into_iter().map(|row| (row.instance_id, row.generation)));
        }
    }
    let has = |(number, generation): &(&u32, &u64)| held.get(&format!("i{number}")) == Some(*generation);
    Ok(acknowledged.iter().filter(|entry| !has(entry)).count())
}

fn outcome(all: &[Seen], before: &str) -> Outcome {
    let figures = all.iter().flat_map(|seen| {
        let name = format!("Redis failover, min-replicas-to-write {}", seen.min_replicas);
        let lost = seen.lost.iter().sum::<usize>();
        [
            Figure::with_goal(
                format!("{name}: acknowledged registrations that were lost, of {}", seen.acknowledged),
                format!("{} and {}", seen.lost[0], seen.lost[1]),
                "0",
                lost == 0,
            ),
            Figure::plain(format!("{name}: registrations that were refused"), seen.refused.to_string()),
        ]
    });
    let rows = all.iter().map(|seen| {
        vec![
            seen.min_replicas.to_string(),
            format!("{:.0}", seen.per_second),
            seen.begun.to_string(),
            seen.acknowledged.to_string(),
            seen.during.to_string(),
            format!("{:.1} s", seen.back.as_secs_f64()),
            format!("{:.1} s", seen.slowest.as_secs_f64()),
            seen.refused.to_string(),
            format!("{} and {}", seen.lost[0], seen.lost[1]),
            seen.more_in_redis.to_string(),
        ]
    });
    let mut notes = vec![
        format!(
            "{RATE} registrations a second are tried on {CONNECTIONS} connections, half to each of two replicas; the master is killed (SIGKILL) \
             after {} s. Sentinel takes a master for down after 1 s. Lost: acknowledged, and afterwards not in the first or \
             second replica with its generation. What is in Redis beyond the acknowledged ones was refused, or its answer was lost.",
            AROUND.as_secs()
        ),
        format!("Load average before and after: {before}; {}.", load_average()),
    ];
    notes.extend(all.iter().flat_map(|seen| seen.refusals.iter().cloned()));
    Outcome {
        title: "Failover of Redis under registrations".into(),
        figures: figures.collect(),
        table: Table {
            columns: vec![
                "min-replicas-to-write",
                "registrations/s",
                "tried",
                "acknowledged",
                "of these while Redis was away",
                "both replicas serve Redis again after",
                "slowest acknowledgement",
                "refused",
                "lost",
                "in the new master beyond the acknowledged",
            ],
            rows: rows.collect(),
        },
        notes,
        troubled: all.iter().any(|seen| seen.lost != [0, 0]),
        data: all
            .iter()
            .map(|seen| {
                json!({
                    "min_replicas": seen.min_replicas,
                    "tried": seen.begun,
                    "acknowledged": seen.acknowledged,
                    "during": seen.during,
                    "back_s": seen.back.as_secs_f64(),
                    "slowest_s": seen.slowest.as_secs_f64(),
                    "refused": seen.refused,
                    "lost": seen.lost,
                    "more_in_redis": seen.more_in_redis,
                })
            })
            .collect(),
    }
}
