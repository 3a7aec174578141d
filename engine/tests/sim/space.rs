//! Reuse of space: a drive that is nearly full can be overwritten for ever at a bounded cost, a
//! full one accepts what makes objects smaller, and the figures after a restart are those from
//! before.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::node::Counters;
use ringbolt_engine::sim::SimNode;
#[cfg(feature = "planted-bugs")]
use ringbolt_engine::sim::{Rare, take_reached};
use ringbolt_engine::types::BucketId;

use crate::world::{MIB, World, body, bucket, delete, get, put};

const CLIENTS: u64 = 8;

/// Objects of 4 to 64 KiB, each with its number as the key.
struct Small {
    world: World,
    node: Rc<SimNode>,
    id: BucketId,
    /// Size and tag of each object; `None` while it is being written.
    objects: RefCell<Vec<Option<(u64, usize)>>>,
    bytes: Cell<u64>,
    written: Cell<u64>,
    tags: Cell<u64>,
    full: Cell<bool>,
}

impl Small {
    fn new(seed: u64, size_bytes: u64, shards: u16) -> Rc<Self> {
        let mut world = World::new(seed, size_bytes, shards, 1);
        // A drive of this size would have this setting. The other tests use a value that makes
        // checkpoints frequent.
        world.options.checkpoint_after_bytes = 16 << 20;
        world.options.dead_log_bytes_max = size_bytes / 4;
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move { bucket(&on.core(0), "b").await });
        Rc::new(Self {
            world,
            node,
            id,
            objects: RefCell::default(),
            bytes: Cell::new(0),
            written: Cell::new(0),
            tags: Cell::new(0),
            full: Cell::new(false),
        })
    }

    async fn put(&self, number: usize) -> bool {
        let length = 4096 + self.world.sim.random().below(60 << 10) as usize;
        let tag = self.tags.replace(self.tags.get() + 1);
        let before = self.objects.borrow_mut()[number].take();
        match put(&self.node.core(0), self.id, &(number as u64).to_be_bytes(), tag, length).await {
            Ok(_) => {}
            Err(EngineError::NoSpace { .. }) => {
                self.full.set(true);
                return false;
            }
            Err(error) => panic!("object {number}: {error}"),
        }
        self.objects.borrow_mut()[number] = Some((tag, length));
        self.bytes.set(self.bytes.get() + length as u64 - before.map_or(0, |(_, length)| length as u64));
        self.written.set(self.written.get() + length as u64);
        true
    }

    /// Puts new objects until there are `bytes`, or the drive is full.
    fn fill(self: &Rc<Self>, bytes: u64) {
        self.clients(move |this| {
            if this.full.get() || this.bytes.get() >= bytes {
                return None;
            }
            let mut objects = this.objects.borrow_mut();
            objects.push(None);
            Some(objects.len() - 1)
        });
    }

    /// Overwrites objects until `bytes` were written in all.
    fn overwrite(self: &Rc<Self>, bytes: u64) {
        self.clients(move |this| {
            if this.written.get() >= bytes {
                return None;
            }
            let objects = this.objects.borrow();
            // The object must not be in use by another writer, because it would then not be known
            // which of two tags it has.
            let any = || this.world.sim.random().below(objects.len() as u64) as usize;
            std::iter::repeat_with(any).find(|number| objects[*number].is_some())
        });
        assert!(!self.full.get(), "no room after {} bytes on a drive that is not full", self.written.get());
    }

    fn clients(self: &Rc<Self>, next: impl Fn(&Self) -> Option<usize> + Clone + 'static) {
        let clients = (0..CLIENTS).map(|_| {
            let (this, next) = (self.clone(), next.clone());
            async move {
                while let Some(number) = next(&this)
                    && this.put(number).await
                {}
            }
        });
        let all: Vec<_> = clients.collect();
        self.world.run(async move { futures_util::future::join_all(all).await });
        self.world.sim.run_until_idle();
    }

    fn verify(self: &Rc<Self>) {
        let this = self.clone();
        self.world.run(async move {
            this.node.space().await;
            let objects = this.objects.borrow().clone();
            for (number, object) in objects.iter().enumerate() {
                let Some((tag, length)) = object else { continue };
                let key = (number as u64).to_be_bytes();
                let found = get(&this.node.core(0), this.id, &key).await.expect("read").expect("there").1;
                assert!(found == body(*tag, *length), "object {number}");
            }
        });
    }

    fn counters(&self) -> Counters {
        self.node.core(0).counters()
    }
}

