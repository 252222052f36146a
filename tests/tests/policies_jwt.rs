//! Tokens: those of the original gateway and those of issuers that publish their keys; nothing else gets in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use serde_json::{Value, json};
use vertice_tests::guarded::{Guarded, assert_refused, seen};
use vertice_tests::http::{Answer, raw_to_end, request};
use vertice_tests::http2;
use vertice_tests::scripted::Scripted;
use vertice_tests::tokens::{IssuerKey, Page, hs256, now_s, token};
use vertice_tests::wait::{PATIENCE, eventually};

const SECRET: &str = "the secret of the original gateway";
const ENVIRONMENT: [(&str, &str); 1] = [("JWT_SECRET_KEY", SECRET)];

const CONFIG: &str = r#"
[access_log]
file = "{folder}/access.log"

[jwt.maximus]
secret_env = "JWT_SECRET_KEY"
algorithms = ["HS256"]
claim_headers = { x-user-id = "sub", x-tenant = "tenant_id", x-scopes = "scopes" }

[[route]]
name = "user"
prefix = "/user"
service = "core_service"
auth = { jwt = "maximus" }

[[route]]
name = "admin"
prefix = "/admin"
service = "core_service"
auth = { jwt = "maximus", scopes = ["admin:access"] }

[[route]]
name = "tenant"
prefix = "/tenants"
service = "core_service"
auth = { jwt = "maximus", tenant = { segment = 2 } }

[[route]]
name = "open"
prefix = "/open"
service = "core_service"
"#;

/// As the original makes them.
fn claims() -> Value {
    json!({
        "sub": "42", "email": "a@example.com", "tenant_id": "acme", "scopes": ["read", "admin:access"],
        "iat": now_s(), "exp": now_s() + 600, "jti": "j",
    })
}

