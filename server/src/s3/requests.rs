//! Counts of requests by S3 operation, for the metrics.
//!
//! Invariant: as for connections and answers, each core writes its own counts and no other core's; whoever asks reads
//! all of them.

use super::operations::Operation;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of all cores, as one of them holds them.
#[derive(Clone, Debug)]
pub struct Requests {
    cores: Arc<Vec<CoreRequests>>,
    own: usize,
}

#[derive(Debug)]
#[repr(align(128))]
struct CoreRequests {
    answered: [AtomicU64; Operation::COUNT],
}

impl Requests {
    /// One for each core.
    pub fn of_cores(cores: usize) -> Vec<Self> {
        let counts = || CoreRequests { answered: std::array::from_fn(|_| AtomicU64::new(0)) };
        let all = Arc::new((0..cores).map(|_| counts()).collect::<Vec<_>>());
        (0..cores).map(|own| Self { cores: all.clone(), own }).collect()
    }

    /// A request was answered, whatever the status.
    pub(super) fn answered(&self, operation: Operation) {
        let count = &self.cores[self.own].answered[operation as usize];
        // Nobody else writes here: no locked instruction is needed.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// By operation, as S3 calls it, over all cores; those that were never asked for too.
    pub fn sum(&self) -> Vec<(&'static str, u64)> {
        let of = |operation: usize| {
            self.cores.iter().map(|core| core.answered[operation].load(Ordering::Relaxed)).sum()
        };
        Operation::NAMES.iter().enumerate().map(|(number, name)| (*name, of(number))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_s_requests_are_in_the_sum_under_their_name() {
        let cores = Requests::of_cores(2);
        cores[0].answered(Operation::GetObject);
        cores[1].answered(Operation::GetObject);
        cores[1].answered(Operation::PostObject);
        let asked = |requests: &Requests| {
            requests.sum().into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        let expected = [("GetObject", 2), ("PostObject", 1)];
        assert_eq!((asked(&cores[0]), asked(&cores[1])), (expected.to_vec(), expected.to_vec()));
        assert_eq!(cores[0].sum().len(), Operation::COUNT);
    }
}
