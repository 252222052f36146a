//! Whether what was seen is what the case asks for.

use super::answers;
use super::run::Observed;
use super::table::{Case, Check};
use crate::case::{Outcome, Verdict};
use crate::upstream::{Exchange, Upstream};

/// The verdict on one case.
pub(crate) fn outcome(case: &Case, observed: &Observed, upstream: &Upstream) -> Outcome {
    let seen = upstream.seen(&observed.token);
    let failed =
        case.checks.iter().filter(|check| !holds(check, observed, &seen)).map(said).collect::<Vec<_>>();
    let verdict = if let Some(error) = &observed.error {
        Verdict::Failed { expected: "a connection".into(), came: error.clone() }
    } else if failed.is_empty() {
        Verdict::Passed
    } else {
        Verdict::Failed { expected: failed.join(", "), came: came(observed, &seen) }
    };
    Outcome {
        suite: "h1",
        id: case.id.into(),
        section: case.section,
        level: case.level,
        what: case.what,
        verdict,
    }
}

fn holds(check: &Check, observed: &Observed, seen: &[Exchange]) -> bool {
    let finals = answers::finals(&observed.answers);
    let first = finals.first();
    let text = String::from_utf8_lossy(&observed.bytes).to_ascii_lowercase();
    match check {
        Check::Status(wanted) => first.is_some_and(|answer| wanted.contains(&answer.status)),
        Check::Closed => observed.closed,
        Check::Open => !observed.closed,
        Check::Nothing => seen.is_empty(),
        Check::Requests(count) => {
            seen.len() == *count && seen.iter().all(|exchange| exchange.fault.is_none())
        }
        Check::NotWhole => seen.iter().all(|exchange| exchange.fault.is_some()),
        Check::Saw(part) => {
            seen.first().is_some_and(|exchange| all_of(exchange).contains(&part.to_ascii_lowercase()))
        }
        Check::Lacks(part) => {
            seen.iter().all(|exchange| !all_of(exchange).contains(&part.to_ascii_lowercase()))
        }
        Check::Body(body) => seen.first().is_some_and(|exchange| exchange.body == *body),
        Check::Answers(count) => finals.len() == *count,
        Check::Got(part) => text.contains(&part.to_ascii_lowercase()),
        Check::GotNot(part) => !text.contains(&part.to_ascii_lowercase()),
        Check::AnswerBody(body) => first.is_some_and(|answer| answer.whole && answer.body == *body),
        Check::Cut => first.is_none_or(|answer| !answer.whole),
        Check::Clean => observed.unclean.is_none(),
        Check::Either(one, other) => {
            one.iter().all(|check| holds(check, observed, seen))
                || other.iter().all(|check| holds(check, observed, seen))
        }
    }
}

fn all_of(exchange: &Exchange) -> String {
    let mut text = String::from_utf8_lossy(&exchange.head).to_ascii_lowercase();
    text.push_str(&String::from_utf8_lossy(&exchange.trailers).to_ascii_lowercase());
    text
}

fn said(check: &Check) -> String {
    match check {
        Check::Status(wanted) => {
            format!("status {}", wanted.iter().map(u16::to_string).collect::<Vec<_>>().join("/"))
        }
        Check::Closed => "connection closed".into(),
        Check::Open => "connection stays open".into(),
        Check::Nothing => "nothing sent to the service".into(),
        Check::Requests(count) => format!("{count} well-framed request(s) at the service"),
        Check::NotWhole => "no whole request at the service".into(),
        Check::Saw(part) => format!("the service sees {part:?}"),
        Check::Lacks(part) => format!("the service does not see {part:?}"),
        Check::Body(body) => format!("body {:?} at the service", String::from_utf8_lossy(body)),
        Check::Answers(count) => format!("{count} answer(s)"),
        Check::Got(part) => format!("{part:?} in the answer"),
        Check::GotNot(part) => format!("no {part:?} in the answer"),
        Check::AnswerBody(body) => format!("answer body {:?}", String::from_utf8_lossy(body)),
        Check::Cut => "an answer that is visibly cut".into(),
        Check::Clean => "other clients get their own answers".into(),
        Check::Either(one, other) => {
            let list = |checks: &[Check]| checks.iter().map(said).collect::<Vec<_>>().join(" and ");
            format!("({}) or ({})", list(one), list(other))
        }
    }
}

fn came(observed: &Observed, seen: &[Exchange]) -> String {
    let finals = answers::finals(&observed.answers);
    let statuses: Vec<_> = finals.iter().map(|answer| answer.status.to_string()).collect();
    let answers =
        if statuses.is_empty() { "no answer".into() } else { format!("status {}", statuses.join(" ")) };
    let mut parts = vec![answers, if observed.closed { "closed".into() } else { "open".into() }];
    for exchange in seen {
        let fault = exchange.fault.as_ref().map_or(String::new(), |fault| format!(" ({fault})"));
        parts.push(format!("service saw {:?}{fault}", short(&String::from_utf8_lossy(&exchange.head))));
    }
    if seen.is_empty() {
        parts.push("service saw nothing".into());
    }
    parts.extend(observed.unclean.clone());
    parts.join(", ")
}

/// The first 160 characters.
pub(crate) fn short(text: &str) -> String {
    let mut short: String = text.chars().take(160).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
