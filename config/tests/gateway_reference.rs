//! The reference page and the example say what the code does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use vertice_config::Env;
use vertice_config::gateway::{Flags, GatewayConfig, reference, resolve};
use vertice_config::keys::{Key, SectionKeys};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/config.md");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/gateway.toml");

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn env() -> Env {
    Env::from([("CI_API_KEY", SECRET), ("JWT_SECRET_KEY", SECRET)])
}

fn load(text: &str) -> GatewayConfig {
    resolve(Some(("g.toml", text)), &env(), &Flags::default()).unwrap_or_else(|mistakes| {
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{text}\n{}", shown.join("\n"))
    })
}

/// Of another key than [`SECRET`].
const SHA256: &str = "\"0000000000000000000000000000000000000000000000000000000000000000\"";

/// The smallest file in which `line` of `section` can stand.
fn file_with(section: &SectionKeys, key: &Key, value: &str) -> String {
    let line = format!("{} = {value}\n", key.name);
    // What the section cannot do without, unless it is the key itself.
    let base: &[(&str, &str)] = match section.header {
        "[[listener]]" if key.name == "mode" => &[("address", "\"unix:/s\"")],
        "[[listener]]" => &[("address", "\"127.0.0.1:1\"")],
        "[listener.tls]" => &[("directory", "\"/d\""), ("client_ca", "\"/ca\"")],
        "[upstream_tls]" | "[service.tls]" => &[("client_cert", "\"/c\""), ("client_key", "\"/k\"")],
        "[[service]]" => &[("name", "\"ab\""), ("fallback", "[]")],
        "[[route]]" => &[("name", "\"r\""), ("service", "\"ab\""), ("prefix", "\"/x\"")],
        "[[api_key]]" if matches!(key.name, "key_file" | "key_env") => &[("name", "\"k\"")],
        "[[api_key]]" => &[("name", "\"k\""), ("sha256", SHA256)],
        "[jwt.NAME]" if matches!(key.name, "secret_env" | "secret_file") => &[("algorithms", "[\"HS256\"]")],
        "[jwt.NAME]" if key.name == "algorithms" => &[("secret_env", "\"JWT_SECRET_KEY\"")],
        "[jwt.NAME]" if matches!(key.name, "jwks_file" | "jwks_url") => &[("algorithms", "[\"ES256\"]")],
        "[jwt.NAME]" => &[("jwks_file", "\"/j\""), ("algorithms", "[\"ES256\"]")],
        "[forward_auth.NAME]" => &[("service", "\"ab\"")],
        "[cors.NAME]" => &[("origins", "[\"https://a\"]")],
        "[rate_limit.NAME]" => &[("requests", "10"), ("per", "\"1s\"")],
        "[rate_limit_store]" => &[("url", "\"redis://r\"")],
        "[ip.NAME]" => &[("deny", "[]"), ("allow", "[\"192.0.2.0/24\"]")],
        _ => &[],
    };
    let mut body = String::new();
    for (name, value) in base {
        let replaced = *name == key.name
            || (*name == "prefix" && key.name == "path")
            || (*name == "service" && matches!(key.name, "redirect" | "answer"));
        if !replaced {
            body = format!("{body}{name} = {value}\n");
        }
    }
    // A section of a list's last item stands below it.
    let parent = if section.header == "[service.tls]" { "[[service]]\nname = \"ab\"\n" } else { "" };
    // What a key may name; it must be used whatever the key says.
    let named = |definition: &str| {
        format!("{definition}\n[[route]]\nname = \"u\"\nprefix = \"/u\"\nservice = \"ab\"\n{}", key.name)
    };
    let named = match (section.header, key.name) {
        (_, "ip") => named("[ip.office]\nallow = [\"192.0.2.0/24\"]") + " = \"office\"\n",
        (_, "cors") => named("[cors.web]\norigins = [\"https://a\"]") + " = \"web\"\n",
        (_, "rate_limits") => {
            named("[rate_limit.per-client]\nrequests = 1\nper = \"1s\"") + " = [\"per-client\"]\n"
        }
        ("[rate_limit.NAME]", "shared") => "[rate_limit_store]\nurl = \"redis://r\"\n".to_owned(),
        _ => String::new(),
    };
    let listener =
        if section.header == "[[listener]]" { "" } else { "[[listener]]\naddress = \"127.0.0.1:1\"\n" };
    if section.header.is_empty() {
        format!("{line}{listener}")
    } else {
        // What is defined must be used.
        let user = match section.header {
            "[[api_key]]" => "[policies]\nauth = { api_key = true }\n",
            "[jwt.NAME]" => "[policies]\nauth = { jwt = \"NAME\" }\n",
            "[forward_auth.NAME]" => "[policies]\nauth = { forward = \"NAME\" }\n",
            "[cors.NAME]" => "[policies]\ncors = \"NAME\"\n",
            "[rate_limit.NAME]" => "[policies]\nrate_limits = [\"NAME\"]\n",
            "[ip.NAME]" => "[policies]\nip = \"NAME\"\n",
            _ => "",
        };
        format!("{listener}{parent}{named}{}\n{body}{line}{user}", section.header)
    }
}

fn keys() -> impl Iterator<Item = (&'static SectionKeys, &'static Key)> {
    reference::SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)))
}

#[test]
fn every_example_of_the_page_is_accepted_and_changes_something() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, SECRET).unwrap();
    for (section, key) in keys() {
        let example = if ["token_file", "key_file", "secret_file", "password_file"].contains(&key.name) {
            format!("{token:?}")
        } else {
            key.example.to_owned()
        };
        let with = file_with(section, key, &example);
        let without = with.replace(&format!("{} = {example}\n", key.name), "");
        let plain = resolve(Some(("g.toml", &without)), &env(), &Flags::default());
        let changed = plain.is_err() || format!("{:?}", load(&with)) != format!("{:?}", plain.unwrap());
        assert!(changed, "{} of {} changes nothing", key.name, section.header);
    }
}

#[test]
fn every_default_of_the_page_is_what_leaving_the_key_out_means() {
    for (section, key) in keys() {
        let Some(default) = key.default else { continue };
        let with = file_with(section, key, default);
        let without = with.replace(&format!("{} = {default}\n", key.name), "");
        // A section that says nothing at all can be a mistake of its own.
        let without = if matches!(section.header, "[admin]" | "[access_log]") {
            without.replace(&format!("{}\n", section.header), "")
        } else {
            without
        };
        assert_eq!(format!("{:?}", load(&with)), format!("{:?}", load(&without)), "{}", key.name);
    }
}

#[test]
fn the_page_is_up_to_date() {
    let page = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        page == reference::markdown(),
        "docs/reference/config.md is stale; make it again with:\n\
         cargo run -p vertice-config --example config-reference > docs/reference/config.md"
    );
}

#[test]
fn the_example_loads_without_a_mistake() {
    let config = load(&std::fs::read_to_string(EXAMPLE).unwrap());
    assert_eq!(config.routes.len(), 3);
    assert!(config.warnings.is_empty());
}
