//! An instance's URL: scheme, host, port and base path, and nothing that could mean something else elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;
use crate::name::{Checked, RuleError, shorten};

/// How to speak to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// The host part of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name in lower case. Underscores are allowed: container names have them.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A checked `http(s)://host[:port][/base]` with no userinfo, query or fragment, at most 512 bytes.
///
/// The normal form (lower-case host, explicit port, no trailing slash) is what is compared and sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceUrl {
    scheme: Scheme,
    host: Host,
    port: u16,
    base: Arc<str>,
}

impl ServiceUrl {
    /// Parses and checks `text`.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let wrong = |why: &str| {
            RuleError(format!("a URL is http(s)://host[:port][/path], {} is not: {why}", shorten(text)))
        };
        if text.len() > limits::URL_BYTES {
            return Err(wrong(&format!("it has {} bytes, {} are allowed", text.len(), limits::URL_BYTES)));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err(wrong("it has characters outside printable ASCII, a space or a backslash"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((s, rest)) if s.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((s, rest)) if s.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some(_) => return Err(wrong("the scheme is neither http nor https")),
            None => return Err(wrong("it does not start with http:// or https://")),
        };
        if rest.contains(['?', '#']) {
            return Err(wrong("it has a query or a fragment"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong("it has userinfo"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| wrong("the port is not a number"))?;
        let port = match port {
            None => {
                if scheme == Scheme::Http {
                    80
                } else {
                    443
                }
            }
            Some(digits) => {
                let number =
                    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u16>().ok()).flatten();
                match number {
                    None | Some(0) => return Err(wrong("the port is not between 1 and 65535")),
                    Some(port) => port,
                }
            }
        };
        let host = parse_host(host).ok_or_else(|| wrong("the host is neither an address nor a name"))?;
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(wrong("the path has dot segments"));
        }
        let base = path.trim_end_matches('/');
        // Mostly there is none, and all of those share it.
        let base = if base.is_empty() { Arc::default() } else { Arc::from(base) };
        Ok(Self { scheme, host, port, base })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, a name in lower case or an address.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, the scheme's default where the text had none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands before every request path: empty, or `/base` without a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `host:port` as it stands in a Host header.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.base)
    }
}

impl Serialize for ServiceUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Checked(Self::parse))
    }
}

impl TryFrom<String> for ServiceUrl {
    type Error = RuleError;
    fn try_from(text: String) -> Result<Self, RuleError> {
        Self::parse(&text)
    }
}

impl From<ServiceUrl> for String {
    fn from(url: ServiceUrl) -> String {
        url.to_string()
    }
}

impl std::str::FromStr for ServiceUrl {
    type Err = RuleError;
    fn from_str(text: &str) -> Result<Self, RuleError> {
        Self::parse(text)
    }
}

/// Host and port text; `None` when what follows a bracketed address is not a port.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let (host, rest) = authority.split_at(authority.find(']')? + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    Some(match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn parse_host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|ip| Host::Ip(ip.into()));
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Some(Host::Ip(ip.into()));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    // A last label of digits (or 0x..) would be read as an address by many resolvers: "127.1" is loopback.
    let last = name.rsplit('.').next()?;
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    (name.len() <= 253 && !numeric && name.split('.').all(label)).then(|| Host::Name(Arc::from(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_with_their_normal_form() {
        for (text, normal) in [
            ("http://vertice-maximus_eureka:8200", "http://vertice-maximus_eureka:8200"),
            ("http://10.0.0.1", "http://10.0.0.1:80"),
            ("HTTPS://Example.COM./", "https://example.com:443"),
            ("http://[::1]:9/base/", "http://[::1]:9/base"),
            ("http://[::ffff:127.0.0.1]:9", "http://[::ffff:127.0.0.1]:9"),
        ] {
            assert_eq!(ServiceUrl::parse(text).map(|u| u.to_string()).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "not a url",
            "ftp://a:1",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://a:",
            "http://u:p@a:1",
            "http://a:1?x",
            "http://a:1#x",
            "http://a:1/../x",
            "http://a b:1",
            "http://[::1",
            "http://[::1]x:1",
            "http://127.1",
            "http://0x7f000001",
            "http://2130706433",
            "http://a..b",
            "http://-a",
            "http://a\\b",
            "//a:1",
            &format!("http://a/{}", "x".repeat(512)),
        ] {
            assert!(ServiceUrl::parse(text).is_err(), "{text}");
        }
    }
}
