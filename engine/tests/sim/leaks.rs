//! Operations that are abandoned leave nothing behind, wherever they were.

use std::rc::Rc;
use std::task::Poll;

use ringbolt_engine::node::Core;
use ringbolt_engine::sim::{Leftovers, SimNode};
use ringbolt_engine::types::{BucketId, ListQuery, ObjectMeta, WriteCondition};

use crate::world::{MIB, World, body, bucket, delete, etag, get, put};

/// Drops `future` after `polls` polls, unless it has ended before. Returns whether it has ended.
async fn give_up_after<T>(future: impl Future<Output = T>, polls: u64) -> bool {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// Returns a node with a bucket, and what it holds when it is empty.
fn empty(seed: u64, cores: usize) -> (World, Rc<SimNode>, BucketId) {
    let world = World::new(seed, 128 * MIB, 3, cores);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move { bucket(&on.core(0), "b").await });
    (world, node, id)
}

/// Removes everything and waits until the node is idle.
fn clear(world: &World, node: &Rc<SimNode>, id: BucketId) -> (Leftovers, u32) {
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let page =
            core.list(id, &ListQuery { max_items: 1000, ..ListQuery::default() }).await.expect("a page");
        for item in page.items {
            delete(&core, id, item.name()).await.expect("deleted");
        }
        let uploads = ringbolt_engine::types::UploadQuery { max_items: 1000, ..Default::default() };
        for item in core.list_uploads(id, &uploads).await.expect("a page").items {
            if let ringbolt_engine::types::UploadItem::Upload(upload) = item {
                core.abort_upload(id, &upload.key, upload.id).await.expect("aborted");
            }
        }
    });
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move {
        on.checkpoint().await.expect("a checkpoint");
        on.checkpoint().await.expect("a checkpoint");
    });
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move { on.space().await });
    (node.leftovers(), node.free_extents())
}

async fn multipart(core: Core, id: BucketId, length: usize) {
    let upload = core.create_upload(id, b"m", Vec::new()).await.expect("begun");
    for number in [1, 2, 1] {
        let mut writer = core.put_part(id, b"m", upload, number, length as u64).await.expect("begun");
        writer.write(&body(1, length)).await.expect("written");
        writer.commit_part(etag(1), Vec::new()).await.expect("stored");
    }
    let (parts, meta) = (vec![(2, etag(1))], ObjectMeta::default());
    core.complete_upload(id, b"m", upload, parts, meta, WriteCondition::default()).await.expect("done");
}

#[test]
fn calls_given_up_at_any_point_leave_nothing() {
    for cores in [1, 3] {
        let (world, node, id) = empty(20 + cores as u64, cores);
        let before = clear(&world, &node, id);
        let mut ended = 0;
        for polls in 0..60 {
            for (what, length) in
                [(0, 3000), (0, 200_000), (0, 5 << 20), (1, 300_000), (2, 0), (3, 0), (4, 0)]
            {
                let (core, on, slow) = (node.any_core(), node.clone(), world.sim.clone());
                ended += u64::from(world.run(async move {
                    put(&on.core(0), id, b"there", 7, 700_000).await.expect("stored");
                    slow.pause_us(100).await;
                    match what {
                        0 => give_up_after(put(&core, id, b"k", 1, length), polls).await,
                        1 => give_up_after(multipart(core, id, length), polls).await,
                        2 => give_up_after(get(&core, id, b"there"), polls).await,
                        3 => give_up_after(delete(&core, id, b"there"), polls).await,
                        _ => give_up_after(core.list(id, &ListQuery::default()), polls).await,
                    }
                }));
            }
        }
        assert!(ended > 60, "some end well: {ended}");
        assert_eq!(clear(&world, &node, id), before, "{cores} cores");
        world.kill(node);
        // A restart finds the same.
        let node = world.open();
        assert_eq!(clear(&world, &node, id).1, before.1);
    }
}

#[test]
fn what_is_read_stays_until_it_is_read() {
    for seed in 1..=6 {
        let (world, node, id) = empty(seed, 2);
        let before = clear(&world, &node, id);
        let on = node.clone();
        world.run(async move {
            for (tag, length) in [(1u64, 2000usize), (2, 6 << 20)] {
                let key = [tag as u8];
                put(&on.core(0), id, &key, tag, length).await.expect("stored");
                let mut reader = on.any_core().get(id, &key).await.expect("read").expect("there");
                let unread = on.any_core().get(id, &key).await.expect("read").expect("there");
                // The object is deleted, freed and checkpointed, and the drive is overwritten again
                // and again.
                delete(&on.core(1), id, &key).await.expect("deleted");
                for round in 0..6 {
                    put(&on.any_core(), id, b"other", 100 + round, 11 << 20).await.expect("stored");
                    on.checkpoint().await.expect("a checkpoint");
                    on.clean().await.expect("cleaned");
                }
                let mut bytes = Vec::new();
                while let Some(chunk) = reader.next().await.expect("still there") {
                    bytes.extend_from_slice(chunk.as_ref());
                }
                assert!(bytes == body(tag, length), "seed {seed}: {length} bytes");
                drop(unread);
                assert!(on.any_core().get(id, &key).await.expect("read").is_none());
            }
        });
        assert_eq!(clear(&world, &node, id), before, "seed {seed}");
    }
}

#[test]
fn uploads_are_ended_when_they_are_too_old() {
    const HOUR_MS: u64 = 3_600_000;
    let (world, node, id) = empty(31, 2);
    let before = clear(&world, &node, id);
    for core in 0..2 {
        let core = node.core(core);
        world.sim.spawn(async move { core.limit_upload_age(24 * HOUR_MS).await });
    }
    let (on, sim) = (node.clone(), world.sim.clone());
    world.run(async move {
        let core = on.core(0);
        let count = async |expected: usize, when: &str| {
            let query = ringbolt_engine::types::UploadQuery { max_items: 100, ..Default::default() };
            let page = core.list_uploads(id, &query).await.expect("a page");
            assert_eq!(page.items.len(), expected, "{when}");
        };
        // There are keys for every shard, each with a part.
        for round in 0..2u64 {
            for number in 0..8u64 {
                let key = format!("{round}/{number}");
                let upload = core.create_upload(id, key.as_bytes(), Vec::new()).await.expect("begun");
                let mut writer = core.put_part(id, key.as_bytes(), upload, 1, 300_000).await.expect("begun");
                writer.write(&body(number, 300_000)).await.expect("written");
                writer.commit_part(etag(number), Vec::new()).await.expect("stored");
            }
            sim.sleep_us(12 * HOUR_MS * 1000).await;
        }
        count(16, "the first are just 24 hours old").await;
        sim.sleep_us(2 * HOUR_MS * 1000).await;
        count(8, "the first are 26 hours old, the others 14").await;
        sim.sleep_us(12 * HOUR_MS * 1000).await;
        count(0, "all are older than 24 hours").await;
        // The tasks that limit the age of uploads end when the node does.
        futures_util::future::join(core.close(), on.core(1).close()).await.0.expect("closed");
    });
    world.sim.run_until_idle();
    world.kill(node);
    let node = world.open();
    assert_eq!(clear(&world, &node, id).1, before.1, "their space is free");
}
