//! The reference page of the configuration, made from the tables that the reader reads with.

use std::fmt::Write as _;

use super::{
    access_log, edits, environment, file, health, limits, listeners, policy, registry, routes, services,
    timeouts, tls, upstream_tls,
};
use crate::keys::{Key, SectionKeys};

/// Every section of the file, in the order of the page.
pub const SECTIONS: &[SectionKeys] = &[
    SectionKeys { header: "", what: "Keys that stand before the first section.", keys: file::KEYS },
    SectionKeys {
        header: "[[listener]]",
        what: "Where clients come in; one section per listener. A file names at least one, unless `--listen` or \
               `GATEWAY_LISTEN` does.",
        keys: listeners::LISTENER_KEYS,
    },
    SectionKeys {
        header: "[listener.tls]",
        what: "HTTPS at the `[[listener]]` above it: certificates by name, swapped when their files change. How it works: \
               [TLS](../tls.md).",
        keys: tls::KEYS,
    },
    SectionKeys { header: "[admin]", what: "Where operators look in.", keys: listeners::ADMIN_KEYS },
    SectionKeys { header: "[registry]", what: "Who knows where services are.", keys: registry::KEYS },
    SectionKeys {
        header: "[access_log]",
        what: "A JSON line per request. Without this section there is none.",
        keys: access_log::KEYS,
    },
    SectionKeys {
        header: "[timeouts]",
        what: "Time limits of every request; a route can have its own.",
        keys: timeouts::KEYS,
    },
    SectionKeys {
        header: "[limits]",
        what: "What a client may send and how long it may take.",
        keys: limits::KEYS,
    },
    SectionKeys {
        header: "[health]",
        what: "How the gateway finds out by itself which endpoints answer: by asking them, and by what comes of requests. \
               When all endpoints of a service are bad, they are still tried.",
        keys: health::KEYS,
    },
    SectionKeys {
        header: "[upstream_tls]",
        what: "How services with an `https` URL are connected to; a service can have its own.",
        keys: upstream_tls::GENERAL_KEYS,
    },
    SectionKeys {
        header: "[headers]",
        what: "Header fields that are set, added or removed in every message. `set` replaces all fields of a name, `add` puts one \
               behind them, `remove` takes all away. Not those that frame a message, are about one connection or are the \
               gateway's own: `check` says why.",
        keys: edits::KEYS,
    },
    SectionKeys {
        header: "[[api_key]]",
        what: "A key of a program that asks, in `X-API-Key`; one section per key. The variable `MAXIMUS_API_KEY` adds one, named \
               `maximus`, with all scopes.",
        keys: policy::API_KEY_KEYS,
    },
    SectionKeys {
        header: "[jwt.NAME]",
        what: "An issuer of tokens that come as `Authorization: Bearer`.",
        keys: policy::JWT_KEYS,
    },
    SectionKeys {
        header: "[forward_auth.NAME]",
        what: "A service that decides about each request before it goes on: 2xx lets it go on, every other answer goes to the client.",
        keys: policy::FORWARD_AUTH_KEYS,
    },
    SectionKeys {
        header: "[policies]",
        what: "Who may ask, how often, and for what, where a route says nothing else; also for `/v2/{service}/`. How policies \
               work together: [policies](../policies.md).",
        keys: policy::KEYS,
    },
    SectionKeys {
        header: "[cors.NAME]",
        what: "Which pages of other origins may use a route from a browser. `NAME` is what routes call it.",
        keys: policy::cors::KEYS,
    },
    SectionKeys {
        header: "[rate_limit.NAME]",
        what: "How often somebody may ask.",
        keys: policy::rate_limit::KEYS,
    },
    SectionKeys {
        header: "[rate_limit_store]",
        what: "Where limits with `shared = true` are counted by all gateways together.",
        keys: policy::rate_limit::STORE_KEYS,
    },
    SectionKeys {
        header: "[ip.NAME]",
        what: "From which addresses clients may ask.",
        keys: policy::ip::KEYS,
    },
    SectionKeys {
        header: "[[service]]",
        what: "What you know about a service beside the registry; one section per service. Most services need none.",
        keys: services::KEYS,
    },
    SectionKeys {
        header: "[service.tls]",
        what: "How the `[[service]]` above it is connected to where its URL is `https`. What is left out is taken from \
               `[upstream_tls]`.",
        keys: upstream_tls::SERVICE_KEYS,
    },
    SectionKeys {
        header: "[[route]]",
        what: "Which requests go to which service, or are redirected or answered; one section per route. A route has exactly one of \
               `service`, `redirect` and `answer`. `/v2/{service}/...` needs none. The keys of `[policies]` stand here as well, and \
               hold instead of what is said there.",
        keys: routes::KEYS,
    },
];