async fn with(system: &Guarded, target: &str, token: &str) -> Answer {
    system.get(target, &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn tokens_of_the_original_let_in_and_the_service_is_told_who_asks() {
    let system = Guarded::start(CONFIG, &ENVIRONMENT).await;
    let good = hs256(&claims(), SECRET);
    let answer = with(&system, "/user/x", &good).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(seen(&answer, "x-user-id"), ["42"]);
    assert_eq!(seen(&answer, "x-tenant"), ["acme"]);
    assert_eq!(seen(&answer, "x-scopes"), ["read,admin:access"]);
    assert_eq!(seen(&answer, "authorization"), [format!("Bearer {good}")], "the service may look for itself");
    assert_eq!(with(&system, "/admin/x", &good).await.status, 200);
    assert_eq!(with(&system, "/tenants/acme/data", &good).await.status, 200);
    assert_refused(&with(&system, "/tenants/other/data", &good).await, 403, "tenant_wrong");
    assert_refused(&with(&system, "/tenants/acme%2Fx/data", &good).await, 403, "tenant_wrong");

    let mut older = claims();
    older["scopes"] = Value::Null;
    older["permissions"] = json!(["offensive", "admin:access"]);
    assert_eq!(with(&system, "/admin/x", &hs256(&older, SECRET)).await.status, 200);
    older["permissions"] = json!(["write"]);
    let poor = with(&system, "/admin/x", &hs256(&older, SECRET)).await;
    assert_refused(&poor, 403, "scope_missing");
    let challenge = "Bearer realm=\"vertice\", error=\"insufficient_scope\", scope=\"admin:access\"";
    assert_eq!(poor.header("www-authenticate"), Some(challenge));

    let log = system.log_with(&["\"who\":\"42\"", "scope_missing"]).await;
    assert!(!log.contains("eyJ"), "{log}");
}

#[tokio::test]
async fn no_client_can_say_who_it_is_by_itself_on_any_route() {
    let system = Guarded::start(CONFIG, &ENVIRONMENT).await;
    let bearer = format!("Bearer {}", hs256(&claims(), SECRET));
    let spoofed = [
        ("x-user-id", "1"),
        ("X-User-Id", "2"),
        ("x_user_id", "3"),
        ("x-user_id", "4"),
        ("x-tenant", "other"),
        ("connection", "x-user-id, x-tenant"),
        ("authorization", bearer.as_str()),
    ];
    let told = system.get("/user/x", &spoofed).await;
    assert_eq!(
        (seen(&told, "x-user-id"), seen(&told, "x-tenant")),
        (vec!["42".to_owned()], vec!["acme".to_owned()])
    );
    for target in ["/open/x", "/v2/core_service/x"] {
        let open = system.get(target, &spoofed).await;
        for name in ["x-user-id", "x_user_id", "x-user_id", "x-tenant"] {
            assert!(seen(&open, name).is_empty(), "{target} {name} {open:?}");
        }
    }
    // Behind a body, where a service may still read it.
    let service = Scripted::start(
        "x-sum: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
    .await;
    system.registry.put("trailer_service", "t:1", &service.url).await;
    let request_with_trailers = "POST /v2/trailer_service/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTrailer: x-sum, x_user_id, x-tenant\r\nTransfer-Encoding: chunked\r\n\r\n\
        0\r\nX_User_Id: 1\r\nX-Tenant: other\r\nX-Sum: 5\r\n\r\n";
    let seen_trailers = eventually(PATIENCE, "the trailers come", async || {
        raw_to_end(system.gateway.address, request_with_trailers.as_bytes()).await;
        service.requests().first().cloned()
    })
    .await
    .to_lowercase();
    assert!(seen_trailers.contains("x-sum: 5"), "{seen_trailers}");
    assert!(!seen_trailers.contains("x_user_id:") && !seen_trailers.contains("x-tenant:"), "{seen_trailers}");

    let mut client = http2::Connection::open(system.gateway.address).await.unwrap();
    let over_http2 =
        client.send(request("GET", "/user/x", &[spoofed[0], spoofed[2], spoofed[6]], "")).await.unwrap();
    assert_eq!(seen(&over_http2, "x-user-id"), ["42"]);
    assert!(seen(&over_http2, "x_user_id").is_empty());
}

#[tokio::test]
async fn every_token_that_is_not_good_is_refused_with_its_reason() {
    let system = Guarded::start(CONFIG, &ENVIRONMENT).await;
    let missing = system.get("/user/x", &[]).await;
    assert_refused(&missing, 401, "token_missing");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"vertice\""));
    let basic = system.get("/user/x", &[("authorization", "Basic YTpi")]).await;
    assert_refused(&basic, 401, "token_missing");

    let but = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        hs256(&claims, SECRET)
    };
    let expired = with(&system, "/user/x", &but("exp", json!(now_s() - 60))).await;
    assert_refused(&expired, 401, "token_expired");
    let challenge =
        "Bearer realm=\"vertice\", error=\"invalid_token\", error_description=\"the token has expired\"";
    assert_eq!(expired.header("www-authenticate"), Some(challenge));
    let good = hs256(&claims(), SECRET);
    let none = token(&json!({"alg": "none"}), &claims(), |_| Vec::new());
    for bad in [
        but("type", json!("refresh")),
        but("exp", Value::Null),
        but("exp", json!("soon")),
        but("nbf", json!(now_s() + 600)),
        but("iat", json!(now_s() + 600)),
        but("aud", json!("others")),
        hs256(&claims(), "another secret that is as long as it"),
        none.clone(),
        none.trim_end_matches('.').to_owned(),
        good.replace('.', ""),
        format!("{good}x"),
        format!("{good}."),
        "a.b.c".to_owned(),
        "\u{7f}".trim_matches('\u{7f}').to_owned(),
    ] {
        assert_refused(&with(&system, "/user/x", &bad).await, 401, "token_invalid");
    }
    let twice = format!("Bearer {good}");
    let two = [("authorization", twice.as_str()), ("authorization", twice.as_str())];
    assert_refused(&system.get("/user/x", &two).await, 401, "token_invalid");
    let large = with(&system, "/user/x", &"A".repeat(60 * 1024)).await;
    assert_refused(&large, 401, "token_invalid");
    let head = b"GET /user/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe.\x80.\xff\r\n\r\n";
    assert!(raw_to_end(system.gateway.address, head).await.starts_with("HTTP/1.1 401 "));
    assert_eq!(system.stub.requests(), 0, "nothing of it came to the service");

    let mut client = http2::Connection::open(system.gateway.address).await.unwrap();
    let call = request("POST", "/user/a.B/C", &[("content-type", "application/grpc")], "");
    let answer = client.send(call).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("16")), "{answer:?}");
}

