//! Requests while the table is swapped every millisecond: none fails, and none is answered from two generations.
//!
//! How the second can be seen from outside: the one instance of a service is registered again and again, each time with
//! a URL that carries the registration's number and leads to the other one of two services:
//!
//! ```text
//! registration 6   http://127.0.0.1:PORT_OF_A/registered/6
//! registration 7   http://127.0.0.1:PORT_OF_B/registered/7
//! ```
//!
//! So the service's answer tells which registration the request was routed by (the target) and where it went (its name),
//! and the access log tells which generation the gateway says it was. If a request's generation and its endpoint came
//! from two tables, one generation would have answered with two registrations, or an older generation with a newer one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::connection::Connection;
use crate::machine::load_average;
use crate::programs::{Programs, registration, until};
use crate::report::{Figure, Outcome, Table};
use crate::stub::{Echo, Stub};

const SERVICE: &str = "swapped_service";
const NAMES: [&str; 2] = ["a", "b"];
const CONNECTIONS: u32 = 16;

/// Between two registrations.
const PERIOD: Duration = Duration::from_millis(1);

/// For the whole scenario.
const PATIENCE: Duration = Duration::from_mins(5);

/// Failures that are kept word for word; more are only counted.
const FAILURES_KEPT: usize = 5;

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    begun: Cell<u32>,
    /// By request: the registration that it was routed by.
    registrations: RefCell<BTreeMap<u32, u64>>,
    failed: Cell<u32>,
    failures: RefCell<Vec<String>>,
}

impl Seen {
    fn failed(&self, why: String) {
        self.failed.set(self.failed.get() + 1);
        let mut failures = self.failures.borrow_mut();
        if failures.len() < FAILURES_KEPT {
            failures.push(why);
        }
    }
}

/// The part of an access-log line that is looked at.
#[derive(Debug, Deserialize)]
struct Line {
    request_id: String,
    generation: u64,
    complete: bool,
    status: u16,
}

/// What the log and the clients say together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// Generations that answered at least one request.
    generations: usize,
    /// Requests with a well-formed line.
    matched: usize,
    /// Requests that the log does not have, or not exactly once as answered.
    unmatched: usize,
    /// Generations that answered with more than one registration, and generations that answered with an older one than a
    /// generation before them.
    mixed: usize,
}

/// Measures.
pub(crate) async fn run(programs: &Programs, requests: u32) -> Result<Outcome, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for the log: {error}"))?;
    let log = folder.path().join("access.log");
    let config = folder.path().join("gateway.toml");
    let text =
        format!("[[listener]]\naddress = \"127.0.0.1:0\"\n\n[access_log]\nfile = \"{}\"\n", log.display());
    fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;

    let stubs = [Stub::start("a").await?, Stub::start("b").await?];
    let addresses = [stubs[0].address, stubs[1].address];
    let registry = programs.start_registry().await?;
    let gateway = programs.start_gateway(Some(registry.address), Some(&config)).await?;
    let mut registrar = Connection::open(registry.address).await?;
    register(&mut registrar, 0, addresses).await?;
    until("the service is routed", async || {
        Ok(Connection::open(gateway.address).await?.get(&target()).await?.status == 200)
    })
    .await?;

    let (before, load_before, started) = (gateway.generation().await?, load_average(), Instant::now());
    let seen = Rc::new(Seen::default());
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn_local(client(gateway.address, requests, seen.clone()));
    }
    let all_done = async { while clients.join_next().await.is_some() {} };
    let registered = tokio::select! {
        done = timeout(PATIENCE, all_done) => {
            done.map_err(|_| format!("not through after {PATIENCE:?}"))?;
            None
        }
        ended = register_on(&mut registrar, addresses) => Some(ended),
    };
    if let Some(error) = registered {
        return Err(format!("registering ended: {error}"));
    }
    let seconds = started.elapsed().as_secs_f64();
    let swaps = gateway.generation().await? - before;
    // The end of the process is the end of its log.
    gateway.child.stop(Duration::from_mins(1)).await?;
    let lines = fs::read_to_string(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let verdict = judge(lines.lines(), &seen.registrations.borrow());
    Ok(outcome(requests, seconds, swaps, &seen, &verdict, &load_before))
}

