//! This module searches for smaller plans that fail too: fewer lives, clients and steps, and then
//! fewer operations.
//!
//! Invariant: the returned plan fails; it was run. A smaller plan may violate another promise than
//! the first.
//!
//! Operations are left out as in "Simplifying and isolating failure-inducing input" (Zeller and
//! Hildebrandt, 2002): whole kinds first; then the search tries each of two halves of the rest
//! alone, each of four quarters and what is left without it, and so on.
//!
//! A life ends after a number of polls, so clients that skip an operation reach later ones, which
//! the failing run never began. A plan that names only what it skips therefore has as many
//! operations as before. So each plan here names, by what it skips, the operations that it keeps:
//! those are among the ones that the larger run began, and their number only falls.

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

/// Returns the plan in which clients begin these operations and no others; they ascend.
fn keeping(plan: &Plan, operations: &[u64]) -> Plan {
    let mut skip = Vec::new();
    let mut next = 0;
    for operation in operations {
        if *operation > next {
            skip.push((next, operation - 1));
        }
        next = operation + 1;
    }
    skip.push((next, u64::MAX));
    Plan { skip, ..plan.clone() }
}

fn kinds(failure: Failure, budget: &mut Budget) -> Failure {
    let mut smallest = failure;
    for kind in Kind::ALL {
        let mut plan = keeping(&smallest.plan, &smallest.operations);
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
        let mut fails = |kept: &[u64]| budget.fails(&keeping(&smallest.plan, kept));
        // The last ones are tried first, because many operations before a failure are not needed
        // for it.
        if let Some(found) = begun.chunks(size).rev().find_map(&mut fails) {
            smallest = found;
            pieces = 2;
            continue;
        }
        // Of two halves, each is what is left without the other one.
        let ends = if pieces > 2 { begun.len() } else { 0 };
        let rest = (0..ends).step_by(size).rev().find_map(|at| {
            let after = (at + size).min(begun.len());
            fails(&[&begun[..at], &begun[after..]].concat())
        });
        match rest {
            Some(found) => {
                smallest = found;
                pieces = (pieces - 1).max(2);
            }
            None if size == 1 => return smallest,
            None => pieces = (pieces * 2).min(begun.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_keeps_what_it_is_to_keep_and_nothing_else() {
        for kept in [&[0, 1, 2][..], &[1, 7, 8, 1 << 32], &[]] {
            let plan = keeping(&Plan { skip: vec![(3, 4)], ..Plan::new(1) }, kept);
            for operation in (0..12).chain([(1 << 32) - 1, 1 << 32, (1 << 32) + 1, u64::MAX]) {
                assert_eq!(plan.leaves_out(operation, Kind::Put), !kept.contains(&operation), "{operation}");
            }
        }
    }
}
