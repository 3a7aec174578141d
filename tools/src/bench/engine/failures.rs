//! What went wrong and how often, for people: the figures carry an errno only.

use std::collections::BTreeMap;

/// Kinds that are kept with a message; what comes after them is counted without.
const KINDS_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct Failures {
    kinds: BTreeMap<String, (u64, String)>,
    others: u64,
}

impl Failures {
    /// `message` is kept of the first of a kind.
    pub fn count(&mut self, kind: String, message: impl FnOnce() -> String) {
        if let Some((count, _)) = self.kinds.get_mut(&kind) {
            *count += 1;
        } else if self.kinds.len() < KINDS_MAX {
            self.kinds.insert(kind, (1, message()));
        } else {
            self.others += 1;
        }
    }

    /// A line for each kind, the most frequent first.
    pub fn lines(&self) -> Vec<String> {
        let mut kinds: Vec<_> = self.kinds.values().collect();
        kinds.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let mut lines: Vec<String> =
            kinds.iter().map(|(count, first)| format!("{count} × {first}")).collect();
        if self.others > 0 {
            lines.push(format!("{} × of other kinds", self.others));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_and_bounded() {
        let mut failures = Failures::default();
        for number in 0..20 {
            failures.count("often".into(), || "the first of many".into());
            failures.count(format!("kind {number}"), || format!("message {number}"));
        }
        let lines = failures.lines();
        assert_eq!(lines[0], "20 × the first of many");
        assert_eq!(lines.len(), KINDS_MAX + 1);
        assert_eq!(lines.last().unwrap(), "13 × of other kinds");
    }
}
