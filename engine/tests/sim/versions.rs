//! Versions of a key: what each put and delete does to the stack, by the state of the bucket's
//! versioning, and that a restart, the cleaner, compaction and checkpoints change none of it.

use std::rc::Rc;

use ringbolt_engine::node::{Core, Opened};
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::{
    BucketId, BucketUsage, ConfigKind, Deleted, MetadataChange, Version, VersionItem, Versioning,
    VersionsQuery, WriteCondition,
};
use ringbolt_engine::{EngineError, Result};

use crate::world::{MIB, World, body, bucket, delete, etag, get, put};

const LARGE: usize = 200_000;

/// A version as a listing shows it: the tag of its body or `None` for a marker, and whether it is
/// the null version.
type Shown = (Option<u64>, bool);

fn tag_of(item: &VersionItem) -> (Vec<u8>, u64, Shown) {
    let VersionItem::Version { key, generation, is_null, is_marker, etag, .. } = item else {
        panic!("no delimiter was asked for")
    };
    let tag = u64::from_le_bytes(*etag.md5.first_chunk().expect("eight bytes"));
    (key.clone(), *generation, ((!is_marker).then_some(tag), *is_null))
}

/// Returns the versions of a key, newest first, each with its generation. Pages have two items, so
/// that most begin in the middle of a key.
async fn versions(core: &Core, id: BucketId, key: &[u8]) -> Vec<(u64, Shown)> {
    let mut query = VersionsQuery { prefix: key.to_vec(), max_items: 2, ..VersionsQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = core.list_versions(id, &query).await.expect("listed");
        for item in &page.items {
            let VersionItem::Version { is_latest, .. } = item else { panic!("no delimiter was asked for") };
            let (name, generation, shown) = tag_of(item);
            assert_eq!((name.as_slice(), *is_latest), (key, found.is_empty()));
            found.push((generation, shown));
        }
        if !page.truncated {
            assert!(found.is_sorted_by(|left, right| left.0 > right.0), "{found:?}");
            return found;
        }
        query.after_key = page.next.key;
        query.after_version = Some(Version::Generation(page.next.generation));
    }
}

async fn shown(core: &Core, id: BucketId, key: &[u8]) -> Vec<Shown> {
    versions(core, id, key).await.into_iter().map(|(_, shown)| shown).collect()
}

async fn read(core: &Core, id: BucketId, key: &[u8], version: Version) -> Option<Vec<u8>> {
    let Opened::Object(mut reader) = core.open_version(id, key, version).await.expect("opened") else {
        return None;
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await.expect("read") {
        bytes.extend_from_slice(chunk.as_ref());
    }
    Some(bytes)
}

async fn remove(core: &Core, id: BucketId, key: &[u8], version: Version) -> Result<Deleted> {
    core.delete_version(id, key, version, WriteCondition::default()).await
}

/// Every rule of a stack, one after the other, on one key.
#[test]
fn a_stack_follows_the_state_of_its_bucket() {
    let world = World::new(1801, 96 * MIB, 2, 2);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        let key = b"k";
        put(&core, id, key, 1, 100).await.expect("put");
        assert_eq!(shown(&core, id, key).await, [(Some(1), true)]);
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        // The object from before is the null version, and stays.
        let second = put(&core, id, key, 2, LARGE).await.expect("put");
        assert!(!second.is_null);
        assert_eq!(shown(&core, id, key).await, [(Some(2), false), (Some(1), true)]);
        assert_eq!(read(&core, id, key, Version::Null).await, Some(body(1, 100)));
        let second = Version::Generation(second.generation);
        assert_eq!(read(&core, id, key, second).await, Some(body(2, LARGE)));
        // Every delete adds a marker.
        for _ in 0..2 {
            let marked = delete(&core, id, key).await;
            assert!(matches!(marked, Ok(Deleted::Marked { is_null: false, .. })), "{marked:?}");
        }
        assert!(get(&core, id, key).await.expect("asked").is_none());
        let four = [(None, false), (None, false), (Some(2), false), (Some(1), true)];
        assert_eq!(shown(&core, id, key).await, four);
        // Deleting the newest version brings back the next.
        for (generation, _) in versions(&core, id, key).await.into_iter().take(2) {
            let removed = remove(&core, id, key, Version::Generation(generation)).await;
            assert!(matches!(removed, Ok(Deleted::Removed { marker: true, .. })), "{removed:?}");
        }
        assert_eq!(get(&core, id, key).await.expect("asked").expect("there").1, body(2, LARGE));
        assert_eq!(read(&core, id, key, Version::Null).await, Some(body(1, 100)));
        // After suspension a put replaces the null version wherever it stands, and is the newest.
        core.set_versioning(id, Versioning::Suspended).await.expect("suspended");
        let third = put(&core, id, key, 3, 300).await.expect("put");
        assert!(third.is_null);
        assert_eq!(shown(&core, id, key).await, [(Some(3), true), (Some(2), false)]);
        // Deletes collapse onto one null marker.
        for _ in 0..3 {
            let marked = delete(&core, id, key).await;
            assert!(matches!(marked, Ok(Deleted::Marked { is_null: true, .. })), "{marked:?}");
            assert_eq!(shown(&core, id, key).await, [(None, true), (Some(2), false)]);
        }
        // A put replaces the null marker too.
        put(&core, id, key, 4, LARGE).await.expect("put");
        assert_eq!(shown(&core, id, key).await, [(Some(4), true), (Some(2), false)]);
        assert_eq!(remove(&core, id, key, Version::Generation(77)).await, Ok(Deleted::Absent));
        let removed = remove(&core, id, key, Version::Null).await;
        assert!(matches!(removed, Ok(Deleted::Removed { marker: false, is_null: true, .. })), "{removed:?}");
        assert_eq!(remove(&core, id, key, Version::Null).await, Ok(Deleted::Absent));
        assert_eq!(shown(&core, id, key).await, [(Some(2), false)]);
        assert!(matches!(remove(&core, id, key, second).await, Ok(Deleted::Removed { .. })));
        assert!(shown(&core, id, key).await.is_empty());
        assert_eq!(core.bucket_usage(id).await, Ok(BucketUsage::default()));
        core.delete_bucket(id).await.expect("an empty bucket is deleted");
    });
}

