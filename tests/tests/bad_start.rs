//! Programs that cannot do what they are told say so at the start, name what is wrong, and exit with 1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;

use tokio::net::TcpListener;
use vertice_tests::http::get;
use vertice_tests::process::{Ended, Program};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

fn assert_refused(ended: &Ended, names: &[&str]) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    for name in names {
        assert!(ended.text.contains(name), "{name:?} is not named: {}", ended.text);
    }
}

/// A configuration file.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn unknown_keys_are_mistakes_with_their_place_and_all_are_told_at_once() {
    let file = file(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ncolour = \"red\"\n\n[timeouts]\nfirst_bite = \"1s\"\n\n\
         [[route]]\nname = \"r\"\nprefix = \"no-slash\"\nservice = \"Not A Name\"\n",
    );
    let path = file.path().to_str().unwrap();
    let places = [format!("{path}:3:1"), format!("{path}:6:1"), format!("{path}:10:"), format!("{path}:11:")];
    let names: Vec<_> =
        places.iter().map(String::as_str).chain(["colour", "first_bite", "prefix", "service"]).collect();
    for command in ["check", "run"] {
        let ended = Program::run("vertice-gateway", &[command, "--config", path], &[]).await;
        assert_refused(&ended, &names);
    }
}

#[tokio::test]
async fn a_file_that_names_no_listener() {
    let file = file("[timeouts]\nfirst_byte = \"1s\"\n");
    let ended =
        Program::run("vertice-gateway", &["run", "--config", file.path().to_str().unwrap()], &[]).await;
    assert_refused(&ended, &["listener"]);
}

#[tokio::test]
async fn a_file_that_is_not_there_or_not_toml() {
    let ended = Program::run("vertice-gateway", &["run", "--config", "/nonexistent/gateway.toml"], &[]).await;
    assert_refused(&ended, &["/nonexistent/gateway.toml"]);
    let file = file("[[listener]\n");
    let path = file.path().to_str().unwrap();
    let ended = Program::run("vertice-gateway", &["check", "--config", path], &[]).await;
    assert_refused(&ended, &[&format!("{path}:1:")]);
}

#[tokio::test]
async fn good_files_pass_the_check() {
    let file = file("[[listener]]\naddress = \"127.0.0.1:8000\"\n");
    let ended =
        Program::run("vertice-gateway", &["check", "--config", file.path().to_str().unwrap()], &[]).await;
    assert!(ended.status.success(), "{ended:?}");
}

#[tokio::test]
async fn taken_ports_are_errors() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    let registry = "http://127.0.0.1:9";
    for arguments in [
        ["run", "--listen", &taken, "--admin", free, "--registry", registry],
        ["run", "--listen", free, "--admin", &taken, "--registry", registry],
        ["run", "--listen", free, "--admin", free, "--embedded-registry", &taken],
    ] {
        assert_refused(&Program::run("vertice-gateway", &arguments, &[]).await, &[&taken]);
    }
    assert_refused(&Program::run("vertice-registry", &["run", "--listen", &taken], &[]).await, &[&taken]);
}

#[tokio::test]
async fn a_port_that_another_gateway_has_is_an_error_and_the_other_goes_on() {
    let registry = Registry::start().await;
    let stub = Stub::start("works").await;
    registry.put("works_service", "works:1", &stub.url()).await;
    let first = Gateway::start(&registry.url()).await;
    let taken = first.address.to_string();
    // Its listeners have SO_REUSEPORT, which would let a second one in without a word.
    let arguments = ["run", "--listen", &taken, "--admin", "127.0.0.1:0", "--registry", &registry.url()];
    assert_refused(&Program::run("vertice-gateway", &arguments, &[]).await, &[&taken]);
    for _ in 0..20 {
        assert_eq!(first.get("/v2/works_service/x").await.status, 200);
    }
}

#[tokio::test]
async fn a_registry_url_that_answers_html_is_told_and_the_gateway_is_not_ready() {
    let page = html_server().await;
    let mut gateway = Gateway::start_unready(&format!("http://{page}"), &[], &[]).await;
    gateway
        .program
        .line("an answer that is no registry's", |line| {
            (line.contains("WARN") && line.contains("registry") && line.contains("text/html")).then_some(())
        })
        .await;
    let ready = get(gateway.admin, "/ready").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(gateway.get("/v2/any_service/x").await.status, 503);
}

#[tokio::test]
async fn a_registry_open_to_the_network_without_a_token_is_refused() {
    let ended = Program::run("vertice-registry", &["run", "--listen", "0.0.0.0:0"], &[]).await;
    assert_refused(&ended, &["--insecure"]);
}

#[tokio::test]
async fn a_sidecar_without_its_service_names_every_missing_variable() {
    assert_refused(&Program::run("vertice-sidecar", &[], &[]).await, &["SERVICE_NAME", "SERVICE_HOST"]);
    let environment =
        [("SERVICE_NAME", "Not A Name"), ("SERVICE_HOST", "127.0.0.1"), ("SERVICE_PORT", "many")];
    assert_refused(
        &Program::run("vertice-sidecar", &[], &environment).await,
        &["SERVICE_NAME", "SERVICE_PORT"],
    );
}

#[tokio::test]
async fn wrong_values_of_the_environment_are_named() {
    let environment = [("GATEWAY_CACHE_TTL", "soon"), ("VERTICE_REGISTRY_URL", "registry")];
    let ended = Program::run("vertice-gateway", &["run"], &environment).await;
    assert_refused(&ended, &["GATEWAY_CACHE_TTL", "VERTICE_REGISTRY_URL"]);
}

/// A web server that knows nothing of registries: 200 and a page for everything.
async fn html_server() -> SocketAddr {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper_util::rt::TokioIo;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let page = hyper::service::service_fn(async |_| {
                let page = Full::new(Bytes::from_static(b"<!doctype html><title>Welcome</title>"));
                http::Response::builder().header("content-type", "text/html").body(page)
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), page),
            );
        }
    });
    address
}
