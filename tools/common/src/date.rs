//! This module formats times of day as C and fio do: "Sat Nov 21 15:36:29 2026".
//!
//! Invariant: times are always in UTC. The zone of a machine is in a database that nothing else
//! here needs, and reports of two machines are easier to compare this way.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Formats seconds since 1970.
pub fn text(unix_seconds: u64) -> String {
    let days = unix_seconds / 86_400;
    let second = unix_seconds % 86_400;
    let (year, month, day) = civil(days);
    format!(
        "{} {} {day:2} {:02}:{:02}:{:02} {year}",
        DAYS[(days % 7) as usize],
        MONTHS[month],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Returns year, month from 0 and day from 1 of a day since 1970. It walks year by year, because a
/// report calls it once.
pub fn civil(mut days: u64) -> (u64, usize, u64) {
    // Whole periods of 400 years come first, so that the walk is short for any input.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 0;
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_days(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn month_days(year: u64, month: usize) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn dates_are_as_c_writes_them() {
        assert_eq!(text(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(text(951_782_400), "Tue Feb 29 00:00:00 2000");
        assert_eq!(text(1_795_275_389), "Sat Nov 21 15:36:29 2026");
        assert_eq!(text(4_107_542_400), "Mon Mar  1 00:00:00 2100");
        // No value of a clock panics or hangs.
        assert!(!text(u64::MAX).is_empty());
    }
}
