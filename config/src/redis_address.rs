//! Where a Redis is: `redis://[:password@]host[:port][/db]`, or the Sentinels that know it,
//! `redis+sentinel://[:password@]host[:port][,host[:port]...]/master-name[/db]`.

use std::fmt;

use crate::secret::Secret;
use percent_encoding::percent_decode_str;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// More Sentinels than any set-up has.
const MAX_SENTINELS: usize = 16;

/// A host with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// Who tells where the Redis is that takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// The address does.
    Fixed(HostPort),
    /// Any of these Sentinels does.
    Sentinel {
        /// In the order in which they are asked.
        sentinels: Vec<HostPort>,
        /// The name under which they watch it.
        master: String,
    },
}

/// A checked address of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAddress {
    /// Who tells where it is.
    pub whereabouts: Whereabouts,
    /// What Redis wants to hear first. Sentinels are asked without one.
    pub password: Option<Secret>,
    /// The number of the database.
    pub db: u16,
}

impl StoreAddress {
    /// Reads `text`. The error says what is wrong, and never shows the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (sentinel, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("redis+sentinel", rest)) => (true, rest),
            Some(("rediss", _)) => {
                return Err("TLS to Redis is not supported: use redis:// inside a private network".into());
            }
            _ => {
                return Err("a store is memory, redis://[:password@]host[:port][/db] or \
                     redis+sentinel://[:password@]host[:port],host[:port]/master-name[/db]"
                    .into());
            }
        };
        if rest.contains(['?', '#']) {
            return Err("a store's address has no query and no fragment".into());
        }
        let (password, rest) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((userinfo, rest)) => (Some(password(userinfo)?), rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        if sentinel {
            let (master, db) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err(
                    "the name of the master is missing: redis+sentinel://host:26379/master-name".into()
                );
            }
            let sentinels: Vec<_> =
                hosts.split(',').map(|h| host_port(h, SENTINEL_PORT)).collect::<Result<_, _>>()?;
            if sentinels.len() > MAX_SENTINELS {
                return Err(format!("{} Sentinels, {MAX_SENTINELS} are allowed", sentinels.len()));
            }
            let whereabouts = Whereabouts::Sentinel { sentinels, master: master.to_owned() };
            Ok(Self { whereabouts, password, db: number(db)? })
        } else {
            let whereabouts = Whereabouts::Fixed(host_port(hosts, REDIS_PORT)?);
            Ok(Self { whereabouts, password, db: number(path)? })
        }
    }

    /// With a password from elsewhere; two that contradict are a mistake.
    pub fn with_password(mut self, given: Option<Secret>) -> Result<Self, String> {
        if self.password.is_some() && given.is_some() {
            return Err(
                "the password is in --store and in REDIS_PASSWORD (or its _FILE): keep one of them".into()
            );
        }
        self.password = self.password.or(given);
        Ok(self)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn password(userinfo: &str) -> Result<Secret, String> {
    let Some(("", password)) = userinfo.split_once(':') else {
        return Err("a user name is not supported: redis://:password@host, or REDIS_PASSWORD".into());
    };
    let decoded = percent_decode_str(password).decode_utf8();
    let decoded = decoded.map_err(|_| "the password is not UTF-8 after percent-decoding".to_owned())?;
    if decoded.is_empty() {
        return Err("the password is empty: leave ':@' out".into());
    }
    Ok(Secret::new(decoded.into_owned()))
}

fn host_port(text: &str, default_port: u16) -> Result<HostPort, String> {
    let wrong = || format!("'{text}' is not host:port");
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
        (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("")).ok_or_else(wrong)?)
    } else {
        text.split_once(':').unwrap_or((text, ""))
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(legal) {
        return Err(wrong());
    }
    let port = match port {
        "" => default_port,
        digits => digits.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
    };
    Ok(HostPort { host: host.to_owned(), port })
}

fn number(db: &str) -> Result<u16, String> {
    match db {
        "" => Ok(0),
        digits => digits.parse().map_err(|_| format!("'{digits}' is not the number of a database")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }

    #[test]
    fn what_is_accepted() {
        let plain = StoreAddress::parse("redis://cache").unwrap();
        let fixed = Whereabouts::Fixed(at("cache", 6379));
        assert_eq!(plain, StoreAddress { whereabouts: fixed, password: None, db: 0 });
        let full = StoreAddress::parse("redis://:p%40ss@[::1]:7000/3").unwrap();
        assert_eq!(full.whereabouts, Whereabouts::Fixed(at("::1", 7000)));
        assert_eq!(
            (full.password.as_ref().map(|p| p.expose().to_owned()), full.db),
            (Some("p@ss".into()), 3)
        );
        assert!(!format!("{full:?}").contains("p@ss"));
        let sentinel = StoreAddress::parse("redis+sentinel://:x@a,b:1/main/2").unwrap();
        let sentinels = vec![at("a", 26379), at("b", 1)];
        assert_eq!(sentinel.whereabouts, Whereabouts::Sentinel { sentinels, master: "main".into() });
        assert_eq!(sentinel.db, 2);
    }

    #[test]
    fn what_is_refused_never_shows_the_password() {
        for bad in [
            "",
            "cache:6379",
            "rediss://s3cret@h",
            "redis://",
            "redis://user:s3cret@h",
            "redis://:@h",
            "redis://h:0",
            "redis://h:70000",
            "redis://h:1:2",
            "redis://h/x",
            "redis://:s3cret@h/1/2",
            "redis://h?db=1",
            "redis://[::g]:1",
            "redis+sentinel://h",
            "redis+sentinel://h,/m",
            "redis://a,b",
        ] {
            let why = StoreAddress::parse(bad).unwrap_err();
            assert!(!why.is_empty() && !why.contains("s3cret"), "{bad}: {why}");
        }
        let twice = StoreAddress::parse("redis://:a@h").unwrap().with_password(Some(Secret::new("b")));
        assert!(twice.unwrap_err().contains("keep one"));
    }
}
