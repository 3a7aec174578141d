//! This module makes a histogram of `distribution = { kind = "lognormal", median = "64KiB", sigma =
//! 1.8, max = "5GiB" }`.
//!
//! The forms follow Johnson, Kotz, Balakrishnan, Continuous Univariate Distributions: log-normal by
//! its median and the standard deviation of its logarithm, Pareto by its smallest value and its
//! exponent. Both are truncated at `max` (and the log-normal at `min`): the truncated share is
//! spread over the rest.

use super::{Sizes, grid, histogram};
use crate::input::error::InputError;
use crate::input::fields::Fields;
use crate::sizes::SizeClass;
use ringbolt_tool_common::units::{exact_bytes, human_share};

const KIND: &str = "objects.distribution.kind";
const MAX: &str = "objects.distribution.max";
const MIN: &str = "objects.distribution.min";
const MEDIAN: &str = "objects.distribution.median";

/// A note warns if a larger share is truncated, because the distribution is then another one.
const CUT_SHARE_NOTED: f64 = 0.05;

/// This is a distribution over positive sizes.
#[derive(Clone, Copy, Debug)]
enum Law {
    Lognormal { median: f64, sigma: f64 },
    Pareto { least: f64, alpha: f64 },
}

impl Law {
    /// Returns the probability of sizes from `from` to `to`. It uses the smaller of the two tails,
    /// where no digits cancel.
    fn between(self, from: f64, to: f64) -> f64 {
        match self {
            Self::Lognormal { median, sigma } => {
                let scaled = |size: f64| (size / median).ln() / (sigma * std::f64::consts::SQRT_2);
                let (from, to) = (scaled(from), scaled(to));
                if from > 0.0 {
                    (libm::erfc(from) - libm::erfc(to)) / 2.0
                } else {
                    (libm::erfc(-to) - libm::erfc(-from)) / 2.0
                }
            }
            Self::Pareto { least, alpha } => {
                let above = |size: f64| (least / size.max(least)).powf(alpha);
                above(from) - above(to)
            }
        }
    }
}

/// Reads a distribution.
///
/// # Errors
/// Fails when a parameter is missing, does not belong to the kind, or makes no sense.
pub fn read(fields: &Fields, notes: &mut Vec<String>) -> Result<Sizes, InputError> {
    let kind = fields.text(KIND)?;
    let own: &[&str] = match kind.as_str() {
        "lognormal" => &["median", "sigma", "min", "max"],
        "pareto" => &["alpha", "min", "max"],
        "uniform" => &["min", "max"],
        _ => &["size"],
    };
    for name in ["median", "sigma", "alpha", "min", "max", "size"] {
        let path = format!("objects.distribution.{name}");
        if fields.has(&path) && !own.contains(&name) {
            return Err(fields.refuse(&path, format!("{kind} has {}: leave {name} out", own.join(", "))));
        }
    }
    let (classes, source) = match kind.as_str() {
        "lognormal" => lognormal(fields, notes)?,
        "pareto" => pareto(fields, notes)?,
        "uniform" => {
            let (min, max) = (fields.whole(MIN)?, fields.whole(MAX)?);
            ordered(fields, min, max)?;
            let source = format!("uniform from {} to {}", exact_bytes(min), exact_bytes(max));
            (grid::even(min, max, 1.0).collect(), source)
        }
        _ => {
            let size = fields.whole("objects.distribution.size")?;
            (grid::even(size, size, 1.0).collect(), format!("all of {}", exact_bytes(size)))
        }
    };
    Ok(Sizes { histogram: histogram(fields, KIND, classes)?, source, scan: None })
}

fn lognormal(fields: &Fields, notes: &mut Vec<String>) -> Result<(Vec<SizeClass>, String), InputError> {
    let (median, sigma) = (fields.whole(MEDIAN)?, fields.real("objects.distribution.sigma")?);
    let (min, max) = (fields.whole_if(MIN)?.unwrap_or(1).max(1), fields.whole(MAX)?);
    ordered(fields, min, max)?;
    if !(min..=max).contains(&median) {
        let reason = format!("lies outside of min to max ({} to {})", exact_bytes(min), exact_bytes(max));
        return Err(fields.refuse(MEDIAN, reason));
    }
    let law = Law::Lognormal { median: median as f64, sigma };
    let source =
        format!("log-normal, median {}, sigma {sigma}, at most {}", exact_bytes(median), exact_bytes(max));
    Ok((classes(law, min, max, notes), source))
}

fn pareto(fields: &Fields, notes: &mut Vec<String>) -> Result<(Vec<SizeClass>, String), InputError> {
    let (alpha, min, max) =
        (fields.real("objects.distribution.alpha")?, fields.whole(MIN)?, fields.whole(MAX)?);
    ordered(fields, min, max)?;
    if min == 0 {
        return Err(fields.refuse(MIN, "a pareto distribution begins above 0: write at least 1".to_owned()));
    }
    let law = Law::Pareto { least: min as f64, alpha };
    let source = format!("Pareto from {}, alpha {alpha}, at most {}", exact_bytes(min), exact_bytes(max));
    Ok((classes(law, min, max, notes), source))
}

