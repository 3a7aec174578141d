//! Quotas: no order of puts, overwrites, deletes and failures brings a bucket above its quota, what
//! fits is stored, and the ledger counts what all shards together hold.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringbolt_engine::node::Core;
use ringbolt_engine::sim::device::Faults;
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_drives};
use ringbolt_engine::types::{
    BucketId, ConfigKind, Deleted, ObjectMeta, Quota, Version, Versioning, WriteCondition,
};
use ringbolt_engine::{EngineError, Result};

use crate::world::{MIB, World, bucket, delete, etag, get, list_all, put};

const SMALL: usize = 1000;
const LARGE: usize = 100_000;

fn bytes(limit: usize) -> Option<Quota> {
    Some(Quota { bytes: Some(limit as u64), versions: None })
}

fn versions(limit: u64) -> Option<Quota> {
    Some(Quota { bytes: None, versions: Some(limit) })
}

fn over_quota(outcome: &Result<impl std::fmt::Debug>) -> bool {
    matches!(outcome, Err(EngineError::QuotaExceeded { .. }))
}

/// Returns the bytes and versions that all shards together hold of a bucket.
async fn usage(core: &Core, id: BucketId) -> (u64, u64) {
    let usage = core.bucket_usage(id).await.expect("counted");
    (usage.bytes, usage.versions)
}

/// Checks, while nobody writes, that the ledger of a bucket counts what the shards hold, and returns
/// that.
fn check_ledger(world: &World, node: &Rc<SimNode>, id: BucketId) -> (u64, u64) {
    let on = node.clone();
    let held = world.run(async move { usage(&on.core(0), id).await });
    assert_eq!(node.quota_counted(id), Some(held), "the ledger is not what the shards hold");
    held
}

/// A node of three cores with a bucket `b` and its quota.
fn limited(seed: u64, quota: Option<Quota>) -> (World, Rc<SimNode>, BucketId) {
    let world = World::new(seed, 128 * MIB, 4, 3);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        // Bucket ids differ, so that ledgers live on all cores.
        for other in 0..seed % 3 {
            bucket(&on.core(0), &format!("other-{other}")).await;
        }
        let id = bucket(&on.core(0), "b").await;
        on.any_core().set_quota(id, quota).await.expect("a quota is set");
        id
    });
    (world, node, id)
}

/// Lets clients put objects of `length` bytes, each of its own key, at the same time. Returns how many
/// were stored; all others were refused because of the quota.
fn put_at_once(world: &World, node: &Rc<SimNode>, id: BucketId, clients: u64, length: usize) -> u64 {
    let stored = Rc::new(Cell::new(0));
    let refused = Rc::new(Cell::new(0));
    for tag in 0..clients {
        let (core, stored, refused) = (node.any_core(), stored.clone(), refused.clone());
        world.sim.spawn(async move {
            let outcome = put(&core, id, format!("k-{tag}").as_bytes(), tag, length).await;
            assert!(outcome.is_ok() || over_quota(&outcome), "{outcome:?}");
            let counter = if outcome.is_ok() { stored } else { refused };
            counter.set(counter.get() + 1);
        });
    }
    world.sim.run_until_idle();
    assert_eq!(stored.get() + refused.get(), clients);
    stored.get()
}

/// Clients on all cores put more than fits: exactly as much as fits is stored.
fn fills_exactly(
    world: &World,
    node: &Rc<SimNode>,
    id: BucketId,
    length: usize,
    fit: u64,
) -> std::result::Result<(), String> {
    let stored = put_at_once(world, node, id, 3 * fit, length);
    if stored != fit {
        return Err(format!("{stored} of {fit} were stored"));
    }
    assert_eq!(check_ledger(world, node, id), (fit * length as u64, fit));
    Ok(())
}

