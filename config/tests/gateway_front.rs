//! What a route does beside asking a service, header fields that are changed, and the way to HTTPS: rule by rule.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use http::StatusCode;
use vertice_config::Env;
use vertice_config::gateway::{Bound, Flags, GatewayConfig, HeaderEdit, Mistake, RouteAction, resolve};

fn read(text: &str) -> Result<GatewayConfig, Vec<String>> {
    resolve(Some(("g.toml", text)), &Env::default(), &Flags::default())
        .map_err(|mistakes| mistakes.iter().map(Mistake::to_string).collect())
}

fn accepted(text: &str) -> GatewayConfig {
    read(text).unwrap_or_else(|mistakes| panic!("{text}\n{}", mistakes.join("\n")))
}

/// `text` as lines of a route; they start in line 4.
fn route(text: &str) -> String {
    format!("[[route]]\nname = \"r\"\nprefix = \"/a\"\n{text}\n[[listener]]\naddress = \"127.0.0.1:1\"\n")
}

/// `text` as lines of a listener; they start in line 3.
fn listener(text: &str) -> String {
    format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{text}\n")
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

#[test]
fn a_route_has_exactly_one_of_service_redirect_and_answer() {
    judge(
        &[
            ("", "1:1: `route` has none of `service`, `redirect` and `answer`", "answer = { status = 503 }"),
            (
                "service = \"core\"\nredirect = { to = \"/b\" }",
                "5:1: `route.redirect` and `route.service` are both given",
                "keep one",
            ),
            (
                "answer = { status = 200 }\nredirect = { to = \"/b\" }",
                "4:1: `route.answer` and `route.redirect` are both given",
                "keep one",
            ),
            (
                "answer = { status = 200 }\nstrip_prefix = true",
                "5:1: `route.strip_prefix` stands beside a route that asks no service",
                "leave it out",
            ),
            (
                "redirect = { to = \"/b\" }\nrequest_headers = { remove = [\"x\"] }",
                "5:1: `route.request_headers` stands beside a route that asks no service",
                "leave it out",
            ),
        ],
        route,
    );
}

#[test]
fn redirects_name_their_host_and_answers_are_whole() {
    let to = |at: &str, text: &str| format!("4:{at}: `route.redirect.to` is '{text}'");
    let bad = |text: &str| (format!("redirect = {{ to = \"{text}\" }}"), to("19", text));
    for (text, right) in [
        ("www.example.com/a", "https://www.example.com{path}{query}"),
        ("ftp://a/b", "http(s)://host"),
        ("https://u@a/b", "without a user"),
        ("https://{path}", "no URL"),
        ("https://a{query}.example{path}", "{query} comes last"),
        ("//evil.example", "name a host"),
        ("/{path}", "name a host"),
        ("/b{host}", "placeholders are {path}, {rest}"),
        ("/b{query}{path}", "{query} comes last"),
        ("/b?from={path}", "behind a ? or #"),
        ("/b c", "percent-encoded"),
    ] {
        let (line, expected) = bad(text);
        let mistakes = read(&route(&line)).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert_eq!(mistakes.len(), 1, "{text}: {mistakes:?}");
        assert!(mistakes[0].contains(&expected) && mistakes[0].contains(right), "{text}: {mistakes:?}");
    }
    judge(
        &[
            ("redirect = { status = 301 }", "4:12: `route.redirect.to` is missing", "to = "),
            (
                "redirect = { to = \"/b\", status = 303 }",
                "4:34: `route.redirect.status` is 303",
                "307 or 308",
            ),
            (
                "redirect = { to = \"/b\", code = 1 }",
                "4:25: `route.redirect.code` is not a key",
                "to, status",
            ),
            ("answer = { body = \"x\" }", "4:10: `route.answer.status` is missing", "status = 503"),
            ("answer = { status = 302 }", "4:21: `route.answer.status` is 302", "use `redirect`"),
            ("answer = { status = 100 }", "4:21: `route.answer.status` is 100", "from 200 to 599"),
            (
                "answer = { status = 204, body = \"x\" }",
                "4:33: `route.answer.body` stands beside status 204, which has no body",
                "leave the body out",
            ),
            (
                "answer = { status = 200, content_type = \"text/html\" }",
                "4:41: `route.answer.content_type` stands there without a `body`",
                "give a body",
            ),
            (
                "answer = { status = 503, headers = { Retry-After = \"5\" } }",
                "4:26: `route.answer.headers` has retry-after",
                "use `retry_after`",
            ),
            (
                "answer = { status = 200, headers = { content-length = \"5\" } }",
                "4:38: `route.answer.headers` has the name 'content-length'",
                "where the message ends",
            ),
        ],
        route,
    );
    let action = |lines: &str| accepted(&route(lines)).routes.remove(0).action;
    for text in
        ["https://new.example:8443{path}{query}", "/new{rest}{query}", "{path}", "http://[::1]/x?a=b#c"]
    {
        match action(&format!("redirect = {{ to = \"{text}\" }}")) {
            RouteAction::Redirect(to) => {
                assert_eq!((to.to_string().as_str(), to.status.as_u16()), (text, 307));
            }
            other @ (RouteAction::Service { .. } | RouteAction::Answer(_)) => panic!("{other:?}"),
        }
    }
    let RouteAction::Answer(answer) = action("answer = { status = 503, body = \"\"\"a\nb\"\"\" }") else {
        panic!()
    };
    let headers: Vec<_> = answer.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "a\nb"));
    assert_eq!(headers, [("retry-after", "60"), ("content-type", "text/plain; charset=utf-8")]);
}

