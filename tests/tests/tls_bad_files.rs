//! Certificates that cannot be used: every one of them is told at once, with its place, at check and at start.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::process::{Ended, Program};
use vertice_tests::tls::{Authority, Folder};

async fn check(config: &str) -> Ended {
    Program::run("vertice-gateway", &["check", "--config", config], &[]).await
}

#[tokio::test]
async fn every_mistake_is_told_with_its_place_at_check_and_at_start() {
    let (ca, folder) = (Authority::new("tests"), Folder::default());
    let (a, b) = (ca.server(&["a.example"]), ca.server(&["b.example"]));
    let (a_cert, b_key) = (folder.write("a.pem", &a.cert), folder.write("b.key", &b.key));
    let (text, locked) = (folder.write("text.pem", "hello"), folder.write("empty.key", ""));
    let broken = folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let rows = [
        (&a_cert, &b_key, "b.key: is not the key of"),
        (&text, &b_key, "text.pem: holds no certificate; give a PEM file"),
        (&a_cert, &locked, "empty.key: holds no private key"),
        (&broken, &b_key, "broken.pem: holds a certificate that cannot be read"),
        (&a_cert, &"/nowhere/a.key".to_owned(), "/nowhere/a.key: cannot be opened: No such file"),
    ];
    let pairs: Vec<String> =
        rows.iter().map(|(cert, key, _)| format!("  {{ cert = \"{cert}\", key = \"{key}\" }},\n")).collect();
    let lines = format!("directory = \"/nowhere/tls\"\ncertificates = [\n{}]", pairs.concat());
    let config = folder.config(&lines, "[upstream_tls]\nca = \"/nowhere/ca.pem\"\n");
    let run = ["run", "--config", &config, "--admin", "127.0.0.1:0", "--embedded-registry", "127.0.0.1:0"];
    for ended in [check(&config).await, Program::run("vertice-gateway", &run, &[]).await] {
        assert!(!ended.status.success());
        for (number, (_, _, expected)) in rows.iter().enumerate() {
            let place = format!("gateway.toml:{}:", 7 + number);
            let line = ended.text.lines().find(|line| line.contains(&place));
            assert!(line.is_some_and(|line| line.contains(expected)), "{place} {expected}\n{}", ended.text);
        }
        assert!(ended.text.contains("gateway.toml:5:13: /nowhere/tls: cannot be read"), "{}", ended.text);
        assert!(ended.text.contains("/nowhere/ca.pem: cannot be opened"), "{}", ended.text);
    }
}

#[tokio::test]
async fn a_chain_that_is_over_fails_the_check() {
    let (ca, folder) = (Authority::new("tests"), Folder::default());
    ca.expired(&["a.example"]).put(&folder.certificates(), "a");
    let config = folder.config(&folder.all(), "");
    let ended = check(&config).await;
    assert!(
        !ended.status.success() && ended.text.contains("a.crt: holds a chain that is over since"),
        "{}",
        ended.text
    );
    ca.server(&["a.example"]).put(&folder.certificates(), "a");
    let ended = check(&config).await;
    assert!(ended.status.success(), "{}", ended.text);
    let config = folder.config(&format!("{}\ndefault = \"b.example\"", folder.all()), "");
    let ended = check(&config).await;
    assert!(
        ended.text.contains("gateway.toml:6:11") && ended.text.contains("no certificate is for b.example"),
        "{}",
        ended.text
    );
}
