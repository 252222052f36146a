//! Clients that hold on to connections and do next to nothing, and floods over HTTP/2: what others notice of them, and what
//! they cost.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::files;
use crate::floods::{ATTACKERS, Flood};
use crate::lingering::{Manner, linger};
use crate::machine::load_average;
use crate::paced::Paced;
use crate::programs::{Gateway, Programs, until};
use crate::report::{Figure, Outcome, Table};
use crate::stats::Sorted;
use crate::stub::Stub;
use crate::usage::{CpuTime, Memory};

const ASKED: &str = "asked_service";
const SLOW: &str = "slow_service";

/// Requests per second of the other clients: far from what the machine can do, so that a wait is somebody's fault.
const RATE: f64 = 500.0;

/// How many of each, and the seconds after which each has to be cut.
const CROWD: [(Manner, u32, f64); 4] = [
    (Manner::Idle, 10_000, 45.0),
    (Manner::SlowHead, 500, 3.0),
    (Manner::StalledBody, 250, 3.0),
    (Manner::TrickledBody, 250, 6.0),
];

/// The same deadlines as the gateway is told them. What trickles ends with `total`, before the grace of the minimum rate is over.
const CONFIG: &str = "[timeouts]\nidle = \"3s\"\nfirst_byte = \"3s\"\ntotal = \"6s\"\n\
    [limits]\nhead_timeout = \"3s\"\nkeep_alive = \"45s\"\n[health]\nactive = false\n";

/// A deadline is kept if the cut comes within this time of it; the gateway's clock ticks every 50 ms, and the load generator
/// has eleven thousand connections to look after.
const TOLERANCE_S: f64 = 1.0;

/// How long one look at the other clients takes: beside the crowd, and in each round of a flood.
const LOOK: Duration = Duration::from_secs(20);
const SHORT_LOOK: Duration = Duration::from_secs(5);
const ROUNDS: u32 = 3;

/// New connections between two breaths: the queue of those that wait to be accepted is not endless.
const AT_ONCE: u32 = 100;

/// Descriptors besides the crowd's, here and in the gateway, which has one more for each slow body.
const SPARE_FILES: u64 = 2000;

const GOAL_RATIO: f64 = 1.1;

/// What other clients and the gateway showed during one or more looks.
#[derive(Debug, Default)]
struct Look {
    what: String,
    milliseconds: Vec<f64>,
    failed: u64,
    failures: Vec<String>,
    seconds: f64,
    cpu_s: f64,
    /// At the end of the last.
    rss_kib: u64,
    /// Of the attackers, if there were any.
    cut: u64,
    bytes: u64,
}

/// How one kind of client was cut.
#[derive(Debug)]
struct Cut {
    manner: Manner,
    count: usize,
    kept_to_deadline: usize,
    kept: Sorted,
    failures: Vec<String>,
}

/// Measures.
pub(crate) async fn run(programs: &Programs) -> Result<Outcome, String> {
    files::raise_limit(CROWD.iter().map(|(_, count, _)| u64::from(*count)).sum::<u64>() + SPARE_FILES)?;
    let before = load_average();
    let stub = Stub::start(ASKED).await?;
    let (swallows, _swallowing) = swallow().await?;
    let folder = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
    let config = folder.path().join("gateway.toml");
    write_config(&config, stub.address, swallows)?;
    let gateway = programs.start_gateway(None, Some(&config)).await?;
    let target = format!("/v2/{ASKED}/ask");
    until("the service is routed", async || {
        Ok(crate::connection::Connection::open(gateway.address).await?.get(&target).await?.status == 200)
    })
    .await?;

    let mut quiet = Look::named("quiet");
    look(&gateway, &mut quiet, LOOK).await?;
    let (crowded, cuts) = crowd(&gateway).await?;
    let mut pairs = vec![(quiet, crowded)];
    for flood in Flood::ALL {
        let mut pair = (Look::named("quiet"), Look::named(flood.name()));
        for _ in 0..ROUNDS {
            look(&gateway, &mut pair.0, SHORT_LOOK).await?;
            let attack = flood.start(gateway.address, &target);
            look(&gateway, &mut pair.1, SHORT_LOOK).await?;
            let tally = attack.stop();
            pair.1.cut += tally.cut.get();
            pair.1.bytes += tally.bytes.get();
        }
        println!("{}: {} connections cut", flood.name(), pair.1.cut);
        pairs.push(pair);
    }
    outcome(&pairs, &cuts, &before)
}

