//! Message framing, read as strictly as RFC 9112 6 and 7 are written, for what the service gets and what clients get.

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

/// What there is of a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    Whole {
        body: Vec<u8>,
        trailers: Vec<u8>,
        length: usize,
    },
    /// Not all of it yet; the data so far.
    More(Vec<u8>),
    Bad(String),
}

/// The values of the fields called `name` in a head.
pub(crate) fn values(head: &[u8], name: &str) -> Vec<String> {
    let lines = head.split(|b| *b == b'\n').skip(1);
    lines
        .filter_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            let (found, value) = line.split_at(colon);
            let value = value.get(1..)?.trim_ascii();
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| String::from_utf8_lossy(value).into_owned())
        })
        .collect()
}

/// How the body of a request with `head` is framed; anything ambiguous is an error.
pub(crate) fn framing(head: &[u8]) -> Result<Framing, String> {
    let lengths = values(head, "content-length");
    let codings = values(head, "transfer-encoding");
    for line in head.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        if line.contains(&b'\r') || line.contains(&0) {
            return Err("a bare CR or a NUL reached the service".into());
        }
        if line.contains(&b':') && name.ends_with(b" ") && !line.starts_with(b" ") && !name.contains(&b'/') {
            return Err("white space before a colon reached the service".into());
        }
    }
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => length
            .parse()
            .map(Framing::Length)
            .map_err(|_| format!("Content-Length: {length} reached the service")),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        _ => Err(format!("ambiguous framing reached the service: lengths {lengths:?}, codings {codings:?}")),
    }
}

/// Reads a chunked body from its first byte.
pub(crate) fn decode(bytes: &[u8]) -> Decoded {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Decoded::More(body) };
        let line = &bytes[at..at + end];
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let text = String::from_utf8_lossy(&line[..digits]).into_owned();
        let rest = &line[digits..];
        if digits == 0 || digits > 15 || !(rest.is_empty() || rest.trim_ascii_start().starts_with(b";")) {
            return Decoded::Bad(format!("a bad chunk size: {}", String::from_utf8_lossy(line)));
        }
        let Ok(size) = usize::from_str_radix(&text, 16) else {
            return Decoded::Bad("a bad chunk size".into());
        };
        at += end + 2;
        if size == 0 {
            return trailers(bytes, at, body);
        }
        let Some(data) = bytes.get(at..at + size) else {
            body.extend_from_slice(&bytes[at..]);
            return Decoded::More(body);
        };
        body.extend_from_slice(data);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Decoded::Bad("no CRLF after a chunk".into()),
            None => return Decoded::More(body),
        }
    }
}

fn trailers(bytes: &[u8], start: usize, body: Vec<u8>) -> Decoded {
    if bytes[start..].starts_with(b"\r\n") {
        return Decoded::Whole { body, trailers: Vec::new(), length: start + 2 };
    }
    match find(&bytes[start..], b"\r\n\r\n") {
        Some(end) => {
            let trailers = bytes[start..start + end + 2].to_vec();
            Decoded::Whole { body, trailers, length: start + end + 4 }
        }
        None => Decoded::More(body),
    }
}

/// Where `part` begins in `bytes`.
pub(crate) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_length_or_chunked_and_nothing_else_frames_a_body() {
        assert_eq!(framing(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Length(0)));
        assert_eq!(framing(b"P / HTTP/1.1\r\nContent-Length: 12\r\n\r\n"), Ok(Framing::Length(12)));
        assert_eq!(framing(b"P / HTTP/1.1\r\nTransfer-encoding: Chunked\r\n\r\n"), Ok(Framing::Chunked));
        for bad in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: +1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding : chunked",
        ] {
            assert!(framing(format!("P / HTTP/1.1\r\n{bad}\r\n\r\n").as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn chunks_are_read_to_their_end_and_no_further() {
        let whole = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\nGET";
        let Decoded::Whole { body, trailers, length } = decode(whole) else { panic!("not whole") };
        assert_eq!(
            (body.as_slice(), trailers.as_slice(), length),
            (&b"abcde"[..], &b"A: b\r\n"[..], whole.len() - 3)
        );
        assert_eq!(decode(b"3\r\nab"), Decoded::More(b"ab".to_vec()));
        for bad in ["x\r\n", "3\r\nabcX\r\n", "0x3\r\nabc\r\n", "3 x\r\nabc\r\n"] {
            assert!(matches!(decode(bad.as_bytes()), Decoded::Bad(_)), "{bad}");
        }
    }
}
