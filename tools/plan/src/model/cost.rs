//! This module computes what the machines cost: the purchase spread over its years, and power.

use super::demand::MonthDemand;
use super::node::{Fleet, NodeLoad};
use crate::result::CostPlan;
use ringbolt_tool_common::units::MONTH_S;

const HOUR_S: f64 = 3_600.0;
const TB: f64 = 1e12;

/// Computes the costs of `nodes` nodes with the load of a month.
pub fn cost(fleet: &Fleet<'_>, month: &MonthDemand, load: &NodeLoad, nodes: u32) -> CostPlan {
    let (hardware, nodes) = (fleet.hardware, f64::from(nodes));
    let (node, drives, cost) = (&hardware.node, &hardware.drives, &hardware.cost);
    let drives_of_node = f64::from(drives.count);
    let purchase = nodes * (node.price + drives_of_node * drives.price);
    let watts = nodes * (node.watts + drives_of_node * drives.watts) * cost.power_usage_effectiveness;
    let power_per_month = watts / 1000.0 * (MONTH_S / HOUR_S) * cost.price_per_kwh;
    let per_month = purchase / (cost.years * 12.0) + power_per_month;
    // This is the number of users' bytes for each live byte on drives.
    let users = fleet.object.logical_bytes / fleet.stored_bytes();
    let usable_tb = nodes * load.capacity.usable_bytes * hardware.limits.capacity * users / TB;
    let stored_tb = nodes * load.live_bytes * users / TB;
    let requests =
        month.put_per_s + month.get_per_s + month.head_per_s + month.list_per_s + month.delete_per_s;
    CostPlan {
        purchase,
        power_per_month,
        per_month,
        per_usable_tb_month: per(per_month, usable_tb),
        per_stored_tb_month: per(per_month, stored_tb),
        per_million_requests: (requests > 0.0).then(|| per_month / (requests * MONTH_S / 1e6)),
        watts_per_usable_tb: per(watts, usable_tb),
    }
}

/// Returns the quotient; `None` for nothing: objects without bytes, or none stored.
fn per(value: f64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| value / of)
}
