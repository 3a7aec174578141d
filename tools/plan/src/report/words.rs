//! This module formats figures for people: three digits, a unit, calendar dates.
//!
//! Invariant: a value that is not a number is shown as [`NOTHING`].

use crate::month::Month;
use crate::result::Constraint;
use ringbolt_tool_common::html::plot;
use ringbolt_tool_common::units::{self, DAYS_PER_YEAR};
use serde::Serialize;

/// Replaces a figure that does not exist.
pub const NOTHING: &str = "-";

/// Formats bytes in decimal units, as drives are sold: "7.68 TB".
pub fn bytes(value: f64) -> String {
    finite(value, units::human_bytes)
}

/// Formats bytes in binary units, as memory is sold: "128 GiB".
pub fn binary_bytes(value: f64) -> String {
    finite(value, units::human_binary)
}

fn finite(value: f64, text: fn(f64) -> String) -> String {
    if value.is_finite() { text(value) } else { NOTHING.to_owned() }
}

/// Formats three digits; from a thousand on, the whole number in groups of three.
pub fn amount(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => NOTHING.to_owned(),
        size if size >= 1e15 => format!("{value:.2e}"),
        size if size >= 999.5 => grouped(value),
        size if size > 0.0 && size < 0.000_95 => format!("{value:.1e}"),
        _ => units::significant(value),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count or a rate: "25.6k".
pub fn count(value: f64) -> String {
    match value {
        _ if !value.is_finite() => NOTHING.to_owned(),
        _ if value >= 999.5e12 => amount(value),
        _ if value >= 999.5e9 => plot::figures(value / 1e12) + "T",
        _ => plot::count(value),
    }
}

/// Larger percentages are not shown as figures.
const PERCENT_SHOWN_MAX: f64 = 100_000.0;

/// Formats a share of 1 in per cent.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        _ if !percent.is_finite() => NOTHING.to_owned(),
        _ if percent > PERCENT_SHOWN_MAX => format!("over {}%", amount(PERCENT_SHOWN_MAX)),
        size if size >= 9.95 || size == 0.0 => format!("{}%", amount(percent.round())),
        size if size >= 0.095 => format!("{percent:.1}%"),
        size if size >= 0.000_95 => format!("{}%", format!("{percent:.3}").trim_end_matches('0')),
        _ => format!("{}%", amount(percent)),
    }
}

/// Formats a factor: "1.87".
pub fn factor(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { amount(value) }
}

/// Formats an amount with its currency.
pub fn money(value: f64, currency: &str) -> String {
    format!("{} {currency}", amount(value))
}

/// Formats a duration in years: "7.2 years".
pub fn years(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "without end".to_owned(),
        _ if value >= 1000.0 => "over 1,000 years".to_owned(),
        _ if value >= 1.0 => counted(&plot::figures((value * 10.0).round() / 10.0), "year"),
        _ => counted(&plot::figures((value * DAYS_PER_YEAR).round()), "day"),
    }
}

/// Formats a duration in hours: "3.5 hours".
pub fn hours(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "without end".to_owned(),
        _ if value >= 48.0 => counted(&amount(value / 24.0), "day"),
        _ if value >= 1.0 => counted(&amount(value), "hour"),
        _ => counted(&amount((value * 60.0).ceil()), "minute"),
    }
}

