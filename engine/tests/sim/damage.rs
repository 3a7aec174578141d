//! Damaged bytes are never served and never mistaken for the end of the log.

use ringbolt_engine::EngineError;
use ringbolt_engine::format::batch::BatchHeaderOnDisk;
use ringbolt_engine::format::{Le16, Le32, Le64};
use ringbolt_engine::node::{FormatError, OpenError};
use ringbolt_engine::sim::device::SimDevice;
use ringbolt_engine::types::BucketId;

use crate::world::{MIB, World, body, bucket, get, put};

const COPY_STRIDE: u64 = 64 << 10;

fn flip(drive: &SimDevice, offset: u64) {
    drive.damage(offset, |bytes| bytes[0] ^= 0x10);
}

fn stored(
    seed: u64,
    sizes: &'static [usize],
) -> (World, std::rc::Rc<ringbolt_engine::sim::SimNode>, BucketId) {
    let world = World::new(seed, 64 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        for (tag, size) in sizes.iter().enumerate() {
            put(&on.core(0), id, format!("k{tag}").as_bytes(), tag as u64, *size).await.expect("stored");
        }
        id
    });
    (world, node, id)
}

#[test]
fn a_rotten_inline_object_is_not_served() {
    let (world, node, id) = stored(1, &[3000, 3000]);
    let at = world.drives[0].find(&body(1, 3000)[100..160]).expect("it is on the drive");
    flip(&world.drives[0], at);
    world.run(async move {
        let read = get(&node.core(0), id, b"k1").await;
        assert!(matches!(read, Err(EngineError::Damaged { .. })), "{:?}", read.err());
        assert!(get(&node.core(0), id, b"k0").await.expect("read").is_some(), "its neighbour is well");
    });
}

#[test]
fn rotten_slices_are_not_served() {
    let (world, node, id) = stored(2, &[300_000, 300_000]);
    let drive = world.drives[0].clone();
    let data = drive.find(&body(1, 300_000)[200_000..200_060]).expect("it is on the drive");
    let headers = drive.blocks_starting_with(b"RBSLICE3");
    assert_eq!(headers.len(), 2);
    world.run(async move {
        let core = node.core(0);
        flip(&drive, data);
        let read = get(&core, id, b"k1").await;
        assert!(matches!(read, Err(EngineError::Damaged { what: "slice data", .. })), "{:?}", read.err());
        let early = crate::world::get_range(&core, id, b"k1", 0, 1000).await.expect("another block");
        assert!(early == body(1, 300_000)[..1000]);
        flip(&drive, data);
        assert!(get(&core, id, b"k1").await.is_ok());
        flip(&drive, headers[1] + 50);
        let read = get(&core, id, b"k1").await;
        assert!(matches!(read, Err(EngineError::Damaged { what: "slice header", .. })), "{:?}", read.err());
        flip(&drive, headers[1] + 50);
        // This is a misdirected write: another slice's header, valid in itself.
        let other = drive.peek(headers[0], 4096);
        drive.poke(headers[1], &other);
        let read = get(&core, id, b"k1").await;
        assert!(matches!(read, Err(EngineError::Damaged { what: "slice identity", .. })), "{:?}", read.err());
        assert!(get(&core, id, b"k0").await.is_ok());
    });
}

/// Returns the batches of the drive's one shard, in the order of the log.
fn batches(drive: &SimDevice) -> Vec<u64> {
    drive.blocks_starting_with(b"RBBATCH3")
}

#[test]
fn a_damaged_batch_in_the_middle_refuses_the_shard() {
    let (world, node, _) = stored(3, &[2000; 20]);
    world.kill(node);
    let drive = &world.drives[0];
    let all = batches(drive);
    assert!(all.len() >= 10, "{} batches", all.len());
    for at in &all[..all.len() - 1] {
        flip(drive, at + 70);
        let refused = world.try_open().err();
        assert!(matches!(refused, Some(OpenError::Recover { .. })), "batch at {at}: {refused:?}");
        world.sim.kill();
        flip(drive, at + 70);
    }
    world.open();
}

#[test]
fn the_torn_last_batch_is_the_end_of_the_log() {
    let (world, node, id) = stored(4, &[2000; 20]);
    world.kill(node);
    let drive = &world.drives[0];
    let last = *batches(drive).last().expect("some");
    flip(drive, last + 2100);
    let node = world.open();
    world.run(async move {
        assert!(
            get(&node.core(0), id, b"k19").await.expect("read").is_none(),
            "never acknowledged, as far as anybody knows"
        );
        assert!(get(&node.core(0), id, b"k18").await.expect("read").is_some());
    });
}

/// A change of a batch's header.
type Forgery = fn(&mut BatchHeaderOnDisk);

