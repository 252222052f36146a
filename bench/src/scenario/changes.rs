//! Requests at a steady rate while the configuration is applied again every 100 ms and the process is replaced three times.
//!
//! The configuration says where a route leads, and says it differently each time, so the answers tell whether it was really
//! applied. Some clients keep their connections, some open a new one for each request: a connection that is refused, reset or
//! closed without an answer is a failure.

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::child::Child;
use crate::connection::Connection;
use crate::machine::load_average;
use crate::programs::{Gateway, Programs, until};
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;
use crate::stub::{Echo, Stub};

/// Clients that keep their connections.
const KEEPING: u32 = 12;
/// Clients that connect anew for each request.
const CONNECTING: u32 = 4;
const CLIENTS: u32 = KEEPING + CONNECTING;

/// Between two reloads.
const PERIOD: Duration = Duration::from_millis(100);

const UPGRADES: u32 = 3;

/// For one process to take over, and for the one before to end.
const PATIENCE: Duration = Duration::from_mins(1);

const FAILURES_KEPT: usize = 5;

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    begun: Cell<u32>,
    connected: Cell<u32>,
    /// Answers of the two services.
    by: [Cell<u32>; 2],
    failed: Cell<u32>,
    failures: RefCell<Vec<String>>,
    milliseconds: RefCell<Vec<f64>>,
}

/// What came of the reloads.
#[derive(Debug, Default)]
struct Reloads {
    applied: Cell<u32>,
    /// Refused because a process was taking over just then.
    refused: Cell<u32>,
    other: RefCell<Vec<String>>,
}

/// Measures.
pub(crate) async fn run(programs: &Programs, requests: u32, rate: u32) -> Result<Outcome, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
    let stubs = [Stub::start("a").await?, Stub::start("b").await?];
    let registry = programs.start_registry().await?;
    let file = Rc::new(ConfigFile {
        path: folder.path().join("gateway.toml"),
        services: [stubs[0].address, stubs[1].address],
    });
    file.write(0)?;
    let text = |path: PathBuf| path.display().to_string();
    let (config, state) = (text(file.path.clone()), text(folder.path().join("state")));
    let arguments = ["--config", &config, "--state-dir", &state];
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut gateway = programs.launch_gateway(any, Some(registry.address), &arguments).await?;
    let (address, admin) = (gateway.address, gateway.admin);
    until(
        "the route answers",
        async || Ok(Connection::open(address).await?.get(TARGET).await?.status == 200),
    )
    .await?;

    let (load_before, started) = (load_average(), Instant::now());
    let (seen, reloads) = (Rc::new(Seen::default()), Rc::new(Reloads::default()));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn_local(client(address, number < KEEPING, requests, rate, seen.clone()));
    }
    let reloading = tokio::task::spawn_local(reload_on(admin, file, reloads.clone()));
    let mut took_ms = Vec::new();
    for upgrade in 1..=UPGRADES {
        let due = requests / (UPGRADES + 1) * upgrade;
        while seen.begun.get() < due {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let begun = Instant::now();
        let more = [&arguments[..], &["--upgrade"]].concat();
        let mut after = programs.launch_gateway(any, Some(registry.address), &more).await?;
        after.child.line("that it took over", |line| line.contains("taken over from").then_some(())).await?;
        took_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
        let before: Child = std::mem::replace(&mut gateway, after).child;
        before.ended(PATIENCE).await?;
        println!(
            "upgrade {upgrade}: {} of {requests} requests, {} failed",
            seen.begun.get(),
            seen.failed.get()
        );
    }
    let all = async { while clients.join_next().await.is_some() {} };
    let limit = Duration::from_secs(u64::from(requests / rate.max(1))) + PATIENCE;
    timeout(limit, all).await.map_err(|_| format!("not through after {limit:?}"))?;
    reloading.abort();
    let seconds = started.elapsed().as_secs_f64();
    let Gateway { child, .. } = gateway;
    child.stop(PATIENCE).await?;
    outcome(requests, seconds, &seen, &reloads, &took_ms, &load_before)
}

const TARGET: &str = "/changes/x";

/// The file that is written again and again.
struct ConfigFile {
    path: PathBuf,
    services: [SocketAddr; 2],
}

