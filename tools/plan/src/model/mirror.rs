//! This module computes how often drives that hold copies for each other lose data.
//!
//! Shard n has its copies on drives n, n + 1 and so on, modulo the number of drives, as `format` lays
//! them. So each run of as many neighbours on the ring as there are copies is a group: what lies on
//! all of them, and nowhere else, is lost when all of them have failed and none is replaced and filled
//! again. On more drives than copies there are as many groups as drives; on as many as copies, there
//! is one.
//!
//! A drive fails at a constant rate λ, and takes the time T from then on until another one is in its
//! place and filled, whatever happens to others meanwhile. In the long run it is down for the share
//! u = λ T / (1 + λ T) of the time, so all `copies` drives of a group go down
//! `copies` × λ × (1 − u) × u^(`copies` − 1) times a year: the last one to fail is one of them, and
//! all others are down already. It makes no difference whether T is always the same. This is the
//! frequency of failures of 1 out of n repairable units (Kullstam, "Availability, MTBF and MTTR for
//! Repairable M out of N System", 1981); for two copies and a small λ T it is one failure in
//! MTTF² / (2 MTTR), as for the pairs of Patterson, Gibson and Katz, "A Case for Redundant Arrays of
//! Inexpensive Disks" (1988).
//!
//! The groups of a ring share drives, and their rates are added up. That counts twice when more drives
//! than there are copies are down together and complete two groups, so the sum is a little too large,
//! by at most about 2 u of it.

/// This text follows [`super::durability::MODEL`] in plans with mirrors.
pub const MODEL: &str = " Each run of as many neighbouring drives as there are copies is a group that holds all copies \
    of some objects. It is lost when all of its drives are down together: copies × λ × (1 − u) × u^(copies − 1) times \
    a year, where λ is the annual failure rate and u the share of the time that a drive is down. The groups of all \
    nodes are added up.";

/// Returns how many groups of drives hold all `copies` copies of some objects, on one node of `drives`
/// drives.
pub fn groups(drives: u32, copies: u32) -> u32 {
    if drives > copies { drives } else { 1 }
}

/// Returns how many times a year all drives of one group are down, if each of its `copies` drives
/// fails `failures_per_year` times a year and is back after `repair_years`.
pub fn losses_of_group_per_year(copies: u32, failures_per_year: f64, repair_years: f64) -> f64 {
    let failing = failures_per_year * repair_years;
    let down_share = failing / (1.0 + failing);
    let others_down = down_share.powi(copies as i32 - 1);
    f64::from(copies) * failures_per_year * (1.0 - down_share) * others_down
}

/// Returns the probability that at least one of `groups` groups loses data within a year.
pub fn loss_probability_per_year(groups: f64, losses_of_group_per_year: f64) -> f64 {
    -(-groups * losses_of_group_per_year).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::years_with_loss;
    use ringbolt_engine::node::sizing;
    use std::collections::BTreeSet;

    /// Returns the homes of a shard.
    fn homes(shard: u64, drives: u64, copies: u64) -> BTreeSet<u64> {
        (0..copies).map(|turn| (shard + turn) % drives).collect()
    }

    #[test]
    fn groups_and_homes_are_those_of_the_ring() {
        for copies in 1..=4 {
            for drives in copies.max(2)..=9 {
                for shards in drives..40 {
                    let all: Vec<_> = (0..shards).map(|shard| homes(shard, drives, copies)).collect();
                    let distinct: BTreeSet<_> = all.iter().collect();
                    assert_eq!(u64::from(groups(drives as u32, copies as u32)), distinct.len() as u64);
                    let on = |drive: u64| all.iter().filter(|homes| homes.contains(&drive)).count() as u64;
                    let most = (0..drives).map(on).max().unwrap();
                    assert_eq!(sizing::ring(shards, drives, copies).homes_max, most, "{shards} on {drives}");
                }
            }
        }
    }

    /// By hand: 1% a year, and a day for a repair, are u = 2.7396e-5 of the time. A pair is lost
    /// 2 × 0.01 × u times a year, three drives 3 × 0.01 × u², and four 4 × 0.01 × u³.
    #[test]
    fn figures_by_hand_are_reproduced() {
        for (copies, by_hand) in [(2, 5.4791e-7), (3, 2.2516e-11), (4, 8.2246e-16)] {
            let found = losses_of_group_per_year(copies, 0.01, 1.0 / 365.0);
            assert!((found / by_hand - 1.0).abs() < 1e-3, "{copies}: {found:e}, by hand {by_hand:e}");
        }
        // Patterson, Gibson and Katz: one failure of a pair in MTTF² / (2 MTTR). With an MTTF of 30,000
        // hours and an MTTR of one that is 4.5e8 hours.
        let hour_years = 1.0 / 8_760.0;
        let of_pair = losses_of_group_per_year(2, 8_760.0 / 30_000.0, hour_years);
        let mean_hours = 8_760.0 / of_pair;
        assert!((mean_hours / 4.5e8 - 1.0).abs() < 1e-4, "{mean_hours:e}");
        // A tiny rate is its own probability.
        assert!((loss_probability_per_year(3.0, 1e-20) / 3e-20 - 1.0).abs() < 1e-9);
        assert_eq!(loss_probability_per_year(8.0, 0.0), 0.0);
        assert!((loss_probability_per_year(2.0, 0.5) - 0.632_12).abs() < 1e-5);
    }

    /// The rates are higher than those of real drives, so that losses are frequent enough to be
    /// counted.
    #[test]
    fn the_formula_agrees_with_a_simulation() {
        for (drives, copies, failures_per_year, repair_days, years) in [
            (2, 2, 0.5, 10.0, 100_000),
            (6, 2, 0.5, 10.0, 100_000),
            (3, 3, 1.5, 6.0, 2_000_000),
            (5, 3, 1.5, 6.0, 400_000),
        ] {
            let repair_years = repair_days / 365.0;
            let of_group = losses_of_group_per_year(copies as u32, failures_per_year, repair_years);
            let groups = f64::from(groups(drives as u32, copies as u32));
            let computed = loss_probability_per_year(groups, of_group);
            let all_down = |down: &[bool], first| (0..copies).all(|turn| down[(first + turn) % drives]);
            let loses = |down: &[bool]| (0..drives).any(|first| all_down(down, first));
            let counted = years_with_loss(drives, (failures_per_year, repair_years), years, loses);
            println!("{drives} drives, {copies} copies: computed {computed:.5}, counted {counted:.5}");
            assert!((computed / counted - 1.0).abs() < 0.1, "{drives}, {copies}: {computed}, {counted}");
        }
    }
}
