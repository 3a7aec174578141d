//! This module checks whether a stored plan is valid.
//!
//! Invariant: the input of a plan is within the limits of the input files, and its figures are such
//! that arithmetic with them gives finite numbers. Code that uses a plan after this check may rely
//! on its figures.

use super::hardware::Redundancy;
use super::input;
use super::model::search::NODES_MAX;
use super::month::Month;
use super::result::Plan;
use ringbolt_engine::node::sizing;

const HOURS: usize = 24;
/// This is larger than any plausible figure.
const FIGURE_MAX: f64 = 1e30;

/// Holds name and value of the first invalid figure, and what it should be.
pub type Wrong = (String, f64, String);

/// Checks a plan.
///
/// # Errors
/// Returns the first figure that is not valid.
pub fn check(plan: &Plan) -> Result<(), Wrong> {
    for (key, value) in workload(plan).into_iter().chain(hardware(plan)) {
        input::check(key, value).map_err(|reason| (key.to_owned(), value, reason))?;
    }
    let held = |name: &str, value: f64, least: f64, most: f64| {
        let is_right = (least..=most).contains(&value);
        if is_right {
            Ok(())
        } else {
            Err((name.to_owned(), value, format!("must be from {least} to {most}")))
        }
    };
    let horizon = &plan.workload.horizon;
    let months = f64::from(horizon.months);
    held("nodes", f64::from(plan.nodes), 1.0, f64::from(NODES_MAX) + 1.0)?;
    held("number of months", plan.months.len() as f64, months, months)?;
    // The month after the last one must be valid too.
    let nameable = f64::from(horizon.start.months_until(Month::LAST));
    held("plan.months", months, 1.0, nameable - 1.0)?;
    let shape = &plan.workload.day.shape;
    held("hours of day.shape", shape.len() as f64, HOURS as f64, HOURS as f64)?;
    for weight in shape {
        // The weights have mean 1.
        held("day.shape", *weight, 0.0, HOURS as f64)?;
    }
    let (copies, drives) = (plan.hardware.redundancy.copies, plan.hardware.drives.count);
    held("redundancy.copies", f64::from(copies), 1.0, f64::from(Redundancy::COPIES_MAX.min(drives)))?;
    let members_max = drives.min(sizing::MEMBERS_OF_SLICES_MAX as u32);
    let data_max = if copies > 1 { members_max - (copies - 1) } else { 1 };
    let data_members = plan.hardware.redundancy.data_members;
    held("redundancy.data_members", f64::from(data_members), 1.0, f64::from(data_max))?;
    for (name, value) in figures(plan) {
        held(name, value, 0.0, FIGURE_MAX)?;
    }
    Ok(())
}

fn workload(plan: &Plan) -> Vec<(&'static str, f64)> {
    let (objects, requests) = (&plan.workload.objects, &plan.workload.requests);
    let (growth, horizon) = (&plan.workload.growth, &plan.workload.horizon);
    let mut figures = vec![
        ("objects.count", objects.count as f64),
        ("objects.key_length", objects.key_bytes),
        ("objects.shared_key_length", objects.key_shared_bytes),
        ("objects.metadata_size", objects.metadata_bytes),
        ("requests.put_per_s", requests.put_per_s),
        ("requests.get_per_s", requests.get_per_s),
        ("requests.head_per_s", requests.head_per_s),
        ("requests.list_per_s", requests.list_per_s),
        ("requests.delete_per_s", requests.delete_per_s),
        ("requests.overwrite_share", requests.overwrite_share),
        ("requests.list_keys", requests.list_keys),
        ("requests.range_share", requests.range_share),
        ("requests.puts_in_flight", requests.puts_in_flight),
        ("requests.uncertainty", requests.uncertainty),
        ("day.peak_factor", plan.workload.day.peak_factor),
        ("hot_set.object_share", plan.workload.hot_set.object_share),
        ("hot_set.request_share", plan.workload.hot_set.request_share),
        ("growth.requests_per_month", growth.requests_share_per_month),
        ("growth.uncertainty", growth.uncertainty),
        ("plan.months", f64::from(horizon.months)),
        ("plan.samples", f64::from(horizon.samples)),
    ];
    figures.extend(objects.part_bytes.map(|bytes| ("objects.part_size", bytes as f64)));
    figures.extend(growth.stored_share_per_month.map(|share| ("growth.stored_per_month", share)));
    figures.extend(plan.workload.retention_days.map(|days| ("retention.delete_after", days)));
    if requests.range_share > 0.0 {
        figures.push(("requests.range_size", requests.range_bytes as f64));
    }
    figures
}