#[test]
fn puts_on_all_cores_fill_a_quota_exactly_and_never_pass_it() {
    for seed in 1..=20 {
        let length = if seed % 2 == 0 { SMALL } else { LARGE };
        let (world, node, id) = limited(seed, bytes(12 * length));
        fills_exactly(&world, &node, id, length, 12).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let (world, node, id) = limited(seed, versions(9));
        fills_exactly(&world, &node, id, length, 9).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// What is on its way must count, or puts that are judged at the same time pass the quota together.
#[cfg(feature = "planted-bugs")]
#[test]
fn a_quota_that_is_judged_by_what_is_stored_is_caught() {
    let caught = |seed| {
        let mut world = World::new(seed, 128 * MIB, 4, 3);
        world.options.bug = Some(ringbolt_engine::sim::Bug::JudgeQuotaByUsage);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            on.core(0).set_quota(id, versions(5)).await.expect("a quota is set");
            id
        });
        fills_exactly(&world, &node, id, SMALL, 5).is_err()
    };
    assert!((1..=3).all(caught));
}

/// Sizes differ and objects are overwritten and deleted while others are put. Whoever looks at any
/// moment finds no more than the quota.
#[test]
fn nobody_ever_finds_more_than_the_quota() {
    for seed in 1..=15 {
        let limit = 150_000;
        let (world, node, id) = limited(seed, bytes(limit));
        let on = node.clone();
        world.run(async move {
            let versioning = [Versioning::Off, Versioning::Enabled, Versioning::Suspended][seed as usize % 3];
            on.core(0).set_versioning(id, versioning).await.expect("set");
        });
        let (full, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for client in 0..6u64 {
            let (node, sim, full, ended) = (node.clone(), world.sim.clone(), full.clone(), ended.clone());
            world.sim.spawn(async move {
                for step in 0..25 {
                    let (core, tag) = (node.any_core(), client * 100 + step);
                    let key = format!("k-{}", sim.random().below(12)).into_bytes();
                    match sim.random().below(4) {
                        0 => drop(delete(&core, id, &key).await.expect("deleted")),
                        1 => drop(
                            core.delete_version(id, &key, Version::Null, WriteCondition::default()).await,
                        ),
                        _ => {
                            let length = [500, 20_000, 90_000][sim.random().below(3) as usize];
                            let outcome = put(&core, id, &key, tag, length).await;
                            assert!(outcome.is_ok() || over_quota(&outcome), "seed {seed}: {outcome:?}");
                            full.set(full.get() + u64::from(outcome.is_err()));
                        }
                    }
                    let (held, _) = usage(&core, id).await;
                    assert!(held <= limit as u64, "seed {seed}: {held} bytes");
                }
                ended.set(ended.get() + 1);
            });
        }
        world.sim.run_until_idle();
        assert_eq!(ended.get(), 6, "seed {seed}");
        assert!(full.get() > 0, "seed {seed}: the quota was never met");
        check_ledger(&world, &node, id);
    }
}

/// Each operation, one after the other, with the count after it.
#[test]
fn each_operation_counts_what_it_adds_and_takes() {
    let (world, node, id) = limited(7, Some(Quota { bytes: Some(10_000), versions: Some(3) }));
    let on = node.clone();
    world.run(async move {
        let core = on.core(1);
        let counts = async |expected: (u64, u64)| {
            assert_eq!(usage(&core, id).await, expected);
            assert_eq!(on.quota_counted(id), Some(expected));
        };
        put(&core, id, b"k", 1, 4000).await.expect("put");
        counts((4000, 1)).await;
        // Overwriting counts the difference alone.
        put(&core, id, b"k", 2, 9000).await.expect("put");
        put(&core, id, b"k", 3, 10_000).await.expect("put");
        counts((10_000, 1)).await;
        let refused = put(&core, id, b"k", 4, 10_001).await;
        let limit = EngineError::QuotaExceeded { what: "bytes", limit: 10_000, used: 10_000 };
        assert_eq!(refused.err(), Some(limit));
        put(&core, id, b"empty", 5, 0).await.expect("nothing is added to the bytes");
        put(&core, id, b"k", 6, 1000).await.expect("it shrinks");
        counts((1000, 2)).await;
        assert!(matches!(delete(&core, id, b"empty").await, Ok(Deleted::Removed { .. })));
        counts((1000, 1)).await;
        // Versions stay, and markers are no objects.
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        let second = put(&core, id, b"k", 7, 2000).await.expect("put").generation;
        put(&core, id, b"k", 8, 3000).await.expect("put");
        counts((6000, 3)).await;
        let limit = EngineError::QuotaExceeded { what: "versions", limit: 3, used: 3 };
        assert_eq!(put(&core, id, b"k", 9, 1).await.err(), Some(limit.clone()));
        assert!(matches!(delete(&core, id, b"k").await, Ok(Deleted::Marked { .. })));
        counts((6000, 3)).await;
        core.set_versioning(id, Versioning::Suspended).await.expect("suspended");
        // It replaces the null version of 1,000 bytes.
        put(&core, id, b"k", 10, 5000).await.expect("put");
        counts((10_000, 3)).await;
        assert!(matches!(delete(&core, id, b"k").await, Ok(Deleted::Marked { is_null: true, .. })));
        counts((5000, 2)).await;
        put(&core, id, b"k", 11, 5000).await.expect("it replaces a marker");
        counts((10_000, 3)).await;
        let version = Version::Generation(second);
        core.delete_version(id, b"k", version, WriteCondition::default()).await.expect("removed");
        counts((8000, 2)).await;
        // Parts count only once they are an object.
        let complete = async |key: &'static [u8], length: usize| {
            let upload = core.create_upload(id, key, Vec::new()).await.expect("begun");
            let mut part = core.put_part(id, key, upload, 1, length as u64).await.expect("begun");
            part.write(&vec![7; length]).await.expect("written");
            let info = part.commit_part(etag(1), Vec::new()).await.expect("a part");
            let (parts, meta) = (vec![(1, info.etag)], ObjectMeta::default());
            core.complete_upload(id, key, upload, parts, meta, WriteCondition::default()).await
        };
        assert!(over_quota(&complete(b"large", 2001).await));
        counts((8000, 2)).await;
        complete(b"exact", 2000).await.expect("completed");
        counts((10_000, 3)).await;
    });
    check_ledger(&world, &node, id);
}

