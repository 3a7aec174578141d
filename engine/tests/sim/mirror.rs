//! Sets of drives with several copies of everything: drives that are taken away, come back, or hold
//! something else than they should, and starts that are interrupted.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::rc::Rc;

use ringbolt_engine::check::{Finding, Kind, Medium, Outcome, check};
use ringbolt_engine::format::superblock::{COPIES, COPY_STRIDE, SUPERBLOCK_BYTES, SuperblockOnDisk};
use ringbolt_engine::node::{OpenError, ScrubOptions};
use ringbolt_engine::sim::device::{Fate, FaultKind, FaultPlan, SimDevice};
use ringbolt_engine::sim::{Bug, SimNode, SimOptions, Simulator, format_sim_set};
use ringbolt_engine::types::{BucketId, Deleted, Versioning};

use crate::world::{MIB, World, body, bucket, delete, get, put};

/// The places of a set that an open is given.
pub type Given<'a> = &'a [usize];
/// What keys hold, by tag and length.
pub type Stored = BTreeMap<Vec<u8>, (u64, usize)>;

/// A world of drives with copies. What the tasks of its node hold, drives among them, goes with it: a test may
/// make very many.
pub struct Mirror(pub World);

impl Deref for Mirror {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for Mirror {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.sim.kill();
        }
    }
}

pub fn mirror(seed: u64, drives: u16, shards: u16, cores: usize) -> Mirror {
    mirrors(seed, (drives, 1), shards, cores)
}

/// Makes a world of drives, of which some may be lost.
pub fn mirrors(seed: u64, (drives, failures_max): (u16, u8), shards: u16, cores: usize) -> Mirror {
    let sim = Simulator::new(seed);
    let drives = format_sim_set(&sim, drives, (192 * MIB, 1), shards, failures_max);
    Mirror(World { sim, drives, options: SimOptions { cores, ..SimOptions::default() } })
}

pub fn opening(
    world: &World,
    given: Given<'_>,
    word: bool,
) -> impl Future<Output = Result<SimNode, OpenError>> + use<> {
    let drives = given.iter().map(|at| world.drives[*at].clone()).collect();
    SimNode::open(world.sim.clone(), drives, SimOptions { without_missing: word, ..world.options })
}

pub fn open(world: &World, given: Given<'_>, word: bool) -> Result<Rc<SimNode>, OpenError> {
    world.run(opening(world, given, word)).map(Rc::new)
}

pub fn must_open(world: &World, given: Given<'_>, word: bool) -> Rc<SimNode> {
    open(world, given, word).unwrap_or_else(|error| panic!("{given:?}: {error}"))
}

/// Stores objects of all sizes, and returns what is there.
pub fn fill(world: &World, node: &Rc<SimNode>, first: u64, count: u64) -> (BucketId, Stored) {
    let on = node.clone();
    world.run(async move {
        let core = on.any_core();
        let (id, mut stored) = (bucket(&core, "b").await, Stored::new());
        for tag in first..first + count {
            let length = [0, 700, 30_000, 66_000, 300_000, 5_000_000][(tag % 6) as usize];
            let key = format!("key {tag}").into_bytes();
            put(&on.any_core(), id, &key, tag, length).await.expect("stored");
            stored.insert(key, (tag, length));
        }
        (id, stored)
    })
}

/// Asserts that every object is what was stored.
pub fn compare(world: &World, node: &Rc<SimNode>, id: BucketId, stored: &Stored) {
    let (on, stored) = (node.clone(), stored.clone());
    world.run(async move {
        for (key, (tag, length)) in stored {
            let name = String::from_utf8_lossy(&key).into_owned();
            let found = get(&on.any_core(), id, &key).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(
                found.is_some_and(|(_, bytes)| bytes == body(tag, length)),
                "{name} is not what was stored"
            );
        }
    });
}

