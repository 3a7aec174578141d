//! A full drive: puts are refused, everything else still works, and after deletes there is room
//! again.

use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::BucketId;

use crate::world::{MIB, World, body, bucket, delete, get, list_all, put};

/// Puts objects of `length` bytes until there is no room. Returns how many fit.
async fn fill(node: &SimNode, id: BucketId, prefix: &str, length: usize) -> u64 {
    for tag in 0.. {
        let key = format!("{prefix}-{tag:06}");
        match put(&node.any_core(), id, key.as_bytes(), tag, length).await {
            Ok(_) => {}
            Err(EngineError::NoSpace { .. }) => return tag,
            Err(error) => panic!("{key}: {error}"),
        }
    }
    unreachable!("a drive fills up")
}

fn full(seed: u64, shards: u16, cores: usize, size_bytes: u64, length: usize) {
    let mut world = World::new(seed, size_bytes, shards, cores);
    let node = world.open();
    let on = node.clone();
    let (id, count) = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        (id, fill(&on, id, "x", length).await)
    });
    assert!(count * length as u64 > size_bytes / 10, "seed {seed}: only {count} objects of {length} fit");
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move {
        on.space().await;
        still_works(&on, id, count, length).await;
    });
    // The node restarts on the full drive.
    let node = world.reopen_on(node, 1);
    let on = node.clone();
    let again = world.run(async move {
        still_works(&on, id, count, length).await;
        // Puts are refused again and again, and nothing of what is held back is lost.
        for tag in 0..20 {
            let refused = put(&on.core(0), id, format!("no-{tag}").as_bytes(), tag, length).await;
            if refused.is_ok() {
                delete(&on.core(0), id, format!("no-{tag}").as_bytes()).await.expect("deleted");
            }
        }
        for tag in 0..count {
            delete(&on.core(0), id, format!("x-{tag:06}").as_bytes())
                .await
                .expect("deletes work on a full drive");
        }
        assert!(list_all(&on.core(0), id).await.is_empty());
        fill(&on, id, "y", length).await
    });
    // Checkpoints, of which there were none at first, take an extent of each shard.
    assert!(
        again * 10 >= count * 8,
        "seed {seed}: {count} objects fitted at first, {again} after deleting them"
    );
    world.sim.run_until_idle();
    let node: Rc<SimNode> = world.reopen_on(node, 2);
    world.run(async move {
        for tag in 0..again {
            let key = format!("y-{tag:06}");
            delete(&node.core(0), id, key.as_bytes()).await.expect("deleted");
            if tag == again / 2 {
                put(&node.core(0), id, b"room", 1, length).await.expect("room after deletes");
            }
        }
        assert_eq!(list_all(&node.core(0), id).await, [(b"room".to_vec(), length as u64)]);
    });
}

async fn still_works(node: &SimNode, id: BucketId, count: u64, length: usize) {
    assert_eq!(list_all(&node.any_core(), id).await.len() as u64, count);
    for tag in (0..count).step_by(1 + count as usize / 20) {
        let key = format!("x-{tag:06}");
        let found = get(&node.any_core(), id, key.as_bytes()).await.expect("read").expect("there").1;
        assert!(found == body(tag, length), "{key}");
    }
}

#[test]
fn full_of_small_objects() {
    full(1, 2, 2, 96 * MIB, 60_000);
    full(2, 1, 1, 64 * MIB, 20_000);
}

#[test]
fn full_of_large_objects() {
    full(3, 2, 2, 96 * MIB, 1_500_000);
    full(4, 3, 2, 160 * MIB, 9 << 20);
}

#[test]
fn a_body_that_finds_no_room_half_way_leaves_nothing() {
    let world = World::new(5, 64 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        let refused = put(&on.core(0), id, b"huge", 1, 200 << 20).await;
        assert!(matches!(refused, Err(EngineError::NoSpace { .. })), "{refused:?}");
    });
    world.sim.run_until_idle();
    let left = node.leftovers();
    assert_eq!((left.used_units, left.reserved_units, left.data_extents, left.writers), (0, 0, 0, 0));
}

