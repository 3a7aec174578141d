//! Promises of the engine, each in the one situation in which a certain mistake breaks it. So every
//! run tests them, and not only a lucky seed.
//!
//! Where the mistake is one of the planted bugs, a second test shows that the situation catches it.

use std::cell::Cell;
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::lifecycle::{Expiration, LifecycleRules, Rule};
use ringbolt_engine::node::LifecycleOptions;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::sim::device::{Fate, FaultKind, FaultPlan};
use ringbolt_engine::types::{BucketId, ConfigKind, ObjectMeta, Versioning, WriteCondition};

use crate::world::{MIB, World, body, bucket, delete, etag, get, put};

/// The outcome of a scenario. The error says how the promise was broken.
type Outcome = Result<(), String>;

/// Cuts the power so that everything that was not durable is lost.
fn cut_and_lose_all(world: &World, node: Rc<SimNode>) {
    world.drives.iter().for_each(|drive| drive.crash(|_| Fate::Lost));
    world.kill(node);
}

fn holds(
    world: &World,
    node: &Rc<SimNode>,
    id: BucketId,
    key: &'static [u8],
    tag: u64,
    length: usize,
) -> Outcome {
    let on = node.clone();
    world.run(async move {
        match get(&on.core(0), id, key).await {
            Ok(Some((_, bytes))) if bytes == body(tag, length) => Ok(()),
            Ok(Some(_)) => Err("other bytes".to_owned()),
            Ok(None) => Err("it is gone".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
}

fn one_shard(seed: u64) -> World {
    World::new(seed, 128 * MIB, 1, 1)
}

fn acknowledged_is_durable(world: World) -> Outcome {
    for length in [1000, 200_000] {
        let node = world.try_open().map_err(|error| error.to_string())?;
        let on = node.clone();
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            put(&on.core(0), id, b"k", 1, length).await.expect("stored");
            id
        });
        // The power is cut at the very moment of the answer.
        cut_and_lose_all(&world, node);
        let node = world.try_open().map_err(|error| error.to_string())?;
        holds(&world, &node, id, b"k", 1, length)?;
        world.kill(node);
    }
    Ok(())
}

fn the_last_batch_is_not_written_over(world: World) -> Outcome {
    let mut id = None;
    for key in [b"1", b"2", b"3"] {
        let node = world.try_open().map_err(|error| error.to_string())?;
        let on = node.clone();
        id = Some(world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            put(&on.core(0), id, key, 1, 1000).await.expect("stored");
            id
        }));
        world.kill(node);
    }
    let node = world.try_open().map_err(|error| error.to_string())?;
    let id = id.expect("made in the first round");
    [b"1", b"2", b"3"].into_iter().try_for_each(|key| holds(&world, &node, id, key, 1, 1000))
}

/// A ranged GET that lost its pin read what was stored in the space of its object later.
fn a_slow_ranged_reader_reads_its_own_object(world: World) -> Outcome {
    const LENGTH: usize = 21 << 20;
    let range = (1 << 20) + 5..LENGTH - 7;
    let node = world.open();
    world.run(async move {
        let (core, id) = (node.core(0), bucket(&node.core(0), "b").await);
        put(&core, id, b"k", 1, LENGTH).await.expect("stored");
        let mut reader = core.get(id, b"k").await.expect("read").expect("there");
        reader.set_range(range.start as u64, range.len() as u64);
        let mut bytes = Vec::new();
        let next = |chunk: Option<_>, bytes: &mut Vec<u8>| match chunk {
            Some(chunk) => {
                let chunk: ringbolt_engine::node::Chunk = chunk;
                bytes.extend_from_slice(chunk.as_ref());
                true
            }
            None => false,
        };
        next(reader.next().await.map_err(|error| error.to_string())?, &mut bytes);
        delete(&core, id, b"k").await.expect("deleted");
        for round in 0..8 {
            put(&core, id, b"other", 100 + round, 11 << 20).await.expect("stored");
            node.checkpoint().await.expect("a checkpoint");
        }
        while next(reader.next().await.map_err(|error| error.to_string())?, &mut bytes) {}
        if bytes == body(1, LENGTH)[range] { Ok(()) } else { Err("other bytes".to_owned()) }
    })
}

