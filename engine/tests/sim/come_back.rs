//! Drives that were out of the view, and come back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringbolt_engine::node::OpenError;
use ringbolt_engine::sim::device::Fate;
use ringbolt_engine::sim::{Bug, SimNode};
use ringbolt_engine::types::{BucketId, ObjectMeta, WriteCondition};

use crate::leave::{Wrong, crash_and_heal, judge, others, puts_within, work};
use crate::mirror::{Mirror, Stored, checked, close, compare, fill, mirror, mirrors, must_open, open};
use crate::world::{body, bucket, delete, etag, put};

/// Waits until every drive is whole.
fn until_whole(world: &Mirror, node: &Rc<SimNode>) {
    until_are_whole(world, node, world.drives.len());
}

/// Waits until so many drives are whole.
pub fn until_are_whole(world: &Mirror, node: &Rc<SimNode>, count: usize) {
    let until_us = world.sim.now_us() + 600_000_000;
    while node.whole_drives().len() < count {
        assert!(world.sim.now_us() < until_us && world.sim.step(), "{:?} are whole", node.whole_drives());
    }
}

/// Asserts that these drives are whole, that no shard lacks a home, and that a check finds nothing.
pub fn are_whole(world: &Mirror, node: Rc<SimNode>, given: &[usize]) {
    let on = node.clone();
    let metrics = world.run(async move { on.core(0).metrics().await }).expect("metrics");
    assert_eq!((metrics.drives_in, metrics.degraded_shards), (given.len() as u64, 0), "{given:?}");
    close(world, node);
    let (outcome, findings) = checked(world, given);
    assert!(outcome.damage() == 0 && findings.is_empty(), "{given:?}: {findings:?}");
}

/// Drops a drive from the view of a node, and ends the node's life.
fn lose(world: &Mirror, node: Rc<SimNode>, lost: usize, wrong: Wrong, stored: &mut Stored) -> BucketId {
    let (id, before) = fill(world, &node, 0, 18);
    stored.extend(before);
    wrong.befalls(&world.drives[lost]);
    stored.extend(fill(world, &node, 100, 18).1);
    work(world, &node, id, stored);
    stored.extend(fill(world, &node, 200, 12).1);
    crash_and_heal(world, node);
    id
}

/// A drive was away while objects were put, deleted and moved. When it is whole again, it has everything alone.
fn a_drive_is_whole_again(bug: Option<Bug>) -> Result<(), String> {
    for (count, lost) in [(2, 0), (2, 1), (3, 0), (3, 2)] {
        for wrong in [Wrong::Writes, Wrong::NoAnswer] {
            let what = format!("drive {lost} of {count}: {wrong:?}");
            let mut world = mirror(500 + 10 * count as u64 + lost as u64, count as u16, 4, 1 + lost % 2);
            world.options.bug = bug;
            world.options.checkpoint_after_bytes = 1 << 20;
            let all: Vec<usize> = (0..count).collect();
            let mut stored = Stored::new();
            let node = must_open(&world, &all, false);
            let id = lose(&world, node, lost, wrong, &mut stored);
            let node = must_open(&world, &all, false);
            until_whole(&world, &node);
            compare(&world, &node, id, &stored);
            stored.extend(fill(&world, &node, 300, 6).1);
            work(&world, &node, id, &mut stored);
            are_whole(&world, node, &all);
            // Whichever drive is lost now, the others have everything.
            for absent in all {
                let node = must_open(&world, &others(count, absent), count == 2);
                judge(&world, &node, id, &stored, &what)?;
                world.kill(node);
                if count == 2 {
                    break;
                }
                let node = must_open(&world, &[0, 1, 2], false);
                until_whole(&world, &node);
                close(&world, node);
            }
        }
    }
    Ok(())
}

#[test]
fn a_drive_that_comes_back_is_brought_up_to_date() {
    a_drive_is_whole_again(None).expect("every drive has everything");
}

#[test]
fn a_drive_that_is_believed_at_once_is_caught() {
    let caught = std::panic::catch_unwind(|| a_drive_is_whole_again(Some(Bug::BelieveReturned)));
    assert!(
        !matches!(caught, Ok(Ok(()))),
        "a drive that is not brought up to date is as good as one that is"
    );
}

/// The process ends as soon as a drive is whole again, and the other one is lost.
fn a_whole_drive_is_enough(bug: Option<Bug>) {
    let mut world = mirror(563, 2, 3, 2);
    world.options.bug = bug;
    world.options.checkpoint_after_bytes = 1 << 20;
    let mut stored = Stored::new();
    let node = must_open(&world, &[0, 1], false);
    let id = lose(&world, node, 1, Wrong::Writes, &mut stored);
    let node = must_open(&world, &[0, 1], false);
    until_whole(&world, &node);
    world.kill(node);
    let node = must_open(&world, &[1], true);
    compare(&world, &node, id, &stored);
}

