//! Counts and rates by key that all cores share, in memory of a fixed size and without a lock.
//!
//! A key has one cell in each of four rows, which it shares with others by chance. Its value is the least
//! of its cells: a key is held back only when it shares every cell with keys that are busy too, which a
//! client can not bring about, since the places follow from random numbers of this process.
//!
//! Invariant: whatever is added to a count is taken away again, and rates fade by themselves, so that
//! nothing has to be cleaned up.

use std::array::from_fn;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const ROWS: usize = 4;
const COLUMNS: usize = 4096;

/// The places of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places([u16; ROWS]);

/// Gives keys their places.
#[derive(Clone, Debug, Default)]
pub struct Placing(RandomState);

impl Placing {
    /// Returns the places of a key.
    pub fn of(&self, key: impl Hash) -> Places {
        let hash = self.0.hash_one(key);
        Places(from_fn(|row| (hash >> (16 * row)) as u16 % COLUMNS as u16))
    }
}

/// The cells of all keys.
#[derive(Debug)]
struct Cells<T>(Vec<T>);

impl<T: Default> Default for Cells<T> {
    fn default() -> Self {
        Self((0..ROWS * COLUMNS).map(|_| T::default()).collect())
    }
}

impl<T> Cells<T> {
    /// Returns those of one key, a cell in each row.
    fn at(&self, places: Places) -> impl Iterator<Item = &T> {
        places.0.into_iter().enumerate().map(|(row, column)| &self.0[row * COLUMNS + usize::from(column)])
    }
}

/// How many there are of each key.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Cells<AtomicU32>>);

/// One of a count. It is given back when it is dropped.
#[derive(Debug)]
pub struct Counted {
    counts: Counts,
    places: Places,
}

impl Counts {
    /// Counts one more of a key. Returns None if there are `most` already. Cores that take at the same time
    /// may get one more each.
    pub fn take(&self, places: Places, most: u32) -> Option<Counted> {
        let before = self.0.at(places).map(|cell| cell.fetch_add(1, Relaxed)).min().unwrap_or(0);
        let counted = Counted { counts: self.clone(), places };
        (before < most).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.0.at(self.places).for_each(|cell| _ = cell.fetch_sub(1, Relaxed));
    }
}

/// What each key has done lately, as the time that it takes at the rate it is allowed: a token bucket,
/// kept as the moment at which it is full again.
#[derive(Debug, Default)]
pub struct Rates(Cells<AtomicU64>);

impl Rates {
    /// Returns how far a key is ahead of its rate at `now_ns`, in nanoseconds.
    pub fn ahead_ns(&self, places: Places, now_ns: u64) -> u64 {
        self.0.at(places).map(|cell| cell.load(Relaxed).saturating_sub(now_ns)).min().unwrap_or(0)
    }

    /// Forgets what all keys did.
    pub fn forget(&self) {
        self.0.0.iter().for_each(|cell| cell.store(0, Relaxed));
    }

    /// Notes that a key did what takes `cost_ns` at its rate.
    pub fn charge(&self, places: Places, cost_ns: u64, now_ns: u64) {
        for cell in self.0.at(places) {
            let later = |full_ns: u64| Some(full_ns.max(now_ns).saturating_add(cost_ns));
            // The function gives a value always.
            let _ = cell.fetch_update(Relaxed, Relaxed, later);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_has_its_most_and_gets_back_what_is_dropped() {
        let (counts, placing) = (Counts::default(), Placing::default());
        let (one, other) = (placing.of("one"), placing.of("other"));
        let held: Vec<_> = (0..3).map(|_| counts.take(one, 3).unwrap()).collect();
        assert!(counts.take(one, 3).is_none() && counts.take(one, 3).is_none());
        assert!(counts.take(other, 3).is_some());
        drop(held);
        assert!(counts.0.0.iter().all(|cell| cell.load(Relaxed) == 0), "also what was refused");
        assert!(counts.take(one, 3).is_some());
    }

    #[test]
    fn threads_together_hold_hardly_more_than_the_most() {
        let (counts, places) = (Counts::default(), Placing::default().of(7));
        let take_all = || (0..100).filter_map(|_| counts.take(places, 100)).collect::<Vec<_>>();
        let held: Vec<Vec<Counted>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take_all)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let most = held.iter().map(Vec::len).sum::<usize>();
        assert!((1..=103).contains(&most), "{most}");
        drop(held);
        assert!(counts.0.0.iter().all(|cell| cell.load(Relaxed) == 0));
    }

    #[test]
    fn a_rate_fades_with_time() {
        let (rates, placing) = (Rates::default(), Placing::default());
        let (one, other) = (placing.of("one"), placing.of("other"));
        for _ in 0..5 {
            rates.charge(one, 100, 1000);
        }
        assert_eq!(
            (rates.ahead_ns(one, 1000), rates.ahead_ns(one, 1300), rates.ahead_ns(one, 9999)),
            (500, 200, 0)
        );
        assert_eq!(rates.ahead_ns(other, 1000), 0);
        rates.charge(one, u64::MAX, 1000);
        assert_eq!(rates.ahead_ns(one, 1000), u64::MAX - 1000);
    }

    /// A quarter of all columns is busy in each row: of keys that are not, few meet busy ones in all four.
    #[test]
    fn those_who_do_little_are_seldom_held_back_by_others() {
        let (rates, placing) = (Rates::default(), Placing::default());
        for busy in 0..1000 {
            rates.charge(placing.of(busy), 1000, 0);
        }
        let held = (10_000..20_000).filter(|quiet| rates.ahead_ns(placing.of(quiet), 0) > 0).count();
        assert!(held < 200, "{held} of 10,000");
    }
}
