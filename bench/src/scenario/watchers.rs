//! Ten thousand watchers of one registry: how long a change takes to each of them, and what each of them takes.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cli::Options;
use crate::connection::Connection;
use crate::files;
use crate::machine::load_average;
use crate::programs::{Programs, registration};
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;
use crate::usage::{CpuTime, Memory};

/// Changes that are delivered to all, one after the other.
const CHANGES: u32 = 20;

/// Between two changes, and for all to have got one.
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// Descriptors besides one per watcher.
const SPARE_FILES: u64 = 200;

/// How a watcher watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Server-sent events.
    Stream,
    /// Long polls, as the gateway watches: each change is answered and asked after anew.
    Poll,
}

/// Where history is, by the answer to a registration.
#[derive(Clone, Debug, Deserialize)]
struct At {
    epoch: String,
    revision: u64,
}

/// What all watchers of one way have seen.
#[derive(Debug)]
struct Seen {
    /// When the change was sent that is under way.
    sent: Instant,
    milliseconds: Vec<f64>,
    failures: Vec<String>,
}

/// What one way gave.
#[derive(Debug)]
struct Measured {
    way: Way,
    delivery: Sorted,
    bytes_each: f64,
    cpu_us_each: f64,
}

/// Measures.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    let count = options.watchers;
    files::raise_limit(u64::from(count) + SPARE_FILES)?;
    let before = load_average();
    let mut measured = Vec::new();
    for way in [Way::Stream, Way::Poll] {
        measured.push(measure(programs, way, count).await?);
    }
    Ok(outcome(&measured, count, &before))
}

