//! This module defines the sizes of objects: classes of sizes with the share of objects in each.
//!
//! Invariants: classes ascend and do not overlap. Shares are above 0 and add up to 1. Within a
//! class, every size from `lower_bytes` to `upper_bytes` is equally likely, so a class with both
//! equal is one exact size.

use ringbolt_tool_common::s3::limits::OBJECT_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Keys of S3 are not longer.
pub const KEY_BYTES_MAX: f64 = 1024.0;

/// Returns how many bytes at its beginning a key shares with the previous one.
pub fn shared_bytes(key: &[u8], before: &[u8]) -> usize {
    key.iter().zip(before).take_while(|(own, other)| own == other).count()
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizeClass {
    pub lower_bytes: u64,
    /// This is inclusive.
    pub upper_bytes: u64,
    /// This is the share of the objects.
    pub share: f64,
}

impl SizeClass {
    pub fn mean_bytes(&self) -> f64 {
        (self.lower_bytes as f64 + self.upper_bytes as f64) / 2.0
    }
}

/// Holds classes of sizes with the invariants of the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<SizeClass>", into = "Vec<SizeClass>")]
pub struct SizeHistogram {
    classes: Vec<SizeClass>,
}

/// Says why classes are not a histogram.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SizesError {
    #[error("no sizes: give at least one class with a share above 0")]
    Empty,
    #[error("class {lower_bytes} to {upper_bytes} bytes: the lower end must not lie above the upper one")]
    Reversed { lower_bytes: u64, upper_bytes: u64 },
    #[error("an object of {0} bytes: S3 objects have at most {OBJECT_BYTES_MAX} bytes (5 TiB)")]
    TooLarge(u64),
    #[error("share {0}: shares are numbers above 0")]
    Share(f64),
    #[error("the classes from {first} and from {second} bytes overlap")]
    Overlap { first: u64, second: u64 },
}

impl SizeHistogram {
    /// Sorts the classes and scales the shares so that they add up to 1; counts and percentages are
    /// accepted too.
    ///
    /// # Errors
    /// Fails when an invariant of the module cannot hold.
    pub fn new(mut classes: Vec<SizeClass>) -> Result<Self, SizesError> {
        for class in &classes {
            let SizeClass { lower_bytes, upper_bytes, share } = *class;
            if lower_bytes > upper_bytes {
                return Err(SizesError::Reversed { lower_bytes, upper_bytes });
            }
            if upper_bytes > OBJECT_BYTES_MAX {
                return Err(SizesError::TooLarge(upper_bytes));
            }
            if !share.is_finite() || share <= 0.0 {
                return Err(SizesError::Share(share));
            }
        }
        classes.sort_by_key(|class| (class.lower_bytes, class.upper_bytes));
        let overlap = classes.windows(2).find(|pair| pair[0].upper_bytes >= pair[1].lower_bytes);
        if let Some(pair) = overlap {
            return Err(SizesError::Overlap { first: pair[0].lower_bytes, second: pair[1].lower_bytes });
        }
        let sum: f64 = classes.iter().map(|class| class.share).sum();
        if classes.is_empty() || !sum.is_finite() {
            return Err(SizesError::Empty);
        }
        // Shares that were scaled before stay exactly as they are.
        if (sum - 1.0).abs() > 1e-9 {
            classes.iter_mut().for_each(|class| class.share /= sum);
        }
        Ok(Self { classes })
    }

    pub fn classes(&self) -> &[SizeClass] {
        &self.classes
    }