/// Slices are moved, the record that says so is durable, and the power is cut: the copies must be
/// durable too.
fn moved_slices_are_durable_before_their_record(world: World) -> Outcome {
    const LENGTH: usize = 4 << 20;
    let node = world.open();
    let on = node.clone();
    let (id, kept) = world.run(async move {
        let (core, id) = (on.core(0), bucket(&on.core(0), "b").await);
        // Each extent has four slots, and one slice in use after the deletes.
        for number in 0..24u8 {
            put(&core, id, &[number], u64::from(number), LENGTH).await.expect("stored");
        }
        let (kept, gone): (Vec<u8>, Vec<u8>) = (0..24).partition(|number| number % 4 == 1);
        for number in gone {
            delete(&core, id, &[number]).await.expect("deleted");
        }
        on.checkpoint().await.expect("a checkpoint");
        (id, kept)
    });
    world.sim.run_until_idle();
    let before = node.core(0).counters();
    let on = node.clone();
    world.sim.spawn(async move { drop(on.compact().await) });
    // The test waits until the first record about a move is durable and applied.
    while node.core(0).counters().records == before.records {
        assert!(world.sim.step(), "nothing was moved");
    }
    assert!(node.core(0).counters().relocated_bytes >= LENGTH as u64, "a slice was copied");
    cut_and_lose_all(&world, node);
    let node = world.try_open().map_err(|error| error.to_string())?;
    world.run(async move {
        for number in kept {
            match get(&node.core(0), id, &[number]).await {
                Ok(Some((_, bytes))) if bytes == body(u64::from(number), LENGTH) => {}
                other => return Err(format!("object {number}: {:?}", other.map(|found| found.is_some()))),
            }
        }
        Ok(())
    })
}

fn rot_is_not_served(world: World) -> Outcome {
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        put(&on.core(0), id, b"k", 1, 300_000).await.expect("stored");
        id
    });
    let at = world.drives[0].find(&body(1, 300_000)[200_000..200_060]).expect("it is on the drive");
    world.drives[0].damage(at, |bytes| bytes[0] ^= 1);
    world.run(async move {
        match get(&node.core(0), id, b"k").await {
            Err(EngineError::Damaged { .. }) => Ok(()),
            other => Err(format!("{:?}", other.map(|found| found.is_some()))),
        }
    })
}

/// A client puts an object anew while the lifecycle waits for its key, to let the old one expire.
/// That was judged before, and is not meant for the new one.
fn an_expiry_does_not_reach_the_next_object(world: World) -> Outcome {
    const DAY_MS: u64 = 60_000;
    let node = world.open();
    let (sim, drive) = (world.sim.clone(), world.drives[0].clone());
    world.run(async move {
        let (core, id) = (node.core(0), bucket(&node.core(0), "b").await);
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        put(&core, id, b"k", 1, 1000).await.expect("stored");
        let rule = Rule { enabled: true, expiration: Some(Expiration::Days(1)), ..Rule::default() };
        let rules = LifecycleRules { rules: vec![rule] }.encode(b"");
        core.set_bucket_config(id, ConfigKind::LIFECYCLE, Some(rules)).await.expect("set");
        sim.sleep_us(3 * DAY_MS * 1000).await;
        drive.follow(FaultPlan::default().with(FaultKind::Delay, 1, u64::MAX));
        let writer = node.core(0);
        sim.spawn(async move { drop(put(&writer, id, b"k", 2, 1000).await.expect("stored")) });
        while node.leftovers().held_locks == 0 {
            sim.sleep_us(10).await;
        }
        core.run_lifecycle(LifecycleOptions { day_ms: DAY_MS, ..LifecycleOptions::default() });
        sim.sleep_us(2_000_000).await;
        match get(&core, id, b"k").await {
            Ok(Some((_, bytes))) if bytes == body(2, 1000) => Ok(()),
            other => Err(format!("{:?}", other.map(|found| found.is_some()))),
        }
    })
}

type Scenario = fn(World) -> Outcome;

/// Returns the scenarios, each with a world of its own.
fn scenarios() -> Vec<(&'static str, World, Scenario)> {
    let sparse = || World::with_extents_of(4, 4, 400 * MIB, 1, 1);
    vec![
        ("acknowledged is durable", one_shard(1), acknowledged_is_durable as Scenario),
        ("the last batch stays", one_shard(2), the_last_batch_is_not_written_over),
        ("a slow reader", one_shard(3), a_slow_ranged_reader_reads_its_own_object),
        ("moved slices", sparse(), moved_slices_are_durable_before_their_record),
        ("rot", one_shard(5), rot_is_not_served),
        ("an expiry", one_shard(6), an_expiry_does_not_reach_the_next_object),
    ]
}

