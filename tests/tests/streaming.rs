//! Both directions of a request at once, over every pair of HTTP/1.1 and HTTP/2: what pauses, what is early, what breaks off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vertice_tests::http::raw_to_end;
use vertice_tests::streamed::{Arrived, PAIRS, Pending, Service, Speaks};
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::PATIENCE;

/// A pause of the service is longer than `idle` and `first_byte`, and shorter than `stream_idle` and the route's `first_byte`.
const SHORT: &str = "[timeouts]\nidle = \"200ms\"\nfirst_byte = \"200ms\"\nstream_idle = \"1m\"\n\
    [[route]]\nname = \"poll\"\nprefix = \"/poll\"\nstrip_prefix = true\nservice = \"one_service\"\n\
    timeouts = { first_byte = \"1m\" }\n\
    [[route]]\nname = \"poll2\"\nprefix = \"/poll2\"\nstrip_prefix = true\nservice = \"two_service\"\n\
    timeouts = { first_byte = \"1m\" }\n";

struct System {
    one: Service,
    two: Service,
    _registry: Registry,
    gateway: Gateway,
}

impl System {
    /// A service of each kind behind a gateway.
    async fn start(config: &str) -> Self {
        let (one, two) = (Service::start(Speaks::Http1).await, Service::start(Speaks::Http2).await);
        let registry = Registry::start().await;
        for (name, service, metadata) in [
            ("one_service", &one, json!({ "health": "tcp" })),
            ("two_service", &two, json!({ "health": "tcp", "protocol": "h2c" })),
        ] {
            registry.put_with(name, "a", &format!("http://{}", service.address), metadata).await;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config).unwrap();
        let arguments = ["--config", file.path().to_str().unwrap()];
        let gateway = Gateway::start_with(&registry.url(), &arguments, &[]).await;
        Self { one, two, _registry: registry, gateway }
    }

    fn service(&mut self, speaks: Speaks) -> &mut Service {
        match speaks {
            Speaks::Http1 => &mut self.one,
            Speaks::Http2 => &mut self.two,
        }
    }

    /// A request of a client of one kind to the service of another.
    async fn begin(&self, (client, service): (Speaks, Speaks), order: &str) -> Pending {
        Pending::begin(self.gateway.address, client, &format!("{}/{order}", named(service)), &[]).await
    }
}

fn named(service: Speaks) -> &'static str {
    match service {
        Speaks::Http1 => "/v2/one_service",
        Speaks::Http2 => "/v2/two_service",
    }
}

#[tokio::test]
async fn an_answer_streams_while_its_request_still_comes() {
    let mut system = System::start("").await;
    for pair in PAIRS {
        let call = system.begin(pair, "echo").await;
        assert!(call.send("first").await);
        let mut call = call.head().await;
        assert_eq!(call.next().await.unwrap().unwrap(), "first", "{pair:?}");
        for piece in ["second", "third"] {
            assert!(call.send(piece).await);
            assert_eq!(call.next().await.unwrap().unwrap(), piece, "{pair:?}");
        }
        assert!(call.end().await);
        assert!(call.next().await.is_none(), "{pair:?}");
        let news = [system.service(pair.1).arrived().await, system.service(pair.1).arrived().await];
        assert_eq!(news, [Arrived::Begun, Arrived::Whole], "{pair:?}");
    }
}

#[tokio::test]
async fn half_an_upload_is_never_whole_at_the_service() {
    let mut system = System::start("").await;
    for pair in PAIRS {
        for answered in [false, true] {
            let mut open = None;
            let call = system.begin(pair, if answered { "echo" } else { "swallow" }).await;
            assert!(call.send("half").await);
            assert_eq!(system.service(pair.1).arrived().await, Arrived::Begun);
            if answered {
                let mut call = call.head().await;
                assert!(call.next().await.unwrap().is_ok(), "{pair:?}");
                drop(call);
            } else {
                open = Some(call.cancel(pair.0));
            }
            let arrived = system.service(pair.1).arrived().await;
            assert_eq!(arrived, Arrived::Broken, "{pair:?}, answered: {answered}");
            drop(open);
        }
    }
}

