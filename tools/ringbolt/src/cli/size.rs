//! Sizes and CPU lists as people write them.

/// `4KiB`, `1TiB`, `8GB`, `512M`, `1048576`. `K`, `M`, `G`, `T` alone are binary, as most storage tools read them.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("unknown unit {unit:?}; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB")),
    };
    let error = || format!("{text:?} is no size; write for example 4GiB, 512MiB or 1TiB");
    let size = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor).ok_or_else(error)?,
        Err(_) => {
            let size = number.parse::<f64>().map_err(|_| error())? * factor as f64;
            if size >= u64::MAX as f64 {
                return Err(error());
            }
            size as u64
        }
    };
    if size == 0 { Err("a size must be more than zero".to_owned()) } else { Ok(size) }
}

/// A size, or `off`, which is 0.
pub fn parse_size_or_off(text: &str) -> Result<u64, String> {
    if matches!(text.trim(), "off" | "0") { Ok(0) } else { parse_size(text) }
}

/// A number of things, at least one.
pub fn parse_count(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is no number; write one from 1 on")),
        Ok(count) => Ok(count),
    }
}

/// A number of things, or none that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountOrOff(pub Option<u32>);

/// A number of things, or `off`.
pub fn parse_count_or_off(text: &str) -> Result<CountOrOff, String> {
    if text.trim() == "off" {
        Ok(CountOrOff(None))
    } else {
        parse_count(text).map(|count| CountOrOff(Some(count)))
    }
}

/// The CPUs of `0-1,4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

pub fn parse_cpus(text: &str) -> Result<CpuList, String> {
    let error = || format!("{text:?} is no list of CPUs; write for example 0-3 or 0,2,4");
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: usize = from.trim().parse().map_err(|_| error())?;
        let to: usize = to.trim().parse().map_err(|_| error())?;
        if from > to || to >= 4096 {
            return Err(error());
        }
        cpus.extend(from..=to);
    }
    let count = cpus.len();
    cpus.sort_unstable();
    cpus.dedup();
    if cpus.len() == count { Ok(CpuList(cpus)) } else { Err(format!("{text:?} names a CPU twice")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let good = [
            ("4KiB", 4096),
            ("1TiB", 1 << 40),
            ("8GB", 8_000_000_000),
            ("512m", 512 << 20),
            ("1.5G", 3 << 29),
        ];
        for (text, bytes) in good {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "x", "4XB", "-1", "1.2.3G", "99999999TiB", "GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!((parse_count("7"), parse_count_or_off("off")), (Ok(7), Ok(CountOrOff(None))));
        assert_eq!(parse_count_or_off("9"), Ok(CountOrOff(Some(9))));
        for text in ["", "0", "-1", "many", "9999999999"] {
            assert!(parse_count(text).is_err() && parse_count_or_off(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpus("0-1,4"), Ok(CpuList(vec![0, 1, 4])));
        assert_eq!(parse_cpus("3"), Ok(CpuList(vec![3])));
        for text in ["", "a", "1-0", "0,0", "0-99999", "1-"] {
            assert!(parse_cpus(text).is_err(), "{text}");
        }
    }
}
