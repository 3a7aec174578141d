//! The rules, each as one question with an answer, and the wrong rules that the model must catch.
//!
//! The right answers about sets of drives are the engine's own (`ringbolt_engine::view`). What the engine
//! has no code for yet is the model's: which batches are settled, where a log comes from, and when a drive
//! is ready to be a home. A wrong rule differs from the right one in one answer. Where that is, the code
//! asks `self.wrong`.

use ringbolt_engine::view::{self, ShardDrives};

use crate::set::{Drives, Memberships, Set};
use crate::state::{Node, SHARDS_MAX, State, View};

/// A rule that is weaker than it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A view is used, and written under, as soon as one drive has it.
    AckBeforeView,
    /// A view that was written to some drives is given up, and its number given to another one.
    Abandon,
    /// What a change may drop is counted from the view that was begun, not from the one in use.
    CountFromUnfinished,
    /// A change drops any number of drives.
    DropMany,
    /// A drive becomes a home although the log was never rolled to it.
    NoCopy,
    /// A drive becomes a home when the log has rolled to it, before its checkpoint is durable.
    ViewBeforeCheckpoint,
    /// A drive that leaves the view still counts as one that the current log set is written to, so
    /// that it is taken for ready when it is back.
    OldSetCounts,
    /// The log moves to other homes by a record of its own: a new log set leaves out a home that
    /// the view still has.
    HomesByRecord,
    /// What older roots name is let go when the new root is durable on one home.
    LetGoEarly,
    /// What older roots name is let go when the new root is durable on every home in the view, even
    /// if a drive that prepares to be a home still needs it.
    LetGoUnderNewHome,
    /// A start counts from the newest view that it finds, as if that had been used.
    CountFromNewest,
    /// A start counts the drives that are present of older views, though it keeps only those of the
    /// newest one.
    CountThePresent,
    /// A start goes on with any drive.
    AnyOne,
    /// A start goes on whatever is absent, as soon as the operator has named one drive.
    WordForAll,
    /// Drives that the operator has named are left out of the count, and others may be absent as ever.
    WordForSome,
    /// The operator's word is about the drives that the newest view knows: one that was added since may be absent.
    WordOfKnown,
    /// A start goes on although a shard has no home among the drives that are there.
    StartWithoutHome,
    /// A start takes the longest log of any drive, in the view or not, a home or not.
    StaleSource,
    /// A start promises no epoch before it changes anything.
    NoPromise,
    /// A start numbers its view by counting on, and epochs do not count.
    CounterOnly,
    /// A start serves before its view is durable.
    ServeBeforeView,
}

/// The rules for sets that go on without up to `failures_max` drives (M).
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub failures_max: u32,
    pub wrong: Option<Wrong>,
}

/// What a start has decided when it has read the superblocks and logs.
#[derive(Clone, Copy, Debug)]
pub struct StartPlan {
    /// The drives of the newest view that are present.
    pub here: Drives,
    /// What each shard's homes are made alike to, batch by batch.
    pub logs: [Set; SHARDS_MAX],
    pub view: View,
    /// What the view was counted from.
    pub bases: Memberships,
}

impl Rules {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// Returns the number of homes that a shard has when all is well (R).
    pub fn homes_max(&self) -> u32 {
        self.right().homes_max()
    }

    /// Returns the engine's rules.
    fn right(&self) -> view::Rules {
        view::Rules { failures_max: self.failures_max }
    }

    /// Returns what the engine's rules ask of a shard.
    fn shard(node: &Node, shard: usize) -> ShardDrives {
        ShardDrives { homes: node.view.homes[shard].drives(), ready: node.shards[shard].ready.drives() }
    }

    /// Rule 2: nothing is acknowledged that an unfinished change of view touches. A shard is touched
    /// when its homes change.
    pub fn is_touched(&self, node: &Node, shard: usize) -> bool {
        node.begun.is_some_and(|begun| begun.homes[shard] != node.view.homes[shard])
    }

