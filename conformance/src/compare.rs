//! The page that shows our gateway, nginx and HAProxy side by side.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::case::{Level, Outcome, Verdict};
use crate::cli::Protocol;
use crate::deviations;
use crate::hardening::ROWS;
use crate::peers::{self, Peer};
use crate::report::{Sum, cell, suites};

/// What stands at the head of the page, and why its numbers can be trusted.
const HEAD: &str = "# Conformance\n\n\
<!-- Made by: cargo xtask conformance --compare -->\n\n\
Our gateway, nginx and HAProxy under the same cases: raw bytes in, and the bytes that the service and the client see out.\n\
The suite (`conformance/`) is client and service at once, so it sees what a gateway forwards, and whether the next client\n\
is clean after a service misbehaved.\n\n\
```\n\
cargo xtask conformance                        # our gateway, built and started for it\n\
cargo xtask conformance --haproxy --only path/ # a peer, some cases\n\
cargo xtask conformance --target 10.0.0.7:80 --upstream 10.0.0.9:9000   # any gateway that forwards to --upstream\n\
cargo xtask conformance --compare              # this page\n\
```\n\n\
**MUST** and **SHOULD** are the RFC's words. **ours** are our own rules, stricter than the RFC: a peer that fails one\n\
violates nothing. The cases under `generic/`, `http2/` and `hpack/` follow the list of h2spec, with its numbers, written anew as\n\
raw frames and judged as h2spec judges: the next frame of the awaited kind decides, a connection that is reset or ends inside a\n\
frame is not closed. Where the variable `H2SPEC` names the tool itself, it runs too, its strict cases among them. Each gateway is configured to forward everything, with limits and deadlines\n\
that are alike; what a peer could refuse by more configuration (HAProxy's `http-request deny`, say) is not configured. A peer's\n\
column differs by a case or two from run to run, where floods and timing decide.\n\n";

/// Runs all three and makes the page.
pub(crate) fn page(gateway: &Path, patience: Duration, only: &str) -> Result<String, String> {
    let peers = [
        ("Vértice Gateway".to_owned(), Peer::Gateway(gateway.to_path_buf())),
        (version("nginx", "-v", "nginx/"), Peer::Nginx),
        (version("haproxy", "-v", "version "), Peer::Haproxy),
    ];
    let mut columns = Vec::new();
    for (name, peer) in peers {
        eprintln!("running against {name}");
        columns.push((name, peers::judge(&peer, patience, Protocol::All, only)?));
    }
    let mut page = HEAD.to_owned();
    totals(&mut page, &columns);
    sections(&mut page, &columns);
    failures(&mut page, &columns);
    rows(&mut page);
    Ok(page)
}

type Column = (String, Vec<Outcome>);

fn version(program: &str, flag: &str, before: &str) -> String {
    let output = ["/usr/sbin/", ""]
        .iter()
        .find_map(|place| Command::new(format!("{place}{program}")).arg(flag).output().ok());
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let number = text.split_once(before).and_then(|(_, rest)| rest.split(['-', ' ', '\n']).next());
    let name = if program == "haproxy" { "HAProxy" } else { program };
    number.map_or_else(|| name.to_owned(), |number| format!("{name} {number}"))
}

fn suite_name(suite: &str) -> &str {
    match suite {
        "h1" => "HTTP/1.1",
        "h2c" => "HTTP/2, prior knowledge",
        "h2" => "HTTP/2 over TLS",
        other => other,
    }
}

fn listed(outcome: &Outcome) -> bool {
    ["generic/", "http2/", "hpack/"].iter().any(|part| outcome.id.starts_with(part))
}

fn said(sum: Sum) -> String {
    let Sum { passed, failed, skipped } = sum;
    match (passed, failed, skipped) {
        (0, 0, 0) => "-".into(),
        (0, 0, _) => format!("not run ({skipped})"),
        (_, 0, 0) => format!("{passed}"),
        (_, _, 0) => format!("{passed}, **{failed} failed**"),
        _ => format!("{passed}, **{failed} failed**, {skipped} skipped"),
    }
}

fn header(page: &mut String, first: &str, columns: &[Column]) {
    let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(page, "| {first} | {} |", names.join(" | "));
    let _ = writeln!(page, "|{}", "---|".repeat(columns.len() + 1));
}

