//! Streams that were refused (RST_STREAM with REFUSED_STREAM), read off the frames that a client is sent: the HTTP library
//! refuses them by itself and tells nobody.

const HEAD_BYTES: usize = 9;
const RST_STREAM: u8 = 3;
/// A frame's head and the error code behind it.
const RESET_BYTES: usize = HEAD_BYTES + 4;
const REFUSED_STREAM: u8 = 7;

/// Follows the frames of one connection from its first byte on.
#[derive(Debug, Default)]
pub struct Refusals {
    /// What is known of the frame that is looked at.
    head: [u8; RESET_BYTES],
    filled: usize,
    /// Bytes of a payload that nobody looks at.
    to_skip: usize,
}

impl Refusals {
    /// How many streams are refused in the frames that `bytes` complete. Bytes are handed in as they were written: any
    /// number at a time.
    pub fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut refused = 0;
        while !bytes.is_empty() {
            let skipped = self.to_skip.min(bytes.len());
            self.to_skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = if self.is_reset() { RESET_BYTES } else { HEAD_BYTES };
            let place = self.head.get_mut(self.filled..wanted).unwrap_or_default();
            let taken = place.len().min(bytes.len());
            for (to, from) in place.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.filled += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.filled == HEAD_BYTES && !self.is_reset() {
                let [a, b, c, ..] = self.head;
                self.to_skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.filled = 0;
            } else if self.filled == RESET_BYTES {
                refused += u64::from(self.head.get(HEAD_BYTES..) == Some(&[0, 0, 0, REFUSED_STREAM]));
                self.filled = 0;
            }
        }
        refused
    }

    fn is_reset(&self) -> bool {
        self.filled >= HEAD_BYTES && self.head.get(3) == Some(&RST_STREAM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn refusals_are_found_between_other_frames_however_the_bytes_are_cut() {
        let refusal = frame(3, &[0, 0, 0, 7]);
        let bytes = [
            frame(4, &[]),
            // What looks like a refusal inside a body is none.
            frame(0, &refusal),
            refusal.clone(),
            frame(3, &[0, 0, 0, 8]),
            frame(1, &[7; 200]),
            refusal.clone(),
            frame(0, &[]),
            refusal,
        ]
        .concat();
        for piece in 1..=bytes.len() {
            let mut refusals = Refusals::default();
            let count: u64 = bytes.chunks(piece).map(|bytes| refusals.count(bytes)).sum();
            assert_eq!(count, 3, "pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_of_the_largest_size_is_passed_over() {
        let mut bytes = vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1];
        bytes.resize(9 + 0xff_ffff, 3);
        bytes.extend(frame(3, &[0, 0, 0, 7]));
        assert_eq!(Refusals::default().count(&bytes), 1);
    }
}
