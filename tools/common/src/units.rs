//! This module parses quantities as people write them, and formats them for reports.
//!
//! Sizes: B, kB, MB, GB, TB, PB are powers of 1000 in any case of letters; KiB, MiB, GiB, TiB, PiB
//! are powers of 1024; a number alone counts bytes. Rates of bytes: a size and `/s`, or bits: kbit,
//! Mbit, Gbit, Tbit, with or without `/s`. Numbers and rates of requests: k, M, G, T are thousands,
//! millions and so on. Rates of requests: a number per second, or with `/s`, `/min`, `/h`, `/d`.
//! Ages: s, min, h, d, w, y. Shares: 0.2 or 20%. These are not the units of job files, which follow
//! fio, where k is 1024.
//!
//! Invariants: decimal fractions are exact, so 7.68TB are 7,680,000,000,000 bytes. What an `exact_`
//! function writes is parsed as the same value. No parsed value is infinite or NaN.

const DECIMAL: [(&str, u32); 5] = [("kB", 3), ("MB", 6), ("GB", 9), ("TB", 12), ("PB", 15)];
const BINARY: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("PiB", 50)];
/// These are words after numbers without a unit. A letter in the other case is not accepted,
/// because m is a thousandth or a minute elsewhere.
const WORDS: [(&str, u32); 5] = [("k", 3), ("K", 3), ("M", 6), ("G", 9), ("T", 12)];
const BITS: [(&str, u32); 5] = [("bit", 0), ("kbit", 3), ("Mbit", 6), ("Gbit", 9), ("Tbit", 12)];

/// Holds the days of a unit of age.
const AGES: [(&str, f64); 6] = [
    ("s", 1.0 / DAY_S),
    ("min", 1.0 / 1_440.0),
    ("h", 1.0 / 24.0),
    ("d", 1.0),
    ("w", 7.0),
    ("y", DAYS_PER_YEAR),
];

/// This is a number of bytes.
pub const MIB: f64 = 1024.0 * 1024.0;
pub const DAY_S: f64 = 86_400.0;
/// This is the mean year of the Julian calendar.
pub const DAYS_PER_YEAR: f64 = 365.25;
/// This is an average month: a twelfth of the year.
pub const DAYS_PER_MONTH: f64 = DAYS_PER_YEAR / 12.0;
pub const MONTH_S: f64 = DAYS_PER_MONTH * DAY_S;

/// No meaningful number is longer, so that no text makes parsing slow.
const TEXT_BYTES_MAX: usize = 400;
/// A number has 64 bits, and a fraction is scaled in 128 bits.
const WHOLE_DIGITS_MAX: usize = 20;
const FRACTION_DIGITS_MAX: usize = 18;

const SIZE_UNITS: &str =
    "write kB, MB, GB, TB, PB (powers of 1000) or KiB, MiB, GiB, TiB, PiB (powers of 1024)";

/// Parses bytes, such as `4KiB`, `7.68TB`, `4096`, and rounds them to a whole number.
///
/// # Errors
/// Returns the reason when the text is not a size.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match size_unit(number, unit)? {
        Unit::Decimal(power) => 10_u64.pow(power),
        Unit::Binary(power) => 1 << power,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    if number.starts_with('-') {
        return Err("a size is not below 0".to_owned());
    }
    let whole = whole.trim_start_matches('+');
    if whole.len() > WHOLE_DIGITS_MAX || fraction.len() > FRACTION_DIGITS_MAX {
        return Err(format!("more than {WHOLE_DIGITS_MAX} digits: take a larger unit"));
    }
    let parse = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<u128>() };
    let (Ok(whole), Ok(part)) = (parse(whole), parse(fraction)) else {
        return Err(not_a_number(text));
    };
    let scale = 10_u128.pow(fraction.len() as u32);
    let part = (part * u128::from(factor) + scale / 2) / scale;
    u64::try_from(whole * u128::from(factor) + part)
        .map_err(|_| "larger than a number of 64 bits: the limit is 18446.744PB".to_owned())
}

