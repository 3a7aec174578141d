//! How fast drives answer reads, as one core sees it: how long a read waits before another drive is asked too, and
//! which drives are so slow that others are read in their place.
//!
//! The patience of a core is the median over its drives of the time in which a drive answers 99 of 100 reads. A read
//! that waits longer is late. A drive that is waited for and answers nobody for as long is passed over until it does.
//! So is one that takes three times as long, but for one read in many, which shows whether it still does.
//!
//! Invariants:
//! - At most one read in [`READS_PER_HEDGE`] is asked of another drive too, beside [`HEDGES_SAVED_MAX`] of them that
//!   were saved up, unless its drive is slow or silent: to have others read is no more work then.
//! - Only a wait that somebody was attending to is taken for an answer's time. What is read ahead may be there for
//!   long before somebody asks for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::env::Environment;

/// The patience of a core that does not know its drives yet, microseconds.
const PATIENCE_AT_FIRST_US: u64 = 100_000;
/// The least patience, microseconds: timers are no finer.
const PATIENCE_MIN_US: u64 = 1000;
const PATIENCE_MAX_US: u64 = 1_000_000;
/// A drive is slow when it takes so many times as long as the patience.
const SLOW_TIMES: u64 = 3;
/// One read in so many may be asked of another drive too.
pub const READS_PER_HEDGE: u32 = 20;
/// So many of these are saved up at most.
pub const HEDGES_SAVED_MAX: u32 = 64;
/// One read in so many goes to a slow drive as if it were none.
const ASKED_AGAIN_EVERY: u32 = 256;
/// A slow drive is none any more after so many answers that were not slow, one behind the other.
const ANSWERS_TO_TRUST: u32 = 32;
/// Answers after which the time of a drive is known, and then looked at again.
const ANSWERS_AT_ONCE: u32 = 64;
/// Answers that are remembered; then the older ones count half.
const ANSWERS_MAX: u32 = 2048;
/// How often the patience with one read may be over before it is waited for in any case.
pub const LATE_MAX: usize = 10;
/// A read is attended to if somebody asks for its answer within this time, microseconds.
const ATTENDED_WITHIN_US: u64 = 200;

/// Buckets of times: four for each power of two of microseconds.
const BUCKETS: usize = 128;

fn bucket_of(us: u64) -> usize {
    match us {
        0..4 => us as usize,
        _ => {
            let power = us.ilog2() as usize;
            (power * 4 + (us >> (power - 2) & 3) as usize - 4).min(BUCKETS - 1)
        }
    }
}

/// Returns the longest time of a bucket, microseconds.
fn longest_of(bucket: usize) -> u64 {
    match bucket {
        0..4 => bucket as u64,
        _ => {
            let (power, quarter) = ((bucket + 4) / 4, (bucket as u64 + 4) % 4);
            (1 << power) + ((quarter + 1) << (power - 2)) - 1
        }
    }
}

/// The times in which a drive answers.
struct Times {
    counts: [u32; BUCKETS],
    total: u32,
    since_look: u32,
}

impl Times {
    const NONE: Self = Self { counts: [0; BUCKETS], total: 0, since_look: 0 };

    /// Notes an answer. Returns whether it is time to look at all of them.
    fn note(&mut self, us: u64) -> bool {
        self.counts[bucket_of(us)] += 1;
        self.total += 1;
        if self.total >= ANSWERS_MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        self.since_look += 1;
        self.since_look >= ANSWERS_AT_ONCE
    }

    /// Returns the time in which 99 of 100 reads are answered.
    fn p99_us(&mut self) -> u64 {
        self.since_look = 0;
        let mut slower = 0;
        for (bucket, count) in self.counts.iter().enumerate().rev() {
            slower += count;
            if slower * 100 > self.total {
                return longest_of(bucket);
            }
        }
        0
    }
}

/// The pace of one drive.
pub struct Pace {
    times: RefCell<Times>,
    /// The time in which it answers 99 of 100 reads, once that is known.
    p99_us: Cell<Option<u64>>,
    is_slow: Cell<bool>,
    /// How often it could have been read, but for being slow.
    asked: Cell<u32>,
    /// Answers of a slow drive that were not slow, one behind the other.
    quick: Cell<u32>,
    /// The reads that somebody waits for.
    waited: Cell<u32>,
    /// When it last answered one of them, or the first of them began to be waited for.
    quiet_since_us: Cell<u64>,
}

