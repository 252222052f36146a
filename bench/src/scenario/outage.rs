//! Requests through a gateway while its registry fails in every way that we know: not one of them may fail.
//!
//! Each way is a case: a registry, a gateway and three services with sidecars, all of its own. All cases run at the same
//! time, so that a long outage takes as long as it takes and not nine times that. The fault begins after the first tenth of the
//! requests, and the rate is such that they are still coming after it.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::child::Child;
use crate::cli::Options;
use crate::machine::load_average;
use crate::paced::{Counted, Paced};
use crate::programs::{ANY, Gateway, Programs, Registry, until};
use crate::report::{Figure, Outcome, Table};
use crate::sick::{Manner, Sick, Speaks};
use crate::stub::Stub;

/// By service and instance: a pair, and one that has nobody to stand in for it.
const CAST: [(&str, &str); 3] =
    [("pair_service", "pair-1"), ("pair_service", "pair-2"), ("lone_service", "lone-1")];
const SERVICES: [&str; 2] = ["pair_service", "lone_service"];

/// Of the requests, before the fault and after it: a tenth each.
const AROUND: u32 = 10;

/// For the gateway to be in step with its registry again: a polled one that did not answer is asked again after 30 s.
const RECOVERY: Duration = Duration::from_mins(1);

/// A way to fail.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Killed; after the time a new one that knows nothing.
    Down,
    /// Killed and started at once: with its state directory, or knowing nothing.
    Restart { warm: bool },
    /// SIGSTOP: the kernel accepts connections, and nobody answers.
    BlackHole,
    /// Answers, but how.
    Sick(Speaks, Manner),
}

const CASES: [(&str, Fault); 9] = [
    ("down", Fault::Down),
    ("restarted empty", Fault::Restart { warm: false }),
    ("restarted warm", Fault::Restart { warm: true }),
    ("black-holed (SIGSTOP)", Fault::BlackHole),
    ("answers `[]` (polled)", Fault::Sick(Speaks::OldCalls, Manner::Empty)),
    ("an empty snapshot (watched)", Fault::Sick(Speaks::Everything, Manner::Empty)),
    ("500 for one name of two (polled)", Fault::Sick(Speaks::OldCalls, Manner::Fails("lone_service"))),
    ("truncated answers (polled)", Fault::Sick(Speaks::OldCalls, Manner::Truncated)),
    ("truncated answers (watched)", Fault::Sick(Speaks::Everything, Manner::Truncated)),
];

/// What came of a case.
#[derive(Debug)]
struct Seen {
    counted: Counted,
    /// Requests while the fault lasted.
    during: u64,
    /// What the gateway said of its registry at the end of it.
    said: Value,
    /// Answers that were spoilt on the way to it; `None`: it is the registry itself that failed.
    spoilt: Option<u64>,
    /// Until it was in step again.
    back: Duration,
}

/// Measures.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    let (requests, down) = (options.requests, Duration::from_secs(options.down_seconds.into()));
    let before = load_average();
    let mut cases = JoinSet::new();
    for (number, (name, fault)) in CASES.into_iter().enumerate() {
        let programs = programs.clone();
        cases.spawn_local(async move {
            let seen = case(&programs, name, fault, requests, down).await;
            (number, seen.map_err(|error| format!("{name}: {error}")))
        });
    }
    let mut seen = cases.join_all().await;
    seen.sort_by_key(|(number, _)| *number);
    let seen = seen.into_iter().map(|(_, seen)| seen).collect::<Result<Vec<_>, String>>()?;
    Ok(outcome(&seen, requests, down, &before))
}

/// The registry as its gateway sees it.
struct Stage {
    registry: Option<Registry>,
    /// Where the registry listens, whether it runs or not.
    address: SocketAddr,
    /// `--state-dir`, if it has one.
    arguments: Vec<String>,
    sick: Option<Sick>,
    _folder: tempfile::TempDir,
}