/// Checks drives that no node uses.
pub fn checked(world: &World, given: Given<'_>) -> (Outcome, Vec<Finding>) {
    let drives: Vec<&SimDevice> = given.iter().map(|at| &world.drives[*at]).collect();
    drives.iter().for_each(|drive| drive.stand_alone());
    let media: Vec<Medium> = drives
        .iter()
        .map(|drive| Medium {
            path: PathBuf::from("drive"),
            device: Rc::new((*drive).clone()),
            blocking: None,
        })
        .collect();
    let mut findings = Vec::<Finding>::new();
    let outcome = check(&media, true, &mut findings).unwrap_or_else(|error| panic!("{error}"));
    drives.iter().for_each(|drive| drive.live_in(&world.sim));
    (outcome, findings)
}

fn kinds(findings: &[Finding]) -> Vec<Kind> {
    findings.iter().map(|finding| finding.kind).collect()
}

/// Closes a node of a part of the drives.
pub fn close(world: &World, node: Rc<SimNode>) {
    world.close(node);
}

#[test]
fn either_of_two_drives_is_enough_by_the_operators_word_and_the_other_never_returns_by_itself() {
    for lost in [0, 1] {
        let world = mirror(10 + lost as u64, 2, 4, 2);
        let node = must_open(&world, &[0, 1], false);
        let (id, mut stored) = fill(&world, &node, 0, 24);
        world.crash(node);
        let left = 1 - lost;
        let Err(OpenError::TooFew { missing, words, .. }) = open(&world, &[left], false).map(drop) else {
            panic!("one of two drives is no more than M, and opens without a word")
        };
        assert_eq!(missing, [lost as u16]);
        assert!(words.starts_with("--without-drive ") && words.len() == 52, "{words}");
        world.sim.kill();
        let node = must_open(&world, &[left], true);
        compare(&world, &node, id, &stored);
        assert_eq!(node.drive_numbers(), [left as u16]);
        stored.extend(fill(&world, &node, 100, 12).1);
        let space = world.run({
            let on = node.clone();
            async move { on.space().await }
        });
        assert!(space.copies_bytes < 60 * MIB, "what was stored since has one copy: {space:?}");
        world.crash(node);
        // What the lost drive holds is old now.
        let node = must_open(&world, &[0, 1], false);
        assert_eq!(node.drive_numbers(), [left as u16], "a stale drive is used");
        compare(&world, &node, id, &stored);
        world.kill(node);
        let Err(OpenError::NoDrives | OpenError::NoHome { .. } | OpenError::TooFew { .. }) =
            open(&world, &[lost], false).map(drop)
        else {
            panic!("the stale drive opens alone, although it was not said that the other one is gone")
        };
    }
}

#[test]
fn of_three_drives_each_may_be_absent_without_a_word() {
    for lost in 0..3 {
        let world = mirror(20 + lost as u64, 3, 3, 2);
        let node = must_open(&world, &[0, 1, 2], false);
        let (id, stored) = fill(&world, &node, 0, 18);
        world.crash(node);
        let given: Vec<usize> = (0..3).filter(|drive| *drive != lost).collect();
        let node = must_open(&world, &given, false);
        compare(&world, &node, id, &stored);
        close(&world, node);
        // Of a shard that had both homes on the drives that are gone, nothing is left.
        let alone = open(&world, &given[..1], true).map(drop);
        assert!(matches!(alone, Err(OpenError::NoHome { .. })), "{alone:?}");
    }
}

/// Everything that a shard writes is at both homes, byte for byte.
#[test]
fn copies_are_alike_and_a_check_finds_nothing() {
    let mut world = mirror(30, 2, 3, 2);
    world.options.checkpoint_after_bytes = 1 << 20;
    let node = must_open(&world, &[0, 1], false);
    let (id, stored) = fill(&world, &node, 0, 40);
    let on = node.clone();
    world.run(async move {
        for tag in (0..40).step_by(3) {
            delete(&on.any_core(), id, format!("key {tag}").as_bytes()).await.expect("deleted");
        }
        on.clean().await.expect("cleaned");
        on.checkpoint().await.expect("a checkpoint");
        on.space().await
    });
    let left: Stored = stored.into_iter().filter(|(_, (tag, _))| tag % 3 != 0).collect();
    compare(&world, &node, id, &left);
    close(&world, node);
    let (outcome, findings) = checked(&world, &[0, 1]);
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(outcome.totals.objects, left.len() as u64);
    let used = outcome.totals.live_bytes + outcome.totals.dead_bytes + outcome.totals.reserved_bytes;
    assert_eq!(outcome.totals.copies_bytes, used, "each byte has one further copy");
    assert_eq!(2 * used + outcome.totals.free_bytes, outcome.totals.physical_bytes);
}