/// The drives of a core, and its reads that may turn out to be late.
pub struct Paces {
    environment: Rc<dyn Environment>,
    drives: RefCell<Vec<Rc<Pace>>>,
    patience_us: Cell<u64>,
    /// Reads that were not asked of another drive too, as far as they are saved up.
    saved: Cell<u32>,
    /// Reads that were.
    hedged: Cell<u64>,
    waiting: RefCell<VecDeque<Rc<Waiting>>>,
    looking: Cell<bool>,
}

/// A read that may be late.
struct Waiting {
    since_us: u64,
    waker: RefCell<Option<Waker>>,
    is_late: Cell<bool>,
    is_over: Cell<bool>,
}

/// The patience with a read. It ends when it is dropped.
pub struct Patience(Rc<Waiting>);

impl Patience {
    /// Returns whether the read is late. If it is not, the task is woken when it is.
    pub fn is_over(&self, context: &Context<'_>) -> bool {
        if !self.0.is_late.get() {
            let mut waker = self.0.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
        }
        self.0.is_late.get()
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.is_over.set(true);
    }
}

impl Paces {
    pub fn new(environment: Rc<dyn Environment>) -> Rc<Self> {
        Rc::new(Self {
            environment,
            drives: RefCell::default(),
            patience_us: Cell::new(PATIENCE_AT_FIRST_US),
            saved: Cell::new(HEDGES_SAVED_MAX * READS_PER_HEDGE),
            hedged: Cell::default(),
            waiting: RefCell::default(),
            looking: Cell::default(),
        })
    }

    /// Adds a drive.
    pub fn add(&self) -> Rc<Pace> {
        let pace = Rc::new(Pace {
            times: RefCell::new(Times::NONE),
            p99_us: Cell::default(),
            is_slow: Cell::default(),
            asked: Cell::default(),
            quick: Cell::default(),
            waited: Cell::default(),
            quiet_since_us: Cell::default(),
        });
        self.drives.borrow_mut().push(pace.clone());
        pace
    }

    pub fn now_us(&self) -> u64 {
        self.environment.monotonic_us()
    }

    /// Returns how long a read waits before it is late, microseconds.
    pub fn patience_us(&self) -> u64 {
        self.patience_us.get()
    }

    /// Returns how many reads were asked of another drive too.
    pub fn hedged(&self) -> u64 {
        self.hedged.get()
    }

    /// Returns whether other drives are to be read in place of this one, if they can be.
    pub fn is_passed_over(&self, pace: &Pace) -> bool {
        pace.is_slow.get() || self.is_silent(pace, 1)
    }

    /// Returns whether a drive that is slow is to be read all the same, this time, to see whether it still is.
    pub fn is_asked_again(&self, pace: &Pace) -> bool {
        let asked = pace.asked.get().wrapping_add(u32::from(pace.is_slow.get()));
        pace.asked.set(asked);
        pace.is_slow.get() && asked.is_multiple_of(ASKED_AGAIN_EVERY)
    }

    /// Returns whether a drive is waited for and has answered nobody for so many times the patience.
    fn is_silent(&self, pace: &Pace, times: u64) -> bool {
        let most = times * self.patience_us.get();
        pace.waited.get() > 0 && self.now_us().saturating_sub(pace.quiet_since_us.get()) > most
    }

    /// Has patience with a read of a client, from now on.
    pub fn patience(self: &Rc<Self>) -> Patience {
        self.saved.set((self.saved.get() + 1).min(HEDGES_SAVED_MAX * READS_PER_HEDGE));
        self.patience_again()
    }

    /// Has patience once more with a read that was late.
    pub fn patience_again(self: &Rc<Self>) -> Patience {
        let waiting = Rc::new(Waiting {
            since_us: self.now_us(),
            waker: RefCell::default(),
            is_late: Cell::default(),
            is_over: Cell::default(),
        });
        {
            let mut all = self.waiting.borrow_mut();
            while all.front().is_some_and(|first| first.is_over.get()) {
                all.pop_front();
            }
            all.push_back(waiting.clone());
        }
        if !self.looking.replace(true) {
            self.environment.spawn(Box::pin(self.clone().look()));
        }
        Patience(waiting)
    }

