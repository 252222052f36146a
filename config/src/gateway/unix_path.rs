//! `unix:/run/app.sock`: a socket on this machine instead of an address.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use vertice_registry_api::name::shorten;

/// What such a path begins with.
pub(crate) const SCHEME: &str = "unix:";

/// The kernel's `sun_path` has 108 bytes, one of them for the end.
const LONGEST: usize = 107;

/// The path of a Unix socket: absolute, and no longer than the kernel takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixPath(Arc<str>);

impl UnixPath {
    /// As the system knows it.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// Without `unix:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnixPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix(SCHEME).ok_or_else(|| format!("is {}", shorten(text)))?;
        if !path.starts_with('/') || path.ends_with('/') || path.chars().any(char::is_control) {
            return Err(format!("is {}, no absolute path of a socket", shorten(text)));
        }
        if path.len() > LONGEST {
            return Err(format!("has a path of {} bytes; a Unix socket's has at most {LONGEST}", path.len()));
        }
        Ok(Self(path.into()))
    }
}

impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_and_short_or_not_at_all() {
        for text in ["unix:/a", "unix:/run/app.sock", &format!("unix:/{}", "x".repeat(106))] {
            assert_eq!(text.parse::<UnixPath>().map(|path| path.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "/run/a",
            "unix:",
            "unix:a",
            "unix:run/a",
            "unix:/",
            "unix:/a/",
            "unix:/a\0",
            "unix://h/a/",
            "http://a",
        ] {
            assert!(text.parse::<UnixPath>().is_err(), "{text}");
        }
        assert!(format!("unix:/{}", "x".repeat(107)).parse::<UnixPath>().is_err());
    }
}
