//! This module stores the drives of which one is damaged: objects of all kinds, checkpoints, and a log
//! that was not closed.

use crate::atlas::{superblock, version_name};
use crate::cases::Changes;
use ringbolt_engine::EngineError;
use ringbolt_engine::format::superblock::SuperblockOnDisk;
use ringbolt_engine::node::{Core, NodePlan, ObjectReader, OpenError, Opened, Redundancy};
use ringbolt_engine::types::{
    Attributes, BucketId, Deleted, MetadataChange, ObjectMeta, UploadId, Version, VersionItem, Versioning,
    VersionsQuery, WriteCondition,
};
use ringbolt_tests::node::{self, End, bucket, etag, get, list_all, options_of_set, put, put_part};
use ringbolt_tests::{Content, Dice};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const BUCKET: &str = "damage";
/// This bucket keeps versions.
pub const VERSIONS: &str = "damage-versions";
/// The keys of that bucket begin with this.
pub const STACKS: &str = "stack/";
const STACKS_COUNT: usize = 24;
const DRIVE_BYTES: u64 = 112 << 20;
const SHARDS: u16 = 2;
/// There are enough keys for several chunks of leaves in each shard's checkpoint.
const TINY_KEYS: usize = 6000;
/// These objects are written last, one by one, so that each shard's last batches contain nothing
/// else: damage up to the end of the log cannot be distinguished from a torn tail, and no damage
/// here is longer than they are.
pub const SENTINEL: &str = "sentinel/";
const SENTINELS: u64 = 60;

/// This is the key of the upload that is not finished.
const UPLOAD: &str = "multipart/open";
/// The part of the upload that is not finished.
const OPEN_PART: Content = Content { seed: 5, size_bytes: 200_000 };
/// A drive is restored in pieces of this size, bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Holds what was stored, and the drive files as they were left.
pub struct Stored {
    pub drives: Vec<DriveFile>,
    bodies: BTreeMap<String, Vec<Content>>,
    stacks: Stacks,
    upload: (String, UploadId),
}

/// This is a drive file, and what it held.
pub struct DriveFile {
    pub path: PathBuf,
    /// This is the drive after its first clean stop.
    pub old: Vec<u8>,
    /// This is the drive as it was left.
    pub image: Vec<u8>,
}

type Bodies = BTreeMap<String, Vec<Content>>;

/// This is one version of a key, or a delete marker, which has no content.
#[derive(Clone, Debug)]
pub struct Kept {
    pub generation: u64,
    pub content: Option<Content>,
    /// This is the tag in the newest metadata; 0 if they were never changed.
    pub tag: u64,
    pub is_null: bool,
}

/// Has the versions of each key, the newest first.
pub type Stacks = BTreeMap<String, Vec<Kept>>;

impl DriveFile {
    fn open(&self) -> File {
        File::options().read(true).write(true).open(&self.path).expect("open the drive")
    }

    /// Writes these bytes to the drive.
    pub fn write(&self, changes: &Changes) {
        let file = self.open();
        for (at, bytes) in changes {
            file.write_all_at(bytes, *at as u64).expect("write to the drive");
        }
        file.sync_all().expect("flush the drive");
    }

    /// Returns the superblock in force, or `None` when no two copies agree.
    pub fn superblock(&self) -> Option<SuperblockOnDisk> {
        let mut head = vec![0; PIECE_BYTES];
        self.open().read_exact_at(&mut head, 0).expect("read the drive");
        superblock(&head)
    }

    /// Returns whether the file is as it was before any damage.
    pub fn is_restored(&self) -> bool {
        std::fs::read(&self.path).expect("read the drive") == self.image
    }

