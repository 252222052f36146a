//! Addresses that a registrant may not make us connect to: link-local and metadata services, ourselves, nonsense.
//!
//! Literal addresses are judged when the table is compiled, names when they are resolved, each time by who connects.
//! What an operator wrote in the configuration is exempt.

use std::net::SocketAddr;

use vertice_config::gateway::ListenAddress;
use vertice_registry_api::address::{embedded, refused};

/// The rules of one gateway process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Loopback addresses are fine only when we listen on loopback ourselves: everything is on one machine then.
    pub loopback_allowed: bool,
    /// Our own listeners: a request that came back to us would go around for ever.
    pub own: Vec<SocketAddr>,
}

impl AddressPolicy {
    /// The policy of a process whose clients come in at `listeners`, and which has `others` of its own beside them.
    pub fn of(listeners: &[ListenAddress], others: impl IntoIterator<Item = SocketAddr>) -> Self {
        let in_network = |listener: &ListenAddress| match listener {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        };
        Self {
            // Who comes in at a Unix socket is on this machine.
            loopback_allowed: { listeners.iter().map(in_network) }
                .any(|address| address.is_none_or(|address| address.ip().is_loopback())),
            own: listeners.iter().filter_map(in_network).chain(others).collect(),
        }
    }

    /// What speaks against connecting to `address`, if anything does.
    pub fn refuses(&self, address: SocketAddr) -> Option<String> {
        if address.port() == 0 {
            return Some("port 0 is no port".into());
        }
        // Both the form as written and what it stands for must be allowed.
        let real = embedded(address.ip());
        for ip in [address.ip(), real] {
            if let Some(what) = refused(ip) {
                return Some(format!("{ip} is {what}"));
            }
            if ip.is_loopback() && !self.loopback_allowed {
                return Some(format!(
                    "{ip} is a loopback address and the gateway does not listen on loopback"
                ));
            }
        }
        let is_own = |own: &SocketAddr| {
            let same_host = own.ip() == real || (own.ip().is_unspecified() && real.is_loopback());
            own.port() == address.port() && same_host
        };
        self.own.iter().any(is_own).then(|| "it is the gateway itself".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_and_accepted() {
        let policy =
            AddressPolicy::of(&["10.0.0.9:8000".parse().unwrap()], ["127.0.0.1:9901".parse().unwrap()]);
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
        let policy = AddressPolicy::of(&["127.0.0.1:8000".parse().unwrap()], []);
        assert_eq!(policy.refuses("127.0.0.1:9000".parse().unwrap()), None);
        assert!(policy.refuses("127.0.0.1:8000".parse().unwrap()).is_some());
    }
}