fn target() -> String {
    format!("/v2/{SERVICE}/ask")
}

/// Registers every millisecond, for ever; what stopped it.
async fn register_on(registrar: &mut Connection, addresses: [SocketAddr; 2]) -> String {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0;
    loop {
        ticks.tick().await;
        number += 1;
        if let Err(error) = register(registrar, number, addresses).await {
            return error;
        }
    }
}

async fn register(registrar: &mut Connection, number: u64, addresses: [SocketAddr; 2]) -> Result<(), String> {
    let [a, b] = addresses;
    let address = if number.is_multiple_of(2) { a } else { b };
    let request = registration(SERVICE, "only", &format!("http://{address}/registered/{number}"));
    match registrar.ask(&request).await?.status {
        200 | 201 => Ok(()),
        other => Err(format!("registration {number} was answered {other}")),
    }
}

/// Asks until `requests` have begun in all. After a failure it connects anew: one must not hide the next.
async fn client(address: SocketAddr, requests: u32, seen: Rc<Seen>) {
    let mut connection = None;
    while seen.begun.get() < requests {
        let id = seen.begun.get();
        seen.begun.set(id + 1);
        match ask(&mut connection, address, id).await {
            Ok(registration) => drop(seen.registrations.borrow_mut().insert(id, registration)),
            Err(why) => {
                connection = None;
                seen.failed(format!("request {id}: {why}"));
            }
        }
        if (id + 1).is_multiple_of(20_000) {
            println!("{} of {requests} requests, {} failed", id + 1, seen.failed.get());
        }
    }
}

/// The registration that request `id` was routed by.
async fn ask(connection: &mut Option<Connection>, address: SocketAddr, id: u32) -> Result<u64, String> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(address).await?),
    };
    let request = format!("GET {} HTTP/1.1\r\nhost: bench\r\nx-request-id: {id}\r\n\r\n", target());
    let answer = open.ask(request.as_bytes()).await?;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, String::from_utf8_lossy(answer.body)));
    }
    let echo: Echo<'_> = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
    routed_by(&echo)
}

/// The registration in the answer's target; its service must be the one that this registration names.
fn routed_by(echo: &Echo<'_>) -> Result<u64, String> {
    let number = echo.target.strip_prefix("/registered/").and_then(|rest| rest.strip_suffix("/ask"));
    let number: u64 =
        number.and_then(|n| n.parse().ok()).ok_or_else(|| format!("a strange target: {echo:?}"))?;
    let [a, b] = NAMES;
    let name = if number.is_multiple_of(2) { a } else { b };
    if echo.stub == name {
        Ok(number)
    } else {
        Err(format!("address of one registration, path of another: {echo:?}"))
    }
}

/// Ties what the clients saw to the log's generations.
fn judge<'a>(lines: impl Iterator<Item = &'a str>, seen: &BTreeMap<u32, u64>) -> Verdict {
    let mut generation_of = BTreeMap::new();
    let mut twice = 0;
    for line in lines {
        let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
        let Ok(id) = line.request_id.parse::<u32>() else { continue };
        if line.complete && line.status == 200 && generation_of.insert(id, line.generation).is_some() {
            twice += 1;
        }
    }
    let mut verdict = Verdict { unmatched: twice, ..Verdict::default() };
    // By generation: the lowest and the highest registration that it answered with.
    let mut answered: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (id, registration) in seen {
        let Some(generation) = generation_of.get(id) else {
            verdict.unmatched += 1;
            continue;
        };
        verdict.matched += 1;
        let (lowest, highest) = answered.entry(*generation).or_insert((*registration, *registration));
        *lowest = (*lowest).min(*registration);
        *highest = (*highest).max(*registration);
    }
    verdict.generations = answered.len();
    let mut newest = 0;
    for (lowest, highest) in answered.values() {
        if lowest != highest || *lowest < newest {
            verdict.mixed += 1;
        }
        newest = newest.max(*highest);
    }
    verdict
}