#[test]
fn a_drive_that_is_whole_finds_its_log() {
    a_whole_drive_is_enough(None);
}

#[test]
fn a_home_that_can_not_find_its_log_is_caught() {
    let caught = std::panic::catch_unwind(|| a_whole_drive_is_enough(Some(Bug::HomeWithoutRoot)));
    assert!(caught.is_err(), "a drive with an old root is as good as one with the newest");
}

/// A drive hangs with writes on their way, and is given to the next process. The places that these were meant for
/// have another use by the time at which the drive would have done them.
fn what_hung_is_over_before_a_drive_returns(bug: Option<Bug>) {
    const HANGS_US: u64 = 200_000_000;
    let mut world = mirror(572, 2, 3, 2);
    world.options.bug = bug;
    let mut stored = Stored::new();
    let node = must_open(&world, &[0, 1], false);
    let (id, before) = fill(&world, &node, 0, 12);
    stored.extend(before);
    let until_us = world.sim.now_us() + HANGS_US;
    world.drives[1].stand_still_us(HANGS_US);
    assert_eq!(puts_within(&world, &node, id, ("hangs", 5_000_000), 60), (6, 6), "it left the view");
    let on = node.clone();
    world.run(async move {
        for number in 0..6 {
            delete(&on.any_core(), id, format!("hangs {number}").as_bytes()).await.expect("deleted");
        }
    });
    world.kill(node);
    world.drives[1].heal();
    let node = must_open(&world, &[0, 1], false);
    until_whole(&world, &node);
    stored.extend(fill(&world, &node, 300, 90).1);
    assert!(world.sim.now_us() < until_us, "the drive would have gone on before");
    let sim = world.sim.clone();
    world.run(async move { sim.sleep_us(HANGS_US).await });
    close(&world, node);
    let node = must_open(&world, &[1], true);
    compare(&world, &node, id, &stored);
}

#[test]
fn no_write_of_a_dead_process_reaches_a_drive_that_came_back() {
    what_hung_is_over_before_a_drive_returns(None);
}

#[test]
fn a_late_write_of_a_dropped_drive_is_caught() {
    let bug = Some(Bug::OpenUnderOldWrites);
    let caught = std::panic::catch_unwind(|| what_hung_is_over_before_a_drive_returns(bug));
    assert!(caught.is_err(), "the writes of a dead process change nothing");
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let world = mirror(560, 2, 2, 1);
    let node = must_open(&world, &[0, 1], false);
    let (id, mut stored) = fill(&world, &node, 0, 48);
    Wrong::Writes.befalls(&world.drives[1]);
    stored.extend(fill(&world, &node, 100, 4).1);
    crash_and_heal(&world, node);
    let before = world.drives[1].counts();
    let node = must_open(&world, &[0, 1], false);
    until_whole(&world, &node);
    let after = world.drives[1].counts();
    let core = node.core(0);
    let metrics = world.run(async move { core.metrics().await }).expect("metrics");
    let copied = metrics.caught_up_copies;
    assert!((1..100).contains(&copied), "{copied} copies were written anew, from {before:?} to {after:?}");
    assert_eq!(metrics.mended_copies, 0, "none was damaged");
    compare(&world, &node, id, &stored);
}

/// A drive whose extents hold nothing of the set any more is filled.
#[test]
fn a_drive_that_was_wiped_behind_its_superblock_is_filled() {
    let world = mirror(565, 2, 3, 2);
    let mut stored = Stored::new();
    let node = must_open(&world, &[0, 1], false);
    let id = lose(&world, node, 0, Wrong::Everything, &mut stored);
    world.drives[0].damage(1 << 20, |bytes| bytes.fill(0));
    let node = must_open(&world, &[0, 1], false);
    until_whole(&world, &node);
    close(&world, node);
    let node = must_open(&world, &[0], true);
    compare(&world, &node, id, &stored);
}

/// A drive that was away from the first start on was never told that it is a home. It is one nevertheless.
#[test]
fn a_drive_that_was_never_there_comes_back() {
    for count in [3, 4] {
        let world = mirror(567 + count as u64, count as u16, 4, 1);
        let node = must_open(&world, &others(count, 1), false);
        let (id, mut stored) = fill(&world, &node, 0, 12);
        crash_and_heal(&world, node);
        let all: Vec<usize> = (0..count).collect();
        let node = must_open(&world, &all, false);
        until_whole(&world, &node);
        stored.extend(fill(&world, &node, 100, 6).1);
        close(&world, node);
        let node = must_open(&world, &others(count, 0), false);
        compare(&world, &node, id, &stored);
        close(&world, node);
    }
}

