//! This module parses lists: files, cores, nodes, percentiles, kinds of errors.

use crate::spec::{ErrorKinds, SteadyMetric};
use std::path::PathBuf;

const NUMBER_MAX: usize = 4095;
const PERCENTILES_MAX: usize = 20;
const PATHS_MAX: usize = 65_536;

/// Parses names separated by colons; `\:` is a colon inside a name.
///
/// # Errors
/// Fails when a name is empty.
pub fn paths(text: &str) -> Result<Vec<PathBuf>, String> {
    let mut paths = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&':') => {
                characters.next();
                paths.last_mut().expect("it begins with one").push(':');
            }
            ':' => paths.push(String::new()),
            _ => paths.last_mut().expect("it begins with one").push(character),
        }
    }
    if paths.iter().any(|path| path.trim().is_empty()) {
        return Err("a name is empty between the colons".to_owned());
    }
    if paths.len() > PATHS_MAX {
        return Err(format!("{} files are more than {PATHS_MAX}", paths.len()));
    }
    Ok(paths.into_iter().map(PathBuf::from).collect())
}

/// Parses a list of cores, such as `0-3,8`.
///
/// # Errors
/// Returns the reason when the list is not valid.
pub fn cores(text: &str) -> Result<Vec<usize>, String> {
    let mut numbers = Vec::new();
    for part in text.split([',', ':']) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| -> Result<usize, String> {
            let number = text.trim().parse().map_err(|_| format!("{part:?} is neither 3 nor 0-3"))?;
            if number > NUMBER_MAX {
                return Err(format!("{number} is above {NUMBER_MAX}"));
            }
            Ok(number)
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{part:?} ends before it begins"));
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Parses a list of NUMA nodes. `all` sets no restriction and gives an empty list.
///
/// # Errors
/// Returns the reason when the list is not valid.
pub fn nodes(text: &str) -> Result<Vec<usize>, String> {
    if text == "all" { Ok(Vec::new()) } else { cores(text) }
}

/// Parses a percentage above 0 and up to 100.
///
/// # Errors
/// Fails when the text is not such a number.
pub fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim().parse().ok();
    number
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .ok_or_else(|| format!("{text:?} is not above 0 and at most 100"))
}

/// Parses percentiles such as `50:99:99.9` and sorts them; each occurs once.
///
/// # Errors
/// Returns the reason when the list is not valid.
pub fn percentiles(text: &str) -> Result<Vec<f64>, String> {
    let mut list = text.split(':').map(percent).collect::<Result<Vec<f64>, String>>()?;
    if list.len() > PERCENTILES_MAX {
        return Err(format!("{} percentiles are more than {PERCENTILES_MAX}", list.len()));
    }
    list.sort_by(f64::total_cmp);
    list.dedup();
    Ok(list)
}

/// Parses `steadystate`: the metric, whether its slope counts, the limit, and whether the limit is
/// in per cent.
///
/// # Errors
/// Names the valid criteria.
pub fn steady(text: &str) -> Result<(SteadyMetric, bool, f64, bool), String> {
    let (name, limit) = text.split_once(':').unwrap_or((text, ""));
    let (metric, slope) = match name {
        "iops" => (SteadyMetric::Iops, false),
        "bw" => (SteadyMetric::Bandwidth, false),
        "iops_slope" => (SteadyMetric::Iops, true),
        "bw_slope" => (SteadyMetric::Bandwidth, true),
        "lat" | "lat_slope" => {
            return Err("fio has it, not built here: use iops, which follows from the latency at one depth"
                .to_owned());
        }
        _ => return Err("write iops:2%, bw:2%, iops_slope:0.1% or bw_slope:0.1%".to_owned()),
    };
    let (number, percent) = limit.strip_suffix('%').map_or((limit, false), |number| (number, true));
    let number: Option<f64> = number.trim().parse().ok();
    match number.filter(|number| *number > 0.0 && number.is_finite()) {
        Some(limit) => Ok((metric, slope, limit, percent)),
        None => Err(format!("{limit:?} is no limit: write a number above 0, as in {name}:2%")),
    }
}

/// Parses `continue_on_error`.
///
/// # Errors
/// Names the valid values.
pub fn error_kinds(text: &str) -> Result<ErrorKinds, String> {
    let of = |read, write, verify| ErrorKinds { read, write, verify };
    match text {
        "none" | "0" => Ok(of(false, false, false)),
        "read" => Ok(of(true, false, false)),
        "write" => Ok(of(false, true, false)),
        "io" => Ok(of(true, true, false)),
        "verify" => Ok(of(false, false, true)),
        "all" | "1" => Ok(of(true, true, true)),
        _ => Err("write none, read, write, io, verify or all".to_owned()),
    }
}
