//! Files and environment.

use vertice_config::Env;
use vertice_config::gateway::{Flags, resolve};
use vertice_config::registry::{parse_tokens, single_token};
use vertice_config::sidecar::SidecarConfig;

use crate::Target;

pub(super) const GATEWAY_FILE: Target = Target {
    name: "gateway_file",
    what: "the gateway's configuration file",
    feed: gateway_file,
    words: &[
        "[[listener]]\n",
        "address = ",
        "[admin]\n",
        "[registry]\n",
        "url = ",
        "embedded = ",
        "[limits]\n",
        "[timeouts]\n",
        "[health]\n",
        "[[service]]\n",
        "name = ",
        "fallback = ",
        "[[route]]\n",
        "prefix = ",
        "path = ",
        "host = ",
        "methods = ",
        "headers = ",
        "service = ",
        "strip_prefix = true\n",
        "replace_prefix = ",
        "timeouts = ",
        "\"127.0.0.1:0\"",
        "\"1s\"",
        "\"64KiB\"",
        "\"*.a.b\"",
        "\"/a\"",
        "\"\"\"",
        "'''",
        "{",
        "}",
        "\\u0000",
        "workers = ",
    ],
};

fn gateway_file(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let env = Env::from([]);
    let first = resolve(Some(("fed.toml", &text)), &env, &Flags::default());
    let second = resolve(Some(("fed.toml", &text)), &env, &Flags::default());
    match (first, second) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first, second, "the same file means the same");
            format!("ok with {} routes", first.routes.len())
        }
        (Err(mistakes), Err(_)) => {
            assert!(!mistakes.is_empty(), "a refusal has a reason");
            mistakes.iter().map(|mistake| format!("{mistake}; ")).collect()
        }
        _ => panic!("the same file is taken once and refused once"),
    }
}

pub(super) const ENVIRONMENT: Target = Target {
    name: "environment",
    what: "the environment of gateway, sidecar and registry, NAME=VALUE by lines",
    feed: environment,
    words: &[
        "GATEWAY_LISTEN=",
        "GATEWAY_ADMIN=",
        "VERTICE_REGISTRY_URL=",
        "VERTICE_REGISTRY_TOKEN=",
        "REGISTRY_AUTH_TOKEN=",
        "REGISTRY_TIMEOUT=",
        "GATEWAY_CACHE_TTL=",
        "OSINT_SERVICE_URL=",
        "A_ENDPOINT=",
        "SERVICE_NAME=",
        "SERVICE_HOST=",
        "SERVICE_PORT=",
        "REGISTRY_URL=",
        "http://a:1",
        "127.0.0.1:80",
        "off",
        "\n",
        "nan",
        "inf",
        "1e309",
        "-0",
    ],
};

fn environment(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    // A token file would be read from the disk: what is fed names none.
    let pairs = pairs.filter(|(name, _)| !name.ends_with("_FILE"));
    let env: Env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut answer = String::new();
    match resolve(None, &env, &Flags::default()) {
        Ok(config) => answer.push_str(&format!("gateway ok, {} services; ", config.services.len())),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            answer.extend(mistakes.iter().map(|mistake| format!("{mistake}; ")));
        }
    }
    match SidecarConfig::from_env(&env) {
        Ok(_) => answer.push_str("sidecar ok; "),
        Err(errors) => answer.extend(errors.iter().map(|error| format!("{error}; "))),
    }
    match single_token(&env) {
        Ok(token) => answer.push_str(&format!("token {}; ", token.is_some())),
        Err(error) => answer.push_str(&format!("{error}; ")),
    }
    answer
}

pub(super) const TOKENS: Target = Target {
    name: "tokens",
    what: "the registry's file of tokens",
    feed: tokens,
    words: &[
        "[[token]]\n",
        "name = ",
        "sha256 = ",
        "services = ",
        "[\"*\"]",
        "admin = true\n",
        "\"a\"",
        "[\"a*\"]",
    ],
};

fn tokens(input: &[u8]) -> String {
    match parse_tokens("tokens.toml", &String::from_utf8_lossy(input)) {
        Ok(tokens) => format!("ok, {} tokens", tokens.len()),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            mistakes.iter().map(|mistake| format!("{mistake}; ")).collect()
        }
    }
}
