//! Telling the service who asked: `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` (RFC 7239).
//!
//! From a peer that is not a trusted proxy everything of this kind is replaced: a client could claim anything. From a
//! trusted one it is extended. The underscore spellings, which many frameworks read as the same field, always go.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HOST, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::fields::{is_identity, is_ours};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// What is forwarded about the peer of one connection, made once.
#[derive(Debug)]
pub struct Peer {
    /// Whether its own claims are believed.
    trusted: bool,
    /// In canonical form.
    ip: IpAddr,
    address: HeaderValue,
    /// How it speaks to us.
    scheme: HeaderValue,
    /// `for=...;proto=...` of RFC 7239.
    element: String,
    /// The last Host and the `Forwarded` value made for it: a connection mostly asks for one host.
    last: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

impl Peer {
    /// The peer at `address`, which speaks HTTPS or not and is trusted when one of `proxies` holds it.
    pub fn new(address: SocketAddr, https: bool, proxies: &[IpNet]) -> Self {
        let ip = address.ip().to_canonical();
        let proto = if https { "https" } else { "http" };
        let node = match ip {
            IpAddr::V4(ip) => format!("for={ip};proto={proto}"),
            // RFC 7239 6: an IPv6 address is bracketed and quoted.
            IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto={proto}"),
        };
        Self {
            trusted: proxies.iter().any(|net| net.contains(&ip)),
            ip,
            address: value(&ip.to_string()),
            scheme: if https { HTTPS } else { HTTP },
            element: node,
            last: RefCell::new(None),
        }
    }

    /// Puts what is known of the peer into `headers`.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let host = headers.get(HOST).cloned();
        if !self.trusted {
            strip_claims(headers);
            headers.insert(X_FORWARDED_FOR, self.address.clone());
            headers.insert(X_FORWARDED_PROTO, self.scheme.clone());
            headers.insert(FORWARDED, self.forwarded(host.as_ref()));
            if let Some(host) = host {
                headers.insert(X_FORWARDED_HOST, host);
            }
            return;
        }
        strip_aliases(headers);
        extend(headers, &X_FORWARDED_FOR, &self.address);
        extend(headers, &FORWARDED, &self.forwarded(host.as_ref()));
        // The first proxy saw the client's scheme and host; what it said stays.
        headers.entry(X_FORWARDED_PROTO).or_insert_with(|| self.scheme.clone());
        if let Some(host) = host {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
    }

    /// Who asks: the peer, unless it is one of the trusted `proxies`. Each of these appended who asked it to X-Forwarded-For, so
    /// the last one there that is none of them is the client; what stands before it is its own claim.
    pub fn client(&self, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
        let mut client = self.ip;
        if !self.trusted {
            return client;
        }
        let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
        for text in values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(',')) {
            // Who cannot be read was asked for by the last one who could.
            let Some(ip) = address_of(text.trim()) else { return client };
            client = ip;
            if !proxies.iter().any(|net| net.contains(&ip)) {
                return client;
            }
        }
        client
    }

    /// Whether it is a proxy that is trusted and says that its client came over TLS.
    pub fn says_https(&self, headers: &HeaderMap) -> bool {
        // A second proxy appends: the first one saw the client.
        self.trusted
            && headers.get(X_FORWARDED_PROTO).is_some_and(|proto| {
                let first = proto.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default();
                first.trim_ascii().eq_ignore_ascii_case(b"https")
            })
    }

    fn forwarded(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let Some(host) = host else { return value(&self.element) };
        let mut last = self.last.borrow_mut();
        if let Some((known, made)) = last.as_ref()
            && known == host
        {
            return made.clone();
        }
        // The Host was checked to be one before: it needs no escape inside the quotes.
        let made = value(&format!("{};host=\"{}\"", self.element, host.to_str().unwrap_or_default()));
        *last = Some((host.clone(), made.clone()));
        made
    }
}

/// An address as proxies write it: some with its port, an IPv6 one then in brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.split_once(']').map(|(ip, _)| ip);
    let ip = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.or_else(|| bracketed()?.parse().ok()).map(|ip: IpAddr| ip.to_canonical())
}

fn strip_claims(headers: &mut HeaderMap) {
    remove_if(headers, |name| is_ours(name) && name != "x-request-id");
}

fn strip_aliases(headers: &mut HeaderMap) {
    // Who a client proved to be is said by who asked it, and that is us or nobody.
    remove_if(headers, |name| is_identity(name) || (name.contains('_') && is_ours(name)));
}

