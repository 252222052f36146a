//! What we or others stored: metadata as Python's text in Redis, the last known good on disk.

use vertice_gateway::discovery::last_known_good::format;
use vertice_registry::redis::literal;

use super::told;
use crate::Target;

pub(super) const PYTHON_LITERAL: Target = Target {
    name: "python_literal",
    what: "metadata as the original keeps it in Redis: the text of a Python dict",
    feed: python_literal,
    words: &[
        "{",
        "}",
        "'",
        "\"",
        ": ",
        ", ",
        "\\x",
        "\\u",
        "\\U",
        "\\N{",
        "\\'",
        "\\\n",
        "b'",
        "None",
        "True",
        "'''",
        "\\U0010ffff",
        "\\ud800",
    ],
};

fn python_literal(input: &[u8]) -> String {
    let read = literal::read(&String::from_utf8_lossy(input));
    if let Ok(entries) = &read {
        let written = literal::write(entries.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        assert!(written.is_ascii(), "{written}");
        if written.len() <= literal::MAX_BYTES {
            assert_eq!(literal::read(&written).as_ref(), Ok(entries), "{written}");
        }
    }
    told("dict", &read)
}

pub(super) const LAST_KNOWN_GOOD: Target = Target {
    name: "last_known_good",
    what: "the file of the last known good",
    feed: last_known_good,
    words: &[
        "\"format\":",
        "\"count\":",
        "\"sha256\":",
        "\"registry\":",
        "\"position\":",
        "\"kind\":",
        "\n",
        "{",
        "}",
    ],
};

fn last_known_good(input: &[u8]) -> String {
    let read = format::read(&mut &*input);
    if let Ok(kept) = &read {
        assert!(kept.entries.len() + kept.left_out <= input.len());
    }
    told("file", &read)
}
