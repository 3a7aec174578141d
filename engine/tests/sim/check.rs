//! A check finds every kind of damage, and after a repair the node opens with everything that was
//! not damaged.

use std::path::PathBuf;
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::check::{
    CheckError, Finding, Kind, Medium, Outcome, Progress, Remedy, Watcher, check, repair,
};
use ringbolt_engine::format::batch::HEADER_BYTES;
use ringbolt_engine::format::record::{ENVELOPE_BYTES, RECORD_ALIGNMENT};
use ringbolt_engine::format::set::SET_BYTES;
use ringbolt_engine::node::OpenError;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::sim::device::SimDevice;
use ringbolt_engine::types::BucketId;

use crate::world::{MIB, World, body, bucket, delete, get, list_all, put};

const COPY_STRIDE: u64 = 64 << 10;

#[derive(Default)]
pub struct Seen {
    pub findings: Vec<Finding>,
    share: f64,
}

impl Watcher for Seen {
    fn finding(&mut self, finding: &Finding) {
        self.findings.push(finding.clone());
    }

    fn progress(&mut self, progress: &Progress) {
        assert!(progress.share >= self.share && progress.share <= 1.0, "{progress:?} after {}", self.share);
        self.share = progress.share;
    }
}

impl Seen {
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.findings.iter().map(|finding| finding.kind).collect();
        kinds.dedup();
        kinds
    }
}

/// Copies the drives' bytes to devices that wait for no clock.
pub fn copied(world: &World) -> Vec<SimDevice> {
    let copy = |drive: &SimDevice| {
        let size = ringbolt_engine::device::Device::size_bytes(drive);
        let copied = SimDevice::new(size);
        copied.poke(0, &drive.peek(0, size as usize));
        copied
    };
    world.drives.iter().map(copy).collect()
}

pub fn media(drives: &[SimDevice]) -> Vec<Medium> {
    let medium = |(at, drive): (usize, &SimDevice)| Medium {
        path: PathBuf::from(format!("drive{at}")),
        device: Rc::new(drive.clone()),
        blocking: None,
    };
    drives.iter().enumerate().map(medium).collect()
}

pub fn checked(drives: &[SimDevice], deep: bool) -> (Outcome, Seen) {
    let mut seen = Seen::default();
    let outcome = check(&media(drives), deep, &mut seen).expect("it can be checked");
    (outcome, seen)
}

pub fn assert_clean(drives: &[SimDevice]) -> Outcome {
    let (outcome, seen) = checked(drives, true);
    assert_eq!(seen.findings, [], "a sound drive");
    outcome
}

fn flip(drive: &SimDevice, offset: u64) {
    drive.damage(offset, |bytes| bytes[0] ^= 0x10);
}

/// Returns a world over the bytes of `drives`.
pub fn reopened(world: &World, drives: &[SimDevice]) -> World {
    World { sim: world.sim.clone(), drives: drives.to_vec(), options: world.options }
}

/// Stores objects `k0` to `k<n>` of these sizes on a node of `shards` shards, and kills the node.
fn stored(seed: u64, shards: u16, sizes: &'static [usize], checkpoint: bool) -> (World, BucketId) {
    let world = World::new(seed, 192 * MIB, shards, 2);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "photos").await;
        for (tag, size) in sizes.iter().enumerate() {
            put(&on.core(0), id, format!("k{tag}").as_bytes(), tag as u64, *size).await.expect("stored");
        }
        if checkpoint {
            on.checkpoint().await.expect("a checkpoint");
        }
        id
    });
    world.kill(node);
    (world, id)
}

/// Asserts that every object except those in `lost` is complete.
fn assert_holds(world: &World, id: BucketId, sizes: &'static [usize], lost: &'static [usize]) {
    let node: Rc<SimNode> = world.open();
    let on = node.clone();
    world.run(async move {
        let mut expected = 0;
        for (tag, size) in sizes.iter().enumerate() {
            let found = get(&on.core(0), id, format!("k{tag}").as_bytes()).await.expect("readable");
            let found = found.map(|(_, bytes)| bytes);
            let wanted = (!lost.contains(&tag)).then(|| body(tag as u64, *size));
            assert!(found == wanted, "k{tag}: {:?} bytes", found.map(|bytes| bytes.len()));
            expected += usize::from(wanted.is_some());
        }
        assert_eq!(list_all(&on.core(0), id).await.len(), expected);
        put(&on.core(0), id, b"new", 99, 5000).await.expect("it takes new objects");
    });
    world.close(node);
}

const SIZES: &[usize] = &[2000, 60_000, 300_000, 0, 9_000_000, 2000, 2000, 2000, 100, 70_000];