fn line(page: &mut String, first: &str, columns: &[Column], chosen: impl Fn(&Outcome) -> bool) {
    let sums = columns.iter().map(|(_, outcomes)| Sum::of(outcomes.iter().filter(|o| chosen(o))));
    let cells: Vec<_> = sums.map(said).collect();
    if cells.iter().any(|cell| cell != "-") {
        let _ = writeln!(page, "| {first} | {} |", cells.join(" | "));
    }
}

fn totals(page: &mut String, columns: &[Column]) {
    page.push_str("## Totals\n\nCases passed, and failed.\n\n");
    header(page, "cases", columns);
    let Some((_, first)) = columns.first() else { return };
    for suite in suites(first) {
        let name = suite_name(suite);
        if suite != "h1" {
            line(page, &format!("{name}: h2spec's list"), columns, |o| o.suite == suite && listed(o));
        }
        for level in [Level::Must, Level::Should, Level::Ours] {
            let first = format!("{name}: {}{}", if suite == "h1" { "" } else { "beyond it, " }, level.word());
            line(page, &first, columns, |o| {
                o.suite == suite && o.level == level && (suite == "h1" || !listed(o))
            });
        }
    }
    line(page, "**all**", columns, |_| true);
    page.push('\n');
}

fn sections(page: &mut String, columns: &[Column]) {
    let Some((_, first)) = columns.first() else { return };
    for suite in suites(first) {
        let _ = write!(page, "## {} by section\n\n", suite_name(suite));
        header(page, "section", columns);
        let mut known: Vec<&str> = Vec::new();
        for outcome in first.iter().filter(|o| o.suite == suite) {
            if !known.contains(&outcome.section) {
                known.push(outcome.section);
            }
        }
        known.sort_by_key(|section| sort_key(section));
        for section in known {
            line(page, section, columns, |o| o.suite == suite && o.section == section);
        }
        page.push('\n');
    }
}

/// Sections by number, and the rows of the list behind them.
fn sort_key(section: &str) -> (bool, Vec<u32>, &str) {
    let numbers = section.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    (!section.starts_with("RFC"), if section.starts_with("RFC") { numbers } else { Vec::new() }, section)
}

fn failures(page: &mut String, columns: &[Column]) {
    page.push_str("## Where ours fails\n\n");
    let Some((_, ours)) = columns.first() else { return };
    let failed: Vec<_> = ours.iter().filter(|outcome| outcome.failed()).collect();
    if failed.is_empty() {
        page.push_str("Nowhere.\n\n");
    } else {
        page.push_str("| case | section | what came | why |\n|---|---|---|---|\n");
    }
    for outcome in &failed {
        let came =
            if let Verdict::Failed { came, .. } = &outcome.verdict { cell(came) } else { String::new() };
        let why = deviations::reason(&outcome.id).unwrap_or("**unexplained: a bug**");
        let _ = writeln!(
            page,
            "| {} `{}` | {} | {came} | {} |",
            outcome.suite,
            outcome.id,
            outcome.section,
            cell(why)
        );
    }
    page.push_str("\n## Cases that somebody fails\n\n");
    header(page, "case", columns);
    for (index, outcome) in ours.iter().enumerate() {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, outcomes)| match outcomes.get(index).map(|o| &o.verdict) {
                Some(Verdict::Passed) => "ok",
                Some(Verdict::Failed { .. }) => "**fails**",
                Some(Verdict::Skipped(_)) | None => "not run",
            })
            .collect();
        if cells.contains(&"**fails**") {
            let Outcome { suite, id, section, level, what, .. } = outcome;
            let _ = writeln!(
                page,
                "| {suite} `{id}` ({section}, {}): {} | {} |",
                level.word(),
                cell(what),
                cells.join(" | ")
            );
        }
    }
    page.push('\n');
}

fn rows(page: &mut String) {
    page.push_str(
        "## The hardening list\n\nWhat a gateway is attacked with, and the tests that hold the right answer: cases of this suite by the \
         start of their id, or files of tests.\n\n| attack | cases | files | not held yet |\n|---|---|---|---|\n",
    );
    let code = |list: &[&str]| list.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    for row in ROWS {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            row.attack,
            code(row.cases),
            code(row.files),
            row.missing
        );
    }
}
