//! Small objects that are overwritten again and again fit on a drive many times smaller than all
//! that was written.

use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::check::Kind;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::sim::device::{FaultKind, FaultPlan};
use ringbolt_engine::types::BucketId;

use crate::check::{checked, copied};
use crate::world::{MIB, World, body, bucket, delete, get, list_all, put};

/// Overwrites `keys` objects of `length` bytes until `times` the drive's size was written.
fn churn(seed: u64, size_bytes: u64, shards: u16, keys: u64, length: usize, times: u64) {
    let mut world = World::new(seed, size_bytes, shards, 2);
    world.options.checkpoint_after_bytes = 16 << 20;
    let node = world.open();
    let on = node.clone();
    let sim = world.sim.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        let total = size_bytes * times / length as u64;
        let mut newest = std::collections::BTreeMap::new();
        for tag in 0..total {
            // Some keys are hot and most are not, so live and dead records mix in every extent.
            let key = if tag % 4 == 0 { tag / 4 % keys } else { sim.random().below(keys / 8 + 1) };
            let name = format!("key-{key:05}");
            let stored = put(&on.any_core(), id, name.as_bytes(), tag, length).await;
            stored.unwrap_or_else(|error| panic!("seed {seed}, put {tag} of {total}: {error}"));
            newest.insert(name, tag);
            if tag % 64 == 0 {
                let (name, tag) =
                    newest.iter().nth(sim.random().below(newest.len() as u64) as usize).expect("some");
                let found = get(&on.any_core(), id, name.as_bytes()).await.expect("read").expect("there").1;
                assert!(found == body(*tag, length), "seed {seed}: {name}");
            }
        }
        for (name, tag) in &newest {
            let found = get(&on.any_core(), id, name.as_bytes()).await.expect("read").expect("there").1;
            assert!(found == body(*tag, length), "seed {seed}: {name}");
        }
        id
    });
    world.sim.run_until_idle();
    let node = world.reopen_on(node, 1);
    let on = node.clone();
    world.run(async move {
        on.space().await;
        let page = crate::world::list_all(&on.core(0), id).await;
        assert_eq!(page.len() as u64, keys);
        for (name, _) in page {
            get(&on.core(0), id, &name).await.expect("read").expect("there");
            delete(&on.core(0), id, &name).await.expect("deleted");
        }
    });
}

/// Runs several clients that overwrite small objects of their own, and others that read, while
/// checkpoints and the cleaner run.
fn crowded(seed: u64) {
    let mut world = World::new(seed, 96 * MIB, 2, 2);
    world.options.dead_log_bytes_max = 2 << 20;
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move { bucket(&on.core(0), "b").await });
    for client in 0..8u64 {
        let (node, sim) = (node.clone(), world.sim.clone());
        world.sim.spawn(async move {
            let mut newest = [0u64; 40];
            for tag in 1..120u64 {
                let key = if tag <= 40 { tag - 1 } else { sim.random().below(40) };
                let name = format!("{client}/{key:02}");
                put(&node.any_core(), id, name.as_bytes(), client * 1000 + tag, 45_000)
                    .await
                    .expect("stored");
                newest[key as usize] = client * 1000 + tag;
                let key = sim.random().below(40);
                let name = format!("{client}/{key:02}");
                let found = get(&node.any_core(), id, name.as_bytes()).await.expect("readable");
                let tag = newest[key as usize];
                assert_eq!(found.is_some(), tag > 0, "seed {seed}: {name}");
                assert!(found.is_none_or(|(_, bytes)| bytes == body(tag, 45_000)), "seed {seed}: {name}");
            }
        });
    }
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move {
        on.space().await;
        assert_eq!(crate::world::list_all(&on.core(0), id).await.len(), 8 * 40);
    });
}

#[test]
fn clients_the_cleaner_and_checkpoints_go_on_side_by_side() {
    crate::persistence::seeds(4).into_iter().for_each(crowded);
}

#[test]
fn a_small_set_is_overwritten_for_ever() {
    churn(1, 64 * MIB, 1, 60, 40_000, 5);
    churn(2, 96 * MIB, 2, 300, 9_000, 2);
}

#[test]
fn a_set_of_a_third_of_the_drive_is_overwritten_for_ever() {
    churn(3, 96 * MIB, 1, 600, 50_000, 4);
}

const LENGTH: usize = 3000;
const KEYS: u64 = 60;

fn key(tag: u64) -> String {
    format!("key-{tag:03}")
}

