//! Drives that are lost for good, and new ones that take their place.

use std::path::Path;

use ringbolt_engine::node::{OpenError, ReplaceError};
use ringbolt_engine::sim::device::SimDevice;
use ringbolt_engine::sim::{Bug, make_sim_replacement};

use crate::come_back::{are_whole, until_are_whole};
use crate::leave::{Wrong, crash_and_heal, judge, work};
use crate::mirror::{Mirror, close, compare, fill, mirror, mirrors, must_open, open};

const DRIVE_BYTES: u64 = 192 << 20;

/// Makes a drive that takes the place of the only one that is not among `left`, and returns its place in the world.
pub fn replacement(world: &mut Mirror, left: &[usize]) -> usize {
    let drives: Vec<SimDevice> = left.iter().map(|at| world.drives[*at].clone()).collect();
    let made = make_sim_replacement(&world.sim, &drives, DRIVE_BYTES);
    let made = made.unwrap_or_else(|error| panic!("{left:?}: {error}"));
    world.drives.push(made);
    world.drives.len() - 1
}

fn refusal(world: &Mirror, left: &[usize]) -> ReplaceError {
    let drives: Vec<SimDevice> = left.iter().map(|at| world.drives[*at].clone()).collect();
    make_sim_replacement(&world.sim, &drives, DRIVE_BYTES).err().expect("no drive is made")
}

fn without(all: &[usize], lost: usize) -> Vec<usize> {
    all.iter().copied().filter(|at| *at != lost).collect()
}

/// Each drive of a set is lost in turn, also one that took the place of another one. What took its place is
/// enough alone, as any other drive.
fn every_drive_is_replaced(bug: Option<Bug>) -> Result<(), String> {
    for (count, failures_max) in [(2u16, 1u8), (3, 1), (3, 2), (5, 2)] {
        let mut world = mirrors(700 + u64::from(count), (count, failures_max), 4, 2);
        world.options.bug = bug;
        world.options.checkpoint_after_bytes = 1 << 20;
        let mut given: Vec<usize> = (0..usize::from(count)).collect();
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 18);
        work(&world, &node, id, &mut stored);
        crash_and_heal(&world, node);
        for (round, lost) in [0, 1, 0, usize::from(count) - 1].into_iter().enumerate() {
            let what = format!("{count} drives, {failures_max} may be lost, round {round}");
            let left = without(&given, given[lost]);
            let new = replacement(&mut world, &left);
            given = [left.as_slice(), &[new]].concat();
            let word = count < 2 * u16::from(failures_max) + 1;
            let node = must_open(&world, &given, word);
            judge(&world, &node, id, &stored, &what)?;
            stored.extend(fill(&world, &node, 100 * round as u64 + 100, 12).1);
            until_are_whole(&world, &node, given.len());
            work(&world, &node, id, &mut stored);
            stored.extend(fill(&world, &node, 100 * round as u64 + 150, 6).1);
            are_whole(&world, node, &given);
            // As many are lost as may be, and the new one stays.
            let few = &given[usize::from(failures_max)..];
            let node = must_open(&world, few, few.len() <= usize::from(failures_max));
            judge(&world, &node, id, &stored, &what)?;
            world.kill(node);
            if few.len() <= usize::from(failures_max) {
                break;
            }
            let node = must_open(&world, &given, false);
            until_are_whole(&world, &node, given.len());
            close(&world, node);
        }
    }
    Ok(())
}

#[test]
fn a_new_drive_takes_the_place_of_one_that_is_lost() {
    every_drive_is_replaced(None).expect("every drive has everything");
}

#[test]
fn a_new_drive_that_is_believed_at_once_is_caught() {
    let caught = std::panic::catch_unwind(|| every_drive_is_replaced(Some(Bug::BelieveReturned)));
    assert!(!matches!(caught, Ok(Ok(()))), "a drive that has nothing is as good as one that has everything");
}

/// The set of two is replaced drive by drive, until none of the first is left.
#[test]
fn a_set_may_be_replaced_as_a_whole() {
    let mut world = mirror(720, 2, 3, 2);
    let node = must_open(&world, &[0, 1], false);
    let (id, stored) = fill(&world, &node, 0, 18);
    close(&world, node);
    let mut given = vec![0, 1];
    for _ in 0..4 {
        let left = [given[1]];
        given = vec![given[1], replacement(&mut world, &left)];
        let node = must_open(&world, &given, true);
        until_are_whole(&world, &node, 2);
        compare(&world, &node, id, &stored);
        are_whole(&world, node, &given);
    }
}

/// The node dies at any moment while a drive is filled, and starts with and without it.
#[test]
fn a_drive_that_is_filled_may_be_cut_off_at_any_moment() {
    for (seed, count) in (740..752).zip([2u16, 3].into_iter().cycle()) {
        let mut world = mirror(seed, count, 3, 2);
        world.options.checkpoint_after_bytes = 1 << 20;
        let all: Vec<usize> = (0..usize::from(count)).collect();
        let node = must_open(&world, &all, false);
        let (id, mut stored) = fill(&world, &node, 0, 18);
        crash_and_heal(&world, node);
        let left = all[1..].to_vec();
        let new = replacement(&mut world, &left);
        let given = [left.as_slice(), &[new]].concat();
        for round in 0..6u64 {
            // A set of three goes on without the new one, too.
            let is_away = count > 2 && round % 3 == 2;
            let node = must_open(&world, if is_away { &left } else { &given }, count == 2);
            world.sim.run_steps(world.sim.random().below(2000));
            stored.extend(fill(&world, &node, 100 + 10 * round, 3).1);
            match round % 2 {
                0 => world.kill(node),
                _ => crash_and_heal(&world, node),
            }
        }
        let node = must_open(&world, &given, false);
        until_are_whole(&world, &node, given.len());
        compare(&world, &node, id, &stored);
        are_whole(&world, node, &given);
        let node = must_open(&world, &given[1..], count == 2);
        compare(&world, &node, id, &stored);
    }
}

