//! Drives that are emptied while the node runs.

use std::rc::Rc;

use ringbolt_engine::node::{DrainError, OnlineError};
use ringbolt_engine::sim::{Bug, Rare, SimNode, take_reached};

use crate::add::another;
use crate::come_back::are_whole;
use crate::leave::{Wrong, crash_and_heal, judge, work};
use crate::mirror::{Mirror, close, compare, fill, mirror, mirrors, must_open};
use crate::striped::striped;
use crate::world::put;

/// Worlds of copies and of stripes, each with the number of drives that may be lost.
fn worlds(seed: u64) -> Vec<(Mirror, usize)> {
    let mut worlds = Vec::new();
    for (count, failures_max) in [(3u16, 1u8), (4, 1), (5, 2), (5, 3)] {
        worlds.push((mirrors(seed + u64::from(count), (count, failures_max), 5, 2), failures_max.into()));
    }
    for (count, shape) in [(4u16, (2u8, 1u8)), (5, (2, 2)), (8, (4, 2))] {
        worlds.push((striped(seed + 20 + u64::from(count), count, shape, count, 2), shape.1.into()));
    }
    worlds
}

fn drain(world: &Mirror, node: &Rc<SimNode>, number: u16) -> Result<(), DrainError> {
    let on = node.clone();
    world.run(async move { on.any_core().drain(number).await })
}

fn stop(world: &Mirror, node: &Rc<SimNode>, number: u16) -> Result<(), DrainError> {
    let on = node.clone();
    world.run(async move { on.any_core().stop_drain(number).await })
}

/// Waits until a drive has left the view.
fn until_emptied(world: &Mirror, node: &Rc<SimNode>, number: u16) {
    let until_us = world.sim.now_us() + 900_000_000;
    for step in 0u64.. {
        if !node.drive_numbers().contains(&number) {
            return;
        }
        // Who asks meanwhile gets an answer that adds up.
        if step % 256 == 0 {
            let on = node.clone();
            let space = world.run(async move { on.any_core().space().await }).expect("the space");
            assert_eq!(space.bytes_by_losses.iter().sum::<u64>(), space.live_bytes);
        }
        if world.sim.now_us() > until_us || !world.sim.step() {
            let core = node.core(0);
            panic!("{:?}", world.run(async move { core.drives().await }));
        }
    }
}

/// A drive is emptied while clients write, and is pulled. Nothing is missing then, whatever else is lost.
fn an_emptied_drive_is_not_missed(bug: Option<Bug>) -> Result<(), String> {
    for (mut world, failures_max) in worlds(1000) {
        world.options.bug = bug;
        world.options.checkpoint_after_bytes = 1 << 20;
        let count = world.drives.len();
        let all: Vec<usize> = (0..count).collect();
        let node = must_open(&world, &all, false);
        let (id, mut stored) = fill(&world, &node, 0, 24);
        work(&world, &node, id, &mut stored);
        let lost = count / 2;
        assert_eq!(drain(&world, &node, lost as u16), Ok(()));
        stored.extend(fill(&world, &node, 100, 12).1);
        until_emptied(&world, &node, lost as u16);
        node.audit();
        let on = node.clone();
        world.run(async move { on.space().await });
        stored.extend(fill(&world, &node, 200, 12).1);
        let left: Vec<usize> = all.into_iter().filter(|at| *at != lost).collect();
        let what = format!("{count} drives without {lost}");
        judge(&world, &node, id, &stored, &what)?;
        if bug.is_none() {
            are_whole(&world, node, &left);
        } else {
            world.kill(node);
        }
        // It is pulled, and as many others are lost as may be.
        let few = &left[failures_max..];
        let node = must_open(&world, few, few.len() <= failures_max);
        judge(&world, &node, id, &stored, &what)?;
        world.kill(node);
    }
    Ok(())
}

#[test]
fn a_drive_is_emptied_and_pulled() {
    an_emptied_drive_is_not_missed(None).expect("nothing is missing");
}

#[test]
fn tails_that_are_left_are_caught() {
    let caught = std::panic::catch_unwind(|| an_emptied_drive_is_not_missed(Some(Bug::DrainLeavesTail)));
    assert!(!matches!(caught, Ok(Ok(()))), "a drive that has tails yet is as good as an empty one");
}

/// The power is cut at any moment while a drive is emptied. The next life goes on with it.
fn a_drain_may_be_cut_off(bug: Option<Bug>) -> Result<(), String> {
    for seed in 1040..1064 {
        let mut world =
            if seed % 2 == 0 { striped(seed, 5, (2, 1), 5, 2) } else { mirrors(seed, (4, 1), 6, 2) };
        world.options.bug = bug;
        world.options.checkpoint_after_bytes = 128 << 10;
        let all: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &all, false);
        let (id, mut stored) = fill(&world, &node, 0, 36);
        assert_eq!(drain(&world, &node, 1), Ok(()));
        let mut node = node;
        for round in 0..6 {
            world.sim.run_steps(world.sim.random().below(3000));
            stored.extend(fill(&world, &node, 100 + 10 * round, 3).1);
            if !node.drive_numbers().contains(&1) {
                break;
            }
            world.sim.run_steps(world.sim.random().below(400));
            crash_and_heal(&world, node);
            node = must_open(&world, &all, false);
            judge(&world, &node, id, &stored, &format!("seed {seed}, round {round}"))?;
        }
        until_emptied(&world, &node, 1);
        compare(&world, &node, id, &stored);
        node.audit();
        let left = [&all[..1], &all[2..]].concat();
        are_whole(&world, node, &left);
    }
    Ok(())
}

