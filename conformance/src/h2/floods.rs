//! Floods: the hardening rows about too much of a frame that each by itself is allowed. Whatever comes, it ends within a
//! bound, and another client is served meanwhile.

use std::time::{Duration, Instant};

use super::connection::{Connection, Event};
use super::frame::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, SETTINGS_INITIAL_WINDOW_SIZE, WHOLE, WINDOW_UPDATE, frame, settings,
};
use super::hpack;
use crate::case::{Level, Outcome, Verdict};
use crate::tls::NAME;
use crate::upstream::{Answer, Upstream};
use crate::wire::Target;

const ROW: &str = "hardening: floods";

/// One flood: what is sent again and again, and after how much of it the target must have ended the connection.
struct Flood {
    id: &'static str,
    what: &'static str,
    /// Sent once before.
    opening: fn(&str, &str) -> Vec<u8>,
    /// The `n`th piece.
    piece: fn(u32, &str, &str) -> Vec<u8>,
    pieces: u32,
}

const FLOODS: &[Flood] = &[
    Flood {
        id: "flood/rapid-reset",
        what: "requests that are cancelled at once (CVE-2023-44487)",
        opening: nothing,
        piece: rapid_reset,
        pieces: 20_000,
    },
    Flood {
        id: "flood/made-you-reset",
        what: "requests that make the server cancel them (CVE-2025-8671)",
        opening: nothing,
        piece: made_you_reset,
        pieces: 20_000,
    },
    Flood {
        id: "flood/continuation",
        what: "a header block without an end",
        opening: open_block,
        piece: continuation,
        pieces: 2_000,
    },
    Flood {
        id: "flood/empty-continuation",
        what: "a header block of empty frames without an end",
        opening: open_block,
        piece: empty_continuation,
        pieces: 200_000,
    },
    Flood {
        id: "flood/settings",
        what: "SETTINGS that are never read",
        opening: nothing,
        piece: settings_piece,
        pieces: 200_000,
    },
    Flood {
        id: "flood/ping",
        what: "PING whose answers are never read",
        opening: nothing,
        piece: ping,
        pieces: 300_000,
    },
    Flood {
        id: "flood/empty-data",
        what: "empty DATA without an end",
        opening: open_stream,
        piece: empty_data,
        pieces: 200_000,
    },
    Flood {
        id: "flood/priority",
        what: "PRIORITY of idle streams",
        opening: nothing,
        piece: priority,
        pieces: 300_000,
    },
    Flood {
        id: "flood/window-update",
        what: "WINDOW_UPDATE of one byte",
        opening: nothing,
        piece: window_update,
        pieces: 300_000,
    },
];

fn get(path: &str, scheme: &str) -> Vec<u8> {
    hpack::literals(&[(":method", "GET"), (":scheme", scheme), (":path", path), (":authority", NAME)])
}

fn nothing(_: &str, _: &str) -> Vec<u8> {
    Vec::new()
}

fn open_block(path: &str, scheme: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM, 1, &get(path, scheme))
}

fn open_stream(path: &str, scheme: &str) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", scheme), (":path", path), (":authority", NAME)];
    frame(HEADERS, END_HEADERS, 1, &hpack::literals(&fields))
}

fn rapid_reset(n: u32, path: &str, scheme: &str) -> Vec<u8> {
    let stream = n * 2 + 1;
    let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    [frame(HEADERS, WHOLE, stream, &get(path, scheme)), reset].concat()
}

fn made_you_reset(n: u32, path: &str, scheme: &str) -> Vec<u8> {
    let stream = n * 2 + 1;
    // A window beyond its maximum is an error of the stream, which the server has to cancel.
    let most = frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    [frame(HEADERS, WHOLE, stream, &get(path, scheme)), most.clone(), most].concat()
}

fn continuation(_: u32, _: &str, _: &str) -> Vec<u8> {
    let value = "x".repeat(16_000);
    frame(CONTINUATION, 0, 1, &hpack::literals(&[("x-flood", &value)]))
}

fn empty_continuation(_: u32, _: &str, _: &str) -> Vec<u8> {
    frame(CONTINUATION, 0, 1, &[])
}

fn settings_piece(_: u32, _: &str, _: &str) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, 65_535)]))
}

fn ping(_: u32, _: &str, _: &str) -> Vec<u8> {
    frame(PING, 0, 0, b"flooding")
}

fn empty_data(_: u32, _: &str, _: &str) -> Vec<u8> {
    frame(DATA, 0, 1, &[])
}

fn priority(n: u32, _: &str, _: &str) -> Vec<u8> {
    frame(PRIORITY, 0, n * 2 + 1, &[0, 0, 0, 0, 16])
}

