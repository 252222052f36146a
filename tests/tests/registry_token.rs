//! A token of the registry that was rotated is taken by a reload, and what the old one was refused is tried again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;

use tempfile::TempDir;
use vertice_tests::http::{request, send};
use vertice_tests::system::{Gateway, Registry, TOKEN};
use vertice_tests::wait::{PATIENCE, eventually};

async fn canary_is(gateway: &Gateway, state: &str) {
    eventually(PATIENCE, &format!("the canary is {state}"), async || {
        let status = gateway.get("/gateway/status").await.json();
        (status["registry"]["canary"]["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_rotated_token_file_is_taken_by_a_reload_and_one_that_is_no_token_is_refused() {
    let registry = Registry::start().await;
    let folder = TempDir::new().unwrap();
    let (config, token) = (folder.path().join("gateway.toml"), folder.path().join("token"));
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[registry]\nurl = \"{}\"\ntoken_file = \"{}\"\n",
        registry.url(),
        token.display()
    );
    fs::write(&config, text).unwrap();
    fs::write(&token, "an-old-token\n").unwrap();
    let gateway = Gateway::start_configured(&config, &[]).await;
    canary_is(&gateway, "refused").await;

    let reload = async || send(gateway.admin, request("POST", "/config/reload", &[], "")).await;
    fs::write(&token, "two\nlines\n").unwrap();
    let answer = reload().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (422, &"invalid".into()), "{answer:?}");
    let error = answer.json()["errors"][0].as_str().unwrap().to_owned();
    assert!(error.contains(":5:14: `registry.token_file`") && !error.contains("lines\n"), "{error}");

    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let answer = reload().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &"applied".into()), "{answer:?}");
    canary_is(&gateway, "proven").await;
    assert!(!gateway.program.text().contains(TOKEN), "{}", gateway.program.text());
}
