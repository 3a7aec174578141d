//! What the node must hold: every version of every object over time, as the clients know it.
//!
//! Invariants:
//! - Time here is a count of events: each begin and each end of an operation has a tick of its own.
//! - A version that was begun and not acknowledged may take effect at any later time, whole, or never. One that was
//!   acknowledged, or seen by anybody, took effect before that tick and is durable.
//! - A version is out of sight for whoever begins to look after another one was acknowledged that was begun after
//!   this one took effect.

use std::collections::{BTreeMap, BTreeSet};

use ringbolt_engine::sim::Random;
use ringbolt_engine::types::BucketId;

use super::uploads::Uploads;

/// One body, named by what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Never given twice.
    pub tag: u64,
    pub size: u64,
}

/// None: there is no object.
pub type Value = Option<Stored>;

#[derive(Clone, Copy, Debug)]
struct Version {
    value: Value,
    begun: u64,
    /// By this tick it had taken effect.
    happened: Option<u64>,
}

/// The history of one key, as far back as anybody may still see it.
#[derive(Clone, Debug)]
pub struct Key {
    versions: Vec<Version>,
}

impl Default for Key {
    fn default() -> Self {
        Self { versions: vec![Version { value: None, begun: 0, happened: Some(0) }] }
    }
}

impl Key {
    /// Nobody who looks from tick `from` on can see a version that had happened before this tick.
    fn border(&self, from: u64) -> u64 {
        let over = |version: &&Version| version.happened.is_some_and(|tick| tick < from);
        self.versions.iter().filter(over).map(|version| version.begun).max().unwrap_or(0)
    }

    /// What somebody may see who looks at some moment between the ticks `from` and `to`.
    pub fn possible(&self, from: u64, to: u64) -> impl Iterator<Item = Value> + '_ {
        let border = self.border(from);
        let seen = move |version: &&Version| {
            version.begun < to && version.happened.is_none_or(|tick| tick >= border)
        };
        self.versions.iter().filter(seen).map(|version| version.value)
    }

    /// Present whenever somebody looks between the ticks.
    pub fn is_certain(&self, from: u64, to: u64) -> bool {
        self.possible(from, to).all(|value| value.is_some())
    }

    fn settle(&mut self, value: Value, now: u64) {
        self.versions = vec![Version { value, begun: now, happened: Some(now) }];
    }
}

/// A bucket that exists, or may exist.
#[derive(Clone, Debug, Default)]
pub struct BucketModel {
    pub id: Option<BucketId>,
    /// A create or delete is under way or was never answered.
    pub uncertain: bool,
    pub keys: BTreeMap<Vec<u8>, Key>,
}

/// See the module.
#[derive(Default)]
pub struct Model {
    now: u64,
    pub buckets: BTreeMap<String, BucketModel>,
    pub uploads: Uploads,
    /// Bodies that were put together from parts: tag and size of each.
    composed: BTreeMap<u64, Vec<Stored>>,
    /// Versions that a conditional put has replaced: a second one that does is a lost update.
    replaced: BTreeSet<u64>,
    /// Operations under way, by the tick of their begin.
    pub running: BTreeMap<u64, Running>,
}

/// An operation under way.
#[derive(Clone, Debug)]
pub struct Running {
    pub since_us: u64,
    pub what: String,
}

impl Model {
    /// The next tick.
    pub fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    pub fn key(&mut self, bucket: &str, key: &[u8]) -> &mut Key {
        self.buckets.entry(bucket.to_owned()).or_default().keys.entry(key.to_vec()).or_default()
    }

    /// A change begins; the tick names it.
    pub fn begin(&mut self, bucket: &str, key: &[u8], value: Value) -> u64 {
        let begun = self.tick();
        let oldest = self.running.keys().next().copied().unwrap_or(begun).min(begun);
        let key = self.key(bucket, key);
        let border = key.border(oldest);
        key.versions.retain(|version| version.happened.is_none_or(|tick| tick >= border));
        key.versions.push(Version { value, begun, happened: None });
        begun
    }

