//! Rolling restarts of a service under load: each instance is drained by the barrier before it stops.
//!
//! Three instances in this process, a real sidecar beside each, a registry and a gateway. The oldest sidecar gets
//! SIGTERM; when it has ended, its instance counts as stopped, and every request that still comes there is counted (it
//! listens on until the next restart, so that none is lost). A new instance with a sidecar of its own takes its place.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::child::Child;
use crate::load::Load;
use crate::machine::load_average;
use crate::programs::{Programs, until};
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;
use crate::stub::Stub;

const SERVICE: &str = "rolling_service";
const INSTANCES: usize = 3;
const CONNECTIONS: u32 = 8;
/// A sidecar's goodbye is over by then.
const GOODBYE: Duration = Duration::from_secs(10);
/// What the sidecar of a restart that took longer said is shown, in milliseconds.
const SLOW_MS: f64 = 500.0;
/// In milliseconds.
const GOAL_P99_MS: f64 = 250.0;

/// An instance and its sidecar.
struct Instance {
    stub: Stub,
    sidecar: Child,
}

/// What one restart showed, in milliseconds from the signal.
struct Drained {
    /// To the last request that the instance got; 0: none came any more.
    last_request: f64,
    /// To the sidecar's end.
    ended: f64,
}

/// Measures.
pub(crate) async fn run(programs: &Programs, restarts: u32) -> Result<Outcome, String> {
    let registry = programs.start_registry().await?;
    let gateway = programs.start_gateway(Some(registry.address), None).await?;
    let mut instances = VecDeque::new();
    for _ in 0..INSTANCES {
        instances.push_back(start(programs, registry.address).await?);
    }
    let request = format!("GET /v2/{SERVICE}/x HTTP/1.1\r\nhost: bench\r\n\r\n");
    let body = br#"{"stub":"rolling","target":"/x"}"#;
    let before = load_average();
    until("the service is routed", async || {
        let mut connection = crate::connection::Connection::open(gateway.address).await?;
        Ok(connection.get(&format!("/v2/{SERVICE}/x")).await?.status == 200)
    })
    .await?;
    let load = Load::start(gateway.address, None, request.as_bytes(), body, CONNECTIONS);
    for instance in &instances {
        used(instance).await?;
    }
    let mut drained = Vec::new();
    let (mut late, mut without_proof) = (0, 0);
    // The last one that stopped, with what it had been asked by then.
    let mut stopped: Option<(Stub, u64)> = None;
    for n in 1..=restarts {
        let Some(Instance { stub, sidecar }) = instances.pop_front() else { break };
        let began = Instant::now();
        let text = sidecar.stop(GOODBYE).await?;
        let ended = began.elapsed().as_secs_f64() * 1000.0;
        let asked = stub.requests();
        let last = stub.last_request().map_or(Duration::ZERO, |last| last.saturating_duration_since(began));
        drained.push(Drained { last_request: last.as_secs_f64() * 1000.0, ended });
        if !text.contains("drained: no gateway sends new requests") {
            without_proof += 1;
            println!("restart {n} was not proven:\n{text}");
        } else if ended > SLOW_MS {
            println!("restart {n} took {ended:.0} ms:\n{text}");
        }
        if let Some((stub, asked)) = stopped.replace((stub, asked)) {
            late += stub.requests() - asked;
        }
        let new = start(programs, registry.address).await?;
        used(&new).await?;
        instances.push_back(new);
        if n % 20 == 0 {
            println!("{n}/{restarts} restarted, {} requests answered", load.done());
        }
    }
    if let Some((stub, asked)) = stopped {
        late += stub.requests() - asked;
    }
    let done = load.done();
    let failures = load.stop().err();
    outcome(&drained, &Counts { done, late, without_proof }, failures.as_deref(), &before)
}

struct Counts {
    done: u64,
    late: u64,
    without_proof: u32,
}

fn outcome(
    drained: &[Drained],
    counts: &Counts,
    failures: Option<&str>,
    load_before: &str,
) -> Result<Outcome, String> {
    let Counts { done, late, without_proof } = counts;
    let last = Sorted::of(drained.iter().map(|d| d.last_request)).ok_or("nothing was restarted")?;
    let ended = Sorted::of(drained.iter().map(|d| d.ended)).ok_or("nothing was restarted")?;
    let (restarts, p99) = (drained.len(), last.percentile(99));
    let row = |what: &str, sorted: &Sorted| {
        let numbers = [sorted.median(), sorted.percentile(99), sorted.max()];
        std::iter::once(what.to_owned()).chain(numbers.map(|ms| format!("{ms:.2}"))).collect()
    };
    let failed = failures.unwrap_or("0");
    let mut notes = vec![
        format!(
            "{restarts} restarts, {INSTANCES} instances, {CONNECTIONS} connections in a closed loop, {done} requests answered."
        ),
        format!("Load average before and after: {load_before}; {}.", load_average()),
    ];
    notes.extend(failures.map(str::to_owned));
    Ok(Outcome {
        title: "Rolling restarts with a drain by barrier".into(),
        figures: vec![
            Figure::with_goal(
                format!("failed requests in {restarts} rolling restarts"),
                failed,
                "0",
                failures.is_none(),
            ),
            Figure::with_goal("requests to a stopped instance", late.to_string(), "0", *late == 0),
            Figure::with_goal(
                "restarts without the proof of all gateways",
                without_proof.to_string(),
                "0",
                *without_proof == 0,
            ),
            Figure::with_goal(
                "drain to no new request, p99",
                format!("{p99:.2} ms"),
                &format!("<= {GOAL_P99_MS} ms"),
                p99 <= GOAL_P99_MS,
            ),
            Figure::plain("the same, p50", format!("{:.2} ms", last.median())),
        ],
        table: Table {
            columns: vec!["ms from SIGTERM to the sidecar", "p50", "p99", "max"],
            rows: vec![
                row("to the last request that the instance got", &last),
                row("to the sidecar's end, with the barrier and the goodbye", &ended),
            ],
        },
        notes,
        troubled: failures.is_some() || *late > 0 || *without_proof > 0,
        data: json!({
            "answered": done,
            "late": late,
            "last_request_ms": drained.iter().map(|d| d.last_request).collect::<Vec<_>>(),
            "ended_ms": drained.iter().map(|d| d.ended).collect::<Vec<_>>(),
        }),
    })
}

async fn start(programs: &Programs, registry: SocketAddr) -> Result<Instance, String> {
    let stub = Stub::start("rolling").await?;
    let (port, url) = (stub.address.port().to_string(), format!("http://{registry}"));
    let environment = [
        ("SERVICE_NAME", SERVICE),
        ("SERVICE_HOST", "127.0.0.1"),
        ("SERVICE_PORT", &port),
        ("REGISTRY_URL", &url),
    ];
    let sidecar = Child::start(&programs.sidecar(), &[""; 0], &environment)?;
    Ok(Instance { stub, sidecar })
}

/// Waits until the load reaches it.
async fn used(instance: &Instance) -> Result<(), String> {
    let reached = until("a new instance gets requests", async || Ok(instance.stub.requests() > 0)).await;
    reached.map_err(|error| format!("{error}\n{}", instance.sidecar.text()))
}
