//! Durations as people write them: `14d`, `12h`, `30min`, `90s`.

/// Milliseconds; a number without a unit is seconds.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit.trim() {
        "" | "s" => 1000,
        "min" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        other => {
            return Err(format!("{other:?} is no unit of time; write for example 14d, 12h, 30min or 90s"));
        }
    };
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} is no duration; write for example 14d"))?;
    number.checked_mul(unit_ms).ok_or_else(|| format!("{text:?} is too long"))
}

/// Milliseconds, or 0 for what has no such time.
pub fn parse_duration_or_off(text: &str) -> Result<u64, String> {
    if matches!(text.trim(), "off" | "0") { Ok(0) } else { parse_duration_ms(text) }
}

/// Milliseconds to wait for somebody, from one second to a day.
pub fn parse_time_out_ms(text: &str) -> Result<u64, String> {
    let time = parse_duration_ms(text)?;
    let range = 1000..=24 * 60 * 60 * 1000;
    range.contains(&time).then_some(time).ok_or_else(|| format!("{text:?} is not from 1s to 1d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration_ms("14d"), Ok(14 * 86_400_000));
        assert_eq!(parse_duration_ms("90"), Ok(90_000));
        assert_eq!(parse_duration_ms("30min"), Ok(1_800_000));
        assert_eq!((parse_duration_or_off("off"), parse_duration_or_off("4h")), (Ok(0), Ok(14_400_000)));
        assert_eq!((parse_time_out_ms("10s"), parse_time_out_ms("0").is_err()), (Ok(10_000), true));
        for wrong in ["", "d", "3weeks", "-1s", "99999999999999999999d", "999999999999999999d"] {
            assert!(parse_duration_ms(wrong).is_err(), "{wrong}");
        }
    }
}