    /// Writes what the file has not as it was before any damage.
    pub fn restore(&self) {
        let (file, mut has) = (self.open(), vec![0; PIECE_BYTES]);
        for (number, piece) in self.image.chunks(PIECE_BYTES).enumerate() {
            let (at, has) = ((number * PIECE_BYTES) as u64, &mut has[..piece.len()]);
            file.read_exact_at(has, at).expect("read the drive");
            if has != piece {
                file.write_all_at(piece, at).expect("write to the drive");
            }
        }
        file.sync_all().expect("flush the drive");
    }
}

impl Stored {
    /// Makes a set of drives.
    pub fn make(directory: &Path, drives: usize, redundancy: Redundancy) -> Self {
        let paths: Vec<PathBuf> =
            (0..drives).map(|number| directory.join(format!("drive-{number}"))).collect();
        let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let (drive_bytes, shards) = match redundancy.data_members {
            1 => (DRIVE_BYTES, SHARDS),
            // Each drive is the home of a shard, and there are copies of each on others.
            _ => (DRIVE_BYTES + (DRIVE_BYTES >> 1) + (8 << 20), drives as u16),
        };
        node::format_set(&all, drive_bytes, shards, redundancy, 4711);
        let read = || paths.iter().map(|path| std::fs::read(path).expect("read the drive"));
        let (bodies, stacks) = (Mutex::new(Bodies::new()), Mutex::new(Stacks::new()));
        let upload = live(&paths, End::Close, async |core, id| {
            write_stacks(&core, Versioning::Off, 10, &stacks).await;
            write_stacks(&core, Versioning::Enabled, 11, &stacks).await;
            first_life(core, id, &bodies).await
        });
        let old: Vec<Vec<u8>> = read().collect();
        live(&paths, End::Close, async |core, id| {
            write_stacks(&core, Versioning::Suspended, 12, &stacks).await;
            write_stacks(&core, Versioning::Enabled, 13, &stacks).await;
            second_life(core, id, &bodies).await;
        });
        live(&paths, End::Drop, async |core, id| {
            write_stacks(&core, Versioning::Enabled, 14, &stacks).await;
            third_life(core, id, &bodies).await;
        });
        let images = old.into_iter().zip(read());
        let files = paths.iter().cloned().zip(images);
        let drives = files.map(|(path, (old, image))| DriveFile { path, old, image }).collect();
        let bodies = bodies.into_inner().expect("no life panics");
        let stacks = stacks.into_inner().expect("no life panics");
        Self { drives, bodies, stacks, upload: (UPLOAD.to_owned(), upload) }
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.drives.iter().map(|drive| drive.path.clone()).collect()
    }

    /// Writes these bytes to the only drive, opens it, and reads all objects except most of the tiny
    /// ones. Returns the keys that could not be read; wrong bytes, a missing key and a wrong
    /// listing fail the test. The drive is restored afterwards.
    pub fn read_damaged(&self, changes: &Changes, also: &[String]) -> Result<Vec<String>, OpenError> {
        let [drive] = &self.drives[..] else { panic!("there is one drive") };
        drive.write(changes);
        let outcome = match NodePlan::open(options_of_set(self.paths(), 1)) {
            Ok(seeds) => node::run(seeds, End::Drop, |core| async move { self.read(&core, also).await }),
            Err(error) => Err(error),
        };
        let undo = |at: usize, length: usize| (at, drive.image[at..at + length].to_vec());
        let mut undone: Changes = changes.iter().map(|(at, bytes)| undo(*at, bytes.len())).collect();
        // Opening writes a new epoch.
        undone.push(undo(0, 1 << 20));
        drive.write(&undone);
        outcome.map(|of_cores| of_cores.into_iter().flatten().collect())
    }