/// A batch at the end of the log belongs to the log only if its whole header says so: a batch of
/// the extent's earlier life, or of a log that was cut off and written again, may be sound and have
/// the right number.
#[test]
fn a_whole_batch_that_does_not_continue_the_log_is_not_part_of_it() {
    let forgeries: [(&str, bool, Forgery); 9] = [
        ("nothing", true, |_| ()),
        ("earlier life of the extent", false, |header| {
            header.log_number = Le64::new(header.log_number.get() - 1)
        }),
        ("later life of the extent", false, |header| {
            header.log_number = Le64::new(header.log_number.get() + 1)
        }),
        ("predecessor", false, |header| header.previous_crc = Le32::new(header.previous_crc.get() ^ 1)),
        ("number", false, |header| header.sequence = Le64::new(header.sequence.get() + 1)),
        ("shard", false, |header| header.shard = Le16::new(header.shard.get() + 1)),
        ("format", false, |header| header.format = Le64::new(header.format.get() + 1)),
        ("set", false, |header| header.set = Le32::new(header.set.get() + 1)),
        ("birth of the set", false, |header| header.birth = Le64::new(header.birth.get() + 1)),
    ];
    for (what, belongs, forge) in forgeries {
        let (world, node, id) = stored(4, &[2000; 20]);
        world.kill(node);
        let drive = &world.drives[0];
        let last = *batches(drive).last().expect("some");
        let mut batch = drive.peek(last, 4096);
        let mut header = BatchHeaderOnDisk::parse(&batch).expect("whole, and of one block");
        forge(&mut header);
        header.seal_into(&mut batch);
        drive.poke(last, &batch);
        let node = world.open();
        world.run(async move {
            let there = get(&node.core(0), id, b"k19").await.expect("read").is_some();
            assert_eq!(there, belongs, "another {what}");
            assert!(get(&node.core(0), id, b"k18").await.expect("read").is_some());
        });
    }
}

#[test]
fn a_damaged_batch_that_names_the_next_extent_refuses_the_shard() {
    // The data is enough for several extents of log, and no checkpoint is taken.
    let mut world = World::new(5, 64 * MIB, 1, 1);
    world.options.checkpoint_after_bytes = u64::MAX;
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        for tag in 0..200u64 {
            put(&on.core(0), id, format!("k{tag}").as_bytes(), tag, 60_000).await.expect("stored");
        }
    });
    world.kill(node);
    let drive = &world.drives[0];
    let blocks = batches(drive);
    let (mut refused, mut opened) = (0, 0);
    for at in &blocks {
        flip(drive, at + 70);
        match world.try_open() {
            Err(OpenError::Recover { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
            Ok(_) => opened += 1,
        }
        world.sim.kill();
        flip(drive, at + 70);
    }
    assert_eq!((opened, refused), (1, blocks.len() - 1), "only the last batch may be taken for a torn tail");
}

#[test]
fn a_damaged_checkpoint_refuses_the_shard() {
    let (world, node, _) = stored(6, &[2000; 20]);
    let on = node.clone();
    world.run(async move { on.checkpoint().await.expect("a checkpoint") });
    world.kill(node);
    let drive = &world.drives[0];
    for at in drive.blocks_starting_with(b"RBCHECK3") {
        // The damage is in the payload's first bytes, because the shortest chunk has only a few.
        flip(drive, at + 65);
        let refused = world.try_open().err();
        assert!(matches!(refused, Some(OpenError::Recover { .. })), "chunk at {at}: {refused:?}");
        world.sim.kill();
        flip(drive, at + 65);
    }
    world.open();
}

#[test]
fn two_good_superblocks_are_enough_and_one_is_not() {
    let (world, node, id) = stored(7, &[2000; 3]);
    world.kill(node);
    let drive = &world.drives[0];
    for pair in [[0, 1], [2, 3], [0, 3], [1, 2]] {
        pair.iter().for_each(|copy| flip(drive, copy * COPY_STRIDE + 500));
        let node = world.open();
        let on = node.clone();
        world.run(async move { assert!(get(&on.core(0), id, b"k2").await.expect("read").is_some()) });
        world.kill(node);
        // The open has written all four copies again.
    }
    [0, 1, 3].iter().for_each(|copy| flip(drive, copy * COPY_STRIDE + 500));
    let refused = world.try_open().err();
    assert!(matches!(refused, Some(OpenError::Format(FormatError::Damaged { .. }))), "{refused:?}");
}

/// A batch of almost 1 MiB directly behind a damaged one was once overlooked, because no window in
/// which the end of the log was searched held all of it: both were then taken for a torn tail, and
/// acknowledged objects were lost.
#[test]
fn a_large_batch_behind_the_damage_convicts_it() {
    const LARGE_BYTES: u32 = 900_000;
    let mut tried = 0;
    for seed in 0..4 {
        let world = World::new(seed, 64 * MIB, 1, 1);
        let node = world.open();
        let on = node.clone();
        world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            let core = on.core(0);
            put(&core, id, b"alone", 99, 60_000).await.expect("stored");
            // One batch takes this many records.
            let stores = (0..17u64).map(|tag| {
                let core = core.clone();
                async move { put(&core, id, format!("k{tag}").as_bytes(), tag, 60_000).await.expect("stored") }
            });
            futures_util::future::join_all(stores).await;
        });
        world.kill(node);
        let drive = &world.drives[0];
        let all = batches(drive);
        let length = |at: u64| u32::from_le_bytes(drive.peek(at + 12, 4).try_into().expect("four bytes"));
        let [.., damaged, last] = all[..] else { continue };
        if length(last) < LARGE_BYTES {
            continue;
        }
        tried += 1;
        flip(drive, damaged + 70);
        let refused = world.try_open().err();
        assert!(matches!(refused, Some(OpenError::Recover { .. })), "seed {seed}: {refused:?}");
    }
    assert!(tried > 0, "no seed ended its log with a large batch");
}
