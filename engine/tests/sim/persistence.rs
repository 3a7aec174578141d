//! What was acknowledged is complete after any crash; what was in flight is complete or absent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::sim::device::Faults;
use ringbolt_engine::types::{BucketId, ObjectMeta, WriteCondition};

use crate::model::Model;
use crate::world::{MIB, World, body, bucket, delete, etag, get, put};

const CLIENTS: u64 = 6;
const KEYS_PER_CLIENT: u64 = 12;

/// The state that the clients of all rounds share.
struct Shared {
    model: RefCell<Model>,
    next_tag: Cell<u64>,
    operations: Cell<u64>,
    /// Puts that were refused because the drive was full, which is no failure of this test.
    refusals: Cell<u64>,
}

fn size(world: &ringbolt_engine::sim::Random) -> usize {
    match world.below(12) {
        0 => 0,
        1..=6 => world.below(5000) as usize,
        7..=8 => world.below(65_537) as usize,
        9..=10 => 65_537 + world.below(300_000) as usize,
        _ => (4 << 20) - 1 + world.below(600_000) as usize,
    }
}

/// Runs one client, which changes its own keys for ever, one after the other, and reads them in
/// between.
async fn client(
    sim: ringbolt_engine::sim::Simulator,
    node: Rc<SimNode>,
    id: BucketId,
    number: u64,
    shared: Rc<Shared>,
) {
    loop {
        let random = sim.random();
        let key = format!("client-{number}/{:02}", random.below(KEYS_PER_CLIENT)).into_bytes();
        let core = node.any_core();
        shared.operations.set(shared.operations.get() + 1);
        match random.below(10) {
            0..=5 => {
                let (tag, length) = (shared.next_tag.get(), size(random));
                shared.next_tag.set(tag + 1);
                let change = Some((tag, length));
                shared.model.borrow_mut().begin(&key, change);
                let done = if random.one_in(8) && length > 0 {
                    put_in_parts(&core, id, &key, tag, length).await
                } else {
                    put(&core, id, &key, tag, length).await.map(|_| ())
                };
                match done {
                    Ok(()) => shared.model.borrow_mut().acknowledge(&key, change),
                    Err(EngineError::NoSpace { .. }) => {
                        shared.refusals.set(shared.refusals.get() + 1);
                        shared.model.borrow_mut().refuse(&key);
                    }
                    Err(error) => panic!("a put fails: {error}"),
                }
            }
            6..=7 => {
                shared.model.borrow_mut().begin(&key, None);
                delete(&core, id, &key).await.expect("a delete");
                shared.model.borrow_mut().acknowledge(&key, None);
            }
            8 => {
                let (polls, length) = (random.below(40), size(random));
                give_up(&sim, &core, id, &key, (polls, length), &shared).await;
            }
            _ => {
                let certain = shared.model.borrow().keys.get(&key).and_then(|possible| possible.certain);
                let found = get(&core, id, &key).await.expect("readable");
                let expected = certain.map(|(tag, length)| body(tag, length));
                assert!(found.map(|(_, bytes)| bytes) == expected, "a read of {certain:?} gives other bytes");
            }
        }
    }
}

/// Starts a put and abandons it at any point where it waits.
async fn give_up(
    sim: &ringbolt_engine::sim::Simulator,
    core: &ringbolt_engine::node::Core,
    id: BucketId,
    key: &[u8],
    (polls, length): (u64, usize),
    shared: &Shared,
) {
    let tag = shared.next_tag.get();
    shared.next_tag.set(tag + 1);
    shared.model.borrow_mut().begin(key, Some((tag, length)));
    let attempt = put(core, id, key, tag, length);
    if let Some(done) = polled_at_most(attempt, polls).await {
        match done {
            Ok(_) => shared.model.borrow_mut().acknowledge(key, Some((tag, length))),
            Err(_) => shared.model.borrow_mut().refuse(key),
        }
    } else {
        // The put may still happen, so this is settled before the client continues with this key.
        sim.sleep_us(20_000_000).await;
        let found = get(core, id, key).await.expect("readable");
        let tag_of = |md5: [u8; 16]| u64::from_le_bytes(*md5.first_chunk().expect("16 bytes"));
        let found = found.map(|(info, bytes)| (tag_of(info.etag.md5), bytes.len()));
        let possible = shared.model.borrow().keys[key].clone();
        assert!(found == possible.certain || possible.in_flight.contains(&found), "{found:?} {possible:?}");
        shared.model.borrow_mut().acknowledge(key, found);
    }
}

