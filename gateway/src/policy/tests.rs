//! The ways in, alone and together, against a service that decides by a table.

use http::Request;
use vertice_config::Env;
use vertice_config::gateway::{Flags, resolve};

use super::*;

const CONFIG: &str = r#"
[[api_key]]
name = "ci"
key_env = "KEY"
scopes = ["a"]
tenant = "acme"
[jwt.m]
secret_env = "SECRET"
algorithms = ["HS256"]
claim_headers = { x-user = "sub" }
[forward_auth.sso]
service = "sso"
response_headers = ["x-groups"]
[[listener]]
address = "127.0.0.1:0"
[[route]]
name = "r"
prefix = "/"
service = "core"
[[route]]
name = "uses-all"
prefix = "/all"
service = "core"
auth = { api_key = true, jwt = "m", forward = "sso", all = true }
"#;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Of alice of acme with the scopes a and b, up to second 100, by HS256 with [`SECRET`].
fn token() -> String {
    super::jwt::sign_for_tests(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"sub":"alice","scopes":["a","b"],"tenant_id":"acme","exp":100}"#,
        SECRET,
    )
}

/// What comes of a request with `headers` under `auth`, and who it is. `told` is what the service answers; `None`: nothing.
async fn admitted(auth: &str, headers: &[(&str, &str)], told: Option<u16>) -> (String, Vec<String>) {
    let text = CONFIG.replacen("service = \"core\"\n", &format!("service = \"core\"\nauth = {auth}\n"), 1);
    let env = Env::from([("KEY", "key-ci"), ("SECRET", SECRET)]);
    let config = resolve(Some(("t", &text)), &env, &Flags::default()).unwrap();
    let policies = Policies::of(&config.policies, None).route(&config.routes[0].policies).unwrap();
    let mut request = Request::get("/t/acme/x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    let mut asking = Asking {
        parts: &mut parts,
        host: "h",
        now_s: 50,
        is_grpc: false,
        route: "r",
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        now: tokio::time::Instant::now(),
        has_body: false,
    };
    let mut admission = Admission::default();
    let ask = async |_: Question<'_>| {
        Some(Response::builder().status(told?).header("x-groups", "g").body(Bytes::new()).unwrap())
    };
    let outcome = match admit(&policies, &mut asking, &mut admission, ask).await {
        Ok(()) => "in".to_owned(),
        Err(Stop::Refused(refusal)) => refusal.told().1.to_owned(),
        Err(Stop::Answered(answer)) => answer.status().as_u16().to_string(),
    };
    let fields =
        admission.request_fields.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
    (outcome, admission.names().iter().map(ToString::to_string).chain(fields).collect())
}

#[tokio::test]
async fn of_several_ways_one_is_enough_unless_all_are_wanted() {
    let bearer = format!("Bearer {}", token());
    let (key, bad_key) = (("x-api-key", "key-ci"), ("x-api-key", "no"));
    let (token, bad_token) = (("authorization", bearer.as_str()), ("authorization", "Bearer no"));
    let key_or_token = "{ api_key = true, jwt = \"m\" }";
    let any = "{ api_key = true, jwt = \"m\", forward = \"sso\" }";
    let all = "{ api_key = true, jwt = \"m\", forward = \"sso\", all = true }";
    for (auth, headers, told, outcome, known) in [
        ("{ api_key = true }", &[][..], None, "key_missing", &[][..]),
        ("{ api_key = true }", &[bad_key], None, "key_wrong", &[]),
        ("{ api_key = true }", &[key], None, "in", &["ci"]),
        ("{ jwt = \"m\" }", &[], None, "token_missing", &[]),
        ("{ jwt = \"m\" }", &[("authorization", "Basic YTpi")], None, "token_missing", &[]),
        ("{ jwt = \"m\" }", &[bad_token], None, "token_invalid", &[]),
        ("{ jwt = \"m\" }", &[token], None, "in", &["alice", "x-user=alice"]),
        (key_or_token, &[], None, "token_missing", &[]),
        (key_or_token, &[key], None, "in", &["ci"]),
        (key_or_token, &[bad_key, token], None, "in", &["alice", "x-user=alice"]),
        (key_or_token, &[bad_key], None, "key_wrong", &[]),
        (key_or_token, &[bad_token], None, "token_invalid", &[]),
        ("{ forward = \"sso\" }", &[], Some(204), "in", &["x-groups=g"]),
        ("{ forward = \"sso\" }", &[], Some(302), "302", &[]),
        ("{ forward = \"sso\" }", &[], Some(401), "401", &[]),
        ("{ forward = \"sso\" }", &[], Some(500), "auth_unavailable", &[]),
        ("{ forward = \"sso\" }", &[], None, "auth_unavailable", &[]),
        // Whom a key lets in, nobody asks about.
        (any, &[key], None, "in", &["ci"]),
        (any, &[bad_key], Some(200), "in", &["x-groups=g"]),
        (any, &[], Some(403), "403", &[]),
        (all, &[key, token], Some(200), "in", &["ci, alice", "x-user=alice", "x-groups=g"]),
        (all, &[key, token], Some(401), "401", &["ci, alice", "x-user=alice"]),
        (all, &[key], Some(200), "token_missing", &["ci"]),
        (all, &[bad_key, token], Some(200), "key_wrong", &["alice", "x-user=alice"]),
    ] {
        let (found, who) = admitted(auth, headers, told).await;
        assert_eq!(
            (found.as_str(), who),
            (outcome, known.iter().map(|k| (*k).to_owned()).collect()),
            "{auth} {headers:?}"
        );
    }
}

#[tokio::test]
async fn scopes_and_tenants_are_judged_for_all_who_ask() {
    let bearer = format!("Bearer {}", token());
    let key = ("x-api-key", "key-ci");
    let token = ("authorization", bearer.as_str());
    for (auth, headers, outcome) in [
        ("{ api_key = true, scopes = [\"a\"] }", &[key][..], "in"),
        ("{ api_key = true, scopes = [\"a\", \"b\"] }", &[key], "scope_missing"),
        ("{ jwt = \"m\", scopes = [\"a\", \"b\"] }", &[token], "in"),
        ("{ jwt = \"m\", scopes = [\"c\"] }", &[token], "scope_missing"),
        ("{ jwt = \"m\", api_key = true, all = true, scopes = [\"b\"] }", &[key, token], "scope_missing"),
        ("{ jwt = \"m\", tenant = \"acme\" }", &[token], "in"),
        ("{ jwt = \"m\", tenant = \"other\" }", &[token], "tenant_wrong"),
        ("{ jwt = \"m\", tenant = { segment = 2 } }", &[token], "in"),
        ("{ jwt = \"m\", tenant = { segment = 3 } }", &[token], "tenant_wrong"),
        ("{ jwt = \"m\", tenant = { segment = 9 } }", &[token], "tenant_wrong"),
        ("{ jwt = \"m\", tenant = { header = \"x-tenant\" } }", &[token, ("x-tenant", "acme")], "in"),
        ("{ jwt = \"m\", tenant = { header = \"x-tenant\" } }", &[token], "tenant_wrong"),
        (
            "{ jwt = \"m\", tenant = { header = \"x-tenant\" } }",
            &[token, ("x-tenant", "acme"), ("x-tenant", "other")],
            "tenant_wrong",
        ),
    ] {
        assert_eq!(admitted(auth, headers, None).await.0, outcome, "{auth}");
    }
}
