//! One echo service behind a registry and a gateway: what most tests of a protocol begin with.

use serde_json::{Value, json};

use crate::stub::Stub;
use crate::system::{Gateway, Registry};

/// `echo_service` speaks HTTP/1.1.
pub async fn http1() -> (Stub, Registry, Gateway) {
    let (stub, registry) = (Stub::start("echo").await, Registry::start().await);
    registry.put("echo_service", "echo:1", &stub.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    (stub, registry, gateway)
}

/// `echo_service` speaks HTTP/2 with prior knowledge, and says so.
pub async fn http2() -> (Stub, Registry, Gateway) {
    let (stub, registry) = (Stub::http2("echo").await, Registry::start().await);
    registry.put_with("echo_service", "echo:1", &stub.url(), json!({ "protocol": "h2c" })).await;
    let gateway = Gateway::start(&registry.url()).await;
    (stub, registry, gateway)
}

/// The values of the field `name` that the service saw, by its answer `echo`.
pub fn seen<'a>(echo: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = echo["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}