fn write_config(path: &Path, asked: SocketAddr, slow: SocketAddr) -> Result<(), String> {
    let services = format!(
        "[[service]]\nname = \"{ASKED}\"\nfallback = [\"http://{asked}\"]\n\
         [[service]]\nname = \"{SLOW}\"\nfallback = [\"http://{slow}\"]\n"
    );
    std::fs::write(path, format!("{CONFIG}{services}"))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// A service that reads whatever comes and says nothing.
async fn swallow() -> Result<(SocketAddr, JoinSet<()>), String> {
    let listen = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok((listener.local_addr()?, listener))
    };
    let (address, listener) = listen.await.map_err(|error: std::io::Error| format!("a service: {error}"))?;
    let mut accepting = JoinSet::new();
    accepting.spawn_local(async move {
        loop {
            if let Ok((mut stream, _)) = listener.accept().await {
                tokio::task::spawn_local(async move {
                    let mut sink = [0; 1024];
                    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
                });
            }
        }
    });
    Ok((address, accepting))
}

impl Look {
    fn named(what: &str) -> Self {
        Self { what: what.to_owned(), ..Self::default() }
    }

    fn sorted(&self) -> Result<Sorted, String> {
        Sorted::of(self.milliseconds.iter().copied())
            .ok_or_else(|| format!("{}: nothing was asked", self.what))
    }

    /// Of one core.
    fn cpu_percent(&self) -> f64 {
        self.cpu_s / self.seconds * 100.0
    }
}

/// Adds what the other clients get within `time` to `seen`.
async fn look(gateway: &Gateway, seen: &mut Look, time: Duration) -> Result<(), String> {
    let pid = gateway.child.id()?;
    let used = CpuTime::of_tree(pid)?;
    let paced = Paced::start(gateway.address, &[ASKED], RATE);
    sleep(time).await;
    let counted = paced.stop().await;
    let cpu = CpuTime::of_tree(pid)?.since(used);
    seen.cpu_s += cpu.user_s + cpu.system_s;
    seen.seconds += time.as_secs_f64();
    seen.rss_kib = Memory::of_tree(pid)?.rss_kib;
    seen.failed += counted.failed;
    seen.failures.extend(counted.failures);
    seen.milliseconds.extend(counted.milliseconds);
    Ok(())
}

/// All of [`CROWD`], a look at the others meanwhile, and how each of the crowd was cut. Those that are cut while the look lasts
/// come again.
async fn crowd(gateway: &Gateway) -> Result<(Look, Vec<Cut>), String> {
    let address = gateway.address;
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let mut clients = JoinSet::new();
    for (manner, count, _) in CROWD {
        for number in 1..=count {
            let stopped = stopped.clone();
            clients.spawn_local(async move {
                let mut kept = vec![linger(address, manner, (ASKED, SLOW)).await];
                while manner != Manner::Idle && !*stopped.borrow() {
                    kept.push(linger(address, manner, (ASKED, SLOW)).await);
                }
                (manner, kept)
            });
            if number % AT_ONCE == 0 {
                sleep(Duration::from_millis(30)).await;
            }
        }
    }
    println!("the crowd is there");
    let mut seen = Look::named("10 000 idle, 500 slow heads, 500 slow bodies");
    look(gateway, &mut seen, LOOK).await?;
    println!("the others were asked; now until all of the crowd are cut");
    stopping.send_replace(true);
    let mut kept: Vec<(Manner, Result<f64, String>)> = Vec::new();
    let all = async {
        while let Some(joined) = clients.join_next().await {
            if let Ok((manner, each)) = joined {
                kept.extend(each.into_iter().map(|one| (manner, one)));
            }
        }
    };
    timeout(Duration::from_secs(90), all).await.map_err(|_| "not all of the crowd are cut after 90 s")?;
    let cuts = CROWD.iter().map(|(manner, _, deadline_s)| {
        let of_it = || kept.iter().filter(|(of, _)| of == manner).map(|(_, one)| one);
        let seconds: Vec<f64> = of_it().filter_map(|one| one.as_ref().ok().copied()).collect();
        Ok(Cut {
            manner: *manner,
            count: of_it().count(),
            kept_to_deadline: seconds.iter().filter(|s| (*s - deadline_s).abs() <= TOLERANCE_S).count(),
            kept: Sorted::of(seconds).ok_or_else(|| format!("{manner:?}: none was cut"))?,
            failures: of_it().filter_map(|one| one.as_ref().err().cloned()).take(3).collect(),
        })
    });
    Ok((seen, cuts.collect::<Result<_, String>>()?))
}

