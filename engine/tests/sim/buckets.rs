//! Deletions of buckets beside everything else: a refused deletion is never visible, and a
//! successful one has no acknowledged write in what it removed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::sim::device::Faults;
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_drives};
use ringbolt_engine::types::{BucketId, ConfigKind, ListQuery, ObjectMeta, UploadQuery, WriteCondition};

use crate::world::{MIB, World, body, bucket, etag, get, list_all, put};

/// A delete looked into its bucket while all other requests were told that the bucket does not
/// exist.
#[test]
fn a_deletion_that_is_refused_is_seen_by_nobody() {
    for seed in 1..=10 {
        let world = World::new(seed, 96 * MIB, 2, 3);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            put(&on.core(0), id, b"kept", 1, 100).await.expect("stored");
            id
        });
        let refused = Rc::new(Cell::new(0));
        for _ in 0..2 {
            let (node, refused) = (node.clone(), refused.clone());
            world.sim.spawn(async move {
                for _ in 0..20 {
                    let outcome = node.any_core().delete_bucket(id).await;
                    assert_eq!(outcome, Err(EngineError::BucketNotEmpty), "seed {seed}");
                    refused.set(refused.get() + 1);
                }
            });
        }
        let ended = Rc::new(Cell::new(0));
        for client in 0..4u64 {
            let (node, ended) = (node.clone(), ended.clone());
            world.sim.spawn(async move {
                for step in 0..15 {
                    all_operations(&node, id, client * 100 + step).await;
                }
                ended.set(ended.get() + 1);
            });
        }
        world.sim.run_until_idle();
        assert_eq!((refused.get(), ended.get()), (40, 4), "seed {seed}");
        assert_eq!(node.leftovers().held_locks, 0, "seed {seed}");
    }
}

/// Fails unless the bucket exists for each operation.
async fn all_operations(node: &SimNode, id: BucketId, tag: u64) {
    let key = format!("k-{tag}").into_bytes();
    let core = node.any_core();
    put(&core, id, &key, tag, if tag.is_multiple_of(2) { 100 } else { 100_000 }).await.expect("put");
    assert!(get(&core, id, b"kept").await.expect("get").is_some());
    assert!(core.head(id, &key).await.expect("head").is_some());
    core.list(id, &ListQuery { max_items: 5, ..ListQuery::default() }).await.expect("list");
    let upload = core.create_upload(id, &key, Vec::new()).await.expect("create an upload");
    let mut part = core.put_part(id, &key, upload, 1, 50).await.expect("begin a part");
    part.write(&body(tag, 50)).await.expect("write a part");
    let info = part.commit_part(etag(tag), Vec::new()).await.expect("commit a part");
    core.list_uploads(id, &UploadQuery { max_items: 5, ..UploadQuery::default() })
        .await
        .expect("list uploads");
    if tag.is_multiple_of(2) {
        core.abort_upload(id, &key, upload).await.expect("abort");
    } else {
        let (parts, meta) = (vec![(1, info.etag)], ObjectMeta { etag: etag(tag), attributes: Vec::new() });
        let condition = WriteCondition::default();
        core.complete_upload(id, &key, upload, parts, meta, condition).await.expect("complete");
    }
    core.delete(id, &key, WriteCondition::default()).await.expect("delete");
}

/// What one client saw of the race.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Stored(u64),
    Gone,
}

