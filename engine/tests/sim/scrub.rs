//! The scrub finds damage by itself, keeps to its rate, continues where it was, and reports nothing
//! that is sound.

use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::node::{ScrubMetrics, ScrubOptions};
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::BucketId;

use crate::world::{MIB, World, body, bucket, delete, get, put};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const EVERY_MS: u64 = 14 * DAY_MS;

fn options(bytes_per_second: u64) -> ScrubOptions {
    ScrubOptions { bytes_per_second, every_ms: EVERY_MS }
}

/// Stores `count` objects of `size` bytes on one shard.
fn stored(seed: u64, count: u64, size: usize) -> (World, Rc<SimNode>, BucketId) {
    let world = World::new(seed, 96 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        for tag in 0..count {
            put(&on.core(0), id, format!("k{tag:03}").as_bytes(), tag, size).await.expect("stored");
        }
        id
    });
    (world, node, id)
}

fn state(world: &World, node: &Rc<SimNode>) -> ScrubMetrics {
    let on = node.clone();
    world.run(async move { on.core(0).metrics().await.expect("metrics").shards[0].scrub })
}

fn wait_ms(world: &World, milliseconds: u64) {
    let slept = world.sim.sleep_us(milliseconds * 1000);
    world.run(slept);
}

#[test]
fn rot_is_found_counted_and_not_served() {
    let (world, node, id) = stored(1, 30, 3000);
    let on = node.clone();
    let upload = world.run(async move {
        put(&on.core(0), id, b"large", 70, 700_000).await.expect("stored");
        let upload = on.core(0).create_upload(id, b"parted", Vec::new()).await.expect("an upload");
        let mut part = on.core(0).put_part(id, b"parted", upload, 1, 300_000).await.expect("a part");
        part.write(&body(80, 300_000)).await.expect("written");
        part.commit_part(crate::world::etag(80), Vec::new()).await.expect("a part");
        upload
    });
    for bytes in
        [&body(7, 3000)[500..560], &body(70, 700_000)[400_000..400_060], &body(80, 300_000)[9000..9060]]
    {
        let at = world.drives[0].find(bytes).expect("it is on the drive");
        world.drives[0].damage(at, |bytes| bytes[0] ^= 1);
    }
    node.core(0).start_scrub(options(1 << 20));
    wait_ms(&world, 60_000);
    let found = state(&world, &node);
    assert_eq!((found.passes, found.running, found.objects, found.findings), (1, false, 31, 3), "{found:?}");
    world.run(async move {
        let core = node.core(0);
        for key in [&b"k007"[..], b"large"] {
            let read = get(&core, id, key).await;
            assert!(matches!(read, Err(EngineError::Damaged { .. })), "{:?}", read.err());
        }
        assert_eq!(
            core.metrics().await.expect("metrics").refused_reads,
            2,
            "the scrub's own are not among them"
        );
        // What the scrub has read may be freed.
        core.abort_upload(id, b"parted", upload).await.expect("aborted");
        delete(&core, id, b"large").await.expect("deleted");
        node.checkpoint().await.expect("a checkpoint");
        let left = node.leftovers();
        assert_eq!((left.pinned_objects, left.used_units), (0, 0), "{left:?}");
    });
}

#[test]
fn it_keeps_to_its_rate_and_waits_for_the_next_pass() {
    let (world, node, _) = stored(2, 40, 60_000);
    let begin_us = world.sim.now_us();
    node.core(0).start_scrub(options(100_000));
    // 2.4 MB are read at 100 kB per second.
    wait_ms(&world, 20_000);
    let half = state(&world, &node);
    assert!(half.running && (25..=36).contains(&half.objects), "{half:?}");
    wait_ms(&world, 10_000);
    assert_eq!(state(&world, &node).passes, 1);
    assert!(world.sim.now_us() - begin_us < 31_000_000);
    let (polls, _) = world.sim.digest();
    wait_ms(&world, EVERY_MS - DAY_MS);
    let (later, _) = world.sim.digest();
    assert_eq!(state(&world, &node).passes, 1);
    // The scrub looks for work once an hour.
    assert!(later - polls < 13 * 24 * 4, "{} polls in 13 days", later - polls);
    wait_ms(&world, 2 * DAY_MS);
    assert_eq!((state(&world, &node).passes, state(&world, &node).objects), (2, 40));
}