#[test]
fn a_quota_below_what_is_there_lets_a_bucket_only_shrink() {
    for seed in 1..=5 {
        let (world, node, id) = limited(seed, None);
        assert_eq!(put_at_once(&world, &node, id, 20, SMALL), 20);
        assert_eq!(node.quota_counted(id), None, "an unlimited bucket has no ledger");
        let on = node.clone();
        world.run(async move {
            let core = on.any_core();
            core.set_quota(id, Some(Quota { bytes: Some(5000), versions: Some(4) })).await.expect("set");
            assert!(over_quota(&put(&core, id, b"new", 1, 1).await));
            assert!(over_quota(&put(&core, id, b"k-1", 1, SMALL + 1).await));
            put(&core, id, b"k-1", 2, SMALL).await.expect("as large as before");
            put(&core, id, b"k-1", 3, SMALL / 2).await.expect("smaller");
            for tag in 2..18 {
                delete(&core, id, format!("k-{tag}").as_bytes()).await.expect("deletes work");
            }
            // Four are left: 0, 1, 18 and 19.
            assert!(over_quota(&put(&core, id, b"new", 4, 1).await));
            delete(&core, id, b"k-0").await.expect("deleted");
            put(&core, id, b"new", 5, 1).await.expect("there is room at once");
            core.set_quota(id, None).await.expect("removed");
            put(&core, id, b"newer", 6, LARGE).await.expect("no limit is left");
        });
        assert_eq!(node.quota_counted(id), None);
    }
}

