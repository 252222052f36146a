//! Clients that hold on to connections and do next to nothing, and floods over HTTP/2: what others notice of them, and what
//! they cost.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::files;
use crate::floods::{ATTACKERS, Flood};
use crate::lingering::{Manner, linger};
use crate::machine::load_average;
use crate::paced::Paced;
use crate::programs::{ANY, Gateway, Programs, until};
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

/// A deadline is kept if the cut comes no earlier than a tick of the gateway's clock before it, and no later than this after it:
/// two ticks of 50 ms (a deadline is rounded up, and so is the look at it), and the load generator, which has eleven thousand
/// connections to look after on one thread.
const LATE_S: f64 = 0.3;
const EARLY_S: f64 = 0.05;

/// How long one look at the other clients takes: beside the crowd and without it, and in each round of a flood.
const LOOK: Duration = Duration::from_secs(10);
const SHORT_LOOK: Duration = Duration::from_secs(5);
const ROUNDS: u32 = 3;

/// New idle connections per second while the crowd comes. The slow ones come over the time after which they are cut, so that
/// they are cut, and come again, at a steady pace.
const PACE: u32 = 1000;

/// For what was just opened, or just left, to come to rest.
const SETTLE: Duration = Duration::from_secs(3);

/// Descriptors besides the crowd's, here and in the gateway, which has one more for each slow body.
const SPARE_FILES: u64 = 2000;

/// Connections that may wait to be accepted by the slow service.
const QUEUE: u32 = 4096;

const GOAL_RATIO: f64 = 1.1;

/// What other clients and the gateway showed during one or more looks.
#[derive(Debug, Default)]
struct Look {
    what: String,
    milliseconds: Vec<f64>,
    /// Of each look.
    p99s: Vec<f64>,
    failed: u64,
    failures: Vec<String>,
    seconds: f64,
    cpu_s: f64,
    /// At the end of the first.
    first_rss_kib: u64,
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

    let mut opening = Look::named("the crowd comes");
    let mut pair = (Look::named("quiet"), Look::named("10 000 idle, 500 slow heads, 500 slow bodies"));
    let mut kept = Vec::new();
    for round in 1..=ROUNDS {
        look(&gateway, &mut pair.0, LOOK).await?;
        let mut crowd = Crowd::come(gateway.address);
        look(&gateway, &mut opening, Crowd::comes_within()).await?;
        sleep(SETTLE).await;
        look(&gateway, &mut pair.1, LOOK).await?;
        println!("round {round} of {ROUNDS}: the others were asked without and with the crowd");
        if round == ROUNDS {
            println!("now until all of the crowd are cut");
            crowd.wait_until_cut().await?;
        }
        kept.extend(crowd.leave());
        sleep(SETTLE).await;
    }
    let mut after = Look::named("after the crowd");
    look(&gateway, &mut after, SHORT_LOOK).await?;
    let cuts = cuts(&kept)?;
    let mut pairs = vec![pair];
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
    outcome(&pairs, [&opening, &after], &cuts, &before)
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
        let socket = TcpSocket::new_v4()?;
        socket.bind(ANY)?;
        // With the usual queue of 128, slow bodies that come together lose SYNs here, and their second before the next SYN would
        // be taken for the gateway's.
        let listener = socket.listen(QUEUE)?;
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

    fn row(&self, sorted: &Sorted) -> Vec<String> {
        let mut row = vec![self.what.clone()];
        row.extend([sorted.median(), sorted.percentile(99), sorted.max()].map(|ms| format!("{ms:.2}")));
        row.extend([
            self.milliseconds.len().to_string(),
            self.failed.to_string(),
            format!("{:.1} %", self.cpu_percent()),
            format!("{:.1}", mib(self.rss_kib)),
            self.cut.to_string(),
            format!("{:.1}", f64::from(u32::try_from(self.bytes / 1024).unwrap_or(u32::MAX)) / 1024.0),
        ]);
        row
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
    if seen.p99s.is_empty() {
        seen.first_rss_kib = seen.rss_kib;
    }
    seen.failed += counted.failed;
    seen.failures.extend(counted.failures);
    seen.p99s.extend(Sorted::of(counted.milliseconds.iter().copied()).map(|sorted| sorted.percentile(99)));
    seen.milliseconds.extend(counted.milliseconds);
    Ok(())
}

/// How long each was kept, or why it was none.
type Kept = Rc<RefCell<Vec<(Manner, Result<f64, String>)>>>;

/// All of [`CROWD`]. Who is cut comes again, except for the idle ones.
struct Crowd {
    clients: JoinSet<()>,
    stopping: watch::Sender<bool>,
    kept: Kept,
}

impl Crowd {
    fn come(address: SocketAddr) -> Self {
        let (stopping, stopped) = watch::channel(false);
        let (mut clients, kept) = (JoinSet::new(), Kept::default());
        for (manner, count, deadline_s) in CROWD {
            let over = match manner {
                Manner::Idle => Self::comes_within(),
                Manner::SlowHead | Manner::StalledBody | Manner::TrickledBody => {
                    Duration::from_secs_f64(deadline_s)
                }
            };
            for number in 0..count {
                let (stopped, kept) = (stopped.clone(), kept.clone());
                clients.spawn_local(async move {
                    sleep(over * number / count).await;
                    loop {
                        let one = linger(address, manner, (ASKED, SLOW)).await;
                        kept.borrow_mut().push((manner, one));
                        if manner == Manner::Idle || *stopped.borrow() {
                            return;
                        }
                    }
                });
            }
        }
        Self { clients, stopping, kept }
    }