/// The power is cut while a drive is brought up to date. It is no home before it is whole, so that nothing starts
/// with it alone, and then it has everything.
#[test]
fn a_return_may_be_cut_off_at_any_moment() {
    let (mut alone, mut refused) = (0, 0);
    for steps in (0..40).map(|number: u64| number * number * 6) {
        let world = mirror(570, 2, 2, 1 + steps as usize % 2);
        let mut stored = Stored::new();
        let node = must_open(&world, &[0, 1], false);
        let id = lose(&world, node, 1, Wrong::Writes, &mut stored);
        let node = must_open(&world, &[0, 1], false);
        world.sim.run_steps(steps);
        stored.extend(fill(&world, &node, 400, 4).1);
        world.drives.iter().for_each(|drive| drive.crash(|_| Fate::Lost));
        world.sim.kill();
        drop(node);
        match open(&world, &[1], true) {
            Ok(node) => {
                alone += 1;
                compare(&world, &node, id, &stored);
            }
            Err(OpenError::NoHome { .. } | OpenError::NoDrives | OpenError::TooFew { .. }) => {
                refused += 1;
                let node = must_open(&world, &[0, 1], false);
                compare(&world, &node, id, &stored);
                until_whole(&world, &node);
                world.crash(node);
                let node = must_open(&world, &[1], true);
                compare(&world, &node, id, &stored);
            }
            Err(error) => panic!("{steps} steps: {error}"),
        }
    }
    assert!(alone > 2 && refused > 2, "{alone} starts with the drive alone, {refused} refused");
}

/// Clients write all the time, and one body begins before the drive is back and ends behind that.
fn what_is_written_meanwhile_is_on_it(bug: Option<Bug>) {
    for (seed, cores) in [(580, 1), (581, 2), (582, 3)] {
        let mut world = mirror(seed, 2, 3, cores);
        world.options.bug = bug;
        let mut stored = Stored::new();
        let node = must_open(&world, &[0, 1], false);
        let id = lose(&world, node, 0, Wrong::Flushes, &mut stored);
        let node = must_open(&world, &[0, 1], false);
        let acknowledged: Rc<RefCell<Stored>> = Rc::default();
        let stop = Rc::new(Cell::new(false));
        let slow = slow_body(&world, &node, id);
        for client in 0..4u64 {
            let (on, acknowledged, stop) = (node.clone(), acknowledged.clone(), stop.clone());
            world.sim.spawn(async move {
                for number in (0u64..).take_while(|_| !stop.get()) {
                    let tag = 10_000 * (client + 1) + number;
                    let key = format!("during {client} {}", number % 7).into_bytes();
                    let length = [700, 70_000, 30_000, 1_500_000][number as usize % 4];
                    if number % 5 == 4 {
                        delete(&on.any_core(), id, &key).await.expect("deleted");
                        acknowledged.borrow_mut().remove(&key);
                    } else {
                        put(&on.any_core(), id, &key, tag, length).await.expect("stored");
                        acknowledged.borrow_mut().insert(key, (tag, length));
                    }
                }
            });
        }
        world.sim.run_steps(30_000);
        assert!(bug.is_some() || node.whole_drives() == [1], "a body that began before is not waited for");
        slow.set(true);
        until_whole(&world, &node);
        stop.set(true);
        world.sim.run_steps(20_000);
        stored.extend(acknowledged.borrow().clone());
        stored.insert(b"slow".to_vec(), (77, SLOW_BYTES));
        world.crash(node);
        let node = must_open(&world, &[0], true);
        compare(&world, &node, id, &stored);
    }
}

#[test]
fn what_is_written_while_a_drive_comes_back_is_on_it() {
    what_is_written_meanwhile_is_on_it(None);
}

#[test]
fn a_return_that_forgets_old_bodies_is_caught() {
    let caught = std::panic::catch_unwind(|| what_is_written_meanwhile_is_on_it(Some(Bug::ForgetOldBodies)));
    assert!(caught.is_err(), "a body that was not written to the drive is on it");
}

