//! Discovery beside a real registry: when it acknowledges what.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vertice_process::shutdown::ShutdownTrigger;
use vertice_registry_api::ServiceUrl;
use vertice_registry_client::{CanaryConfig, SourceConfig, source};

use super::*;
use crate::table::CachedTable;

/// For what the loopback does.
const PATIENCE: Duration = Duration::from_secs(30);

async fn call(registry: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(registry).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: r\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Does `meanwhile` and asks until the answer has `words`.
async fn until(registry: SocketAddr, path: &str, words: &str, meanwhile: impl Fn()) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        meanwhile();
        let answer = call(registry, "GET", path, "").await;
        if answer.contains(words) {
            return;
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn discovery(registry: SocketAddr, published: &Arc<Published>) -> Discovery {
    let url = ServiceUrl::parse(&format!("http://{registry}")).unwrap();
    let source = source::start(SourceConfig {
        url: url.clone(),
        token: vertice_registry_client::Token::default(),
        request_timeout: Duration::from_secs(5),
        poll_interval: Duration::from_secs(30),
        watch_wait: None,
        gateway_id: Some("tested".into()),
    });
    let fixed = Fixed {
        workers: 2,
        configured: BTreeSet::new(),
        policy: crate::upstream::AddressPolicy::of(&["127.0.0.1:1".parse().unwrap()], std::iter::empty()),
        newcomers_wait: false,
        tls: None,
    };
    let canary = CanaryConfig {
        url,
        token: vertice_registry_client::Token::default(),
        id: vertice_registry_api::InstanceId::parse("tested").unwrap(),
        started_unix_ms: 1_700_000_000_000,
        request_timeout: Duration::from_secs(5),
    };
    Discovery {
        source,
        published: published.clone(),
        fixed,
        fallbacks: Fallbacks::default(),
        probes: mpsc::channel(1).1,
        view: Arc::new(Mutex::new(View::new())),
        not_ready: None,
        rule: StaleRule { after: None, then: vertice_config::gateway::WhenStale::Serve },
        keeper: None,
        canary: CanaryDriver::new(canary),
        releases: mpsc::channel(1).1,
        orders: mpsc::channel(1).1,
        shutdown: None,
        progress: Progress::default(),
    }
}

#[tokio::test]
async fn a_revision_is_acknowledged_when_the_last_worker_has_taken_up_its_table() {
    let trigger = ShutdownTrigger::new();
    let settings = vertice_registry::Settings::default();
    let registry = vertice_registry::start(settings, trigger.handle()).await.unwrap().address;
    let (published, _dead) = Published::new(Table::default(), 2);
    let (busy, slow) = (CachedTable::new(published.clone(), 0), CachedTable::new(published.clone(), 1));
    let discovery = tokio::spawn(run(discovery(registry, &published)));
    until(registry, "/v1/barrier?revision=0", "\"total\":1", || {
        drop((busy.current(), slow.current()));
    })
    .await;
    let path = "/v1/services/osint_service/instances/x";
    let put = call(registry, "PUT", path, r#"{"url":"http://127.0.0.1:81"}"#).await;
    assert!(put.contains(" 201 "), "{put}");
    let routed = |table: &Table| table.services.iter().any(|service| service.all.len() == 1);
    let deadline = Instant::now() + PATIENCE;
    while !routed(&busy.current()) {
        assert!(Instant::now() < deadline, "the instance is not in the table");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // One worker has it. What the other one may still send goes by the table before.
    let revision = put.rsplit_once("\"revision\":").unwrap().1.trim_end_matches(['}', ' ', '\n']).to_owned();
    let asked = format!("/v1/barrier?revision={revision}&timeout=1");
    let early = call(registry, "GET", &asked, "").await;
    assert!(early.contains("\"applied\":0,\"total\":1"), "{early}");
    drop(slow.current());
    until(registry, &asked, "\"applied\":1", || {}).await;
    discovery.abort();
}
