//! `content` of a route: which kinds of bodies it takes.

use vertice_registry_api::name::shorten;

use crate::reader::{Reading, Section, Wrong};
use crate::values;

/// Longer lists are no rule any more.
const TYPES: usize = 64;

/// Which kinds of bodies a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentConfig {
    /// Media types without parameters, in lower case; `image/*` for all of a kind. At least one.
    pub types: Vec<String>,
}

impl ContentConfig {
    /// Whether a body that says that it is `content_type` may come.
    pub fn takes(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        self.types.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(kind) => essence.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)),
            None => essence.eq_ignore_ascii_case(wanted),
        })
    }
}

/// The table `content` of `section`.
pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<ContentConfig> {
    let table = section.section(reading, "content", &["types"])?;
    let said = table.list(reading, "types", "[\"application/json\"]", |value| {
        let text = values::text(value)?;
        let token = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
        };
        match text.split_once('/') {
            Some((kind, name)) if token(kind) && (token(name) || name == "*") => {
                Ok(text.to_ascii_lowercase())
            }
            Some(_) | None => Err(Wrong::new(
                format!("has {}", shorten(text)),
                "give a media type without parameters: \"application/json\", \"image/*\"",
            )),
        }
    });
    let path = table.path_of("types");
    let Some(said) = said else {
        if table.place_of("types").is_none() {
            let right = "write content = { types = [\"application/json\"] }";
            reading.missing(&table.at, format!("`{path}` is missing"), right);
        }
        return None;
    };
    if table.list_is_empty("types") || said.value.len() > TYPES {
        let wrong = format!("`{path}` has {} types", said.value.len());
        reading.mistake(
            &said.at,
            wrong,
            format!("name 1 to {TYPES}; to take no body at all write body_bytes = 0"),
        );
    }
    Some(ContentConfig { types: said.value.into_iter().map(|said| said.value).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_compared_without_its_parameters_and_its_case() {
        let takes = ContentConfig { types: vec!["application/json".into(), "image/*".into()] };
        for (text, taken) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            (" application/json ;x", true),
            ("application/json2", false),
            ("application/*", false),
            ("image/png", true),
            ("IMAGE/webp", true),
            ("imagex/png", false),
            ("image", false),
            ("", false),
        ] {
            assert_eq!(takes.takes(text), taken, "{text}");
        }
    }
}
