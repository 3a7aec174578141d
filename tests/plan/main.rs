//! What `ringbolt plan` says of one node, held against the engine: each test stores, and
//! prints what was predicted and what was measured.
//!
//! Invariant: nothing is compared that depends on how fast the machine is: space, memory, bytes written.

mod scenario;
mod stored;

/// Fails with both figures when they differ by more than `within`.
fn compare(what: &str, predicted: f64, measured: f64, within: f64) {
    let difference = predicted / measured - 1.0;
    println!("{what:44} predicted {predicted:16.3} measured {measured:16.3} {:+6.1}%", difference * 100.0);
    assert!(
        (predicted / measured).ln().abs() <= (1.0 + within).ln(),
        "{what}: predicted {predicted}, measured {measured}"
    );
}
