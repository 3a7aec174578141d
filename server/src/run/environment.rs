//! The engine's clock, random numbers and tasks, on monoio.

use crate::unix_time::now_ms;
use ringbolt_engine::node::{Environment, LocalTask};
use std::time::Instant;

/// The clock, random numbers and tasks of one core, for the engine.
pub struct CoreEnvironment {
    start: Instant,
}

impl CoreEnvironment {
    /// Makes the environment of a core. Fails if the system gives no random numbers, so that later
    /// calls may rely on them.
    pub fn new() -> Result<Self, getrandom::Error> {
        getrandom::u64()?;
        Ok(Self { start: Instant::now() })
    }
}

impl Environment for CoreEnvironment {
    fn wall_clock_ms(&self) -> u64 {
        now_ms()
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn random_u64(&self) -> u64 {
        match getrandom::u64() {
            Ok(number) => number,
            // Identities are made from these numbers: going on with a guessable or repeated one
            // would be worse.
            Err(error) => panic!("the system gave random numbers at start, and now fails with {error}"),
        }
    }

    fn spawn(&self, task: LocalTask) {
        monoio::spawn(task);
    }

    fn sleep(&self, milliseconds: u64) -> LocalTask {
        Box::pin(monoio::time::sleep(std::time::Duration::from_millis(milliseconds)))
    }
}
