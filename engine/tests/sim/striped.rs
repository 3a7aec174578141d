//! Striped sets: slices over several drives with parity.

use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::sim::device::{FaultKind, FaultPlan};
use ringbolt_engine::sim::{Bug, SimNode, SimOptions, Simulator, format_striped_sim_set};
use ringbolt_engine::types::{BucketId, ObjectMeta, Version, WriteCondition};

use crate::come_back::{are_whole, until_are_whole};
use crate::leave::{Wrong, crash_and_heal, judge, others, work};
use crate::mirror::{Mirror, Stored, checked, close, compare, fill, must_open, scrub_once};
use crate::replace::replacement;
use crate::world::{MIB, World, body, bucket, delete, etag, get, get_range, put};

/// Makes a world of drives with slices over some of them: data and parity members.
pub fn striped(seed: u64, drives: u16, (data, parity): (u8, u8), shards: u16, cores: usize) -> Mirror {
    let sim = Simulator::new(seed);
    let drives = format_striped_sim_set(&sim, drives, (192 * MIB, 1), shards, (data, parity));
    Mirror(World { sim, drives, options: SimOptions { cores, ..SimOptions::default() } })
}

fn all(count: u16) -> Vec<usize> {
    (0..usize::from(count)).collect()
}

#[test]
fn what_is_stored_in_stripes_is_there_after_a_restart_and_after_a_power_cut() {
    for (drives, shape, cores) in
        [(3, (2, 1), 1), (4, (2, 2), 2), (6, (4, 2), 2), (7, (4, 2), 3), (11, (8, 3), 2)]
    {
        let world = striped(40 + u64::from(drives), drives, shape, drives, cores);
        let given = all(drives);
        let node = must_open(&world, &given, false);
        let (id, stored) = fill(&world, &node, 0, 24);
        compare(&world, &node, id, &stored);
        close(&world, node);
        let (outcome, findings) = checked(&world, &given);
        assert_eq!((outcome.damage(), findings.len()), (0, 0), "{drives} drives: {findings:?}");
        let node = must_open(&world, &given, false);
        compare(&world, &node, id, &stored);
        world.crash(node);
        let node = must_open(&world, &given, false);
        compare(&world, &node, id, &stored);
        let on = node.clone();
        world.run(async move { on.space().await });
        node.audit();
        close(&world, node);
    }
}

/// Every choice of M drives that are lost: what was stored is read without them, and more is stored.
#[test]
fn any_m_drives_may_be_lost() {
    all_but_m_drives_are_enough(None).expect("nothing is missing");
}

#[test]
fn a_short_row_without_parity_is_caught() {
    all_but_m_drives_are_enough(Some(Bug::ShortRowWithoutParity)).expect_err("zeros are as good as parity");
}

#[test]
fn parity_over_what_a_buffer_held_is_caught() {
    all_but_m_drives_are_enough(Some(Bug::ParityOverPadding)).expect_err("padding needs not be zeros");
}

fn all_but_m_drives_are_enough(bug: Option<Bug>) -> Result<(), String> {
    for (drives, shape) in [(3u16, (2u8, 1u8)), (4, (2, 2)), (6, (4, 2))] {
        let lost: Vec<Vec<usize>> = match shape.1 {
            1 => all(drives).into_iter().map(|one| vec![one]).collect(),
            _ => {
                let pairs =
                    all(drives).into_iter().flat_map(|one| (0..one).map(move |other| vec![other, one]));
                pairs.collect()
            }
        };
        for lost in lost {
            let mut world = striped(60 + u64::from(drives), drives, shape, drives, 2);
            world.options.bug = bug;
            let node = must_open(&world, &all(drives), false);
            let (id, mut stored) = fill(&world, &node, 0, 12);
            world.crash(node);
            let left: Vec<usize> = all(drives).into_iter().filter(|at| !lost.contains(at)).collect();
            let word = left.len() <= usize::from(shape.1);
            let node = must_open(&world, &left, word);
            judge(&world, &node, id, &stored, &format!("{drives} drives without {lost:?}"))?;
            // Where no more parity than the data needs is left, nothing large is stored any more.
            if left.len() > usize::from(shape.0) {
                stored.extend(fill(&world, &node, 100, 6).1);
                compare(&world, &node, id, &stored);
            }
            ranges(&world, &node, id, &stored);
            close(&world, node);
            let (outcome, _) = checked(&world, &left);
            assert_eq!(outcome.damage(), 0, "{drives} drives without {lost:?}");
        }
    }
    Ok(())
}

