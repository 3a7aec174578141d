//! What is read by address proves where and when it was written: records, slices and batches that
//! are sound and belong elsewhere are refused.

use std::collections::HashMap;
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::check::repair;
use ringbolt_engine::format::batch::{self, BatchHeaderOnDisk, HEADER_BYTES};
use ringbolt_engine::format::slice;
use ringbolt_engine::node::OpenError;
use ringbolt_engine::shard::entry::Location;
#[cfg(feature = "planted-bugs")]
use ringbolt_engine::sim::Bug;
use ringbolt_engine::sim::device::{Fate, FaultKind, FaultPlan};
use ringbolt_engine::sim::{SimNode, SimOptions};
use ringbolt_engine::types::BucketId;

use crate::check;
use crate::world::{MIB, World, body, bucket, delete, get, put};

const BLOCK: u64 = 4096;

/// Returns a counter of the first life and one of the second whose generations have the same check
/// in a packed location.
fn colliding_counters() -> (u64, u64) {
    let check = |epoch: u64, counter: u64| Location::new(0, 0, 100, epoch << 40 | counter, false).check;
    let first: HashMap<u16, u64> = (20..400).map(|counter| (check(1, counter), counter)).collect();
    let second = (20..2000).find_map(|counter| first.get(&check(2, counter)).map(|one| (*one, counter)));
    second.expect("752,400 pairs and 16,384 checks")
}

/// Puts fillers until the next object gets the generation with this counter. The first object of a
/// life gets 2.
async fn use_up(node: &Rc<SimNode>, id: BucketId, counter: u64, from: u64) {
    for at in from..counter {
        put(&node.core(0), id, b"filler", at, 10).await.expect("stored");
    }
}

/// Returns the place of the block with these stored bytes.
fn block_of(world: &World, bytes: &[u8]) -> u64 {
    let at = world.drives[0].find(bytes).expect("stored");
    at - at % BLOCK
}

/// Returns the result of a GET while the drive returns the object's record of the last life for the
/// one of this life.
fn read_of_another_life(options: SimOptions) -> Result<Option<Vec<u8>>, EngineError> {
    let (first, second) = colliding_counters();
    let mut world = World::new(1, 64 * MIB, 1, 1);
    world.options = options;
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        use_up(&on, id, first, 2).await;
        put(&on.core(0), id, b"key", 1, 1000).await.expect("stored");
        id
    });
    world.kill(node);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        use_up(&on, id, second, 2).await;
        put(&on.core(0), id, b"key", 2, 1000).await.expect("stored");
    });
    let (old, new) = (block_of(&world, &body(1, 1000)), block_of(&world, &body(2, 1000)));
    let drive = &world.drives[0];
    let generation = |block: u64| {
        let at = block + HEADER_BYTES as u64 + 16;
        u64::from_le_bytes(*drive.peek(at, 8).first_chunk().expect("8 bytes"))
    };
    let location = Location::new(0, 0, 100, generation(new), false);
    assert!(location.accepts(generation(old)) && generation(old) != generation(new), "no collision");
    // These are the block that the misdirected read returns, and the one that it should have
    // returned.
    let (stale, own) = (drive.peek(old, BLOCK as usize), drive.peek(new, BLOCK as usize));
    drive.poke(new, &stale);
    let on = node.clone();
    let read = world.run(async move { get(&on.core(0), id, b"key").await });
    drive.poke(new, &own);
    if read.is_err() {
        // Nothing of it stays in the read cache.
        let again = world.run(async move { get(&node.core(0), id, b"key").await });
        assert!(again.expect("readable").is_some_and(|(_, bytes)| bytes == body(2, 1000)));
    }
    read.map(|found| found.map(|(_, bytes)| bytes))
}

