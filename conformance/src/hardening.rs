//! Which test holds which row of the hardening list: what a gateway is attacked with. Part of the generated page.

/// A row, and where it is held: cases of this suite by the start of their id, or test files.
pub(crate) struct Row {
    pub(crate) attack: &'static str,
    pub(crate) cases: &'static [&'static str],
    pub(crate) files: &'static [&'static str],
    /// What of it nothing holds yet.
    pub(crate) missing: &'static str,
}

const fn row(
    attack: &'static str,
    cases: &'static [&'static str],
    files: &'static [&'static str],
    missing: &'static str,
) -> Row {
    Row { attack, cases, files, missing }
}

/// The list.
pub(crate) const ROWS: &[Row] = &[
    row(
        "Content-Length and Transfer-Encoding together",
        &["length/and-chunked", "coding/http10-and-length"],
        &[],
        "",
    ),
    row(
        "several or malformed lengths, odd codings, TE on HTTP/1.0",
        &["length/", "coding/"],
        &["tests/tests/framing_is_rebuilt.rs"],
        "",
    ),
    row(
        "spaces before colons, bare CR, NUL, obsolete folding, empty names",
        &["field/", "line/bare-"],
        &[],
        "",
    ),
    row(
        "chunk sizes with junk, overflow, missing CRLF; trailers that name framing or routing fields",
        &["chunk/", "trailer/"],
        &["tests/tests/framing_is_rebuilt.rs"],
        "",
    ),
    row(
        "a service that answers with both framings, two lengths, a body on 204/304, bytes after the end, a 1xx flood",
        &["up/"],
        &["tests/tests/framing_is_rebuilt.rs"],
        "",
    ),
    row(
        "an early answer while the body is still coming; our own refusal of a request with a body",
        &["up/early-", "pipeline/refused-body", "pipeline/good-then-bad"],
        &["tests/tests/framing_is_rebuilt.rs"],
        "",
    ),
    row(
        "Upgrade other than websocket, h2c upgrade, CONNECT",
        &["hop/h2c-", "hop/upgrade", "method/connect", "method/upgrade", "connect/", "up/101", "ws/"],
        &["tests/tests/websocket.rs"],
        "",
    ),
    row("Expect: 100-continue", &["expect/"], &[], ""),
    row(
        "HTTP/2: length mismatch, forbidden fields, upper case, bad pseudo-headers, CRLF in values",
        &["http2/8.1", "fields/", "pseudo/"],
        &[],
        "",
    ),
    row(
        "rapid reset, CONTINUATION flood, header bombs with cookie crumbs, floods of SETTINGS, PING, empty DATA, stalled windows",
        &["flood/", "bomb/", "stall/"],
        &["tests/tests/http2_downstream.rs", "tests/tests/http2_service_resets.rs", "docs/performance.md"],
        "",
    ),
    row(
        "slow heads, slow bodies, slow readers, ten thousand idle connections",
        &["stall/", "field/half-head"],
        &["gateway/src/worker/timer.rs", "tests/tests/limits_on_connections.rs", "docs/performance.md"],
        "p99 of other clients within 10 % while the crowd comes: measured, and missed",
    ),
    row(
        "too many or too large fields, target, body",
        &["limit/", "bomb/many-"],
        &["tests/tests/limits_on_bodies.rs"],
        "",
    ),
    row(
        "dot segments, double slashes, encoded slashes, NUL, backslash, fragments, absolute-form targets",
        &["path/", "line/absolute-form", "pseudo/path-"],
        &["gateway/src/route/path.rs", "gateway/src/http/direction.rs", "fuzz/src/targets/paths.rs"],
        "",
    ),
    row(
        "two Hosts, Host against the absolute form, :authority and SNI",
        &["host/", "pseudo/authority", "pseudo/two-hosts", "pseudo/no-host"],
        &["tests/tests/tls_handshakes.rs", "tests/tests/ten_thousand_hosts.rs", "gateway/src/route/host.rs"],
        "",
    ),
    row(
        "Connection naming end-to-end or gateway-owned fields",
        &["hop/names-", "forward/spoofed-by-connection"],
        &["fuzz/src/targets/headers.rs"],
        "",
    ),
    row(
        "spoofed X-Forwarded-*, Forwarded, X-Real-IP, their underscore and case aliases",
        &["forward/", "field/underscore", "trailer/forwarded"],
        &[
            "tests/tests/tls_client_certificates.rs",
            "tests/tests/headers_at_the_border.rs",
            "fuzz/src/targets/headers.rs",
        ],
        "",
    ),
    row(
        "policy on repeated fields: all values are judged",
        &["field/repeated-order"],
        &["gateway/src/route/index.rs", "gateway/src/policy/tests.rs", "tests/tests/policies_api_keys.rs"],
        "",
    ),
    row(
        "open redirect through Host or //",
        &["path/authority-like", "forward/redirect-host"],
        &["tests/tests/redirects_and_answers.rs", "tests/tests/way_to_https.rs"],
        "",
    ),
    row(
        "control bytes in logged values",
        &["forward/request-id-control"],
        &["gateway/src/telemetry/access_log.rs"],
        "",
    ),
    row(
        "JWT: alg none, key confusion, jku/jwk/kid, expiry, audience, issuer, huge tokens",
        &[],
        &[
            "tests/tests/policies_jwt.rs",
            "gateway/src/policy/jwt/tests.rs",
            "fuzz/src/targets/credentials.rs",
        ],
        "",
    ),
    row(
        "JWKS down, slow, huge, rotating",
        &[],
        &["tests/tests/policies_jwt.rs", "gateway/src/policy/jwt/tests.rs"],
        "",
    ),
    row(
        "identity fields from clients, on any route and in any spelling; API keys that reach services or logs",
        &[],
        &[
            "tests/tests/policies_api_keys.rs",
            "tests/tests/policies_jwt.rs",
            "tests/tests/policies_forward_auth.rs",
            "gateway/src/fields.rs",
        ],
        "",
    ),
    row(
        "a service that decides: down, slow, large, malformed",
        &[],
        &["tests/tests/policies_forward_auth.rs"],
        "",
    ),
    row(
        "endpoints that point to loopback, link-local, metadata, ourselves, mapped forms, names that rebind",
        &[],
        &[
            "gateway/src/upstream/address_policy.rs",
            "registry-api/src/address.rs",
            "tests/tests/framing_is_rebuilt.rs",
        ],
        "",
    ),
    row("a registrant that claims another's name", &[], &["registry/tests/behaviour/tokens.rs"], ""),
    row(
        "registry answers: empty, half, HTML, truncated, older, 500 for one of many, black hole, then back",
        &[],
        &[
            "tests/tests/registry_away.rs",
            "tests/tests/holds_by_amnesia.rs",
            "tests/tests/original_registry_quirks.rs",
        ],
        "",
    ),
    row(
        "kill -9 in the middle of a snapshot write, corrupt or newer snapshot",
        &[],
        &[
            "tests/tests/lkg_restart.rs",
            "gateway/src/discovery/last_known_good/tests.rs",
            "fuzz/src/targets/stored.rs",
        ],
        "",
    ),
    row(
        "one endpoint fails fast while others take 50 ms",
        &[],
        &["tests/tests/health_fails_fast.rs", "tests/tests/health_last_endpoint.rs"],
        "",
    ),
    row(
        "admin surface",
        &[],
        &["gateway/src/admin/mod.rs", "process/src/admin.rs"],
        "a token beyond loopback",
    ),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_row_names_what_exists() {
        let mut ids: Vec<_> = crate::h1::list().iter().map(|case| case.id).collect();
        ids.extend(crate::h2::list().iter().map(|(id, ..)| *id));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for row in ROWS {
            for case in row.cases {
                assert!(ids.iter().any(|id| id.starts_with(case)), "{}: no case {case}", row.attack);
            }
            for file in row.files {
                assert!(root.join(file).is_file(), "{}: no file {file}", row.attack);
            }
            assert!(
                !row.cases.is_empty() || !row.files.is_empty() || !row.missing.is_empty(),
                "{}",
                row.attack
            );
        }
    }
}
