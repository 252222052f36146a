//! The health check of gRPC (`grpc.health.v1.Health/Check`), over HTTP/2 with prior knowledge.
//!
//! Its two messages have one field each: they are written and read here, within a limit, instead of by a code generator.

use std::pin::pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;

use vertice_registry_api::url::Scheme;

use super::verdict::CheckResult;
use crate::table::EndpointSpec;
use crate::upstream::io::UpstreamStream;

/// Bytes of an answer: one field, and room for what a later version adds.
const ANSWER_BYTES: usize = 1024;

/// Bytes of the heads and trailers of an answer.
const HEAD_BYTES: u32 = 16 * 1024;

/// The codes of `grpc-status` that say something of their own here.
const OK: &str = "0";
const NOT_FOUND: &str = "5";
const UNIMPLEMENTED: &str = "12";

/// Asks for the health of `service`; the empty name is the server as a whole.
pub(super) async fn ask(endpoint: &EndpointSpec, service: &str, stream: UpstreamStream) -> CheckResult {
    let url = &endpoint.url;
    // Scheme and authority become pseudo-headers.
    let scheme = match url.scheme() {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let request = Request::post(format!("{}://{}/grpc.health.v1.Health/Check", scheme, url.authority()))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "vertice-gateway health check")
        .body(Full::new(question(service)));
    let handshake =
        http2::Builder::new(TokioExecutor::new()).max_header_list_size(HEAD_BYTES).handshake(stream).await;
    let (Ok(request), Ok((mut sender, connection))) = (request, handshake) else {
        return CheckResult::BadAnswer;
    };
    let mut exchange = pin!(async {
        match sender.send_request(request).await {
            Ok(response) => judge(response).await,
            Err(_) => CheckResult::BadAnswer,
        }
    });
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // The connection is over; what it brought is with the exchange.
        _ = connection => exchange.await,
    }
}

/// `HealthCheckRequest { string service = 1; }` with the five bytes before each message of gRPC.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

fn put_varint(buffer: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        buffer.put_u8(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    buffer.put_u8(u8::try_from(number).unwrap_or(0));
}

async fn judge(response: Response<Incoming>) -> CheckResult {
    let status = response.status();
    if status != 200 {
        return CheckResult::BadStatus(status.as_u16());
    }
    let kind = response.headers().get(CONTENT_TYPE).map(|value| value.as_bytes().to_vec());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        return CheckResult::BadAnswer;
    }
    // An error without a message has its status in the head.
    if let Some(failed) = failed(response.headers()) {
        return failed;
    }
    let (mut body, mut message, mut over) = (response.into_body(), BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) if message.len() + data.len() <= ANSWER_BYTES => message.extend_from_slice(&data),
            Ok(Ok(_)) | Err(_) => return CheckResult::BadAnswer,
            Ok(Err(frame)) => over = frame.into_trailers().ok(),
        }
    }
    let Some(trailers) = over else { return CheckResult::BadAnswer };
    if let Some(failed) = failed(&trailers) {
        return failed;
    }
    if !trailers.contains_key("grpc-status") {
        return CheckResult::BadAnswer;
    }
    match serving_status(&message) {
        Some(1) => CheckResult::Passed,
        Some(2) => CheckResult::NotServing,
        Some(0) => CheckResult::Unknown,
        // Not to be had from this call.
        Some(3) => CheckResult::NoSuchService,
        Some(_) | None => CheckResult::BadAnswer,
    }
}

/// What a `grpc-status` other than OK says.
fn failed(headers: &HeaderMap) -> Option<CheckResult> {
    match headers.get("grpc-status")?.to_str() {
        Ok(OK) => None,
        Ok(NOT_FOUND) => Some(CheckResult::NoSuchService),
        Ok(UNIMPLEMENTED) => Some(CheckResult::Unimplemented),
        Ok(_) | Err(_) => Some(CheckResult::BadAnswer),
    }
}

/// The field `status = 1` of a `HealthCheckResponse`; 0 where it is left out. `None`: it is no such message.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (&compressed, rest) = framed.split_first()?;
    let (length, mut rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    // Compressed although nothing of the kind was offered, or not one whole message.
    if compressed != 0 || rest.len() != length {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut rest)?,
            (0 | 1, _) => return None,
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            (..) => return None,
        }
    }
    Some(status)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0], &length.to_be_bytes()[..], message].concat()
    }

    #[test]
    fn the_status_is_found_beside_fields_of_a_later_version() {
        for (message, status) in [
            (&[][..], Some(0)),
            (&[0x08, 1], Some(1)),
            (&[0x08, 2], Some(2)),
            (&[0x12, 2, 9, 9, 0x08, 1, 0x18, 0x80, 1], Some(1)),
            (&[0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x15, 1, 2, 3, 4, 0x08, 3], Some(3)),
            // Cut, of another type, no field, a group.
            (&[0x08], None),
            (&[0x0a, 1, 1], None),
            (&[0x00, 1], None),
            (&[0x13], None),
            (&[0x12, 200, 1], None),
            (&[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], None),
        ] {
            assert_eq!(serving_status(&framed(message)), status, "{message:?}");
        }
        let good = framed(&[0x08, 1]);
        assert_eq!(serving_status(&good[..6]), None, "cut");
        assert_eq!(serving_status(&[&good[..], &[0]].concat()), None, "more than one message");
        assert_eq!(serving_status(&[1, 0, 0, 0, 0]), None, "compressed");
    }

    #[test]
    fn a_question_names_the_service_if_it_has_a_name() {
        assert_eq!(question("").as_ref(), [0; 5]);
        assert_eq!(question("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(question(&"x".repeat(300))[5..8], [0x0a, 0xac, 0x02]);
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes: Vec<u8>) {
            let _ = serving_status(&bytes);
            let _ = serving_status(&framed(&bytes));
        }
    }
}
