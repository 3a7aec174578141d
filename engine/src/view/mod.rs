//! The rules of views: which drives of a set may be believed, and with which a node may go on.
//!
//! A **view** says which drives are in, its members, and which of them are the homes of each shard. It is
//! numbered by the epoch of its life and a counter. Each rule is one question here, of sets of drives
//! alone, so that a model can ask it in every state that there is: `tests/views` does. Decision 0016 has
//! the rules in order, and what goes wrong without each.

mod drive_set;

pub use self::drive_set::DriveSet;

/// Returns the members of the views that the newest view was counted from, as its holders say: none, if one
/// of them knows that it was used.
pub fn bases_of(holders: impl IntoIterator<Item = Vec<DriveSet>>) -> Vec<DriveSet> {
    holders.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

/// The rules of a set that goes on without up to `failures_max` drives (M).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub failures_max: u32,
}

/// What is known of a shard while the node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardDrives {
    /// Its homes in the view in use.
    pub homes: DriveSet,
    /// The drives that can read the whole log alone: the homes, and those that the log was rolled to and
    /// that have a checkpoint from which no older set of the log is needed.
    pub ready: DriveSet,
}

impl Rules {
    /// Returns the number of homes that a shard has when all is well.
    pub fn homes_max(self) -> u32 {
        self.failures_max + 1
    }

    /// Returns whether a start may go on with the drives that are `present`, when the newest view that it
    /// found has these `members`. `bases` are the members of the views that it was counted from, unless it
    /// is known to have been used: each of them may be the last one that was, so that the drives that the
    /// start keeps have to be enough of each.
    ///
    /// Each shard needs a home among those that are kept besides: [`Self::has_home`].
    pub fn may_start(
        self,
        members: DriveSet,
        bases: impl IntoIterator<Item = DriveSet>,
        present: DriveSet,
    ) -> bool {
        // Drives that are present and not in the view are not kept, so that they do not count.
        let kept = members & present;
        let mut counted = std::iter::once(members).chain(bases);
        counted.all(|base| self.are_enough(base, kept))
    }

    /// Returns whether a start may go on because every drive that was ever in the set, `all`, is present, or
    /// gone for good by the operator's word. None is left then that could hold a newer view, and what was
    /// acknowledged in it.
    pub fn is_nothing_missing(all: DriveSet, present: DriveSet, gone: DriveSet) -> bool {
        (all - gone).is_within(present)
    }

    /// Returns whether a shard with these homes has one that is present. A start without would let the
    /// homes go that have its log.
    pub fn has_home(homes: DriveSet, present: DriveSet) -> bool {
        !(homes & present).is_empty()
    }

    /// At most M of the drives are not kept, and all of them or at least M + 1 are. So any two groups of
    /// drives that are enough of one view share a drive.
    fn are_enough(self, members: DriveSet, kept: DriveSet) -> bool {
        let (here, lost) = (members & kept, members - kept);
        lost.is_empty() || (lost.len() <= self.failures_max && here.len() > self.failures_max)
    }

    /// Returns whether a view with the members `next` may follow while the node runs. `in_use` are the
    /// members of the view in use, and `latest` those of the view of the highest number, which may only be
    /// begun. What is dropped is counted from the view in use.
    pub fn may_change(self, in_use: DriveSet, latest: DriveSet, next: DriveSet, alive: DriveSet) -> bool {
        let drops_the_living = !(((in_use | latest) - next) & alive).is_empty();
        let lost = (in_use - next).len();
        !next.is_empty() && next.is_within(alive) && !drops_the_living && lost <= self.failures_max
    }

    /// Returns whether `homes` may be a shard's homes in a view with `members`. As many as there were stay,
    /// or others that are ready take their place. Only a drive of the view in use can be ready, so that a
    /// view shares a drive with the one before.
    pub fn may_be_homes(self, shard: ShardDrives, members: DriveSet, homes: DriveSet) -> bool {
        let left = shard.homes & members;
        let count = homes.len();
        homes.is_within(shard.ready & members) && count >= left.len().max(1) && count <= self.homes_max()
    }

    /// Returns whether a shard with these homes may go on with a set of its log on `members`, of the
    /// drives `usable`, which are in the view in use and work. Homes change by a view alone, so the set has
    /// every home, and besides them those that prepare to be homes.
    pub fn may_roll_to(self, homes: DriveSet, usable: DriveSet, members: DriveSet) -> bool {
        let is_small = (members - homes).len() <= self.failures_max;
        homes.is_within(members) && is_small && !members.is_empty() && members.is_within(usable)
    }

    /// Returns the drives whose roots have to be new before what older ones name is let go: the homes, and
    /// the drives that may become homes.
    pub fn roots_that_count(shard: ShardDrives) -> DriveSet {
        shard.homes | shard.ready
    }

