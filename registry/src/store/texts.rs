//! One copy of each text that many instances have in common: a zone, a version, who registered them.

use std::collections::BTreeSet;
use std::sync::Arc;

use vertice_registry_api::Instance;

/// Texts below which it is not worth looking for those that nobody has any more.
const FEW: usize = 1024;

/// Never more than twice as many as are in use, or a few.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: BTreeSet<Arc<str>>,
    look_at: usize,
}

impl Texts {
    /// Lets `instance` have the copies that others have.
    pub(super) fn share(&mut self, instance: &mut Instance) {
        let Instance { zone, version, registered_by, .. } = instance;
        for text in zone.iter_mut().chain(version).chain([registered_by]) {
            match self.known.get(&**text) {
                Some(known) => *text = known.clone(),
                None => self.keep(text.clone()),
            }
        }
    }

    fn keep(&mut self, text: Arc<str>) {
        if self.known.len() >= self.look_at.max(FEW) {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.look_at = self.known.len() * 2;
        }
        self.known.insert(text);
    }
}

#[cfg(test)]
mod tests {
    use vertice_registry_api::register::Registration;

    use super::*;
    use crate::store::{Registrant, Store, StoreLimits};

    #[test]
    fn equal_texts_are_one_and_what_nobody_has_any_more_is_forgotten() {
        let mut store =
            Store::new(StoreLimits::default(), vertice_registry_api::Epoch(7), 1, std::time::Duration::ZERO);
        let mut register = |id: &str, version: &str| {
            let body = format!(
                r#"{{"service_name":"osint_service","instance_id":"{id}","endpoint":"http://h:80","version":"{version}"}}"#
            );
            let wanted = Registration::from_old_body(body.as_bytes()).unwrap();
            let by = Registrant { name: "p", limited: true };
            store.register(wanted, by, std::time::Duration::ZERO, 0).unwrap();
            let held = store.get("osint_service", id).unwrap();
            (held.version.clone().unwrap(), held.registered_by.clone())
        };
        let (one, other) = (register("a", "1"), register("b", "1"));
        assert!(Arc::ptr_eq(&one.0, &other.0) && Arc::ptr_eq(&one.1, &other.1));
        // One instance that has very many versions after each other.
        let mut texts = Texts::default();
        let mut instance = (**store.get("osint_service", "a").unwrap()).clone();
        for version in 0..10 * FEW {
            instance.version = Some(version.to_string().into());
            texts.share(&mut instance);
        }
        assert!(texts.known.len() <= FEW + 1, "{}", texts.known.len());
    }
}