#[test]
fn what_was_begun_goes_on_after_a_power_cut() {
    a_drain_may_be_cut_off(None).expect("nothing is missing");
}

/// The power is cut soon after a member has moved, while shards write logs and checkpoints to the drive that it left.
fn what_a_member_left_is_used_again(bug: Option<Bug>) -> Result<(), String> {
    for seed in 1120..1150 {
        let mut world = striped(seed, 5, (2, 1), 5, 1);
        world.options.bug = bug;
        world.options.checkpoint_after_bytes = 64 << 10;
        let all: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &all, false);
        let (id, stored) = fill(&world, &node, 0, 36);
        for writer in 0..6u64 {
            let on = node.clone();
            world.sim.spawn(async move {
                for number in 0..40 {
                    let key = format!("writer {writer}, {number}").into_bytes();
                    // The power is cut before it ends.
                    let _ = put(&on.any_core(), id, &key, number, 30_000).await;
                }
            });
        }
        take_reached();
        assert_eq!(drain(&world, &node, 1), Ok(()));
        for _ in 0..200_000 {
            world.sim.step();
            if take_reached()[Rare::MemberMoved as usize] > 0 {
                break;
            }
        }
        world.sim.run_steps(world.sim.random().below(600));
        let free: Vec<_> = (0..5).map(|drive| node.free_extents_on(drive)).collect();
        crash_and_heal(&world, node);
        let node = must_open(&world, &all, false);
        for (drive, free) in (0..).zip(free) {
            let named = node.named_extents_on(drive);
            let both: Vec<_> = named.intersection(&free).collect();
            if !both.is_empty() {
                return Err(format!(
                    "seed {seed}: extents {both:?} of drive {drive} were free, and are named"
                ));
            }
        }
        judge(&world, &node, id, &stored, &format!("seed {seed}"))?;
        until_emptied(&world, &node, 1);
        compare(&world, &node, id, &stored);
        world.kill(node);
    }
    Ok(())
}

#[test]
fn what_a_member_left_is_not_used_before_a_checkpoint() {
    what_a_member_left_is_used_again(None).expect("nothing is missing");
}

#[test]
fn a_member_that_is_freed_early_is_caught() {
    let caught = std::panic::catch_unwind(|| what_a_member_left_is_used_again(Some(Bug::FreeMemberEarly)));
    assert!(
        !matches!(caught, Ok(Ok(()))),
        "an extent may be used again before its set has let it go for good"
    );
}

/// Another drive fails meanwhile, or the one that is emptied does. It comes back, and is emptied then.
#[test]
fn a_drive_may_fail_meanwhile() {
    for (seed, failing) in (1070..1082).zip([1usize, 2, 0].into_iter().cycle()) {
        let mut world =
            if seed % 2 == 0 { striped(seed, 6, (2, 2), 6, 2) } else { mirrors(seed, (5, 2), 6, 2) };
        world.options.checkpoint_after_bytes = 1 << 20;
        let all: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &all, false);
        let (id, mut stored) = fill(&world, &node, 0, 24);
        assert_eq!(drain(&world, &node, 1), Ok(()));
        world.sim.run_steps(world.sim.random().below(6000));
        Wrong::Writes.befalls(&world.drives[failing]);
        stored.extend(fill(&world, &node, 100, 6).1);
        compare(&world, &node, id, &stored);
        crash_and_heal(&world, node);
        let node = must_open(&world, &all, false);
        until_emptied(&world, &node, 1);
        compare(&world, &node, id, &stored);
        node.audit();
        let left = [&all[..1], &all[2..]].concat();
        crate::come_back::until_are_whole(&world, &node, left.len());
        are_whole(&world, node, &left);
    }
}

