//! Drives that fail, hang or vanish while the node runs, and leave the view.

use std::cell::RefCell;
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::node::{OfflineError, OpenError, ScrubOptions};
use ringbolt_engine::sim::device::{Fate, Faults, SimDevice};
use ringbolt_engine::sim::{Bug, SimNode};
use ringbolt_engine::types::BucketId;

use crate::mirror::{Mirror, Stored, close, compare, fill, mirror, mirrors, must_open, open};
use crate::striped::striped;
use crate::world::{body, bucket, delete, get, put};

const HOUR_US: u64 = 3_600_000_000;

/// What is wrong with a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Writes,
    Flushes,
    Everything,
    NoAnswer,
}

impl Wrong {
    pub const ALL: [Self; 4] = [Self::Writes, Self::Flushes, Self::Everything, Self::NoAnswer];

    pub fn befalls(self, drive: &SimDevice) {
        let (fail_writes, fail_flushes) = match self {
            Self::Writes => (true, false),
            Self::Flushes => (false, true),
            Self::Everything => (true, true),
            Self::NoAnswer => return drive.stand_still_us(HOUR_US),
        };
        let fail_reads = self == Self::Everything;
        drive.set_faults(Faults { fail_reads, fail_writes, fail_flushes, ..Faults::default() });
    }
}

/// Ends the life of a node by a power cut, and whatever was wrong with its drives.
pub fn crash_and_heal(world: &Mirror, node: Rc<SimNode>) {
    world.crash(node);
    world.drives.iter().for_each(|drive| drive.set_faults(Faults::default()));
}

pub fn others(count: usize, lost: usize) -> Vec<usize> {
    (0..count).filter(|drive| *drive != lost).collect()
}

/// Puts six objects at the same time, and returns how many of the puts have ended within some seconds, and how many
/// of these are stored.
pub fn puts_within(
    world: &Mirror,
    node: &Rc<SimNode>,
    id: BucketId,
    (name, length): (&'static str, usize),
    seconds: u64,
) -> (usize, usize) {
    let outcomes: Rc<RefCell<Vec<bool>>> = Rc::default();
    for number in 0..6u64 {
        let (on, outcomes) = (node.clone(), outcomes.clone());
        world.sim.spawn(async move {
            let key = format!("{name} {number}").into_bytes();
            let stored = put(&on.any_core(), id, &key, number, length).await.is_ok();
            outcomes.borrow_mut().push(stored);
        });
    }
    let until_us = world.sim.now_us() + seconds * 1_000_000;
    while outcomes.borrow().len() < 6 && world.sim.now_us() < until_us && world.sim.step() {}
    let outcomes = outcomes.borrow();
    (outcomes.len(), outcomes.iter().filter(|stored| **stored).count())
}

fn numbers(given: &[usize]) -> Vec<u16> {
    given.iter().map(|drive| *drive as u16).collect()
}

/// Asserts that drives are out of the view in use, and that no shard has stopped writing.
fn assert_without(world: &Mirror, node: &Rc<SimNode>, left: &[usize], what: &str) {
    assert_eq!(node.drive_numbers(), numbers(left), "{what}");
    let core = node.core(0);
    let metrics = world.run(async move { core.metrics().await }).expect("metrics");
    let all = world.drives.len() as u64;
    assert_eq!((metrics.drives_in, metrics.drives_out), (left.len() as u64, all - left.len() as u64));
    assert!(metrics.degraded_shards > 0, "{what}");
    assert!(metrics.shards.iter().all(|shard| !shard.writes_stopped), "{what}: {:?}", metrics.shards);
}

/// Deletes, cleans and takes a checkpoint, and looks whether all space is accounted for.
pub fn work(world: &Mirror, node: &Rc<SimNode>, id: BucketId, stored: &mut Stored) {
    let (on, keys) = (node.clone(), stored.keys().step_by(4).cloned().collect::<Vec<_>>());
    for key in &keys {
        stored.remove(key);
    }
    world.run(async move {
        for key in keys {
            delete(&on.any_core(), id, &key).await.expect("deleted");
        }
        on.clean().await.expect("cleaned");
        on.compact().await.expect("compacted");
        on.checkpoint().await.expect("a checkpoint");
    });
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move { on.space().await });
    node.audit();
}

