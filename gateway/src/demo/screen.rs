//! The texts of the interactive demo: what runs, what to try, what is going on. Pure.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::parts::{PAIR, Parts};

/// What runs, as a table.
pub(super) fn running(parts: &Parts) -> String {
    let mut lines =
        vec![format!("  {:<2} {:<22} {:<16} {:<17} {}", "#", "service", "instance", "address", "state")];
    for (index, instance) in parts.instances.iter().enumerate() {
        let address = instance.address.to_string();
        let (service, id, state) = (instance.service, instance.id, instance.state());
        lines.push(format!("  {:<2} {service:<22} {id:<16} {address:<17} {state}", index + 1));
    }
    lines.join("\n")
}

/// What to try, with lines to copy. `own_port` is where a service of the person's own could listen.
pub(super) fn welcome(parts: &Parts, own_port: u16) -> String {
    let (gateway, admin, registry) = (parts.places.gateway, parts.places.admin, parts.places.registry);
    let (sidecar, this) = (quoted(&parts.programs.sidecar), quoted(&parts.programs.gateway));
    let explain_where = if admin.port() == 9901 { String::new() } else { format!(" --admin {admin}") };
    format!(
        "
Everything is up, on this machine only. The logs of all parts are in {logs}

{table}

Plug in a service of your own, here one that shows the files of a folder:

  python3 -m http.server {own_port} --bind 127.0.0.1 &
  curl http://{registry}/register -H 'content-type: application/json' \\
       -d '{{\"service_name\": \"my_service\", \"endpoint\": \"http://127.0.0.1:{own_port}\", \"health_endpoint\": \"/\"}}'
  curl http://{gateway}/v2/my_service/

  That lasts a minute. A sidecar keeps it for as long as the service is healthy:

  {sidecar} --service-name my_service \\
      --service-host 127.0.0.1 --service-port {own_port} --service-health-endpoint / \\
      --registry-url http://{registry}

Look behind it:

  {this} explain GET http://{gateway}/v2/{PAIR}/hello{explain_where}
  http://{admin}/services   every endpoint, its state, how old the truth is   (also /table /metrics /ready)

{help}

Now try this in another terminal, again and again: it is one instance or the other.

  curl http://{gateway}/v2/{PAIR}/hello

  The other services, by their names:

  curl 'http://{gateway}/v2/maximus_core_service/api/status?verbose=1'
  curl -d 'any body' http://{gateway}/v2/ip_intel_service/query_ip
",
        logs = parts.logs().display(),
        table = running(parts),
        help = help(),
    )
}

/// What can be typed here.
pub(super) fn help() -> &'static str {
    "Type here, while you ask for answers there:

  stop 1          an instance stops in order, its sidecar deregisters it       (back: start 1)
  kill 2          an instance is gone without a word, the gateway finds out    (back: start 2)
  registry stop   the registry is killed, traffic goes on, ages grow           (back: registry start)
  gateway restart the gateway starts anew, without a registry from its disk
  status          what the gateway knows, and how old that is
  quit            takes everything down in order; so does Ctrl-C"
}

/// The gateway's admin page `/services`, for people.
pub(super) fn status(page: &Value) -> String {
    let at = |value: &Value, pointer: &str| value.pointer(pointer).cloned().unwrap_or_default();
    let word = |value: &Value, pointer: &str| at(value, pointer).as_str().unwrap_or("-").to_owned();
    let age = |value: &Value, pointer: &str| match at(value, pointer).as_f64() {
        Some(age) => format!("vouched for {age:.1} s ago"),
        None => "never vouched for".to_owned(),
    };
    let reachable = match at(page, "/registry/source/reachable").as_bool() {
        Some(true) => "reachable",
        Some(false) | None => "NOT reachable, the last known good serves on",
    };
    let mut lines = vec![format!(
        "  registry {}: {reachable}; {}; table generation {}",
        word(page, "/registry/url"),
        age(page, "/registry/source/age_seconds"),
        at(page, "/generation")
    )];
    for service in list(page, "services") {
        lines.push(format!("  {:<22} {}", word(service, "/name"), age(service, "/last_proof_age_seconds")));
        for endpoint in list(service, "endpoints") {
            let takes = at(endpoint, "/takes_requests").as_bool() == Some(true);
            let takes = if takes { "takes requests" } else { "takes none" };
            let held = at(endpoint, "/held").as_str().map(|why| format!(", held: {why}")).unwrap_or_default();
            let (instance, url, status) =
                (word(endpoint, "/instance"), word(endpoint, "/url"), word(endpoint, "/status"));
            lines.push(format!("     {instance:<19} {url}  {status}, {takes}{held}"));
        }
    }
    lines.join("\n")
}

/// A line to ask for the answers of the pair with.
pub(super) fn ask_the_pair(gateway: SocketAddr) -> String {
    format!("curl http://{gateway}/v2/{PAIR}/hello")
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A path as a shell wants it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_quoted_where_a_shell_would_read_them_otherwise() {
        assert_eq!(quoted(Path::new("/a/b-c_1.d")), "/a/b-c_1.d");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn status_shows_age_and_state() {
        let page = json!({
            "generation": 7,
            "registry": {"url": "http://127.0.0.1:8888", "source": {"reachable": false, "age_seconds": 3.25}},
            "services": [{
                "name": "osint_service",
                "last_proof_age_seconds": 3.25,
                "endpoints": [
                    {"instance": "osint-1", "url": "http://127.0.0.1:1", "status": "up", "takes_requests": true, "held": null},
                    {"instance": "osint-2", "url": "http://127.0.0.1:2", "status": "down", "takes_requests": false},
                ],
            }],
        });
        let text = status(&page);
        for part in ["NOT reachable", "3.2 s ago", "generation 7", "up, takes requests", "down, takes none"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
