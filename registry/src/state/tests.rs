//! What is written is read back; what is damaged is cut, said, and never more than damaged.

use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::register::Registration;
use vertice_registry_api::{Epoch, Instance, Revision};

use super::image::{Image, Replayed};
use super::journal::{Journal, Piece, Whole};
use super::open::{Opened, open};
use super::record::{Flaw, Kind, Note, Records, Row, mark};
use super::{StateError, files, frames};
use crate::store::{Change, Kinds, Registrant, Store, StoreLimits};

const OLD: Epoch = Epoch(7);
const NEW: Epoch = Epoch(9);

fn change(store: &mut Store, number: u64) {
    let id = format!("i:{}", number % 5);
    if number % 4 == 3 {
        store.deregister("osint_service", &id, None, Duration::ZERO).unwrap();
        return;
    }
    let body = format!(
        r#"{{"service_name":"osint_service","instance_id":"{id}","endpoint":"http://h:{}","incarnation":{number},"metadata":{{"k":"é\n"}}}}"#,
        number + 1
    );
    let wanted = Registration::from_old_body(body.as_bytes()).unwrap();
    store.register(wanted, Registrant { name: "p", limited: true }, Duration::ZERO, 5).unwrap();
}

fn piece(store: &Store, from: Revision) -> Piece {
    let position = vertice_registry_api::Position { revision: from, ..store.position() };
    let delta = store.since(position, usize::MAX).unwrap();
    let handles = delta.changes.iter().map(|change| match change {
        Change::Upsert(i) => store.handle(i.service.as_str(), i.instance_id.as_str()),
        Change::Remove { .. } => None,
    });
    Piece { handles: handles.collect(), delta }
}

fn whole(store: &Store) -> Whole {
    let (position, next_generation) = (store.position(), store.next_generation());
    Whole { position, next_generation, rows: store.rows_with_handles() }
}

fn digest(image: &Image) -> SetDigest {
    let instances: Vec<_> = image.rows().map(|(_, packed)| packed.unpack().unwrap()).collect();
    let digest = SetDigest::of(&instances);
    assert_eq!(digest, image.digest, "the digest that is kept up to date is that of what is there");
    digest
}

/// A directory that a process with `changes` changes used, and its store. `clean`: it stopped in order.
fn used(dir: &Path, changes: u64, clean: bool) -> Store {
    let Opened { image, mut journal, .. } = open(dir, OLD, 1).unwrap();
    let position = vertice_registry_api::Position { epoch: image.epoch, revision: image.revision };
    let (next, digest) = (image.next_generation, image.digest);
    let mut store =
        Store::restored(StoreLimits::default(), position, next, image.into_rows(), digest, Duration::ZERO);
    for number in 0..changes {
        let before = store.position().revision;
        change(&mut store, number);
        journal.append(&piece(&store, before)).unwrap();
    }
    if clean {
        journal.append_clean(store.position().revision, store.next_generation()).unwrap();
    }
    store
}

#[test]
fn a_stop_in_order_keeps_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = used(dir.path(), 20, true);
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert!(opened.continues && opened.warnings.is_empty());
    assert_eq!((opened.image.epoch, opened.image.revision), (OLD, store.position().revision));
    assert_eq!(digest(&opened.image), store.digest());
    assert_eq!(opened.image.next_generation, store.next_generation());
    let rows: Vec<_> = opened.image.rows().map(|(handle, packed)| (handle, packed.clone())).collect();
    assert_eq!(rows, store.rows_with_handles());
    // The marker counts once.
    drop(opened);
    assert!(!open(dir.path(), NEW, 1).unwrap().continues);
}

#[test]
fn a_kill_keeps_the_content_and_begins_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = used(dir.path(), 20, false);
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert!(!opened.continues && opened.warnings.is_empty());
    assert_eq!((opened.image.epoch, opened.image.revision), (NEW, store.position().revision));
    assert_eq!(digest(&opened.image), store.digest());
    assert!(opened.image.next_generation > store.next_generation() + 1_000_000, "room for what was lost");
}

