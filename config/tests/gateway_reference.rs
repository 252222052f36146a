//! The reference page and the example say what the code does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use vertice_config::Env;
use vertice_config::gateway::{Flags, GatewayConfig, reference, resolve};
use vertice_config::keys::{Key, SectionKeys};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/config.md");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/gateway.toml");

fn load(text: &str) -> GatewayConfig {
    resolve(Some(("g.toml", text)), &Env::default(), &Flags::default()).unwrap_or_else(|mistakes| {
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{text}\n{}", shown.join("\n"))
    })
}

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
    let listener =
        if section.header == "[[listener]]" { "" } else { "[[listener]]\naddress = \"127.0.0.1:1\"\n" };
    if section.header.is_empty() {
        format!("{line}{listener}")
    } else {
        format!("{listener}{parent}{}\n{body}{line}", section.header)
    }
}

fn keys() -> impl Iterator<Item = (&'static SectionKeys, &'static Key)> {
    reference::SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)))
}

#[test]
fn every_example_of_the_page_is_accepted_and_changes_something() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "t").unwrap();
    for (section, key) in keys() {
        let example = if key.name == "token_file" { format!("{token:?}") } else { key.example.to_owned() };
        let with = file_with(section, key, &example);
        let without = with.replace(&format!("{} = {example}\n", key.name), "");
        let plain = resolve(Some(("g.toml", &without)), &Env::default(), &Flags::default());
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
