//! The one normal form of a path, used for matching, forwarding and logging alike: the bytes as they came, or refused.
//!
//! Nothing is decoded or rewritten, so what is matched is what is sent; what two parsers could read differently
//! (dot segments, encoded or not, backslashes, NUL) is refused. `%2F` elsewhere is data and stays as it is.

use std::fmt;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not start with a slash.
    NotAbsolute,
    /// A segment is or hides `.` or `..`.
    DotSegment,
    /// A backslash, plain or as `%5c`.
    Backslash,
    /// A NUL, plain or as `%00`.
    Nul,
    /// A percent sign without two hexadecimal digits.
    Percent,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not start with a slash",
            Self::DotSegment => "the path has dot segments",
            Self::Backslash => "the path has a backslash",
            Self::Nul => "the path has a NUL",
            Self::Percent => "the path has a percent sign that encodes nothing",
        })
    }
}

/// Judges the path of a request target (no query in it).
pub fn check(path: &str) -> Result<(), PathError> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    // Most paths have none of these four bytes: one pass, no further work.
    if !bytes.iter().any(|b| matches!(b, b'%' | b'\\' | b'.' | 0)) {
        return Ok(());
    }
    check_octets(bytes)?;
    if path.split('/').any(starts_with_dots) { Err(PathError::DotSegment) } else { Ok(()) }
}

fn check_octets(bytes: &[u8]) -> Result<(), PathError> {
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'\\' => return Err(PathError::Backslash),
            0 => return Err(PathError::Nul),
            b'%' => match tail {
                [b'0', b'0', ..] => return Err(PathError::Nul),
                [b'5', b'c' | b'C', ..] => return Err(PathError::Backslash),
                [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
                _ => return Err(PathError::Percent),
            },
            _ => {}
        }
    }
    Ok(())
}

/// Whether a segment is `.` or starts with `..`, each dot plain or encoded, up to its end, a `;` or an encoded slash.
fn starts_with_dots(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    loop {
        if let Some(tail) = rest.strip_prefix('.') {
            (dots, rest) = (dots + 1, tail);
        } else if let Some(tail) = rest.strip_prefix("%2e").or_else(|| rest.strip_prefix("%2E")) {
            (dots, rest) = (dots + 1, tail);
        } else {
            break;
        }
    }
    let ends = rest.is_empty()
        || rest.starts_with(';')
        || rest.get(..3).is_some_and(|s| s.eq_ignore_ascii_case("%2f") || s.eq_ignore_ascii_case("%3b"));
    // Any segment that begins with two dots is refused, `..x` too: some servers cut it at bytes we do not know of.
    let hidden = segment_after_encoded_slash(segment).is_some_and(starts_with_dots);
    dots >= 2 || (dots == 1 && ends) || hidden
}

fn segment_after_encoded_slash(segment: &str) -> Option<&str> {
    let at = segment.as_bytes().windows(3).position(|w| matches!(w, [b'%', b'2', b'f' | b'F']))?;
    segment.get(at + 3..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_as_they_came() {
        for path in [
            "/",
            "//",
            "/a",
            "/a//b",
            "/a%2Fb",
            "/a%2fb/c",
            "/.well-known/x",
            "/a.b/c..d",
            "/a/.hidden",
            "/%41",
            "/a;v=1",
            "/.a",
            "/a%2F.b",
            "/x%2e",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn refused() {
        for (path, error) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/..", PathError::DotSegment),
            ("/a/../b", PathError::DotSegment),
            ("/./a", PathError::DotSegment),
            ("/a/.", PathError::DotSegment),
            ("/%2e%2e/a", PathError::DotSegment),
            ("/.%2E/a", PathError::DotSegment),
            ("/%2e/a", PathError::DotSegment),
            ("/..;/a", PathError::DotSegment),
            ("/.;x/a", PathError::DotSegment),
            ("/..%2fa", PathError::DotSegment),
            ("/a%2f..%2fb", PathError::DotSegment),
            ("/a%2F%2e%2e", PathError::DotSegment),
            ("/..a", PathError::DotSegment),
            ("/a\\b", PathError::Backslash),
            ("/a%5cb", PathError::Backslash),
            ("/a%5Cb", PathError::Backslash),
            ("/a%00", PathError::Nul),
            ("/a\0", PathError::Nul),
            ("/a%", PathError::Percent),
            ("/a%2", PathError::Percent),
            ("/a%zz", PathError::Percent),
        ] {
            assert_eq!(check(path), Err(error), "{path}");
        }
    }
}