#[test]
fn a_new_directory_is_empty_and_a_used_one_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("a/b");
    let opened = open(&inside, NEW, 77).unwrap();
    assert!(!opened.continues && opened.warnings.is_empty() && opened.image.rows().count() == 0);
    assert_eq!((opened.image.epoch, opened.image.next_generation), (NEW, 77));
    assert!(matches!(open(&inside, NEW, 1), Err(StateError::Taken { .. })));
    drop(opened);
    assert!(open(&inside, NEW, 1).is_ok());
    fs::write(dir.path().join("file"), "").unwrap();
    let error = open(&dir.path().join("file"), NEW, 1).map(|_| ()).unwrap_err();
    assert!(matches!(error, StateError::Io { .. }), "{error}");
}

#[test]
fn turning_over_loses_nothing_whenever_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = used(dir.path(), 10, false);
    let Opened { mut journal, image, .. } = open(dir.path(), OLD, 1).unwrap();
    assert_eq!(image.revision, store.position().revision);
    let job = journal.turn_over(whole(&store)).unwrap();
    let before = store.position().revision;
    change(&mut store, 10);
    journal.append(&piece(&store, before)).unwrap();
    drop(journal);
    // Killed before the snapshot was written: the old pair and the new changes say everything.
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert!(opened.warnings.is_empty(), "{:?}", opened.warnings);
    assert_eq!(digest(&opened.image), store.digest());
    drop(opened);
    job.run().unwrap();
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert!(opened.warnings.is_empty(), "{:?}", opened.warnings);
    assert_eq!(digest(&opened.image), store.digest());
    drop(opened);
    // An unreadable snapshot costs nothing, because the pair before is still there.
    damage(&files::snapshot(dir.path(), 2));
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert_eq!(opened.warnings.len(), 1);
    assert!(opened.warnings[0].contains("snapshot-00000002"), "{:?}", opened.warnings);
    assert_eq!(digest(&opened.image), store.digest());
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn with_no_snapshot_left_it_starts_empty_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path(), 10, true);
    damage(&files::snapshot(dir.path(), 1));
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert!(opened.image.rows().count() == 0 && !opened.continues);
    assert!(opened.warnings.last().unwrap().contains("starting empty"), "{:?}", opened.warnings);
    drop(opened);
    assert!(open(dir.path(), NEW, 1).is_ok(), "and the new pair can be read");
}

#[test]
fn only_the_last_pairs_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = used(dir.path(), 10, false);
    let Opened { mut journal, .. } = open(dir.path(), OLD, 1).unwrap();
    for _ in 0..4 {
        let done = journal.turn_over(whole(&store)).unwrap().run().unwrap();
        journal.finish(done);
    }
    let found = files::Found::read(dir.path()).unwrap();
    assert_eq!((found.snapshots, found.changes), (vec![4, 5], vec![4, 5]));
    drop(journal);
    assert_eq!(digest(&open(dir.path(), NEW, 1).unwrap().image), store.digest());
}