/// A simulated drive once returned, for the record of an object, the block of the object's record
/// of the previous life: the same key, the same length, and a generation whose 14 bits in the index
/// agreed, because both lives count from small numbers. The record was sound, so it was served and
/// stored in the read cache.
#[test]
fn a_record_of_another_life_is_not_served() {
    let read = read_of_another_life(SimOptions::default());
    assert!(matches!(read, Err(EngineError::Damaged { what: "record", .. })), "{read:?}");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_reader_that_ignores_marks_serves_a_record_of_another_life() {
    let bug = Some(Bug::IgnoreMark);
    let read = read_of_another_life(SimOptions { bug, ..SimOptions::default() });
    assert_eq!(read.expect("it passes"), Some(body(1, 1000)), "the test tests nothing");
}

/// Returns the result of a GET of an object whose write was lost at the place where a batch of the
/// last life was torn.
fn read_of_a_torn_batch(options: SimOptions) -> Result<Option<Vec<u8>>, EngineError> {
    // The power is cut at some moment of the batch's write, whose sectors arrive in an order that
    // the seed chooses.
    let mut attempts = (0..6).flat_map(|seed| (1..200).map(move |steps| (seed, steps)));
    let read = attempts.find_map(|(seed, steps)| read_if_torn(options, seed, steps));
    read.expect("a batch that tears behind its header")
}

/// Returns `None` if the write of the batch had not come so far, or had ended.
fn read_if_torn(options: SimOptions, seed: u64, steps: u64) -> Option<Result<Option<Vec<u8>>, EngineError>> {
    let (first, second) = colliding_counters();
    let mut world = World::new(seed, 64 * MIB, 1, 1);
    world.options = options;
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        use_up(&on, id, first - 1, 2).await;
        id
    });
    // Both records are in one batch. The filler fills the sector of its header.
    let pair = move |node: &Rc<SimNode>, tag: u64| {
        let core = node.core(0);
        async move {
            let filler = put(&core, id, b"pad", tag + 100, 900);
            futures_util::future::join(filler, put(&core, id, b"key", tag, 1000)).await
        }
    };
    let torn = pair(&node, 1);
    world.sim.spawn(async move { drop(torn.await) });
    // Time advances in small steps; otherwise the next event after a write's start would be its
    // end.
    let clock = world.sim.clone();
    world.sim.spawn(async move {
        loop {
            clock.sleep_us(10).await;
        }
    });
    world.sim.run_steps(steps);
    world.drives[0].crash(|_| Fate::Scattered { mask: !1 });
    world.kill(node);
    world.drives[0].find(&body(1, 1000))?;
    let node = world.open();
    let on = node.clone();
    let torn = world.run(async move {
        if get(&on.core(0), id, b"key").await.expect("readable").is_some() {
            return false;
        }
        // Bodies that are abandoned use generations and write nothing to the log.
        for _ in 2..second - 1 {
            let mut writer = on.core(0).put(id, b"given up", 100_000).await.expect("room");
            writer.write(&[7; 1000]).await.expect("taken");
        }
        true
    });
    if !torn {
        return None;
    }
    world.drives[0].follow(FaultPlan::default().with(FaultKind::LostWrite, 1, u64::MAX));
    let (_, stored) = world.run(pair(&node, 2));
    stored.expect("acknowledged, and lost");
    let read = world.run(async move { get(&node.core(0), id, b"key").await });
    Some(read.map(|found| found.map(|(_, bytes)| bytes)))
}

/// The power is cut while a batch is written: its header is lost, and a record behind it is whole
/// on the drive. The next life once continued at the same place. A write there that the drive
/// acknowledged and lost left the record of the torn batch where the index had the new one: the
/// same place, the same key, and only 14 bits to tell them apart.
#[test]
fn a_lost_write_over_a_torn_batch_serves_nothing_of_it() {
    let read = read_of_a_torn_batch(SimOptions::default());
    assert!(matches!(read, Err(EngineError::Damaged { .. })), "{read:?}");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn where_a_life_writes_on_a_record_of_the_torn_batch_is_served() {
    let bug = Some(Bug::ContinueTornLog);
    let read = read_of_a_torn_batch(SimOptions { bug, ..SimOptions::default() });
    assert_eq!(read.expect("it passes"), Some(body(1, 1000)), "the test tests nothing");
}

/// Returns the blocks of the batch that began the last life, and of its copy.
fn beginnings(world: &World) -> Vec<u64> {
    let drive = &world.drives[0];
    let header = |at: u64| BatchHeaderOnDisk::parse(&drive.peek(at, BLOCK as usize)).ok();
    let blocks = drive.blocks_starting_with(&batch::MAGIC);
    let batches: Vec<_> = blocks.into_iter().filter_map(|at| Some((at, header(at)?))).collect();
    let newest = batches.iter().map(|(_, header)| header.epoch.get()).max();
    let own = |header: &BatchHeaderOnDisk| Some(header.epoch.get()) == newest;
    let twins = |one: &BatchHeaderOnDisk| batches.iter().filter(|(_, header)| header == one).count();
    batches.iter().filter(|(_, one)| own(one) && twins(one) == 2).map(|(at, _)| *at).collect()
}

#[test]
fn the_batch_that_begins_a_life_and_its_copy_stand_in_for_each_other() {
    for damaged in 0..2 {
        let world = World::new(3, 64 * MIB, 1, 1);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            put(&on.core(0), id, b"first life", 1, 500).await.expect("stored");
            id
        });
        world.crash(node);
        let node = world.open();
        let on = node.clone();
        world.run(async move { put(&on.core(0), id, b"second life", 2, 500).await.expect("stored") });
        world.crash(node);
        let twins = beginnings(&world);
        assert_eq!(twins.len(), 2, "{twins:?}");
        world.drives[0].damage(twins[damaged], |bytes| bytes[100] ^= 1);
        let node = world.open();
        world.run(async move {
            for (key, tag) in [(&b"first life"[..], 1), (b"second life", 2)] {
                let read = get(&node.core(0), id, key).await.expect("readable");
                assert!(read.is_some_and(|(_, bytes)| bytes == body(tag, 500)), "twin {damaged}: {key:?}");
            }
            // What is behind the damaged record is moved by the cleaner as from any other extent.
            let space = node.space().await;
            assert_eq!(space.objects, 2, "{space:?}");
        });
    }
}