fn outcome(
    requests: u32,
    seconds: f64,
    swaps: u64,
    seen: &Seen,
    verdict: &Verdict,
    load_before: &str,
) -> Outcome {
    let failed = seen.failed.get();
    let swaps_per_second = f64::from(u32::try_from(swaps).unwrap_or(u32::MAX)) / seconds;
    let Verdict { generations, matched, unmatched, mixed } = verdict;
    let mut notes = vec![
        format!(
            "{CONNECTIONS} keep-alive connections, {:.0} requests/s over {seconds:.1} s; the registry was told something new \
             every millisecond, and the gateway's `/table` counted {swaps} swaps meanwhile.",
            f64::from(requests) / seconds
        ),
        format!(
            "Each registration names another service and another path, so each answer tells which registration it was \
             routed by. {matched} answers were tied to their lines in the access log, {unmatched} could not be; {generations} \
             generations answered."
        ),
        format!("Load average before and after: {load_before}; {}.", load_average()),
    ];
    notes.extend(seen.failures.borrow().iter().cloned());
    Outcome {
        title: "Requests while the table is swapped every millisecond".into(),
        figures: vec![
            Figure::with_goal(
                format!("requests that failed, of {requests}, during swaps"),
                failed.to_string(),
                "0",
                failed == 0,
            ),
            Figure::with_goal(
                "generations that answered as another one",
                mixed.to_string(),
                "0",
                *mixed == 0,
            ),
            Figure::plain("swaps per second", format!("{swaps_per_second:.0}")),
        ],
        table: Table::default(),
        notes,
        troubled: failed > 0 || *mixed > 0 || *unmatched > 0,
        data: json!({
            "requests": requests,
            "failed": failed,
            "seconds": seconds,
            "swaps": swaps,
            "generations": generations,
            "matched": matched,
            "unmatched": unmatched,
            "mixed": mixed,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u32, generation: u64) -> String {
        json!({"request_id": id.to_string(), "generation": generation, "complete": true, "status": 200})
            .to_string()
    }

    fn verdict(rows: &[(u32, u64, u64)]) -> Verdict {
        let lines: Vec<String> = rows.iter().map(|(id, generation, _)| line(*id, *generation)).collect();
        let seen = rows.iter().map(|(id, _, registration)| (*id, *registration)).collect();
        judge(lines.iter().map(String::as_str), &seen)
    }

    #[test]
    fn each_generation_answers_with_its_own_registration() {
        // Two registrations may be taken into one table: numbers are left out, never repeated.
        let verdict = verdict(&[(1, 7, 3), (2, 7, 3), (3, 9, 6), (4, 8, 4)]);
        assert_eq!(verdict, Verdict { generations: 3, matched: 4, unmatched: 0, mixed: 0 });
    }

    #[test]
    fn two_registrations_of_one_generation_and_an_old_one_of_a_new_generation_are_seen() {
        assert_eq!(verdict(&[(1, 7, 3), (2, 7, 4), (3, 8, 4)]).mixed, 1);
        assert_eq!(verdict(&[(1, 7, 4), (2, 8, 3)]).mixed, 1);
    }

    #[test]
    fn answers_without_exactly_one_line_are_seen() {
        let lines = [line(1, 7), line(1, 7)];
        let seen = BTreeMap::from([(1, 3), (2, 3)]);
        assert_eq!(judge(lines.iter().map(String::as_str), &seen).unmatched, 2);
    }

    #[test]
    fn an_address_of_one_registration_with_the_path_of_another_is_a_failure() {
        assert_eq!(routed_by(&Echo { stub: "b", target: "/registered/7/ask" }), Ok(7));
        assert!(routed_by(&Echo { stub: "a", target: "/registered/7/ask" }).is_err());
        assert!(routed_by(&Echo { stub: "a", target: "/ask" }).is_err());
    }
}
