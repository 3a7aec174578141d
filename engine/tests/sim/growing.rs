//! Bodies of unknown length are stored like those of a known length, wherever they end, and nothing
//! is left of what was reserved for more.

use ringbolt_engine::node::Core;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::{BucketId, ObjectMeta, WriteCondition};

use crate::world::{MIB, World, body, bucket, delete, etag, get};

const SLICE_BYTES: usize = 4 << 20;

/// Puts an object. `beyond` says how many more bytes than `length` it may have; with `None` its
/// length is known.
async fn put(core: &Core, id: BucketId, length: usize, beyond: Option<usize>) {
    let begun = match beyond {
        Some(more) => core.put_growing(id, b"k", (length + more) as u64).await,
        None => core.put(id, b"k", length as u64).await,
    };
    let mut writer = begun.expect("begun");
    for piece in body(7, length).chunks(40_961) {
        writer.write(piece).await.expect("written");
    }
    let meta = ObjectMeta { etag: etag(7), attributes: Vec::new() };
    let info = writer.commit(meta, WriteCondition::default()).await.expect("stored");
    assert_eq!(info.size_bytes, length as u64);
}

fn reserved(world: &World, node: &SimNode) -> u64 {
    let core = node.any_core();
    world.run(async move { core.space().await.expect("space").reserved_bytes })
}

#[test]
fn a_body_ends_anywhere_and_is_stored_as_if_that_had_been_announced() {
    let lengths =
        [0, 1, 3000, 200_000, SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, 2 * SLICE_BYTES, 9_000_001];
    for (seed, slots) in [(1, 1), (2, 4)] {
        let world = World::with_extents_of(slots, seed, 512 * MIB, 2, 2);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move { bucket(&on.core(0), "b").await });
        for length in lengths {
            let mut used = Vec::new();
            for beyond in
                [None, Some(0), Some(1), Some(70_000), Some(SLICE_BYTES), Some(20 * SLICE_BYTES + 9)]
            {
                let (core, on) = (node.any_core(), node.clone());
                used.push(world.run(async move {
                    put(&core, id, length, beyond).await;
                    let (info, bytes) = get(&core, id, b"k").await.expect("read").expect("there");
                    assert_eq!(info.size_bytes, length as u64);
                    assert!(bytes == body(7, length), "{length} bytes, {beyond:?} more announced");
                    on.checkpoint().await.expect("a checkpoint");
                    core.space().await.expect("space").live_bytes
                }));
                world.sim.run_until_idle();
                let core = node.any_core();
                world.run(async move { delete(&core, id, b"k").await.expect("deleted") });
            }
            // Numbers in a record take as many bytes as they need: that of a set may be longer.
            assert!(used.iter().all(|bytes| bytes.abs_diff(used[0]) <= 8), "{length} bytes: {used:?}");
        }
        world.close(node);
    }
}

#[test]
fn a_body_that_is_given_up_or_too_long_leaves_nothing() {
    let world = World::with_extents_of(4, 3, 512 * MIB, 2, 2);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move { bucket(&on.core(0), "b").await });
    world.sim.run_until_idle();
    let before = reserved(&world, &node);
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        for length in [10usize, SLICE_BYTES, 3 * SLICE_BYTES] {
            let mut writer = core.put_growing(id, b"k", length as u64).await.expect("begun");
            writer.write(&body(1, length)).await.expect("as long as it may be");
            assert!(writer.write(b"x").await.is_err(), "longer than {length}");
            drop(writer);
            assert!(get(&core, id, b"k").await.expect("read").is_none());
        }
    });
    world.sim.run_until_idle();
    assert_eq!(reserved(&world, &node), before);
    world.close(node);
}
