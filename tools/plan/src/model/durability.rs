//! This module computes the probability of losing data within a year.
//!
//! Drives fail independently and evenly in time. A set of `data + parity` drives loses data when
//! more than `parity` of them fail before the first is replaced. Within one period of repair, a
//! drive fails with probability 1 - exp(-rate x period), and more than `parity` drives by the
//! binomial distribution; the periods of a year are independent. This is the model that Backblaze
//! published (`erasure-coding-durability`, 2018). Drives of one node that hold copies for each other are
//! counted by [`mirror`], and which of them lose stripes by [`stripes`].

use super::mirror;
use super::node::{Fleet, NodeLoad};
use super::stripes::{self, Groups};
use crate::hardware::Redundancy;
use crate::result::Durability;

const HOURS_PER_YEAR: f64 = 365.0 * 24.0;
const HOUR_S: f64 = 3_600.0;
/// A rebuild uses this share of the bandwidth of a drive or NIC; the rest is for requests.
pub const REBUILD_SHARE: f64 = 0.5;

/// This text describes the model in plans.
pub const MODEL: &str = "Drives fail independently of each other and evenly over time, at the stated annual failure \
    rate; nothing else is counted: no node, rack, power supply, operator or program that takes several drives at once, \
    no batch of drives that age alike, no error that goes unnoticed. Real losses are mostly of those kinds: take the \
    figure as the part that drives contribute.";

/// Returns the probability that one set of drives loses data within a year.
pub fn loss_of_set(data: u32, parity: u32, annual_failure_rate: f64, repair_hours: f64) -> f64 {
    let drives = data + parity;
    let periods = HOURS_PER_YEAR / repair_hours;
    let failing = -(-annual_failure_rate / periods).exp_m1();
    let lost: f64 = (parity + 1..=drives).map(|failed| binomial(drives, failed, failing)).sum();
    // This is 1 - (1 - lost)^periods, and exact for tiny values too.
    -(periods * (-lost).ln_1p()).exp_m1()
}

/// Returns the probability of exactly `hits` of `trials`, each with `probability`.
fn binomial(trials: u32, hits: u32, probability: f64) -> f64 {
    let hits_of = (0..hits).map(|at| f64::from(trials - at) / f64::from(hits - at)).product::<f64>();
    hits_of * probability.powi(hits as i32) * (1.0 - probability).powi((trials - hits) as i32)
}

/// Computes the durability of `nodes` nodes with this load.
pub fn durability(fleet: &Fleet<'_>, load: &NodeLoad, nodes: u32) -> Durability {
    let (hardware, drives) = (fleet.hardware, nodes.saturating_mul(fleet.hardware.drives.count));
    let rate = hardware.drives.annual_failure_rate;
    let redundancy = hardware.redundancy;
    let rebuild = rebuild(fleet, load);
    let repair_hours = hardware.drives.replacement_hours + rebuild.hours.unwrap_or(0.0);
    let logical = fleet.object.logical_bytes / fleet.stored_bytes().max(1.0);
    let (data_loss_probability_per_year, bytes_lost_per_loss, groups) = if redundancy.is_on_node() {
        let of_node = groups_of_node(fleet, load);
        let groups = of_node.count() * f64::from(nodes);
        let of_group =
            mirror::losses_of_group_per_year(redundancy.copies, rate, repair_hours / HOURS_PER_YEAR);
        let all_bytes = load.live_bytes * logical;
        let striped_share = if redundancy.is_striped() { fleet.object.large_share() } else { 0.0 };
        let bytes_lost = of_node.bytes_lost(all_bytes, all_bytes * striped_share);
        (mirror::loss_probability_per_year(groups, of_group), bytes_lost, Some(groups.round() as u32))
    } else {
        let set = f64::from(redundancy.data + redundancy.parity);
        let of_set = loss_of_pieces(redundancy, rate, repair_hours);
        let probability = -(f64::from(drives) / set * (-of_set).ln_1p()).exp_m1();
        (probability, load.live_bytes / f64::from(hardware.drives.count) * set * logical, None)
    };
    let model = match () {
        () if redundancy.is_striped() => stripes::MODEL,
        () if redundancy.is_mirror() => mirror::MODEL,
        () => "",
    };
    Durability {
        model: format!("{MODEL}{model}"),
        drives,
        groups,
        drive_failures_per_year: f64::from(drives) * rate,
        rebuild_hours: rebuild.hours,
        rebuild_bound_by: rebuild.bound_by,
        rebuild_read_bytes: rebuild.hours.map(|_| rebuild.read_bytes),
        rebuild_written_bytes: rebuild.hours.map(|_| rebuild.written_bytes),
        data_loss_probability_per_year,
        bytes_lost_per_loss,
    }
}

