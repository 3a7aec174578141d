//! This module runs the whole node in a simulated world and compares it with a model: it checks
//! what the engine promises, in every order of events and with every fault that a seed chooses.
//!
//! Invariants:
//! - A [`Plan`] decides everything: the same plan gives the same trace, byte for byte.
//! - A run ends with a [`Report`], or panics with what was violated; [`attempt`] turns the panic
//!   into a [`Failure`].
//!
//! The oracles are: a map of buckets, objects with their versions over time, and uploads
//! ([`model`], [`buckets`], [`uploads`]); all stacks of versions that a key may have
//! ([`versions`]), and by what versions are locked ([`locks`]); persistence after any crash and progress after a clean
//! stop ([`verify`]); progress once faults have ended ([`progress`]); the accounting of space, at
//! any moment and exactly when nothing is in progress ([`world`]); what a check and a repair of the
//! drives leave ([`damage`]); no operation hangs ([`context`]).

pub mod buckets;
pub mod client;
pub mod context;
pub mod damage;
pub mod faults;
pub mod locks;
mod mirrors;
pub mod model;
pub mod node_records;
pub mod plan;
pub mod progress;
pub mod report;
pub mod shrink;
mod upload_steps;
pub mod uploads;
pub mod verify;
mod version_steps;
mod version_verify;
pub mod versions;
pub mod world;

use std::panic::AssertUnwindSafe;

use ringbolt_engine::sim::take_reached;
use ringbolt_engine::types::Etag;

pub use self::plan::{Aim, Faults, Kind, Plan};
pub use self::report::{RareCounts, Report};
pub use self::shrink::shrink;
use self::world::World;

/// Says what a run violated.
#[derive(Clone, Debug)]
pub struct Failure {
    pub plan: Plan,
    pub message: Box<str>,
    /// Holds the numbers of the operations that clients began, in order.
    pub operations: Box<[u64]>,
}

/// Runs a plan and returns what happened, line by line, also after a violation.
///
/// # Errors
/// Fails as [`attempt`] does, and returns the lines in this case too.
pub fn trace(plan: &Plan) -> (Result<Report, Failure>, Vec<String>) {
    let world = World::new(plan, true);
    let shared = world.shared.clone();
    (attempt_in(plan, world), shared.take_trace())
}

/// Runs a plan and returns a violation as a value. The caller's hook gets the message of the panic.
///
/// # Errors
/// Returns the plan, shortened to the round that failed, and what was violated.
pub fn attempt(plan: &Plan) -> Result<Report, Failure> {
    attempt_in(plan, World::new(plan, false))
}

fn attempt_in(plan: &Plan, mut world: World) -> Result<Report, Failure> {
    let shared = world.shared.clone();
    take_reached();
    let done = std::panic::catch_unwind(AssertUnwindSafe(move || {
        world.run_rounds();
        world.finish();
    }));
    match done {
        Ok(()) => Ok(Report { rare: RareCounts(take_reached()), ..shared.report.borrow().clone() }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let message = text.unwrap_or_else(|| "a panic without a message".to_owned());
            // The rounds after the failing one do not change what came before.
            let plan = Plan { rounds: plan.rounds.min(shared.round.get() + 1), ..plan.clone() };
            let mut operations = shared.operations.take();
            operations.sort_unstable();
            Err(Failure { plan, message: message.into(), operations: operations.into() })
        }
    }
}

/// Returns an ETag that contains a tag, because the engine does not compute ETags.
pub fn etag_of(tag: u64, parts: u16) -> Etag {
    let mut md5 = [0; 16];
    md5[..8].copy_from_slice(&tag.to_le_bytes());
    Etag { md5, parts }
}

pub fn tag_of(etag: &Etag) -> u64 {
    etag.md5.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
