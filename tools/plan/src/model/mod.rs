//! This module computes a plan from workload, hardware and constants, without I/O or a clock.
//!
//! Its parts are [`demand`] (what each month asks for), [`layout`] (what an object needs),
//! [`cleaner`] (what writing costs), [`reads`] (what requests read), [`node`] (the load of one node
//! of a number of nodes), [`search`] (how many suffice), [`forecast`] (Monte Carlo), [`durability`]
//! (what drives lose), [`mirror`] (what drives with copies on each other lose), [`stripes`] (what stripes
//! on the drives of a node change) and [`cost`].

pub mod cleaner;
pub mod cost;
pub mod demand;
pub mod durability;
mod figures;
pub mod forecast;
pub mod layout;
pub mod mirror;
#[cfg(test)]
mod mirror_tests;
pub mod node;
mod notes;
pub mod reads;
pub mod search;
pub mod stripes;
#[cfg(test)]
mod stripes_tests;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use self::demand::{Draw, MonthDemand, demand};
use self::forecast::{Forecast, forecast};
use self::node::{Fleet, NodeLoad};
use self::search::{NODES_MAX, needed, nodes_for, position, with_one_more};
use super::constants::Constants;
use super::hardware::Hardware;
use super::result::{Constraint, Endurance, MonthPlan, Plan, SCHEMA, Use, VERSION};
use super::workload::Workload;
use ringbolt_engine::node::sizing;
use ringbolt_tool_common::units::DAY_S;

/// Says why there is no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    #[error(
        "a drive of {size_bytes} bytes: Ringbolt needs at least {least_bytes}; give a larger drives.size"
    )]
    DriveTooSmall { size_bytes: u64, least_bytes: u64 },
    #[error(
        "{constraint} asks for more than {NODES_MAX} nodes in {month}; look at the figures that bear on it, or shorten the \
         horizon"
    )]
    TooManyNodes { constraint: &'static str, month: String },
    #[error(
        "{drives} drives of {size_bytes} bytes have room for {shards} shards, and with stripes each drive is the home of \
         one; give a larger drives.size, or copies as redundancy.format"
    )]
    TooFewShards { drives: u64, size_bytes: u64, shards: u64 },
    #[error(
        "no number of nodes suffices: an empty node already takes {used:.1} times of what limits.ram allows of its RAM; \
         give more node.ram"
    )]
    NoMemory { used: f64 },
}

/// Computes the plan.
///
/// # Errors
/// Fails when no number of nodes up to a million suffices.
pub fn plan(
    workload: &Workload,
    hardware: &Hardware,
    constants: &Constants,
    now_unix_ms: u64,
) -> Result<Plan, ModelError> {
    let least_bytes = sizing::drive_bytes_min();
    if hardware.drives.size_bytes < least_bytes {
        return Err(ModelError::DriveTooSmall { size_bytes: hardware.drives.size_bytes, least_bytes });
    }
    let (drives, copies) = (u64::from(hardware.drives.count), u64::from(hardware.redundancy.copies));
    let cores = u64::from(hardware.node.cores);
    let shards = sizing::default_shards(hardware.drives.size_bytes, cores, drives, copies);
    if hardware.redundancy.is_striped() && shards < drives {
        let size_bytes = hardware.drives.size_bytes;
        return Err(ModelError::TooFewShards { drives, size_bytes, shards });
    }
    let (fleet, layout) = Fleet::of(workload, hardware, constants, shards);
    let demands = demand(workload, &Draw::MEAN);
    check(&fleet, &demands)?;
    let first = demands.first().copied().unwrap_or_default();
    let nodes = hardware.node.count.unwrap_or_else(|| needed(&fleet, &first).nodes);
    let load = fleet.load(&first, f64::from(nodes));
    let Forecast { fill, nodes: samples } = forecast(&fleet, nodes);
    let months: Vec<MonthPlan> = demands
        .iter()
        .enumerate()
        .map(|(at, month)| month_plan(&fleet, at, month, nodes, samples[at]))
        .collect();
    let mut plan = Plan {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        created_unix_ms: now_unix_ms,
        workload: workload.clone(),
        hardware: hardware.clone(),
        constants: constants
            .all()
            .into_iter()
            .map(|(name, constant)| (name.to_owned(), constant.clone()))
            .chain(figures::figures())
            .collect(),
        nodes,
        months,
        layout,
        node: load.capacity,
        fill,
        endurance: endurance(&fleet, &load),
        durability: durability::durability(&fleet, &load, nodes),
        cost: cost::cost(&fleet, &first, &load, nodes),
        notes: Vec::new(),
    };
    plan.notes = notes::notes(&plan);
    Ok(plan)
}

