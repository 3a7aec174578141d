//! The clock by which retentions are judged: no step of the machine's clock of more than a day ends
//! one before an operator confirms it, whatever was written, lost or interrupted before.

use ringbolt_engine::EngineError;
use ringbolt_engine::check::Kind;
use ringbolt_engine::format::BLOCK_BYTES;
use ringbolt_engine::format::batch::{BatchHeaderOnDisk, HEADER_BYTES};
use ringbolt_engine::format::record::{ENVELOPE_BYTES, Mutation, RECORD_ALIGNMENT, RecordView};
use ringbolt_engine::sim::device::SimDevice;
use ringbolt_engine::types::rules::DAY_MS;
use ringbolt_engine::types::{BucketId, ConfigKind, Lock, Versioning};

use crate::check::{checked, copied, media, reopened};
use crate::object_lock::{
    Compliance, START_MS, is_removed, lock_of, locked_bucket, put_locked, relock, remove, retained,
};
use crate::world::{MIB, World, body, bucket, put};

const DAY: i64 = DAY_MS as i64;
const HOUR: i64 = DAY / 24;

/// A world with one version that is retained for ten days, in each of some keys.
struct Retained {
    world: World,
    id: BucketId,
    versions: Vec<(Vec<u8>, u64)>,
}

impl Retained {
    /// Returns the world with its node killed.
    fn new(seed: u64, shards: u16, keys: u8) -> Self {
        let world = World::new(seed, 160 * MIB, shards, 2);
        let node = world.open();
        let on = node.clone();
        let (id, versions) = world.run(async move {
            let core = on.core(0);
            let id = locked_bucket(&core, "b").await;
            let mut versions = Vec::new();
            for number in 0..keys {
                let (key, lock) = (vec![b'k', number], retained(Compliance, START_MS + 10 * DAY_MS));
                let put = put_locked(&core, id, &key, (u64::from(number), 100), lock).await;
                versions.push((key, put.expect("put")));
            }
            (id, versions)
        });
        world.kill(node);
        Self { world, id, versions }
    }