/// A bucket with nothing but a delete marker is not empty.
#[test]
fn a_marker_keeps_its_bucket() {
    let world = World::new(1802, 96 * MIB, 2, 1);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        let marked = delete(&core, id, b"never put").await;
        let Ok(Deleted::Marked { generation, .. }) = marked else { panic!("{marked:?}") };
        assert_eq!(core.delete_bucket(id).await, Err(EngineError::BucketNotEmpty));
        let usage = BucketUsage { markers: 1, ..BucketUsage::default() };
        assert_eq!(core.bucket_usage(id).await, Ok(usage));
        let opened = core.open_version(id, b"never put", Version::Generation(generation)).await;
        assert!(matches!(opened, Ok(Opened::Marker(marker)) if marker.generation == generation));
        let removed = remove(&core, id, b"never put", Version::Generation(generation)).await;
        assert!(matches!(removed, Ok(Deleted::Removed { marker: true, .. })), "{removed:?}");
        core.delete_bucket(id).await.expect("an empty bucket is deleted");
    });
}

/// The body of a put is written in part before, and committed after, another put of the key: it is
/// the newer version.
#[test]
fn the_order_is_that_of_commits_and_not_of_beginnings() {
    let world = World::new(1803, 96 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        let mut slow = core.put(id, b"k", LARGE as u64).await.expect("begun");
        let bytes = body(1, LARGE);
        slow.write(&bytes[..LARGE / 2]).await.expect("written");
        put(&core, id, b"k", 2, LARGE).await.expect("put");
        slow.write(&bytes[LARGE / 2..]).await.expect("written");
        let meta = ringbolt_engine::types::ObjectMeta { etag: etag(1), attributes: Vec::new() };
        slow.commit(meta, WriteCondition::default()).await.expect("committed");
        assert_eq!(shown(&core, id, b"k").await, [(Some(1), false), (Some(2), false)]);
        assert_eq!(get(&core, id, b"k").await.expect("read").expect("there").1, bytes);
    });
}

/// A node with versions of every kind in several keys, and what each must be.
struct Kept {
    world: World,
    node: Rc<SimNode>,
    id: BucketId,
    expected: Vec<(Vec<u8>, Vec<Shown>)>,
}

const KEYS: u64 = 40;

