//! One million instances in one registry that keeps them on disk: what they take, and what it costs to keep them alive.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::Options;
use crate::connection::Connection;
use crate::machine::load_average;
use crate::programs::{ANY, Programs, Registry};
use crate::report::{Figure, Outcome, Table};
use crate::usage::{CpuTime, Memory};

/// Instances of one service.
const PER_SERVICE: u32 = 1000;

/// Leases in a batch of heartbeats.
const BATCH: usize = 1000;

const CONNECTIONS: u32 = 32;

/// The usual lease, and how often all are renewed while nothing else is measured.
const TTL_S: u32 = 60;
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// In which the wheel looks at every lease once: the lease with its grace.
const WHEEL_TURN: Duration = Duration::from_secs(75);

/// Heartbeats one by one that are measured, and how often all leases are renewed by batches.
const SINGLES: usize = 300_000;
const BATCH_ROUNDS: u32 = 3;

/// For one answer: a registry that writes a million instances down beside it may take its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the contract wants.
const GOAL_BYTES: f64 = 300.0;
const GOAL_SINGLE: f64 = 60_000.0;
const GOAL_BATCH: f64 = 5_000_000.0;
const GOAL_REGISTER: f64 = 25_000.0;
const GOAL_RESTART_S: f64 = 2.0;

/// What a registration is answered with, as far as heartbeats want it.
#[derive(Deserialize)]
struct Registered {
    handle: u64,
    generation: u64,
    epoch: String,
}

/// A lease that was given.
#[derive(Clone, Copy, Debug)]
struct Lease {
    number: u32,
    handle: u64,
    generation: u64,
}

/// All of them, and the epoch that their handles belong to.
#[derive(Debug, Default)]
struct Leases {
    all: RefCell<Vec<Lease>>,
    epoch: RefCell<String>,
}

/// What was measured.
#[derive(Debug, Default)]
struct Seen {
    bytes_each: f64,
    rss_empty_kib: u64,
    rss_full_kib: u64,
    rss_restarted_kib: u64,
    registrations_per_s: f64,
    registrations_per_cpu_s: f64,
    singles_per_cpu_s: f64,
    batched_per_cpu_s: f64,
    /// Of one core, in percent, besides the heartbeats.
    wheel_percent: f64,
    restart_clean_s: f64,
    restart_killed_s: f64,
}

/// Measures.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    let before = load_average();
    let count = options.instances;
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for the state: {error}"))?;
    let state = folder.path().display().to_string();
    let arguments = ["--state-dir", state.as_str()];
    let registry = programs.start_registry_at(ANY, &arguments).await?;
    let (pid, address) = (registry.child.id()?, registry.address);
    let mut seen = Seen { rss_empty_kib: Memory::of_tree(pid)?.rss_kib, ..Seen::default() };

    let leases = Rc::new(Leases::default());
    let (started, used) = (Instant::now(), CpuTime::of_tree(pid)?);
    register_all(address, count, &leases).await?;
    let (elapsed, cpu_s) = (started.elapsed().as_secs_f64(), spent(pid, used)?);
    seen.registrations_per_s = f64::from(count) / elapsed;
    seen.registrations_per_cpu_s = f64::from(count) / cpu_s;
    println!("{count} registered in {elapsed:.0} s");
    // What is left of writing them down.
    sleep(Duration::from_secs(3)).await;
    beat_all(address, &leases).await?;
    seen.rss_full_kib = Memory::of_tree(pid)?.rss_kib;
    let grown = seen.rss_full_kib.saturating_sub(seen.rss_empty_kib) * 1024;
    seen.bytes_each = whole(grown) / f64::from(count);
    println!("{:.0} bytes each", seen.bytes_each);

    let used = CpuTime::of_tree(pid)?;
    let singles = beat_singly(address, &leases).await?;
    seen.singles_per_cpu_s = whole(singles) / spent(pid, used)?;
    println!("{:.0} heartbeats per CPU second, one by one", seen.singles_per_cpu_s);
    let used = CpuTime::of_tree(pid)?;
    let mut batched = 0;
    for _ in 0..BATCH_ROUNDS {
        batched += beat_all(address, &leases).await?;
    }
    seen.batched_per_cpu_s = whole(batched) / spent(pid, used)?;
    println!("{:.0} heartbeats per CPU second, in batches", seen.batched_per_cpu_s);
    println!("the wheel turns once, which takes {} s", WHEEL_TURN.as_secs());
    seen.wheel_percent = wheel(pid, address, &leases, seen.batched_per_cpu_s).await?;

    let registry = restart(programs, registry, &arguments, true).await?;
    seen.restart_clean_s = registry.1;
    seen.rss_restarted_kib = Memory::of_tree(registry.0.child.id()?)?.rss_kib;
    let registry = restart(programs, registry.0, &arguments, false).await?;
    seen.restart_killed_s = registry.1;
    drop(registry);
    Ok(outcome(&seen, count, &before))
}

fn spent(pid: u32, since: CpuTime) -> Result<f64, String> {
    let used = CpuTime::of_tree(pid)?.since(since);
    Ok((used.user_s + used.system_s).max(0.01))
}

