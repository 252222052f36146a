//! Which crate and which module of the gateway may know which. Pure: texts in, violations out.

use toml::Table;

/// Each crate with the crates of ours that it may name, in any kind of dependency.
const CRATES: &[(&str, &[&str])] = &[
    ("vertice-registry-api", &[]),
    ("vertice-process", &[]),
    // Configuration is checked into the contract's types: see docs/decisions.
    ("vertice-config", &["vertice-registry-api"]),
    ("vertice-registry-client", &["vertice-registry-api"]),
    ("vertice-registry", &["vertice-registry-api", "vertice-config", "vertice-process"]),
    (
        "vertice-sidecar",
        &["vertice-registry-client", "vertice-registry-api", "vertice-config", "vertice-process"],
    ),
    (
        "vertice-gateway",
        &[
            "vertice-registry-client",
            "vertice-registry-api",
            "vertice-config",
            "vertice-process",
            // The embedded default.
            "vertice-registry",
        ],
    ),
    // It judges us, so nothing of ours is in it.
    ("vertice-conformance", &[]),
];

/// Tooling: sees everything.
const TOOLING: &[&str] = &["vertice-tests", "vertice-fuzz", "vertice-bench", "xtask"];

/// A crate that only one of ours may name.
const RESERVED: &[(&str, &str)] = &[("reqwest", "vertice-registry-client")];

/// Groups of the gateway's modules; within a group none knows another.
const STRANGERS: &[&[&str]] = &[&["route", "policy", "balance", "upstream", "tls"], &["discovery", "http"]];

/// One name that a module of a group may have of another: a route carries its policies, and does not look at them.
const KNOWN: (&str, &str) = ("route", "policy");

/// What is wrong with the dependencies of one `Cargo.toml`.
pub fn crate_violations(manifest: &str) -> Vec<String> {
    let manifest: Table = match manifest.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("not TOML: {error}")],
    };
    let Some(name) = manifest.get("package").and_then(|package| package.get("name")?.as_str()) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    let allowed = CRATES.iter().find(|(of, _)| *of == name).map(|(_, allowed)| *allowed);
    if allowed.is_none() && !TOOLING.contains(&name) {
        violations.push(format!("{name} is not in the table of crates: give it its edges"));
    }
    for dependency in dependencies(&manifest) {
        let ours = CRATES.iter().any(|(of, _)| *of == dependency) || TOOLING.contains(&dependency.as_str());
        let forbidden = allowed.is_some_and(|allowed| ours && !allowed.contains(&dependency.as_str()));
        let reserved = RESERVED.iter().any(|(of, only)| *of == dependency && *only != name);
        if forbidden || reserved {
            violations.push(format!("{name} may not depend on {dependency}"));
        }
    }
    violations
}

/// The packages that a manifest names: normal, dev and build, for all or for one target.
fn dependencies(manifest: &Table) -> Vec<String> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values().filter_map(|t| t.as_table()));
    std::iter::once(manifest)
        .chain(tables)
        .flat_map(|table| KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flatten()
        .map(|(key, value)| {
            // A renamed dependency is its package, not its alias.
            value.get("package").and_then(|p| p.as_str()).unwrap_or(key).to_owned()
        })
        .collect()
}

/// The modules that `source`, the gateway's file `path` (relative to its `src`), names against the rules.
pub fn module_violations(path: &str, source: &str) -> Vec<String> {
    let modules: Vec<_> = path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    let Some(own) = modules.first() else { return Vec::new() };
    let strangers: Vec<_> = STRANGERS
        .iter()
        .filter(|group| group.contains(own))
        .flat_map(|group| group.iter().filter(|other| *other != own))
        .filter(|other| (*own, **other) != KNOWN)
        .collect();
    if strangers.is_empty() {
        return Vec::new();
    }
    let named = named_at_root(&tokens(source), modules.len());
    let mut violations: Vec<_> = named
        .into_iter()
        .filter(|name| name == "*" || strangers.iter().any(|stranger| *stranger == name))
        .map(|name| format!("{path} names crate::{name}"))
        .collect();
    violations.dedup();
    violations
}

/// Every name that `tokens` take from the crate's root: after `crate::`, and after enough `super::` for a file at `depth`.
fn named_at_root(tokens: &[String], depth: usize) -> Vec<String> {
    let mut names = Vec::new();
    // Of each open brace, whether it opened a module inside the file.
    let mut open = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => open.push(at >= 2 && tokens[at - 2] == "mod"),
            "}" => drop(open.pop()),
            _ => {}
        }
        let depth = depth + open.iter().filter(|module| **module).count();
        let start = at;
        let mut supers = 0;
        while tokens[at] == "super" && tokens.get(at + 1).is_some_and(|next| next == "::") {
            supers += 1;
            at += 2;
        }
        let from_crate = matches!(tokens[at].as_str(), "crate" | "vertice_gateway")
            && tokens.get(at + 1).is_some_and(|next| next == "::");
        if from_crate {
            at += 2;
        }
        if from_crate || supers >= depth {
            names.extend(heads(&tokens[at..]));
        }
        at = at.max(start + 1);
    }
    names
}