#[test]
fn a_drive_that_fails_leaves_and_everything_goes_on_without_it() {
    for (count, lost, wrong) in [2, 3]
        .into_iter()
        .flat_map(|count| (0..count).flat_map(move |lost| Wrong::ALL.map(|wrong| (count, lost, wrong))))
    {
        let what = format!("drive {lost} of {count}: {wrong:?}");
        let mut world = mirror(300 + lost as u64, count as u16, 4, 1 + lost % 2);
        world.options.checkpoint_after_bytes = 1 << 20;
        let all: Vec<usize> = (0..count).collect();
        let node = must_open(&world, &all, false);
        let (id, mut stored) = fill(&world, &node, 0, 12);
        wrong.befalls(&world.drives[lost]);
        stored.extend(fill(&world, &node, 100, 24).1);
        let left = others(count, lost);
        assert_without(&world, &node, &left, &what);
        compare(&world, &node, id, &stored);
        work(&world, &node, id, &mut stored);
        stored.extend(fill(&world, &node, 200, 6).1);
        crash_and_heal(&world, node);
        // What the drive holds is old, whether it is given or not.
        for given in [&left, &all] {
            let node = must_open(&world, given, false);
            assert_eq!(node.whole_drives(), numbers(&left), "{what}");
            compare(&world, &node, id, &stored);
            stored.extend(fill(&world, &node, 300 + given.len() as u64 * 10, 3).1);
            close(&world, node);
        }
    }
}

#[test]
fn reads_alone_notice_a_drive_that_does_not_answer() {
    for lost in [0, 1] {
        let world = mirror(320 + lost as u64, 2, 3, 2);
        let node = must_open(&world, &[0, 1], false);
        let (id, stored) = fill(&world, &node, 0, 18);
        world.drives[lost].stand_still_us(HOUR_US);
        let before_us = world.sim.now_us();
        compare(&world, &node, id, &stored);
        assert!(world.sim.now_us() - before_us < 5_000_000, "reads waited for the drive");
        // What is late goes on, and shows that the drive does not answer.
        world.run(world.sim.sleep_us(20_000_000));
        assert_without(&world, &node, &others(2, lost), "no answer");
    }
}

/// The node can not know which of its drives hangs when none answers: it may be the node that stands still.
#[test]
fn drives_that_stand_still_together_stay_in_the_view() {
    let world = mirror(330, 2, 3, 2);
    let node = must_open(&world, &[0, 1], false);
    let (id, mut stored) = fill(&world, &node, 0, 12);
    world.drives.iter().for_each(|drive| drive.stand_still_us(30_000_000));
    stored.extend(fill(&world, &node, 100, 12).1);
    assert_eq!(node.drive_numbers(), [0, 1]);
    compare(&world, &node, id, &stored);
    // One that stands still for less than its time stays too.
    world.drives[1].stand_still_us(4_000_000);
    stored.extend(fill(&world, &node, 200, 12).1);
    assert_eq!(node.drive_numbers(), [0, 1]);
}

/// A start needs no word when the other drive left before: the drive that is left knows that its view was used.
#[test]
fn what_is_left_of_two_drives_starts_by_itself() {
    for lost in [0, 1] {
        let world = mirror(325 + lost as u64, 2, 3, 2);
        let node = must_open(&world, &[0, 1], false);
        let (id, mut stored) = fill(&world, &node, 0, 12);
        Wrong::Everything.befalls(&world.drives[lost]);
        stored.extend(fill(&world, &node, 100, 2).1);
        world.sim.run_until_idle();
        crash_and_heal(&world, node);
        let node = must_open(&world, &others(2, lost), false);
        compare(&world, &node, id, &stored);
    }
}

