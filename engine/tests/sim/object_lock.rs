//! Object lock: a version that a legal hold or a retention protects is neither removed nor replaced,
//! and its retention only becomes longer, whatever happens between. What its clock does is in
//! [`lock_clock`](crate::lock_clock).

use std::rc::Rc;

use ringbolt_engine::env::Environment;
use ringbolt_engine::node::{Core, Opened};
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::rules::DAY_MS;
use ringbolt_engine::types::{
    Attributes, BucketCreated, BucketId, BucketLock, ConfigKind, DefaultRetention, Deleted, Deletion, Lock,
    MetadataChange, ObjectInfo, ObjectMeta, Period, Retention, RetentionMode, Version, Versioning,
    WriteCondition,
};
use ringbolt_engine::{EngineError, Result};

use crate::world::{MIB, World, body, bucket, delete, etag, get, put};

pub use RetentionMode::{Compliance, Governance};

/// The start of the simulated wall clock.
pub const START_MS: u64 = 1_767_225_600_000;
const LARGE: usize = 200_000;

pub fn retained(mode: RetentionMode, until_ms: u64) -> Lock {
    Lock { retention: Some(Retention { mode, until_ms }), hold: false }
}

pub fn held() -> Lock {
    Lock { hold: true, ..Lock::default() }
}

pub async fn locked_bucket(core: &Core, name: &str) -> BucketId {
    match core
        .create_bucket_with(name, "owner", Vec::new(), true, Vec::new())
        .await
        .expect("a bucket is made")
    {
        BucketCreated::New(bucket) | BucketCreated::Exists(bucket) => bucket.id,
    }
}

pub async fn put_locked(
    core: &Core,
    id: BucketId,
    key: &[u8],
    (tag, length): (u64, usize),
    lock: Lock,
) -> Result<u64> {
    let mut writer = core.put(id, key, length as u64).await?;
    writer.write(&body(tag, length)).await?;
    let mut attributes = Attributes::new();
    lock.write(&mut attributes);
    let meta = ObjectMeta { etag: etag(tag), attributes };
    writer.commit(meta, WriteCondition::default()).await.map(|info| info.generation)
}

async fn info(core: &Core, id: BucketId, key: &[u8], generation: u64) -> Option<ObjectInfo> {
    match core.open_version(id, key, Version::Generation(generation)).await.expect("opened") {
        Opened::Object(reader) => Some(reader.info().clone()),
        _ => None,
    }
}

pub async fn lock_of(core: &Core, id: BucketId, key: &[u8], generation: u64) -> Option<Lock> {
    info(core, id, key, generation).await.map(|info| Lock::of(&info.attributes))
}

pub async fn relock(
    core: &Core,
    id: BucketId,
    key: &[u8],
    generation: u64,
    (lock, bypass_governance): (Lock, bool),
) -> Result<()> {
    let found = info(core, id, key, generation).await.expect("the version is there");
    let mut attributes = found.attributes;
    lock.write(&mut attributes);
    let if_changed = Some(found.metadata_change);
    let change = MetadataChange {
        generation,
        if_changed,
        attributes,
        touches: false,
        bypass_governance,
        unless_versioned: false,
    };
    core.update_metadata(id, key, change, WriteCondition::default()).await.map(|_| ())
}

pub async fn remove(core: &Core, id: BucketId, key: &[u8], generation: u64, bypass: bool) -> Result<Deleted> {
    let version = Version::Generation(generation);
    let deletion = Deletion { version, bypass_governance: bypass, ..Deletion::default() };
    core.remove(id, key, deletion).await
}

pub fn is_removed(deleted: &Result<Deleted>) -> bool {
    matches!(deleted, Ok(Deleted::Removed { marker: false, .. }))
}

