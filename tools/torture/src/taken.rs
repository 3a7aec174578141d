//! This module takes drives of a set away and gives them back, and proves at the end that the set could do
//! without each of them.
//!
//! Which drives, and when, is decided in [`Set`]; here it is done: by starts without them, and by drives that
//! fail under the server.

use super::error::TortureError;
use super::failing::{FailingDrive, Failure};
use super::run::{Bench, Running, START_LIMIT};
use super::set::{Course, Drives, Part, Set};
use super::verify::Scope;
use ringbolt_tool_common::content::Dice;
use ringbolt_tool_common::process::{ServerProcess, without_settings};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The drives of a server are looked at in this interval while something is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A drive is brought up to date at this rate at least, or it is a finding.
const BYTES_PER_SECOND_MIN: u64 = 20 << 20;

/// Holds the drives of a set of which some may be lost.
pub struct Taken {
    set: Set,
    /// The next start is without these.
    absent: Drives,
    /// These can be made to fail under a server.
    failing: BTreeMap<usize, FailingDrive>,
    /// Has choices of its own, so that what is written does not depend on them.
    dice: Dice,
}

impl Taken {
    /// Tries which of the drives can be made to fail. They are formatted, and no server uses them.
    pub fn new(drives: &[PathBuf], failures_max: usize, seed: u64) -> Self {
        let mut failing = BTreeMap::new();
        for (number, drive) in drives.iter().enumerate() {
            match FailingDrive::find(drive) {
                Ok(found) => drop(failing.insert(number, found)),
                Err(reason) => eprintln!("Drive {number} does not fail under the server: {reason}"),
            }
        }
        let set = Set::new(drives.len(), failures_max);
        Self { set, absent: Drives::new(), failing, dice: Dice::new(!seed) }
    }
}

/// This is a drive as `ringbolt drive list --json` shows it.
#[derive(Debug, Deserialize)]
struct Shown {
    uuid: String,
    state: Part,
}

#[derive(Debug, Deserialize)]
struct List {
    drives: Vec<Shown>,
}

/// This is what `ringbolt check --json` says.
#[derive(Debug, Deserialize)]
struct Checked {
    status: u8,
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    kind: String,
    found: String,
    drive: PathBuf,
}