impl Kept {
    fn new(seed: u64) -> Self {
        let mut world = World::with_extents_of(2, seed, 200 * MIB, 1, 2);
        world.options.dead_log_bytes_max = 1 << 20;
        let node = world.open();
        let on = node.clone();
        let (id, expected) = world.run(async move {
            let core = on.any_core();
            let id = bucket(&core, "b").await;
            let mut expected = Vec::new();
            for number in 0..KEYS {
                expected.push((format!("key/{number:03}").into_bytes(), number * 10));
            }
            for (key, tag) in &expected {
                put(&core, id, key, *tag, 100).await.expect("put");
            }
            core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
            for (key, tag) in &expected {
                let length = if tag % 20 == 0 { LARGE } else { 3_000 };
                put(&core, id, key, tag + 1, length).await.expect("put");
                put(&core, id, key, tag + 2, length).await.expect("put");
                delete(&core, id, key).await.expect("marked");
            }
            core.set_versioning(id, Versioning::Suspended).await.expect("suspended");
            let mut all = Vec::new();
            for (key, tag) in expected {
                let mut stack = vec![(None, false), (Some(tag + 2), false), (Some(tag + 1), false)];
                match tag % 3 {
                    0 => stack.push((Some(tag), true)),
                    1 => {
                        put(&core, id, &key, tag + 3, 70_000).await.expect("put");
                        stack.insert(0, (Some(tag + 3), true));
                    }
                    _ => {
                        delete(&core, id, &key).await.expect("marked");
                        stack.insert(0, (None, true));
                    }
                }
                all.push((key, stack));
            }
            (id, all)
        });
        Self { world, node, id, expected }
    }

    fn restart(self, by_crash: bool) -> Self {
        let Self { world, node, id, expected } = self;
        if by_crash {
            world.crash(node)
        } else {
            world.close(node)
        }
        let node = world.open();
        Self { world, node, id, expected }
    }

    /// Compares every stack, and reads every version.
    fn compare(&self) {
        let (on, id, expected) = (self.node.clone(), self.id, self.expected.clone());
        self.node.audit();
        self.world.run(async move {
            let core = on.any_core();
            let mut usage = BucketUsage::default();
            for (key, stack) in expected {
                let found = versions(&core, id, &key).await;
                let shown: Vec<Shown> = found.iter().map(|(_, shown)| *shown).collect();
                assert_eq!(shown, stack, "{}", String::from_utf8_lossy(&key));
                for (generation, (tag, is_null)) in found {
                    let bytes = read(&core, id, &key, Version::Generation(generation)).await;
                    assert_eq!(bytes.is_some(), tag.is_some());
                    if let (Some(bytes), Some(tag)) = (bytes, tag) {
                        assert!(bytes == body(tag, bytes.len()), "{tag}");
                        usage.bytes += bytes.len() as u64;
                    }
                    if is_null {
                        assert_eq!(read(&core, id, &key, Version::Null).await.is_some(), tag.is_some());
                    }
                    usage.versions += u64::from(tag.is_some());
                    usage.markers += u64::from(tag.is_none());
                }
                usage.keys += u64::from(stack[0].0.is_some());
            }
            assert_eq!(core.bucket_usage(id).await, Ok(usage));
        });
    }
}

#[test]
fn versions_survive_crashes_checkpoints_the_cleaner_and_compaction() {
    for seed in 1810..1814 {
        let mut kept = Kept::new(seed);
        kept.compare();
        for round in 0..4 {
            let on = kept.node.clone();
            kept.world.run(async move {
                let core = on.any_core();
                let id = bucket(&core, "other").await;
                // Other objects come and go, so that there is something to clean and to move.
                for number in 0..60u64 {
                    let key = format!("{round}/{number}");
                    put(&core, id, key.as_bytes(), number, if number % 4 == 0 { LARGE } else { 20_000 })
                        .await
                        .expect("put");
                }
                for number in (0..60).filter(|number| number % 7 > 0) {
                    delete(&core, id, format!("{round}/{number}").as_bytes()).await.expect("deleted");
                }
                on.checkpoint().await.expect("a checkpoint");
                on.clean().await.expect("cleaned");
                on.compact().await.expect("compacted");
            });
            kept.compare();
            kept = kept.restart(round % 2 == 0);
            kept.compare();
        }
    }
}