#[test]
fn a_failed_write_is_followed_by_a_new_pair() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = used(dir.path(), 10, false);
    let Opened { mut journal, .. } = open(dir.path(), OLD, 1).unwrap();
    journal.fill_the_disk();
    change(&mut store, 10);
    let before = Revision(store.position().revision.0 - 1);
    assert!(journal.append(&piece(&store, before)).is_err());
    journal.renew(whole(&store)).unwrap();
    change(&mut store, 11);
    let before = Revision(store.position().revision.0 - 1);
    journal.append(&piece(&store, before)).unwrap();
    drop(journal);
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert_eq!(digest(&opened.image), store.digest());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    for name in ["snapshot-00000001", "changes-00000001"] {
        let dir = tempfile::tempdir().unwrap();
        used(dir.path(), 3, true);
        let path = dir.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let digit = bytes.iter().position(|byte| *byte == b'\n').unwrap() - 1;
        assert_eq!(bytes[digit], b'2');
        bytes[digit] = b'3';
        fs::write(&path, &bytes).unwrap();
        let error = open(dir.path(), NEW, 1).map(|_| ()).unwrap_err();
        assert!(matches!(error, StateError::Newer { format: 3, .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(files::Found::read(dir.path()).unwrap().highest(), 1, "nothing was made");
    }
}

fn replay(image: &mut Image, bytes: &[u8]) -> Replayed {
    match Records::new(bytes, Kind::Changes) {
        Ok(records) => image.replay(records),
        Err(flaw) => Replayed { good_bytes: 0, records: 0, flaw: Some(flaw) },
    }
}

/// A file of changes, and what is there after its first line and after each of its records.
fn changes_file() -> (Vec<u8>, Vec<(usize, SetDigest, Revision)>) {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path(), 12, true);
    let bytes = fs::read(files::changes(dir.path(), 1)).unwrap();
    let mut states = Vec::new();
    let mut end = mark(Kind::Changes).len();
    loop {
        let mut image = Image::empty(OLD);
        let replayed = replay(&mut image, &bytes[..end]);
        assert_eq!(replayed.flaw, None);
        states.push((end, digest(&image), image.revision));
        let Some(length) = bytes.get(end..end + 4) else { break };
        end += frames::HEAD + usize::try_from(u32::from_le_bytes(length.try_into().unwrap())).unwrap();
    }
    (bytes, states)
}

#[test]
fn a_cut_at_any_byte_loses_no_earlier_record() {
    let (bytes, states) = changes_file();
    assert!(states.len() > 12);
    for cut in 0..bytes.len() {
        let mut image = Image::empty(OLD);
        let Replayed { good_bytes, flaw, .. } = replay(&mut image, &bytes[..cut]);
        let whole = states.iter().rev().find(|(end, ..)| *end <= cut);
        let (end, wanted, revision) = whole.copied().unwrap_or_default();
        assert_eq!((digest(&image), image.revision), (wanted, revision), "cut at {cut}");
        assert_eq!(flaw.is_some(), cut != end || cut == 0, "cut at {cut}: {flaw:?}");
        assert!(usize::try_from(good_bytes).unwrap() <= cut);
    }
}

#[test]
fn a_torn_end_is_cut_said_and_written_over() {
    let (bytes, states) = changes_file();
    let (_, wanted, revision) = states[states.len() - 3];
    let cut = states[states.len() - 3].0 + 30;
    let dir = tempfile::tempdir().unwrap();
    used(dir.path(), 0, false);
    fs::write(files::changes(dir.path(), 1), &bytes[..cut]).unwrap();
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert_eq!((digest(&opened.image), opened.image.revision), (wanted, revision));
    assert!(opened.warnings.len() == 1 && opened.warnings[0].contains("30 of"), "{:?}", opened.warnings);
    drop(opened);
    let again = open(dir.path(), NEW, 1).unwrap();
    assert!(again.warnings.is_empty() && digest(&again.image) == wanted, "{:?}", again.warnings);
}

proptest! {
    #[test]
    fn damage_anywhere_loses_nothing_before_it(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let (mut bytes, states) = changes_file();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let mut image = Image::empty(OLD);
        let replayed = replay(&mut image, &bytes);
        let before = states.iter().rev().find(|(end, ..)| *end <= at).map_or(Revision(0), |state| state.2);
        prop_assert!(image.revision >= before, "{:?} is before {before:?}", image.revision);
        prop_assert!(replayed.flaw.is_some());
        let whole = states.iter().any(|state| state.1 == digest(&image) && state.2 == image.revision);
        prop_assert!(whole || image.rows().count() == 0, "what is there is what was there once");
    }

    #[test]
    fn no_bytes_at_all_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for kind in [Kind::Snapshot, Kind::Changes] {
            let marks = [String::new(), mark(kind), mark(kind).replace('2', "1")];
            for start in marks {
                let mut file = start.into_bytes();
                file.extend(&bytes);
                let Ok(records) = Records::new(file.as_slice(), kind) else { continue };
                let _ = Image::empty(OLD).replay(records);
                let _ = Records::new(file.as_slice(), kind).map(Image::read);
            }
        }
        // With a checksum that holds, too.
        for first in [b'U', b'R', b'{'] {
            let payload: Vec<u8> = [first].into_iter().chain(bytes.iter().copied()).collect();
            let _ = frames::parse(&payload, &mut Kinds::default());
        }
    }
}