/// Every kind of lock on versions of one key, and what may be done to them.
#[test]
fn what_protects_a_version_and_what_ends_it() {
    let world = World::new(2001, 96 * MIB, 2, 2);
    let (node, sim) = (world.open(), world.sim.clone());
    world.run(async move {
        let core = node.core(0);
        let (id, key) = (locked_bucket(&core, "b").await, b"k".as_slice());
        let soon = START_MS + 60_000;
        let hold = put_locked(&core, id, key, (1, 100), held()).await.expect("put");
        let governance =
            put_locked(&core, id, key, (2, LARGE), retained(Governance, soon)).await.expect("put");
        let compliance = put_locked(&core, id, key, (3, 100), retained(Compliance, soon)).await.expect("put");
        let none = put_locked(&core, id, key, (4, 100), Lock::default()).await.expect("put");
        assert!(is_removed(&remove(&core, id, key, none, false).await), "nothing locks it");
        for (generation, bypass) in [(hold, false), (hold, true), (governance, false), (compliance, true)] {
            let refused = remove(&core, id, key, generation, bypass).await;
            assert_eq!(refused, Err(EngineError::Locked), "{generation} {bypass}");
        }
        // A delete that names no version adds a marker, which is never locked; a put adds a version.
        let Ok(Deleted::Marked { generation: marker, .. }) = delete(&core, id, key).await else {
            panic!("a marker is added")
        };
        put(&core, id, key, 5, 100).await.expect("put");
        assert!(matches!(
            remove(&core, id, key, marker, false).await,
            Ok(Deleted::Removed { marker: true, .. })
        ));
        // A hold and a retention each protect alone.
        let both = Lock { hold: true, ..retained(Governance, soon) };
        relock(&core, id, key, governance, (both, false)).await.expect("a hold can be added");
        assert_eq!(remove(&core, id, key, governance, true).await, Err(EngineError::Locked));
        relock(&core, id, key, governance, (retained(Governance, soon), false)).await.expect("and removed");
        assert!(is_removed(&remove(&core, id, key, governance, true).await), "by bypass");
        relock(&core, id, key, hold, (Lock::default(), false)).await.expect("the hold ends");
        assert!(is_removed(&remove(&core, id, key, hold, false).await));
        sim.sleep_us(59_000_000).await;
        assert_eq!(remove(&core, id, key, compliance, true).await, Err(EngineError::Locked));
        sim.sleep_us(1_100_000).await;
        assert!(is_removed(&remove(&core, id, key, compliance, false).await), "its time is over");
    });
}

/// What may become of a retention, by its mode, while it lasts and after it.
#[test]
fn a_retention_only_becomes_longer() {
    let world = World::new(2002, 96 * MIB, 1, 1);
    let (node, sim) = (world.open(), world.sim.clone());
    world.run(async move {
        let core = node.core(0);
        let (id, key) = (locked_bucket(&core, "b").await, b"k".as_slice());
        let at = START_MS + 100_000;
        for (number, old, new, bypass, allowed) in [
            (1, retained(Compliance, at), retained(Compliance, at + 1), false, true),
            (2, retained(Compliance, at), retained(Compliance, at - 1), true, false),
            (3, retained(Compliance, at), retained(Governance, at + 1), true, false),
            (4, retained(Compliance, at), held(), true, false),
            (5, retained(Governance, at), retained(Governance, at + 1), false, true),
            (6, retained(Governance, at), retained(Governance, at - 1), false, false),
            (7, retained(Governance, at), retained(Governance, at - 1), true, true),
            (8, retained(Governance, at), Lock::default(), false, false),
            (9, retained(Governance, at), Lock::default(), true, true),
            (10, retained(Governance, at), retained(Compliance, at), true, true),
            (11, held(), retained(Compliance, at), false, true),
        ] {
            let generation = put_locked(&core, id, key, (number, 100), old).await.expect("put");
            let changed = relock(&core, id, key, generation, (new, bypass)).await;
            let expected = if allowed { Ok(()) } else { Err(EngineError::Locked) };
            assert_eq!(changed, expected, "{old:?} {new:?} {bypass}");
            let now = if allowed { new } else { old };
            assert_eq!(lock_of(&core, id, key, generation).await, Some(now));
            // A change of something else may not drop the retention either.
            if old.retention.is_some() && !allowed {
                let tags = vec![(":tag:a".to_owned(), "b".to_owned())];
                let change = MetadataChange { generation, attributes: tags, ..MetadataChange::default() };
                let dropped = core.update_metadata(id, key, change, WriteCondition::default()).await;
                assert_eq!(dropped, Err(EngineError::Locked), "{old:?}");
            }
        }
        sim.sleep_us(101_000_000).await;
        let generation = put_locked(&core, id, key, (20, 100), retained(Compliance, at)).await.expect("put");
        relock(&core, id, key, generation, (Lock::default(), false)).await.expect("it has ended");
    });
}

