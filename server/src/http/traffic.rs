//! Counts of connections and answers, for the metrics.
//!
//! Invariant: each core writes its own counts and no other core's; whoever asks reads all of them.
//! So nothing is locked, and no cache line is contended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number above every status of HTTP.
const STATUSES: usize = 600;

/// The counts of all cores, as one of them holds them: it adds to its own, and reads those of all.
#[derive(Clone)]
pub struct Traffic {
    cores: Arc<Vec<CoreTraffic>>,
    own: usize,
}

#[repr(align(128))]
struct CoreTraffic {
    connections: AtomicU64,
    turned_away: AtomicU64,
    handshakes_failed: AtomicU64,
    held_back: AtomicU64,
    answers: Vec<AtomicU64>,
}

/// The sums of the counts over all cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficSum {
    pub connections: u64,
    pub turned_away: u64,
    pub handshakes_failed: u64,
    pub held_back: u64,
    /// The number of answers by status, ascending. A status that was never answered is absent.
    pub answers: Vec<(u16, u64)>,
}

impl Traffic {
    /// Makes the counts of `cores` cores, one handle for each.
    pub fn of_cores(cores: usize) -> Vec<Self> {
        let counts = || CoreTraffic {
            connections: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            handshakes_failed: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
            answers: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
        };
        let all = Arc::new((0..cores).map(|_| counts()).collect::<Vec<_>>());
        (0..cores).map(|own| Self { cores: all.clone(), own }).collect()
    }

    fn own(&self) -> &CoreTraffic {
        &self.cores[self.own]
    }

    /// Sets the number of this core's open connections.
    pub fn set_connections(&self, open: usize) {
        self.own().connections.store(open as u64, Ordering::Relaxed);
    }

    /// Counts a connection that was turned away.
    pub fn turned_away(&self) {
        self.own().turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that ended within its handshake of TLS.
    pub fn handshake_failed(&self) {
        self.own().handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was refused for the rate of its key or bucket.
    pub fn held_back(&self) {
        self.own().held_back.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer with this status.
    pub fn answered(&self, status: http::StatusCode) {
        if let Some(count) = self.own().answers.get(usize::from(status.as_u16())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the sums over all cores.
    pub fn sum(&self) -> TrafficSum {
        let total = |of: &dyn Fn(&CoreTraffic) -> &AtomicU64| {
            self.cores.iter().map(|core| of(core).load(Ordering::Relaxed)).sum::<u64>()
        };
        let answers = (0..STATUSES).map(|status| (status as u16, total(&|core| &core.answers[status])));
        TrafficSum {
            connections: total(&|core| &core.connections),
            turned_away: total(&|core| &core.turned_away),
            handshakes_failed: total(&|core| &core.handshakes_failed),
            held_back: total(&|core| &core.held_back),
            answers: answers.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn every_core_s_counts_are_in_the_sum() {
        let cores = Traffic::of_cores(2);
        cores[0].set_connections(3);
        cores[1].set_connections(4);
        cores[1].set_connections(2);
        cores[0].answered(StatusCode::OK);
        cores[1].answered(StatusCode::OK);
        cores[1].answered(StatusCode::NOT_FOUND);
        cores[0].turned_away();
        cores[1].handshake_failed();
        cores[0].held_back();
        let answers = vec![(200, 2), (404, 1)];
        let sum = TrafficSum { connections: 5, turned_away: 1, handshakes_failed: 1, held_back: 1, answers };
        assert_eq!((cores[0].sum(), cores[1].sum()), (sum.clone(), sum));
    }
}