/// The first names of a path or of a group `{a::b, c}`.
fn heads(tokens: &[String]) -> Vec<String> {
    if tokens.first().is_none_or(|first| first != "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let (mut heads, mut depth) = (Vec::new(), 0);
    for (index, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(tokens[index - 1].as_str(), "{" | ",") => heads.push(token.clone()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// The words and marks of a source text, without comments and the inside of strings. `::` is one mark.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest).or_else(|| string(rest)) {
            length
        } else if word > 0 {
            tokens.push(rest[..word].to_owned());
            word
        } else if rest.starts_with("::") {
            tokens.push("::".into());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.into());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of a string or a quoted character at the start of `text`.
fn string(text: &str) -> Option<usize> {
    // Of characters only those that could confuse: a quote, or an escape.
    for quote in [r#"'"'"#, r"'\''", r"'\\'"] {
        if text.starts_with(quote) {
            return Some(quote.len());
        }
    }
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(text.len(), |end| end + 2))
}

/// The length of a raw string (also a byte one) at the start of `text`.
fn raw_string(text: &str) -> Option<usize> {
    let start = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let inside = start.trim_start_matches('#');
    let hashes = start.len() - inside.len();
    let inside = inside.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close).map_or(inside.len(), |end| end + close.len());
    Some(text.len() - inside.len() + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, rest: &str) -> Vec<String> {
        crate_violations(&format!("[package]\nname = \"{name}\"\n{rest}"))
    }

    #[test]
    fn allowed_crate_edges() {
        for (name, rest) in [
            ("vertice-gateway", "[dependencies]\nvertice-registry.workspace = true\ntokio = \"1\""),
            ("vertice-registry-client", "[dependencies]\nreqwest.workspace = true"),
            ("vertice-config", "[dependencies]\nvertice-registry-api = { path = \"../registry-api\" }"),
            ("vertice-tests", "[dependencies]\nvertice-gateway.workspace = true"),
        ] {
            assert!(manifest(name, rest).is_empty(), "{name} {rest}");
        }
        assert!(crate_violations("[workspace.dependencies]\nreqwest = \"0\"").is_empty());
    }

    #[test]
    fn forbidden_crate_edges() {
        for (name, rest) in [
            ("vertice-registry", "[dependencies]\nvertice-registry-client.workspace = true"),
            ("vertice-registry", "[dev-dependencies]\nvertice-registry-client.workspace = true"),
            ("vertice-registry-api", "[build-dependencies]\nvertice-process.workspace = true"),
            ("vertice-sidecar", "[target.'cfg(unix)'.dependencies]\nvertice-gateway.workspace = true"),
            (
                "vertice-sidecar",
                "[dependencies]\nour = { package = \"vertice-gateway\", path = \"../gateway\" }",
            ),
            ("vertice-sidecar", "[dependencies]\nreqwest.workspace = true"),
            ("vertice-tests", "[dependencies]\nreqwest.workspace = true"),
            ("vertice-process", "[dev-dependencies]\nvertice-tests.workspace = true"),
            ("vertice-newcomer", ""),
        ] {
            assert_eq!(manifest(name, rest).len(), 1, "{name} {rest}");
        }
    }

    #[test]
    fn allowed_module_names() {
        for (path, source) in [
            ("route/mod.rs", "use crate::table::Table; use http::Method;"),
            ("route/spec.rs", "use crate::policy::RoutePolicies;"),
            ("route/find.rs", "use super::order; use crate::{table::{policy}, route};"),
            ("policy.rs", "// crate::route\n/* crate::route */ let a = \"crate::route\"; let c = '\"';"),
            ("policy.rs", "let a = r#\"crate::route \"quoted\" crate::tls\"#;"),
            ("http/pipeline.rs", "use crate::route; use crate::policy; use crate::upstream;"),
            ("app.rs", "use crate::{discovery, http, route, policy};"),
            ("main.rs", "use vertice_gateway::{discovery, http};"),
            ("http/mod.rs", "fn f(m: http::Method) {}"),
            ("tls.rs", "mod tests { use super::*; use super::super::tls; }"),
        ] {
            assert_eq!(module_violations(path, source), [""; 0], "{path} {source}");
        }
    }

    #[test]
    fn forbidden_module_names() {
        for (path, source) in [
            ("policy/mod.rs", "use crate::route::Route;"),
            ("route/find.rs", "let a = '\"'; crate :: balance :: pick()"),
            ("route/find.rs", "use super::super::tls;"),
            ("route.rs", "use super::tls;"),
            ("upstream/pool/lease.rs", "use crate::{table, balance::{self}};"),
            ("upstream/mod.rs", "use vertice_gateway::route;"),
            ("upstream/mod.rs", "use crate::*;"),
            ("discovery/mod.rs", "use crate::http::pipeline;"),
            ("http/connection.rs", "use crate::discovery;"),
            ("tls/mod.rs", "use super::{http, policy};"),
            ("tls/mod.rs", "mod tests { fn f() {} use super::super::route; }"),
            ("tls/mod.rs", "mod tests { fn f() {} } use super::*;"),
        ] {
            assert_eq!(module_violations(path, source).len(), 1, "{path} {source}");
        }
    }
}