#[test]
fn another_rate_takes_over_where_the_last_one_was() {
    let (world, node, _) = stored(9, 40, 60_000);
    node.core(0).start_scrub(options(20_000));
    wait_ms(&world, 30_000);
    let slow = state(&world, &node);
    assert!(slow.running && (5..=15).contains(&slow.objects), "{slow:?}");
    node.core(0).start_scrub(options(1 << 20));
    wait_ms(&world, 15_000);
    let fast = state(&world, &node);
    assert_eq!((fast.passes, fast.objects), (1, 40), "each was read once: {fast:?}");
    node.core(0).start_scrub(options(0));
    wait_ms(&world, 2 * EVERY_MS);
    assert_eq!(state(&world, &node).passes, 1, "there is none any more");
    node.core(0).start_scrub(options(1 << 20));
    wait_ms(&world, 60_000);
    assert_eq!(state(&world, &node).passes, 2);
}

#[test]
fn it_goes_on_where_it_was() {
    for graceful in [true, false] {
        let (world, node, _) = stored(3, 60, 60_000);
        node.core(0).start_scrub(options(20_000));
        // 3.6 MB take 180 s. The scrub's position is stored every minute.
        wait_ms(&world, 130_000);
        let before = state(&world, &node);
        assert!(before.running && before.objects > 30, "{before:?}");
        if graceful {
            world.close(node)
        } else {
            world.kill(node)
        }
        let node = world.open();
        let after = state(&world, &node);
        assert!(after.running && after.objects <= before.objects, "{after:?} {before:?}");
        let repeated = before.objects - after.objects;
        assert!(if graceful { repeated == 0 } else { repeated <= 24 }, "{repeated} objects are read again");
        node.core(0).start_scrub(options(20_000));
        let left = 60 - after.objects;
        wait_ms(&world, left * 3000 + 20_000);
        let done = state(&world, &node);
        assert_eq!((done.passes, done.objects, done.findings), (1, 60, 0), "{done:?}");
        world.kill(node);
    }
}

#[test]
fn a_damaged_note_of_its_place_means_a_new_pass() {
    let (world, node, _) = stored(4, 20, 3000);
    node.core(0).start_scrub(options(1 << 20));
    wait_ms(&world, 10_000);
    assert_eq!(state(&world, &node).passes, 1);
    world.close(node);
    let at = world.drives[0].blocks_starting_with(b"RBSCRUB1")[0];
    world.drives[0].damage(at, |bytes| bytes[100] ^= 1);
    let node = world.open();
    assert_eq!(state(&world, &node), ScrubMetrics::default());
}

/// What a checkpoint holds is in memory, so a new one replaces the damaged one before that is
/// needed.
#[test]
fn a_damaged_checkpoint_is_written_anew() {
    // Every chunk is damaged in turn, including the root's.
    for which in 0.. {
        let (world, node, id) = stored(6, 20, 3000);
        world.close(node);
        let chunks = world.drives[0].blocks_starting_with(b"RBCHECK3");
        assert!(chunks.len() >= 3, "buckets, leaves and a root: {chunks:?}");
        let Some(at) = chunks.get(which) else { break };
        let node = world.open();
        world.drives[0].damage(*at, |bytes| bytes[70] ^= 1);
        node.core(0).start_scrub(options(1 << 20));
        wait_ms(&world, 10_000);
        let found = state(&world, &node);
        assert_eq!((found.passes, found.objects, found.findings), (1, 20, 1), "chunk {which}: {found:?}");
        world.kill(node);
        let node = world.open();
        let listed = world.run(async move { crate::world::list_all(&node.core(0), id).await });
        assert_eq!(listed.len(), 20);
    }
}

