//! Changes to inputs: the small mistakes of a program, and those that somebody makes on purpose.

use fastrand::Rng;

/// Inputs stay below this.
const MOST_BYTES: usize = 16 * 1024;

/// Bytes at which parsers turn.
const TURNS: &[u8] = b"\0\t\n\r \"'#%&+,-./0129:;<=>?@AZ[\\]_`az{|}~\x7f\x80\xc0\xe2\xff";

/// A changed copy of `input`; `other` is an input to take parts from.
pub fn mutate(input: &[u8], other: &[u8], words: &[&str], random: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.usize(..4) {
        once(&mut bytes, other, words, random);
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

fn once(bytes: &mut Vec<u8>, other: &[u8], words: &[&str], random: &mut Rng) {
    let at = random.usize(..=bytes.len());
    let end = (at + random.usize(..=16)).min(bytes.len());
    match random.u8(..11) {
        0 => bytes.insert(at, TURNS[random.usize(..TURNS.len())]),
        1 => bytes.insert(at, random.u8(..)),
        2 if at < bytes.len() => bytes[at] = TURNS[random.usize(..TURNS.len())],
        3 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
        4 => drop(bytes.drain(at..end)),
        5 => bytes.truncate(at),
        6 => {
            // The same again: nesting, repetition, length.
            let part = bytes[at..end].to_vec();
            for _ in 0..=random.usize(..8) {
                bytes.splice(at..at, part.iter().copied());
            }
        }
        7 if !other.is_empty() => {
            let from = random.usize(..other.len());
            let to = (from + random.usize(..=64)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        8 => {
            let number = ["0", "-1", "255", "65536", "4294967296", "18446744073709551616", "1e400", "00"];
            bytes.splice(at..end, number[random.usize(..number.len())].bytes());
        }
        _ if !words.is_empty() => {
            let word = words[random.usize(..words.len())];
            let end = if random.bool() { at } else { end };
            bytes.splice(at..end, word.bytes());
        }
        _ => {}
    }
}

/// A smaller input that `fails` as well; tries parts away, large ones first.
pub fn shrink(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut part = (best.len() / 2).max(1);
    loop {
        let mut at = 0;
        let before = best.len();
        while at < best.len() {
            let mut shorter = best[..at].to_vec();
            shorter.extend_from_slice(&best[(at + part).min(best.len())..]);
            if fails(&shorter) { best = shorter } else { at += part }
        }
        if part == 1 && best.len() == before {
            return best;
        }
        part = (part / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let make = |seed| mutate(b"abc", b"xyz", &["word"], &mut Rng::with_seed(seed));
        assert_eq!(make(7), make(7));
        assert!((0..20).any(|seed| make(seed) != b"abc"));
    }

    #[test]
    fn shrinking_leaves_what_matters() {
        let small = shrink(b"aaaaaaaaXbbbbbYbbbb", |bytes| bytes.contains(&b'X') && bytes.contains(&b'Y'));
        assert_eq!(small, b"XY");
    }
}