async fn put_in_parts(
    core: &ringbolt_engine::node::Core,
    id: BucketId,
    key: &[u8],
    tag: u64,
    length: usize,
) -> ringbolt_engine::Result<()> {
    let upload = core.create_upload(id, key, Vec::new()).await?;
    let whole = body(tag, length);
    let pieces: Vec<_> = whole.chunks(length.div_ceil(3).max(1)).collect();
    let mut parts = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let number = at as u16 + 1;
        let mut writer = core.put_part(id, key, upload, number, piece.len() as u64).await?;
        let written = writer.write(piece).await;
        let part = match written {
            Ok(()) => writer.commit_part(etag(tag + at as u64), Vec::new()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = part {
            core.abort_upload(id, key, upload).await?;
            return Err(error);
        }
        parts.push((number, etag(tag + at as u64)));
    }
    let attributes = vec![("tag".to_owned(), tag.to_string())];
    let meta = ObjectMeta { etag: etag(tag), attributes };
    let done = core.complete_upload(id, key, upload, parts, meta, WriteCondition::default()).await;
    if done.is_err() {
        core.abort_upload(id, key, upload).await?;
    }
    done.map(|_| ())
}

/// Returns the output if it comes within `polls` polls; otherwise the future is dropped where it
/// waits.
async fn polled_at_most<T>(future: impl Future<Output = T>, polls: u64) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    rounds: u64,
    crashes: u64,
    operations: u64,
    refusals: u64,
}

struct Plan {
    seed: u64,
    size_bytes: u64,
    shards: u16,
    rounds: u64,
    faults: Faults,
}

/// Runs rounds of work, each ended by a crash, a kill or a clean stop at a point that the seed
/// chooses.
fn run(plan: &Plan) -> Figures {
    let mut world = World::new(plan.seed, plan.size_bytes, plan.shards, 1);
    let shared = Rc::new(Shared {
        model: RefCell::default(),
        next_tag: Cell::new(1),
        operations: Cell::new(0),
        refusals: Cell::new(0),
    });
    let mut figures = Figures::default();
    for round in 0..plan.rounds {
        world.options.cores = 1 + world.sim.random().below(3) as usize;
        let story = format!("seed {}, round {round}, {} cores", plan.seed, world.options.cores);
        let node = world.try_open().unwrap_or_else(|error| panic!("{story}: {error}"));
        // A node may clean and write checkpoints as soon as it is open. What they work in belongs
        // to nobody meanwhile.
        world.sim.run_until_idle();
        let (on, shared_here) = (node.clone(), shared.clone());
        let id = world.run(async move {
            on.space().await;
            let id = bucket(&on.core(0), "b").await;
            let mut model = shared_here.model.borrow().clone();
            model.verify(&on, id, &story).await;
            *shared_here.model.borrow_mut() = model;
            id
        });
        world.drives.iter().for_each(|drive| drive.set_faults(plan.faults));
        for number in 0..CLIENTS {
            world.sim.spawn(client(world.sim.clone(), node.clone(), id, number, shared.clone()));
        }
        let steps = 1 + world.sim.random().below(30_000);
        world.sim.run_steps(steps);
        figures.rounds += 1;
        if world.sim.random().one_in(4) {
            world.kill(node);
        } else {
            figures.crashes += 1;
            world.crash(node);
        }
    }
    (figures.operations, figures.refusals) = (shared.operations.get(), shared.refusals.get());
    empty_and_compare(&world, &shared, plan);
    figures
}

/// Deletes everything at the end and asserts that nothing stays allocated.
fn empty_and_compare(world: &World, shared: &Rc<Shared>, plan: &Plan) {
    let (node, shared) = (world.open(), shared.clone());
    let (on, story) = (node.clone(), format!("seed {}, at the end", plan.seed));
    world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        let mut model = shared.model.borrow().clone();
        model.verify(&on, id, &story).await;
        for key in model.keys.keys() {
            delete(&on.any_core(), id, key).await.expect("deleted");
        }
        on.core(0).delete_bucket(id).await.expect("deleted");
        // The second checkpoint releases the log that the first one still needed.
        on.checkpoint().await.expect("a checkpoint");
        on.checkpoint().await.expect("a checkpoint");
    });
    // Extents that are being returned reach the allocator.
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move {
        let space = on.space().await;
        assert_eq!((space.live_bytes, space.objects), (0, 0), "{space:?}");
    });
    let left = node.leftovers();
    assert_eq!((left.used_units, left.reserved_units, left.freed_units, left.data_extents), (0, 0, 0, 0));
    assert_eq!((left.pinned_objects, left.held_locks, left.writers), (0, 0, 0));
    assert_eq!(
        (left.log_extents, left.checkpoint_extents),
        (usize::from(plan.shards), usize::from(plan.shards))
    );
}