/// The slot of a slice is used again, and the write of the new one's parity is lost. The data of one member of both
/// are alike, so that the old parity would give the other one's old data, with its checksum.
fn read_with_old_parity(bug: Option<Bug>) -> Result<Option<Vec<u8>>, EngineError> {
    let mut world = striped(170, 3, (2, 1), 1, 1);
    world.options.bug = bug;
    let node = must_open(&world, &all(3), false);
    let alike = body(1, 65_536);
    let [old, new] = [2, 3].map(|tag| [body(tag, 65_536), alike.clone()].concat());
    let store = |key: &'static [u8], bytes: Vec<u8>| {
        let on = node.clone();
        world.run(async move {
            let core = on.core(0);
            let id = bucket(&core, "b").await;
            let mut writer = core.put(id, key, bytes.len() as u64).await.expect("a writer");
            writer.write(&bytes).await.expect("room");
            let meta = ObjectMeta { etag: etag(0), attributes: Vec::new() };
            writer.commit(meta, WriteCondition::default()).await.expect("stored");
            on.checkpoint().await.expect("a checkpoint");
            id
        })
    };
    let headers = || -> Vec<(usize, u64)> {
        let of_drive = |at: usize| world.drives[at].blocks_starting_with(b"RBSLICE3").into_iter();
        (0..3).flat_map(|at| of_drive(at).map(move |offset| (at, offset))).collect()
    };
    let member_of = |(at, offset): &(usize, u64)| world.drives[*at].peek(*offset + 56, 1)[0];
    // Its set stays when the other one is deleted.
    store(b"another", body(4, 2 * 65_536));
    let others = headers();
    store(b"key", old);
    let before: Vec<_> = headers().into_iter().filter(|place| !others.contains(place)).collect();
    assert_eq!(before.len(), 3, "one for each member");
    let parity = *before.iter().find(|place| member_of(place) == 2).expect("a parity member");
    let chunk = world.drives[parity.0].peek(parity.1, 4096 + 65_536);
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        delete(&core, id, b"key").await.expect("deleted");
        on.checkpoint().await.expect("a checkpoint");
    });
    world.sim.run_until_idle();
    let all = headers();
    let id = store(b"key", new.clone());
    assert_eq!(headers(), all, "the slot is used again");
    world.drives[parity.0].poke(parity.1, &chunk);
    let first = *before.iter().find(|place| member_of(place) == 0).expect("a data member");
    world.drives[first.0].damage(first.1 + 4096, |bytes| bytes[0] ^= 1);
    let core = node.core(0);
    let got = world.run(async move { get(&core, id, b"key").await })?;
    Ok(got.map(|(_, bytes)| bytes).filter(|bytes| *bytes != new))
}

#[test]
fn the_parity_of_an_earlier_slice_is_not_taken_for_that_of_a_later_one() {
    let read = read_with_old_parity(None);
    assert!(
        matches!(read, Err(EngineError::Damaged { .. })),
        "{:?}",
        read.map(|bytes| bytes.map(|all| all.len()))
    );
}

#[test]
fn old_parity_that_is_believed_is_caught() {
    let read = read_with_old_parity(Some(Bug::OldParity)).expect("it is read");
    assert!(read.is_some(), "what was stored before is read");
}

/// Reads ranges of every large object.
fn ranges(world: &World, node: &Rc<SimNode>, id: BucketId, stored: &Stored) {
    let (on, stored) = (node.clone(), stored.clone());
    world.run(async move {
        for (key, (tag, length)) in stored.into_iter().filter(|(_, (_, length))| *length > 64 << 10) {
            let whole = body(tag, length);
            let places = [0, 1, 4095, 65_535, 65_536, 131_000, 262_144, 300_000, length / 2, length - 1];
            for from in places.into_iter().filter(|from| *from < length) {
                for wanted in [1, 4096, 65_536, 70_000, 600_000, length] {
                    let wanted = wanted.min(length - from);
                    let got = get_range(&on.any_core(), id, &key, from as u64, wanted as u64).await;
                    let got = got.unwrap_or_else(|error| panic!("{wanted} bytes from {from}: {error}"));
                    assert!(got == whole[from..from + wanted], "{wanted} bytes from {from} of {length}");
                }
            }
        }
    });
}

