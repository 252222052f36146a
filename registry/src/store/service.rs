//! One name with its instances, and which of them the old read call shows.

use std::collections::BTreeMap;

use vertice_registry_api::InstanceId;
use vertice_registry_api::name::LEGACY_INSTANCE;

#[derive(Debug, Default)]
pub(super) struct ServiceRecord {
    /// Slots by id.
    pub(super) instances: BTreeMap<InstanceId, u32>,
    /// Whom the old read call showed last: it is kept until it leaves, so that an old client does not jump about.
    shown: Option<InstanceId>,
}

impl ServiceRecord {
    /// The slot to show: `@legacy` if it is up, else the one shown before if it is, else the first that is.
    pub(super) fn show(&mut self, is_up: impl Fn(u32) -> bool) -> Option<u32> {
        let up = |id: &str| self.instances.get(id).copied().filter(|slot| is_up(*slot));
        if let Some(slot) = up(LEGACY_INSTANCE) {
            return Some(slot);
        }
        if let Some(slot) = self.shown.as_ref().and_then(|id| up(id.as_str())) {
            return Some(slot);
        }
        let first = self.instances.iter().find(|(_, slot)| is_up(**slot));
        let (shown, slot) = first.map(|(id, slot)| (id.clone(), *slot)).unzip();
        self.shown = shown;
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ids: &[&str]) -> ServiceRecord {
        let slots = ids.iter().zip(0..).map(|(id, slot)| (InstanceId::parse(id).unwrap(), slot)).collect();
        ServiceRecord { instances: slots, shown: None }
    }

    #[test]
    fn the_shown_one_is_kept_until_it_leaves() {
        let mut record = record(&["b", "c"]);
        assert_eq!(record.show(|_| true), Some(0));
        record.instances.insert(InstanceId::parse("a").unwrap(), 7);
        assert_eq!(record.show(|_| true), Some(0), "a newcomer before it changes nothing");
        assert_eq!(record.show(|slot| slot != 0), Some(7), "it is not up any more");
        assert_eq!(record.show(|_| true), Some(7), "and its return changes nothing either");
        assert_eq!(record.show(|_| false), None);
    }

    #[test]
    fn an_old_client_comes_first_while_it_is_up() {
        let mut record = record(&["a", "@legacy"]);
        assert_eq!(record.show(|_| true), Some(1));
        assert_eq!(record.show(|slot| slot != 1), Some(0));
        assert_eq!(record.show(|_| true), Some(1));
    }
}
