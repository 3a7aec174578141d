//! This module defines the kinds of values and their limits.
//!
//! Invariant: each limit of a single value is checked here, so that a value that was read is within
//! it; [`super::checks`] checks the limits of two values together.

use crate::hardware::Redundancy;
use crate::month::Month;
use ringbolt_engine::node::sizing;
use ringbolt_tool_common::redundancy;
use ringbolt_tool_common::units;

/// Says what a value looks like. Limits are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Text,
    /// Takes a path relative to the directory of the file that names it.
    File,
    /// Takes one of these words.
    Word(&'static [&'static str]),
    Month,
    Whole {
        least: u64,
        most: u64,
    },
    Number {
        least: f64,
        most: f64,
    },
    /// Takes a share of 1, which may be written in per cent.
    Share {
        least: f64,
        most: f64,
    },
    Bytes {
        least: u64,
        most: u64,
    },
    /// Takes the size in bytes of a drive that Ringbolt supports.
    DriveBytes,
    /// Takes bytes that need not be whole, because they are a mean.
    MeanBytes {
        least: f64,
        most: f64,
    },
    BytesPerS,
    /// Takes a rate of requests.
    PerS,
    /// Takes a time and converts it to days.
    Age,
    /// Takes 24 numbers.
    Hours,
    /// Takes classes of sizes.
    Sizes,
    /// Takes what `ringbolt format --redundancy` takes, or [`DEFAULT_REDUNDANCY`].
    Redundancy,
}

/// This word stands for what `ringbolt format` makes of as many drives.
pub const DEFAULT_REDUNDANCY: &str = "default";

/// This is a value that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantity {
    Text(String),
    Month(Month),
    Whole(u64),
    Real(f64),
}

/// No cluster answers more requests.
const REQUESTS_PER_S_MAX: f64 = 1e9;
const BYTES_PER_S_MIN: f64 = 1e3;
const BYTES_PER_S_MAX: f64 = 1e13;
/// The minimum is an hour.
const AGE_DAYS_MIN: f64 = 1.0 / 24.0;
const AGE_DAYS_MAX: f64 = 100.0 * units::DAYS_PER_YEAR;
const TEXT_BYTES_MAX: usize = 1000;

impl Kind {
    /// Says what to write, for messages about values of another shape.
    pub fn wanted(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::File => "the path of a file in quotes",
            Self::Word(_) => "a word in quotes",
            Self::Redundancy => "a text in quotes, as in \"mirror\" or \"4+2\"",
            Self::Month => "year and month in quotes, as in \"2026-12\"",
            Self::Whole { .. } | Self::Number { .. } => "a number",
            Self::Share { .. } => "a part of 1, as in 0.2, or percent in quotes, as in \"20%\"",
            Self::Bytes { .. } | Self::DriveBytes | Self::MeanBytes { .. } => {
                "a size, as in \"4KiB\" or 4096"
            }
            Self::BytesPerS => "a rate, as in \"25Gbit\" or \"3.2GB/s\"",
            Self::PerS => "a number a second",
            Self::Age => "an age, as in \"90d\" or \"2y\"",
            Self::Hours => "a list of 24 numbers, one for each hour of the day",
            Self::Sizes => "a list of sizes with shares, as in [{ size = \"4KiB\", share = 1 }]",
        }
    }

    /// Reads a value that is not a list.
    ///
    /// # Errors
    /// Returns the reason when the value has another shape or is beyond the limits.
    pub fn read(self, text: &str) -> Result<Quantity, String> {
        match self {
            Self::Text | Self::File => not_empty(text).map(Quantity::Text),
            Self::Word(words) if words.contains(&text) => Ok(Quantity::Text(text.to_owned())),
            Self::Word(words) => Err(format!("write one of {}", words.join(", "))),
            Self::Redundancy => redundancy(text).map(|()| Quantity::Text(text.to_owned())),
            Self::Month => text.parse().map(Quantity::Month).map_err(|error| format!("{error}")),
            Self::Whole { least, most } => whole(text, least, most).map(Quantity::Whole),
            Self::Number { least, most } => {
                within(units::number(text)?, least, most, |limit| limit.to_string())
            }
            Self::Share { least, most } => within(units::share(text)?, least, most, |limit| {
                format!("{limit} ({})", units::human_share(limit))
            }),
            Self::Bytes { least, most } => {
                size(text, least, most, || beyond(&units::exact_bytes(least), &units::exact_bytes(most)))
            }
            Self::DriveBytes => drive(text),
            Self::MeanBytes { least, most } => {
                within(units::mean_bytes(text)?, least, most, |limit| format!("{limit} bytes"))
            }
            Self::BytesPerS => {
                within(units::bytes_per_s(text)?, BYTES_PER_S_MIN, BYTES_PER_S_MAX, units::human_bytes_per_s)
            }
            Self::PerS => within(units::per_s(text)?, 0.0, REQUESTS_PER_S_MAX, units::human_per_s),
            Self::Age => within(units::days(text)?, AGE_DAYS_MIN, AGE_DAYS_MAX, units::human_days),
            Self::Hours | Self::Sizes => Err(format!("write {}", self.wanted())),
        }
    }

    /// Checks that `value`, in the unit that [`Self::read`] returns, is within the limits. Kinds
    /// that are not numbers have none.
    ///
    /// # Errors
    /// Returns the limits.
    pub fn check(self, value: f64) -> Result<(), String> {
        let (least, most) = match self {
            Self::Whole { least, most } | Self::Bytes { least, most } => (least as f64, most as f64),
            Self::Number { least, most } | Self::Share { least, most } | Self::MeanBytes { least, most } => {
                (least, most)
            }
            Self::DriveBytes => (sizing::drive_bytes_min() as f64, sizing::drive_bytes_max() as f64),
            Self::BytesPerS => (BYTES_PER_S_MIN, BYTES_PER_S_MAX),
            Self::PerS => (0.0, REQUESTS_PER_S_MAX),
            Self::Age => (AGE_DAYS_MIN, AGE_DAYS_MAX),
            Self::Text
            | Self::File
            | Self::Word(_)
            | Self::Month
            | Self::Hours
            | Self::Sizes
            | Self::Redundancy => return Ok(()),
        };
        within(value, least, most, |limit| limit.to_string()).map(drop)
    }
}

