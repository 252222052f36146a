//! A hash whose seed is drawn from the thread's random generator: nobody outside can aim at it, and a simulation that gives
//! that generator a seed walks its maps in the same order again.

use std::hash::{BuildHasher, DefaultHasher, Hasher as _};

#[derive(Clone, Debug)]
pub(super) struct Drawn(u64);

impl Default for Drawn {
    fn default() -> Self {
        Self(fastrand::u64(..))
    }
}

impl BuildHasher for Drawn {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