/// Whoever was told that an object is deleted may put another one in its place, wherever its key
/// lives.
#[test]
fn what_is_deleted_makes_room_at_once() {
    for seed in 1..=10 {
        let (world, node, id) = limited(seed, versions(1));
        let on = node.clone();
        world.run(async move {
            for tag in 0..40 {
                let key = format!("k-{tag}").into_bytes();
                put(&on.any_core(), id, &key, tag, SMALL).await.expect("there is room");
                delete(&on.any_core(), id, &key).await.expect("deleted");
            }
        });
    }
}

/// Quotas come, change and go while clients write. After each answer, the quota holds.
#[test]
fn quotas_change_while_writers_run() {
    for seed in 1..=12 {
        let (world, node, id) = limited(seed, None);
        let left = Rc::new(Cell::new(5));
        for client in 0..5u64 {
            let (node, sim, left) = (node.clone(), world.sim.clone(), left.clone());
            world.sim.spawn(async move {
                for step in 0..40 {
                    let key = format!("k-{}", sim.random().below(30)).into_bytes();
                    if sim.random().one_in(3) {
                        delete(&node.any_core(), id, &key).await.expect("deleted");
                    } else {
                        let length = if step % 3 == 0 { LARGE } else { SMALL };
                        let outcome = put(&node.any_core(), id, &key, client * 100 + step, length).await;
                        assert!(outcome.is_ok() || over_quota(&outcome), "seed {seed}: {outcome:?}");
                    }
                }
                left.set(left.get() - 1);
            });
        }
        let (on, sim) = (node.clone(), world.sim.clone());
        world.sim.spawn(async move {
            for round in 0..6 {
                let core = on.any_core();
                let limit = 8 + 2 * round;
                core.set_quota(id, versions(limit)).await.expect("set");
                let mut before = u64::MAX;
                for _ in 0..8 {
                    sim.pause_us(300).await;
                    let (_, held) = usage(&core, id).await;
                    assert!(held <= limit.max(before), "seed {seed}: {held} of {limit}, after {before}");
                    before = held;
                }
                if round % 2 == 1 {
                    core.set_quota(id, None).await.expect("removed");
                    sim.pause_us(500).await;
                }
            }
            on.core(2).set_quota(id, bytes(3 * LARGE)).await.expect("set");
        });
        world.sim.run_until_idle();
        assert_eq!(left.get(), 0, "seed {seed}: a writer waits for ever");
        check_ledger(&world, &node, id);
        assert_eq!(node.leftovers().held_locks, 0, "seed {seed}");
    }
}

/// Callers that stop in the middle leave nothing in the ledger.
#[test]
fn writers_that_give_up_leave_nothing_in_the_ledger() {
    for seed in 1..=40 {
        let (world, node, id) = limited(seed, versions(6));
        for tag in 0..12u64 {
            let (node, sim) = (node.clone(), world.sim.clone());
            world.sim.spawn(async move {
                sim.pause_us(600).await;
                let (key, core) = (format!("k-{tag}").into_bytes(), node.any_core());
                let length = if tag % 2 == 0 { SMALL } else { LARGE };
                let write = std::pin::pin!(put(&core, id, &key, tag, length));
                let patience = std::pin::pin!(sim.pause_us(900));
                // The future that ends first wins; the other one is dropped.
                futures_util::future::select(write, patience).await;
            });
        }
        let (on, sim) = (node.clone(), world.sim.clone());
        if seed % 2 == 0 {
            // A ledger that begins meanwhile counts what callers that are gone have queued.
            world.sim.spawn(async move {
                sim.pause_us(700).await;
                on.any_core().set_quota(id, None).await.expect("removed");
                on.any_core().set_quota(id, versions(6)).await.expect("set");
            });
        }
        world.sim.run_until_idle();
        let (_, held) = check_ledger(&world, &node, id);
        assert!(seed % 2 == 0 || held <= 6, "seed {seed}");
        // What is left of the quota can be used.
        let on = node.clone();
        let stored = world.run(async move {
            let mut stored = 0;
            for tag in 100..110 {
                stored +=
                    u64::from(put(&on.any_core(), id, format!("k-{tag}").as_bytes(), tag, 10).await.is_ok());
            }
            stored
        });
        assert_eq!(stored, 6u64.saturating_sub(held), "seed {seed}");
    }
}

