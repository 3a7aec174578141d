//! These tests damage one copy of a mirror, on real drive files: every case in which one drive without
//! redundancy is damaged, one after the other on each of the drives. On drives with stripes, and with three copies
//! of all else, they damage as many drives at once as may be lost.
//!
//! Whatever the case, a check of the drives must find nothing that is lost, and no client may notice it:
//! all that was stored is compared, and no read may be refused. Then one pass of the scrub, and what it
//! and the readers wrote anew, must have made the drive whole: a check that reads every byte finds
//! nothing, not even a note, and where the damaged drive has the last copy of something, because another
//! one is taken away, all is there.
//!
//! The one exception is a drive on which no two copies of the superblock agree. The start names it, and
//! without it everything is there.

use crate::atlas::{Atlas, Verdict};
use crate::cases::{Changes, HARMS, KINDS, KINDS_OF_COPIES, changed_bytes, damage, has};
use crate::stored::{DriveFile, Stored};
use crate::{SEED, checked, trials};
use ringbolt_engine::node::{
    Core, Environment, FormatError, NodeMetrics, NodeOptions, NodePlan, OpenError, Redundancy, ScrubOptions,
};
use ringbolt_tests::node::{self, End, options_of_set};
use ringbolt_tests::{Dice, binary};
use std::collections::BTreeMap;
use std::ops::Range;

/// The scrub reads as fast as it can, and once.
const SCRUB: ScrubOptions = ScrubOptions { bytes_per_second: 1 << 40, every_ms: u64::MAX / 4 };
/// Time between two looks at the scrub, milliseconds.
const LOOK_AGAIN_MS: u64 = 2;

/// Says what became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Became {
    /// One drive alone would have shown the damage to a client, or not have opened. The mirror is whole.
    Mended,
    /// Nothing needed what was damaged. The mirror is whole.
    Unneeded,
    /// The set was started without the drive.
    LeftOut,
}

/// This is a case: drives of the set, and what happens to each.
struct Case {
    trial: usize,
    changes: Vec<(usize, Changes)>,
}

impl Case {
    fn has(&self, drive: usize) -> bool {
        self.changes.iter().any(|(damaged, _)| *damaged == drive)
    }
}

struct Mirror {
    stored: Stored,
    uuids: Vec<[u8; 16]>,
    failures_max: usize,
}

impl Mirror {
    /// Returns the drives that are taken away, so that those that were damaged are needed: as many as may be lost,
    /// and one after the other when there are more.
    fn others(&self, case: &Case) -> Vec<usize> {
        let whole: Vec<usize> = (0..self.stored.drives.len()).filter(|drive| !case.has(*drive)).collect();
        let first = case.changes[0].0 + 1;
        let count = self.failures_max.min(whole.len());
        (0..count).map(|number| whole[(first + number + case.trial) % whole.len()]).collect()
    }

    /// Opens the set without some of its drives, by the operator's word, does `work` and ends as a kill does.
    fn without(&self, gone: &[usize], work: impl AsyncFn(Core) + Sync) {
        let stay = self.stored.drives.iter().enumerate().filter(|(number, _)| !gone.contains(number));
        let paths = stay.map(|(_, drive)| drive.path.clone()).collect();
        let without_drives = gone.iter().map(|drive| self.uuids[*drive]).collect();
        let options = NodeOptions { without_drives, ..options_of_set(paths, 1) };
        let seeds = NodePlan::open(options).expect("the rest opens");
        node::run(seeds, End::Drop, async |core| work(core).await).expect("the rest opens");
    }

    /// Compares everything, and fails when anything is unreadable.
    async fn compare(&self, core: &Core, also: &[String]) {
        assert_eq!(self.stored.read(core, also).await, Vec::<String>::new(), "a client sees the damage");
        self.stored.read_sentinels(core).await;
    }

    /// Compares everything with all drives, lets the scrub read them once, and closes the set.
    fn read_and_scrub(&self, also: &[String]) -> Result<NodeMetrics, OpenError> {
        let seeds = NodePlan::open(options_of_set(self.stored.paths(), 1))?;
        let metrics = node::run_in(seeds, End::Close, async |core, environment| {
            self.compare(&core, also).await;
            scrub(&core, &*environment).await
        });
        metrics.map(|mut of_cores| of_cores.pop().expect("there is one core"))
    }

    /// Goes through a case. The drives are restored afterwards.
    fn go_through(&self, case: &Case, verdict: Verdict) -> Became {
        let drives = &self.stored.drives;
        case.changes.iter().for_each(|(drive, changes)| drives[*drive].write(changes));
        let damaged = case.changes.iter().map(|(drive, _)| *drive);
        let lost: Vec<usize> = damaged.filter(|drive| drives[*drive].superblock().is_none()).collect();
        if lost.is_empty() {
            let (outcome, findings) = checked(&self.stored.paths());
            assert_eq!(outcome.losses + outcome.beyond_repair, 0, "another copy is whole: {findings:?}");
        }
        let also = verdict.unreadable();
        let became = match self.read_and_scrub(also) {
            Ok(metrics) => {
                assert!(lost.is_empty(), "the start goes on with a drive without a superblock");
                self.assert_whole(case, &verdict, &metrics);
                let is_unneeded = verdict == Verdict::Unreadable(Vec::new());
                if is_unneeded { Became::Unneeded } else { Became::Mended }
            }
            Err(OpenError::Format(FormatError::Damaged { path, .. }))
                if lost.iter().any(|drive| path == drives[*drive].path) =>
            {
                self.without(&lost, async |core| self.compare(&core, also).await);
                Became::LeftOut
            }
            Err(error) => panic!("the set does not open: {error}"),
        };
        drives.iter().for_each(|drive| drive.restore());
        became
    }

