//! Plays the steps of a case.

use std::time::Instant;

use super::connection::{Connection, Event};
use super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    SETTINGS_HEADER_TABLE_SIZE, SETTINGS_INITIAL_WINDOW_SIZE, SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_FRAME_SIZE, WHOLE, code_name, frame, settings,
};
use super::hpack;
use super::table::{Block, Case, Step, Want};
use crate::case::Verdict;
use crate::tls::NAME;
use crate::wire::Target;

/// Plays `case` with `path` as the path of its requests.
pub(super) fn verdict(case: &Case, target: &Target, path: &str) -> Verdict {
    let bare = matches!(case.steps.first(), Some(Step::NoPreface));
    let opened = if bare { Connection::connect(target) } else { Connection::open(target, &[]) };
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(came) => return Verdict::Failed { expected: "a connection".into(), came },
    };
    let scheme = if target.tls { "https" } else { "http" };
    let requests = Requests { path, scheme };
    for step in case.steps {
        match step {
            Step::Want(want) => {
                if let Err(came) = wait(&mut connection, want, target) {
                    return Verdict::Failed { expected: said(want), came };
                }
            }
            Step::Says(id, value) => {
                let came = connection.setting(*id, 0);
                if came != *value {
                    let expected = format!("setting {id} is {value}");
                    return Verdict::Failed { expected, came: came.to_string() };
                }
            }
            Step::TooManyStreams => {
                if !connection.says(SETTINGS_MAX_CONCURRENT_STREAMS) {
                    return Verdict::Skipped("the target sets no limit on streams".into());
                }
                let most = connection.setting(SETTINGS_MAX_CONCURRENT_STREAMS, 0);
                connection.send(&frame(SETTINGS, 0, 0, &settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, 0)])));
                let block = requests.block(&Block::Get, &connection);
                let bytes: Vec<u8> =
                    (0..=most).flat_map(|n| frame(HEADERS, WHOLE, n * 2 + 1, &block)).collect();
                connection.send(&bytes);
            }
            other => {
                let bytes = requests.bytes(other, &connection);
                // Who closed already has said what it thinks; the next wait hears it.
                connection.send(&bytes);
            }
        }
    }
    Verdict::Passed
}

/// How requests of one case look.
struct Requests<'a> {
    path: &'a str,
    scheme: &'a str,
}

impl Requests<'_> {
    fn bytes(&self, step: &Step, connection: &Connection) -> Vec<u8> {
        match step {
            Step::Frame { kind, flags, stream, payload } => frame(*kind, *flags, *stream, payload),
            Step::Block { kind, flags, stream, before, block, after } => {
                let block = self.block(block, connection);
                frame(*kind, *flags, *stream, &[*before, block.as_slice(), *after].concat())
            }
            Step::Data { flags, stream, length } => frame(DATA, *flags, *stream, &vec![b'x'; *length]),
            Step::DataTooLong { stream } => {
                frame(DATA, END_STREAM, *stream, &vec![b'x'; most_bytes(connection) + 1])
            }
            Step::Settings(values) => frame(SETTINGS, 0, 0, &settings(values)),
            Step::Bytes(bytes) => bytes.to_vec(),
            Step::RefusedEarly(count) => {
                let fields = [
                    (":method", "POST"),
                    (":scheme", self.scheme),
                    (":path", "/a/../b"),
                    (":authority", NAME),
                ];
                let block = hpack::literals(&fields);
                (0..*count).flat_map(|n| frame(HEADERS, END_HEADERS, n * 2 + 1, &block)).collect()
            }
            Step::TooManyStreams | Step::Says(..) | Step::NoPreface | Step::Want(_) => Vec::new(),
        }
    }

    fn block(&self, block: &Block, connection: &Connection) -> Vec<u8> {
        let request = |method: &str, fields: &[(&str, &str)]| {
            let mut all = vec![
                (":method", method),
                (":scheme", self.scheme),
                (":path", self.path),
                (":authority", NAME),
            ];
            all.extend_from_slice(fields);
            hpack::literals(&all)
        };
        match block {
            Block::Get => request("GET", &[]),
            Block::Method(method) => request(method, &[]),
            Block::GetAnd(fields) => request("GET", fields),
            Block::PostAnd(fields) => request("POST", fields),
            Block::Only(fields) => {
                let filled = |value: &'static str| match value {
                    "{t}" => self.path.to_owned(),
                    "{s}" => self.scheme.to_owned(),
                    other => other.to_owned(),
                };
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, filled(value))).collect();
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                hpack::literals(&fields)
            }
            Block::GetAndBytes(bytes) => [request("GET", &[]), bytes.to_vec()].concat(),
            Block::BytesAndGet(bytes) => [bytes.to_vec(), request("GET", &[])].concat(),
            Block::Bytes(bytes) => bytes.to_vec(),
            Block::TooLong => request("GET", &[("x-filler", &"x".repeat(most_bytes(connection) + 1))]),
            Block::TableTooLarge => {
                let most = connection.setting(SETTINGS_HEADER_TABLE_SIZE, 4096);
                let mut bytes = Vec::new();
                hpack::integer(&mut bytes, 5, 0x20, usize::try_from(most).unwrap() + 1);
                [bytes, request("GET", &[])].concat()
            }
        }
    }
}