#[test]
fn a_gap_or_a_file_of_another_time_is_not_applied() {
    let instance = example();
    let after = |revision, bytes: &mut Vec<u8>| {
        frames::append_note(&Note::After { revision: Revision(revision) }, bytes);
    };
    let upsert = |revision, bytes: &mut Vec<u8>| {
        frames::append_upsert(Revision(revision), Some(0), &instance, bytes);
    };
    for (before, revisions, reaches) in
        [(Some(4), vec![5], 0), (Some(0), vec![1, 3], 1), (Some(0), vec![1, 1], 1), (None, vec![1], 0)]
    {
        let mut text = mark(Kind::Changes).into_bytes();
        if let Some(revision) = before {
            after(revision, &mut text);
        }
        for revision in revisions {
            upsert(revision, &mut text);
        }
        let mut image = Image::empty(OLD);
        assert!(matches!(replay(&mut image, &text).flaw, Some(Flaw::Unexpected(_))));
        assert_eq!(image.revision, Revision(reaches));
    }
}

fn example() -> Instance {
    let json = r#"{"service":"osint_service","instance_id":"10.0.0.7:8036","incarnation":3,"generation":4,"url":"http://10.0.0.7:8036","health_endpoint":"/health","metadata":{"k":"v"},"zone":"a","weight":100,"version":"2.1","status":"up","override":"down","stale":true,"lease":{"ttl_s":60},"registered_at_ms":5,"registered_by":"anonymous"}"#;
    serde_json::from_str(json).unwrap()
}

fn example_image() -> Image {
    let mut image = Image::empty(OLD);
    (image.revision, image.next_generation) = (Revision(1), 5);
    let instance = example();
    image.put(Row::new(Some(2), Kinds::default().pack(&instance), &instance));
    image
}

/// Old files must be readable for ever: these bytes are what format 2 is.
#[test]
fn the_format_is_this() {
    let dir = tempfile::tempdir().unwrap();
    let lock = files::create(&dir.path().join(files::LOCK)).unwrap();
    let mut journal = Journal::begin(dir.path(), lock, 1, 0, &example_image()).unwrap();
    journal.append_clean(Revision(1), 6).unwrap();
    let mut upserts = mark(Kind::Changes).into_bytes();
    frames::append_upsert(Revision(2), None, &example(), &mut upserts);
    let read = |path| fs::read(path).unwrap();
    let snapshot = read(files::snapshot(dir.path(), 1));
    let changes = read(files::changes(dir.path(), 1));
    for (bytes, name) in [(&snapshot, "snapshot"), (&changes, "changes"), (&upserts, "upsert")] {
        let wanted = format!("{}/src/state/format-2-{name}.bin", env!("CARGO_MANIFEST_DIR"));
        assert!(
            fs::read(&wanted).is_ok_and(|wanted| wanted == *bytes),
            "{wanted} is something else: {bytes:?}"
        );
    }
    reads_as_the_example(&snapshot, &changes);
}

/// What versions before this one wrote.
#[test]
fn format_1_is_read_and_goes_on_as_a_new_pair() {
    let (snapshot, changes) = (include_str!("format-1-snapshot.txt"), include_str!("format-1-changes.txt"));
    reads_as_the_example(snapshot.as_bytes(), changes.as_bytes());
    let dir = tempfile::tempdir().unwrap();
    fs::write(files::snapshot(dir.path(), 7), snapshot).unwrap();
    fs::write(files::changes(dir.path(), 7), changes).unwrap();
    let opened = open(dir.path(), NEW, 1).unwrap();
    assert!(opened.continues && opened.warnings.is_empty(), "{:?}", opened.warnings);
    assert_eq!(digest(&opened.image), digest(&example_image()));
    drop(opened);
    let found = files::Found::read(dir.path()).unwrap();
    assert_eq!((found.snapshots, found.changes), (vec![7, 8], vec![7, 8]));
    let old = fs::read_to_string(files::changes(dir.path(), 7)).unwrap();
    assert_eq!(old, changes, "nothing is appended to it");
    assert_eq!(digest(&open(dir.path(), NEW, 1).unwrap().image), digest(&example_image()));
}

fn reads_as_the_example(snapshot: &[u8], changes: &[u8]) {
    let mut read = Image::read(Records::new(snapshot, Kind::Snapshot).unwrap()).unwrap();
    assert_eq!(read, example_image());
    assert_eq!(replay(&mut read, changes).flaw, None);
    assert!(read.clean && read.next_generation == 6);
}