fn whole(number: u64) -> f64 {
    // Far below 2^32 of anything here, or at least nobody needs the digits.
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn service(number: u32) -> String {
    format!("million_service_{}", number / PER_SERVICE)
}

fn place(number: u32) -> String {
    let [_, a, b, c] = number.to_be_bytes();
    format!("10.{a}.{b}.{c}:8080")
}

/// Everything in it but labels: an instance of the usual kind.
fn registration(number: u32) -> Vec<u8> {
    let (service, place, zone) = (service(number), place(number), number % 3);
    let incarnation = 1_u64 << 56 | u64::from(number);
    // By hand: building a document for it would cost the registry, on the same cores, more than a microsecond.
    let body = format!(
        r#"{{"url":"http://{place}","incarnation":{incarnation},"zone":"zone-{zone}","version":"1.4.2","ttl":{TTL_S}}}"#
    );
    request("PUT", &format!("/v1/services/{service}/instances/{place}"), &body)
}

fn request(method: &str, target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nhost: registry\r\ncontent-type: application/json");
    format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

async fn asked<'a>(
    connection: &'a mut Connection,
    request: &[u8],
) -> Result<crate::connection::Answer<'a>, String> {
    let answer = timeout(PATIENCE, connection.exchange(request)).await;
    let answer = answer.map_err(|_| format!("no answer within {PATIENCE:?}"))??;
    match answer.status {
        200 | 201 => Ok(answer),
        other => Err(format!("answered {other}: {}", String::from_utf8_lossy(answer.body))),
    }
}

/// Registers `count`, and keeps alive what there is meanwhile.
async fn register_all(address: SocketAddr, count: u32, leases: &Rc<Leases>) -> Result<(), String> {
    let next = Rc::new(Cell::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, leases) = (next.clone(), leases.clone());
        clients.spawn_local(async move { register_some(address, count, &next, &leases).await });
    }
    let all = async {
        while let Some(done) = clients.join_next().await {
            done.map_err(|error| error.to_string())??;
        }
        Ok(())
    };
    tokio::select! {
        done = all => done,
        error = keep_alive(address, leases) => Err(error),
    }
}

async fn register_some(
    address: SocketAddr,
    count: u32,
    next: &Cell<u32>,
    leases: &Leases,
) -> Result<(), String> {
    let mut connection = Connection::open(address).await?;
    while next.get() < count {
        let number = next.replace(next.get() + 1);
        let answer = asked(&mut connection, &registration(number)).await?;
        let given: Registered = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
        if number == 0 {
            leases.epoch.replace(given.epoch);
        }
        let Registered { handle, generation, .. } = given;
        leases.all.borrow_mut().push(Lease { number, handle, generation });
        if (number + 1).is_multiple_of(100_000) {
            println!("{} registered", number + 1);
        }
    }
    Ok(())
}

/// Renews all there are, again and again; what stopped it.
async fn keep_alive(address: SocketAddr, leases: &Leases) -> String {
    loop {
        sleep(BEAT_EVERY).await;
        if let Err(error) = beat_all(address, leases).await {
            return error;
        }
    }
}

/// Renews all there are in batches; how many that were.
async fn beat_all(address: SocketAddr, leases: &Leases) -> Result<u64, String> {
    let all = leases.all.borrow().clone();
    let epoch = leases.epoch.borrow().clone();
    let mut connection = Connection::open(address).await?;
    let mut beaten = 0;
    for batch in all.chunks(BATCH) {
        let pairs: Vec<(u64, u64)> = batch.iter().map(|lease| (lease.handle, lease.generation)).collect();
        let body = json!({ "epoch": epoch, "leases": pairs }).to_string();
        let answer = asked(&mut connection, &request("POST", "/v1/heartbeats", &body)).await?;
        if !answer.body.starts_with(br#"{"lost":[],"#) {
            return Err(format!("leases are lost: {}", String::from_utf8_lossy(answer.body)));
        }
        beaten += u64::try_from(batch.len()).unwrap_or_default();
    }
    Ok(beaten)
}

/// Renews some one by one on kept-alive connections; how many that were.
async fn beat_singly(address: SocketAddr, leases: &Rc<Leases>) -> Result<u64, String> {
    let next = Rc::new(Cell::new(0_usize));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, leases) = (next.clone(), leases.clone());
        clients.spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            loop {
                let index = next.replace(next.get() + 1);
                let lease = leases.all.borrow().get(index).copied().filter(|_| index < SINGLES);
                let Some(Lease { number, generation, .. }) = lease else { return Ok::<_, String>(()) };
                let (service, place) = (service(number), place(number));
                let body = format!(
                    r#"{{"service_name":"{service}","instance_id":"{place}","generation":{generation}}}"#
                );
                asked(&mut connection, &request("POST", "/heartbeat", &body)).await?;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.map_err(|error| error.to_string())??;
    }
    Ok(u64::try_from(leases.all.borrow().len().min(SINGLES)).unwrap_or_default())
}