fn not_empty(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty: write something, or leave the key out".to_owned()),
        text if text.len() > TEXT_BYTES_MAX => Err(format!("longer than {TEXT_BYTES_MAX} bytes: shorten it")),
        text => Ok(text.to_owned()),
    }
}

/// Checks that some drives can be formatted so.
fn redundancy(text: &str) -> Result<(), String> {
    if text == DEFAULT_REDUNDANCY {
        return Ok(());
    }
    let Some(found) = Redundancy::of_name(text) else {
        return Err(format!(
            "{}; or {DEFAULT_REDUNDANCY}, which is what `ringbolt format` makes of as many drives",
            redundancy::CHOICES
        ));
    };
    if found.copies > Redundancy::COPIES_MAX {
        return Err(format!(
            "{} drives may not be lost: {} at most, since small objects have a copy for each and one more",
            found.failures_max(),
            Redundancy::COPIES_MAX - 1
        ));
    }
    match sizing::MEMBERS_OF_SLICES_MAX {
        most if found.members() as usize > most => {
            Err(format!("{} data and parity drives: a stripe has {most} at most", found.members()))
        }
        _ => Ok(()),
    }
}

fn whole(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let value = match text.parse::<u64>() {
        Ok(value) => Some(value),
        // TOML writes large numbers like 2e9.
        Err(_) => {
            let value = units::number(text)?;
            (value.fract() == 0.0 && (0.0..9e15).contains(&value)).then_some(value as u64)
        }
    };
    value.filter(|value| (least..=most).contains(value)).ok_or_else(|| {
        let is_fraction = units::number(text).is_ok_and(|value| value.fract() != 0.0);
        let kind = if is_fraction { "a whole number " } else { "" };
        format!("{kind}{}", beyond(&least.to_string(), &most.to_string()))
    })
}

fn size(text: &str, least: u64, most: u64, beyond: impl Fn() -> String) -> Result<Quantity, String> {
    let value = units::bytes(text)?;
    if (least..=most).contains(&value) { Ok(Quantity::Whole(value)) } else { Err(beyond()) }
}

fn drive(text: &str) -> Result<Quantity, String> {
    let (least, most) = (sizing::drive_bytes_min(), sizing::drive_bytes_max());
    size(text, least, most, || {
        format!(
            "a Ringbolt drive has from {least} bytes ({}) to {most} bytes ({}): below, no shard has room; above, \
             nothing has an address; partition larger ones",
            units::human_bytes(least as f64),
            units::human_bytes(most as f64)
        )
    })
}

fn within(value: f64, least: f64, most: f64, show: impl Fn(f64) -> String) -> Result<Quantity, String> {
    if (least..=most).contains(&value) {
        Ok(Quantity::Real(value))
    } else {
        Err(beyond(&show(least), &show(most)))
    }
}

fn beyond(least: &str, most: &str) -> String {
    format!("must be from {least} to {most}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_held_and_named() {
        let count = Kind::Whole { least: 1, most: 1000 };
        assert_eq!(count.read("12"), Ok(Quantity::Whole(12)));
        assert_eq!(count.read("100.0"), count.read("100"));
        for (text, part) in
            [("0", "from 1 to 1000"), ("1001", "from 1"), ("-1", "from 1"), ("1.5", "whole number")]
        {
            assert!(count.read(text).unwrap_err().contains(part), "{text}: {:?}", count.read(text));
        }
        let share = Kind::Share { least: 0.0, most: 1.0 };
        assert_eq!(share.read("20%"), Ok(Quantity::Real(0.2)));
        for text in ["1.01", "-1%", "101%"] {
            assert!(share.read(text).unwrap_err().contains("from 0 (0%) to 1 (100%)"), "{text}");
        }
        for kind in
            [count, share, Kind::PerS, Kind::BytesPerS, Kind::Age, Kind::Number { least: 0.0, most: 9e99 }]
        {
            for text in ["nan", "inf", "NaN", "", "x"] {
                assert!(kind.read(text).is_err(), "{kind:?} {text}");
            }
        }
        assert!(Kind::Age.read("0d").unwrap_err().contains("from 1 h"));
        let size = Kind::Bytes { least: 5 << 20, most: 5 << 30 };
        assert!(size.read("4MiB").unwrap_err().contains("from 5MiB to 5GiB"));
        assert!(Kind::Word(&["a", "b"]).read("c").unwrap_err().contains("a, b"));
        assert!(Kind::Month.read("2026-13").unwrap_err().contains("2026-12"));
    }
}