    /// It was acknowledged.
    pub fn acknowledge(&mut self, bucket: &str, key: &[u8], begun: u64) {
        let now = self.tick();
        let versions = &mut self.key(bucket, key).versions;
        let version = versions.iter_mut().find(|version| version.begun == begun);
        // Seen by somebody before the answer came, it may be history already.
        if let Some(version) = version {
            version.happened.get_or_insert(now);
        }
    }

    /// It was refused with nothing stored.
    pub fn refuse(&mut self, bucket: &str, key: &[u8], begun: u64) {
        let versions = &mut self.key(bucket, key).versions;
        if let Some(at) = versions.iter().position(|version| version.begun == begun) {
            assert!(versions[at].happened.is_none(), "a refused version was seen: {:?}", versions[at]);
            versions.remove(at);
        }
    }

    /// Somebody who began to look at `from` saw `value`. None when that can be; else what could be.
    pub fn see(&mut self, bucket: &str, key: &[u8], from: u64, value: Value) -> Option<String> {
        let now = self.tick();
        let known = self.key(bucket, key);
        let possible: Vec<Value> = known.possible(from, now).collect();
        if !possible.contains(&value) {
            return Some(format!("{possible:?}"));
        }
        // What is seen is durable, whether or not its writer has heard.
        if let (Some(stored), None) = (
            value,
            known.versions.iter().find(|version| version.value == value && version.happened.is_some()),
        ) {
            let version = known.versions.iter_mut().find(|version| version.value == Some(stored));
            version.into_iter().for_each(|version| version.happened = Some(now));
        }
        None
    }

    /// After a restart: `value` is there, and nothing is under way any more.
    pub fn settle(&mut self, bucket: &str, key: &[u8], value: Value) {
        let now = self.tick();
        self.key(bucket, key).settle(value, now);
    }

    /// A put replaced the version `tag` under a condition that named it. False when another one had.
    pub fn replaces(&mut self, tag: u64) -> bool {
        self.replaced.insert(tag)
    }

    /// The body `tag` is put together from `parts`.
    pub fn compose(&mut self, tag: u64, parts: Vec<Stored>) {
        self.composed.insert(tag, parts);
    }

    /// The bytes of a body.
    pub fn bytes(&self, stored: Stored) -> Vec<u8> {
        let whole = |part: &Stored| content(part.tag, part.size as usize);
        match self.composed.get(&stored.tag) {
            Some(parts) => parts.iter().map(whole).collect::<Vec<_>>().concat(),
            None => whole(&stored),
        }
    }

    /// A page of a listing, checked against what may be there.
    pub fn check_page(&mut self, bucket: &str, page: &PageSeen<'_>) -> Result<(), String> {
        let now = self.tick();
        let keys = &self.buckets.entry(bucket.to_owned()).or_default().keys;
        let mut expected: BTreeMap<Vec<u8>, Vec<(&Vec<u8>, &Key)>> = BTreeMap::new();
        for (key, known) in keys.iter().filter(|(key, _)| key.starts_with(page.prefix)) {
            expected.entry(page.name_of(key)).or_default().push((key, known));
        }
        if page.items.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err("names do not ascend".to_owned());
        }
        for (name, value) in page.items {
            let group = expected.get(name).ok_or_else(|| format!("{name:?} was never put"))?;
            let fits = group.iter().any(|(_, known)| {
                known.possible(page.from, now).any(|possible| match value {
                    Some(stored) => possible == Some(*stored),
                    None => possible.is_some(),
                })
            });
            if !fits || name.as_slice() <= page.after {
                return Err(format!("{name:?} with {value:?} can not be there: {group:?}"));
            }
        }
        let last = page.items.last().map(|(name, _)| name.clone());
        let covered = |name: &Vec<u8>| !page.truncated || last.as_ref().is_some_and(|last| name <= last);
        let listed: BTreeSet<&Vec<u8>> = page.items.iter().map(|(name, _)| name).collect();
        for (name, group) in &expected {
            let certain = group.iter().any(|(_, known)| known.is_certain(page.from, now));
            if certain && name.as_slice() > page.after && covered(name) && !listed.contains(name) {
                return Err(format!("{name:?} is missing: {group:?}"));
            }
        }
        Ok(())
    }
}

