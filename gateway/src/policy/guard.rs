//! What no client may say on any route, because on some route services believe it.

use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderName;

use super::api_key::ApiKeys;
use crate::fields::OwnFields;

/// Fields that policies set, and keys that are ours. A route without policies, or `/v2/`, may lead to the same service.
#[derive(Debug)]
pub struct Guard {
    fields: Arc<OwnFields>,
    keys: Arc<ApiKeys>,
}

impl Guard {
    /// `None`: there is nothing to guard.
    pub fn of<'a>(names: impl Iterator<Item = &'a HeaderName>, keys: Arc<ApiKeys>) -> Option<Self> {
        let fields = Arc::new(OwnFields::of(names));
        (!fields.is_empty() || !keys.is_empty()).then_some(Self { fields, keys })
    }

    /// Takes all of it out of the head of a request.
    pub fn strip(&self, headers: &mut HeaderMap) {
        self.fields.strip(headers);
        if !self.keys.is_empty() {
            self.keys.hide_ours(headers);
        }
    }

    /// What is to be taken out of trailers as well.
    pub fn fields(&self) -> &Arc<OwnFields> {
        &self.fields
    }
}
