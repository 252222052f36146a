//! As much of HPACK as the cases need: literals without indexing and without Huffman on the way out, the status on the way in.
//! The target is told to use no dynamic table, so every block can be read by itself.

/// A block of literal fields that nothing indexes.
pub(super) fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value.as_bytes());
    }
    block
}

/// A plain string with its length (RFC 7541 5.2).
pub(super) fn string(block: &mut Vec<u8>, text: &[u8]) {
    integer(block, 7, 0, text.len());
    block.extend_from_slice(text);
}

/// An integer in a prefix of `bits` bits, under `pattern` (RFC 7541 5.1).
pub(super) fn integer(block: &mut Vec<u8>, bits: u32, pattern: u8, value: usize) {
    let most = (1usize << bits) - 1;
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    if value < most {
        block.push(pattern | byte(value));
        return;
    }
    block.push(pattern | byte(most));
    let mut rest = value - most;
    while rest >= 128 {
        block.push(byte(rest % 128) | 128);
        rest /= 128;
    }
    block.push(byte(rest));
}

/// The status in the block of an answer: its first field after any change of the table's size.
pub(super) fn status(block: &[u8]) -> Option<u16> {
    let mut at = 0;
    // Dynamic table size updates.
    while block.get(at)? & 0xe0 == 0x20 {
        let (_, used) = read_integer(block.get(at..)?, 5)?;
        at += used;
    }
    let first = *block.get(at)?;
    if first & 0x80 != 0 {
        let known = [200, 204, 206, 304, 400, 404, 500];
        return known.get(usize::from(first & 0x7f).checked_sub(8)?).copied();
    }
    let bits = if first & 0x40 != 0 { 6 } else { 4 };
    let (name, used) = read_integer(block.get(at..)?, bits)?;
    at += used;
    if name == 0 {
        let (length, used) = read_integer(block.get(at..)?, 7)?;
        at += used + length;
    }
    let huffman = block.get(at)? & 0x80 != 0;
    let (length, used) = read_integer(block.get(at..)?, 7)?;
    let value = block.get(at + used..at + used + length)?;
    let text = if huffman { digits(value)? } else { String::from_utf8(value.to_vec()).ok()? };
    text.parse().ok()
}

fn read_integer(bytes: &[u8], bits: u32) -> Option<(usize, usize)> {
    let most = (1usize << bits) - 1;
    let mut value = usize::from(*bytes.first()?) & most;
    if value < most {
        return Some((value, 1));
    }
    let mut shift = 0;
    for (index, byte) in bytes.iter().enumerate().skip(1).take(4) {
        value += usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Huffman-coded digits (RFC 7541 B): 0, 1 and 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> Option<String> {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0u32, |sum, bit| sum * 2 + u32::from(*bit));
    let (mut text, mut at) = (String::new(), 0);
    while bits.len() - at >= 5 {
        let five = number(bits.get(at..at + 5)?);
        if five < 3 {
            text.push(char::from_digit(five, 10)?);
            at += 5;
            continue;
        }
        let Some(six) = bits.get(at..at + 6).map(number) else { break };
        match six {
            25..=31 => text.push(char::from_digit(six - 22, 10)?),
            _ => break,
        }
        at += 6;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_follow_the_examples_of_the_rfc() {
        for (bits, value, bytes) in [(5, 10, &[10][..]), (5, 1337, &[31, 154, 10]), (8, 42, &[42])] {
            let mut block = Vec::new();
            integer(&mut block, bits, 0, value);
            assert_eq!(block, bytes);
            assert_eq!(read_integer(bytes, bits), Some((value, bytes.len())));
        }
    }

    #[test]
    fn a_status_is_read_in_every_form() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8d]), Some(404));
        // RFC 7541 C.6.1: 302, Huffman, with a dynamic entry.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(status(&[0x08, 0x03, b'5', b'0', b'3']), Some(503));
        assert_eq!(status(&literals(&[(":status", "431")])), Some(431));
        assert_eq!(status(&[]), None);
    }
}
