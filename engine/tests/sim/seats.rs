//! Drives that come while the node runs: those that left, and new ones that take a place.

use std::rc::Rc;

use ringbolt_engine::node::{OfflineError, OnlineError};
use ringbolt_engine::sim::device::{Faults, SimDevice};
use ringbolt_engine::sim::{Bug, SimNode};
use ringbolt_engine::types::BucketId;

use crate::come_back::{are_whole, until_are_whole};
use crate::leave::{Wrong, crash_and_heal, judge, puts_within, work};
use crate::mirror::{Mirror, Stored, close, compare, fill, mirror, mirrors, must_open};
use crate::replace::replacement;
use crate::striped::striped;

const DRIVE_BYTES: u64 = 192 << 20;

/// Worlds of copies and of stripes, each with the number of its drives and of those that may be lost.
fn worlds(seed: u64) -> Vec<(Mirror, usize, usize)> {
    let mut worlds = Vec::new();
    for (count, failures_max) in [(2u16, 1u8), (3, 1), (5, 2)] {
        worlds.push((mirrors(seed + u64::from(count), (count, failures_max), 4, 2), count.into(), 1));
    }
    for (count, shape) in [(4u16, (2u8, 2u8)), (7, (4, 2))] {
        worlds.push((striped(seed + 20 + u64::from(count), count, shape, count, 2), count.into(), 2));
    }
    worlds
}

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn take(world: &Mirror, node: &Rc<SimNode>, at: usize) -> Result<u16, OnlineError> {
    let (on, drive) = (node.clone(), world.drives[at].clone());
    world.run(async move { on.take_drive(&drive).await })
}

fn offline(world: &Mirror, node: &Rc<SimNode>, number: u16) -> Result<(), OfflineError> {
    let on = node.clone();
    world.run(async move { on.any_core().take_offline(number, true).await.map(drop) })
}

/// Ends what is wrong with a drive, and what it was asked before.
fn heal(world: &Mirror, at: usize) {
    world.drives[at].set_faults(Faults::default());
    world.sim.run_until_idle();
}

/// Takes away as many drives as may be lost, and asserts that everything is there.
fn others_are_enough(
    world: &Mirror,
    given: &[usize],
    failures_max: usize,
    id: BucketId,
    stored: &Stored,
    what: &str,
) -> Result<(), String> {
    let few = &given[failures_max..];
    let node = must_open(world, few, few.len() <= failures_max);
    judge(world, &node, id, stored, what)?;
    world.kill(node);
    Ok(())
}

/// Drives leave, one because it fails and one by the operator's word, and come back while the node runs.
fn drives_return_to_a_node_that_runs(bug: Option<Bug>) -> Result<(), String> {
    for (mut world, count, failures_max) in worlds(900) {
        world.options.bug = bug;
        world.options.checkpoint_after_bytes = 1 << 20;
        let given = all(count);
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 18);
        for (round, lost) in [0, count - 1, 0].into_iter().enumerate() {
            let what = format!("{count} drives, round {round}");
            match round {
                0 => Wrong::Writes.befalls(&world.drives[lost]),
                _ => offline(&world, &node, lost as u16).unwrap_or_else(|error| panic!("{what}: {error}")),
            }
            let first = 100 * round as u64 + 100;
            stored.extend(fill(&world, &node, first, 12).1);
            work(&world, &node, id, &mut stored);
            heal(&world, lost);
            assert_eq!(take(&world, &node, lost), Ok(lost as u16), "{what}");
            node.audit();
            stored.extend(fill(&world, &node, first + 50, 6).1);
            until_are_whole(&world, &node, count);
            work(&world, &node, id, &mut stored);
            judge(&world, &node, id, &stored, &what)?;
            node.audit();
        }
        are_whole(&world, node, &given);
        others_are_enough(&world, &given, failures_max, id, &stored, "in the end")?;
    }
    Ok(())
}

#[test]
fn a_drive_that_left_comes_back_while_the_node_runs() {
    drives_return_to_a_node_that_runs(None).expect("every drive has everything");
}

#[test]
fn a_seat_without_claims_is_caught() {
    let caught = std::panic::catch_unwind(|| drives_return_to_a_node_that_runs(Some(Bug::SeatWithoutClaims)));
    assert!(!matches!(caught, Ok(Ok(()))), "extents that sets have on the drive may be given to others");
}