    /// Reads all objects except most of the tiny ones, but those of `also`. Returns the names of those that
    /// can not be read; everything else that is wrong fails the test.
    pub async fn read(&self, core: &Core, also: &[String]) -> Vec<String> {
        let id = core.bucket(BUCKET).expect("the bucket is there").id;
        let chosen = |(number, (key, _)): &(usize, (&String, &Vec<Content>))| {
            !key.starts_with("tiny/") || number.is_multiple_of(97) || also.contains(key)
        };
        let mut unreadable = Vec::new();
        for (_, (key, body)) in self.bodies.iter().enumerate().filter(chosen) {
            match get(core, id, key).await {
                Ok(Some(bytes)) => {
                    let expected: Vec<u8> = body.iter().flat_map(Content::bytes).collect();
                    assert!(bytes == expected, "WRONG BYTES were served for {key}");
                }
                Ok(None) => panic!("{key} is gone without a word"),
                Err(EngineError::Damaged { .. }) => unreadable.push(key.clone()),
                Err(error) => panic!("{key}: {error}"),
            }
        }
        let mut listed = list_all(core, id).await.expect("the listing");
        listed.retain(|(key, _)| !key.starts_with(SENTINEL));
        let size = |body: &Vec<Content>| body.iter().map(|piece| piece.size_bytes).sum();
        let expected: Vec<_> = self.bodies.iter().map(|(key, body)| (key.clone(), size(body))).collect();
        assert!(listed == expected, "the listing is not what was stored");
        let (key, upload) = &self.upload;
        let upload = core.upload(id, key.as_bytes(), *upload).await.expect("the upload is there");
        assert_eq!(upload.parts.len(), 1, "{upload:?}");
        unreadable.extend(read_stacks(core, &self.stacks).await);
        unreadable
    }

    /// Reads what the logs end with, which must be there.
    pub async fn read_sentinels(&self, core: &Core) {
        let id = core.bucket(BUCKET).expect("the bucket is there").id;
        for number in 0..SENTINELS {
            let (key, content) = sentinel(number);
            let bytes = get(core, id, &key).await.unwrap_or_else(|error| panic!("{key}: {error}"));
            assert!(bytes == Some(content.bytes()), "{key} is not what was stored");
        }
        let listed = list_all(core, id).await.expect("the listing");
        let sentinels = listed.iter().filter(|(key, _)| key.starts_with(SENTINEL));
        assert_eq!(sentinels.count() as u64, SENTINELS);
    }

    /// Finishes the upload, and compares the object that it makes with its part.
    pub async fn finish_upload(&self, core: &Core) {
        let (id, (key, upload)) = (core.bucket(BUCKET).expect("the bucket is there").id, &self.upload);
        let parts = vec![(1, etag(OPEN_PART))];
        let meta = ObjectMeta { etag: etag(OPEN_PART), attributes: Vec::new() };
        let condition = WriteCondition::default();
        let done = core.complete_upload(id, key.as_bytes(), *upload, parts, meta, condition).await;
        done.expect("the upload is finished");
        let bytes = get(core, id, key).await.expect("what was uploaded is read");
        assert!(bytes == Some(OPEN_PART.bytes()), "the part is not what was stored");
    }
}

/// Returns the key and the content of one of the objects at the end of the logs.
fn sentinel(number: u64) -> (String, Content) {
    (format!("{SENTINEL}{number}"), Content::new(number, 100))
}

/// Reads every version by its generation, and compares the listing. Returns the names of the versions
/// that could not be read; everything else that is wrong fails the test.
pub async fn read_stacks(core: &Core, stacks: &Stacks) -> Vec<String> {
    let id = core.bucket(VERSIONS).expect("the bucket with versions is there").id;
    let query = VersionsQuery { max_items: 10_000, ..VersionsQuery::default() };
    let page = core.list_versions(id, &query).await.expect("the listing of versions");
    let shown = page.items.into_iter().map(|item| match item {
        VersionItem::Version { key, generation, is_null, is_marker, .. } => {
            (String::from_utf8_lossy(&key).into_owned(), generation, is_null, is_marker)
        }
        VersionItem::CommonPrefix(prefix) => panic!("nothing was grouped, but for {prefix:?}"),
    });
    let all = || stacks.iter().flat_map(|(key, stack)| stack.iter().map(move |kept| (key, kept)));
    let expected =
        all().map(|(key, kept)| (key.clone(), kept.generation, kept.is_null, kept.content.is_none()));
    assert!(shown.eq(expected), "the listing of versions is not what was stored");
    let mut unreadable = Vec::new();
    for (key, kept) in all() {
        let opened = core.open_version(id, key.as_bytes(), Version::Generation(kept.generation)).await;
        match read_version(opened, kept).await {
            Ok(is_same) => assert!(is_same, "{key} was served wrong, it has {kept:?}"),
            Err(EngineError::Damaged { .. }) => unreadable.push(version_name(key, kept.generation)),
            Err(error) => panic!("{key}: {error}"),
        }
    }
    unreadable
}