/// A drive comes and another one is emptied, and two are emptied at once, while shards move to them too.
#[test]
fn drives_come_and_are_emptied_at_the_same_time() {
    for seed in 1160..1172 {
        let mut world =
            if seed % 2 == 0 { striped(seed, 6, (2, 1), 6, 2) } else { mirrors(seed, (3, 1), 5, 2) };
        world.options.checkpoint_after_bytes = 256 << 10;
        let mut given: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 24);
        let new = another(&mut world, &given);
        let (on, drive) = (node.clone(), world.drives[new].clone());
        assert_eq!(world.run(async move { on.take_drive(&drive).await }), Ok(new as u16));
        given.push(new);
        let leaving: &[u16] = if seed % 2 == 0 { &[1, 3] } else { &[1] };
        let mut ends = Vec::new();
        for drive in leaving {
            ends.push(drain(&world, &node, *drive));
        }
        assert!(ends.iter().all(Result::is_ok), "{ends:?}");
        world.sim.run_steps(world.sim.random().below(5000));
        stored.extend(fill(&world, &node, 100, 6).1);
        let node = match seed % 3 {
            0 => {
                crash_and_heal(&world, node);
                must_open(&world, &given, false)
            }
            _ => node,
        };
        leaving.iter().for_each(|drive| until_emptied(&world, &node, *drive));
        world.sim.run_until_idle();
        compare(&world, &node, id, &stored);
        node.audit();
        let left: Vec<usize> = given.iter().copied().filter(|at| !leaving.contains(&(*at as u16))).collect();
        are_whole(&world, node, &left);
        let node = must_open(&world, &left[1..], left.len() == 2);
        compare(&world, &node, id, &stored);
        world.kill(node);
    }
}

/// The drive that is emptied leaves and comes back while the node runs. What was begun goes on.
#[test]
fn a_drive_that_comes_back_is_emptied_still() {
    for seed in 1180..1188 {
        let mut world =
            if seed % 2 == 0 { striped(seed, 6, (2, 2), 6, 2) } else { mirrors(seed, (5, 2), 6, 2) };
        world.options.checkpoint_after_bytes = 256 << 10;
        let all: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &all, false);
        let (id, mut stored) = fill(&world, &node, 0, 24);
        assert_eq!(drain(&world, &node, 1), Ok(()));
        world.sim.run_steps(world.sim.random().below(3000));
        let on = node.clone();
        if world.run(async move { on.any_core().take_offline(1, true).await }).is_err() {
            // It is empty already.
            world.kill(node);
            continue;
        }
        stored.extend(fill(&world, &node, 100, 6).1);
        world.sim.run_until_idle();
        let (on, drive) = (node.clone(), world.drives[1].clone());
        assert_eq!(world.run(async move { on.take_drive(&drive).await }), Ok(1));
        assert!(node.drive_numbers().contains(&1));
        until_emptied(&world, &node, 1);
        compare(&world, &node, id, &stored);
        node.audit();
        let left = [&all[..1], &all[2..]].concat();
        are_whole(&world, node, &left);
        let node = must_open(&world, &left[2..], left.len() <= 4);
        compare(&world, &node, id, &stored);
        world.kill(node);
    }
}

#[test]
fn what_can_not_be_emptied_is_refused() {
    let world = mirror(1090, 2, 3, 1);
    let node = must_open(&world, &[0, 1], false);
    assert_eq!(drain(&world, &node, 1), Err(DrainError::TooFew { needed: 2, others: 1 }));
    assert_eq!(drain(&world, &node, 7), Err(DrainError::Unknown));
    close(&world, node);
    let world = striped(1091, 4, (2, 2), 4, 1);
    let node = must_open(&world, &[0, 1, 2, 3], false);
    assert_eq!(drain(&world, &node, 1), Err(DrainError::TooFew { needed: 4, others: 3 }));
    close(&world, node);
    let world = mirrors(1092, (1, 0), 1, 1);
    let node = must_open(&world, &[0], false);
    assert_eq!(drain(&world, &node, 0), Err(DrainError::NotRedundant));
    close(&world, node);
}

/// What is not wanted any more ends, and everything is as good as before.
#[test]
fn a_drain_may_be_stopped() {
    for seed in 1100..1106 {
        let world = if seed % 2 == 0 { striped(seed, 5, (2, 1), 5, 2) } else { mirrors(seed, (4, 1), 6, 2) };
        let all: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &all, false);
        let (id, mut stored) = fill(&world, &node, 0, 24);
        assert_eq!(stop(&world, &node, 1), Err(DrainError::NotLeaving));
        assert_eq!(drain(&world, &node, 1), Ok(()));
        assert_eq!(drain(&world, &node, 1), Ok(()), "it is asked for twice");
        world.sim.run_steps(world.sim.random().below(3000));
        if !node.drive_numbers().contains(&1) {
            continue;
        }
        assert_eq!(stop(&world, &node, 1), Ok(()));
        stored.extend(fill(&world, &node, 100, 12).1);
        world.sim.run_until_idle();
        compare(&world, &node, id, &stored);
        assert!(node.drive_numbers().contains(&1));
        are_whole(&world, node, &all);
        // It is emptied after all, and never comes back.
        let node = must_open(&world, &all, false);
        assert_eq!(drain(&world, &node, 1), Ok(()));
        until_emptied(&world, &node, 1);
        compare(&world, &node, id, &stored);
        let (on, drive) = (node.clone(), world.drives[1].clone());
        assert_eq!(world.run(async move { on.take_drive(&drive).await }), Err(OnlineError::Gone));
        let left = [&all[..1], &all[2..]].concat();
        are_whole(&world, node, &left);
    }
}
