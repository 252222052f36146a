//! The gateway's file, rule by rule: what is accepted and what it means, what is refused and at which place.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use proptest::prelude::*;
use vertice_config::Env;
use vertice_config::gateway::{
    AccessLogConfig, ClientAuthConfig, Flags, GatewayConfig, HostPattern, Mistake, PathPattern, PathRewrite,
    RegistryPlace, RouteAction, TlsVersion, WhenStale, resolve,
};

/// `text` below a listener, so that a case is about itself alone. The listener takes no line.
fn with_listener(text: &str) -> String {
    format!("{text}\n[[listener]]\naddress = \"127.0.0.1:1\"\n")
}

fn resolve_text(text: &str) -> Result<GatewayConfig, Vec<String>> {
    resolve(Some(("g.toml", text)), &Env::default(), &Flags::default())
        .map_err(|mistakes| mistakes.iter().map(Mistake::to_string).collect())
}

fn accepted(text: &str) -> GatewayConfig {
    resolve_text(text).unwrap_or_else(|mistakes| panic!("{text}\n{}", mistakes.join("\n")))
}

fn refused(text: &str) -> Vec<String> {
    match resolve_text(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(mistakes) => mistakes,
    }
}

/// A route with these lines in it; they start in line 4.
fn route(lines: &str) -> String {
    with_listener(&format!("[[route]]\nname = \"r\"\nservice = \"core\"\n{lines}"))
}

/// (text, the only mistake without the file's name: `line:column: what is wrong`, and a part of what would be right)
fn judge(cases: &[(&str, &str, &str)], build: fn(&str) -> String) {
    for (text, expected, right) in cases {
        let mistakes = refused(&build(text));
        assert_eq!(mistakes.len(), 1, "{text}\n{}", mistakes.join("\n"));
        let shown = &mistakes[0];
        assert!(
            shown.starts_with(&format!("g.toml:{expected}; ")),
            "{text}\nexpected {expected}\n   found {shown}"
        );
        let found_right = shown.split_once("; ").unwrap().1;
        assert!(found_right.contains(right), "{text}\nexpected {right}\n   found {found_right}");
    }
}

#[test]
fn syntax() {
    judge(
        &[
            ("workers = four", "1:11: not TOML: invalid boolean", "in double quotes"),
            ("workers = some", "1:11: not TOML: string values must be quoted", "double quotes"),
            ("workers", "1:8: not TOML: key with no value", "key = value"),
            ("workers = 1\nworkers = 2", "2:1: not TOML: duplicate key", "once"),
            ("[limits\nconnections = 5", "1:8: not TOML: unclosed table", "]"),
            ("[timeouts]\nconnect = \"2s", "2:14: not TOML: invalid basic string", "\""),
            ("[admin]\naddress = \"off\"\n[admin]", "3:2: not TOML: duplicate key", "[[section]]"),
        ],
        with_listener,
    );
}

#[test]
fn unknown_keys_and_wrong_kinds() {
    judge(
        &[
            ("wokers = 1", "1:1: `wokers` is not a key", "did you mean `workers`? known keys here: workers,"),
            ("colour = 1", "1:1: `colour` is not a key", "known keys here: workers, state_dir"),
            ("é = { \"wörkers\" = 1 }\n", "1:1: not TOML: invalid unquoted key", "letters"),
            (
                "[limits]\nconections = 1",
                "2:1: `limits.conections` is not a key",
                "did you mean `connections`?",
            ),
            ("[timeout]\nconnect = \"1s\"", "1:2: `timeout` is not a key", "did you mean `timeouts`?"),
            ("limits = 5", "1:10: `limits` is an integer", "[limits]"),
            ("[[limits]]", "1:1: `limits` is a list", "[limits]"),
            ("[route]\nname = \"x\"", "1:1: `route` is a table", "[[route]]"),
            ("route = [1]", "1:10: `route` holds an integer", "[[route]]"),
            ("workers = \"4\"", "1:11: `workers` is '4'", "from 1 to 1024"),
            ("workers = 0", "1:11: `workers` is 0", "from 1 to 1024"),
            ("workers = -1", "1:11: `workers` is -1", "from 1 to 1024"),
            ("workers = 99999999999999999999999", "1:11: `workers` is 99999999999999999999999", "1024"),
            ("workers = 1.5", "1:11: `workers` is a number with a fraction", "whole"),
            ("state_dir = 1", "1:13: `state_dir` is an integer", "double quotes"),
            ("state_dir = \"\"", "1:13: `state_dir` is empty", "leave the key out"),
            ("state_dir = \"a\\nb\"", "1:13: `state_dir` has a control character: 'a\\nb'", "one line"),
            ("reason_header = \"yes\"", "1:17: `reason_header` is text", "true or false"),
            ("trusted_proxies = \"10.0.0.0/8\"", "1:19: `trusted_proxies` is text", "[\"10.0.0.0/8\"]"),
            ("trusted_proxies = [\"::1\", \"10.0.0\"]", "1:27: `trusted_proxies` is '10.0.0'", "10.0.0.0/8"),
            (
                "trusted_proxies = [\"10.1.2.3/8\"]",
                "1:20: `trusted_proxies` is '10.1.2.3/8', an address inside a network",
                "\"10.0.0.0/8\" or the one address \"10.1.2.3\"",
            ),
        ],
        with_listener,
    );
}

