//! What the registry reads from files and environment: its one token, or the file of many tokens.
//!
//! The file: `[[token]]` with `name`, `sha256` (hex) or `token` (plain), `names` (patterns) and `verbs`.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::env::{Env, EnvError};
use crate::secret::Secret;

/// What may be done with a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs {
    /// Register, beat, change and deregister instances.
    pub register: bool,
    /// Read services, snapshots and watches, and acknowledge revisions.
    pub read: bool,
    /// Override the status of instances.
    pub admin: bool,
}

/// Which service names a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// Exactly this one.
    Exact(String),
    /// All that begin so; written with a `*` at the end.
    Prefix(String),
}

impl NamePattern {
    /// Whether `name` is one of them.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

/// A token as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSecret {
    /// The token itself.
    Plain(Secret),
    /// Its SHA-256.
    Sha256([u8; 32]),
}

/// One entry of the tokens file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The principal, shown as `registered_by`; unique.
    pub name: String,
    /// What is presented.
    pub secret: TokenSecret,
    /// For which services.
    pub names: Vec<NamePattern>,
    /// To do what.
    pub verbs: Verbs,
}

/// The one token of `REGISTRY_AUTH_TOKEN` or the file that `REGISTRY_AUTH_TOKEN_FILE` names.
pub fn single_token(env: &Env) -> Result<Option<Secret>, EnvError> {
    env.secret("REGISTRY_AUTH_TOKEN")
}

/// Reads the text of a tokens file called `file`; all its mistakes at once, in the order of the text.
pub fn parse_tokens(file: &str, text: &str) -> Result<Vec<TokenConfig>, Vec<Diagnostic>> {
    let mut reader = Reader { file, text, mistakes: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().unwrap_or(0..0);
        reader.wrong(
            &at,
            format!("this is not TOML: {}", error.message()),
            "see https://toml.io for the form",
        );
    }
    if !reader.mistakes.is_empty() {
        return Err(reader.mistakes);
    }
    let tokens = reader.root(root.get_ref());
    if tokens.is_empty() && reader.mistakes.is_empty() {
        reader.wrong(
            &(0..0),
            "the file names no token".into(),
            "add a [[token]] with name, sha256, names, verbs",
        );
    }
    if reader.mistakes.is_empty() {
        return Ok(tokens);
    }
    reader.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    Err(reader.mistakes)
}

const KEYS: &str = "the keys are name, sha256 or token, names, verbs";

struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    mistakes: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: &Range<usize>, wrong: String, right: impl Into<String>) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let file = self.file.to_owned();
        self.mistakes.push(Diagnostic { file, line, column, wrong, right: right.into() });
    }

    fn root(&mut self, root: &DeTable<'_>) -> Vec<TokenConfig> {
        let mut tokens = Vec::new();
        let mut names = BTreeSet::new();
        for (key, value) in root {
            if key.get_ref() != "token" {
                self.wrong(
                    &key.span(),
                    format!("unknown key '{}'", key.get_ref()),
                    "the file has [[token]] only",
                );
                continue;
            }
            let Some(list) = value.get_ref().as_array() else {
                self.wrong(&key.span(), "token is not a list of tables".into(), "write [[token]]");
                continue;
            };
            for entry in list {
                let Some(table) = entry.get_ref().as_table() else {
                    self.wrong(&entry.span(), "this token is not a table".into(), KEYS);
                    continue;
                };
                let Some(token) = self.token(&entry.span(), table) else { continue };
                if !names.insert(token.name.clone()) {
                    let wrong = format!("the name '{}' stands at two tokens", token.name);
                    self.wrong(&entry.span(), wrong, "give each token a name of its own");
                }
                tokens.push(token);
            }
        }
        tokens
    }

    /// `None` after a mistake.
    fn token(&mut self, at: &Range<usize>, table: &DeTable<'_>) -> Option<TokenConfig> {
        let (mut name, mut sha256, mut plain, mut names, mut verbs) = (None, None, None, None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.principal(value)),
                "sha256" => sha256 = Some(self.sha256(value)),
                "token" => plain = Some(self.plain(value)),
                "names" => names = Some(self.words(value, "names", NAMES_RULE, parse_pattern)),
                "verbs" => verbs = Some(self.words(value, "verbs", VERBS_RULE, parse_verb)),
                other => self.wrong(&key.span(), format!("unknown key '{other}'"), KEYS),
            }
        }
        let secret = match (sha256, plain) {
            (Some(secret), None) | (None, Some(secret)) => secret,
            (Some(_), Some(_)) => {
                self.wrong(at, "this token has both sha256 and token".into(), "keep one of them");
                None
            }
            (None, None) => {
                let right = "add sha256 = \"...\" (printf %s TOKEN | sha256sum) or token = \"...\"";
                self.wrong(at, "this token has neither sha256 nor token".into(), right);
                None
            }
        };
        for (key, there) in [("name", name.is_some()), ("names", names.is_some()), ("verbs", verbs.is_some())]
        {
            if !there {
                self.wrong(at, format!("this token has no {key}"), KEYS);
            }
        }
        let mut allowed = Verbs::default();
        for verb in verbs?? {
            match verb {
                Verb::Register => allowed.register = true,
                Verb::Read => allowed.read = true,
                Verb::Admin => allowed.admin = true,
            }
        }
        Some(TokenConfig { name: name??, secret: secret?, names: names??, verbs: allowed })
    }

    fn string<'v>(&mut self, value: &'v Spanned<DeValue<'_>>, key: &str, right: &str) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let wrong = format!("{key} is {} {}", article(value), value.get_ref().type_str());
            self.wrong(&value.span(), wrong, right);
        }
        text
    }

    fn principal(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        const RULE: &str = "a name has 1 to 64 characters of A-Z a-z 0-9 . _ -";
        let text = self.string(value, "name", RULE)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
            self.wrong(&value.span(), "name is out of rule".into(), RULE);
            return None;
        }
        Some(text.to_owned())
    }

    fn sha256(&mut self, value: &Spanned<DeValue<'_>>) -> Option<TokenSecret> {
        const RULE: &str = "64 hexadecimal digits, as printf %s TOKEN | sha256sum prints them";
        let text = self.string(value, "sha256", RULE)?;
        let hash = parse_hash(text);
        if hash.is_none() {
            self.wrong(&value.span(), "sha256 is not a SHA-256".into(), RULE);
        }
        hash.map(TokenSecret::Sha256)
    }

    fn plain(&mut self, value: &Spanned<DeValue<'_>>) -> Option<TokenSecret> {
        const RULE: &str = "a token has 1 to 512 visible ASCII characters: it goes into a header";
        let text = self.string(value, "token", RULE)?;
        if text.is_empty() || text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            self.wrong(&value.span(), "token is out of rule".into(), RULE);
            return None;
        }
        Some(TokenSecret::Plain(Secret::new(text)))
    }

    fn words<T>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        key: &str,
        right: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let list = value.get_ref().as_array().filter(|list| !list.is_empty());
        let Some(list) = list else {
            self.wrong(&value.span(), format!("{key} is not a list with something in it"), right);
            return None;
        };
        let mut words = Vec::new();
        for item in list {
            let Some(text) = self.string(item, key, right) else { continue };
            match parse(text) {
                Some(word) => words.push(word),
                None => self.wrong(
                    &item.span(),
                    format!("'{}' does not belong in {key}", text.escape_debug()),
                    right,
                ),
            }
        }
        (words.len() == list.len()).then_some(words)
    }
}

