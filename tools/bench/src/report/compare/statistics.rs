//! This module computes how far two sides differ, and how much of that may be chance.
//!
//! Invariants:
//! - Everything is computed on logarithms, so that a change and its reversal have the same size,
//!   and in closed form, so that the same files give the same answer.
//! - Operations are never assumed to be independent, because one that waits makes the next ones
//!   wait. Runs are assumed to be independent or, if a side has one run, long pieces of it.
//!
//! Between runs, it is the two-sample t statistic with the pooled spread of both sides. Within a
//! run, it is the larger of two spreads: that of the means of five batches (B. Schmeiser, "Batch
//! Size Effects in the Analysis of Simulation Output", 1982), and that of all intervals, widened by
//! the correlation of neighbours as in a first-order autoregression whose coefficient is corrected
//! for short series (D. Andrews, J. Monahan, "An Improved Heteroskedasticity and Autocorrelation
//! Consistent Covariance Matrix Estimator", 1992; M. Kendall, "Note on Bias in the Estimation of
//! Autocorrelation", 1954). All figures of a comparison are judged together, so that many figures
//! do not make an alarm likely: Y. Benjamini, Y. Hochberg, "Controlling the False Discovery Rate",
//! 1995.

use super::read::{Figure, Interval};

/// Fewer runs on both sides together do not show how runs differ: the degrees of freedom would be
/// below 2.
const RUNS_MIN: usize = 4;
/// A run is cut into this many batches. There are few, so that each is far longer than the
/// correlation of its neighbours.
const BATCHES: usize = 5;
/// A run that is judged by itself needs this many intervals.
pub const INTERVALS_MIN: usize = 2 * BATCHES;
/// This is the assumed standard deviation of the logarithms between runs, beyond what their
/// intervals show, because no single run can show it. Runs of one job on one machine, a minute
/// apart, differ by 2% to 6% (docs/bench.md).
pub const RUN_DEVIATION: f64 = 0.03;
/// A higher correlation of neighbours is a drift, which has no mean.
const CORRELATION_MAX: f64 = 0.95;
/// Intervals further from the median than this many deviations are moved to that distance: a stall
/// moves no median.
const DEVIATIONS_MAX: f64 = 3.0;
/// This is the deviation of normal values over their median distance from the median.
const DEVIATION_OF_MEDIAN: f64 = 1.4826;
/// This is the probability that a comparison of equal runs shows a change.
pub const ALARM: f64 = 0.05;

/// Describes the difference between two sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// This is the logarithm of after over before.
    pub log_ratio: f64,
    /// This is the standard error of the difference; `freedom` is the degrees of freedom of its
    /// estimate.
    pub error: f64,
    pub freedom: u32,
}

/// Returns whether there are enough runs to judge by their differences.
pub fn are_enough(before: usize, after: usize) -> bool {
    before + after >= RUNS_MIN
}

/// Computes the difference from the runs of each side; returns `None` when there are too few.
pub fn between_runs(before: &[Figure], after: &[Figure]) -> Option<Difference> {
    if !are_enough(before.len(), after.len()) {
        return None;
    }
    let (mean_before, squares_before) = mean_and_squares(before);
    let (mean_after, squares_after) = mean_and_squares(after);
    let freedom = before.len() + after.len() - 2;
    let resolution = before.iter().chain(after).map(|figure| figure.resolution).fold(0.0, f64::max);
    // Values that differ by less than the width of their classes look equal: the spread is then
    // that of a class.
    let variance = ((squares_before + squares_after) / freedom as f64).max(resolution.powi(2) / 12.0);
    let error = (variance * (1.0 / before.len() as f64 + 1.0 / after.len() as f64)).sqrt();
    Some(Difference { log_ratio: mean_after - mean_before, error, freedom: freedom as u32 })
}

/// Computes the difference from the intervals of each run; returns `None` when a run has too few,
/// or when the figure has no intervals.
pub fn within_runs(before: &[Figure], after: &[Figure]) -> Option<Difference> {
    let mut variance = 0.0;
    let mut freedom = 0;
    for side in [before, after] {
        for figure in side {
            let deviations = deviations(&figure.intervals, figure.kind.is_percentile())?;
            let of_others = figure.resolution.powi(2) / 12.0 + RUN_DEVIATION.powi(2);
            variance += (variance_of_mean(&deviations) + of_others) / (side.len() as f64).powi(2);
            freedom += BATCHES - 1;
        }
    }
    let (mean_before, mean_after) = (mean_and_squares(before).0, mean_and_squares(after).0);
    Some(Difference { log_ratio: mean_after - mean_before, error: variance.sqrt(), freedom: freedom as u32 })
}

