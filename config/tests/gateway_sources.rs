//! Flags beat the environment, the environment beats the file, and each tells its own mistakes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use vertice_config::Env;
use vertice_config::gateway::{Flags, GatewayConfig, ListenAddress, Mistake, RegistryPlace, resolve};

const FILE: &str = "\
[[listener]]
address = \"127.0.0.1:1001\"
[[listener]]
address = \"127.0.0.1:1002\"
[admin]
address = \"127.0.0.1:1003\"
[registry]
url = \"http://file\"
request_timeout = \"3s\"
poll_interval = \"7s\"
";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn listening(text: &str) -> ListenAddress {
    text.parse().unwrap()
}

fn good(file: Option<&str>, env: &Env, flags: &Flags) -> GatewayConfig {
    resolve(file.map(|text| ("g.toml", text)), env, flags).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn bad(file: Option<&str>, env: &Env, flags: &Flags) -> Vec<String> {
    match resolve(file.map(|text| ("g.toml", text)), env, flags) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(mistakes) => mistakes.iter().map(Mistake::to_string).collect(),
    }
}

fn listeners(config: &GatewayConfig) -> Vec<ListenAddress> {
    config.listeners.iter().map(|listener| listener.address.clone()).collect()
}

fn registry(config: &GatewayConfig) -> String {
    match &config.registry.place {
        RegistryPlace::Embedded(address) => format!("embedded {address}"),
        RegistryPlace::Remote(url) => url.to_string(),
    }
}

#[test]
fn without_anything_it_is_ready_to_try_on_loopback() {
    let config = good(None, &Env::default(), &Flags::default());
    assert_eq!(listeners(&config), [listening("127.0.0.1:8000")]);
    assert_eq!(config.admin, Some(address("127.0.0.1:9901")));
    assert_eq!(registry(&config), "embedded 127.0.0.1:8888");
    assert!(config.registry.token.is_none());
    assert!(config.reason_header && config.routes.is_empty() && config.services.is_empty());
    assert!(config.trusted_proxies.is_empty() && config.access_log.is_none() && config.warnings.is_empty());
}

#[test]
fn each_source_beats_the_one_below_it() {
    let env = Env::from([
        ("GATEWAY_LISTEN", "127.0.0.1:2001"),
        ("GATEWAY_ADMIN", "127.0.0.1:2003"),
        ("VERTICE_REGISTRY_URL", "http://env"),
        ("REGISTRY_TIMEOUT", "0.5"),
        ("GATEWAY_CACHE_TTL", "9"),
    ]);
    let flags = Flags {
        listen: Some(listening("127.0.0.1:3001")),
        admin: Some(address("127.0.0.1:3003")),
        registry: Some("http://flag".into()),
        workers: Some(3),
        state_dir: Some("/flag".into()),
        ..Flags::default()
    };

    let config = good(Some(FILE), &Env::default(), &Flags::default());
    assert_eq!(listeners(&config), [listening("127.0.0.1:1001"), listening("127.0.0.1:1002")]);
    assert_eq!(config.admin, Some(address("127.0.0.1:1003")));
    assert_eq!(registry(&config), "http://file:80");
    assert_eq!(config.registry.request_timeout, Duration::from_secs(3));
    assert_eq!(config.registry.poll_interval, Duration::from_secs(7));

    let config = good(Some(FILE), &env, &Flags::default());
    assert_eq!(listeners(&config), [listening("127.0.0.1:2001")]);
    assert_eq!(config.admin, Some(address("127.0.0.1:2003")));
    assert_eq!(registry(&config), "http://env:80");
    assert_eq!(config.registry.request_timeout, Duration::from_millis(500));
    assert_eq!(config.registry.poll_interval, Duration::from_secs(9));

    let text = format!("workers = 2\nstate_dir = \"/file\"\n{FILE}");
    let config = good(Some(&text), &env, &flags);
    assert_eq!(listeners(&config), [listening("127.0.0.1:3001")]);
    assert_eq!(config.admin, Some(address("127.0.0.1:3003")));
    assert_eq!(registry(&config), "http://flag:80");
    assert_eq!((config.workers, config.state_dir), (Some(3), Some("/flag".into())));

    let embedded = Flags { embedded_registry: Some(address("127.0.0.1:3004")), ..Flags::default() };
    assert_eq!(registry(&good(Some(FILE), &env, &embedded)), "embedded 127.0.0.1:3004");
    let off = Env::from([("GATEWAY_ADMIN", "off")]);
    assert_eq!(good(Some(FILE), &off, &Flags::default()).admin, None);
}

#[test]
fn a_file_names_a_listener_unless_another_source_does() {
    let none = "[admin]\naddress = \"off\"\n";
    let flags = Flags { listen: Some(listening("127.0.0.1:0")), ..Flags::default() };
    assert_eq!(listeners(&good(Some(none), &Env::default(), &flags)), [listening("127.0.0.1:0")]);
    let env = Env::from([("GATEWAY_LISTEN", "127.0.0.1:0")]);
    assert_eq!(listeners(&good(Some(none), &env, &Flags::default())), [listening("127.0.0.1:0")]);
    let mistakes = bad(Some(none), &Env::default(), &Flags::default());
    assert_eq!(
        mistakes,
        ["g.toml:1:1: no listener is named, so no client could come in; add a section [[listener]] with \
          address = \"127.0.0.1:8000\", or give --listen 127.0.0.1:8000"]
    );
}