    /// Finds what is late, as long as there is something to wait for.
    async fn look(self: Rc<Self>) {
        loop {
            let now = self.now_us();
            let next_us = loop {
                let Some(first) = self.waiting.borrow().front().cloned() else { break None };
                let until_us = first.since_us + self.patience_us.get();
                if !first.is_over.get() && until_us > now {
                    break Some(until_us);
                }
                self.waiting.borrow_mut().pop_front();
                first.is_late.set(true);
                let waker = first.waker.borrow_mut().take();
                waker.into_iter().for_each(Waker::wake);
            };
            match next_us {
                Some(next_us) => self.environment.sleep((next_us - now).div_ceil(1000)).await,
                None => {
                    self.looking.set(false);
                    return;
                }
            }
        }
    }

    /// Returns whether a read that is late may be asked of another drive too, and counts it. `late` are the drives
    /// that are waited for.
    pub fn may_hedge<'a>(&self, late: impl IntoIterator<Item = &'a Pace>) -> bool {
        let are_slow = late.into_iter().all(|pace| pace.is_slow.get() || self.is_silent(pace, SLOW_TIMES));
        let saved = self.saved.get();
        if !are_slow {
            if saved < READS_PER_HEDGE {
                return false;
            }
            self.saved.set(saved - READS_PER_HEDGE);
        }
        self.hedged.set(self.hedged.get() + 1);
        true
    }

    /// Notes that somebody waits for a read.
    pub fn is_waited_for(&self, pace: &Pace, now_us: u64) {
        if pace.waited.replace(pace.waited.get() + 1) == 0 {
            pace.quiet_since_us.set(now_us);
        }
    }

    /// Notes that a read is not waited for any more, and whether it was answered.
    pub fn is_waited_for_no_more(&self, pace: &Pace, answered_us: Option<u64>) {
        pace.waited.set(pace.waited.get() - 1);
        answered_us.into_iter().for_each(|now_us| pace.quiet_since_us.set(now_us));
    }

    /// Notes in which time a drive answered a read, of which somebody first asked for the answer after so much of
    /// it, microseconds.
    pub fn answered(&self, pace: &Pace, took_us: u64, attended_after_us: u64) {
        if attended_after_us > ATTENDED_WITHIN_US {
            return;
        }
        if pace.is_slow.get() {
            let is_quick = took_us <= SLOW_TIMES * self.patience_us.get();
            pace.quick.set(if is_quick { pace.quick.get() + 1 } else { 0 });
            if pace.quick.get() >= ANSWERS_TO_TRUST {
                return self.forget(pace);
            }
        }
        if !pace.times.borrow_mut().note(took_us) {
            return;
        }
        let p99_us = pace.times.borrow_mut().p99_us();
        pace.p99_us.set(Some(p99_us));
        self.judge();
    }

    /// Forgets what is known of a drive.
    pub fn forget(&self, pace: &Pace) {
        *pace.times.borrow_mut() = Times::NONE;
        pace.p99_us.set(None);
        pace.quick.set(0);
        pace.is_slow.set(false);
        self.judge();
    }

    /// Judges which drives are slow, by the median of all.
    fn judge(&self) {
        let drives = self.drives.borrow();
        let mut known: Vec<u64> = drives.iter().filter_map(|pace| pace.p99_us.get()).collect();
        known.sort_unstable();
        // A drive is slow only beside another one.
        let median = if known.len() < 2 { None } else { Some(known[(known.len() - 1) / 2]) };
        let patience = median.map_or(PATIENCE_AT_FIRST_US, |us| us.clamp(PATIENCE_MIN_US, PATIENCE_MAX_US));
        self.patience_us.set(patience);
        for pace in drives.iter() {
            pace.is_slow
                .set(median.is_some() && pace.p99_us.get().is_some_and(|us| us > SLOW_TIMES * patience));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Simulator;

    fn world() -> (Simulator, Rc<Paces>, Vec<Rc<Pace>>) {
        let sim = Simulator::new(1);
        let paces = Paces::new(Rc::new(sim.clone()));
        let drives = (0..6).map(|_| paces.add()).collect();
        (sim, paces, drives)
    }

    #[test]
    fn a_bucket_holds_the_times_up_to_its_longest() {
        for us in (0..5000).chain([10_000, 123_456, 30_000_000]) {
            let bucket = bucket_of(us);
            assert!(us <= longest_of(bucket), "{us} in {bucket}");
            assert!(bucket == 0 || us > longest_of(bucket - 1), "{us} in {bucket}");
            assert!(longest_of(bucket) <= us + us / 4, "{us} in {bucket}");
        }
    }

    #[test]
    fn the_patience_is_the_median_and_who_takes_three_times_as_long_is_passed_over() {
        let (_sim, paces, drives) = world();
        assert_eq!(paces.patience_us(), PATIENCE_AT_FIRST_US);
        for round in 0..200 {
            for (at, pace) in drives.iter().enumerate() {
                // One read in 200 takes long on each: that is beyond the 99 of 100.
                let us = if at == 3 { 40_000 } else { 2000 + 100 * at as u64 };
                paces.answered(pace, if round == 50 { 500_000 } else { us }, 0);
            }
        }
        let patience = paces.patience_us();
        assert!((2000..3000).contains(&patience), "{patience}");
        let passed_over = |at: usize| paces.is_passed_over(&drives[at]);
        assert_eq!((0..6).filter(|at| passed_over(*at)).collect::<Vec<_>>(), [3]);
        let again = (0..2560).filter(|_| paces.is_asked_again(&drives[3])).count();
        assert_eq!(again, 10, "it is asked again at times");
        let quick = |count: u32| (0..count).for_each(|_| paces.answered(&drives[3], 2000, 0));
        quick(ANSWERS_TO_TRUST - 1);
        paces.answered(&drives[3], 40_000, 0);
        quick(ANSWERS_TO_TRUST - 1);
        assert!(passed_over(3));
        quick(1);
        assert!(!passed_over(3), "it is as fast as the others again");
        // What nobody attended to says nothing.
        (0..3000).for_each(|_| paces.answered(&drives[3], 900_000, ATTENDED_WITHIN_US + 1));
        assert!(!passed_over(3));
    }

    #[test]
    fn who_answers_nobody_is_passed_over_as_long_as_somebody_waits() {
        let (sim, paces, drives) = world();
        let wait = |us: u64| {
            sim.block_on(sim.sleep_us(us));
        };
        paces.is_waited_for(&drives[0], paces.now_us());
        wait(PATIENCE_AT_FIRST_US);
        paces.is_waited_for(&drives[0], paces.now_us());
        assert!(!paces.is_passed_over(&drives[0]));
        wait(1000);
        assert!(paces.is_passed_over(&drives[0]) && !paces.is_passed_over(&drives[1]));
        paces.is_waited_for_no_more(&drives[0], Some(paces.now_us()));
        assert!(!paces.is_passed_over(&drives[0]), "it has answered");
        wait(2 * PATIENCE_AT_FIRST_US);
        assert!(paces.is_passed_over(&drives[0]), "but not the other one");
        paces.is_waited_for_no_more(&drives[0], None);
        assert!(!paces.is_passed_over(&drives[0]), "nobody waits any more");
    }

    #[test]
    fn few_reads_are_asked_of_another_drive_too() {
        let (_sim, paces, drives) = world();
        let mut hedged = 0;
        for _ in 0..10_000 {
            let patience = paces.patience();
            hedged += u32::from(paces.may_hedge([&*drives[0], &*drives[1]]));
            drop(patience);
        }
        let share = 10_000 / READS_PER_HEDGE;
        assert!((share..=share + HEDGES_SAVED_MAX).contains(&hedged), "{hedged}");
        assert!(u64::from(hedged) == paces.hedged());
        drives[0].is_slow.set(true);
        assert!(!paces.may_hedge([&*drives[0], &*drives[1]]));
        assert!((0..100).all(|_| paces.may_hedge([&*drives[0]])), "a slow drive has no work from it");
    }

    #[test]
    fn a_read_is_late_when_the_patience_is_over() {
        let (sim, paces, _) = world();
        let (on, clock) = (paces.clone(), sim.clone());
        let took_us = sim.block_on(async move {
            let began = clock.now_us();
            let (first, gone) = (on.patience(), on.patience());
            drop(gone);
            std::future::poll_fn(|context| match first.is_over(context) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            })
            .await;
            clock.now_us() - began
        });
        assert!((PATIENCE_AT_FIRST_US..PATIENCE_AT_FIRST_US + 2000).contains(&took_us), "{took_us}");
        sim.run_until_idle();
        assert!(!paces.looking.get() && paces.waiting.borrow().is_empty());
    }
}