impl ConfigFile {
    /// As operators should: under another name, then renamed.
    fn write(&self, number: u32) -> Result<(), String> {
        let [a, b] = self.services;
        let service = if number.is_multiple_of(2) { "a_service" } else { "b_service" };
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [[route]]\nname = \"changes\"\nprefix = \"/changes\"\nservice = \"{service}\"\n\
             [[service]]\nname = \"a_service\"\nfallback = [\"http://{a}\"]\n\
             [[service]]\nname = \"b_service\"\nfallback = [\"http://{b}\"]\n"
        );
        let new: &Path = &self.path.with_extension("new");
        let written = fs::write(new, text).and_then(|()| fs::rename(new, &self.path));
        written.map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// Reloads every 100 ms, for ever.
async fn reload_on(admin: SocketAddr, file: Rc<ConfigFile>, reloads: Rc<Reloads>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    loop {
        ticks.tick().await;
        number += 1;
        match reload(admin, &file, number).await {
            Ok(200) => reloads.applied.set(reloads.applied.get() + 1),
            Ok(409) => reloads.refused.set(reloads.refused.get() + 1),
            Ok(other) => reloads.other.borrow_mut().push(format!("answered {other}")),
            Err(error) => reloads.other.borrow_mut().push(error),
        }
    }
}

async fn reload(admin: SocketAddr, file: &ConfigFile, number: u32) -> Result<u16, String> {
    file.write(number)?;
    // The process may be another one by now: a new connection each time.
    let mut connection = Connection::open(admin).await?;
    let request = format!("POST /config/reload HTTP/1.1\r\nhost: {admin}\r\ncontent-length: 0\r\n\r\n");
    Ok(connection.ask(request.as_bytes()).await?.status)
}

/// Asks at its share of `rate` until `requests` have begun in all.
async fn client(address: SocketAddr, keeps: bool, requests: u32, rate: u32, seen: Rc<Seen>) {
    let mut ticks = interval(Duration::from_secs_f64(f64::from(CLIENTS) / f64::from(rate)));
    // A rate is a rate: what was late is made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut connection = None;
    while seen.begun.get() < requests {
        ticks.tick().await;
        seen.begun.set(seen.begun.get() + 1);
        let begun = Instant::now();
        match ask(&mut connection, address, &seen).await {
            Ok(goes_on) => {
                seen.milliseconds.borrow_mut().push(begun.elapsed().as_secs_f64() * 1000.0);
                if !(keeps && goes_on) {
                    connection = None;
                }
            }
            Err(why) => {
                connection = None;
                seen.failed.set(seen.failed.get() + 1);
                let mut failures = seen.failures.borrow_mut();
                if failures.len() < FAILURES_KEPT {
                    failures.push(why);
                }
            }
        }
    }
}

/// One request; whether the connection may be used again.
async fn ask(connection: &mut Option<Connection>, address: SocketAddr, seen: &Seen) -> Result<bool, String> {
    let age = if connection.is_some() { "kept" } else { "new" };
    let open = if let Some(open) = connection {
        open
    } else {
        seen.connected.set(seen.connected.get() + 1);
        connection.insert(Connection::open(address).await?)
    };
    let answer = open.get(TARGET).await.map_err(|error| format!("{age} connection: {error}"))?;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, String::from_utf8_lossy(answer.body)));
    }
    let echo: Echo<'_> = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
    let [a, b] = &seen.by;
    let by = match echo.stub {
        "a" => a,
        "b" => b,
        other => return Err(format!("an answer of {other}")),
    };
    by.set(by.get() + 1);
    Ok(!answer.closes)
}

fn outcome(
    requests: u32,
    seconds: f64,
    seen: &Seen,
    reloads: &Reloads,
    took_ms: &[f64],
    load_before: &str,
) -> Result<Outcome, String> {
    let failed = seen.failed.get();
    let (applied, refused) = (reloads.applied.get(), reloads.refused.get());
    let other = reloads.other.borrow();
    let times = Sorted::of(seen.milliseconds.borrow().iter().copied()).ok_or("nothing was answered")?;
    let upgrades = Sorted::of(took_ms.iter().copied()).ok_or("no upgrade")?;
    let [a, b] = seen.by.each_ref().map(Cell::get);
    let mut notes = vec![
        format!(
            "{KEEPING} clients that keep their connections and {CONNECTING} that open one per request, {:.0} requests/s over \
             {seconds:.1} s; {} connections were opened.",
            f64::from(requests) / seconds,
            seen.connected.get()
        ),
        format!(
            "{applied} reloads were applied, each of which turned the route to the other one of two services; {refused} were \
             refused because a process was taking over just then; {} were not answered as they should be. {a} and {b} answers came \
             from the two services.",
            other.len()
        ),
        format!("Load average before and after: {load_before}; {}.", load_average()),
    ];
    notes.extend(seen.failures.borrow().iter().cloned());
    notes.extend(other.iter().take(FAILURES_KEPT).cloned());
    let what = format!(
        "requests that failed, of {requests}, over reloads every 100 ms and {UPGRADES} upgrades in place"
    );
    Ok(Outcome {
        title: "Requests while the configuration and the process change".into(),
        figures: vec![
            Figure::with_goal(what, failed.to_string(), "0", failed == 0),
            Figure::plain("reloads applied", applied.to_string()),
            Figure::plain(
                "answer to a request, p50 / p99 / max",
                format!(
                    "{:.2} / {:.2} / {:.0} ms",
                    times.median(),
                    times.percentile(99),
                    times.percentile(100)
                ),
            ),
            Figure::plain(
                "from the start of a process to its having taken over, median",
                format!("{:.0} ms", upgrades.median()),
            ),
        ],
        table: Table::default(),
        notes,
        troubled: failed > 0 || applied == 0 || a == 0 || b == 0 || !other.is_empty(),
        data: json!({
            "requests": requests,
            "failed": failed,
            "seconds": seconds,
            "connections": seen.connected.get(),
            "reloads_applied": applied,
            "reloads_refused": refused,
            "reloads_other": other.len(),
            "upgrades_ms": took_ms,
            "p50_ms": times.median(),
            "p99_ms": times.percentile(99),
        }),
    })
}