    /// Rule 2: a batch is done when every drive has it that it was written to and that is in the
    /// view. A batch that opens a log set is needed by those that have to read past it.
    pub fn is_settled(&self, state: &State, node: &Node, shard: usize) -> bool {
        let history = &state.histories[shard];
        let known = &node.shards[shard];
        let Some(last) = known.log.highest() else { return true };
        if state.acknowledged[shard].contains(last) {
            return true;
        }
        let needed = if history.opens_a_set(last) { known.ready } else { known.written_to };
        (needed & node.view.members).iter().all(|drive| state.drive(drive).logs[shard].has(last, history))
    }

    /// Returns whether a new log set may be written to `members`. Homes change by a view alone, so
    /// the set has every home, and besides them the drives that prepare to be homes.
    pub fn may_roll_to(&self, node: &Node, shard: usize, members: Drives) -> bool {
        let homes = node.view.homes[shard];
        // With the wrong rule, a home that the set leaves out does not count as one.
        let homes = if self.is(Wrong::HomesByRecord) { homes & members } else { homes };
        let usable = node.alive & node.view.members;
        self.right().may_roll_to(homes.drives(), usable.drives(), members.drives())
    }

    /// Rule 6: returns the drives whose roots must be new before what older ones name is let go.
    pub fn roots_that_count(&self, node: &Node, shard: usize) -> Drives {
        if self.is(Wrong::LetGoUnderNewHome) {
            return node.view.homes[shard];
        }
        Set::of(view::Rules::roots_that_count(Self::shard(node, shard)))
    }

    /// Rule 6: returns whether one drive's new root is enough.
    pub fn one_root_is_enough(&self) -> bool {
        self.is(Wrong::LetGoEarly)
    }

    /// Rule 3: returns whether `next` may follow while the node runs. `from` is the view of the
    /// highest number so far, in use or only begun.
    pub fn may_change_to(&self, node: &Node, from: &View, next: &View) -> bool {
        let is_new = (next.members, next.homes) != (from.members, from.homes);
        let in_use = match self.wrong {
            Some(Wrong::CountFromUnfinished) => from.members,
            // Nothing that is dropped is counted.
            Some(Wrong::DropMany) => next.members,
            _ => node.view.members,
        };
        let (latest, next, alive) = (from.members.drives(), next.members.drives(), node.alive.drives());
        is_new && self.right().may_change(in_use.drives(), latest, next, alive)
    }

    /// Rule 3: returns whether `homes` may be a shard's homes in a view with `members`. As many as
    /// there were stay, or others that are ready take their place. Only a drive of the view in use can
    /// be ready, so that a view shares a drive with the one before even when that had no more than M.
    pub fn may_be_homes(&self, node: &Node, shard: usize, members: Drives, homes: Drives) -> bool {
        let known = &node.shards[shard];
        let ready = match self.wrong {
            Some(Wrong::NoCopy) => members,
            Some(Wrong::ViewBeforeCheckpoint) => known.ready | known.written_to,
            _ => known.ready,
        };
        let shard = ShardDrives { ready: ready.drives(), ..Self::shard(node, shard) };
        self.right().may_be_homes(shard, members.drives(), homes.drives())
    }

    /// Rule 3: returns whether a view may be used that only `reached` of its drives have.
    pub fn may_use(&self, view: &View, reached: Drives) -> bool {
        let is_right = view::Rules::may_use(view.members.drives(), reached.drives());
        is_right || (self.is(Wrong::AckBeforeView) && !reached.is_empty())
    }

    /// Rule 3: returns whether a view that was begun may be given up. It never may.
    pub fn may_give_up(&self) -> bool {
        self.is(Wrong::Abandon)
    }

    /// Returns the drives that stay written to when a view is in use.
    pub fn written_to_in(&self, view: &View, shard: usize, before: Drives) -> Drives {
        let kept = if self.is(Wrong::OldSetCounts) { before } else { before & view.members };
        kept | view.homes[shard]
    }

