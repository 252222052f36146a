//! What a configuration can say about who may ask, and what is told about each mistake in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use vertice_config::Env;
use vertice_config::gateway::policy::{JwtAlgorithm, JwtKeys, TenantRule};
use vertice_config::gateway::{Flags, GatewayConfig, resolve};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";

fn env() -> Env {
    Env::from([("KEY", "key-of-ci"), ("SECRET", SECRET), ("SHORT", "short"), ("SPACE", "a b")])
}

fn load(text: &str, env: &Env) -> Result<GatewayConfig, Vec<String>> {
    let text = format!("{text}\n{LISTENER}");
    resolve(Some(("g.toml", &text)), env, &Flags::default())
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn good(text: &str) -> GatewayConfig {
    load(text, &env()).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}"))
}

#[test]
fn keys_are_known_by_their_hash_alone() {
    let config = good(
        r#"
[[api_key]]
name = "a"
sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
scopes = ["osint", "admin:access"]
tenant = "acme"
expires = 2027-01-01T00:00:00Z
[[api_key]]
name = "b"
key_env = "KEY"
expires = "2027-01-01T01:00:00+01:00"
[policies]
auth = { api_key = true, query_key = true }
"#,
    );
    let [a, b] = config.policies.api_keys.as_slice() else { panic!("{:?}", config.policies) };
    assert_eq!(a.hash.to_hex(), "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");
    assert_eq!((a.expires_s, b.expires_s), (Some(1_798_761_600), Some(1_798_761_600)));
    assert_eq!((a.scopes.len(), a.tenant.as_deref()), (2, Some("acme")));
    let dump = format!("{config:?}");
    assert!(!dump.contains("key-of-ci") && !dump.contains("2bb80d"), "{dump}");
}

#[test]
fn the_key_of_the_original_comes_from_the_environment_with_all_scopes() {
    let env = |key: &str| Env::from([("MAXIMUS_API_KEY", key)]);
    let text = "[policies]\nauth = { api_key = true }";
    let config = load(text, &env("k")).unwrap();
    let [key] = config.policies.api_keys.as_slice() else { panic!("{config:?}") };
    assert_eq!((key.name.as_str(), key.scopes.as_slice()), ("maximus", &["*".to_owned()][..]));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let none = load(text, &Env::default()).unwrap();
    assert!(none.policies.api_keys.is_empty() && none.warnings.len() == 1, "{:?}", none.warnings);
}

