//! Walks the tables of a TOML text and gathers every mistake with its place. Knows nothing of what the keys mean.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::place::Place;
use crate::{suggest, values};

/// Bytes of a text: room for tens of thousands of routes, and a bound on what a wrong file can cost.
pub(crate) const TEXT_BYTES: usize = 4 * 1024 * 1024;
/// Mistakes that are shown; nobody reads more before repairing the first.
const SHOWN_MISTAKES: usize = 100;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Said<T> {
    pub(crate) value: T,
    pub(crate) at: Range<usize>,
}

/// Why a value cannot be used, and what could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Completes "`key` ...".
    pub(crate) what: String,
    pub(crate) right: String,
}

impl Wrong {
    pub(crate) fn new(what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { what: what.into(), right: right.into() }
    }
}

/// Reads a value of one kind.
pub(crate) type Outcome<T> = Result<T, Wrong>;

/// A text being read and the mistakes found so far.
pub(crate) struct Reading<'t> {
    file: &'t str,
    text: &'t str,
    line_starts: Vec<usize>,
    found: Vec<Diagnostic>,
    /// Lines with a syntax error: what was guessed there is not worth a second mistake.
    broken_lines: Vec<usize>,
}

impl<'t> Reading<'t> {
    /// Parses `text` and hands the root table to `walk`; all mistakes in the order of the text.
    pub(crate) fn of<T>(
        file: &'t str,
        text: &'t str,
        walk: impl FnOnce(&mut Self, &Section<'_, '_>) -> T,
    ) -> (T, Vec<Diagnostic>) {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut reading = Self { file, text, line_starts, found: Vec::new(), broken_lines: Vec::new() };
        let mut whole = text.to_owned();
        if text.len() > TEXT_BYTES {
            let wrong = format!("the file has {} bytes", text.len());
            reading.push(0, wrong, format!("at most {TEXT_BYTES} bytes are read"));
            whole.clear();
        }
        let recovered = reading.parse(&mut whole);
        let root = Section { path: String::new(), at: 0..0, table: recovered.get_ref() };
        let outcome = walk(&mut reading, &root);
        (outcome, reading.finish())
    }

    /// Parses with recovery. The parser gives up at a key without `=`, so such lines are blanked and the rest is
    /// parsed again: what comes after them is judged as well.
    fn parse<'p>(&mut self, text: &'p mut String) -> Spanned<DeTable<'p>> {
        loop {
            let errors = DeTable::parse_recoverable(text).1;
            let stop = errors.iter().find(|e| e.message().starts_with("key with no value")).cloned();
            let Some(stop) = stop else { break };
            let at = stop.span().map_or(0, |span| span.start);
            let line = self.line_of(at);
            if self.broken_lines.contains(&line) || self.broken_lines.len() >= SHOWN_MISTAKES {
                break;
            }
            self.syntax(&stop);
            let from = self.line_starts.get(line).copied().unwrap_or_default();
            let to = text.get(from..).and_then(|rest| rest.find('\n')).map_or(text.len(), |end| from + end);
            // As many bytes as before: places after it stay what they are.
            text.replace_range(from..to, &" ".repeat(to - from));
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            self.syntax(error);
        }
        root
    }

    /// Notes a syntax error, one per line: the second is mostly an echo.
    fn syntax(&mut self, error: &toml::de::Error) {
        let at = error.span().map_or(0, |span| span.start);
        let line = self.line_of(at);
        if self.broken_lines.contains(&line) {
            return;
        }
        self.broken_lines.push(line);
        let message = error.message();
        let (wrong, expected) = message.split_once(", expected ").unwrap_or((message, ""));
        let right = if wrong.starts_with("string values must be quoted") {
            "text stands in double quotes: key = \"value\"".to_owned()
        } else if wrong.starts_with("invalid boolean") {
            // The parser takes every bare word with a t or an f in front for one.
            "true and false stand without quotes, all other text in double quotes: key = \"value\"".to_owned()
        } else if wrong.starts_with("duplicate key") {
            "give each key and each [section] once, and a [[section]] as often as wanted".to_owned()
        } else if wrong.starts_with("key with no value") {
            "write key = value".to_owned()
        } else if expected.is_empty() || expected == "nothing" {
            "TOML has lines of key = value below [section] headers".to_owned()
        } else {
            format!("here may stand: {expected}")
        };
        self.found.push(self.diagnostic(at, format!("not TOML: {wrong}"), right));
    }

    /// Notes a mistake at `at`.
    pub(crate) fn mistake(&mut self, at: &Range<usize>, wrong: impl Into<String>, right: impl Into<String>) {
        self.push(at.start, wrong.into(), right.into());
    }

    /// Notes that something is not there, unless a syntax error may have swallowed it.
    pub(crate) fn missing(&mut self, at: &Range<usize>, wrong: impl Into<String>, right: impl Into<String>) {
        if self.broken_lines.is_empty() {
            self.push(at.start, wrong.into(), right.into());
        }
    }

    fn push(&mut self, at: usize, wrong: String, right: String) {
        if !self.broken_lines.contains(&self.line_of(at)) {
            self.found.push(self.diagnostic(at, wrong, right));
        }
    }

    /// The place of `at` as a diagnostic.
    pub(crate) fn diagnostic(&self, at: usize, wrong: String, right: String) -> Diagnostic {
        let line = self.line_of(at);
        let start = self.line_starts.get(line).copied().unwrap_or_default();
        let before = self.text.get(start..at).unwrap_or_default();
        Diagnostic {
            file: self.file.to_owned(),
            line: line + 1,
            column: before.chars().count() + 1,
            wrong,
            right,
        }
    }

    /// Where `at` is, for mistakes that are found later.
    pub(crate) fn place(&self, at: &Range<usize>) -> Place {
        let Diagnostic { file, line, column, .. } = self.diagnostic(at.start, String::new(), String::new());
        Place { file, line, column }
    }

    /// Counted from 0.
    fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// How many mistakes were found so far.
    pub(crate) fn mistakes(&self) -> usize {
        self.found.len()
    }

    /// For "line 12 has it already"; counted from 1.
    pub(crate) fn line(&self, at: &Range<usize>) -> usize {
        self.line_of(at.start) + 1
    }

    fn finish(self) -> Vec<Diagnostic> {
        let mut found = self.found;
        found.sort_by_key(|mistake| (mistake.line, mistake.column));
        let more = found.len().saturating_sub(SHOWN_MISTAKES);
        if more > 0 {
            found.truncate(SHOWN_MISTAKES);
            if let Some(last) = found.last_mut() {
                last.right = format!("{} (and {more} more mistakes below)", last.right);
            }
        }
        found
    }
}

