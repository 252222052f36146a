//! `answer` of a route: what the gateway says by itself, for maintenance and for fixed pages.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use toml::de::DeValue;

use super::edits::{self, Message};
use super::{AnswerConfig, HeaderEdit};
use crate::reader::{Outcome, Reading, Section, Wrong, kind};
use crate::values;

const KEYS: [&str; 5] = ["status", "body", "content_type", "retry_after", "headers"];
/// A page, not a download: it is kept in memory and belongs into a service otherwise.
const BODY_BYTES: usize = 256 * 1024;
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Who hears 503 and not for how long asks again at once.
const RETRY_AFTER_503: Duration = Duration::from_mins(1);

/// The answer of a route.
pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<AnswerConfig> {
    let table = section.section(reading, "answer", &KEYS)?;
    let status = table.wanted(reading, "status", "503", status);
    let body = table.value(reading, "body", body);
    let content_type = table.value(reading, "content_type", edits::field_value);
    let retry_after = table.value(reading, "retry_after", values::duration);
    let mut headers = read_headers(reading, &table);
    let status = status?.value;
    let has_body = body.as_ref().is_some_and(|body| !body.value.is_empty());
    if let Some(body) = body.as_ref().filter(|_| has_body && matches!(status.as_u16(), 204 | 205)) {
        let wrong = format!(
            "`{}` stands beside status {}, which has no body",
            table.path_of("body"),
            status.as_u16()
        );
        reading.mistake(&body.at, wrong, "leave the body out, or give status 200");
    }
    if let Some(kind) = content_type.as_ref().filter(|_| !has_body) {
        reading.mistake(
            &kind.at,
            format!("`{}` stands there without a `body`", table.path_of("content_type")),
            "give a body, or leave it out",
        );
    }
    let default = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_503);
    if let Some(after) = retry_after.map(|said| said.value).or(default) {
        // Whole seconds (RFC 9110 10.2.3), and not too early.
        headers.push((
            RETRY_AFTER,
            HeaderValue::from(after.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)),
        ));
    }
    if has_body {
        headers.push((http::header::CONTENT_TYPE, content_type.map_or(PLAIN, |said| said.value)));
    }
    Some(AnswerConfig { status, body: body.map(|said| said.value).unwrap_or_default(), headers })
}

fn read_headers(reading: &mut Reading<'_>, table: &Section<'_, '_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for edit in edits::read_pairs(reading, table, "headers", Message::Response) {
        if let HeaderEdit::Set(name, value) = edit {
            headers.push((name, value));
        }
    }
    let place = table.place_of("headers").unwrap_or_else(|| table.at.clone());
    for (name, key) in [(RETRY_AFTER, "retry_after"), (http::header::CONTENT_TYPE, "content_type")] {
        if headers.iter().any(|(known, _)| *known == name) {
            let wrong = format!("`{}` has {name}", table.path_of("headers"));
            reading.mistake(&place, wrong, format!("use `{key}` of the answer"));
        }
    }
    headers
}

fn status(value: &DeValue<'_>) -> Outcome<StatusCode> {
    let number = values::number(value, 200, 599)?;
    if (300..400).contains(&number) {
        return Err(Wrong::new(
            format!("is {number}"),
            "use `redirect` of the route to send clients elsewhere",
        ));
    }
    u16::try_from(number)
        .ok()
        .and_then(|number| StatusCode::from_u16(number).ok())
        .ok_or_else(|| Wrong::new(format!("is {number}"), "give a status from 200 to 599"))
}

/// Text of any number of lines.
fn body(value: &DeValue<'_>) -> Outcome<String> {
    let Some(text) = value.as_str() else {
        return Err(Wrong::new(
            format!("is {}", kind(value)),
            "give text in double quotes, or in three of them for several lines",
        ));
    };
    if text.len() > BODY_BYTES {
        return Err(Wrong::new(
            format!("has {} bytes", text.len()),
            format!("at most {BODY_BYTES} bytes are kept in memory; larger pages belong into a service"),
        ));
    }
    Ok(text.to_owned())
}
