//! This module computes medians and percentiles of small samples.

/// Returns the middle value, or the mean of the two in the middle; NaN for an empty sample.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => (sorted[length / 2 - 1] + sorted[length / 2]) / 2.0,
    }
}

/// Returns the median of `project` over `runs`.
pub fn median_of<T>(runs: &[T], project: impl Fn(&T) -> f64) -> f64 {
    median(&runs.iter().map(project).collect::<Vec<_>>())
}

/// Returns the value that `fraction` (0 to 1) of the samples do not exceed (nearest rank); 0 for an
/// empty sample.
pub fn percentile(samples: &mut [u32], fraction: f64) -> u32 {
    if samples.is_empty() {
        return 0;
    }
    let rank = (fraction * samples.len() as f64).ceil() as usize;
    let index = rank.clamp(1, samples.len()) - 1;
    *samples.select_nth_unstable(index).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_of_the_sorted_values() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let mut samples: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut samples, 0.5), 50);
        assert_eq!(percentile(&mut samples, 0.99), 99);
        assert_eq!(percentile(&mut samples, 1.0), 100);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}
