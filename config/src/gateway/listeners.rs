//! `[[listener]]` and `[admin]`: where the gateway can be reached.

use std::net::SocketAddr;

use toml::de::DeValue;

use super::policy::{self, PoliciesConfig};
use super::{
    ClientLimits, ListenAddress, ListenerConfig, ListenerRules, TimeoutsConfig, defaults, https, limits,
    timeouts, tls,
};
use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Said, Section, Wrong};
use crate::values;

pub(super) const LISTENER_KEYS: &[Key] = &[
    Key {
        name: "address",
        kind: "address or Unix socket",
        default: None,
        absent: "a mistake: it must be given",
        example: "\"0.0.0.0:8000\"",
        what: "Where clients come in. Port 0 lets the system choose. `\"unix:/run/vertice/gateway.sock\"` is a Unix socket.",
        why: "No default here: a gateway that is configured should say where it can be reached.",
    },
    Key {
        name: "name",
        kind: "word",
        default: None,
        absent: "the address",
        example: "\"public\"",
        what: "How logs and metrics call it; unique.",
        why: "",
    },
    Key {
        name: "mode",
        kind: "octal digits in quotes",
        default: Some("\"0660\""),
        absent: "",
        example: "\"0600\"",
        what: "Who may connect to a Unix socket: the mode of its file.",
        why: "The gateway's own user and group, whatever the umask is.",
    },
    Key {
        name: "tls",
        kind: "section `[listener.tls]`",
        default: None,
        absent: "plain HTTP",
        example: "{ directory = \"/etc/vertice/tls\" }",
        what: "HTTPS instead of HTTP.",
        why: "",
    },
    Key {
        name: "proxy_protocol",
        kind: "list of networks",
        default: None,
        absent: "from nobody",
        example: "[\"10.0.0.0/8\"]",
        what: "Peers that begin each connection with a PROXY header, version 1 or 2: the client that it names counts as the peer. One that does not send it is closed; from anybody else it is no HTTP.",
        why: "A load balancer that passes bytes on has no other way to say who the client is; and a receiver must not guess.",
    },
    Key {
        name: "https_redirect",
        kind: "table of `hosts`, `port`",
        default: None,
        absent: "clients are served as they come",
        example: "{ hosts = [\"example.com\", \"*.example.com\"], port = 443 }",
        what: "Clients that come without TLS are redirected (308) to the same host, path and query over HTTPS. Another host is \
               answered 421. `port` is 443 where it is left out.",
        why: "The hosts are named, so that nobody is sent to a host that somebody else put into a request. A client whose trusted \
              proxy says `X-Forwarded-Proto: https` came with TLS.",
    },
    Key {
        name: "hsts",
        kind: "text",
        default: None,
        absent: "it is not sent",
        example: "\"max-age=31536000; includeSubDomains\"",
        what: "`Strict-Transport-Security` of every answer to a client that came with TLS.",
        why: "Never without TLS (RFC 6797 7.2). Browsers hold on to it for `max-age`: begin with a short one.",
    },
    Key {
        name: "limits",
        kind: "table",
        default: None,
        absent: "those of `[limits]`",
        example: "{ body_bytes = \"1MiB\", keep_alive = \"15s\" }",
        what: "Limits of this listener's clients, with the keys of `[limits]` except `connections` and `drain_timeout`; what is left \
               out is taken from there.",
        why: "What the internet may send is not what a partner or a batch job may.",
    },
    Key {
        name: "timeouts",
        kind: "table",
        default: None,
        absent: "those of `[timeouts]`",
        example: "{ first_byte = \"10s\", total = \"30s\" }",
        what: "Time limits of this listener's requests, with the keys of `[timeouts]`; what is left out is taken from there, and a \
               route's own win over them.",
        why: "",
    },
    Key {
        name: "ip",
        kind: "name of an `[ip.NAME]`, or \"none\"",
        default: Some("\"none\""),
        absent: "",
        example: "\"office\"",
        what: "From which addresses clients may ask for anything here, the gateway's own pages as well; 403 for all others.",
        why: "",
    },
];