/// The default retention of the bucket is that of versions that bring none; markers get none.
#[test]
fn a_bucket_gives_its_retention_to_what_brings_none() {
    let world = World::new(2003, 96 * MIB, 2, 1);
    let (node, sim) = (world.open(), world.sim.clone());
    world.run(async move {
        let core = node.core(0);
        let (id, key) = (locked_bucket(&core, "b").await, b"k".as_slice());
        for (tag, mode, period, days) in
            [(1, Governance, Period::Days(3), 3), (10, Compliance, Period::Years(2), 730)]
        {
            let lock = BucketLock { default: Some(DefaultRetention { mode, period }) };
            core.set_bucket_config(id, ConfigKind::LOCK, Some(lock.encode())).await.expect("set");
            let put = put_locked(&core, id, key, (tag, 100), Lock::default()).await.expect("put");
            let held = put_locked(&core, id, key, (tag + 1, 100), held()).await.expect("put");
            let upload = core.create_upload(id, key, Vec::new()).await.expect("begun");
            let mut part = core.put_part(id, key, upload, 1, 1000).await.expect("begun");
            part.write(&body(tag + 2, 1000)).await.expect("written");
            part.commit_part(etag(tag + 2), Vec::new()).await.expect("put");
            sim.sleep_us(5_000_000).await;
            let meta = ObjectMeta { etag: etag(tag + 2), attributes: Vec::new() };
            let parts = vec![(1, etag(tag + 2))];
            let completed =
                core.complete_upload(id, key, upload, parts, meta, WriteCondition::default()).await;
            let completed = completed.expect("completed");
            assert_eq!(completed.attributes.len(), 1, "the answer says what it is");
            for generation in [put, held, completed.generation] {
                let found = info(&core, id, key, generation).await.expect("there");
                let lock = Lock::of(&found.attributes);
                let until_ms = found.modified_ms + days * DAY_MS;
                assert_eq!(lock, Lock { hold: generation == held, ..retained(mode, until_ms) });
            }
            let own = retained(Governance, START_MS + 60_000);
            let own_put = put_locked(&core, id, key, (tag + 3, 100), own).await.expect("put");
            assert_eq!(lock_of(&core, id, key, own_put).await, Some(own), "it brings its own");
            let Ok(Deleted::Marked { generation, .. }) = delete(&core, id, key).await else {
                panic!("a marker is added")
            };
            assert!(remove(&core, id, key, generation, false).await.is_ok(), "a marker is not locked");
        }
    });
}

/// The wall clock went forward and back by some hours, so it was behind the time by which retentions
/// are judged. A default retention of a day then began in the past, and protected for no time at all.
#[test]
fn a_default_retention_lasts_although_the_wall_clock_is_behind() {
    let world = World::new(2004, 96 * MIB, 1, 1);
    let (node, sim) = (world.open(), world.sim.clone());
    world.run(async move {
        let core = node.core(0);
        let id = locked_bucket(&core, "b").await;
        let default = DefaultRetention { mode: Compliance, period: Period::Days(1) };
        let lock = BucketLock { default: Some(default) };
        core.set_bucket_config(id, ConfigKind::LOCK, Some(lock.encode())).await.expect("set");
        sim.jump_wall_clock(DAY_MS as i64 - 1000);
        put_locked(&core, id, b"first", (1, 100), Lock::default()).await.expect("put");
        sim.jump_wall_clock(1000 - DAY_MS as i64 - 20_000);
        let late = put_locked(&core, id, b"late", (2, 100), Lock::default()).await.expect("put");
        let reading = core.lock_time_of(id, b"late").await.expect("asked").expect("kept");
        let lock = lock_of(&core, id, b"late", late).await.expect("there");
        assert!(
            lock.retention.expect("retained").until_ms >= reading.now_ms + DAY_MS,
            "{reading:?} {lock:?}"
        );
        assert_eq!(remove(&core, id, b"late", late, true).await, Err(EngineError::Locked));
    });
}