#[test]
fn header_fields_of_the_gateway_and_of_framing_are_not_an_operators_to_change() {
    let service = |text: &str| route(&format!("service = \"core\"\n{text}"));
    judge(
        &[
            (
                "request_headers = { set = { Host = \"a\" } }",
                "5:29: `route.request_headers.set` has the name 'host'",
                "what the client asked for",
            ),
            (
                "request_headers = { set = { X-Forwarded-For = \"a\" } }",
                "5:29: `route.request_headers.set` has the name 'x-forwarded-for'",
                "trusted_proxies",
            ),
            (
                "request_headers = { add = { x_real_ip = \"a\" } }",
                "5:29: `route.request_headers.add` has the name 'x_real_ip'",
                "who the client is",
            ),
            (
                "request_headers = { remove = [\"Content-Length\"] }",
                "5:31: `route.request_headers.remove` has the name 'content-length'",
                "where the message ends",
            ),
            (
                "response_headers = { remove = [\"connection\"] }",
                "5:32: `route.response_headers.remove` has the name 'connection'",
                "about one connection",
            ),
            (
                "response_headers = { set = { Strict-Transport-Security = \"max-age=1\" } }",
                "5:30: `route.response_headers.set` has the name 'strict-transport-security'",
                "`hsts` of the listener",
            ),
            (
                "response_headers = { set = { x-a = \"b\" }, remove = [\"X-A\"] }",
                "5:30: `route.response_headers` changes x-a twice (case does not matter)",
                "needs no `remove`",
            ),
            (
                "response_headers = { set = { x-a = \" b\" } }",
                "5:36: `route.response_headers.set` has the value ' b'",
                "without spaces at its ends",
            ),
            (
                "response_headers = { set = { x-a = \"a\\r\\nb: c\" } }",
                "5:36: `route.response_headers.set` has a control character: 'a\\r\\nb: c'",
                "one line",
            ),
            (
                "response_headers = { set = { \"x a\" = \"b\" } }",
                "5:30: `route.response_headers.set` has the name 'x a'",
                "letters, digits and -",
            ),
            (
                "response_headers = { drop = [] }",
                "5:22: `route.response_headers.drop` is not a key",
                "set, add, remove",
            ),
        ],
        service,
    );
    let config = accepted(&format!(
        "[headers]\nresponse = {{ set = {{ x-a = \"general\" }}, remove = [\"server\"] }}\n{}",
        service("response_headers = { set = { x-a = \"route\" } }")
    ));
    let shown = |edits: &[HeaderEdit]| edits.iter().map(|edit| format!("{edit:?}")).collect::<Vec<_>>();
    assert_eq!(config.headers.response.len(), 2);
    assert_eq!(
        shown(&config.routes[0].edits.response),
        ["Remove(\"server\")", "Set(\"x-a\", \"general\")", "Set(\"x-a\", \"route\")"]
    );
}

#[test]
fn the_way_to_https_names_its_hosts() {
    judge(
        &[
            (
                "https_redirect = true",
                "3:18: `listener.https_redirect` is true or false",
                "[listener.https_redirect]",
            ),
            (
                "https_redirect = {}",
                "3:18: `listener.https_redirect` names no host",
                "sends clients anywhere",
            ),
            (
                "https_redirect = { hosts = [\"*\"] }",
                "3:29: `listener.https_redirect.hosts` is '*'",
                "*.example.com",
            ),
            (
                "https_redirect = { hosts = [\"a\"], port = 0 }",
                "3:42: `listener.https_redirect.port` is 0",
                "from 1 to 65535",
            ),
            (
                "https_redirect = { hosts = [\"a\"] }\ntls = { directory = \"x\" }",
                "3:1: `listener.https_redirect` stands beside `tls`, with which all clients come over HTTPS",
                "without `tls`",
            ),
            ("hsts = \"includeSubDomains\"", "3:8: `listener.hsts` has no max-age", "31536000"),
            (
                "hsts = \"max-age=1; evil\"",
                "3:8: `listener.hsts` has the directive 'evil'",
                "max-age=SECONDS",
            ),
            ("hsts = \"max-age=a\"", "3:8: `listener.hsts` has the directive 'max-age=a'", "max-age=SECONDS"),
        ],
        listener,
    );
    let rules = accepted(&listener("https_redirect = { hosts = [\"a.example\", \"*.b.example\"] }"))
        .listeners
        .remove(0);
    let redirect = rules.rules.https_redirect.unwrap();
    assert_eq!((redirect.hosts.len(), redirect.port), (2, 443));
}