/// After a restart, the ledger begins with what is there.
#[test]
fn a_restart_counts_anew() {
    for seed in 1..=8 {
        let (mut world, node, id) = limited(seed, Some(Quota { bytes: Some(100_000), versions: Some(10) }));
        assert_eq!(put_at_once(&world, &node, id, 7, SMALL), 7);
        match seed % 3 {
            0 => world.close(node),
            1 => world.kill(node),
            _ => world.crash(node),
        }
        world.options.cores = 1 + seed as usize % 4;
        let node = world.open();
        assert_eq!(check_ledger(&world, &node, id), (7 * SMALL as u64, 7));
        let on = node.clone();
        let quota = world.run(async move { on.core(0).bucket("b").expect("there").quota });
        assert_eq!(quota, Some(Quota { bytes: Some(100_000), versions: Some(10) }));
        let on = node.clone();
        world.run(async move {
            for tag in 0..3 {
                put(&on.any_core(), id, format!("new-{tag}").as_bytes(), tag, 10)
                    .await
                    .expect("room for three");
            }
            assert!(over_quota(&put(&on.any_core(), id, b"one more", 9, 10).await));
        });
        check_ledger(&world, &node, id);
    }
}

/// Clients write when the power is cut. What is there afterwards is within the quota.
#[test]
fn a_power_cut_does_not_bring_a_bucket_above_its_quota() {
    for seed in 1..=10 {
        let (world, node, id) = limited(seed, versions(10));
        for tag in 0..30u64 {
            let core = node.any_core();
            world.sim.spawn(async move {
                let _ = put(&core, id, format!("k-{tag}").as_bytes(), tag, SMALL).await;
            });
        }
        for _ in 0..100 + seed * 40 {
            world.sim.step();
        }
        world.crash(node);
        let node = world.open();
        let (_, held) = check_ledger(&world, &node, id);
        assert!(held <= 10, "seed {seed}: {held}");
    }
}

/// Drives that fail: nobody hangs, the shards that go on keep to the quota, and a restart counts anew.
#[test]
fn failures_of_a_drive_leave_nobody_waiting() {
    for seed in 1..=10 {
        let sim = Simulator::new(seed);
        let drives = format_sim_drives(&sim, 2, (96 * MIB, 1), 4);
        let world = World { sim, drives, options: SimOptions { cores: 2, ..SimOptions::default() } };
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            on.core(0).set_quota(id, versions(20)).await.expect("set");
            id
        });
        let ended = Rc::new(RefCell::new(Vec::new()));
        let failing = world.drives[1].clone();
        for client in 0..6u64 {
            let (node, sim, ended, failing) =
                (node.clone(), world.sim.clone(), ended.clone(), failing.clone());
            world.sim.spawn(async move {
                for step in 0..12u64 {
                    if client == 0 && step == 3 {
                        failing.set_faults(Faults { fail_writes: true, ..Faults::default() });
                    }
                    let key = format!("k-{client}-{step}").into_bytes();
                    let length = if step % 2 == 0 { SMALL } else { LARGE };
                    let outcome = put(&node.any_core(), id, &key, step, length).await;
                    let known = matches!(
                        outcome,
                        Ok(_) | Err(EngineError::WritesStopped { .. } | EngineError::QuotaExceeded { .. })
                    );
                    assert!(known, "seed {seed}: {outcome:?}");
                    sim.pause_us(100).await;
                    let _ = delete(&node.any_core(), id, &key).await;
                }
                ended.borrow_mut().push(client);
            });
        }
        world.sim.run_until_idle();
        assert_eq!(ended.borrow().len(), 6, "seed {seed}: a client waits for ever");
        failing.set_faults(Faults::default());
        let on = node.clone();
        let (stored, stopped) = world.run(async move {
            let (mut stored, mut stopped) = (0, 0);
            for tag in 0..60u64 {
                match put(&on.any_core(), id, format!("late-{tag}").as_bytes(), tag, SMALL).await {
                    Ok(_) => stored += 1,
                    Err(EngineError::WritesStopped { .. }) => stopped += 1,
                    Err(error) => assert!(over_quota(&Err::<(), _>(error)), "seed {seed}"),
                }
            }
            assert!(usage(&on.core(0), id).await.1 <= 20);
            (stored, stopped)
        });
        assert!(stored > 0 && stopped > 0, "seed {seed}: {stored} stored, {stopped} refused by the drive");
        world.crash(node);
        let node = world.open();
        check_ledger(&world, &node, id);
    }
}

