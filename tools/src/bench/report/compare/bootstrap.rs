//! How much of a change chance alone would give: the bootstrap's 95% interval.
//!
//! Invariant: what is drawn depends on the seed and the order of the figures alone.
//!
//! Rates are drawn by the intervals of their run. Of n latencies drawn from n with replacement, the k-th smallest
//! stands at a rank that is Beta(k, n - k + 1) distributed, and their mean is normal about theirs (Efron and
//! Tibshirani, An Introduction to the Bootstrap, 1993), so a drawing of millions costs one step.

use super::read::{Figure, Spread};

const DRAWINGS: usize = 2_000;

/// Of the change in per cent; None when neither side has anything to draw from.
pub fn interval(before: &[Figure], after: &[Figure], chance: &mut Chance) -> Option<(f64, f64)> {
    if !can_vary(before) || !can_vary(after) {
        return None;
    }
    let mut changes: Vec<f64> = (0..DRAWINGS)
        .map(|_| (drawn(after, chance) / drawn(before, chance) - 1.0) * 100.0)
        .filter(|change| change.is_finite())
        .collect();
    changes.sort_by(f64::total_cmp);
    let at = |share: f64| changes.get((share * changes.len() as f64) as usize).copied();
    Some((at(0.025)?, at(0.975)?))
}

fn can_vary(side: &[Figure]) -> bool {
    side.len() > 1 || side.iter().any(|figure| !matches!(figure.spread, Spread::None))
}

/// The mean over as many files as there are, each drawn, and each drawn from.
fn drawn(side: &[Figure], chance: &mut Chance) -> f64 {
    let sum: f64 = (0..side.len())
        .map(|_| {
            let figure = &side[chance.below(side.len())];
            drawn_from(figure, chance)
        })
        .sum();
    sum / side.len() as f64
}

fn drawn_from(figure: &Figure, chance: &mut Chance) -> f64 {
    match &figure.spread {
        Spread::None => figure.value,
        Spread::Mean { deviation } => chance.normal().mul_add(*deviation, figure.value),
        Spread::Intervals(intervals) => {
            let mut amount = 0.0;
            let mut seconds = 0.0;
            for _ in 0..intervals.len() {
                let (amount_one, seconds_one) = intervals[chance.below(intervals.len())];
                amount += amount_one;
                seconds += seconds_one;
            }
            if seconds > 0.0 { amount / seconds } else { figure.value }
        }
        Spread::Ranked { percent, bins } => {
            let total = bins.last().map_or(0, |(_, until)| *until) as f64;
            let rank = (percent / 100.0 * total).ceil().clamp(1.0, total.max(1.0));
            let (below, above) = (chance.gamma(rank), chance.gamma(total - rank + 1.0));
            let wanted = below / (below + above) * total;
            let at = bins.partition_point(|(_, until)| (*until as f64) < wanted);
            bins.get(at).map_or(figure.value, |(value, _)| *value as f64)
        }
    }
}

/// splitmix64 and what is made of it. Drawing must repeat on every machine and in every version, which the
/// generators of libraries do not promise.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0, below 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        ((self.fraction() * bound as f64) as usize).min(bound - 1)
    }

    /// Mean 0, deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.fraction()).cos()
    }

    /// For a shape of at least 1 (Marsaglia and Tsang, A Simple Method for Generating Gamma Variables, 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        let shifted = shape - 1.0 / 3.0;
        let scale = 1.0 / (9.0 * shifted).sqrt();
        loop {
            let normal = self.normal();
            let cubed = (1.0 + scale * normal).powi(3);
            if cubed > 0.0 {
                let accepted = (1.0 - self.fraction()).ln()
                    < 0.5f64.mul_add(normal * normal, shifted * (1.0 - cubed + cubed.ln()));
                if accepted {
                    return shifted * cubed;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_has_its_mean_and_variance() {
        let mut chance = Chance::new(7);
        for shape in [1.0, 3.5, 1_000.0] {
            let drawn: Vec<f64> = (0..20_000).map(|_| chance.gamma(shape)).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
            assert!((mean / shape - 1.0).abs() < 0.03, "mean {mean} of shape {shape}");
            assert!((variance / shape - 1.0).abs() < 0.08, "variance {variance} of shape {shape}");
        }
    }

    /// The short way against really drawing: ranks of the 90th percentile of 200 values.
    #[test]
    fn ranks_are_spread_as_if_every_value_were_drawn() {
        let mut chance = Chance::new(11);
        let bins: Vec<(u64, u64)> = (1..=200).map(|value| (value, value)).collect();
        let spread = Spread::Ranked { percent: 90.0, bins };
        let figure = Figure { kind: super::super::read::KINDS[0], value: 180.0, spread };
        let short: Vec<f64> = (0..4_000).map(|_| drawn_from(&figure, &mut chance)).collect();
        let long: Vec<f64> = (0..4_000)
            .map(|_| {
                let mut values: Vec<usize> = (0..200).map(|_| 1 + chance.below(200)).collect();
                values.sort_unstable();
                values[179] as f64
            })
            .collect();
        let of = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / values.len() as f64;
            (mean, variance.sqrt())
        };
        let ((mean_short, deviation_short), (mean_long, deviation_long)) = (of(&short), of(&long));
        assert!((mean_short - mean_long).abs() < 0.5, "{mean_short} {mean_long}");
        assert!((deviation_short / deviation_long - 1.0).abs() < 0.08, "{deviation_short} {deviation_long}");
    }
}
