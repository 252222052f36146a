//! Slots in the order of the ids of what they hold. The ids themselves stand in the slots only, so that an entry is four
//! bytes. In pieces, so that an entry in the middle of a million moves a piece and not all.

use std::cmp::Ordering;

/// Entries of a piece; a full one is cut in two.
const PIECE: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Order {
    /// None is empty.
    pieces: Vec<Vec<u32>>,
    len: usize,
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.pieces.iter().flatten().copied()
    }

    /// The slot of `id`, where `id_of` says what slots hold.
    pub(super) fn get<'i>(&self, id: &[u8], id_of: impl Fn(u32) -> &'i [u8]) -> Option<u32> {
        let (piece, at) = self.place(id, id_of);
        self.pieces.get(piece)?.get(at.ok()?).copied()
    }

    /// Takes `slot` in, whose id is not in here yet.
    pub(super) fn insert<'i>(&mut self, slot: u32, id_of: impl Fn(u32) -> &'i [u8]) {
        let id = id_of(slot);
        let (mut piece, at) = self.place(id, id_of);
        let Err(mut at) = at else { return };
        self.len += 1;
        let Some(full) = self.pieces.get_mut(piece) else {
            self.pieces.push(vec![slot]);
            return;
        };
        if full.len() >= PIECE {
            // What comes in order fills its pieces.
            let cut = if at == full.len() { at } else { PIECE / 2 };
            let rest = full.split_off(cut);
            self.pieces.insert(piece + 1, rest);
            if at >= cut {
                (piece, at) = (piece + 1, at - cut);
            }
        }
        if let Some(piece) = self.pieces.get_mut(piece) {
            piece.insert(at, slot);
        }
    }

    /// Forgets `id`, which its slot must still hold.
    pub(super) fn remove<'i>(&mut self, id: &[u8], id_of: impl Fn(u32) -> &'i [u8]) {
        let (at_piece, Ok(at)) = self.place(id, id_of) else { return };
        let Some(piece) = self.pieces.get_mut(at_piece) else { return };
        piece.remove(at);
        self.len -= 1;
        if piece.is_empty() {
            self.pieces.remove(at_piece);
        }
    }

    /// The piece in which `id` is or would be, and where in it.
    fn place<'i>(&self, id: &[u8], id_of: impl Fn(u32) -> &'i [u8]) -> (usize, Result<usize, usize>) {
        if let Some((last, piece)) = self.pieces.last().zip(self.pieces.len().checked_sub(1))
            && last.last().is_some_and(|slot| id_of(*slot) < id)
        {
            return (piece, Err(last.len()));
        }
        let begins_before = |piece: &Vec<u32>| piece.first().is_some_and(|slot| id_of(*slot) <= id);
        let at = self.pieces.partition_point(begins_before).saturating_sub(1);
        let search = |slot: &u32| -> Ordering { id_of(*slot).cmp(id) };
        (at, self.pieces.get(at).map_or(Err(0), |piece| piece.binary_search_by(search)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_a_sorted_map() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let ids: Vec<Vec<u8>> = (0..5000_u32).map(|n| n.to_string().into_bytes()).collect();
        let id_of = |slot: u32| ids[usize::try_from(slot).unwrap()].as_slice();
        let (mut order, mut model) = (Order::default(), BTreeMap::new());
        for step in 0..40_000_u32 {
            // It grows in order, then at random, and shrinks at the end.
            let slot = if step < 2000 { step } else { rng.u32(0..5000) };
            let grows = step < 2000 || rng.u32(0..40_000) > step;
            if grows && !model.contains_key(id_of(slot)) {
                order.insert(slot, id_of);
                model.insert(id_of(slot), slot);
            } else if !grows {
                order.remove(id_of(slot), id_of);
                model.remove(id_of(slot));
            }
            let asked = rng.u32(0..5000);
            assert_eq!(order.get(id_of(asked), id_of), model.get(id_of(asked)).copied());
            assert_eq!(order.len(), model.len());
            if step % 500 == 0 {
                assert!(order.iter().eq(model.values().copied()), "at step {step}");
                assert!(order.pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE));
            }
        }
    }
}
