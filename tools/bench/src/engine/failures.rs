//! What went wrong and how often.
//!
//! Invariant: what is kept is bounded: [`KINDS_MAX`] kinds with the first of each; what comes after them is only
//! counted.

use serde::Serialize;

/// Kinds that are kept.
pub const KINDS_MAX: usize = 8;

/// An operation that failed, with all that is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedOperation {
    /// The method of a request, or what was done.
    pub operation: String,
    /// Of the object or the file.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    pub errno: i32,
    /// Of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The reason, in words.
    pub text: String,
    /// What operations that failed for the same reason have in common.
    #[serde(skip)]
    pub kind: String,
}

impl FailedOperation {
    /// Operation, place and reason.
    pub fn line(&self) -> String {
        let Self { operation, path, text, .. } = self;
        match self.offset {
            Some(offset) => format!("{operation} at {offset} of {path}: {text}"),
            None => format!("{operation} {path}: {text}"),
        }
    }
}

/// So many failed as the first of them did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureKind {
    pub count: u64,
    #[serde(flatten)]
    pub first: FailedOperation,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    pub kinds: Vec<FailureKind>,
    /// Of other kinds.
    pub others: u64,
}

impl Failures {
    pub fn count(&mut self, failed: FailedOperation) {
        self.add(FailureKind { count: 1, first: failed });
    }

    /// Adds what another thread counted.
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

    /// A line for each kind, the most frequent first.
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
