//! Compaction returns extents that hold little: slices are moved together when a put finds no room,
//! whatever is read, changed or cut off meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::node::SpaceReport;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::sim::device::Faults;
use ringbolt_engine::types::BucketId;

use crate::world::{MIB, World, body, bucket, delete, etag, get, put};

const SLOTS: u64 = 4;
const SLICE: usize = 4 << 20;

/// A drive that was full of large objects and then holds only a few of them in many extents.
struct Sparse {
    world: World,
    node: Rc<SimNode>,
    id: BucketId,
    /// The stored objects: key, tag and length.
    objects: Rc<RefCell<BTreeMap<u64, (u64, usize)>>>,
}

fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

impl Sparse {
    /// Puts objects of `length` bytes until there is no room, then deletes all but one in `kept`.
    /// If `length` is 0, it puts none.
    fn new(seed: u64, shards: u16, cores: usize, length: usize, kept: u64) -> Self {
        let mut world = World::with_extents_of(SLOTS, seed, 400 * MIB, shards, cores);
        // A drive of this size would have this setting.
        world.options.checkpoint_after_bytes = 16 << 20;
        let node = world.open();
        let objects: Rc<RefCell<BTreeMap<u64, (u64, usize)>>> = Rc::default();
        let (on, there) = (node.clone(), objects.clone());
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            for number in 0..if length > 0 { u64::MAX } else { 0 } {
                match put(&on.any_core(), id, &key(number), number, length).await {
                    Ok(_) => drop(there.borrow_mut().insert(number, (number, length))),
                    Err(EngineError::NoSpace { .. }) => break,
                    Err(error) => panic!("object {number}: {error}"),
                }
            }
            let gone: Vec<u64> = there.borrow().keys().copied().filter(|number| number % kept > 0).collect();
            for number in gone {
                delete(&on.any_core(), id, &key(number)).await.expect("deleted");
                there.borrow_mut().remove(&number);
            }
            id
        });
        world.sim.run_until_idle();
        Self { world, node, id, objects }
    }

    /// Puts small objects until there is no room. Returns their bytes.
    fn fill_with_small(&self) -> u64 {
        let (on, id, there) = (self.node.clone(), self.id, self.objects.clone());
        let bytes = self.world.run(async move {
            let mut bytes = 0;
            for number in 1_000_000.. {
                let length = 60_000;
                match put(&on.any_core(), id, &key(number), number, length).await {
                    Ok(_) => drop(there.borrow_mut().insert(number, (number, length))),
                    Err(EngineError::NoSpace { .. }) => break,
                    Err(error) => panic!("object {number}: {error}"),
                }
                bytes += length as u64;
            }
            bytes
        });
        self.world.sim.run_until_idle();
        bytes
    }

    fn verify(&self) {
        let (on, id, objects) = (self.node.clone(), self.id, self.objects.borrow().clone());
        self.world.run(async move {
            for (number, (tag, length)) in objects {
                let found = get(&on.core(0), id, &key(number)).await.expect("readable").expect("there").1;
                assert!(found == body(tag, length), "object {number}");
            }
            on.space().await;
        });
    }

    fn space(&self) -> SpaceReport {
        let on = self.node.clone();
        self.world.run(async move { on.space().await })
    }

    fn relocated_bytes(&self) -> u64 {
        self.node.relocated_bytes()
    }

    fn reopen(&mut self) {
        self.node = self.world.reopen_on(self.node.clone(), self.world.options.cores);
    }
}

#[test]
fn small_objects_find_room_among_the_gaps_of_large_ones() {
    for (seed, shards, cores, length) in
        [(1, 1, 1, SLICE), (2, 2, 2, SLICE), (3, 2, 1, 3 << 20), (4, 2, 2, 9 << 20)]
    {
        let usable = Sparse::new(seed, shards, cores, 0, 1).fill_with_small();
        let mut sparse = Sparse::new(seed, shards, cores, length, 3);
        let large: u64 = sparse.objects.borrow().values().map(|(_, length)| *length as u64).sum();
        let small = sparse.fill_with_small();
        assert!(
            sparse.relocated_bytes() > 0,
            "nothing was moved for {small} bytes, {large} large, {shards} shards, {:?}",
            sparse.space()
        );
        // For each shard and kind, the part of an extent that is not filled to its end is lost, and
        // an extent is 4% of the drive.
        assert!(large + small > usable * 3 / 4, "{large} and {small} bytes where {usable} fit");
        sparse.verify();
        let before = sparse.space();
        sparse.reopen();
        sparse.verify();
        let after = sparse.space();
        assert_eq!((before.objects, before.runs), (after.objects, after.runs), "counted anew");
    }
}

