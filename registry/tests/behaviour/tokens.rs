//! Who may do what.

use vertice_config::Secret;
use vertice_config::registry::parse_tokens;
use vertice_registry::auth::Auth;
use vertice_registry::{Settings, StartError, start};

use crate::support::Registry;

const REGISTER: &str = r#"{"service_name":"osint_service","endpoint":"http://h:1"}"#;
const PATH: &str = "/v1/services/osint_service/instances/h:1";

async fn with(auth: Auth) -> Registry {
    Registry::with(Settings { auth, ..Settings::default() }).await
}

#[tokio::test]
async fn one_token_guards_every_write_and_no_read() {
    let registry = with(Auth::single(&Secret::new("s3cret"))).await;
    let before = registry.fingerprint().await;
    let writes = [
        ("POST", "/register", REGISTER),
        ("POST", "/heartbeat", r#"{"service_name":"osint_service"}"#),
        ("DELETE", "/deregister/osint_service", ""),
        ("PUT", PATH, r#"{"url":"http://h:1"}"#),
        ("PATCH", PATH, r#"{"override":"down"}"#),
        ("DELETE", "/v1/services/osint_service/instances/h:1?generation=1", ""),
        ("POST", "/v1/heartbeats", "{}"),
    ];
    for (method, path, body) in writes {
        for headers in [
            &[][..],
            &[("x-registry-token", "wrong")],
            &[("x-registry-token", "s3cret"), ("x-registry-token", "x")],
        ] {
            let refused = registry.call(method, path, headers, body).await;
            assert_eq!(refused.status.as_u16(), 401, "{method} {path}");
            assert!(refused.json()["detail"].as_str().unwrap().contains("X-Registry-Token"));
        }
    }
    assert_eq!(registry.fingerprint().await, before);
    let token = [("x-registry-token", "s3cret")];
    registry.call("POST", "/register", &token, REGISTER).await.expect(201);
    for path in ["/services", "/services/osint_service", "/health"] {
        registry.get(path).await.expect(200);
    }
    registry
        .call("PATCH", &PATH.replace("h:1", "@legacy"), &token, r#"{"override":"down"}"#)
        .await
        .expect(200);
}

#[tokio::test]
async fn tokens_have_names_and_verbs() {
    let file = r#"
        [[token]]
        name = "osint"
        token = "osint-token"
        names = ["osint_*"]
        verbs = ["register"]
        [[token]]
        name = "ip"
        token = "ip-token"
        names = ["ip_*"]
        verbs = ["register"]
        [[token]]
        name = "gateway"
        token = "gateway-token"
        names = ["*"]
        verbs = ["read"]
        [[token]]
        name = "ops"
        token = "ops-token"
        names = ["*"]
        verbs = ["admin"]
    "#;
    let registry = with(Auth::tokens(parse_tokens("f", file).unwrap())).await;
    let osint = [("x-registry-token", "osint-token")];
    let ip = [("x-registry-token", "ip-token")];
    let gateway = [("x-registry-token", "gateway-token")];
    let ops = [("x-registry-token", "ops-token")];
    let put = registry.call("PUT", PATH, &osint, r#"{"url":"http://h:1"}"#).await.expect(201);
    let generation = &put["generation"];
    let before = registry.call("GET", "/v1/snapshot", &gateway, "").await.body;
    assert!(String::from_utf8_lossy(&before).contains(r#""registered_by":"osint""#));

    let beat = format!(r#"{{"service_name":"osint_service","instance_id":"h:1","generation":{generation}}}"#);
    let owned = format!("{PATH}?generation={generation}");
    for (method, path, body) in [
        ("POST", "/register", REGISTER),
        ("POST", "/heartbeat", beat.as_str()),
        ("DELETE", "/deregister/osint_service", ""),
        ("PUT", PATH, r#"{"url":"http://evil:1","incarnation":9}"#),
        ("PATCH", owned.as_str(), r#"{"status":"down"}"#),
        ("DELETE", owned.as_str(), ""),
    ] {
        registry.call(method, path, &ip, body.to_owned()).await.expect(403);
        registry.call(method, path, &gateway, body.to_owned()).await.expect(403);
    }
    let batch = format!(r#"{{"epoch":{},"leases":[[{},{generation}]]}}"#, put["epoch"], put["handle"]);
    let lost = registry.call("POST", "/v1/heartbeats", &ip, batch.clone()).await.expect(200);
    assert_eq!(lost["lost"].as_array().unwrap().len(), 1, "another's lease is not kept alive");
    assert!(
        registry.call("POST", "/v1/heartbeats", &osint, batch).await.expect(200)["lost"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    registry.call("PATCH", PATH, &osint, r#"{"override":"down"}"#).await.expect(403);
    registry.call("PATCH", &owned, &ops, r#"{"weight":1}"#).await.expect(403);
    assert_eq!(registry.call("GET", "/v1/snapshot", &gateway, "").await.body, before);
    registry.call("PATCH", PATH, &ops, r#"{"override":"down"}"#).await.expect(200);

    for path in
        ["/services", "/services/osint_service", "/v1/snapshot", "/v1/watch", "/v1/barrier?revision=0"]
    {
        registry.get(path).await.expect(401);
        registry.call("GET", path, &osint, "").await.expect(403);
    }
    registry.get("/health").await.expect(200);
    registry.call("GET", "/services", &gateway, "").await.expect(200);
}

#[tokio::test]
async fn without_tokens_only_loopback_unless_told() {
    let settings =
        |insecure| Settings { listen: "0.0.0.0:0".parse().unwrap(), insecure, ..Settings::default() };
    let trigger = vertice_process::shutdown::ShutdownTrigger::new();
    let refused = start(settings(false), trigger.handle()).await.unwrap_err();
    assert!(matches!(refused, StartError::OpenBeyondLoopback { .. }), "{refused}");
    assert!(refused.to_string().contains("--insecure"));
    let running = start(settings(true), trigger.handle()).await.unwrap();
    let registry =
        Registry { address: format!("127.0.0.1:{}", running.address.port()).parse().unwrap(), trigger };
    let body = r#"{"url":"http://127.0.0.1:80"}"#;
    let loopback = registry.call("PUT", PATH, &[], body).await.expect(422);
    assert_eq!(loopback["detail"][0]["loc"][1], "url", "we are not on loopback, so nobody may be");
    registry.put("osint_service", "h:1", "").await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_what_to_do() {
    let registry = Registry::open().await;
    let settings = Settings::open_on_loopback(registry.address);
    let trigger = vertice_process::shutdown::ShutdownTrigger::new();
    let taken = start(settings, trigger.handle()).await.unwrap_err().to_string();
    assert!(taken.contains(&registry.address.to_string()) && taken.contains("--listen"), "{taken}");
}
