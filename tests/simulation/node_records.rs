//! This module models the node's records, and is the operation of a client on them.
//!
//! Invariants:
//! - Every change is made for one revision, so if it takes effect, its own revision is the next one. Of
//!   all that are made for the same revision, at most one takes effect.
//! - A value says which change wrote it. So what is found names the changes that took effect, and each of
//!   them must be there with all of its names that no later one wrote.
//! - A revision that was acknowledged, or seen by anybody, is durable.
//! - Every core is told of every change, in order, before the change is acknowledged.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::types::NodeRecords;

use super::client::Client;
use super::context::{Context, Outcome};

const NAMES: [&str; 8] = ["a", "a/1", "a/2", "b", "key/1", "key/2", "key/3", "é"];

/// This is one change: each name that it puts, with the tag of its value, and each that it removes.
#[derive(Clone, Debug)]
struct Change {
    /// This is never used twice.
    tag: u64,
    names: BTreeMap<&'static str, Option<u64>>,
}

/// Holds what is known of the changes that lead to one revision.
#[derive(Clone, Debug, Default)]
struct Step {
    /// This is the one that took effect, if that is known.
    done: Option<Change>,
    /// These may have taken effect, or may still.
    pending: Vec<Change>,
}

/// Holds all changes by the revision that they make, since the last restart. What was there before is
/// one change.
#[derive(Clone, Debug, Default)]
pub struct NodeModel {
    steps: BTreeMap<u64, Step>,
    /// This is the greatest revision that is durable for sure.
    reached: u64,
    /// This is the revision that each core was told of last.
    told: Rc<Vec<Cell<u64>>>,
}

fn value_of(tag: u64, name: &str) -> Vec<u8> {
    let length = (tag as usize * 37 + name.len()) % 200;
    let mut value = tag.to_be_bytes().to_vec();
    value.resize(8 + length, tag as u8);
    value
}

