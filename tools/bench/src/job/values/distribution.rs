//! This module parses `random_distribution` and `keydist`.

use super::{by_direction, complete_shares, share};
use crate::spec::{ByDirection, Distribution};

const ZONES_MAX: usize = 256;

/// The defaults are those of fio.
const ZIPF_DEFAULT: f64 = 1.1;
const PARETO_DEFAULT: f64 = 0.2;

/// Parses `zipf:1.1` for all directions, or `zoned:…,…` with one distribution for each.
///
/// # Errors
/// Returns the reason when a distribution is not valid.
pub fn distributions(text: &str) -> Result<ByDirection<Distribution>, String> {
    let default = ByDirection::same(Distribution::Even);
    let mut name = None;
    by_direction(text, &default, |part| {
        // After a comma the name may be omitted, as in zoned:50/10:50/90,30/10:70/90.
        let whole = match name {
            Some(name) if !part.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                format!("{name}:{part}")
            }
            _ => part.to_owned(),
        };
        name = text.split(':').next();
        distribution(&whole)
    })
}

/// Parses one distribution.
///
/// # Errors
/// Returns the reason when the distribution is not valid.
pub fn distribution(text: &str) -> Result<Distribution, String> {
    let (name, rest) = match text.split_once(':') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    };
    match name {
        "random" if rest.is_none() => Ok(Distribution::Even),
        "zipf" => {
            within(rest, ZIPF_DEFAULT, "zipf's exponent is above 0, at most 100, and not 1", |exponent| {
                exponent > 0.0 && exponent <= 100.0 && (exponent - 1.0).abs() > 1e-9
            })
            .map(Distribution::Zipf)
        }
        "pareto" => within(rest, PARETO_DEFAULT, "pareto's h is above 0 and below 1", |power| {
            power > 0.0 && power < 1.0
        })
        .map(Distribution::Pareto),
        "normal" if rest.is_none() => Err("normal needs a deviation in per cent, as in normal:20".to_owned()),
        "normal" => {
            within(rest, 0.0, "normal's deviation is above 0 and at most 100 per cent", |deviation| {
                deviation > 0.0 && deviation <= 100.0
            })
            .map(Distribution::Normal)
        }
        "zoned" => zones(rest.unwrap_or_default()),
        "zoned_abs" => Err("zoned_abs is not built: use zoned, in per cent of the range".to_owned()),
        "sequence" => Err("sequence is not built".to_owned()),
        _ => Err("write random, zipf:1.1, pareto:0.2, normal:20 or zoned:60/10:40/90".to_owned()),
    }
}

fn within(text: Option<&str>, default: f64, rule: &str, fits: impl Fn(f64) -> bool) -> Result<f64, String> {
    let Some(text) = text else { return Ok(default) };
    if text.contains(':') {
        return Err("a centre (second number) is not built".to_owned());
    }
    text.parse().ok().filter(|number| fits(*number)).ok_or_else(|| format!("{rule}; {text:?} is not"))
}

fn zones(text: &str) -> Result<Distribution, String> {
    let mut accesses = Vec::new();
    let mut ranges = Vec::new();
    for zone in text.split(':') {
        let (access, range) = zone
            .split_once('/')
            .ok_or_else(|| format!("{zone:?} is no zone: write accesses/range, as in 60/10"))?;
        accesses.push(share(access)?);
        ranges.push(share(range)?);
    }
    if accesses.len() > ZONES_MAX {
        return Err(format!("{} zones are more than {ZONES_MAX}", accesses.len()));
    }
    let zones = complete_shares(&accesses)?.into_iter().zip(complete_shares(&ranges)?).collect::<Vec<_>>();
    if zones.iter().any(|(access, range)| *access > 0 && *range == 0) {
        return Err("a zone that is accessed needs a share of the range".to_owned());
    }
    Ok(Distribution::Zoned(zones))
}
