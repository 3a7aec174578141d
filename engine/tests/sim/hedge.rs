//! Reads that are late: other drives are read too, and slow ones are passed over.

use std::cell::RefCell;
use std::rc::Rc;

use ringbolt_engine::node::NodeMetrics;
use ringbolt_engine::sim::{Bug, SimNode};
use ringbolt_engine::types::BucketId;

use crate::leave::puts_within;
use crate::mirror::{Mirror, close, compare, fill, mirrors, must_open};
use crate::striped::striped;
use crate::world::{body, get, put};

fn metrics(world: &Mirror, node: &Rc<SimNode>) -> NodeMetrics {
    let core = node.core(0);
    world.run(async move { core.metrics().await }).expect("metrics")
}

/// Stores objects of some lengths, and returns their keys.
fn store(world: &Mirror, node: &Rc<SimNode>, id: BucketId) -> Vec<(Vec<u8>, u64, usize)> {
    let on = node.clone();
    world.run(async move {
        let mut keys = Vec::new();
        for tag in 0..40u64 {
            let length = [3000, 70_000, 300_000, 1 << 20][(tag % 4) as usize];
            let key = format!("hedge {tag}").into_bytes();
            put(&on.any_core(), id, &key, tag, length).await.expect("stored");
            keys.push((key, tag, length));
        }
        keys
    })
}

/// Reads objects at random, one after the other, and returns what each read took, microseconds.
fn read(
    world: &Mirror,
    node: &Rc<SimNode>,
    id: BucketId,
    keys: &[(Vec<u8>, u64, usize)],
    count: usize,
) -> Vec<u64> {
    let (on, sim, keys) = (node.clone(), world.sim.clone(), keys.to_vec());
    world.run(async move {
        let mut took = Vec::new();
        for _ in 0..count {
            let (key, tag, length) = &keys[sim.random().below(keys.len() as u64) as usize];
            let began_us = sim.now_us();
            let found = get(&on.any_core(), id, key).await.expect("read").expect("it is there");
            took.push(sim.now_us() - began_us);
            assert!(found.1 == body(*tag, *length), "not what was stored");
        }
        took.sort_unstable();
        took
    })
}

fn p99(took: &[u64]) -> u64 {
    took[took.len() - 1 - took.len() / 100]
}