#[test]
fn sound_drives_have_no_findings_and_add_up() {
    for checkpoint in [false, true] {
        let (world, id) = stored(1, 3, SIZES, checkpoint);
        let outcome = assert_clean(&copied(&world));
        let totals = outcome.totals;
        assert_eq!((totals.objects, outcome.damage()), (SIZES.len() as u64, 0));
        let sum = totals.live_bytes + totals.dead_bytes + totals.reserved_bytes + totals.free_bytes;
        assert_eq!(sum, totals.physical_bytes, "{totals:?}");
        assert!(totals.live_bytes > 9_400_000, "{totals:?}");
        assert_holds(&world, id, SIZES, &[]);
    }
}

#[test]
fn a_check_writes_nothing() {
    let (world, _) = stored(2, 2, SIZES, true);
    let drives = copied(&world);
    flip(&drives[0], COPY_STRIDE + 500);
    let before = drives[0].peek(0, 96 << 20);
    checked(&drives, true);
    assert!(before == drives[0].peek(0, 96 << 20));
    assert_eq!(drives[0].counts().1, 0);
}

#[test]
fn a_superblock_copy_is_mended_without_loss() {
    let (world, id) = stored(3, 2, SIZES, true);
    for damaged in [&[0][..], &[3], &[0, 1], &[1, 2]] {
        let drives = copied(&world);
        damaged.iter().for_each(|copy| flip(&drives[0], copy * COPY_STRIDE + 500));
        let (outcome, seen) = checked(&drives, false);
        assert_eq!((seen.kinds(), outcome.lossless), (vec![Kind::SuperblockCopy], damaged.len() as u64));
        let done = repair(&media(&drives), outcome, false).expect("mended");
        assert_eq!((done.superblocks, done.went_on), (1, false));
        assert_clean(&drives);
        assert!((0..4).all(|copy| drives[0].peek(copy * COPY_STRIDE, 4096) == drives[0].peek(0, 4096)));
        assert_holds(&reopened(&world, &drives), id, SIZES, &[]);
    }
}

#[test]
fn a_lone_superblock_copy_is_used_only_when_loss_is_accepted() {
    let (world, id) = stored(4, 2, SIZES, true);
    let drives = copied(&world);
    [0, 1, 3].iter().for_each(|copy| flip(&drives[0], copy * COPY_STRIDE + 500));
    let (outcome, seen) = checked(&drives, false);
    assert_eq!((seen.kinds(), outcome.losses), (vec![Kind::Superblock], 1));
    let before = drives[0].peek(0, 1 << 20);
    repair(&media(&drives), outcome, false).expect("nothing to do");
    assert!(drives[0].peek(0, 1 << 20) == before, "nothing was written");
    let (outcome, _) = checked(&drives, false);
    assert!(repair(&media(&drives), outcome, true).expect("mended").went_on);
    assert_clean(&drives);
    assert_holds(&reopened(&world, &drives), id, SIZES, &[]);

    (0..4).for_each(|copy| flip(&drives[0], copy * COPY_STRIDE + 500));
    let hopeless = check(&media(&drives), false, &mut Seen::default()).err();
    assert!(matches!(hopeless, Some(CheckError::NoSuperblock { .. })), "{hopeless:?}");
}

/// Returns the batches of a drive with one shard, in the order of its log.
fn batches(drive: &SimDevice) -> Vec<u64> {
    drive.blocks_starting_with(b"RBBATCH3")
}

#[test]
fn a_damaged_log_refuses_the_server_and_loses_only_what_was_damaged() {
    const EQUAL: &[usize] = &[2000; 20];
    let (world, id) = stored(5, 1, EQUAL, false);
    let all = batches(&world.drives[0]);
    // The bucket's record comes first. The objects begin in the second batch, one in each.
    assert_eq!(all.len(), EQUAL.len() + 1);
    // Damage in the object's data leaves its record named; damage in the header makes the check
    // skip the batch.
    for (place, named) in [(1000, true), (30, false)] {
        let drives = copied(&world);
        flip(&drives[0], all[8] + place);
        let damaged = reopened(&world, &drives);
        let refused = damaged.try_open().err();
        let Some(OpenError::Recover { error, .. }) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains("ringbolt check"), "{error}");
        damaged.sim.kill();
        let (outcome, seen) = checked(&drives, true);
        let lost = if named { Kind::LostRecord } else { Kind::LostBatches };
        assert_eq!(seen.kinds(), [Kind::Log, lost]);
        let object = seen.findings[1].object.as_ref().map(|object| object.key.clone());
        assert_eq!(object, named.then(|| b"k7".to_vec()));
        assert!(!repair(&media(&drives), outcome, false).expect("nothing to do").went_on);
        let (outcome, _) = checked(&drives, true);
        assert!(repair(&media(&drives), outcome, true).expect("repaired").went_on);
        assert_clean(&drives);
        assert_holds(&reopened(&world, &drives), id, EQUAL, &[7]);
    }
}

