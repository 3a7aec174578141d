//! Old stripes that move to a drive that was added.

use std::rc::Rc;

use ringbolt_engine::node::SpreadError;
use ringbolt_engine::sim::{Rare, SimNode, take_reached};
use ringbolt_engine::types::BucketId;

use crate::add::another;
use crate::come_back::{are_whole, until_are_whole};
use crate::leave::{Wrong, crash_and_heal, judge, work};
use crate::mirror::{Mirror, Stored, compare, fill, mirror, must_open};
use crate::striped::striped;

fn worlds(seed: u64) -> Vec<Mirror> {
    let shapes = [(3u16, (2u8, 1u8)), (4, (2, 2)), (6, (4, 2))];
    let world =
        |(count, shape): (u16, (u8, u8))| striped(seed + u64::from(count), count, shape, count.max(4), 2);
    shapes.into_iter().map(world).collect()
}

fn spread(world: &Mirror, node: &Rc<SimNode>, number: u16) -> Result<(), SpreadError> {
    let on = node.clone();
    world.run(async move { on.any_core().spread(number).await })
}

/// Adds a drive to a node, and returns its place in the world.
fn add(world: &mut Mirror, node: &Rc<SimNode>, given: &mut Vec<usize>) -> usize {
    let new = another(world, given);
    let (on, drive) = (node.clone(), world.drives[new].clone());
    assert_eq!(world.run(async move { on.take_drive(&drive).await }), Ok(new as u16));
    given.push(new);
    new
}

fn until_spread(world: &Mirror, node: &Rc<SimNode>, number: u16) {
    let until_us = world.sim.now_us() + 900_000_000;
    loop {
        let on = node.clone();
        let drives = world.run(async move { on.any_core().drives().await }).expect("the drives").drives;
        if drives.iter().all(|drive| drive.number != number || !drive.spreads) {
            return;
        }
        assert!(world.sim.now_us() < until_us, "{drives:?}");
        world.sim.run_steps(500);
    }
}

/// Returns what the drives hold, extents.
fn held(node: &Rc<SimNode>, count: usize) -> Vec<usize> {
    (0..count as u16).map(|number| node.named_extents_on(number).len()).collect()
}

/// A drive gets its share of what was there before, and all but as many as may be lost are enough then.
#[test]
fn a_drive_that_was_added_gets_its_share_of_old_stripes() {
    for mut world in worlds(1300) {
        world.options.checkpoint_after_bytes = 1 << 20;
        let mut given: Vec<usize> = (0..world.drives.len()).collect();
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 150);
        let new = add(&mut world, &node, &mut given);
        take_reached();
        assert_eq!(spread(&world, &node, new as u16), Ok(()), "also while it is brought up to date");
        until_are_whole(&world, &node, given.len());
        stored.extend(fill(&world, &node, 100, 6).1);
        until_spread(&world, &node, new as u16);
        // Whoever began it hears of the view a little later.
        world.sim.run_steps(5000);
        let reached = take_reached();
        let (moved, ended) = (reached[Rare::MemberMoved as usize], reached[Rare::StripesSpread as usize]);
        assert!(moved > 0 && ended == 1, "{moved} members moved");
        work(&world, &node, id, &mut stored);
        let held = held(&node, given.len());
        let (most, own) = (*held.iter().max().expect("a drive"), held[new]);
        assert!(own * 2 >= most, "{held:?}");
        compare(&world, &node, id, &stored);
        are_whole(&world, node, &given);
        // The new one is needed, since an old one is not there.
        let node = must_open(&world, &given[1..], false);
        judge(&world, &node, id, &stored, "without the first").expect("nothing is missing");
        world.kill(node);
    }
}

/// A node whose drive that was added gets old stripes, for up to so many steps.
struct Begun {
    node: Rc<SimNode>,
    id: BucketId,
    stored: Stored,
    given: Vec<usize>,
    new: usize,
}

