//! Cores on real threads: mailboxes and wake-ups over real rings, and the latch of a drive.
//!
//! Invariants:
//! - Each test ends by itself after as many rounds as `THREADS_ROUNDS` says. A lost wake-up is a
//!   test that hangs.
//! - `tests/long/threads` runs the same for longer, under ThreadSanitizer.

mod latch;
mod mailbox;

/// The number of rounds, unless the environment gives another one.
const ROUNDS: u64 = 2000;

fn rounds() -> u64 {
    match std::env::var("THREADS_ROUNDS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("THREADS_ROUNDS={text} is no number")),
        Err(_) => ROUNDS,
    }
}