fn most_bytes(connection: &Connection) -> usize {
    usize::try_from(connection.setting(SETTINGS_MAX_FRAME_SIZE, 16_384)).unwrap()
}

/// Waits for what `want` asks for; the error is what came last instead.
fn wait(connection: &mut Connection, want: &Want, target: &Target) -> Result<(), String> {
    let deadline = Instant::now() + target.patience;
    let mut last: Option<String> = None;
    loop {
        let event = connection.next(deadline);
        if meets(&event, want) {
            return Ok(());
        }
        match &event {
            Event::Frame(frame) => {
                last = Some(frame.said());
                if settles(frame, want) {
                    return Err(frame.said());
                }
            }
            Event::Closed | Event::Broken | Event::Late => {
                let before = last.map_or(String::new(), |last| format!(" after {last}"));
                return Err(format!("{}{before}", event.said()));
            }
        }
    }
}

/// Whether a frame that is not what was asked for stands in the place of it: as h2spec judges, the next frame of that kind
/// decides.
fn settles(frame: &Frame, want: &Want) -> bool {
    match want {
        Want::Settings => true,
        Want::SettingsAck => frame.kind == SETTINGS,
        Want::Head(_) => frame.kind == HEADERS,
        Want::Data(length) => frame.kind == DATA && length.is_some(),
        Want::PingAck(_) => frame.kind == PING,
        Want::GoAway(_) => frame.kind == GOAWAY,
        Want::Reset(_) => frame.kind == RST_STREAM,
        // An answer that is no refusal, whatever comes behind it.
        Want::Refusal(_) => frame.kind == HEADERS && hpack::status(&frame.payload).is_some(),
        _ => false,
    }
}

fn meets(event: &Event, want: &Want) -> bool {
    let frame = match event {
        Event::Closed => {
            return matches!(
                want,
                Want::StreamError(_)
                    | Want::ConnectionError(_)
                    | Want::Close
                    | Want::PingAckOrClose(_)
                    | Want::Refusal(_)
            );
        }
        Event::Broken => return matches!(want, Want::Refusal(_)),
        Event::Late => return false,
        Event::Frame(frame) => frame,
    };
    let coded = |kinds: &[u8], codes: &[u32]| {
        kinds.contains(&frame.kind) && frame.code().is_some_and(|code| codes.contains(&code))
    };
    match want {
        Want::Settings => frame.kind == SETTINGS && frame.flags & ACK == 0,
        Want::SettingsAck => frame.kind == SETTINGS && frame.flags & ACK != 0,
        Want::Head(stream) => frame.kind == HEADERS && frame.stream == *stream,
        Want::Data(length) => frame.kind == DATA && length.is_none_or(|length| frame.payload.len() == length),
        Want::EndOf(stream) => {
            frame.stream == *stream && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0
        }
        Want::PingAck(payload) | Want::PingAckOrClose(payload) => {
            frame.kind == PING && frame.flags & ACK != 0 && frame.payload == *payload
        }
        Want::StreamError(codes) => coded(&[RST_STREAM, GOAWAY], codes),
        Want::ConnectionError(codes) => coded(&[GOAWAY], codes),
        Want::Close => false,
        Want::GoAway(code) => coded(&[GOAWAY], &[*code]),
        Want::Reset(code) => frame.stream == 1 && coded(&[RST_STREAM], &[*code]),
        Want::Refusal(statuses) => {
            matches!(frame.kind, RST_STREAM | GOAWAY)
                || (matches!(frame.kind, HEADERS | CONTINUATION)
                    && hpack::status(&frame.payload).is_some_and(|status| statuses.contains(&status)))
        }
    }
}

fn said(want: &Want) -> String {
    let names = |codes: &[u32]| codes.iter().map(|code| code_name(*code)).collect::<Vec<_>>().join("/");
    match want {
        Want::Settings => "SETTINGS as the first frame".into(),
        Want::SettingsAck => "SETTINGS acknowledged".into(),
        Want::Head(stream) => format!("HEADERS on stream {stream}"),
        Want::Data(None) => "DATA".into(),
        Want::Data(Some(length)) => format!("DATA of {length} byte(s)"),
        Want::EndOf(stream) => format!("the end of stream {stream}"),
        Want::PingAck(_) => "PING acknowledged".into(),
        Want::PingAckOrClose(_) => "PING acknowledged, or connection closed".into(),
        Want::StreamError(codes) => format!("RST_STREAM or GOAWAY {}, or connection closed", names(codes)),
        Want::ConnectionError(codes) => format!("GOAWAY {}, or connection closed", names(codes)),
        Want::Close => "connection closed".into(),
        Want::GoAway(code) => format!("GOAWAY {}", names(&[*code])),
        Want::Reset(code) => format!("RST_STREAM {} of stream 1", names(&[*code])),
        Want::Refusal(statuses) => format!("status {statuses:?}, RST_STREAM or GOAWAY"),
    }
}