#[test]
fn a_log_whose_way_to_the_next_extent_is_damaged_is_found_again() {
    const MANY: &[usize] = &[60_000; 200];
    let mut world = World::new(6, 96 * MIB, 1, 1);
    world.options.checkpoint_after_bytes = u64::MAX;
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "photos").await;
        for (tag, size) in MANY.iter().enumerate() {
            put(&on.core(0), id, format!("k{tag}").as_bytes(), tag as u64, *size).await.expect("stored");
        }
        id
    });
    world.kill(node);
    let all = batches(&world.drives[0]);
    // The batches are told apart by the kinds of their only two records: where the next set is, and
    // that the log goes on there.
    const SECOND: usize = (ENVELOPE_BYTES + SET_BYTES).next_multiple_of(RECORD_ALIGNMENT);
    let kind_at = |at: u64, record: usize| world.drives[0].peek(at, 4096)[HEADER_BYTES + record + 4];
    let names_next = |at: &u64| (kind_at(*at, 0), kind_at(*at, SECOND)) == (11, 8);
    let naming: Vec<u64> = all.into_iter().filter(names_next).collect();
    assert!(naming.len() >= 2, "{naming:?}");
    let cases = [(0, &[Kind::Log, Kind::LostRecord][..]), (SECOND, &[Kind::Log])];
    for (record, kinds) in cases {
        let drives = copied(&world);
        flip(&drives[0], naming[0] + (HEADER_BYTES + record) as u64 + 6);
        let (outcome, seen) = checked(&drives, true);
        assert_eq!(seen.kinds(), kinds, "{:?}", seen.findings);
        repair(&media(&drives), outcome, true).expect("repaired");
        assert_clean(&drives);
        assert_holds(&reopened(&world, &drives), id, MANY, &[]);
    }
}

#[test]
fn the_torn_tail_is_no_damage() {
    let (world, id) = stored(7, 1, &[2000; 5], false);
    let drives = copied(&world);
    flip(&drives[0], batches(&drives[0]).last().expect("some") + 1000);
    let (outcome, seen) = checked(&drives, true);
    assert_eq!((seen.kinds(), outcome.damage(), outcome.harmless), (vec![Kind::TornTail], 0, 1));
    assert_holds(&reopened(&world, &drives), id, &[2000; 5], &[4]);
}

#[test]
fn damaged_objects_are_named_and_the_others_stay() {
    let (world, id) = stored(8, 2, SIZES, true);
    let drives = copied(&world);
    let slices =
        [drives[0].find(&body(2, 300_000)[200_000..200_060]), drives[0].find(&body(4, 9_000_000)[..60])];
    slices.into_iter().for_each(|at| flip(&drives[0], at.expect("it is on the drive")));
    let record = drives[0].find(&body(6, 2000)[100..160]).expect("it is on the drive");
    flip(&drives[0], record);
    let (shallow, seen) = checked(&drives, false);
    assert_eq!(
        (shallow.losses, seen.kinds()),
        (1, vec![Kind::Record]),
        "short records are read at any depth"
    );
    let (outcome, seen) = checked(&drives, true);
    let mut named: Vec<_> =
        seen.findings.iter().map(|finding| finding.object.clone().expect("named")).collect();
    named.sort_by(|left, right| left.key.cmp(&right.key));
    assert_eq!(named.iter().map(|object| object.key.as_slice()).collect::<Vec<_>>(), [b"k2", b"k4", b"k6"]);
    assert!(named.iter().all(|object| object.bucket_name.as_deref() == Some("photos")));
    assert!(seen.findings.iter().all(|finding| finding.remedy == Remedy::Loss && finding.place.is_some()));
    repair(&media(&drives), outcome, true).expect("repaired");
    assert_clean(&drives);
    assert_holds(&reopened(&world, &drives), id, SIZES, &[2, 4, 6]);
}

#[test]
fn a_misdirected_slice_header_is_found() {
    let (world, _) = stored(9, 1, &[300_000, 300_000], true);
    let drives = copied(&world);
    let headers = drives[0].blocks_starting_with(b"RBSLICE3");
    let other = drives[0].peek(headers[0], 4096);
    drives[0].poke(headers[1], &other);
    let (_, seen) = checked(&drives, true);
    assert_eq!(seen.kinds(), [Kind::Slice]);
    assert!(seen.findings[0].text.contains("slice identity"), "{:?}", seen.findings);
}

