//! This module manages the objects that a mix with deletes stores and deletes. They are its own, so
//! that none of its reads asks for a deleted object.
//!
//! Invariants:
//! - Numbers of own objects begin at the count of the job's objects, and reads never use them; each
//!   thread has different ones.
//! - Each number that was given out is free, stored, or in flight. Deletes take the oldest stored
//!   object; puts take a free number, or the oldest stored object when none is free. Two operations
//!   in flight therefore never use the same object.
//! - A delete that is drawn before there is anything to delete is made up for as soon as possible.

use crate::engine::{Operation, Verb};
use crate::spec::Job;
use std::collections::VecDeque;

/// Limits the objects of one thread, because more would only take memory.
const OWN_MAX: u64 = 1 << 20;

/// Manages the own objects of one thread.
#[derive(Debug)]
pub struct OwnObjects {
    /// This is the first number; `step` is the distance to the next.
    first: u64,
    step: u64,
    /// Counts the numbers that were given out; `most` is their limit.
    given: u64,
    most: u64,
    free: VecDeque<u64>,
    stored: VecDeque<u64>,
    deletes_owed: u64,
}

impl OwnObjects {
    /// Creates the objects of thread `thread` of a job with `count` objects; returns `None` unless
    /// the job is a mix with deletes.
    pub fn of(job: &Job, thread: u32, count: u64) -> Option<Self> {
        let threads = u64::from(job.threads.max(1));
        // The minimum is one more than can be in flight, so that there is always one to put.
        let least = u64::from(job.depth) + 1;
        job.objects.deletes_its_own().then(|| Self {
            first: count + u64::from(thread),
            step: threads,
            given: 0,
            most: count.div_ceil(threads).min(OWN_MAX).max(least),
            free: VecDeque::new(),
            stored: VecDeque::new(),
            deletes_owed: 0,
        })
    }

    /// Returns the operation to do for `drawn`; `None` means that another has to be drawn.
    pub fn instead_of(&mut self, drawn: Verb) -> Option<Verb> {
        if drawn == Verb::Trim && self.stored.is_empty() {
            self.deletes_owed += 1;
            return None;
        }
        Some(drawn)
    }

    /// Returns a delete that is owed, if it can be done now.
    pub fn owed(&mut self) -> Option<Verb> {
        if self.deletes_owed == 0 || self.stored.is_empty() {
            return None;
        }
        self.deletes_owed -= 1;
        Some(Verb::Trim)
    }

    /// Takes the number for `verb`; `None` means one of the objects that exist for reads.
    pub fn take(&mut self, verb: Verb) -> Option<u64> {
        match verb {
            Verb::Write | Verb::Multipart => Some(self.put()),
            Verb::Trim => self.stored.pop_front(),
            _ => None,
        }
    }

    fn put(&mut self) -> u64 {
        if let Some(number) = self.free.pop_front() {
            return number;
        }
        if self.given < self.most {
            self.given += 1;
            return self.first + (self.given - 1) * self.step;
        }
        let oldest = self.stored.pop_front();
        oldest.unwrap_or_else(|| panic!("all {} own objects are in flight", self.most))
    }

    /// Records that an operation on a number that was taken has ended.
    pub fn ended(&mut self, operation: &Operation, succeeded: bool) {
        match operation.verb {
            Verb::Write | Verb::Multipart if succeeded => self.stored.push_back(operation.number),
            // After a failure it is not known whether the object exists; a put is right in both
            // cases.
            Verb::Write | Verb::Multipart | Verb::Trim => self.free.push_back(operation.number),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Random;
    use crate::spec::{Engine, ObjectOp};
    use std::collections::BTreeSet;

    fn mix(threads: u32, depth: u32) -> Job {
        let mut job = Job { threads, depth, ..Job::plain("mix", Engine::S3) };
        job.objects.ops = Some(vec![(ObjectOp::Get, 1), (ObjectOp::Put, 1), (ObjectOp::Delete, 1)]);
        job
    }

    fn operation(verb: Verb, number: u64) -> Operation {
        Operation { verb, file: 0, offset: 0, length: 1, number }
    }

    #[test]
    fn only_what_is_stored_is_deleted_and_nothing_meets_in_flight() {
        let mut random = Random::new(1);
        for count in [1, 7, 1000] {
            let mut own = OwnObjects::of(&mix(2, 4), 1, count).unwrap();
            let (mut in_flight, mut stored) = (Vec::new(), BTreeSet::new());
            let mut deletes = 0;
            for _ in 0..10_000 {
                if in_flight.len() == 4 {
                    let ended: Operation = in_flight.swap_remove(random.below(4) as usize);
                    let succeeded = random.below(10) > 0;
                    own.ended(&ended, succeeded);
                    if succeeded && ended.verb == Verb::Write {
                        stored.insert(ended.number);
                    }
                }
                let drawn = if random.below(2) == 0 { Verb::Write } else { Verb::Trim };
                let Some(verb) = own.owed().or_else(|| own.instead_of(drawn)) else { continue };
                let number = own.take(verb).unwrap();
                assert!(number >= count && number % 2 == (count + 1) % 2, "{number} of another");
                assert!(in_flight.iter().all(|other| other.number != number), "{number} twice");
                assert!(verb == Verb::Write || stored.remove(&number), "{number} is not there");
                deletes += u64::from(verb == Verb::Trim);
                in_flight.push(operation(verb, number));
            }
            assert!(deletes > 2000, "{deletes} deletes");
        }
    }

    #[test]
    fn deletes_that_came_too_early_are_made_up_for() {
        let mut own = OwnObjects::of(&mix(1, 1), 0, 10).unwrap();
        assert_eq!((own.owed(), own.instead_of(Verb::Trim)), (None, None));
        assert_eq!((own.owed(), own.instead_of(Verb::Read)), (None, Some(Verb::Read)));
        let number = own.take(Verb::Write).unwrap();
        assert_eq!((number, own.owed()), (10, None), "it is not stored yet");
        own.ended(&operation(Verb::Write, number), true);
        assert_eq!((own.owed(), own.take(Verb::Trim), own.owed()), (Some(Verb::Trim), Some(10), None));
    }

    #[test]
    fn other_jobs_have_none() {
        let mut job = mix(1, 1);
        for ops in
            [None, Some(vec![(ObjectOp::Delete, 1)]), Some(vec![(ObjectOp::Get, 1), (ObjectOp::Put, 1)])]
        {
            job.objects.ops = ops;
            assert!(OwnObjects::of(&job, 0, 10).is_none());
        }
    }
}