#[test]
fn a_route_says_over_what_is_general_and_none_switches_it_off() {
    let config = good(
        r#"
[jwt.maximus]
secret_env = "SECRET"
algorithms = ["HS256", "HS512"]
audience = "vertice"
claim_headers = { X-User-Id = "sub" }
[policies]
auth = { jwt = "maximus", scopes = ["a"], tenant = { segment = 3 } }
[[route]]
name = "general"
prefix = "/a"
service = "core"
[[route]]
name = "open"
prefix = "/b"
service = "core"
auth = "none"
[[route]]
name = "own"
prefix = "/c"
service = "core"
auth = { jwt = "maximus", tenant = "acme" }
"#,
    );
    let jwt = config.policies.jwt.first().unwrap();
    assert!(matches!(&jwt.keys, JwtKeys::Secret(secret) if secret.expose() == SECRET));
    assert_eq!(jwt.algorithms, [JwtAlgorithm::Hs256, JwtAlgorithm::Hs512]);
    assert_eq!(jwt.audience, ["vertice"]);
    assert_eq!(jwt.claim_headers.first().unwrap().0, "x-user-id");
    let auth: Vec<_> = config.routes.iter().map(|route| route.policies.auth.as_ref()).collect();
    assert_eq!(auth.first().unwrap().unwrap().tenant, Some(TenantRule::Segment(3)));
    assert_eq!(auth.get(1).unwrap(), &None);
    assert_eq!(auth.get(2).unwrap().unwrap().tenant, Some(TenantRule::Is("acme".into())));
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_mistake_has_its_place_and_says_what_would_be_right() {
    let used = "\n[policies]\nauth = { jwt = \"a\" }\n";
    let key = "\n[policies]\nauth = { api_key = true }\n";
    for (text, suffix, mistake) in [
        ("[[api_key]]\nname = \"a\"", key, "1:1: `api_key` has no key"),
        (
            "[[api_key]]\nname = \"a\"\nkey = \"s3cret\"",
            key,
            "3:1: `api_key.key` would put a secret into this file",
        ),
        ("[[api_key]]\nname = \"a\"\nsha256 = \"s3cret\"", key, "3:10: `api_key.sha256` is no SHA-256"),
        (
            "[[api_key]]\nname = \"a\"\nkey_env = \"NOPE\"",
            key,
            "3:11: `api_key.key_env` names the variable 'NOPE', which is not set",
        ),
        (
            "[[api_key]]\nname = \"a\"\nkey_env = \"SPACE\"",
            key,
            "3:11: `api_key.key_env` holds what no header can carry",
        ),
        (
            "[[api_key]]\nname = \"a\"\nkey_env = \"KEY\"\nkey_file = \"/k\"",
            key,
            "`api_key` has its key from several places",
        ),
        (
            "[[api_key]]\nname = \"a\"\nkey_env = \"KEY\"\nexpires = 2027-01-01",
            key,
            "4:11: `api_key.expires` is '2027-01-01'",
        ),
        (
            "[[api_key]]\nname = \"a\"\nkey_env = \"KEY\"\n[[api_key]]\nname = \"a\"\nkey_env = \"SECRET\"",
            key,
            "5:8: `api_key.name` 'a' is taken by the key of line 2",
        ),
        (
            "[[api_key]]\nname = \"a\"\nkey_env = \"KEY\"\n[[api_key]]\nname = \"b\"\nkey_env = \"KEY\"",
            key,
            "5:8: `api_key` 'b' is the same key as 'a'",
        ),
        ("[[api_key]]\nname = \"a\"\nkey_env = \"KEY\"", "", "1:3: `api_key` is used nowhere"),
        ("[jwt.a]\nsecret_env = \"SECRET\"", used, "1:6: `jwt.a.algorithms` is missing"),
        (
            "[jwt.a]\nsecret = \"x\"\nalgorithms = [\"HS256\"]",
            used,
            "2:1: `jwt.a.secret` would put a secret into this file",
        ),
        (
            "[jwt.a]\nsecret_env = \"SHORT\"\nalgorithms = [\"HS256\"]",
            used,
            "2:14: `jwt.a.secret_env` holds a secret of less than 32 bytes",
        ),
        (
            "[jwt.a]\nsecret_env = \"SECRET\"\nalgorithms = [\"RS256\"]",
            used,
            "3:15: `jwt.a.algorithms` has RS256; with a secret use HS256",
        ),
        (
            "[jwt.a]\njwks_file = \"/j\"\nalgorithms = [\"ES256\", \"HS256\"]",
            used,
            "3:24: `jwt.a.algorithms` has HS256; HS algorithms need a secret",
        ),
        ("[jwt.a]\njwks_file = \"/j\"\nalgorithms = [\"none\"]", used, "3:15: `jwt.a.algorithms` has 'none'"),
        ("[jwt.a]\njwks_file = \"/j\"\nalgorithms = []", used, "3:14: `jwt.a.algorithms` is empty"),
        (
            "[jwt.a]\njwks_file = \"/j\"\njwks_url = \"http://j\"\nalgorithms = [\"ES256\"]",
            used,
            "3:1: `jwt.a` has its keys from several places",
        ),
        (
            "[jwt.a]\njwks_url = \"https://u:p@j\"\nalgorithms = [\"ES256\"]",
            used,
            "2:12: `jwt.a.jwks_url` has a user or password (not shown)",
        ),
        (
            "[jwt.a]\njwks_file = \"/j\"\nalgorithms = [\"ES256\"]\nclaim_headers = { x-request-id = \"jti\" }",
            used,
            "4:19: `jwt.a.claim_headers` has the name 'x-request-id'",
        ),
        (
            "[jwt.a]\njwks_file = \"/j\"\nalgorithms = [\"ES256\"]\nclaim_headers = { host = \"sub\" }",
            used,
            "4:19: `jwt.a.claim_headers` has the name 'host'",
        ),
        (
            "[jwt.a]\njwks_file = \"/j\"\nalgorithms = [\"ES256\"]\nleeway = \"1h\"",
            used,
            "4:10: `jwt.a.leeway` is 3600s",
        ),
        (
            "[jwt.a]\njwks_file = \"/j\"\nalgorithms = [\"ES256\"]\nrefresh = \"10m\"\nmax_stale = \"1m\"",
            used,
            "5:13: `jwt.a.max_stale` is 60s",
        ),
        ("[jwt.a]\njwks_file = \"/j\"\nalgorithms = [\"ES256\"]", "", "1:6: `jwt.a` is used nowhere"),
        ("[forward_auth.a]\nservice = \"sso\"", "", "1:15: `forward_auth.a` is used nowhere"),
        (
            "[forward_auth.a]\npath = \"/x\"",
            "\n[policies]\nauth = { forward = \"a\" }",
            "`forward_auth.a.service` is missing",
        ),
        (
            "[policies]\nauth = { jwt = \"maximsu\" }",
            "\n[jwt.maximus]\nsecret_env = \"SECRET\"\nalgorithms = [\"HS256\"]",
            "2:16: `policies.auth.jwt` names 'maximsu', which is not defined; did you mean \"maximus\"?",
        ),
        (
            "[policies]\nauth = { forward = \"b\" }",
            "",
            "2:20: `policies.auth.forward` names 'b', which is not defined",
        ),
        ("[policies]\nauth = { }", "", "2:8: `policies.auth` says nobody who may ask"),
        (
            "[policies]\nauth = { api_keys = true }",
            "",
            "`policies.auth.api_keys` is not a key; did you mean `api_key`?",
        ),
        (
            "[policies]\nauth = { api_key = true, all = true }",
            "",
            "`policies.auth.all` is true with one way only",
        ),
        (
            "[policies]\nauth = { query_key = true, jwt = \"a\" }",
            "\n[jwt.a]\njwks_file = \"/j\"\nalgorithms = [\"ES256\"]",
            "`policies.auth.query_key` is true without `api_key`",
        ),
        (
            "[policies]\nauth = { forward = \"a\", scopes = [\"x\"] }",
            "\n[forward_auth.a]\nservice = \"sso\"",
            "lets a service decide, which tells no scopes and no tenant",
        ),
        ("[policies]\nauth = { api_key = true, tenant = {} }", "", "`policies.auth.tenant` is empty"),
        ("[policies]\nauth = \"all\"", "", "2:8: `policies.auth` is text"),
    ] {
        let mistakes = load(&format!("{text}\n{suffix}"), &env()).unwrap_err();
        assert!(mistakes.iter().any(|found| found.contains(mistake)), "{text}\n{mistakes:#?}");
        assert!(!mistakes.iter().any(|found| found.contains("s3cret")), "{mistakes:#?}");
    }
}