/// A drive fails while its successor is filled, or the successor does.
#[test]
fn a_successor_may_fail_and_have_one() {
    let mut world = mirrors(760, (3, 2), 3, 2);
    let node = must_open(&world, &[0, 1, 2], false);
    let (id, mut stored) = fill(&world, &node, 0, 18);
    close(&world, node);
    let new = replacement(&mut world, &[0, 1]);
    let node = must_open(&world, &[0, 1, new], true);
    Wrong::Writes.befalls(&world.drives[new]);
    stored.extend(fill(&world, &node, 100, 12).1);
    crash_and_heal(&world, node);
    // It took part, and is the one that is replaced now.
    let newer = replacement(&mut world, &[0, 1]);
    let node = must_open(&world, &[0, 1, newer], true);
    until_are_whole(&world, &node, 3);
    Wrong::Everything.befalls(&world.drives[0]);
    stored.extend(fill(&world, &node, 200, 6).1);
    crash_and_heal(&world, node);
    let node = must_open(&world, &[newer], true);
    compare(&world, &node, id, &stored);
}

/// A drive was made to take the place of one that has gone on since, without the one that was left.
#[test]
fn that_a_drive_was_made_is_no_word_of_the_operator() {
    let mut world = mirror(765, 2, 3, 1);
    let node = must_open(&world, &[0, 1], false);
    let (id, mut stored) = fill(&world, &node, 0, 6);
    let new = replacement(&mut world, &[0]);
    Wrong::Everything.befalls(&world.drives[0]);
    stored.extend(fill(&world, &node, 100, 6).1);
    crash_and_heal(&world, node);
    let outcome = open(&world, &[0, new], false);
    assert!(matches!(outcome, Err(OpenError::TooFew { .. })), "{:?}", outcome.err());
    let outcome = open(&world, &[0, 1, new], false);
    assert!(matches!(outcome, Err(OpenError::GivenAndReplaced { number: 1, .. })), "{:?}", outcome.err());
    let node = must_open(&world, &[1, 0], false);
    until_are_whole(&world, &node, 2);
    compare(&world, &node, id, &stored);
}

#[test]
fn two_drives_may_be_replaced_at_once() {
    let mut world = mirrors(766, (5, 2), 4, 2);
    let all = [0, 1, 2, 3, 4];
    let node = must_open(&world, &all, false);
    let (id, stored) = fill(&world, &node, 0, 12);
    close(&world, node);
    let first = replacement(&mut world, &[0, 1, 2, 4]);
    // The second one has to know of the first, or it would get its number.
    assert!(matches!(refusal(&world, &[0, 1, 2]), ReplaceError::Several { count: 2, .. }));
    let second = replacement(&mut world, &[0, 1, 2, first]);
    let given = [0, second, 1, first, 2];
    let node = must_open(&world, &given, false);
    until_are_whole(&world, &node, 5);
    compare(&world, &node, id, &stored);
    are_whole(&world, node, &given);
    let node = must_open(&world, &[0, first, second], false);
    compare(&world, &node, id, &stored);
}

#[test]
fn what_has_no_place_is_refused_by_name() {
    let mut world = mirror(770, 3, 4, 1);
    assert!(matches!(refusal(&world, &[0, 1]), ReplaceError::NeverServed));
    let node = must_open(&world, &[0, 1, 2], false);
    let (id, stored) = fill(&world, &node, 0, 6);
    close(&world, node);
    assert!(matches!(refusal(&world, &[0, 1, 2]), ReplaceError::NothingLost { .. }));
    assert!(matches!(refusal(&world, &[0]), ReplaceError::Several { count: 2, .. }));
    // Two are made for one place. Whichever is used first has it.
    let (first, second) = (replacement(&mut world, &[1, 2]), replacement(&mut world, &[1, 2]));
    let outcome = open(&world, &[1, 2, first, second], false);
    assert!(matches!(outcome, Err(OpenError::Outdated { .. })), "{:?}", outcome.err());
    let outcome = open(&world, &[0, 1, 2, first], false);
    assert!(matches!(outcome, Err(OpenError::GivenAndReplaced { number: 0, .. })), "{:?}", outcome.err());
    let node = must_open(&world, &[1, 2, second], false);
    until_are_whole(&world, &node, 3);
    close(&world, node);
    let outcome = open(&world, &[1, 2, first], false);
    assert!(matches!(outcome, Err(OpenError::Outdated { .. })), "{:?}", outcome.err());
    assert!(matches!(refusal(&world, &[1, 2, second]), ReplaceError::NothingLost { .. }));
    // The old one is no part of the set any more, and harms nothing.
    let node = must_open(&world, &[0, 1, 2, second], false);
    assert_eq!(node.drive_numbers(), [1, 2, 3]);
    compare(&world, &node, id, &stored);
    close(&world, node);
    // What is left alone has to have everything.
    let node = must_open(&world, &[1, 2, second], false);
    Wrong::Writes.befalls(&world.drives[1]);
    fill(&world, &node, 100, 6);
    crash_and_heal(&world, node);
    assert!(
        matches!(refusal(&world, &[1, 2]), ReplaceError::LastHome { .. }),
        "{}",
        refusal(&world, &[1, 2])
    );
    let alone = mirrors(771, (2, 0), 2, 1);
    assert!(matches!(refusal(&alone, &[0]), ReplaceError::NoCopies));
    assert!(!Path::new("simulated drive").exists());
}