fn begun(world: &mut Mirror, steps_max: u64) -> Begun {
    world.options.checkpoint_after_bytes = 1 << 20;
    let mut given: Vec<usize> = (0..world.drives.len()).collect();
    let node = must_open(world, &given, false);
    let (id, stored) = fill(world, &node, 0, 100);
    let new = add(world, &node, &mut given);
    until_are_whole(world, &node, given.len());
    assert_eq!(spread(world, &node, new as u16), Ok(()));
    world.sim.run_steps(world.sim.random().below(steps_max));
    Begun { node, id, stored, given, new }
}

/// The power is cut at any moment while stripes move, and they go on by themselves.
#[test]
fn a_spread_may_be_cut_off_at_any_moment() {
    take_reached();
    for seed in 1320..1340 {
        let mut world = striped(seed, 4, (2, 1), 4, 2);
        let Begun { node, id, mut stored, given, new } = begun(&mut world, 3000);
        let free: Vec<_> = (0..given.len() as u16).map(|drive| node.free_extents_on(drive)).collect();
        crash_and_heal(&world, node);
        let node = must_open(&world, &given, false);
        for (drive, free) in (0..).zip(free) {
            let named = node.named_extents_on(drive);
            assert_eq!(named.intersection(&free).count(), 0, "seed {seed}: free extents of drive {drive}");
        }
        judge(&world, &node, id, &stored, &format!("seed {seed}")).expect("nothing is missing");
        stored.extend(fill(&world, &node, 100, 6).1);
        until_spread(&world, &node, new as u16);
        work(&world, &node, id, &mut stored);
        compare(&world, &node, id, &stored);
        are_whole(&world, node, &given);
        let node = must_open(&world, &given[1..], false);
        judge(&world, &node, id, &stored, &format!("seed {seed}")).expect("nothing is missing");
        world.kill(node);
    }
    assert!(take_reached()[Rare::MemberMoved as usize] > 20, "members moved");
}

/// A drive fails while its members move, or the one that gets them.
#[test]
fn a_drive_may_fail_while_stripes_move() {
    take_reached();
    for (seed, fails_new) in (1340..1352).zip([false, true].into_iter().cycle()) {
        let mut world = striped(seed, 5, (2, 2), 5, 2);
        let Begun { node, id, mut stored, given, new } = begun(&mut world, 2000);
        let failing = if fails_new { new } else { 1 };
        Wrong::Everything.befalls(&world.drives[failing]);
        stored.extend(fill(&world, &node, 100, 12).1);
        compare(&world, &node, id, &stored);
        node.audit();
        crash_and_heal(&world, node);
        let node = must_open(&world, &given, false);
        until_are_whole(&world, &node, given.len());
        until_spread(&world, &node, new as u16);
        compare(&world, &node, id, &stored);
        are_whole(&world, node, &given);
    }
    assert!(take_reached()[Rare::MemberMoved as usize] > 20, "members moved");
}

#[test]
fn a_spread_may_be_stopped_and_what_has_no_stripes_is_refused() {
    let mut world = striped(1360, 4, (2, 1), 4, 2);
    let mut given: Vec<usize> = (0..world.drives.len()).collect();
    let node = must_open(&world, &given, false);
    let (id, stored) = fill(&world, &node, 0, 100);
    let new = add(&mut world, &node, &mut given) as u16;
    until_are_whole(&world, &node, given.len());
    let stop = |node: &Rc<SimNode>| {
        let on = node.clone();
        world.run(async move { on.any_core().stop_spread(new).await })
    };
    assert_eq!(stop(&node), Err(SpreadError::NotSpreading));
    assert_eq!(spread(&world, &node, 99), Err(SpreadError::Unknown));
    assert_eq!(spread(&world, &node, new), Ok(()));
    assert_eq!(stop(&node), Ok(()));
    world.sim.run_until_idle();
    until_spread(&world, &node, new);
    let on = node.clone();
    assert_eq!(world.run(async move { on.any_core().drain(new).await }), Ok(()));
    assert_eq!(spread(&world, &node, new), Err(SpreadError::IsLeaving));
    compare(&world, &node, id, &stored);
    world.kill(node);
    let world = mirror(1361, 3, 3, 1);
    let node = must_open(&world, &[0, 1, 2], false);
    assert_eq!(spread(&world, &node, 0), Err(SpreadError::NotStriped));
    world.kill(node);
}
