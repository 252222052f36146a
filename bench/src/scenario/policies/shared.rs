//! A limit that two gateways share in a real Redis, under more requests than it lets pass; then Redis stands still, and is gone.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::connection::Connection;
use crate::nginx;
use crate::programs::{Gateway, Programs, until};
use crate::redis;
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;

/// Offered to both gateways together.
const PER_SECOND: u32 = 5000;
/// Connections to each gateway.
const CONNECTIONS: u32 = 16;
/// How long each limit is asked, and each phase lasts.
const SECONDS: u32 = 10;
/// What passes may differ from the limit by so much.
const ERROR_PERCENT: f64 = 5.0;
/// Limits that are measured: requests per second, and at once.
const LIMITS: [(u32, u32); 4] = [(2500, 2500), (1000, 100), (100, 100), (10, 10)];

/// One answer: when its request was due, when it came, how long that took, whether it passed.
#[derive(Clone, Copy, Debug)]
struct Answered {
    due: Instant,
    came: Instant,
    milliseconds: f64,
    passed: bool,
}

#[derive(Debug, Serialize)]
struct Phase {
    redis: String,
    requests: usize,
    passed: usize,
    median_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

pub(super) async fn run(programs: &Programs) -> Result<Outcome, String> {
    let (redis_child, redis_address, _redis_folder) = redis::alone().await?;
    let upstream = nginx::constant("{}").await?;
    let folder = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
    let path = folder.path().join("gateway.toml");
    let mut text = format!(
        "[rate_limit_store]\nurl = \"redis://{redis_address}\"\n[[service]]\nname = \"osint_service\"\n\
         fallback = [\"http://{}\"]\n",
        upstream.address
    );
    for (requests, burst) in LIMITS {
        let name = format!("l{requests}");
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "[rate_limit.{name}]\nrequests = {requests}\nper = \"1s\"\nburst = {burst}\nshared = true\n\
             [[route]]\nname = \"{name}\"\nprefix = \"/{name}\"\nservice = \"osint_service\"\nrate_limits = [\"{name}\"]\n"
        );
    }
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    let gateways =
        [programs.start_gateway(None, Some(&path)).await?, programs.start_gateway(None, Some(&path)).await?];
    for gateway in &gateways {
        reachable(gateway).await?;
    }
    let addresses = gateways.each_ref().map(|gateway| gateway.address);
    let (mut figures, mut rows, mut data) = (Vec::new(), Vec::new(), Vec::new());
    let mut troubled = false;
    for (requests, burst) in LIMITS {
        let answers = offer(addresses, &format!("/l{requests}/x"), SECONDS).await?;
        let passed = answers.iter().filter(|answer| answer.passed).count();
        // On a machine that is too busy the last ones are asked late: what passes is due until then.
        let first = answers.iter().map(|answer| answer.due).min();
        let last = answers.iter().map(|answer| answer.came).max();
        let span = last.zip(first).map_or(0.0, |(last, first)| last.duration_since(first).as_secs_f64());
        let due = f64::from(burst) + f64::from(requests) * span;
        let error = (count(passed) - due) / due * 100.0;
        println!("limit {requests}/s, burst {burst}: {passed} of {} passed, {due:.0} due", answers.len());
        figures.push(Figure::with_goal(
            format!("shared limit {requests}/s, burst {burst}: error"),
            format!("{error:+.2} % ({passed} passed, {due:.0} due, {} offered)", answers.len()),
            &format!("<= {ERROR_PERCENT} %"),
            error.abs() <= ERROR_PERCENT,
        ));
        data.push(json!({"requests": requests, "burst": burst, "passed": passed, "due": due}));
    }
    let mut phases = Vec::new();
    for redis in ["there", "stopped", "there again", "killed"] {
        match redis {
            "stopped" => redis_child.signal(Signal::STOP)?,
            "there again" => redis_child.signal(Signal::CONT)?,
            "killed" => redis_child.signal(Signal::KILL)?,
            _ => {}
        }
        let answers = offer(addresses, "/l1000/x", SECONDS).await?;
        let phase = phase(redis, &answers)?;
        println!("Redis {redis}: longest {:.2} ms, p99 {:.2} ms", phase.longest_ms, phase.p99_ms);
        rows.push(vec![
            redis.to_owned(),
            phase.requests.to_string(),
            phase.passed.to_string(),
            format!("{:.2}", phase.median_ms),
            format!("{:.2}", phase.p99_ms),
            format!("{:.2}", phase.longest_ms),
        ]);
        phases.push(phase);
    }
    for gateway in &gateways {
        troubled |= gateway.child.id().is_err();
    }
    let p99 = |of: &str| phases.iter().find(|phase| phase.redis == of).map_or(f64::NAN, |phase| phase.p99_ms);
    for away in ["stopped", "killed"] {
        let more = p99(away) - p99("there");
        figures.push(Figure::with_goal(
            format!("p99 with Redis {away}, beyond that with Redis there"),
            format!("{more:+.2} ms"),
            "<= 5 ms",
            more <= 5.0,
        ));
    }
    Ok(Outcome {
        title: String::new(),
        figures,
        table: Table {
            columns: vec!["Redis", "requests", "passed", "median ms", "p99 ms", "longest ms"],
            rows,
        },
        notes: vec![format!(
            "Shared limits: two gateways, {PER_SECOND} requests/s offered to them together on {CONNECTIONS} connections each for \
             {SECONDS} s per row, by one client; due is burst + rate x time. Milliseconds are from the moment at which a request was \
             due; load generator, gateways, service and Redis share the machine. No request waits for Redis: the rows show it."
        )],
        troubled,
        data: json!({ "limits": data, "phases": phases }),
    })
}

