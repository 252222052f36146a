//! The self-check: the demo's story, step by step, each proved by what was seen.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use vertice_process::signals::Signals;

use super::client::{Connection, get, post};
use super::load::{Load, Tally};
use super::parts::{PAIR, Parts, services};
use super::places::loopback;
use super::report::{Report, say};
use super::service::Service;
use super::wait::{Missing, until};

/// For the whole story; what takes everything down has its own limits after that (24 s together).
const STORY_TIME: Duration = Duration::from_secs(62);

/// For one step, and for what it waits for.
const STEP_TIME: Duration = Duration::from_secs(20);
const WAIT_TIME: Duration = Duration::from_secs(15);

/// The promise: a registration is routed within this.
const ROUTED_WITHIN: Duration = Duration::from_secs(1);

/// Load after the event that it is about, and answers that there must be then: a busy machine may need longer for them.
const LOAD_TIME: Duration = Duration::from_millis(1_500);
const LOAD_ANSWERS: usize = 300;

/// Answers of each instance before the event: its connections are in use then.
const WARM_ANSWERS: usize = 100;

/// Between two requests of one client: 16 of them make some thousand requests a second and leave the machine usable.
const BUSY: Duration = Duration::from_millis(2);

/// Clients that look in now and then, on connections that are mostly idle.
const CALM: Duration = Duration::from_millis(20);

/// Seconds by which ages must be seen to grow, and what counts as fresh: a canary vouches for all every ten seconds.
const GROWS_S: f64 = 2.0;
const FRESH_S: f64 = 11.0;

/// Where the gateway's `/services` says whether it reaches the registry.
const REACHABLE: &str = "/registry/source/reachable";

/// The pair, as a person counts.
const FIRST: usize = 1;
const SECOND: usize = 2;

/// Goes through the story and takes everything down, whatever happens. The error is the summary.
pub(super) async fn run(parts: &mut Parts, report: &mut Report, signals: &mut Signals) -> Result<(), String> {
    say("Vértice demo, self-check: one line per step");
    let told = tokio::select! {
        told = timeout(STORY_TIME, tell(parts, report)) => match told {
            // A step that failed is in the report.
            Ok(_) => Ok(()),
            Err(_) => Err(format!("the story took longer than {} s", STORY_TIME.as_secs())),
        },
        _ = signals.next() => Err("stopped by a signal before the end of the story".to_owned()),
    };
    tokio::select! {
        () = parts.take_down(report) => {}
        _ = signals.next() => return Err("killed before everything had stopped in order".into()),
    }
    match (told, report.conclude()) {
        (Ok(()), Ok(summary)) => {
            say(&summary);
            Ok(())
        }
        (Ok(()), Err(failures)) => Err(failures),
        (Err(why), Ok(_)) => Err(why),
        (Err(why), Err(failures)) => Err(format!("{why}\n{failures}")),
    }
}

async fn tell(parts: &mut Parts, report: &mut Report) -> Result<(), String> {
    parts.start_all(report).await?;
    report.step("each service answers by its name", STEP_TIME, answers_by_name(parts)).await?;
    report.step("both instances of one service answer", STEP_TIME, both_answer(parts)).await?;
    report.step("one POST /register is routed within 1 s", STEP_TIME, plain_registration(parts)).await?;
    report.step("an instance stops under load", STEP_TIME, stops_under_load(parts)).await?;
    report.step("it comes back", STEP_TIME, comes_back(parts, FIRST)).await?;
    report.step("an instance vanishes without a word", STEP_TIME, vanishes(parts)).await?;
    report.step("it comes back, at its old address", STEP_TIME, comes_back(parts, SECOND)).await?;
    let load = everywhere(parts);
    report.step("the registry is killed under load", STEP_TIME, registry_dies(parts, load)).await?;
    report.step("the truth grows old, and that is shown", STEP_TIME, ages_grow(parts)).await?;
    report.step("the gateway is restarted without a registry", STEP_TIME, gateway_restarts(parts)).await?;
    let load = everywhere(parts);
    report
        .step("an empty registry starts, sidecars register again", STEP_TIME, registry_returns(parts, load))
        .await?;
    report.step("the truth is fresh again", STEP_TIME, ages_fall(parts)).await
}

