//! This module verifies the data of a job: one interface for the worker's loop, implemented for
//! files and for objects.

use super::object_check::ObjectCheck;
use super::verify::Verifier;
use crate::engine::{Operation, Verb};
use crate::spec::Verify;

/// Verifies the content of a job's operations.
#[derive(Debug)]
pub enum Check {
    Files(Verifier),
    Objects(ObjectCheck),
}

/// Describes what is wrong with the content of a read.
#[derive(Debug)]
pub struct Wrong {
    /// Counts the wrong blocks, or the wrong pieces of an object.
    pub pieces: u64,
    /// Describes the first of them: where it is, what was expected and what was found.
    pub text: String,
}

impl Check {
    /// Returns the job's settings of `verify`.
    pub fn settings(&self) -> Verify {
        match self {
            Self::Files(verifier) => verifier.settings,
            Self::Objects(check) => check.settings,
        }
    }

    /// Returns whether the job reads back at the end of a pass what it has written.
    pub fn reads_back(&self) -> bool {
        let has_written = match self {
            Self::Files(verifier) => verifier.writes,
            Self::Objects(_) => true,
        };
        has_written && self.settings().read_back
    }

    /// Writes the headers or the pattern into the content of a write, so that it can be verified.
    pub fn stamp(&mut self, content: &mut [u8], operation: &Operation) {
        match self {
            Self::Files(verifier) => verifier.stamp(content, operation),
            Self::Objects(check) => check.stamp(content, operation),
        }
    }

    /// Records that an operation ended after `bytes` bytes; `None` means that it failed.
    pub fn ended(&mut self, operation: &Operation, bytes: Option<u64>) {
        match self {
            Self::Files(verifier) if operation.verb == Verb::Write => {
                verifier.wrote(operation, bytes == Some(operation.length));
            }
            Self::Files(_) => {}
            Self::Objects(check) => check.ended(operation, bytes.is_some()),
        }
    }

    /// Checks the content of an operation. `is_own` says that it reads back what this job wrote.
    pub fn look_at(&self, content: &[u8], operation: &Operation, is_own: bool) -> Option<Wrong> {
        match self {
            Self::Files(verifier) => verifier.look_at(content, operation, is_own),
            Self::Objects(check) => check.check(content, operation),
        }
    }

    /// Starts reading back from the beginning.
    pub fn rewind(&mut self) {
        match self {
            Self::Files(verifier) => verifier.rewind(),
            Self::Objects(check) => check.rewind(),
        }
    }

    /// Returns the next read of what was written; `None` at the end.
    pub fn next_read(&mut self) -> Option<Operation> {
        match self {
            Self::Files(verifier) => verifier.next_read(),
            Self::Objects(check) => check.next_read(),
        }
    }

    /// Begins another pass of writes. Nothing may be in flight.
    pub fn next_pass(&mut self) {
        if let Self::Files(verifier) = self {
            verifier.next_pass();
        }
    }
}
