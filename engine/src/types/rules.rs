//! The configuration of buckets that the engine itself keeps to, when it commits a change: object
//! lock and quota. (Versioning is one more.)
//!
//! Invariant: a value that this program does not understand counts for most: a lock that can not be
//! read keeps what is locked, and a quota that can not be read admits nothing.

use super::traits::{Retention, RetentionMode};

/// Milliseconds of a day.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Days of a year, as retentions count them.
const YEAR_DAYS: u64 = 365;

/// For how long new versions are retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Days(u32),
    Years(u32),
}

impl Period {
    /// Returns the period in days.
    pub fn days(self) -> u64 {
        match self {
            Self::Days(days) => u64::from(days),
            Self::Years(years) => u64::from(years) * YEAR_DAYS,
        }
    }
}

/// The retention that a bucket gives to versions that bring none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRetention {
    pub mode: RetentionMode,
    pub period: Period,
}

impl DefaultRetention {
    /// Returns the retention of a version that was written at a time, in Unix milliseconds.
    pub fn from(self, written_ms: u64) -> Retention {
        let until_ms = written_ms.saturating_add(self.period.days().saturating_mul(DAY_MS));
        Retention { mode: self.mode, until_ms }
    }
}

/// The object lock of a bucket, which has one for good or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketLock {
    pub default: Option<DefaultRetention>,
}

/// The most that a bucket may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Sum of the sizes of all versions, bytes.
    pub bytes: Option<u64>,
    /// Versions that are objects.
    pub versions: Option<u64>,
}

const LOCK_BYTES: usize = 6;
const QUOTA_BYTES: usize = 17;

impl BucketLock {
    /// Returns the value of the bucket's configuration.
    pub fn encode(self) -> Vec<u8> {
        let (mode, unit, number) = match self.default {
            None => (0, 0, 0),
            Some(DefaultRetention { mode, period }) => {
                let mode = match mode {
                    RetentionMode::Governance => 1,
                    RetentionMode::Compliance => 2,
                };
                match period {
                    Period::Days(days) => (mode, 1, days),
                    Period::Years(years) => (mode, 2, years),
                }
            }
        };
        let mut value = vec![mode, unit];
        value.extend_from_slice(&number.to_le_bytes());
        value
    }

    /// Reads a value of the bucket's configuration. One that is not understood is a lock without
    /// default.
    pub fn decode(value: &[u8]) -> Self {
        let Ok([mode, unit, number @ ..]) = <[u8; LOCK_BYTES]>::try_from(value) else {
            return Self::default();
        };
        let number = u32::from_le_bytes(number);
        let mode = match mode {
            1 => RetentionMode::Governance,
            2 => RetentionMode::Compliance,
            _ => return Self::default(),
        };
        let period = match unit {
            1 => Period::Days(number),
            2 => Period::Years(number),
            _ => return Self::default(),
        };
        Self { default: Some(DefaultRetention { mode, period }) }
    }
}

impl Quota {
    /// Returns the value of the bucket's configuration.
    pub fn encode(self) -> Vec<u8> {
        let set = u8::from(self.bytes.is_some()) | u8::from(self.versions.is_some()) << 1;
        let mut value = vec![set];
        value.extend_from_slice(&self.bytes.unwrap_or(0).to_le_bytes());
        value.extend_from_slice(&self.versions.unwrap_or(0).to_le_bytes());
        value
    }

    /// Reads a value of the bucket's configuration.
    pub fn decode(value: &[u8]) -> Self {
        let Some((&[set, ref numbers @ ..], [])) = value.split_first_chunk::<QUOTA_BYTES>() else {
            return Self { bytes: Some(0), versions: Some(0) };
        };
        let number =
            |at: usize| numbers[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Self { bytes: (set & 1 != 0).then(|| number(0)), versions: (set & 2 != 0).then(|| number(8)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let with = |mode, period| BucketLock { default: Some(DefaultRetention { mode, period }) };
        for lock in [
            BucketLock::default(),
            with(RetentionMode::Governance, Period::Days(36_500)),
            with(RetentionMode::Compliance, Period::Years(100)),
        ] {
            assert_eq!(BucketLock::decode(&lock.encode()), lock);
        }
        for quota in [
            Quota::default(),
            Quota { bytes: Some(u64::MAX), versions: None },
            Quota { bytes: Some(1 << 40), versions: Some(7) },
        ] {
            assert_eq!(Quota::decode(&quota.encode()), quota);
        }
    }

    #[test]
    fn what_is_not_understood_counts_for_most() {
        for value in [&[][..], &[3, 1, 0, 0, 0, 0], &[1; 5], &[1, 9, 0, 0, 0, 0]] {
            assert_eq!(BucketLock::decode(value), BucketLock::default());
            assert_eq!(Quota::decode(value), Quota { bytes: Some(0), versions: Some(0) });
        }
    }

    #[test]
    fn retention_counts_from_the_writing() {
        let of = |period| DefaultRetention { mode: RetentionMode::Governance, period }.from(1000).until_ms;
        assert_eq!(of(Period::Days(2)), 1000 + 2 * DAY_MS);
        assert_eq!(of(Period::Years(1)), 1000 + 365 * DAY_MS);
    }
}