#[test]
fn the_promises_hold_in_these_situations() {
    for (name, world, scenario) in scenarios() {
        assert_eq!(scenario(world), Ok(()), "{name}");
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_breaks_the_promise_of_its_situation() {
    use ringbolt_engine::sim::Bug;
    // The bugs that are missing here have tests of their own.
    let caught_by = [
        (Bug::SkipFlush, "acknowledged is durable"),
        (Bug::AcknowledgeBeforeCommit, "acknowledged is durable"),
        (Bug::LoseTail, "the last batch stays"),
        (Bug::ReuseSpaceEarly, "a slow reader"),
        (Bug::MoveUnflushed, "moved slices"),
        (Bug::IgnoreCrc, "rot"),
        (Bug::ExpireTwice, "an expiry"),
    ];
    for (bug, situation) in caught_by {
        let found = scenarios().into_iter().find(|(name, ..)| *name == situation);
        let (name, mut world, scenario) = found.expect("each bug has a situation");
        world.options.bug = Some(bug);
        assert!(scenario(world).is_err(), "{} passes {name}", bug.name());
    }
}

/// The writes of an abandoned upload may be in flight for long. Space that was freed before they
/// ended got a new owner, and the late write overwrote what was acknowledged there.
#[test]
fn a_dropped_upload_keeps_its_space_until_its_writes_end() {
    for seed in 0..8 {
        let world = one_shard(40 + seed);
        let (node, sim, drive) = (world.open(), world.sim.clone(), world.drives[0].clone());
        world.run(async move {
            let (core, id) = (node.core(0), bucket(&node.core(0), "b").await);
            drive.follow(FaultPlan::default().with(FaultKind::Delay, 1, u64::MAX));
            let mut writer = core.put(id, b"given up", 4 << 20).await.expect("begun");
            writer.write(&body(1, 3 << 20)).await.expect("taken");
            drive.follow(FaultPlan::default());
            drop(writer);
            put(&core, id, b"k", 2, 4 << 20).await.expect("stored");
            // This is the longest that a delayed write takes.
            sim.sleep_us(300_000).await;
            let found = get(&core, id, b"k").await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(found.expect("there").1 == body(2, 4 << 20), "seed {seed}");
        });
        world.sim.run_until_idle();
    }
}

/// Law 6: recovery may still need what the checkpoint in force names, and so may a repair.
#[test]
fn what_the_checkpoint_in_force_names_is_not_written_over() {
    const LENGTH: usize = 4 << 20;
    for replaced in [true, false] {
        let mut world = one_shard(50);
        world.options.checkpoint_after_bytes = u64::MAX;
        let (node, drive) = (world.open(), world.drives[0].clone());
        world.run(async move {
            let (core, id) = (node.core(0), bucket(&node.core(0), "b").await);
            put(&core, id, b"k", 1, LENGTH).await.expect("stored");
            node.checkpoint().await.expect("a checkpoint");
            let old = body(1, LENGTH)[LENGTH / 2..LENGTH / 2 + 64].to_vec();
            let place = drive.find(&old).expect("it is on the drive");
            match replaced {
                true => drop(put(&core, id, b"k", 2, LENGTH).await.expect("stored")),
                false => drop(delete(&core, id, b"k").await.expect("deleted")),
            }
            for number in 10..16 {
                put(&core, id, &[number], u64::from(number), LENGTH).await.expect("stored");
                assert!(drive.peek(place, 64) == old, "object {number} went over it, replaced: {replaced}");
            }
            // The place becomes free only now. This proves that the place is not simply never used.
            node.checkpoint().await.expect("a checkpoint");
            for number in 20.. {
                if put(&core, id, &[number], u64::from(number), LENGTH).await.is_err() {
                    break;
                }
            }
            assert!(drive.peek(place, 64) != old, "a full drive has used it again, replaced: {replaced}");
        });
    }
}

/// A part is put again while Complete waits for the key. The object must be made of the parts that
/// exist when Complete has the lock. When they were chosen before, it named slices that were free
/// by then.
#[test]
fn complete_takes_the_parts_that_are_there_when_it_has_the_key() {
    const LENGTH: usize = 4 << 20;
    for seed in 0..4 {
        let world = one_shard(60 + seed);
        let (node, sim, drive) = (world.open(), world.sim.clone(), world.drives[0].clone());
        let ended = Rc::new(Cell::new(false));
        let (on, end) = (node.clone(), ended.clone());
        let id = world.run(async move {
            let (core, id) = (on.core(0), bucket(&on.core(0), "b").await);
            let upload = core.create_upload(id, b"m", Vec::new()).await.expect("begun");
            let part = async |core: &ringbolt_engine::node::Core| {
                let mut writer = core.put_part(id, b"m", upload, 1, LENGTH as u64).await.expect("begun");
                writer.write(&body(1, LENGTH)).await.expect("written");
                writer
            };
            part(&core).await.commit_part(etag(1), Vec::new()).await.expect("stored");
            // The same bytes with the same part number replace the first part.
            let again = part(&core).await;
            sim.sleep_us(10_000).await;
            drive.follow(FaultPlan::default().with(FaultKind::Delay, 1, u64::MAX));
            sim.spawn(async move {
                again.commit_part(etag(1), Vec::new()).await.expect("stored");
                end.set(true);
            });
            while on.leftovers().held_locks == 0 {
                assert!(!ended.get(), "the part was never seen to hold the key");
                sim.sleep_us(500).await;
            }
            let meta = ObjectMeta { etag: etag(9), attributes: Vec::new() };
            let parts = vec![(1, etag(1))];
            let done = core.complete_upload(id, b"m", upload, parts, meta, WriteCondition::default()).await;
            done.expect("completed");
            assert!(ended.get(), "Complete had to wait for the part");
            drive.follow(FaultPlan::default());
            on.checkpoint().await.expect("a checkpoint");
            // Everything that is free is overwritten.
            for number in 10.. {
                if put(&core, id, &[number], u64::from(number), LENGTH).await.is_err() {
                    break;
                }
            }
            id
        });
        assert_eq!(holds(&world, &node, id, b"m", 1, LENGTH), Ok(()), "seed {seed}");
        world.kill(node);
        let node = world.open();
        assert_eq!(holds(&world, &node, id, b"m", 1, LENGTH), Ok(()), "seed {seed}, after a restart");
    }
}

/// A bucket is deleted while a put into it is in progress: one of the two must be refused. A delete
/// that did not wait for admitted writers found no object yet, and the put was acknowledged into a
/// deleted bucket.
#[test]
fn a_bucket_is_not_deleted_under_a_put_that_is_acknowledged() {
    let (mut stored, mut deleted) = (0, 0);
    for wait in 0..60u64 {
        let world = World::new(70 + wait, 96 * MIB, 3, 1 + wait as usize % 3);
        let (node, sim, drive) = (world.open(), world.sim.clone(), world.drives[0].clone());
        let on = node.clone();
        let id = world.run(async move { bucket(&on.core(0), "b").await });
        drive.follow(FaultPlan::default().with(FaultKind::Delay, 2, u64::MAX));
        let answer = Rc::new(Cell::new(None));
        let (core, into) = (node.any_core(), answer.clone());
        let key = [wait as u8];
        world.sim.spawn(async move {
            let length = if wait % 2 == 0 { 1000 } else { 100_000 };
            let put = put(&core, id, &key, wait, length).await;
            into.set(Some(put.map(drop)));
        });
        let on = node.clone();
        let removed = world.run(async move {
            sim.sleep_us(wait * wait * 20).await;
            on.any_core().delete_bucket(id).await
        });
        world.sim.run_until_idle();
        let put = answer.take().expect("an answer");
        let on = node.clone();
        let found = world.run(async move { get(&on.core(0), id, &key).await.map(|found| found.is_some()) });
        match (&put, &removed) {
            (Ok(()), Err(EngineError::BucketNotEmpty)) => {
                stored += 1;
                assert_eq!(found, Ok(true), "wait {wait}: acknowledged");
            }
            (Err(EngineError::NoSuchBucket), Ok(())) => {
                deleted += 1;
                assert_eq!(found, Err(EngineError::NoSuchBucket), "wait {wait}");
            }
            other => panic!("wait {wait}: {other:?}"),
        }
    }
    assert!(stored > 5 && deleted > 5, "{stored} puts were stored, {deleted} buckets were deleted");
}

/// The put was admitted and waits for its key behind an upload that is being created: nothing of it
/// is queued yet. A delete that waited only for what was queued, and not for admitted writers,
/// found no object.
#[test]
fn a_bucket_is_not_deleted_under_a_put_that_waits_for_its_key() {
    for seed in 0..8 {
        let world = one_shard(140 + seed);
        let (node, sim, drive) = (world.open(), world.sim.clone(), world.drives[0].clone());
        let on = node.clone();
        let id = world.run(async move { bucket(&on.core(0), "b").await });
        drive.follow(FaultPlan::default().with(FaultKind::Delay, 1, u64::MAX));
        let answer = Rc::new(Cell::new(None));
        let (on, into) = (node.clone(), answer.clone());
        let removed = world.run(async move {
            let (uploader, writer) = (on.core(0), on.core(0));
            sim.spawn(async move {
                uploader.create_upload(id, b"k", Vec::new()).await.expect("an upload is begun");
            });
            while on.leftovers().held_locks == 0 {
                sim.sleep_us(10).await;
            }
            sim.spawn(async move { into.set(Some(put(&writer, id, b"k", 1, 1000).await.map(drop))) });
            sim.sleep_us(10).await;
            on.core(0).delete_bucket(id).await
        });
        world.sim.run_until_idle();
        assert_eq!(answer.take(), Some(Ok(())), "seed {seed}: the put was there first");
        assert_eq!(
            removed,
            Err(EngineError::BucketNotEmpty),
            "seed {seed}: acknowledged, and the bucket is gone"
        );
        assert_eq!(holds(&world, &node, id, b"k", 1, 1000), Ok(()), "seed {seed}");
    }
}