/// A bucket with object lock keeps both the lock and its versions, and one whose versioning is not
/// enabled gets none.
#[test]
fn object_lock_and_versioning_stay_together() {
    let world = World::new(2005, 96 * MIB, 2, 2);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let core = on.core(1);
        let plain = bucket(&core, "plain").await;
        let lock = Some(BucketLock::default().encode());
        let refused = Err(EngineError::LockNeedsVersions);
        assert_eq!(core.set_bucket_config(plain, ConfigKind::LOCK, lock.clone()).await, refused);
        put(&core, plain, b"k", 1, 100).await.expect("put");
        core.set_versioning(plain, Versioning::Suspended).await.expect("suspended");
        assert_eq!(core.set_bucket_config(plain, ConfigKind::LOCK, lock.clone()).await, refused);
        core.set_versioning(plain, Versioning::Enabled).await.expect("enabled");
        core.set_bucket_config(plain, ConfigKind::LOCK, lock).await.expect("locked");
        plain
    });
    world.crash(node);
    let node = world.open();
    world.run(async move {
        let core = node.core(0);
        let made = locked_bucket(&core, "made with it").await;
        for id in [id, made] {
            let refused = Err(EngineError::LockNeedsVersions);
            assert_eq!(core.set_versioning(id, Versioning::Suspended).await, refused);
            for kind in [ConfigKind::VERSIONING, ConfigKind::LOCK] {
                assert_eq!(core.set_bucket_config(id, kind, None).await, refused, "{kind:?}");
            }
            let found = core.buckets().into_iter().find(|bucket| bucket.id == id).expect("there");
            assert_eq!((found.versioning, found.lock), (Versioning::Enabled, Some(BucketLock::default())));
        }
        // The null version from before can be locked, and what is put later leaves it.
        let generation = get(&core, id, b"k").await.expect("read").expect("there").0.generation;
        relock(&core, id, b"k", generation, (held(), false)).await.expect("held");
        put(&core, id, b"k", 2, 100).await.expect("put");
        let version = Deletion { version: Version::Null, bypass_governance: true, ..Deletion::default() };
        assert_eq!(core.remove(id, b"k", version).await, Err(EngineError::Locked));
        assert_eq!(core.delete_bucket(id).await, Err(EngineError::BucketNotEmpty));
    });
}

/// Where a put or a delete replaces the null version, it is refused while that is locked.
#[test]
fn a_locked_null_version_is_not_replaced() {
    let world = World::new(2006, 96 * MIB, 1, 1);
    let (node, sim) = (world.open(), world.sim.clone());
    world.run(async move {
        let core = node.core(0);
        for (number, versioning) in (0..).zip([Versioning::Off, Versioning::Suspended]) {
            let id = bucket(&core, &format!("b{number}")).await;
            core.set_versioning(id, versioning).await.expect("set");
            let lock = retained(Compliance, sim.wall_clock_ms() + 30_000);
            put_locked(&core, id, b"k", (1, LARGE), lock).await.expect("put");
            assert_eq!(put(&core, id, b"k", 2, 100).await.map(|_| ()), Err(EngineError::Locked));
            assert_eq!(delete(&core, id, b"k").await.map(|_| ()), Err(EngineError::Locked));
            let upload = core.create_upload(id, b"k", Vec::new()).await.expect("begun");
            let mut part = core.put_part(id, b"k", upload, 1, 1000).await.expect("begun");
            part.write(&body(3, 1000)).await.expect("written");
            part.commit_part(etag(3), Vec::new()).await.expect("put");
            let complete = |core: Core| async move {
                let meta = ObjectMeta { etag: etag(3), attributes: Vec::new() };
                let parts = vec![(1, etag(3))];
                core.complete_upload(id, b"k", upload, parts, meta, WriteCondition::default()).await
            };
            assert_eq!(complete(core.clone()).await.map(|_| ()), Err(EngineError::Locked));
            assert_eq!(get(&core, id, b"k").await.expect("read").expect("there").1, body(1, LARGE));
            sim.sleep_us(31_000_000).await;
            complete(core.clone()).await.expect("the upload is still there");
        }
    });
}

