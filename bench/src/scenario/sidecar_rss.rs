//! Memory of a sidecar at work: beside a healthy service, registered, after two heartbeats.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::child::Child;
use crate::connection::Connection;
use crate::programs::{Programs, until};
use crate::report::{Figure, Outcome, Table};
use crate::stub::Stub;
use crate::usage::Memory;

const GOAL_MB: f64 = 10.0;

/// Heartbeats before it is looked at.
const BEATS: u64 = 2;

/// Sidecars that are looked at, one after the other.
const SIDECARS: u32 = 3;

/// Measures.
pub(crate) async fn run(programs: &Programs) -> Result<Outcome, String> {
    let stub = Stub::start("healthy").await?;
    let mut looks = Vec::new();
    for n in 1..=SIDECARS {
        let registry = programs.start_registry().await?;
        let port = stub.address.port().to_string();
        let url = format!("http://{}", registry.address);
        let environment = [
            ("SERVICE_NAME", "osint_service"),
            ("SERVICE_HOST", "127.0.0.1"),
            ("SERVICE_PORT", &port),
            ("REGISTRY_URL", &url),
            // The shortest that it takes; the work of a beat is the same.
            ("HEARTBEAT_INTERVAL", "1"),
        ];
        let child = Child::start(&programs.sidecar(), &[""; 0], &environment)?;
        until("the sidecar has sent two heartbeats", async || Ok(renewals(registry.address).await? >= BEATS))
            .await
            .map_err(|error| format!("{error}\n{}", child.text()))?;
        // The last beat's answer is read after it is counted.
        sleep(Duration::from_millis(200)).await;
        let memory = Memory::of_tree(child.id()?)?;
        println!("sidecar {n}: RSS {} KiB, PSS {} KiB", memory.rss_kib, memory.pss_kib);
        looks.push(memory);
        child.stop(Duration::from_secs(10)).await?;
    }
    let size = |name: &str| -> Result<u64, String> {
        let path = programs.sidecar().with_file_name(name);
        let meta = fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(meta.len())
    };
    let rss_kib = looks.iter().map(|memory| memory.rss_kib).max().ok_or("nothing was looked at")?;
    let pss_kib = looks.iter().map(|memory| memory.pss_kib).max().ok_or("nothing was looked at")?;
    let rss_mb = megabytes(rss_kib * 1024);
    let programs = ["vertice-gateway", "vertice-registry", "vertice-sidecar"];
    let sizes: Vec<(&str, u64)> =
        programs.iter().map(|name| Ok((*name, size(name)?))).collect::<Result<_, String>>()?;
    Ok(Outcome {
        title: "Memory of a sidecar".into(),
        figures: vec![
            Figure::with_goal(
                format!("RSS of a sidecar after {BEATS} heartbeats, highest of {SIDECARS}"),
                format!("{rss_mb:.2} MB ({rss_kib} KiB)"),
                &format!("<= {GOAL_MB} MB"),
                rss_mb <= GOAL_MB,
            ),
            Figure::plain("the same, PSS", format!("{:.2} MB ({pss_kib} KiB)", megabytes(pss_kib * 1024))),
        ],
        table: Table {
            columns: vec!["program", "size of its file, MB"],
            rows: sizes.iter().map(|(name, bytes)| vec![(*name).into(), format!("{:.2}", megabytes(*bytes))]).collect(),
        },
        notes: vec![
            "One healthy service, a registry without TLS, heartbeats every second. RSS and PSS as in `/proc/PID/status` \
             and `smaps_rollup`; MB are 10^6 bytes."
                .into(),
        ],
        troubled: false,
        data: json!({
            "rss_kib": looks.iter().map(|m| m.rss_kib).collect::<Vec<_>>(),
            "pss_kib": looks.iter().map(|m| m.pss_kib).collect::<Vec<_>>(),
            "file_bytes": sizes.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        }),
    })
}

/// Leases that heartbeats have renewed at the registry, by its own count.
async fn renewals(registry: SocketAddr) -> Result<u64, String> {
    let mut connection = Connection::open(registry).await?;
    let answer = connection.get("/metrics").await?;
    let text = String::from_utf8_lossy(answer.body).into_owned();
    let count =
        text.lines().find_map(|line| line.strip_prefix("vertice_registry_renewals_total ")?.parse().ok());
    count.ok_or_else(|| "the registry counts no renewals".into())
}

/// Sizes are far below 2^52 bytes, where this would start to round.
fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1000.0
}