#[test]
fn listeners_and_admin() {
    let as_it_is = |text: &str| text.to_owned();
    judge(
        &[
            ("", "1:1: no listener is named, so no client could come in", "address = \"127.0.0.1:8000\""),
            (
                "[admin]\naddress = \"off\"",
                "1:1: no listener is named, so no client could come in",
                "--listen",
            ),
            ("[[listener]]\nname = \"a\"", "1:1: `listener.address` is missing", "address = "),
            ("[[listener]]\naddress = \":8000\"", "2:11: `listener.address` is ':8000'", "0.0.0.0:8000"),
            ("[[listener]]\naddress = 8000", "2:11: `listener.address` is an integer", "quotes"),
            (
                "[[listener]]\naddress = \"unix:gateway.sock\"",
                "2:11: `listener.address` is 'unix:gateway.sock', no absolute path of a socket",
                "unix:/run/vertice/gateway.sock",
            ),
            (
                "[[listener]]\naddress = \"unix:/run/a.sock\"\ntls = { directory = \"/etc/tls\" }",
                "2:11: `listener.address` is a Unix socket of a listener with TLS",
                "leave `tls` out",
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:1\"\nmode = \"0600\"",
                "2:11: `listener.mode` is given and `listener.address` is no Unix socket",
                "leave `mode` out",
            ),
            (
                "[[listener]]\naddress = \"unix:/run/a.sock\"\nmode = \"0888\"",
                "3:8: `listener.mode` is '0888'",
                "octal",
            ),
            (
                "[[listener]]\naddress = \"unix:/run/a.sock\"\nmode = 432",
                "3:8: `listener.mode` is 432",
                "in quotes",
            ),
            (
                "[[listener]]\naddress = \"unix:/run/a.sock\"\n[[listener]]\naddress = \"unix:/run/a.sock\"",
                "4:11: the address of a listener is taken by a listener (unix:/run/a.sock)",
                "its own path",
            ),
            (
                "[[listener]]\naddress = \"localhost:1\"",
                "2:11: `listener.address` is 'localhost:1'",
                "127.0.0.1",
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:1\"\nname = \"a b\"",
                "3:8: `listener.name` is 'a b'",
                "A-Z a-z 0-9",
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:1\"",
                "4:11: the address of a listener is taken by a listener (127.0.0.1:1)",
                "its own port",
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"0.0.0.0:1\"",
                "4:11: the address of a listener is taken by a listener (127.0.0.1:1)",
                "its own port",
            ),
            (
                "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:2\"",
                "5:8: `listener.name` 'a' is taken by the listener of line 3",
                "own name",
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:9901\"",
                "2:11: the address of a listener is taken by the admin listener (127.0.0.1:9901)",
                "its own port",
            ),
            (
                "[[listener]]\naddress = \"0.0.0.0:8888\"",
                "2:11: the address of a listener is taken by the embedded registry (127.0.0.1:8888)",
                "its own port",
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:1\"\n[admin]\naddress = \"no\"",
                "4:11: `admin.address` is 'no'",
                "or \"off\" for none",
            ),
            ("[[listener]]\naddress = \"127.0.0.1:1\"\n[admin]", "3:1: `admin.address` is missing", "9901"),
        ],
        as_it_is,
    );
    let config = accepted(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\nname = \"b\"\naddress = \"[::1]:0\"",
    );
    let names: Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(names, ["127.0.0.1:0", "b"]);
}