    /// Returns the same sizes in classes that are cut at each of `starts`: none contains sizes on
    /// both sides of it.
    #[must_use]
    pub fn cut_at(&self, starts: &BTreeSet<u64>) -> Self {
        let cut = |class: &SizeClass| {
            let SizeClass { lower_bytes, upper_bytes, share } = *class;
            let inside = starts.range(lower_bytes.saturating_add(1)..upper_bytes.saturating_add(1));
            let lowers: Vec<u64> = std::iter::once(lower_bytes).chain(inside.copied()).collect();
            let by_size = share / ((upper_bytes - lower_bytes) as f64 + 1.0);
            let part = |at: usize| {
                let (lower, next) = (lowers[at], lowers.get(at + 1).map_or(upper_bytes + 1, |next| *next));
                SizeClass {
                    lower_bytes: lower,
                    upper_bytes: next - 1,
                    share: by_size * (next - lower) as f64,
                }
            };
            if lowers.len() == 1 { vec![*class] } else { (0..lowers.len()).map(part).collect() }
        };
        Self { classes: self.classes.iter().flat_map(cut).collect() }
    }

    pub fn mean_bytes(&self) -> f64 {
        self.mean_of(|class| class.mean_bytes())
    }

    /// Returns the mean of `of` over the objects.
    pub fn mean_of(&self, of: impl Fn(&SizeClass) -> f64) -> f64 {
        self.classes.iter().map(|class| class.share * of(class)).sum()
    }

    /// Returns the size at `quantile` (0 to 1) of the objects, smallest first.
    pub fn at_quantile(&self, quantile: f64) -> u64 {
        let mut left = quantile.clamp(0.0, 1.0);
        for class in &self.classes {
            if left <= class.share {
                let span = (class.upper_bytes - class.lower_bytes + 1) as f64;
                let offset = (left / class.share * span) as u64;
                return (class.lower_bytes + offset).min(class.upper_bytes);
            }
            left -= class.share;
        }
        self.classes.last().map_or(0, |class| class.upper_bytes)
    }
}

impl TryFrom<Vec<SizeClass>> for SizeHistogram {
    type Error = SizesError;

    fn try_from(classes: Vec<SizeClass>) -> Result<Self, SizesError> {
        Self::new(classes)
    }
}

impl From<SizeHistogram> for Vec<SizeClass> {
    fn from(histogram: SizeHistogram) -> Self {
        histogram.classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(lower_bytes: u64, upper_bytes: u64, share: f64) -> SizeClass {
        SizeClass { lower_bytes, upper_bytes, share }
    }

    #[test]
    fn counts_become_shares_in_ascending_order() {
        let sizes = SizeHistogram::new(vec![class(100, 200, 30.0), class(0, 0, 10.0)]).unwrap();
        assert_eq!(sizes.classes(), [class(0, 0, 0.25), class(100, 200, 0.75)]);
        assert_eq!(sizes.mean_bytes(), 112.5);
        assert_eq!((sizes.at_quantile(0.2), sizes.at_quantile(0.25)), (0, 0));
        assert_eq!((sizes.at_quantile(0.26), sizes.at_quantile(1.0)), (101, 200));
    }

    #[test]
    fn a_cut_keeps_every_size_with_its_share() {
        let sizes = SizeHistogram::new(vec![class(1, 100, 0.5), class(200, 200, 0.5)]).unwrap();
        let cut = sizes.cut_at(&BTreeSet::from([0, 11, 101, 200, 201]));
        assert_eq!(cut.classes(), [class(1, 10, 0.05), class(11, 100, 0.45), class(200, 200, 0.5)]);
        assert!((cut.mean_bytes() - sizes.mean_bytes()).abs() < 1e-9);
        assert_eq!(sizes.cut_at(&BTreeSet::new()), sizes);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let error = |classes: &[SizeClass]| SizeHistogram::new(classes.to_vec()).unwrap_err();
        assert_eq!(error(&[]), SizesError::Empty);
        assert_eq!(error(&[class(2, 1, 1.0)]), SizesError::Reversed { lower_bytes: 2, upper_bytes: 1 });
        assert!(matches!(error(&[class(1, 1, 0.0)]), SizesError::Share(_)));
        assert!(matches!(error(&[class(1, 1, f64::NAN)]), SizesError::Share(_)));
        assert_eq!(error(&[class(0, 6 << 40, 1.0)]), SizesError::TooLarge(6 << 40));
        assert_eq!(error(&[class(5, 9, 1.0), class(0, 5, 1.0)]), SizesError::Overlap { first: 0, second: 5 });
    }
}
