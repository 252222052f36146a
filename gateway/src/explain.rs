//! `vertice-gateway explain`: asks a running gateway's admin listener and prints the answer for people.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;

/// For the whole question.
const LIMIT: Duration = Duration::from_secs(10);

/// An explanation lists routes; more than this is no explanation.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Asks the gateway whose admin listener is `admin` and prints what it says.
pub async fn ask(admin: SocketAddr, method: &str, url: &str, headers: &[String]) -> Result<(), String> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut target = format!("/explain?method={}&target={}", encoded(method), encoded(url));
    for header in headers {
        target.push_str("&header=");
        target.push_str(&encoded(header));
    }
    let (status, body) = tokio::time::timeout(LIMIT, get(admin, &target))
        .await
        .map_err(|_| format!("the gateway at {admin} did not answer within {} s", LIMIT.as_secs()))??;
    let answer: Value = serde_json::from_slice(&body)
        .map_err(|_| format!("what listens at {admin} is not a gateway's admin listener (--admin ADDR)"))?;
    if status != 200 {
        return Err(answer
            .get("detail")
            .and_then(Value::as_str)
            .unwrap_or("the question was refused")
            .to_owned());
    }
    print!("{}", text(&answer));
    Ok(())
}

/// One GET to `address`: status and body.
pub async fn get(address: SocketAddr, target: &str) -> Result<(u16, Bytes), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        format!("{address}: {error}; is the gateway running, with its admin listener there?")
    })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("{address}: {error}"))?;
    let request = Request::get(target)
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(|error| format!("{address}: {error}"))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        Ok((status, body.map_err(|error| format!("{address}: {error}"))?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(format!("{address}: {error}")),
        },
    }
}

fn text(answer: &Value) -> String {
    let mut lines = Vec::new();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    for tried in list(answer, "tried") {
        let (name, why) = (word(&tried["route"]), word(&tried["why_not"]));
        lines.push(if tried["matched"] == true {
            format!("route {name}: matches")
        } else {
            format!("route {name}: no, {why}")
        });
    }
    if let Some(to) = answer.pointer("/route/to") {
        lines.push(format!("goes to: {}", word(to)));
    }
    for policy in list(&answer["route"], "policies") {
        lines.push(format!("policy: {}", word(policy)));
    }
    for (key, what) in [("request_headers", "request"), ("response_headers", "answer")] {
        for change in list(&answer["route"], key) {
            lines.push(format!("header of the {what}: {}", word(change)));
        }
    }
    for limits in list(answer, "limits") {
        let body =
            limits["body_bytes"].as_u64().map_or("any number of".to_owned(), |bytes| bytes.to_string());
        let times = &limits["timeouts"];
        lines.push(format!(
            "at listener {}: {body} bytes of a body; connect {}, first byte {}, idle {}, stream idle {}, total {}",
            word(&limits["listener"]),
            word(&times["connect"]),
            word(&times["first_byte"]),
            word(&times["idle"]),
            word(&times["stream_idle"]),
            times["total"].as_str().unwrap_or("none"),
        ));
    }
    if answer["service"].is_object() {
        let age = answer.pointer("/service/last_proof_age_seconds").and_then(Value::as_f64);
        let age = age.map_or("not from a registry".to_owned(), |age| format!("vouched for {age:.1} s ago"));
        lines.push(format!("service {}: {age}", word(&answer["service_name"])));
        for endpoint in list(&answer["service"], "endpoints") {
            let state = if endpoint["takes_requests"] == true { "takes requests" } else { "takes none" };
            let held = endpoint["held"].as_str().map(|held| format!(", held: {held}")).unwrap_or_default();
            let (by, at) = (word(&endpoint["registered_by"]), word(&endpoint["registered_at"]));
            let (url, status) = (word(&endpoint["url"]), word(&endpoint["status"]));
            lines.push(format!("  {url}: {status}, {state}{held}; registered by {by} at {at}"));
        }
    }
    if let (Some(status), Some(detail)) = (answer.pointer("/answer/status"), answer.pointer("/answer/detail"))
    {
        lines.push(format!("answer: {status} {}", word(detail)));
    }
    lines.join("\n") + "\n"
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}