/// Of three drives one comes back, and another one fails while the view is written, or the one that comes back
/// does, or answers nothing.
#[test]
fn a_return_goes_on_when_another_drive_fails() {
    for (steps, wrong) in (0..24).flat_map(|steps| [(steps, Wrong::Everything), (steps, Wrong::NoAnswer)]) {
        let world = mirror(600 + steps, 3, 3, 1 + steps as usize % 2);
        let mut stored = Stored::new();
        let node = must_open(&world, &[0, 1, 2], false);
        let id = lose(&world, node, 0, Wrong::Writes, &mut stored);
        let node = must_open(&world, &[0, 1, 2], false);
        world.sim.run_steps(steps * 5);
        let failing = if steps % 2 == 1 && wrong == Wrong::Everything { 1 } else { 0 };
        wrong.befalls(&world.drives[failing]);
        let (ended, _) = puts_within(&world, &node, id, ("while", 70_000), 100);
        assert_eq!(ended, 6, "{steps}, {wrong:?} of drive {failing}: writers hang");
        // What only the failing one has, beside the one that is not up to date, comes back with it.
        if failing == 0 {
            compare(&world, &node, id, &stored);
        }
        crash_and_heal(&world, node);
        let node = must_open(&world, &[0, 1, 2], false);
        compare(&world, &node, id, &stored);
        until_whole(&world, &node);
    }
}

const SLOW_BYTES: usize = 6_000_000;

/// Begins a body, of which the second half is written when the answer is set.
fn slow_body(world: &Mirror, node: &Rc<SimNode>, id: BucketId) -> Rc<Cell<bool>> {
    let (core, go_on) = (node.core(0), Rc::new(Cell::new(false)));
    let (sim, waits) = (world.sim.clone(), go_on.clone());
    world.sim.spawn(async move {
        let bytes = body(77, SLOW_BYTES);
        let mut writer = core.put(id, b"slow", bytes.len() as u64).await.expect("begun");
        writer.write(&bytes[..SLOW_BYTES / 2]).await.expect("written");
        while !waits.get() {
            sim.sleep_us(1000).await;
        }
        writer.write(&bytes[SLOW_BYTES / 2..]).await.expect("written");
        let meta = ObjectMeta { etag: etag(77), ..ObjectMeta::default() };
        writer.commit(meta, WriteCondition::default()).await.expect("committed");
    });
    go_on
}

#[test]
fn of_three_homes_two_come_back() {
    let world = mirrors(590, (3, 2), 3, 2);
    let node = must_open(&world, &[0, 1, 2], false);
    let (id, mut stored) = fill(&world, &node, 0, 12);
    Wrong::Writes.befalls(&world.drives[0]);
    stored.extend(fill(&world, &node, 100, 12).1);
    Wrong::Writes.befalls(&world.drives[2]);
    stored.extend(fill(&world, &node, 200, 12).1);
    crash_and_heal(&world, node);
    let node = must_open(&world, &[0, 1, 2], false);
    until_whole(&world, &node);
    close(&world, node);
    let node = must_open(&world, &[2], true);
    compare(&world, &node, id, &stored);
}

/// The drive fails again while it is brought up to date: it leaves, and everything goes on.
#[test]
fn a_drive_that_fails_again_leaves_again() {
    for steps in [0, 50, 200, 800, 2000] {
        let world = mirror(595, 2, 2, 2);
        let mut stored = Stored::new();
        let node = must_open(&world, &[0, 1], false);
        let id = lose(&world, node, 1, Wrong::Writes, &mut stored);
        let node = must_open(&world, &[0, 1], false);
        world.sim.run_steps(steps);
        Wrong::Everything.befalls(&world.drives[1]);
        stored.extend(fill(&world, &node, 400, 12).1);
        compare(&world, &node, id, &stored);
        assert_eq!(node.whole_drives(), [0]);
        // The one that has everything does not leave for it.
        let on = node.clone();
        world.run(async move { bucket(&on.core(0), "another").await });
        crash_and_heal(&world, node);
        let node = must_open(&world, &[0, 1], false);
        until_whole(&world, &node);
        close(&world, node);
        let node = must_open(&world, &[1], true);
        compare(&world, &node, id, &stored);
    }
}

/// Who was named by the operator never comes back.
#[test]
fn a_drive_that_is_gone_for_good_stays_out() {
    let world = mirror(598, 2, 2, 1);
    let node = must_open(&world, &[0, 1], false);
    let (id, stored) = fill(&world, &node, 0, 6);
    world.crash(node);
    let node = must_open(&world, &[0], true);
    world.crash(node);
    let node = must_open(&world, &[0, 1], false);
    world.sim.run_steps(50_000);
    assert_eq!(node.drive_numbers(), [0]);
    compare(&world, &node, id, &stored);
}