/// Waits until the scrub of the first core has read everything once.
pub fn scrub_once(world: &World, node: &Rc<SimNode>) {
    let core = node.core(0);
    core.start_scrub(ScrubOptions { bytes_per_second: 64 << 20, every_ms: u64::MAX / 4 });
    let mut last = None;
    for _ in 0..20_000 {
        let on = core.clone();
        let metrics = world.run(async move { on.metrics().await }).expect("metrics");
        last = Some(metrics.shards.iter().map(|shard| shard.scrub).collect::<Vec<_>>());
        if metrics.shards.iter().all(|shard| shard.scrub.passes > 0) {
            return;
        }
        world.sim.run_steps(1000);
    }
    panic!("the scrub does not come to an end: {last:?}");
}

/// Damages every block behind the superblock that one drive has, in turn, and reads everything. A scrub
/// then leaves both drives whole.
#[test]
fn no_client_sees_the_damage_of_one_drive_and_a_scrub_mends_all_of_it() {
    for damaged in [0, 1] {
        let world = mirror(40 + damaged as u64, 2, 2, 1);
        let node = must_open(&world, &[0, 1], false);
        let (id, stored) = fill(&world, &node, 0, 30);
        let on = node.clone();
        world.run(async move {
            on.core(0).set_versioning(id, Versioning::Enabled).await.expect("enabled");
            for tag in 0..6 {
                let marked = delete(&on.any_core(), id, format!("gone {tag}").as_bytes()).await;
                assert!(matches!(marked, Ok(Deleted::Marked { .. })), "{marked:?}");
            }
        });
        close(&world, node);
        // The whole of the extents: objects, logs and checkpoints.
        let superblocks = 1 << 20;
        world.drives[damaged].damage(superblocks, |bytes| {
            bytes.iter_mut().step_by(509).for_each(|byte| *byte ^= 0x5a);
        });
        let node = must_open(&world, &[0, 1], false);
        compare(&world, &node, id, &stored);
        scrub_once(&world, &node);
        compare(&world, &node, id, &stored);
        close(&world, node);
        let (outcome, findings) = checked(&world, &[0, 1]);
        assert_eq!((outcome.damage(), kinds(&findings)), (0, vec![]), "drive {damaged}: {findings:?}");
        let node = must_open(&world, &[damaged], true);
        compare(&world, &node, id, &stored);
    }
}

/// Many records in one block are each damaged on one drive. Each is written anew for itself, with the rest of
/// the block as the drive has it.
#[test]
fn what_lies_in_one_block_is_mended_by_one_scrub() {
    for seed in 0..24 {
        let world = mirror(400 + seed, 2, 1, 1);
        let node = must_open(&world, &[0, 1], false);
        let on = node.clone();
        let keys = || (0..40).map(|tag| (tag, format!("key {tag}")));
        let id = world.run(async move {
            let (core, id) = (on.core(0), bucket(&on.core(0), "b").await);
            let puts = keys().map(|(tag, key)| {
                let core = core.clone();
                async move { put(&core, id, key.as_bytes(), tag, 60).await.expect("stored") }
            });
            futures_util::future::join_all(puts).await;
            id
        });
        close(&world, node);
        for (tag, _) in keys() {
            let at = world.drives[1].find(&body(tag, 60)).expect("its bytes are on the drive");
            world.drives[1].damage(at, |bytes| bytes[7] ^= 1);
        }
        let node = must_open(&world, &[0, 1], false);
        scrub_once(&world, &node);
        let stored = keys().map(|(tag, key)| (key.into_bytes(), (tag, 60))).collect();
        compare(&world, &node, id, &stored);
        close(&world, node);
        let (outcome, findings) = checked(&world, &[0, 1]);
        assert_eq!((outcome.damage(), kinds(&findings)), (0, vec![]), "seed {seed}: {findings:?}");
    }
}

