//! A client's connection of HTTP/2, frame by frame.

use std::collections::VecDeque;
use std::time::Instant;

use super::frame::{self, ACK, Frame, PREFACE, SETTINGS, SETTINGS_HEADER_TABLE_SIZE, frame as encode};
use crate::wire::{Received, Target, Wire};

/// What a wait brought.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Frame(Frame),
    Closed,
    /// Torn down, or closed in the middle of a frame.
    Broken,
    Late,
}

impl Event {
    pub(super) fn said(&self) -> String {
        match self {
            Self::Frame(frame) => frame.said(),
            Self::Closed => "connection closed".into(),
            Self::Broken => "connection reset, or closed inside a frame".into(),
            Self::Late => "nothing (timeout)".into(),
        }
    }
}

/// A connection and what the target said about itself.
pub(super) struct Connection {
    wire: Wire,
    bytes: Vec<u8>,
    waiting: VecDeque<Frame>,
    /// What ended it.
    ended: Option<Received>,
    pub(super) settings: Vec<(u16, u32)>,
}

impl Connection {
    /// Connects and sends nothing.
    pub(super) fn connect(target: &Target) -> Result<Self, String> {
        let wire = Wire::connect(target, b"h2").map_err(|error| format!("cannot connect: {error}"))?;
        Ok(Self { wire, bytes: Vec::new(), waiting: VecDeque::new(), ended: None, settings: Vec::new() })
    }

    /// Connects, and exchanges preface and settings with `own` among them.
    pub(super) fn open(target: &Target, own: &[(u16, u32)]) -> Result<Self, String> {
        let mut connection = Self::connect(target)?;
        let mut values = vec![(SETTINGS_HEADER_TABLE_SIZE, 0)];
        values.extend_from_slice(own);
        connection.send(PREFACE);
        connection.send(&encode(SETTINGS, 0, 0, &frame::settings(&values)));
        let deadline = Instant::now() + target.patience;
        let (mut theirs, mut acknowledged) = (false, false);
        while !(theirs && acknowledged) {
            match connection.next(deadline) {
                Event::Frame(frame) if frame.kind == SETTINGS && frame.flags & ACK != 0 => {
                    acknowledged = true;
                }
                Event::Frame(frame) if frame.kind == SETTINGS => {
                    connection.settings = (0..frame.payload.len() / 6)
                        .map(|n| {
                            let id = u16::from_be_bytes([frame.payload[n * 6], frame.payload[n * 6 + 1]]);
                            (id, frame.number(n * 6 + 2))
                        })
                        .collect();
                    theirs = true;
                    connection.send(&encode(SETTINGS, ACK, 0, &[]));
                }
                Event::Frame(_) => {}
                other => return Err(format!("no exchange of settings: {}", other.said())),
            }
        }
        Ok(connection)
    }

    /// What the target said about `id`, or the RFC's default.
    pub(super) fn setting(&self, id: u16, default: u32) -> u32 {
        self.settings.iter().rev().find(|(of, _)| *of == id).map_or(default, |(_, value)| *value)
    }

    /// Whether it said anything about `id`.
    pub(super) fn says(&self, id: u16) -> bool {
        self.settings.iter().any(|(of, _)| *of == id)
    }

    /// Sends; whether the target still takes it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.wire.send(bytes).is_ok()
    }

    /// The next frame, or what there is instead of one until `deadline`.
    pub(super) fn next(&mut self, deadline: Instant) -> Event {
        loop {
            if let Some(frame) = self.waiting.pop_front().or_else(|| Frame::take(&mut self.bytes)) {
                return Event::Frame(frame);
            }
            match self.ended {
                Some(Received::End) if self.bytes.is_empty() => return Event::Closed,
                Some(_) => return Event::Broken,
                None => {}
            }
            match self.wire.receive(&mut self.bytes, deadline) {
                ended @ (Received::End | Received::Reset) => self.ended = Some(ended),
                Received::Late if Instant::now() >= deadline => return Event::Late,
                Received::Late | Received::Bytes => {}
            }
        }
    }
}