/// A change of metadata is a record of its own: the data stay where they are, and so does everything
/// else of the version.
#[test]
fn metadata_changes_without_the_data() {
    let mut world = World::with_extents_of(2, 1820, 200 * MIB, 1, 2);
    world.options.dead_log_bytes_max = 1 << 20;
    let mut node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let core = on.any_core();
        let id = bucket(&core, "b").await;
        for (number, length) in (0..).zip([0, 100, 60_000, LARGE, 5 << 20]) {
            put(&core, id, &[b'k', number], u64::from(number), length).await.expect("put");
        }
        id
    });
    for round in 1..6u32 {
        let on = node.clone();
        world.run(async move {
            let core = on.any_core();
            for number in 0..5u8 {
                let key = [b'k', number];
                let (info, bytes) = get(&core, id, &key).await.expect("read").expect("there");
                assert!(bytes == body(u64::from(number), bytes.len()), "{number}");
                assert_eq!(info.metadata_change, round - 1);
                if round > 1 {
                    assert_eq!(info.attributes, [("round".to_owned(), (round - 1).to_string())]);
                }
                let change = MetadataChange {
                    generation: info.generation,
                    if_changed: Some(round - 1),
                    attributes: vec![("round".to_owned(), round.to_string())],
                    touches: round % 2 == 0,
                    bypass_governance: false,
                    unless_versioned: false,
                };
                let stale = MetadataChange { if_changed: Some(round + 1), ..change.clone() };
                let refused = core.update_metadata(id, &key, stale, WriteCondition::default()).await;
                assert_eq!(refused, Err(EngineError::Superseded));
                let updated = core.update_metadata(id, &key, change, WriteCondition::default()).await;
                let modified_ms = updated.expect("changed");
                assert_eq!(modified_ms > info.modified_ms, round % 2 == 0);
            }
            // Records of the log die, so that the cleaner copies those of metadata and of objects.
            for _ in 0..80u64 {
                put(&core, id, b"other", 9, 60_000).await.expect("put");
            }
            on.clean().await.expect("cleaned");
            if round % 2 == 0 {
                on.checkpoint().await.expect("a checkpoint");
            }
            on.compact().await.expect("compacted");
        });
        node.audit();
        match round % 3 {
            0 => world.close(node),
            1 => world.crash(node),
            _ => world.kill(node),
        }
        node = world.open();
    }
    let on = node.clone();
    world.run(async move {
        let core = on.any_core();
        let gone = MetadataChange { generation: 5, ..MetadataChange::default() };
        let refused = core.update_metadata(id, b"k\0", gone, WriteCondition::default()).await;
        assert_eq!(refused, Err(EngineError::Superseded));
        for number in 0..5u8 {
            delete(&core, id, &[b'k', number]).await.expect("deleted");
        }
        delete(&core, id, b"other").await.expect("deleted");
        on.checkpoint().await.expect("a checkpoint");
        on.checkpoint().await.expect("a checkpoint");
        let space = on.space().await;
        assert_eq!((space.live_bytes, space.objects), (0, 0), "{space:?}");
    });
}

/// The configuration of a bucket is durable, known everywhere, and gone with its bucket.
#[test]
fn configuration_is_kept_by_kind() {
    let world = World::new(1830, 96 * MIB, 2, 2);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let core = on.core(1);
        let id = bucket(&core, "b").await;
        let (one, two) = (ConfigKind(900), ConfigKind(7));
        core.set_bucket_config(id, one, Some(vec![1; 5000])).await.expect("set");
        core.set_bucket_config(id, two, Some(vec![2])).await.expect("set");
        core.set_bucket_config(id, one, Some(vec![3; 20_000])).await.expect("set");
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        on.checkpoint().await.expect("a checkpoint");
        core.set_bucket_config(id, two, None).await.expect("removed");
        core.set_versioning(id, Versioning::Suspended).await.expect("suspended");
        let missing = core.set_bucket_config(BucketId(99), two, None).await;
        assert_eq!(missing, Err(EngineError::NoSuchBucket));
        id
    });
    world.crash(node);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        for index in 0..2 {
            let bucket = on.core(index).bucket("b").expect("there");
            assert_eq!((bucket.id, bucket.versioning), (id, Versioning::Suspended));
            let values: Vec<(u16, usize)> =
                bucket.config.iter().map(|(kind, value)| (kind.0, value.len())).collect();
            assert_eq!(values, [(ConfigKind::VERSIONING.0, 1), (900, 20_000)]);
        }
        on.core(0).delete_bucket(id).await.expect("deleted");
        let again = bucket(&on.core(0), "b").await;
        assert!(again != id && on.core(1).bucket("b").expect("there").config.is_empty());
    });
}

/// The point table once made room at a start for all versions, although it has one entry for each
/// key. A shard with a tight index did not open again.
#[test]
fn a_restart_takes_no_more_memory_for_versions_than_the_life_before() {
    let world = World::new(1840, 96 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let before = world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        for number in 0..4000 {
            put(&core, id, b"k", number, 0).await.expect("put");
        }
        on.checkpoint().await.expect("a checkpoint");
        on.space().await.index_bytes
    });
    world.close(node);
    let node = world.open();
    let after = world.run(async move { node.space().await.index_bytes });
    assert!(after <= before + before / 10, "{after} bytes after the restart, {before} before");
}