#[test]
fn a_check_says_which_copies_are_damaged_and_that_nothing_is_lost() {
    let world = mirror(50, 2, 1, 1);
    let node = must_open(&world, &[0, 1], false);
    let (_, stored) = fill(&world, &node, 0, 12);
    close(&world, node);
    let large = body(5, 5_000_000);
    let at = world.drives[1].find(&large[1_000_000..1_000_064]).expect("its bytes are on the drive");
    world.drives[1].damage(at, |bytes| bytes[0] ^= 1);
    let small = body(1, 700);
    let at = world.drives[1].find(&small[..64]).expect("its bytes are on the drive");
    world.drives[1].damage(at, |bytes| bytes[0] ^= 1);
    let (outcome, findings) = checked(&world, &[0, 1]);
    assert_eq!(kinds(&findings), [Kind::Copy, Kind::Copy], "{findings:?}");
    assert_eq!((outcome.damage(), outcome.totals.objects), (0, stored.len() as u64));
    // Where both copies are damaged, the object is lost.
    let at = world.drives[0].find(&small[..64]).expect("its bytes are on the drive");
    world.drives[0].damage(at + 3, |bytes| bytes[0] ^= 1);
    let (outcome, findings) = checked(&world, &[0, 1]);
    assert_eq!((outcome.damage(), kinds(&findings).len()), (1, 2), "{findings:?}");
}

/// A drive whose checkpoints and logs are gone is whole again without a scrub: a start that took a chunk from
/// another copy writes a new checkpoint.
#[test]
fn a_damaged_copy_of_a_checkpoint_is_noticed_and_replaced() {
    let world = mirror(55, 2, 3, 2);
    let node = must_open(&world, &[0, 1], false);
    let (id, stored) = fill(&world, &node, 0, 12);
    close(&world, node);
    world.drives[0].damage(1 << 20, |bytes| bytes.fill(0));
    let (outcome, findings) = checked(&world, &[0, 1]);
    let texts: Vec<&str> = findings.iter().map(|finding| finding.text.as_str()).collect();
    assert!(outcome.damage() == 0 && texts.iter().any(|text| text.contains("checkpoint chunk")), "{texts:?}");
    let (_, findings) = checked(&world, &[1]);
    assert_eq!(kinds(&findings), [Kind::Drive], "a check of one drive says that the other one is not there");
    let node = must_open(&world, &[0, 1], false);
    compare(&world, &node, id, &stored);
    world.sim.run_until_idle();
    world.kill(node);
    let (_, findings) = checked(&world, &[0, 1]);
    // Shards 0 and 2 are at home on the damaged drive first, so that a start reads their copies there. The
    // other copies are for the scrub.
    let chunks = findings.iter().filter(|finding| finding.text.contains("checkpoint chunk"));
    let of: Vec<Option<u16>> = chunks.map(|finding| finding.shard).collect();
    assert!(!of.contains(&Some(0)) && !of.contains(&Some(2)), "{findings:?}");
}

/// Each of two drives went on without the other, by the word that the other one is gone for good.
#[test]
fn two_histories_are_not_joined() {
    let world = mirror(57, 2, 2, 1);
    let node = must_open(&world, &[0, 1], false);
    fill(&world, &node, 0, 4);
    close(&world, node);
    for alone in [0, 1, 1] {
        let node = must_open(&world, &[alone], true);
        fill(&world, &node, 10 + alone as u64, 4);
        close(&world, node);
    }
    let both = open(&world, &[0, 1], false).map(drop);
    assert!(matches!(both, Err(OpenError::TwoHistories { .. })), "{both:?}");
}

/// A drive that answers no read is as good as absent for everything but writes.
#[test]
fn reads_go_on_when_a_drive_can_not_be_read() {
    let world = mirror(60, 2, 2, 2);
    let node = must_open(&world, &[0, 1], false);
    let (id, stored) = fill(&world, &node, 0, 18);
    for failing in [0, 1] {
        world.drives[failing].follow(FaultPlan::default().with(FaultKind::ReadError, 1, u64::MAX));
        compare(&world, &node, id, &stored);
        world.drives[failing].follow(FaultPlan::default());
        world.drives[failing].heal();
    }
}

/// The outcome of a scenario. The error says how the promise was broken.
type Judgement = Result<(), String>;