const HEAD: &str = "\
# Configuration of the gateway

<!-- Made from the code: cargo run -p vertice-config --example config-reference > docs/reference/config.md -->

`vertice-gateway` needs no configuration to start: without a file, variables and flags it listens on
127.0.0.1:8000 with a registry of its own on 127.0.0.1:8888. What it should do otherwise is said in three places:
**flags beat the environment, the environment beats the file.**

The file is [TOML](https://toml.io). `vertice-gateway check --config FILE` shows every mistake in it at once, each
with line, column, what is wrong and what would be right. Keys that are not on this page are mistakes. A commented
example: [gateway.toml](../../deploy/examples/gateway.toml).

* **Durations** are text with a unit: `\"500ms\"`, `\"2s\"`, `\"5m\"`, `\"1h\"`; from 1 ms to 24 h.
* **Sizes** are text with a unit (`\"64KiB\"`, `\"10MiB\"`; units of 1024) or a number of bytes.
* **Addresses** are literal, with a port: `\"0.0.0.0:8000\"`, `\"[::1]:8000\"`.
* **Networks** are `\"10.0.0.0/8\"` or one address.
* **Service names** match `^[a-z0-9][a-z0-9_-]{1,63}$`; **URLs** are `http(s)://host[:port][/path]` without user,
  query or fragment.
* **Words** have 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
* **Paths of routes** start with `/` and are compared byte for byte with the request's path. They have no query, no
  empty segment, no dot segment and no backslash, encoded or not.
* **Paths of files** are relative to the folder in which the gateway was started.
* **Secrets** never stand in the file: they come from `token_file` or from the environment.
";

const FLAGS: &[(&str, &str)] = &[
    ("--listen ADDR", "The only listener, whatever the file names: an address, or `unix:PATH`."),
    ("--admin ADDR", "As `[admin] address`."),
    ("--registry URL", "As `[registry] url`."),
    ("--embedded-registry ADDR", "As `[registry] embedded`. Not together with `--registry`."),
    ("--workers N", "As `workers`."),
    ("--state-dir DIR", "As `state_dir`."),
];

const FALLBACKS: &str = "
### Fall-backs of services

`{NAME}_URL`, `{NAME}_SERVICE_URL` and `{NAME}_ENDPOINT` say where the service `{name}` is while the registry knows no
instance of it, in this order when several are set. `OSINT_SERVICE_URL` therefore stands for `osint_service` (as
`{OSINT_SERVICE}_URL`) and for `osint` (as `{OSINT}_SERVICE_URL`). A `[[service]]` of the file wins; with
`fallback = []` it switches a variable off. A value that cannot be used is a warning in the log, not a mistake.

**Every client can reach what such a variable names, as `/v2/{name}/`.** So that nothing becomes a service by
accident, these are never taken:
";

/// The page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## The file\n");
    for section in SECTIONS {
        let title =
            if section.header.is_empty() { "Top level".into() } else { format!("`{}`", section.header) };
        // Writing to a String cannot fail.
        let _ = write!(page, "\n### {title}\n\n{}\n\n", section.what);
        page.push_str("| key | type | default | example | what and why |\n|---|---|---|---|---|\n");
        for key in section.keys {
            page.push_str(&row(key));
        }
    }
    page.push_str("\n## Flags\n\n| flag | what |\n|---|---|\n");
    for (flag, what) in FLAGS {
        let _ = writeln!(page, "| `{flag}` | {what} |");
    }
    page.push_str("\n## Environment\n\nAn empty variable counts as not set.\n\n");
    page.push_str("| variable | value | what |\n|---|---|---|\n");
    for variable in environment::VARIABLES {
        let _ = writeln!(page, "| `{}` | {} | {} |", variable.name, variable.kind, variable.what);
    }
    page.push_str(FALLBACKS);
    page.push('\n');
    for pattern in super::fallbacks::never_taken() {
        let _ = writeln!(page, "* `{pattern}`");
    }
    page
}

fn row(key: &Key) -> String {
    let default = key.default.map_or_else(|| key.absent.to_owned(), |text| format!("`{text}`"));
    let why = if key.why.is_empty() { String::new() } else { format!(" {}", key.why) };
    format!("| `{}` | {} | {default} | `{}` | {}{why} |\n", key.name, key.kind, key.example, key.what)
}