    /// Rule 4: decides on a start, or returns `None` when it has to refuse.
    pub fn plan_start(&self, state: &State, present: Drives, gone: Drives) -> Option<StartPlan> {
        let newest = self.newest_view(state, present)?;
        // Drives that nothing lies on are no set.
        if newest.number() == (0, 0) || !self.may_go_on(state, &newest, present, gone) {
            return None;
        }
        let here = newest.members & present;
        let mut logs = [Set::EMPTY; SHARDS_MAX];
        for (shard, log) in logs.iter_mut().enumerate() {
            let has_home = view::Rules::has_home(newest.homes[shard].drives(), present.drives());
            if !has_home && !self.is(Wrong::StartWithoutHome) {
                return None;
            }
            match self.longest_log(state, &newest, present, shard) {
                Some(longest) => *log = longest,
                None if self.is(Wrong::StartWithoutHome) => {}
                None => return None,
            }
        }
        let promised = present.iter().map(|drive| state.drive(drive).promised).max()?;
        let epoch = promised + 1;
        let counter = if self.is(Wrong::CounterOnly) { newest.counter + 1 } else { 1 };
        let homes = newest.homes.map(|homes| homes & here);
        let bases = self.bases_of(state, &newest, present).with(newest.members);
        // A drive that nothing lies on is known from now on.
        let known = newest.known | present;
        Some(StartPlan { here, logs, view: View { epoch, counter, members: here, homes, known }, bases })
    }

    /// Returns the view of the highest number on any drive that is present. Two different views of
    /// that number refuse the start.
    pub fn newest_view(&self, state: &State, present: Drives) -> Option<View> {
        let order = |view: &View| if self.is(Wrong::CounterOnly) { (0, view.counter) } else { view.number() };
        let views = || present.iter().map(|drive| state.drive(drive).view);
        let newest = views().max_by_key(order)?;
        views().all(|view| order(&view) != order(&newest) || view == newest).then_some(newest)
    }

    /// Returns whether a start may go on with the drives that are present. By the operator's word it
    /// may with any, if every other drive that was ever in the set is gone for good, in the view or not. A drive
    /// that was away when one was added does not know of it: the word is about that one, too.
    pub fn may_go_on(&self, state: &State, newest: &View, present: Drives, gone: Drives) -> bool {
        let all = match self.wrong {
            Some(Wrong::WordOfKnown) => newest.known,
            _ => newest.known | state.ever_in(),
        };
        let named = newest.members & gone;
        let right = self.right();
        let enough =
            |members: Drives, present: Drives| right.may_start(members.drives(), [], present.drives());
        let by_word = match self.wrong {
            Some(Wrong::WordForAll) => !named.is_empty(),
            Some(Wrong::WordForSome) => enough(newest.members - gone, present),
            _ => view::Rules::is_nothing_missing(all.drives(), present.drives(), gone.drives()),
        };
        let mut bases = self.bases_of(state, newest, present).iter();
        let by_count = if self.is(Wrong::CountThePresent) {
            enough(newest.members, present) && bases.all(|base| enough(base, present))
        } else {
            right.may_start(newest.members.drives(), bases.map(Drives::drives), present.drives())
        };
        by_count || by_word || self.is(Wrong::AnyOne)
    }

    /// Returns what the newest view has to be counted from, unless a drive knows that it was used.
    fn bases_of(&self, state: &State, newest: &View, present: Drives) -> Memberships {
        if self.is(Wrong::CountFromNewest) {
            return Memberships::NONE;
        }
        let holders = present.iter().map(|drive| state.drive(drive)).filter(|drive| drive.view == *newest);
        let bases = view::bases_of(holders.map(|drive| drive.bases.iter().map(Drives::drives).collect()));
        bases.into_iter().fold(Memberships::NONE, |bases, base| bases.with(Set::of(base)))
    }

    /// Returns the longest log of the drives that may be its source: the homes in the newest view.
    fn longest_log(&self, state: &State, newest: &View, present: Drives, shard: usize) -> Option<Set> {
        let sources = if self.is(Wrong::StaleSource) { present } else { newest.homes[shard] & present };
        let logs = sources.iter().filter_map(|drive| state.log_of(drive, shard));
        logs.max_by_key(|log| log.len())
    }

    /// Rule 4: returns whether a start promises its epoch before anything else.
    pub fn promises(&self) -> bool {
        !self.is(Wrong::NoPromise)
    }

    /// Rule 4: returns whether a start may serve before its view is durable. It never may.
    pub fn serves_early(&self) -> bool {
        self.is(Wrong::ServeBeforeView)
    }
}