/// Of three drives, a start with the first two is cut off after some steps. Then the last two start and
/// acknowledge something, and at last the first two again. Without a promise, the first drive has a view with
/// the number of one that was used without it.
fn interrupted_starts_do_not_split_the_set(bug: Option<Bug>) -> Judgement {
    for steps in (0..400).step_by(4) {
        let mut world = mirror(70, 3, 3, 1);
        world.options.bug = bug;
        let node = must_open(&world, &[0, 1, 2], false);
        let (id, mut stored) = fill(&world, &node, 0, 6);
        world.kill(node);
        let started = opening(&world, &[0, 1], false);
        world.sim.spawn(async move { drop(started.await) });
        world.sim.run_steps(steps);
        world.drives.iter().for_each(|drive| drive.crash(|_| Fate::Kept));
        world.sim.kill();
        let node = match open(&world, &[1, 2], false) {
            Ok(node) => node,
            // The first drive may be the only one that has a view in which it is.
            Err(OpenError::TooFew { .. } | OpenError::NoHome { .. }) => continue,
            Err(error) => return Err(format!("{steps} steps: the last two: {error}")),
        };
        stored.extend(fill(&world, &node, 50, 6).1);
        world.kill(node);
        match open(&world, &[0, 1], false) {
            Ok(node) => compare(&world, &node, id, &stored),
            Err(OpenError::TooFew { .. } | OpenError::NoHome { .. }) => {}
            Err(error) => return Err(format!("{steps} steps: the first two: {error}")),
        }
        world.sim.kill();
        match open(&world, &[0, 1, 2], false) {
            Ok(node) => compare(&world, &node, id, &stored),
            Err(error) => return Err(format!("{steps} steps: all: {error}")),
        }
        world.sim.kill();
    }
    Ok(())
}

#[test]
fn a_start_that_was_cut_off_does_not_come_back_with_an_old_log() {
    interrupted_starts_do_not_split_the_set(None).expect("every start has the last word of the one before");
}

#[test]
fn a_start_without_a_promise_is_caught() {
    let caught =
        std::panic::catch_unwind(|| interrupted_starts_do_not_split_the_set(Some(Bug::StartWithoutPromise)));
    assert!(!matches!(caught, Ok(Ok(()))), "a start without a promise breaks nothing");
}

/// A batch reaches one home and not the other before the power is cut. The next life shows it to a client;
/// then the home that had it is lost.
fn what_was_shown_stays(bug: Option<Bug>) -> Judgement {
    let mut seen = 0;
    for (seed, steps) in (0..12).flat_map(|seed| (1..6).map(move |steps| (seed, steps))) {
        let mut world = mirror(200 + seed, 2, 1, 1);
        world.options.bug = bug;
        let node = must_open(&world, &[0, 1], false);
        let (id, _) = fill(&world, &node, 0, 3);
        let on = node.clone();
        world.sim.spawn(async move { drop(put(&on.core(0), id, b"last", 9, 900).await) });
        world.sim.run_steps(steps);
        world.drives[0].crash(|_| Fate::Kept);
        world.drives[1].crash(|_| Fate::Lost);
        world.kill(node);
        let node = must_open(&world, &[0, 1], false);
        let on = node.clone();
        let shown = world.run(async move { get(&on.core(0), id, b"last").await.expect("read") }).is_some();
        world.crash(node);
        let opened = open(&world, &[1], true);
        let node = match opened {
            Ok(node) => node,
            Err(error) => return Err(format!("{steps} steps: {error}")),
        };
        let on = node.clone();
        let left = world.run(async move { get(&on.core(0), id, b"last").await.expect("read") }).is_some();
        seen += u64::from(shown);
        if shown && !left {
            return Err(format!("{steps} steps: a client saw an object that is gone"));
        }
    }
    if seen > 0 { Ok(()) } else { Err("the batch never reached one home alone".to_owned()) }
}

#[test]
fn what_only_one_home_has_is_on_both_before_anybody_sees_it() {
    what_was_shown_stays(None).expect("a start makes the homes alike");
}

#[test]
fn logs_that_are_left_uneven_are_caught() {
    let caught = what_was_shown_stays(Some(Bug::LeaveLogsUneven));
    assert!(caught.as_ref().is_err_and(|text| text.contains("gone")), "uneven logs: {caught:?}");
}

