//! A hashed wheel of buckets of one second. It only says whose deadline to look at; the deadline itself stands in the
//! slot, so that a heartbeat never touches the wheel and an entry that comes up too early is armed again.

/// More than the longest lease with its grace, so that an entry never laps the wheel.
const BUCKETS: u64 = 4096;
/// A bucket that grew beyond this in a burst gives its memory back.
const KEPT_CAPACITY: usize = 1024;

#[derive(Debug)]
pub(super) struct Wheel {
    buckets: Vec<Vec<u32>>,
    /// The first second that is not finished.
    cursor_s: u64,
}

/// What the wheel has to say at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Look at this slot, which was armed for this second.
    Look { slot: u32, armed_s: u64 },
    /// A second is finished: a step of work, nothing to look at.
    Step,
    /// Everything up to now is done.
    Idle,
}

impl Wheel {
    pub(super) fn new(now_s: u64) -> Self {
        let count = usize::try_from(BUCKETS).unwrap_or(usize::MAX);
        Self { buckets: vec![Vec::new(); count], cursor_s: now_s }
    }

    /// Arms `slot` for the second `at_s`, or the nearest that the wheel can hold; returns that second.
    pub(super) fn arm(&mut self, slot: u32, at_s: u64) -> u64 {
        let at_s = at_s.clamp(self.cursor_s, self.cursor_s + BUCKETS - 1);
        if let Some(bucket) = self.bucket(at_s) {
            bucket.push(slot);
        }
        at_s
    }

    /// One step towards `now_s`.
    pub(super) fn turn(&mut self, now_s: u64) -> Turn {
        if self.cursor_s > now_s {
            return Turn::Idle;
        }
        let armed_s = self.cursor_s;
        if let Some(bucket) = self.bucket(armed_s) {
            if let Some(slot) = bucket.pop() {
                return Turn::Look { slot, armed_s };
            }
            if bucket.capacity() > KEPT_CAPACITY {
                *bucket = Vec::new();
            }
        }
        self.cursor_s += 1;
        Turn::Step
    }

    fn bucket(&mut self, at_s: u64) -> Option<&mut Vec<u32>> {
        usize::try_from(at_s % BUCKETS).ok().and_then(|index| self.buckets.get_mut(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now_s: u64) -> Vec<u32> {
        let mut seen = Vec::new();
        loop {
            match wheel.turn(now_s) {
                Turn::Look { slot, .. } => seen.push(slot),
                Turn::Step => {}
                Turn::Idle => return seen,
            }
        }
    }

    #[test]
    fn entries_come_up_in_their_second_and_not_before() {
        let mut wheel = Wheel::new(0);
        assert_eq!(wheel.arm(1, 5), 5);
        assert_eq!(wheel.arm(2, 3615), 3615);
        assert!(due(&mut wheel, 4).is_empty());
        assert_eq!(due(&mut wheel, 5), [1]);
        assert!(due(&mut wheel, 3614).is_empty());
        assert_eq!(due(&mut wheel, 3615), [2]);
    }

    #[test]
    fn what_lies_in_the_past_or_beyond_the_wheel_is_armed_at_its_edge() {
        let mut wheel = Wheel::new(0);
        due(&mut wheel, 100);
        assert_eq!(wheel.arm(1, 7), 101);
        assert_eq!(wheel.arm(2, 1_000_000), 101 + BUCKETS - 1);
    }
}
