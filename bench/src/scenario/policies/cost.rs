//! CPU time per request on a route with policies, and on one without, of the same gateway, in rounds that take turns.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::time::sleep;

use crate::cli::Options;
use crate::connection::Connection;
use crate::load::Load;
use crate::machine::load_average;
use crate::nginx;
use crate::programs::{Gateway, Programs, until};
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;
use crate::usage::CpuTime;

/// 110 bytes.
const BODY: &str = r#"{"service":"osint_service","status":"ok","items":[{"id":17,"name":"alpha"},{"id":18,"name":"beta"}],"total":2}"#;

/// Connections are opened and caches filled before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// A request with policies may cost this many times one without.
const GOAL: f64 = 1.15;

/// The routes, with what is demanded on each: every one is measured.
const ROUTES: [(&str, &str); 5] = [
    ("plain", ""),
    ("key", KEY),
    ("cors", "cors = \"web\""),
    ("limit", "rate_limits = [\"per-client\"]"),
    (
        "all",
        "auth = { api_key = true, scopes = [\"osint\"] }\ncors = \"web\"\nrate_limits = [\"per-client\", \"per-key\"]\n\
         ip = \"all\"",
    ),
];
/// The key, which the gateway hashes at its start.
const SECRET: &str = "4e6f2d7365637265742d6f662d616e796f6e65";
const KEY: &str = "auth = { api_key = true, scopes = [\"osint\"] }";

const DEFINED: &str = "
[[api_key]]
name = \"bench\"
key_file = \"KEY_FILE\"
scopes = [\"osint\"]
[cors.web]
origins = [\"https://*.example.com\", \"https://app.example.org\"]
expose = [\"x-request-id\", \"ratelimit\"]
credentials = true
[rate_limit.per-client]
requests = 1000000
per = \"1s\"
[rate_limit.per-key]
requests = 1000000
per = \"1s\"
by = \"key\"
[ip.all]
allow = [\"127.0.0.0/8\", \"10.0.0.0/8\"]
deny = [\"192.0.2.0/24\"]
";

#[derive(Clone, Debug, Serialize)]
struct Round {
    route: &'static str,
    number: u32,
    requests: u64,
    cpu_us: f64,
    load_average: String,
}

pub(super) async fn run(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    let upstream = nginx::constant(BODY).await?;
    let folder = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
    let path = folder.path().join("gateway.toml");
    let routes = ROUTES.map(|(name, policies)| {
        format!(
            "[[route]]\nname = \"{name}\"\nprefix = \"/{name}\"\nservice = \"osint_service\"\n{policies}\n"
        )
    });
    let service =
        format!("[[service]]\nname = \"osint_service\"\nfallback = [\"http://{}\"]\n", upstream.address);
    let key = folder.path().join("key");
    std::fs::write(&key, SECRET).map_err(|error| format!("{}: {error}", key.display()))?;
    let defined = DEFINED.replace("KEY_FILE", &key.display().to_string());
    std::fs::write(&path, format!("{defined}{service}{}", routes.concat()))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let gateway = programs.start_gateway(None, Some(&path)).await?;
    for (route, _) in ROUTES {
        until("the gateway answers as the service does", async || {
            let mut connection = Connection::open(gateway.address).await?;
            let answer = connection.ask(request(route).as_bytes()).await?;
            Ok(answer.status == 200 && answer.body == BODY.as_bytes())
        })
        .await?;
    }
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        for (route, _) in ROUTES {
            let round = measure(&gateway, route, number, options).await?;
            println!(
                "round {number}/{}  {route:8} {:6.2} us/request ({} requests, load average {})",
                options.rounds, round.cpu_us, round.requests, round.load_average
            );
            rounds.push(round);
        }
    }
    let figures: Vec<Figure> = ROUTES.iter().skip(1).filter_map(|(route, _)| ratio(&rounds, route)).collect();
    Ok(Outcome {
        title: String::new(),
        troubled: figures.is_empty(),
        figures,
        table: Table::default(),
        notes: vec![format!(
            "Cost: {} interleaved rounds of {} s per route, {} connections, {} bytes, the same request with `Origin` and `X-API-Key` on every route; \
             `all` is an API key with a scope, CORS, a limit by address and one by key, and an address list; metrics are always on.",
            options.rounds,
            options.seconds,
            options.connections,
            BODY.len()
        )],
        data: json!({ "rounds": rounds }),
    })
}

fn request(route: &str) -> String {
    format!(
        "GET /{route}/api/items?limit=2 HTTP/1.1\r\nhost: bench\r\nuser-agent: vertice-bench\r\naccept: */*\r\n\
         origin: https://app.example.com\r\nx-api-key: {SECRET}\r\n\r\n"
    )
}

async fn measure(
    gateway: &Gateway,
    route: &'static str,
    number: u32,
    options: &Options,
) -> Result<Round, String> {
    let load_average = load_average();
    let pid = gateway.child.id()?;
    let request = request(route);
    let load = Load::start(gateway.address, None, request.as_bytes(), BODY.as_bytes(), options.connections);
    sleep(WARM_UP).await;
    let (done, cpu) = (load.done(), CpuTime::of_tree(pid)?);
    sleep(Duration::from_secs(options.seconds.into())).await;
    let (done, cpu) = (load.done() - done, CpuTime::of_tree(pid)?.since(cpu));
    load.stop()?;
    let cpu_us =
        (cpu.user_s + cpu.system_s) * 1e6 / f64::from(u32::try_from(done.max(1)).unwrap_or(u32::MAX));
    Ok(Round { route, number, requests: done, cpu_us, load_average })
}

/// `route`'s over the plain one's: of the medians, and round by round.
fn ratio(rounds: &[Round], route: &str) -> Option<Figure> {
    let of = |name: &str| -> Vec<&Round> { rounds.iter().filter(|round| round.route == name).collect() };
    let (with, without) = (of(route), of("plain"));
    let median = |side: &[&Round]| Some(Sorted::of(side.iter().map(|round| round.cpu_us))?.median());
    let (dear, cheap) = (median(&with)?, median(&without)?);
    let pairs = with.iter().filter_map(|one| {
        let other = without.iter().find(|other| other.number == one.number)?;
        Some(one.cpu_us / other.cpu_us)
    });
    let pairs = Sorted::of(pairs)?;
    let ratio = dear / cheap;
    let value =
        format!("{ratio:.2} (rounds {:.2} to {:.2}; {dear:.2} / {cheap:.2} us)", pairs.min(), pairs.max());
    let what = format!("CPU per request, {route} / plain");
    Some(if route == "all" {
        Figure::with_goal(what, value, &format!("<= {GOAL}"), ratio <= GOAL)
    } else {
        Figure::plain(what, value)
    })
}
