//! This module searches for the number of nodes that suffice.

use super::demand::MonthDemand;
use super::node::Fleet;
use crate::hardware::Hardware;
use crate::result::{Constraint, Needed};

/// A plan has at most this many nodes.
pub const NODES_MAX: u32 = 1_000_000;

/// Returns the fewest nodes that meet every constraint, with a drive for each piece of an object.
/// [`NODES_MAX`] + 1 means that more would be needed. The search begins at `hint`.
pub fn nodes_needed(fleet: &Fleet<'_>, month: &MonthDemand, hint: u32) -> u32 {
    let nodes = fewest(hint, |nodes| {
        let uses = fleet.load(month, f64::from(nodes)).uses;
        uses.iter().all(|used| *used <= 1.0)
    });
    nodes.max(nodes_for_pieces(fleet.hardware))
}

/// Returns the fewest nodes that have as many drives as an object has pieces.
pub fn nodes_for_pieces(hardware: &Hardware) -> u32 {
    let pieces = hardware.redundancy.data + hardware.redundancy.parity;
    pieces.div_ceil(hardware.drives.count.max(1))
}

/// Returns the fewest nodes that meet one constraint.
pub fn nodes_for(fleet: &Fleet<'_>, month: &MonthDemand, constraint: Constraint, hint: u32) -> u32 {
    let at = position(constraint);
    fewest(hint, |nodes| fleet.load(month, f64::from(nodes)).uses[at] <= 1.0)
}

/// Returns the nodes needed, and the constraint that requires them: if several do, the one that is
/// used most.
pub fn needed(fleet: &Fleet<'_>, month: &MonthDemand) -> Needed {
    let nodes = nodes_needed(fleet, month, 1);
    let uses = fleet.load(month, f64::from(nodes.min(NODES_MAX))).uses;
    let by_use = |a: &Constraint, b: &Constraint| uses[position(*a)].total_cmp(&uses[position(*b)]);
    let all = Constraint::ALL;
    let asking = all.iter().filter(|constraint| {
        nodes > 1 && fleet.load(month, f64::from(nodes - 1)).uses[position(**constraint)] > 1.0
    });
    let binding = asking.copied().max_by(by_use).or_else(|| all.into_iter().max_by(by_use));
    of_nodes(fleet, nodes, binding.unwrap_or(Constraint::Capacity))
}

/// Returns the same with one more node, so that one may be down.
pub fn with_one_more(fleet: &Fleet<'_>, needed: &Needed) -> Needed {
    of_nodes(fleet, needed.nodes.saturating_add(1), needed.binding)
}

fn of_nodes(fleet: &Fleet<'_>, nodes: u32, binding: Constraint) -> Needed {
    Needed { nodes, drives: nodes.saturating_mul(fleet.hardware.drives.count), binding }
}

/// Returns the index of a constraint in [`Constraint::ALL`].
pub fn position(constraint: Constraint) -> usize {
    Constraint::ALL.iter().position(|other| *other == constraint).unwrap_or(0)
}

/// Returns the smallest number from 1 for which `suffices` holds; it must hold for all larger ones
/// too.
fn fewest(hint: u32, suffices: impl Fn(u32) -> bool) -> u32 {
    let hint = hint.clamp(1, NODES_MAX);
    // `low` is too few, and `high` is enough.
    let (mut low, mut high) = if suffices(hint) { (0, hint) } else { (hint, hint) };
    while low == high {
        if high >= NODES_MAX {
            return NODES_MAX + 1;
        }
        high = high.saturating_mul(2).min(NODES_MAX);
        if suffices(high) {
            break;
        }
        low = high;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if suffices(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_is_found_from_any_hint() {
        for wanted in [1, 2, 3, 7, 64, 1000, NODES_MAX] {
            for hint in [1, 2, 5, 900, NODES_MAX, u32::MAX] {
                assert_eq!(fewest(hint, |nodes| nodes >= wanted), wanted, "from {hint}");
            }
        }
        assert_eq!(fewest(1, |_| false), NODES_MAX + 1);
    }
}
