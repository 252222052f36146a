//! The text of a Python dict of strings, as the original keeps metadata: written so that `ast.literal_eval` reads it,
//! read by a small strict parser, never evaluated.
//!
//! Read is what `repr` makes of a `dict[str, str]`, and the spaces and the trailing comma that people add. Nothing else:
//! no prefixes, no adjacent strings, no other types.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Longer texts are not metadata: 4 KiB with every byte escaped (`\U0001f600` is 10 for 4), and room.
pub const MAX_BYTES: usize = 64 * 1024;

/// `entries` as Python writes them.
pub fn write<'e>(entries: impl Iterator<Item = (&'e str, &'e str)>) -> String {
    let mut text = String::from("{");
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        quote(key, &mut text);
        text.push_str(": ");
        quote(value, &mut text);
    }
    text.push('}');
    text
}

fn quote(string: &str, text: &mut String) {
    text.push('\'');
    for c in string.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\'' => text.push_str("\\'"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            ' '..='~' => text.push(c),
            // Everything else by its number: no reader can take it for something else. Writing to a String cannot fail.
            c if u32::from(c) <= 0xff => _ = write!(text, "\\x{:02x}", u32::from(c)),
            c if u32::from(c) <= 0xffff => _ = write!(text, "\\u{:04x}", u32::from(c)),
            c => _ = write!(text, "\\U{:08x}", u32::from(c)),
        }
    }
    text.push('\'');
}

/// The dict that `text` is. The error says what is wrong at which byte. Of equal keys the last counts, as in Python.
pub fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("{} bytes, {MAX_BYTES} are allowed", text.len()));
    }
    let mut reader = Reader { text, at: 0 };
    let entries = reader.dict()?;
    reader.space();
    if reader.peek().is_some() { reader.wrong("the end") } else { Ok(entries) }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn wrong<T>(&self, wanted: &str) -> Result<T, String> {
        let found = self.peek().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        Err(format!("byte {}: {wanted} is wanted, not {found}", self.at))
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|c| matches!(c, ' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    fn one(&mut self, wanted: char, shown: &str) -> Result<(), String> {
        if self.peek() == Some(wanted) {
            self.next();
            Ok(())
        } else {
            self.wrong(shown)
        }
    }

    fn dict(&mut self) -> Result<BTreeMap<String, String>, String> {
        let mut entries = BTreeMap::new();
        self.space();
        self.one('{', "'{'")?;
        loop {
            self.space();
            if self.peek() == Some('}') {
                self.next();
                return Ok(entries);
            }
            let key = self.string()?;
            self.space();
            self.one(':', "':'")?;
            self.space();
            let value = self.string()?;
            entries.insert(key, value);
            self.space();
            if self.peek() != Some('}') {
                self.one(',', "',' or '}'")?;
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let Some(quote @ ('\'' | '"')) = self.peek() else { return self.wrong("a string") };
        self.next();
        let mut string = String::new();
        loop {
            match self.peek() {
                None | Some('\n' | '\r') => return self.wrong("the end of the string"),
                Some('\\') => string.push(self.escape()?),
                Some(c) => {
                    self.next();
                    if c == quote {
                        return Ok(string);
                    }
                    string.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let start = self.at;
        self.next();
        Ok(match self.next() {
            Some('\\') => '\\',
            Some('\'') => '\'',
            Some('"') => '"',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('x') => self.number(2, start)?,
            Some('u') => self.number(4, start)?,
            Some('U') => self.number(8, start)?,
            _ => return Err(format!("byte {start}: an escape that repr does not write")),
        })
    }

    fn number(&mut self, digits: usize, start: usize) -> Result<char, String> {
        let hex =
            self.text.get(self.at..self.at + digits).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        self.at += digits;
        number.and_then(char::from_u32).ok_or_else(|| format!("byte {start}: not the number of a character"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    fn pairs(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_python_writes_is_read() {
        // Each left side is the output of `print(repr(...))`.
        for (text, entries) in [
            ("{}", pairs(&[])),
            ("{'version': '2.1', 'status': 'healthy'}", pairs(&[("version", "2.1"), ("status", "healthy")])),
            (r#"{'a': "it's"}"#, pairs(&[("a", "it's")])),
            (r#"{'a': 'it\'s "so"'}"#, pairs(&[("a", "it's \"so\"")])),
            (r"{'a': 'x\ny\\z\x00\u200b\U000e0001'}", pairs(&[("a", "x\ny\\z\0\u{200b}\u{e0001}")])),
            ("{'é': '日本 😀'}", pairs(&[("é", "日本 😀")])),
            (" { 'a' : 'b' , } ", pairs(&[("a", "b")])),
            ("{'a': 'b', 'a': 'c'}", pairs(&[("a", "c")])),
        ] {
            assert_eq!(read(text), Ok(entries), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_dict_of_strings_is_refused() {
        for text in [
            "",
            "{",
            "{'a'}",
            "{'a': 1}",
            "{1: 'a'}",
            "{'a': None}",
            "{'a': True}",
            "{'a': ['b']}",
            "{'a': {'b': 'c'}}",
            "{'a': 'b'} + {}",
            "{'a': 'b' 'c'}",
            "{'a': b'c'}",
            "{'a': r'c'}",
            "{'a': f'{c}'}",
            "{,}",
            "{'a': 'b',,}",
            "{'a': 'b}",
            "{'a': '''b'''}",
            "{'a': 'b\n'}",
            r"{'a': '\q'}",
            r"{'a': '\x4'}",
            r"{'a': '\ud800'}",
            r"{'a': '\U00110000'}",
            r"{'a': '\N{DASH}'}",
            "dict(a='b')",
            "__import__('os').system('true')",
            "[]",
            "null",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&" ".repeat(MAX_BYTES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_written_reads_back(entries in btree_map(any::<String>(), any::<String>(), 0..8)) {
            let text = write(entries.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            prop_assert!(text.is_ascii());
            prop_assert_eq!(read(&text), Ok(entries));
        }

        #[test]
        fn any_text_is_read_or_refused(text in r#"[{}'",: \\xuUnN0-9a-f\n日]{0,40}"#) {
            let _ = read(&text);
        }

        #[test]
        fn any_string_is_read_or_refused(text in any::<String>()) {
            let _ = read(&text);
        }
    }
}