/// The simulation found a slice's data written over the end of the log, from a batch in its middle
/// to the one that began the next life. What followed was in another extent, so the middle looked
/// like a torn tail, and a life was missing.
#[test]
fn a_large_write_over_the_end_of_a_log_is_not_taken_for_a_torn_tail() {
    let world = World::new(6, 64 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        for tag in 0..10 {
            put(&on.core(0), id, format!("{tag}").as_bytes(), tag, 5000).await.expect("stored");
        }
        id
    });
    world.crash(node);
    let node = world.open();
    let on = node.clone();
    world.run(async move { put(&on.core(0), id, b"second life", 20, 500).await.expect("stored") });
    world.crash(node);
    let (middle, twins) = (block_of(&world, &body(5, 5000)), beginnings(&world));
    assert!(middle < twins[0] && twins[0] < twins[1], "{middle} {twins:?}");
    world.drives[0].damage(middle, |bytes| bytes[..(twins[0] - middle + BLOCK) as usize].fill(7));
    let refused = world.try_open().err();
    let Some(OpenError::Recover { error, .. }) = refused else { panic!("it opens with batches missing") };
    assert!(error.to_string().contains("ringbolt check"), "{error}");
    world.sim.kill();
    // A repair loses what was overwritten. It finds the life behind, or what is left of it. A
    // repair once left the drive damaged when the first batch of that life was lost too.
    let first = block_of(&world, &body(20, 500));
    for lost in [false, true] {
        let drives = check::copied(&world);
        if lost {
            drives[0].damage(first, |bytes| bytes.fill(7));
        }
        let (outcome, seen) = check::checked(&drives, true);
        assert!(outcome.losses > 0, "{:?}", seen.findings);
        repair(&check::media(&drives), outcome, true).expect("repaired");
        check::assert_clean(&drives);
        let mended = check::reopened(&world, &drives);
        let node = mended.open();
        let on = node.clone();
        mended.run(async move {
            for (key, tag, length, there) in
                [("4", 4, 5000, true), ("5", 5, 5000, false), ("second life", 20, 500, !lost)]
            {
                let read = get(&on.core(0), id, key.as_bytes()).await.expect("readable");
                assert_eq!(read.map(|(_, bytes)| bytes), there.then(|| body(tag, length)), "{key}");
            }
        });
        mended.kill(node);
    }
}

/// The copy of a life's first batch was lost, which nobody noticed, and a life later the original
/// was damaged. The simulation took what followed, which is in other extents, for the end of the
/// log, and older versions were served.
#[test]
fn a_life_whose_beginning_is_lost_twice_is_missed() {
    for all_lost in [false, true] {
        a_life_is_missed(all_lost);
    }
}

/// Tests that a missing life is noticed. With `all_lost` every batch of the missing lives is lost
/// too, so that only the superblock tells of them.
fn a_life_is_missed(all_lost: bool) {
    let world = World::new(3, 64 * MIB, 1, 1);
    for life in 0..3u64 {
        let node = world.open();
        world.run(async move {
            let core = node.core(0);
            let id = if life == 0 { bucket(&core, "b").await } else { core.buckets()[0].id };
            put(&core, id, b"k", life, 500).await.expect("stored");
            put(&core, id, b"other", life, 500).await.expect("stored");
            drop(node);
        });
        world.sim.kill();
    }
    let drive = &world.drives[0];
    let lost = match all_lost {
        true => drive.blocks_starting_with(&batch::MAGIC),
        false => beginnings(&world),
    };
    for place in lost {
        drive.damage(place, |bytes| bytes[..BLOCK as usize].fill(7));
    }
    let refused = world.try_open().err();
    assert!(matches!(refused, Some(OpenError::Recover { .. })), "it opens with lives missing");
    world.sim.kill();
    // After a repair the loss is known.
    drive.stand_alone();
    let (outcome, seen) = check::checked(&world.drives, true);
    assert!(outcome.losses > 0 && outcome.beyond_repair == 0, "{:?}", seen.findings);
    repair(&check::media(&world.drives), outcome, true).expect("repaired");
    check::assert_clean(&world.drives);
    drive.live_in(&world.sim);
    let node = world.open();
    world.run(async move {
        bucket(&node.core(0), "new").await;
    });
}