/// Checks that some number of nodes suffices for every month.
fn check(fleet: &Fleet<'_>, demands: &[MonthDemand]) -> Result<(), ModelError> {
    let empty = fleet.load(&MonthDemand::default(), f64::from(NODES_MAX)).uses[position(Constraint::Ram)];
    if empty > 1.0 {
        return Err(ModelError::NoMemory { used: empty });
    }
    let start = fleet.workload.horizon.start;
    for (at, month) in demands.iter().enumerate() {
        let uses = fleet.load(month, f64::from(NODES_MAX)).uses;
        if let Some(exceeded) = Constraint::ALL.into_iter().find(|each| uses[position(*each)] > 1.0) {
            let month = start.plus(at as u32).to_string();
            return Err(ModelError::TooManyNodes { constraint: exceeded.title(), month });
        }
    }
    Ok(())
}

fn month_plan(
    fleet: &Fleet<'_>,
    at: usize,
    month: &MonthDemand,
    nodes: u32,
    [nodes_p5, nodes_p50, nodes_p95]: [u32; 3],
) -> MonthPlan {
    let with_all = fleet.load(month, f64::from(nodes)).uses;
    let with_one_down = (nodes > 1).then(|| fleet.load(month, f64::from(nodes - 1)).uses);
    let uses = Constraint::ALL.map(|constraint| Use {
        constraint,
        use_of_limit: with_all[position(constraint)],
        use_of_limit_with_one_down: with_one_down.map_or(f64::INFINITY, |uses| uses[position(constraint)]),
        nodes: nodes_for(fleet, month, constraint, 1),
    });
    let peak = fleet.workload.day.peak();
    let needed = needed(fleet, month);
    MonthPlan {
        month: fleet.workload.horizon.start.plus(at as u32),
        objects: month.objects_at_end,
        logical_bytes: month.objects_at_end * fleet.object.logical_bytes,
        stored_bytes: month.objects_at_end * fleet.stored_bytes(),
        peak_put_per_s: month.put_per_s * peak,
        peak_get_per_s: month.get_per_s * peak,
        needed,
        needed_with_one_down: with_one_more(fleet, &needed),
        nodes_p5,
        nodes_p50,
        nodes_p95,
        uses: uses.to_vec(),
    }
}

fn endurance(fleet: &Fleet<'_>, load: &NodeLoad) -> Endurance {
    let writes = &load.writes;
    let host_bytes_per_day_per_drive = writes.host() * DAY_S;
    Endurance {
        user_bytes_per_day_per_drive: writes.user * DAY_S,
        host_bytes_per_day_per_drive,
        write_amplification: writes.amplification(writes.host()),
        write_amplification_objects: writes.amplification(writes.objects),
        write_amplification_cleaner: writes.amplification(writes.cleaner),
        write_amplification_checkpoints: writes.amplification(writes.checkpoints),
        write_amplification_deletes: writes.amplification(writes.deletes),
        log_live_share: writes.log_live_share,
        drive_writes_per_day: host_bytes_per_day_per_drive / fleet.hardware.drives.size_bytes as f64,
        life_years: fleet.life_years(writes),
    }
}
