//! This module takes drives away from worlds with redundancy, and gives them back.
//!
//! Invariants:
//! - At most M drives of a world ever fail, are taken away, or come back with what they held long
//!   ago. Whatever becomes of them, nothing acknowledged is lost and no client sees damage.
//! - A start without up to M of at least 2M + 1 drives needs no word of the operator. With fewer it
//!   is refused until the operator says that the drives are gone for good, and from then on they
//!   never take part again.
//! - Sometimes a new drive takes the place of one that is away, and is the one that may fail until it is whole.
//! - Some come back while a node runs, others between two lives, some of them with nothing but their superblock.
//!   Once all drives are whole, other ones may fail.
//! - The drives are given in any order. One that may fail may be twenty times as slow as the others.
//! - In the end all copies are alike, and everything is there without any M drives.

use std::collections::BTreeSet;
use std::rc::Rc;

use ringbolt_engine::check::Kind;
use ringbolt_engine::device::Device;
use ringbolt_engine::node::{OnlineError, OpenError, ReplaceError};
use ringbolt_engine::sim::device::SimDevice;
use ringbolt_engine::sim::{
    Random, SimNode, SimOptions, Simulator, format_sim_set, format_striped_sim_set, make_sim_replacement,
};

use super::context::Life;
use super::plan::{Faults, Plan};
use super::world::World;

/// How many times as long as others a slow drive takes.
const SLOWNESS: u64 = 20;
/// The superblock's copies lie before this.
const SUPERBLOCKS_BYTES: u64 = 1 << 20;
/// Drives are whole within this time after the last fault.
const WHOLE_US_MAX: u64 = 600_000_000;

/// Holds what is known of the drives that may fail.
#[derive(Default)]
pub struct Mirrors {
    /// How many drives may be lost: M.
    failures_max: usize,
    /// The places of the drives that may fail.
    victims: Vec<usize>,
    /// Those that are away.
    away: BTreeSet<usize>,
    /// Those that the view in use did not have, or that were not whole, when it was noted last.
    out: BTreeSet<usize>,
    /// Those that were away when a node opened last.
    left_out: BTreeSet<usize>,
    /// Those that are gone for good, as the operator has said.
    gone: BTreeSet<usize>,
    /// Those whose place another drive has taken.
    replaced: BTreeSet<usize>,
}

/// Makes the choices for striped sets others than those for the rest.
const STRIPES: u64 = 0x7374_7269_7065_7321;

impl Mirrors {
    /// Formats the drives of a world with redundancy: each shard has a copy on one or two more drives.
    pub fn format(
        sim: &Simulator,
        plan: &Plan,
        shards: u16,
        (extra_mib, slots): (u64, u64),
    ) -> (Self, Vec<SimDevice>) {
        let random = Random::new(plan.seed ^ 0x6d69_7272_6f72_7321);
        let drives = 2 + random.below(5) as u16;
        let failures_max: u64 = match random.below(6) {
            0 if drives > 3 => 3,
            1 | 2 if drives > 2 => 2,
            _ => 1,
        };
        // The drives take turns: this is how many shards the busiest has.
        let (rounds, rest) = (u64::from(shards / drives), u64::from(shards % drives));
        let homes = rounds * (failures_max + 1) + rest.min(failures_max + 1);
        let size_bytes = (30 * homes + 6 + extra_mib) << 20;
        let sizes = (size_bytes * slots, slots);
        let set = format_sim_set(sim, drives, sizes, shards, failures_max as u8);
        (Self::with(&random, drives, failures_max as usize), set)
    }

    /// Returns how many drives a world with striped sets has.
    pub fn striped_drives(plan: &Plan) -> u16 {
        4 + Random::new(plan.seed ^ STRIPES).below(6) as u16
    }

