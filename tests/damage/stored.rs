//! This module stores the drive that is damaged: objects of all kinds, checkpoints, and a log that
//! was not closed.

use crate::atlas::version_name;
use ringbolt_engine::EngineError;
use ringbolt_engine::node::{Core, NodePlan, ObjectReader, OpenError, Opened};
use ringbolt_engine::types::{
    Attributes, BucketId, Deleted, MetadataChange, ObjectMeta, UploadId, Version, VersionItem, Versioning,
    VersionsQuery, WriteCondition,
};
use ringbolt_tests::node::{self, End, bucket, etag, get, list_all, options, put, put_part};
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

/// Holds what was stored, and the drive file as it was left.
pub struct Stored {
    path: PathBuf,
    bodies: BTreeMap<String, Vec<Content>>,
    stacks: Stacks,
    upload: (String, UploadId),
    /// This is the drive after its first clean stop.
    pub old: Vec<u8>,
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

impl Stored {
    pub fn make(directory: &Path) -> Self {
        let path = directory.join("drive");
        node::format(&path, DRIVE_BYTES, SHARDS, 4711);
        let (bodies, stacks) = (Mutex::new(Bodies::new()), Mutex::new(Stacks::new()));
        let upload = live(&path, End::Close, async |core, id| {
            write_stacks(&core, Versioning::Off, 10, &stacks).await;
            write_stacks(&core, Versioning::Enabled, 11, &stacks).await;
            first_life(core, id, &bodies).await
        });
        let old = std::fs::read(&path).expect("read the drive");
        live(&path, End::Close, async |core, id| {
            write_stacks(&core, Versioning::Suspended, 12, &stacks).await;
            write_stacks(&core, Versioning::Enabled, 13, &stacks).await;
            second_life(core, id, &bodies).await;
        });
        live(&path, End::Drop, async |core, id| {
            write_stacks(&core, Versioning::Enabled, 14, &stacks).await;
            third_life(core, id, &bodies).await;
        });
        let image = std::fs::read(&path).expect("read the drive");
        let bodies = bodies.into_inner().expect("no life panics");
        let stacks = stacks.into_inner().expect("no life panics");
        Self { path, bodies, stacks, upload: ("multipart/open".to_owned(), upload), old, image }
    }

    /// Writes these bytes to the drive, opens it, and reads all objects except most of the tiny
    /// ones. Returns the keys that could not be read; wrong bytes, a missing key and a wrong
    /// listing fail the test. The drive is restored afterwards.
    pub fn read_damaged(
        &self,
        changes: &[(usize, Vec<u8>)],
        also: &[String],
    ) -> Result<Vec<String>, OpenError> {
        let file = File::options().write(true).open(&self.path).expect("open the drive");
        let write =
            |at: usize, bytes: &[u8]| file.write_all_at(bytes, at as u64).expect("write to the drive");
        changes.iter().for_each(|(at, bytes)| write(*at, bytes));
        file.sync_all().expect("flush the drive");
        let outcome = match NodePlan::open(options(self.path.clone(), 1)) {
            Ok(seeds) => node::run(seeds, End::Drop, |core| async move { self.read(&core, also).await }),
            Err(error) => Err(error),
        };
        changes.iter().for_each(|(at, bytes)| write(*at, &self.image[*at..*at + bytes.len()]));
        // Opening writes a new epoch.
        write(0, &self.image[..1 << 20]);
        file.sync_all().expect("flush the drive");
        outcome.map(|of_cores| of_cores.into_iter().flatten().collect())
    }

    /// Returns whether the file is as it was before any damage.
    pub fn is_restored(&self) -> bool {
        std::fs::read(&self.path).expect("read the drive") == self.image
    }

    async fn read(&self, core: &Core, also: &[String]) -> Vec<String> {
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

fn live<T: Send>(path: &Path, end: End, work: impl AsyncFn(Core, BucketId) -> T + Sync) -> T {
    let seeds = NodePlan::open(options(path.to_owned(), 1)).expect("the drive opens");
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
    let key = "multipart/open";
    let upload = core.create_upload(id, key.as_bytes(), Vec::new()).await.expect("an upload");
    put_part(&core, id, key, (upload, 1), Content::new(5, 200_000)).await.expect("a part");
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
        let content = Content::new(number, 100);
        put(&core, id, &format!("{SENTINEL}{number}"), content).await.expect("a sentinel");
    }
}
