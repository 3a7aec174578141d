//! These tests compare `ringbolt plan` for one node with the engine: each test stores data, and
//! prints what was predicted and what was measured.
//!
//! Invariant: nothing is compared that depends on the speed of the machine: only space, memory,
//! bytes written, and CPU time against CPU time of the same run.

mod reads;
mod requests;
mod scenario;
mod stored;
mod stripes;

use ringbolt_tests::binary;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Each test fills drives or keeps both cores busy, so they take turns.
fn own_machine() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("plan-").tempdir_in(binary::scratch_dir()).expect("a directory")
}

/// Fails with both figures when they differ by more than `within`.
fn compare(what: &str, predicted: f64, measured: f64, within: f64) {
    let difference = predicted / measured - 1.0;
    println!("{what:44} predicted {predicted:16.3} measured {measured:16.3} {:+6.1}%", difference * 100.0);
    assert!(agree(predicted, measured, within), "{what}: predicted {predicted}, measured {measured}");
}

/// Returns whether the larger of the two exceeds the other by at most the share `within`.
fn agree(predicted: f64, measured: f64, within: f64) -> bool {
    (predicted / measured).ln().abs() <= (1.0 + within).ln()
}