/// Waits until `gateway` counts in Redis.
async fn reachable(gateway: &Gateway) -> Result<(), String> {
    until("the store of rate limits is reachable", async || {
        let mut connection = Connection::open(gateway.admin).await?;
        let answer = connection.get("/metrics").await?;
        Ok(String::from_utf8_lossy(answer.body).contains("vertice_gateway_rate_limit_store_reachable 1.0"))
    })
    .await
}

/// Asks for `target` at both gateways for `seconds`; what comes late is sent late, and nothing is left out.
async fn offer(addresses: [SocketAddr; 2], target: &str, seconds: u32) -> Result<Vec<Answered>, String> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let mut clients = JoinSet::new();
    let each = CONNECTIONS * 2;
    let period = Duration::from_secs(1) * each / PER_SECOND;
    // Connections first.
    let begin = Instant::now() + Duration::from_millis(200);
    for (number, address) in (0..each).zip(addresses.into_iter().cycle()) {
        let (all, request) = (all.clone(), format!("GET {target} HTTP/1.1\r\nhost: bench\r\n\r\n"));
        clients.spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            let mut ticks = interval_at(begin + period * number / each, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                let due = ticks.tick().await;
                if due >= begin + Duration::from_secs(seconds.into()) {
                    return Ok::<(), String>(());
                }
                let passed = match connection.ask(request.as_bytes()).await?.status {
                    200 => true,
                    429 => false,
                    status => return Err(format!("answered {status}")),
                };
                let came = Instant::now();
                let milliseconds = came.saturating_duration_since(due).as_secs_f64() * 1000.0;
                all.borrow_mut().push(Answered { due, came, milliseconds, passed });
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    // What was spent is back before anything else is measured.
    sleep(Duration::from_secs(2)).await;
    Ok(all.take())
}

fn phase(redis: &str, answers: &[Answered]) -> Result<Phase, String> {
    let times = Sorted::of(answers.iter().map(|answer| answer.milliseconds)).ok_or("no answers")?;
    Ok(Phase {
        redis: redis.to_owned(),
        requests: answers.len(),
        passed: answers.iter().filter(|answer| answer.passed).count(),
        median_ms: times.median(),
        p99_ms: times.percentile(99),
        longest_ms: times.max(),
    })
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