/// Starts writers and a deletion of the same empty bucket at moments that the seed chooses.
fn race(seed: u64) -> (World, Rc<SimNode>, BucketId, Vec<Seen>, Result<(), EngineError>) {
    let world = World::new(seed, 96 * MIB, 2, 3);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move { bucket(&on.core(0), "b").await });
    let seen = Rc::new(RefCell::new(Vec::new()));
    for tag in 0..6u64 {
        // An upload of the same key holds the key's lock until it is durable, so an admitted put
        // waits behind it.
        let (on, sim) = (node.clone(), world.sim.clone());
        world.sim.spawn(async move {
            sim.pause_us(800).await;
            let begun = on.any_core().create_upload(id, format!("k-{tag}").as_bytes(), Vec::new()).await;
            assert!(matches!(begun, Ok(_) | Err(EngineError::NoSuchBucket)), "seed {seed}: {begun:?}");
        });
        let (node, seen, sim) = (node.clone(), seen.clone(), world.sim.clone());
        world.sim.spawn(async move {
            sim.pause_us(800).await;
            let length = if tag % 2 == 0 { 100 } else { 100_000 };
            let outcome = put(&node.any_core(), id, format!("k-{tag}").as_bytes(), tag, length).await;
            seen.borrow_mut().push(match outcome {
                Ok(_) => Seen::Stored(tag),
                Err(EngineError::NoSuchBucket) => Seen::Gone,
                Err(error) => panic!("seed {seed}: {error}"),
            });
        });
    }
    let deleted = Rc::new(RefCell::new(None));
    let (on, sim, outcome) = (node.clone(), world.sim.clone(), deleted.clone());
    world.sim.spawn(async move {
        sim.pause_us(400).await;
        let result = on.any_core().delete_bucket(id).await;
        *outcome.borrow_mut() = Some(result);
    });
    world.sim.run_until_idle();
    let (seen, deleted) = (seen.borrow().clone(), deleted.borrow().clone());
    (world, node, id, seen, deleted.expect("the deletion ended"))
}

#[test]
fn of_a_deletion_and_puts_either_the_deletion_or_the_puts_win() {
    let mut outcomes = [0, 0];
    for seed in 1..=150 {
        let (world, node, id, seen, deleted) = race(seed);
        assert_eq!(seen.len(), 6, "seed {seed}");
        let stored: Vec<u64> = seen
            .iter()
            .filter_map(|seen| if let Seen::Stored(tag) = seen { Some(*tag) } else { None })
            .collect();
        match &deleted {
            Ok(()) => assert!(stored.is_empty(), "seed {seed}: acknowledged, and the bucket is gone"),
            Err(error) => {
                assert_eq!(*error, EngineError::BucketNotEmpty, "seed {seed}");
                assert_eq!(stored.len(), 6, "seed {seed}: {seen:?}");
            }
        }
        outcomes[usize::from(deleted.is_ok())] += 1;
        let left = node.leftovers();
        assert_eq!((left.reserved_units, left.held_locks), (0, 0), "seed {seed}");
        world.kill(node);
        let node = world.open();
        world.run(async move {
            if deleted.is_ok() {
                assert!(node.core(0).bucket("b").is_none(), "seed {seed}");
                assert_eq!(
                    node.core(0).space().await.expect("space").objects,
                    0,
                    "seed {seed}: nobody's objects"
                );
            } else {
                assert_eq!(list_all(&node.core(0), id).await.len(), 6, "seed {seed}");
            }
        });
    }
    assert!(outcomes.iter().all(|count| *count > 5), "both ways of the race are in it: {outcomes:?}");
}

/// Callers that stop in the middle leave no permit behind, which would keep the bucket, and no
/// object in a deleted bucket.
#[test]
fn writers_that_give_up_do_not_keep_a_bucket_and_do_not_outlive_it() {
    for seed in 1..=60 {
        let world = World::new(seed, 96 * MIB, 2, 1);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move { bucket(&on.core(0), "b").await });
        for tag in 0..6u64 {
            let (node, sim) = (node.clone(), world.sim.clone());
            world.sim.spawn(async move {
                sim.pause_us(600).await;
                let key = format!("k-{tag}").into_bytes();
                let core = node.any_core();
                let (write, patience) =
                    (std::pin::pin!(put(&core, id, &key, tag, 100_000)), std::pin::pin!(sim.pause_us(900)));
                // The future that ends first wins; the other one is dropped.
                futures_util::future::select(write, patience).await;
            });
        }
        let (on, sim) = (node.clone(), world.sim.clone());
        let deleted = Rc::new(Cell::new(false));
        let outcome = deleted.clone();
        world.sim.spawn(async move {
            sim.pause_us(400).await;
            outcome.set(on.any_core().delete_bucket(id).await.is_ok());
        });
        world.sim.run_until_idle();
        let left = node.leftovers();
        assert_eq!((left.writers, left.held_locks), (0, 0), "seed {seed}");
        if deleted.get() {
            let on = node.clone();
            let objects = world.run(async move { on.core(0).space().await.expect("space").objects });
            assert_eq!(objects, 0, "seed {seed}: an object of a bucket that is gone");
        }
    }
}

