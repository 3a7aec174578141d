//! This module ends lives in which a drive had faults that it did not report, and checks and
//! repairs the drives.
//!
//! Invariants:
//! - Before such a life ends, every shard writes one more record without faults, so that every
//!   earlier batch is known to be durable. The next open must then either refuse or recover
//!   everything except objects that report their damage.
//! - This is asserted for faults of one kind. With several kinds together, only this is asserted:
//!   nothing that is read is wrong, and nothing is there that was never put there.
//! - A node that refuses to open opens after a repair, unless the check says that repair is
//!   impossible; then work continues.

use std::path::PathBuf;
use std::rc::Rc;

use ringbolt_engine::check::{CheckError, Finding, Medium, Outcome, RepairError, check, repair};
use ringbolt_engine::node::{FormatError, OpenError};
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::sim::device::{FaultKind, SimDevice};

use super::context::Life;
use super::faults::LifeFaults;
use super::plan::{Aim, Faults};
use super::world::World;

/// These are the kinds of faults that change what is stored.
const DAMAGING: [FaultKind; 5] = [
    FaultKind::MisdirectedWrite,
    FaultKind::MisdirectedWriteAlike,
    FaultKind::LostWrite,
    FaultKind::TornWrite,
    FaultKind::Rot,
];

impl World {
    pub(super) fn plan_is_empty(&self, life: &Life) -> bool {
        life.faults.plan.is_empty()
    }

    pub(super) fn end_with_damage(
        &mut self,
        node: Rc<SimNode>,
        life: &Life,
        before: [u64; FaultKind::COUNT],
    ) {
        self.come_to_rest(&node, life);
        self.used_units = None;
        let on = node.clone();
        let fenced = self.sim().block_on(async move { on.fence().await });
        fenced.unwrap_or_else(|error| panic!("a shard without a failed write does not write: {error}"));
        let now = self.faults_so_far();
        let struck = DAMAGING.iter().any(|kind| now[*kind as usize] > before[*kind as usize]);
        match self.sim().random().below(3) {
            0 => self.kill(node),
            _ => self.crash(node),
        }
        self.damaged |= struck;
        self.shared.report.borrow_mut().media_lives += u64::from(struck);
        if struck && self.sim().random().one_in(4) {
            self.check_drives();
        }
        match self.try_open() {
            Ok(node) => {
                let faults = LifeFaults { damage: self.damaged, ..LifeFaults::default() };
                let afterwards = Life { faults, ..*life };
                match struck && life.faults.mixed {
                    true => self.adopt(&node, &afterwards),
                    false => self.verify(&node, &afterwards),
                }
                self.kill(node);
            }
            Err(error) => {
                assert!(struck, "the node does not open: {error}");
                self.shared.note(|| format!("refused: {error}"));
                self.shared.report.borrow_mut().drives_refused += 1;
                self.sim().kill();
                self.repair_with_loss(life);
            }
        }
    }

    /// Takes the content of the drives as the truth, as far as possible.
    fn adopt(&mut self, node: &Rc<SimNode>, life: &Life) {
        node.audit();
        let context = self.context(node, life);
        let goes_on = self.sim().block_on(async move { context.adopt().await });
        self.over |= !goes_on;
        self.count_recovery();
    }

    /// Does what an operator does with a node that does not open.
    fn repair_with_loss(&mut self, life: &Life) {
        let Ok((outcome, _)) = self.check(true) else {
            self.over = true;
            return;
        };
        assert!(outcome.damage() > 0, "a check finds nothing on drives that do not open");
        let beyond = outcome.beyond_repair > 0;
        let repaired = self.with_instant_drives(|media| repair(media, outcome, true));
        match repaired {
            Err(RepairError::Beyond { .. }) if beyond => {
                self.over = true;
                return;
            }
            Err(error) => panic!("the drives are not repaired: {error}"),
            Ok(_) => self.shared.report.borrow_mut().repairs += 1,
        }
        let checked = self.check(true);
        let (outcome, findings) =
            checked.unwrap_or_else(|error| panic!("not checked after a repair: {error}"));
        assert_eq!(outcome.damage(), 0, "damage after a repair: {findings:?}");
        let opened = self.try_open();
        let node = opened.unwrap_or_else(|error| panic!("the node does not open after a repair: {error}"));
        let faults = LifeFaults { damage: true, ..LifeFaults::default() };
        self.adopt(&node, &Life { faults, ..*life });
        self.kill(node);
    }

    /// Checks the drives and, where there may be damage, repairs what is possible without loss:
    /// neither may do any harm. Without such faults the check must find nothing.
    pub(super) fn check_drives(&mut self) {
        let deep = self.sim().random().one_in(2);
        if self.plan.aim == Aim::Mirrors && self.given_drives().len() < self.members().len() {
            return;
        }
        let Ok((outcome, findings)) = self.check(deep) else { return };
        if self.plan.aim == Aim::Mirrors && self.faults == Faults::Media {
            // What a drive that may fail has in its superblock may be lost.
            return;
        }
        if self.faults != Faults::Media {
            // A copy of the superblock may be half written; the others are intact then.
            let lost = outcome.losses + outcome.beyond_repair;
            assert_eq!(lost, 0, "a check of sound drives finds damage: {findings:?}");
            return;
        }
        let repaired = self.with_instant_drives(|media| repair(media, outcome, false));
        repaired.unwrap_or_else(|error| panic!("a repair without loss fails: {error}"));
        self.shared.note(|| "repaired without loss".to_owned());
    }

    /// Checks the drives. It fails only if no copy of a superblock is intact, and if a drive may
    /// have caused that.
    pub(super) fn check(&mut self, deep: bool) -> Result<(Outcome, Vec<Finding>), CheckError> {
        self.shared.report.borrow_mut().checks += 1;
        let mut findings = Vec::<Finding>::new();
        let outcome = self.with_instant_drives(|media| check(media, deep, &mut findings));
        self.shared.note(|| format!("check {findings:?}"));
        if let Err(error) = &outcome {
            // A single large misdirected write can destroy all copies.
            let unknown =
                matches!(error, CheckError::Open(OpenError::Format(FormatError::NotRingbolt { .. })));
            let known = self.damaged && (unknown || matches!(error, CheckError::NoSuperblock { .. }));
            assert!(known, "the drives can not be checked: {error}");
        }
        Ok((outcome?, findings))
    }

    /// Runs `work` while the drives complete operations at once, because a check does not wait for
    /// the clock.
    fn with_instant_drives<T>(&self, work: impl FnOnce(&[Medium]) -> T) -> T {
        self.drives.iter().for_each(SimDevice::stand_alone);
        let medium = |at: usize| Medium {
            path: PathBuf::from(format!("drive{at}")),
            device: Rc::new(self.drives[at].clone()),
            blocking: None,
        };
        let media: Vec<Medium> = self.members().into_iter().map(medium).collect();
        let done = work(&media);
        self.drives.iter().for_each(|drive| drive.live_in(self.sim()));
        done
    }
}