/// One table of the text.
pub(crate) struct Section<'a, 't> {
    /// As messages name it: `limits`, `route.timeouts`; empty for the root.
    path: String,
    /// Its header, or its braces.
    pub(crate) at: Range<usize>,
    table: &'a DeTable<'t>,
}

impl<'a, 't> Section<'a, 't> {
    /// Every key that is not in `known` is a mistake.
    pub(crate) fn only(&self, reading: &mut Reading<'_>, known: &[&'static str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let guess =
                suggest::nearest(name, known).map(|k| format!("did you mean `{k}`? ")).unwrap_or_default();
            let right = format!("{guess}known keys here: {}", known.join(", "));
            reading.mistake(&key.span(), format!("`{}` is not a key", self.path_of(&shown(name))), right);
        }
    }

    /// How messages name it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// How messages name `key` of this section.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where `key` stands, if it does.
    pub(crate) fn place_of(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).map(|(key, _)| key.span())
    }

    /// The value of `key` as `read` understands it.
    pub(crate) fn value<T>(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        read: impl Fn(&DeValue<'_>) -> Outcome<T>,
    ) -> Option<Said<T>> {
        understand(reading, &self.path_of(key), self.table.get(key)?, &read)
    }

    /// As [`Section::value`], and a mistake when it is not there; `example` shows how it would be.
    pub(crate) fn wanted<T>(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Outcome<T>,
    ) -> Option<Said<T>> {
        if !self.table.contains_key(key) {
            reading.missing(
                &self.at,
                format!("`{}` is missing", self.path_of(key)),
                format!("write {key} = {example}"),
            );
        }
        self.value(reading, key, read)
    }

    /// The values of the list `key`; those that cannot be used are left out.
    pub(crate) fn list<T>(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Outcome<T>,
    ) -> Option<Said<Vec<Said<T>>>> {
        let value = self.table.get(key)?;
        let path = self.path_of(key);
        let Some(items) = value.get_ref().as_array() else {
            let wrong = format!("`{path}` is {}", kind(value.get_ref()));
            reading.mistake(&value.span(), wrong, format!("give a list: {key} = {example}"));
            return None;
        };
        let items = items.iter().filter_map(|item| understand(reading, &path, item, &read)).collect();
        Some(Said { value: items, at: value.span() })
    }

    /// Whether the list `key` was written without an item.
    pub(crate) fn list_is_empty(&self, key: &str) -> bool {
        self.table.get(key).and_then(|value| value.get_ref().as_array()).is_some_and(|items| items.is_empty())
    }

    /// The names and values of the free-form table `key`.
    pub(crate) fn pairs<'s>(
        &'s self,
        reading: &mut Reading<'_>,
        key: &str,
        example: &str,
    ) -> Vec<(Said<&'s str>, &'s Spanned<DeValue<'t>>)> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            let wrong = format!("`{}` is {}", self.path_of(key), kind(value.get_ref()));
            reading.mistake(&value.span(), wrong, format!("give a table: {key} = {example}"));
            return Vec::new();
        };
        table.iter().map(|(k, v)| (Said { value: k.get_ref().as_ref(), at: k.span() }, v)).collect()
    }

    /// The table `key`.
    pub(crate) fn section(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        known: &[&'static str],
    ) -> Option<Section<'a, 't>> {
        let value = self.table.get(key)?;
        let path = self.path_of(key);
        let Some(table) = value.get_ref().as_table() else {
            let wrong = format!("`{path}` is {}", kind(value.get_ref()));
            reading.mistake(&value.span(), wrong, format!("it is one section: [{path}]"));
            return None;
        };
        let section = Section { path, at: value.span(), table };
        section.only(reading, known);
        Some(section)
    }

    /// Every table below the table `key`, with its name, which is a word.
    pub(crate) fn named_sections(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        known: &[&'static str],
    ) -> Vec<(String, Section<'a, 't>)> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        let right = format!("each one is a section with a name of its own: [{path}.NAME]");
        let Some(table) = value.get_ref().as_table() else {
            reading.mistake(&value.span(), format!("`{path}` is {}", kind(value.get_ref())), right);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (name, value) in table {
            let text: &str = name.get_ref();
            let path = format!("{path}.{}", shown(text));
            if !values::is_word(text) {
                let wrong = format!("`{path}` has no usable name");
                reading.mistake(&name.span(), wrong, values::WORD_FORM);
            } else if let Some(table) = value.get_ref().as_table() {
                let section = Section { path, at: name.span(), table };
                section.only(reading, known);
                sections.push((text.to_owned(), section));
            } else {
                let wrong = format!("`{path}` is {}", kind(value.get_ref()));
                reading.mistake(&value.span(), wrong, right.clone());
            }
        }
        sections
    }

    /// Where the table `name` below the table `key` stands.
    pub(crate) fn place_within(&self, key: &str, name: &str) -> Option<Range<usize>> {
        let table = self.table.get(key)?.get_ref().as_table()?;
        table.get_key_value(name).map(|(key, _)| key.span())
    }

    /// Whether `key` is this text.
    pub(crate) fn is_text(&self, key: &str, text: &str) -> bool {
        self.table.get(key).and_then(|value| value.get_ref().as_str()) == Some(text)
    }

    /// Whether `key` is a list.
    pub(crate) fn is_list(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().as_array().is_some())
    }

    /// Whether `key` is a table.
    pub(crate) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().as_table().is_some())
    }

    /// Every table of the array of tables `key`, in the order of the text.
    pub(crate) fn sections(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        known: &[&'static str],
    ) -> Vec<Section<'a, 't>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        let right = format!("each one is a section of its own: [[{path}]]");
        let Some(items) = value.get_ref().as_array() else {
            reading.mistake(&value.span(), format!("`{path}` is {}", kind(value.get_ref())), right);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            if let Some(table) = item.get_ref().as_table() {
                let section = Section { path: path.clone(), at: item.span(), table };
                section.only(reading, known);
                sections.push(section);
            } else {
                let wrong = format!("`{path}` holds {}", kind(item.get_ref()));
                reading.mistake(&item.span(), wrong, right.clone());
            }
        }
        sections
    }
}

/// Reads one value; a mistake where it cannot be used.
pub(crate) fn understand<T>(
    reading: &mut Reading<'_>,
    path: &str,
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&DeValue<'_>) -> Outcome<T>,
) -> Option<Said<T>> {
    match read(value.get_ref()) {
        Ok(read) => Some(Said { value: read, at: value.span() }),
        Err(Wrong { what, right }) => {
            reading.mistake(&value.span(), format!("`{path}` {what}"), right);
            None
        }
    }
}

/// The kind of a value with its article.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A key for a message: one line, not too long.
fn shown(key: &str) -> String {
    vertice_registry_api::name::shorten(key).trim_matches('\'').to_owned()
}
