//! Which endpoint gets the next attempt: power of two choices over requests in flight, by weight.
//!
//! Each worker counts its own requests in flight; nothing is shared. Two random choices and the shorter queue come
//! within a small factor of the best choice, and, unlike "least of all", do not send every worker to the same endpoint.

/// What of a service and a worker decides the choice.
pub trait Candidates {
    /// How many endpoints there are.
    fn count(&self) -> usize;
    /// Running sums of their weights; empty when all weigh the same.
    fn weight_sums(&self) -> &[u32];
    /// Requests in flight at the endpoint at `position`.
    fn in_flight(&self, position: usize) -> u32;
    /// Whether the endpoint at `position` must not be tried (again) for this request.
    fn excluded(&self, position: usize) -> bool;
    /// Whether the endpoint at `position` failed a moment ago or is known to be bad: taken only when no other is left.
    fn suspect(&self, position: usize) -> bool;
    /// Per cent of its usual share that the endpoint at `position` gets while it warms up.
    fn share_percent(&self, position: usize) -> u8;
}

/// The position of the endpoint for the next attempt; `None`: all are excluded.
pub fn pick(candidates: &impl Candidates, random: &mut fastrand::Rng) -> Option<usize> {
    let good = |position: &usize| !candidates.excluded(*position) && !candidates.suspect(*position);
    match candidates.count() {
        0 => return None,
        1 => return (!candidates.excluded(0)).then_some(0),
        _ => {}
    }
    let (a, b) = two_different(candidates, random);
    // One that warms up gives most of its draws to the other.
    let mut admitted = |position: &usize| {
        let share = candidates.share_percent(*position);
        good(position) && (share >= 100 || random.u8(..100) < share)
    };
    match (admitted(&a), admitted(&b)) {
        (true, true) => return Some(less_loaded(candidates, a, b)),
        (true, false) => return Some(a),
        (false, true) => return Some(b),
        (false, false) => {}
    }
    // Both draws failed: look at all, starting anywhere, so that what is left shares the load.
    let start = random.usize(..candidates.count());
    let around = || (0..candidates.count()).map(|i| (start + i) % candidates.count());
    around().find(good).or_else(|| around().find(|position| !candidates.excluded(*position)))
}

fn two_different(candidates: &impl Candidates, random: &mut fastrand::Rng) -> (usize, usize) {
    let len = candidates.count();
    let a = draw(candidates, random);
    let b = draw(candidates, random);
    if a == b { (a, (a + 1 + random.usize(..len - 1)) % len) } else { (a, b) }
}

/// One position, with the probability of its weight.
fn draw(candidates: &impl Candidates, random: &mut fastrand::Rng) -> usize {
    let sums = candidates.weight_sums();
    match sums.last() {
        Some(total) if *total > 0 => {
            let point = random.u32(..*total);
            sums.partition_point(|sum| *sum <= point)
        }
        _ => random.usize(..candidates.count()),
    }
}

/// The one with fewer requests in flight per weight. Equal ones: the first drawn, which is random already.
fn less_loaded(candidates: &impl Candidates, a: usize, b: usize) -> usize {
    let weight = |position: usize| {
        let sums = candidates.weight_sums();
        let before = position.checked_sub(1).and_then(|p| sums.get(p)).copied().unwrap_or(0);
        sums.get(position).map_or(1, |sum| sum - before).max(1)
    };
    // in_flight(a) / weight(a) <= in_flight(b) / weight(b), without division.
    let load_a = u64::from(candidates.in_flight(a)) * u64::from(weight(b));
    let load_b = u64::from(candidates.in_flight(b)) * u64::from(weight(a));
    if load_a <= load_b { a } else { b }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    struct Fake {
        load: Vec<u32>,
        sums: Vec<u32>,
        excluded: Vec<bool>,
        suspect: Vec<bool>,
        share: Vec<u8>,
    }

    impl Candidates for Fake {
        fn count(&self) -> usize {
            self.load.len()
        }
        fn weight_sums(&self) -> &[u32] {
            &self.sums
        }
        fn in_flight(&self, position: usize) -> u32 {
            self.load[position]
        }
        fn excluded(&self, position: usize) -> bool {
            self.excluded[position]
        }
        fn suspect(&self, position: usize) -> bool {
            self.suspect[position]
        }
        fn share_percent(&self, position: usize) -> u8 {
            self.share[position]
        }
    }

    fn plain(load: Vec<u32>) -> Fake {
        let none = vec![false; load.len()];
        let share = vec![100; load.len()];
        Fake { sums: Vec::new(), excluded: none.clone(), suspect: none, share, load }
    }

    proptest! {
        #[test]
        fn never_an_excluded_one_and_never_none_while_one_is_left(
            rows in prop::collection::vec((0..5_u32, any::<bool>(), any::<bool>()), 0..6),
            seed: u64,
        ) {
            let mut fake = plain(rows.iter().map(|r| r.0).collect());
            fake.excluded = rows.iter().map(|r| r.1).collect();
            fake.suspect = rows.iter().map(|r| r.2).collect();
            let picked = pick(&fake, &mut fastrand::Rng::with_seed(seed));
            match picked {
                None => prop_assert!(fake.excluded.iter().all(|e| *e)),
                Some(position) => {
                    prop_assert!(!fake.excluded[position]);
                    let good_left = (0..rows.len()).any(|p| !fake.excluded[p] && !fake.suspect[p]);
                    prop_assert!(!good_left || !fake.suspect[position], "a suspect one before a good one");
                }
            }
        }
    }

    fn shares(fake: &Fake, draws: usize) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = vec![0_u32; fake.load.len()];
        for _ in 0..draws {
            counts[pick(fake, &mut random).unwrap()] += 1;
        }
        counts.iter().map(|c| f64::from(*c) / f64::from(u32::try_from(draws).unwrap())).collect()
    }

    #[test]
    fn a_busy_endpoint_gets_less_and_equal_ones_get_the_same() {
        let even = shares(&plain(vec![1, 1, 1, 1]), 20_000);
        assert!(even.iter().all(|share| (share - 0.25).abs() < 0.02), "{even:?}");
        let busy = shares(&plain(vec![9, 1, 1, 1]), 20_000);
        assert!(busy[0] < 0.01, "{busy:?}");
    }

    #[test]
    fn one_that_warms_up_gets_its_part_and_all_of_it_when_it_is_alone() {
        let warming = Fake { share: vec![10, 100, 100, 100], ..plain(vec![1, 1, 1, 1]) };
        let parts = shares(&warming, 20_000);
        assert!((0.015..0.035).contains(&parts[0]), "a tenth of a quarter: {parts:?}");
        let alone = Fake { share: vec![10, 100], suspect: vec![false, true], ..plain(vec![0, 0]) };
        assert!(shares(&alone, 1000)[0] > 0.99);
    }

    #[test]
    fn weights_count_at_equal_load() {
        let weighted = Fake { sums: vec![10, 100], ..plain(vec![0, 0]) };
        let shares = shares(&weighted, 20_000);
        assert!(shares[1] > shares[0], "{shares:?}");
    }
}
