//! The time of a request, which is written as `20130524T000000Z` or as an HTTP date.

use std::time::UNIX_EPOCH;
use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// The time of a request: in seconds since 1970, and in the form in which it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTime {
    pub unix_s: i64,
    text: [u8; 16],
}

impl RequestTime {
    /// Returns the time as `YYYYMMDDTHHMMSSZ`.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or_default()
    }

    /// Returns the day as `YYYYMMDD`, as in the scope of a credential.
    pub fn day(&self) -> &str {
        self.text().get(..8).unwrap_or_default()
    }

    /// Parses the basic form of ISO 8601, which all signers of today send.
    pub fn parse_basic(value: &str) -> Option<Self> {
        let text: [u8; 16] = value.as_bytes().try_into().ok()?;
        if text[8] != b'T' || text[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| -> Option<u16> {
            text[from..to]
                .iter()
                .try_fold(0u16, |sum, &byte| byte.is_ascii_digit().then(|| sum * 10 + u16::from(byte - b'0')))
        };
        let small = |from: usize| number(from, from + 2).and_then(|value| u8::try_from(value).ok());
        let month = Month::try_from(small(4)?).ok()?;
        let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, small(6)?).ok()?;
        let time = Time::from_hms(small(9)?, small(11)?, small(13)?).ok()?;
        Some(Self { unix_s: PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp(), text })
    }

    /// Parses either form: the protocol allows an HTTP date in `Date` and in `x-amz-date`.
    pub fn parse(value: &str) -> Option<Self> {
        Self::parse_basic(value).or_else(|| Self::parse_http(value))
    }

    /// Reads any form of RFC 9110, 5.6.7. Some signers write the zone of the first form as RFC 2822
    /// does.
    fn parse_http(value: &str) -> Option<Self> {
        let parsed = httpdate::parse_http_date(value).ok().or_else(|| {
            let (value, zone) = value.rsplit_once(' ')?;
            let is_utc = ["UTC", "+0000", "-0000"].contains(&zone);
            is_utc.then(|| httpdate::parse_http_date(&format!("{value} GMT")).ok()).flatten()
        });
        let since = parsed?.duration_since(UNIX_EPOCH).ok()?;
        Self::from_unix(i64::try_from(since.as_secs()).ok()?)
    }

    /// Makes the time of `unix_s` seconds since 1970. Returns None for a year without four digits.
    pub fn from_unix(unix_s: i64) -> Option<Self> {
        let time = OffsetDateTime::from_unix_timestamp(unix_s).ok()?;
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let text = time.format(format).ok()?.into_bytes().try_into().ok()?;
        Some(Self { unix_s, text })
    }
}

#[cfg(test)]
mod tests {
    use super::RequestTime;

    #[test]
    fn both_forms_name_the_same_second() {
        let basic = RequestTime::parse("20130524T000000Z").unwrap();
        assert_eq!(basic.unix_s, 1_369_353_600);
        assert_eq!(basic.day(), "20130524");
        for zone in ["GMT", "UTC", "+0000", "-0000"] {
            assert_eq!(
                RequestTime::parse(&format!("Fri, 24 May 2013 00:00:00 {zone}")),
                Some(basic),
                "{zone}"
            );
        }
    }

    #[test]
    fn http_dates_of_every_form_are_read() {
        for text in ["Friday, 24-May-13 00:00:00 GMT", "Fri May 24 00:00:00 2013"] {
            assert_eq!(RequestTime::parse(text), RequestTime::parse("20130524T000000Z"), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Bad Date",
            "20130524T000000",
            "20131324T000000Z",
            "20130524T250000Z",
            "+0130524T000000Z",
            "Fri, 24 May 2013 00:00:00",
            "Fri, 24 May 2013 00:00:00 +0200",
        ] {
            assert_eq!(RequestTime::parse(text), None, "{text}");
        }
    }
}