/// Locked versions of every kind, and what they are locked by.
struct Locked {
    world: World,
    node: Rc<SimNode>,
    id: BucketId,
    versions: Vec<(Vec<u8>, u64, Lock)>,
}

impl Locked {
    fn new(seed: u64) -> Self {
        let mut world = World::with_extents_of(2, seed, 200 * MIB, 1, 2);
        world.options.dead_log_bytes_max = 1 << 20;
        let node = world.open();
        let on = node.clone();
        let (id, versions) = world.run(async move {
            let core = on.any_core();
            let id = locked_bucket(&core, "b").await;
            let mut versions = Vec::new();
            let year = START_MS + 365 * DAY_MS;
            for number in 0..36u64 {
                let key = format!("key/{:02}", number % 12).into_bytes();
                let lock = match number % 3 {
                    0 => held(),
                    1 => retained(Governance, year + number),
                    _ => retained(Compliance, year + number),
                };
                let length = [100, 20_000, LARGE][(number % 5 % 3) as usize];
                let generation = match number % 2 {
                    0 => put_locked(&core, id, &key, (number, length), lock).await.expect("put"),
                    _ => {
                        let bare = put_locked(&core, id, &key, (number, length), Lock::default()).await;
                        let generation = bare.expect("put");
                        relock(&core, id, &key, generation, (lock, false)).await.expect("locked");
                        generation
                    }
                };
                versions.push((key, generation, lock));
            }
            (id, versions)
        });
        Self { world, node, id, versions }
    }

    /// Checks that every version says how it is locked, and is not removed.
    fn check(&self) {
        let (on, id, versions) = (self.node.clone(), self.id, self.versions.clone());
        self.world.run(async move {
            let core = on.any_core();
            for (key, generation, lock) in versions {
                assert_eq!(lock_of(&core, id, &key, generation).await, Some(lock));
                let bypass = lock.retention.is_none_or(|retention| retention.mode == Compliance);
                let refused = remove(&core, id, &key, generation, bypass).await;
                assert_eq!(refused, Err(EngineError::Locked), "{lock:?}");
            }
        });
    }

    fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        work: impl FnOnce(Rc<SimNode>, BucketId, Vec<(Vec<u8>, u64, Lock)>) -> F,
    ) -> T {
        self.world.run(work(self.node.clone(), self.id, self.versions.clone()))
    }

    fn restart(self, by_crash: bool) -> Self {
        let Self { world, node, id, versions } = self;
        if by_crash {
            world.crash(node)
        } else {
            world.kill(node)
        }
        let node = world.open();
        Self { world, node, id, versions }
    }
}

#[test]
fn locks_survive_crashes_checkpoints_the_cleaner_compaction_and_changes_of_tags() {
    for seed in 2010..2013 {
        let mut locked = Locked::new(seed);
        locked.check();
        for round in 0..4u64 {
            locked.run(|on, id, versions| async move {
                let core = on.any_core();
                let other = bucket(&core, "other").await;
                for number in 0..60u64 {
                    let key = format!("{round}/{number}");
                    let length = if number % 4 == 0 { LARGE } else { 20_000 };
                    put(&core, other, key.as_bytes(), number, length).await.expect("put");
                }
                for (key, generation, _) in versions.iter().skip(round as usize).step_by(4) {
                    let found = info(&core, id, key, *generation).await.expect("there");
                    let mut attributes = found.attributes;
                    let value = round.to_string();
                    ringbolt_engine::types::traits::write_tags(&mut attributes, [("t", &*value)].into_iter());
                    let change =
                        MetadataChange { generation: *generation, attributes, ..MetadataChange::default() };
                    core.update_metadata(id, key, change, WriteCondition::default()).await.expect("tagged");
                }
                for number in (0..60).filter(|number| number % 7 > 0) {
                    delete(&core, other, format!("{round}/{number}").as_bytes()).await.expect("deleted");
                }
                if round % 2 == 0 {
                    on.checkpoint().await.expect("a checkpoint");
                }
                on.clean().await.expect("cleaned");
                on.compact().await.expect("compacted");
            });
            locked.check();
            locked = locked.restart(round % 2 == 0);
            locked.check();
        }
    }
}