/// Returns the mean of the logarithms and the sum of their squared deviations.
fn mean_and_squares(side: &[Figure]) -> (f64, f64) {
    let logs = || side.iter().map(|figure| figure.value.ln());
    let mean = logs().sum::<f64>() / side.len() as f64;
    (mean, logs().map(|log| (log - mean).powi(2)).sum())
}

/// Returns how far each interval moves the figure of the run, relative to it, as if the interval
/// were the whole run. Returns `None` with too few intervals, or if nothing was counted.
fn deviations(intervals: &[Interval], is_percentile: bool) -> Option<Vec<f64>> {
    if intervals.len() < INTERVALS_MIN {
        return None;
    }
    let weight: f64 = intervals.iter().map(|one| one.weight).sum();
    let mean_weight = weight / intervals.len() as f64;
    let centre = match is_percentile {
        true => weighted_median(intervals),
        false => intervals.iter().map(|one| one.amount).sum::<f64>() / weight,
    };
    // Either nothing was counted, or the numbers are impossible.
    if !(centre.is_normal() && centre > 0.0 && mean_weight.is_normal()) {
        return None;
    }
    let of = |one: &Interval| (one.amount - centre * one.weight) / (centre * mean_weight);
    let mut deviations: Vec<f64> = intervals.iter().map(of).collect();
    if !deviations.iter().all(|deviation| deviation.is_finite()) {
        return None;
    }
    if is_percentile {
        let mut distances: Vec<f64> = deviations.iter().map(|deviation| deviation.abs()).collect();
        distances.sort_by(f64::total_cmp);
        let most = distances[distances.len() / 2] * DEVIATION_OF_MEDIAN * DEVIATIONS_MAX;
        deviations.iter_mut().for_each(|deviation| *deviation = deviation.clamp(-most, most));
    }
    let mean = deviations.iter().sum::<f64>() / deviations.len() as f64;
    deviations.iter_mut().for_each(|deviation| *deviation -= mean);
    Some(deviations)
}

/// Returns the median of the intervals' values; NaN when nothing was counted.
fn weighted_median(intervals: &[Interval]) -> f64 {
    let counted = intervals.iter().filter(|one| one.weight > 0.0);
    let mut values: Vec<(f64, f64)> = counted.map(|one| (one.amount / one.weight, one.weight)).collect();
    values.sort_by(|left, right| left.0.total_cmp(&right.0));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut until = 0.0;
    let mut reached = values.iter().skip_while(|(_, weight)| {
        until += weight;
        until < half
    });
    reached.next().map_or(f64::NAN, |(value, _)| *value)
}

/// Returns the variance of the mean of at least [`INTERVALS_MIN`] deviations whose own mean is 0.
fn variance_of_mean(deviations: &[f64]) -> f64 {
    batch_variance(deviations).max(correlated_variance(deviations))
}

fn batch_variance(deviations: &[f64]) -> f64 {
    let count = deviations.len();
    let squares = (0..BATCHES).map(|batch| {
        let part = &deviations[batch * count / BATCHES..(batch + 1) * count / BATCHES];
        (part.iter().sum::<f64>() * BATCHES as f64 / count as f64).powi(2)
    });
    squares.sum::<f64>() / (BATCHES * (BATCHES - 1)) as f64
}

fn correlated_variance(deviations: &[f64]) -> f64 {
    let count = deviations.len() as f64;
    let squares: f64 = deviations.iter().map(|one| one.powi(2)).sum();
    if squares == 0.0 {
        return 0.0;
    }
    let products: f64 = deviations.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let seen = products / squares;
    let correlation = (seen + (1.0 + 4.0 * seen) / count).clamp(0.0, CORRELATION_MAX);
    // The share is the variance of the mean over that of a single value.
    let mut share = 1.0 / count;
    let mut power = 1.0;
    for distance in 1..deviations.len() {
        power *= correlation;
        share += 2.0 * (count - distance as f64) * power / count.powi(2);
    }
    // The spread around the mean of the run lacks what the whole run has in common.
    squares / (count * (1.0 - share)) * share
}

/// Returns the probability that two equal sides differ this much.
fn chance(difference: &Difference) -> f64 {
    if difference.error > 0.0 {
        2.0 * beyond(difference.log_ratio.abs() / difference.error, difference.freedom)
    } else if difference.log_ratio == 0.0 {
        1.0
    } else {
        0.0
    }
}