/// CPU of a turn in which every lease comes up once and is found alive, without the heartbeats' own.
async fn wheel(
    pid: u32,
    address: SocketAddr,
    leases: &Leases,
    batched_per_cpu_s: f64,
) -> Result<f64, String> {
    let (started, used) = (Instant::now(), CpuTime::of_tree(pid)?);
    let mut beaten = 0;
    while started.elapsed() < WHEEL_TURN {
        beaten += beat_all(address, leases).await?;
        sleep(BEAT_EVERY.min(WHEEL_TURN.saturating_sub(started.elapsed()))).await;
    }
    let cpu_s = spent(pid, used)? - whole(beaten) / batched_per_cpu_s;
    Ok(100.0 * cpu_s.max(0.0) / started.elapsed().as_secs_f64())
}

/// Ends the registry and starts it again; how long until it answers what it knows.
async fn restart(
    programs: &Programs,
    registry: Registry,
    arguments: &[&str],
    clean: bool,
) -> Result<(Registry, f64), String> {
    let address = registry.address;
    if clean {
        registry.child.stop(Duration::from_mins(1)).await?;
    } else {
        registry.child.kill().await?;
    }
    let started = Instant::now();
    let registry = programs.start_registry_at(address, arguments).await?;
    let mut connection = Connection::open(address).await?;
    let request = format!("GET /services/{} HTTP/1.1\r\nhost: registry\r\n\r\n", service(0));
    asked(&mut connection, request.as_bytes()).await?;
    let seconds = started.elapsed().as_secs_f64();
    println!("serving again after {seconds:.2} s");
    Ok((registry, seconds))
}

fn outcome(seen: &Seen, count: u32, before: &str) -> Outcome {
    let most = |what: &str, value: f64, text: String, goal: &str, limit: f64| {
        Figure::with_goal(what, text, goal, value <= limit)
    };
    let least = |what: &str, value: f64, goal: &str, limit: f64| {
        Figure::with_goal(what, format!("{value:.0}"), goal, value >= limit)
    };
    let restart = |how: &str, s: f64| {
        let what = format!("restart with {count} instances to serving, after {how}");
        most(&what, s, format!("{s:.2} s"), "<= 2 s", GOAL_RESTART_S)
    };
    Outcome {
        title: format!("{count} instances in one registry"),
        figures: vec![
            most(
                "memory per instance, all in",
                seen.bytes_each,
                format!("{:.0} B", seen.bytes_each),
                "<= 300 B",
                GOAL_BYTES,
            ),
            least("heartbeats per CPU second, one by one", seen.singles_per_cpu_s, ">= 60 000", GOAL_SINGLE),
            least(
                "heartbeats per CPU second, batches of 1000",
                seen.batched_per_cpu_s,
                ">= 5 million",
                GOAL_BATCH,
            ),
            least(
                "registrations per second, load generator on the same cores",
                seen.registrations_per_s,
                ">= 25 000",
                GOAL_REGISTER,
            ),
            Figure::plain(
                "registrations per CPU second of the registry",
                format!("{:.0}", seen.registrations_per_cpu_s),
            ),
            restart("a clean stop", seen.restart_clean_s),
            restart("kill -9", seen.restart_killed_s),
            Figure::plain(
                "CPU of the lease wheel, all leases renewed",
                format!("{:.2} % of a core", seen.wheel_percent),
            ),
        ],
        table: Table {
            columns: vec!["resident memory of the registry", "MiB"],
            rows: vec![
                vec!["empty".into(), mebibytes(seen.rss_empty_kib)],
                vec!["with all of them".into(), mebibytes(seen.rss_full_kib)],
                vec!["after a restart".into(), mebibytes(seen.rss_restarted_kib)],
            ],
        },
        notes: vec![
            format!(
                "{PER_SERVICE} instances per service, each with URL, zone, version and no labels, leases of {TTL_S} s, `--state-dir`; {CONNECTIONS} \
                 keep-alive connections. CPU is that of the registry's process, the memory its growth from empty."
            ),
            format!(
                "The wheel: CPU over {} s, in which every lease comes up once, less that of the batches of heartbeats meanwhile.",
                WHEEL_TURN.as_secs()
            ),
            format!("Load average before and after: {before}; {}.", load_average()),
        ],
        troubled: false,
        data: json!({
            "instances": count,
            "bytes_each": seen.bytes_each,
            "rss_kib": { "empty": seen.rss_empty_kib, "full": seen.rss_full_kib, "restarted": seen.rss_restarted_kib },
            "registrations_per_s": seen.registrations_per_s,
            "registrations_per_cpu_s": seen.registrations_per_cpu_s,
            "singles_per_cpu_s": seen.singles_per_cpu_s,
            "batched_per_cpu_s": seen.batched_per_cpu_s,
            "wheel_percent": seen.wheel_percent,
            "restart_clean_s": seen.restart_clean_s,
            "restart_killed_s": seen.restart_killed_s,
        }),
    }
}

fn mebibytes(kib: u64) -> String {
    format!("{:.0}", whole(kib) / 1024.0)
}