/// The worlds, by name: stripes, and copies.
fn worlds(seed: u64) -> [(&'static str, Mirror, usize); 2] {
    let stripes = striped(seed, 6, (4, 2), 6, 2);
    [("stripes", stripes, 6), ("copies", mirrors(seed, (3, 2), 6, 2), 3)]
}

/// A drive answers nothing for 30 s. Clients read and write all the while.
fn a_drive_that_stands_still(seed: u64) {
    for (name, mut world, drives) in worlds(seed) {
        world.options.read_cache_bytes_per_core = 0;
        let node = must_open(&world, &(0..drives).collect::<Vec<_>>(), false);
        let (id, stored) = fill(&world, &node, 0, 12);
        let keys = store(&world, &node, id);
        let healthy = read(&world, &node, id, &keys, 3000);
        let before = metrics(&world, &node);
        assert!(before.read_patience_us < 20_000, "{name}: the drives are known: {before:?}");
        world.drives[1].stand_still_us(30_000_000);
        let until_us = world.sim.now_us() + 5_000_000;
        let most_us = 2 * before.read_patience_us + healthy[healthy.len() - 1] + 1000;
        let mut reads = 0;
        // Some that write wait until the drive has left the view.
        let written: Rc<RefCell<usize>> = Rc::default();
        while world.sim.now_us() < until_us {
            for number in (0..6u64).filter(|_| reads == 20) {
                let (on, written) = (node.clone(), written.clone());
                world.sim.spawn(async move {
                    let key = format!("meanwhile {number}").into_bytes();
                    put(&on.any_core(), id, &key, number, 300_000).await.expect("stored");
                    *written.borrow_mut() += 1;
                });
            }
            let took = read(&world, &node, id, &keys, 20);
            assert!(took[19] <= most_us, "{name}: {took:?} of {most_us}");
            reads += 20;
            world.run(world.sim.sleep_us(40_000));
        }
        assert!(reads > 500, "{name}: {reads}");
        let after = metrics(&world, &node);
        assert!(after.hedged_reads > before.hedged_reads, "{name}: none was late");
        assert_eq!(after.mended_copies, 0, "{name}: a drive that is late is not damaged");
        assert!(*written.borrow() < 6, "{name}: nobody waited for the drive");
        world.run(world.sim.sleep_us(20_000_000));
        assert_eq!((*written.borrow(), metrics(&world, &node).drives_in), (6, drives as u64 - 1), "{name}");
        assert_eq!(puts_within(&world, &node, id, ("behind", 300_000), 5), (6, 6), "{name}");
        compare(&world, &node, id, &stored);
        close(&world, node);
    }
}

#[test]
fn a_drive_that_stands_still_costs_reads_little_and_writes_until_it_has_left() {
    (700..702).for_each(a_drive_that_stands_still);
}

/// A drive stands still for a moment, again and again. Returns how many copies were written anew.
fn a_drive_that_is_late(bug: Option<Bug>) -> u64 {
    let mut mended = 0;
    for (name, mut world, drives) in worlds(705) {
        world.options.bug = bug;
        world.options.read_cache_bytes_per_core = 0;
        let node = must_open(&world, &(0..drives).collect::<Vec<_>>(), false);
        let (id, _) = fill(&world, &node, 0, 6);
        let keys = store(&world, &node, id);
        read(&world, &node, id, &keys, 2000);
        for _ in 0..10 {
            world.drives[1].stand_still_us(100_000);
            read(&world, &node, id, &keys, 20);
            world.run(world.sim.sleep_us(500_000));
        }
        let after = metrics(&world, &node);
        assert!(after.hedged_reads >= 10, "{name}: {}", after.hedged_reads);
        assert_eq!(after.drives_in, drives as u64, "{name}");
        mended += after.mended_copies;
        close(&world, node);
    }
    mended
}

#[test]
fn a_drive_that_is_late_is_not_damaged() {
    assert_eq!(a_drive_that_is_late(None), 0);
}

#[test]
fn a_late_drive_that_is_written_anew_is_caught() {
    assert!(a_drive_that_is_late(Some(Bug::MendLateDrive)) > 0);
}

#[test]
fn a_slow_drive_is_passed_over_and_trusted_again_once_it_is_fast() {
    for seed in 710..712 {
        for (name, mut world, drives) in worlds(seed) {
            world.options.read_cache_bytes_per_core = 0;
            let node = must_open(&world, &(0..drives).collect::<Vec<_>>(), false);
            let (id, _) = fill(&world, &node, 0, 6);
            let keys = store(&world, &node, id);
            read(&world, &node, id, &keys, 2000);
            let healthy = p99(&read(&world, &node, id, &keys, 3000));
            world.drives[1].slow_down(20);
            // It becomes known.
            read(&world, &node, id, &keys, 2000);
            let before = metrics(&world, &node);
            let slow = p99(&read(&world, &node, id, &keys, 3000));
            let after = metrics(&world, &node);
            assert!(slow <= 2 * healthy, "{name}: 99 of 100 reads took {slow} us, and {healthy} us before");
            let hedged = after.hedged_reads - before.hedged_reads;
            assert!(hedged <= 3000 / 20 + 2 * 64, "{name}: {hedged}");
            assert_eq!(after.mended_copies, 0, "{name}");
            let reads_of = |at: usize| world.drives[at].counts().0;
            world.drives[1].slow_down(1);
            let is_trusted = (0..60).any(|_| {
                let (first, other) = (reads_of(1), reads_of(2));
                read(&world, &node, id, &keys, 500);
                (reads_of(1) - first) * 2 > reads_of(2) - other
            });
            assert!(is_trusted, "{name}");
            close(&world, node);
        }
    }
}

/// Damages the first piece of every slice that a drive has something of.
fn damage_slices(world: &Mirror, drive: usize) {
    for offset in world.drives[drive].blocks_starting_with(b"RBSLICE3") {
        world.drives[drive].damage(offset + 4096 + 100, |bytes| bytes[0] ^= 1);
    }
}

/// The only good copy is on a slow drive: the bad one is not read again and again because of that.
#[test]
fn a_damaged_copy_is_not_read_in_place_of_one_that_is_late() {
    let mut world = mirrors(720, (2, 1), 4, 2);
    world.options.read_cache_bytes_per_core = 0;
    let node = must_open(&world, &[0, 1], false);
    let (id, _) = fill(&world, &node, 0, 6);
    let keys = store(&world, &node, id);
    read(&world, &node, id, &keys, 2000);
    world.drives[1].slow_down(40);
    read(&world, &node, id, &keys, 1000);
    damage_slices(&world, 0);
    let took = read(&world, &node, id, &keys, 200);
    assert!(took[199] < 1_000_000, "{took:?}");
    let after = metrics(&world, &node);
    assert!(after.mended_copies > 0 && after.refused_reads == 0, "{after:?}");
    close(&world, node);
}

/// One member of a stripe is damaged, and the drive of another one answers nothing: parity stands in for both.
#[test]
fn parity_stands_in_for_what_is_damaged_and_what_is_late_at_once() {
    for seed in 730..736 {
        let mut world = striped(seed, 6, (4, 2), 6, 2);
        world.options.read_cache_bytes_per_core = 0;
        let node = must_open(&world, &[0, 1, 2, 3, 4, 5], false);
        let (id, stored) = fill(&world, &node, 0, 12);
        let keys = store(&world, &node, id);
        read(&world, &node, id, &keys, 2000);
        let patience_us = metrics(&world, &node).read_patience_us;
        damage_slices(&world, 0);
        world.drives[3].stand_still_us(30_000_000);
        let took = read(&world, &node, id, &keys, 300);
        assert!(took[299] < 100_000 + 4 * patience_us, "seed {seed}: {:?}", &took[280..]);
        compare(&world, &node, id, &stored);
        // Long objects are read ahead in several groups.
        let (on, sim) = (node.clone(), world.sim.clone());
        let took_us = world.run(async move {
            let began_us = sim.now_us();
            get(&on.any_core(), id, b"key 5").await.expect("read").expect("it is there");
            sim.now_us() - began_us
        });
        assert!(took_us < 200_000, "seed {seed}: {took_us} us");
        close(&world, node);
    }
}