/// Fills a drive with `percent` of what it can hold, and overwrites it until ten times its size was
/// written.
fn steady(seed: u64, size_bytes: u64, shards: u16, percent: u64, amplification_max: f64) {
    let fresh = Small::new(seed, size_bytes, shards);
    fresh.fill(u64::MAX);
    assert!(fresh.full.get() && fresh.bytes.get() > size_bytes / 3, "{} bytes fit", fresh.bytes.get());
    let usable = fresh.bytes.get();
    drop(fresh);
    let small = Small::new(seed + 1, size_bytes, shards);
    small.fill(usable * percent / 100);
    assert!(!small.full.get());
    let before = small.counters();
    for round in 1..=5 {
        small.overwrite(small.bytes.get() + size_bytes * 2 * round);
        small.verify();
    }
    let done = small.counters().since(&before);
    assert!(done.user_bytes >= 9 * size_bytes, "{done:?}");
    assert!(done.moved_bytes > done.user_bytes / 4, "the cleaner had work: {done:?}");
    let amplification = done.write_amplification();
    assert!(amplification <= amplification_max, "write amplification {amplification:.3}: {done:?}");
}

#[test]
fn a_drive_that_is_nearly_full_is_overwritten_for_ever_at_a_bounded_price() {
    // On a drive of 31 extents, each extent that is not full yet, or waits for a checkpoint, is 3%
    // of the drive. The benchmark `aging` measures a drive of usual size.
    steady(1, 128 * MIB, 1, 85, 5.0);
}

#[test]
fn shards_that_share_a_nearly_full_drive_do_not_starve_each_other() {
    steady(3, 128 * MIB, 3, 50, 5.0);
}

/// Fills a drive with objects of `length`, then makes each of them `smaller`, with a restart in
/// between.
fn shrink(seed: u64, size_bytes: u64, length: usize, smaller: usize) {
    let mut world = World::new(seed, size_bytes, 1, 2);
    let mut node = world.open();
    let on = node.clone();
    let (id, count) = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        for tag in 0u64.. {
            match put(&on.any_core(), id, &tag.to_be_bytes(), tag, length).await {
                Ok(_) => {}
                Err(EngineError::NoSpace { .. }) => return (id, tag),
                Err(error) => panic!("object {tag}: {error}"),
            }
        }
        unreachable!("a drive fills up")
    });
    for half in 0..2 {
        node = world.reopen_on(node, 1);
        let on = node.clone();
        world.run(async move {
            let core = on.core(0);
            let as_large = put(&core, id, b"another", 0, length).await;
            assert!(half == 1 || matches!(as_large, Err(EngineError::NoSpace { .. })), "{as_large:?}");
            for tag in (half..count).step_by(2) {
                let stored = put(&core, id, &tag.to_be_bytes(), tag + 1, smaller).await;
                stored.unwrap_or_else(|error| panic!("object {tag} of {count}, smaller: {error}"));
            }
            for tag in 0..count {
                let expected = if tag % 2 <= half { (tag + 1, smaller) } else { (tag, length) };
                let found = get(&core, id, &tag.to_be_bytes()).await.expect("read").expect("there").1;
                assert!(found == body(expected.0, expected.1), "object {tag} after half {half}");
            }
        });
        world.sim.run_until_idle();
    }
    let on = node.clone();
    world.run(async move {
        on.space().await;
        put(&on.core(0), id, b"more", 0, length).await.expect("there is room now");
    });
}

#[test]
fn on_a_full_drive_objects_can_become_smaller() {
    shrink(5, 64 * MIB, 60_000, 5_000);
    shrink(6, 96 * MIB, 3_000_000, 1_000_000);
    shrink(7, 96 * MIB, 3_000_000, 30_000);
}