pub(super) const ADMIN_KEYS: &[Key] = &[Key {
    name: "address",
    kind: "address or \"off\"",
    default: Some("\"127.0.0.1:9901\""),
    absent: "",
    example: "\"off\"",
    what: "Where operators look in: `/live`, `/ready`, `/metrics`, `/table`, `/services`, `/explain`.",
    why: "Loopback, because it shows addresses of the inside.",
}];

/// The listeners of the file with the places of their addresses.
///
/// `limits` and `timeouts` are the general ones.
pub(super) fn read(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    limits: ClientLimits,
    timeouts: &TimeoutsConfig,
    policies: &PoliciesConfig,
) -> Vec<Said<ListenerConfig>> {
    let mut listeners: Vec<Said<ListenerConfig>> = Vec::new();
    for section in root.sections(reading, "listener", &names(LISTENER_KEYS)) {
        let address = section.wanted(reading, "address", "\"0.0.0.0:8000\"", values::listen_address);
        let name = section.value(reading, "name", word);
        let tls = tls::read(reading, &section);
        let mode = section.value(reading, "mode", values::file_mode);
        let mut rules = read_rules(reading, &section, limits, timeouts);
        let ip = section.value(reading, "ip", |value| policy::named(value, "ip", &policies.ip));
        rules.ip = ip.and_then(|said| said.value);
        let Some(address) = address else { continue };
        match &address.value {
            ListenAddress::Unix(_) if tls.is_some() => reading.mistake(
                &address.at,
                "`listener.address` is a Unix socket of a listener with TLS",
                "leave `tls` out: what passes a Unix socket does not leave this machine",
            ),
            ListenAddress::Tcp(_) if mode.is_some() => reading.mistake(
                &address.at,
                "`listener.mode` is given and `listener.address` is no Unix socket",
                "leave `mode` out: only the file of a Unix socket has one",
            ),
            ListenAddress::Unix(_) | ListenAddress::Tcp(_) => {}
        }
        if let Some(name) = &name
            && let Some(earlier) = listeners.iter().find(|l| l.value.name == name.value)
        {
            let line = reading.line(&earlier.at);
            reading.mistake(
                &name.at,
                format!("`listener.name` '{}' is taken by the listener of line {line}", name.value),
                "give each listener its own name",
            );
        }
        let proxy_protocol = section.list(reading, "proxy_protocol", "[\"10.0.0.0/8\"]", values::network);
        let proxy_protocol = proxy_protocol
            .map_or_else(Vec::new, |list| list.value.into_iter().map(|said| said.value).collect());
        let mode = mode.map_or(defaults::SOCKET_MODE, |said| said.value);
        let name = name.map_or_else(|| address.value.to_string(), |said| said.value);
        let value = ListenerConfig { name, address: address.value, mode, tls, proxy_protocol, rules };
        listeners.push(Said { value, at: address.at });
    }
    listeners
}

/// What holds for the connections that come in at `section`.
fn read_rules(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    limits: ClientLimits,
    timeouts: &TimeoutsConfig,
) -> ListenerRules {
    let (https_redirect, hsts) = https::read(reading, section);
    let limits = limits::read_own(reading, section, limits);
    let timeouts = timeouts::read(reading, section, timeouts).over(timeouts);
    ListenerRules { https_redirect, hsts, limits, timeouts, ip: None }
}

/// Where the admin listener should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminSpec {
    /// Here.
    At(SocketAddr),
    /// Nowhere: `"off"`.
    Off,
}

/// What the file says about the admin listener.
pub(super) fn read_admin(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> Option<Said<AdminSpec>> {
    let section = root.section(reading, "admin", &names(ADMIN_KEYS))?;
    section.wanted(reading, "address", "\"127.0.0.1:9901\"", |value| {
        if value.as_str() == Some("off") {
            return Ok(AdminSpec::Off);
        }
        values::address(value)
            .map(AdminSpec::At)
            .map_err(|wrong| Wrong::new(wrong.what, format!("{}; or \"off\" for none", wrong.right)))
    })
}

/// A name for logs and metrics: what needs no quoting in either.
pub(super) fn word(value: &DeValue<'_>) -> Outcome<String> {
    let text = values::text(value)?;
    if !values::is_word(text) {
        let wrong = format!("is {}", vertice_registry_api::name::shorten(text));
        return Err(Wrong::new(wrong, values::WORD_FORM));
    }
    Ok(text.to_owned())
}