/// Returns whether what was opened is this version, with its newest metadata.
async fn read_version(opened: Result<Opened, EngineError>, kept: &Kept) -> Result<bool, EngineError> {
    let reader: Option<ObjectReader> = match opened? {
        Opened::Object(reader) => Some(reader),
        Opened::Marker(_) => None,
        Opened::Absent => return Ok(false),
    };
    let (Some(mut reader), Some(content)) = (reader, kept.content) else {
        return Ok(kept.content.is_none());
    };
    let same_metadata = reader.info().attributes == attributes(kept.tag);
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await? {
        bytes.extend_from_slice(chunk.as_ref());
    }
    Ok(same_metadata && content.difference(&bytes).is_none())
}

fn attributes(tag: u64) -> Attributes {
    if tag == 0 { Vec::new() } else { vec![("tag".to_owned(), tag.to_string())] }
}

/// Adds a version to every key of the bucket with versions, or a delete marker, and changes the
/// metadata of some. The versions are inline or in slices.
pub async fn write_stacks(core: &Core, versioning: Versioning, seed: u64, stacks: &Mutex<Stacks>) {
    let id = bucket(core, VERSIONS).await;
    if versioning != Versioning::Off {
        core.set_versioning(id, versioning).await.expect("the versioning is set");
    }
    let is_null = versioning != Versioning::Enabled;
    let mut dice = Dice::new(seed);
    for number in 0..STACKS_COUNT {
        let key = format!("{STACKS}{number}");
        let is_marker = versioning != Versioning::Off && dice.below(4) == 0;
        let size = if number.is_multiple_of(6) { 150_000 } else { dice.below(20_000) };
        let content = (!is_marker).then(|| Content::new(dice.next(), size));
        let generation = match content {
            Some(content) => put(core, id, &key, content).await.expect("put"),
            None => {
                match core.delete(id, key.as_bytes(), WriteCondition::default()).await.expect("deleted") {
                    Deleted::Marked { generation, .. } => generation,
                    other => panic!("a delete marker was due, not {other:?}"),
                }
            }
        };
        let mut kept = Kept { generation, content, tag: 0, is_null };
        let changes = if is_marker { 0 } else { dice.below(3) };
        for _ in 0..changes {
            kept.tag = 1 + dice.below(1_000_000) as u64;
            let attributes = attributes(kept.tag);
            let change = MetadataChange {
                generation,
                if_changed: None,
                attributes,
                touches: false,
                ..MetadataChange::default()
            };
            let condition = WriteCondition::default();
            core.update_metadata(id, key.as_bytes(), change, condition).await.expect("changed");
        }
        let mut stacks = stacks.lock().expect("no life panics");
        let stack = stacks.entry(key).or_default();
        stack.retain(|kept| !(is_null && kept.is_null));
        stack.insert(0, kept);
    }
}

fn live<T: Send>(paths: &[PathBuf], end: End, work: impl AsyncFn(Core, BucketId) -> T + Sync) -> T {
    let seeds = NodePlan::open(options_of_set(paths.to_vec(), 1)).expect("the drives open");
    let done = node::run(seeds, end, |core| async {
        let id = bucket(&core, BUCKET).await;
        work(core, id).await
    });
    done.expect("the node opens").pop().expect("there is one core")
}