/// The amount that an open reads does not grow with the drive.
#[test]
fn an_open_looks_at_the_log_and_not_at_the_whole_drive() {
    let reads = [64, 1024].map(|mib| {
        let world = World::new(4, mib * MIB, 2, 1);
        for life in 0..3u64 {
            let node = world.open();
            world.run(async move {
                let core = node.core(0);
                let id = if life == 0 { bucket(&core, "b").await } else { core.buckets()[0].id };
                for key in 0..20u64 {
                    put(&core, id, &key.to_be_bytes(), life, 500).await.expect("stored");
                }
                drop(node);
            });
            world.sim.kill();
        }
        let before = world.drives[0].counts().0;
        world.open();
        world.drives[0].counts().0 - before
    });
    assert!(reads[0].abs_diff(reads[1]) < 8, "reads of an open on a small and on a large drive: {reads:?}");
}

/// Each life that writes takes a new extent for its log. On a full drive only those that are held
/// back are left.
#[test]
fn a_thousand_kills_on_a_full_drive_still_open_and_accept_deletes() {
    let world = World::new(4, 64 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let (id, stored) = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        let mut stored = 0u64;
        while put(&on.core(0), id, format!("{stored:05}").as_bytes(), stored, 36_000).await.is_ok() {
            stored += 1;
        }
        (id, stored)
    });
    assert!(stored > 1010, "{stored} objects fill the drive");
    world.crash(node);
    for kill in 0..1000u64 {
        let node = world.open();
        let (on, key) = (node.clone(), format!("{kill:05}"));
        if kill % 3 == 0 {
            // The delete is cut off at any point, including during a checkpoint.
            world.sim.spawn(async move { drop(delete(&on.core(0), id, key.as_bytes()).await) });
            world.sim.run_steps(world.sim.random().below(400));
        } else {
            let deleted = world.run(async move { delete(&on.core(0), id, key.as_bytes()).await });
            deleted.unwrap_or_else(|error| panic!("life {kill}: {error}"));
            world.sim.run_steps(world.sim.random().below(100));
        }
        world.crash(node);
    }
    let node = world.open();
    world.run(async move {
        for number in 0..stored {
            let key = format!("{number:05}");
            let found = get(&node.core(0), id, key.as_bytes()).await.expect("readable");
            match found {
                Some((_, bytes)) => {
                    assert!(number >= 1000 || number % 3 == 0, "{number} was deleted");
                    assert!(bytes == body(number, 36_000), "{number}");
                }
                None => assert!(number < 1000, "{number} is gone"),
            }
        }
        delete(&node.core(0), id, format!("{:05}", stored - 1).as_bytes()).await.expect("deleted");
    });
}

/// A slice's header that was written for another place or another drive, or by an earlier use of
/// the place, is sound and is not accepted.
#[test]
fn a_slice_of_another_place_is_not_served() {
    let world = World::new(5, 96 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        put(&on.core(0), id, b"one", 1, 200_000).await.expect("stored");
        put(&on.core(0), id, b"two", 1, 200_000).await.expect("stored");
        id
    });
    let drive = world.drives[0].clone();
    let headers = drive.blocks_starting_with(&slice::MAGIC);
    assert_eq!(headers.len(), 2);
    // Bytes, length and number are the same: only the object and the place differ.
    let (first, second) = (drive.peek(headers[0], BLOCK as usize), drive.peek(headers[1], BLOCK as usize));
    for (changed, stale) in [(headers[0], &second), (headers[1], &first)] {
        let own = drive.peek(changed, BLOCK as usize);
        drive.poke(changed, stale);
        let on = node.clone();
        let read = world.run(async move {
            let one = get(&on.core(0), id, b"one").await;
            (one.is_err(), get(&on.core(0), id, b"two").await.is_err())
        });
        assert_ne!(read.0, read.1, "exactly the object whose header it is not is refused");
        drive.poke(changed, &own);
    }
    // An earlier format of the drive, or an earlier use of the set's number, wrote the same header,
    // with the same generation.
    type Change = fn(&mut slice::SliceHeaderOnDisk);
    let changes: [(&str, Change); 2] = [
        ("format", |header| header.format = (header.format.get() + 1).into()),
        ("birth", |header| header.birth = (header.birth.get() - 1).into()),
    ];
    for (what, change) in changes {
        let mut header = slice::SliceHeaderOnDisk::parse(&first).expect("sound");
        change(&mut header);
        header.seal();
        drive.poke(headers[0], zerocopy::IntoBytes::as_bytes(&header));
        let on = node.clone();
        let refused = world.run(async move {
            let one = get(&on.core(0), id, b"one").await;
            one.is_err() || get(&on.core(0), id, b"two").await.is_err()
        });
        assert!(refused, "the header of another {what} was believed");
    }
}
