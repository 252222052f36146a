//! The environment, read once.

use std::collections::BTreeMap;
use std::fmt;

use crate::secret::Secret;

/// A captured environment. Tests make their own.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
}

/// A variable that says something that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvError {
    /// Which variable.
    pub variable: String,
    /// Its value as it may be shown: never a secret's.
    pub value: String,
    /// The rule that it breaks.
    pub rule: String,
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "environment variable {}={:?}: {}", self.variable, self.value, self.rule)
    }
}

impl std::error::Error for EnvError {}

impl fmt::Debug for Env {
    /// Names only: values are often secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Env {
    /// The process's environment. Variables that are not UTF-8 are left out: none of ours can be.
    #[allow(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
    pub fn capture() -> Self {
        std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect()
    }

    /// The value of `name`; an empty value counts as not set, as compose files leave them.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// All variables with a value, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).filter(|(_, v)| !v.is_empty())
    }

    /// A parsed value.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str, rule: &str) -> Result<Option<T>, EnvError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(EnvError { variable: name.into(), value: text.into(), rule: rule.into() }),
        }
    }

    /// The secret in `NAME`, or in the file that `NAME_FILE` names (trailing line ends cut). Both at once is an error.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>, EnvError> {
        let file_variable = format!("{name}_FILE");
        let error = |variable: &str, value: &str, rule: String| EnvError {
            variable: variable.into(),
            value: value.into(),
            rule,
        };
        match (self.get(name), self.get(&file_variable)) {
            (Some(_), Some(path)) => {
                Err(error(&file_variable, path, format!("{name} is set as well: set one of the two")))
            }
            (Some(text), None) => Ok(Some(Secret::new(text))),
            (None, None) => Ok(None),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| error(&file_variable, path, format!("the file cannot be read: {e}")))?;
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() {
                    return Err(error(&file_variable, path, "the file is empty".into()));
                }
                Ok(Some(Secret::new(text)))
            }
        }
    }
}

impl FromIterator<(String, String)> for Env {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().collect() }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(variables: [(&str, &str); N]) -> Self {
        variables.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_the_variable_or_its_file_but_not_both() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let path = file.path().to_str().unwrap();
        let secret = |env: Env| env.secret("T").map(|s| s.map(|s| s.expose().to_owned()));
        assert_eq!(secret(Env::from([("T", "a")])), Ok(Some("a".into())));
        assert_eq!(secret(Env::from([("T_FILE", path)])), Ok(Some("s3cret".into())));
        assert_eq!(secret(Env::from([("T", "")])), Ok(None));
        assert!(secret(Env::from([("T", "a"), ("T_FILE", path)])).is_err());
        assert!(secret(Env::from([("T_FILE", "/nonexistent")])).is_err());
    }
}
