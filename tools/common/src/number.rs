//! This module formats numbers for people as fio does: few digits and a prefix.
//!
//! Invariant: a number is divided only when its whole part has too many digits, so 4096 KiB stays
//! 4096 KiB with four digits.

/// Says whether prefixes are powers of 1024 or of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    Binary,
    Decimal,
}

impl Prefix {
    fn step(self) -> f64 {
        match self {
            Self::Binary => 1024.0,
            Self::Decimal => 1000.0,
        }
    }

    fn names(self) -> [&'static str; 7] {
        match self {
            Self::Binary => ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"],
            Self::Decimal => ["", "k", "M", "G", "T", "P", "E"],
        }
    }
}

/// Formats `value` in at most `digits` characters, including the decimal point, with prefix and
/// unit.
pub fn short(value: u64, digits: usize, prefix: Prefix, unit: &str) -> String {
    let names = prefix.names();
    let mut whole = value;
    let mut scaled = value as f64;
    let mut index = 0;
    while whole.to_string().len() > digits && index + 1 < names.len() {
        whole /= prefix.step() as u64;
        scaled /= prefix.step();
        index += 1;
    }
    let room = digits.saturating_sub(whole.to_string().len());
    let decimals = if index == 0 { 0 } else { room.saturating_sub(1) };
    format!("{scaled:.decimals$}{}{unit}", names[index])
}

/// Formats a rate in both units: "38.5MiB/s (40.4MB/s)".
pub fn rate_both(bytes_a_second: u64) -> (String, String) {
    both(bytes_a_second, "B/s")
}

/// Formats a size in both units: "38.6MiB" and "40.5MB".
pub fn size_both(bytes: u64) -> (String, String) {
    both(bytes, "B")
}

fn both(value: u64, unit: &str) -> (String, String) {
    (short(value, SIGNIFICANT, Prefix::Binary, unit), short(value, SIGNIFICANT, Prefix::Decimal, unit))
}

/// This is fio's default of `significant_figures`.
pub const SIGNIFICANT: usize = 4;

/// Formats a count: "12.8k".
pub fn count(value: u64) -> String {
    short(value, SIGNIFICANT, Prefix::Decimal, "")
}

/// Returns a value that JSON can represent: 0 in place of infinities and NaN.
pub fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Returns the rate per second of events in `nanoseconds`; 0 if there is no time.
pub fn per_second(events: u64, nanoseconds: u64) -> f64 {
    if nanoseconds == 0 { 0.0 } else { events as f64 * 1e9 / nanoseconds as f64 }
}

/// Returns `part` of `whole` in per cent; 0 if `whole` is 0.
pub fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part * 100.0 / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are those that fio 3.33 printed for these values.
    #[test]
    fn numbers_look_as_in_fio() {
        assert_eq!(count(9867), "9867");
        assert_eq!(count(31_837), "31.8k");
        assert_eq!(count(256_000), "256k");
        assert_eq!(size_both(4_194_304), ("4096KiB".to_owned(), "4194kB".to_owned()));
        assert_eq!(size_both(40_456_192), ("38.6MiB".to_owned(), "40.5MB".to_owned()));
        assert_eq!(rate_both(1_048_576_000), ("1000MiB/s".to_owned(), "1049MB/s".to_owned()));
        assert_eq!(short(5_327_100, 6, Prefix::Decimal, ""), "5327.1k");
        assert_eq!(short(237_631, 6, Prefix::Decimal, ""), "237631");
        assert_eq!(short(10_229_000, 6, Prefix::Decimal, ""), "10229k");
        assert_eq!(count(0), "0");
        assert_eq!(short(u64::MAX, 4, Prefix::Binary, "B"), "16.0EiB");
    }
}
