//! This module cuts sizes into 16 classes per octave.
//!
//! Invariant: a limit, such as the 64 KiB of an inline object, is always the end of a class, never
//! inside of one: an octave goes from above a power of two to the next one.

use crate::sizes::SizeClass;

const CLASSES_PER_OCTAVE: u64 = 16;

/// Iterates over the classes from `lower` to `upper`; both ends of a class are inclusive.
pub fn classes(lower: u64, upper: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut next = Some(lower);
    std::iter::from_fn(move || {
        let from = next.filter(|from| *from <= upper)?;
        let to = end_of_class(from).min(upper);
        next = to.checked_add(1);
        Some((from, to))
    })
}

/// Returns the largest size of the class that contains `size`.
fn end_of_class(size: u64) -> u64 {
    let below = size.saturating_sub(1);
    let octave = if below < CLASSES_PER_OCTAVE { CLASSES_PER_OCTAVE } else { 1 << below.ilog2() };
    size.next_multiple_of(octave / CLASSES_PER_OCTAVE)
}

/// Returns classes in which every size from `lower` to `upper` is equally likely.
pub fn even(lower: u64, upper: u64, share: f64) -> impl Iterator<Item = SizeClass> {
    let all = (upper - lower) as f64 + 1.0;
    classes(lower, upper).map(move |(lower_bytes, upper_bytes)| {
        let part = (upper_bytes - lower_bytes + 1) as f64 / all;
        SizeClass { lower_bytes, upper_bytes, share: share * part }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_tool_common::s3::limits::OBJECT_BYTES_MAX;

    #[test]
    fn classes_are_a_sixteenth_of_their_octave() {
        let ends = |lower, upper| classes(lower, upper).collect::<Vec<_>>();
        assert_eq!(ends(0, 3), [(0, 0), (1, 1), (2, 2), (3, 3)]);
        assert_eq!(ends(31, 36), [(31, 31), (32, 32), (33, 34), (35, 36)]);
        assert_eq!(ends(1000, 1100), [(1000, 1024), (1025, 1088), (1089, 1100)]);
        assert_eq!(ends(65_536, 65_600), [(65_536, 65_536), (65_537, 65_600)]);
        assert_eq!(ends(65_537, 131_072).len(), 16);
        assert_eq!(ends(7, 7), [(7, 7)]);
    }

    #[test]
    fn they_follow_each_other_over_the_whole_range() {
        let mut expected = 0;
        let mut count = 0;
        for (lower, upper) in classes(0, OBJECT_BYTES_MAX) {
            assert!(lower == expected && upper >= lower);
            (expected, count) = (upper + 1, count + 1);
        }
        assert_eq!(expected, OBJECT_BYTES_MAX + 1);
        assert!(count < 700, "{count}");
    }

    #[test]
    fn an_even_range_keeps_its_share_and_mean() {
        let classes: Vec<SizeClass> = even(1000, 1_000_000, 0.25).collect();
        let share: f64 = classes.iter().map(|class| class.share).sum();
        let mean: f64 = classes.iter().map(|class| class.share * class.mean_bytes()).sum::<f64>() / share;
        assert!((share - 0.25).abs() < 1e-12 && (mean / 500_500.0 - 1.0).abs() < 1e-12, "{share} {mean}");
    }
}