#[test]
fn every_chunk_of_a_checkpoint_is_looked_at() {
    let (world, _) = stored(10, 1, &[2000; 20], true);
    for at in world.drives[0].blocks_starting_with(b"RBCHECK3") {
        let drives = copied(&world);
        flip(&drives[0], at + 65);
        let (outcome, seen) = checked(&drives, false);
        let kinds = seen.kinds();
        assert!(
            kinds == [Kind::Checkpoint] || kinds == [Kind::ShardRoot],
            "chunk at {at}: {:?}",
            seen.findings
        );
        if kinds == [Kind::ShardRoot] {
            assert!(repair(&media(&drives), outcome, true).is_err(), "nothing is left of the shard");
        } else {
            repair(&media(&drives), outcome, true).expect("repaired");
            assert_clean(&drives);
            let opened = reopened(&world, &drives);
            let node = opened.open();
            opened.kill(node);
        }
    }
}

#[test]
fn a_damaged_object_is_gone_for_good_after_a_repair() {
    let (world, id) = stored(11, 1, &[2000; 3], true);
    let drives = copied(&world);
    let record = drives[0].find(&body(1, 2000)[100..160]).expect("it is on the drive");
    flip(&drives[0], record);
    let damaged = reopened(&world, &drives);
    let node = damaged.open();
    let on = node.clone();
    damaged.run(async move {
        let read = get(&on.core(0), id, b"k1").await;
        assert!(matches!(read, Err(EngineError::Damaged { .. })), "{:?}", read.err());
    });
    damaged.close(node);
    let drives = copied(&damaged);
    let (outcome, _) = checked(&drives, false);
    repair(&media(&drives), outcome, true).expect("repaired");
    let mended = reopened(&world, &drives);
    let node = mended.open();
    let on = node.clone();
    mended.run(async move {
        assert!(get(&on.core(0), id, b"k1").await.expect("read").is_none());
        put(&on.core(0), id, b"k1", 50, 3000).await.expect("stored again");
        delete(&on.core(0), id, b"k0").await.expect("deleted");
    });
    mended.close(node);
    assert_clean(&copied(&mended));
}

/// The record of a bucket's deletion was lost, and a repair restored the bucket beside a newer one
/// of its name. The newer one hid it until that one was deleted; then the older bucket was visible.
#[test]
fn a_bucket_whose_deletion_was_lost_gives_way_to_a_newer_one_of_its_name() {
    let world = World::new(12, 64 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let (older, newer) = world.run(async move {
        let core = on.core(0);
        let older = bucket(&core, "photos").await;
        core.delete_bucket(older).await.expect("deleted");
        (older, bucket(&core, "photos").await)
    });
    assert!(older != newer);
    world.kill(node);
    let drives = copied(&world);
    flip(&drives[0], batches(&drives[0])[1] + 30);
    let (outcome, seen) = checked(&drives, true);
    assert_eq!(seen.kinds(), [Kind::Log, Kind::LostBatches]);
    repair(&media(&drives), outcome, true).expect("repaired");
    let mended = reopened(&world, &drives);
    let node = mended.open();
    let on = node.clone();
    mended.run(async move {
        let core = on.core(0);
        let names = |core: &ringbolt_engine::node::Core| {
            core.buckets().iter().map(|bucket| (bucket.id, bucket.name.clone())).collect::<Vec<_>>()
        };
        assert_eq!(names(&core), [(newer, "photos".to_owned())]);
        core.delete_bucket(newer).await.expect("deleted");
        assert_eq!(names(&core), []);
    });
    mended.kill(node);
    let node = mended.open();
    assert!(node.core(0).buckets().is_empty(), "after a restart");
    mended.kill(node);
}

/// The record of a bucket was lost, but not those of its objects. The next bucket got its id and
/// had its objects.
#[test]
fn what_was_in_a_lost_bucket_is_in_no_new_one() {
    let world = World::new(13, 64 * MIB, 2, 2);
    let node = world.open();
    let on = node.clone();
    let lost = world.run(async move {
        let lost = bucket(&on.core(0), "lost").await;
        for tag in 0..8 {
            put(&on.core(0), lost, format!("k{tag}").as_bytes(), tag, 1000).await.expect("stored");
        }
        lost
    });
    world.kill(node);
    let drives = copied(&world);
    // The bucket's record is the only one that holds its name.
    flip(&drives[0], drives[0].find(b"lost").expect("on the drive"));
    let (outcome, seen) = checked(&drives, true);
    assert_eq!(seen.kinds()[0], Kind::Log, "{:?}", seen.findings);
    repair(&media(&drives), outcome, true).expect("repaired");
    let mended = reopened(&world, &drives);
    let node = mended.open();
    let on = node.clone();
    mended.run(async move {
        assert!(on.core(0).buckets().is_empty());
        for name in ["first", "second"] {
            let made = bucket(&on.core(0), name).await;
            assert!(made != lost, "{name} has the id of the lost bucket");
            assert!(list_all(&on.core(0), made).await.is_empty(), "{name}");
        }
    });
    mended.kill(node);
}
