//! The file through everything that may happen to it: what comes back is what was written, or nothing.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use vertice_registry_api::{
    Epoch, HealthPath, Instance, InstanceId, Lease, Metadata, Position, Revision, ServiceName, ServiceUrl,
    Status,
};
use vertice_registry_client::{HoldReason, SourceKind};

use super::disk::{CURRENT, PREVIOUS};
use super::format::{About, Entry, EntryRef, FORMAT, HoldLine, Unusable, read, write};
use super::*;

const REGISTRY: &str = "http://registry:8888";

fn instance(service: &str, id: &str) -> Instance {
    Instance {
        service: ServiceName::parse(service).unwrap(),
        instance_id: InstanceId::parse(id).unwrap(),
        incarnation: 1,
        generation: 1,
        url: ServiceUrl::parse(&format!("http://{id}")).unwrap(),
        health_endpoint: HealthPath::default(),
        metadata: Metadata::default(),
        zone: None,
        weight: 100,
        version: Some("\u{e9}\"".into()),
        status: Status::Up,
        status_override: None,
        stale: false,
        lease: Lease { ttl_s: 60 },
        registered_at_ms: 0,
        registered_by: "test".into(),
    }
}

fn entries(count: usize) -> Vec<Entry> {
    (0..count)
        .map(|n| Entry {
            last_proof_ms: 1_000_000 + u64::try_from(n).unwrap(),
            hold: (n % 2 == 1).then(|| HoldLine { reason: "new_epoch".into(), since_ms: 7 }),
            instance: instance(&format!("service{}", n % 3), &format!("h{n}:1")),
        })
        .collect()
}

fn about() -> About {
    About {
        written_at_ms: 2_000_000,
        registry: REGISTRY.into(),
        kind: Some(SourceKind::Watched),
        position: Some(Position { epoch: Epoch(9), revision: Revision(8) }),
    }
}

fn refs(entries: &[Entry]) -> impl Iterator<Item = EntryRef<'_>> + Clone {
    entries.iter().map(|entry| EntryRef {
        last_proof_ms: entry.last_proof_ms,
        hold: entry.hold.clone(),
        instance: &entry.instance,
    })
}

fn text(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    write(&about(), refs(entries), &mut text).unwrap();
    text
}

#[test]
fn what_was_written_is_read() {
    for count in [0, 1, 100] {
        let written = entries(count);
        let kept = read(&mut text(&written).as_slice()).unwrap();
        assert_eq!(kept.entries, written);
        assert_eq!((kept.registry.as_str(), kept.written_at_ms), (REGISTRY, 2_000_000));
        assert_eq!((kept.kind, kept.position, kept.left_out), (about().kind, about().position, 0));
    }
}

#[test]
fn cut_anywhere_it_is_corrupt() {
    let whole = text(&entries(3));
    for end in 0..whole.len() {
        let cut = read(&mut &whole[..end]);
        assert!(matches!(cut, Err(Unusable::Corrupt(_))), "{end} of {} bytes: {cut:?}", whole.len());
    }
    let longer = [whole.as_slice(), b"\n"].concat();
    assert!(matches!(read(&mut longer.as_slice()), Err(Unusable::Corrupt(_))));
}

proptest! {
    #[test]
    fn one_changed_byte_is_never_taken_for_content(at in 0.0..1.0_f64, bits in 1..=255_u8) {
        let mut changed = text(&entries(4));
        let length = u32::try_from(changed.len()).unwrap();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::as_conversions, reason = "0..length")]
        let at = (f64::from(length) * at) as usize;
        changed[at] ^= bits;
        // The header has no checksum of its own: what it says may change, what is served may not.
        if let Ok(kept) = read(&mut changed.as_slice()) {
            prop_assert_eq!(kept.entries, entries(4));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(read(&mut bytes.as_slice()).is_err());
    }
}

#[test]
fn a_newer_format_is_told_apart_whatever_else_it_says() {
    let newer = format!("{{\"format\":{},\"who\":[]}}\nxyz", FORMAT + 1);
    assert!(matches!(read(&mut newer.as_bytes()), Err(Unusable::Newer(2))));
}