#[test]
fn a_range_of_a_striped_object_is_that_range() {
    let world = striped(80, 6, (4, 2), 6, 2);
    let node = must_open(&world, &all(6), false);
    let (id, mut stored) = fill(&world, &node, 0, 12);
    let on = node.clone();
    let lengths = [65_537usize, 262_144, 262_145, 400_000, 17 << 20, (16 << 20) + 1, 16 << 20];
    stored.extend(world.run(async move {
        let mut more = Stored::new();
        for (tag, length) in (500..).zip(lengths) {
            let key = format!("long {tag}").into_bytes();
            put(&on.any_core(), id, &key, tag, length).await.expect("stored");
            more.insert(key, (tag, length));
        }
        more
    }));
    compare(&world, &node, id, &stored);
    ranges(&world, &node, id, &stored);
}

/// A drive fails while the node runs, is brought up to date, and has everything that it is to have.
fn a_drive_leaves_and_comes_back(bug: Option<Bug>) -> Result<(), String> {
    for (drives, shape, lost) in [(4u16, (2u8, 2u8), 1usize), (6, (4, 2), 0), (6, (4, 2), 5), (7, (4, 2), 3)]
    {
        for wrong in [Wrong::Writes, Wrong::Flushes, Wrong::NoAnswer] {
            let what = format!("drive {lost} of {drives}: {wrong:?}");
            let mut world = striped(90 + u64::from(drives), drives, shape, drives, 1 + lost % 2);
            world.options.bug = bug;
            world.options.checkpoint_after_bytes = 1 << 20;
            let given = all(drives);
            let node = must_open(&world, &given, false);
            let (id, mut stored) = fill(&world, &node, 0, 12);
            wrong.befalls(&world.drives[lost]);
            stored.extend(fill(&world, &node, 100, 12).1);
            judge(&world, &node, id, &stored, &what)?;
            work(&world, &node, id, &mut stored);
            stored.extend(fill(&world, &node, 200, 6).1);
            assert_eq!(node.drive_numbers().len(), usize::from(drives) - 1, "{what}");
            crash_and_heal(&world, node);
            let node = must_open(&world, &given, false);
            judge(&world, &node, id, &stored, &what)?;
            until_are_whole(&world, &node, given.len());
            stored.extend(fill(&world, &node, 300, 6).1);
            work(&world, &node, id, &mut stored);
            are_whole(&world, node, &given);
            // As many others are lost as may be.
            let left: Vec<usize> =
                others(given.len(), lost).split_off(usize::from(shape.1)).into_iter().chain([lost]).collect();
            let node = must_open(&world, &left, left.len() <= usize::from(shape.1));
            judge(&world, &node, id, &stored, &what)?;
            world.kill(node);
        }
    }
    Ok(())
}

#[test]
fn a_drive_of_a_striped_set_leaves_and_comes_back() {
    a_drive_leaves_and_comes_back(None).expect("nothing is missing");
}

#[test]
fn a_drive_of_a_striped_set_that_is_believed_at_once_is_caught() {
    let caught = std::panic::catch_unwind(|| a_drive_leaves_and_comes_back(Some(Bug::BelieveReturned)));
    assert!(
        !matches!(caught, Ok(Ok(()))),
        "a drive that lacks something is as good as one that has everything"
    );
}

