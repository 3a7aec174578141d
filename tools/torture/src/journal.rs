//! This module records what each writer requested and which responses it got: one file of JSON
//! lines for each writer, outside of the drive under test.
//!
//! Invariants:
//! - A request is in the file before it is sent, and its response as soon as it has arrived.
//! - What a key must contain follows from the file alone: the [`Model`] is read from it again in
//!   every cycle.
//! - Each key has one writer, which waits for its responses. At a kill, at most one change of each
//!   writer is therefore in doubt: it may have happened completely or not at all.

use super::stack::{Change, Stack, StackState};
use ringbolt_tool_common::content::Content;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

/// This is one body of a key. The tag is never used twice, so it also identifies the key's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub tag: u64,
    pub size_bytes: usize,
    pub crc32c: u32,
}

impl Version {
    /// Returns a version and its bytes.
    pub fn new(tag: u64, size_bytes: usize) -> (Self, Vec<u8>) {
        let bytes = Content::new(tag, size_bytes).bytes();
        (Self { tag, size_bytes, crc32c: crc32c::crc32c(&bytes) }, bytes)
    }

    /// Returns where `got` differs from this body; `None` if they are equal.
    pub fn difference(&self, got: &[u8]) -> Option<String> {
        Content::new(self.tag, self.size_bytes).difference(got)
    }
}

/// This is one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Put {
        key: String,
        version: Version,
    },
    Delete {
        key: String,
    },
    /// Begins the writer's upload, of which there is one at a time.
    Create {
        key: String,
        version: Version,
    },
    /// Uploads the next part.
    Part,
    Complete,
    Abort,
    /// Puts a version of a key of the bucket that keeps versions.
    PutVersion {
        key: String,
        version: Version,
        suspended: bool,
    },
    /// Deletes such a key without naming a version, which adds a delete marker.
    Mark {
        key: String,
        suspended: bool,
    },
    /// Removes the version with this id.
    Remove {
        key: String,
        id: String,
    },
}

/// This is one line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    Begin(Operation),
    /// Holds the upload's id, the part's ETag, or the id of the version of an acknowledged request.
    Done(String),
    /// Holds the status of a response after which nothing was stored.
    Refused(u16),
    /// Holds what was read back after a kill.
    Found {
        key: String,
        version: Option<Version>,
    },
    /// Holds which versions a key was found to have after a kill, the newest first.
    FoundStack {
        key: String,
        stack: Stack,
    },
    /// Everything touched so far was read back.
    Checked,
}

/// Holds what one key may contain; an inner `None` means "no object".
#[derive(Clone, Debug, Default)]
pub struct KeyState {
    pub certain: Option<Version>,
    pub doubt: Option<Option<Version>>,
    /// Says that the key was changed since it was last read back.
    pub touched: bool,
}

/// This is an upload whose beginning was acknowledged.
#[derive(Clone, Debug)]
pub struct Upload {
    pub key: String,
    pub version: Version,
    pub id: String,
    /// Holds the ETags of the acknowledged parts.
    pub parts: Vec<String>,
    /// Says that an abort was requested, so that the upload may be gone.
    pub ending: bool,
}

/// Holds what the keys of one writer must contain.
#[derive(Debug, Default)]
pub struct Model {
    pub keys: BTreeMap<String, KeyState>,
    /// Holds the versions of the keys of the bucket that keeps them.
    pub stacks: BTreeMap<String, StackState>,
    pub upload: Option<Upload>,
    running: Option<Operation>,
}

impl Model {
    /// Returns the bytes that the keys, their versions and the upload contain.
    pub fn live_bytes(&self) -> usize {
        let objects: usize = self.keys.values().filter_map(|state| state.certain).map(|v| v.size_bytes).sum();
        let kept = self.stacks.values().flat_map(|state| &state.certain);
        let versions: usize = kept.filter_map(|kept| kept.version).map(|v| v.size_bytes).sum();
        objects + versions + self.upload.as_ref().map_or(0, |upload| upload.version.size_bytes)
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Begin(operation) => {
                if let Some((key, outcome)) = self.change(&operation) {
                    let state = self.keys.entry(key).or_default();
                    (state.doubt, state.touched) = (Some(outcome), true);
                }
                if let Some((key, change)) = Change::of(&operation) {
                    let state = self.stacks.entry(key).or_default();
                    (state.doubt, state.touched) = (Some(change), true);
                }
                if let (Operation::Abort, Some(upload)) = (&operation, &mut self.upload) {
                    upload.ending = true;
                }
                self.running = Some(operation);
            }
            Entry::Done(text) => self.acknowledge(text),
            Entry::Refused(_) => {
                let Some(operation) = self.running.take() else { return };
                if let Some((key, _)) = self.change(&operation) {
                    self.keys.entry(key).or_default().doubt = None;
                }
                if let Some((key, _)) = Change::of(&operation) {
                    self.stacks.entry(key).or_default().doubt = None;
                }
            }
            Entry::Found { key, version } => {
                let completed = matches!(self.running, Some(Operation::Complete))
                    && self.upload.as_ref().is_some_and(|upload| Some(upload.version) == version);
                if completed {
                    self.upload = None;
                }
                self.settle(key, version);
                self.running = None;
            }
            Entry::FoundStack { key, stack } => {
                let state = self.stacks.entry(key).or_default();
                (state.certain, state.doubt) = (stack, None);
                self.running = None;
            }
            Entry::Checked => {
                self.keys.values_mut().for_each(|state| state.touched = false);
                self.stacks.values_mut().for_each(|state| state.touched = false);
                self.running = None;
            }
        }
    }

    /// Returns the key that `operation` changes, and its new content.
    fn change(&self, operation: &Operation) -> Option<(String, Option<Version>)> {
        match operation {
            Operation::Put { key, version } => Some((key.clone(), Some(*version))),
            Operation::Delete { key } => Some((key.clone(), None)),
            Operation::Complete => {
                self.upload.as_ref().map(|upload| (upload.key.clone(), Some(upload.version)))
            }
            Operation::Create { .. } | Operation::Part | Operation::Abort => None,
            Operation::PutVersion { .. } | Operation::Mark { .. } | Operation::Remove { .. } => None,
        }
    }

    fn acknowledge(&mut self, text: String) {
        let Some(operation) = self.running.take() else { return };
        if let Some((key, version)) = self.change(&operation) {
            self.settle(key, version);
        }
        if let Some((key, change)) = Change::of(&operation) {
            let state = self.stacks.entry(key).or_default();
            (state.certain, state.doubt) = (change.apply(&state.certain, &text), None);
        }
        match operation {
            Operation::Create { key, version } => {
                self.upload = Some(Upload { key, version, id: text, parts: Vec::new(), ending: false });
            }
            Operation::Part => {
                if let Some(upload) = &mut self.upload {
                    upload.parts.push(text);
                }
            }
            Operation::Complete | Operation::Abort => self.upload = None,
            Operation::Put { .. } | Operation::Delete { .. } => {}
            Operation::PutVersion { .. } | Operation::Mark { .. } | Operation::Remove { .. } => {}
        }
    }

    fn settle(&mut self, key: String, version: Option<Version>) {
        let state = self.keys.entry(key).or_default();
        (state.certain, state.doubt) = (version, None);
    }
}

