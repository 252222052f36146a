//! A gateway that starts while its registry is away: how long until it serves, from the moment at which it is executed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cli::Options;
use crate::connection::Connection;
use crate::machine::load_average;
use crate::programs::{ANY, Programs, registration, until};
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;
use crate::stub::Stub;

/// What it has to load: services with as many instances each.
const SERVICES: u32 = 200;
const INSTANCES: u32 = 50;

/// In milliseconds.
const GOAL_MS: f64 = 1000.0;

/// A gateway that does not serve after this long never does.
const PATIENCE: Duration = Duration::from_secs(20);

/// A name in the first line that it logs about its age.
const SAYS: &str = "serving the last known good, stale ";

/// Measures.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    let before = load_average();
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for the state: {error}"))?;
    let state = folder.path().display().to_string();
    let arguments = ["--state-dir", state.as_str()];
    let stub = Stub::start("kept").await?;
    let registry = programs.start_registry().await?;
    let source = registry.address;
    let mut registrar = Connection::open(source).await?;
    for number in 0..SERVICES * INSTANCES {
        let (service, instance) = (name(number % SERVICES), format!("i{number}"));
        let request = registration(&service, &instance, &format!("http://{}", stub.address));
        match registrar.ask(&request).await?.status {
            201 => {}
            other => return Err(format!("a registration was answered {other}")),
        }
    }
    let gateway = programs.launch_gateway(ANY, Some(source), &arguments).await?;
    let (listen, instances) = (gateway.address, usize::try_from(SERVICES * INSTANCES).unwrap_or(usize::MAX));
    until("everything is on the disk", async || Ok(kept(folder.path()) >= instances)).await?;
    registry.child.kill().await?;
    gateway.child.kill().await?;
    // So that there is an age to speak of.
    sleep(Duration::from_secs(2)).await;
    let (mut milliseconds, mut ages) = (Vec::new(), Vec::new());
    for round in 1..=options.restarts {
        // Another service each time.
        let target = format!("/v2/{}/ask", name(round % SERVICES));
        let started = Instant::now();
        let (gateway, served) = tokio::try_join!(
            programs.launch_gateway(listen, Some(source), &arguments),
            first_served(listen, &target, started)
        )?;
        let age = gateway.child.text().lines().find_map(|line| Some(line.split_once(SAYS)?.1.to_owned()));
        let age = age.ok_or("the gateway does not say that it serves what is stale")?;
        ages.push(age.split(',').next().unwrap_or_default().to_owned());
        milliseconds.push(served.as_secs_f64() * 1000.0);
        if round.is_multiple_of(10) {
            println!("{round}/{} restarted", options.restarts);
        }
        gateway.child.kill().await?;
    }
    outcome(&milliseconds, &ages, &before)
}

fn name(number: u32) -> String {
    format!("kept_service_{number}")
}

/// Instances in the file, the header left out.
fn kept(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("last-known-good.jsonl")).unwrap_or_default();
    text.lines().filter(|line| line.contains("kept_service_")).count()
}

/// Asks until something is served; how long after `started` it was.
async fn first_served(address: SocketAddr, target: &str, started: Instant) -> Result<Duration, String> {
    loop {
        // Nobody listens yet, or it does and refuses.
        if let Ok(mut connection) = Connection::open(address).await
            && connection.get(target).await?.status == 200
        {
            return Ok(started.elapsed());
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("nothing is served after {PATIENCE:?}"));
        }
        sleep(Duration::from_millis(1)).await;
    }
}

fn outcome(milliseconds: &[f64], ages: &[String], before: &str) -> Result<Outcome, String> {
    let sorted = Sorted::of(milliseconds.iter().copied()).ok_or("nothing was restarted")?;
    let count = milliseconds.len();
    let (first, last) = (ages.first().cloned().unwrap_or_default(), ages.last().cloned().unwrap_or_default());
    Ok(Outcome {
        title: "Restart of the gateway while the registry is away".into(),
        figures: vec![
            Figure::with_goal(
                format!("gateway restarted without a registry: to the first 200, max of {count}"),
                format!("{:.0} ms", sorted.max()),
                "< 1 s",
                sorted.max() < GOAL_MS,
            ),
            Figure::plain("the same, p50", format!("{:.0} ms", sorted.median())),
        ],
        table: Table::default(),
        notes: vec![
            format!(
                "{} instances of {SERVICES} services in the state directory; time from the start of the process (fork and exec \
                 included) to the first 200 from a service, asked for every millisecond. Each start logged `{SAYS}...`: from \
                 `{first}` to `{last}`.",
                SERVICES * INSTANCES
            ),
            format!("Load average before and after: {before}; {}.", load_average()),
        ],
        troubled: false,
        data: json!({ "milliseconds": milliseconds, "ages": ages }),
    })
}
