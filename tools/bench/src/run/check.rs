//! `verify` of a job, whatever it works on: one set of questions for the loop, answered for files or for objects.

use super::object_check::ObjectCheck;
use super::verify::Verifier;
use crate::engine::{Operation, Verb};
use crate::spec::Verify;

/// What looks at the content of a job's operations.
#[derive(Debug)]
pub enum Check {
    Files(Verifier),
    Objects(ObjectCheck),
}

/// What is wrong with what a read brought.
#[derive(Debug)]
pub struct Wrong {
    /// Blocks, or pieces of an object.
    pub pieces: u64,
    /// The first of them: where, what was expected and what is there.
    pub text: String,
}

impl Check {
    pub fn settings(&self) -> Verify {
        match self {
            Self::Files(verifier) => verifier.settings,
            Self::Objects(check) => check.settings,
        }
    }

    /// Whether what was written is read back at the end of a pass.
    pub fn reads_back(&self) -> bool {
        let has_written = match self {
            Self::Files(verifier) => verifier.writes,
            Self::Objects(_) => true,
        };
        has_written && self.settings().read_back
    }

    /// Makes the content of a write one that can be checked.
    pub fn stamp(&mut self, content: &mut [u8], operation: &Operation) {
        match self {
            Self::Files(verifier) => verifier.stamp(content, operation),
            Self::Objects(check) => check.stamp(content, operation),
        }
    }

    /// Says that an operation ended, with so many bytes; None: it failed.
    pub fn ended(&mut self, operation: &Operation, bytes: Option<u64>) {
        match self {
            Self::Files(verifier) if operation.verb == Verb::Write => {
                verifier.wrote(operation, bytes == Some(operation.length));
            }
            Self::Files(_) => {}
            Self::Objects(check) => check.ended(operation, bytes.is_some()),
        }
    }

    /// What is wrong with what an operation brought. `is_own`: it reads back what this job wrote.
    pub fn look_at(&self, content: &[u8], operation: &Operation, is_own: bool) -> Option<Wrong> {
        match self {
            Self::Files(verifier) => verifier.look_at(content, operation, is_own),
            Self::Objects(check) => check.check(content, operation),
        }
    }

    /// Reads back from the beginning.
    pub fn rewind(&mut self) {
        match self {
            Self::Files(verifier) => verifier.rewind(),
            Self::Objects(check) => check.rewind(),
        }
    }

    /// The next read of what was written; None at the end.
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