/// This is the file of one writer and the model that follows from it.
pub struct Journal {
    file: File,
    pub model: Model,
}

impl Journal {
    /// Opens or creates the file, and reads all of it.
    ///
    /// # Errors
    /// Fails when the file cannot be read, or when its content is not that of a journal.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut model = Model::default();
        for line in BufReader::new(&file).lines() {
            model.apply(serde_json::from_str(&line?)?);
        }
        Ok(Self { file, model })
    }

    /// Appends one entry.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn append(&mut self, entry: Entry) -> io::Result<()> {
        let mut line = serde_json::to_string(&entry)?;
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.model.apply(entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, tag: u64) -> Entry {
        Entry::Begin(Operation::Put { key: key.to_owned(), version: Version::new(tag, 100).0 })
    }

    #[test]
    fn the_file_says_what_is_certain_and_what_is_in_doubt() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        let delete = Entry::Begin(Operation::Delete { key: "b".into() });
        for entry in [put("a", 1), Entry::Done(String::new()), put("b", 2), Entry::Refused(507), put("b", 3)]
        {
            journal.append(entry).unwrap();
        }
        for entry in [Entry::Done(String::new()), Entry::Checked, delete] {
            journal.append(entry).unwrap();
        }
        let model = Journal::open(&path).unwrap().model;
        let (a, b) = (&model.keys["a"], &model.keys["b"]);
        assert_eq!((a.certain.unwrap().tag, a.doubt, a.touched), (1, None, false));
        assert_eq!((b.certain.unwrap().tag, b.doubt, b.touched), (3, Some(None), true));
        assert_eq!(model.live_bytes(), 200);
    }

    #[test]
    fn the_file_says_which_versions_a_key_has() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        let version = Version::new(7, 100).0;
        let put = |suspended| Operation::PutVersion { key: "a".into(), version, suspended };
        let mark = |suspended| Operation::Mark { key: "a".into(), suspended };
        for (operation, outcome) in [
            (put(false), Entry::Done("one".into())),
            (put(true), Entry::Done("null".into())),
            (mark(false), Entry::Done("two".into())),
            (mark(true), Entry::Done("null".into())),
            (put(false), Entry::Refused(507)),
            (Operation::Remove { key: "a".into(), id: "two".into() }, Entry::Done(String::new())),
        ] {
            journal.append(Entry::Begin(operation)).unwrap();
            journal.append(outcome).unwrap();
        }
        journal.append(Entry::Begin(mark(false))).unwrap();
        let state = Journal::open(&path).unwrap().model.stacks["a"].clone();
        let ids: Vec<_> = state.certain.iter().map(|kept| (kept.id.as_str(), kept.version)).collect();
        assert_eq!(ids, [("null", None), ("one", Some(version))]);
        assert!(state.touched && state.doubt.is_some_and(|change| change.can_have(&"0".repeat(32))));
        let stack = state.certain[1..].to_vec();
        journal.append(Entry::FoundStack { key: "a".into(), stack }).unwrap();
        journal.append(Entry::Checked).unwrap();
        let model = Journal::open(&path).unwrap().model;
        let state = &model.stacks["a"];
        assert_eq!((state.certain.len(), &state.doubt, state.touched), (1, &None, false));
        assert_eq!(model.live_bytes(), 100);
    }

    #[test]
    fn an_upload_lives_until_its_completion_is_certain() {
        let mut model = Model::default();
        let version = Version::new(9, 5000).0;
        model.apply(Entry::Begin(Operation::Create { key: "a".into(), version }));
        model.apply(Entry::Done("id".into()));
        model.apply(Entry::Begin(Operation::Part));
        model.apply(Entry::Done("etag".into()));
        model.apply(Entry::Begin(Operation::Complete));
        assert_eq!(model.keys["a"].doubt, Some(Some(version)));
        model.apply(Entry::Found { key: "a".into(), version: None });
        assert_eq!(model.upload.as_ref().map(|upload| upload.parts.len()), Some(1), "it did not happen");
        model.apply(Entry::Begin(Operation::Complete));
        model.apply(Entry::Found { key: "a".into(), version: Some(version) });
        assert!(model.upload.is_none(), "it happened");
        assert_eq!(model.keys["a"].certain, Some(version));
    }
}