/// Returns the groups of drives that a node with this load loses data with.
fn groups_of_node(fleet: &Fleet<'_>, load: &NodeLoad) -> Groups {
    let (redundancy, drives) = (fleet.hardware.redundancy, fleet.hardware.drives.count);
    let extents = load.slice_bytes / fleet.drive.extent_bytes as f64;
    let sets = if redundancy.is_striped() { (extents / f64::from(redundancy.members())).ceil() } else { 0.0 };
    Groups::of(drives, redundancy.copies, redundancy.members(), sets)
}

/// Returns the probability that one set of drives with the pieces of objects loses data within a year.
fn loss_of_pieces(redundancy: Redundancy, rate: f64, repair_hours: f64) -> f64 {
    match redundancy.parity {
        // Each failure is a loss, however soon the drive is replaced.
        0 => -(-rate * f64::from(redundancy.data)).exp_m1(),
        parity => loss_of_set(redundancy.data, parity, rate, repair_hours),
    }
}

/// Describes the rebuild of one drive.
struct Rebuild {
    /// This is `None` if there is nothing to rebuild from.
    hours: Option<f64>,
    /// Says what limits it.
    bound_by: String,
    /// Counts the bytes read of all other drives.
    read_bytes: f64,
    /// Counts the bytes written to the new drive.
    written_bytes: f64,
}

/// Returns the rebuild of a drive with the mean of what lies on the drives of a node. A copy is read of one
/// other drive, and a chunk of a stripe, or a piece, is made from as many as suffice.
fn rebuild(fleet: &Fleet<'_>, load: &NodeLoad) -> Rebuild {
    let (hardware, redundancy) = (fleet.hardware, fleet.hardware.redundancy);
    let drives = f64::from(hardware.drives.count);
    let on_drive = load.live_bytes / drives;
    let sliced = if redundancy.is_striped() { load.slice_bytes / drives } else { 0.0 };
    let copied = on_drive - sliced;
    let data = f64::from(redundancy.data * redundancy.data_members);
    let read_bytes = if redundancy.is_striped() { copied + data * sliced } else { data * copied };
    let all = |hours, bound_by| Rebuild { hours, bound_by, read_bytes, written_bytes: on_drive };
    if redundancy.parity == 0 && !redundancy.is_on_node() {
        return all(None, "there is nothing to rebuild from: each object lies on one drive".to_owned());
    }
    let hours = |rate: f64| Some(on_drive / rate / HOUR_S);
    if let Some(rate) = hardware.drives.rebuild_bytes_per_s {
        return all(hours(rate), "drives.rebuild_rate, as it was given".to_owned());
    }
    let speed = &hardware.drives.speed;
    // The busiest of the others has a copy of all logs of the new one, and its part of what stripes are made from.
    let busiest = if redundancy.is_striped() { copied + data * sliced / (drives - 1.0) } else { on_drive };
    let read_rate = if busiest > 0.0 { speed.read_bytes_per_s * on_drive / busiest } else { f64::INFINITY };
    let of_drives =
        [(speed.write_bytes_per_s, "writes of the new drive"), (read_rate, "reads of the other drives")];
    // Copies and stripes are in the same node, pieces in others.
    let nic = (!redundancy.is_on_node()).then(|| {
        let rate = hardware.node.nic_bytes_per_s / data;
        (rate, "the NIC, which takes in the pieces it is made from")
    });
    let slowest = of_drives.into_iter().chain(nic).min_by(|a, b| a.0.total_cmp(&b.0));
    let (rate, by) = slowest.unwrap_or((1.0, "nothing"));
    let bound_by = format!("{by}, of which it takes {:.0}%", REBUILD_SHARE * 100.0);
    all(hours(rate * REBUILD_SHARE), bound_by)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Backblaze, `erasure-coding-durability`, README: 17 + 3, rate 0.00405, 6.5 days; the column
    /// `annual_loss_rate`. The last value is as precise as its arithmetic.
    #[test]
    fn published_figures_are_reproduced() {
        for (parity, published) in
            [(0, 7.781e-2), (1, 5.545e-5), (2, 2.399e-8), (3, 7.354e-12), (4, 1.693e-15)]
        {
            let found = loss_of_set(20 - parity, parity, 0.00405, 6.5 * 24.0);
            assert!((found / published - 1.0).abs() < 3e-3, "{parity}: {found:e}, published {published:e}");
        }
    }

    #[test]
    fn more_parity_and_quicker_repair_lose_less() {
        let loss = |parity, hours| loss_of_set(8, parity, 0.01, hours);
        assert!(loss(1, 24.0) > loss(2, 24.0) && loss(2, 24.0) > loss(3, 24.0));
        assert!(loss(2, 12.0) < loss(2, 24.0));
    }
}
