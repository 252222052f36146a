//! Query parameters: read by name, unknown ones ignored, wrong ones named.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use vertice_registry_api::FieldError;

use super::refused::Refused;

/// The value of `name`, decoded; the first one where it is repeated.
pub(super) fn text<'q>(query: Option<&'q str>, name: &str) -> Result<Option<Cow<'q, str>>, Refused> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let Some((_, value)) = pairs.into_iter().find(|(key, _)| *key == name) else { return Ok(None) };
    match percent_decode_str(value).decode_utf8() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Refused::field(FieldError::query(name, "the value is not UTF-8"))),
    }
}

/// The value of `name` as what it should be; `wanted` says what that is.
pub(super) fn parsed<T: std::str::FromStr>(
    query: Option<&str>,
    name: &str,
    wanted: &str,
) -> Result<Option<T>, Refused> {
    let Some(value) = text(query, name)? else { return Ok(None) };
    match value.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Refused::field(FieldError::query(name, format!("{wanted} is wanted")))),
    }
}

/// A value that must be there.
pub(super) fn required<T: std::str::FromStr>(
    query: Option<&str>,
    name: &str,
    wanted: &str,
) -> Result<T, Refused> {
    parsed(query, name, wanted)?.ok_or_else(|| {
        let mut missing = FieldError::query(name, format!("required: {wanted}"));
        missing.kind = "missing".into();
        Refused::field(missing)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_decoded_and_judged() {
        let query = Some("a=1&b=x%3Ay&c&a=2");
        assert_eq!(text(query, "a").unwrap().as_deref(), Some("1"));
        assert_eq!(text(query, "b").unwrap().as_deref(), Some("x:y"));
        assert_eq!(text(query, "c").unwrap().as_deref(), Some(""));
        assert!(text(query, "d").unwrap().is_none() && text(None, "a").unwrap().is_none());
        assert_eq!(parsed::<u64>(query, "a", "a number").unwrap(), Some(1));
        assert!(parsed::<u64>(query, "b", "a number").is_err());
        assert!(required::<u64>(query, "d", "a number").is_err());
        assert!(text(Some("a=%ff"), "a").is_err());
    }
}