/// Returns the sequence of the checkpoint that a drive names for shard 0, as it is read.
fn checkpoint_on(drive: &SimDevice) -> u64 {
    let copies: Vec<Vec<u8>> =
        (0..COPIES as u64).map(|copy| drive.peek(copy * COPY_STRIDE, SUPERBLOCK_BYTES)).collect();
    let copies: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
    let block = SuperblockOnDisk::choose(&copies).expect("two copies agree");
    block.root_of(0).map_or(0, |root| root.sequence.get())
}

/// A checkpoint comes into force on one home and not on the other before the power is cut. The next life uses
/// space that only the older one needed; then the home with the newer one is lost.
fn either_root_is_enough(bug: Option<Bug>) -> Judgement {
    let mut apart = 0;
    for seed in 0..4 {
        let mut world = mirror(110 + seed, 2, 1, 1);
        world.options.bug = bug;
        world.options.checkpoint_after_bytes = u64::MAX;
        let node = must_open(&world, &[0, 1], false);
        let (id, mut stored) = fill(&world, &node, 0, 12);
        let on = node.clone();
        world.run(async move {
            on.checkpoint().await.expect("a checkpoint");
            on.checkpoint().await.expect("one whose sequence is not that of the first log");
        });
        stored.extend(fill(&world, &node, 20, 6).1);
        let on = node.clone();
        world.sim.spawn(async move { drop(on.checkpoint().await) });
        let (mut newest, mut steps) = (None, 0);
        while newest.is_none() && steps < 100_000 {
            world.sim.step();
            steps += 1;
            let [first, second] = [0, 1].map(|drive| checkpoint_on(&world.drives[drive]));
            newest = (first != second).then_some(usize::from(second > first));
        }
        // Sometimes both drives are done in the same microsecond.
        let Some(newest) = newest else { continue };
        apart += 1;
        world.drives.iter().for_each(|drive| drive.crash(|_| Fate::Kept));
        world.kill(node);
        let node = must_open(&world, &[0, 1], false);
        stored.extend(fill(&world, &node, 40, 24).1);
        world.drives.iter().for_each(|drive| drive.crash(|_| Fate::Kept));
        world.kill(node);
        match open(&world, &[1 - newest], true) {
            Ok(node) => compare(&world, &node, id, &stored),
            Err(error) => return Err(format!("without drive {newest}: {error}")),
        }
        world.sim.kill();
    }
    if apart > 0 { Ok(()) } else { Err("no home had the checkpoint before the other one".to_owned()) }
}

#[test]
fn a_checkpoint_that_one_home_has_is_on_both_before_its_predecessor_is_let_go() {
    either_root_is_enough(None).expect("either home is enough");
}

#[test]
fn roots_that_are_left_uneven_are_caught() {
    let caught = std::panic::catch_unwind(|| either_root_is_enough(Some(Bug::LeaveRootsUneven)));
    let missed = matches!(&caught, Ok(Err(text)) if text.starts_with("no home"));
    assert!(!missed && !matches!(caught, Ok(Ok(()))), "roots that are left uneven break nothing");
}

/// A drive that returns other blocks than were asked for, while a start makes the logs alike.
#[test]
fn a_drive_that_misdirects_reads_at_a_start_does_not_spoil_the_other_one() {
    for seed in 0..24 {
        let world = mirror(300 + seed, 2, 2, 1);
        let node = must_open(&world, &[0, 1], false);
        let (id, stored) = fill(&world, &node, 0, 7);
        world.crash(node);
        let plan = FaultPlan::default().with(FaultKind::MisdirectedRead, 3, 12);
        world.drives[0].follow(plan.with(FaultKind::MisdirectedReadAlike, 3, 12));
        let opened = open(&world, &[0, 1], false);
        world.drives[0].follow(FaultPlan::default());
        drop(opened);
        world.cut_power();
        world.sim.kill();
        let node = must_open(&world, &[1], true);
        compare(&world, &node, id, &stored);
    }
}