/// A lock and a removal at the same time: one of them comes first, and a version that is locked is
/// there.
#[test]
fn a_lock_and_a_removal_at_the_same_time_leave_one_of_two_outcomes() {
    let (mut locked_first, mut removed_first) = (0, 0);
    for seed in 2020..2060 {
        let world = World::new(seed, 96 * MIB, 2, 3);
        let (node, sim) = (world.open(), world.sim.clone());
        let (lock, removal, there) = world.run(async move {
            let id = locked_bucket(&node.core(0), "b").await;
            let put = put_locked(&node.core(0), id, b"k", (1, 100), Lock::default()).await;
            let generation = put.expect("put");
            let mut attributes = Attributes::new();
            retained(Compliance, START_MS + DAY_MS).write(&mut attributes);
            let change = MetadataChange { generation, attributes, ..MetadataChange::default() };
            let (one, other) = (node.core(1), node.core(2));
            let lock = async {
                sim.sleep_us(sim.random().below(40)).await;
                one.update_metadata(id, b"k", change, WriteCondition::default()).await
            };
            let removal = async {
                sim.sleep_us(sim.random().below(40)).await;
                remove(&other, id, b"k", generation, true).await
            };
            let (lock, removal) = futures_util::future::join(lock, removal).await;
            (lock, removal, lock_of(&node.core(0), id, b"k", generation).await)
        });
        match (&lock, &removal) {
            (Ok(_), Err(EngineError::Locked)) => locked_first += 1,
            (Err(EngineError::Superseded), Ok(Deleted::Removed { .. })) => removed_first += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
        assert_eq!(there.is_some(), lock.is_ok(), "seed {seed}");
    }
    assert!(locked_first > 5 && removed_first > 5, "{locked_first} and {removed_first}");
}

/// The wall clock was ahead by less than is believed, and was set right.
#[test]
fn a_retention_that_is_over_by_the_known_time_is_refused() {
    const HOUR_MS: u64 = DAY_MS / 24;
    let world = World::new(2091, 96 * MIB, 1, 1);
    let (node, sim) = (world.open(), world.sim.clone());
    world.run(async move {
        let core = node.core(0);
        let id = locked_bucket(&core, "b").await;
        let free = put_locked(&core, id, b"k", (1, 10), Lock::default()).await.expect("put");
        sim.jump_wall_clock(23 * HOUR_MS as i64);
        put_locked(&core, id, b"other", (2, 10), held()).await.expect("put");
        sim.jump_wall_clock(-(23 * HOUR_MS as i64));
        let soon = retained(Compliance, sim.wall_clock_ms() + 12 * HOUR_MS);
        assert_eq!(put_locked(&core, id, b"k", (3, 10), soon).await, Err(EngineError::RetentionOver));
        assert_eq!(relock(&core, id, b"k", free, (soon, false)).await, Err(EngineError::RetentionOver));
        let later = retained(Compliance, sim.wall_clock_ms() + 24 * HOUR_MS);
        let kept = put_locked(&core, id, b"k", (4, 10), later).await.expect("put");
        assert_eq!(remove(&core, id, b"k", kept, true).await, Err(EngineError::Locked));
        // What is over by the wall clock too is taken as it is: it protects nothing, and says so.
        let past = retained(Compliance, sim.wall_clock_ms() - 1);
        let over = put_locked(&core, id, b"k", (5, 10), past).await.expect("put");
        assert!(is_removed(&remove(&core, id, b"k", over, false).await));
    });
}

#[test]
fn a_change_in_place_is_refused_where_versions_are_kept() {
    let world = World::new(2092, 96 * MIB, 1, 1);
    let node = world.open();
    world.run(async move {
        let core = node.core(0);
        let id = bucket(&core, "b").await;
        let generation = put_locked(&core, id, b"k", (1, 10), Lock::default()).await.expect("put");
        let change = MetadataChange { generation, unless_versioned: true, ..MetadataChange::default() };
        core.update_metadata(id, b"k", change.clone(), WriteCondition::default()).await.expect("changed");
        core.set_versioning(id, Versioning::Enabled).await.expect("set");
        let refused = core.update_metadata(id, b"k", change, WriteCondition::default()).await;
        assert_eq!(refused, Err(EngineError::Superseded));
    });
}
