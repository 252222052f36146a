//! gRPC's own interop cases with gRPC's own core on both sides, through the gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use serde_json::json;
use vertice_tests::python::Script;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::PATIENCE;

/// Every path is a method's; the host says what the case is about.
const CONFIG: &str = r#"
[[route]]
name = "interop"
host = "interop.test"
prefix = "/"
service = "interop_service"

[[route]]
name = "short"
host = "short.test"
prefix = "/"
service = "interop_service"
timeouts = { first_byte = "1s", total = "1s" }

[[route]]
name = "first"
host = "first.test"
prefix = "/"
service = "interop_service"
timeouts = { first_byte = "1s" }

[[route]]
name = "nobody"
host = "nobody.test"
prefix = "/"
service = "nobody_service"
"#;

async fn system() -> (Script, Registry, Gateway) {
    let mut server = Script::start("interop/grpc_server.py", &[]);
    let url = server.url().await;
    let registry = Registry::start().await;
    registry.put_with("interop_service", "interop:1", &url, json!({ "protocol": "grpc" })).await;
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), CONFIG).unwrap();
    let arguments = ["--config", config.path().to_str().unwrap()];
    let gateway = Gateway::start_with(&registry.url(), &arguments, &[]).await;
    gateway.judges("interop_service", "interop:1", "good", PATIENCE).await;
    (server, registry, gateway)
}

/// What the client says of each of `cases` against the gateway; each must be `ok`.
async fn pass(gateway: &Gateway, cases: &[&str]) {
    let address = gateway.address.to_string();
    let mut client = Script::start("interop/grpc_client.py", &[&[address.as_str()], cases].concat());
    let mut failed = Vec::new();
    for case in cases {
        let said = client.line().await.unwrap_or_else(|| panic!("the client ended before {case}"));
        println!("{said}");
        if said != format!("{case} ok") {
            failed.push(said);
        }
    }
    assert!(failed.is_empty(), "{} of {} cases: {failed:#?}", failed.len(), cases.len());
}

#[tokio::test]
async fn all_fourteen_cases_pass() {
    let (mut server, _registry, gateway) = system().await;
    let cancelled = ["cancel_after_begin", "cancel_after_first_response"];
    pass(&gateway, &cancelled).await;
    let mut seen = [server.line().await.unwrap(), server.line().await.unwrap()];
    seen.sort();
    assert_eq!(
        seen,
        ["cancelled FullDuplexCall", "cancelled StreamingInputCall"],
        "the server learns it, too"
    );
    let others = [
        "empty_unary",
        "large_unary",
        "client_streaming",
        "server_streaming",
        "ping_pong",
        "empty_stream",
        "timeout_on_sleeping_server",
        "custom_metadata",
        "status_code_and_message",
        "special_status_message",
        "unimplemented_service",
        "unimplemented_method",
    ];
    pass(&gateway, &others).await;
}

#[tokio::test]
async fn what_the_gateway_says_by_itself_is_understood() {
    let (mut server, _registry, gateway) = system().await;
    pass(&gateway, &["no_endpoint", "own_deadline_before_an_answer"]).await;
    assert_eq!(server.line().await.unwrap(), "cancelled FullDuplexCall", "the server need not go on");
    pass(&gateway, &["own_deadline_within_an_answer"]).await;
    assert_eq!(server.line().await.unwrap(), "cancelled FullDuplexCall");
    pass(&gateway, &["own_deadline_for_an_answer_to_begin"]).await;
    assert_eq!(server.line().await.unwrap(), "cancelled StreamingOutputCall");
}
