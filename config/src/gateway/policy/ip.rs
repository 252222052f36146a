//! `[ip.NAME]`: from which addresses clients may ask.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::keys::{Key, names};
use crate::reader::{Reading, Section};
use crate::values;

pub(in crate::gateway) const KEYS: &[Key] = &[
    Key {
        name: "allow",
        kind: "list of networks",
        default: None,
        absent: "everybody whom `deny` does not name",
        example: "[\"10.0.0.0/8\", \"2001:db8::/32\"]",
        what: "Clients that may ask; 403 for all others. The client is the peer, or whom a trusted proxy names in X-Forwarded-For.",
        why: "",
    },
    Key {
        name: "deny",
        kind: "list of networks",
        default: Some("[]"),
        absent: "",
        example: "[\"10.0.99.0/24\"]",
        what: "Clients that may not, also where `allow` names them.",
        why: "",
    },
];

/// A block list of a whole continent; one look among so many is 17 comparisons.
const NETWORKS: usize = 100_000;

/// From which addresses clients may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// Under which name routes and listeners have it.
    pub name: String,
    /// These may; `None`: all.
    pub allow: Option<Networks>,
    /// These may not.
    pub deny: Networks,
}

/// An address in the order of all: the family first, so that `::/0` is all of IPv6 and nothing else.
type Spot = (u8, u128);

/// Networks that are looked up fast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// As they were written.
    written: Vec<IpNet>,
    /// First and last addresses, by the first, none in two of them.
    ranges: Vec<(Spot, Spot)>,
}

impl IpConfig {
    /// Whether a client at `address` may ask.
    pub fn admits(&self, address: IpAddr) -> bool {
        !self.deny.contain(address) && self.allow.as_ref().is_none_or(|allow| allow.contain(address))
    }
}

impl Networks {
    /// Of these.
    pub fn new(written: Vec<IpNet>) -> Self {
        let mut all: Vec<(Spot, Spot)> =
            written.iter().map(|net| (spot(net.network()), spot(net.broadcast()))).collect();
        all.sort_unstable();
        let mut ranges: Vec<(Spot, Spot)> = Vec::new();
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                Some(_) | None => ranges.push((first, last)),
            }
        }
        Self { written, ranges }
    }

    /// As they were written.
    pub fn written(&self) -> &[IpNet] {
        &self.written
    }

    /// Whether one of them has `address`.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = spot(address.to_canonical());
        let behind = self.ranges.partition_point(|(first, _)| *first <= address);
        let candidate = behind.checked_sub(1).and_then(|at| self.ranges.get(at));
        candidate.is_some_and(|(_, last)| address <= *last)
    }
}

fn spot(address: IpAddr) -> Spot {
    match address {
        IpAddr::V4(four) => (4, four.to_bits().into()),
        IpAddr::V6(six) => (6, six.to_bits()),
    }
}

/// All sections.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> BTreeMap<String, Arc<IpConfig>> {
    let mut all = BTreeMap::new();
    for (name, section) in root.named_sections(reading, "ip", &names(KEYS)) {
        let mut list = |key: &str| {
            let said = section.list(reading, key, "[\"10.0.0.0/8\"]", values::network)?;
            let count = said.value.len();
            if count > NETWORKS {
                let wrong = format!("`{}` has {count} networks", section.path_of(key));
                reading.mistake(&said.at, wrong, format!("at most {NETWORKS} are taken"));
            }
            Some(Networks::new(said.value.into_iter().map(|net| net.value).collect()))
        };
        let (allow, deny) = (list("allow"), list("deny"));
        if section.list_is_empty("allow")
            && let Some(at) = section.place_of("allow")
        {
            let wrong = format!("`{}` is empty, so nobody may ask", section.path_of("allow"));
            reading.mistake(&at, wrong, "name a network, or leave the key out for everybody");
        }
        if section.place_of("allow").is_none() && section.place_of("deny").is_none() {
            let wrong = format!("`{}` has neither `allow` nor `deny`", section.path());
            reading.missing(&section.at, wrong, "write allow = [\"10.0.0.0/8\"], or deny = [...]");
        }
        all.insert(name.clone(), Arc::new(IpConfig { name, allow, deny: deny.unwrap_or_default() }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::new(list.iter().map(|net| net.parse().unwrap()).collect())
    }

    #[test]
    fn what_is_denied_is_denied_whoever_allows_it() {
        let office = IpConfig {
            name: "office".into(),
            allow: Some(networks(&["10.0.0.0/8", "2001:db8::/32", "10.1.0.0/16", "192.0.2.7/32"])),
            deny: networks(&["10.1.99.0/24", "10.1.99.128/25"]),
        };
        for (address, admitted) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("10.1.98.255", true),
            ("10.1.99.0", false),
            ("10.1.99.255", false),
            ("10.1.100.0", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("2001:db9::", false),
            ("::1", false),
            ("::ffff:10.0.0.1", true),
        ] {
            assert_eq!(office.admits(address.parse().unwrap()), admitted, "{address}");
        }
        let only =
            |net: &str| IpConfig { name: "x".into(), allow: Some(networks(&[net])), deny: networks(&[]) };
        for (net, four, six) in [("0.0.0.0/0", true, false), ("::/0", false, true)] {
            assert_eq!(only(net).admits("1.2.3.4".parse().unwrap()), four);
            assert_eq!(only(net).admits("::1".parse().unwrap()), six);
        }
    }
}
