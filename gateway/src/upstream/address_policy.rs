//! Addresses that a registrant may not make us connect to: link-local and metadata services, ourselves, nonsense.
//!
//! Literal addresses are judged when the table is compiled, names when they are resolved, each time by who connects.
//! What an operator wrote in the configuration is exempt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The rules of one gateway process.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// Loopback addresses are fine only when we listen on loopback ourselves: everything is on one machine then.
    pub loopback_allowed: bool,
    /// Our own listeners: a request that came back to us would go around for ever.
    pub own: Vec<SocketAddr>,
}

impl AddressPolicy {
    /// The policy of a process with these listeners.
    pub fn of(listeners: Vec<SocketAddr>) -> Self {
        Self { loopback_allowed: listeners.iter().any(|l| l.ip().is_loopback()), own: listeners }
    }

    /// Why `address` must not be connected to, if so.
    pub fn refuses(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = address.ip().to_canonical();
        if address.port() == 0 {
            return Some("port 0 is no port");
        }
        if let Some(reason) = never(ip) {
            return Some(reason);
        }
        if ip.is_loopback() && !self.loopback_allowed {
            return Some("it is a loopback address and the gateway does not listen on loopback");
        }
        let is_own = |own: &SocketAddr| {
            let same_host = own.ip() == ip || (own.ip().is_unspecified() && ip.is_loopback());
            own.port() == address.port() && same_host
        };
        self.own.iter().any(is_own).then_some("it is the gateway itself")
    }
}

fn never(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => never_v4(ip),
        IpAddr::V6(ip) => never_v6(ip),
    }
}

fn never_v4(ip: Ipv4Addr) -> Option<&'static str> {
    if ip.octets().starts_with(&[0]) {
        return Some("it is an unspecified address");
    }
    if ip.is_link_local() {
        return Some("it is a link-local address, where cloud metadata services live");
    }
    (ip.is_multicast() || ip.is_broadcast()).then_some("it is a multicast or broadcast address")
}

fn never_v6(ip: Ipv6Addr) -> Option<&'static str> {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    if ip.is_unspecified() {
        return Some("it is an unspecified address");
    }
    if ip.is_unicast_link_local() || ip == METADATA {
        return Some("it is a link-local or metadata address");
    }
    if ip.is_multicast() {
        return Some("it is a multicast address");
    }
    // The deprecated ::a.b.c.d form, 6to4 (2002::/16) and NAT64 (64:ff9b::/96) carry an IPv4 address that other stacks reach.
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, a, b] if a != 0 => embedded(a, b),
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] => embedded(a, b),
        _ => None,
    }
}

fn embedded(high: u16, low: u16) -> Option<&'static str> {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    let inner = Ipv4Addr::new(a, b, c, d);
    never_v4(inner).or_else(|| inner.is_loopback().then_some("it carries a loopback address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_and_accepted() {
        let policy = AddressPolicy::of(vec!["10.0.0.9:8000".parse().unwrap()]);
        for address in [
            "0.0.0.0:80",
            "0.1.2.3:80",
            "169.254.169.254:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "127.0.0.1:80",
            "10.0.0.1:0",
            "10.0.0.9:8000",
            "[::]:80",
            "[::1]:80",
            "[fe80::1]:80",
            "[ff02::1]:80",
            "[fd00:ec2::254]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:169.254.169.254]:80",
            "[::169.254.169.254]:80",
            "[64:ff9b::169.254.169.254]:80",
            "[2002:7f00:1::]:80",
            "[::ffff:10.0.0.9]:8000",
        ] {
            assert!(policy.refuses(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in [
            "10.0.0.1:80",
            "192.168.1.1:8000",
            "172.17.0.2:80",
            "10.0.0.9:8001",
            "[fd00::1]:80",
            "8.8.8.8:80",
        ] {
            assert_eq!(policy.refuses(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn loopback_is_fine_beside_a_loopback_listener_but_not_the_listener_itself() {
        let policy = AddressPolicy::of(vec!["127.0.0.1:8000".parse().unwrap()]);
        assert_eq!(policy.refuses("127.0.0.1:9000".parse().unwrap()), None);
        assert!(policy.refuses("127.0.0.1:8000".parse().unwrap()).is_some());
    }
}
