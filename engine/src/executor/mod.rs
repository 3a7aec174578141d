//! An executor with tasks and time of one thread, without an operating system. The simulator uses
//! it, and the repair of drives, which opens a node and waits for nothing real.
//!
//! Invariant: the same seed and the same calls make the same run.

mod random;
mod simulator;

pub use self::random::Random;
pub use self::simulator::{Odds, Simulator, TraceStep};