#[test]
fn large_objects_take_the_place_of_others_for_ever() {
    // The sizes are random, so tails and full slices meet gaps that never fit.
    let mut world = World::with_extents_of(3, 5, 400 * MIB, 2, 2);
    world.options.checkpoint_after_bytes = 16 << 20;
    let node = world.open();
    let on = node.clone();
    let turned = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        let random = fastrand_of(5);
        let size = || 128_000 + random(11 << 20) as usize;
        let (mut objects, mut live, mut full) = (Vec::new(), 0u64, 0u64);
        let (mut number, mut written, mut refused) = (0u64, 0u64, 0);
        while written < 8 * 400 * MIB {
            let length = size();
            // The limit is 80% of what was stored when the first put was refused.
            while full > 0 && live + length as u64 > full * 80 / 100 {
                let (gone, length) = objects.swap_remove(random(objects.len() as u64) as usize);
                live -= length as u64;
                delete(&on.any_core(), id, &key(gone)).await.expect("deleted");
            }
            number += 1;
            match put(&on.any_core(), id, &key(number), number, length).await {
                Ok(_) => {
                    objects.push((number, length));
                    live += length as u64;
                    written += length as u64;
                }
                Err(EngineError::NoSpace { .. }) if full == 0 => full = live,
                Err(EngineError::NoSpace { .. }) => refused += 1,
                Err(error) => panic!("object {number}: {error}"),
            }
        }
        for (number, length) in objects {
            let found = get(&on.core(0), id, &key(number)).await.expect("readable").expect("there").1;
            assert!(found == body(number, length), "object {number}");
        }
        (number, refused)
    });
    assert_eq!(turned.1, 0, "of {} puts so many found no room", turned.0);
}