fn tag_in(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl NodeModel {
    fn begin(&mut self, revision: u64, change: Change) {
        self.steps.entry(revision).or_default().pending.push(change);
    }

    /// Records that a change did not take effect and never will.
    fn refuse(&mut self, revision: u64, tag: u64) {
        let step = self.steps.entry(revision).or_default();
        let done = step.done.as_ref().is_some_and(|done| done.tag == tag);
        assert!(!done, "the change {tag} to {revision} was refused, and somebody saw it");
        step.pending.retain(|change| change.tag != tag);
    }

    /// Records that the change with this tag took effect.
    fn happened(&mut self, revision: u64, tag: u64) {
        self.reached = self.reached.max(revision);
        let step = self.steps.entry(revision).or_default();
        if let Some(done) = &step.done {
            assert_eq!(done.tag, tag, "two changes took effect with the revision {revision}");
            return;
        }
        let at = step.pending.iter().position(|change| change.tag == tag);
        let at = at.unwrap_or_else(|| panic!("nobody made the change {tag} to the revision {revision}"));
        step.done = Some(step.pending.swap_remove(at));
    }

    /// Compares what was found with what there must be; `least` is the revision that it must have.
    ///
    /// # Panics
    /// Panics when something acknowledged is missing, or something is there in part or was never put.
    fn check(&mut self, found: &NodeRecords, least: u64) {
        let revision = found.revision;
        assert!(
            revision >= least,
            "the node's records have the revision {revision}, although {least} was reached"
        );
        let mut written = BTreeMap::new();
        for record in &found.records {
            let tag = tag_in(&record.value);
            assert_eq!(*record.value, *value_of(tag, &record.name), "the value of {:?}", record.name);
            let wrote = |change: &&Change| change.names.get(&*record.name) == Some(&Some(tag));
            let step = self.steps.range(..=revision).find_map(|(at, step)| {
                step.done.iter().chain(&step.pending).find(wrote).map(|change| (*at, change.tag))
            });
            let (at, change) =
                step.unwrap_or_else(|| panic!("{:?} is {tag}, which was never put there", record.name));
            self.happened(at, change);
            written.insert(record.name.to_string(), at);
        }
        for (at, step) in self.steps.range(..=revision) {
            let Some(done) = &step.done else {
                assert!(!step.pending.is_empty(), "nobody made a change to the revision {at}");
                continue;
            };
            for (name, puts) in &done.names {
                let touches = |change: &Change| change.names.contains_key(name);
                let later =
                    self.steps.range((Bound::Excluded(*at), Bound::Included(revision))).any(|(_, step)| {
                        match &step.done {
                            Some(done) => touches(done),
                            None => step.pending.iter().any(touches),
                        }
                    });
                let there = written.get(*name);
                let is_as_done = if puts.is_some() { there == Some(at) } else { there.is_none() };
                assert!(
                    later || is_as_done,
                    "{name:?} is not as the change to {at} made it, at {revision}: it is of {there:?}"
                );
            }
        }
        self.reached = self.reached.max(revision);
    }

    /// Takes what was found as certain, and as the last that was changed.
    fn settle(&mut self, found: &NodeRecords) {
        let mut names: BTreeMap<&'static str, Option<u64>> =
            NAMES.into_iter().map(|name| (name, None)).collect();
        for record in &found.records {
            let tag = tag_in(&record.value);
            assert_eq!(*record.value, *value_of(tag, &record.name), "the value of {:?}", record.name);
            let place = names.get_mut(&*record.name);
            *place.unwrap_or_else(|| panic!("nobody puts {:?}", record.name)) = Some(tag);
        }
        let done = Some(Change { tag: 0, names });
        self.steps = [(found.revision, Step { done, pending: Vec::new() })].into();
        self.reached = found.revision;
    }
}

impl Context {
    /// Compares the node's records with the model after a restart, and watches them from now on. After
    /// damage that no promise covers, what is found is taken as it is.
    ///
    /// # Panics
    /// Panics when something acknowledged is missing or wrong, or when something is there that was never
    /// put.
    pub async fn verify_node_records(&self, is_promised: bool) {
        let found = self.core().node_records("").await;
        let told = {
            let mut model = self.shared.model.borrow_mut();
            let node = &mut model.node;
            if is_promised {
                let least = node.reached;
                node.check(&found, least);
            }
            node.settle(&found);
            node.told = Rc::new(vec![Cell::new(found.revision); self.core().cores()]);
            node.told.clone()
        };
        for index in 0..self.core().cores() {
            let told = told.clone();
            self.node.core(index).watch_node_records(Rc::new(move |change| {
                let before = told[index].replace(change.revision);
                assert_eq!(before + 1, change.revision, "core {index} is told of changes in another order");
            }));
        }
    }
}

impl Client {
    pub(super) async fn node_step(&self) {
        match self.random().below(4) {
            0 => self.read_nodes().await,
            _ => self.change_nodes().await,
        }
    }

    async fn read_nodes(&self) {
        let core = self.context.core();
        let least = self.model().node.reached;
        if self.random().one_in(2) {
            let name = NAMES[self.random().below(NAMES.len() as u64) as usize];
            let read = async { Ok(core.node_record(name).await) };
            let (_, found) = self.context.watched("node record", || name.to_owned(), read).await;
            if let Ok(Some(record)) = found {
                assert_eq!(*record.value, *value_of(tag_in(&record.value), name), "the value of {name:?}");
            }
            return;
        }
        let read = async { Ok(core.node_records("").await) };
        let (_, found) = self.context.watched("node records", String::new, read).await;
        if let Ok(found) = found {
            self.model().node.check(&found, least);
        }
    }

    async fn change_nodes(&self) {
        let (random, core, tag) = (self.random(), self.context.core(), self.context.shared.new_tag());
        let names = (0..1 + random.below(3)).map(|_| NAMES[random.below(NAMES.len() as u64) as usize]);
        let names: BTreeMap<&'static str, Option<u64>> =
            names.map(|name| (name, (random.below(3) > 0).then_some(tag))).collect();
        let change = names.iter().map(|(name, puts)| (name.to_string(), puts.map(|tag| value_of(tag, name))));
        let change = change.collect();
        let only_at = self.model().node.reached;
        let what = format!("{only_at}: {names:?}");
        self.model().node.begin(only_at + 1, Change { tag, names });
        let operation = core.change_node_records(change, Some(only_at));
        let (_, result) = self.context.watched("change node records", || what, operation).await;
        match result {
            Ok(revision) => {
                assert_eq!(revision, only_at + 1, "the change {tag} was made for another revision");
                let mut model = self.model();
                model.node.happened(revision, tag);
                let late = model.node.told.iter().position(|told| told.get() < revision);
                assert_eq!(late, None, "a core was not told of the revision {revision}");
            }
            Err(EngineError::NodeRecordsChanged { revision }) => {
                assert!(revision > only_at, "the revision {revision} is refused as another than {only_at}");
                self.model().node.refuse(only_at + 1, tag);
            }
            Err(error) => {
                if self.context.judge("change node records", None, &error) == Outcome::Refused {
                    self.model().node.refuse(only_at + 1, tag);
                }
            }
        }
    }
}