enum Verb {
    Register,
    Read,
    Admin,
}

const NAMES_RULE: &str =
    "names are service names, or the beginning of some with a * at its end: [\"osint_*\"]";
const VERBS_RULE: &str = "the verbs are register, read, admin";

fn parse_verb(text: &str) -> Option<Verb> {
    match text {
        "register" => Some(Verb::Register),
        "read" => Some(Verb::Read),
        "admin" => Some(Verb::Admin),
        _ => None,
    }
}

fn parse_pattern(text: &str) -> Option<NamePattern> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    match text.strip_suffix('*') {
        Some(prefix) => prefix.bytes().all(legal).then(|| NamePattern::Prefix(prefix.to_owned())),
        None => vertice_registry_api::ServiceName::parse(text)
            .ok()
            .map(|name| NamePattern::Exact(name.as_str().to_owned())),
    }
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn article(value: &Spanned<DeValue<'_>>) -> &'static str {
    if value.get_ref().is_array() || value.get_ref().is_integer() { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(usize, usize, String)> {
        let mistakes = parse_tokens("tokens.toml", text).unwrap_err();
        mistakes.into_iter().map(|m| (m.line, m.column, m.wrong)).collect()
    }

    #[test]
    fn a_good_file_is_read() {
        let text = format!(
            "[[token]]\nname = \"osint\"\nsha256 = \"{}\"\nnames = [\"osint_*\", \"ip_service\"]\nverbs = [\"register\"]\n\
             [[token]]\nname = \"ops\"\ntoken = \"s3cret\"\nnames = [\"*\"]\nverbs = [\"read\", \"admin\"]\n",
            "0a".repeat(32)
        );
        let tokens = parse_tokens("f", &text).unwrap();
        assert_eq!(tokens[0].secret, TokenSecret::Sha256([10; 32]));
        assert!(tokens[0].names[0].covers("osint_service") && !tokens[0].names[0].covers("ip_service"));
        assert!(tokens[0].names[1].covers("ip_service") && !tokens[0].names[1].covers("ip_service2"));
        assert_eq!(tokens[1].verbs, Verbs { register: false, read: true, admin: true });
        assert!(tokens[1].names[0].covers("anything"));
    }

    #[test]
    fn every_mistake_at_once_with_its_place() {
        let text = "colour = 1\n[[token]]\nname = 7\nsha256 = \"xyz\"\nnames = [\"A*\"]\nverbs = [\"rule\"]\nsize = 2\n";
        let found = places(text);
        let at: Vec<_> = found.iter().map(|(line, column, _)| (*line, *column)).collect();
        assert_eq!(at, [(1, 1), (3, 8), (4, 10), (5, 10), (6, 10), (7, 1)], "{found:?}");
    }

    #[test]
    fn missing_doubled_and_contradicting_keys() {
        let good = "[[token]]\nname=\"a\"\ntoken=\"x\"\nnames=[\"*\"]\nverbs=[\"read\"]\n";
        assert!(parse_tokens("f", good).is_ok());
        for (text, part) in [
            (format!("{good}{good}"), "two tokens"),
            (good.replace("token=\"x\"\n", ""), "neither"),
            (format!("{good}sha256=\"{}\"\n", "0".repeat(64)), "both"),
            (good.replace("name=\"a\"\n", ""), "no name"),
            (good.replace("[\"*\"]", "[]"), "names"),
            (good.replace("token=\"x\"", "token=\"a b\""), "out of rule"),
            ("[token]\nname=\"a\"\n".to_owned(), "not a list"),
            ("[[token]\n".to_owned(), "not TOML"),
            (String::new(), "no token"),
        ] {
            let found = places(&text);
            assert!(found.iter().any(|(_, _, wrong)| wrong.contains(part)), "{text}: {found:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let tokens =
            parse_tokens("f", "[[token]]\nname=\"a\"\ntoken=\"hush\"\nnames=[\"*\"]\nverbs=[\"read\"]\n");
        assert!(!format!("{tokens:?}").contains("hush"));
    }
}
