//! What no client may say on any route, because on some route services believe it.

use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderName;

use super::api_key::ApiKeys;

/// Fields that policies set, and keys that are ours. A route without policies, or `/v2/`, may lead to the same service.
#[derive(Debug)]
pub struct Guard {
    /// With dashes where there could be underscores.
    names: Vec<String>,
    keys: Arc<ApiKeys>,
}

impl Guard {
    /// `None`: there is nothing to guard.
    pub fn of<'a>(names: impl Iterator<Item = &'a HeaderName>, keys: Arc<ApiKeys>) -> Option<Self> {
        let mut names: Vec<String> = names.map(|name| plain(name.as_str())).collect();
        names.sort_unstable();
        names.dedup();
        (!names.is_empty() || !keys.is_empty()).then_some(Self { names, keys })
    }

    /// Takes all of it out of the head of a request.
    pub fn strip(&self, headers: &mut HeaderMap) {
        if !self.names.is_empty() {
            let bad: Vec<HeaderName> =
                headers.keys().filter(|name| self.names.contains(&plain(name.as_str()))).cloned().collect();
            for name in bad {
                headers.remove(name);
            }
        }
        if !self.keys.is_empty() {
            self.keys.hide_ours(headers);
        }
    }
}

/// As services read it: many take an underscore for a dash.
fn plain(name: &str) -> String {
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_policies_set_is_taken_from_clients_in_every_spelling() {
        let own = [HeaderName::from_static("x-user-id"), HeaderName::from_static("x_tenant")];
        let guard = Guard::of(own.iter(), Arc::default()).unwrap();
        let mut headers = HeaderMap::new();
        for name in ["x-user-id", "x_user_id", "x-user_id", "x-tenant", "x_tenant", "x-users-id"] {
            headers.append(HeaderName::from_static(name), "1".parse().unwrap());
            headers.append(HeaderName::from_static(name), "2".parse().unwrap());
        }
        guard.strip(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-users-id"]);
        assert!(Guard::of(std::iter::empty(), Arc::default()).is_none());
    }
}