/// Returns a function that gives numbers below a bound, the same ones for a seed.
fn fastrand_of(seed: u64) -> impl Fn(u64) -> u64 {
    let state = Cell::new(seed);
    move |bound| {
        // This is SplitMix64 (Steele, Lea, Flood, 2014).
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mixed = (state.get() ^ state.get() >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

#[test]
fn a_cut_in_the_middle_loses_nothing() {
    for seed in 10..14 {
        let mut sparse = Sparse::new(seed, 2, 2, if seed % 2 == 0 { SLICE } else { 5 << 20 }, 3);
        for _ in 0..3 {
            let (on, id) = (sparse.node.clone(), sparse.id);
            let acknowledged = sparse.objects.clone();
            sparse.world.sim.spawn(async move {
                for number in 2_000_000.. {
                    if put(&on.any_core(), id, &key(number), number, 60_000).await.is_err() {
                        break;
                    }
                    acknowledged.borrow_mut().insert(number, (number, 60_000));
                }
            });
            let moved = sparse.relocated_bytes();
            let more = sparse.world.sim.random().below(20 << 20);
            // The loop ends when enough was moved, or nothing is left to be moved.
            for _ in 0..100_000 {
                if sparse.relocated_bytes() > moved + more || !sparse.world.sim.step() {
                    break;
                }
            }
            let node = sparse.node.clone();
            sparse.world.crash(node);
            sparse.node = sparse.world.open();
            sparse.verify();
        }
    }
}

#[test]
fn what_is_read_while_it_moves_stays() {
    let sparse = Sparse::new(30, 1, 1, 9 << 20, 3);
    let (on, id, objects) = (sparse.node.clone(), sparse.id, sparse.objects.borrow().clone());
    let read = sparse.world.run(async move {
        let mut readers = Vec::new();
        for number in objects.keys() {
            let mut reader = on.core(0).get(id, &key(*number)).await.expect("readable").expect("there");
            let first = reader.next().await.expect("verified").expect("bytes").as_ref().to_vec();
            readers.push((*number, reader, first));
        }
        let mut number = 3_000_000;
        while put(&on.core(0), id, &key(number), number, 60_000).await.is_ok() {
            number += 1;
        }
        let moved = on.core(0).counters().relocated_bytes;
        for (number, mut reader, mut bytes) in readers {
            while let Some(chunk) = reader.next().await.expect("verified") {
                bytes.extend_from_slice(chunk.as_ref());
            }
            let (tag, length) = objects[&number];
            assert!(bytes == body(tag, length), "object {number}, moved while it was read");
        }
        moved
    });
    assert!(read > 0, "something was moved");
}

#[test]
fn a_damaged_slice_stays_and_others_move() {
    let mut sparse = Sparse::new(40, 1, 1, SLICE, 3);
    let drive = &sparse.world.drives[0];
    let headers = drive.blocks_starting_with(b"RBSLICE3");
    // Slices of deleted objects have headers too, so many headers are damaged.
    for header in headers.iter().step_by(5) {
        drive.damage(header + 5000, |bytes| bytes[0] ^= 1);
    }
    sparse.fill_with_small();
    assert!(sparse.relocated_bytes() > 0);
    for round in 0..2 {
        let (on, id, objects) = (sparse.node.clone(), sparse.id, sparse.objects.borrow().clone());
        let damaged = sparse.world.run(async move {
            let mut damaged = 0;
            for (number, (tag, length)) in objects {
                match get(&on.core(0), id, &key(number)).await {
                    Ok(found) => assert!(found.expect("there").1 == body(tag, length), "object {number}"),
                    Err(EngineError::Damaged { .. }) if length == SLICE => damaged += 1,
                    Err(error) => panic!("object {number}: {error}"),
                }
            }
            damaged
        });
        assert!(damaged > 0, "damage is there in round {round}");
        sparse.reopen();
    }
}

#[test]
fn a_failed_write_while_moving_ends_the_writing() {
    let sparse = Sparse::new(50, 1, 1, SLICE, 3);
    let (on, id) = (sparse.node.clone(), sparse.id);
    let drive = sparse.world.drives[0].clone();
    let stopped = sparse.world.run(async move {
        for number in 4_000_000.. {
            if on.core(0).counters().relocated_bytes > 0 {
                drive.set_faults(Faults { fail_writes: true, ..Faults::default() });
            }
            match put(&on.core(0), id, &key(number), number, 60_000).await {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
        unreachable!("a drive fills up")
    });
    assert!(matches!(stopped, EngineError::WritesStopped { .. }), "{stopped}");
    let mut sparse = sparse;
    sparse.world.drives[0].set_faults(Faults::default());
    sparse.reopen();
    sparse.verify();
}

#[test]
fn parts_of_uploads_stay_and_completed_ones_move() {
    let mut world = World::with_extents_of(SLOTS, 60, 400 * MIB, 1, 1);
    world.options.checkpoint_after_bytes = 16 << 20;
    let node = world.open();
    let on = node.clone();
    let moved = world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        let open = core.create_upload(id, b"open", Vec::new()).await.expect("begun");
        let done = core.create_upload(id, b"done", Vec::new()).await.expect("begun");
        let mut parts = Vec::new();
        for number in 1..60u16 {
            for (upload, name) in [(open, b"open"), (done, b"done")] {
                let mut writer = core.put_part(id, name, upload, number, 4 << 20).await.expect("begun");
                writer.write(&body(u64::from(number), 4 << 20)).await.expect("written");
                writer.commit_part(etag(u64::from(number)), Vec::new()).await.expect("stored");
            }
            // This fills one in four slots of every extent that follows.
            put(&core, id, &[1, number as u8], 1, 4 << 20).await.ok();
            put(&core, id, &[2, number as u8], 1, 4 << 20).await.ok();
            parts.push((number, etag(u64::from(number))));
            if core.counters().relocated_bytes > 0 || on.space().await.free_bytes < 60 << 20 {
                break;
            }
        }
        let meta = ringbolt_engine::types::ObjectMeta { etag: etag(9), attributes: Vec::new() };
        core.complete_upload(id, b"done", done, parts.clone(), meta, Default::default())
            .await
            .expect("completed");
        for number in 1..60u8 {
            for kind in [1, 2] {
                delete(&core, id, &[kind, number]).await.ok();
            }
        }
        let mut number = 5_000_000;
        while put(&core, id, &key(number), number, 60_000).await.is_ok() {
            number += 1;
        }
        let whole: Vec<u8> = parts.iter().flat_map(|(number, _)| body(u64::from(*number), 4 << 20)).collect();
        let (info, bytes) = get(&core, id, b"done").await.expect("readable").expect("there");
        assert!(bytes == whole && info.parts.len() == parts.len(), "the completed object, moved");
        let again = core.complete_upload(
            id,
            b"open",
            open,
            parts,
            ringbolt_engine::types::ObjectMeta { etag: etag(10), attributes: Vec::new() },
            Default::default(),
        );
        again.await.expect("the other upload can still be completed");
        let (_, bytes) = get(&core, id, b"open").await.expect("readable").expect("there");
        assert!(bytes == whole, "its parts were left alone");
        core.counters().relocated_bytes
    });
    assert!(moved > 0, "something was moved");
}