#[test]
fn registry() {
    judge(
        &[
            (
                "[registry]\nurl = \"registry:8888\"",
                "2:7: `registry.url` breaks a rule: a URL is http(s)://host[:port][/path], 'registry:8888' is not: \
                 it does not start with http:// or https://",
                "http://maximus-core:8100",
            ),
            (
                "[registry]\nurl = \"http://u:hunter2@a\"",
                "2:7: `registry.url` has a user or password (not shown)",
                "a URL here has none",
            ),
            (
                "[registry]\nurl = \"http://a\"\nembedded = \"127.0.0.1:2\"",
                "3:12: `registry.embedded` and `registry.url` are both given",
                "keep one",
            ),
            (
                "[registry]\ntoken = \"hunter2\"",
                "2:1: `registry.token` would put a secret into this file",
                "secrets come from `token_file` or from the environment",
            ),
            (
                "[registry]\ntoken_file = \"/nonexistent/token\"",
                "2:14: `registry.token_file` names /nonexistent/token, which cannot be read: \
                 No such file or directory (os error 2)",
                "can read",
            ),
            (
                "[registry]\ntoken_file = \"/dev/null\"",
                "2:14: `registry.token_file` names /dev/null, which is empty",
                "token",
            ),
            ("[registry]\nrequest_timeout = 2", "2:19: `registry.request_timeout` is 2", "\"2s\""),
            ("[registry]\npoll_interval = \"0s\"", "2:17: `registry.poll_interval` is '0s'", "1ms to 24h"),
            ("[registry]\nstale_after = \"none\"", "2:15: `registry.stale_after` is 'none'", "\"never\""),
            ("[registry]\nstale_after = \"59s\"", "2:15: `registry.stale_after` is 59s", "\"1m\""),
            ("[registry]\nwhen_stale = \"drop\"", "2:14: `registry.when_stale` is 'drop'", "\"refuse\""),
        ],
        with_listener,
    );
    assert!(!refused(&with_listener("[registry]\ntoken = \"hunter2\"")).concat().contains("hunter2"));
    assert!(
        !refused(&with_listener("[registry]\nurl = \"http://u:hunter2@a\"")).concat().contains("hunter2")
    );

    let config =
        accepted(&with_listener("[registry]\nstale_after = \"1h\"\nwhen_stale = \"refuse\"")).registry;
    assert_eq!((config.stale_after, config.when_stale), (Some(Duration::from_hours(1)), WhenStale::Refuse));
    let config =
        accepted(&with_listener("[registry]\nstale_after = \"never\"\nwhen_stale = \"serve\"")).registry;
    assert_eq!((config.stale_after, config.when_stale), (None, WhenStale::Serve));

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\r\n").unwrap();
    let text = format!("[registry]\nurl = \"HTTP://Registry\"\ntoken_file = {:?}", file.path());
    let config = accepted(&with_listener(&text));
    assert_eq!(config.registry.token.unwrap().expose(), "s3cret");
    let RegistryPlace::Remote(url) = config.registry.place else { panic!("not remote") };
    assert_eq!(url.to_string(), "http://registry:80");
}

#[test]
fn timeouts_limits_and_access_log() {
    judge(
        &[
            ("[timeouts]\nconnect = 2", "2:11: `timeouts.connect` is 2", "\"500ms\", \"2s\", \"5m\""),
            ("[timeouts]\nconnect = \"2\"", "2:11: `timeouts.connect` is '2'", "with its unit"),
            ("[timeouts]\nidle = \"none\"", "2:8: `timeouts.idle` is 'none'", "1ms to 24h"),
            ("[timeouts]\ntotal = \"25h\"", "2:9: `timeouts.total` is '25h'", "or \"none\" for no limit"),
            (
                "[timeouts]\ntotal = \"10s\"",
                "2:9: `timeouts.total` (10s) is shorter than `first_byte` (60s), which could never run out",
                "at least `first_byte`",
            ),
            ("[limits]\nheader_bytes = \"1KiB\"", "2:16: `limits.header_bytes` is '1KiB'", "8KiB to 1MiB"),
            ("[limits]\nheader_bytes = \"64KB\"", "2:16: `limits.header_bytes` is '64KB'", "\"64KiB\""),
            ("[limits]\nheader_count = 5", "2:16: `limits.header_count` is 5", "10 to 10000"),
            (
                "[limits]\ntarget_bytes = 65535",
                "2:16: `limits.target_bytes` is 65535",
                "256 bytes to 65534 bytes",
            ),
            (
                "[limits]\nheader_bytes = \"8KiB\"",
                "2:1: `limits.target_bytes` (16384) is more than `header_bytes` (8192)",
                "at most `header_bytes`",
            ),
            ("[limits]\nconnections = 0", "2:15: `limits.connections` is 0", "1 to 1000000"),
            ("[limits]\nhead_timeout = true", "2:16: `limits.head_timeout` is true or false", "unit"),
            ("[access_log]", "1:1: `access_log` says nothing", "stdout = true"),
            (
                "[access_log]\nfile = \"/a\"\nstdout = true",
                "3:10: `access_log.stdout` and `access_log.file` are both given",
                "keep one",
            ),
        ],
        with_listener,
    );
    let config = accepted(&with_listener(
        "[timeouts]\nconnect = \"250ms\"\ntotal = \"60s\"\n[limits]\nheader_bytes = 16384\n[access_log]\nstdout = true",
    ));
    assert_eq!(config.timeouts.connect, Duration::from_millis(250));
    assert_eq!(config.timeouts.total, Some(Duration::from_mins(1)));
    assert_eq!(config.limits.clients.header_bytes, 16384);
    assert_eq!(config.access_log, Some(AccessLogConfig::Stdout));
    assert_eq!(accepted(&with_listener("[access_log]\nstdout = false")).access_log, None);
}