/// Parses a mean of bytes, such as `48`, `52.5`, `1.2kB`.
///
/// # Errors
/// Returns the reason when the text is not a size.
pub fn mean_bytes(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    scaled(number, size_unit(number, unit)?)
}

/// Parses bytes per second, such as `25Gbit`, `3.2GB/s`.
///
/// # Errors
/// Returns the reason when the text is not a rate.
pub fn bytes_per_s(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let (size, a_second) = match unit.strip_suffix("/s") {
        Some(size) => (size.trim_end(), true),
        None => (unit, false),
    };
    if let Some((_, power)) = BITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(size)) {
        return Ok(scaled(number, Unit::Decimal(*power))? / 8.0);
    }
    match size_unit(number, size) {
        Ok(unit) if a_second => scaled(number, unit),
        Ok(_) => Err(format!("no rate: write {number}{size}/s for bytes a second, or bits as in 25Gbit")),
        Err(_) => Err(format!(
            "{unit:?} is no unit of a rate: write bits as in 25Gbit (kbit, Mbit, Gbit, Tbit), or bytes as in 3.2GB/s"
        )),
    }
}

/// Parses a rate per second, such as `1200`, `0.5/s`, `3000/min`, `10M/d`.
///
/// # Errors
/// Returns the reason when the text is not a rate.
pub fn per_s(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let (word, per) = unit.split_at(unit.find('/').unwrap_or(unit.len()));
    let seconds = match per {
        "" | "/s" => 1.0,
        "/min" => 60.0,
        "/h" => 3_600.0,
        "/d" => DAY_S,
        _ => return Err(format!("{unit:?} is no unit of a rate: write /s, /min, /h or /d")),
    };
    match scaled_by_word(number, word.trim_end()) {
        Some(number) => Ok(number? / seconds),
        None => Err(not_a_word(number, word.trim_end(), per)),
    }
}

/// Parses days, such as `90d`, `2y`, `36h`.
///
/// # Errors
/// Returns the reason when the text is not an age.
pub fn days(text: &str) -> Result<f64, String> {
    const UNITS: &str = "write s, min, h, d, w or y, as in 90d";
    let (number, unit) = split(text)?;
    match AGES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, days)) => Ok(real(number)? * days),
        None if unit.is_empty() => Err(format!("a unit is needed: {UNITS}")),
        None => Err(format!("{unit:?} is no unit of age: {UNITS}")),
    }
}

/// Parses a share of 1, such as `0.2`, `20%`, `-3%`, without limits.
///
/// # Errors
/// Returns the reason when the text is not a share.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    match unit {
        "" => real(number),
        "%" => Ok(real(number)? / 100.0),
        _ => Err(format!("{unit:?} behind a share: write a part of 1, as in 0.2, or percent, as in 20%")),
    }
}

/// Parses a number without a unit, such as `16`, `400k`, `1.5M`.
///
/// # Errors
/// Returns the reason when the text is not a finite number.
pub fn number(text: &str) -> Result<f64, String> {
    let (number, word) = split(text)?;
    scaled_by_word(number, word).unwrap_or_else(|| Err(not_a_word(number, word, "")))
}

/// Scales a number by a word such as `k`; returns `None` if the word is not known.
fn scaled_by_word(number: &str, word: &str) -> Option<Result<f64, String>> {
    if word.is_empty() {
        return Some(real(number));
    }
    let (_, power) = WORDS.iter().find(|(name, _)| *name == word)?;
    Some(scaled(number, Unit::Decimal(*power)))
}