/// A folder with `CURRENT` of 2 and `PREVIOUS` of 1 entries.
fn two_files() -> (tempfile::TempDir, StateDir) {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = StateDir::open(dir.path(), 1).unwrap();
    for count in [1, 2] {
        state_dir.write(&about(), refs(&entries(count))).unwrap();
    }
    (dir, state_dir)
}

fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn count(loaded: &disk::Loaded) -> Option<usize> {
    loaded.kept.as_ref().map(|kept| kept.entries.len())
}

#[test]
fn the_newest_whole_file_counts() {
    let (dir, state_dir) = two_files();
    let loaded = state_dir.load(REGISTRY, 5);
    assert_eq!((count(&loaded), loaded.remarks.len()), (Some(2), 0));
    assert_eq!(names(&dir), [CURRENT, PREVIOUS]);
    // As after a crash between the two renames.
    fs::remove_file(dir.path().join(CURRENT)).unwrap();
    assert_eq!(count(&state_dir.load(REGISTRY, 5)), Some(1));
    assert_eq!(count(&state_dir.load("embedded", 5)), None, "another registry's word is not used");
    assert_eq!(names(&dir), [PREVIOUS]);
}

#[test]
fn a_corrupt_file_is_moved_aside_and_the_previous_one_counts() {
    let (dir, state_dir) = two_files();
    fs::write(dir.path().join(CURRENT), "{").unwrap();
    let loaded = state_dir.load(REGISTRY, 5);
    assert_eq!(count(&loaded), Some(1));
    assert!(loaded.remarks[0].contains(CURRENT) && loaded.remarks[0].contains("corrupt"), "{loaded:?}");
    assert_eq!(names(&dir), [format!("{CURRENT}.corrupt"), PREVIOUS.to_owned()]);
    fs::write(dir.path().join(PREVIOUS), "").unwrap();
    let loaded = state_dir.load(REGISTRY, 5);
    assert_eq!((count(&loaded), loaded.blocked), (None, false));
    state_dir.write(&about(), refs(&entries(3))).unwrap();
    assert_eq!(count(&state_dir.load(REGISTRY, 5)), Some(3));
}

#[test]
fn a_newer_gateways_file_is_never_overwritten() {
    let (dir, state_dir) = two_files();
    let newer = format!("{{\"format\":{}}}\n", FORMAT + 1);
    fs::write(dir.path().join(CURRENT), &newer).unwrap();
    assert_eq!(count(&state_dir.load(REGISTRY, 5)), Some(1));
    fs::write(dir.path().join(CURRENT), &newer).unwrap();
    assert_eq!(count(&state_dir.load(REGISTRY, 6)), Some(1));
    for _ in 0..3 {
        state_dir.write(&about(), refs(&entries(1))).unwrap();
    }
    let kept: Vec<_> = names(&dir).into_iter().filter(|name| name.contains("format-2")).collect();
    assert_eq!(kept, [format!("{CURRENT}.format-2.5"), format!("{CURRENT}.format-2.6")]);
    assert!(kept.iter().all(|name| fs::read_to_string(dir.path().join(name)).unwrap() == newer));
}

#[test]
fn a_folder_that_is_no_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(StateDir::open(&file, 1).is_err());
    assert!(StateDir::open(&file.join("below"), 1).is_err());
    StateDir::open(&dir.path().join("made/on/the/way"), 1).unwrap();
}

#[test]
fn everything_restored_is_held_with_its_age() {
    let kept = read(&mut text(&entries(4)).as_slice()).unwrap();
    let now = Instant::now();
    let view = restore(kept, now, 1_012_003);
    assert_eq!((view.count(), view.held().count()), (4, 4));
    assert_eq!(view.status().last_proof, Some(now - Duration::from_secs(12)));
    assert_eq!(view.position(), about().position);
    for (_, seen) in view.held() {
        assert_eq!(seen.hold.unwrap().reason, HoldReason::LastKnownGood);
    }
    // A clock that went back, and a file from before this machine had one.
    for unix_ms in [0, u64::MAX] {
        restore(read(&mut text(&entries(1)).as_slice()).unwrap(), now, unix_ms);
    }
}
