//! What operators may do, who counts as one, and that it is written down.

use std::time::Duration;

use serde_json::json;
use vertice_config::registry::parse_tokens;
use vertice_registry::Settings;
use vertice_registry::auth::Auth;

use crate::support::Registry;

const TOKENS: &str = r#"
    [[token]]
    name = "team"
    token = "team"
    names = ["osint_*"]
    verbs = ["register", "read"]
    [[token]]
    name = "team-admin"
    token = "team-admin"
    names = ["osint_*"]
    verbs = ["admin"]
    [[token]]
    name = "ops"
    token = "ops"
    names = ["*"]
    verbs = ["admin", "read", "register"]
"#;

const PATH: &str = "/v1/services/osint_service/instances/h:1";

async fn guarded() -> Registry {
    let auth = Auth::tokens(parse_tokens("f", TOKENS).unwrap());
    Registry::with(Settings { auth, ..Settings::default() }).await
}

fn token(token: &str) -> [(&str, &str); 1] {
    [("x-registry-token", token)]
}

#[tokio::test]
async fn an_operators_removal_says_removed_and_wants_the_verb() {
    let registry = guarded().await;
    let put = registry.call("PUT", PATH, &token("team"), r#"{"url":"http://h:80"}"#).await.expect(201);
    let path = format!("{PATH}?by=operator");
    registry.call("DELETE", &path, &token("team"), "").await.expect(403);
    registry.call("DELETE", &path, &[], "").await.expect(401);
    let other = "/v1/services/ip_service/instances/h:1?by=operator";
    registry.call("DELETE", other, &token("team-admin"), "").await.expect(403);
    let old = format!("{path}&generation=1");
    registry.call("DELETE", &old, &token("team-admin"), "").await.expect(409);
    let removed = registry.call("DELETE", &path, &token("team-admin"), "").await.expect(200);
    assert_eq!(removed["removed"], json!(true));
    let epoch = put["epoch"].as_str().unwrap();
    let watch = format!("/v1/watch?epoch={epoch}&revision={}", put["revision"]);
    let changes = registry.call("GET", &watch, &token("team"), "").await.expect(200);
    assert_eq!(changes["changes"][0]["reason"], json!("removed"));
    let again = registry.call("DELETE", &path, &token("team-admin"), "").await.expect(200);
    assert_eq!(again["removed"], json!(false));
}

#[tokio::test]
async fn the_audit_says_who_did_what_from_where_and_what_was_before() {
    let registry = guarded().await;
    let put = registry.call("PUT", PATH, &token("team"), r#"{"url":"http://h:80"}"#).await.expect(201);
    let generation = &put["generation"];
    let owners = format!("{PATH}?generation={generation}");
    registry.call("PATCH", &owners, &token("team"), r#"{"weight":5}"#).await.expect(200);
    registry.call("PATCH", PATH, &token("ops"), r#"{"override":"down"}"#).await.expect(200);
    registry.call("PATCH", PATH, &token("team-admin"), r#"{"override":null}"#).await.expect(200);
    registry.call("DELETE", &format!("{PATH}?by=operator"), &token("ops"), "").await.expect(200);
    let ip = "/v1/services/ip_service/instances/h:1";
    registry.call("PUT", ip, &token("ops"), r#"{"url":"http://h:80"}"#).await.expect(201);
    registry.call("PATCH", ip, &token("ops"), r#"{"override":"up"}"#).await.expect(200);
    registry.call("GET", "/v1/audit", &token("team"), "").await.expect(403);
    let all = registry.call("GET", "/v1/audit", &token("ops"), "").await.expect(200);
    let all = all["changes"].as_array().unwrap();
    let told: Vec<String> = all
        .iter()
        .map(|e| format!("{} {} {} {} -> {}", e["who"], e["action"], e["service"], e["before"], e["after"]))
        .map(|line| line.replace('"', ""))
        .collect();
    let wanted = [
        "ops override osint_service none -> down",
        "team-admin override osint_service down -> none",
        "ops remove osint_service up http://h:80 -> absent",
        "ops override ip_service none -> up",
    ];
    assert_eq!(told, wanted, "an owner's change is not one of an operator");
    assert!(all.iter().all(|entry| entry["from"].as_str().unwrap().starts_with("127.0.0.1:")));
    assert_eq!(&all[0]["generation"], generation);
    let some = registry.call("GET", "/v1/audit", &token("team-admin"), "").await.expect(200);
    assert_eq!(some["changes"].as_array().unwrap().len(), 3, "what is about services of others is not shown");
}

#[tokio::test(start_paused = true)]
async fn release_ends_preservation_and_wants_a_token_for_all_names() {
    let registry = guarded().await;
    tokio::time::sleep(Duration::from_secs(80)).await;
    for number in 0..8 {
        let path = format!("/v1/services/osint_service/instances/h:{number}");
        registry.call("PUT", &path, &token("ops"), r#"{"url":"http://h:80"}"#).await.expect(201);
    }
    let nothing = registry.call("POST", "/v1/release", &token("ops"), "").await.expect(200);
    assert_eq!(nothing, json!({ "released": false, "stale": 0 }));
    tokio::time::sleep(Duration::from_secs(79)).await;
    assert_eq!(registry.get("/health").await.expect(200)["state"], json!("preserving"));
    registry.call("POST", "/v1/release", &token("team"), "").await.expect(403);
    let refused = registry.call("POST", "/v1/release", &token("team-admin"), "").await.expect(403);
    assert!(refused["detail"].as_str().unwrap().contains("all names"));
    let released = registry.call("POST", "/v1/release", &token("ops"), "").await.expect(200);
    assert_eq!(released, json!({ "released": true, "stale": 3 }));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let health = registry.get("/health").await.expect(200);
    assert_eq!((&health["state"], &health["instances"]), (&json!("serving"), &json!(0)));
    let audit = registry.call("GET", "/v1/audit", &token("ops"), "").await.expect(200);
    assert_eq!(audit["changes"][0]["before"], json!("preserving, 3 stale"));
}