/// A put that is refused for another reason gives back what was admitted.
#[test]
fn a_put_that_finds_no_space_gives_its_part_of_the_quota_back() {
    let world = World::new(4, 48 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        on.core(0).set_quota(id, bytes(1 << 40)).await.expect("set");
        for tag in 0..20_000u64 {
            match put(&on.core(0), id, format!("k-{tag}").as_bytes(), tag, 60_000).await {
                Ok(_) => {}
                Err(EngineError::NoSpace { .. }) => return id,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the drive is never full")
    });
    check_ledger(&world, &node, id);
}

/// A quota whose record the drive refuses is not in force, and the bucket takes writes.
#[test]
fn a_quota_that_can_not_be_stored_leaves_the_bucket_as_it_was() {
    let sim = Simulator::new(5);
    let drives = format_sim_drives(&sim, 2, (96 * MIB, 1), 4);
    let world = World { sim, drives, options: SimOptions { cores: 2, ..SimOptions::default() } };
    let node = world.open();
    let (on, drive) = (node.clone(), world.drives[0].clone());
    world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        drive.set_faults(Faults { fail_writes: true, ..Faults::default() });
        let failed = on.core(1).set_quota(id, versions(1)).await;
        assert!(matches!(failed, Err(EngineError::WritesStopped { .. })), "{failed:?}");
        drive.set_faults(Faults::default());
        let mut stored = 0;
        for tag in 0..12u64 {
            stored +=
                usize::from(put(&on.any_core(), id, format!("k-{tag}").as_bytes(), tag, 10).await.is_ok());
        }
        assert!(stored > 1, "the shards of the other drive take what comes");
        assert_eq!(on.quota_counted(id), None);
    });
}

/// The ledger of a bucket ends with it, and configuration as such is the same as a quota.
#[test]
fn a_ledger_ends_with_its_bucket() {
    let (world, node, id) = limited(3, versions(2));
    let on = node.clone();
    world.run(async move {
        let core = on.core(2);
        put(&core, id, b"k", 1, 5).await.expect("put");
        assert_eq!(core.delete_bucket(id).await, Err(EngineError::BucketNotEmpty));
        assert_eq!(on.quota_counted(id), Some((5, 1)));
        delete(&core, id, b"k").await.expect("deleted");
        core.delete_bucket(id).await.expect("deleted");
        assert_eq!(on.quota_counted(id), None);
        assert_eq!(core.set_quota(id, versions(1)).await, Err(EngineError::NoSuchBucket));
        let other = bucket(&core, "b").await;
        put(&core, other, b"k", 1, 5).await.expect("put");
        let value = Quota { bytes: Some(9), versions: None }.encode();
        core.set_bucket_config(other, ConfigKind::QUOTA, Some(value)).await.expect("set");
        assert_eq!(on.quota_counted(other), Some((5, 1)));
        assert!(over_quota(&put(&core, other, b"l", 1, 5).await));
        assert!(get(&core, other, b"l").await.expect("read").is_none());
        assert_eq!(list_all(&core, other).await.len(), 1);
        core.set_quota(other, Some(Quota::default())).await.expect("no limit is no quota");
        assert_eq!(core.bucket("b").expect("there").quota, None);
    });
}