/// Returns a node whose log has an extent with a few live records of different batches from an
/// earlier life.
fn aged(seed: u64) -> (World, Rc<SimNode>, BucketId) {
    let mut world = World::new(seed, 64 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        for tag in 0..KEYS {
            put(&on.core(0), id, key(tag).as_bytes(), tag, LENGTH).await.expect("stored");
        }
        put(&on.core(0), id, b"large", KEYS, 300_000).await.expect("stored");
        put(&on.core(0), id, b"empty", KEYS + 1, 0).await.expect("stored");
        id
    });
    let node = world.reopen_on(node, 1);
    (world, node, id)
}

/// Returns the number of the log's extents after a cleaning and a checkpoint.
async fn cleaned(node: &SimNode, id: BucketId) -> usize {
    put(&node.core(0), id, b"new", 1, 10).await.expect("stored");
    node.clean().await.expect("cleaned");
    node.checkpoint().await.expect("a checkpoint");
    node.leftovers().log_extents
}

/// A damaged record kept its extent, and the live records behind it, for as long as its object
/// existed: a small drive with a few of them had no extent left for a delete.
#[test]
fn a_damaged_record_keeps_no_extent() {
    let (mut world, node, id) = aged(21);
    let drive = world.drives[0].clone();
    // The damage is in the record and the data of one object each, and in the records of an object
    // with slices and an empty one.
    for name in ["key-003", "key-030", "large", "empty"] {
        let at = drive.find(name.as_bytes()).expect("its record");
        let skip = if name == "key-030" { 1500 } else { 0 };
        drive.damage(at + skip, |bytes| bytes[0] ^= 0x20);
    }
    let lost = ["empty", "key-003", "key-030", "large"];
    let look = move |node: Rc<SimNode>| async move {
        assert_eq!(list_all(&node.core(0), id).await.len() as u64, KEYS + 3, "all are listed");
        for tag in 0..KEYS {
            let found = get(&node.core(0), id, key(tag).as_bytes()).await;
            match lost.contains(&key(tag).as_str()) {
                true => assert!(matches!(found, Err(EngineError::Damaged { .. })), "{}: {found:?}", key(tag)),
                false => assert!(found.expect("read").expect("there").1 == body(tag, LENGTH)),
            }
        }
        for name in ["large", "empty"] {
            let found = get(&node.core(0), id, name.as_bytes()).await;
            assert!(matches!(found, Err(EngineError::Damaged { .. })), "{name}: {found:?}");
        }
    };
    let on = node.clone();
    world.run(async move {
        assert_eq!(cleaned(&on, id).await, 1, "the damaged extent is still the log's");
        look(on).await;
    });
    // The same must hold after a restart, and after another move.
    let node = world.reopen_on(node, 2);
    let on = node.clone();
    world.run(async move {
        look(on.clone()).await;
        assert_eq!(cleaned(&on, id).await, 1);
        look(on).await;
    });
    world.sim.run_until_idle();
    let (_, seen) = checked(&copied(&world), true);
    let named = |finding: &ringbolt_engine::check::Finding| {
        let object = finding.object.as_ref().expect("an object's");
        (finding.kind, String::from_utf8_lossy(&object.key).into_owned())
    };
    let mut found: Vec<_> = seen.findings.iter().map(named).collect();
    found.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(found, lost.map(|name| (Kind::Record, name.to_owned())));
    let on = node.clone();
    world.run(async move {
        for name in lost {
            delete(&on.core(0), id, name.as_bytes()).await.expect("deleted");
        }
        on.checkpoint().await.expect("a checkpoint");
        let left = on.leftovers();
        assert_eq!(
            (left.used_units, left.freed_units),
            (0, 0),
            "the slices of the large one are free: {left:?}"
        );
    });
    let node = world.reopen_on(node, 3);
    world.kill(node);
    crate::check::assert_clean(&copied(&world));
}

/// A drive that reads something else now and then has lost nothing.
#[test]
fn what_is_read_wrong_is_not_lost() {
    for seed in 22..42 {
        let (world, node, id) = aged(seed);
        world.drives[0].follow(FaultPlan::default().with(FaultKind::MisdirectedRead, 3, 1000));
        let on = node.clone();
        world.run(async move {
            for _ in 0..3 {
                cleaned(&on, id).await;
            }
        });
        world.drives[0].follow(FaultPlan::default());
        world.run(async move {
            for tag in 0..KEYS {
                let found = get(&node.core(0), id, key(tag).as_bytes()).await.expect("read").expect("there");
                assert!(found.1 == body(tag, LENGTH), "seed {seed}: {}", key(tag));
            }
        });
    }
}