/// Damages every block behind the superblock that up to M drives have, and reads everything. A scrub then leaves all
/// drives whole.
#[test]
fn no_client_sees_the_damage_of_m_drives_of_a_striped_set_and_a_scrub_mends_all_of_it() {
    for damaged in [vec![0], vec![3], vec![1, 4], vec![0, 5]] {
        let world = striped(110, 6, (4, 2), 6, 1);
        let node = must_open(&world, &all(6), false);
        let (id, stored) = fill(&world, &node, 0, 24);
        close(&world, node);
        for at in &damaged {
            world.drives[*at].damage(1 << 20, |bytes| {
                bytes.iter_mut().step_by(509).for_each(|byte| *byte ^= 0x5a);
            });
        }
        let node = must_open(&world, &all(6), false);
        compare(&world, &node, id, &stored);
        ranges(&world, &node, id, &stored);
        scrub_once(&world, &node);
        close(&world, node);
        let (outcome, findings) = checked(&world, &all(6));
        assert_eq!((outcome.damage(), findings.len()), (0, 0), "{damaged:?}: {findings:?}");
        let node = must_open(&world, &others(6, 2).split_off(1), false);
        compare(&world, &node, id, &stored);
    }
}

/// Each drive of a striped set is lost in turn, also one that took the place of another one.
#[test]
fn a_new_drive_takes_a_place_in_striped_sets() {
    for (drives, shape) in [(3u16, (2u8, 1u8)), (6, (4, 2)), (7, (4, 2))] {
        let mut world = striped(130 + u64::from(drives), drives, shape, drives, 2);
        world.options.checkpoint_after_bytes = 1 << 20;
        let mut given = all(drives);
        let node = must_open(&world, &given, false);
        let (id, mut stored) = fill(&world, &node, 0, 12);
        work(&world, &node, id, &mut stored);
        crash_and_heal(&world, node);
        for round in 0..3usize {
            let what = format!("{drives} drives, round {round}");
            let left: Vec<usize> = given[1..].to_vec();
            let new = replacement(&mut world, &left);
            given = [left.as_slice(), &[new]].concat();
            let node = must_open(&world, &given, false);
            judge(&world, &node, id, &stored, &what).expect("all is there");
            stored.extend(fill(&world, &node, 100 * round as u64 + 100, 6).1);
            until_are_whole(&world, &node, given.len());
            work(&world, &node, id, &mut stored);
            are_whole(&world, node, &given);
            let few = &given[usize::from(shape.1)..];
            let node = must_open(&world, few, few.len() <= usize::from(shape.1));
            judge(&world, &node, id, &stored, &what).expect("all is there");
            world.kill(node);
            let node = must_open(&world, &given, false);
            until_are_whole(&world, &node, given.len());
            close(&world, node);
        }
    }
}

/// Drives that lie now and then: what was stored is read, and nothing else.
#[test]
fn faults_of_m_drives_at_a_time_are_not_seen() {
    for seed in 150..156 {
        let world = striped(seed, 6, (4, 2), 6, 2);
        let node = must_open(&world, &all(6), false);
        let (id, stored) = fill(&world, &node, 0, 18);
        let first = (seed % 6) as usize;
        for at in [first, (first + 1) % 6] {
            let plan = FaultPlan::default().with(FaultKind::ReadError, 40, u64::MAX);
            world.drives[at].follow(plan.with(FaultKind::MisdirectedReadAlike, 40, u64::MAX));
        }
        for _ in 0..4 {
            compare(&world, &node, id, &stored);
            ranges(&world, &node, id, &stored);
        }
    }
}

/// Several members are damaged, each in another row: no row lacks more than parity makes, so that nothing is lost.
#[test]
fn a_check_counts_what_is_damaged_row_by_row() {
    let world = striped(180, 5, (4, 1), 5, 1);
    let node = must_open(&world, &all(5), false);
    let (id, stored) = fill(&world, &node, 5, 1);
    close(&world, node);
    let whole = body(5, 5_000_000);
    // A row has 256 KiB of the object, 64 KiB of each member.
    for (member, row) in [(0usize, 1usize), (1, 3), (2, 5), (3, 7)] {
        let at = row * (256 << 10) + member * (64 << 10);
        let found = world.drives.iter().find_map(|drive| Some((drive, drive.find(&whole[at..at + 64])?)));
        let (drive, offset) = found.expect("its bytes are on a drive");
        drive.damage(offset, |bytes| bytes[0] ^= 1);
    }
    let (outcome, findings) = checked(&world, &all(5));
    assert_eq!((outcome.damage(), findings.len()), (0, 4), "{findings:?}");
    let node = must_open(&world, &all(5), false);
    compare(&world, &node, id, &stored);
    close(&world, node);
    // A second one in a row is one too many.
    let at = (256 << 10) + (64 << 10);
    let drive = world.drives.iter().find_map(|drive| Some((drive, drive.find(&whole[at..at + 64])?)));
    let (drive, offset) = drive.expect("its bytes are on a drive");
    drive.damage(offset, |bytes| bytes[0] ^= 1);
    let at = 256 << 10;
    let drive = world.drives.iter().find_map(|drive| Some((drive, drive.find(&whole[at..at + 64])?)));
    let (drive, offset) = drive.expect("it was mended");
    drive.damage(offset, |bytes| bytes[0] ^= 1);
    let (outcome, _) = checked(&world, &all(5));
    assert_eq!(outcome.damage(), 1);
}