    /// Requires that no client saw the damage, and that the drive is whole.
    fn assert_whole(&self, case: &Case, verdict: &Verdict, metrics: &NodeMetrics) {
        assert_eq!(metrics.refused_reads, 0);
        // A start reads one copy of each chunk of a checkpoint, and the scrub all of them.
        let findings_max = if *verdict == Verdict::Refused { case.changes.len() as u64 } else { 0 };
        for shard in &metrics.shards {
            assert!(shard.scrub.findings <= findings_max, "shard {}: {:?}", shard.shard, shard.scrub);
        }
        let (outcome, findings) = checked(&self.stored.paths());
        assert_eq!((outcome.damage(), findings), (0, Vec::new()), "the drives are not whole");
        let also = verdict.unreadable();
        self.without(&self.others(case), async |core| {
            self.compare(&core, also).await;
            self.stored.finish_upload(&core).await;
        });
    }
}

/// Waits until the scrub has read everything once.
async fn scrub(core: &Core, environment: &dyn Environment) -> NodeMetrics {
    core.start_scrub(SCRUB);
    loop {
        let metrics = core.metrics().await.expect("numbers");
        if metrics.shards.iter().all(|shard| shard.scrub.passes > 0) {
            return metrics;
        }
        environment.sleep(LOOK_AGAIN_MS).await;
    }
}

/// Goes through cases with a set of drives, of which so many are `damaged` at once: each kind of block with each
/// of `harms`, which are places in [`HARMS`] counted from that kind's own.
fn damage_copies(
    drives: usize,
    redundancy: Redundancy,
    damaged: usize,
    harms: Range<usize>,
) -> BTreeMap<Became, usize> {
    let directory =
        tempfile::Builder::new().prefix("damage-").tempdir_in(binary::scratch_dir()).expect("a directory");
    let stored = Stored::make(directory.path(), drives, redundancy);
    let atlases: Vec<Atlas> = stored.drives.iter().map(|drive| Atlas::read(&drive.image)).collect();
    let uuid = |drive: &DriveFile| drive.superblock().expect("a good superblock").drive_uuid;
    let uuids = stored.drives.iter().map(uuid).collect();
    let mirror = Mirror { stored, uuids, failures_max: usize::from(redundancy.failures_max) };
    let mut dice = Dice::new(SEED);
    let mut outcomes: BTreeMap<Became, usize> = BTreeMap::new();
    let kinds = KINDS.into_iter().chain(KINDS_OF_COPIES).enumerate();
    let sorts = kinds.flat_map(|(row, kind)| harms.clone().map(move |column| (row, kind, column)));
    for ((row, kind, column), trial) in sorts.flat_map(|sort| (0..trials()).map(move |trial| (sort, trial))) {
        let harm = HARMS[(row + column) % HARMS.len()];
        // A drive that is the home of few shards has not everything.
        let in_turn = (0..drives).map(|number| (row + column / 2 + trial + number) % drives);
        let having = in_turn.filter(|drive| has(kind, &atlases[*drive])).take(damaged);
        let change = |drive: usize| {
            let file = &mirror.stored.drives[drive];
            (drive, damage(kind, harm, &atlases[drive], file, &mut dice))
        };
        let mut changes: Vec<(usize, Changes)> = having.map(change).collect();
        assert!(!changes.is_empty(), "a drive has {kind:?}");
        changes.retain(|(_, changes)| !changes.is_empty());
        let verdict_of = |(drive, changes): &(usize, Changes)| {
            atlases[*drive].verdict(&changed_bytes(changes, &mirror.stored.drives[*drive].image))
        };
        let Some(verdict) = changes.iter().map(verdict_of).reduce(Verdict::and) else { continue };
        let at: Vec<(usize, usize)> =
            changes.iter().flat_map(|(drive, of)| of.iter().map(|(at, _)| (*drive, *at))).collect();
        println!("{harm:?} of {kind:?}, trial {trial}, at these bytes of drives: {at:?}");
        let became = mirror.go_through(&Case { trial, changes }, verdict);
        *outcomes.entry(became).or_default() += 1;
    }
    println!("{drives} drives, {redundancy:?}, {damaged} damaged: {outcomes:?}");
    assert!(mirror.stored.drives.iter().all(|drive| drive.is_restored()), "a case left something behind");
    outcomes
}

#[test]
fn no_client_sees_what_is_damaged_on_one_of_two_drives_and_a_scrub_makes_it_whole() {
    let outcomes = damage_copies(2, Redundancy::copies(1), 1, 0..HARMS.len());
    assert!(outcomes[&Became::Mended] >= 40 * trials(), "{outcomes:?}");
}

/// Each shard has copies on two of the drives, and another one on each pair.
#[test]
fn no_client_sees_what_is_damaged_on_one_of_three_drives_and_a_scrub_makes_it_whole() {
    let outcomes = damage_copies(3, Redundancy::copies(1), 1, 0..1);
    assert!(outcomes[&Became::Mended] >= 10 * trials(), "{outcomes:?}");
}

#[test]
fn no_client_sees_what_is_damaged_of_one_of_three_copies_and_a_scrub_makes_it_whole() {
    let outcomes = damage_copies(3, Redundancy::copies(2), 1, 1..2);
    assert!(outcomes[&Became::Mended] >= 10 * trials(), "{outcomes:?}");
}

/// Two drives are damaged at once, each at a place of its own: large objects have two parity members, and all else has
/// three copies.
#[test]
fn no_client_sees_what_is_damaged_on_two_of_four_drives_with_stripes_and_a_scrub_makes_them_whole() {
    let outcomes = damage_copies(4, Redundancy::striped(2, 2), 2, 2..3);
    assert!(outcomes[&Became::Mended] >= 10 * trials(), "{outcomes:?}");
}