/// Describes an unknown word, and suggests the numbers that may be meant. It never suggests to omit
/// a letter, which would make the number a million times smaller.
fn not_a_word(number: &str, word: &str, per: &str) -> String {
    let known = "k, M, G and T are thousands, millions and so on";
    let upper = word.to_ascii_uppercase();
    let digits: String = word.chars().filter(char::is_ascii_digit).collect();
    let grouped = word.starts_with([',', '_', ' ', '\'']) && word.chars().all(|at| !at.is_alphabetic());
    match WORDS.iter().find(|(name, _)| *name == upper) {
        Some((name, power)) => {
            let zeros = "0".repeat(*power as usize);
            let written =
                if number.contains('.') { format!("{number}e{power}") } else { format!("{number}{zeros}") };
            format!(
                "{word:?} is no word for a number: write {number}{name}{per} if {written}{per} is meant ({known})"
            )
        }
        None if grouped && !digits.is_empty() => {
            format!("write {number}{digits}{per}, without what stands between the digits")
        }
        None => format!("{word:?} behind a number: write {number}{per} if that is meant; {known}"),
    }
}

#[derive(Clone, Copy)]
enum Unit {
    /// Holds a power of 10.
    Decimal(u32),
    /// Holds a power of 2.
    Binary(u32),
}

/// Parses the unit of a size; `number` is used in the message.
fn size_unit(number: &str, unit: &str) -> Result<Unit, String> {
    if unit.is_empty() || unit.eq_ignore_ascii_case("B") {
        return Ok(Unit::Decimal(0));
    }
    let named = |table: &[(&str, u32)]| {
        table.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, power)| *power)
    };
    match (named(&DECIMAL), named(&BINARY)) {
        (Some(power), _) => Ok(Unit::Decimal(power)),
        (_, Some(power)) => Ok(Unit::Binary(power)),
        _ => Err(match DECIMAL.iter().find(|(name, _)| name[..1].eq_ignore_ascii_case(unit)) {
            Some((decimal, _)) => {
                let binary = decimal[..1].to_ascii_uppercase();
                format!(
                    "{unit:?} is no unit of size: write {number}{decimal} (a power of 1000) or {number}{binary}iB (of 1024)"
                )
            }
            None => format!("{unit:?} is no unit of size: {SIZE_UNITS}"),
        }),
    }
}

fn not_a_number(text: &str) -> String {
    format!("{:?} is not a number", shortened(text))
}

/// Returns the beginning of a text, long enough to find it again.
pub fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Splits a text into digits with sign and point, and the unit after them.
fn split(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("longer than {TEXT_BYTES_MAX} characters"));
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let length = unsigned.find(|character: char| !character.is_ascii_digit() && character != '.');
    let end = text.len() - unsigned.len() + length.unwrap_or(unsigned.len());
    let (number, unit) = text.split_at(end);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 || number.bytes().filter(|byte| *byte == b'.').count() > 1 {
        return Err(not_a_number(text));
    }
    Ok((number, unit.trim()))
}

fn real(number: &str) -> Result<f64, String> {
    let value: f64 = number.parse().map_err(|_| not_a_number(number))?;
    if value.is_finite() { Ok(value) } else { Err("larger than any number here can be".to_owned()) }
}

/// Scales a number with correct rounding: powers of 10 are parsed with the number, and powers of 2
/// are exact.
fn scaled(number: &str, unit: Unit) -> Result<f64, String> {
    match unit {
        Unit::Decimal(power) => real(&format!("{number}e{power}")),
        Unit::Binary(power) => {
            let value = real(number)? * (1_u64 << power) as f64;
            if value.is_finite() { Ok(value) } else { Err("larger than any number here can be".to_owned()) }
        }
    }
}