#[test]
fn health() {
    judge(
        &[
            ("[health]\nactive = \"yes\"", "2:10: `health.active` is text", "true or false"),
            ("[health]\ninterval = \"0s\"", "2:12: `health.interval` is '0s'", "1ms to 24h"),
            ("[health]\nunhealthy_after = 0", "2:19: `health.unhealthy_after` is 0", "1 to 100"),
            ("[health]\npanic_percent = 101", "2:17: `health.panic_percent` is 101", "0 to 100"),
            (
                "[health]\ninterval = \"500ms\"",
                "2:12: `health.timeout` (1s) is longer than `interval` (500ms)",
                "at most `interval`",
            ),
        ],
        with_listener,
    );
    let said =
        "[health]\ninterval = \"500ms\"\ntimeout = \"200ms\"\neject_after_errors = 0\nslow_start = \"10s\"";
    let health = accepted(&with_listener(said)).health;
    assert_eq!((health.interval.as_millis(), health.timeout.as_millis()), (500, 200));
    assert_eq!((health.eject_after_errors, health.slow_start.map(|s| s.as_secs())), (0, Some(10)));
    assert_eq!((health.unhealthy_after, health.active), (2, true), "what is not said keeps its default");
}

#[test]
fn services() {
    judge(
        &[
            ("[[service]]\nfallback = []", "1:1: `service.name` is missing", "name = "),
            (
                "[[service]]\nname = \"core\"",
                "1:1: `service` says nothing beside its name",
                "the registry knows it",
            ),
            (
                "[[service]]\nname = \"Core\"\nfallback = []",
                "2:8: `service.name` is 'Core'",
                "^[a-z0-9][a-z0-9_-]{1,63}$",
            ),
            (
                "[[service]]\nname = \"core\"\nfallback = \"http://a\"",
                "3:12: `service.fallback` is text",
                "give a list",
            ),
            (
                "[[service]]\nname = \"core\"\nfallback = [\"http://a\", \"http://b?x\"]",
                "3:25: `service.fallback` breaks a rule: a URL is http(s)://host[:port][/path], 'http://b?x' is not: \
                 it has a query or a fragment",
                "http://",
            ),
            (
                "[[service]]\nname = \"core\"\nfallback = [\"unix:/run/core.sock\", \"unix:core.sock\"]",
                "3:36: `service.fallback` is 'unix:core.sock', no absolute path of a socket",
                "unix:/run/app.sock",
            ),
            (
                "[[service]]\nname = \"core\"\nfallback = []\n[[service]]\nname = \"core\"\nfallback = []",
                "5:8: `service.name` 'core' is in line 2 already",
                "one [[service]] per name",
            ),
        ],
        with_listener,
    );
}

/// `lines` as the TLS of a listener; they start in line 4.
fn listener_tls(lines: &str) -> String {
    format!("[[listener]]\naddress = \"127.0.0.1:1\"\n[listener.tls]\n{lines}")
}

