//! The dates of conditions: W3C's profile of ISO 8601, or seconds since 1970.

use time::{Date, Month, Time, UtcOffset};

/// Parses a date to milliseconds since 1970. Digits alone are seconds since 1970, but four of them are
/// a year. A date without a time is its midnight, and one without a zone is of UTC.
pub fn parse_date(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() != 4 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<i64>().ok()?.checked_mul(1000);
    }
    let (date, time) = match text.split_once('T') {
        None => (text, None),
        Some((date, time)) => (date, Some(time)),
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |month| number(month, 2))?;
    let day = parts.next().map_or(Some(1), |day| number(day, 2))?;
    if parts.next().is_some() || (time.is_some() && date.len() != 10) {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    let (time, offset) = time.map_or(Some((Time::MIDNIGHT, UtcOffset::UTC)), parse_time)?;
    let moment = date.with_time(time).assume_offset(offset);
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

/// Parses `hh:mm`, `hh:mm:ss` or `hh:mm:ss.fraction`, and a zone behind it.
fn parse_time(text: &str) -> Option<(Time, UtcOffset)> {
    let zone_at = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let (clock, fraction) = match clock.split_once('.') {
        None => (clock, 0),
        Some((clock, fraction)) => (clock, milliseconds(fraction)?),
    };
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    if parts.next().is_some() {
        return None;
    }
    let small = |number: u32| u8::try_from(number).ok();
    let time = Time::from_hms_milli(small(hour)?, small(minute)?, small(second)?, fraction).ok()?;
    let offset = match zone {
        "" | "Z" => UtcOffset::UTC,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let signed = |number: u32| i8::try_from(number).ok().map(|number| number * sign);
            UtcOffset::from_hms(signed(hours)?, signed(minutes)?, 0).ok()?
        }
    };
    Some((time, offset))
}

fn number(text: &str, digits: usize) -> Option<u32> {
    let all_digits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all_digits)
}

/// Reads a fraction of a second; what is finer than a millisecond is cut off.
fn milliseconds(fraction: &str) -> Option<u16> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{fraction:0<3}");
    digits[..3].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_both_forms_are_moments() {
        for (text, expected_ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2013-06-30T00:00:00Z", Some(1_372_550_400_000)),
            ("2013-06-30", Some(1_372_550_400_000)),
            ("2013-06", Some(1_370_044_800_000)),
            ("2013", Some(1_356_998_400_000)),
            ("2013-06-30T02:30+02:30", Some(1_372_550_400_000)),
            ("2013-06-29T23:00:00.5-01:00", Some(1_372_550_400_500)),
            ("2013-06-30T00:00:00.123456Z", Some(1_372_550_400_123)),
            ("1372550400", Some(1_372_550_400_000)),
            ("0", Some(0)),
            ("-1", Some(-1000)),
            ("", None),
            ("-", None),
            ("soon", None),
            ("2013-6-30", None),
            ("2013-02-30", None),
            ("2013-06T00:00Z", None),
            ("2013-06-30T24:00Z", None),
            ("2013-06-30T00Z", None),
            ("2013-06-30T00:00:00.Z", None),
            ("2013-06-30T00:00+0100", None),
            ("2013-06-30T00:00é", None),
            ("9223372036854775807", None),
        ] {
            assert_eq!(parse_date(text), expected_ms, "{text}");
        }
    }
}
