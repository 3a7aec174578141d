//! Times of requests: `20130524T000000Z`, or an HTTP date.

use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// A request's time: seconds since 1970 and the form in which it goes into the string to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTime {
    pub unix_s: i64,
    text: [u8; 16],
}

impl RequestTime {
    /// `YYYYMMDDTHHMMSSZ`.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or_default()
    }

    /// `YYYYMMDD`, as in a credential scope.
    pub fn day(&self) -> &str {
        self.text().get(..8).unwrap_or_default()
    }

    /// The basic ISO 8601 form that all signers of today send.
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

    /// Either form: the protocol allows an HTTP date in `Date` and in `x-amz-date`.
    pub fn parse(value: &str) -> Option<Self> {
        Self::parse_basic(value).or_else(|| Self::parse_http(value))
    }

    /// Any form of RFC 9110, 5.6.7; some signers write the zone of the first as RFC 2822 does.
    fn parse_http(value: &str) -> Option<Self> {
        if let Ok(time) = httpdate::parse_http_date(value) {
            let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
            return Self::from_unix(i64::try_from(since.as_secs()).ok()?);
        }
        let format = format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second]"
        );
        let (value, zone) = value.rsplit_once(' ')?;
        if !["GMT", "UTC", "+0000", "-0000"].contains(&zone) {
            return None;
        }
        let time = PrimitiveDateTime::parse(value, format).ok()?.assume_utc();
        Self::from_unix(time.unix_timestamp())
    }

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