async fn answers_by_name(parts: &Parts) -> Result<String, String> {
    let mut seen = Vec::new();
    for service in services() {
        // Slash, space and repeated keys, encoded: nothing on the way may rewrite them.
        let (path, query) = ("/a%2Fb/c", "q=x%20y&q=%2F");
        let reply = get(parts.places.gateway, &format!("/v2/{service}{path}?{query}")).await?;
        let expected = [("service", service), ("method", "GET"), ("path", path), ("query", query)];
        let told = |(name, value): &(&str, &str)| reply.field(name).as_deref() == Some(*value);
        if reply.status != 200 || !expected.iter().all(told) {
            return Err(format!("{service}: {}", reply.in_short()));
        }
        seen.push(service);
    }
    Ok(format!("{}, path and query byte for byte", seen.join(", ")))
}

/// Asks the pair until both have answered.
async fn both_answer(parts: &Parts) -> Result<String, String> {
    let mut connection = Connection::open(parts.places.gateway).await?;
    let mut seen = BTreeSet::new();
    let deadline = Instant::now() + STEP_TIME;
    for asked in 1.. {
        let reply = connection.send("GET", &format!("/v2/{PAIR}/who"), None).await?;
        match reply.field("instance") {
            Some(instance) if reply.status == 200 => seen.insert(instance),
            _ => return Err(reply.in_short()),
        };
        if seen.len() == 2 {
            let names: Vec<_> = seen.into_iter().collect();
            return Ok(format!("{}, after {asked} requests", names.join(" and ")));
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    Err(format!("only {seen:?} answered"))
}

/// A service without a sidecar, known to nobody before, is registered by hand.
async fn plain_registration(parts: &Parts) -> Result<String, String> {
    let name = "threat_intel_service";
    let target = format!("/v2/{name}/ping");
    let (service, address) = Service::start(name, "threat-intel-1", loopback(0)).await?;
    let before = get(parts.places.gateway, &target).await?;
    if before.status != 503 {
        return Err(format!("before it is registered 503 is due, not {}", before.in_short()));
    }
    let begun = Instant::now();
    let body = json!({"service_name": name, "endpoint": format!("http://{address}")});
    let reply = post(parts.places.registry, "/register", &body).await?;
    if reply.status != 201 {
        return Err(format!("the registry answered {}", reply.in_short()));
    }
    until(ROUTED_WITHIN, async || match get(parts.places.gateway, &target).await? {
        reply if reply.status == 200 => Ok(()),
        reply => Err(Missing::Yet(reply.in_short())),
    })
    .await?;
    let routed = begun.elapsed();
    if routed > ROUTED_WITHIN {
        return Err(format!("routed only after {} ms", routed.as_millis()));
    }
    let mut connection = Connection::open(parts.places.registry).await?;
    let reply = connection.send("DELETE", &format!("/deregister/{name}"), None).await?;
    if reply.status != 200 {
        return Err(format!("the registry did not deregister it: {}", reply.in_short()));
    }
    service.finish().await?;
    Ok(format!("{} ms from POST to the first answer through the gateway", routed.as_millis()))
}

/// A load on the pair, once both instances have answered a good deal of it.
async fn pair_load(parts: &Parts, pause: Duration) -> Result<Load, String> {
    let load = Load::start(parts.places.gateway, &[format!("/v2/{PAIR}/work")], pause);
    answers(&load, |tally| ["osint-1", "osint-2"].iter().all(|of| tally.of(of) >= WARM_ANSWERS)).await?;
    Ok(load)
}

/// Lets the load go on for its time, and until enough was answered.
async fn goes_on(load: &Load) -> Result<(), String> {
    let before = load.so_far().answered();
    sleep(LOAD_TIME).await;
    answers(load, |tally| tally.answered() >= before + LOAD_ANSWERS).await
}

/// Waits until the load has got `enough` answers. A request that failed ends the wait: the story has its end.
async fn answers(load: &Load, enough: impl Fn(&Tally) -> bool) -> Result<(), String> {
    until(WAIT_TIME, async || {
        let tally = load.so_far();
        tally.none_failed().map_err(Missing::ForEver)?;
        if enough(&tally) { Ok(()) } else { Err(Missing::Yet(format!("too few answers: {tally:?}"))) }
    })
    .await
}

/// Goodbye from the sidecar, then the service finishes.
async fn stops_under_load(parts: &mut Parts) -> Result<String, String> {
    let load = pair_load(parts, BUSY).await?;
    let stopped = parts.stop_instance(FIRST).await?;
    let at_stop = load.so_far();
    goes_on(&load).await?;
    let tally = load.stop().await;
    // One answer per client may have been on its way when the service ended.
    if tally.of("osint-1") > at_stop.of("osint-1") + 16 {
        return Err("the stopped instance went on answering".into());
    }
    Ok(format!("{}; {stopped}", tally.verdict()?))
}

/// Its listener and all its connections break off; the registry still names it.
async fn vanishes(parts: &mut Parts) -> Result<String, String> {
    let load = pair_load(parts, CALM).await?;
    let gone = parts.kill_instance(SECOND).await?;
    goes_on(&load).await?;
    Ok(format!("{}; {gone}", load.stop().await.verdict()?))
}

async fn comes_back(parts: &mut Parts, number: usize) -> Result<String, String> {
    parts.start_instance(number).await?;
    parts.registered().await?;
    both_answer(parts).await
}

/// Requests to all services, whatever happens to the registry.
fn everywhere(parts: &Parts) -> Load {
    let targets: Vec<String> = services().map(|service| format!("/v2/{service}/work")).collect();
    Load::start(parts.places.gateway, &targets, BUSY)
}

async fn registry_dies(parts: &mut Parts, load: Load) -> Result<String, String> {
    goes_on(&load).await?;
    parts.kill_registry().await?;
    let before = load.so_far().answered();
    goes_on(&load).await?;
    let page = get(parts.places.admin, "/services").await?.json();
    if page.pointer(REACHABLE) != Some(&Value::Bool(false)) {
        return Err("the gateway's /services does not say that the registry is away".into());
    }
    let age = page.pointer("/registry/source/age_seconds").and_then(Value::as_f64).unwrap_or_default();
    let count = load.so_far().answered() - before;
    Ok(format!(
        "{}, {count} of them without a registry; /services shows it away, last vouched for {age:.1} s ago",
        load.stop().await.verdict()?
    ))
}

/// Seconds since the demo's services were vouched for: of the freshest and of the oldest.
async fn ages(parts: &Parts) -> Result<(f64, f64), String> {
    let page = get(parts.places.admin, "/services").await?.json();
    let rows = page.get("services").and_then(Value::as_array).into_iter().flatten();
    let age = |row: &Value| row.get("last_proof_age_seconds").and_then(Value::as_f64);
    let ours = rows.filter(|row| services().any(|service| row.get("name") == Some(&json!(service))));
    let ages: Vec<f64> = ours.filter_map(age).collect();
    if ages.len() != services().count() {
        return Err(format!("/services shows the age of {} services", ages.len()));
    }
    Ok((ages.iter().copied().fold(f64::MAX, f64::min), ages.iter().copied().fold(0.0, f64::max)))
}

/// Nobody vouches for anything any more: each age grows with the time.
async fn ages_grow(parts: &Parts) -> Result<String, String> {
    let (_, before) = ages(parts).await?;
    let wanted = before + GROWS_S;
    let freshest = until(WAIT_TIME, async || match ages(parts).await? {
        (freshest, _) if freshest >= wanted => Ok(freshest),
        (freshest, _) => Err(Missing::Yet(format!("an age of {freshest:.1} s, not {wanted:.1} s"))),
    })
    .await?;
    Ok(format!("/services showed {before:.1} s at most, and shows {freshest:.1} s at least now"))
}

/// It stops in order, starts with nothing but its disk, and its first answers are right.
async fn gateway_restarts(parts: &mut Parts) -> Result<String, String> {
    let (before, _) = ages(parts).await?;
    let told = parts.restart_gateway().await?;
    let served = answers_by_name(parts).await?;
    let (freshest, _) = ages(parts).await?;
    if freshest < before {
        return Err(format!("what was {before:.1} s old is {freshest:.1} s old after the restart"));
    }
    Ok(format!("{told}; {served}; {freshest:.1} s old at least"))
}

async fn ages_fall(parts: &Parts) -> Result<String, String> {
    let oldest = until(WAIT_TIME, async || match ages(parts).await? {
        (_, oldest) if oldest <= FRESH_S => Ok(oldest),
        (_, oldest) => Err(Missing::Yet(format!("an age of {oldest:.1} s"))),
    })
    .await?;
    Ok(format!("no service is older than {oldest:.1} s"))
}

async fn registry_returns(parts: &mut Parts, load: Load) -> Result<String, String> {
    parts.start_registry().await?;
    let seen = parts.registered().await?;
    let back = Instant::now();
    let admin = parts.places.admin;
    until(WAIT_TIME, async || {
        let page = get(admin, "/services").await?.json();
        if page.pointer(REACHABLE) == Some(&Value::Bool(true)) {
            Ok(())
        } else {
            Err(Missing::Yet("the gateway does not reach the registry again".into()))
        }
    })
    .await?;
    let found = back.elapsed();
    goes_on(&load).await?;
    let tally = load.stop().await.verdict()?;
    Ok(format!("{tally} over all of it; {seen}; the gateway watches it again (after {found:.1?} more)"))
}
