//! One name with its instances, and which of them the old read call shows.

use vertice_registry_api::name::LEGACY_INSTANCE;

use super::order::Order;

#[derive(Debug, Default)]
pub(super) struct ServiceRecord {
    /// Slots by id.
    pub(super) instances: Order,
    /// Whom the old read call showed last: it is kept until it leaves, so that an old client does not jump about.
    shown: Option<Box<[u8]>>,
}

impl ServiceRecord {
    /// The slot to show: `@legacy` if it is up, else the one shown before if it is, else the first that is.
    pub(super) fn show<'i>(
        &mut self,
        is_up: impl Fn(u32) -> bool,
        id_of: impl Fn(u32) -> &'i [u8],
    ) -> Option<u32> {
        let up = |id: &[u8]| self.instances.get(id, &id_of).filter(|slot| is_up(*slot));
        if let Some(slot) = up(LEGACY_INSTANCE.as_bytes()) {
            return Some(slot);
        }
        if let Some(slot) = self.shown.as_ref().and_then(|id| up(id)) {
            return Some(slot);
        }
        let first = self.instances.iter().find(|slot| is_up(*slot));
        self.shown = first.map(|slot| id_of(slot).into());
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 4] = ["a", "b", "c", LEGACY_INSTANCE];

    fn id_of(slot: u32) -> &'static [u8] {
        IDS[usize::try_from(slot).unwrap()].as_bytes()
    }

    fn record(slots: &[u32]) -> ServiceRecord {
        let mut record = ServiceRecord::default();
        for slot in slots {
            record.instances.insert(*slot, id_of);
        }
        record
    }

    #[test]
    fn the_shown_one_is_kept_until_it_leaves() {
        let mut record = record(&[1, 2]);
        assert_eq!(record.show(|_| true, id_of), Some(1));
        record.instances.insert(0, id_of);
        assert_eq!(record.show(|_| true, id_of), Some(1), "a newcomer before it changes nothing");
        assert_eq!(record.show(|slot| slot != 1, id_of), Some(0), "it is not up any more");
        assert_eq!(record.show(|_| true, id_of), Some(0), "and its return changes nothing either");
        assert_eq!(record.show(|_| false, id_of), None);
    }

    #[test]
    fn an_old_client_comes_first_while_it_is_up() {
        let mut record = record(&[0, 3]);
        assert_eq!(record.show(|_| true, id_of), Some(3));
        assert_eq!(record.show(|slot| slot != 3, id_of), Some(0));
        assert_eq!(record.show(|_| true, id_of), Some(3));
    }
}