fn window_update(n: u32, _: &str, _: &str) -> Vec<u8> {
    // It comes to no more than the window may grow by.
    frame(WINDOW_UPDATE, 0, 0, &(n % 2 + 1).to_be_bytes())
}

type Special = fn(&Target, &Upstream) -> Result<(), String>;

/// Attacks that are not one frame again and again.
const SPECIAL: &[(&str, &str, Special)] = &[
    (
        "bomb/cookie-crumbs",
        "a header block that unpacks to 400 times its size, in cookie crumbs",
        cookie_bomb,
    ),
    ("bomb/many-crumbs", "ten thousand small cookie crumbs are refused, never 500", many_crumbs),
    ("bomb/many-fields", "ten thousand small fields are refused, never 500", many_fields),
    ("stall/window", "an answer that nobody reads is given up", stalled_window),
    ("stall/body", "a body that stops coming is given up", stalled_body),
    ("stall/head", "a header block that stops coming is given up", stalled_head),
    ("stall/preface", "a connection without a preface is given up", stalled_preface),
];

pub(super) fn list() -> Vec<(&'static str, &'static str, &'static str)> {
    let floods = FLOODS.iter().map(|flood| (flood.id, flood.what));
    floods.chain(SPECIAL.iter().map(|(id, what, _)| (*id, *what))).map(|(id, what)| (id, ROW, what)).collect()
}

pub(super) fn skipped(suite: &'static str, only: &str, verdict: &Verdict) -> Vec<Outcome> {
    let all = list().into_iter().filter(|(id, ..)| id.contains(only));
    all.map(|(id, section, what)| Outcome {
        suite,
        id: id.into(),
        section,
        level: Level::Ours,
        what,
        verdict: verdict.clone(),
    })
    .collect()
}

/// One after the other: each has the machine for itself.
pub(super) fn suite(target: &Target, upstream: &Upstream, only: &str, suite: &'static str) -> Vec<Outcome> {
    let judged = |id: &str, what, came: Result<(), String>| {
        let verdict = match came {
            Ok(()) => Verdict::Passed,
            Err(came) => {
                Verdict::Failed { expected: "an end within the bound, and other clients served".into(), came }
            }
        };
        Outcome { suite, id: id.into(), section: ROW, level: Level::Ours, what, verdict }
    };
    let floods = FLOODS.iter().filter(|flood| flood.id.contains(only));
    let mut outcomes: Vec<_> =
        floods.map(|flood| judged(flood.id, flood.what, run(flood, target, upstream))).collect();
    let special = SPECIAL.iter().filter(|(id, ..)| id.contains(only));
    outcomes.extend(special.map(|(id, what, attack)| judged(id, *what, attack(target, upstream))));
    outcomes
}

fn scheme(target: &Target) -> &'static str {
    if target.tls { "https" } else { "http" }
}

/// Sends the flood until the target ends the connection. Between bursts another client asks for something.
fn run(flood: &Flood, target: &Target, upstream: &Upstream) -> Result<(), String> {
    const BURST: u32 = 500;
    let path = format!("/{}", upstream.token(Answer::Ordinary));
    let scheme = scheme(target);
    let mut connection = Connection::open(target, &[])?;
    connection.send(&(flood.opening)(&path, scheme));
    let mut sent = 0;
    let mut worst = Duration::ZERO;
    while sent < flood.pieces {
        let burst: Vec<u8> = (sent..sent + BURST).flat_map(|n| (flood.piece)(n, &path, scheme)).collect();
        let open = connection.send(&burst);
        sent += BURST;
        if sent % (BURST * 10) == BURST {
            worst = worst.max(another_client(target, upstream)?);
        }
        if !open || ended(&mut connection, Duration::ZERO) {
            another_client(target, upstream)?;
            return Ok(());
        }
    }
    if ended(&mut connection, target.patience) {
        another_client(target, upstream)?;
        return Ok(());
    }
    Err(format!("the connection still lives after {sent} pieces (another client waited {worst:?} at most)"))
}

/// Whether GOAWAY came or the connection was closed within `patience`. Everything else that came is dropped.
fn ended(connection: &mut Connection, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        match connection.next(deadline) {
            Event::Closed | Event::Broken => return true,
            Event::Frame(frame) if frame.kind == GOAWAY => return true,
            Event::Frame(_) => {}
            Event::Late => return false,
        }
    }
}

/// Another client's request and how long it took.
fn another_client(target: &Target, upstream: &Upstream) -> Result<Duration, String> {
    let start = Instant::now();
    let path = format!("/{}", upstream.token(Answer::Ordinary));
    let mut connection = Connection::open(target, &[]).map_err(|error| format!("another client: {error}"))?;
    connection.send(&frame(HEADERS, WHOLE, 1, &get(&path, scheme(target))));
    let deadline = Instant::now() + target.patience;
    loop {
        match connection.next(deadline) {
            Event::Frame(frame) if frame.kind == HEADERS => {
                return match hpack::status(&frame.payload) {
                    Some(200) => Ok(start.elapsed()),
                    status => Err(format!("another client got status {status:?}")),
                };
            }
            Event::Frame(_) => {}
            other => return Err(format!("another client got {}", other.said())),
        }
    }
}