    /// Formats the drives of a world with striped sets. When M of them are lost, as many are left as a set needs that
    /// has any parity.
    pub fn format_striped(
        sim: &Simulator,
        plan: &Plan,
        drives: u16,
        (extra_mib, slots): (u64, u64),
    ) -> (Self, Vec<SimDevice>) {
        let random = Random::new(plan.seed ^ STRIPES ^ 1);
        let parity = if drives > 4 { 1 + random.below(2) } else { 1 };
        let data = 2 + random.below(u64::from(drives) - parity - 2);
        let size_bytes = (30 * (parity + 1) + 10 * u64::from(drives) + 6 + extra_mib) << 20;
        let shape = (data as u8, parity as u8);
        let set = format_striped_sim_set(sim, drives, (size_bytes * slots, slots), drives, shape);
        (Self::with(&random, drives, parity as usize), set)
    }

    fn with(random: &Random, drives: u16, failures_max: usize) -> Self {
        let mut places: Vec<usize> = (0..usize::from(drives)).collect();
        for at in (1..places.len()).rev() {
            places.swap(at, random.below(at as u64 + 1) as usize);
        }
        let victims = places[..failures_max].to_vec();
        Self { failures_max, victims, ..Self::default() }
    }

    /// Returns whether a drive may have faults.
    pub fn may_fail(&self, drive: usize) -> bool {
        self.failures_max == 0 || self.victims.contains(&drive)
    }
}

impl World {
    /// Sometimes takes away drives that may fail.
    pub(super) fn take_drives_away(&mut self) {
        if !self.plan.aim.is_redundant() || !self.sim().random().one_in(4) {
            return;
        }
        let random = self.shared.sim.random();
        let taken: Vec<usize> = self.mirrors.victims.iter().copied().filter(|_| !random.one_in(3)).collect();
        self.shared.note(|| format!("drives {taken:?} are taken away"));
        self.mirrors.away.extend(taken);
    }

    /// Sometimes makes a drive that may fail answer nothing for longer than the node waits for it.
    pub(super) fn stop_a_victim(&self) {
        let random = self.shared.sim.random();
        let Some(victim) = self.mirrors.victims.first().filter(|_| self.faults == Faults::Errors) else {
            return;
        };
        if self.plan.aim.is_redundant() && random.one_in(6) {
            let long_us = 2_000_000 + random.below(20_000_000);
            self.shared.note(|| format!("drive {victim} stands still for {long_us} us"));
            self.drives[*victim].stand_still_us(long_us);
        }
    }

    /// Makes a drive that may fail much slower than the others, or as fast again.
    pub(super) fn slow_a_victim(&self) {
        let random = self.shared.sim.random();
        if let Some(victim) = self.mirrors.victims.first() {
            self.drives[*victim].slow_down(if random.one_in(8) { SLOWNESS } else { 1 });
        }
    }

    /// Returns the places of the drives that have not been replaced.
    pub(super) fn members(&self) -> Vec<usize> {
        (0..self.drives.len()).filter(|at| !self.mirrors.replaced.contains(at)).collect()
    }

    /// Sometimes has a new drive take the place of the only one that is away.
    fn replace_a_drive(&mut self) {
        let random = self.shared.sim.random();
        let away: Vec<usize> = self.mirrors.away.difference(&self.mirrors.replaced).copied().collect();
        let &[lost] = away.as_slice() else { return };
        if !random.one_in(4) {
            return;
        }
        self.rest_those_away();
        let set: Vec<SimDevice> = self.given_drives().into_iter().map(|(_, drive)| drive).collect();
        match make_sim_replacement(self.sim(), &set, self.drives[lost].size_bytes()) {
            Ok(made) => {
                let new = self.drives.len();
                self.shared.note(|| format!("drive {new} takes the place of drive {lost}"));
                self.drives.push(made);
                self.mirrors.replaced.insert(lost);
                self.mirrors.out.insert(new);
                self.mirrors.victims.iter_mut().filter(|at| **at == lost).for_each(|at| *at = new);
                self.shared.report.borrow_mut().drives_replaced += 1;
            }
            // What the node can not do without is given back. A superblock may be damaged meanwhile.
            Err(ReplaceError::NeverServed | ReplaceError::LastHome { .. } | ReplaceError::Format(_)) => {}
            Err(error) => panic!("no drive takes the place of drive {lost}: {error}"),
        }
    }