impl Bench<'_> {
    /// Returns the drives that are not taken away, with their numbers.
    pub fn given_drives(&self) -> impl Iterator<Item = (usize, &Path)> {
        let is_given =
            |number: &usize| self.taken.as_ref().is_none_or(|taken| !taken.absent.contains(number));
        let drives = self.args.drive.iter().map(PathBuf::as_path).enumerate();
        drives.filter(move |(number, _)| is_given(number))
    }

    /// Returns the words for the drives that a start has.
    pub fn drives_text(&self) -> String {
        let Some(taken) = &self.taken else { return "the drive".to_owned() };
        let given: Vec<usize> = self.given_drives().map(|(number, _)| number).collect();
        format!("the drives {given:?} without {:?}", taken.absent)
    }

    /// Chooses the drives of the next start.
    pub fn choose_drives(&mut self) {
        let Some(taken) = &mut self.taken else { return };
        let absent = taken.set.choose_absent(&mut taken.dice);
        self.take_away(absent);
    }

    /// Has the next start be without these drives, and with all others.
    fn take_away(&mut self, absent: Drives) {
        let Some(taken) = &mut self.taken else { return };
        let moved = taken.set.begin_start(&absent);
        taken.absent = absent;
        self.totals.drives_taken_away += moved.taken as u64;
        self.totals.drives_given_back += moved.given as u64;
    }

    /// Asks the server for the part of each drive, and notes it.
    pub fn look_at_drives(&mut self) -> Result<Vec<Part>, TortureError> {
        let parts = match &self.taken {
            Some(_) => self.list()?.drives.into_iter().map(|drive| drive.state).collect(),
            None => Vec::new(),
        };
        if let Some(taken) = &mut self.taken {
            taken.set.observe(&parts);
        }
        Ok(parts)
    }

    fn list(&self) -> Result<List, TortureError> {
        let mut command = Command::new(&self.program);
        without_settings(&mut command).args(["drive", "list", "--json", "--data"]).arg(self.data_path());
        let output = command.output()?;
        let list: Option<List> = serde_json::from_slice(&output.stdout).ok();
        let is_of_all = |list: &List| list.drives.len() == self.args.drive.len();
        list.filter(is_of_all).ok_or_else(|| unexpected("drive list", &output))
    }

    /// Lets a life go on until the server is to be killed: for `delay`, after what happens to the drives. A
    /// drive that was made to fail does so until what is returned is dropped.
    pub fn live(
        &mut self,
        server: &mut ServerProcess,
        ended: &Receiver<()>,
        delay: Duration,
    ) -> Result<Option<Failure>, TortureError> {
        let Some(taken) = &mut self.taken else {
            // A writer that ends before the kill has met an error, so that the wait ends early.
            let _ = ended.recv_timeout(delay);
            return Ok(None);
        };
        // Small drives are brought up to date soon: the kill has to be sooner to meet that.
        let delay = if taken.set.is_catching_up() { delay / 4 } else { delay };
        let able = taken.failing.keys().copied().collect();
        let mut failure = None;
        match taken.set.choose_course(&able, &mut taken.dice) {
            Course::Plain => {}
            Course::UntilWhole => {
                let waited = self.wait(server, ended, "drives are brought up to date", |parts| {
                    !parts.contains(&Part::CatchingUp)
                })?;
                self.totals.returns_waited_for += u64::from(waited);
            }
            Course::Fails { drive, noticed } => {
                // The drive fails at a moment of its own.
                let before = delay.mul_f64(taken.dice.below(100) as f64 / 100.0);
                let _ = ended.recv_timeout(before);
                let failed = taken.failing.get(&drive).map(FailingDrive::fail).transpose();
                failure = failed.map_err(|error| TortureError::NotFailed { drive, error })?;
                taken.set.fail(drive);
                self.totals.drives_failed += 1;
                if noticed {
                    let left = |parts: &[Part]| parts.get(drive) == Some(&Part::Left);
                    let noticed = self.wait(server, ended, "a drive fails that does not leave", left)?;
                    self.totals.failures_noticed += u64::from(noticed);
                }
            }
        }
        let _ = ended.recv_timeout(delay);
        if server.ended()?.is_none() && self.look_at_drives()?.contains(&Part::CatchingUp) {
            self.totals.killed_while_catching_up += 1;
        }
        Ok(failure)
    }

    /// Waits until the drives are as they should be. Returns false when a writer ends before, or the server.
    fn wait(
        &mut self,
        server: &mut ServerProcess,
        ended: &Receiver<()>,
        what: &'static str,
        is_so: impl Fn(&[Part]) -> bool,
    ) -> Result<bool, TortureError> {
        let limit = START_LIMIT + Duration::from_secs(self.room_bytes / BYTES_PER_SECOND_MIN);
        let started = Instant::now();
        loop {
            if server.ended()?.is_some() {
                return Ok(false);
            }
            let parts = self.look_at_drives()?;
            if is_so(&parts) {
                return Ok(true);
            }
            if started.elapsed() > limit {
                return Err(TortureError::Waited { what, limit, parts, log: self.log_path() });
            }
            if ended.recv_timeout(LOOK_AGAIN).is_ok() {
                return Ok(false);
            }
        }
    }

    /// Ends the run. With redundancy the set is made whole before, checked, and everything is read back without
    /// each of the drives.
    pub fn finish(&mut self, running: Running) -> Result<(), TortureError> {
        let Some(taken) = &self.taken else { return self.stop(running.0) };
        let (rounds, by_word) = taken.set.last_rounds();
        let is_whole = taken.set.is_whole();
        let uuids: Vec<String> = self.list()?.drives.into_iter().map(|drive| drive.uuid).collect();
        self.stop(running.0)?;
        if !is_whole {
            self.make_whole()?;
        }
        self.check()?;
        for absent in rounds {
            let named = absent.iter().filter(|_| by_word).map(|drive| uuids[*drive].clone());
            let words: Vec<String> = named.collect();
            self.take_away(absent);
            let running = self.start(&words)?;
            self.read_back(running.1, Scope::All)?;
            self.stop(running.0)?;
            self.totals.read_back_without += 1;
            if !by_word {
                self.make_whole()?;
            }
        }
        Ok(())
    }

    /// Starts a server with all drives, waits until they hold everything, and ends it.
    fn make_whole(&mut self) -> Result<(), TortureError> {
        self.take_away(Drives::new());
        let (mut server, _) = self.start(&[])?;
        // Nobody writes who could end.
        let (_writer, ended) = channel();
        let whole = |parts: &[Part]| parts.iter().all(|part| *part == Part::In);
        if self.wait(&mut server, &ended, "drives are brought up to date", whole)? {
            self.totals.returns_waited_for += 1;
        }
        self.stop(server)
    }

    /// Looks for damage on all drives, of one copy too.
    fn check(&self) -> Result<(), TortureError> {
        let mut command = Command::new(&self.program);
        without_settings(&mut command).args(["check", "--deep", "--json"]);
        for drive in &self.args.drive {
            command.arg("--drive").arg(drive);
        }
        let output = command.output()?;
        let checked: Checked =
            serde_json::from_slice(&output.stdout).map_err(|_| unexpected("check --deep", &output))?;
        damage(&checked).map_or(Ok(()), |found| Err(TortureError::Damaged { found }))
    }
}

/// Returns what is damaged. A note is no damage, unless it tells of a copy: every drive holds everything.
fn damage(checked: &Checked) -> Option<String> {
    let is_damage = |finding: &&Finding| checked.status != 0 || finding.kind == "copy";
    let text = |Finding { kind, found, drive }: &Finding| format!("{kind} on {}: {found}", drive.display());
    let found: Vec<String> = checked.findings.iter().filter(is_damage).map(text).collect();
    match checked.status {
        0 if found.is_empty() => None,
        status => Some(format!("status {status}, {}", found.join("; "))),
    }
}

fn unexpected(command: &'static str, output: &Output) -> TortureError {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    TortureError::Command { command, said: String::from_utf8_lossy(&said).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_copy_is_damage_and_a_note_is_not() {
        let checked = |status, kind: &str| {
            let finding = Finding { kind: kind.to_owned(), found: "a place".to_owned(), drive: "d".into() };
            damage(&Checked { status, findings: vec![finding] })
        };
        assert_eq!(checked(0, "torn-tail"), None);
        assert_eq!(checked(0, "copy"), Some("status 0, copy on d: a place".to_owned()));
        assert_eq!(checked(1, "slice"), Some("status 1, slice on d: a place".to_owned()));
        assert_eq!(damage(&Checked { status: 0, findings: Vec::new() }), None);
    }
}
