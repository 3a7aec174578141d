//! This module computes what stripes on the drives of a node change: how many objects they have room
//! for, and which drives lose data together.
//!
//! A shard has its log on as many drives of the ring as there are copies, and the sets of slices lie on
//! any drives: a new one takes those with the most room, one extent of each. So drives with few homes
//! get more slices, and all are full at the same time, unless some set would need two extents of one
//! drive.
//!
//! What any `copies` drives have in common is lost with them. The copies of the log are on neighbours
//! of the ring, as with mirrors ([`super::mirror`]). A set of slices on `members` of the `drives` drives
//! lies on a given choice of `copies` of them as a whole with the probability
//! p = C(members, copies) / C(drives, copies), if it is as likely on any of them. With n sets the choice
//! loses some stripe with the probability q = 1 − (1 − p)^n. So the choices that lose data are the
//! neighbours, and of all others the part q: on as many drives as a set has members these are all, and
//! on more with many sets nearly all.

use super::mirror;
use ringbolt_engine::node::sizing::RingSizing;
use std::collections::BTreeMap;

/// This text follows [`super::durability::MODEL`] in plans with stripes.
pub const MODEL: &str = " A group is one drive more than may be lost: neighbours that hold all copies of some objects, \
    or drives that some stripe has in common, taken to lie on any drives alike. It is lost when all of its drives are \
    down together: copies × λ × (1 − u) × u^(copies − 1) times a year, where λ is the annual failure rate and u the \
    share of the time that a drive is down. The groups of all nodes are added up.";

/// The search for the objects that fit ends at this part of them.
const PRECISION: f64 = 1e-9;

/// Counts the drives of a node that are home of equally many shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Homes {
    /// This is the number of shards that each of these drives is a home of.
    pub homes: f64,
    pub drives: f64,
}

impl Homes {
    /// Counts the drives of a ring.
    pub fn of(ring: &RingSizing) -> Vec<Self> {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        ring.homes().into_iter().for_each(|homes| *counts.entry(homes).or_default() += 1);
        counts
            .into_iter()
            .map(|(homes, drives)| Self { homes: homes as f64, drives: drives as f64 })
            .collect()
    }
}

/// Holds what can be live on the drives of a node.
#[derive(Clone, Debug)]
pub struct StripedRoom {
    /// Holds drives, and the bytes that can be live on each of them.
    pub rooms: Vec<(Homes, f64)>,
    pub shards: f64,
    /// Counts the drives that a set of slices lies on.
    pub members: u32,
}

impl StripedRoom {
    /// Returns what can be live on all drives.
    pub fn sum(&self) -> f64 {
        self.rooms.iter().map(|(of, room)| of.drives * room).sum()
    }

    /// Returns how many objects fit that have `log_bytes` in each copy of the log and `chunk_bytes` in
    /// each member of their set.
    pub fn objects(&self, log_bytes: f64, chunk_bytes: f64) -> f64 {
        let all_homes: f64 = self.rooms.iter().map(|(of, _)| of.drives * of.homes).sum();
        let each = log_bytes * all_homes / self.shards + chunk_bytes * f64::from(self.members);
        let (mut low, mut high) = (0.0, self.sum() / each);
        while high - low > high * PRECISION {
            let middle = (low + high) / 2.0;
            if self.fit(middle * log_bytes, middle * chunk_bytes) { low = middle } else { high = middle }
        }
        low
    }

    /// Returns whether so many bytes of the log, in each copy, and of slices, in each member, have room.
    fn fit(&self, log_bytes: f64, chunk_bytes: f64) -> bool {
        let left = |(of, room): &(Homes, f64)| (of.drives, room - log_bytes * of.homes / self.shards);
        if self.rooms.iter().map(left).any(|(_, left)| left < 0.0) {
            return false;
        }
        // No set has two members on a drive.
        let chunks: f64 =
            self.rooms.iter().map(left).map(|(drives, left)| drives * left.min(chunk_bytes)).sum();
        chunks >= chunk_bytes * f64::from(self.members) * (1.0 - PRECISION)
    }
}

/// Describes which choices of drives of a node lose data when they are down together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Groups {
    /// Counts those that hold all copies of some objects.
    pub of_copies: f64,
    /// Counts the others that some stripe loses more members with than it may.
    pub of_stripes: f64,
    /// Counts all choices of as many drives, whether they lose anything or not.
    pub choices: f64,
    /// This is the share of all stripes that one choice loses, on average.
    pub stripes_share: f64,
}

impl Groups {
    /// Returns the groups of a node with `sets` striped sets of `members` members on `drives` drives, and
    /// `copies` copies of its logs.
    pub fn of(drives: u32, copies: u32, members: u32, sets: f64) -> Self {
        let of_copies = f64::from(mirror::groups(drives, copies));
        let all = choices(drives, copies);
        let stripes_share = choices(members, copies) / all;
        let lost = if sets > 0.0 { -(sets * (-stripes_share).ln_1p()).exp_m1() } else { 0.0 };
        Self { of_copies, of_stripes: (all - of_copies) * lost, choices: all, stripes_share }
    }