/// A reset with NO_ERROR is no end, though the HTTP library reads it as one.
#[tokio::test]
async fn an_upload_that_is_reset_without_an_error_is_not_whole_either() {
    let mut system = System::start("").await;
    for service in [Speaks::Http1, Speaks::Http2] {
        let path = format!("{}/swallow", named(service));
        let path = [&[4, u8::try_from(path.len()).unwrap()][..], path.as_bytes()].concat();
        // POST, http, the path, and an authority of one letter; neither the head nor the piece ends the stream.
        let head = [&[0x83, 0x86][..], &path, &[1, 1, b'a']].concat();
        let frames = [frame(4, 0, 0, &[]), frame(1, 4, 1, &head), frame(0, 0, 1, b"half")].concat();
        let mut client = TcpStream::connect(system.gateway.address).await.unwrap();
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.write_all(&frames).await.unwrap();
        assert_eq!(system.service(service).arrived().await, Arrived::Begun);
        client.write_all(&frame(3, 0, 1, &[0; 4])).await.unwrap();
        assert_eq!(system.service(service).arrived().await, Arrived::Broken, "{service:?}");
    }
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let system = System::start("").await;
    for pair in PAIRS {
        let call = system.begin(pair, "early").await;
        assert!(call.send(vec![0; 1000]).await);
        let mut call = call.head().await;
        assert_eq!((call.status(), call.next().await.unwrap().unwrap().as_ref()), (413, &b"too much"[..]));
        // What is still sent is taken or refused; it never holds anybody up.
        while call.next().await.is_some_and(|piece| piece.is_ok()) {}
    }
}

#[tokio::test]
async fn events_may_pause_for_stream_idle_and_other_answers_for_idle() {
    let system = System::start(SHORT).await;
    for pair in PAIRS {
        for (kind, goes_on) in [("event-stream", true), ("plain", false)] {
            let call = system.begin(pair, &format!("pause/{kind}")).await;
            assert!(call.end().await);
            let mut call = call.head().await;
            assert_eq!(call.next().await.unwrap().unwrap(), "data: x\n\n");
            let second = call.next().await.unwrap();
            assert_eq!(second.is_ok(), goes_on, "{pair:?} {kind}: {second:?}");
            if goes_on {
                assert!(call.next().await.is_none());
            }
        }
    }
}

#[tokio::test]
async fn a_long_poll_waits_as_long_as_its_route_says() {
    let system = System::start(SHORT).await;
    for (client, service) in PAIRS {
        let prefix = if service == Speaks::Http1 { "/poll" } else { "/poll2" };
        for (path, status) in [(format!("{prefix}/late"), 200), (format!("{}/late", named(service)), 504)] {
            let call = Pending::begin(system.gateway.address, client, &path, &[]).await;
            assert!(call.end().await);
            assert_eq!(call.head().await.status(), status, "{client:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_when_the_body_is_wanted() {
    let mut system = System::start("").await;
    for service in [Speaks::Http1, Speaks::Http2] {
        let head = format!(
            "POST {}/echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            named(service)
        );
        let mut client = TcpStream::connect(system.gateway.address).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        let mut interim = [0; 25];
        timeout(PATIENCE, client.read_exact(&mut interim)).await.unwrap().unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"hello").await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("hello"), "{answer}");
        let news = [system.service(service).arrived().await, system.service(service).arrived().await];
        assert_eq!(news, [Arrived::Begun, Arrived::Whole]);
    }
    let nobody =
        "POST /v2/nobody_service/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let refused = raw_to_end(system.gateway.address, nobody.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "a body that nobody takes is not asked for: {refused}");
}

#[tokio::test]
async fn over_http2_an_expectation_is_no_obstacle() {
    let system = System::start("").await;
    for service in [Speaks::Http1, Speaks::Http2] {
        let path = format!("{}/echo", named(service));
        let expects = [("expect", "100-continue")];
        let call = Pending::begin(system.gateway.address, Speaks::Http2, &path, &expects).await;
        assert!(call.send("hello").await);
        let mut call = call.head().await;
        assert_eq!(call.next().await.unwrap().unwrap(), "hello");
        assert!(call.end().await);
        assert!(timeout(Duration::from_secs(30), call.next()).await.unwrap().is_none());
    }
}
