//! Header fields that the configuration sets, adds and removes, for all messages and for one route.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{get, request, send};
use vertice_tests::process::Program;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

const CONFIG: &str = r#"
[headers]
request = { set = { x-gateway = "edge" }, remove = ["X-Debug"] }
response = { set = { x-content-type-options = "nosniff", x-which = "general" } }

[[route]]
name = "changed"
prefix = "/core"
service = "core_service"
request_headers = { set = { x-tenant = "blue" }, add = { accept = "text/plain" }, remove = ["cookie"] }
response_headers = { set = { x-which = "route" }, add = { set-cookie = "gateway=1" }, remove = ["x-kept"] }
"#;

#[tokio::test]
async fn fields_are_set_added_and_removed_on_both_ways_and_shown_to_operators() {
    let stub = Stub::start("core").await;
    let registry = Registry::start().await;
    registry.put("core_service", "core:1", &stub.url()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), CONFIG).unwrap();
    let gateway =
        Gateway::start_with(&registry.url(), &["--config", file.path().to_str().unwrap()], &[]).await;

    let sent = [
        ("x-gateway", "client"),
        ("x-debug", "1"),
        ("x-tenant", "red"),
        ("cookie", "a=1"),
        ("accept", "text/html"),
    ];
    let answer = send(gateway.address, request("GET", "/core/x", &sent, "")).await;
    let echo = answer.json();
    let came = |name: &str| -> Vec<String> {
        let fields = echo["headers"].as_array().unwrap().iter();
        let fields = fields.filter(|field| field[0] == name);
        fields.map(|field| field[1].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(came("x-gateway"), ["edge"], "{echo}");
    assert_eq!(came("x-tenant"), ["blue"]);
    assert_eq!(came("accept"), ["text/html", "text/plain"]);
    assert!(came("x-debug").is_empty() && came("cookie").is_empty(), "{echo}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-which"), Some("route"));

    let answer = send(gateway.address, request("GET", "/core/stub/headers", &[], "")).await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.last().unwrap(), &"gateway=1", "{answer:?}");
    assert!(cookies.len() > 1, "those of the service stay: {answer:?}");

    // What no route asks for, and what the gateway answers itself.
    for target in ["/v2/core_service/x", "/nowhere", "/health"] {
        let answer = gateway.get(target).await;
        assert_eq!(answer.header("x-which"), Some("general"), "{target}: {answer:?}");
    }

    let table = get(gateway.admin, "/table").await.json();
    let route = table["routes"].as_array().unwrap().iter().find(|route| route["name"] == "changed").unwrap();
    let shown = route["request_headers"].as_array().unwrap();
    assert!(shown.contains(&"set x-tenant".into()) && shown.contains(&"remove cookie".into()), "{route}");
    let config = get(gateway.admin, "/config").await.json();
    let shown = &config["config"]["routes"][0]["changed_headers"]["response"];
    assert!(shown.as_array().unwrap().contains(&"add set-cookie".into()), "{config}");
    assert!(!config.to_string().contains("gateway=1"), "values may be secrets: {config}");
    let admin = gateway.admin.to_string();
    let ended =
        Program::run("vertice-gateway", &["explain", "--admin", &admin, "GET", "http://h/core"], &[]).await;
    assert!(ended.text.contains("header of the request: set x-tenant"), "{}", ended.text);
}