fn outcome(pairs: &[(Look, Look)], cuts: &[Cut], before: &str) -> Result<Outcome, String> {
    let mut figures = Vec::new();
    let mut rows = Vec::new();
    for cut in cuts {
        let all = cut.kept_to_deadline == cut.count;
        let value = format!("{} of {}", cut.kept_to_deadline, cut.count);
        figures.push(Figure::with_goal(format!("cut at the deadline: {:?}", cut.manner), value, "all", all));
    }
    let base_kib = pairs.first().map_or(0, |(quiet, _)| quiet.rss_kib);
    for (quiet, troubled) in pairs {
        let (base, with) = (quiet.sorted()?, troubled.sorted()?);
        let ratio = with.percentile(99) / base.percentile(99);
        figures.push(Figure::with_goal(
            format!("{}: p99 of other clients against the quiet run", troubled.what),
            format!("{ratio:.2}"),
            &format!("<= {GOAL_RATIO}"),
            ratio <= GOAL_RATIO,
        ));
        figures.push(Figure::plain(
            format!("{}: RSS against the first quiet run", troubled.what),
            format!("{:+.1} MiB", (mib(troubled.rss_kib) - mib(base_kib))),
        ));
        figures.push(Figure::plain(
            format!("{}: CPU beyond the quiet run's, of one core", troubled.what),
            format!("{:.1} %", troubled.cpu_percent() - quiet.cpu_percent()),
        ));
        for (look, sorted) in [(quiet, base), (troubled, with)] {
            let ms = [sorted.median(), sorted.percentile(99), sorted.max()].map(|ms| format!("{ms:.2}"));
            let mut row = vec![look.what.clone()];
            row.extend(ms);
            row.extend([
                look.milliseconds.len().to_string(),
                look.failed.to_string(),
                format!("{:.1} %", look.cpu_percent()),
                format!("{:.1}", mib(look.rss_kib)),
                look.cut.to_string(),
                format!("{:.1}", f64::from(u32::try_from(look.bytes / 1024).unwrap_or(u32::MAX)) / 1024.0),
            ]);
            rows.push(row);
        }
    }
    let looks = || pairs.iter().flat_map(|(quiet, with)| [quiet, with]);
    let failed: u64 = looks().map(|look| look.failed).sum();
    figures.push(Figure::with_goal("failed requests of other clients", failed.to_string(), "0", failed == 0));
    Ok(Outcome {
        title: "Slow clients and floods".into(),
        figures,
        table: Table {
            columns: vec![
                "others' requests during",
                "p50 ms",
                "p99 ms",
                "max ms",
                "answered",
                "failed",
                "gateway's CPU",
                "RSS MiB",
                "attackers cut",
                "MiB they sent",
            ],
            rows,
        },
        notes: notes(cuts, before, looks().flat_map(|look| look.failures.iter().take(1))),
        troubled: failed > 0 || cuts.iter().any(|cut| cut.kept_to_deadline < cut.count),
        data: json!({
            "cut": cuts.iter().map(|cut| json!({
                "manner": format!("{:?}", cut.manner), "count": cut.count, "at_deadline": cut.kept_to_deadline,
                "min_s": cut.kept.min(), "p50_s": cut.kept.median(), "max_s": cut.kept.max(), "failures": cut.failures,
            })).collect::<Vec<_>>(),
            "looks": looks().map(|look| json!({
                "what": look.what, "failed": look.failed, "cpu_percent": look.cpu_percent(), "rss_kib": look.rss_kib,
                "attackers_cut": look.cut, "attack_bytes": look.bytes, "milliseconds": look.milliseconds,
            })).collect::<Vec<_>>(),
        }),
    })
}

fn notes<'a>(cuts: &[Cut], before: &str, failures: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Other clients: {RATE} requests per second on 16 kept connections, latency from the moment at which a request is \
             due. Floods: {ATTACKERS} connections at once, each with a burst every 5 ms and again 100 ms after it is cut; quiet \
             and flooded {} s each, {ROUNDS} times in turn. All share the machine.",
            SHORT_LOOK.as_secs()
        ),
        format!("Load average before and after: {before}; {}.", load_average()),
    ];
    notes.extend(cuts.iter().map(|cut| {
        let Cut { manner, kept, failures, .. } = cut;
        let failed = if failures.is_empty() { String::new() } else { format!("; {}", failures.join("; ")) };
        format!(
            "{manner:?}: cut after {:.2} s (min), {:.2} s (median), {:.2} s (max){failed}",
            kept.min(),
            kept.median(),
            kept.max()
        )
    }));
    notes.extend(failures.cloned());
    notes
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}