fn remove_if(headers: &mut HeaderMap, bad: impl Fn(&str) -> bool) {
    // Nothing of the kind is the rule: then this allocates nothing.
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            matches!(name.as_str().as_bytes().first(), Some(b'x' | b'f' | b'c')) && bad(name.as_str())
        })
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Appends `element` to the list that `name` holds, as one field.
fn extend(headers: &mut HeaderMap, name: &HeaderName, element: &HeaderValue) {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(peer: &str, proxies: &[&str], pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let proxies: Vec<IpNet> = proxies.iter().map(|p| p.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Peer::new(peer.parse().unwrap(), false, &proxies).tell(&mut headers);
        let text = |v: &HeaderValue| v.to_str().unwrap().to_owned();
        let mut rows: Vec<_> = headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect();
        rows.sort();
        rows
    }

    fn row(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn an_untrusted_peer_is_not_believed_in_any_spelling() {
        let rows = told(
            "9.9.9.9:1",
            &[],
            &[
                ("host", "h"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("x_forwarded_for", "3.3.3.3"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-port", "1"),
                ("forwarded", "for=1.1.1.1"),
                ("x-real-ip", "1.1.1.1"),
                ("x_real_ip", "1.1.1.1"),
                ("x-other", "1"),
                ("x-request-id", "r"),
            ],
        );
        assert_eq!(
            rows,
            [
                row("forwarded", "for=9.9.9.9;proto=http;host=\"h\""),
                row("host", "h"),
                row("x-forwarded-for", "9.9.9.9"),
                row("x-forwarded-host", "h"),
                row("x-forwarded-proto", "http"),
                row("x-other", "1"),
                row("x-request-id", "r"),
            ]
        );
    }

    #[test]
    fn a_trusted_proxy_is_extended() {
        let rows = told(
            "10.0.0.1:1",
            &["10.0.0.0/8"],
            &[
                ("host", "h"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "public"),
                ("x_forwarded_for", "3.3.3.3"),
                ("x-real-ip", "1.1.1.1"),
            ],
        );
        assert_eq!(
            rows,
            [
                row("forwarded", "for=10.0.0.1;proto=http;host=\"h\""),
                row("host", "h"),
                row("x-forwarded-for", "1.1.1.1, 10.0.0.1"),
                row("x-forwarded-host", "public"),
                row("x-forwarded-proto", "https"),
                row("x-real-ip", "1.1.1.1"),
            ]
        );
    }

    #[test]
    fn the_client_is_the_last_one_whom_a_trusted_proxy_does_not_vouch_for() {
        let proxies: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().unwrap()).collect();
        for (peer, values, client) in [
            ("9.9.9.9:1", &["1.1.1.1"][..], "9.9.9.9"),
            ("[::ffff:9.9.9.9]:1", &[], "9.9.9.9"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1:1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1:1", &["6.6.6.6, 1.1.1.1 ,10.0.0.2,fd00::1"], "1.1.1.1"),
            ("10.0.0.1:1", &["6.6.6.6", "1.1.1.1", "10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1:1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1:1", &["1.1.1.1:4711"], "1.1.1.1"),
            ("10.0.0.1:1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1:1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1:1", &["::ffff:1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1:1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:1", &["1.1.1.1, "], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(X_FORWARDED_FOR, value.parse().unwrap());
            }
            let peer = Peer::new(peer.parse().unwrap(), false, &proxies);
            assert_eq!(peer.client(&headers, &proxies).to_string(), client, "{values:?}");
        }
    }

    #[test]
    fn https_is_told_and_nobody_says_who_a_client_proved_to_be() {
        for proxies in [&[][..], &["10.0.0.0/8".parse().unwrap()]] {
            let mut headers = HeaderMap::new();
            for name in [
                "client-cert",
                "client_cert",
                "client-cert-chain",
                "x-client-cert-subject",
                "x_client_cert_san",
            ] {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static("admin"));
            }
            Peer::new("10.0.0.1:1".parse().unwrap(), true, proxies).tell(&mut headers);
            let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["forwarded", "x-forwarded-for", "x-forwarded-proto"]);
            assert_eq!(headers[X_FORWARDED_PROTO], "https");
            assert_eq!(headers[FORWARDED], "for=10.0.0.1;proto=https");
        }
    }

    #[test]
    fn ipv6_is_bracketed_and_mapped_ipv4_is_plain() {
        assert!(
            told("[2001:db8::1]:1", &[], &[]).contains(&row("forwarded", "for=\"[2001:db8::1]\";proto=http"))
        );
        assert!(told("[::ffff:9.9.9.9]:1", &[], &[]).contains(&row("x-forwarded-for", "9.9.9.9")));
        let mapped_trusted = told("[::ffff:10.0.0.1]:1", &["10.0.0.0/8"], &[("x-forwarded-for", "1.1.1.1")]);
        assert!(mapped_trusted.contains(&row("x-forwarded-for", "1.1.1.1, 10.0.0.1")));
    }
}