#[test]
fn the_token_is_the_first_that_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "from-file\n").unwrap();
    let in_file = format!("{FILE}token_file = {path:?}\n");
    let token = |file: &str, env: Env| {
        good(Some(file), &env, &Flags::default()).registry.token.map(|token| token.expose().to_owned())
    };
    let new = ("VERTICE_REGISTRY_TOKEN", "new");
    let old = ("REGISTRY_AUTH_TOKEN", "old");
    assert_eq!(token(&in_file, Env::from([new, old])).as_deref(), Some("new"));
    assert_eq!(token(&in_file, Env::from([old])).as_deref(), Some("old"));
    assert_eq!(token(&in_file, Env::default()).as_deref(), Some("from-file"));
    let by_path = Env::from([("REGISTRY_AUTH_TOKEN_FILE", path.to_str().unwrap())]);
    assert_eq!(token(FILE, by_path).as_deref(), Some("from-file"));
    assert_eq!(token(FILE, Env::default()), None);
    // What is not needed is not read: the file need not be there.
    let nowhere = format!("{FILE}token_file = \"/nonexistent\"\n");
    assert_eq!(token(&nowhere, Env::from([old])).as_deref(), Some("old"));
}

#[test]
fn mistakes_of_all_sources_come_at_once() {
    let env = Env::from([
        ("GATEWAY_LISTEN", "8000"),
        ("GATEWAY_ADMIN", "no"),
        ("VERTICE_REGISTRY_URL", "http://u:hunter2@registry"),
        ("VERTICE_REGISTRY_TOKEN", "hunter2"),
        ("VERTICE_REGISTRY_TOKEN_FILE", "/nonexistent"),
        ("REGISTRY_TIMEOUT", "0"),
        ("GATEWAY_CACHE_TTL", "5s"),
    ]);
    let flags = Flags {
        registry: Some("registry:8888".into()),
        embedded_registry: Some(address("127.0.0.1:1")),
        workers: Some(0),
        ..Flags::default()
    };
    let mistakes = bad(Some("workers = 0"), &env, &flags);
    assert_eq!(
        mistakes,
        [
            "g.toml:1:11: `workers` is 0; give a whole number from 1 to 1024",
            "environment variable GATEWAY_LISTEN=\"8000\": give an address and a port, like 0.0.0.0:8000, or unix:PATH",
            "environment variable GATEWAY_ADMIN=\"no\": give an address and a port, like 127.0.0.1:9901, or off",
            "environment variable VERTICE_REGISTRY_URL=\"[not shown]\": has a user or password (not shown); \
             a URL here has none",
            "environment variable VERTICE_REGISTRY_TOKEN_FILE=\"/nonexistent\": VERTICE_REGISTRY_TOKEN is set as \
             well: set one of the two",
            "environment variable REGISTRY_TIMEOUT=\"0\": give seconds from 0.001 to 86400, like 2 or 0.5",
            "environment variable GATEWAY_CACHE_TTL=\"5s\": give seconds from 0.001 to 86400, like 2 or 0.5",
            "flag --workers 0: give a whole number from 1 to 1024",
            "flag --registry registry:8888: breaks a rule: a URL is http(s)://host[:port][/path], 'registry:8888' is \
             not: it does not start with http:// or https://",
            "flag --embedded-registry 127.0.0.1:1: --registry is given as well: give one of the two",
        ]
    );
    for value in ["NaN", "inf", "-1", "1e300"] {
        let env = Env::from([("REGISTRY_TIMEOUT", value)]);
        assert_eq!(bad(None, &env, &Flags::default()).len(), 1, "{value}");
    }
}

#[test]
fn one_address_is_given_to_one_thing_whoever_says_it() {
    let flags = |listen: &str| Flags { listen: Some(listening(listen)), ..Flags::default() };
    assert_eq!(
        bad(None, &Env::default(), &flags("0.0.0.0:8888")),
        ["flag --listen 0.0.0.0:8888: the address of a listener is taken by the embedded registry \
          (127.0.0.1:8888); give each its own port"]
    );
    let env = Env::from([("GATEWAY_ADMIN", "127.0.0.1:8000")]);
    assert_eq!(
        bad(None, &env, &Flags::default()),
        [
            "environment variable GATEWAY_ADMIN=\"127.0.0.1:8000\": the address of the admin listener is taken by \
          the default listener (127.0.0.1:8000); give each its own port"
        ]
    );
    let env = Env::from([("VERTICE_REGISTRY_URL", "http://registry")]);
    good(None, &env, &flags("127.0.0.1:8888"));
    good(None, &Env::default(), &flags("[::]:8888"));
}

#[test]
fn fallbacks_of_the_environment_fill_what_the_file_leaves_open() {
    let text = format!(
        "{FILE}[[service]]\nname = \"core\"\nfallback = [\"http://file:1\"]\n[[service]]\nname = \"quiet\"\nfallback = []\n\
         [[service]]\nname = \"secure\"\ntls = {{}}\n"
    );
    let env = Env::from([
        ("CORE_URL", "http://env:1"),
        ("QUIET_URL", "http://env:2"),
        ("SECURE_URL", "https://env:4"),
        ("OTHER_ENDPOINT", "http://env:3"),
        ("STORE_URL", "redis://store:6379"),
    ]);
    let config = good(Some(&text), &env, &Flags::default());
    let shown: Vec<String> = config
        .services
        .iter()
        .map(|service| {
            let urls: Vec<String> = service.fallback.iter().flatten().map(ToString::to_string).collect();
            format!("{}: {}", service.name, urls.join(" "))
        })
        .collect();
    assert_eq!(shown, ["core: http://file:1", "quiet: ", "secure: https://env:4", "other: http://env:3"]);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}