/// Sends one request with `block`, in CONTINUATION frames as needed; it must be refused.
fn refused(target: &Target, upstream: &Upstream, block: &[u8]) -> Result<(), String> {
    let mut connection = Connection::open(target, &[])?;
    let mut pieces = block.chunks(16_384).peekable();
    let mut first = true;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let (kind, flags) = if first { (HEADERS, END_STREAM | last) } else { (CONTINUATION, last) };
        first = false;
        if !connection.send(&frame(kind, flags, 1, piece)) {
            break;
        }
    }
    let deadline = Instant::now() + target.patience;
    loop {
        match connection.next(deadline) {
            Event::Closed | Event::Broken => break,
            Event::Frame(frame) if matches!(frame.kind, RST_STREAM | GOAWAY) => break,
            Event::Frame(frame) if frame.kind == HEADERS => match hpack::status(&frame.payload) {
                Some(400..=499) => break,
                status => return Err(format!("status {status:?}")),
            },
            Event::Frame(_) => {}
            Event::Late => return Err("no answer in time".into()),
        }
    }
    another_client(target, upstream).map(drop)
}

fn cookie_bomb(target: &Target, upstream: &Upstream) -> Result<(), String> {
    let path = format!("/{}", upstream.token(Answer::Ordinary));
    let mut block = get(&path, scheme(target));
    // One dynamic entry of about 4000 bytes, named sixty thousand times by one byte each.
    block.push(0x40 | 32);
    hpack::string(&mut block, "a".repeat(3900).as_bytes());
    block.extend(std::iter::repeat_n(0xbe, 60_000));
    refused(target, upstream, &block)
}

fn many(target: &Target, upstream: &Upstream, field: (&str, &str)) -> Result<(), String> {
    let path = format!("/{}", upstream.token(Answer::Ordinary));
    let mut block = get(&path, scheme(target));
    block.extend(hpack::literals(&vec![field; 10_000]));
    refused(target, upstream, &block)
}

fn many_crumbs(target: &Target, upstream: &Upstream) -> Result<(), String> {
    many(target, upstream, ("cookie", "a=b"))
}

fn many_fields(target: &Target, upstream: &Upstream) -> Result<(), String> {
    many(target, upstream, ("x-a", "b"))
}

/// Waits for the end of the stream or of the connection, longer than the targets' deadlines of one or two seconds.
fn given_up(connection: &mut Connection, target: &Target) -> Result<(), String> {
    let deadline = Instant::now() + target.patience + Duration::from_secs(4);
    loop {
        match connection.next(deadline) {
            Event::Closed | Event::Broken => return Ok(()),
            Event::Frame(frame) if matches!(frame.kind, RST_STREAM | GOAWAY) => return Ok(()),
            Event::Frame(frame) if frame.kind == HEADERS => {
                if matches!(hpack::status(&frame.payload), Some(408 | 504 | 400)) {
                    return Ok(());
                }
            }
            Event::Frame(_) => {}
            Event::Late => return Err("it is still waited for".into()),
        }
    }
}

fn stalled_window(target: &Target, upstream: &Upstream) -> Result<(), String> {
    let path = format!("/{}", upstream.token(Answer::Large(3_000_000)));
    let mut connection = Connection::open(target, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)])?;
    connection.send(&frame(HEADERS, WHOLE, 1, &get(&path, scheme(target))));
    given_up(&mut connection, target)?;
    another_client(target, upstream).map(drop)
}

fn stalled_body(target: &Target, upstream: &Upstream) -> Result<(), String> {
    let path = format!("/{}", upstream.token(Answer::Ordinary));
    let mut connection = Connection::open(target, &[])?;
    connection.send(&open_stream(&path, scheme(target)));
    connection.send(&frame(DATA, 0, 1, b"half of it"));
    given_up(&mut connection, target)
}

fn stalled_head(target: &Target, upstream: &Upstream) -> Result<(), String> {
    let path = format!("/{}", upstream.token(Answer::Ordinary));
    let mut connection = Connection::open(target, &[])?;
    connection.send(&open_block(&path, scheme(target)));
    given_up(&mut connection, target)
}

fn stalled_preface(target: &Target, _: &Upstream) -> Result<(), String> {
    let mut connection = Connection::connect(target)?;
    connection.send(b"PRI * HTTP/2.0\r\n\r\nS");
    given_up(&mut connection, target)
}