/// Formats three significant digits and a decimal unit: `7.68 TB`.
pub fn human_bytes(bytes: f64) -> String {
    human(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Formats three significant digits and a binary unit: `128 GiB`.
pub fn human_binary(bytes: f64) -> String {
    human(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Formats a rate of bytes: `3.2 GB/s`.
pub fn human_bytes_per_s(bytes_per_s: f64) -> String {
    human_bytes(bytes_per_s) + "/s"
}

/// Formats a rate in bits, as networks use them: `25 Gbit/s`.
pub fn human_bits_per_s(bytes_per_s: f64) -> String {
    human(bytes_per_s * 8.0, 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s"])
}

/// Formats a count: `850`, `12,300`, `4.56 million`, `7.8 billion`.
pub fn human_count(count: f64) -> String {
    if count.is_finite() && count.abs() < 999_500.0 {
        let rounded = if count.abs() < 100.0 { significant(count) } else { format!("{count:.0}") };
        return with_commas(&rounded);
    }
    human(count / 1e6, 1000.0, &["million", "billion", "trillion", "quadrillion"])
}

/// Formats a rate: `1,200/s`.
pub fn human_per_s(per_s: f64) -> String {
    human_count(per_s) + "/s"
}

/// Formats a share: `20%`, `0.035%`.
pub fn human_share(share: f64) -> String {
    significant(share * 100.0) + "%"
}

/// Formats a duration: `36 h`, `30 d`, `2.5 y`.
pub fn human_days(days: f64) -> String {
    match days.abs() {
        length if length < 3.0 => significant(days * 24.0) + " h",
        length if length < 2.0 * DAYS_PER_YEAR => significant(days) + " d",
        _ => significant(days / DAYS_PER_YEAR) + " y",
    }
}

/// Formats the time that something takes yet: `6 s`, `5 min 0 s`, `2 h 1 min`.
pub fn human_time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn human(value: f64, base: f64, units: &[&str]) -> String {
    let (mut value, mut at) = (value, 0);
    // A value that rounds to 1000 uses the next unit, also with base 1024, because four digits are
    // not shorter.
    while value.abs() >= 999.5 && at + 1 < units.len() && value.is_finite() {
        (value, at) = (value / base, at + 1);
    }
    format!("{} {}", significant(value), units[at])
}

/// Formats three significant digits, without zeros at the end of a fraction; only whole numbers
/// above 999 have more.
pub fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let before_point = value.abs().log10().floor() as i32 + 1;
    let places = (3 - before_point).clamp(0, 12) as usize;
    let text = format!("{value:.places$}");
    let trimmed = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if trimmed.trim_start_matches('-') == "0" { format!("{value:.2e}") } else { trimmed.to_owned() }
}

fn with_commas(number: &str) -> String {
    let digits = number.find('.').unwrap_or(number.len());
    let first = usize::from(number.starts_with('-'));
    let mut text = String::new();
    for (at, character) in number.char_indices() {
        if at > first && at < digits && (digits - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(character);
    }
    text
}

/// Formats bytes in a unit that is exact; [`bytes`] parses the result.
pub fn exact_bytes(bytes: u64) -> String {
    for (name, power) in DECIMAL.iter().rev() {
        let (unit, thousandth) = (10_u64.pow(*power), 10_u64.pow(*power - 3));
        if bytes >= unit && bytes.is_multiple_of(thousandth.max(1000)) {
            let fraction = format!("{:03}", bytes % unit / thousandth);
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            return format!("{}{point}{fraction}{name}", bytes / unit);
        }
    }
    for (name, power) in BINARY.iter().rev() {
        if bytes >= 1 << power && bytes.is_multiple_of(1 << power) {
            return format!("{}{name}", bytes >> power);
        }
    }
    format!("{bytes}B")
}

/// Formats a rate exactly; [`bytes_per_s`] parses the result.
pub fn exact_bytes_per_s(bytes_per_s: f64) -> String {
    const WHOLE_MAX: f64 = (1_u64 << 53) as f64;
    let is_whole = bytes_per_s.fract() == 0.0 && (0.0..WHOLE_MAX).contains(&bytes_per_s);
    if is_whole { exact_bytes(bytes_per_s as u64) + "/s" } else { format!("{bytes_per_s}B/s") }
}

/// Formats days exactly; [`days`] parses the result.
pub fn exact_days(days: f64) -> String {
    format!("{days}d")
}

/// Formats a share exactly; [`share`] parses the result.
pub fn exact_share(share: f64) -> String {
    share.to_string()
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