#[test]
fn deletes_and_puts_in_turn_never_wedge_a_full_drive() {
    let world = World::new(6, 64 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        let count = fill(&on, id, "x", 60_000).await;
        for round in 0..4 {
            for tag in 0..count {
                let key = format!("x-{tag:06}");
                delete(&on.core(0), id, key.as_bytes())
                    .await
                    .unwrap_or_else(|error| panic!("round {round}, {key}: {error}"));
                match put(&on.core(0), id, key.as_bytes(), tag, 60_000).await {
                    Ok(_) | Err(EngineError::NoSpace { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        on.checkpoint().await.expect("a checkpoint has room");
    });
}

#[test]
fn a_drive_full_of_live_data_refuses_without_moving_any_of_it() {
    let mut world = World::new(7, 384 * MIB, 1, 1);
    // A drive of this size would have this setting. The other tests use a value that makes the
    // cleaner run often.
    world.options.dead_log_bytes_max = 96 * MIB;
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        let count = fill(&on, id, "x", 60_000).await;
        // These are three extents that a cleaner would choose, with no more dead bytes in them than
        // a full drive may have.
        for tag in (0..200).filter(|tag| tag % 10 != 0) {
            delete(&core, id, format!("x-{tag:06}").as_bytes()).await.expect("deleted");
        }
        let again = fill(&on, id, "z", 60_000).await;
        assert!(again >= 170, "{again} more fit after deleting 180 of {count}");
        let moved = core.counters().moved_bytes;
        for tag in 0..50 {
            let refused = put(&core, id, b"no", tag, 60_000).await;
            assert!(matches!(refused, Err(EngineError::NoSpace { .. })), "{refused:?}");
        }
        let moved = core.counters().moved_bytes - moved;
        assert_eq!(moved, 0, "bytes were moved for puts that can not fit");
    });
}

/// Deletes every second object and puts it again on a full drive whose node was killed a few times.
/// Returns how many of them find room when the life that puts them is `age_ms` old, and how many
/// there were.
fn refilled(length: usize, age_ms: u64, seed: u64) -> (u64, u64) {
    let world = World::new(seed, 64 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let (id, count) = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        (id, fill(&on, id, "x", length).await)
    });
    world.crash(node);
    for life in 0..4u64 {
        let node = world.open();
        let on = node.clone();
        world.run(async move {
            delete(&on.core(0), id, format!("x-{life:06}").as_bytes()).await.expect("deleted");
        });
        world.crash(node);
    }
    let node = world.open();
    let sim = world.sim.clone();
    world.run(async move {
        let every_second = || (4..count).step_by(2);
        for tag in every_second() {
            delete(&node.core(0), id, format!("x-{tag:06}").as_bytes()).await.expect("deleted");
        }
        sim.sleep_us(age_ms * 1000).await;
        let mut found = 0;
        for tag in every_second() {
            match put(&node.core(0), id, format!("x-{tag:06}").as_bytes(), tag, length).await {
                Ok(_) => found += 1,
                Err(EngineError::NoSpace { .. }) => break,
                Err(error) => panic!("{tag} of {count} objects of {length} again: {error}"),
            }
        }
        (found, count)
    })
}

/// A node that is killed again and again on a full drive has only the extents that are held back
/// for its lives to begin in, so it moves nothing for the first seconds of each life. Puts into the
/// space that deletes had freed were refused then.
#[test]
fn a_young_life_on_a_full_drive_makes_room_as_an_old_one_does() {
    for (seed, length) in [(9, 36_000), (9, 200_000), (9, 1_500_000), (9, 3_000_000)] {
        let ((young, count), (old, _)) = (refilled(length, 0, seed), refilled(length, 20_000, seed));
        assert!(
            young >= old && old * 4 > count,
            "of {count} objects of {length}: {young} found room, {old} in an old life"
        );
    }
}

/// A put was refused while a checkpoint was being written that would soon free extents. Whether the
/// space of deleted objects could be used again depended on the moment.
#[test]
fn a_put_waits_for_what_a_running_checkpoint_gives_back() {
    for seed in [3, 6, 8, 9, 11, 12] {
        let (found, count) = refilled(36_000, 0, seed);
        assert!(
            found * 2 + 8 > count,
            "seed {seed}: {found} of {count} objects found room where half was deleted"
        );
    }
}

/// After a restart on a full drive the log continues in an extent that was held back. This extent
/// was never replaced: the last of the puts into the space that deletes had freed found no room for
/// its record of a few hundred bytes.
#[test]
fn all_that_deletes_free_takes_puts_again_after_a_restart() {
    const LENGTH: usize = 3 << 20;
    for seed in 0..6 {
        let mut world = World::new(seed, 256 * MIB, 2, 2);
        let node = world.open();
        let on = node.clone();
        let (id, count) = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            (id, fill(&on, id, "x", LENGTH).await)
        });
        let node = world.reopen_on(node, 2);
        world.run(async move {
            for (tag, length) in [(0, 10_000), (1, LENGTH - 1)] {
                let key = format!("x-{tag:06}");
                put(&node.core(0), id, key.as_bytes(), tag, length).await.expect("smaller than before");
            }
            for tag in 0..count / 2 {
                delete(&node.core(0), id, format!("x-{tag:06}").as_bytes()).await.expect("deleted");
            }
            for tag in 0..count / 2 {
                let again = put(&node.core(0), id, format!("x-{tag:06}").as_bytes(), tag, LENGTH).await;
                again.unwrap_or_else(|error| panic!("seed {seed}: {tag} of {count} again: {error}"));
            }
        });
    }
}

/// A node that ended again and again right after a delete took an extent for each life. Extents with
/// a record or two in them were moved together only later in a life, so in the end none was left for
/// a checkpoint, and no delete was accepted any more. (Found by `--faults none --seed 130100134
/// --rounds 40 --steps 250 --clients 3`.)
#[test]
fn deletes_are_accepted_however_soon_lives_end() {
    const DELETED: u64 = 60;
    for (seed, length) in [(1, 20_000), (2, 40_000), (3, 60_000), (4, 60_000)] {
        let world = World::new(seed, 37 * MIB, 1, 1);
        let node = world.open();
        let id = world.run(async move {
            let id = bucket(&node.core(0), "b").await;
            for tag in 0..DELETED {
                put(&node.core(0), id, format!("d-{tag:02}").as_bytes(), tag, 100).await.expect("stored");
            }
            id
        });
        world.sim.kill();
        let mut kept = Vec::new();
        for life in 0..DELETED {
            let node = world.open();
            let on = node.clone();
            let (deleted, stored) = world.run(async move {
                let core = on.core(0);
                let stored = put(&core, id, format!("k-{life:02}").as_bytes(), life, length).await.is_ok();
                (delete(&core, id, format!("d-{life:02}").as_bytes()).await, stored)
            });
            deleted.unwrap_or_else(|error| panic!("seed {seed}, life {life}, {length} bytes: {error}"));
            kept.extend(stored.then_some(life));
            world.crash(node);
        }
        assert!(kept.len() > 1, "seed {seed}: {kept:?} lives stored something");
        let node = world.open();
        world.run(async move {
            for life in kept {
                let found = get(&node.core(0), id, format!("k-{life:02}").as_bytes()).await.expect("read");
                assert_eq!(found.expect("kept").1, body(life, length), "seed {seed}, life {life}");
            }
        });
    }
}