#[test]
fn acknowledged_is_there_after_any_crash() {
    let mut sum = Figures::default();
    for seed in seeds(4) {
        let (size_bytes, shards) = if seed % 2 == 0 { (256 * MIB, 8) } else { (160 * MIB, 3) };
        let figures = run(&Plan { seed, size_bytes, shards, rounds: 12, faults: Faults::default() });
        sum.rounds += figures.rounds;
        sum.crashes += figures.crashes;
        sum.operations += figures.operations;
        sum.refusals += figures.refusals;
    }
    assert!(sum.crashes >= 10 && sum.operations > 1000 && sum.refusals * 10 < sum.operations, "{sum:?}");
}

/// The same with hardly any room: puts are refused all the time, and the cleaner and checkpoints
/// never rest.
#[test]
fn acknowledged_is_there_on_a_drive_that_is_always_full() {
    let mut sum = Figures::default();
    for seed in seeds(2) {
        let (size_bytes, shards) = if seed % 2 == 0 { (48 * MIB, 1) } else { (72 * MIB, 2) };
        let figures = run(&Plan { seed, size_bytes, shards, rounds: 8, faults: Faults::default() });
        sum.crashes += figures.crashes;
        sum.operations += figures.operations;
        sum.refusals += figures.refusals;
    }
    assert!(sum.crashes >= 2 && sum.refusals > 20 && sum.operations > 4 * sum.refusals, "{sum:?}");
}

/// A checkpoint comes into force in a few moments only, so a crash is tried at each of its steps,
/// several times.
#[test]
fn a_crash_at_any_step_of_a_checkpoint_leaves_the_old_or_the_new_one() {
    for seed in seeds(3) {
        let world = World::new(1000 + seed, 96 * MIB, 1, 1);
        let mut model = Model::default();
        for steps in (0..70).chain(0..70) {
            let node = world.try_open().unwrap_or_else(|error| panic!("seed {seed}, {steps} steps: {error}"));
            let on = node.clone();
            model = world.run(async move {
                let id = bucket(&on.core(0), "b").await;
                model.verify(&on, id, &format!("seed {seed}, {steps} steps")).await;
                for (key, length) in [(b"s", 3000), (b"l", 150_000)] {
                    put(&on.core(0), id, key, 1000 + steps, length).await.expect("stored");
                    model.acknowledge(key, Some((1000 + steps, length)));
                }
                model
            });
            let on = node.clone();
            // The checkpoint may be cut off.
            world.sim.spawn(async move { drop(on.checkpoint().await) });
            world.sim.run_steps(steps);
            world.crash(node);
        }
    }
}

/// Returns the seeds to run. `RINGBOLT_SIM_SEEDS=100-200` replaces the usual ones.
pub fn seeds(count: u64) -> Vec<u64> {
    let given = std::env::var("RINGBOLT_SIM_SEEDS").ok();
    let range = given.as_deref().and_then(|text| text.split_once('-'));
    match range.map(|(from, to)| (from.parse(), to.parse())) {
        Some((Ok(from), Ok(to))) => (from..to).collect(),
        _ => (1..=count).collect(),
    }
}

#[test]
fn a_drive_that_lies_about_flushes_is_caught() {
    let lying = Faults { lie_about_flushes: true, ..Faults::default() };
    let caught = (1..=5).any(|seed| {
        let plan = Plan { seed, size_bytes: 160 * MIB, shards: 3, rounds: 6, faults: lying };
        std::panic::catch_unwind(|| run(&plan)).is_err()
    });
    assert!(caught, "the persistence test would not notice a lost write");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| {
        let world = World::new(seed, 128 * MIB, 4, 3);
        world.sim.record_trace();
        let node = world.open();
        let shared = Rc::new(Shared {
            model: RefCell::default(),
            next_tag: Cell::new(1),
            operations: Cell::new(0),
            refusals: Cell::new(0),
        });
        let on = node.clone();
        let id = world.run(async move { bucket(&on.core(0), "b").await });
        for number in 0..CLIENTS {
            world.sim.spawn(client(world.sim.clone(), node.clone(), id, number, shared.clone()));
        }
        world.sim.run_steps(20_000);
        let seen = (world.sim.trace(), world.sim.digest(), shared.operations.get());
        world.kill(node);
        seen
    };
    let (first, second) = (trace(11), trace(11));
    assert!(first.0.len() >= 20_000 && first.2 > 50, "{} steps, {} operations", first.0.len(), first.2);
    assert!(first == second, "two runs of one seed differ");
    assert_ne!(trace(12).1, first.1);
}