/// With no more drives left than hold data, what is large is refused: one more loss would lose it.
#[test]
fn what_one_more_loss_would_lose_is_refused() {
    let world = striped(185, 4, (2, 2), 4, 1);
    let node = must_open(&world, &all(4), false);
    let (id, stored) = fill(&world, &node, 0, 6);
    close(&world, node);
    let node = must_open(&world, &[0, 2], true);
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        put(&core, id, b"small", 900, 3000).await.expect("small objects have copies");
        for (number, length) in [70_000, 5_000_000, 9_000_000].into_iter().enumerate() {
            let key = format!("large {number}").into_bytes();
            let refused = put(&core, id, &key, 901, length).await;
            assert!(
                matches!(refused, Err(EngineError::Busy { what }) if what.starts_with("drives")),
                "{refused:?}"
            );
        }
    });
    compare(&world, &node, id, &stored);
}

/// What a receipt says holds: any drives but one fewer than it says copies, and as many as it says parity, may be lost.
#[test]
fn a_receipt_says_how_many_more_drives_may_be_lost() {
    let write = |world: &Mirror, node: &Rc<SimNode>, key: &'static [u8], length: usize| {
        let on = node.clone();
        world.run(async move {
            let core = on.any_core();
            let id = bucket(&core, "b").await;
            let mut writer = core.put(id, key, length as u64).await.expect("a writer");
            let receipt = writer.receipt();
            writer.write(&body(9, length)).await.expect("room");
            assert_eq!(receipt.get(), None, "nothing is committed yet");
            let meta = ObjectMeta { etag: etag(9), attributes: Vec::new() };
            let info = writer.commit(meta, WriteCondition::default()).await.expect("stored");
            let said = receipt.get().expect("a receipt");
            let later = core.durability(id, key, Version::Generation(info.generation)).await.expect("served");
            assert_eq!(later, Some(said), "nothing has changed since");
            assert_eq!(core.durability(id, b"nothing", Version::Newest).await, Ok(None));
            (id, said)
        })
    };
    for (seed, failing) in [(190, None), (191, Some(1usize)), (192, Some(4))] {
        let world = striped(seed, 6, (4, 2), 6, 2);
        let node = must_open(&world, &all(6), false);
        let (_, before) = write(&world, &node, b"before", 300_000);
        assert_eq!((before.copies, before.stripe, before.is_degraded), (3, Some((4, 2)), false));
        failing.into_iter().for_each(|at| Wrong::Everything.befalls(&world.drives[at]));
        fill(&world, &node, 0, 12);
        let (_, small) = write(&world, &node, b"small", 1000);
        let (id, large) = write(&world, &node, b"large", 300_000);
        assert_eq!(small.stripe, None);
        let (data, parity) = large.stripe.expect("it is striped");
        assert_eq!(
            (data, parity, large.is_degraded),
            (4, 2 - u8::from(failing.is_some()), failing.is_some())
        );
        assert_eq!(failing.is_some(), large.view > before.view, "the view that has it is later");
        crash_and_heal(&world, node);
        let lost = (seed % 3) as usize * 2;
        let given: Vec<usize> = all(6).into_iter().filter(|at| Some(*at) != failing && *at != lost).collect();
        let node = must_open(&world, &given, true);
        let stored = [(b"small".to_vec(), (9, 1000)), (b"large".to_vec(), (9, 300_000))];
        compare(&world, &node, id, &stored.into_iter().collect());
        close(&world, node);
    }
}