/// Words that follow from the tag: a block in the wrong place differs.
fn content(tag: u64, length: usize) -> Vec<u8> {
    let random = Random::new(tag);
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.next_u64().to_le_bytes())
        .take(length.div_ceil(8))
        .flatten()
        .collect();
    bytes.truncate(length);
    bytes
}

/// A page as it came.
pub struct PageSeen<'a> {
    pub prefix: &'a [u8],
    pub delimiter: &'a [u8],
    pub after: &'a [u8],
    pub from: u64,
    /// None for a common prefix.
    pub items: &'a [(Vec<u8>, Value)],
    pub truncated: bool,
}

impl PageSeen<'_> {
    /// As what a key is listed.
    fn name_of(&self, key: &[u8]) -> Vec<u8> {
        let rest = &key[self.prefix.len()..];
        let cut = match self.delimiter {
            [] => None,
            delimiter => rest.windows(delimiter.len()).position(|window| window == delimiter),
        };
        match cut {
            Some(at) => key[..self.prefix.len() + at + self.delimiter.len()].to_vec(),
            None => key.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(tag: u64) -> Value {
        Some(Stored { tag, size: 1 })
    }

    #[test]
    fn what_was_overwritten_for_certain_is_out_of_sight() {
        let mut model = Model::default();
        let first = model.begin("b", b"k", stored(1));
        let reader = model.tick();
        model.running.insert(reader, Running { since_us: 0, what: String::new() });
        model.acknowledge("b", b"k", first);
        let second = model.begin("b", b"k", stored(2));
        let third = model.begin("b", b"k", stored(3));
        model.acknowledge("b", b"k", second);
        let late = model.tick();
        assert!(model.see("b", b"k", late, stored(1)).is_some(), "overwritten before anybody looked");
        assert!(model.see("b", b"k", late, None).is_some());
        assert!(model.see("b", b"k", reader, None).is_none(), "who began earlier may see it");
        assert!(model.see("b", b"k", late, stored(2)).is_none(), "the third may not have happened yet");
        assert!(model.see("b", b"k", late, stored(3)).is_none());
        let _ = third;
        let later = model.tick();
        assert!(model.key("b", b"k").is_certain(later, later + 1));
        assert!(model.see("b", b"k", later, stored(4)).is_some(), "never put");
    }

    #[test]
    fn a_page_that_leaves_out_what_is_there_is_noticed() {
        let mut model = Model::default();
        for (key, tag) in [(b"a/1", 1), (b"a/2", 2), (b"b/1", 3)] {
            let begun = model.begin("b", key, stored(tag));
            model.acknowledge("b", key, begun);
        }
        let from = model.tick();
        let (none, slash): (&[u8], &[u8]) = (b"", b"/");
        let mut check = |items: &[(Vec<u8>, Value)], delimiter, truncated| {
            model
                .check_page("b", &PageSeen { prefix: none, delimiter, after: none, from, items, truncated })
                .is_ok()
        };
        let all: Vec<_> =
            [(b"a/1", 1), (b"a/2", 2), (b"b/1", 3)].map(|(key, tag)| (key.to_vec(), stored(tag))).into();
        assert!(check(&all, none, false));
        assert!(check(&all[..2], none, true));
        assert!(!check(&all[..2], none, false));
        assert!(!check(&all[1..], none, false));
        let prefixes = [(b"a/".to_vec(), None), (b"b/".to_vec(), None)];
        assert!(check(&prefixes, slash, false));
        assert!(!check(&prefixes[..1], slash, false));
    }
}