/// Whoever waits for a drive that hangs holds all buffers that there are.
#[test]
fn a_drive_that_hangs_leaves_when_no_buffer_is_free() {
    for lost in [0, 1] {
        let world = mirror(370 + lost as u64, 2, 3, 2);
        let node = must_open(&world, &[0, 1], false);
        let (id, mut stored) = fill(&world, &node, 0, 6);
        world.drives[lost].stand_still_us(HOUR_US);
        let held: Vec<_> = (0..2).map(|core| node.hold_buffers(core, 0)).collect();
        let (ended, put) = puts_within(&world, &node, id, ("held", 700), 40);
        assert_eq!((ended, put, node.drive_numbers()), (6, 6, numbers(&others(2, lost))));
        drop(held);
        stored.extend((0..6).map(|number| (format!("held {number}").into_bytes(), (number, 700))));
        compare(&world, &node, id, &stored);
    }
}

/// What failed can not vouch for a drive that only stands still for a while.
#[test]
fn a_drive_that_stands_still_stays_when_the_other_one_is_lost() {
    let world = mirror(380, 2, 3, 2);
    let node = must_open(&world, &[0, 1], false);
    let (id, mut stored) = fill(&world, &node, 0, 6);
    Wrong::Everything.befalls(&world.drives[0]);
    world.drives[1].stand_still_us(20_000_000);
    stored.extend(fill(&world, &node, 100, 12).1);
    assert_without(&world, &node, &[1], "the other one stood still");
    compare(&world, &node, id, &stored);
}

/// A drive that hangs while a start reads it is as good as any other behind that.
#[test]
fn a_drive_that_was_slow_in_a_start_is_watched_as_before() {
    let world = mirror(385, 3, 3, 2);
    let node = must_open(&world, &[0, 1, 2], false);
    let (id, mut stored) = fill(&world, &node, 0, 12);
    world.crash(node);
    world.drives[1].stand_still_us(12_000_000);
    let node = must_open(&world, &[0, 1, 2], false);
    assert_eq!(node.drive_numbers(), [0, 1, 2]);
    Wrong::Writes.befalls(&world.drives[0]);
    stored.extend(fill(&world, &node, 100, 6).1);
    assert_eq!(node.drive_numbers(), [1, 2], "the slow one left with the one that failed");
    compare(&world, &node, id, &stored);
}

#[test]
fn the_last_home_of_a_shard_does_not_leave() {
    let world = mirror(340, 2, 2, 2);
    let node = must_open(&world, &[0, 1], false);
    let (id, mut stored) = fill(&world, &node, 0, 12);
    Wrong::Writes.befalls(&world.drives[0]);
    stored.extend(fill(&world, &node, 100, 12).1);
    Wrong::Writes.befalls(&world.drives[1]);
    let on = node.clone();
    let refused = world.run(async move { put(&on.core(0), id, b"last", 1, 700).await });
    assert!(matches!(refused, Err(EngineError::WritesStopped { .. })), "{refused:?}");
    assert_eq!(node.drive_numbers(), [1]);
    compare(&world, &node, id, &stored);
    crash_and_heal(&world, node);
    let node = must_open(&world, &[0, 1], false);
    assert_eq!(node.whole_drives(), [1]);
    compare(&world, &node, id, &stored);
}

#[test]
fn of_three_homes_two_may_fail_at_once() {
    for wrong in Wrong::ALL {
        for left in 0..3 {
            let world = mirrors(350 + left as u64, (3, 2), 3, 2);
            let node = must_open(&world, &[0, 1, 2], false);
            let (id, mut stored) = fill(&world, &node, 0, 6);
            others(3, left).into_iter().for_each(|drive| wrong.befalls(&world.drives[drive]));
            stored.extend(fill(&world, &node, 100, 12).1);
            assert_without(&world, &node, &[left], &format!("{wrong:?} but {left}"));
            compare(&world, &node, id, &stored);
            crash_and_heal(&world, node);
            let node = must_open(&world, &[0, 1, 2], false);
            assert_eq!(node.whole_drives(), [left as u16]);
            compare(&world, &node, id, &stored);
        }
    }
}