fn ordered(fields: &Fields, min: u64, max: u64) -> Result<(), InputError> {
    if min <= max {
        return Ok(());
    }
    Err(fields.refuse(MIN, format!("lies above max, {}: the first is the smaller one", exact_bytes(max))))
}

/// Cuts a distribution into classes. A size stands for all values that round to it, so that classes
/// keep the mean.
fn classes(law: Law, min: u64, max: u64, notes: &mut Vec<String>) -> Vec<SizeClass> {
    let (least, most) = (min as f64, max as f64);
    let kept = law.between(least, most);
    if min < max && 1.0 - kept > CUT_SHARE_NOTED {
        notes.push(format!(
            "objects.distribution: {} of the distribution lies beyond min or max and is cut off; the mean is that of \
             the rest",
            human_share(1.0 - kept)
        ));
    }
    let mut classes: Vec<SizeClass> = grid::classes(min, max)
        .map(|(lower_bytes, upper_bytes)| {
            let (from, to) = (lower_bytes as f64 - 0.5, upper_bytes as f64 + 0.5);
            let share = law.between(from.max(least), to.min(most));
            SizeClass { lower_bytes, upper_bytes, share }
        })
        .filter(|class| class.share > 0.0)
        .collect();
    if min == max {
        classes = vec![SizeClass { lower_bytes: min, upper_bytes: max, share: 1.0 }];
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizes::SizeHistogram;

    const KIB: f64 = 1024.0;

    fn mean(law: Law, min: u64, max: u64) -> f64 {
        SizeHistogram::new(classes(law, min, max, &mut Vec::new())).unwrap().mean_bytes()
    }

    fn normal(z: f64) -> f64 {
        libm::erfc(-z / std::f64::consts::SQRT_2) / 2.0
    }

    /// Returns the exact mean of a log-normal truncated at both ends: Johnson, Kotz, Balakrishnan,
    /// volume 1, chapter 14.
    fn lognormal_mean(median: f64, sigma: f64, min: f64, max: f64) -> f64 {
        let z = |size: f64| (size / median).ln() / sigma;
        let part = (normal(z(max) - sigma) - normal(z(min) - sigma)) / (normal(z(max)) - normal(z(min)));
        median * (sigma * sigma / 2.0).exp() * part
    }

    /// Returns the exact mean of a Pareto truncated above: the integral of x f(x) over its
    /// probability.
    fn pareto_mean(alpha: f64, min: f64, max: f64) -> f64 {
        let kept = 1.0 - (min / max).powf(alpha);
        let tail = if alpha == 1.0 {
            (max / min).ln()
        } else {
            (1.0 - (min / max).powf(alpha - 1.0)) / (alpha - 1.0)
        };
        alpha * min * tail / kept
    }

    #[test]
    fn a_lognormal_keeps_its_mean() {
        for (median, sigma, min, max) in [
            (64.0 * KIB, 1.8, 1_u64, 5_u64 << 30),
            (64.0 * KIB, 1.8, 1, 1 << 20),
            (100.0, 0.5, 1, 1 << 20),
            (1_000_000.0, 0.1, 1, 1 << 40),
            (4096.0, 4.0, 1, 5 << 40),
            (300.0, 1.0, 200, 400),
        ] {
            let law = Law::Lognormal { median, sigma };
            let (found, exact) = (mean(law, min, max), lognormal_mean(median, sigma, min as f64, max as f64));
            assert!((found / exact - 1.0).abs() < 0.002, "{law:?} {min} {max}: {found}, exactly {exact}");
        }
    }

    #[test]
    fn half_of_a_lognormal_lies_below_its_median() {
        let law = Law::Lognormal { median: 65_536.0, sigma: 1.8 };
        let histogram = SizeHistogram::new(classes(law, 1, 5 << 40, &mut Vec::new())).unwrap();
        let below: f64 = histogram
            .classes()
            .iter()
            .filter(|class| class.upper_bytes <= 65_536)
            .map(|class| class.share)
            .sum();
        assert!((below - 0.5).abs() < 1e-4, "{below}");
    }

    #[test]
    fn a_pareto_keeps_its_mean() {
        for (alpha, min, max) in
            [(1.2, 1024_u64, 5_u64 << 30), (1.0, 1, 1 << 30), (0.5, 4096, 5 << 40), (5.0, 100_000, 1 << 30)]
        {
            let law = Law::Pareto { least: min as f64, alpha };
            let (found, exact) = (mean(law, min, max), pareto_mean(alpha, min as f64, max as f64));
            assert!((found / exact - 1.0).abs() < 0.002, "{law:?}: {found}, exactly {exact}");
        }
    }

    #[test]
    fn what_is_cut_off_is_noted() {
        let mut notes = Vec::new();
        classes(Law::Lognormal { median: 1e6, sigma: 1.0 }, 1, 1_000_000, &mut notes);
        assert!(notes[0].contains("50% of the distribution"), "{notes:?}");
        notes.clear();
        classes(Law::Lognormal { median: 1e6, sigma: 1.0 }, 1, 1 << 30, &mut notes);
        assert!(notes.is_empty(), "{notes:?}");
    }
}