/// Adds the singular or plural of a noun: "1 node", "2 nodes".
pub fn counted(number: &str, thing: &str) -> String {
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Formats nodes and drives: "5 nodes, 40 drives".
pub fn nodes_and_drives(nodes: u32, drives: u32) -> String {
    let counted = |number: u32, thing| counted(&amount(f64::from(number)), thing);
    format!("{}, {}", counted(nodes, "node"), counted(drives, "drive"))
}

/// Formats a probability within a year: "1.2e-4, 1 in 8,300".
pub fn probability(value: f64) -> String {
    match value {
        _ if !value.is_finite() => NOTHING.to_owned(),
        _ if value <= 0.0 => "0".to_owned(),
        _ if value < 0.01 => format!("{value:.1e}, 1 in {}", amount(one_in(value))),
        _ if value > 0.999_5 => "almost certain".to_owned(),
        _ => percent(value),
    }
}

/// Returns the reciprocal rounded to two digits.
fn one_in(value: f64) -> f64 {
    let exact = 1.0 / value;
    let unit = 10_f64.powf(exact.log10().floor() - 1.0);
    (exact / unit).round() * unit
}

/// Returns the day that is `days` after the start of a month; `None` beyond the year 9999.
pub fn day(start: Month, days: f64) -> Option<String> {
    let month = time::Month::try_from(u8::try_from(start.number()).ok()?).ok()?;
    let first = time::Date::from_calendar_date(i32::try_from(start.year()).ok()?, month, 1).ok()?;
    if !(0.0..4e6).contains(&days) {
        return None;
    }
    Some(first.checked_add(time::Duration::days(days as i64))?.to_string())
}

/// Formats a time: "2026-11-21 18:43 UTC".
pub fn minute(unix_ms: u64) -> String {
    let time = ringbolt_tool_common::date::utc(unix_ms / 1000);
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}

/// Returns the name that JSON uses.
pub fn name(constraint: Constraint) -> String {
    match constraint.serialize(serde_json::value::Serializer) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("a constraint is written as its name, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        for (value, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (999.7, "1 kB"),
            (7.68e12, "7.68 TB"),
            (123_456.0, "123 kB"),
            (4e21, "4000 EB"),
            (f64::NAN, NOTHING),
            (f64::INFINITY, NOTHING),
        ] {
            assert_eq!(bytes(value), text, "{value}");
        }
        assert_eq!(binary_bytes(137_438_953_472.0), "128 GiB");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(amount(1_234_567.0), "1,234,567");
        assert_eq!(amount(-1234.0), "-1,234");
        assert_eq!(amount(999.6), "1,000");
        assert_eq!(amount(12.34), "12.3");
        assert_eq!(amount(0.000_12), "1.2e-4");
        assert_eq!(amount(0.081), "0.081");
        assert_eq!(amount(0.256), "0.256");
        assert_eq!(amount(0.5), "0.5");
        assert_eq!(amount(0.0), "0");
        assert_eq!(count(1.5e12), "1.5T");
        assert_eq!(percent(0.714), "71%");
        assert_eq!(percent(0.0316), "3.2%");
        assert_eq!(percent(0.000_03), "0.003%");
        assert_eq!(percent(12.0), "1,200%");
        assert_eq!(percent(1e13), "over 100,000%");
        assert_eq!(percent(f64::INFINITY), NOTHING);
        let factors = [1.8, 4e-35, f64::NAN].map(factor);
        assert_eq!(factors, ["1.80", "0.00", NOTHING]);
        assert_eq!(money(1234.5, "EUR"), "1,234 EUR");
    }

    #[test]
    fn times_and_chances_read_well() {
        assert_eq!(years(1.0), "1 year");
        assert_eq!(years(7.26), "7.3 years");
        assert_eq!(years(0.1), "37 days");
        assert_eq!(years(f64::INFINITY), "without end");
        assert_eq!(hours(0.2), "12 minutes");
        assert_eq!(hours(3.5), "3.5 hours");
        assert_eq!(hours(72.0), "3 days");
        assert_eq!(probability(1.2e-4), "1.2e-4, 1 in 8,300");
        assert_eq!(probability(0.0), "0");
        assert_eq!(probability(0.42), "42%");
        assert_eq!(probability(1.0), "almost certain");
        assert_eq!(nodes_and_drives(1, 12_000), "1 node, 12,000 drives");
    }

    #[test]
    fn days_are_counted_over_months_and_leap_years() {
        let start: Month = "2027-12".parse().unwrap();
        assert_eq!(day(start, 0.0).unwrap(), "2027-12-01");
        assert_eq!(day(start, 31.9).unwrap(), "2028-01-01");
        assert_eq!(day(start, 90.0).unwrap(), "2028-02-29");
        let last: Month = "9999-12".parse().unwrap();
        for days in [f64::NAN, f64::INFINITY, -1.0, 1e300, 31.0] {
            assert_eq!(day(last, days), None, "{days}");
        }
        assert_eq!(minute(1_795_275_389_534), "2026-11-21 15:36 UTC");
    }

    #[test]
    fn constraints_are_named_as_in_json() {
        for constraint in Constraint::ALL {
            assert_eq!(format!("\"{}\"", name(constraint)), serde_json::to_string(&constraint).unwrap());
        }
        assert_eq!(name(Constraint::DriveIops), "drive_iops");
    }
}