    /// Sometimes gives drives back that were taken away.
    pub(super) fn give_drives_back(&mut self) {
        self.replace_a_drive();
        let random = self.shared.sim.random();
        let Mirrors { away, out, left_out, replaced, .. } = &mut self.mirrors;
        let may_return: Vec<usize> =
            away.difference(replaced).copied().filter(|_| random.one_in(2)).collect();
        if may_return.is_empty() {
            return;
        }
        away.retain(|drive| !may_return.contains(drive));
        // What the view still counts on may not be wiped as well: nobody would bring it up to date. One that was there
        // may have become whole since.
        let is_out = |at: &usize| out.contains(at) && left_out.contains(at);
        let wiped: Vec<usize> =
            may_return.iter().copied().filter(|at| is_out(at) && random.one_in(4)).collect();
        for drive in wiped {
            self.shared.note(|| format!("drive {drive} was wiped behind its superblock"));
            self.drives[drive].damage(SUPERBLOCKS_BYTES, |bytes| bytes.fill(0));
        }
        self.shared.note(|| format!("drives {may_return:?} are given back"));
    }

    /// Sometimes gives a drive that is away, or has left, to a node that runs.
    pub(super) fn give_a_drive_online(&mut self, node: &Rc<SimNode>) {
        let random = self.shared.sim.random();
        if !self.plan.aim.is_redundant() || !random.one_in(8) {
            return;
        }
        let used = node.drive_numbers();
        let is_out = |at: &usize| !used.contains(&(*at as u16)) && !self.mirrors.gone.contains(at);
        let out: Vec<usize> = self.members().into_iter().filter(is_out).collect();
        let Some(at) = out.get(random.below(out.len().max(1) as u64) as usize).copied() else { return };
        let (on, drive) = (node.clone(), self.drives[at].clone());
        let taken = self.sim().block_on(async move { on.take_drive(&drive).await });
        self.shared.note(|| format!("drive {at} is given to the node: {taken:?}"));
        match taken {
            Ok(_) => {
                let Mirrors { away, out, left_out, .. } = &mut self.mirrors;
                away.remove(&at);
                left_out.remove(&at);
                out.insert(at);
                self.shared.report.borrow_mut().drives_came += 1;
            }
            // It is about to come back by itself, hangs, fails, has come too often, or its superblock is damaged.
            Err(
                OnlineError::IsIn
                | OnlineError::IsBusy
                | OnlineError::Failed(_)
                | OnlineError::Damaged
                | OnlineError::NoSeat
                | OnlineError::NotNow
                | OnlineError::Unknown,
            ) => {}
            Err(error) => panic!("drive {at} does not come: {error}"),
        }
    }

    /// Returns the drives that an open is given, with their places.
    pub(super) fn given_drives(&self) -> Vec<(usize, SimDevice)> {
        let given = self.drives.iter().cloned().enumerate();
        let mut given: Vec<_> = given.filter(|(at, _)| !self.mirrors.away.contains(at)).collect();
        // Each is known by what it holds, wherever it is.
        for at in (1..given.len()).rev() {
            given.swap(at, self.shared.sim.random().below(at as u64 + 1) as usize);
        }
        given
    }

    /// Opens the drives that are given, if necessary with the operator's word.
    pub(super) fn open_given(&mut self) -> Result<Rc<SimNode>, OpenError> {
        self.shared.locks.restart();
        let opened = self.open_with(self.options);
        let opened = match opened {
            Err(OpenError::TooFew { .. }) => {
                let fewest = 2 * self.mirrors.failures_max + 1;
                let in_view = self.members().len() - self.mirrors.out.len();
                assert!(in_view < fewest, "a start with enough of {in_view} drives was refused");
                self.mirrors.gone.extend(self.mirrors.away.iter());
                self.shared.note(|| "the operator says that what is missing is gone".to_owned());
                self.open_with(SimOptions { without_missing: true, ..self.options })
            }
            other => other,
        };
        if let Ok(node) = &opened {
            self.note_view(node);
            self.mirrors.left_out = self.mirrors.away.clone();
            self.change_victims();
        }
        opened
    }

    /// Has the drives that are away end what a dead process began.
    pub(super) fn rest_those_away(&self) {
        for drive in self.mirrors.away.iter().map(|drive| &self.drives[*drive]) {
            drive.stand_alone();
            drive.live_in(self.sim());
        }
    }

