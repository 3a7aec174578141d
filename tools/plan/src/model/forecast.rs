//! This module samples the stated uncertainties (Monte Carlo): when the drives are full, and how
//! many nodes may be needed.
//!
//! Invariant: the same seed gives the same samples, whatever else the plan says.

use super::demand::{Draw, demand};
use super::node::Fleet;
use super::search::nodes_needed;
use crate::result::{Fill, FillMonth, WhenFull};
use ringbolt_tool_common::units::DAYS_PER_MONTH;
use std::f64::consts::TAU;

/// Holds the result of all samples.
pub struct Forecast {
    pub fill: Fill,
    /// Holds for each month the 5th, 50th and 95th percentile of the nodes needed.
    pub nodes: Vec<[u32; 3]>,
}

/// Samples the forecast; `nodes` is the number of nodes whose filling is computed.
pub fn forecast(fleet: &Fleet<'_>, nodes: u32) -> Forecast {
    let horizon = &fleet.workload.horizon;
    let months = horizon.months as usize;
    let mut random = fastrand::Rng::with_seed(horizon.seed);
    let mut fills: Vec<Vec<f64>> = vec![Vec::new(); months + 1];
    let mut needed: Vec<Vec<u32>> = vec![Vec::new(); months];
    let (mut at_80, mut at_100) = (Vec::new(), Vec::new());
    for _ in 0..horizon.samples {
        let draw = draw(fleet, &mut random);
        let demands = demand(fleet.workload, &draw);
        let mut curve = vec![fill_of(fleet, fleet.workload.objects.count as f64, nodes)];
        let mut least = 1;
        for (month, needed) in demands.iter().zip(&mut needed) {
            curve.push(fill_of(fleet, month.objects_at_end, nodes));
            least = nodes_needed(fleet, month, least);
            needed.push(least);
        }
        at_80.extend(reaches(&curve, 0.8));
        at_100.extend(reaches(&curve, 1.0));
        curve.into_iter().zip(&mut fills).for_each(|(fill, fills)| fills.push(fill));
    }
    let samples = horizon.samples as usize;
    let months = fills.into_iter().enumerate().map(|(at, mut fills)| FillMonth {
        month: horizon.start.plus(at as u32),
        fill_p5: percentile(&mut fills, 0.05),
        fill_p50: percentile(&mut fills, 0.50),
        fill_p95: percentile(&mut fills, 0.95),
    });
    Forecast {
        fill: Fill {
            months: months.collect(),
            at_80_percent: when(at_80, samples),
            at_100_percent: when(at_100, samples),
        },
        nodes: needed.into_iter().map(three).collect(),
    }
}

fn draw(fleet: &Fleet<'_>, random: &mut fastrand::Rng) -> Draw {
    // Box and Muller, 1958: two even numbers give two normal ones.
    let (radius, angle) = ((-2.0 * (1.0 - random.f64()).ln()).sqrt(), TAU * random.f64());
    let (first, second) = (radius * angle.cos(), radius * angle.sin());
    let relative = fleet.workload.requests.uncertainty;
    // The factor is log-normal with mean 1 and this relative standard deviation.
    let variance = (1.0 + relative * relative).ln();
    Draw {
        growth: first * fleet.workload.growth.uncertainty,
        rates: (second * variance.sqrt() - variance / 2.0).exp(),
    }
}

fn fill_of(fleet: &Fleet<'_>, objects: f64, nodes: u32) -> f64 {
    let nodes = f64::from(nodes);
    let usable = fleet.capacity(objects, nodes).usable_bytes;
    // If nothing fits, one object makes it full.
    fleet.live_bytes(objects, nodes) / usable.max(1.0)
}

/// Returns the days until the monthly curve reaches `level`, by linear interpolation between the
/// months.
fn reaches(curve: &[f64], level: f64) -> Option<f64> {
    let at = curve.iter().position(|fill| *fill >= level)?;
    let Some(before) = at.checked_sub(1) else { return Some(0.0) };
    let part = (level - curve[before]) / (curve[at] - curve[before]);
    Some((before as f64 + part) * DAYS_PER_MONTH)
}

fn when(mut days: Vec<f64>, samples: usize) -> WhenFull {
    days.sort_by(f64::total_cmp);
    // The quantile is over all samples: those that never reach the level come last.
    let of_all = |quantile: f64| days.get(((samples as f64 * quantile).ceil() as usize).max(1) - 1).copied();
    WhenFull {
        days_p5: of_all(0.05),
        days_p50: of_all(0.50),
        days_p95: of_all(0.95),
        share_of_samples: days.len() as f64 / samples as f64,
    }
}

fn percentile(values: &mut [f64], quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * quantile).ceil() as usize).max(1) - 1;
    values.get(at).copied().unwrap_or(0.0)
}

fn three(mut nodes: Vec<u32>) -> [u32; 3] {
    nodes.sort_unstable();
    let at = |quantile: f64| ((nodes.len() as f64 * quantile).ceil() as usize).max(1) - 1;
    [0.05, 0.5, 0.95].map(|quantile| nodes.get(at(quantile)).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_reached_on_the_way() {
        assert_eq!(reaches(&[0.0, 0.5, 1.5], 1.0), Some(1.5 * DAYS_PER_MONTH));
        assert_eq!(reaches(&[0.9, 0.1], 0.8), Some(0.0));
        assert_eq!(reaches(&[0.1, 0.2], 0.8), None);
    }

    #[test]
    fn samples_that_never_get_there_come_last() {
        let found = when((1..=50).map(f64::from).collect(), 100);
        assert_eq!((found.days_p5, found.days_p50, found.days_p95), (Some(5.0), Some(50.0), None));
        assert_eq!(found.share_of_samples, 0.5);
        assert_eq!(when(Vec::new(), 100).days_p5, None);
    }
}
