//! Ten thousand routes by host: each host gets its own, however it is written, and nobody else's; checking and changing the
//! configuration goes on working.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fmt::Write as _;
use std::path::Path;

use tempfile::TempDir;
use vertice_tests::http::{Connection, request, send};
use vertice_tests::process::Program;
use vertice_tests::system::{Gateway, Registry};

const HOSTS: usize = 10_000;

/// Host number `n` is answered with its number, `moved` with something else.
fn write(file: &Path, registry: &str, moved: Option<usize>) {
    let mut text =
        format!("workers = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\n[registry]\nurl = \"{registry}\"\n");
    for n in 0..HOSTS {
        let body = if moved == Some(n) { "moved".to_owned() } else { format!("site {n}") };
        let _ = write!(
            text,
            "[[route]]\nname = \"r{n}\"\nhost = \"h{n}.example.test\"\nprefix = \"/\"\nanswer = {{ status = 200, body = \"{body}\" }}\n"
        );
    }
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

async fn body_of(connection: &mut Connection, host: &str) -> (u16, String) {
    let answer = connection.send(request("GET", "/x", &[("host", host)], "")).await.unwrap();
    (answer.status.as_u16(), answer.text())
}

#[tokio::test]
async fn each_of_ten_thousand_hosts_has_its_own_route_however_it_is_written() {
    let registry = Registry::start().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gateway.toml");
    write(&file, &registry.url(), None);
    let checked = Program::run("vertice-gateway", &["check", "--config", file.to_str().unwrap()], &[]).await;
    assert!(checked.status.success(), "{checked:?}");
    let gateway = Gateway::start_configured(&file, &[]).await;
    let mut connection = Connection::open(gateway.address).await.unwrap();

    for n in (0..HOSTS).step_by(7).chain([HOSTS - 1]) {
        assert_eq!(body_of(&mut connection, &format!("h{n}.example.test")).await, (200, format!("site {n}")));
    }
    for n in [0, 1, 10, 999, 5000, HOSTS - 1] {
        for host in [
            format!("H{n}.EXAMPLE.test"),
            format!("h{n}.example.test."),
            format!("h{n}.example.test:8080"),
            format!("H{n}.example.TEST.:80"),
        ] {
            assert_eq!(body_of(&mut connection, &host).await, (200, format!("site {n}")), "{host}");
        }
    }
    for host in
        ["h10000.example.test", "h1.example.tes", "xh1.example.test", "h1.example.test.evil", "example.test"]
    {
        assert_eq!(body_of(&mut connection, host).await.0, 404, "{host}");
    }
    assert_eq!(body_of(&mut connection, "h1.example.test..").await.0, 400);

    write(&file, &registry.url(), Some(4321));
    let answer = send(gateway.admin, request("POST", "/config/reload", &[], "")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &"applied".into()), "{answer:?}");
    assert_eq!(body_of(&mut connection, "h4321.example.test").await, (200, "moved".to_owned()));
    assert_eq!(body_of(&mut connection, "h4322.example.test").await, (200, "site 4322".to_owned()));
}