#[test]
fn limits_have_bounds_and_most_can_be_none() {
    let limits = |text: &str| format!("[limits]\n{text}\n[[listener]]\naddress = \"127.0.0.1:1\"\n");
    judge(
        &[
            ("body_bytes = -1", "2:14: `limits.body_bytes` is -1", "or \"none\" for no limit"),
            (
                "connections_per_address = 0",
                "2:27: `limits.connections_per_address` is 0",
                "from 1 to 1000000, or",
            ),
            ("connection_requests = 0", "2:23: `limits.connection_requests` is 0", "or \"none\""),
            ("connection_age = 5", "2:18: `limits.connection_age` is 5", "or \"none\""),
            ("resets = 0", "2:10: `limits.resets` is 0", "from 1 to 10000"),
            ("min_response_rate = 0", "2:21: `limits.min_response_rate` is 0", "or \"none\""),
            ("min_body_rate = \"1 MB\"", "2:17: `limits.min_body_rate` is '1 MB'", "or \"none\""),
        ],
        limits,
    );
    let none = accepted(&limits(
        "body_bytes = \"none\"\nconnections_per_address = \"none\"\nconnection_requests = \"none\"\n\
         connection_age = \"none\"\nmin_body_rate = \"none\"\nmin_response_rate = \"none\"",
    ))
    .limits
    .clients;
    assert_eq!(
        (none.body_bytes, none.connections_per_address, none.connection_requests, none.connection_age),
        (None, None, None, None)
    );
    assert_eq!((none.min_body_rate, none.min_response_rate), (None, None));
    let text = format!(
        "{}{}",
        limits("body_bytes = \"1KiB\""),
        "[[route]]\nname = \"r\"\nprefix = \"/a\"\nservice = \"core\"\n"
    );
    for (own, bytes) in [
        ("", None),
        ("body_bytes = 0", Some(Bound::At(0))),
        ("body_bytes = \"none\"", Some(Bound::Unlimited)),
    ] {
        assert_eq!(accepted(&format!("{text}{own}")).routes[0].body_bytes, bytes, "{own}");
    }
}

#[test]
fn a_listener_has_limits_and_timeouts_of_its_own_over_the_general_ones_and_under_those_of_routes() {
    let listener = |own: &str| format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{own}\n");
    judge(
        &[
            (
                "limits = { header_count = 1 }",
                "3:27: `listener.limits.header_count` is 1",
                "from 10 to 10000",
            ),
            ("limits = { connections = 5 }", "3:12: `listener.limits.connections` is not a key", ""),
            ("limits = { drain_timeout = \"1s\" }", "3:12: `listener.limits.drain_timeout` is not a key", ""),
            ("timeouts = { idle = 1 }", "3:21: `listener.timeouts.idle` is 1", "\"500ms\""),
            (
                "timeouts = { total = \"1s\" }",
                "3:22: `listener.timeouts.total` (1s) is shorter than `first_byte` (60s), which could never run out",
                "at least `first_byte`",
            ),
            (
                "limits = { header_bytes = \"8KiB\" }",
                "3:12: `listener.limits.target_bytes` (16384) is more than `header_bytes` (8192)",
                "at most `header_bytes`",
            ),
        ],
        listener,
    );
    let config = accepted(
        "[[listener]]\naddress = \"127.0.0.1:1\"\nlimits = { body_bytes = \"none\", keep_alive = \"5s\" }\n\
         timeouts = { idle = \"7s\" }\n\
         [[listener]]\naddress = \"127.0.0.1:2\"\n\
         [limits]\nbody_bytes = 10\nheader_count = 50\n[timeouts]\nconnect = \"1s\"\nidle = \"9s\"\n\
         [[route]]\nname = \"r\"\nprefix = \"/a\"\nservice = \"core\"\ntimeouts = { connect = \"3s\" }\n",
    );
    let [own, plain] = config.listeners.as_slice() else { panic!("{config:?}") };
    assert_eq!(plain.rules.limits, config.limits.clients);
    assert_eq!(plain.rules.timeouts, config.timeouts);
    let seconds = std::time::Duration::from_secs;
    assert_eq!(own.rules.limits.body_bytes, None);
    assert_eq!((own.rules.limits.keep_alive, own.rules.limits.header_count), (seconds(5), 50));
    let route = config.routes[0].timeouts.over(&own.rules.timeouts);
    assert_eq!((route.connect, route.idle, own.rules.timeouts.connect), (seconds(3), seconds(7), seconds(1)));
}