/// Each drive is lost in turn, and a new one takes its place while the node runs.
#[test]
fn a_new_drive_takes_a_place_while_the_node_runs() {
    for (mut world, count, failures_max) in worlds(930) {
        world.options.checkpoint_after_bytes = 1 << 20;
        let mut given = all(count);
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 18);
        for (round, place) in [0, count - 1, 0].into_iter().enumerate() {
            let what = format!("{count} drives, round {round}");
            let lost = given[place];
            match round {
                0 => Wrong::Everything.befalls(&world.drives[lost]),
                _ => offline(&world, &node, lost as u16).unwrap_or_else(|error| panic!("{what}: {error}")),
            }
            let first = 100 * round as u64 + 100;
            stored.extend(fill(&world, &node, first, 12).1);
            let left: Vec<usize> = given.iter().copied().filter(|at| *at != lost).collect();
            let new = replacement(&mut world, &left);
            assert_eq!(take(&world, &node, new), Ok(new as u16), "{what}");
            stored.extend(fill(&world, &node, first + 50, 6).1);
            work(&world, &node, id, &mut stored);
            given[place] = new;
            until_are_whole(&world, &node, count);
            compare(&world, &node, id, &stored);
            node.audit();
            // The one that was replaced never comes back.
            heal(&world, lost);
            assert_eq!(take(&world, &node, lost), Err(OnlineError::Gone), "{what}");
        }
        are_whole(&world, node, &given);
        others_are_enough(&world, &given, failures_max, id, &stored, "in the end")
            .expect("nothing is missing");
    }
}

/// The node dies at any moment while a drive takes a seat and is filled, and starts with and without it.
#[test]
fn a_drive_that_comes_may_be_cut_off_at_any_moment() {
    for (seed, is_new) in (950..970).zip([false, true].into_iter().cycle()) {
        let mut world =
            if seed % 3 == 0 { striped(seed, 5, (2, 2), 5, 2) } else { mirrors(seed, (3, 1), 4, 2) };
        world.options.checkpoint_after_bytes = 1 << 20;
        let count = world.drives.len();
        let mut given = all(count);
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 18);
        offline(&world, &node, 0).expect("it may leave");
        stored.extend(fill(&world, &node, 100, 6).1);
        let coming = if is_new { replacement(&mut world, &given[1..]) } else { 0 };
        let (on, drive) = (node.clone(), world.drives[coming].clone());
        world.sim.spawn(async move { drop(on.take_drive(&drive).await) });
        world.sim.run_steps(world.sim.random().below(1500));
        crash_and_heal(&world, node);
        given[0] = coming;
        // Without it, and with it from then on.
        let node = must_open(&world, &given[1..], false);
        compare(&world, &node, id, &stored);
        stored.extend(fill(&world, &node, 200, 3).1);
        crash_and_heal(&world, node);
        let node = must_open(&world, &given, false);
        until_are_whole(&world, &node, count);
        compare(&world, &node, id, &stored);
        are_whole(&world, node, &given);
        others_are_enough(&world, &given[1..], 0, id, &stored, "without it").expect("nothing is missing");
    }
}

/// A drive that comes fails while it is filled, and comes again.
#[test]
fn a_drive_may_fail_again_and_come_again() {
    let world = mirror(975, 2, 3, 2);
    let node = must_open(&world, &[0, 1], false);
    let (id, mut stored) = fill(&world, &node, 0, 18);
    for round in 0..4 {
        Wrong::Writes.befalls(&world.drives[1]);
        stored.extend(fill(&world, &node, 100 + 10 * round, 3).1);
        heal(&world, 1);
        assert_eq!(take(&world, &node, 1), Ok(1), "round {round}");
        world.sim.run_steps(200);
    }
    until_are_whole(&world, &node, 2);
    compare(&world, &node, id, &stored);
    are_whole(&world, node, &[0, 1]);
}