    fn open_with(&self, options: SimOptions) -> Result<Rc<SimNode>, OpenError> {
        self.rest_those_away();
        let drives = self.given_drives().into_iter().map(|(_, drive)| drive).collect();
        self.sim().block_on(SimNode::open(self.sim().clone(), drives, options)).map(Rc::new)
    }

    /// Waits until all drives are whole, ends the node, and looks at every copy. Then any M drives are taken
    /// away, and nothing may be missing.
    pub(super) fn judge_copies(&mut self, node: Rc<SimNode>) {
        let Mirrors { away, gone, replaced, .. } = &self.mirrors;
        let is_complete = away.is_subset(replaced) && gone.is_subset(replaced);
        // Drives that lie have damage that nobody has found yet.
        if !is_complete || self.faults == Faults::Media || self.is_tight() {
            return self.kill(node);
        }
        let until_us = self.sim().now_us() + WHOLE_US_MAX;
        let members = self.members();
        while node.whole_drives().len() < members.len() {
            if self.sim().now_us() > until_us || !self.sim().step() {
                let core = node.core(0);
                let drives = self.sim().block_on(async move { core.drives().await });
                panic!("not all drives are whole: {drives:?}");
            }
        }
        self.close(node, &Life::default());
        let checked = self.check(true);
        let (_, findings) = checked.unwrap_or_else(|error| panic!("whole drives are not checked: {error}"));
        // If this life wrote nothing, what the one before was writing still lies behind the end of a log.
        let unlike: Vec<_> = findings.iter().filter(|finding| finding.kind != Kind::TornTail).collect();
        assert!(unlike.is_empty(), "the copies of whole drives are not alike: {unlike:?}");
        self.mirrors.out.clear();
        let random = self.shared.sim.random();
        let first = random.below(members.len() as u64) as usize;
        let lost = (first..).map(|at| members[at % members.len()]).take(self.mirrors.failures_max);
        self.mirrors.victims = lost.collect();
        self.mirrors.away.extend(self.mirrors.victims.iter());
        self.shared.note(|| format!("drives {:?} are lost in the end", self.mirrors.away));
        let node = self.open(&Life::default());
        self.shared.report.borrow_mut().losses_judged += 1;
        self.kill(node);
    }

    /// Notes which drives are whole in the view of a node, and checks that none came back that is gone for
    /// good.
    fn note_view(&mut self, node: &SimNode) {
        let used: BTreeSet<usize> = node.whole_drives().into_iter().map(usize::from).collect();
        let out: BTreeSet<usize> = self.members().into_iter().filter(|drive| !used.contains(drive)).collect();
        let gone = self.mirrors.gone.union(&self.mirrors.replaced);
        let back: Vec<_> = gone.filter(|drive| used.contains(drive)).collect();
        assert!(back.is_empty(), "{back:?} are gone for good, and are used again");
        assert!(out.iter().all(|drive| self.mirrors.may_fail(*drive)), "{out:?} are out");
        if out.len() > self.mirrors.out.len() {
            self.shared.report.borrow_mut().drives_dropped += 1;
        }
        self.mirrors.out = out;
    }

    /// Lets other drives fail from now on, when all are whole at the begin of a life, unless what failed has
    /// damage that nobody has found yet.
    fn change_victims(&mut self) {
        let random = self.shared.sim.random();
        let is_sound = self.mirrors.out.is_empty() && self.faults != Faults::Media;
        if is_sound && random.one_in(2) {
            let members = self.members();
            let first = random.below(members.len() as u64) as usize;
            let next = |at: usize| members[(first + at) % members.len()];
            self.mirrors.victims = (0..self.mirrors.failures_max).map(next).collect();
            self.shared.note(|| format!("all drives are whole, and {:?} may fail", self.mirrors.victims));
        }
    }

    /// Leaves out the drives whose superblock can not be read any more: a fault destroyed it.
    pub(super) fn leave_out_victims(&mut self) {
        self.shared.note(|| "a drive that can not be opened is left out".to_owned());
        let victims = self.mirrors.victims.clone();
        self.mirrors.away.extend(victims);
    }
}
