//! These tests flip one bit in each kind of structure that a version of a key is made of: the check
//! names the key and the version, the damaged version can be deleted, and a repair that accepts the
//! loss leaves all other versions as they were.

use crate::atlas::{Atlas, Record, Span};
use crate::checked;
use crate::stored::{STACKS, Stacks, VERSIONS, read_stacks, write_stacks};
use ringbolt_engine::check::{Kind, open_media, repair};
use ringbolt_engine::node::{Core, NodePlan};
use ringbolt_engine::types::{Deleted, Version, Versioning, WriteCondition};
use ringbolt_tests::binary;
use ringbolt_tests::node::{self, End, options};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const DRIVE_BYTES: u64 = 64 << 20;

/// A kind of structure: its name, where it is in a record's version, what the check calls it, and
/// whether readers meet it.
struct Structure {
    name: &'static str,
    place: fn(&Record) -> Option<Span>,
    kind: Kind,
    is_read: bool,
}

const STRUCTURES: [Structure; 8] = [
    Structure {
        name: "the record of the newest version",
        place: |record| is_object(record).filter(|record| !record.is_beneath).map(own),
        kind: Kind::Record,
        is_read: true,
    },
    Structure {
        name: "the record of a version beneath",
        place: |record| is_object(record).filter(|record| record.is_beneath).map(own),
        kind: Kind::Record,
        is_read: true,
    },
    Structure {
        name: "the data of a version beneath",
        place: |record| {
            let data = record.body_start..record.span.end;
            is_object(record).filter(|record| record.is_beneath && data.len() > 100).map(|_| data.clone())
        },
        kind: Kind::Record,
        is_read: true,
    },
    Structure {
        name: "a delete marker that is the newest version",
        place: |record| Some(record).filter(|record| record.is_marker && !record.is_beneath).map(own),
        kind: Kind::Record,
        is_read: false,
    },
    Structure {
        name: "a delete marker beneath",
        place: |record| Some(record).filter(|record| record.is_marker && record.is_beneath).map(own),
        kind: Kind::Record,
        is_read: false,
    },
    Structure {
        name: "the metadata of a version",
        place: |record| record.meta.clone(),
        kind: Kind::Record,
        is_read: true,
    },
    Structure {
        name: "the header of a slice of a version beneath",
        place: |record| slice_of(record).map(|(header, _)| header),
        kind: Kind::Slice,
        is_read: true,
    },
    Structure {
        name: "the data of a slice of a version beneath",
        place: |record| slice_of(record).map(|(_, payload)| payload),
        kind: Kind::Slice,
        is_read: true,
    },
];

fn is_object(record: &Record) -> Option<&Record> {
    Some(record).filter(|record| !record.is_marker)
}

fn own(record: &Record) -> Span {
    record.span.start..record.body_start
}

fn slice_of(record: &Record) -> Option<(Span, Span)> {
    record.slices.first().filter(|_| record.is_beneath).cloned()
}

/// Opens the drive, does `work`, and closes it.
fn opened<T: Send>(path: &Path, work: impl AsyncFn(Core) -> T + Sync) -> T {
    let seeds = NodePlan::open(options(path.to_owned(), 1)).expect("the drive opens");
    let done = node::run(seeds, End::Close, |core| async { work(core).await });
    done.expect("the node opens").pop().expect("there is one core")
}

/// Returns a drive whose versions are all in front of its checkpoint.
fn made(path: &Path) -> Stacks {
    node::format(path, DRIVE_BYTES, 1, 99);
    let stacks = Mutex::new(Stacks::new());
    opened(path, async |core| {
        let states = [Versioning::Off, Versioning::Enabled, Versioning::Suspended, Versioning::Enabled];
        for (seed, versioning) in (20..).zip(states) {
            write_stacks(&core, versioning, seed, &stacks).await;
        }
    });
    stacks.into_inner().expect("no life panics")
}

/// Returns the key and generation of a name in the atlas.
fn parsed(name: &str) -> (String, u64) {
    let (key, generation) = name.split_once('#').expect("a version's name");
    (key.to_owned(), generation.parse().expect("a generation"))
}

/// Copies the drive and flips one bit in the middle of `span` there.
fn damaged(original: &Path, span: &Span) -> PathBuf {
    let path = original.with_extension("damaged");
    std::fs::copy(original, &path).expect("copy the drive");
    let file = File::options().read(true).write(true).open(&path).expect("open the drive");
    let at = (span.start + span.len() / 2) as u64;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read a byte");
    file.write_all_at(&[byte[0] ^ 0x20], at).expect("write a byte");
    file.sync_all().expect("flush the drive");
    path
}