#[test]
fn tls_of_a_listener() {
    judge(
        &[
            ("", "3:1: `listener.tls` names no certificate", "certificates = [{ cert"),
            ("certificates = []", "4:1: `listener.tls.certificates` is empty", "at least one"),
            (
                "certificates = [{ cert = \"/a.pem\" }]",
                "4:17: `listener.tls.certificates.key` is missing",
                "write key = ",
            ),
            (
                "directory = \"/d\"\nmin_version = \"1.1\"",
                "5:15: `listener.tls.min_version` is no version that is spoken",
                "\"1.3\"",
            ),
            (
                "directory = \"/d\"\nclient_auth = \"required\"",
                "5:15: `listener.tls.client_auth` is given, and no `client_ca` to judge certificates by",
                "client_ca = ",
            ),
            (
                "directory = \"/d\"\ndefault = \"*.a.b\"",
                "5:11: `listener.tls.default` is '*.a.b', a pattern",
                "www.a.b",
            ),
        ],
        listener_tls,
    );
    let config = accepted(&listener_tls(
        "certificates = [{ cert = \"/a.pem\", key = \"/a.key\" }]\nclient_ca = \"/ca.pem\"\nhandshakes = 9",
    ));
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].key.at.to_string(), "g.toml:4:42");
    assert!(
        matches!(tls.client_auth, ClientAuthConfig::Required(_)),
        "a CA without a word asks for certificates"
    );
    assert_eq!((tls.min_version, tls.handshakes), (TlsVersion::V12, 9));
}

