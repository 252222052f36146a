//! Header fields that an operator wants set, added or removed. Which ones can be named is checked with the configuration.

use http::HeaderMap;
use vertice_config::gateway::HeaderEdit;

/// Changes `headers`, in the order of `edits`.
pub fn apply(edits: &[HeaderEdit], headers: &mut HeaderMap) {
    for edit in edits {
        match edit {
            HeaderEdit::Remove(name) => {
                headers.remove(name);
            }
            HeaderEdit::Set(name, value) => {
                headers.insert(name, value.clone());
            }
            HeaderEdit::Add(name, value) => {
                headers.append(name, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vertice_config::gateway::reserved;

    use crate::fields::{is_for_one_hop, is_ours};

    #[test]
    fn no_configuration_can_name_what_is_the_gateways_own_or_one_connections() {
        for name in [
            "x-forwarded-for",
            "x_forwarded_proto",
            "x-forwarded-anything",
            "forwarded",
            "x-real-ip",
            "x_real_ip",
            "x-request-id",
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
            "expect",
            "proxy-authorization",
            "http2-settings",
        ] {
            assert!(is_ours(name) || is_for_one_hop(name), "{name}");
            assert!(reserved(name).is_some(), "{name}");
        }
        for name in ["authorization", "cookie", "set-cookie", "x-tenant", "server", "location"] {
            assert_eq!(reserved(name), None, "{name}");
        }
    }
}
