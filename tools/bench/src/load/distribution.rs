//! This module draws the next of n blocks, or objects, when the order is random.
//!
//! Invariants:
//! - Every index is below n.
//! - zipf, pareto and normal choose ranks. The indexes of the ranks are scattered over the range as
//!   in fio, where a hash does it. Here it is a permutation, so that no two ranks have the same
//!   index.

use super::permutation::Permutation;
use crate::spec::Distribution;
use ringbolt_tool_common::random::Random;

/// Draws indexes by a distribution.
#[derive(Clone, Debug)]
pub struct Picker {
    count: u64,
    shape: Shape,
    scatter: Permutation,
}

#[derive(Clone, Debug)]
enum Shape {
    Even,
    Zipf(Zipf),
    /// Holds the exponent of the uniform number.
    Pareto(f64),
    /// Holds mean and deviation, in indexes.
    Normal(f64, f64),
    Zoned(Vec<Zone>),
}

#[derive(Clone, Debug)]
struct Zone {
    /// This is the cumulative share of the accesses at the end of this zone, in per cent.
    accesses_end: u64,
    first: u64,
    count: u64,
}

impl Picker {
    pub fn new(distribution: &Distribution, count: u64, seed: u64) -> Self {
        assert!(count > 0, "nothing to choose from");
        let shape = match distribution {
            Distribution::Even => Shape::Even,
            Distribution::Zipf(exponent) => Shape::Zipf(Zipf::new(count, *exponent)),
            Distribution::Pareto(power) => Shape::Pareto(power.ln() / (1.0 - power).ln()),
            Distribution::Normal(percent) => {
                Shape::Normal(count as f64 / 2.0, (count as f64 * percent / 100.0).max(f64::MIN_POSITIVE))
            }
            Distribution::Zoned(zones) => Shape::Zoned(zones_over(zones, count)),
        };
        Self { count, shape, scatter: Permutation::new(count, seed) }
    }

    /// Draws the next index.
    pub fn next(&self, random: &mut Random) -> u64 {
        match &self.shape {
            Shape::Even => random.below(self.count),
            Shape::Zoned(zones) => {
                let draw = random.below(100);
                let zone = zones.iter().find(|zone| draw < zone.accesses_end).unwrap_or(&zones[0]);
                zone.first + random.below(zone.count)
            }
            ranked => self.scatter.at(self.rank(ranked, random)),
        }
    }

    fn rank(&self, shape: &Shape, random: &mut Random) -> u64 {
        match shape {
            Shape::Zipf(zipf) => zipf.rank(random),
            // This is the self-similar distribution of J. Gray et al., "Quickly Generating
            // Billion-Record Synthetic Databases", SIGMOD 1994, which fio calls pareto: a share 1 -
            // h of the accesses goes to a share h of the range.
            Shape::Pareto(exponent) => {
                ((self.count as f64 * random.unit().powf(*exponent)) as u64).min(self.count - 1)
            }
            Shape::Normal(mean, deviation) => loop {
                let value = random.normal(*mean, *deviation);
                if value >= 0.0 && value < self.count as f64 {
                    break value as u64;
                }
            },
            Shape::Even | Shape::Zoned(_) => random.below(self.count),
        }
    }
}

/// Lays the zones over the range in order. A zone too small for an index gets the last one before
/// its end.
fn zones_over(zones: &[(u32, u32)], count: u64) -> Vec<Zone> {
    let (mut accesses, mut share) = (0u64, 0u64);
    let end_of = |share: u64| (u128::from(count) * u128::from(share) / 100) as u64;
    zones
        .iter()
        .map(|(access_percent, range_percent)| {
            let first = end_of(share).min(count - 1);
            accesses += u64::from(*access_percent);
            share = (share + u64::from(*range_percent)).min(100);
            Zone { accesses_end: accesses, first, count: end_of(share).saturating_sub(first).max(1) }
        })
        .collect()
}

