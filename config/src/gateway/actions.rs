//! What a route does with its requests: exactly one of `service`, `redirect` and `answer`.

use super::{PathRewrite, RouteAction, answer, path, redirect};
use crate::reader::{Reading, Section};
use crate::values;

/// The ways in which a route can say what it does.
const WAYS: [&str; 3] = ["service", "redirect", "answer"];
/// What has a meaning on the way to a service alone.
const FOR_SERVICES: [&str; 5] =
    ["strip_prefix", "replace_prefix", "timeouts", "request_headers", "body_bytes"];

/// What the route does; `None` after a mistake.
pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<RouteAction> {
    let said: Vec<_> = WAYS.into_iter().filter_map(|way| Some((way, section.place_of(way)?))).collect();
    match said.as_slice() {
        [] => {
            let right = "write service = \"maximus_core_service\", or redirect = { to = \"https://...\" }, or \
                         answer = { status = 503 }";
            reading.missing(&section.at, "`route` has none of `service`, `redirect` and `answer`", right);
            return None;
        }
        [(first, _), rest @ ..] => {
            for (way, at) in rest {
                let wrong = format!("`route.{way}` and `route.{first}` are both given");
                reading.mistake(at, wrong, "keep one: a request has one answer");
            }
        }
    }
    let service = section.value(reading, "service", values::service_name);
    let rewrite = read_rewrite(reading, section);
    let redirect = redirect::read(reading, section, section.place_of("prefix").is_some());
    let answer = answer::read(reading, section);
    if section.place_of("service").is_none() {
        for key in FOR_SERVICES {
            if let Some(at) = section.place_of(key) {
                let wrong = format!("`route.{key}` stands beside a route that asks no service");
                reading.mistake(&at, wrong, "leave it out: the gateway answers by itself");
            }
        }
    }
    let to_service = service.map(|said| RouteAction::Service { service: said.value, rewrite });
    to_service.or(redirect.map(RouteAction::Redirect)).or(answer.map(RouteAction::Answer))
}

fn read_rewrite(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> PathRewrite {
    let strip = section.value(reading, "strip_prefix", values::boolean);
    let replace = section.value(reading, "replace_prefix", path::read_prefix);
    let has_prefix = section.place_of("prefix").is_some();
    let strip = strip.filter(|said| said.value);
    for (key, at) in [
        ("strip_prefix", strip.as_ref().map(|said| &said.at)),
        ("replace_prefix", replace.as_ref().map(|said| &said.at)),
    ] {
        if let Some(at) = at.filter(|_| !has_prefix && section.place_of("path").is_some()) {
            let wrong = format!("`route.{key}` stands beside `path`, which has no prefix");
            reading.mistake(at, wrong, "use `prefix` instead of `path`, or leave it out");
        }
    }
    match (strip, replace) {
        (Some(_), Some(replace)) => {
            let wrong = "`route.replace_prefix` and `route.strip_prefix` are both given";
            reading.mistake(
                &replace.at,
                wrong,
                "keep one: replace_prefix = \"/\" is the same as strip_prefix",
            );
            PathRewrite::Keep
        }
        (Some(_), None) => PathRewrite::StripPrefix,
        (None, Some(replace)) => PathRewrite::ReplacePrefix(replace.value),
        (None, None) => PathRewrite::Keep,
    }
}
