//! What of a configuration cannot be changed in a running process. Pure.

use vertice_config::gateway::{GatewayConfig, RegistryConfig, RegistryPlace};

/// What `wanted` has changed and only a new process can have; a line each, naming the key. Everything else can be applied
/// while requests are served.
pub fn needs_a_new_process(running: &GatewayConfig, wanted: &GatewayConfig) -> Vec<String> {
    let registry = |of: fn(&RegistryConfig, &RegistryConfig) -> bool| of(&running.registry, &wanted.registry);
    let rows = [
        ("workers", running.workers == wanted.workers),
        ("state_dir", running.state_dir == wanted.state_dir),
        ("upgrade_socket", running.upgrade_socket == wanted.upgrade_socket),
        ("admin.address", running.admin == wanted.admin),
        ("registry.url", registry(|a, b| a.place == b.place)),
        (
            "the token of the embedded registry",
            registry(|a, b| a.token == b.token || matches!(b.place, RegistryPlace::Remote(_))),
        ),
        ("registry.request_timeout", registry(|a, b| a.request_timeout == b.request_timeout)),
        ("registry.poll_interval", registry(|a, b| a.poll_interval == b.poll_interval)),
        ("registry.stale_after", registry(|a, b| a.stale_after == b.stale_after)),
    ];
    let changed = rows.into_iter().filter(|(_, same)| !same);
    changed
        .map(|(what, _)| {
            format!("{what} has changed, which needs a restart or an upgrade in place; nothing was applied")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use vertice_config::Env;
    use vertice_config::gateway::{Flags, resolve};

    use super::*;

    fn config(text: &str) -> GatewayConfig {
        let text = format!("{text}\n[[listener]]\naddress = \"127.0.0.1:0\"\n");
        resolve(Some(("test", &text)), &Env::default(), &Flags::default()).unwrap()
    }

    #[test]
    fn what_only_a_new_process_can_have_is_named() {
        let start = config("");
        for (text, what) in [
            ("workers = 3", "workers"),
            ("state_dir = \"/tmp/x\"\nupgrade_socket = \"/tmp/y\"", "state_dir"),
            ("upgrade_socket = \"/tmp/y\"", "upgrade_socket"),
            ("[admin]\naddress = \"off\"", "admin.address"),
            ("[registry]\nurl = \"http://registry\"", "registry.url"),
            ("[registry]\nrequest_timeout = \"1s\"", "registry.request_timeout"),
            ("[registry]\npoll_interval = \"1s\"", "registry.poll_interval"),
            ("[registry]\nstale_after = \"1h\"", "registry.stale_after"),
        ] {
            let lines = needs_a_new_process(&start, &config(text));
            assert!(lines.first().is_some_and(|line| line.starts_with(what)), "{text}: {lines:?}");
        }
        for text in [
            "",
            "trusted_proxies = [\"10.0.0.0/8\"]",
            "[limits]\nconnections = 5",
            "[health]\nactive = false",
            "[registry]\nwhen_stale = \"refuse\"",
            "[[listener]]\naddress = \"127.0.0.1:1\"",
        ] {
            assert_eq!(needs_a_new_process(&start, &config(text)), Vec::<String>::new(), "{text}");
        }
    }
}
