//! Inputs to begin with, checked in under `fuzz/corpus/TARGET/`; and where a crashing one is put.

use std::fs;
use std::path::{Path, PathBuf};

/// This crate's folder.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The inputs of `target`, in the order of their names.
pub fn load(target: &str) -> Vec<Vec<u8>> {
    let folder = here().join("corpus").join(target);
    let entries = fs::read_dir(&folder).map(|entries| entries.flatten().map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = entries.map(Iterator::collect).unwrap_or_default();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a checked-in input")).collect()
}

/// Writes a crashing input; where to.
pub fn save(target: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder = here().parent().unwrap_or(here()).join("target").join("fuzz-crashes").join(target);
    fs::create_dir_all(&folder)?;
    let sum = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let path = folder.join(format!("{sum:016x}"));
    fs::write(&path, input)?;
    Ok(path)
}