fn without(stacks: &Stacks, key: &str, generation: u64) -> Stacks {
    let mut rest = stacks.clone();
    rest.get_mut(key).expect("the key").retain(|kept| kept.generation != generation);
    rest
}

#[test]
fn damage_of_each_structure_is_named_and_what_is_damaged_can_be_deleted_or_given_up() {
    let directory =
        tempfile::Builder::new().prefix("damage-").tempdir_in(binary::scratch_dir()).expect("a directory");
    let original = directory.path().join("drive");
    let stacks = made(&original);
    let image = std::fs::read(&original).expect("read the drive");
    let atlas = Atlas::read(&image);
    let (outcome, findings) = checked(std::slice::from_ref(&original));
    assert_eq!((outcome.damage(), findings), (0, Vec::new()));
    let count = |is_counted: fn(&crate::stored::Kept) -> bool| {
        stacks.values().flatten().filter(|kept| is_counted(kept)).count() as u64
    };
    let totals = outcome.totals;
    assert_eq!(totals.versions, count(|kept| kept.content.is_some()));
    assert_eq!(totals.delete_markers, count(|kept| kept.content.is_none()));
    let newest = stacks.values().filter(|stack| stack[0].content.is_some()).count();
    assert_eq!(totals.objects, newest as u64);
    for Structure { name, place, kind, is_read } in STRUCTURES {
        let of_stacks = atlas.records.iter().filter(|record| record.name.starts_with(STACKS));
        let found = of_stacks.filter_map(|record| Some((parsed(&record.name), place(record)?))).next();
        let ((key, generation), span) = found.unwrap_or_else(|| panic!("the drive does not have {name}"));
        let kept = stacks[&key].iter().find(|kept| kept.generation == generation).expect("a version");

        let path = damaged(&original, &span);
        let (outcome, findings) = checked(std::slice::from_ref(&path));
        let [finding] = &findings[..] else { panic!("{name}: {findings:#?}") };
        assert_eq!((finding.kind, outcome.losses), (kind, 1), "{name}: {finding:#?}");
        let object = finding.object.as_ref().expect("the object is named");
        assert_eq!(object.bucket_name.as_deref(), Some(VERSIONS), "{name}");
        assert_eq!(object.key, key.as_bytes(), "{name}");

        let rest = without(&stacks, &key, generation);
        let unreadable = opened(&path, async |core| {
            let id = core.bucket(VERSIONS).expect("the bucket").id;
            let shown = if kept.is_null {
                "null".to_owned()
            } else {
                core.id_of_version(id, key.as_bytes(), generation).to_string()
            };
            assert_eq!(object.version_id, Some(shown), "{name}");
            let unreadable = read_stacks(&core, &stacks).await;
            let (version, condition) = (Version::Generation(generation), WriteCondition::default());
            let deleted = core.delete_version(id, key.as_bytes(), version, condition).await;
            let removed =
                Deleted::Removed { generation, marker: kept.content.is_none(), is_null: kept.is_null };
            assert_eq!(deleted.expect("it can be deleted"), removed, "{name}");
            assert_eq!(read_stacks(&core, &rest).await, Vec::<String>::new(), "{name}");
            unreadable.iter().map(|name| parsed(name)).collect::<Vec<_>>()
        });
        let expected = if is_read { vec![(key.clone(), generation)] } else { Vec::new() };
        assert_eq!(unreadable, expected, "{name}");
        assert_eq!(checked(std::slice::from_ref(&path)).0.damage(), 0, "{name}: it was deleted");

        let path = damaged(&original, &span);
        let (outcome, _) = checked(std::slice::from_ref(&path));
        let media = open_media(std::slice::from_ref(&path)).expect("the drive can be repaired");
        repair(&media, outcome, true).expect("repaired");
        drop(media);
        assert_eq!(checked(std::slice::from_ref(&path)).0.damage(), 0, "{name}: it was given up");
        let unreadable = opened(&path, async |core| read_stacks(&core, &rest).await);
        assert_eq!(unreadable, Vec::<String>::new(), "{name}: all else is whole");
        // The null version of the key is still found, and still replaced.
        let stacks = Mutex::new(rest);
        opened(&path, async |core| {
            write_stacks(&core, Versioning::Suspended, 30, &stacks).await;
            let rest = stacks.lock().expect("nobody panics").clone();
            assert_eq!(read_stacks(&core, &rest).await, Vec::<String>::new(), "{name}");
        });
    }
}
