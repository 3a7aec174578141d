//! The words of memory that cores share, behind a trait: so that the model checker runs the code that servers run.
//!
//! Invariants:
//! - What a core wrote before it stored into a word is seen by a core that loads this value, or a later one.
//! - Two cores that both exchange the same word are ordered: the later one sees what the earlier one wrote before.
//!   That is what every "look once more, then sleep" here relies on. A store followed by a load of another word would
//!   not do: processors may turn them around.

use std::sync::atomic::{AtomicU64, Ordering};

/// An atomic word.
pub trait SharedWord {
    fn new(value: u64) -> Self;
    fn load(&self) -> u64;
    fn store(&self, value: u64);
    /// Stores `value`; gives what was there.
    fn exchange(&self, value: u64) -> u64;
    /// Sets these bits; gives what was there.
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