async fn case(
    programs: &Programs,
    name: &str,
    fault: Fault,
    requests: u32,
    down: Duration,
) -> Result<Seen, String> {
    let (mut stage, gateway, _services) = build(programs, fault).await?;
    let rate = f64::from(requests) / down.as_secs_f64() * (1.0 - 2.0 / f64::from(AROUND));
    let load = Paced::start(gateway.address, &SERVICES, rate);
    let asked = async |count: u64| {
        let deadline = Instant::now() + down * 4 + RECOVERY;
        while load.asked() < count {
            if Instant::now() > deadline {
                return Err(format!("only {} of {count} requests", load.asked()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    let tenth = u64::from(requests / AROUND);
    asked(tenth).await?;
    stage.fall(programs, fault).await?;
    let (fallen, asked_before) = (Instant::now(), load.asked());
    println!("{name}: begins, after {asked_before} requests");
    sleep(down).await;
    // However slow the load: the fault outlasts nearly all of it.
    asked(asked_before + u64::from(requests) - 2 * tenth).await?;
    let said = gateway.registry_status().await?;
    let during = load.asked() - asked_before;
    let spoilt = stage.sick.as_ref().map(Sick::spoilt);
    if spoilt == Some(0) {
        return Err("the gateway asked for nothing while the registry was sick".into());
    }
    println!("{name}: ends after {:.0} s and {during} requests", fallen.elapsed().as_secs_f64());
    stage.rise(programs, fault).await?;
    let back = in_step(&gateway).await?;
    asked(requests.into()).await?;
    Ok(Seen { counted: load.stop().await, during, said, spoilt, back })
}

/// Everything that a case needs, running and routed.
async fn build(programs: &Programs, fault: Fault) -> Result<(Stage, Gateway, Vec<(Stub, Child)>), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for the state: {error}"))?;
    let kept = folder.path().display().to_string();
    let arguments = match fault {
        Fault::Restart { warm: true } => vec!["--state-dir".to_owned(), kept],
        Fault::Down | Fault::Restart { warm: false } | Fault::BlackHole | Fault::Sick(..) => Vec::new(),
    };
    let mut stage = Stage { registry: None, address: ANY, arguments, sick: None, _folder: folder };
    stage.start(programs).await?;
    if let Fault::Sick(speaks, _) = fault {
        stage.sick = Some(Sick::start(stage.address, speaks).await?);
    }
    let mut services = Vec::new();
    for (service, instance) in CAST {
        let stub = Stub::start(service).await?;
        let sidecar = programs.start_sidecar((service, instance), stub.address, stage.address)?;
        services.push((stub, sidecar));
    }
    let source = stage.sick.as_ref().map_or(stage.address, |sick| sick.address);
    let gateway = programs.start_gateway(Some(source), None).await?;
    until("all instances are in the table", async || {
        let mut connection = crate::connection::Connection::open(gateway.admin).await?;
        let text = String::from_utf8_lossy(connection.get("/services").await?.body).into_owned();
        Ok(CAST.iter().all(|(_, instance)| text.contains(&format!("\"{instance}\""))))
    })
    .await?;
    Ok((stage, gateway, services))
}

impl Stage {
    async fn start(&mut self, programs: &Programs) -> Result<(), String> {
        let more: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let registry = programs.start_registry_at(self.address, &more).await?;
        self.address = registry.address;
        self.registry = Some(registry);
        Ok(())
    }

    async fn kill(&mut self) -> Result<(), String> {
        match self.registry.take() {
            Some(registry) => registry.child.kill().await,
            None => Ok(()),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        self.registry.as_ref().map_or(Ok(()), |registry| registry.child.signal(signal))
    }

    async fn fall(&mut self, programs: &Programs, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Down => self.kill().await,
            Fault::Restart { .. } => {
                self.kill().await?;
                self.start(programs).await
            }
            Fault::BlackHole => self.signal(Signal::STOP),
            Fault::Sick(_, manner) => {
                self.behave(manner);
                Ok(())
            }
        }
    }

    async fn rise(&mut self, programs: &Programs, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Down => self.start(programs).await,
            Fault::Restart { .. } => Ok(()),
            Fault::BlackHole => self.signal(Signal::CONT),
            Fault::Sick(..) => {
                self.behave(Manner::Well);
                Ok(())
            }
        }
    }

    fn behave(&self, manner: Manner) {
        if let Some(sick) = &self.sick {
            sick.behave(manner);
        }
    }
}

/// How long until the gateway reaches its registry and holds nothing any more.
async fn in_step(gateway: &Gateway) -> Result<Duration, String> {
    let begun = Instant::now();
    loop {
        let said = gateway.registry_status().await?;
        if said.get("reachable") == Some(&Value::Bool(true)) && said.get("held") == Some(&json!(0)) {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > RECOVERY {
            return Err(format!("not in step {RECOVERY:?} after the fault: {said}"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn outcome(seen: &[Seen], requests: u32, down: Duration, before: &str) -> Outcome {
    let failed: u64 = seen.iter().map(|case| case.counted.failed).sum();
    let figures = CASES.iter().zip(seen).map(|((name, _), case)| {
        let Counted { answered, failed, .. } = &case.counted;
        let what = format!("registry {name}: requests that failed, of {}", answered + failed);
        Figure::with_goal(what, failed.to_string(), "0", *failed == 0)
    });
    let rows = CASES.iter().zip(seen).map(|((name, _), case)| row(name, case));
    let mut notes = vec![
        format!(
            "{} cases at the same time, each with a registry, a gateway and three instances of two services with sidecars \
             (a beat every 2 s) of its own; {requests} requests each at least. The fault lasts {} s (`--down-seconds`), and longer if \
             the load is slower than planned. A gateway that polls reads each name every half minute: below that it may see nothing.",
            CASES.len(),
            down.as_secs()
        ),
        format!("Load average before and after: {before}; {}.", load_average()),
    ];
    notes.extend(seen.iter().flat_map(|case| case.counted.failures.iter().cloned()));
    let data = CASES.iter().zip(seen).map(|((name, _), case)| {
        json!({
            "case": name,
            "answered": case.counted.answered,
            "failed": case.counted.failed,
            "during": case.during,
            "spoilt": case.spoilt,
            "said": case.said,
            "in_step_after_s": case.back.as_secs_f64(),
        })
    });
    Outcome {
        title: "Requests while the registry fails".into(),
        figures: figures.collect(),
        table: Table {
            columns: vec![
                "registry",
                "answered",
                "failed",
                "during the fault",
                "bad answers",
                "age at its end",
                "held",
                "what the gateway says at its end",
                "in step again after",
            ],
            rows: rows.collect(),
        },
        notes,
        troubled: failed > 0,
        data: Value::Array(data.collect()),
    }
}

fn row(name: &str, case: &Seen) -> Vec<String> {
    let said = |key: &str| case.said.get(key).cloned().unwrap_or_default();
    vec![
        name.to_owned(),
        case.counted.answered.to_string(),
        case.counted.failed.to_string(),
        case.during.to_string(),
        case.spoilt.map_or_else(|| "-".into(), |spoilt| spoilt.to_string()),
        said("age_seconds").as_f64().map_or_else(|| "-".into(), |age| format!("{age:.1} s")),
        said("held").to_string(),
        match (said("reachable").as_bool(), said("last_error").as_str()) {
            (Some(true), _) => "reachable".to_owned(),
            (_, error) => format!("not reachable: {}", error.unwrap_or("-")),
        },
        format!("{:.1} s", case.back.as_secs_f64()),
    ]
}
