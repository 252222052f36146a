//! Policies about traffic (CORS, rates, addresses, kinds of bodies), rule by rule: what is accepted, and what is told of what is not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use vertice_config::Env;
use vertice_config::gateway::policy::{CountedBy, RoutePoliciesConfig};
use vertice_config::gateway::{Flags, GatewayConfig, Mistake, resolve};
use vertice_config::redis_address::Whereabouts;

const DEFINED: &str = "
[cors.web]
origins = [\"https://app.example.com\"]
[rate_limit.slow]
requests = 10
per = \"1m\"
[rate_limit.fast]
requests = 100
per = \"1s\"
burst = 20
by = [\"route\", { header = \"x-tenant\" }]
[ip.office]
allow = [\"10.0.0.0/8\"]
[[route]]
name = \"user\"
prefix = \"/user\"
service = \"ab\"
cors = \"web\"
rate_limits = [\"slow\", \"fast\"]
[[listener]]
address = \"127.0.0.1:1\"
ip = \"office\"
";

fn read(text: &str) -> Result<GatewayConfig, Vec<String>> {
    resolve(Some(("g.toml", text)), &Env::default(), &Flags::default())
        .map_err(|mistakes| mistakes.iter().map(Mistake::to_string).collect())
}

fn accepted(text: &str) -> GatewayConfig {
    read(text).unwrap_or_else(|mistakes| panic!("{text}\n{}", mistakes.join("\n")))
}

/// `text` as the first lines of a file.
fn first(text: &str) -> String {
    format!("{text}\n{DEFINED}")
}

/// `text` as lines of a route; they start in line 5.
fn route(text: &str) -> String {
    first(&format!("[[route]]\nname = \"r\"\nprefix = \"/a\"\nservice = \"ab\"\n{text}"))
}

/// (text, the only mistake without the file's name, a part of what would be right)
fn judge(cases: &[(&str, &str, &str)], build: impl Fn(&str) -> String) {
    for (text, expected, right) in cases {
        let mistakes = read(&build(text)).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert_eq!(mistakes.len(), 1, "{text}\n{}", mistakes.join("\n"));
        let (found, found_right) = mistakes[0].split_once("; ").unwrap();
        assert_eq!(found, format!("g.toml:{expected}"), "{text}");
        assert!(found_right.contains(right), "{text}\nexpected {right}\n   found {found_right}");
    }
}

fn names(policies: &RoutePoliciesConfig) -> (Option<&str>, Option<&str>, Vec<&str>) {
    (
        policies.ip.as_ref().map(|ip| ip.name.as_str()),
        policies.cors.as_ref().map(|cors| cors.name.as_str()),
        policies.rate_limits.iter().map(|limit| limit.name.as_str()).collect(),
    )
}

#[test]
fn a_route_has_what_it_names_and_otherwise_what_holds_for_all() {
    let general = "[policies]\nip = \"office\"\ncors = \"web\"\nrate_limits = [\"slow\"]\n";
    let build = |text: &str| format!("{general}{}", route(text));
    for (text, expected) in [
        ("", (Some("office"), Some("web"), vec!["slow"])),
        ("ip = \"none\"", (None, Some("web"), vec!["slow"])),
        ("cors = \"none\"", (Some("office"), None, vec!["slow"])),
        ("rate_limits = []", (Some("office"), Some("web"), vec![])),
        ("rate_limits = [\"fast\", \"slow\"]", (Some("office"), Some("web"), vec!["fast", "slow"])),
    ] {
        let config = accepted(&build(text));
        assert_eq!(names(&config.routes[0].policies), expected, "{text}");
        assert_eq!(names(&config.policies.general), (Some("office"), Some("web"), vec!["slow"]));
    }
    assert_eq!(accepted(&route("")).routes[0].policies, RoutePoliciesConfig::default());
}

#[test]
fn names_that_are_not_defined() {
    judge(
        &[
            (
                "cors = \"wb\"",
                "5:8: `route.cors` names 'wb', and there is no such [cors.NAME]",
                "did you mean \"web\"?",
            ),
            (
                "rate_limits = [\"slow\", \"other\"]",
                "5:24: `route.rate_limits` names 'other', and there is no such [rate_limit.NAME]",
                "name one of these: fast, slow",
            ),
            ("ip = \"home\"", "5:6: `route.ip` names 'home', and there is no such [ip.NAME]", "[ip.home]"),
            ("rate_limits = [\"slow\", \"slow\"]", "5:24: `route.rate_limits` has 'slow' twice", "once"),
            ("rate_limits = \"slow\"", "5:15: `route.rate_limits` is text", "give a list"),
            ("content = { types = [] }", "5:21: `route.content.types` has 0 types", "body_bytes = 0"),
            ("content = {}", "5:11: `route.content.types` is missing", "application/json"),
            (
                "content = { types = [\"json\"] }",
                "5:22: `route.content.types` has 'json'",
                "without parameters",
            ),
        ],
        route,
    );
}

#[test]
fn cors() {
    judge(
        &[
            ("[cors.x]", "1:7: `cors.x.origins` is missing", "[\"*\"] for everybody"),
            (
                "[cors.x]\norigins = [\"*\"]\ncredentials = true",
                "2:12: `cors.x.origins` is \"*\" beside credentials = true",
                "one by one",
            ),
            (
                "[cors.x]\norigins = [\"https://a.org\"]\nheaders = [\"*\"]\ncredentials = true",
                "3:12: `cors.x.headers` is \"*\" beside credentials = true",
                "one by one",
            ),
            (
                "[cors.x]\norigins = [\"https://a.org\", \"*\"]",
                "2:29: `cors.x.origins` has \"*\" beside others",
                "alone",
            ),
            ("[cors.x]\norigins = [\"null\"]", "2:12: `cors.x.origins` has 'null'", "leave it out"),
            (
                "[cors.x]\norigins = [\"a.org\"]",
                "2:12: `cors.x.origins` has 'a.org'",
                "https://app.example.com",
            ),
            (
                "[cors.x]\norigins = [\"https://a.org/\"]",
                "2:12: `cors.x.origins` has 'https://a.org/'",
                "as browsers",
            ),
            (
                "[cors.x]\norigins = [\"https://a.org:443\"]",
                "2:12: `cors.x.origins` has 'https://a.org:443'",
                "port out",
            ),
            (
                "[cors.x]\norigins = [\"https://a.org:x\"]",
                "2:12: `cors.x.origins` has 'https://a.org:x'",
                "as browsers",
            ),
            (
                "[cors.x]\norigins = [\"https://*\"]",
                "2:12: `cors.x.origins` has 'https://*'",
                "*.example.com",
            ),
            (
                "[cors.x]\norigins = [\"https://a\"]\nmethods = [\"get\"]",
                "3:12: `cors.x.methods` has 'get'",
                "in capitals",
            ),
            (
                "[cors.x]\norigins = [\"https://a\"]\nexpose = [\"x y\"]",
                "3:11: `cors.x.expose` has the name 'x y'",
                "letters",
            ),
            ("[cors]\norigins = [\"*\"]", "2:11: `cors.origins` is a list", "[cors.NAME]"),
            (
                "[cors.x]\norigin = [\"*\"]\norigins = [\"*\"]",
                "2:1: `cors.x.origin` is not a key",
                "`origins`",
            ),
        ],
        first,
    );
    let origins = "[\"http://localhost:5173\", \"https://*.Example.org\", \"http://[::1]:80\", \"app://x\"]";
    // 80 is what http has by itself.
    let text =
        first(&format!("[policies]\ncors = \"x\"\n[cors.x]\norigins = {}", origins.replace(":80", ":81")));
    assert_eq!(accepted(&text).policies.cors["x"].origins.as_ref().unwrap().len(), 4);
}

#[test]
fn rate_limits() {
    let config = accepted(&first(""));
    let (slow, fast) = (&config.policies.rate_limits["slow"], &config.policies.rate_limits["fast"]);
    assert_eq!((slow.requests, slow.burst, slow.per), (10, 10, Duration::from_mins(1)));
    assert_eq!((slow.by.as_slice(), slow.shared, slow.is_early()), (&[CountedBy::Address][..], false, true));
    let tenant = CountedBy::Header("x-tenant".parse().unwrap());
    assert_eq!(fast.by, [CountedBy::Route, tenant]);
    assert_eq!((fast.burst, fast.is_early()), (20, false));
    judge(
        &[
            ("[rate_limit.x]\nper = \"1s\"", "1:13: `rate_limit.x.requests` is missing", "requests = 100"),
            ("[rate_limit.x]\nrequests = 1", "1:13: `rate_limit.x.per` is missing", "per = \"1m\""),
            (
                "[rate_limit.x]\nrequests = 0\nper = \"1s\"",
                "2:12: `rate_limit.x.requests` is 0",
                "from 1 to 1000000",
            ),
            (
                "[rate_limit.x]\nrequests = 1\nper = \"500ms\"",
                "3:7: `rate_limit.x.per` is 500ms",
                "whole seconds",
            ),
            (
                "[rate_limit.x]\nrequests = 1\nper = \"1s\"\nby = \"ip\"",
                "4:6: `rate_limit.x.by` has 'ip'",
                "\"address\"",
            ),
            (
                "[rate_limit.x]\nrequests = 1\nper = \"1s\"\nby = [\"route\", \"route\"]",
                "4:6: `rate_limit.x.by` names the same part twice",
                "once",
            ),
            (
                "[rate_limit.x]\nrequests = 1\nper = \"1s\"\nby = []",
                "4:6: `rate_limit.x.by` has 0 parts",
                "one to 4",
            ),
            (
                "[rate_limit.x]\nrequests = 1\nper = \"1s\"\nby = { headers = \"a\" }",
                "4:6: `rate_limit.x.by` is no header field",
                "{ header =",
            ),
            (
                "[rate_limit.x]\nrequests = 1\nper = \"1s\"\nshared = true",
                "4:10: `rate_limit.x.shared` is true, and there is no store to share it in",
                "[rate_limit_store]",
            ),
        ],
        first,
    );
}

#[test]
fn who_is_counted_by_key_is_asked_for_one() {
    let keyed = "[rate_limit.keyed]\nrequests = 1\nper = \"1s\"\nby = \"key\"\n[[api_key]]\nname = \"k\"\nsha256 = \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"\n[policies]\nauth = { api_key = true }\n";
    judge(
        &[
            (
                "auth = \"none\"\nrate_limits = [\"keyed\"]",
                "6:1: `keyed` counts by key, and nobody is asked for one here",
                "api_key = true",
            ),
            (
                "rate_limits = [\"slow\", \"keyed\"]\nauth = \"none\"",
                "5:1: `keyed` counts by key, and nobody is asked for one here",
                "api_key = true",
            ),
        ],
        |text| format!("{}{keyed}", route(text)),
    );
    let config = accepted(&format!("{}{keyed}", route("rate_limits = [\"keyed\"]")));
    let limit = &config.routes[0].policies.rate_limits[0];
    assert_eq!((limit.by.as_slice(), limit.is_early()), (&[CountedBy::Key][..], false));
}

#[test]
fn the_store_of_rate_limits() {
    let store = |text: &str| first(&format!("[rate_limit_store]\n{text}"));
    let config = accepted(&store("url = \"redis+sentinel://a,b/main/3\""));
    let address = config.policies.rate_limit_store.unwrap();
    assert!(matches!(&address.whereabouts, Whereabouts::Sentinel { master, .. } if master == "main"));
    judge(
        &[
            ("", "1:1: `rate_limit_store.url` is missing", "redis://cache:6379"),
            ("url = \"http://a\"", "2:7: `rate_limit_store.url` is 'http://a'", "redis://host:6379"),
            (
                "url = \"redis://a:0\"",
                "2:7: `rate_limit_store.url` breaks a rule: 'a:0' is not host:port",
                "redis://host:6379",
            ),
            (
                "url = \"redis://:s3cret@a\"",
                "2:7: `rate_limit_store.url` has a password (not shown)",
                "password_file",
            ),
        ],
        |text| store(text),
    );
    let env = Env::from([("RATE_LIMIT_STORE_PASSWORD", "s3cret")]);
    let config = resolve(Some(("g.toml", &store("url = \"redis://a\""))), &env, &Flags::default()).unwrap();
    let password = config.policies.rate_limit_store.as_ref().unwrap().password.as_ref().unwrap();
    assert_eq!(password.expose(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn addresses() {
    judge(
        &[
            ("[ip.x]", "1:5: `ip.x` has neither `allow` nor `deny`", "allow ="),
            ("[ip.x]\nallow = []", "2:1: `ip.x.allow` is empty, so nobody may ask", "leave the key out"),
            (
                "[ip.x]\ndeny = [\"10.0.0.1/8\"]",
                "2:9: `ip.x.deny` is '10.0.0.1/8', an address inside a network",
                "10.0.0.0/8",
            ),
            ("[ip.x]\ndeny = [\"nobody\"]", "2:9: `ip.x.deny` is 'nobody'", "give a network"),
        ],
        first,
    );
    let config = accepted(&first(""));
    assert!(config.listeners[0].rules.ip.as_ref().unwrap().admits("10.1.2.3".parse().unwrap()));
}

#[test]
fn what_nobody_names_is_a_mistake() {
    judge(
        &[
            ("[cors.x]\norigins = [\"*\"]", "1:7: `cors.x` is used nowhere", "or take [cors.x] out"),
            (
                "[rate_limit.x]\nrequests = 1\nper = \"1s\"",
                "1:13: `rate_limit.x` is used nowhere",
                "[policies]",
            ),
            ("[ip.x]\ndeny = [\"10.0.0.1\"]", "1:5: `ip.x` is used nowhere", "[policies]"),
        ],
        first,
    );
}
