//! How many connections each client address has at one listener, whatever worker they are on.
//!
//! One lock per connection, when it comes and when it goes; requests never touch it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections by address. It holds no more addresses than there are connections.
#[derive(Debug, Default)]
pub struct Census {
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place, free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    census: Arc<Census>,
    address: IpAddr,
}

impl Census {
    /// A place for one more connection of `ip`, unless it has `limit` of them.
    pub fn enter(self: &Arc<Self>, ip: IpAddr, limit: usize) -> Option<Place> {
        let address = holder(ip);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { census: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry(self.address) {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }
}

/// Who holds `ip`, in canonical form: of IPv6 a client commonly has a /64 for itself (RFC 6177), and can take any address in it.
pub(crate) fn holder(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends_and_a_64_counts_as_one() {
        let census = Arc::<Census>::default();
        let at = |text: &str| census.enter(text.parse().unwrap(), 2);
        let first = at("10.0.0.1").unwrap();
        let second = at("::ffff:10.0.0.1").unwrap();
        assert!(at("10.0.0.1").is_none() && at("10.0.0.2").is_some());
        drop(first);
        let third = at("10.0.0.1").unwrap();
        assert!(at("10.0.0.1").is_none());
        let six = [at("2001:db8::1").unwrap(), at("2001:db8::ffff:1").unwrap()];
        assert!(at("2001:db8:0:0:1::").is_none() && at("2001:db8:0:1::").is_some());
        drop((second, third, six));
        assert!(census.counts.lock().unwrap().is_empty());
    }
}
