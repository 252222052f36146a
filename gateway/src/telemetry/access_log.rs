//! One JSON line per request, formatted by the worker, written by a thread of its own.

use std::cell::RefCell;
use std::sync::mpsc::{SyncSender, TrySendError};

use serde::Serialize;

/// A block is handed over when it has grown to this many bytes, and at every flush of the worker.
const BLOCK_BYTES: usize = 32 * 1024;

/// What one line says.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When the request's head had come, RFC 3339 in UTC.
    pub time: &'a str,
    /// The id that the client and the service know too.
    pub request_id: &'a str,
    /// The peer's address.
    pub peer: &'a str,
    /// The method.
    pub method: &'a str,
    /// The host in normal form.
    pub host: &'a str,
    /// The path as it came, without the query: queries carry secrets.
    pub path: &'a str,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// Who asked: the name of the API key, or the subject of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<&'a str>,
    /// The service.
    pub service: Option<&'a str>,
    /// The instance that answered.
    pub instance: Option<&'a str>,
    /// The status that was sent.
    pub status: u16,
    /// Why the gateway answered by itself, if it did.
    pub reason: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Milliseconds to the answer's head.
    pub head_ms: f64,
    /// Milliseconds to the answer's last byte.
    pub total_ms: f64,
    /// Attempts.
    pub attempts: u32,
    /// Whether the answer reached its end.
    pub complete: bool,
    /// The generation of the table that the request was answered from.
    pub generation: u64,
    /// Seconds since the registry last vouched for what was known of the service, where it no longer does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<f64>,
}

/// A worker's lines that are not handed over yet.
#[derive(Debug)]
pub struct LogBuffer {
    block: RefCell<Block>,
    /// `None`: the log is off.
    writer: RefCell<Option<SyncSender<Vec<u8>>>>,
}

#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    lines: u64,
}

impl LogBuffer {
    /// A buffer whose blocks go to `writer`.
    pub fn new(writer: Option<SyncSender<Vec<u8>>>) -> Self {
        Self { block: RefCell::default(), writer: RefCell::new(writer) }
    }

    /// Whether lines are wanted.
    pub fn is_on(&self) -> bool {
        self.writer.borrow().is_some()
    }

    /// What is written from now on goes to `writer`; what is here goes to the one before. Returns how many lines were lost.
    pub fn switch(&self, writer: Option<SyncSender<Vec<u8>>>) -> u64 {
        let lost = self.flush();
        *self.writer.borrow_mut() = writer;
        lost
    }

    /// Adds a line. JSON escapes control characters, so a line stays one line. Returns how many lines were lost.
    pub fn write(&self, line: &Line<'_>) -> u64 {
        let mut block = self.block.borrow_mut();
        if serde_json::to_writer(&mut block.bytes, line).is_ok() {
            block.bytes.push(b'\n');
            block.lines += 1;
        }
        if block.bytes.len() < BLOCK_BYTES { 0 } else { self.hand_over(&mut block) }
    }

    /// Hands over what there is. Returns how many lines were lost because the writer is behind.
    pub fn flush(&self) -> u64 {
        self.hand_over(&mut self.block.borrow_mut())
    }

    fn hand_over(&self, block: &mut Block) -> u64 {
        if block.bytes.is_empty() {
            return 0;
        }
        let Block { bytes, lines } = std::mem::take(block);
        // Off: the requests whose lines these are began while it was on, and nobody wants to know any more.
        let Some(writer) = &*self.writer.borrow() else { return 0 };
        match writer.try_send(bytes) {
            Ok(()) => 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => lines,
        }
    }
}
