//! Drives that are added to a set: while the node runs, and at a start.

use std::rc::Rc;

use ringbolt_engine::node::{Purpose, ReplaceError};
use ringbolt_engine::sim::device::SimDevice;
use ringbolt_engine::sim::{SimNode, make_sim_drive};

use crate::come_back::{are_whole, until_are_whole};
use crate::leave::{crash_and_heal, work};
use crate::mirror::{Mirror, close, compare, fill, mirrors, must_open};
use crate::striped::striped;

const DRIVE_BYTES: u64 = 256 << 20;

/// Makes a drive that is added, and returns its place in the world.
pub fn another(world: &mut Mirror, set: &[usize]) -> usize {
    let drives: Vec<SimDevice> = set.iter().map(|at| world.drives[*at].clone()).collect();
    let made = make_sim_drive(&world.sim, &drives, DRIVE_BYTES, Purpose::Add);
    world.drives.push(made.unwrap_or_else(|error| panic!("{set:?}: {error}")));
    world.drives.len() - 1
}

/// Returns how many shards have a home on each drive.
fn shares(world: &Mirror, node: &Rc<SimNode>) -> Vec<u16> {
    let core = node.core(0);
    let report = world.run(async move { core.drives().await }).expect("a report");
    report.drives.iter().map(|drive| drive.shards).collect()
}

fn worlds(seed: u64) -> Vec<(Mirror, usize)> {
    let mut worlds = Vec::new();
    for (count, failures_max) in [(2u16, 1u8), (3, 1), (3, 2)] {
        worlds.push((mirrors(seed + u64::from(count), (count, failures_max), 4, 2), failures_max.into()));
    }
    for (count, shape) in [(3u16, (2u8, 1u8)), (4, (2, 2)), (6, (4, 2))] {
        worlds.push((striped(seed + 20 + u64::from(count), count, shape, count.max(4), 2), shape.1.into()));
    }
    worlds
}

/// Drives are added while clients write, until there are two more. Each gets its share of shards, and new slices.
#[test]
fn drives_are_added_while_the_node_runs() {
    for (mut world, failures_max) in worlds(1200) {
        world.options.checkpoint_after_bytes = 1 << 20;
        let mut given: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 12);
        for round in 1..3u64 {
            let what = format!("{} drives, {failures_max} may be lost", given.len());
            let new = another(&mut world, &given);
            let (on, drive) = (node.clone(), world.drives[new].clone());
            assert_eq!(world.run(async move { on.take_drive(&drive).await }), Ok(new as u16), "{what}");
            given.push(new);
            stored.extend(fill(&world, &node, 100 * round, 12).1);
            until_are_whole(&world, &node, given.len());
            work(&world, &node, id, &mut stored);
            let until_us = world.sim.now_us() + 900_000_000;
            let average = shares(&world, &node).iter().sum::<u16>() / given.len() as u16;
            while shares(&world, &node)[new] < average {
                assert!(
                    world.sim.now_us() < until_us && world.sim.step(),
                    "{what}: {:?}",
                    shares(&world, &node)
                );
            }
            world.sim.run_until_idle();
            compare(&world, &node, id, &stored);
            node.audit();
            assert!(!node.named_extents_on(new as u16).is_empty(), "{what}");
        }
        are_whole(&world, node, &given);
        // As many as may be lost are lost.
        let few = &given[failures_max..];
        let node = must_open(&world, few, few.len() <= failures_max);
        compare(&world, &node, id, &stored);
        world.kill(node);
    }
}

/// A start takes a new drive, and the power is cut again and again while it gets its share.
#[test]
fn a_start_takes_a_new_drive_and_may_be_cut_off() {
    for seed in 1240..1252 {
        let mut world =
            if seed % 2 == 0 { striped(seed, 4, (2, 1), 5, 2) } else { mirrors(seed, (3, 1), 6, 2) };
        world.options.checkpoint_after_bytes = 1 << 20;
        let mut given: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 18);
        close(&world, node);
        let new = another(&mut world, &given);
        given.push(new);
        for round in 0..5u64 {
            let node = must_open(&world, &given, false);
            world.sim.run_steps(world.sim.random().below(3000));
            stored.extend(fill(&world, &node, 100 + 10 * round, 4).1);
            world.sim.run_steps(world.sim.random().below(500));
            crash_and_heal(&world, node);
        }
        // What may be lost is lost, the new one too.
        let without = if seed % 3 == 0 { new } else { 0 };
        let left: Vec<usize> = given.iter().copied().filter(|at| *at != without).collect();
        let node = must_open(&world, &left, false);
        compare(&world, &node, id, &stored);
        crash_and_heal(&world, node);
        let node = must_open(&world, &given, false);
        until_are_whole(&world, &node, given.len());
        world.sim.run_until_idle();
        compare(&world, &node, id, &stored);
        node.audit();
        are_whole(&world, node, &given);
    }
}

#[test]
fn no_drive_is_added_to_a_set_without_redundancy() {
    let world = mirrors(1260, (2, 0), 2, 1);
    close(&world, must_open(&world, &[0, 1], false));
    let drives = world.drives.clone();
    let refused = make_sim_drive(&world.sim, &drives, DRIVE_BYTES, Purpose::Add);
    assert!(matches!(refused.err(), Some(ReplaceError::NoneAdded)));
}