    /// Opens the node, asserts that all versions or none can be removed then, and closes it in the
    /// way that is asked for. With `confirm` an operator confirms the clock first.
    fn check(&self, confirm: bool, removable: bool, end: End) {
        let node = self.world.open();
        let (on, id, versions) = (node.clone(), self.id, self.versions.clone());
        self.world.run(async move {
            if confirm {
                on.core(1).confirm_clock().await.expect("confirmed");
            }
            for (key, generation) in versions {
                let removed = remove(&on.any_core(), id, &key, generation, true).await;
                let expected =
                    if removable { is_removed(&removed) } else { removed == Err(EngineError::Locked) };
                assert!(expected, "{key:?}: {removed:?}");
            }
        });
        match end {
            End::Kill => self.world.kill(node),
            End::Crash => self.world.crash(node),
            End::Stop => self.world.close(node),
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Kill,
    Crash,
    Stop,
}

const ENDS: [End; 3] = [End::Kill, End::Crash, End::Stop];

#[test]
fn a_step_of_more_than_a_day_ends_nothing_until_it_is_confirmed() {
    for (seed, end) in (2100..).zip(ENDS) {
        let world = Retained::new(seed, 2, 8);
        world.check(false, false, end);
        world.world.sim.jump_wall_clock(400 * DAY);
        // Not while the node is open, and not across restarts.
        world.check(false, false, end);
        world.check(false, false, End::Kill);
        world.world.sim.jump_wall_clock(-30 * DAY);
        world.check(false, false, end);
        world.check(true, true, end);
    }
}

#[test]
fn a_confirmed_clock_stays_confirmed() {
    let world = Retained::new(2110, 3, 12);
    world.world.sim.jump_wall_clock(5 * DAY);
    world.check(true, false, End::Kill);
    // It went on from there: another day is believed, and ten more are not.
    world.world.sim.jump_wall_clock(DAY - HOUR);
    world.check(false, false, End::Crash);
    world.world.sim.jump_wall_clock(10 * DAY);
    world.check(false, false, End::Stop);
    world.check(true, true, End::Kill);
}

#[test]
fn small_steps_are_believed_and_a_clock_that_is_set_back_ends_nothing() {
    let world = Retained::new(2120, 1, 4);
    for _ in 0..10 {
        world.world.sim.jump_wall_clock(DAY - HOUR);
        world.check(false, false, End::Stop);
    }
    world.world.sim.jump_wall_clock(-400 * DAY);
    world.check(false, false, End::Stop);
    world.world.sim.jump_wall_clock(400 * DAY + 10 * HOUR);
    world.check(false, true, End::Stop);
}

/// While a node is open, its monotonic clock shows that no days pass. So steps of a little less than
/// a day, again and again, ended every retention.
#[test]
fn many_small_steps_in_one_life_are_a_long_one() {
    let world = Retained::new(2130, 2, 6);
    let node = world.world.open();
    let (on, id, versions, sim) = (node.clone(), world.id, world.versions.clone(), world.world.sim.clone());
    world.world.run(async move {
        for _ in 0..12 {
            sim.jump_wall_clock(DAY - HOUR);
            for (key, generation) in &versions {
                let removed = remove(&on.any_core(), id, key, *generation, true).await;
                assert_eq!(removed, Err(EngineError::Locked));
            }
        }
        let reading = on.core(0).lock_time().await.expect("asked").expect("kept");
        assert!(reading.ahead_ms > 9 * DAY_MS, "{reading:?}");
    });
    world.world.kill(node);
}

/// Time that passes while the node is open is believed, whatever the clock was before.
#[test]
fn time_that_passes_ends_retentions() {
    let world = Retained::new(2140, 2, 6);
    let node = world.world.open();
    let (on, id, versions, sim) = (node.clone(), world.id, world.versions.clone(), world.world.sim.clone());
    world.world.run(async move {
        for core in 0..2 {
            let core = on.core(core);
            sim.spawn(async move { core.keep_time().await });
        }
        sim.sleep_us(9 * DAY_MS * 1000).await;
        let (key, generation) = &versions[0];
        assert_eq!(remove(&on.core(0), id, key, *generation, true).await, Err(EngineError::Locked));
        // The clock is an hour behind, and is set right; then it is far ahead.
        sim.jump_wall_clock(-HOUR);
        sim.sleep_us(DAY_MS * 1000).await;
        assert_eq!(remove(&on.core(0), id, key, *generation, true).await, Err(EngineError::Locked));
        sim.jump_wall_clock(HOUR);
        sim.sleep_us(60_000_000).await;
        assert!(is_removed(&remove(&on.core(0), id, key, *generation, false).await));
        sim.jump_wall_clock(50 * DAY);
        let reading = on.core(1).lock_time().await.expect("asked").expect("kept");
        assert!(reading.now_ms < START_MS + 11 * DAY_MS && reading.ahead_ms > 49 * DAY_MS, "{reading:?}");
    });
    world.world.kill(node);
    // The time was noted while it passed, so that the next start knows it.
    world.world.sim.jump_wall_clock(-50 * DAY);
    let node = world.world.open();
    let on = node.clone();
    let reading = world.world.run(async move { on.core(0).lock_time().await });
    let reading = reading.expect("asked").expect("kept");
    assert!(reading.now_ms >= START_MS + 10 * DAY_MS && reading.ahead_ms == 0, "{reading:?}");
    world.world.kill(node);
}

/// The time is a chunk of the checkpoint, and the log that noted it is gone.
#[test]
fn a_checkpoint_keeps_the_time() {
    let world = Retained::new(2150, 1, 3);
    let node = world.world.open();
    let on = node.clone();
    world.world.run(async move {
        let core = on.core(0);
        let other = bucket(&core, "other").await;
        for round in 0..3u64 {
            for number in 0..100u64 {
                put(&core, other, &number.to_le_bytes(), round, 60_000).await.expect("put");
            }
            on.checkpoint().await.expect("a checkpoint");
        }
    });
    world.world.crash(node);
    world.world.sim.jump_wall_clock(400 * DAY);
    world.check(false, false, End::Crash);
    world.check(true, true, End::Kill);
}

/// The first lock of a shard came after the clock was set a year ahead by mistake. The shard took
/// that for the time, and when the clock was set right, new retentions there had ended before they
/// began. Now every shard keeps time from the first bucket with object lock on.
#[test]
fn a_clock_that_is_wrong_at_the_first_lock_of_a_shard_is_not_believed() {
    for by_config in [false, true] {
        let world = World::new(2160, 160 * MIB, 4, 2);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move {
            let core = on.core(1);
            if !by_config {
                return locked_bucket(&core, "b").await;
            }
            let id = bucket(&core, "b").await;
            core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
            let lock = Some(ringbolt_engine::types::BucketLock::default().encode());
            core.set_bucket_config(id, ConfigKind::LOCK, lock).await.expect("locked");
            id
        });
        world.crash(node);
        world.sim.jump_wall_clock(365 * DAY);
        let node = world.open();
        let (on, sim) = (node.clone(), world.sim.clone());
        world.run(async move {
            for number in 0..16u8 {
                let key = [b'k', number];
                let lock = retained(Compliance, START_MS + 2 * DAY_MS);
                let generation = put_locked(&on.any_core(), id, &key, (1, 100), lock).await.expect("put");
                let removed = remove(&on.any_core(), id, &key, generation, true).await;
                assert_eq!(removed, Err(EngineError::Locked), "{number}");
            }
            sim.jump_wall_clock(-365 * DAY);
            let reading = on.core(0).lock_time().await.expect("asked").expect("kept");
            assert_eq!((reading.now_ms / DAY_MS, reading.ahead_ms), (START_MS / DAY_MS, 0));
        });
        world.kill(node);
    }
}

/// An operator set the clock back and confirmed it. A lock that was set meanwhile noted the time from
/// before once more, behind the record of the earlier one, and the next start went on from there.
#[test]
fn an_earlier_time_that_is_confirmed_stays() {
    let world = Retained::new(2190, 1, 1);
    world.world.sim.jump_wall_clock(20 * HOUR);
    world.check(false, false, End::Stop);
    world.world.sim.jump_wall_clock(-20 * HOUR);
    let node = world.world.open();
    let (on, id) = (node.clone(), world.id);
    world.world.run(async move {
        let core = on.core(0);
        let lock = retained(Compliance, START_MS + DAY_MS);
        let put = put_locked(&core, id, b"meanwhile", (1, 100), lock);
        let (confirmed, put) = futures_util::future::join(core.confirm_clock(), put).await;
        confirmed.expect("confirmed");
        put.expect("put");
    });
    world.world.kill(node);
    let node = world.world.open();
    let on = node.clone();
    let reading = world.world.run(async move { on.core(0).lock_time().await });
    let reading = reading.expect("asked").expect("kept");
    assert!(reading.now_ms < START_MS + DAY_MS / 24, "{reading:?}");
    world.world.kill(node);
}

/// The record of a retention and that of its time are refused together or not at all, where a full
/// drive refuses some of both.
#[test]
fn no_retention_on_a_full_drive_is_without_its_time() {
    let world = World::new(2170, 48 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let (id, locked) = world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        let mut versions = Vec::new();
        for tag in 0.. {
            match put(&core, id, &u64::to_be_bytes(tag), tag, 30_000).await {
                Ok(info) => versions.push((u64::to_be_bytes(tag), info.generation)),
                Err(EngineError::NoSpace { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let lock = |(key, generation): ([u8; 8], u64)| {
            let core = core.clone();
            async move {
                let lock = retained(Compliance, START_MS + 10 * DAY_MS);
                let done = relock(&core, id, &key, generation, (lock, false)).await;
                assert!(matches!(done, Ok(()) | Err(EngineError::NoSpace { .. })), "{done:?}");
                done.is_ok().then_some((key, generation))
            }
        };
        let locked = futures_util::future::join_all(versions.into_iter().rev().map(lock)).await;
        (id, locked.into_iter().flatten().collect::<Vec<_>>())
    });
    world.kill(node);
    world.sim.jump_wall_clock(400 * DAY);
    let node = world.open();
    world.run(async move {
        for (key, generation) in locked {
            let removed = remove(&node.core(0), id, &key, generation, true).await;
            assert_eq!(removed, Err(EngineError::Locked), "{key:?}");
        }
    });
}

/// Returns where the log has the payloads of records of the time, with the times.
fn times_noted(drive: &SimDevice) -> Vec<(u64, u64)> {
    let size = ringbolt_engine::device::Device::size_bytes(drive);
    let bytes = drive.peek(0, size as usize);
    let mut found = Vec::new();
    for (block, batch) in
        (0..).step_by(BLOCK_BYTES).zip((0..bytes.len()).step_by(BLOCK_BYTES).map(|at| &bytes[at..]))
    {
        let Ok(header) = BatchHeaderOnDisk::parse(batch) else { continue };
        let mut at = HEADER_BYTES;
        for _ in 0..header.records.get() {
            let Ok(view) = RecordView::parse(&batch[at..], header.record_mark(at)) else { break };
            if let Ok(Mutation::Clock(clock)) = view.mutation() {
                found.push((block + (at + ENVELOPE_BYTES) as u64, clock.now_ms));
            }
            at += view.length().next_multiple_of(RECORD_ALIGNMENT);
        }
    }
    found
}

/// A repair went on without the record of the time. The shard then believed whatever clock it met.
#[test]
fn a_shard_that_lost_the_time_ends_nothing_before_it_is_confirmed() {
    let world = Retained::new(2180, 1, 3);
    let node = world.world.open();
    world.world.run(async move {
        let id = bucket(&node.core(0), "other").await;
        put(&node.core(0), id, b"later", 1, 100).await.expect("put");
    });
    world.world.sim.kill();
    let drives = copied(&world.world);
    let noted = times_noted(&drives[0]);
    assert!(!noted.is_empty(), "the time was noted");
    noted.iter().for_each(|(at, _)| drives[0].damage(*at, |bytes| bytes[0] ^= 0x10));
    let (outcome, seen) = checked(&drives, true);
    assert!(
        seen.findings.iter().any(|finding| matches!(finding.kind, Kind::Log | Kind::LostRecord)),
        "{:?}",
        seen.findings
    );
    ringbolt_engine::check::repair(&media(&drives), outcome, true).expect("repaired");
    let mended = Retained { world: reopened(&world.world, &drives), id: world.id, versions: world.versions };
    mended.world.drives.iter().for_each(|drive| drive.live_in(&mended.world.sim));
    let node = mended.world.open();
    let (on, id, versions) = (node.clone(), mended.id, mended.versions.clone());
    mended.world.run(async move {
        let reading = on.core(0).lock_time().await.expect("asked").expect("kept");
        assert!(reading.now_ms < DAY_MS && reading.ahead_ms > 0, "{reading:?}");
        for (key, generation) in versions {
            assert!(
                lock_of(&on.core(0), id, &key, generation).await.is_some_and(|lock| lock != Lock::default())
            );
        }
    });
    mended.world.kill(node);
    mended.world.sim.jump_wall_clock(11 * DAY);
    mended.check(false, false, End::Stop);
    mended.check(false, false, End::Crash);
    mended.check(true, true, End::Stop);
}

/// A repair went on without the record of the time in a shard where nothing was locked so far. The
/// first lock there then took a clock that had stepped for the time, and when the clock was right
/// again, retentions were over before they began. (Found by `--faults media --seed 132000171 --rounds
/// 138 --steps 250 --clients 3`.)
#[test]
fn a_shard_that_lost_the_time_before_its_first_lock_takes_no_clock_for_it() {
    let world = World::new(2210, 160 * MIB, 1, 1);
    let node = world.open();
    let id = world.run(async move {
        let id = locked_bucket(&node.core(0), "b").await;
        put(&node.core(0), id, b"later", 1, 100).await.expect("put");
        id
    });
    world.sim.kill();
    let drives = copied(&world);
    let noted = times_noted(&drives[0]);
    assert!(!noted.is_empty(), "the time was noted");
    noted.iter().for_each(|(at, _)| drives[0].damage(*at, |bytes| bytes[0] ^= 0x10));
    let (outcome, _) = checked(&drives, true);
    ringbolt_engine::check::repair(&media(&drives), outcome, true).expect("repaired");
    let mended = reopened(&world, &drives);
    mended.drives.iter().for_each(|drive| drive.live_in(&mended.sim));
    mended.sim.jump_wall_clock(100 * DAY);
    let (node, sim) = (mended.open(), mended.sim.clone());
    mended.run(async move {
        let core = node.core(0);
        let reading = core.lock_time().await.expect("asked").expect("kept");
        assert!(reading.now_ms < DAY_MS && reading.ahead_ms > 0, "{reading:?}");
        let first = retained(Compliance, START_MS + 130 * DAY_MS);
        put_locked(&core, id, b"first", (2, 100), first).await.expect("put");
        sim.jump_wall_clock(-100 * DAY);
        let second = retained(Compliance, START_MS + 10 * DAY_MS);
        let generation = put_locked(&core, id, b"second", (3, 100), second).await.expect("put");
        assert_eq!(remove(&core, id, b"second", generation, true).await, Err(EngineError::Locked));
        core.confirm_clock().await.expect("confirmed");
        let reading = core.lock_time().await.expect("asked").expect("kept");
        assert!(reading.ahead_ms == 0 && reading.now_ms < START_MS + DAY_MS, "{reading:?}");
        assert_eq!(remove(&core, id, b"second", generation, true).await, Err(EngineError::Locked));
    });
}

/// A repair opens the node by a clock that only exists there. It was ahead by less than a day once,
/// and what had noted it judged retentions by it.
#[test]
fn a_repair_notes_no_time_of_its_own() {
    let world = World::new(2200, 160 * MIB, 1, 1);
    world.sim.jump_wall_clock(-20 * HOUR);
    let (node, tag) = (world.open(), 77);
    world.run(async move {
        let core = node.core(0);
        let id = locked_bucket(&core, "b").await;
        put(&core, id, b"damaged", tag, 5000).await.expect("put");
        put(&core, id, b"later", 1, 100).await.expect("put");
    });
    world.sim.kill();
    let drives = copied(&world);
    let size = ringbolt_engine::device::Device::size_bytes(&drives[0]) as usize;
    let (bytes, wanted) = (drives[0].peek(0, size), &body(tag, 5000)[..64]);
    let at = bytes.windows(64).position(|window| window == wanted).expect("it is there");
    drives[0].damage(at as u64, |bytes| bytes[0] ^= 0x10);
    let (outcome, seen) = checked(&drives, true);
    assert!(!seen.findings.is_empty(), "it is damaged");
    assert!(ringbolt_engine::check::repair(&media(&drives), outcome, true).expect("repaired").went_on);
    let mended = reopened(&world, &drives);
    mended.drives.iter().for_each(|drive| drive.live_in(&mended.sim));
    let node = mended.open();
    let reading = mended.run(async move { node.core(0).lock_time().await });
    let reading = reading.expect("asked").expect("kept");
    assert!(reading.now_ms < START_MS - 19 * HOUR as u64 && reading.ahead_ms == 0, "{reading:?}");
}

/// A node that is stopped well notes the time, however short ago it did so before.
#[test]
fn a_node_that_was_off_for_less_than_a_day_believes_its_clock() {
    let world = World::new(2093, 96 * MIB, 1, 1);
    let (node, sim) = (world.open(), world.sim.clone());
    let on = node.clone();
    world.run(async move {
        let id = locked_bucket(&on.core(0), "b").await;
        put_locked(&on.core(0), id, b"k", (1, 10), retained(Compliance, START_MS + 30 * DAY_MS))
            .await
            .expect("put");
        sim.sleep_us(59 * 60 * 1_000_000).await;
    });
    world.close(node);
    world.sim.jump_wall_clock(DAY - 60_000);
    let node = world.open();
    world.run(async move {
        let reading = node.core(0).lock_time().await.expect("answered").expect("time is kept");
        assert_eq!(reading.ahead_ms, 0);
    });
}