/// A drive hangs with writes on their way, and is given to the node again. The places that these were meant for have
/// another use by the time at which the drive does them.
fn what_hung_is_over_before_a_drive_comes(bug: Option<Bug>) {
    const HANGS_US: u64 = 200_000_000;
    let mut world = mirror(980, 2, 3, 2);
    world.options.bug = bug;
    let node = must_open(&world, &[0, 1], false);
    let (id, mut stored) = fill(&world, &node, 0, 12);
    let until_us = world.sim.now_us() + HANGS_US;
    world.drives[1].stand_still_us(HANGS_US);
    assert_eq!(puts_within(&world, &node, id, ("hangs", 5_000_000), 60), (6, 6), "it left the view");
    assert_eq!(take(&world, &node, 1), Err(OnlineError::IsBusy));
    while world.sim.now_us() < until_us && world.sim.step() {}
    world.sim.run_until_idle();
    assert_eq!(take(&world, &node, 1), Ok(1));
    stored.extend(fill(&world, &node, 100, 12).1);
    until_are_whole(&world, &node, 2);
    compare(&world, &node, id, &stored);
    are_whole(&world, node, &[0, 1]);
}

#[test]
fn what_was_sent_before_is_over_before_a_drive_comes() {
    what_hung_is_over_before_a_drive_comes(None);
}

#[test]
fn a_seat_for_a_drive_that_is_busy_is_caught() {
    let caught =
        std::panic::catch_unwind(|| what_hung_is_over_before_a_drive_comes(Some(Bug::SeatWhileBusy)));
    assert!(caught.is_err(), "a drive with writes on their way is as good as one without");
}

#[test]
fn what_may_not_come_is_refused_by_name() {
    let mut world = mirrors(985, (3, 1), 3, 2);
    let node = must_open(&world, &[0, 1, 2], false);
    let (id, mut stored) = fill(&world, &node, 0, 12);
    assert_eq!(take(&world, &node, 1), Err(OnlineError::IsIn));
    // A drive of another set, and one without any.
    let other = mirror(986, 2, 3, 1);
    let foreign = other.drives[0].clone();
    let on = node.clone();
    assert_eq!(world.run(async move { on.take_drive(&foreign).await }), Err(OnlineError::OtherSet));
    let (on, blank) = (node.clone(), SimDevice::new(DRIVE_BYTES));
    assert_eq!(world.run(async move { on.take_drive(&blank).await }), Err(OnlineError::Unknown));
    // One that was made for the place of a drive that works.
    let premature = replacement(&mut world, &[0, 1]);
    assert_eq!(take(&world, &node, premature), Err(OnlineError::ReplacedIsIn(2)));
    offline(&world, &node, 2).expect("it may leave");
    stored.extend(fill(&world, &node, 100, 6).1);
    let new = replacement(&mut world, &[0, 1]);
    assert_eq!(take(&world, &node, new), Ok(3));
    until_are_whole(&world, &node, 3);
    // The number is taken, and so is the place.
    assert_eq!(take(&world, &node, premature), Err(OnlineError::Unknown));
    assert_eq!(take(&world, &node, 2), Err(OnlineError::Gone));
    // Every coming takes a seat.
    for _ in 0..7 {
        offline(&world, &node, 3).expect("it may leave");
        assert_eq!(take(&world, &node, new), Ok(3));
        until_are_whole(&world, &node, 3);
    }
    offline(&world, &node, 3).expect("it may leave");
    assert_eq!(take(&world, &node, new), Err(OnlineError::NoSeat));
    compare(&world, &node, id, &stored);
    close(&world, node);
    let node = must_open(&world, &[0, 1, new], false);
    until_are_whole(&world, &node, 3);
    are_whole(&world, node, &[0, 1, new]);
    let single = mirrors(987, (1, 0), 1, 1);
    let (node, on) = (must_open(&single, &[0], false), single.drives[0].clone());
    let alone = node.clone();
    assert_eq!(single.run(async move { alone.take_drive(&on).await }), Err(OnlineError::NotRedundant));
    close(&single, node);
}

/// A drive that went on without the others has what they know nothing of.
#[test]
fn a_drive_of_another_history_does_not_come() {
    let world = mirrors(990, (4, 1), 1, 1);
    let node = must_open(&world, &[0, 1, 2, 3], false);
    let (id, stored) = fill(&world, &node, 0, 6);
    close(&world, node);
    close(&world, must_open(&world, &[0, 2, 3], false));
    // It alone has the operator's word that the others are gone.
    let node = must_open(&world, &[1], true);
    fill(&world, &node, 100, 6);
    close(&world, node);
    let node = must_open(&world, &[0, 2, 3], false);
    assert_eq!(take(&world, &node, 1), Err(OnlineError::OtherHistory));
    compare(&world, &node, id, &stored);
    close(&world, node);
}