async fn store(core: &Core, id: BucketId, bodies: &Mutex<Bodies>, key: String, content: Content) {
    put(core, id, &key, content).await.unwrap_or_else(|error| panic!("{key}: {error}"));
    bodies.lock().expect("no life panics").insert(key, vec![content]);
}

async fn first_life(core: Core, id: BucketId, bodies: &Mutex<Bodies>) -> UploadId {
    let mut dice = Dice::new(1);
    let tiny: Vec<(String, Content)> = (0..TINY_KEYS)
        .map(|_| {
            let key = format!("tiny/{:016x}{:016x}{:016x}", dice.next(), dice.next(), dice.next());
            (key, Content::new(dice.next(), dice.below(60)))
        })
        .collect();
    for group in tiny.chunks(500) {
        let stores = group.iter().cloned().map(|(key, content)| store(&core, id, bodies, key, content));
        futures_util::future::join_all(stores).await;
    }
    for number in 0..60 {
        let content = Content::new(dice.next(), dice.below(64 << 10));
        store(&core, id, bodies, format!("inline/{number}"), content).await;
    }
    for (number, size) in [70_000, 300_000, 4 << 20, (5 << 20) + 17, 9 << 20].into_iter().enumerate() {
        store(&core, id, bodies, format!("large/{number}"), Content::new(dice.next(), size)).await;
    }
    complete(&core, id, bodies).await;
    let upload = core.create_upload(id, UPLOAD.as_bytes(), Vec::new()).await.expect("an upload");
    put_part(&core, id, UPLOAD, (upload, 1), OPEN_PART).await.expect("a part");
    upload
}

/// Stores an object of two parts.
async fn complete(core: &Core, id: BucketId, bodies: &Mutex<Bodies>) {
    let key = "multipart/done";
    let pieces = [Content::new(77, 400_000), Content::new(78, 150_000)];
    let upload = core.create_upload(id, key.as_bytes(), Vec::new()).await.expect("an upload");
    let mut parts = Vec::new();
    for (number, piece) in (1..).zip(pieces) {
        parts.push((number, put_part(core, id, key, (upload, number), piece).await.expect("a part")));
    }
    let meta = ObjectMeta { etag: etag(pieces[0]), attributes: Vec::new() };
    let condition = WriteCondition::default();
    core.complete_upload(id, key.as_bytes(), upload, parts, meta, condition).await.expect("completed");
    bodies.lock().expect("no life panics").insert(key.to_owned(), pieces.to_vec());
}

/// Overwrites and deletes objects, so that what the checkpoint names is elsewhere than before.
async fn second_life(core: Core, id: BucketId, bodies: &Mutex<Bodies>) {
    let mut dice = Dice::new(2);
    for number in 0..20 {
        let content = Content::new(dice.next(), dice.below(64 << 10));
        store(&core, id, bodies, format!("inline/{number}"), content).await;
    }
    store(&core, id, bodies, "large/1".to_owned(), Content::new(dice.next(), 350_000)).await;
    for number in 50..60 {
        let key = format!("inline/{number}");
        core.delete(id, key.as_bytes(), WriteCondition::default()).await.expect("deleted");
        bodies.lock().expect("no life panics").remove(&key);
    }
}

/// Stores objects that only the log contains.
async fn third_life(core: Core, id: BucketId, bodies: &Mutex<Bodies>) {
    let mut dice = Dice::new(3);
    for number in 0..30 {
        let content = Content::new(dice.next(), 3000 + dice.below(60 << 10));
        store(&core, id, bodies, format!("recent/{number}"), content).await;
    }
    store(&core, id, bodies, "recent/large".to_owned(), Content::new(dice.next(), 500_000)).await;
    for number in 0..SENTINELS {
        let (key, content) = sentinel(number);
        put(&core, id, &key, content).await.expect("a sentinel");
    }
}
