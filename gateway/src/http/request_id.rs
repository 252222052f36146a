//! The id that ties a request's traces together: the client's, when it is one, else a new one.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// `x-request-id`
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones are not ids but payloads.
const LONGEST_BYTES: usize = 128;

/// The request's id, which is in `headers` afterwards.
pub fn settle(headers: &mut HeaderMap, random: &mut fastrand::Rng) -> HeaderValue {
    let mut given = headers.get_all(X_REQUEST_ID).iter();
    if let (Some(one), None) = (given.next(), given.next())
        && is_id(one.as_bytes())
    {
        return one.clone();
    }
    // Not `OccupiedEntry::insert_mult`: it panics where three or more values are there (http 1.5.0).
    let id = new(random);
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

/// Only what cannot break a log line or a header.
fn is_id(bytes: &[u8]) -> bool {
    let legal = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:+/=".contains(b);
    (1..=LONGEST_BYTES).contains(&bytes.len()) && bytes.iter().all(legal)
}

/// 128 random bits in hexadecimal. Ids must not collide; they are no secret.
fn new(random: &mut fastrand::Rng) -> HeaderValue {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let bits = random.u128(..);
    let mut text = [0_u8; 32];
    for (byte, shift) in text.iter_mut().zip((0..128).step_by(4)) {
        let nibble = usize::try_from((bits >> shift) & 0xf).unwrap_or(0);
        *byte = HEX.get(nibble).copied().unwrap_or(b'0');
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_when_it_is_one_and_made_when_it_is_not() {
        let mut random = fastrand::Rng::with_seed(1);
        for (given, kept) in [
            (vec!["abc-1"], true),
            (vec![], false),
            (vec![""], false),
            (vec!["a b"], false),
            (vec!["a", "b"], false),
            (vec!["a", "b", "c"], false),
            (vec!["a", "b", "c", "d"], false),
            (vec!["{\"x\":1}"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &given {
                headers.append(X_REQUEST_ID, value.parse().unwrap());
            }
            let id = settle(&mut headers, &mut random);
            assert_eq!(given == [id.to_str().unwrap()], kept, "{given:?}");
            assert_eq!(headers.get_all(X_REQUEST_ID).iter().collect::<Vec<_>>(), [&id]);
        }
    }

    #[test]
    fn new_ones_differ() {
        let mut random = fastrand::Rng::with_seed(1);
        assert_ne!(new(&mut random), new(&mut random));
    }
}