/// A reader finds a damaged copy while the object is deleted, and its space is given to another one.
fn what_is_mended_is_still_there(bug: Option<Bug>) -> Judgement {
    let mut world = mirror(90, 2, 1, 1);
    world.options.bug = bug;
    let node = must_open(&world, &[0, 1], false);
    let on = node.clone();
    let drives = world.drives.clone();
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        put(&core, id, b"old", 1, 400_000).await.expect("stored");
        let bytes = body(1, 400_000);
        let at = drives[0].find(&bytes[..64]).expect("its bytes are on the drive");
        drives[0].damage(at, |bytes| bytes[0] ^= 1);
        // The first home is read first.
        let read = get(&core, id, b"old").await.expect("read");
        assert!(read.is_some_and(|(_, read)| read == bytes), "other bytes were served");
        delete(&core, id, b"old").await.expect("deleted");
        on.checkpoint().await.expect("a checkpoint frees its space");
        put(&core, id, b"new", 2, 400_000).await.expect("stored");
    });
    world.sim.run_until_idle();
    close(&world, node);
    let (_, findings) = checked(&world, &[0, 1]);
    if findings.is_empty() { Ok(()) } else { Err(format!("{findings:?}")) }
}

#[test]
fn a_copy_is_mended_before_its_reader_lets_it_go() {
    what_is_mended_is_still_there(None).expect("nothing is written over the next object");
}

#[test]
fn a_copy_that_is_mended_too_late_is_caught() {
    let caught = what_is_mended_is_still_there(Some(Bug::MendLate));
    assert!(caught.is_err(), "a late write over the next object breaks nothing");
}

/// An update of a superblock that a fault destroyed on one drive leaves that drive out, not the set.
#[test]
fn a_drive_without_a_superblock_is_named() {
    let world = mirror(100, 2, 1, 1);
    let node = must_open(&world, &[0, 1], false);
    let (id, stored) = fill(&world, &node, 0, 6);
    close(&world, node);
    for copy in 0..COPIES as u64 {
        world.drives[0].damage(copy * COPY_STRIDE, |bytes| bytes[..4096].fill(0x77));
    }
    assert!(matches!(open(&world, &[0, 1], false).map(drop), Err(OpenError::Format(_))));
    world.sim.kill();
    let node = must_open(&world, &[1], true);
    compare(&world, &node, id, &stored);
}

/// Puts small objects, one after the other, on a new node whose drives take so long for each operation, and returns
/// the time that a put takes, in microseconds of the simulated clock.
fn time_of_a_put_us(takes_us: &[u64]) -> u64 {
    const PUTS: u64 = 50;
    let world = mirrors(101, (takes_us.len() as u16, takes_us.len() as u8 - 1), 1, 1);
    let all: Vec<usize> = (0..takes_us.len()).collect();
    let node = must_open(&world, &all, false);
    world.drives.iter().zip(takes_us).for_each(|(drive, takes_us)| drive.take_us(*takes_us));
    let (on, sim) = (node.clone(), world.sim.clone());
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        let begun_us = sim.now_us();
        for number in 0..PUTS {
            put(&core, id, format!("key {number}").as_bytes(), number, 4096).await.expect("stored");
        }
        (sim.now_us() - begun_us) / PUTS
    })
}

/// The copies are written side by side: a put takes as long as on the slower drive alone.
#[test]
fn a_put_waits_for_the_slower_drive_and_for_nothing_else() {
    for slow_us in [100, 400, 2000] {
        let alone_us = time_of_a_put_us(&[slow_us]);
        assert!(alone_us >= slow_us, "{alone_us} us");
        for takes_us in [[slow_us, slow_us], [slow_us, slow_us / 4], [slow_us / 4, slow_us]] {
            let both_us = time_of_a_put_us(&takes_us);
            assert!(both_us * 10 <= alone_us * 11, "{takes_us:?}: {both_us} us, and {alone_us} us alone");
        }
    }
}

/// An update that nobody waits for may be under way when the node closes.
#[test]
fn a_node_that_closes_at_once_leaves_no_update_half_done() {
    for seed in 600..620 {
        let world = mirror(seed, 3, 4, 2);
        let node = must_open(&world, &[0, 1, 2], false);
        close(&world, node);
        let (_, findings) = checked(&world, &[0, 1, 2]);
        assert!(findings.is_empty(), "{seed}: {findings:?}");
    }
}
