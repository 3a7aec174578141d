//! Atomic words that cores share, behind a trait, so that the model checker runs the code that
//! servers run.
//!
//! Invariants:
//! - What a core wrote before it stored into a word is seen by a core that loads this value, or a
//!   later one.
//! - Two cores that both exchange the same word are ordered: the later one sees what the earlier
//!   one wrote before its exchange. Every "check again, then sleep" in the engine relies on this. A
//!   store followed by a load of another word would not do, because processors may reorder the two.

use std::sync::atomic::{AtomicU64, Ordering};

/// An atomic word.
pub trait SharedWord {
    fn new(value: u64) -> Self;
    fn load(&self) -> u64;
    fn store(&self, value: u64);
    /// Stores `value` and returns the previous value.
    fn exchange(&self, value: u64) -> u64;
    /// Sets these bits and returns the previous value.
    fn set_bits(&self, bits: u64) -> u64;
}

macro_rules! shared_word {
    ($word:ty) => {
        impl SharedWord for $word {
            fn new(value: u64) -> Self {
                Self::new(value)
            }

            fn load(&self) -> u64 {
                self.load(Ordering::Acquire)
            }

            fn store(&self, value: u64) {
                self.store(value, Ordering::Release);
            }

            fn exchange(&self, value: u64) -> u64 {
                self.swap(value, Ordering::AcqRel)
            }

            fn set_bits(&self, bits: u64) -> u64 {
                self.fetch_or(bits, Ordering::AcqRel)
            }
        }
    };
}

shared_word!(AtomicU64);
#[cfg(test)]
shared_word!(loom::sync::atomic::AtomicU64);
