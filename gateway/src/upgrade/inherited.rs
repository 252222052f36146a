//! Sockets that are open already when the process starts: which listener gets which.

use std::net::{SocketAddr, TcpListener};

use vertice_config::gateway::{ListenAddress, ListenerConfig};

use crate::app::StartError;
use crate::listener::socket::ListenSocket;

/// What was inherited and not taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Whose word counts: a service manager names its sockets after our listeners, whatever their addresses, and must not
    /// hold one that nobody serves.
    by_name: bool,
    listeners: Vec<InheritedListener>,
    admin: Option<InheritedListener>,
}

/// The sockets of one listener.
#[derive(Debug)]
pub struct InheritedListener {
    /// As its owner calls it.
    pub name: String,
    /// As its owner's configuration has it (port 0 stays port 0), or where it is.
    pub address: ListenAddress,
    /// Whether the file of its Unix socket comes with it.
    pub owns_file: bool,
    /// All on the same address.
    pub sockets: Vec<ListenSocket>,
}

impl Inherited {
    /// Nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// From the process before. A listener is the same while its address is; what the new configuration does not have is
    /// left to the one before to drain.
    pub fn handed_over(listeners: Vec<InheritedListener>, admin: Option<InheritedListener>) -> Self {
        Self { by_name: false, listeners, admin }
    }

    /// From the service manager. One called `admin` is for operators.
    pub fn passed(listeners: Vec<InheritedListener>) -> Self {
        let (admin, listeners): (Vec<_>, Vec<_>) =
            listeners.into_iter().partition(|listener| listener.name == "admin");
        Self { by_name: true, listeners, admin: admin.into_iter().next() }
    }

    /// The sockets for `wanted`. By its name alone only one of the same family: the rules of the other may not fit it.
    pub fn take(&mut self, wanted: &ListenerConfig) -> Option<InheritedListener> {
        let (name, address) = (&wanted.name, &wanted.address);
        let family = std::mem::discriminant(address);
        let both = |there: &InheritedListener| there.name == *name && there.address == *address;
        let named = |there: &InheritedListener| {
            there.name == *name && std::mem::discriminant(&there.address) == family
        };
        let one = |there: &InheritedListener| there.address == *address || (self.by_name && named(there));
        let position =
            self.listeners.iter().position(both).or_else(|| self.listeners.iter().position(one))?;
        Some(self.listeners.remove(position))
    }

    /// The socket of the admin listener at `address`.
    pub fn take_admin(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let by_name = self.by_name;
        let here = |there: &ListenAddress| match there {
            ListenAddress::Tcp(there) => by_name || *there == address,
            ListenAddress::Unix(_) => false,
        };
        let admin = self.admin.take_if(|admin| here(&admin.address))?;
        admin.sockets.into_iter().find_map(|socket| match socket {
            ListenSocket::Tcp(socket) => Some(socket),
            ListenSocket::Unix(_) => None,
        })
    }

    /// Refuses a socket of the service manager that nobody has taken: clients would connect and wait for ever.
    pub fn nothing_left(self) -> Result<(), StartError> {
        match self.listeners.into_iter().chain(self.admin).next().filter(|_| self.by_name) {
            Some(left) => Err(StartError::Unclaimed { name: left.name, address: left.address }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use vertice_config::gateway::ListenerRules;

    use super::*;

    fn inherited(by_name: bool, listeners: &[(&str, &str)]) -> Inherited {
        let of = |(name, address): &(&str, &str)| InheritedListener {
            name: (*name).to_owned(),
            address: address.parse().unwrap(),
            owns_file: false,
            sockets: Vec::new(),
        };
        Inherited { by_name, listeners: listeners.iter().map(of).collect(), admin: None }
    }

    #[test]
    fn sockets_go_to_the_listener_of_their_address_and_those_of_a_service_manager_to_their_name_too() {
        let (a, b, c) = ("127.0.0.1:1", "127.0.0.1:2", "unix:/c");
        for (by_name, there, wanted, taken) in [
            (false, ("x", a), ("x", a), true),
            (false, ("x", a), ("y", a), true),
            (false, ("x", a), ("x", b), false),
            (true, ("x", a), ("x", b), true),
            (true, ("x", a), ("y", a), true),
            (true, ("x", a), ("y", b), false),
            (true, ("x", c), ("y", c), true),
            (true, ("x", a), ("x", c), false),
            (true, ("x", c), ("x", a), false),
            (false, ("x", c), ("y", c), true),
        ] {
            let mut inherited = inherited(by_name, &[there]);
            let wanted = ListenerConfig {
                name: wanted.0.into(),
                address: wanted.1.parse().unwrap(),
                mode: 0o660,
                tls: None,
                proxy_protocol: Vec::new(),
                rules: ListenerRules::default(),
            };
            assert_eq!(inherited.take(&wanted).is_some(), taken, "{there:?} {wanted:?}");
            assert_eq!(inherited.nothing_left().is_ok(), taken || !by_name);
        }
    }
}
