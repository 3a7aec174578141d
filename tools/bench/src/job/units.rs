//! This module parses numbers with units as fio does.
//!
//! Sizes: k, m, g, t and p, also followed by b or i, are powers of `kb_base`, which is 1024 unless
//! the job says 1000. Written as kib, mib and so on, they are powers of the other base: with 1024
//! they are powers of 1000, contrary to the standard, so that old scripts keep their meaning. fio 3
//! does the same (its manual says so of ki and mi too, but fio reads these as k and m). Case never
//! matters. Times: us, ms, s, m, h, d.
//!
//! Invariant: a number that does not fit into 64 bits is an error; it is never truncated.

use super::expression;

/// Holds the values of `$pagesize`, `$ncpus` and `$mb_memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub page_bytes: u64,
    pub cpus: u64,
    pub memory_mib: u64,
}

/// Says how the numbers of a section are read.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// This is 1024 or 1000.
    pub kb_base: u64,
    pub machine: Machine,
}

/// The units of time are in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
pub const MILLISECOND: u64 = 1_000_000;
pub const MICROSECOND: u64 = 1_000;

const TOO_LARGE: &str = "larger than a number of 64 bits";

impl Units {
    /// Parses a size in bytes.
    ///
    /// # Errors
    /// Returns the reason when the text is not a size.
    pub fn size(&self, text: &str) -> Result<u64, String> {
        self.evaluate(text, |number, suffix| {
            scale(number, self.size_unit(suffix).ok_or_else(|| unknown_size_unit(suffix))?)
        })
    }

    /// Parses a number; k, m and so on mean the same as in sizes.
    ///
    /// # Errors
    /// Returns the reason when the text is not a number.
    pub fn number(&self, text: &str) -> Result<u64, String> {
        self.size(text)
    }

    /// Parses a time in nanoseconds; `bare_ns` is the unit of a number without a suffix.
    ///
    /// # Errors
    /// Returns the reason when the text is not a time.
    pub fn time(&self, text: &str, bare_ns: u64) -> Result<u64, String> {
        let unit_us = |suffix: &str| match suffix.to_ascii_lowercase().as_str() {
            "us" | "usec" => Ok(1),
            "ms" | "msec" => Ok(1_000),
            "s" | "sec" => Ok(1_000_000),
            "m" => Ok(60_000_000),
            "h" => Ok(3_600_000_000),
            "d" => Ok(86_400_000_000),
            _ => Err(format!("{suffix:?} is no unit of time: write us, ms, s, m, h or d")),
        };
        if expression::is_one(text.trim()) {
            // As in fio, the result of an expression is in microseconds, whatever the key's unit
            // is.
            let microseconds = self.evaluate(text, |number, suffix| match suffix {
                "" => Ok(number),
                _ => scale(number, unit_us(suffix)?),
            });
            return scale(microseconds?, MICROSECOND);
        }
        self.evaluate(text, |number, suffix| match suffix {
            "" => scale(number, bare_ns),
            _ => scale(scale(number, unit_us(suffix)?)?, MICROSECOND),
        })
    }

    /// Parses a range, `least-most` or `least:most`, and swaps the two when they are in the wrong
    /// order.
    ///
    /// # Errors
    /// Returns the reason when the text is not a range of sizes.
    pub fn size_range(&self, text: &str) -> Result<(u64, u64), String> {
        let (least, most) =
            text.split_once(['-', ':']).ok_or_else(|| "a range is needed, as in 4k-64k".to_owned())?;
        let (least, most) = (self.size(least)?, self.size(most)?);
        Ok((least.min(most), least.max(most)))
    }

    fn evaluate(&self, text: &str, unit: impl Fn(u64, &str) -> Result<u64, String>) -> Result<u64, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("a number is needed".to_owned());
        }
        if expression::is_one(text) {
            return expression::evaluate(text, &self.machine, &unit);
        }
        let (number, suffix) = number_and_suffix(text)?;
        unit(number, suffix)
    }

    fn size_unit(&self, suffix: &str) -> Option<u64> {
        let suffix = suffix.to_ascii_lowercase();
        if suffix.is_empty() || suffix == "b" {
            return Some(1);
        }
        let power = "kmgtp".find(suffix.chars().next()?)? as u32 + 1;
        let base = match suffix.get(1..)? {
            "" | "b" | "i" => self.kb_base,
            "ib" if self.kb_base == 1000 => 1024,
            "ib" => 1000,
            _ => return None,
        };
        base.checked_pow(power)
    }
}

fn unknown_size_unit(suffix: &str) -> String {
    if suffix == "z" {
        return "zones (z) are not built: give bytes".to_owned();
    }
    format!("{suffix:?} is no unit of size: write k, m, g, t or p, with b behind or without")
}

