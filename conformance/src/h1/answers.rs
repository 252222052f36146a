//! What a client got, taken apart into answers.

use super::chunked::{self, Decoded};

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// It came to the end that its framing promises.
    pub(crate) whole: bool,
}

/// Takes `bytes` apart; `ended`: the connection is closed. `heads`: the first final answer has no body, being one to HEAD.
/// Interim answers stand in the list as well. What is no answer at all is an answer with status 0.
pub(crate) fn parse(bytes: &[u8], ended: bool, head: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut rest = bytes;
    let mut finals = 0;
    while !rest.is_empty() {
        let Some(end) = chunked::find(rest, b"\r\n\r\n") else {
            // HTTP/0.9 has no head at all; half a head is one that is still coming.
            if !rest.starts_with(b"HTTP/1.") {
                answers.push(Answer { status: 0, body: rest.to_vec(), whole: false });
            }
            break;
        };
        let text = &rest[..end + 4];
        let status = text.get(9..12).and_then(|s| std::str::from_utf8(s).ok()).and_then(|s| s.parse().ok());
        let Some(status @ 100..=999) = status.filter(|_| text.starts_with(b"HTTP/1.")) else {
            answers.push(Answer { status: 0, body: rest.to_vec(), whole: false });
            break;
        };
        rest = &rest[end + 4..];
        let bodiless = status < 200 || status == 204 || status == 304 || (head && finals == 0);
        finals += usize::from(status >= 200);
        let (body, whole, used) = if bodiless { (Vec::new(), true, 0) } else { body(text, rest, ended) };
        rest = &rest[used..];
        answers.push(Answer { status, body, whole });
        if !whole {
            break;
        }
    }
    answers
}

fn body(head: &[u8], rest: &[u8], ended: bool) -> (Vec<u8>, bool, usize) {
    if chunked::values(head, "transfer-encoding").iter().any(|v| v.eq_ignore_ascii_case("chunked")) {
        return match chunked::decode(rest) {
            Decoded::Whole { body, length, .. } => (body, true, length),
            Decoded::More(body) => (body, false, rest.len()),
            Decoded::Bad(_) => (rest.to_vec(), false, rest.len()),
        };
    }
    match chunked::values(head, "content-length").first().and_then(|v| v.parse().ok()) {
        Some(length) => match rest.get(..length) {
            Some(body) => (body.to_vec(), true, length),
            None => (rest.to_vec(), false, rest.len()),
        },
        // Framed by the end of the connection.
        None => (rest.to_vec(), ended, rest.len()),
    }
}

/// The final ones among `answers`.
pub(crate) fn finals(answers: &[Answer]) -> Vec<&Answer> {
    answers.iter().filter(|answer| answer.status >= 200 || answer.status == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_their_framing() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
        let all = parse(bytes, false, false);
        let seen: Vec<_> = all.iter().map(|a| (a.status, a.body.as_slice(), a.whole)).collect();
        assert_eq!(seen, [(100, &b""[..], true), (200, &b"ok"[..], true), (404, &b"x"[..], true)]);
        assert!(!parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", true, false)[0].whole);
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\nok", true, false)[0].whole);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, true)[0].body, b"");
        assert_eq!(parse(b"<html>", true, false)[0].status, 0);
    }
}