/// Returns the level at which each figure is to be judged, so that the share of false alarms among
/// all alarms, and between equal sides the probability of any alarm, is at most [`ALARM`].
pub fn level(all: &[Difference]) -> f64 {
    let mut chances: Vec<f64> = all.iter().map(chance).collect();
    chances.sort_by(f64::total_cmp);
    let share = |rank: usize| ALARM * rank as f64 / all.len().max(1) as f64;
    let found = (1..=chances.len()).rev().find(|rank| chances[rank - 1] <= share(*rank));
    share(found.unwrap_or(1))
}

/// Returns the two ends of the change in per cent; `level` is the probability outside of them.
pub fn interval(difference: &Difference, level: f64) -> (f64, f64) {
    let half = quantile(level / 2.0, difference.freedom) * difference.error;
    let percent = |log: f64| log.exp_m1() * 100.0;
    (percent(difference.log_ratio - half), percent(difference.log_ratio + half))
}

/// Returns the value that Student's t exceeds with this probability.
fn quantile(probability: f64, freedom: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while beyond(high, freedom) > probability && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if beyond(middle, freedom) > probability { low = middle } else { high = middle }
    }
    high
}

/// Returns the probability that Student's t exceeds `value`, which must not be negative: M.
/// Abramowitz, I. Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
fn beyond(value: f64, freedom: u32) -> f64 {
    assert!(freedom > 0, "a spread was estimated from something");
    let angle = (value / f64::from(freedom).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let is_odd = freedom % 2 == 1;
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = if is_odd && freedom == 1 { 0.0 } else { term };
    let mut step = if is_odd { 2 } else { 1 };
    while step + 2 < freedom {
        term *= cosine * cosine * f64::from(step) / f64::from(step + 1);
        sum += term;
        step += 2;
    }
    let within = if is_odd { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum };
    ((1.0 - within) / 2.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These are values of printed tables.
    #[test]
    fn students_t_is_that_of_the_tables() {
        for (probability, freedom, value) in [
            (0.025, 1, 12.706),
            (0.025, 2, 4.303),
            (0.025, 3, 3.182),
            (0.025, 4, 2.776),
            (0.005, 5, 4.032),
            (0.025, 8, 2.306),
            (0.0005, 9, 4.781),
            (0.05, 30, 1.697),
            (0.025, 120, 1.980),
        ] {
            let found = quantile(probability, freedom);
            assert!(
                (found / value - 1.0).abs() < 3e-4,
                "{probability} {freedom}: {found} instead of {value}"
            );
        }
        assert!((beyond(0.0, 7) - 0.5).abs() < 1e-12 && beyond(1e9, 7) < 1e-12);
    }

    fn difference(log_ratio: f64) -> Difference {
        Difference { log_ratio, error: 1.0, freedom: 10 }
    }

    #[test]
    fn many_figures_are_judged_more_strictly_than_one() {
        assert!((level(&[difference(2.3)]) - ALARM).abs() < 1e-12);
        let lone: Vec<Difference> = [2.3, 0.1, 0.2, 0.3, 0.4].map(difference).to_vec();
        assert!((level(&lone) - ALARM / 5.0).abs() < 1e-12, "one of five by chance");
        let (low, high) = interval(&lone[0], level(&lone));
        assert!(low < 0.0 && high > 0.0);
        let agreeing: Vec<Difference> = [2.4, 2.5, 2.6, 2.7, 0.4].map(difference).to_vec();
        assert!((level(&agreeing) - ALARM * 0.8).abs() < 1e-12, "four of five bear each other out");
        let found = agreeing.iter().filter(|one| interval(one, level(&agreeing)).0 > 0.0).count();
        assert_eq!(found, 4);
    }

    #[test]
    fn a_side_that_is_the_other_differs_by_nothing() {
        let same = Difference { log_ratio: 0.0, error: 0.0, freedom: 4 };
        assert_eq!(chance(&same), 1.0);
        assert_eq!(interval(&same, 0.05), (0.0, 0.0));
    }

    fn even(values: impl Iterator<Item = f64>) -> Vec<Interval> {
        values.map(|amount| Interval { amount, weight: 1.0 }).collect()
    }

    /// Generates values by splitmix64; the sum of twelve uniform numbers is almost normal, with
    /// mean 0 and deviation 1.
    struct Chance(u64);

    impl Chance {
        fn next(&mut self) -> f64 {
            (0..12).map(|_| self.fraction()).sum::<f64>() - 6.0
        }

        fn fraction(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// Returns a run of intervals whose neighbours have this correlation; each varies by 5%.
        fn run(&mut self, intervals: usize, correlation: f64, mean: f64) -> Figure {
            let mut state = self.next();
            let values: Vec<f64> = (0..intervals)
                .map(|_| {
                    state = correlation * state + (1.0 - correlation.powi(2)).sqrt() * self.next();
                    mean * (1.0 + 0.05 * state)
                })
                .collect();
            let value = values.iter().sum::<f64>() / intervals as f64;
            let kind = super::super::read::KINDS[0];
            Figure { kind, value, resolution: 0.0, intervals: even(values.into_iter()) }
        }
    }

    /// Regression: operations, or seconds, were assumed to be independent, which gave alarms
    /// between equal runs in a quarter of all comparisons and more.
    #[test]
    fn like_runs_whose_seconds_follow_each_other_give_few_alarms() {
        let mut chance_of = Chance(1);
        for (intervals, correlation, most) in
            [(10, 0.0, 5), (30, 0.0, 5), (30, 0.5, 5), (60, 0.8, 6), (300, 0.9, 5)]
        {
            let mut alarms = 0;
            for _ in 0..1_000 {
                let (before, after) = (
                    chance_of.run(intervals, correlation, 100.0),
                    chance_of.run(intervals, correlation, 100.0),
                );
                let error =
                    |run: &Figure| variance_of_mean(&deviations(&run.intervals, false).expect("long enough"));
                // This omits the assumed variation between runs, because these runs have none.
                let difference = Difference {
                    log_ratio: (after.value / before.value).ln(),
                    error: (error(&before) + error(&after)).sqrt(),
                    freedom: 8,
                };
                alarms += usize::from(chance(&difference) <= ALARM);
            }
            assert!(alarms <= most * 10, "{alarms} of 1000: {intervals} intervals, {correlation} in common");
        }
    }

    #[test]
    fn a_fifth_is_found_between_two_runs_and_a_tenth_between_several() {
        let mut chance_of = Chance(2);
        let (mut within, mut between) = (0, 0);
        for _ in 0..200 {
            let before: Vec<Figure> = (0..4).map(|_| chance_of.run(60, 0.5, 100.0)).collect();
            let after: Vec<Figure> = (0..4).map(|_| chance_of.run(60, 0.5, 90.0)).collect();
            let far = chance_of.run(60, 0.5, 80.0);
            let is_found = |difference: Option<Difference>| {
                let found = difference.expect("enough of all");
                usize::from(found.log_ratio < 0.0 && chance(&found) <= ALARM)
            };
            within += is_found(within_runs(&before[..1], &[far]));
            between += is_found(between_runs(&before, &after));
        }
        assert!(within >= 190 && between >= 190, "{within} within, {between} between, of 200");
    }

    #[test]
    fn a_stall_widens_the_mean_and_not_the_median() {
        let values = || (0..20).map(|at| if at == 9 { 800.0 } else { 100.0 + f64::from(at % 3) });
        let error = |is_percentile| {
            let deviations = deviations(&even(values()), is_percentile).expect("long enough");
            variance_of_mean(&deviations).sqrt()
        };
        assert!(error(false) > 0.2, "{}", error(false));
        assert!(error(true) < 0.01, "{}", error(true));
    }

    #[test]
    fn what_no_run_has_is_not_judged() {
        let judged = |amount: f64, weight: f64, is_percentile| {
            deviations(&[Interval { amount, weight }; INTERVALS_MIN], is_percentile).is_some()
        };
        for is_percentile in [false, true] {
            assert!(judged(5.0, 1.0, is_percentile));
            for (amount, weight) in [(0.0, 0.0), (0.0, 1.0), (5.0, 0.0), (-5.0, 1.0), (f64::NAN, 1.0)] {
                assert!(!judged(amount, weight, is_percentile), "{amount} {weight}");
            }
        }
    }

    #[test]
    fn too_short_a_run_is_not_judged_by_itself() {
        let run =
            |count: usize| Figure { intervals: even((0..count).map(|_| 5.0)), ..Chance(3).run(10, 0.0, 5.0) };
        assert!(within_runs(&[run(INTERVALS_MIN - 1)], &[run(20)]).is_none());
        assert!(within_runs(&[run(INTERVALS_MIN)], &[run(20)]).is_some());
        assert!(between_runs(&[run(20)], &[run(20), run(20)]).is_none());
    }
}