/// Draws ranks 0..n with probability proportional to 1 / (rank + 1)^exponent, in constant time and
/// memory: W. Hörmann, G. Derflinger, "Rejection-Inversion to Generate Variates from Monotone
/// Discrete Distributions", 1996.
#[derive(Clone, Debug)]
struct Zipf {
    count: f64,
    exponent: f64,
    area_begin: f64,
    area_end: f64,
    /// A value that is closer than this to a whole number is accepted at once.
    squeeze: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { count: count as f64, exponent, area_begin: 0.0, area_end: 0.0, squeeze: 0.0 };
        zipf.area_begin = zipf.area(1.5) - 1.0;
        zipf.area_end = zipf.area(zipf.count + 0.5);
        zipf.squeeze = 2.0 - zipf.area_inverse(zipf.area(2.5) - zipf.height(2.0));
        zipf
    }

    fn rank(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.area_end + random.unit() * (self.area_begin - self.area_end);
            let x = self.area_inverse(area);
            let k = x.round().clamp(1.0, self.count);
            if k - x <= self.squeeze || area >= self.area(k + 0.5) - self.height(k) {
                return k as u64 - 1;
            }
        }
    }

    fn height(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// Returns the integral of the height, (x^(1-e) - 1) / (1-e), in a form that also works for e =
    /// 1.
    fn area(&self, x: f64) -> f64 {
        let log = x.ln();
        let scaled = (1.0 - self.exponent) * log;
        log * if scaled.abs() > 1e-8 { scaled.exp_m1() / scaled } else { 1.0 + scaled / 2.0 }
    }

    fn area_inverse(&self, area: f64) -> f64 {
        let scaled = (area * (1.0 - self.exponent)).max(-1.0);
        let factor = if scaled.abs() > 1e-8 { scaled.ln_1p() / scaled } else { 1.0 - scaled / 2.0 };
        (factor * area).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 200_000;

    /// Counts the draws of each rank.
    fn rank_counts(distribution: &Distribution, count: u64) -> Vec<u64> {
        let picker = Picker::new(distribution, count, 5);
        let mut random = Random::new(11);
        let mut counts = vec![0; count as usize];
        for _ in 0..DRAWS {
            counts[picker.rank(&picker.shape, &mut random) as usize] += 1;
        }
        counts
    }

    fn chi_square(counts: &[u64], expected: impl Fn(usize) -> f64) -> f64 {
        counts.iter().enumerate().map(|(at, seen)| (*seen as f64 - expected(at)).powi(2) / expected(at)).sum()
    }

    #[test]
    fn zipf_ranks_have_their_probabilities() {
        for exponent in [0.6, 1.0, 1.2] {
            let counts = rank_counts(&Distribution::Zipf(exponent), 50);
            let weight = |rank: usize| ((rank + 1) as f64).powf(-exponent);
            let total: f64 = (0..50).map(weight).sum();
            let statistic = chi_square(&counts, |rank| DRAWS as f64 * weight(rank) / total);
            // With 49 degrees of freedom, 1 in 10,000 exceeds 94.
            assert!(statistic < 94.0, "{exponent}: {statistic}");
        }
    }

    #[test]
    fn even_draws_are_even() {
        let counts = rank_counts(&Distribution::Even, 50);
        let statistic = chi_square(&counts, |_| DRAWS as f64 / 50.0);
        assert!(statistic < 94.0, "{statistic}");
    }

    #[test]
    fn pareto_gives_the_rest_to_its_share() {
        let counts = rank_counts(&Distribution::Pareto(0.2), 1000);
        let hot: u64 = counts[..200].iter().sum();
        assert!((hot as f64 / DRAWS as f64 - 0.8).abs() < 0.01, "{hot}");
    }

    #[test]
    fn normal_has_its_moments() {
        let counts = rank_counts(&Distribution::Normal(10.0), 1000);
        let moment = |power: i32, about: f64| {
            let sum: f64 = counts
                .iter()
                .enumerate()
                .map(|(at, n)| *n as f64 * (at as f64 + 0.5 - about).powi(power))
                .sum();
            sum / DRAWS as f64
        };
        let mean = moment(1, 0.0);
        assert!((mean - 500.0).abs() < 2.0, "{mean}");
        assert!((moment(2, mean).sqrt() - 100.0).abs() < 2.0);
    }

    #[test]
    fn zones_get_their_accesses() {
        let picker = Picker::new(&Distribution::Zoned(vec![(60, 10), (30, 20), (10, 70)]), 1000, 5);
        let mut random = Random::new(3);
        let mut counts = [0u64; 3];
        for _ in 0..DRAWS {
            let index = picker.next(&mut random);
            counts[if index < 100 { 0 } else { usize::from(index >= 300) + 1 }] += 1;
        }
        let statistic = chi_square(&counts, |zone| DRAWS as f64 * [0.6, 0.3, 0.1][zone]);
        assert!(statistic < 18.4, "{counts:?}");
    }

    #[test]
    fn hot_ranks_are_scattered_and_within_the_range() {
        let picker = Picker::new(&Distribution::Zipf(1.2), 10_000, 5);
        let mut random = Random::new(3);
        let drawn: Vec<u64> = (0..10_000).map(|_| picker.next(&mut random)).collect();
        assert!(drawn.iter().all(|index| *index < 10_000));
        let below: usize = drawn.iter().filter(|index| **index < 100).count();
        assert!(below < 5_000, "{below} of 10,000 lie in the first hundredth");
    }
}