#[test]
fn an_emptied_drive_is_empty_and_fragmentation_is_counted_alike_after_a_restart() {
    let mut world = World::new(8, 160 * MIB, 2, 2);
    // No checkpoint may be in progress, because the extents that it has taken are not counted yet.
    world.options.checkpoint_after_bytes = u64::MAX;
    let node = world.open();
    let on = node.clone();
    let (id, before) = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        for (tag, length) in [(1, 9 << 20), (2, 30_000), (3, 13 << 20), (4, 5 << 20)] {
            put(&on.any_core(), id, &[tag as u8], tag, length).await.expect("stored");
        }
        put(&on.any_core(), id, &[4], 5, 4 << 20).await.expect("overwritten");
        let upload = on.core(0).create_upload(id, b"parts", Vec::new()).await.expect("begun");
        let mut writer = on.core(0).put_part(id, b"parts", upload, 1, 8 << 20).await.expect("begun");
        writer.write(&body(9, 8 << 20)).await.expect("written");
        writer.commit_part(crate::world::etag(9), Vec::new()).await.expect("stored");
        // The upload is abandoned half way.
        let mut writer = on.core(0).put(id, b"half", 9 << 20).await.expect("begun");
        writer.write(&body(1, 5 << 20)).await.expect("written");
        drop(writer);
        (id, on.space().await.runs)
    });
    assert_eq!(before.slices, 2 + 3 + 1 + 2, "full slices of objects and parts: {before:?}");
    let node = world.reopen_on(node, 1);
    let on = node.clone();
    world.run(async move {
        assert_eq!(on.space().await.runs, before);
        let query = ringbolt_engine::types::UploadQuery { max_items: 10, ..Default::default() };
        for item in on.core(0).list_uploads(id, &query).await.expect("a page").items {
            if let ringbolt_engine::types::UploadItem::Upload(upload) = item {
                on.core(0).abort_upload(id, &upload.key, upload.id).await.expect("aborted");
            }
        }
        for tag in 1..=4 {
            delete(&on.core(0), id, &[tag]).await.expect("deleted");
        }
        on.checkpoint().await.expect("a checkpoint");
        on.checkpoint().await.expect("a checkpoint");
        let space = on.space().await;
        assert_eq!((space.live_bytes, space.objects, space.runs), (0, 0, Default::default()), "{space:?}");
        let left = on.leftovers();
        assert_eq!((left.data_extents, left.used_units, left.reserved_units), (0, 0, 0), "{left:?}");
        assert_eq!((left.freed_units, left.pinned_objects, left.writers), (0, 0, 0), "{left:?}");
    });
}

#[test]
fn the_cleaner_goes_on_past_an_extent_that_is_damaged() {
    let small = Small::new(9, 96 * MIB, 1);
    small.fill(30 * MIB);
    let drive = &small.world.drives[0];
    let batches = drive.blocks_starting_with(b"RBBATCH3");
    drive.damage(batches[batches.len() / 2] + 100, |bytes| bytes[0] ^= 1);
    // This is three times what the drive can hold.
    small.overwrite(small.written.get() + 3 * 96 * MIB);
    let this = small.clone();
    small.world.run(async move { this.node.space().await });
}

/// The space that deletes had freed was available only once a put waited for it: that put, and all
/// behind it, waited for a checkpoint.
#[cfg(feature = "planted-bugs")]
#[test]
fn what_deletes_free_comes_back_before_a_put_waits_for_it() {
    const LENGTH: usize = 4 << 20;
    let mut world = World::new(14, 512 * MIB, 1, 1);
    world.options.checkpoint_after_bytes = 1 << 30;
    let node = world.open();
    let sim = world.sim.clone();
    world.run(async move {
        let (core, id) = (node.core(0), bucket(&node.core(0), "b").await);
        let mut count = 0u64;
        while put(&core, id, &count.to_be_bytes(), count, LENGTH).await.is_ok() {
            count += 1;
        }
        for third in 0..count / 3 {
            delete(&core, id, &(third * 3).to_be_bytes()).await.expect("deleted");
        }
        // This is long enough for a checkpoint that nobody waits for.
        sim.sleep_us(200_000).await;
        let freed = node.leftovers().freed_units;
        let units = LENGTH as u64 / (16 << 10);
        assert!(freed < units * count / 12, "{freed} units of {count} objects are not given back");
        take_reached();
        for third in 0..count / 3 - freed / units - 2 {
            put(&core, id, &(third * 3).to_be_bytes(), third, LENGTH).await.expect("room");
        }
        assert_eq!(take_reached()[Rare::SpaceReclaimed as usize], 0, "a put waited");
    });
}