/// The record of the deletion may or may not be on the drive. What is acknowledged after that could
/// be lost at the next start.
#[test]
fn a_bucket_whose_deletion_failed_on_the_drive_takes_no_writes_until_the_next_start() {
    for seed in 1..=10 {
        // There are two drives because a durable write that failed may have been a flush that
        // failed, which stops its whole drive.
        let sim = Simulator::new(seed);
        let drives = format_sim_drives(&sim, 2, (96 * MIB, 1), 4);
        let world = World { sim, drives, options: SimOptions { cores: 2, ..SimOptions::default() } };
        let node = world.open();
        let (on, drive) = (node.clone(), world.drives[0].clone());
        let (id, other) = world.run(async move {
            let (id, other) = (bucket(&on.core(0), "b").await, bucket(&on.core(0), "c").await);
            drive.set_faults(Faults { fail_writes: true, ..Faults::default() });
            let failed = on.any_core().delete_bucket(id).await;
            assert!(
                matches!(failed, Err(EngineError::WritesStopped { shard: 0 })),
                "seed {seed}: {failed:?}"
            );
            // A client asks again, which must not admit writers.
            let again = on.any_core().delete_bucket(id).await;
            assert!(matches!(again, Err(EngineError::WritesStopped { .. })), "seed {seed}: {again:?}");
            drive.set_faults(Faults::default());
            let mut stored_elsewhere = 0;
            for tag in 0..12u64 {
                let key = format!("k-{tag}");
                let refused = put(&on.any_core(), id, key.as_bytes(), tag, 100).await;
                assert!(
                    matches!(refused, Err(EngineError::WritesStopped { .. })),
                    "seed {seed}: {refused:?}"
                );
                assert!(get(&on.any_core(), id, key.as_bytes()).await.expect("it can be read").is_none());
                stored_elsewhere +=
                    usize::from(put(&on.any_core(), other, key.as_bytes(), tag, 100).await.is_ok());
            }
            assert!(stored_elsewhere > 0, "seed {seed}: the shards of the other drive work");
            (id, other)
        });
        world.crash(node);
        let node = world.open();
        world.run(async move {
            let stays = node.core(0).bucket("b").is_some();
            let stored = put(&node.any_core(), id, b"k", 1, 100).await;
            assert_eq!(stored.is_ok(), stays, "seed {seed}: {stored:?}");
            put(&node.any_core(), other, b"k", 1, 100).await.expect("stored");
        });
    }
}

/// What no record or checkpoint has room for is refused before anything is written.
#[test]
fn a_configuration_has_a_bound() {
    let world = World::new(2094, 96 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        let limit = 512 << 10;
        for length in [limit + 1, 2 * limit, 8 * limit] {
            let refused = core.set_bucket_config(id, ConfigKind(77), Some(vec![7; length])).await;
            assert_eq!(refused, Err(EngineError::ConfigTooLarge { length, limit }));
        }
        core.set_bucket_config(id, ConfigKind(77), Some(vec![7; limit - 10])).await.expect("it fits");
        let refused = core.set_bucket_config(id, ConfigKind(78), Some(vec![7; 11])).await;
        assert_eq!(refused, Err(EngineError::ConfigTooLarge { length: limit + 1, limit }));
        core.set_bucket_config(id, ConfigKind(77), Some(vec![8; limit])).await.expect("in its place");
        for number in 0..40 {
            bucket(&core, &format!("other-{number}")).await;
        }
        on.checkpoint().await.expect("written");
    });
    world.kill(node);
    let node = world.open();
    let found = node.core(0).bucket("b").expect("the bucket");
    assert_eq!(found.config.iter().map(|(_, value)| value.len()).sum::<usize>(), 512 << 10);
}