fn with_keys(keys: &[&IssuerKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn published_keys_are_read_rotated_kept_while_away_and_not_believed_for_ever() {
    let page = Page::start().await;
    let config = format!(
        "[jwt.id]\njwks_url = \"{}\"\nalgorithms = [\"EdDSA\"]\nissuer = \"me\"\naudience = \"us\"\nrefresh = \"1s\"\nmax_stale = \"5s\"\n\
         [policies]\nauth = {{ jwt = \"id\" }}\n",
        page.url
    );
    let system = Guarded::start(&config, &[]).await;
    let (first, second) = (IssuerKey::new("k1"), IssuerKey::new("k2"));
    let claims = json!({"sub": "s", "iss": "me", "aud": ["us"], "exp": now_s() + 600});
    let (by_first, by_second) = (first.token(&claims), second.token(&claims));
    let target = "/v2/core_service/x";
    let unavailable = with(&system, target, &by_first).await;
    assert_refused(&unavailable, 503, "token_keys_unavailable");
    assert_eq!(unavailable.header("retry-after"), Some("1"));

    let becomes = async |token: &str, status: u16| {
        eventually(PATIENCE, &format!("{status}"), async || {
            (with(&system, target, token).await.status.as_u16() == status).then_some(())
        })
        .await;
    };
    page.has(&with_keys(&[&first]));
    becomes(&by_first, 200).await;
    assert_refused(&with(&system, target, &by_second).await, 401, "token_invalid");
    // The issuer rotates.
    page.has(&with_keys(&[&second]));
    becomes(&by_second, 200).await;
    assert_refused(&with(&system, target, &by_first).await, 401, "token_invalid");
    // What cannot be used changes nothing, whatever it is.
    for wrong in ["<html>".to_owned(), "{\"keys\": []}".to_owned(), "x".repeat(300 * 1024)] {
        page.has(&wrong);
        let asked = page.asked();
        eventually(PATIENCE, "it is read again", async || (page.asked() > asked).then_some(())).await;
        let status = with(&system, target, &by_second).await.status;
        assert!(status == 200 || status == 503, "{status}");
        page.has(&with_keys(&[&second]));
        becomes(&by_second, 200).await;
    }
    // Away for good: after `max_stale` nobody gets in.
    page.answers("");
    assert_eq!(with(&system, target, &by_second).await.status, 200);
    becomes(&by_second, 503).await;
    assert!(system.metric("vertice_gateway_jwks_failures_total{issuer=\"id\"}").await.unwrap() > 0.0);
    page.has(&with_keys(&[&second]));
    becomes(&by_second, 200).await;
}

#[tokio::test]
async fn a_public_key_is_no_secret_and_a_file_with_keys_is_judged_at_the_start() {
    let key = IssuerKey::new("k1");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.json"), with_keys(&[&key])).unwrap();
    let config = "[jwt.id]\njwks_file = \"{folder}/keys.json\"\nalgorithms = [\"EdDSA\"]\n[policies]\nauth = { jwt = \"id\" }\n";
    let system = Guarded::start_in(folder, config, &[]).await;
    let claims = json!({"sub": "s", "exp": now_s() + 600});
    let target = "/v2/core_service/x";
    assert_eq!(with(&system, target, &key.token(&claims)).await.status, 200);
    let public = key.jwk()["x"].as_str().unwrap().to_owned();
    assert_refused(&with(&system, target, &hs256(&claims, &public)).await, 401, "token_invalid");
    let brought =
        json!({"alg": "EdDSA", "kid": "k2", "jwk": IssuerKey::new("k2").jwk(), "jku": "http://127.0.0.1:1/"});
    let forged = token(&brought, &claims, |_| vec![0; 64]);
    assert_refused(&with(&system, target, &forged).await, 401, "token_invalid");

    std::fs::write(system.folder.path().join("keys.json"), "{}").unwrap();
    let file = system.folder.path().join("gateway.toml");
    let check = ["check", "--config", file.to_str().unwrap()];
    std::fs::write(
        &file,
        format!("{}\n[[listener]]\naddress = \"127.0.0.1:0\"\n", std::fs::read_to_string(&file).unwrap()),
    )
    .unwrap();
    let ended = vertice_tests::process::Program::run("vertice-gateway", &check, &[]).await;
    assert!(!ended.status.success());
    assert!(ended.text.contains("gateway.toml:2:13: `jwt.id.jwks_file` names"), "{}", ended.text);
}