/// A pass does not read the log behind the last checkpoint, but after the pass nothing depends on
/// it.
#[test]
fn rot_in_the_log_does_no_harm_after_a_pass() {
    let (world, node, id) = stored(7, 20, 3000);
    let on = node.clone();
    world.run(async move { delete(&on.core(0), id, b"k003").await.expect("deleted") });
    node.core(0).start_scrub(options(1 << 20));
    wait_ms(&world, 10_000);
    assert_eq!(state(&world, &node).passes, 1);
    // The last batch is the one that deletes.
    let batches = world.drives[0].blocks_starting_with(b"RBBATCH3");
    world.drives[0].damage(*batches.last().expect("a batch"), |bytes| bytes[80] ^= 1);
    world.kill(node);
    let node = world.open();
    let found = world.run(async move { get(&node.core(0), id, b"k003").await.expect("an answer") });
    assert!(found.is_none());
}

#[test]
fn changes_under_it_are_no_damage() {
    let mut world = World::new(5, 96 * MIB, 3, 2);
    world.options.checkpoint_after_bytes = 2 << 20;
    let node = world.open();
    for core in 0..2 {
        node.core(core).start_scrub(ScrubOptions { bytes_per_second: 64 << 20, every_ms: 1 });
    }
    let (on, sim) = (node.clone(), world.sim.clone());
    let findings = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        for round in 0..600u64 {
            let key = format!("k{}", sim.random().below(30));
            let size = [500, 20_000, 60_000, 200_000][sim.random().below(4) as usize];
            if sim.random().one_in(4) {
                delete(&on.any_core(), id, key.as_bytes()).await.expect("deleted");
            } else {
                put(&on.any_core(), id, key.as_bytes(), round, size).await.expect("stored");
            }
            if round % 100 == 99 {
                on.clean().await.expect("cleaned");
            }
        }
        let shards = on.core(0).metrics().await.expect("metrics").shards;
        assert!(shards.iter().all(|shard| shard.scrub.passes > 1), "{shards:?}");
        shards.iter().map(|shard| shard.scrub.findings).sum::<u64>()
    });
    assert_eq!(findings, 0);
}

/// All parts of all uploads were listed first and then read one after the other. When an upload
/// ended meanwhile, its space belonged to another object by the time it was read, and the scrub
/// reported damage that did not exist.
#[test]
fn an_upload_that_ends_under_it_is_no_damage() {
    const PART: usize = 200_000;
    let (world, node, id) = stored(8, 1, 100);
    let on = node.clone();
    let upload = world.run(async move {
        let upload = on.core(0).create_upload(id, b"parted", Vec::new()).await.expect("an upload");
        for number in 1..=20 {
            let mut part =
                on.core(0).put_part(id, b"parted", upload, number, PART as u64).await.expect("a part");
            part.write(&body(80, PART)).await.expect("written");
            part.commit_part(crate::world::etag(80), Vec::new()).await.expect("a part");
        }
        upload
    });
    node.core(0).start_scrub(options(PART as u64));
    wait_ms(&world, 6000);
    let read = state(&world, &node).bytes;
    assert!((PART as u64..10 * PART as u64).contains(&read), "{read} bytes are read of twenty parts");
    let on = node.clone();
    world.run(async move {
        on.core(0).abort_upload(id, b"parted", upload).await.expect("aborted");
        on.checkpoint().await.expect("a checkpoint");
        for tag in 0..30u64 {
            put(&on.core(0), id, &tag.to_be_bytes(), tag, 150_000).await.expect("stored");
        }
    });
    wait_ms(&world, 60_000);
    let state = state(&world, &node);
    assert_eq!((state.passes, state.findings), (1, 0), "{state:?}");
}