    /// Returns whether a view with these members may be used, when `holders` have it durably. What it
    /// touches is not acknowledged before, and it is never given up.
    pub fn may_use(members: DriveSet, holders: DriveSet) -> bool {
        members.is_within(holders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(drives: &[u16]) -> DriveSet {
        drives.iter().copied().collect()
    }

    #[test]
    fn a_start_without_one_of_three_goes_on_and_without_two_it_does_not() {
        let rules = Rules { failures_max: 1 };
        let all = set(&[0, 1, 2]);
        assert!(rules.may_start(all, [], all));
        assert!(rules.may_start(all, [], set(&[0, 2])));
        assert!(!rules.may_start(all, [], set(&[2])));
        assert!(!rules.may_start(set(&[0, 1]), [], set(&[0, 2])), "one of two is not more than M");
        assert!(rules.may_start(set(&[1]), [], set(&[1, 2])), "all of them are there");
        let none = Rules { failures_max: 0 };
        assert!(none.may_start(all, [], all) && !none.may_start(all, [], set(&[0, 1])));
    }

    /// Of four drives, two starts were cut when one drive each had their view. Then each half of the set
    /// finds a view of its own that it would be enough of.
    #[test]
    fn a_view_that_was_only_begun_does_not_split_the_set() {
        let rules = Rules { failures_max: 1 };
        let formatted = set(&[0, 1, 2, 3]);
        let (first, second) = (set(&[0, 1, 2]), set(&[1, 2, 3]));
        assert!(rules.may_start(formatted, [], first) && rules.may_start(formatted, [], second));
        let halves = [(first, set(&[0, 2])), (second, set(&[1, 3]))];
        for (begun, half) in halves {
            assert!(rules.may_start(begun, [], half), "the begun view alone would let it go on");
            assert!(!rules.may_start(begun, [formatted], half), "{half:?} of {begun:?}");
        }
    }

    /// A begun view took drive 3 back and dropped drive 1. Counting 3 for the view before, which does not
    /// have it, would make up for nothing; but counting 1, which the start does not keep, would.
    #[test]
    fn what_a_start_does_not_keep_counts_for_no_view() {
        let rules = Rules { failures_max: 1 };
        let (in_use, begun) = (set(&[0, 1, 2]), set(&[0, 2, 3]));
        assert!(
            !rules.may_start(begun, [in_use], set(&[1, 2, 3])),
            "of the view in use it keeps drive 2 alone"
        );
        assert!(rules.may_start(begun, [in_use], set(&[0, 2])));
    }

    #[test]
    fn the_word_of_the_operator_covers_every_drive_of_the_set() {
        let all = set(&[0, 1, 2]);
        assert!(Rules::is_nothing_missing(all, set(&[0]), set(&[1, 2])));
        assert!(!Rules::is_nothing_missing(all, set(&[0]), set(&[2])), "drive 1 may know more");
        assert!(Rules::is_nothing_missing(all, all, DriveSet::EMPTY), "no word is needed");
    }

    #[test]
    fn a_change_drops_up_to_m_of_the_view_in_use_and_none_that_works() {
        let rules = Rules { failures_max: 1 };
        let all = set(&[0, 1, 2]);
        let alive = set(&[0, 1]);
        assert!(rules.may_change(all, all, alive, alive));
        assert!(!rules.may_change(all, all, set(&[0]), alive), "drive 1 works");
        assert!(!rules.may_change(all, alive, set(&[0]), set(&[0])), "two of the view in use are gone");
        assert!(rules.may_change(alive, alive, all, all), "one is taken back");
        assert!(!rules.may_change(alive, alive, all, alive), "it does not work");
    }

    #[test]
    fn homes_are_ready_before_they_are_homes() {
        let rules = Rules { failures_max: 1 };
        let members = set(&[0, 1, 2]);
        let shard = ShardDrives { homes: set(&[0, 1]), ready: set(&[0, 1]) };
        assert!(rules.may_be_homes(shard, members, set(&[0, 1])));
        assert!(!rules.may_be_homes(shard, members, set(&[0, 2])));
        assert!(!rules.may_be_homes(shard, members, set(&[0])), "one home fewer for no reason");
        assert!(rules.may_be_homes(shard, set(&[0, 2]), set(&[0])), "the other one is gone");
        let ready = ShardDrives { ready: set(&[0, 1, 2]), ..shard };
        assert!(rules.may_be_homes(ready, members, set(&[0, 2])));
        assert!(!rules.may_be_homes(ready, members, members), "more than M + 1");
        assert_eq!(Rules::roots_that_count(ready), members);
        assert!(rules.may_roll_to(shard.homes, members, members));
        assert!(!rules.may_roll_to(shard.homes, members, set(&[0, 2])), "it leaves a home out");
        assert!(!rules.may_roll_to(shard.homes, set(&[0, 1]), members), "drive 2 does not work");
        assert!(Rules::may_use(members, members) && !Rules::may_use(members, set(&[0, 1])));
    }
}
