//! This module counts what a run has done so far.

use super::journal::Operation;
use serde::Serialize;

/// Holds counts over all cycles.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    pub cycles: u64,
    pub killed_while_writing: u64,
    pub killed_while_stopping: u64,
    pub killed_while_recovering: u64,
    pub puts: u64,
    pub deletes: u64,
    pub parts: u64,
    pub completed_uploads: u64,
    /// Counts versions put into the bucket that keeps them.
    pub versions_put: u64,
    pub delete_markers: u64,
    /// Counts versions and delete markers removed by their ids.
    pub versions_removed: u64,
    pub other_requests: u64,
    pub acknowledged_bytes: u64,
    /// Counts responses 503 and 507, after which nothing was stored.
    pub refused: u64,
    /// Counts changes that were not acknowledged before a kill and were found to have happened.
    pub in_doubt_happened: u64,
    pub in_doubt_not: u64,
    pub read_back: u64,
    pub read_back_bytes: u64,
    pub parts_found: u64,
    pub listed: u64,
    /// Counts versions and delete markers, as the next.
    pub versions_read_back: u64,
    pub versions_listed: u64,
    /// This is the longest time from the start of a killed server to its first response.
    pub open_ms_max: u64,
    /// Counts drives that may be lost at the same time; 0 without redundancy, as all below.
    pub drives_lost_max: u64,
    /// Counts drives that a start was without, and the one before was not.
    pub drives_taken_away: u64,
    /// Counts drives that were made to fail under the server.
    pub drives_failed: u64,
    /// Counts failures that the server was seen to go on without the drive after.
    pub failures_noticed: u64,
    /// Counts drives given to a start again after they were taken away or had failed.
    pub drives_given_back: u64,
    /// Counts how often the server was watched until all drives that were given back held everything.
    pub returns_waited_for: u64,
    /// Counts kills while a drive that was given back was brought up to date.
    pub killed_while_catching_up: u64,
    /// Counts starts at the end that had everything without some of the drives.
    pub read_back_without: u64,
}

impl Totals {
    /// Counts an acknowledged request.
    pub fn acknowledged(&mut self, operation: &Operation, sent_bytes: usize) {
        let count = match operation {
            Operation::Put { .. } => &mut self.puts,
            Operation::Delete { .. } => &mut self.deletes,
            Operation::Part => &mut self.parts,
            Operation::Complete => &mut self.completed_uploads,
            Operation::PutVersion { .. } => &mut self.versions_put,
            Operation::Mark { .. } => &mut self.delete_markers,
            Operation::Remove { .. } => &mut self.versions_removed,
            Operation::Create { .. } | Operation::Abort => &mut self.other_requests,
        };
        *count += 1;
        self.acknowledged_bytes += sent_bytes as u64;
    }

    /// Returns the number of acknowledged requests.
    pub fn acknowledgements(&self) -> u64 {
        let of_versions = self.versions_put + self.delete_markers + self.versions_removed;
        self.puts + self.deletes + self.parts + self.completed_uploads + of_versions + self.other_requests
    }

    pub fn kills(&self) -> u64 {
        self.killed_while_writing + self.killed_while_stopping + self.killed_while_recovering
    }

    /// Adds what one writer did.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.puts, other.puts),
            (&mut self.deletes, other.deletes),
            (&mut self.parts, other.parts),
            (&mut self.completed_uploads, other.completed_uploads),
            (&mut self.versions_put, other.versions_put),
            (&mut self.delete_markers, other.delete_markers),
            (&mut self.versions_removed, other.versions_removed),
            (&mut self.versions_read_back, other.versions_read_back),
            (&mut self.versions_listed, other.versions_listed),
            (&mut self.other_requests, other.other_requests),
            (&mut self.acknowledged_bytes, other.acknowledged_bytes),
            (&mut self.refused, other.refused),
            (&mut self.in_doubt_happened, other.in_doubt_happened),
            (&mut self.in_doubt_not, other.in_doubt_not),
            (&mut self.read_back, other.read_back),
            (&mut self.read_back_bytes, other.read_back_bytes),
            (&mut self.parts_found, other.parts_found),
        ];
        for (sum, count) in pairs {
            *sum += count;
        }
    }

    /// Returns a line for people, after each cycle and at the end.
    pub fn line(&self) -> String {
        let mut line = format!(
            "cycle {}: {} kills; {} acknowledged ({} MiB), {} in doubt of which {} had happened; \
             {} objects ({} MiB), {} versions and {} parts read back, {} keys and {} versions listed; \
             slowest start {} ms",
            self.cycles,
            self.kills(),
            self.acknowledgements(),
            self.acknowledged_bytes >> 20,
            self.in_doubt_happened + self.in_doubt_not,
            self.in_doubt_happened,
            self.read_back,
            self.read_back_bytes >> 20,
            self.versions_read_back,
            self.parts_found,
            self.listed,
            self.versions_listed,
            self.open_ms_max,
        );
        if self.drives_lost_max > 0 {
            line += &format!(
                "; drives: {} taken away, {} made to fail ({} seen to leave), {} given back, {} returns waited for, \
                 {} kills while one was brought up to date, {} starts without some read back at the end",
                self.drives_taken_away,
                self.drives_failed,
                self.failures_noticed,
                self.drives_given_back,
                self.returns_waited_for,
                self.killed_while_catching_up,
                self.read_back_without,
            );
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_are_told_of_where_some_may_be_lost() {
        assert!(!Totals::default().line().contains("drives"));
        let totals =
            Totals { drives_lost_max: 1, drives_taken_away: 3, drives_given_back: 2, ..Totals::default() };
        assert!(
            totals.line().contains("; drives: 3 taken away, 0 made to fail (0 seen to leave), 2 given back")
        );
    }
}
