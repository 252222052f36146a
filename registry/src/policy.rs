//! Which endpoints may be registered. Only literal addresses are judged here: what a name resolves to is judged by who
//! connects, because the registry does not see the networks that its clients see.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use vertice_registry_api::address::{embedded, refused};
use vertice_registry_api::{Host, ServiceUrl};

/// The rules of one registry.
#[derive(Clone, Debug, Default)]
pub struct EndpointPolicy {
    /// Loopback addresses are allowed: we listen on loopback ourselves.
    pub loopback: bool,
    /// Addresses must be in one of these; empty: any that is not refused anyway.
    pub networks: Vec<IpNet>,
    /// Names must be one of these or end in a dot and one of these; empty: any.
    pub suffixes: Vec<String>,
    /// Our own listeners: a registry is no service of itself.
    pub own: Vec<SocketAddr>,
}

impl EndpointPolicy {
    /// Whether `url` may be registered; the error says which rule it breaks.
    pub fn judge(&self, url: &ServiceUrl) -> Result<(), String> {
        match url.host() {
            Host::Ip(ip) => self.judge_address(*ip, url.port()),
            Host::Name(name) => self.judge_name(name),
        }
    }

    fn judge_address(&self, ip: IpAddr, port: u16) -> Result<(), String> {
        let real = embedded(ip);
        // Both the form as written and what it stands for must be allowed.
        for address in [ip, real] {
            if let Some(what) = refused(address) {
                return Err(format!("{ip} is {what}, which no service can listen on"));
            }
            if address.is_loopback() && !self.loopback {
                return Err(format!(
                    "{ip} is a loopback address, which means another machine to everybody else; register an address that the gateway can reach"
                ));
            }
        }
        if self.own.iter().any(|own| own.port() == port && (own.ip() == ip || own.ip() == real)) {
            return Err(format!("{ip}:{port} is this registry itself"));
        }
        if !self.networks.is_empty() && !self.networks.iter().any(|net| net.contains(&real)) {
            return Err(format!("{ip} is in none of the allowed networks"));
        }
        Ok(())
    }

    fn judge_name(&self, name: &str) -> Result<(), String> {
        if !self.loopback && (name == "localhost" || name.ends_with(".localhost")) {
            return Err(format!("{name} means another machine to everybody else"));
        }
        let under = |suffix: &String| {
            let suffix = suffix.trim_start_matches('.');
            name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if !self.suffixes.is_empty() && !self.suffixes.iter().any(under) {
            return Err(format!("{name} ends in none of the allowed suffixes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: &EndpointPolicy, url: &str) -> Result<(), String> {
        policy.judge(&ServiceUrl::parse(url).unwrap())
    }

    #[test]
    fn accepted_by_default() {
        for url in [
            "http://10.0.0.1:80",
            "http://192.168.1.7:80",
            "http://8.8.8.8:80",
            "http://[2001:db8::1]:80",
            "http://[fd00::1]:80",
            "http://[::ffff:10.0.0.1]:80",
            "http://vertice-maximus_eureka:8200",
            "http://metadata:80",
        ] {
            assert_eq!(judge(&EndpointPolicy::default(), url), Ok(()), "{url}");
        }
    }

    #[test]
    fn refused_always() {
        let lenient = EndpointPolicy { loopback: true, ..EndpointPolicy::default() };
        for url in [
            "http://0.0.0.0:80",
            "http://0.1.2.3:80",
            "http://[::]:80",
            "http://169.254.1.1:80",
            "http://169.254.169.254:80",
            "http://[fe80::1]:80",
            "http://[febf::1]:80",
            "http://[fd00:ec2::254]:80",
            "http://224.0.0.1:80",
            "http://239.255.255.255:80",
            "http://[ff02::1]:80",
            "http://255.255.255.255:80",
            "http://240.0.0.1:80",
            "http://[::ffff:169.254.169.254]:80",
            "http://[::ffff:0.0.0.0]:80",
            "http://[::169.254.169.254]:80",
            "http://[::ffff:0:169.254.169.254]:80",
            "http://[64:ff9b::169.254.169.254]:80",
            "http://[2002:a9fe:a9fe::1]:80",
            "http://[::ffff:224.0.0.1]:80",
        ] {
            assert!(judge(&lenient, url).is_err(), "{url}");
        }
    }

    #[test]
    fn loopback_only_when_we_are_on_it() {
        let lenient = EndpointPolicy { loopback: true, ..EndpointPolicy::default() };
        for url in [
            "http://127.0.0.1:80",
            "http://127.9.9.9:80",
            "http://[::1]:80",
            "http://[::ffff:127.0.0.1]:80",
            "http://[::127.0.0.1]:80",
            "http://localhost:80",
            "http://a.localhost:80",
        ] {
            assert!(judge(&EndpointPolicy::default(), url).is_err(), "{url}");
            assert_eq!(judge(&lenient, url), Ok(()), "{url}");
        }
    }

    #[test]
    fn allow_lists_and_our_own_listener() {
        let policy = EndpointPolicy {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            suffixes: vec![".internal".into(), "osint".into()],
            own: vec!["10.0.0.1:8888".parse().unwrap()],
            ..EndpointPolicy::default()
        };
        for url in [
            "http://10.0.0.1:80",
            "http://[::ffff:10.0.0.1]:80",
            "http://a.internal:80",
            "http://internal:80",
            "http://osint:80",
        ] {
            assert_eq!(judge(&policy, url), Ok(()), "{url}");
        }
        for url in [
            "http://11.0.0.1:80",
            "http://[2001:db8::1]:80",
            "http://xinternal:80",
            "http://a.internal.evil:80",
            "http://other:80",
            "http://10.0.0.1:8888",
            "http://[::ffff:10.0.0.1]:8888",
        ] {
            assert!(judge(&policy, url).is_err(), "{url}");
        }
    }
}