#[test]
fn a_scrub_ends_although_a_drive_hangs() {
    let world = mirror(360, 2, 3, 2);
    let node = must_open(&world, &[0, 1], false);
    let (id, stored) = fill(&world, &node, 0, 18);
    // What a reader is about to write anew hangs too.
    world.drives[1].damage(1 << 20, |bytes| bytes.iter_mut().step_by(4001).for_each(|byte| *byte ^= 0x5a));
    for core in 0..2 {
        let options = ScrubOptions { bytes_per_second: 64 << 20, every_ms: u64::MAX / 4 };
        node.core(core).start_scrub(options);
    }
    world.sim.run_steps(300);
    world.drives[1].stand_still_us(HOUR_US);
    let until_us = world.sim.now_us() + 120_000_000;
    while world.sim.now_us() < until_us && world.sim.step() {}
    let core = node.core(0);
    let metrics = world.run(async move { core.metrics().await }).expect("metrics");
    assert!(metrics.shards.iter().all(|shard| shard.scrub.passes > 0), "{:?}", metrics.shards);
    assert_eq!(node.drive_numbers(), [0]);
    compare(&world, &node, id, &stored);
    close(&world, node);
}

/// Of three drives, one fails while a client puts objects. The power is cut some steps later; the failed drive
/// may be there again at the next start, and one of the others away. Whatever a start goes on with has all
/// that was acknowledged.
fn a_change_that_is_cut_off_loses_nothing(bug: Option<Bug>) -> Result<usize, String> {
    let mut refused = 0;
    for (failing, steps) in (0..3).flat_map(|failing| (0..240).step_by(5).map(move |steps| (failing, steps)))
    {
        for absent in 0..3 {
            let mut world = mirror(400 + steps, 3, 3, 1 + steps as usize % 2);
            world.options.bug = bug;
            let node = must_open(&world, &[0, 1, 2], false);
            let id = {
                let on = node.clone();
                world.run(async move { bucket(&on.core(0), "b").await })
            };
            Wrong::Writes.befalls(&world.drives[failing]);
            // One of the others may be slow to get the view.
            if let slow @ 1.. = steps as usize / 5 % 3 {
                world.drives[(failing + slow) % 3].stand_still_us(3_000_000);
            }
            let acknowledged: Rc<RefCell<Stored>> = Rc::default();
            for client in 0..3u64 {
                let (on, acknowledged) = (node.clone(), acknowledged.clone());
                world.sim.spawn(async move {
                    for tag in (0..50).map(|number| 100 * client + number) {
                        let key = format!("key {tag}").into_bytes();
                        if put(&on.any_core(), id, &key, tag, 700).await.is_ok() {
                            acknowledged.borrow_mut().insert(key, (tag, 700));
                        }
                    }
                });
            }
            world.sim.run_steps(steps * 4);
            world.drives.iter().for_each(|drive| drive.crash(|_| Fate::Lost));
            world.sim.kill();
            drop(node);
            world.drives.iter().for_each(|drive| drive.set_faults(Faults::default()));
            let stored = acknowledged.borrow().clone();
            let what = format!("drive {failing} failed, {steps}, {absent} absent, {} puts", stored.len());
            match open(&world, &others(3, absent), false) {
                Ok(node) => judge(&world, &node, id, &stored, &what)?,
                Err(OpenError::TooFew { .. } | OpenError::NoHome { .. }) => refused += 1,
                Err(error) => return Err(format!("{what}: {error}")),
            }
            world.sim.kill();
            match open(&world, &[0, 1, 2], false) {
                Ok(node) => judge(&world, &node, id, &stored, &what)?,
                Err(error) => return Err(format!("{what}, then all: {error}")),
            }
            world.sim.kill();
        }
    }
    Ok(refused)
}

