//! This module searches for smaller plans that fail too: fewer lives, clients and steps, and then
//! fewer operations.
//!
//! Invariant: the returned plan fails; it was run. A smaller plan may violate another promise than
//! the first.
//!
//! Operations are left out as in "Simplifying and isolating failure-inducing input" (Zeller and
//! Hildebrandt, 2002): whole kinds first, then halves of the rest, quarters, and so on.

use super::plan::{Aim, Faults, Kind, Plan};
use super::{Failure, attempt};

/// Counts how often a plan may still be tried.
struct Budget(u64);

impl Budget {
    fn fails(&mut self, plan: &Plan) -> Option<Failure> {
        self.0 = self.0.checked_sub(1)?;
        attempt(plan).err()
    }
}

/// Returns the smallest plan that `attempts` runs find.
pub fn shrink(failure: Failure, attempts: u64) -> Failure {
    let mut budget = Budget(attempts);
    let mut smallest = numbers(failure, &mut budget);
    smallest = kinds(smallest, &mut budget);
    operations(smallest, &mut budget)
}

fn numbers(failure: Failure, budget: &mut Budget) -> Failure {
    let mut smallest = failure;
    loop {
        let plan = &smallest.plan;
        let smaller = [
            Plan { rounds: plan.rounds / 2, ..plan.clone() },
            Plan { rounds: plan.rounds - 1, ..plan.clone() },
            Plan { clients: plan.clients / 2, ..plan.clone() },
            Plan { clients: plan.clients - 1, ..plan.clone() },
            Plan { steps: plan.steps / 2, ..plan.clone() },
            Plan { faults: Faults::None, ..plan.clone() },
            Plan { aim: Aim::Nothing, ..plan.clone() },
        ];
        let possible =
            |other: &&Plan| other.rounds > 0 && other.clients > 0 && other.steps > 9 && *other != plan;
        match smaller.iter().filter(possible).find_map(|plan| budget.fails(plan)) {
            Some(found) => smallest = found,
            None => return smallest,
        }
    }
}

fn kinds(failure: Failure, budget: &mut Budget) -> Failure {
    let mut smallest = failure;
    for kind in Kind::ALL {
        let mut plan = smallest.plan.clone();
        if !plan.without.contains(&kind) {
            plan.without.push(kind);
            smallest = budget.fails(&plan).unwrap_or(smallest);
        }
    }
    smallest
}

fn operations(failure: Failure, budget: &mut Budget) -> Failure {
    let mut smallest = failure;
    let mut pieces = 2;
    loop {
        let begun = smallest.operations.clone();
        if begun.len() < 2 || budget.0 == 0 {
            return smallest;
        }
        let size = begun.len().div_ceil(pieces);
        let without = |piece: &[u64]| {
            let mut plan = smallest.plan.clone();
            // Operations between two of them were not begun.
            plan.skip.push((piece[0], piece[piece.len() - 1]));
            plan
        };
        // The last ones are tried first, because many operations before a failure are not needed
        // for it.
        match begun.chunks(size).rev().find_map(|piece| budget.fails(&without(piece))) {
            Some(found) => {
                smallest = found;
                pieces = (pieces - 1).max(2);
            }
            None if size == 1 => return smallest,
            None => pieces = (pieces * 2).min(begun.len()),
        }
    }
}
