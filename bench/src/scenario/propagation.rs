//! From a registration to the first request that is routed by it.
//!
//! A registry and a gateway that watches it, each a process of its own. A fresh name is registered; from the moment at
//! which the registration is sent, the name is asked for through the gateway in a tight loop, until it answers 200.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cli::Options;
use crate::connection::Connection;
use crate::machine::load_average;
use crate::programs::{Gateway, Programs, registration};
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;
use crate::stub::{Echo, Stub};

/// Pauses between registrations are drawn up to this: none may sit at the same point of the watch's rhythm every time.
const LONGEST_PAUSE_MS: u64 = 20;

/// A name that is not routed after this long never is.
const PATIENCE: Duration = Duration::from_secs(10);

/// In milliseconds.
const GOAL_P99_MS: f64 = 250.0;

/// Measures.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let stub = Stub::start("registered").await?;
    let registry = programs.start_registry().await?;
    let gateway = programs.start_gateway(Some(registry.address), None).await?;
    let mut registrar = Connection::open(registry.address).await?;
    let mut client = Connection::open(gateway.address).await?;
    let before = load_average();
    let mut milliseconds = Vec::new();
    let mut answered = Vec::new();
    let mut asked = 0;
    for n in 1..=options.registrations {
        let one = register_and_wait(n, &stub, &mut registrar, &mut client).await;
        let (routed, put, tries) = one.map_err(|error| format!("registration {n}: {error}"))?;
        milliseconds.push(routed.as_secs_f64() * 1000.0);
        answered.push(put.as_secs_f64() * 1000.0);
        asked += tries;
        if n % 50 == 0 {
            println!("{n}/{} registered and routed", options.registrations);
        }
        sleep(Duration::from_millis(random.u64(..=LONGEST_PAUSE_MS))).await;
    }
    let tables = gateway_tables(&gateway).await?;
    let sorted = Sorted::of(milliseconds.iter().copied()).ok_or("nothing was registered")?;
    let put = Sorted::of(answered).ok_or("nothing was registered")?;
    let p99 = sorted.percentile(99);
    Ok(Outcome {
        title: "Registration to first routed request".into(),
        figures: vec![
            Figure::with_goal(
                format!("registration to first routed request, p99 of {}", options.registrations),
                format!("{p99:.2} ms"),
                &format!("<= {GOAL_P99_MS} ms"),
                p99 <= GOAL_P99_MS,
            ),
            Figure::plain("the same, p50", format!("{:.2} ms", sorted.median())),
            Figure::plain("the same, max", format!("{:.2} ms", sorted.max())),
        ],
        table: Table {
            columns: vec!["ms from sending the registration", "p50", "p99", "max"],
            rows: vec![row("to its answer", &put), row("to the first routed request's answer", &sorted)],
        },
        notes: vec![
            format!(
                "{} fresh names, one after the other, pauses of 0 to {LONGEST_PAUSE_MS} ms (seed {seed}); {asked} requests \
                 asked too early and were answered 503; the gateway's table had generation {tables} at the end.",
                options.registrations
            ),
            format!("Load average before and after: {before}; {}.", load_average()),
        ],
        troubled: false,
        data: json!({ "seed": seed, "milliseconds": milliseconds }),
    })
}

fn row(what: &str, sorted: &Sorted) -> Vec<String> {
    let numbers = [sorted.median(), sorted.percentile(99), sorted.max()];
    std::iter::once(what.to_owned()).chain(numbers.map(|ms| format!("{ms:.2}"))).collect()
}

/// Time to the first routed answer, time to the registration's answer, and how often it was asked in vain.
async fn register_and_wait(
    n: u32,
    stub: &Stub,
    registrar: &mut Connection,
    client: &mut Connection,
) -> Result<(Duration, Duration, u32), String> {
    let service = format!("fresh_service_{n}");
    let request = registration(&service, "only", &format!("http://{}", stub.address));
    let target = format!("/v2/{service}/ping");
    let started = Instant::now();
    let status = registrar.ask(&request).await?.status;
    let put = started.elapsed();
    if status != 201 {
        return Err(format!("answered {status}"));
    }
    let mut asked = 0;
    loop {
        let answer = client.get(&target).await?;
        match answer.status {
            200 => {
                let routed = started.elapsed();
                let echo: Echo<'_> =
                    serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
                return if echo == (Echo { stub: "registered", target: "/ping" }) {
                    Ok((routed, put, asked))
                } else {
                    Err(format!("not the service that was registered: {echo:?}"))
                };
            }
            // Not known yet.
            503 => asked += 1,
            other => return Err(format!("the gateway answered {other}")),
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("not routed after {PATIENCE:?}"));
        }
    }
}

async fn gateway_tables(gateway: &Gateway) -> Result<u64, String> {
    gateway.generation().await
}