pub fn judge(
    world: &Mirror,
    node: &Rc<SimNode>,
    id: BucketId,
    stored: &Stored,
    what: &str,
) -> Result<(), String> {
    let (on, stored) = (node.clone(), stored.clone());
    let missing = world.run(async move {
        for (key, (tag, length)) in stored {
            match get(&on.any_core(), id, &key).await {
                Ok(Some((_, bytes))) if bytes == body(tag, length) => {}
                found => return Some((key, found.map(drop_bytes))),
            }
        }
        None
    });
    match missing {
        None => Ok(()),
        Some((key, found)) => {
            Err(format!("{what}: {} is not there: {found:?}", String::from_utf8_lossy(&key)))
        }
    }
}

fn drop_bytes<T, U>(found: Option<(T, U)>) -> bool {
    found.is_some()
}

#[test]
fn a_change_of_view_may_be_cut_off_at_any_moment() {
    let refused = a_change_that_is_cut_off_loses_nothing(None).expect("nothing acknowledged is lost");
    assert!(refused > 0, "no start was ever refused, so that no view mattered");
}

#[test]
fn a_view_that_is_used_early_is_caught() {
    let caught = a_change_that_is_cut_off_loses_nothing(Some(Bug::UseViewEarly));
    assert!(caught.is_err(), "a view that one drive has is as good as one that all have: {caught:?}");
}

#[test]
fn a_drive_that_is_left_out_without_a_view_is_caught() {
    let caught = a_change_that_is_cut_off_loses_nothing(Some(Bug::DropWithoutView));
    assert!(caught.is_err(), "no view is needed: {caught:?}");
}

/// One of four drives fails to write. Another one fails when it has the view without the first, and before the slow
/// one has it, so that nobody ever uses this view. Returns whether the node opens with all drives, and has everything.
fn a_view_that_nobody_used_is_an_old_one(bug: Option<Bug>) -> Result<(), String> {
    let mut world = mirrors(330, (4, 2), 4, 2);
    world.options.bug = bug;
    let all = [0, 1, 2, 3];
    let node = must_open(&world, &all, false);
    let (id, mut stored) = fill(&world, &node, 0, 12);
    Wrong::Writes.befalls(&world.drives[0]);
    world.drives[3].take_us(1_500_000);
    assert!(puts_within(&world, &node, id, ("at first", 4096), 1).0 < 6);
    Wrong::Everything.befalls(&world.drives[2]);
    assert_eq!(puts_within(&world, &node, id, ("then", 4096), 300), (6, 6));
    world.drives[3].take_us(100);
    stored.extend(fill(&world, &node, 100, 12).1);
    assert_eq!(node.drive_numbers(), [1, 3]);
    world.kill(node);
    world.drives.iter().for_each(|drive| drive.set_faults(Faults::default()));
    let node = match open(&world, &all, false) {
        Ok(node) => node,
        Err(error) => return Err(error.to_string()),
    };
    compare(&world, &node, id, &stored);
    close(&world, node);
    Ok(())
}

#[test]
fn a_view_that_was_begun_is_followed_by_another_one() {
    a_view_that_nobody_used_is_an_old_one(None).expect("it opens");
}

#[test]
fn a_view_that_is_given_up_is_caught() {
    let refused =
        a_view_that_nobody_used_is_an_old_one(Some(Bug::GiveUpView)).expect_err("two views have one number");
    assert!(refused.contains("view"), "{refused}");
}

