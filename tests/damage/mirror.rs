//! These tests damage one copy of a mirror, on real drive files: every case in which one drive without
//! redundancy is damaged, one after the other on each of the drives.
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
    Core, Environment, FormatError, NodeMetrics, NodeOptions, NodePlan, OpenError, ScrubOptions,
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

/// This is a case: a drive of the set, and what happens to it.
struct Case {
    drive: usize,
    trial: usize,
    changes: Changes,
}

struct Mirror {
    stored: Stored,
    uuids: Vec<[u8; 16]>,
    failures_max: usize,
}

impl Mirror {
    /// Returns the drives that are taken away to leave the only copy of something on `drive`: as many as may
    /// be lost, and one after the other when there are more.
    fn others(&self, drive: usize, trial: usize) -> Vec<usize> {
        let all = self.stored.drives.len();
        (0..self.failures_max).map(|number| (drive + 1 + (number + trial) % (all - 1)) % all).collect()
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
        let drive = &self.stored.drives[case.drive];
        drive.write(&case.changes);
        let has_superblock = drive.superblock().is_some();
        if has_superblock {
            let (outcome, findings) = checked(&self.stored.paths());
            assert_eq!(outcome.losses + outcome.beyond_repair, 0, "another copy is whole: {findings:?}");
        }
        let also = verdict.unreadable();
        let became = match self.read_and_scrub(also) {
            Ok(metrics) => {
                assert!(has_superblock, "the start goes on with a drive without a superblock");
                self.assert_whole(case, &verdict, &metrics);
                let is_unneeded = verdict == Verdict::Unreadable(Vec::new());
                if is_unneeded { Became::Unneeded } else { Became::Mended }
            }
            Err(OpenError::Format(FormatError::Damaged { path, .. }))
                if !has_superblock && path == drive.path =>
            {
                self.without(&[case.drive], async |core| self.compare(&core, also).await);
                Became::LeftOut
            }
            Err(error) => panic!("the set does not open: {error}"),
        };
        self.stored.drives.iter().for_each(|drive| drive.restore());
        became
    }

    /// Requires that no client saw the damage, and that the drive is whole.
    fn assert_whole(&self, case: &Case, verdict: &Verdict, metrics: &NodeMetrics) {
        assert_eq!(metrics.refused_reads, 0);
        // A start reads one copy of each chunk of a checkpoint, and the scrub all of them.
        let findings_max = u64::from(*verdict == Verdict::Refused);
        for shard in &metrics.shards {
            assert!(shard.scrub.findings <= findings_max, "shard {}: {:?}", shard.shard, shard.scrub);
        }
        let (outcome, findings) = checked(&self.stored.paths());
        assert_eq!((outcome.damage(), findings), (0, Vec::new()), "the drives are not whole");
        let also = verdict.unreadable();
        self.without(&self.others(case.drive, case.trial), async |core| {
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

/// Goes through cases with a set of drives, of which `failures_max` may be lost: each kind of block with each
/// of `harms`, which are places in [`HARMS`] counted from that kind's own.
fn damage_one_copy(drives: usize, failures_max: u8, harms: Range<usize>) -> BTreeMap<Became, usize> {
    let directory =
        tempfile::Builder::new().prefix("damage-").tempdir_in(binary::scratch_dir()).expect("a directory");
    let stored = Stored::make(directory.path(), drives, failures_max);
    let atlases: Vec<Atlas> = stored.drives.iter().map(|drive| Atlas::read(&drive.image)).collect();
    let uuid = |drive: &DriveFile| drive.superblock().expect("a good superblock").drive_uuid;
    let uuids = stored.drives.iter().map(uuid).collect();
    let mirror = Mirror { stored, uuids, failures_max: usize::from(failures_max) };
    let mut dice = Dice::new(SEED);
    let mut outcomes: BTreeMap<Became, usize> = BTreeMap::new();
    let kinds = KINDS.into_iter().chain(KINDS_OF_COPIES).enumerate();
    let sorts = kinds.flat_map(|(row, kind)| harms.clone().map(move |column| (row, kind, column)));
    for ((row, kind, column), trial) in sorts.flat_map(|sort| (0..trials()).map(move |trial| (sort, trial))) {
        let harm = HARMS[(row + column) % HARMS.len()];
        // A drive that is the home of few shards has not everything.
        let mut in_turn = (0..drives).map(|number| (row + column / 2 + trial + number) % drives);
        let drive = in_turn.find(|drive| has(kind, &atlases[*drive])).expect("a drive has it");
        let file = &mirror.stored.drives[drive];
        let changes = damage(kind, harm, &atlases[drive], file, &mut dice);
        if changes.is_empty() {
            continue;
        }
        let verdict = atlases[drive].verdict(&changed_bytes(&changes, &file.image));
        let at: Vec<usize> = changes.iter().map(|(at, _)| *at).collect();
        println!("{harm:?} of {kind:?} on drive {drive} of {drives}, trial {trial}, at {at:?}");
        let became = mirror.go_through(&Case { drive, trial, changes }, verdict);
        *outcomes.entry(became).or_default() += 1;
    }
    println!("{drives} drives, {failures_max} may be lost: {outcomes:?}");
    assert!(mirror.stored.drives.iter().all(|drive| drive.is_restored()), "a case left something behind");
    outcomes
}

#[test]
fn no_client_sees_what_is_damaged_on_one_of_two_drives_and_a_scrub_makes_it_whole() {
    let outcomes = damage_one_copy(2, 1, 0..HARMS.len());
    assert!(outcomes[&Became::Mended] >= 40 * trials(), "{outcomes:?}");
}

/// Each shard has copies on two of the drives, and another one on each pair.
#[test]
fn no_client_sees_what_is_damaged_on_one_of_three_drives_and_a_scrub_makes_it_whole() {
    let outcomes = damage_one_copy(3, 1, 0..1);
    assert!(outcomes[&Became::Mended] >= 10 * trials(), "{outcomes:?}");
}

#[test]
fn no_client_sees_what_is_damaged_of_one_of_three_copies_and_a_scrub_makes_it_whole() {
    let outcomes = damage_one_copy(3, 2, 1..2);
    assert!(outcomes[&Became::Mended] >= 10 * trials(), "{outcomes:?}");
}
