//! CPU time per proxied request, ours against nginx's, in rounds that take turns; in clear (`cpu`) and inside TLS (`tls`).
//!
//! HTTP/1.1 with keep-alive on both sides, a JSON answer of about 110 bytes, the same upstream, no access log, the same
//! forwarded headers. CPU time is user and system time of the proxy's processes, divided by the requests that were
//! answered meanwhile: unlike requests per second it hardly depends on what else the machine does.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::child::Child;
use crate::cli::Options;
use crate::connection::Connection;
use crate::load::Load;
use crate::machine::load_average;
use crate::nginx::{self, RequestId};
use crate::programs::{Programs, registration, until};
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;
use crate::tls::{self, Https};
use crate::usage::{CpuTime, Memory};

/// One of the original system's services.
const SERVICE: &str = "osint_service";

/// 110 bytes.
const BODY: &str = r#"{"service":"osint_service","status":"ok","items":[{"id":17,"name":"alpha"},{"id":18,"name":"beta"}],"total":2}"#;

const OURS: &str = "vertice-gateway";
const NGINX: &str = "nginx";
const NGINX_WITH_ID: &str = "nginx with request id";

/// Connections are opened and caches filled before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// Ours may cost this many times nginx's.
const GOAL: f64 = 1.25;

/// The same inside TLS.
const TLS_GOAL: f64 = 1.0;

/// A proxy that is measured.
struct Proxy<'a> {
    name: &'static str,
    child: &'a Child,
    address: SocketAddr,
    /// How clients connect; `None`: in clear.
    https: Option<Rc<Https>>,
}

/// One round of one proxy.
#[derive(Clone, Debug, Serialize)]
struct Round {
    proxy: &'static str,
    number: u32,
    requests: u64,
    seconds: f64,
    user_us: f64,
    system_us: f64,
    load_average: String,
    /// Why it does not count.
    invalid: Option<String>,
}

impl Round {
    fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }

    fn requests_per_second(&self) -> f64 {
        float(self.requests) / self.seconds
    }
}

/// Measures in clear.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    compare(programs, options, None).await
}

/// Measures inside TLS: kept connections, so that it is records and not handshakes that count.
pub(crate) async fn run_tls(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    compare(programs, options, Some(Rc::new(Https::new()?))).await
}

async fn compare(
    programs: &Programs,
    options: &Options,
    https: Option<Rc<Https>>,
) -> Result<Outcome, String> {
    let version = nginx::version()?;
    let upstream = nginx::constant(BODY).await?;
    let gateway = match &https {
        None => programs.start_gateway(None, None).await?,
        Some(https) => programs.start_gateway_as_configured(&https.gateway_config()?).await?,
    };
    let registry = gateway.registry.ok_or("the gateway has no registry")?;
    let put = registration(SERVICE, "only", &format!("http://{}", upstream.address));
    let status = Connection::open(registry).await?.ask(&put).await?.status;
    if status != 201 {
        return Err(format!("the registration was answered {status}"));
    }
    let mut proxies =
        vec![Proxy { name: OURS, child: &gateway.child, address: gateway.address, https: https.clone() }];
    let peers = [
        (NGINX, nginx::proxy(SERVICE, upstream.address, RequestId::Without, https.as_deref()).await),
        (NGINX_WITH_ID, nginx::proxy(SERVICE, upstream.address, RequestId::With, https.as_deref()).await),
    ];
    let mut skipped = Vec::new();
    for (name, peer) in &peers {
        match peer {
            Ok(nginx) => proxies.push(Proxy {
                name,
                child: &nginx.child,
                address: nginx.address,
                https: https.clone(),
            }),
            Err(error) => {
                println!("{name} is skipped: {error}");
                skipped.push(format!("{name} was skipped: {error}"));
            }
        }
    }
    let target = format!("/v2/{SERVICE}/api/items?limit=2");
    for proxy in &proxies {
        let routes = until("the proxy answers as the service does", async || {
            let mut connection = Connection::open_as(proxy.address, proxy.https.as_deref()).await?;
            let answer = connection.ask(request(&target).as_bytes()).await?;
            Ok(answer.status == 200 && answer.body == BODY.as_bytes())
        });
        routes.await.map_err(|error| format!("{}: {error}", proxy.name))?;
    }
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        for proxy in &proxies {
            let measured = measure(proxy, number, &target, options).await;
            println!("{}", progress(&measured, options.rounds));
            rounds.push(measured);
        }
    }
    let memory: Vec<_> = proxies.iter().map(|proxy| (proxy.name, memory(proxy))).collect();
    let mut outcome = outcome(&rounds, &memory, &version, options, https.is_some());
    outcome.notes.extend(skipped);
    Ok(outcome)
}