async fn measure(programs: &Programs, way: Way, count: u32) -> Result<Measured, String> {
    let registry = programs.start_registry().await?;
    let pid = registry.child.id()?;
    let mut registrar = Connection::open(registry.address).await?;
    let mut at = change(&mut registrar, 0).await?;
    let rss_before = Memory::of_tree(pid)?.rss_kib;
    let seen =
        Rc::new(RefCell::new(Seen { sent: Instant::now(), milliseconds: Vec::new(), failures: Vec::new() }));
    let mut watchers = JoinSet::new();
    for number in 0..count {
        let (seen, at) = (seen.clone(), at.clone());
        watchers.spawn_local(async move {
            if let Err(error) = watch(registry.address, way, at, &seen).await {
                seen.borrow_mut().failures.push(error);
            }
        });
        // Not all at once: the queue of new connections is shorter than that.
        if number % 100 == 99 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    watched(registry.address, count).await?;
    println!("{way:?}: {count} watch");
    let rss_watched = Memory::of_tree(pid)?.rss_kib;
    let used = CpuTime::of_tree(pid)?;
    let mut milliseconds = Vec::new();
    for number in 1..=CHANGES {
        sleep(PAUSE).await;
        seen.borrow_mut().sent = Instant::now();
        at = change(&mut registrar, number).await?;
        milliseconds.extend(delivered(&seen, count).await?);
        if number % 5 == 0 {
            println!("{way:?}: {number} of {CHANGES} changes reached all");
        }
    }
    let cpu = CpuTime::of_tree(pid)?.since(used);
    let rss_after = Memory::of_tree(pid)?.rss_kib.max(rss_watched);
    println!("{way:?}: up to revision {}", at.revision);
    let bytes = u32::try_from(rss_after.saturating_sub(rss_before) * 1024).unwrap_or(u32::MAX);
    Ok(Measured {
        way,
        delivery: Sorted::of(milliseconds).ok_or("nothing was delivered")?,
        bytes_each: f64::from(bytes) / f64::from(count),
        cpu_us_each: (cpu.user_s + cpu.system_s) * 1e6 / f64::from(count * CHANGES),
    })
}

/// Registers something new; where history is then.
async fn change(registrar: &mut Connection, number: u32) -> Result<At, String> {
    let request = registration("watched_service", &format!("i{number}"), "http://127.0.0.1:9");
    let answer = registrar.ask(&request).await?;
    serde_json::from_slice(answer.body).map_err(|error| format!("a registration's answer: {error}"))
}

/// Waits until the registry counts `count` watchers.
async fn watched(registry: SocketAddr, count: u32) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let mut connection = Connection::open(registry).await?;
        let answer = connection.get("/metrics").await?;
        let text = String::from_utf8_lossy(answer.body);
        let now: u32 = text
            .lines()
            .find_map(|line| line.strip_prefix("vertice_registry_watchers ")?.parse().ok())
            .ok_or("the registry counts no watchers")?;
        if now >= count {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("only {now} of {count} watch"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until all have got the change; how long each of them took.
async fn delivered(seen: &RefCell<Seen>, count: u32) -> Result<Vec<f64>, String> {
    let (begun, wanted) = (Instant::now(), usize::try_from(count).unwrap_or(usize::MAX));
    loop {
        if let Some(failure) = seen.borrow().failures.first() {
            return Err(format!("a watcher failed: {failure}"));
        }
        if seen.borrow().milliseconds.len() >= wanted {
            return Ok(std::mem::take(&mut seen.borrow_mut().milliseconds));
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("only {} of {count} got a change", seen.borrow().milliseconds.len()));
        }
        sleep(Duration::from_millis(2)).await;
    }
}

async fn watch(registry: SocketAddr, way: Way, at: At, seen: &RefCell<Seen>) -> Result<(), String> {
    match way {
        Way::Stream => stream(registry, &at, seen).await,
        Way::Poll => poll(registry, at, seen).await,
    }
}

fn target(at: &At) -> String {
    format!("/v1/watch?epoch={}&revision={}&wait=55", at.epoch, at.revision)
}

fn got(seen: &RefCell<Seen>) {
    let mut seen = seen.borrow_mut();
    let milliseconds = seen.sent.elapsed().as_secs_f64() * 1000.0;
    seen.milliseconds.push(milliseconds);
}

/// Reads events for ever.
async fn stream(registry: SocketAddr, at: &At, seen: &RefCell<Seen>) -> Result<(), String> {
    /// The first words of a change; what comes before its end is in the same write.
    const CHANGE: &[u8] = b"event: change\n";
    let mut stream = TcpStream::connect(registry).await.map_err(|error| error.to_string())?;
    let target = target(at);
    let request = format!("GET {target} HTTP/1.1\r\nhost: registry\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        buffer.clear();
        // One change at a time is under way, so one is in what is read, or none.
        while !buffer.ends_with(b"\n\n\r\n") {
            let read = stream.read_buf(&mut buffer).await.map_err(|error| error.to_string())?;
            if read == 0 || buffer.len() > 64 * 1024 {
                return Err(format!("ended: {}", String::from_utf8_lossy(&buffer)));
            }
            if buffer.starts_with(b"HTTP/1.1 ") && buffer.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        for _ in buffer.windows(CHANGE.len()).filter(|window| *window == CHANGE) {
            got(seen);
        }
    }
}

/// Asks, gets, and asks for what comes after that, for ever.
async fn poll(registry: SocketAddr, mut at: At, seen: &RefCell<Seen>) -> Result<(), String> {
    #[derive(Deserialize)]
    struct News {
        to: u64,
    }
    let mut connection = Connection::open(registry).await?;
    loop {
        let request = format!("GET {} HTTP/1.1\r\nhost: registry\r\n\r\n", target(&at));
        let answer = connection.exchange(request.as_bytes()).await?;
        match answer.status {
            204 => {}
            200 => {
                let news: News = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
                if news.to > at.revision {
                    got(seen);
                }
                at.revision = news.to;
            }
            other => return Err(format!("answered {other}: {}", String::from_utf8_lossy(answer.body))),
        }
    }
}

fn outcome(measured: &[Measured], count: u32, before: &str) -> Outcome {
    let word = |way: Way| match way {
        Way::Stream => "server-sent events",
        Way::Poll => "long polls",
    };
    let figures = measured.iter().flat_map(|one| {
        let name = format!("{count} watchers by {}", word(one.way));
        let Measured { delivery, bytes_each, .. } = one;
        [
            Figure::plain(
                format!("{name}: delivery of a change, p50"),
                format!("{:.0} ms", delivery.median()),
            ),
            Figure::plain(format!("{name}: the same, p99"), format!("{:.0} ms", delivery.percentile(99))),
            Figure::plain(
                format!("{name}: memory of the registry each"),
                format!("{:.1} KiB", bytes_each / 1024.0),
            ),
        ]
    });
    let rows = measured.iter().map(|one| {
        let ms = |ms: f64| format!("{ms:.1}");
        vec![
            word(one.way).to_owned(),
            ms(one.delivery.min()),
            ms(one.delivery.median()),
            ms(one.delivery.percentile(99)),
            ms(one.delivery.max()),
            format!("{:.0} B", one.bytes_each),
            format!("{:.1} us", one.cpu_us_each),
        ]
    });
    Outcome {
        title: format!("{count} watchers of one registry"),
        figures: figures.collect(),
        table: Table {
            columns: vec![
                "watchers by",
                "ms to the first",
                "p50",
                "p99",
                "to the last",
                "memory each",
                "CPU of the registry per delivery",
            ],
            rows: rows.collect(),
        },
        notes: vec![
            format!(
                "{CHANGES} changes, one after the other, each to all {count} watchers, from the moment at which the registration is sent. All \
                 watchers are one thread beside the registry: its own work for {count} answers is in every figure but the first \
                 delivery's and the registry's CPU. Memory is what the registry grew by from before the first watcher to after the last change."
            ),
            format!("Load average before and after: {before}; {}.", load_average()),
        ],
        troubled: false,
        data: measured
            .iter()
            .map(|one| {
                json!({
                    "way": word(one.way),
                    "p50_ms": one.delivery.median(),
                    "p99_ms": one.delivery.percentile(99),
                    "max_ms": one.delivery.max(),
                    "bytes_each": one.bytes_each,
                    "cpu_us_each": one.cpu_us_each,
                })
            })
            .collect(),
    }
}
