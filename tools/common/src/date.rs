//! This module formats times of day as C and fio do: "Sat Nov 21 15:36:29 2026".
//!
//! Invariant: times are always in UTC. The zone of a machine is in a database that nothing else
//! here needs, and reports of two machines are easier to compare this way.

use time::{Date, OffsetDateTime, Time, UtcOffset};

/// Formats seconds since 1970.
pub fn text(unix_seconds: u64) -> String {
    let time = utc(unix_seconds);
    let (day, month) = (time.weekday().to_string(), time.month().to_string());
    let (hour, minute, second) = time.to_hms();
    // Names of days and months are of ASCII, and have three letters at least.
    format!(
        "{} {} {:2} {hour:02}:{minute:02}:{second:02} {}",
        &day[..3],
        &month[..3],
        time.day(),
        time.year()
    )
}

/// Returns date and time of seconds since 1970; behind the year 9999 it is the end of that year.
pub fn utc(unix_seconds: u64) -> OffsetDateTime {
    let known = i64::try_from(unix_seconds).ok();
    let known = known.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    known.unwrap_or(OffsetDateTime::new_in_offset(Date::MAX, Time::MIDNIGHT, UtcOffset::UTC))
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