/// As it stands at the end; `None` of one that has died.
fn memory(proxy: &Proxy<'_>) -> Option<Memory> {
    Memory::of_tree(proxy.child.id().ok()?).ok()
}

/// CPU time of a proxy so far; what is wrong goes into `invalid`.
fn cpu_time(proxy: &Proxy<'_>, invalid: &mut Option<String>) -> CpuTime {
    proxy.child.id().and_then(CpuTime::of_tree).unwrap_or_else(|error| {
        invalid.get_or_insert(error);
        CpuTime::default()
    })
}

fn request(target: &str) -> String {
    let host = tls::HOST;
    format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: vertice-bench\r\naccept: */*\r\n\r\n")
}

async fn measure(proxy: &Proxy<'_>, number: u32, target: &str, options: &Options) -> Round {
    let request = request(target);
    let mut invalid = None;
    let load_average = load_average();
    let load = Load::start(
        proxy.address,
        proxy.https.clone(),
        request.as_bytes(),
        BODY.as_bytes(),
        options.connections,
    );
    sleep(WARM_UP).await;
    let (started, done, cpu) = (Instant::now(), load.done(), cpu_time(proxy, &mut invalid));
    sleep(Duration::from_secs(options.seconds.into())).await;
    let (elapsed, done) = (started.elapsed(), load.done() - done);
    let cpu = cpu_time(proxy, &mut invalid).since(cpu);
    if let Err(error) = load.stop() {
        invalid = Some(error);
    } else if done == 0 {
        invalid = Some("nothing was answered".into());
    }
    let per_request_us = |seconds: f64| seconds * 1e6 / float(done.max(1));
    Round {
        proxy: proxy.name,
        number,
        requests: done,
        seconds: elapsed.as_secs_f64(),
        user_us: per_request_us(cpu.user_s),
        system_us: per_request_us(cpu.system_s),
        load_average,
        invalid,
    }
}

fn progress(round: &Round, of: u32) -> String {
    let Round { proxy, number, user_us, system_us, requests, load_average, invalid, .. } = round;
    let verdict = invalid.as_ref().map_or(String::new(), |why| format!(" INVALID: {why}"));
    format!(
        "round {number}/{of}  {proxy:22} {:6.2} us/request ({user_us:.2} user + {system_us:.2} system) {:6.0} requests/s \
         ({requests} requests, load average {load_average}){verdict}",
        round.cpu_us(),
        round.requests_per_second()
    )
}

fn outcome(
    rounds: &[Round],
    memory: &[(&'static str, Option<Memory>)],
    version: &str,
    options: &Options,
    inside_tls: bool,
) -> Outcome {
    let mut figures = Vec::new();
    let mut rows = Vec::new();
    for (name, memory) in memory {
        let mine: Vec<&Round> = rounds.iter().filter(|r| r.proxy == *name && r.invalid.is_none()).collect();
        let of = |what: fn(&Round) -> f64| Sorted::of(mine.iter().map(|round| what(round)));
        let (Some(cpu), Some(user), Some(system), Some(rate)) =
            (of(Round::cpu_us), of(|r| r.user_us), of(|r| r.system_us), of(Round::requests_per_second))
        else {
            continue;
        };
        rows.push(vec![
            (*name).to_owned(),
            format!("{:.2}", cpu.median()),
            format!("{:.2} to {:.2}", cpu.min(), cpu.max()),
            format!("{:.2} + {:.2}", user.median(), system.median()),
            format!("{:.0} ({:.0} to {:.0})", rate.median(), rate.min(), rate.max()),
            mine.iter().map(|round| format!("{:.2}", round.cpu_us())).collect::<Vec<_>>().join(" "),
            memory.map_or("unknown".into(), |memory| format!("{} / {}", memory.rss_kib, memory.pss_kib)),
        ]);
    }
    for peer in [NGINX, NGINX_WITH_ID] {
        figures.extend(ratio(rounds, peer, if inside_tls { TLS_GOAL } else { GOAL }));
    }
    let invalid = rounds.iter().filter(|round| round.invalid.is_some()).count();
    let mut notes = vec![
        format!(
            "{} interleaved rounds of {} s per proxy, {} connections, {} bytes; {version}, 2 workers each; load generator, \
             upstream and proxies share the machine.",
            options.rounds,
            options.seconds,
            options.connections,
            BODY.len()
        ),
        "`nginx with request id` also makes, forwards and echoes `X-Request-ID`, which the gateway does in every row."
            .to_owned(),
        "Ratios are of CPU time per request; a round counts only when every answer was 200 with all of its bytes."
            .to_owned(),
        format!("Load average at the end: {}.", load_average()),
    ];
    if inside_tls {
        notes.push(format!("{}, on connections that are kept.", tls::TERMS));
    }
    if invalid > 0 {
        notes.push(format!("{invalid} rounds do not count; `data` in the JSON says why."));
    }
    Outcome {
        title: if inside_tls {
            "CPU time per proxied request inside TLS".into()
        } else {
            "CPU time per proxied request".into()
        },
        troubled: invalid > 0 || figures.is_empty(),
        figures,
        table: Table {
            columns: vec![
                "proxy",
                "CPU us/request, median",
                "range",
                "user + system",
                "requests/s",
                "rounds",
                "RSS / PSS KiB",
            ],
            rows,
        },
        notes,
        data: json!({ "rounds": rounds }),
    }
}

/// Ours over `peer`'s: of the medians, and round by round.
fn ratio(rounds: &[Round], peer: &str, goal: f64) -> Option<Figure> {
    let valid = |name: &str| -> Vec<&Round> {
        rounds.iter().filter(|round| round.proxy == name && round.invalid.is_none()).collect()
    };
    let (ours, theirs) = (valid(OURS), valid(peer));
    let medians = |side: &[&Round]| Some(Sorted::of(side.iter().map(|round| round.cpu_us()))?.median());
    let ratio = medians(&ours)? / medians(&theirs)?;
    let pairs = ours.iter().filter_map(|our| {
        let their = theirs.iter().find(|their| their.number == our.number)?;
        Some(our.cpu_us() / their.cpu_us())
    });
    let pairs = Sorted::of(pairs)?;
    let what = format!("CPU per request, {OURS} / {peer}");
    let value = format!("{ratio:.2} (rounds {:.2} to {:.2})", pairs.min(), pairs.max());
    Some(if peer == NGINX {
        Figure::with_goal(what, value, &format!("<= {goal}"), ratio <= goal)
    } else {
        Figure::plain(what, value)
    })
}

/// Counts of requests are far below 2^32.
fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(proxy: &'static str, number: u32, cpu_us: f64, invalid: bool) -> Round {
        Round {
            proxy,
            number,
            requests: 1,
            seconds: 1.0,
            user_us: cpu_us,
            system_us: 0.0,
            load_average: String::new(),
            invalid: invalid.then(|| "x".into()),
        }
    }

    #[test]
    fn rounds_that_do_not_count_change_no_ratio() {
        let rounds = [
            round("vertice-gateway", 1, 12.0, false),
            round("nginx", 1, 10.0, false),
            round("vertice-gateway", 2, 99.0, true),
            round("nginx", 2, 10.0, false),
        ];
        let figure = ratio(&rounds, "nginx", 1.25).unwrap();
        assert_eq!(figure.value, "1.20 (rounds 1.20 to 1.20)");
        assert!(figure.goal.is_some_and(|goal| goal.reached));
        assert!(ratio(&rounds, "nobody", 1.25).is_none());
    }
}
