//! What the model's world looks like between two steps: the drives, and the node if it runs.

use crate::log::{Copy, History, LogSet};
use crate::set::{Batches, Drives, Memberships, Set};

/// How many shards there are at most. A model with one shard leaves the other one untouched.
pub const SHARDS_MAX: usize = 2;

/// A view: which drives are in, and which of them are the homes of each shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View {
    pub epoch: u8,
    pub counter: u8,
    pub members: Drives,
    /// Homes are members always: a drive that leaves the view is a home no longer.
    pub homes: [Drives; SHARDS_MAX],
    /// The drives that were ever in the set, as far as whoever wrote the view knew.
    pub known: Drives,
}

impl View {
    pub fn number(&self) -> (u8, u8) {
        (self.epoch, self.counter)
    }
}

/// What is durable on one drive: the superblock's promise and view, and a copy of each shard's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Drive {
    pub promised: u8,
    pub view: View,
    /// What the view was counted from, as long as the drive does not know that the view was used:
    /// the members of each view that may have been the last one in use before.
    pub bases: Memberships,
    pub logs: [Copy; SHARDS_MAX],
}

/// A node that runs: what it has in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The drives that work. One that failed does no longer while it is in the view.
    pub alive: Drives,
    /// The view in use.
    pub view: View,
    /// A view of higher number that was written to some drives, but not to all that stay.
    pub begun: Option<View>,
    pub shards: [Shard; SHARDS_MAX],
}

/// What a node that runs knows of one shard's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shard {
    pub log: Batches,
    /// The drives that each batch of the current log set goes to.
    pub written_to: Drives,
    /// Those of them that can read the whole log: the homes, and drives that may become homes.
    pub ready: Drives,
}

/// The whole world. The last four fields are known to the model alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub drives: Vec<Drive>,
    /// The node, or nothing while it is off.
    pub node: Option<Node>,
    /// The drives that are gone for good, as the operator has said.
    pub gone: Drives,
    pub starts: u8,
    pub histories: [History; SHARDS_MAX],
    pub acknowledged: [Batches; SHARDS_MAX],
    /// The homes of each shard in the view that was used last. Each of them has all that was
    /// acknowledged.
    pub keepers: [Drives; SHARDS_MAX],
    pub mistake: Option<Mistake>,
}

/// What must never happen to the numbers in superblocks. It is noted when it does, since it shows
/// in a step and not in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// A drive's promise or view was replaced by a lower one.
    WentBack,
    /// Two different views had the same number.
    NumberUsedTwice,
}

impl State {
    /// Returns a set of drives that was formatted and runs, with every drive in the view, and behind them `blanks`
    /// that may be added to it. Of a shard that the model leaves out every drive has an empty log, so that no rule
    /// finds it lacking.
    pub fn formatted((drives, blanks): (u8, u8), shards: usize, homes: [Drives; SHARDS_MAX]) -> Self {
        let members = Set::first(drives - blanks);
        let view = View { epoch: 1, counter: 1, members, homes, known: members };
        let is_left_out = |shard: usize| shard >= shards;
        let has_log = |shard: usize, drive: u8| is_left_out(shard) || homes[shard].contains(drive);
        let logs_of = |drive: u8| std::array::from_fn(|shard| empty_log(has_log(shard, drive)));
        let shards = homes.map(|homes| Shard { log: Set::EMPTY, written_to: homes, ready: homes });
        Self {
            drives: (0..drives)
                .map(|drive| match members.contains(drive) {
                    true => formatted(view, logs_of(drive)),
                    false => {
                        Drive { logs: std::array::from_fn(|shard| empty_log(is_left_out(shard))), ..blank() }
                    }
                })
                .collect(),
            node: Some(Node { alive: members, view, begun: None, shards }),
            gone: Set::EMPTY,
            starts: 0,
            histories: [History::default(); SHARDS_MAX],
            acknowledged: [Set::EMPTY; SHARDS_MAX],
            keepers: homes,
            mistake: None,
        }
    }

    pub fn drive(&self, drive: u8) -> &Drive {
        &self.drives[usize::from(drive)]
    }

    /// Returns the log that recovery reads from one drive alone.
    pub fn log_of(&self, drive: u8, shard: usize) -> Option<Batches> {
        self.drive(drive).logs[shard].read(&self.histories[shard])
    }

    /// Makes a promise durable on each of `reached`.
    pub fn write_promise(&mut self, epoch: u8, reached: Drives) {
        for drive in reached.iter() {
            let drive = &mut self.drives[usize::from(drive)];
            if epoch < drive.promised {
                self.mistake = Some(Mistake::WentBack);
            }
            drive.promised = epoch;
        }
    }

    /// Makes a view, with the promise of its epoch and with what it was counted from, durable on each
    /// of `reached`.
    pub fn write_view(&mut self, view: View, bases: Memberships, reached: Drives) {
        let is_other = |drive: &Drive| drive.view.number() == view.number() && drive.view != view;
        if !reached.is_empty() && self.drives.iter().any(is_other) {
            self.mistake = Some(Mistake::NumberUsedTwice);
        }
        for drive in reached.iter() {
            let drive = &mut self.drives[usize::from(drive)];
            // A drive that is taken back may have promised more to a start that was cut.
            drive.promised = drive.promised.max(view.epoch);
            if view.number() < drive.view.number() {
                self.mistake = Some(Mistake::WentBack);
            }
            (drive.view, drive.bases) = (view, bases);
        }
    }

    /// Notes on every drive that holds the view that it was used. The real note is another write of the
    /// superblock. Until that is durable a start counts from more views and refuses more often, and
    /// does nothing else, so that the model may write it at once.
    pub fn note_use(&mut self, view: &View) {
        for drive in self.drives.iter_mut().filter(|drive| drive.view == *view) {
            drive.bases = Memberships::NONE;
        }
    }

    /// Makes a batch durable on each of `reached`.
    pub fn write_batch(&mut self, shard: usize, batch: u8, reached: Drives) {
        let history = &self.histories[shard];
        for drive in reached.iter() {
            self.drives[usize::from(drive)].logs[shard].write(batch, history);
        }
    }

    /// Takes a drive away that is gone for good. What lay on it means nothing any more.
    pub fn lose(&mut self, drive: u8) {
        self.gone = self.gone | Set::one(drive);
        self.drives[usize::from(drive)] = blank();
    }

    /// Returns the drives that were ever in the set: those that hold a view, and those that are gone.
    pub fn ever_in(&self) -> Drives {
        let holds = |drive: &u8| self.drive(*drive).view.number() > (0, 0);
        let all = (0..self.drives.len() as u8).filter(holds);
        all.fold(self.gone, |set, drive| set | Set::one(drive))
    }
}

/// A drive on which nothing lies that means anything.
fn blank() -> Drive {
    let homes = [Set::EMPTY; SHARDS_MAX];
    let nothing = View { epoch: 0, counter: 0, members: Set::EMPTY, homes, known: Set::EMPTY };
    formatted(nothing, [Copy::default(); SHARDS_MAX])
}

fn formatted(view: View, logs: [Copy; SHARDS_MAX]) -> Drive {
    Drive { promised: view.epoch, view, bases: Memberships::NONE, logs }
}

fn empty_log(is_home: bool) -> Copy {
    Copy { root: is_home.then_some(LogSet::FIRST), held: Set::EMPTY }
}