    fn comes_within() -> Duration {
        let idle: u32 = CROWD.iter().filter(|(m, ..)| *m == Manner::Idle).map(|(_, count, _)| count).sum();
        Duration::from_secs(1) * idle / PACE
    }

    /// Nobody comes again; ends when the last one is cut.
    async fn wait_until_cut(&mut self) -> Result<(), String> {
        self.stopping.send_replace(true);
        let all = async { while self.clients.join_next().await.is_some() {} };
        timeout(Duration::from_secs(90), all)
            .await
            .map_err(|_| "not all of the crowd are cut after 90 s".to_owned())
    }

    /// All leave; how those were kept that had been cut.
    fn leave(mut self) -> Vec<(Manner, Result<f64, String>)> {
        self.clients.abort_all();
        self.kept.take()
    }
}

fn cuts(kept: &[(Manner, Result<f64, String>)]) -> Result<Vec<Cut>, String> {
    let cut = |&(manner, _, deadline_s): &(Manner, u32, f64)| {
        let of_it = || kept.iter().filter(|(of, _)| *of == manner).map(|(_, one)| one);
        let seconds: Vec<f64> = of_it().filter_map(|one| one.as_ref().ok().copied()).collect();
        let in_time = |s: &&f64| (-EARLY_S..=LATE_S).contains(&(**s - deadline_s));
        Ok(Cut {
            manner,
            count: of_it().count(),
            kept_to_deadline: seconds.iter().filter(in_time).count(),
            kept: Sorted::of(seconds).ok_or_else(|| format!("{manner:?}: none was cut"))?,
            failures: of_it().filter_map(|one| one.as_ref().err().cloned()).take(3).collect(),
        })
    };
    CROWD.iter().map(cut).collect()
}

fn outcome(
    pairs: &[(Look, Look)],
    beside: [&Look; 2],
    cuts: &[Cut],
    before: &str,
) -> Result<Outcome, String> {
    let mut figures = Vec::new();
    let mut rows = Vec::new();
    for cut in cuts {
        let all = cut.kept_to_deadline == cut.count;
        let value = format!("{} of {}", cut.kept_to_deadline, cut.count);
        figures.push(Figure::with_goal(format!("cut at the deadline: {:?}", cut.manner), value, "all", all));
    }
    let base_kib = pairs.first().map_or(0, |(quiet, _)| quiet.first_rss_kib);
    for (quiet, troubled) in pairs {
        let (base, with) = (quiet.sorted()?, troubled.sorted()?);
        let ratio = with.percentile(99) / base.percentile(99);
        let ratios: Vec<f64> =
            quiet.p99s.iter().zip(&troubled.p99s).map(|(quiet, with)| with / quiet).collect();
        let range =
            Sorted::of(ratios).map_or_else(String::new, |r| format!(" ({:.2} to {:.2})", r.min(), r.max()));
        figures.push(Figure::with_goal(
            format!("{}: p99 of other clients against the quiet run", troubled.what),
            format!("{ratio:.2}{range}"),
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
        rows.push(quiet.row(&base));
        rows.push(troubled.row(&with));
    }
    for look in beside {
        rows.push(look.row(&look.sorted()?));
    }
    if let (Some((_, crowded)), [_, after]) = (pairs.first(), beside) {
        let per = |look: &Look| (mib(look.rss_kib) - mib(base_kib)) * 1024.0 / 11_000.0;
        let value = format!("{:.1} KiB with the crowd, {:.1} KiB after it", per(crowded), per(after));
        figures.push(Figure::plain("RSS against the first quiet run, per connection of the crowd", value));
    }
    let looks = || pairs.iter().flat_map(|(quiet, with)| [quiet, with]).chain(beside);
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
             due; {} s without and {} s with the crowd, {ROUNDS} times in turn, ranges over these. The crowd comes at {PACE} \
             connections per second, which is measured by itself; the slow ones are cut and come again all the time. A cut is \
             at its deadline if it comes at most {LATE_S} s later: two ticks of the gateway's clock, and what the load \
             generator needs. Floods: {ATTACKERS} connections at once, each with a burst every 5 ms and again 100 ms after it is cut; quiet \
             and flooded {} s each, {ROUNDS} times in turn. All share the machine.",
            LOOK.as_secs(),
            LOOK.as_secs(),
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