    /// Returns the number of all groups.
    pub fn count(&self) -> f64 {
        self.of_copies + self.of_stripes
    }

    /// Returns the mean bytes that a loss of one group takes of a node that stores `all_bytes` of users,
    /// of which `striped_bytes` are in stripes.
    pub fn bytes_lost(&self, all_bytes: f64, striped_bytes: f64) -> f64 {
        // The records of striped objects are lost with the copies of their log.
        let own_share = 1.0 / self.of_copies;
        let of_stripes = striped_bytes * self.stripes_share;
        let with_copies = all_bytes * own_share + of_stripes * (1.0 - own_share);
        let others = self.choices - self.of_copies;
        (self.of_copies * with_copies + others * of_stripes) / self.count()
    }
}

/// Returns how many choices of `chosen` of `all` there are.
fn choices(all: u32, chosen: u32) -> f64 {
    (0..chosen).map(|at| f64::from(all - at) / f64::from(at + 1)).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mirror::{loss_probability_per_year, losses_of_group_per_year};
    use crate::model::testing::years_with_loss;
    use std::collections::BTreeSet;

    /// With as many drives as members every three drives lose all stripes of 4+2, and six of these choices
    /// are neighbours. Of 8 drives, one stripe of 2+2 loses 4 of the 56 choices.
    #[test]
    fn groups_by_hand_are_reproduced() {
        let groups = Groups::of(6, 3, 6, 1.0);
        assert_eq!((groups.of_copies, groups.of_stripes, groups.stripes_share), (6.0, 14.0, 1.0));
        assert_eq!(Groups::of(8, 3, 4, 0.0).count(), 8.0);
        let one = Groups::of(8, 3, 4, 1.0);
        assert!((one.of_stripes - 48.0 * 4.0 / 56.0).abs() < 1e-9, "{one:?}");
        assert!((Groups::of(8, 3, 4, 1e6).count() - 56.0).abs() < 1e-9);
        // Chen, Lee, Gibson, Katz and Patterson, "RAID: High-Performance, Reliable Secondary Storage" (1994): with two
        // parity drives all are lost in MTTF³ / (N (N - 1) (N - 2) MTTR²), with one drive repaired at a time. Here two
        // are, which takes half of the time.
        let (drives, failures, repair) = (10.0, 0.01, 1.0 / 365.0);
        let published =
            drives * (drives - 1.0) * (drives - 2.0) * f64::powi(failures, 3) * f64::powi(repair, 2);
        let found = Groups::of(10, 3, 10, 1.0).count() * losses_of_group_per_year(3, failures, repair);
        assert!((found / (published / 2.0) - 1.0).abs() < 1e-3, "{found:e}, published {published:e}");
    }

    /// On as many drives as members, a group takes everything; on more, a stripe of 2+2 on 4 of 8 drives is
    /// lost with 4 of 56 choices, so that all choices together lose 4 times what is in stripes.
    #[test]
    fn what_a_loss_takes_is_a_share_of_the_stripes() {
        let groups = Groups::of(6, 3, 6, 1e3);
        let lost = groups.bytes_lost(100.0, 90.0);
        let by_hand = (6.0 * (100.0 / 6.0 + 90.0 * 5.0 / 6.0) + 14.0 * 90.0) / 20.0;
        assert!((lost - by_hand).abs() < 1e-9, "{lost}, by hand {by_hand}");
        let groups = Groups::of(8, 3, 4, 1e6);
        let lost = groups.bytes_lost(90.0, 90.0) * 56.0;
        let by_hand = 90.0 + 8.0 * 90.0 * 4.0 / 56.0 * 7.0 / 8.0 + 48.0 * 90.0 * 4.0 / 56.0;
        assert!((lost - by_hand).abs() < 1e-6, "{lost}, by hand {by_hand}");
    }

    /// Every layout of stripes is drawn anew. The rates are higher than those of real drives, so that losses
    /// are frequent enough to be counted.
    #[test]
    fn the_formula_agrees_with_a_simulation() {
        let mut random = fastrand::Rng::with_seed(0x57a);
        for (drives, members, copies, sets, layouts) in
            [(6, 6, 3, 4, 1), (4, 4, 3, 1, 1), (8, 4, 3, 6, 40), (8, 6, 3, 3, 40), (7, 4, 2, 2, 20)]
        {
            let (failures_per_year, repair_years) = (1.0, 4.0 / 365.0);
            let years = 1_200_000 / layouts / if copies == 2 { 10 } else { 1 };
            let counted: f64 = (0..layouts)
                .map(|_| {
                    let draw = |_| {
                        let mut all: Vec<usize> = (0..drives).collect();
                        random.shuffle(&mut all);
                        all.truncate(members);
                        all
                    };
                    let stripes: Vec<Vec<usize>> = (0..sets).map(draw).collect();
                    let loses = |down: &[bool]| {
                        let homes = |first| (0..copies).all(|turn| down[(first + turn) % drives]);
                        let is_lost =
                            |set: &Vec<usize>| set.iter().filter(|drive| down[**drive]).count() >= copies;
                        (0..drives).any(homes) || stripes.iter().any(is_lost)
                    };
                    years_with_loss(drives, (failures_per_year, repair_years), years, loses)
                })
                .sum::<f64>()
                / layouts as f64;
            let groups = Groups::of(drives as u32, copies as u32, members as u32, f64::from(sets)).count();
            let of_group = losses_of_group_per_year(copies as u32, failures_per_year, repair_years);
            let computed = loss_probability_per_year(groups, of_group);
            println!("{sets} sets of {members} on {drives}: computed {computed:.6}, counted {counted:.6}");
            assert!((computed / counted - 1.0).abs() < 0.12, "{drives}, {members}: {computed}, {counted}");
        }
    }

    /// Returns which share of the choices of `copies` drives have a set in common when sets are made one after the
    /// other by the rule of the engine: each shard lets the drives take turns, and takes those with the most room.
    fn shared_by_turns(drives: usize, copies: usize, members: usize, sets: usize) -> f64 {
        const SHARDS: usize = 32;
        const EXTENTS: usize = 512;
        let mut random = fastrand::Rng::with_seed(0x7e1);
        let (mut used, mut turns) = (vec![0; drives], [0; SHARDS]);
        let mut shared = BTreeSet::new();
        for _ in 0..sets {
            let shard = random.usize(..SHARDS);
            // Its homes first, then all others.
            let mut by_room: Vec<usize> = (0..copies).map(|turn| (shard + turn) % drives).collect();
            let others: Vec<usize> = (0..drives).filter(|drive| !by_room.contains(drive)).collect();
            by_room.extend(others);
            by_room.rotate_left(turns[shard] % drives);
            by_room.sort_by_key(|drive| used[*drive] * 1000 / EXTENTS);
            turns[shard] += 1;
            let chosen = by_room[..members].iter().fold(0u64, |set, drive| set | 1 << drive);
            by_room[..members].iter().for_each(|drive| used[*drive] += 1);
            let (mut pending, mut next) = (vec![0u64], vec![]);
            for _ in 0..copies {
                for choice in pending.drain(..) {
                    let behind = (64 - choice.leading_zeros() as usize)..drives;
                    next.extend(
                        behind.filter(|drive| chosen >> drive & 1 == 1).map(|drive| choice | 1 << drive),
                    );
                }
                std::mem::swap(&mut pending, &mut next);
            }
            shared.extend(pending);
        }
        shared.len() as f64 / choices(drives as u32, copies as u32)
    }

    /// Turns bring fewer drives together than chance does, so that the formula has rather too many groups: on up to a
    /// dozen drives about as many, on 48 three times as many.
    #[test]
    fn the_turns_of_the_engine_make_no_more_groups() {
        for (drives, copies, members, least) in
            [(7, 3, 6, 0.99), (12, 3, 6, 0.9), (12, 4, 11, 0.99), (24, 3, 6, 0.7), (48, 3, 6, 0.25)]
        {
            let sets = 512 * drives / members * 6 / 10;
            let found = shared_by_turns(drives, copies, members, sets);
            let groups = Groups::of(drives as u32, copies as u32, members as u32, sets as f64);
            let share = groups.count() / groups.choices;
            println!("{members} of {drives} drives: {found:.3} by turns, {share:.3} by chance");
            assert!(found <= share + 1e-9 && found >= least * share, "{drives}: {found}, {share}");
        }
    }

    /// Two drives of 100 bytes are homes of two shards each, and four of one; a set of slices needs five of
    /// the six.
    #[test]
    fn slices_lie_where_the_logs_leave_room() {
        let of = |homes, drives| Homes { homes, drives };
        let room = StripedRoom {
            rooms: vec![(of(1.0, 4.0), 100.0), (of(2.0, 2.0), 100.0)],
            shards: 4.0,
            members: 5,
        };
        // With slices alone all 600 bytes are used, five for each set, which take turns over the drives.
        let without_logs = room.objects(0.0, 1.0);
        assert!((without_logs - 120.0).abs() < 1e-6, "{without_logs}");
        // Sets that need every drive leave what one of them has more than others.
        let rooms = vec![(of(0.0, 4.0), 100.0), (of(0.0, 1.0), 150.0)];
        let uneven = StripedRoom { rooms, shards: 4.0, members: 5 }.objects(0.0, 1.0);
        assert!((uneven - 100.0).abs() < 1e-6, "{uneven}");
        // With logs alone the two drives with two homes of four are full first.
        let without_slices = room.objects(1.0, 0.0);
        assert!((without_slices - 200.0).abs() < 1e-6, "{without_slices}");
        // By hand: the logs of x objects leave 100 - x / 4 on four drives and 100 - x / 2 on two. Above 80 objects
        // no drive has as much left as one member of every set, so that all is used when 600 - 2 x = 5 x.
        let both = room.objects(1.0, 1.0);
        assert!((both - 600.0 / 7.0).abs() < 1e-5, "{both}");
    }
}