#[test]
fn tls_of_services() {
    judge(
        &[
            (
                "[upstream_tls]\nca = \"/ca\"\nverify = false",
                "3:10: `upstream_tls.verify` is false, and `ca` says whom to believe",
                "one of the two",
            ),
            (
                "[[service]]\nname = \"core\"\ntls = { client_cert = \"/c\" }",
                "3:9: `service.tls.client_cert` is given without `client_key`",
                "both",
            ),
            (
                "[upstream_tls]\nserver_name = \"a\"",
                "2:1: `upstream_tls.server_name` is not a key",
                "known keys",
            ),
        ],
        with_listener,
    );
    let config = accepted(&with_listener(
        "[upstream_tls]\nverify = false\nclient_cert = \"/c\"\nclient_key = \"/k\"\n\
         [[service]]\nname = \"core\"\ntls = { ca = \"/ca\", server_name = \"Core.internal\" }",
    ));
    let tls = config.services[0].tls.as_ref().unwrap();
    assert!(
        tls.verify && tls.client.is_some(),
        "who names an authority wants it asked; the rest is inherited"
    );
    assert_eq!(tls.server_name.as_deref(), Some("core.internal"));
    assert_eq!(config.services[0].fallback, None);
    assert!(
        config.warnings.iter().any(|warning| warning.contains("verify = false")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn route_paths_and_rewrites() {
    judge(
        &[
            ("", "1:1: `route` has neither `path` nor `prefix`", "prefix = "),
            (
                "path = \"/a\"\nprefix = \"/b\"",
                "5:1: `route.prefix` and `route.path` are both given",
                "keep one",
            ),
            ("prefix = \"a\"", "4:10: `route.prefix` does not start with /: 'a'", "/api/users"),
            ("path = \"/a/../b\"", "4:8: `route.path` has a dot segment: '/a/../b'", "without . and .."),
            ("path = \"/a/./b\"", "4:8: `route.path` has a dot segment: '/a/./b'", "without . and .."),
            ("path = \"/a/..b\"", "4:8: `route.path` has a dot segment: '/a/..b'", "without . and .."),
            ("path = \"/%2e%2E/b\"", "4:8: `route.path` has a dot segment: '/%2e%2E/b'", "without . and .."),
            ("path = \"/a%2F..\"", "4:8: `route.path` has a dot segment: '/a%2F..'", "without . and .."),
            ("path = \"/a//b\"", "4:8: `route.path` has an empty segment (//): '/a//b'", "one slash"),
            ("path = \"//\"", "4:8: `route.path` has an empty segment (//): '//'", "one slash"),
            ("path = \"/a?b=c\"", "4:8: `route.path` has a query or a fragment: '/a?b=c'", "passes through"),
            ("path = \"/a b\"", "4:8: `route.path` has a space or a character outside ASCII: '/a b'", "%20"),
            ("path = \"/é\"", "4:8: `route.path` has a space or a character outside ASCII: '/é'", "%C3%A9"),
            ("path = \"/%4\"", "4:8: `route.path` has a % without two hexadecimal digits: '/%4'", "%25"),
            ("path = \"/%zz\"", "4:8: `route.path` has a % without two hexadecimal digits: '/%zz'", "%25"),
            ("path = \"/a%5Cb\"", "4:8: `route.path` has a backslash or a NUL: '/a%5Cb'", "leave it out"),
            ("path = '/a\\b'", "4:8: `route.path` has a backslash or a NUL: '/a\\\\b'", "leave it out"),
            ("path = \"/%00\"", "4:8: `route.path` has a backslash or a NUL: '/%00'", "leave it out"),
            (
                "prefix = \"/a\"\nstrip_prefix = true\nreplace_prefix = \"/b\"",
                "6:18: `route.replace_prefix` and `route.strip_prefix` are both given",
                "keep one",
            ),
            (
                "prefix = \"/a\"\nreplace_prefix = \"b\"",
                "5:18: `route.replace_prefix` does not start with /: 'b'",
                "/api/users",
            ),
            (
                "path = \"/a\"\nstrip_prefix = true",
                "5:16: `route.strip_prefix` stands beside `path`, which has no prefix",
                "`prefix` instead",
            ),
            (
                "path = \"/a\"\nreplace_prefix = \"/b\"",
                "5:18: `route.replace_prefix` stands beside `path`, which has no prefix",
                "`prefix` instead",
            ),
        ],
        route,
    );
    let one = |lines: &str| accepted(&route(lines)).routes.remove(0);
    assert_eq!(one("prefix = \"/\"").path, PathPattern::Prefix(String::new()));
    assert_eq!(one("prefix = \"/a/\"").path, PathPattern::Prefix("/a".into()));
    assert_eq!(one("path = \"/a/\"").path, PathPattern::Exact("/a/".into()));
    assert_eq!(one("path = \"/a%2Fb%20c;v=1\"").path, PathPattern::Exact("/a%2Fb%20c;v=1".into()));
    let rewrite = |lines: &str| match one(lines).action {
        RouteAction::Service { rewrite, .. } => rewrite,
        other @ (RouteAction::Redirect(_) | RouteAction::Answer(_)) => panic!("{other:?}"),
    };
    assert_eq!(rewrite("prefix = \"/a\"\nstrip_prefix = true"), PathRewrite::StripPrefix);
    assert_eq!(rewrite("path = \"/a\"\nstrip_prefix = false"), PathRewrite::Keep);
    assert_eq!(rewrite("prefix = \"/a\"\nreplace_prefix = \"/b/\""), PathRewrite::ReplacePrefix("/b".into()));
}

#[test]
fn route_hosts_methods_and_headers() {
    judge(
        &[
            ("path = \"/\"\nhost = \"a.example:80\"", "5:8: `route.host` is 'a.example:80'", "\"a.example\""),
            ("path = \"/\"\nhost = \"http://a\"", "5:8: `route.host` is 'http://a'", "host alone"),
            ("path = \"/\"\nhost = \"a/b\"", "5:8: `route.host` is 'a/b'", "`path` or `prefix`"),
            ("path = \"/\"\nhost = \"*\"", "5:8: `route.host` is '*'", "leave `host` out"),
            ("path = \"/\"\nhost = \"a.*.b\"", "5:8: `route.host` is 'a.*.b'", "*.example.com"),
            ("path = \"/\"\nhost = \"a..b\"", "5:8: `route.host` is 'a..b'", "labels"),
            ("path = \"/\"\nhost = \"é.example\"", "5:8: `route.host` is 'é.example'", "xn--"),
            ("path = \"/\"\nhost = \"[::1]:80\"", "5:8: `route.host` is '[::1]:80'", "no port"),
            ("path = \"/\"\nmethods = [\"get\"]", "5:12: `route.methods` has 'get'", "did you mean \"GET\"?"),
            (
                "path = \"/\"\nmethods = [\"CONNECT\"]",
                "5:12: `route.methods` has 'CONNECT'",
                "methods are GET",
            ),
            ("path = \"/\"\nmethods = [\"GET\", \"GET\"]", "5:19: `route.methods` has GET twice", "once"),
            ("path = \"/\"\nmethods = []", "5:11: `route.methods` is empty", "leave the key out"),
            ("path = \"/\"\nmethods = \"GET\"", "5:11: `route.methods` is text", "[\"GET\", \"HEAD\"]"),
            ("path = \"/\"\nheaders = [\"a\"]", "5:11: `route.headers` is a list", "{ x-canary = \"yes\" }"),
            (
                "path = \"/\"\nheaders = { \"a b\" = \"c\" }",
                "5:13: `route.headers` has the name 'a b'",
                "x-canary",
            ),
            (
                "path = \"/\"\nheaders = { Host = \"c\" }",
                "5:13: `route.headers` has the name 'host'",
                "use `host`",
            ),
            ("path = \"/\"\nheaders = { a = 1 }", "5:17: `route.headers` is an integer", "quotes"),
            (
                "path = \"/\"\nheaders = { a = \" c\" }",
                "5:17: `route.headers` has the value ' c'",
                "without spaces",
            ),
            (
                "path = \"/\"\nheaders = { a = \"c\", A = \"d\" }",
                "5:13: `route.headers` has a twice (case does not matter)",
                "once",
            ),
        ],
        route,
    );
    let host =
        |text: &str| accepted(&route(&format!("path = \"/\"\nhost = \"{text}\""))).routes.remove(0).host;
    for (text, expected) in [
        ("API.Example.com.", HostPattern::Exact("api.example.com".into())),
        ("*.Example.com", HostPattern::Wildcard("example.com".into())),
        ("vertice-maximus_eureka", HostPattern::Exact("vertice-maximus_eureka".into())),
        ("10.0.0.1", HostPattern::Exact("10.0.0.1".into())),
        ("[0::1]", HostPattern::Exact("[::1]".into())),
    ] {
        assert_eq!(host(text), Some(expected), "{text}");
    }
    let mut config = accepted(&route("path = \"/\"\nheaders = { X-A = \"v\", x-b = \"*\" }"));
    let headers = config.routes.remove(0).headers;
    let shown: Vec<_> = headers
        .iter()
        .map(|h| (h.name.as_str(), h.value.as_ref().map(http::HeaderValue::as_bytes)))
        .collect();
    assert_eq!(shown, [("x-a", Some(b"v".as_slice())), ("x-b", None)]);
}

#[test]
fn route_names_matches_and_timeouts() {
    let second = |lines: &str| {
        with_listener(&format!(
            "[[route]]\nname = \"r\"\nservice = \"core\"\nprefix = \"/a\"\nhost = \"A.b\"\nmethods = [\"GET\", \"PUT\"]\n\
             [[route]]\n{lines}"
        ))
    };
    judge(
        &[
            (
                "name = \"r\"\nservice = \"core\"\npath = \"/b\"",
                "8:8: `route.name` 'r' is taken by the route of line 2",
                "own name",
            ),
            (
                "name = \"s\"\nservice = \"other\"\nprefix = \"/a/\"\nhost = \"a.B\"\nmethods = [\"PUT\", \"GET\"]",
                "10:10: route 's' matches exactly what the route of line 2 matches",
                "remove one",
            ),
            (
                "name = \"s\"\npath = \"/b\"",
                "7:1: `route` has none of `service`, `redirect` and `answer`",
                "service = ",
            ),
            ("service = \"core\"\npath = \"/b\"", "7:1: `route.name` is missing", "name = "),
            ("name = \"s\"\npath = \"/b\"\nservice = \"A\"", "10:11: `route.service` is 'A'", "2 to 64"),
            (
                "name = \"s\"\npath = \"/b\"\nservice = \"core\"\ntimeouts = { total = \"30s\" }",
                "11:22: `route.timeouts.total` (30s) is shorter than `first_byte` (60s), which could never run out",
                "at least `first_byte`",
            ),
            (
                "name = \"s\"\npath = \"/b\"\nservice = \"core\"\ntimeouts = { frist_byte = \"30s\" }",
                "11:14: `route.timeouts.frist_byte` is not a key",
                "did you mean `first_byte`?",
            ),
        ],
        second,
    );
    // The same path for another method, host or header is another route.
    accepted(&second(
        "name = \"s\"\nservice = \"core\"\nprefix = \"/a\"\nhost = \"a.b\"\nmethods = [\"GET\"]",
    ));
    let config = accepted(&with_listener(
        "[timeouts]\nconnect = \"1s\"\nidle = \"9s\"\n[[route]]\nname = \"r\"\nservice = \"core\"\npath = \"/\"\n\
         [route.timeouts]\nfirst_byte = \"120s\"\nidle = \"8s\"",
    ));
    let timeouts = config.routes[0].timeouts.over(&config.timeouts);
    assert_eq!(
        (timeouts.connect, timeouts.first_byte, timeouts.idle, timeouts.total),
        (Duration::from_secs(1), Duration::from_mins(2), Duration::from_secs(8), None)
    );
}

#[test]
fn many_mistakes_are_told_at_once_in_the_order_of_the_text() {
    let text = "\
workers = \"four\"
stat_dir = \"/x\"
state_dir
trusted_proxies = [\"nobody\"]

[registry]
url = http://registry
token = \"hunter2\"

[[route]]
name = \"core\"
path = \"/a/../b\"
service = \"Core\"

[limits]
header_bytes = \"1 KiB\"
";
    assert_eq!(
        refused(text),
        [
            "g.toml:1:11: `workers` is 'four'; give a whole number from 1 to 1024",
            "g.toml:2:1: `stat_dir` is not a key; did you mean `state_dir`? known keys here: workers, state_dir, \
             upgrade_socket, trusted_proxies, reason_header, listener, admin, registry, access_log, timeouts, limits, health, \
             upstream_tls, headers, api_key, jwt, forward_auth, policies, cors, rate_limit, rate_limit_store, ip, \
             service, route",
            "g.toml:3:10: not TOML: key with no value; write key = value",
            "g.toml:4:20: `trusted_proxies` is 'nobody'; give a network or an address: \"10.0.0.0/8\", \
             \"192.168.1.7\", \"fd00::/8\"",
            "g.toml:7:7: not TOML: string values must be quoted; text stands in double quotes: key = \"value\"",
            "g.toml:8:1: `registry.token` would put a secret into this file; secrets come from `token_file` or from \
             the environment (VERTICE_REGISTRY_TOKEN)",
            "g.toml:12:8: `route.path` has a dot segment: '/a/../b'; write the path that is meant, without . and ..",
            "g.toml:13:11: `route.service` is 'Core'; a service name matches ^[a-z0-9][a-z0-9_-]{1,63}$, 'Core' \
             does not at character 1; a name is like \"maximus_core_service\"",
            "g.toml:16:16: `limits.header_bytes` is '1 KiB'; give a size from 8KiB to 1MiB, as \"64KiB\", \"10MiB\" \
             or 65536",
        ]
    );
}

#[test]
fn a_file_of_mistakes_and_a_giant_file_are_bounded() {
    let many: Vec<String> = (0..500).map(|n| format!("k{n} = 1\n")).collect();
    let mistakes = refused(&with_listener(&many.concat()));
    assert_eq!(mistakes.len(), 100);
    assert!(mistakes[99].ends_with("(and 400 more mistakes below)"), "{}", mistakes[99]);
    let giant = "#".repeat(5 * 1024 * 1024);
    assert!(refused(&giant)[0].starts_with("g.toml:1:1: the file has 5242880 bytes; at most 4194304"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics_and_is_refused_with_places_inside_it(text in "\\PC*|[\\s\\S]{0,80}") {
        check_places(&text)?;
    }

    /// Words that the parser knows, in any order, reach deeper than arbitrary text.
    #[test]
    fn shuffled_pieces_of_configuration_never_panic(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)
    ) {
        check_places(&pieces.concat())?;
    }
}

const PIECES: &[&str] = &[
    "\n",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    " = ",
    ",",
    ".",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "\r\n",
    "\t",
    "é",
    "listener",
    "route",
    "admin",
    "address",
    "registry",
    "limits",
    "timeouts",
    "service",
    "name",
    "host",
    "path",
    "prefix",
    "headers",
    "methods",
    "total",
    "fallback",
    "tls",
    "certificates",
    "\"127.0.0.1:8000\"",
    "\"/a\"",
    "\"core\"",
    "\"2s\"",
    "[[listener]]\n",
    "[[route]]\n",
    "[route.timeouts]\n",
    "[limits]\n",
    "name = \"a\"\n",
    "1",
    "-1",
    "1.5",
    "true",
    "1979-05-27",
    "\\u00e9",
    "\u{feff}",
];

fn check_places(text: &str) -> Result<(), TestCaseError> {
    let Err(mistakes) = resolve(Some(("f", text)), &Env::default(), &Flags::default()) else { return Ok(()) };
    let lines: Vec<&str> = text.split('\n').collect();
    for mistake in mistakes {
        let Mistake::InFile(found) = mistake else { continue };
        prop_assert!((1..=lines.len()).contains(&found.line), "{found}");
        prop_assert!(
            found.column >= 1 && found.column <= lines[found.line - 1].chars().count() + 1,
            "{found}"
        );
    }
    Ok(())
}