fn scale(number: u64, unit: u64) -> Result<u64, String> {
    number.checked_mul(unit).ok_or_else(|| TOO_LARGE.to_owned())
}

/// Splits a text into a number, decimal or hexadecimal after 0x, and what follows.
///
/// # Errors
/// Returns the reason when the text does not begin with digits or the number does not fit.
pub fn number_and_suffix(text: &str) -> Result<(u64, &str), String> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let end = digits.find(|character: char| !character.is_digit(radix)).unwrap_or(digits.len());
    let (digits, suffix) = digits.split_at(end);
    if digits.is_empty() {
        return Err("not a number".to_owned());
    }
    if suffix.starts_with('.') {
        return Err("a whole number is needed; take a smaller unit".to_owned());
    }
    let number = u64::from_str_radix(digits, radix).map_err(|_| TOO_LARGE.to_owned())?;
    Ok((number, suffix.trim()))
}

/// Writes bytes in the largest unit that is exact; [`Units::size`] with base 1024 reads it back.
pub fn write_size(bytes: u64) -> String {
    for (power, letter) in [(5, 'p'), (4, 't'), (3, 'g'), (2, 'm'), (1, 'k')] {
        let unit = 1024_u64.pow(power);
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{letter}", bytes / unit);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units =
        Units { kb_base: 1024, machine: Machine { page_bytes: 4096, cpus: 2, memory_mib: 1000 } };

    #[test]
    fn sizes_are_read_as_by_fio() {
        for (text, bytes) in [
            ("0", 0),
            ("4096b", 4096),
            ("4k", 4096),
            ("4K", 4096),
            ("4kB", 4096),
            ("4Ki", 4096),
            ("4KiB", 4000),
            ("2m", 2 << 20),
            ("1GiB", 1_000_000_000),
            ("3t", 3 << 40),
            ("1p", 1 << 50),
            ("0x10", 16),
            ("0x10k", 16 << 10),
        ] {
            assert_eq!(UNITS.size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn kb_base_1000_turns_the_units_round() {
        let units = Units { kb_base: 1000, ..UNITS };
        assert_eq!(units.size("4k"), Ok(4000));
        assert_eq!(units.size("4kib"), Ok(4096));
        assert_eq!(units.size("1mib"), Ok(1 << 20));
    }

    #[test]
    fn sizes_that_are_none_say_why() {
        for (text, part) in [
            ("", "number is needed"),
            ("k", "not a number"),
            ("-1", "not a number"),
            ("4x", "no unit of size"),
            ("1.5g", "whole number"),
            ("8z", "zones"),
            ("99999999999999999999", "64 bits"),
            ("99999p", "64 bits"),
        ] {
            let reason = UNITS.size(text).expect_err(text);
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }

    #[test]
    fn every_size_written_reads_back() {
        let mut bytes = 1_u64;
        while bytes < u64::MAX / 3 {
            for near in [bytes - 1, bytes, bytes + 1, bytes * 3] {
                assert_eq!(UNITS.size(&write_size(near)), Ok(near), "{}", write_size(near));
            }
            bytes *= 2;
        }
    }

    #[test]
    fn times_have_the_unit_of_their_key_when_they_have_none() {
        assert_eq!(UNITS.time("10", SECOND), Ok(10 * SECOND));
        assert_eq!(UNITS.time("10", MICROSECOND), Ok(10 * MICROSECOND));
        assert_eq!(UNITS.time("10us", SECOND), Ok(10_000));
        assert_eq!(UNITS.time("5ms", SECOND), Ok(5_000_000));
        assert_eq!(UNITS.time("2M", SECOND), Ok(120 * SECOND));
        assert_eq!(UNITS.time("1d", SECOND), Ok(86_400 * SECOND));
        assert_eq!(UNITS.time("(10*3)", SECOND), Ok(30 * MICROSECOND));
        assert_eq!(UNITS.time("(10s*3)", SECOND), Ok(30 * SECOND));
        assert!(UNITS.time("10parsec", SECOND).is_err());
    }

    #[test]
    fn ranges_are_put_in_order() {
        assert_eq!(UNITS.size_range("4k-64k"), Ok((4096, 65536)));
        assert_eq!(UNITS.size_range("64k:4k"), Ok((4096, 65536)));
        assert!(UNITS.size_range("4k").is_err());
    }

    #[test]
    fn words_of_the_machine_count() {
        assert_eq!(UNITS.size("8*1024*$pagesize"), Ok(8 * 1024 * 4096));
        assert_eq!(UNITS.size("7*1024*1024*$mb_memory/8"), Ok(7 * 1024 * 1024 * 125));
        assert_eq!(UNITS.number("$ncpus"), Ok(2));
        assert_eq!(UNITS.size("(4k+2)*3"), Ok(4098 * 3));
    }
}
