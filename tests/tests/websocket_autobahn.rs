//! Autobahn's cases of WebSocket: none is worse through the gateway than straight to the same server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;

use serde_json::json;
use vertice_tests::python::Script;
use vertice_tests::system::{Gateway, Registry};

/// Framing, pings and pongs, reserved bits, opcodes, fragmentation, UTF-8, closing, and messages in many pieces. Not section 9,
/// which is in the test below, nor 12 and 13: compression is between the client and the service.
const CORE: [&str; 8] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];

/// Messages of up to 16 MiB, in frames and writes of every size.
const LIMITS: [&str; 1] = ["9.*"];

/// How well a case went: what it showed, and how it was closed.
type Results = BTreeMap<String, (u8, u8)>;

/// Autobahn's words, the better the higher.
fn rank(word: &str) -> u8 {
    match word {
        "OK" | "INFORMATIONAL" => 3,
        "NON-STRICT" => 2,
        // Of closing: not as it should be, but closed.
        "WRONG-CODE" | "UNCLEAN" => 1,
        "FAILED" | "FAILED-BY-CLIENT" | "ERROR" | "UNIMPLEMENTED" => 0,
        other => panic!("not a word of Autobahn's: {other}"),
    }
}

async fn results(url: &str, cases: &[&str]) -> Results {
    let mut script = Script::start("interop/websocket_cases.py", &[&[url], cases].concat());
    let mut results = Results::new();
    while let Some(line) = script.line().await {
        let [case, behaviour, closing] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not a result: {line}")
        };
        results.insert(case.to_owned(), (rank(behaviour), rank(closing)));
    }
    results
}

/// Runs `cases` straight and through the gateway; each must go at least as well through it, and there are `count`.
async fn none_is_worse(cases: &[&str], count: usize) {
    let mut server = Script::start("interop/websocket_server.py", &[]);
    let url = server.url().await;
    let registry = Registry::start().await;
    registry.put_with("echo_service", "echo:1", &url, json!({ "health": "tcp" })).await;
    let gateway = Gateway::start(&registry.url()).await;
    let straight = results(&url.replace("http:", "ws:"), cases).await;
    let through = results(&format!("ws://{}/v2/echo_service/", gateway.address), cases).await;
    assert_eq!(straight.len(), count);
    let good = |results: &Results| results.values().filter(|(did, closed)| *did >= 2 && *closed >= 2).count();
    println!("{} cases, good straight: {}, through the gateway: {}", count, good(&straight), good(&through));
    let worse: Vec<_> = straight
        .iter()
        .filter(|(case, (did, closed))| {
            through.get(*case).is_none_or(|(through, ended)| through < did || ended < closed)
        })
        .map(|(case, result)| (case, result, through.get(case)))
        .collect();
    assert!(worse.is_empty(), "worse through the gateway (case, straight, through): {worse:?}");
    // A server that fails everything would prove nothing.
    assert!(good(&straight) * 100 >= count * 95, "{straight:?}");
}

#[tokio::test]
async fn none_of_the_core_cases_is_worse_through_the_gateway() {
    none_is_worse(&CORE, 247).await;
}

#[tokio::test]
async fn large_messages_are_none_the_worse_either() {
    none_is_worse(&LIMITS, 54).await;
}
