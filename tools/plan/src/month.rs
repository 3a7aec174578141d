//! This module defines months of the calendar.

use ringbolt_tool_common::date;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// This is a month, written `2026-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    /// Counts the months since January of the year 0.
    index: u32,
}

/// Says that a text is not a month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no month: write year and month, as in 2026-12")]
pub struct MonthError(String);

const YEARS: std::ops::RangeInclusive<u32> = 1970..=9999;

impl Month {
    pub fn of_unix_s(unix_s: u64) -> Self {
        let time = date::utc(unix_s);
        Self { index: time.year() as u32 * 12 + u32::from(u8::from(time.month())) - 1 }
    }

    /// This is the last month that can be written.
    pub const LAST: Self = Self { index: *YEARS.end() * 12 + 11 };

    /// Counts the months from this one to `last`, both included; 0 if `last` is earlier.
    pub fn months_until(self, last: Self) -> u32 {
        (last.index + 1).saturating_sub(self.index)
    }

    /// Returns the month that is `months` later.
    pub fn plus(self, months: u32) -> Self {
        Self { index: self.index + months }
    }

    pub fn year(self) -> u32 {
        self.index / 12
    }

    /// Returns the number of the month, from 1 to 12.
    pub fn number(self) -> u32 {
        self.index % 12 + 1
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.year(), self.number())
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let digits =
            |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = text.split_once('-').filter(|(year, month)| digits(year, 4) && digits(month, 2));
        let numbers = parts.and_then(|(year, month)| Some((year.parse().ok()?, month.parse().ok()?)));
        match numbers {
            Some((year, month)) if YEARS.contains(&year) && (1..=12u32).contains(&month) => {
                Ok(Self { index: year * 12 + month - 1 })
            }
            _ => Err(MonthError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Month {
    type Error = MonthError;

    fn try_from(text: String) -> Result<Self, MonthError> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_counted_over_years() {
        let start: Month = "2026-11".parse().unwrap();
        assert_eq!(start.plus(2).to_string(), "2027-01");
        assert_eq!((start.plus(26).year(), start.plus(26).number()), (2029, 1));
        for text in ["", "2026", "2026-13", "2026-00", "26-11", "2026-1", "1969-12", "2026-+1", "x026-01"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_lies_in_its_month() {
        for (unix_s, month) in [
            (0, "1970-01"),
            (951_782_399, "2000-02"),
            (951_868_800, "2000-03"),
            (1_795_219_200, "2026-11"),
            (1_798_761_599, "2026-12"),
            (1_798_761_600, "2027-01"),
        ] {
            assert_eq!(Month::of_unix_s(unix_s).to_string(), month, "{unix_s}");
        }
    }
}
