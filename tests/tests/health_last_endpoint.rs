//! The last endpoint of a service is never left out, whatever it answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_goes_to_it_and_its_answers_are_passed_on() {
    let registry = Registry::start().await;
    let only = Stub::start("only").await;
    only.answer_all_with(503);
    registry.put("some_service", "only", &only.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    for _ in 0..50 {
        let answer = gateway.get("/v2/some_service/x").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-vertice-reason")), (503, None));
    }
    assert_eq!(only.requests(), 50);
    assert_eq!(gateway.health_of("some_service", "only").await["share_percent"], 100);
}
