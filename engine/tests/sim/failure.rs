//! A device that fails: writing stops, reading continues, and a restart finds everything that was
//! acknowledged.

use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::sim::device::Faults;
use ringbolt_engine::types::BucketId;

use crate::model::Model;
use crate::world::{MIB, World, bucket, get, put};

const SIZES: [usize; 3] = [1000, 50_000, 400_000];

async fn put_some(
    node: &SimNode,
    id: BucketId,
    model: &mut Model,
    tags: std::ops::Range<u64>,
) -> Vec<EngineError> {
    let mut errors = Vec::new();
    for tag in tags {
        let (key, length) = (format!("k-{}", tag % 12).into_bytes(), SIZES[tag as usize % 3]);
        model.begin(&key, Some((tag, length)));
        match put(&node.any_core(), id, &key, tag, length).await {
            Ok(_) => model.acknowledge(&key, Some((tag, length))),
            // The object may have reached the drive all the same.
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn stops_and_recovers(seed: u64, faults: Faults) {
    let world = World::new(seed, 128 * MIB, 2, 2);
    let node = world.open();
    let (on, drive) = (node.clone(), world.drives[0].clone());
    let (id, model) = world.run(async move {
        let (id, mut model) = (bucket(&on.core(0), "b").await, Model::default());
        assert_eq!(put_some(&on, id, &mut model, 0..40).await, []);
        drive.set_faults(faults);
        let errors = put_some(&on, id, &mut model, 40..80).await;
        let stopped = |error: &EngineError| matches!(error, EngineError::WritesStopped { .. });
        assert!(!errors.is_empty() && errors.iter().all(stopped), "{errors:?}");
        // The device works again, but the shards that saw it fail must not write.
        drive.set_faults(Faults::default());
        let errors = put_some(&on, id, &mut model, 80..120).await;
        assert!(errors.len() == 40 && errors.iter().all(stopped), "{errors:?}");
        for key in model.keys.keys() {
            get(&on.any_core(), id, key).await.expect("reads go on");
        }
        (id, model)
    });
    world.crash(node);
    verify(&world, id, model);
}

fn verify(world: &World, id: BucketId, mut model: Model) {
    let node: Rc<SimNode> = world.open();
    world.run(async move {
        model.verify(&node, id, "after a device error").await;
        assert_eq!(put_some(&node, id, &mut model, 200..240).await, []);
    });
}

#[test]
fn failed_writes_stop_the_shards() {
    (1..=4).for_each(|seed| stops_and_recovers(seed, Faults { fail_writes: true, ..Faults::default() }));
}

#[test]
fn failed_flushes_stop_the_shards() {
    let faults = Faults { fail_writes: false, fail_flushes: true, ..Faults::default() };
    (1..=4).for_each(|seed| large_only(seed, faults));
}

/// Checks that a flush that failed for one task fails for the others too, even if the checkpoint
/// had asked for it.
fn large_only(seed: u64, faults: Faults) {
    let world = World::new(seed, 128 * MIB, 2, 2);
    let node = world.open();
    let (on, drive) = (node.clone(), world.drives[0].clone());
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        drive.set_faults(faults);
        on.checkpoint().await.expect_err("a flush failed");
        drive.set_faults(Faults::default());
        for tag in 0..8 {
            let refused = put(&on.any_core(), id, format!("k-{tag}").as_bytes(), tag, 300_000).await;
            let shard_of_the_failure = matches!(refused, Err(EngineError::WritesStopped { .. }));
            assert!(shard_of_the_failure, "{refused:?}");
        }
        id
    });
    world.crash(node);
    verify(&world, id, Model::default());
}

#[test]
fn failed_reads_are_said_and_nothing_stops() {
    let world = World::new(9, 64 * MIB, 2, 1);
    let (node, drive) = (world.open(), world.drives[0].clone());
    world.run(async move {
        let (core, id) = (node.core(0), bucket(&node.core(0), "b").await);
        for (tag, length) in SIZES.into_iter().enumerate() {
            put(&core, id, &[tag as u8], tag as u64, length).await.expect("stored");
        }
        drive.set_faults(Faults { fail_reads: true, ..Faults::default() });
        for tag in 0..3u8 {
            let read = get(&core, id, &[tag]).await;
            assert!(matches!(read, Err(EngineError::ReadFailed { .. })), "{:?}", read.err());
        }
        drive.set_faults(Faults::default());
        for tag in 0..3u8 {
            get(&core, id, &[tag]).await.expect("readable again").expect("there");
            put(&core, id, &[tag], 50, 10).await.expect("writable all the time");
        }
    });
}