fn hardware(plan: &Plan) -> Vec<(&'static str, f64)> {
    let (node, drives) = (&plan.hardware.node, &plan.hardware.drives);
    let speed = &drives.speed;
    let (redundancy, cost) = (&plan.hardware.redundancy, &plan.hardware.cost);
    let mut figures = vec![
        ("node.cores", f64::from(node.cores)),
        ("node.ram", node.ram_bytes as f64),
        ("node.nic", node.nic_bytes_per_s),
        ("node.watts", node.watts),
        ("node.price", node.price),
        ("drives.count", f64::from(drives.count)),
        ("drives.size", drives.size_bytes as f64),
        ("drives.price", drives.price),
        ("drives.watts", drives.watts),
        ("drives.endurance_used", drives.endurance_used_share),
        ("drives.wanted_life_years", drives.wanted_life_years),
        ("drives.internal_write_amplification", drives.internal_write_amplification),
        ("drives.annual_failure_rate", drives.annual_failure_rate),
        ("drives.replacement_hours", drives.replacement_hours),
        ("drives.read_iops", speed.read_iops),
        ("drives.write_iops", speed.write_iops),
        ("drives.read_bandwidth", speed.read_bytes_per_s),
        ("drives.write_bandwidth", speed.write_bytes_per_s),
        ("redundancy.data", f64::from(redundancy.data)),
        ("redundancy.parity", f64::from(redundancy.parity)),
        ("cost.years", cost.years),
        ("cost.price_per_kwh", cost.price_per_kwh),
        ("cost.power_usage_effectiveness", cost.power_usage_effectiveness),
    ];
    figures.extend(plan.hardware.limits.by_key());
    figures.extend(node.count.map(|count| ("node.count", f64::from(count))));
    figures.extend(drives.rebuild_bytes_per_s.map(|rate| ("drives.rebuild_rate", rate)));
    figures
}

/// Returns the figures that other code computes with.
fn figures(plan: &Plan) -> Vec<(&'static str, f64)> {
    let (layout, node, endurance) = (&plan.layout, &plan.node, &plan.endurance);
    let mut figures = vec![
        ("drives.endurance_bytes", plan.hardware.drives.endurance_bytes.unwrap_or(0.0)),
        ("objects.live_bytes_per_object", plan.workload.objects.live_bytes_per_object.unwrap_or(0.0)),
        ("layout.logical_bytes_per_object", layout.logical_bytes_per_object),
        ("layout.stored_bytes_per_object", layout.stored_bytes_per_object),
        (
            "layout.redundant_bytes_per_object",
            layout.redundant_bytes_per_object.unwrap_or(layout.stored_bytes_per_object),
        ),
        ("layout.index_bytes_per_object", layout.index_bytes_per_object),
        ("node.raw_bytes", node.raw_bytes),
        ("node.format_bytes", node.format_bytes),
        ("node.usable_bytes", node.usable_bytes),
        ("endurance.user_bytes_per_day_per_drive", endurance.user_bytes_per_day_per_drive),
        ("endurance.host_bytes_per_day_per_drive", endurance.host_bytes_per_day_per_drive),
        ("endurance.write_amplification", endurance.write_amplification),
        ("endurance.life_years", endurance.life_years.unwrap_or(0.0)),
    ];
    figures.extend(plan.fill.months.iter().map(|month| ("fill.months.fill_p50", month.fill_p50)));
    for month in &plan.months {
        figures.extend([("months.objects", month.objects), ("months.stored_bytes", month.stored_bytes)]);
        // An infinite use means that there is nothing to use.
        let uses = month.uses.iter().map(|used| used.use_of_limit).filter(|used| used.is_finite());
        figures.extend(uses.map(|used| ("months.uses.use_of_limit", used)));
    }
    figures
}
