//! This module records failed operations by kind.
//!
//! Invariant: memory is bounded: at most [`KINDS_MAX`] kinds are kept, with the first failure of
//! each; failures of further kinds are only counted.

use serde::Serialize;

/// At most this many kinds are kept.
pub const KINDS_MAX: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedOperation {
    /// This is the method of a request, or the name of the operation.
    pub operation: String,
    /// This is the path of the object or file.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    pub errno: i32,
    /// This is the status of an HTTP response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// This is the error code of an S3 response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// This is the reason as text.
    pub text: String,
    /// This is equal for operations that failed for the same reason.
    #[serde(skip)]
    pub kind: String,
}

impl FailedOperation {
    /// Returns operation, place and reason as text.
    pub fn line(&self) -> String {
        let Self { operation, path, text, .. } = self;
        match self.offset {
            Some(offset) => format!("{operation} at {offset} of {path}: {text}"),
            None => format!("{operation} {path}: {text}"),
        }
    }
}

/// Counts the failures of one kind, and keeps the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureKind {
    pub count: u64,
    #[serde(flatten)]
    pub first: FailedOperation,
}

/// Counts the failures of a job by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    pub kinds: Vec<FailureKind>,
    /// Counts the failures of kinds that are not kept.
    pub others: u64,
}

impl Failures {
    /// Counts a failure, and keeps it if it is the first of its kind.
    pub fn count(&mut self, failed: FailedOperation) {
        self.add(FailureKind { count: 1, first: failed });
    }

    /// Adds the failures that another thread counted.
    pub fn merge(&mut self, other: &Self) {
        other.kinds.iter().for_each(|kind| self.add(kind.clone()));
        self.others += other.others;
    }

    fn add(&mut self, kind: FailureKind) {
        let is_same = |known: &&mut FailureKind| {
            known.first.operation == kind.first.operation && known.first.kind == kind.first.kind
        };
        if let Some(known) = self.kinds.iter_mut().find(is_same) {
            known.count += kind.count;
        } else if self.kinds.len() < KINDS_MAX {
            self.kinds.push(kind);
        } else {
            self.others += kind.count;
        }
    }

    /// Returns a line for each kind, the most frequent first.
    pub fn lines(&self) -> Vec<String> {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
        let mut lines: Vec<String> =
            kinds.iter().map(|kind| format!("{} × {}", kind.count, kind.first.line())).collect();
        if self.others > 0 {
            lines.push(format!("{} × for other reasons", self.others));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: &str) -> FailedOperation {
        let (operation, path) = ("GET".to_owned(), "/b/k".to_owned());
        FailedOperation { operation, path, kind: kind.into(), text: kind.into(), ..Default::default() }
    }

    #[test]
    fn kinds_are_counted_and_bounded() {
        let mut failures = Failures::default();
        for number in 0..20 {
            failures.count(failed("often"));
            failures.count(failed(&format!("kind {number}")));
        }
        let lines = failures.lines();
        assert_eq!(lines[0], "20 × GET /b/k: often");
        assert_eq!(lines.len(), KINDS_MAX + 1);
        assert_eq!(lines.last().unwrap(), "13 × for other reasons");
        let mut sum = failures.clone();
        sum.merge(&failures);
        assert_eq!((sum.kinds[0].count, sum.others), (40, 26));
    }
}
