//! The words in which the cases of HTTP/2 are written.

use super::frame::{CONTINUATION, DATA, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use crate::case::Level;

/// One case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// As h2spec numbers it, for those of its list.
    pub(crate) id: &'static str,
    pub(crate) section: &'static str,
    pub(crate) level: Level,
    pub(crate) what: &'static str,
    /// After the preface and the exchange of settings, unless the first step is [`Step::NoPreface`].
    pub(crate) steps: &'static [Step],
}

/// What the client does or waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A frame as it stands.
    Frame { kind: u8, flags: u8, stream: u32, payload: &'static [u8] },
    /// HEADERS or CONTINUATION with a block, behind `before` and before `after` (padding, priority).
    Block { kind: u8, flags: u8, stream: u32, before: &'static [u8], block: Block, after: &'static [u8] },
    /// DATA of so many bytes.
    Data { flags: u8, stream: u32, length: usize },
    /// DATA that is one byte longer than the target takes.
    DataTooLong { stream: u32 },
    /// SETTINGS with these values.
    Settings(&'static [(u16, u32)]),
    /// Bytes that are no frame of ours.
    Bytes(&'static [u8]),
    /// One request more than the target lets be open at the same time.
    TooManyStreams,
    /// So many requests, from stream 1 on, that are refused before their bodies ended.
    RefusedEarly(u32),
    /// This setting has this value.
    Says(u16, u32),
    /// First step: no preface, no settings.
    NoPreface,
    /// Waits for it; the case fails if it does not come.
    Want(Want),
}

/// A header block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Block {
    /// An ordinary GET of the case's path.
    Get,
    /// The same with another method.
    Method(&'static str),
    /// GET, and these fields behind it.
    GetAnd(&'static [(&'static str, &'static str)]),
    /// POST, and these fields behind it.
    PostAnd(&'static [(&'static str, &'static str)]),
    /// Only these fields; `{t}` is the case's path.
    Only(&'static [(&'static str, &'static str)]),
    /// GET, and these bytes behind it.
    GetAndBytes(&'static [u8]),
    /// These bytes, and GET behind them.
    BytesAndGet(&'static [u8]),
    /// Only these bytes.
    Bytes(&'static [u8]),
    /// GET with fields that make the frame longer than the target takes.
    TooLong,
    /// A table size update beyond what the target allows, and GET behind it.
    TableTooLarge,
}

/// What must come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// SETTINGS that is no acknowledgement, as the first frame.
    Settings,
    /// An acknowledgement as the next SETTINGS.
    SettingsAck,
    /// The head of an answer, as the next HEADERS, on this stream.
    Head(u32),
    /// A frame of DATA; `Some`: the next one, exactly so long.
    Data(Option<usize>),
    /// The end of the stream's answer.
    EndOf(u32),
    /// PING answered, as the next PING.
    PingAck(&'static [u8]),
    /// PING answered, or the connection closed.
    PingAckOrClose(&'static [u8]),
    /// RST_STREAM or GOAWAY with one of these codes, or the connection closed.
    StreamError(&'static [u32]),
    /// GOAWAY with one of these codes, or the connection closed.
    ConnectionError(&'static [u32]),
    /// The connection closed.
    Close,
    /// GOAWAY with this code; that the connection closes does not do.
    GoAway(u32),
    /// RST_STREAM of stream 1 with this code, as the next RST_STREAM; nothing else does.
    Reset(u32),
    /// A refusal by status, or a stream or connection error.
    Refusal(&'static [u16]),
}

pub(crate) const fn case(
    id: &'static str,
    section: &'static str,
    what: &'static str,
    steps: &'static [Step],
) -> Case {
    Case { id, section, level: Level::Must, what, steps }
}

pub(crate) const fn ours(
    id: &'static str,
    section: &'static str,
    what: &'static str,
    steps: &'static [Step],
) -> Case {
    Case { id, section, level: Level::Ours, what, steps }
}

pub(crate) const fn headers(stream: u32, flags: u8, block: Block) -> Step {
    Step::Block { kind: HEADERS, flags, stream, before: &[], block, after: &[] }
}

pub(crate) const fn continuation(stream: u32, flags: u8, block: Block) -> Step {
    Step::Block { kind: CONTINUATION, flags, stream, before: &[], block, after: &[] }
}

/// DATA with the four bytes `test`.
pub(crate) const fn data(stream: u32, flags: u8) -> Step {
    Step::Frame { kind: DATA, flags, stream, payload: b"test" }
}

pub(crate) const fn ping() -> Step {
    Step::Frame { kind: PING, flags: 0, stream: 0, payload: b"whatsup?" }
}

pub(crate) const PONG: Step = Step::Want(Want::PingAck(b"whatsup?"));

pub(crate) const fn priority(stream: u32, payload: &'static [u8]) -> Step {
    Step::Frame { kind: PRIORITY, flags: 0, stream, payload }
}

/// RST_STREAM with CANCEL.
pub(crate) const fn cancel(stream: u32) -> Step {
    Step::Frame { kind: RST_STREAM, flags: 0, stream, payload: &[0, 0, 0, 8] }
}

pub(crate) const fn window_update(stream: u32, payload: &'static [u8]) -> Step {
    Step::Frame { kind: WINDOW_UPDATE, flags: 0, stream, payload }
}

pub(crate) const fn raw_settings(flags: u8, stream: u32, payload: &'static [u8]) -> Step {
    Step::Frame { kind: SETTINGS, flags, stream, payload }
}

/// GOAWAY with this code or the end of the connection.
pub(crate) const fn fatal(codes: &'static [u32]) -> Step {
    Step::Want(Want::ConnectionError(codes))
}

/// An error of the stream, or of the connection.
pub(crate) const fn bad_stream(codes: &'static [u32]) -> Step {
    Step::Want(Want::StreamError(codes))
}

pub(crate) const fn answered(stream: u32) -> Step {
    Step::Want(Want::Head(stream))
}