/// An operator takes drives offline while clients write. Nothing fails, nothing is lost, and a drive that the node
/// needs stays.
#[test]
fn a_drive_that_is_taken_offline_leaves_at_once() {
    let offline = |world: &Mirror, node: &Rc<SimNode>, number: u16| {
        let core = node.any_core();
        world.run(async move { core.take_offline(number, false).await })
    };
    let needed = Err(OfflineError::IsNeeded);
    let worlds = [
        ("two", mirror(640, 2, 4, 2), 2, 1),
        ("three copies on four", mirrors(641, (4, 2), 4, 2), 4, 2),
        ("stripes", striped(642, 8, (4, 2), 8, 2), 8, 2),
    ];
    for (name, world, drives, may_leave) in worlds {
        let all: Vec<usize> = (0..drives).collect();
        let node = must_open(&world, &all, false);
        let (id, mut stored) = fill(&world, &node, 0, 12);
        assert_eq!(offline(&world, &node, 99), Err(OfflineError::Unknown));
        for number in 0..may_leave {
            // Puts of all sizes are on their way.
            let written: Rc<RefCell<Vec<u64>>> = Rc::default();
            for tag in 0..12 {
                let (on, written) = (node.clone(), written.clone());
                world.sim.spawn(async move {
                    let key = format!("meanwhile {number} {tag}").into_bytes();
                    let length = [700, 66_000, 300_000][(tag % 3) as usize];
                    put(&on.any_core(), id, &key, tag, length).await.expect("stored");
                    written.borrow_mut().push(tag);
                });
            }
            world.sim.run_steps(200);
            let began_us = world.sim.now_us();
            let view = offline(&world, &node, number).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(world.sim.now_us() - began_us < 1_000_000, "{name}: nobody waits for anything");
            assert_eq!(offline(&world, &node, number), Err(OfflineError::IsOut), "{name}");
            let (_, writes, flushes) = world.drives[usize::from(number)].counts();
            world.sim.run_until_idle();
            assert_eq!(written.borrow().len(), 12, "{name}: no put fails");
            stored.extend(fill(&world, &node, 100 * (1 + u64::from(number)), 6).1);
            let (_, later, later_flushes) = world.drives[usize::from(number)].counts();
            assert_eq!((writes, flushes), (later, later_flushes), "{name}: nothing is sent to it any more");
            for tag in 0..12u64 {
                let length = [700, 66_000, 300_000][(tag % 3) as usize];
                stored.insert(format!("meanwhile {number} {tag}").into_bytes(), (tag, length));
            }
            let on = node.core(0);
            let report = world.run(async move { on.drives().await }).expect("a report");
            assert_eq!(report.view, view, "{name}");
            let drive = &report.drives[usize::from(number)];
            assert!(drive.reason.as_deref().is_some_and(|reason| reason.contains("operator")), "{drive:?}");
        }
        let refused = offline(&world, &node, may_leave);
        assert!(matches!(refused, Err(OfflineError::IsNeeded)), "{name}: {refused:?}");
        compare(&world, &node, id, &stored);
        world.crash(node);
        // Without those that are out, and without the word that they are gone.
        let left: Vec<usize> = (usize::from(may_leave)..drives).collect();
        let node = must_open(&world, &left, false);
        compare(&world, &node, id, &stored);
        close(&world, node);
        // They are given again, and are brought up to date.
        let node = must_open(&world, &all, false);
        world.run(world.sim.sleep_us(HOUR_US));
        assert_eq!(node.whole_drives().len(), drives, "{name}");
        compare(&world, &node, id, &stored);
        close(&world, node);
    }
    // With the second of four gone, nothing large could be stored.
    let world = striped(644, 4, (2, 2), 4, 1);
    let node = must_open(&world, &[0, 1, 2, 3], false);
    assert!(offline(&world, &node, 0).is_ok());
    assert_eq!(offline(&world, &node, 1), Err(OfflineError::StopsLarge));
    let core = node.core(0);
    world.run(async move { core.take_offline(1, true).await }).expect("by force");
    close(&world, node);
    let world = mirrors(643, (2, 0), 4, 1);
    let node = must_open(&world, &[0, 1], false);
    assert_eq!(offline(&world, &node, 0), needed, "without redundancy");
    close(&world, node);
}
