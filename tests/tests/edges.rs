//! The edges between crates and between the gateway's modules are those that ARCHITECTURE.md draws, and no others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use vertice_tests::edges::{crate_violations, module_violations};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn no_crate_knows_what_it_must_not() {
    let manifests: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path().join("Cargo.toml"))
        .filter(|path| path.is_file())
        .collect();
    assert!(manifests.len() >= 10, "crates of the workspace not found: {manifests:?}");
    let violations: Vec<_> =
        manifests.iter().flat_map(|path| crate_violations(&fs::read_to_string(path).unwrap())).collect();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn no_module_of_the_gateway_knows_what_it_must_not() {
    let src = root().join("gateway").join("src");
    let files = sources(&src);
    assert!(!files.is_empty(), "no sources in {}", src.display());
    let violations: Vec<_> = files
        .iter()
        .flat_map(|file| {
            let path = file.strip_prefix(&src).unwrap().to_str().unwrap();
            module_violations(path, &fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(violations.is_empty(), "{violations:#?}");
}

/// Every `.rs` file below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
